"""A thorax from twenty-odd numbers: how many mm of soft tissue, lung and bone lie on the ray of each pixel.

Enters: a drawn `Anatomy` and a pixel grid. Leaves: `Thorax`, the line integrals that `xray.py` turns into an image by
Beer-Lambert's law. Stands in for the patients of the RSNA set (paper, section 2). Shapes are ellipsoids, tubes and
domes; ribs are inclined rings round an elliptic chest, so their back and front halves cross as in a radiograph.
"""

from dataclasses import dataclass

import numpy as np

from ssrobust_lib.phantoms.xray_geometry import (
    Plane,
    add_ellipsoid,
    add_rod,
    ellipse,
    half_circle,
    ramp,
    shell,
    tube,
)

RIBS = 11  # rings drawn on each side


@dataclass(frozen=True)
class Anatomy:
    """One patient's body. Lengths in mm, in the frame of `Plane`.

    `inspiration` moves the diaphragm, `rotation` is how far the front of the chest is turned to the patient's left,
    `heart` scales the heart, `fat` is the layer under the skin, `arms` how far the arms are spread (0 by the side).
    """

    female: bool
    frontal_tube: bool  # True for AP: the tube stands in front, the heart is magnified, the shoulders stay on the lungs
    scale: float
    half_width: float
    depth: float
    fat: float
    inspiration: float
    rotation: float
    heart: float
    heart_tilt: float
    scoliosis: float
    aorta: float
    breast: float
    arms: float
    clavicle_rise: float
    rib_pitch: float
    rib_drop: float
    rib_radius: float
    rib_jitter: tuple[float, ...]
    mineral: float
    dome_height: float
    dome_difference: float
    stomach_gas: float
    stomach_x: float
    bowel_gas: tuple[tuple[float, float, float], ...]

    @property
    def apex(self) -> float:
        """Top of the lungs."""
        return -138.0 * self.scale

    @property
    def domes(self) -> tuple[float, float]:
        """Tops of the diaphragm, right and left (the left one usually lower)."""
        right = 80.0 * self.scale + self.inspiration
        return right, right + self.dome_difference

    @property
    def hilum(self) -> float:
        """Level of the lung roots."""
        return self.apex + 0.50 * (self.domes[0] - self.apex)


@dataclass(frozen=True)
class Thorax:
    """Line integrals, float32 (N, N), mm: `soft` tissue, inflated `lung`, `bone`; `chest` is the lung without heart."""

    soft: np.ndarray
    lung: np.ndarray
    bone: np.ndarray
    chest: np.ndarray


def draw_anatomy(generator: np.random.Generator, *, female: bool, frontal_tube: bool, age: int) -> Anatomy:
    """Draw a body: size and habitus by sex, heart and mineral by age, inspiration, rotation and arms by view."""
    scale = float(np.clip(generator.normal(0.94 if female else 1.02, 0.055), 0.8, 1.17))
    habitus = float(np.clip(generator.gamma(4.0, 0.25), 0.25, 2.6))  # 1 is average
    old = (age - 50) / 50
    bowel = tuple(
        (float(generator.uniform(-110, 120)), float(generator.uniform(45, 130)), float(generator.uniform(6, 20)))
        for _ in range(generator.poisson(1.2))
    )
    return Anatomy(
        female=female,
        frontal_tube=frontal_tube,
        scale=scale,
        half_width=float((128 if female else 138) * scale * generator.normal(1, 0.045)),
        depth=float((182 + 34 * habitus) * scale * generator.normal(1, 0.05)),
        fat=float(10 + 17 * habitus),
        inspiration=float(generator.normal(-20, 17) if frontal_tube else generator.normal(12, 13)),
        rotation=float(generator.normal(0, 8 if frontal_tube else 4)),
        heart=float(np.clip(generator.normal((1.1 if frontal_tube else 0.96) + 0.06 * old, 0.09), 0.75, 1.45)),
        heart_tilt=float(generator.normal(0.55, 0.12)),
        scoliosis=float(generator.normal(0, 5)),
        aorta=float(np.clip(generator.normal(1 + 0.16 * old, 0.12), 0.7, 1.5)),
        breast=float(generator.gamma(3.0, 0.3)) if female else 0.0,
        arms=float(generator.uniform(0.0, 0.45) if frontal_tube else generator.uniform(0.35, 1.0)),
        clavicle_rise=float(generator.normal(20 if frontal_tube else 6, 9)),
        rib_pitch=float(generator.normal(23.5, 1.2) * scale),
        rib_drop=float(generator.normal(84, 12) * scale),
        rib_radius=float(generator.normal(5.6, 0.5) * scale),
        rib_jitter=tuple(generator.normal(0, 1.3, RIBS).tolist()),
        mineral=float(np.clip(generator.normal(1 - 0.18 * old, 0.14), 0.55, 1.5)),
        dome_height=float(generator.uniform(24, 40) * scale),
        dome_difference=float(generator.normal(9, 7)),
        stomach_gas=float(generator.gamma(2.0, 9.0)) if generator.random() < 0.55 else 0.0,
        stomach_x=float(generator.uniform(48, 88)),
        bowel_gas=bowel,
    )


