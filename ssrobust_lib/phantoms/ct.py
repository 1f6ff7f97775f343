"""Render a phantom patient as a CT scan: HU volume and label map on any grid, as one of several scanners sees it.

Enter: a patient, a grid, a scanner, a contrast phase. Leave: int16 HU and uint8 labels, both (slice, row, column) along
S, P, L. The anatomy does not depend on the grid; a scan depends on nothing but the patient's stream and the arguments.
Stands in for the scans of section 3.1 of the paper.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ssrobust_lib.phantoms.ct_anatomy import build_parts
from ssrobust_lib.phantoms.ct_body import add_envelope_fields
from ssrobust_lib.phantoms.ct_parts import WARP_MM, Part, Patient
from ssrobust_lib.phantoms.shapes import Array, Region

SLAB_VOXELS = 2_500_000  # a slab's float arrays then take about 0.25 GB


@dataclass(frozen=True)
class Grid:
    """Voxel centres in scanner mm (x to the left, y to the back, z to the head).

    shape : slices, rows, columns. spacing_mm : likewise. origin_mm : (z, y, x) of voxel (0, 0, 0).
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]

    def axis(self, which: int, start: int = 0, stop: int | None = None) -> Array:
        """Coordinates float32 of an axis' voxels from start to stop (may reach beyond the grid)."""
        index = np.arange(start, self.shape[which] if stop is None else stop)
        return (self.origin_mm[which] + index * self.spacing_mm[which]).astype(np.float32)


def grid_over(
    patient: Patient, reach_mm: tuple[float, float], *, pixel_mm: float, slice_mm: float, matrix: int
) -> Grid:
    """Make the grid of a scan from one reference height to another (mm), centred on the trunk.

    Raises
    ------
    ValueError
        If a size is not positive or the reach is empty.
    """
    if min(pixel_mm, slice_mm) <= 0 or matrix < 1:
        raise ValueError(f"expected positive pixel_mm, slice_mm and matrix, got {pixel_mm}, {slice_mm}, {matrix}")
    low, high = (height * patient.scale[2] for height in reach_mm)
    if not low < high:
        raise ValueError(f"expected a reach from low to high, got {reach_mm}")
    slices = max(int(round((high - low) / slice_mm)), 1)
    half = (matrix - 1) / 2 * pixel_mm
    return Grid((slices, matrix, matrix), (slice_mm, pixel_mm, pixel_mm), (low, -10 * patient.scale[1] - half, -half))


@dataclass(frozen=True)
class Scanner:
    """How a machine draws what lies in it.

    Attributes
    ----------
    noise_hu : standard deviation in the middle of an average patient with 5 mm slices and pixels below `grain_mm`.
    grain_mm : size of the noise's grain; coarser pixels average it away with the root of their size.
    blur_mm : standard deviation of the in-plane blur of the kernel. overshoot : share of edge enhancement, 0 for none.
    table : "curved" | "flat". circle : whether only a disc is reconstructed, the corners holding -1024 HU.
    """

    noise_hu: float
    grain_mm: float
    blur_mm: float
    overshoot: float
    table: str
    circle: bool


SOFT_KERNEL = Scanner(noise_hu=13, grain_mm=1.8, blur_mm=0.9, overshoot=0.0, table="curved", circle=False)
SHARP_KERNEL = Scanner(noise_hu=24, grain_mm=1.2, blur_mm=0.4, overshoot=0.45, table="flat", circle=True)
LUNG_KERNEL = Scanner(noise_hu=20, grain_mm=1.3, blur_mm=0.5, overshoot=0.2, table="curved", circle=True)
LIVER_KERNEL = Scanner(noise_hu=15, grain_mm=1.6, blur_mm=0.8, overshoot=0.1, table="flat", circle=False)


