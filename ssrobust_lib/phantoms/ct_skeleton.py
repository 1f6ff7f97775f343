"""Bones of the CT phantoms: spine with the first lumbar vertebra, ribs, sternum, shoulder girdle, pelvis, femora, jaw.

Enters: a patient and the HU of tissues. Leaves: parts in painting order. Lengths in mm, reference coordinates.
"""

import numpy as np

from ssrobust_lib.phantoms.ct_body import CAVITY, LEAN, profile, spine_y
from ssrobust_lib.phantoms.ct_parts import SIDES, Part, Patient, Value, ball, bone, pipe, uneven
from ssrobust_lib.phantoms.shapes import FAR, Array, Region, rotation, smooth_curve, union

# Height of the vertebral bodies' centres: S1, L5 .. L1, T12 .. T1, C7 .. C2.
LEVELS = np.array(
    [-174, -141, -107, -71, -36, 0, 33, 63, 92, 120, 147, 173, 198, 222, 245, 268, 290, 311, 330, 348, 365, 382, 399,
     416]
)  # fmt: skip
L1 = 5
FIRST_RIB = 17  # index of T1 in LEVELS


def _levels(patient: Patient) -> np.ndarray:
    """Vertebral heights with the patient's own disc spaces; L1 moves by a few mm too."""
    change = patient.rng("vertebrae").normal(0, 1.2, len(LEVELS))
    return LEVELS + np.cumsum(change) * 0.5 + float(patient.vary("spine", mm=4).offset[2])


def spine_parts(patient: Patient, hu: dict[str, float], l1_label: int) -> list[Part]:
    """Discs, canal, vertebrae (body, arch, processes) and, over them, the labelled first lumbar vertebra."""
    levels = _levels(patient)
    half = np.diff(levels, append=levels[-1] + 17) * 0.5 - np.interp(levels, [-180, 0, 150, 330], [5, 4.2, 2.6, 2.2])

    def at_level(region: Region) -> tuple[np.ndarray, Array, Array, Array]:
        index = np.searchsorted(((levels[1:] + levels[:-1]) / 2).astype(np.float32), region.z)
        offset = region.z - levels.astype(np.float32)[index]
        y = region.y - spine_y(region.axes[0])[:, None, None]
        size = np.interp(region.axes[0], [-170, 0, 150, 300, 400], [1.14, 1.0, 0.84, 0.62, 0.52]).astype(np.float32)
        return index, offset, y, size[:, None, None]

    def body(region: Region) -> Array:
        _, _, y, size = at_level(region)
        return (np.hypot(region.x / 23, y / 17) - size) * 18

    def vertebra(region: Region, only: int | None = None) -> Array:
        index, offset, y, size = at_level(region)
        height = half.astype(np.float32)[index]
        radial = (np.hypot(region.x / 22, y / 16) - size) * 18
        out = np.maximum(radial, np.abs(offset) - height)
        arch = np.abs(np.hypot(region.x / (16 * size), (y - 23 * size) / (15 * size)) - 1) * 15 * size - 4.6
        out = union(out, np.maximum(arch, np.abs(offset - 1) - height * 0.8), 3)
        across = np.abs(region.x)
        transverse = np.maximum(np.abs(y - 21 * size) - 4.5, np.maximum(across - 39 * size, np.abs(offset - 2) - 6))
        transverse = np.maximum(transverse, 14 - across)
        spinous = np.maximum(across - 4.2, np.abs(y - 48 * size) - 15 * size)
        spinous = np.maximum(spinous, np.abs(offset + 5) - 9)
        out = union(np.minimum(transverse, spinous), out, 3) + 0.6 * region.fields["rough"]
        return out if only is None else np.where(index == only, out, FAR)

    box = ((-50, -42, -190), (50, 112, 424))
    marrow = patient.rng("bone density").uniform(0.62, 1.35)
    spongy = bone(hu["marrow"] * marrow, hu["cortical"] * (0.75 + 0.25 * marrow), 3.0)
    l1_box = ((-50, -42, levels[L1] - 20), (50, 90, levels[L1] + 20))
    return [
        Part(body, uneven(hu["disc"], 6), *box),
        Part(vertebra, spongy, *box),
        pipe([(0, spine_y(np.array([z]))[0] + 23, z) for z in range(-170, 425, 35)], 7.5, hu["fluid"] + 22),
        Part(lambda region: vertebra(region, L1), spongy, *l1_box, l1_label),
        pipe(
            [(0, spine_y(np.array([z]))[0] + 23, z) for z in (levels[L1] - 20, levels[L1] + 20)], 7.0, hu["fluid"] + 22
        ),
    ]