def project_thorax(anatomy: Anatomy, plane: Plane) -> Thorax:
    """Sum the solids along every ray.

    Lung replaces soft tissue, heart and great vessels replace lung, gas replaces soft tissue, bone is added on top.
    """
    wall, chest = _chest_cavity(anatomy, plane)
    chest = chest * _above_diaphragm(anatomy, plane)
    lung = np.clip(chest - _mediastinum(anatomy, plane), 0, None)
    gas = _gas(anatomy, plane)
    body = _body(anatomy, plane)
    soft = np.clip(body - lung - np.minimum(gas, 0.9 * body), 0, None) + _breasts(anatomy, plane)
    bone = _ribs(anatomy, plane, wall) + _spine(anatomy, plane) + _shoulders(anatomy, plane)
    return Thorax(soft, lung, np.float32(anatomy.mineral) * bone * (body > 0), chest)


def spine_x(anatomy: Anatomy, y: np.ndarray) -> np.ndarray:
    """Midline of the spine in mm at height y: a shallow S."""
    return np.float32(anatomy.scoliosis) * np.sin((y + np.float32(60)) / np.float32(85 * anatomy.scale))


def _chest_cavity(anatomy: Anatomy, plane: Plane) -> tuple[np.ndarray, np.ndarray]:
    """Half-width (N, 1) of the rib cage at each height, and depth (N, N) in mm of both pleural cavities, undivided."""
    g, height = anatomy.scale, anatomy.domes[0] - anatomy.apex
    t = (plane.y - np.float32(anatomy.apex)) / np.float32(height)  # (N, 1)
    centre = np.float32(54 * g) * (1 - ramp(t, 0.0, 0.42))  # two separate domes at the top, one chest below
    rise = np.sqrt(np.clip(1 - (1 - np.clip(t / 0.8, 0, 1)) ** 3.4, 0, 1))
    full = np.float32(anatomy.half_width) * (np.float32(0.85) + np.float32(0.15) * np.clip(t, 0, 1.2))
    half = np.clip((full - centre) * rise, 1e-3, None)
    s = np.abs((np.abs(plane.x - np.float32(0.3 * anatomy.rotation)) - centre) / half)
    depth = np.float32(0.76 * anatomy.depth) * np.clip(0.55 + 0.9 * t, 0, 1) * (t > 0)
    turned = 1 + np.float32(0.006 * anatomy.rotation) * plane.side  # rotation makes one side deeper, so darker
    return centre + half, depth * turned * half_circle(s * s * np.sqrt(s))


def dome_level(anatomy: Anatomy, plane: Plane) -> np.ndarray:
    """Height y in mm, (1, N), of the diaphragm's outline in each column."""
    right, left = anatomy.domes
    offset = (np.abs(plane.x) - np.float32(0.50 * anatomy.half_width)) / np.float32(0.5 * anatomy.half_width)
    step = ramp(plane.x, -12, 12)  # under the heart one dome passes into the other
    top = np.float32(right) * (1 - step) + np.float32(left) * step
    lateral = np.float32(1.35) * np.clip(offset, 0, None) ** 2.4 + np.float32(0.22) * np.clip(-offset, 0, None) ** 2
    return top + np.float32(anatomy.dome_height) * lateral


def _above_diaphragm(anatomy: Anatomy, plane: Plane) -> np.ndarray:
    """Share of the lung left at a pixel: 1 above the dome, then what lies in front of and behind its chord."""
    above = 1 - np.clip((plane.y - dome_level(anatomy, plane)) * np.float32(1 / (38 * anatomy.scale)), 0, 1)
    return 1 - half_circle(above * above)