def render(
    patient: Patient, grid: Grid, scanner: Scanner, phase: str, lesions: tuple[str, ...] = (), *, further: bool = False
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Render a scan slab by slab.

    Parameters
    ----------
    patient, grid, scanner : who is scanned, where the voxels lie, by which machine.
    phase, lesions, further : see ct_anatomy.build_parts.

    Returns
    -------
    hu : int16 (S, R, C) in [-1024, 3071].
    labels : uint8 (S, R, C), values as in ct_anatomy.build_parts.
    """
    parts = build_parts(patient, phase, lesions, further=further)
    couch = table_image(patient, grid, scanner.table)
    hu = np.empty(grid.shape, np.int16)
    labels = np.empty(grid.shape, np.uint8)
    depth = max(SLAB_VOXELS // (grid.shape[1] * grid.shape[2]), 1)
    for start in range(0, grid.shape[0], depth):
        stop = min(start + depth, grid.shape[0])
        # One more slice on either side, so that partial volume along z has its neighbours.
        region = slab_region(patient, grid, start - 1, stop + 1)
        image, mask = paint(region, parts, couch, grid)
        image = expose(image[1:-1], patient, grid, scanner, start)
        hu[start:stop] = np.clip(np.rint(image), -1024, 3071)
        labels[start:stop] = mask[1:-1]
    if scanner.circle:
        y, x = grid.axis(1), grid.axis(2)
        radius = grid.shape[2] * grid.spacing_mm[2] / 2
        hu[:, np.hypot(y[:, None] - y.mean(), x[None, :] - x.mean()) > radius] = -1024
    return hu, labels


def slab_region(patient: Patient, grid: Grid, start: int, stop: int) -> Region:
    """Make the region of the slices from start to stop with all fields that parts lean on."""
    z, y, x = grid.axis(0, start, stop), grid.axis(1), grid.axis(2)
    ref_x, ref_y, ref_z = patient.to_reference(z, y, x)
    axes = (ref_z.mean(axis=(1, 2)), ref_y.mean(axis=(0, 2)), ref_x.mean(axis=(0, 1)))
    roll = abs(np.sin(np.radians(patient.roll_deg))) * 200
    pad = [3.2 * WARP_MM + 0.75 * s / scale for s, scale in zip(grid.spacing_mm, patient.scale[::-1], strict=True)]
    monotone = tuple(np.maximum.accumulate(axis) for axis in axes)
    fields = {name: field.at(z, y, x) for name, field in patient.fields.items()}
    region = Region(ref_x, ref_y, ref_z, monotone, (pad[0], pad[1] + roll, pad[2] + roll), fields)  # type: ignore[arg-type]
    add_envelope_fields(region, patient)
    return region


def paint(region: Region, parts: list[Part], couch: Array, grid: Grid) -> tuple[Array, NDArray[np.uint8]]:
    """Paint the parts in order over air and table: HU float32 and labels uint8, both (S, R, C)."""
    hu = np.broadcast_to(couch, region.shape).copy()
    labels = np.zeros(region.shape, np.uint8)
    for part in parts:
        found = region.crop(part.low, part.high)
        if found is None:
            continue
        where, sub = found
        distance = part.distance(sub)
        cover = coverage(distance, grid.spacing_mm)
        value = part.value(sub, distance) if callable(part.value) else np.float32(part.value)
        target = hu[where]
        target += cover * (value - target)
        if part.label is not None:
            labels[where][distance < 0] = part.label
    return hu, labels


def coverage(distance: Array, spacing_mm: tuple[float, float, float]) -> Array:
    """Share of each voxel that a shape fills, in [0, 1], for a locally flat surface.

    The voxel's width across the surface is its spacing weighted by the surface's normal; where slices are not thick the
    in-plane spacing serves alone.
    """
    width: float | Array = spacing_mm[1]
    if spacing_mm[0] > 1.5 * spacing_mm[1] and distance.shape[0] > 1:
        rise = np.minimum(np.abs(np.gradient(distance, axis=0)), np.float32(spacing_mm[0]))
        width = rise + np.float32(spacing_mm[1]) * np.sqrt(1 - (rise / np.float32(spacing_mm[0])) ** 2)
    return np.clip(np.float32(0.5) - distance / width, 0, 1)


def table_image(patient: Patient, grid: Grid, kind: str) -> Array:
    """HU float32 (R, C) of the empty scanner: air and the patient table, the same in every slice.

    Raises
    ------
    ValueError
        If the kind is neither "curved" nor "flat".
    """
    y, x = grid.axis(1)[:, None], grid.axis(2)[None, :]
    top = 117 * patient.scale[1] + patient.fat_mm[2] + patient.shift_mm[1]
    if kind == "curved":
        below = y - (top + 6 - (x / 215) ** 2 * 34)
        thick, inner, rim, side = 34.0, -945.0, -260.0, np.abs(x) - 232
    elif kind == "flat":
        below = y - (top + 14) + 0 * x
        thick, inner, rim, side = 52.0, -880.0, -420.0, np.abs(x) - 262
    else:
        raise ValueError(f"expected the table 'curved' or 'flat', got {kind!r}")
    depth = np.maximum(np.maximum(-below, below - thick), side)
    image = np.full(depth.shape, -1000, np.float32)
    pixel = grid.spacing_mm[1]
    filled = np.clip(0.5 - depth / pixel, 0, 1)
    core = np.clip(0.5 - (depth + 4) / pixel, 0, 1)
    image += filled * np.float32(rim + 1000)
    image += core * np.float32(inner - rim)
    mattress = (below > -11) & (below < 0) & (side < -8)
    image[mattress] += 45
    return image.astype(np.float32)


def expose(image: Array, patient: Patient, grid: Grid, scanner: Scanner, first_slice: int) -> Array:
    """Blur and sharpen with the kernel, add the noise of the beam; float32 (S, R, C) in HU.

    Noise grows with the patient's water-equivalent diameter (AAPM report 220) and towards the middle of the body, and
    draws streaks sideways where the body is much wider than deep (shoulders, hips). Each slice has its own stream.
    """
    from scipy.ndimage import gaussian_filter

    pixel, thickness = grid.spacing_mm[1], grid.spacing_mm[0]
    if scanner.blur_mm > 0.15 * pixel:
        image = gaussian_filter(image, (0, scanner.blur_mm / pixel, scanner.blur_mm / pixel))
    if scanner.overshoot:
        soft = gaussian_filter(image, (0, max(1.6 / pixel, 0.6), max(1.6 / pixel, 0.6)), truncate=3)
        image = image + np.float32(scanner.overshoot) * (image - soft)
    y, x = grid.axis(1)[:, None], grid.axis(2)[None, :]
    grain = max(scanner.grain_mm, pixel)
    level = scanner.noise_hu * np.sqrt(5.0 / thickness) * (scanner.grain_mm / grain) ** 0.5
    shape = noise_filter(image.shape[1:], pixel, grain)
    out = np.empty_like(image)
    for index, plane in enumerate(image):
        generator = patient.rng(f"noise of slice {first_slice + index}")
        water = np.maximum(plane + 1000, 0) * np.float32(0.001)
        mass = float(water.sum()) + 1e-6
        middle = float((water * y).sum() / mass), float((water * x).sum() / mass)
        spread = [float(np.sqrt((water * (c - m) ** 2).sum() / mass)) for c, m in zip((y, x), middle, strict=True)]
        diameter = 2 * np.sqrt(mass * pixel * pixel / np.pi)
        away = ((y - middle[0]) / (2.2 * spread[0] + 1)) ** 2 + ((x - middle[1]) / (2.2 * spread[1] + 1)) ** 2
        sigma = np.float32(level * np.exp(0.0042 * (diameter - 280))) * (0.55 + 0.5 * np.exp(-away))
        white = generator.standard_normal(plane.shape, np.float32)
        noise = np.fft.irfft2(np.fft.rfft2(white) * shape, s=plane.shape)
        streak = 0.8 * np.clip(spread[1] / (spread[0] + 1) - 1.55, 0, 1)
        noise += streak * generator.standard_normal((plane.shape[0], 1), np.float32) * np.exp(-away)
        out[index] = plane + sigma * noise
    return out


def noise_filter(shape: tuple[int, int], pixel_mm: float, grain_mm: float) -> NDArray[np.float64]:
    """Amplitude of CT noise over spatial frequency, for white noise of unit variance in and out; (R, C // 2 + 1).

    The power spectrum of filtered back-projection: a ramp rolled off by the kernel, f exp(-(2 f grain)^2), lifted a
    little at zero.
    """
    fy = np.fft.fftfreq(shape[0], pixel_mm)[:, None]
    fx = np.fft.rfftfreq(shape[1], pixel_mm)[None, :]
    f = np.hypot(fy, fx)
    power = (f + 0.05 / grain_mm) * np.exp(-((2 * f * grain_mm) ** 2) * 0.5)
    # Columns of the half spectrum count twice, but for the first and the Nyquist one.
    weight = np.full(power.shape, 2.0)
    weight[:, 0] = 1
    if shape[1] % 2 == 0:
        weight[:, -1] = 1
    return np.sqrt(power * shape[0] * shape[1] / (power * weight).sum())
