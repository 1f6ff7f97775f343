"""Organs of neck and chest in the CT phantoms: lungs' vessels, airways, heart, great vessels, thyroid, lung nodules.

Enters: a patient and the HU of tissues. Leaves: parts in painting order. Lengths in mm, reference coordinates.
"""

from dataclasses import dataclass, replace

import numpy as np

from ssrobust_lib.phantoms.ct_body import dome_height, spine_y
from ssrobust_lib.phantoms.ct_parts import SIDES, Part, Patient, ball, pipe, uneven
from ssrobust_lib.phantoms.shapes import Points, Region, rotation, smooth_curve, tube


def on_spine(points: Points) -> np.ndarray:
    """Points (x, y before the spine's centre line, z) as (x, y, z)."""
    out = np.asarray(points, float)
    out[:, 1] += spine_y(out[:, 2])
    return out


def heart_parts(patient: Patient, hu: dict[str, float]) -> list[Part]:
    """Pericardial fat, muscle and the four chambers; moves with the diaphragm."""
    change = patient.vary("heart", mm=5, size=0.08)
    lift = 0.5 * patient.breath_mm
    turn = rotation(("y", -22.0), ("z", 38.0))
    centre = np.array([20.0, -52.0, 140.0 + lift])

    def chamber(offset: tuple[float, float, float], radii: tuple[float, float, float], value: float) -> Part:
        return ball(centre + offset, radii, uneven(value, 4), turn=turn, change=change, rough=1.2)

    return [
        ball(centre + (0, -6, -4), (68, 48, 58), uneven(hu["visceral_fat"], 8, 4), turn=turn, change=change),
        ball(centre, (60, 44, 52), uneven(hu["heart"], 5), turn=turn, change=change, rough=2),
        chamber((24, 4, -6), (32, 19, 21), hu["blood"]),
        chamber((-4, -22, -8), (34, 15, 28), hu["blood"]),
        chamber((-40, -4, 4), (20, 21, 26), hu["blood"] * 0.96),
        chamber((-8, 26, 18), (29, 17, 22), hu["blood"]),
        Part(lambda r: np.maximum(tube(r, on_spine([(-25, -46, 92), (-26, -56, 125)]), 11), -r.fields["dome"] - 8),
             uneven(hu["vein"], 3), (-45, -60, 75), (-5, 0, 140)),
    ]  # fmt: skip


def aorta_curve(patient: Patient) -> np.ndarray:
    """Centre line and radius of the aorta, (N, 4): from the heart over the arch to the fork before L4."""
    change = patient.vary("aorta", mm=3, size=0.1)
    x, _, z = change.offset
    low = [(4, -27, 0, 10.2), (3, -26, -60, 9.2), (2 + x, -26, -106 + z, 8.4)]
    descending = [(23, -24, 196, 12.8), (22 + x, -25, 150, 12.4), (15, -24, 90, 12), (7, -26, 40, 11.2), *low]
    arch = [
        (2, -80, 160, 16),
        (-13, -80, 190, 16.5),
        (-9, -66, 220 + z, 15.5),
        (10, -42, 236 + z, 14),
        (22, -26, 224 + z, 13.2),
    ]
    rows = np.array([*arch, *descending], float)
    rows[:, 1] += spine_y(rows[:, 2])
    out = smooth_curve(rows, 4)
    out[:, 3] *= change.factor[0]
    return out


def pulmonary_arteries() -> list[tuple[np.ndarray, float]]:
    """Centre line (N, 3) and radius of the pulmonary trunk with the left artery, and of the right artery."""
    left = [(14, -96, 172), (16, -78, 196), (20, -52, 206), (46, -26, 200)]
    right = [(16, -76, 198), (-8, -54, 199), (-48, -30, 190)]
    return [(smooth_curve(on_spine(left), 3), 12.0), (smooth_curve(on_spine(right), 3), 10.5)]