def _mediastinum(anatomy: Anatomy, plane: Plane) -> np.ndarray:
    """Depth in mm of heart, great vessels and the tissue between the lungs."""
    g, front, depth = anatomy.scale, anatomy.rotation, 0.76 * anatomy.depth
    bottom, h, aorta = 0.4 * anatomy.domes[0] + 0.6 * anatomy.domes[1], anatomy.heart, anatomy.aorta
    apex, hilum = anatomy.apex, anatomy.hilum
    width = 29 * g * (1 + 0.1 * (aorta - 1)) * (1 - 0.18 * ramp(plane.y, hilum, hilum + 40))  # (N, 1)
    offset = (plane.x - np.float32(0.5 * front)) / width
    chord = np.float32(1.15 * depth) * half_circle(offset * offset)
    chord = chord * (1 - np.float32(0.40) * ramp(plane.y, hilum - 5, hilum + 50))
    parts = [
        (0.86, (25 * h * g + front, bottom - 22 * g), (70 * h * g, 47 * h * g), anatomy.heart_tilt),  # ventricles
        (0.74, (-11 * g + front, bottom - 28 * g), (37 * h * g, 54 * h * g), -0.10),  # right atrium
        (0.64, (17 * g + front, hilum + 4 * g), (29 * h * g, 40 * g), 0.30),  # pulmonary trunk, left atrium's ear
        (0.46, (-16 * g + 0.6 * front, hilum - 26 * g), (20 * aorta * g, 44 * g), 0.05),  # vena cava, ascending aorta
        (0.58, (16 * g + 0.3 * front, hilum - 36 * g), (23 * aorta * g, 19 * aorta * g), 0.0),  # aortic knob
    ]
    for share, centre, axes, tilt in parts:
        part = np.float32(share * depth * min(h, 1.2)) * half_circle(ellipse(plane, centre, axes, tilt))
        np.maximum(chord, part, out=chord)
    descending = tube(plane.x - np.float32(15 * g) - spine_x(anatomy, plane.y), 12 * aorta * g)
    chord += descending * ramp(plane.y, hilum - 45 * g, hilum - 30 * g)
    hila = half_circle(ellipse(plane, (34 * g, hilum), (18 * g, 25 * g), -0.3, mirror=True))
    chord += np.float32(22 * g) * hila * hila
    neck = np.float32(depth) * (1 - ramp(np.abs(plane.x), 24 * g, 40 * g)) * (1 - ramp(plane.y, apex, apex + 34 * g))
    return np.maximum(chord, neck)


def _gas(anatomy: Anatomy, plane: Plane) -> np.ndarray:
    """Chord in mm through the airways, the stomach bubble under the left dome and gas in the bowel."""
    g, carina, x = anatomy.scale, anatomy.hilum - 24 * anatomy.scale, 0.4 * anatomy.rotation
    gas = plane.zeros()
    add_rod(gas, plane, (x - 2, -400.0), (x, carina), 8.5 * g)
    add_rod(gas, plane, (x, carina), (x - 24 * g, carina + 34 * g), 6.5 * g)
    add_rod(gas, plane, (x, carina), (x + 36 * g, carina + 30 * g), 5.5 * g)
    if anatomy.stomach_gas > 0:
        r = 10 + anatomy.stomach_gas
        level = anatomy.domes[1] + 10 + 0.62 * r
        bubble = plane.zeros()
        add_ellipsoid(bubble, plane, (anatomy.stomach_x, level), (1.25 * r, 0.75 * r), 1.2 * r, 0.25)
        if not anatomy.frontal_tube:  # an upright patient's fluid level
            bubble *= 1 - ramp(plane.y, level + 0.25 * r, level + 0.25 * r + 5)
        gas += bubble
    for place, below, r in anatomy.bowel_gas:
        add_ellipsoid(gas, plane, (place, anatomy.domes[1] + below), (1.5 * r, r), 1.1 * r, 0.4)
    return gas


