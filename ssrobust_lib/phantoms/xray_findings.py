"""What makes a film abnormal: pneumonia, and the harmless or other things that look like it.

Enters: a class of the RSNA detailed table, an `Anatomy` and a generator. Leaves: `Findings`, a plain list of what this
patient has, and the maps that they add to the thorax. Pneumonia is lobar (dense, cut off by a fissure) or patchy (one
or several clouds); 'No Lung Opacity / Not Normal' films carry nodules, masses, bands, effusions, congestion, scarring
or a big heart instead. Devices and nipple shadows may lie on any film. Paper, section 2 (RSNA set).
"""

from dataclasses import dataclass, replace

import numpy as np

from ssrobust_lib.phantoms.xray_anatomy import Anatomy, Thorax, dome_level
from ssrobust_lib.phantoms.xray_geometry import Plane, add_ellipsoid, add_rod, cloud, ellipse, ramp

OPACITY, ABNORMAL, NORMAL = "Lung Opacity", "No Lung Opacity / Not Normal", "Normal"
CLASSES = (OPACITY, ABNORMAL, NORMAL)
PREVALENCE = (6012 / 26684, 11821 / 26684, 8851 / 26684)  # patients of the RSNA stage-2 table in each class

LOOKALIKES = ("nodules", "mass", "bands", "effusion", "congestion", "scars", "granuloma", "cardiomegaly", "raised_dome")
_SHARES = np.array([0.16, 0.07, 0.16, 0.13, 0.16, 0.11, 0.07, 0.09, 0.05])


@dataclass(frozen=True)
class Focus:
    """One pneumonic opacity: an ellipse with a ragged edge, perhaps cut by a fissure. Lengths in mm.

    `density` is the share of the air on a ray that is replaced at its middle; `cut` is the fissure's height (None: no
    fissure), `keep_above` the side of it that is ill, `slope` its tilt.
    """

    x: float
    y: float
    rx: float
    ry: float
    tilt: float
    density: float
    ragged: float
    cut: float | None
    keep_above: bool
    slope: float


@dataclass(frozen=True)
class Findings:
    """Everything added to one thorax: pneumonic foci, and the names of look-alikes."""

    foci: tuple[Focus, ...]
    lookalikes: tuple[str, ...]
    nipples: bool


def draw_findings(generator: np.random.Generator, category: str, anatomy: Anatomy) -> Findings:
    """Draw what a patient of a class has. Look-alikes may accompany pneumonia; a normal film has none."""
    nipples = bool(generator.random() < 0.12)
    number = 0
    if category == ABNORMAL:
        number = 1 + generator.binomial(2, 0.35)
    elif category == OPACITY:
        number = generator.binomial(2, 0.40)
    names = generator.choice(LOOKALIKES, size=number, replace=False, p=_SHARES) if number else ()
    foci = _draw_pneumonia(generator, anatomy) if category == OPACITY else ()
    return Findings(foci, tuple(str(name) for name in names), nipples)


def _draw_pneumonia(generator: np.random.Generator, anatomy: Anatomy) -> tuple[Focus, ...]:
    """One to four foci (mean 1.6, as boxes per positive RSNA patient), of one density with some spread."""
    number = int(generator.choice([1, 2, 3, 4], p=[0.45, 0.45, 0.08, 0.02]))
    lobar = bool(generator.random() < 0.35)
    density = float(generator.beta(2.0, 2.0) * 0.50 + (0.42 if lobar else 0.38))
    first = float(generator.choice([-1.0, 1.0]))
    foci = []
    for position in range(number):
        side = first if position % 2 == 0 else -first
        height = anatomy.domes[0] - anatomy.apex
        u, v = generator.beta(2.0, 2.2), generator.beta(3.2, 2.0)
        x = side * (32 + u * (0.86 * anatomy.half_width - 32))
        y = anatomy.apex + (0.10 + 0.86 * v) * height
        size = generator.lognormal(0, 0.28) * anatomy.scale * (1.1 if lobar else 0.95)
        cut, above = None, False
        if lobar and position == 0:
            above = bool(v < 0.55)
            cut = float(y + generator.uniform(-2, 14)) if above else float(y - generator.uniform(-2, 14))
        foci.append(
            Focus(
                x=float(x),
                y=float(y),
                rx=float(42 * size),
                ry=float(52 * size * generator.lognormal(0, 0.22)),
                tilt=float(generator.normal(0, 0.35)),
                density=float(np.clip(density * generator.lognormal(0, 0.2), 0.12, 0.88)),
                ragged=float(generator.uniform(0.15, 0.35) if lobar else generator.uniform(0.35, 0.75)),
                cut=cut,
                keep_above=above,
                slope=float(generator.normal(0, 0.12)),
            )
        )
    return tuple(foci)


