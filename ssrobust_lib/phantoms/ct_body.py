"""The envelope of the CT phantoms: skin, fat, muscle, the body's cavity, diaphragm, lungs, abdominal wall.

Enters: a patient. Leaves: the four distance fields on which organs lean ("skin", "lean", "cavity", "dome") and the
parts of the wall, in painting order. Lengths in mm, reference coordinates.
"""

from collections.abc import Callable

import numpy as np

from ssrobust_lib.phantoms.ct_parts import SIDES, Part, Patient, Value, ball, pipe, uneven
from ssrobust_lib.phantoms.shapes import Array, Region, intersection, oval

# Rows: z, half width, front y, back y. Lean outline: the body without its subcutaneous fat.
LEAN = np.array(
    [
        (-480, 150, -72, 78), (-400, 158, -84, 92), (-340, 166, -92, 104), (-300, 169, -101, 113),
        (-250, 166, -113, 115), (-200, 154, -115, 105), (-140, 141, -112, 88), (-71, 134, -112, 78),
        (0, 139, -118, 82), (60, 146, -127, 92),
        (110, 151, -127, 97), (150, 156, -120, 101), (200, 163, -105, 103), (250, 174, -84, 96), (282, 172, -70, 84),
        (303, 138, -63, 74), (320, 95, -62, 64), (338, 68, -66, 54), (355, 60, -70, 50), (380, 60, -76, 52),
        (405, 64, -96, 60), (440, 72, -104, 76), (520, 74, -104, 86),
    ]
)  # fmt: skip
CAVITY = np.array(
    [
        (-480, 6, -30, -18), (-345, 14, -48, 0), (-315, 44, -68, 38), (-285, 60, -86, 52), (-250, 66, -95, 54),
        (-215, 78, -101, 46), (-180, 97, -102, 36), (-150, 110, -100, 40), (-107, 117, -99, 44), (-71, 117, -99, 44),
        (0, 121, -106, 50), (60, 129, -115, 64), (110, 134, -113, 73), (150, 134, -106, 79), (200, 126, -90, 79),
        (250, 104, -66, 66), (280, 82, -49, 53), (300, 62, -38, 40), (316, 42, -27, 26), (330, 18, -18, 10),
        (345, 5, -14, -4), (520, 5, -14, -4),
    ]
)  # fmt: skip
SPINE_Y = np.array(
    [
        (-480, 66), (-280, 72), (-250, 66), (-220, 54), (-190, 34), (-165, 12), (-142, -2), (-107, -8), (-71, -9),
        (-36, -5), (0, 0), (90, 18), (170, 29), (240, 24), (311, 6), (349, -8), (400, -12), (520, -10),
    ]
)  # fmt: skip


def profile(table: np.ndarray, column: int, z: Array) -> Array:
    """Smooth interpolation of a table's column over z: linear between rows, then averaged over 24 mm."""
    out = np.zeros(np.shape(z))
    for shift, weight in zip((-12, -6, 0, 6, 12), (1, 2, 3, 2, 1), strict=True):
        out += weight / 9 * np.interp(np.asarray(z, float) + shift, table[:, 0], table[:, column])
    return out.astype(np.float32)


def spine_y(z: Array) -> Array:
    """y of the vertebral bodies' centres at height z, both in mm."""
    return profile(SPINE_Y, 1, np.asarray(z))


def dome_height(patient: Patient, x: Array, y: Array) -> Array:
    """Height z of the diaphragm over (x, y), mm: two domes that fall away to the sides and the back."""
    change = patient.vary("diaphragm", mm=6, size=0.07)
    out = np.full(np.broadcast_shapes(np.shape(x), np.shape(y)), -999, np.float32)
    for (_, side), peak, extra in zip(SIDES, (128, 114), change.offset[:2], strict=True):
        across = (x - np.float32(side * 74)) * side
        across = np.where(across > 0, across / 50, across / 118)
        along = y + 28
        along = np.where(along > 0, along / 74, along / 112) * np.float32(change.factor[0])
        height = np.float32(peak + patient.breath_mm + extra) - 68 * np.minimum(across * across + along * along, 1.75)
        out = np.maximum(out, height)
    return out