def _body(anatomy: Anatomy, plane: Plane) -> np.ndarray:
    """Thickness in mm of the whole body, arms included."""
    g, apex = anatomy.scale, anatomy.apex
    across = np.abs(plane.x)  # (1, N)
    trunk = np.float32(anatomy.half_width + 6 + 0.75 * anatomy.fat) + np.float32(0.10) * np.clip(plane.y, 0, 120)
    armpit = apex + (105 - 30 * anatomy.arms) * g
    outline = trunk + np.float32(150 * g) * (1 - ramp(plane.y, armpit - 60 * g, armpit + 35 * g)) ** 2  # (N, 1)
    q = across / outline
    trunk_share = half_circle(q * q * q)
    neck = np.float32(50 * g + 0.25 * anatomy.fat)
    slope = np.clip(across - neck, 0, None)
    skin = np.float32(apex - 24 * g - 0.3 * anatomy.fat) + np.float32(0.36) * slope
    skin = skin + np.float32(-90 * g) * np.exp(-slope / np.float32(14))  # the shoulder runs up into the neck
    above = 1 - np.clip((plane.y - skin) * np.float32(1 / (70 * g)), 0, 1)
    taper = np.float32(0.74) + np.float32(0.26) * ramp(plane.y, apex - 10 * g, apex + 80 * g)
    belly = 1 + np.float32(0.16 * anatomy.depth / 216) * ramp(plane.y, anatomy.domes[0] - 50, anatomy.domes[0] + 90)
    body = np.float32(anatomy.depth + 0.9 * anatomy.fat) * taper * belly * trunk_share * half_circle(above * above)
    ratio = across / neck
    column = np.float32(120 * g) * half_circle(ratio * ratio) * (plane.y < apex + 40 * g)
    np.maximum(body, column, out=body)
    arm = plane.zeros()
    for side in (-1, 1):
        start, end = (side * 178 * g, apex + 62 * g), (side * _elbow(anatomy)[0], _elbow(anatomy)[1])
        add_rod(arm, plane, start, end, 36 * g + 0.55 * anatomy.fat, amount=0.85)
    return np.maximum(body, arm)


def _elbow(anatomy: Anatomy) -> tuple[float, float]:
    """Where the left arm leads, in mm."""
    swing = 0.10 + 0.95 * anatomy.arms
    return 178 * anatomy.scale + 300 * np.sin(swing) + 14, anatomy.apex + 62 * anatomy.scale + 300 * np.cos(swing)


def _breasts(anatomy: Anatomy, plane: Plane) -> np.ndarray:
    """Extra soft tissue in mm: rounded below, fading above."""
    if anatomy.breast <= 0:
        return plane.zeros()
    g, r = anatomy.scale, (44 + 15 * anatomy.breast) * anatomy.scale
    x = np.abs(plane.x) - np.float32(0.60 * anatomy.half_width)
    y = plane.y - np.float32(anatomy.domes[0] - 14 * g + 9 * anatomy.breast)
    v = y / np.where(y > 0, np.float32(0.72 * r), np.float32(1.5 * r))
    return np.float32(34 * anatomy.breast * g) * half_circle((x / np.float32(1.05 * r)) ** 2 + v * v)


def _ribs(anatomy: Anatomy, plane: Plane, wall: np.ndarray) -> np.ndarray:
    """Bone in mm of the ribs: rings round an ellipse that sink by `rib_drop` from back to front.

    At relative width s = |x| / wall a ring lies sqrt(1 - s^2) of the chest's half-depth behind (back half) or before
    (front half) the frontal plane, hence at y = start + drop / 2 (1 -+ sqrt(1 - s^2)).
    """
    g, pitch, drop = anatomy.scale, np.float32(anatomy.rib_pitch), anatomy.rib_drop
    outer = wall + np.float32(5)
    s = np.abs(plane.x) / outer
    middle = half_circle(s * s)
    start = (plane.y - np.float32(anatomy.apex + 2 * g)) / pitch
    jitter = np.asarray((*anatomy.rib_jitter, 1e6), dtype=np.float32)  # the last: no such rib
    steep = np.float32(drop / 2) * s / (np.maximum(middle, 0.16) * outer)
    steep = 1 / np.sqrt(1 + steep * steep)
    aside = ramp(s, 0.80, 0.97) * np.float32(0.55) + 1  # seen along its length at the side
    aside *= s < 1
    total = plane.zeros()
    for front in (False, True):
        sink = np.float32(drop / 2 / pitch) * (1 + middle if front else 1 - middle)
        if not front:  # a back rib first climbs a little beside the spine
            sink += np.float32(9 * g / pitch) * (ramp(s, 0.0, 0.55) - 1)
        place = start - sink
        index = np.rint(place)
        number = np.where((index >= 0) & (index < RIBS), index, np.float32(RIBS)).astype(np.intp)
        distance = ((place - index) * pitch + jitter[number]) * steep
        ends = ramp(s, 0.44, 0.60) * np.float32(0.5) if front else ramp(np.abs(plane.x), 10 * g, 20 * g)
        total += shell(distance, anatomy.rib_radius * (1.12 if front else 1.0)) * ends
    return total * aside