def rib_parts(patient: Patient, hu: dict[str, float]) -> list[Part]:
    """Twelve pairs of ribs around the thoracic cavity, and the cartilages that join them to the sternum."""
    change = patient.vary("ribs", mm=3, size=0.1)
    levels = _levels(patient)
    value = bone(hu["marrow"], hu["cortical"], 2.2)
    parts = []
    for rib in range(1, 13):
        top = levels[FIRST_RIB + 1 - rib] + 6
        end = {1: 150, 2: 148, 11: 92, 12: 62}.get(rib, 138 - 2.5 * max(rib - 6, 0))
        drop = (38 + 9 * min(rib, 8)) * float(change.factor[0])
        for _, side in SIDES:
            angles = np.radians(np.linspace(20, end, 15))
            z = top - drop * (1 - np.cos(angles)) / 2
            points = _on_cage(z, angles, side, 5.5)
            parts.append(pipe(points, np.linspace(5.2, 5.8, len(points)), value))
            if rib <= 10:
                angles = np.radians(np.linspace(end, 172 if rib < 8 else 160, 6))
                goal = max(levels[FIRST_RIB + 1 - rib] - 20 - 8 * rib, 118 if rib < 8 else 92)
                points = _on_cage(np.linspace(z[-1], goal, 6), angles, side, 6.5)
                parts.append(pipe(points, 5.6, uneven(hu["cartilage"], 12, 10)))
    return parts


def _on_cage(z: np.ndarray, angles: np.ndarray, side: int, outward: float) -> np.ndarray:
    """Points (N, 3) on the wall of the cavity at heights z; angle 0 is the back, pi the front."""
    width, front, back = (profile(CAVITY, column, z) for column in (1, 2, 3))
    # A rounded-off oval, as the cavity's own outline.
    s, c = np.sin(angles), np.cos(angles)
    reach = (np.abs(s) ** 2.5 + np.abs(c) ** 2.5) ** -0.4
    x = side * (width + outward) * s * reach
    y = (front + back) / 2 + ((back - front) / 2 + outward) * c * reach
    return np.column_stack([x, y, z])


def sternum_parts(patient: Patient, hu: dict[str, float], label: int) -> list[Part]:
    """Manubrium, body and xiphoid process behind the front of the lean outline."""
    change = patient.vary("sternum", mm=3, size=0.1)
    top, bottom = 286 + float(change.offset[2]), 118 + 3 * float(change.offset[1])

    def distance(region: Region) -> Array:
        z = region.axes[0]
        middle = (profile(CAVITY, 2, z) + profile(LEAN, 2, z)) / 2
        half = np.interp(z, [bottom, 135, 170, 238, 262, top], [5, 15, 18, 13, 25, 30]).astype(np.float32)
        half = half[:, None, None] * np.float32(change.factor[0])
        flat = np.hypot(region.x / half, (region.y - middle[:, None, None]) / 6.4) - 1
        return np.maximum(flat * 6.4, np.maximum(region.z - np.float32(top), np.float32(bottom) - region.z))

    return [
        Part(
            distance, bone(hu["marrow"] * 0.85, hu["cortical"] * 0.75, 2.2), (-36, -140, bottom), (36, -30, top), label
        )
    ]


