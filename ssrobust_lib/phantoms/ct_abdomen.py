"""Organs of abdomen and pelvis in the CT phantoms, with tumours of kidney and liver on request.

Enters: a patient and the HU of tissues. Leaves: parts in painting order. Lengths in mm, reference coordinates.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ssrobust_lib.phantoms.ct_body import spine_y
from ssrobust_lib.phantoms.ct_parts import SIDES, Part, Patient, ball, inside, pipe, uneven
from ssrobust_lib.phantoms.ct_thorax import on_spine
from ssrobust_lib.phantoms.shapes import (
    Array,
    Points,
    Region,
    Vector,
    ellipsoid,
    intersection,
    rotation,
    smooth_curve,
    tube,
    union,
)


def liver_distance(patient: Patient) -> Callable[[Region], Array]:
    """Distance function of the liver: two lobes under the diaphragm, cut off below by a slanting face."""
    change = patient.vary("liver", mm=6, size=0.09)
    left = patient.vary("left lobe", mm=8, size=0.15)
    drop = 0.7 * patient.breath_mm
    right_centre = np.array([-70, -24, 46 + patient.breath_mm]) + change.offset
    left_centre = np.array([10, -74, 76 + drop]) + left.offset
    tip = -40 + drop + 3 * float(left.offset[2])

    def distance(region: Region) -> Array:
        right_lobe = ellipsoid(region, right_centre, np.array([78, 90, 108]) * change.factor, change.turn)
        left_lobe = ellipsoid(region, left_centre, np.array([74, 38, 36]) * left.factor, left.turn)
        out = union(right_lobe, left_lobe, 22)
        face = np.float32(tip) + 0.62 * np.maximum(region.x + 108, 0) + 0.12 * np.maximum(region.y + 20, 0)
        out = intersection(out, (face - region.z) * np.float32(0.82), 16)
        spine = np.float32(32) - np.hypot(region.x, region.y - spine_y(region.axes[0])[:, None, None] - 2)
        out = np.maximum(out, spine) + 1.6 * region.fields["rough"]
        wall = np.maximum(region.fields["cavity"] + 2.5, region.fields["dome"] + 2.5)
        return intersection(out, wall, 6)

    return distance


def liver_parts(patient: Patient, hu: dict[str, float], liver_label: int, tumour_label: int | None) -> list[Part]:
    """Liver with hepatic and portal veins; metastases where a tumour label is given."""
    distance = liver_distance(patient)
    low, high = (-150, -140, -70), (115, 95, 180)
    parts = [Part(distance, uneven(hu["liver"], 5, 2), low, high, liver_label)]
    z = 0.7 * patient.breath_mm
    drain = (-24, 0, 104 + z)
    hepatic = [
        ([drain, (-60, -10, 88 + z), (-98, -10, 50 + z)], [5.5, 4.5, 2]),
        ([drain, (-45, -50, 82 + z), (-62, -82, 50 + z)], [5.5, 4.5, 2]),
        ([drain, (-5, -50, 88 + z), (22, -80, 80 + z)], [5, 3.5, 1.8]),
    ]
    portal = [
        ([(-12, -38, 10), (-34, -40, 34 + z), (-70, -25, 45 + z), (-96, 6, 30 + z)], [7, 7, 5, 2]),
        ([(-34, -40, 34 + z), (-78, -58, 46 + z)], [6, 2.5]),
        ([(-34, -40, 34 + z), (-14, -74, 64 + z), (14, -92, 72 + z)], [6, 4.5, 2]),
    ]
    for branches, tissue in ((hepatic, "vein"), (portal, "portal_vein")):
        for path, radii in branches:
            curve = smooth_curve(np.column_stack([np.array(path, float), np.array(radii, float)]), 2)
            parts.append(pipe(curve[:, :3], curve[:, 3], uneven(hu[tissue], 3), None))
    if tumour_label is not None:
        generator = patient.rng("liver tumours")
        for _ in range(int(generator.choice([0, 1, 2, 4, 7], p=[0.12, 0.28, 0.25, 0.2, 0.15]))):
            centre = np.array([generator.uniform(-112, -10), generator.uniform(-85, 30), generator.uniform(5, 110) + z])
            radius = float(np.clip(np.exp(generator.normal(2.4, 0.5)), 4, 38))
            value = uneven(float(generator.normal(hu["liver_tumour"], 7)), 9, 4)
            inner = ball(centre, radius * generator.uniform(0.8, 1.2, 3), value, tumour_label, rough=0.08 * radius)

            def inside(region: Region, shape=inner.distance) -> Array:
                return np.maximum(shape(region), distance(region) + 2)

            parts.append(Part(inside, value, inner.low, inner.high, tumour_label))
    return parts


def spleen_parts(patient: Patient, hu: dict[str, float], label: int) -> list[Part]:
    """Spleen: a crescent along the left back wall, hollow towards the stomach."""
    change = patient.vary("spleen", mm=5, size=0.13, degrees=9)
    centre = np.array([92, 30, 56 + 0.7 * patient.breath_mm]) + change.offset
    turn = change.turn @ rotation(("x", 28.0), ("z", -24.0))
    hollow = centre + (-48, -36, -6)

    def distance(region: Region) -> Array:
        out = ellipsoid(region, centre, np.array([41, 58, 60]) * change.factor, turn) + 1.2 * region.fields["rough"]
        out = intersection(out, -ellipsoid(region, hollow, (36, 38, 60)), 7)
        wall = np.maximum(region.fields["cavity"] + 2.5, region.fields["dome"] + 3)
        return intersection(out, wall, 6)

    return [Part(distance, uneven(hu["spleen"], 4, 2), centre - 76, centre + 76, label)]


def pancreas_parts(patient: Patient, hu: dict[str, float], label: int) -> list[Part]:
    """Pancreas from the duodenum's curve across the spine to the spleen, lobulated; splenic vein behind it."""
    change = patient.vary("pancreas", mm=5, size=0.13)
    points = np.array(
        [(-33, -38, -36), (-31, -42, -16), (-10, -52, -3), (18, -50, 8), (46, -28, 20), (72, -2, 32)], float
    )
    points += change.offset + patient.rng("pancreas bends").normal(0, 3.5, points.shape)
    points[:, 2] += 0.4 * patient.breath_mm
    radii = np.array([13, 14.5, 10, 10.5, 10.5, 9]) * change.factor[0]
    curve = smooth_curve(np.column_stack([points, radii]), 3)
    lobules = uneven(hu["pancreas"] - 8 * patient.visceral, 9, 9)
    vein = curve[6:, :3] + (0, curve[6:, 3].mean() + 1, 0)
    splenic = replace(pipe(vein, 4, hu["portal_vein"]), name="portal_and_splenic_veins")
    return [pipe(curve[:, :3], curve[:, 3], lobules, label, rough=2.2), splenic]