def embolus_parts(patient: Patient, hu: dict[str, float], label: int) -> list[Part]:
    """One to four thrombi in the pulmonary arteries before the bronchi cross them, longer than thick, apart."""
    generator = patient.rng("emboli")
    places = [(curve[k], radius) for curve, radius in pulmonary_arteries() for k in range(1, 2 * len(curve) // 3, 2)]
    chosen = generator.choice(len(places), size=int(generator.integers(1, 5)), replace=False)
    return [
        ball(
            places[k][0],
            places[k][1] * generator.uniform(0.45, 0.8) * np.array([1.0, 0.8, 0.8]),
            uneven(hu["thrombus"], 5, 4),
            label,
            rough=0.6,
        )
        for k in chosen
    ]


def great_vessel_parts(patient: Patient, hu: dict[str, float], aorta_label: int) -> list[Part]:
    """Caval veins, pulmonary arteries, vessels of the neck and the labelled aorta."""
    artery, vein = uneven(hu["artery"], 3), uneven(hu["vein"], 4)
    aorta = aorta_curve(patient)
    parts = [
        pipe(on_spine([(-26, -58, 158), (-27, -62, 205), (-25, -66, 248)]), 9.5, vein),
        pipe(on_spine([(-25, -66, 248), (0, -68, 258), (34, -56, 282), (40, -34, 310)]), 7, vein),
        pipe(on_spine([(-25, -66, 248), (-36, -45, 290)]), 7.5, vein),
        *(pipe(curve, radius, vein) for curve, radius in pulmonary_arteries()),
        replace(
            pipe(
                on_spine([(6, -34, 316), (6, -28, 235), (4, -34, 190), (3, -38, 130), (14, -42, 96)]),
                8,
                uneven(hu["soft"], 5),
            ),
            name="esophagus",
        ),
        pipe(on_spine([(6, -28, 240), (5, -34, 190)]), [3, 1.5], uneven(-500, 150)),
    ]
    for name, side in SIDES:
        root = (-10, -62, 236) if name == "right" else (8, -44, 240)
        parts.append(
            pipe(
                smooth_curve(on_spine([root, (side * 19, -40, 285), (side * 25, -12, 340), (side * 27, -6, 440)]), 3),
                4.6,
                artery,
            )
        )
        parts.append(pipe(on_spine([(side * 36, -42, 292), (side * 36, -14, 340), (side * 35, -4, 440)]), 6.6, vein))
        neck = [(side * 20, -58, 288), (side * 42, -34, 330), (side * 54, -2, 390), (side * 60, 10, 430)]
        parts.append(pipe(on_spine(neck), 9, uneven(hu["muscle"], 4)))
    parts.append(pipe(aorta[:, :3], aorta[:, 3], uneven(hu["aorta"], 3), aorta_label, rough=0.5))
    return parts


def airway_parts(patient: Patient, hu: dict[str, float], trachea_label: int) -> list[Part]:
    """Pharynx and larynx, walls of the airways, main bronchi and the labelled trachea."""
    change = patient.vary("trachea", mm=2.5, size=0.11)
    x, _, z = change.offset
    path = smooth_curve(on_spine([(0, -31, 349), (x, -31, 310), (1 + x, -33, 262), (2, -34, 216 + z)]), 4)
    radius = 9.2 * float(change.factor[0])
    air = uneven(-990, 6)
    bronchi = []
    for _, side in SIDES:
        bronchi.append(smooth_curve(on_spine([(2, -34, 216 + z), (side * 22, -30, 200 + z), (side * 44, -28, 188)]), 3))
    upper = on_spine([(0, -31, 349), (0, -32, 372), (0, -24, 392), (0, -22, 440)])
    parts = [pipe(upper, [11, 13, 12, 14], uneven(hu["soft"] + 20, 8))]
    parts.append(pipe(path, radius + 2, hu["soft"]))
    parts.extend(pipe(b, 8.2, hu["soft"]) for b in bronchi)
    parts.extend(pipe(b, [*np.linspace(6.8, 5.2, len(b))], air) for b in bronchi)
    parts.append(pipe(upper, [7, 5, 8, 9], air))
    parts.append(pipe(path, radius, air, trachea_label))
    return parts


def thyroid_parts(patient: Patient, hu: dict[str, float], label: int) -> list[Part]:
    """Two lobes beside the trachea and the isthmus before it."""
    change = patient.vary("thyroid", mm=2.5, size=0.14)
    value = uneven(hu["thyroid"], 9, 6)
    z = 343 + float(change.offset[2])
    y = float(spine_y(np.array([z]))[0])
    parts = [pipe([(-15, y - 40, z - 6), (0, y - 45, z - 5), (15, y - 40, z - 6)], 5, value, label)]
    for _, side in SIDES:
        size = np.array([11, 13.5, 24]) * change.factor
        parts.append(ball((side * 20, y - 32, z), size, value, label, turn=rotation(("y", side * 9.0)), rough=1))
    return parts


def lung_tree_parts(patient: Patient, hu: dict[str, float]) -> list[Part]:
    """Pulmonary vessels: branches from each hilum to random ends inside the lung."""
    generator = patient.rng("lung vessels")
    paths = []
    for _, side in SIDES:
        hilum = on_spine([(side * 40, -28, 188)])[0]
        for _ in range(20):
            goal = np.array([side * generator.uniform(40, 125), generator.uniform(-85, 70), generator.uniform(30, 305)])
            squeeze = np.interp(goal[2], [30, 200, 305], [1, 1, 0.5])
            goal[:2] = hilum[:2] + (goal[:2] - hilum[:2]) * squeeze
            bend = generator.normal(0, 9, (2, 3))
            middle = [hilum + t * (goal - hilum) + b for t, b in zip((0.35, 0.7), bend, strict=True)]
            thick = generator.uniform(3.6, 6.2)
            paths.append((np.array([hilum, *middle, goal]), thick * np.array([1, 0.75, 0.5, 0.22])))

    def distance(region: Region) -> np.ndarray:
        out = np.full(region.shape, np.float32(999))
        for path, radii in paths:
            np.minimum(out, tube(region, path, radii), out=out)
        return np.maximum(out, region.fields["cavity"] + 6)

    return [Part(distance, uneven(hu["vein"] * 0.92, 3), (-135, -110, 10), (135, 90, 320), None)]


@dataclass(frozen=True)
class Nodule:
    """A round lung nodule: centre (x, y, z) in reference coordinates and diameter, mm."""

    centre: tuple[float, float, float]
    diameter_mm: float


def draw_nodules(patient: Patient) -> list[Nodule]:
    """Draw 0 to 4 nodules of 4 to 26 mm inside the lungs."""
    generator = patient.rng("nodules")
    out: list[Nodule] = []
    for _ in range(int(generator.choice(5, p=[0.25, 0.35, 0.2, 0.12, 0.08]))):
        side = 1 if generator.random() < 0.5 else -1
        x, y = side * generator.uniform(62, 98), generator.uniform(-55, 50)
        floor = float(dome_height(patient, np.array(x), np.array(y)))
        z = generator.uniform(max(floor + 22, 60), 245)
        x *= float(np.interp(z, [150, 245], [1, 0.82]))
        out.append(Nodule((float(x), float(y), float(z)), float(np.clip(np.exp(generator.normal(2.1, 0.45)), 4, 26))))
    return out


def nodule_parts(patient: Patient, hu: dict[str, float]) -> list[Part]:
    """The patient's nodules as parts."""
    scale = float(np.prod(patient.scale)) ** (1 / 3)
    return [
        ball(n.centre, n.diameter_mm / 2 / scale, uneven(hu["nodule"], 10, 10), None, rough=0.04 * n.diameter_mm)
        for n in draw_nodules(patient)
    ]