def add_envelope_fields(region: Region, patient: Patient) -> None:
    """Add to region.fields the distances "skin", "lean", "cavity" (negative inside) and "dome" (negative below), mm."""
    z = region.axes[0]
    rough = region.fields["rough"]
    front, side, back = patient.fat_mm
    # Fat thins out towards neck and thighs, and is thickest around the waist and the hips.
    amount = np.interp(z, [-420, -330, -200, -40, 120, 250, 320, 400], [0.7, 0.9, 1.1, 1.0, 0.75, 0.6, 0.45, 0.35])
    amount = amount.astype(np.float32)
    lean = [profile(LEAN, column, z) for column in (1, 2, 3)]
    legs = np.hypot(np.abs(region.x) - 86, region.y - 6) - 92 - 3 * np.maximum(region.z + 352, 0)
    region.fields["skin"] = np.maximum(
        oval(region, lean[0] + side * amount, lean[1] - front * amount, lean[2] + back * amount), legs
    )
    region.fields["lean"] = np.maximum(oval(region, lean[0], lean[1], lean[2]) + 0.8 * rough, legs + 10 + side * 0.7)
    swell = np.float32(5 * (patient.visceral - 0.4))
    cavity = [profile(CAVITY, column, z) for column in (1, 2, 3)]
    region.fields["cavity"] = np.maximum(oval(region, cavity[0] + swell, cavity[1] - swell, cavity[2]), region.z - 334)
    region.fields["dome"] = (region.z - dome_height(patient, region.x, region.y)) * np.float32(0.62)


def _whole(distance: Callable[[Region], Array], value: Value, label: int | None = 0) -> Part:
    return Part(distance, value, (-400, -300, -600), (400, 300, 700), label)


def _marbled(hu: float, fat: float, streaks: float) -> Value:
    """Muscle crossed by planes of fat; `streaks` in [0, 1] says how much."""

    def value(region: Region, distance: Array) -> Array:
        out = np.float32(hu) + 4 * region.fields["texture"]
        share = np.clip(
            (region.fields["texture"] + 0.5 * region.fields["fine"] - np.float32(2.1 - 1.4 * streaks)) * 0.9, 0, 0.9
        )
        return out + share * (np.float32(fat) - out)

    return value


def envelope_parts(patient: Patient, hu: dict[str, float]) -> list[Part]:
    """Skin, subcutaneous fat, muscle and the fat that fills the cavity, in painting order."""
    generator = patient.rng("envelope")
    parts = [_whole(lambda r: r.fields["skin"], hu["skin"])]
    parts.append(_whole(lambda r: r.fields["skin"] + 2.2, uneven(hu["fat"], 5, 3)))
    if patient.female:
        size = float(generator.uniform(34, 58))
        for _, side in SIDES:  # flattened, since she lies on her back
            centre, radii = np.array((side * 88, -96, 172)), np.array((1.25, 0.75, 1.05)) * size
            parts.append(ball(centre, radii, hu["skin"], rough=2))
            parts.append(ball(centre, radii - 2.2, uneven(hu["fat"], 8, 4), rough=2))
            gland = uneven(hu["muscle"] - 35, 30, 20)
            parts.append(ball(centre + (0, -0.3 * size, 0), radii * 0.45, gland, rough=3))
    parts.append(_whole(lambda r: r.fields["lean"], _marbled(hu["muscle"], hu["fat"], 0.25 + 0.5 * patient.visceral)))
    # The erector spinae and the gluteal muscles are parted from their neighbours by fat.
    for _, side in SIDES:
        parts.append(
            pipe(
                [(side * 52, 66, 40), (side * 50, 58, -60), (side * 40, 74, -140)],
                [5, 5, 4],
                uneven(hu["fat"], 6),
                rough=1.5,
            )
        )
        parts.append(ball((side * 112, 62, -240), (5, 34, 62), uneven(hu["fat"], 6), rough=2))
        parts.append(ball((side * 55, -60, -330), (32, 14, 60), uneven(hu["fat"], 6), rough=3))
        parts.append(ball((side * 118, -22, 268), (26, 30, 42), uneven(hu["fat"], 6), rough=4))
        parts.append(ball((side * 40, -18, 372), (9, 16, 42), uneven(hu["fat"] + 15, 8), rough=3))
    parts.append(_whole(lambda r: r.fields["cavity"], uneven(hu["visceral_fat"], 8, 6)))
    return parts