def gallbladder_parts(patient: Patient, hu: dict[str, float], label: int) -> list[Part]:
    """Gallbladder under the right lobe, more or less filled."""
    change = patient.vary("gallbladder", mm=5, size=0.16, degrees=12)
    centre, turn = (-46, -66, -6 + 0.6 * patient.breath_mm), rotation(("x", -32.0), ("y", 12.0))
    wall = ball(centre, (17, 18, 32), hu["bowel_wall"], turn=turn, change=change)
    return [wall, ball(centre, (15.5, 16.5, 30.5), uneven(hu["gallbladder"], 2), label, turn=turn, change=change)]


def adrenal_parts(patient: Patient, hu: dict[str, float], labels: tuple[int, int]) -> list[Part]:
    """Adrenals above the kidneys: an inverted Y each, a ridge with two limbs."""
    parts = []
    for (name, side), label in zip(SIDES, labels, strict=True):
        change = patient.vary(name + " adrenal", mm=3, size=0.12, degrees=8)
        centre = np.array([side * 29, 0 if name == "right" else -4, 50 if name == "right" else 42]) + change.offset
        centre[2] += 0.3 * patient.breath_mm
        value = uneven(hu["adrenal"], 4)
        long = np.array([4.6, 15, 16]) * change.factor
        parts.append(ball(centre + (0, -6, 0), (5.2, 8, 16), value, label, turn=change.turn))
        for spread, out in ((-16, -4.0), (30, 8.0)):
            turn = change.turn @ rotation(("z", -side * float(spread)))
            parts.append(ball(centre + (side * out, 8, -3), long, value, label, turn=turn, rough=0.3))
    return parts