def consolidation(focus: Focus, plane: Plane, texture: np.ndarray) -> np.ndarray:
    """Share of the lung's air that a focus replaces, float32 (N, N) in [0, 1).

    Parameters
    ----------
    texture : float32 (N, N), zero mean, unit variance: moves the edge in and out and mottles the inside.
    """
    radius = np.sqrt(ellipse(plane, (focus.x, focus.y), (focus.rx, focus.ry), focus.tilt))
    radius = radius + np.float32(0.8 * focus.ragged) * texture
    share = 1 - ramp(radius, 0.30, 1.20)
    share = share * np.clip(1 + np.float32(0.4 * focus.ragged) * texture, 0.4, 1.4)
    if focus.cut is not None:
        depth = plane.y - np.float32(focus.cut) - np.float32(focus.slope) * (plane.x - np.float32(focus.x))
        share = share * (ramp(-depth, -1.5, 1.5) if focus.keep_above else ramp(depth, -1.5, 1.5))
    lung = plane.x * np.float32(np.sign(focus.x)) > 0  # a focus stays in its own lung
    return np.clip(np.float32(focus.density) * share * lung, 0, np.float32(0.92))


def visible_part(share: np.ndarray, lung: np.ndarray) -> np.ndarray:
    """Mask (N, N) of where a focus shows: its added tissue exceeds 35 % of the focus' maximum."""
    seen = share * lung
    return seen > max(0.35 * float(seen.max()), 1e-6)