def rectus_parts(patient: Patient, hu: dict[str, float], labels: tuple[int, int]) -> list[Part]:
    """Right and left rectus abdominis: flat muscles behind the lean outline, from the ribs to the pubis."""
    change = patient.vary("rectus", mm=2, size=0.12)
    thick, wide = 5.3 * float(change.factor[0]), float(change.factor[1])
    top, bottom = 82 + float(change.offset[0]) * 4, -293.0
    out = [ball((0, -114, -80), (7, 14, 170), uneven(hu["fat"] + 25, 6))]
    for (_, side), label in zip(SIDES, labels, strict=True):

        def distance(region: Region, side: int = side) -> Array:
            half = np.interp(region.axes[0], [-300, -230, -60, 40, 95], [9, 19, 28, 30, 27]).astype(np.float32)[
                :, None, None
            ]
            half = half * np.float32(wide)
            gap = np.interp(region.axes[0], [-290, -100, 0, 60], [2, 4, 7, 10]).astype(np.float32)[:, None, None]
            depth = (
                np.abs(region.fields["lean"] + np.float32(thick + 2)) - np.float32(thick) + 0.5 * region.fields["rough"]
            )
            sideways = np.abs(region.x * side - half - gap) - half
            out = intersection(depth, sideways, 5)
            out = np.maximum(out, np.maximum(region.z - np.float32(top), np.float32(bottom) - region.z))
            return np.maximum(out, region.y + 35)

        low, high = ((2, -175, bottom), (88, -40, top)) if side > 0 else ((-88, -175, bottom), (-2, -40, top))
        out.append(Part(distance, uneven(hu["muscle"] + 2, 5), low, high, label))
    return out


def lung_parts(patient: Patient, hu: dict[str, float], labels: tuple[int, int]) -> list[Part]:
    """Right and left lung: the thoracic cavity above the diaphragm and beside the mediastinum."""
    change = patient.vary("mediastinum", mm=3, size=0.1)
    out = []
    for (_, side), label in zip(SIDES, labels, strict=True):

        def distance(region: Region, side: int = side) -> Array:
            z = region.axes[0][:, None, None]
            ahead = np.exp(-(((region.y + 8) / 46) ** 2))
            width = np.interp(z, [60, 150, 200, 260, 320], [24, 32, 34, 32, 24]).astype(np.float32) * np.float32(
                change.factor[0]
            )
            inner = width * (0.32 + 0.68 * ahead) - (region.x - np.float32(change.offset[0])) * side
            column = np.float32(25) - np.hypot(region.x, region.y - spine_y(region.axes[0])[:, None, None])
            room = region.fields["cavity"] + 1.5 + 0.7 * region.fields["rough"]
            out = intersection(room, np.maximum(inner, column), 14)
            return intersection(out, np.float32(2) - region.fields["dome"], 6)

        low, high = ((-4, -125, -20), (145, 95, 330)) if side > 0 else ((-145, -125, -20), (4, 95, 330))
        out.append(Part(distance, lung_value(hu["lung"]), low, high, label))
    return out


def lung_value(hu: float) -> Value:
    """HU of lung: denser towards the back, where blood collects, and dotted with vessels too small to draw."""

    def value(region: Region, distance: Array) -> Array:
        small = np.maximum(region.fields["fine"] - 0.9, 0)
        return np.float32(hu) + 0.45 * region.y + 14 * region.fields["texture"] + 130 * small * small

    return value