def kidney_parts(
    patient: Patient, hu: dict[str, float], labels: tuple[int, int], tumour_label: int | None
) -> list[Part]:
    """Kidneys with cortex, medulla and sinus; cysts now and then; a tumour where a label is given."""
    generator = patient.rng("kidneys")
    sick = int(generator.integers(2))
    parts = []
    for index, ((name, side), label) in enumerate(zip(SIDES, labels, strict=True)):
        change = patient.vary(name + " kidney", mm=5, size=0.09)
        centre = np.array([side * 59, 23, -20 if name == "right" else -4]) + change.offset
        centre[2] += 0.5 * patient.breath_mm
        turn = change.turn @ rotation(("y", -side * 12.0), ("x", 9.0), ("z", side * 28.0))
        radii = np.array([27, 31, 55]) * change.factor
        medial = turn @ np.array([-side * 20.0, -4, 0])

        def distance(region: Region, c=centre, r=radii, t=turn, m=medial) -> Array:
            out = ellipsoid(region, c, r, t) + 1.2 * region.fields["rough"]
            return intersection(out, -ellipsoid(region, c + 1.15 * m, (15, 11, 24), t), 4)

        def value(region: Region, distance_mm: Array) -> Array:
            depth = np.clip((-distance_mm - 6 + 2.5 * region.fields["fine"]) / 3, 0, 1)
            return (
                hu["kidney_cortex"]
                + depth * np.float32(hu["kidney_medulla"] - hu["kidney_cortex"])
                + 4 * region.fields["texture"]
            )

        around = ball(centre, radii + 7 + 6 * patient.visceral, uneven(hu["visceral_fat"], 6, 6), turn=turn)
        parts.append(around)
        parts.append(Part(distance, value, centre - 70, centre + 70, label))
        parts.append(ball(centre + medial, (9, 7, 15), uneven(hu["fluid"], 4), turn=turn, rough=2))
        hilum = centre + 1.3 * medial
        parts.append(pipe([hilum, (side * 10 + 4, -22, hilum[2] + 4)], [3.2, 3.6], hu["artery"]))
        parts.append(pipe([hilum + (0, -5, -4), (side * 12 - 12, -32, hilum[2])], [4.5, 5.5], hu["vein"]))
        if generator.random() < 0.25:
            where = centre + turn @ (radii * _direction(generator, side))
            parts.append(ball(where, generator.uniform(5, 14), uneven(hu["fluid"], 3), label))
        if tumour_label is not None and (index == sick or generator.random() < 0.06):
            parts.extend(_kidney_tumour(generator, hu, centre, turn, radii, side, tumour_label))
    return parts


def _direction(generator: np.random.Generator, side: int) -> np.ndarray:
    """Unit vector that does not point to the renal hilum."""
    v = generator.normal(size=3)
    v[0] = side * abs(v[0])
    return v / np.linalg.norm(v)


def _kidney_tumour(
    generator: np.random.Generator,
    hu: dict[str, float],
    centre: np.ndarray,
    turn: np.ndarray,
    radii: np.ndarray,
    side: int,
    label: int,
) -> list[Part]:
    """One mass at the kidney's edge, 8 to 55 mm in radius, uneven, its core often dead."""
    radius = float(np.clip(np.exp(generator.normal(3.0, 0.5)), 8, 55))
    where = centre + turn @ (radii * _direction(generator, side)) * generator.uniform(0.75, 1.05)
    level = float(generator.normal(hu["kidney_tumour"], 22))
    shape = radius * generator.uniform(0.85, 1.15, 3)
    parts = [ball(where, shape, uneven(level, 16, 12), label, rough=0.06 * radius)]
    if radius > 18 and generator.random() < 0.7:
        core = where + generator.normal(0, 0.15, 3) * radius
        parts.append(
            ball(core, shape * generator.uniform(0.3, 0.6), uneven(hu["necrosis"], 8, 4), label, rough=0.1 * radius)
        )
    return parts