def shoulder_parts(patient: Patient, hu: dict[str, float]) -> list[Part]:
    """Clavicles, shoulder blades and humeral heads (arms raised)."""
    change = patient.vary("shoulders", mm=4, size=0.07)
    value = bone(hu["marrow"], hu["cortical"], 2.4)
    lift = float(change.offset[2])
    parts = []
    for _, side in SIDES:
        collar = [(22, -54, 282), (60, -52, 292), (100, -20, 304 + lift), (136, 8, 302 + lift)]
        parts.append(pipe([(side * x, y, z) for x, y, z in collar], 6.2, value))
        turn = rotation(("z", -side * 32.0))
        parts.append(ball((side * 104, 68, 236 + lift), (46, 4.8, 58), value, turn=turn, rough=0.8))
        parts.append(
            pipe([(side * 70, 86, 252 + lift), (side * 122, 66, 288 + lift), (side * 146, 34, 304 + lift)], 6.5, value)
        )
        parts.append(ball((side * 146, 16, 284 + lift), 21, value))
    return parts


def pelvis_parts(patient: Patient, hu: dict[str, float]) -> list[Part]:
    """Iliac wings, sacrum, hip sockets, pubis, ischium, femora."""
    change = patient.vary("pelvis", mm=3, size=0.06)
    value: Value = bone(hu["marrow"] * 0.9, hu["cortical"], 3.0)
    shaft: Value = bone(-40, hu["cortical"] * 1.55, 6.0)
    wide = (1.05 if patient.female else 0.98) * float(change.factor[0])
    parts = [
        ball((0, 30, -186), (50, 19, 26), value, turn=rotation(("x", -25.0)), rough=1),
        ball((0, 58, -222), (36, 13, 40), value, turn=rotation(("x", -24.0)), rough=1),
        pipe([(0, 70, -250), (0, 68, -275), (0, 58, -292)], [9, 7, 5], value),
    ]
    for _, side in SIDES:

        def at(x: float, y: float, z: float, side: int = side) -> tuple[float, float, float]:
            return side * x * wide, y, z

        turn = np.array([[0.56 * side, 0.24 * side, 0.8 * side], [-0.82, 0.16, 0.55], [0.12, 0.95, -0.2]])
        turn = np.linalg.qr(turn)[0]
        parts.append(ball(at(88, 12, -172), (66, 64, 5.5), value, turn=turn, rough=1))
        parts.append(pipe([at(52, 50, -178), at(64, 38, -205), at(84, 8, -246)], [12, 11, 14], value, rough=1))
        parts.append(ball(at(89, -2, -268), 31, value, rough=1))
        parts.append(ball(at(93, -4, -271), 25, hu["soft"]))
        ramus = smooth_curve([at(76, -30, -276), at(45, -66, -286), at(11, -80, -302)], 3)
        parts.append(pipe(ramus, 8.0, value))
        parts.append(pipe([at(11, -80, -302), at(30, -50, -330), at(56, 8, -350)], [8, 6.5, 8], value))
        parts.append(pipe([at(84, 18, -275), at(68, 34, -310), at(56, 18, -348)], [15, 14, 13], value, rough=1))
        parts.append(ball(at(94, -4, -271), 22.5, bone(hu["marrow"] * 1.7, hu["cortical"], 2.4)))
        parts.append(pipe([at(100, -3, -276), at(128, 4, -306)], [14, 16], value))
        parts.append(ball(at(133, 12, -296), (15, 18, 24), value))
        parts.append(pipe([at(128, 4, -310), at(124, 0, -370), at(112, -4, -480)], [17, 14, 14], shaft))
    return parts


def jaw_parts(patient: Patient, hu: dict[str, float]) -> list[Part]:
    """Lower jaw with teeth and the hyoid bone, seen where a scan reaches that high."""
    z = 412 + float(patient.vary("jaw", mm=4).offset[2])
    arc = np.radians(np.linspace(-62, 62, 13))
    jaw = np.column_stack([46 * np.sin(arc) * 1.05, -42 - 46 * np.cos(arc), z + 30 * np.abs(np.sin(arc)) ** 3])
    teeth = np.column_stack([39 * np.sin(arc), -42 - 40 * np.cos(arc), np.full(13, z + 20)])
    value = bone(hu["marrow"] * 1.5, hu["cortical"] * 1.4, 3)
    parts = [pipe(jaw, 8, value), pipe(teeth[2:-2], 6, bone(1300, 1900, 3))]
    hyoid = np.column_stack([20 * np.sin(arc), -46 - 12 * np.cos(arc), np.full(13, z - 16)])
    return [*parts, pipe(hyoid, 3, value)]