def add_lookalikes(
    findings: Findings, anatomy: Anatomy, thorax: Thorax, plane: Plane, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Maps of the harmless and other findings.

    Returns
    -------
    share : float32 (N, N), of the lung's air replaced (effusion, congestion). soft : mm of tissue within the lung.
    bone : mm of calcium. marking : factor on vessels and interstitium.
    """
    share, soft, bone = plane.zeros(), plane.zeros(), plane.zeros()
    marking = 1.0
    for name in findings.lookalikes:
        if name == "nodules":
            for _ in range(1 + generator.poisson(1.2)):
                x, y = _somewhere(generator, anatomy)
                r = float(generator.uniform(3.0, 8.5))
                add_ellipsoid(soft, plane, (x, y), (r, r), 2 * r)
        elif name == "mass":
            x, y = _somewhere(generator, anatomy)
            r = float(generator.uniform(11, 21))
            add_ellipsoid(soft, plane, (x, y), (r, r * float(generator.uniform(0.8, 1.2))), 1.5 * r, 0.4)
        elif name == "granuloma":
            for _ in range(1 + generator.poisson(0.8)):
                x, y = _somewhere(generator, anatomy)
                r = float(generator.uniform(1.8, 3.5))
                add_ellipsoid(bone, plane, (x, y), (r, r), 2 * r)
        elif name == "bands":
            for _ in range(1 + generator.poisson(1.0)):
                _add_band(soft, plane, anatomy, generator)
        elif name == "effusion":
            share = np.maximum(share, _effusion(plane, anatomy, generator))
        elif name == "congestion":
            marking *= float(generator.uniform(1.25, 1.8))
            haze = np.exp(-ellipse(plane, (46.0, anatomy.hilum + 14), (52.0, 66.0), mirror=True))
            share = np.maximum(share, np.float32(generator.uniform(0.05, 0.18)) * haze)
        elif name == "scars":
            marking *= float(generator.uniform(1.1, 1.4))
            net = np.abs(cloud(generator, plane, scale=9.0, power=3.0))
            x, y = _somewhere(generator, anatomy)
            region = np.exp(-0.5 * ellipse(plane, (x, y), (40.0, 48.0)))
            soft += np.float32(generator.uniform(4, 9)) * region * np.clip(1 - 2.1 * net, 0, None)
    if findings.nipples:
        x, y = 0.60 * anatomy.half_width, anatomy.domes[0] - generator.uniform(5, 32)
        r = float(generator.uniform(3.5, 5.5))
        for side in (-1, 1):
            place = (side * x + generator.normal(0, 5), y + generator.normal(0, 4))
            add_ellipsoid(soft, plane, place, (r, r), 2 * r)
    return share, soft * ramp(thorax.chest, 0, 20), bone, marking


def with_findings(anatomy: Anatomy, lookalikes: tuple[str, ...], generator: np.random.Generator) -> Anatomy:
    """The anatomy with the changes of shape that some look-alikes bring: a bigger heart, another diaphragm."""
    if "cardiomegaly" in lookalikes:
        anatomy = replace(anatomy, heart=float(min(anatomy.heart * generator.uniform(1.15, 1.35), 1.6)))
    if "raised_dome" in lookalikes:
        difference = float(generator.choice([-1, 1.6]) * generator.uniform(16, 34))
        anatomy = replace(anatomy, dome_difference=difference)
    return anatomy


def _somewhere(generator: np.random.Generator, anatomy: Anatomy) -> tuple[float, float]:
    """A place in one of the lungs, mm."""
    side = float(generator.choice([-1.0, 1.0]))
    x = side * generator.uniform(36, 0.84 * anatomy.half_width)
    return float(x), float(anatomy.apex + generator.uniform(0.2, 0.92) * (anatomy.domes[0] - anatomy.apex))


def _add_band(soft: np.ndarray, plane: Plane, anatomy: Anatomy, generator: np.random.Generator) -> None:
    """Plate-like collapse at a lung base: a short, nearly level sheet seen edge on."""
    side = float(generator.choice([-1.0, 1.0]))
    x, y = side * generator.uniform(45, 0.8 * anatomy.half_width), anatomy.domes[0] - generator.uniform(6, 50)
    half, tilt = generator.uniform(12, 30), generator.normal(0, 0.3)
    start, end = (float(x - half), float(y - half * tilt)), (float(x + half), float(y + half * tilt))
    add_rod(soft, plane, start, end, float(generator.uniform(1.2, 2.6)), amount=float(generator.uniform(2, 5)))


def _effusion(plane: Plane, anatomy: Anatomy, generator: np.random.Generator) -> np.ndarray:
    """Fluid in one or both costophrenic angles, its upper edge rising to the side, as a share of the air."""
    fluid = plane.zeros()
    sides = ((-1.0,), (1.0,), (-1.0, 1.0))[int(generator.choice(3, p=[0.35, 0.4, 0.25]))]
    for side in sides:
        depth = float(generator.gamma(3.0, 8.0))
        lateral = np.clip(plane.x * np.float32(side) / np.float32(anatomy.half_width), 0, 1.1)
        level = dome_level(anatomy, plane) + np.float32(8 - depth * 0.45) - np.float32(1.5 * depth) * lateral**3
        fluid = np.maximum(fluid, ramp(plane.y - level, -5, 16) * (plane.x * side > 0) * np.float32(0.8))
    return fluid