def psoas_parts(patient: Patient, hu: dict[str, float], labels: tuple[int, int]) -> list[Part]:
    """Psoas muscles beside the lumbar spine, then forward to the hips; iliacus and quadratus lumborum around them."""
    change = patient.vary("psoas", mm=2.5, size=0.13)
    parts = []
    value = uneven(hu["muscle"] + 2, 5)
    for (_, side), label in zip(SIDES, labels, strict=True):
        rows = np.array(
            [(23, 8, 12, 6), (29, 12, -30, 11), (36, 12, -70, 16), (44, 8, -107, 20), (56, -16, -150, 22),
             (68, -34, -190, 20), (82, -54, -240, 16), (92, -56, -272, 12), (100, -36, -305, 8)], float
        )  # fmt: skip
        rows[:, 0] = side * rows[:, 0] + 0.5 * change.offset[0]
        rows[:, 1] += 0.6 * change.offset[1]
        rows[:, 3] *= change.factor[0]
        curve = smooth_curve(rows, 2)
        parts.append(pipe([(side * 66, 34, -10), (side * 74, 34, -95)], [11, 17], value, rough=1))
        parts.append(ball((side * 78, -2, -172), (19, 44, 52), value, turn=rotation(("z", side * 30.0)), rough=1))
        parts.append(pipe(curve[:, :3], curve[:, 3] + 2.5, uneven(hu["visceral_fat"], 6)))
        parts.append(pipe(curve[:, :3], curve[:, 3], value, label, rough=0.8))
    return parts


def trunk_vessel_parts(patient: Patient, hu: dict[str, float]) -> list[Part]:
    """Inferior caval vein, mesenteric and iliac vessels."""
    parts = [
        replace(
            pipe(
                smooth_curve(on_spine([(-20, -24, -112), (-22, -30, -40), (-25, -38, 40), (-25, -40, 100)]), 2),
                11,
                uneven(hu["vein"], 6),
            ),
            name="inferior_vena_cava",
        ),
        pipe([(3, -44, 6), (0, -58, -30), (-10, -66, -90)], [4, 4, 3], hu["artery"]),
        pipe([(-12, -40, 8), (-10, -60, -30), (-16, -68, -90)], [6, 5.5, 4], hu["portal_vein"]),
        pipe([(6, -42, 18), (22, -48, 24), (62, -8, 36)], [4, 3.2, 2.5], hu["artery"]),
    ]
    for _, side in SIDES:
        path = smooth_curve(
            [
                (side * 2, -34, -106),
                (side * 38, -16, -160),
                (side * 58, -34, -212),
                (side * 78, -84, -278),
                (side * 84, -82, -360),
            ],
            2,
        )
        parts.append(pipe(path, 5, hu["artery"]))
        parts.append(pipe(path + (-side * 3, 10, -4), 6.5, uneven(hu["vein"] * 0.9, 5)))
    return parts


def bladder_parts(patient: Patient, hu: dict[str, float], label: int) -> list[Part]:
    """Urinary bladder, more or less full, with prostate below or uterus behind."""
    change = patient.vary("bladder", mm=4, size=0.18)
    centre, radii = np.array([0, -44, -272.0]), np.array([37, 30, 29.0])
    centre[2] += 26 * (change.factor[2] - 1)
    wall = ball(centre, radii + 3.2, hu["soft"], change=change, rough=1)
    lumen = ball(centre, radii, uneven(hu["bladder"], 2), label, change=change, rough=1)
    tissue = uneven(hu["uterus_prostate"], 8, 4)
    if patient.female:
        return [
            ball((4, -4, -250), (27, 24, 34), tissue, change=patient.vary("uterus", mm=6, size=0.15), rough=2),
            wall,
            lumen,
        ]
    return [
        ball((0, -38, -312), (24, 19, 19), tissue, rough=1),
        ball((0, 6, -285), (28, 7, 9), tissue, rough=1),
        wall,
        lumen,
    ]


def _tract(
    patient: Patient, hu: dict[str, float], points: Points, radii: Vector, *, gas: float, food: float, rough: float
) -> list[Part]:
    """A piece of the digestive tract: wall, contents, and gas that collects in front (patients lie on their backs)."""
    curve = smooth_curve(np.column_stack([points, radii]), 4)
    wall = 2.6
    level = float(curve[:, 1].min() + (2 * gas - 1) * curve[:, 3].mean())

    def gas_distance(region: Region) -> Array:
        lumen = tube(region, curve[:, :3], curve[:, 3] - wall - 1) + np.float32(rough) * region.fields["rough"]
        return np.maximum(lumen, region.y - np.float32(level))

    low, high = curve[:, :3].min(axis=0) - curve[:, 3].max(), curve[:, :3].max(axis=0) + curve[:, 3].max()
    parts = [
        pipe(curve[:, :3], curve[:, 3], hu["bowel_wall"], rough=rough),
        pipe(curve[:, :3], curve[:, 3] - wall, uneven(hu["bowel_content"], food, food), rough=rough),
    ]
    return [*parts, Part(gas_distance, uneven(-960, 20), low, high)] if gas > 0 else parts