def _spine(anatomy: Anatomy, plane: Plane) -> np.ndarray:
    """Bone in mm of the vertebral column: bodies, disc gaps, pedicles, spinous and transverse processes."""
    g = anatomy.scale
    window = plane.window((-52.0, 52.0), (-1e4, 1e4))
    pitch = np.float32(24.0 * g) + np.float32(0.012) * plane.y  # (N, 1)
    x = np.abs(plane.x[:, window[1]] + np.float32(0.35 * anatomy.rotation) - spine_x(anatomy, plane.y))
    place = (plane.y - np.float32(anatomy.apex)) / pitch
    within = (place - np.floor(place) - np.float32(0.5)) * pitch  # (N, 1), mm from the middle of a vertebra
    waist = (17 + 0.025 * np.clip(plane.y, -120, 150)) * g - np.float32(2) * np.cos(within / pitch * np.float32(6.28))
    q = (x / waist) ** 2
    body = half_circle(q * q) * (1 - np.float32(0.4) * ramp(np.abs(within), 8.0 * g, 11.5 * g))
    pedicles = half_circle(((x - 11 * g) / (4.2 * g)) ** 2 + ((within + 2 * g) / (5.5 * g)) ** 2)
    process = half_circle((x / (3.2 * g)) ** 2 + ((within - 7 * g) / (8 * g)) ** 2)
    transverse = half_circle(((x - 22 * g) / (13 * g)) ** 2 + ((within + 1 * g) / (4.5 * g)) ** 2)
    bone = plane.zeros()
    bone[:, window[1]] = np.float32(g) * (6 * body + 4 * pedicles + 5 * process + 4 * transverse)
    return bone


def _shoulders(anatomy: Anatomy, plane: Plane) -> np.ndarray:
    """Bone in mm of clavicles, shoulder blades and upper arms."""
    g, apex = anatomy.scale, anatomy.apex
    inner = apex + 40 * g
    outer = inner - anatomy.clavicle_rise - 14 * g
    t = (np.abs(plane.x - np.float32(0.5 * anatomy.rotation)) - np.float32(20 * g)) / np.float32(138 * g)  # (1, N)
    line = np.float32(inner) + np.float32(outer - inner) * t - np.float32(9 * g) * np.sin(np.float32(5.65) * t)
    radius = (6.2 + 2.6 * (1 - ramp(t, 0.0, 0.25)) + 1.5 * ramp(t, 0.8, 1.0)) * np.float32(g)
    ends = ramp(t, -0.03, 0.02) * (1 - ramp(t, 0.98, 1.04))
    rows = plane.window((0.0, 0.0), (inner - 110 * g, inner + 110 * g))[0]
    bone = plane.zeros()
    bone[rows] = np.float32(1.4) * shell(plane.y[rows] - line, radius) * ends
    off = 30.0 * anatomy.arms * g  # raised arms draw the shoulder blades off the lungs
    socket, tip = (152 * g, apex + 60 * g), (112 * g + off, apex + 158 * g)
    medial = (84 * g + off, apex + 52 * g)
    ridge = ((medial[0] + 4, medial[1] + 4), (164 * g, apex + 28 * g))
    for side in (-1, 1):
        for (x0, y0), (x1, y1), r, amount, marrow in (
            (socket, tip, 4.2 * g, 0.8, 0.7),
            (*ridge, 4.5 * g, 0.55, 0.7),
            ((180 * g, apex + 62 * g), _elbow(anatomy), 12 * g, 0.8, 0.6),
        ):
            add_rod(bone, plane, (side * x0, y0), (side * x1, y1), r, amount=amount, marrow=marrow)
        add_ellipsoid(bone, plane, (side * 174 * g, apex + 54 * g), (23 * g, 23 * g), 16 * g)
    _add_triangle(bone, plane, (socket, tip, medial), 2.6)
    return bone


def _add_triangle(total: np.ndarray, plane: Plane, corners: tuple[tuple[float, float], ...], amount: float) -> None:
    """Add a soft-edged plate of `amount` mm on each side; corners (left side) clockwise on the screen."""
    xs, ys = zip(*corners, strict=True)
    for side in (-1, 1):
        window = plane.window((min(side * x for x in xs), max(side * x for x in xs)), (min(ys), max(ys)))
        across, down = side * plane.x[:, window[1]], plane.y[window[0]]
        inside = np.full((down.shape[0], across.shape[1]), amount, dtype=np.float32)
        for (x0, y0), (x1, y1) in zip(corners, (*corners[1:], corners[0]), strict=True):
            length = float(np.hypot(x1 - x0, y1 - y0))
            inward = np.float32((x1 - x0) / length) * (down - y0) - np.float32((y1 - y0) / length) * (across - x0)
            inside = inside * ramp(inward.astype(np.float32), -1.0, 4.0)
        total[window] += inside
