"""Frontal chest X-ray phantoms: from (seed, index) to an image, its label boxes and its tags.

Enters: a study seed, a patient's index and an image size. Leaves: `Patient` (what is true of the patient) and `Film`
(float32 image in [0, 1], boxes in pixels). They stand in for the RSNA Pneumonia images of the paper's section 2 where
those cannot be had, so that the default run exercises the whole path; results on them say nothing about patients.

The image is a projection: Beer-Lambert through soft tissue, lung and bone, plus scatter, quantum noise, the logarithm
and the S-shaped display curve of a digital detector, then collimation and a burnt-in side marker. View, exposure,
collimation, marker and devices are drawn without regard to the label.
"""

from dataclasses import dataclass

import numpy as np

from ssrobust_lib.phantoms.xray_anatomy import Anatomy, draw_anatomy, project_thorax
from ssrobust_lib.phantoms.xray_detector import Exposure, draw_exposure, expose
from ssrobust_lib.phantoms.xray_devices import draw_devices
from ssrobust_lib.phantoms.xray_findings import (
    CLASSES,
    OPACITY,
    PREVALENCE,
    Findings,
    add_lookalikes,
    consolidation,
    draw_findings,
    visible_part,
    with_findings,
)
from ssrobust_lib.phantoms.xray_geometry import cloud, make_plane, outer_size, ramp, tilted
from ssrobust_lib.phantoms.xray_lungs import vessels
from ssrobust_lib.seeds import derive_seed, rng

SMALLEST = 32
SOFT, LUNG, BONE = 0.0190, 0.0046, 0.0340  # linear attenuation per mm near 60 keV effective: tissue, lung, dense bone
_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Patient:
    """What is true of one phantom patient.

    Attributes
    ----------
    category : one of `CLASSES`. sex : "F" or "M". age : years. view : "AP" or "PA".
    """

    index: int
    category: str
    sex: str
    age: int
    view: str
    anatomy: Anatomy
    findings: Findings
    exposure: Exposure

    @property
    def positive(self) -> bool:
        """Whether the label is pneumonia (Target 1)."""
        return self.category == OPACITY


@dataclass(frozen=True)
class Film:
    """`image` float32 (N, N) in [0, 1]; `boxes` (x, y, width, height) in pixels; `pixel_mm` edge of a pixel."""

    image: np.ndarray
    boxes: tuple[tuple[int, int, int, int], ...]
    pixel_mm: float


def category_of(seed: int, index: int) -> str:
    """Class of a patient: a golden-ratio sequence from a seeded start, so any run has the prevalence of RSNA."""
    start = derive_seed(seed, "xray phantom", "class") / 2**63
    place = (start + index * _GOLDEN) % 1.0
    return CLASSES[int(np.searchsorted(np.cumsum(PREVALENCE)[:-1], place, side="right"))]


def draw_patient(seed: int, index: int) -> Patient:
    """Draw patient `index` of the set with this seed; independent of all other patients and of the image size."""
    generator = rng(seed, "xray phantom", "patient", index)
    category = category_of(seed, index)
    female = bool(generator.random() < 0.43)
    age = int(np.clip(generator.normal(47, 17), 12, 92))
    frontal_tube = bool(generator.random() < 0.46)
    anatomy = draw_anatomy(generator, female=female, frontal_tube=frontal_tube, age=age)
    findings = draw_findings(generator, category, anatomy)
    anatomy = with_findings(anatomy, findings.lookalikes, generator)
    exposure = draw_exposure(generator, anatomy)
    return Patient(
        index, category, "F" if female else "M", age, "AP" if frontal_tube else "PA", anatomy, findings, exposure
    )


def render(patient: Patient, seed: int, size: int) -> Film:
    """Take the X-ray of a patient.

    Parameters
    ----------
    patient : from `draw_patient` with the same seed.
    size : pixels along an edge, at least 32; anatomy and boxes are the same at every size, the noise is not.

    Raises
    ------
    ValueError
        If the size is below 32.
    """
    if size < SMALLEST:
        raise ValueError(f"phantom size: expected at least {SMALLEST} pixels, got {size}; ask for 64 or more")
    exposure, anatomy = patient.exposure, patient.anatomy
    pixel = exposure.field / size
    outer = -(-outer_size(4096, exposure.angle) // 256) * size / 16  # sixteenths of the film: in step at every size
    plane = make_plane(int(np.ceil(outer)), pixel, exposure.centre)
    generator = rng(seed, "xray phantom", "texture", patient.index)

    thorax = project_thorax(anatomy, plane)
    texture = cloud(generator, plane, scale=30.0, power=4.2, modes=96)
    tree = vessels(anatomy, plane, generator)
    share, extra, calcium, marking = add_lookalikes(patient.findings, anatomy, thorax, plane, generator)
    boxes = []
    kept = 1 - share
    for focus in patient.findings.foci:
        replaced = consolidation(focus, plane, texture)
        boxes.append(_box_on_film(visible_part(replaced, thorax.lung), exposure.angle, size))
        kept *= 1 - replaced
    air = thorax.lung * kept
    inside = ramp(thorax.chest, 5, 45)  # markings thin out towards the pleura
    grain = cloud(generator, plane, scale=14.0, power=3.0)
    marks = np.float32(marking) * inside * (np.float32(1.35) * tree + np.float32(0.012) * air * grain)
    depth = SOFT * (thorax.soft + (thorax.lung - air) + marks + extra) + LUNG * air + BONE * (thorax.bone + calcium)
    layers = cloud(generator, plane, scale=70.0, power=3.4, modes=64)  # of fat and muscle
    depth *= 1 + np.float32(0.016) * layers
    depth += BONE * draw_devices(anatomy, plane, generator)
    depth = tilted(depth, exposure.angle, size)
    noise = rng(seed, "xray phantom", "noise", patient.index, size)
    image = expose(depth, pixel, exposure, noise)
    return Film(image, tuple(box for box in boxes if box is not None), pixel)


def _box_on_film(mask: np.ndarray, angle: float, size: int) -> tuple[int, int, int, int] | None:
    """Smallest box (x, y, width, height) in pixels of the tilted film round a mask on the upright plane."""
    rows, columns = np.nonzero(mask)
    middle, cos, sin = (mask.shape[0] - 1) / 2, np.cos(angle), np.sin(angle)
    v, u = rows - middle, columns - middle
    v, u = cos * v + sin * u + (size - 1) / 2, cos * u - sin * v + (size - 1) / 2
    on_film = (v > -0.5) & (v < size - 0.5) & (u > -0.5) & (u < size - 0.5)
    if not on_film.any():
        return None
    left, right = int(np.rint(u[on_film].min())), int(np.rint(u[on_film].max()))
    top, bottom = int(np.rint(v[on_film].min())), int(np.rint(v[on_film].max()))
    return left, top, right - left + 1, bottom - top + 1