def bowel_parts(patient: Patient, hu: dict[str, float]) -> list[Part]:
    """Small bowel's loops, colon with stool and gas, rectum, stomach and duodenum."""
    generator = patient.rng("bowel")
    parts = []
    for _ in range(int(46 - 16 * patient.visceral)):
        z = generator.uniform(-245, -30)
        reach = float(np.interp(z, [-245, -180, -60], [44, 66, 84]))
        start = np.array([generator.uniform(-reach, reach), generator.uniform(-84, -28), z])
        steps = generator.normal(0, 1, (3, 3)) * (22, 14, 12)
        points = np.vstack([start, start + np.cumsum(steps, axis=0)])
        points[:, 0] = np.clip(points[:, 0], -reach, reach)
        points[:, 1] = np.clip(points[:, 1], -86, -24)
        radius = generator.uniform(9, 14)
        parts.append(pipe(points, radius, uneven(hu["bowel_wall"], 6), rough=2))
        parts.append(pipe(points, radius - 3.2, uneven(hu["bowel_content"] + generator.normal(4, 10), 8), rough=2))
        if generator.random() < 0.18:
            parts.append(ball(points[1] - (0, radius * 0.4, 0), radius * 0.5, -850.0))
    bend = generator.normal(0, 6, (20, 3))
    fill = generator.uniform(0.85, 1.2, 5)
    sag = float(generator.uniform(-45, 10))
    right = np.array([(-82, -30, -168), (-92, -24, -130), (-94, -14, -85), (-90, -34, -48)], float) + bend[:4]
    across = (
        np.array(
            [(-88, -60, -42), (-48, -90, -40 + sag), (10, -94, -42 + sag), (58, -88, -22 + sag / 2), (92, -40, 26)],
            float,
        )
        + bend[4:9]
    )
    down = np.array([(96, -10, 24), (97, 6, -40), (95, 0, -100), (88, -20, -150)], float) + bend[9:13]
    sigmoid = np.array([(86, -40, -165), (50, -50, -200), (10, -20, -190), (4, 26, -225)], float) + bend[13:17]
    rectum = np.array([(2, 30, -235), (0, 44, -265), (0, 30, -300), (0, 24, -330)], float)
    parts += _tract(patient, hu, right, 23 * fill[0] * np.ones(4), gas=0.25, food=55, rough=3.5)
    parts += _tract(patient, hu, across, 17 * fill[1] * np.ones(5), gas=0.55, food=30, rough=3.5)
    parts += _tract(patient, hu, down, 14 * fill[2] * np.ones(4), gas=0.0, food=45, rough=3)
    parts += _tract(patient, hu, sigmoid, 14 * fill[3] * np.ones(4), gas=0.2, food=40, rough=3)
    parts += _tract(patient, hu, rectum, np.array([15, 18, 13, 9]) * fill[4], gas=0.3, food=30, rough=2)
    lift = 0.5 * patient.breath_mm
    full = float(generator.uniform(0.75, 1.15))
    stomach = np.array(
        [(16, -14, 96), (48, -6, 96), (66, -24, 70), (64, -58, 36), (36, -80, 8), (0, -80, -4), (-24, -66, 2)], float
    )
    stomach[:, 2] += lift
    radii = np.array([10, 30, 34, 30, 22, 15, 11]) * full
    full_stomach = _tract(patient, hu, stomach, radii, gas=float(generator.uniform(0.2, 0.6)), food=12, rough=2.5)
    parts += [replace(part, name="stomach") for part in full_stomach]
    duodenum = [(-26, -64, 0), (-48, -44, -8), (-52, -30, -40), (-36, -30, -62), (2, -46, -56), (30, -48, -36)]
    parts += _tract(patient, hu, duodenum, np.full(6, 11.5), gas=0.0, food=12, rough=1.5)
    return [inside(part, "cavity", 1.5) for part in parts]
