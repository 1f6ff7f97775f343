"""Decoded images to network-sized ones, once and deterministically (what the paper's section 3 leaves unstated).

In: a radiograph in [0, 1], or a CT scan in Hounsfield units with its spacing and label map. Out: square float32
images in [0, 1], uint8 label maps on the same grid, and the `Grid` that maps a predicted label map back onto the
scan's own voxels. Corruptions act on what leaves here; nothing is normalised per image, or contrast and brightness
would be erased.

Resampling weighs areas: an output pixel is the mean of the input that it covers, so that no detail aliases when an
image shrinks. Where it grows, neighbours are interpolated linearly. Labels take the nearest voxel.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from ssrobust_lib.datasets.loader import Volume

# Air, lungs and what lies in them differ from soft tissue by at least 300 HU and meet it near -400 HU; abdominal
# organs differ from each other by 20 to 100 HU; bone begins near 200 HU. This window keeps all three borders and
# still gives an abdominal difference twice the contrast that -1000 to 1000 HU would. What it gives up is texture
# inside lung and bone, which no structure of the study is told by.
DEFAULT_WINDOW_HU = (-500.0, 500.0)
BODY_THRESHOLD_HU = -300.0
BODY_SMALLEST_MM = 30.0  # thinner things than this (the table's top, tubes) do not count as body


@dataclass(frozen=True)
class XRaySettings:
    """How radiographs are preprocessed.

    Attributes
    ----------
    size : side of the square output in pixels; the whole image is used, whatever its aspect
    """

    size: int

    def __post_init__(self) -> None:
        _check_size(self.size)


@dataclass(frozen=True)
class CTSettings:
    """How CT scans are preprocessed.

    Attributes
    ----------
    size : side of the square output slices in pixels
    pixel_mm : in-plane pixel size in mm; `size * pixel_mm` is the field of view
    slice_mm : distance between output slices in mm; None keeps the scan's own
    window_hu : values that become 0 and 1; what lies beyond is clipped
    """

    size: int
    pixel_mm: float
    slice_mm: float | None = None
    window_hu: tuple[float, float] = DEFAULT_WINDOW_HU

    def __post_init__(self) -> None:
        _check_size(self.size)
        object.__setattr__(self, "window_hu", tuple(float(edge) for edge in self.window_hu))
        if not self.pixel_mm > 0 or not (self.slice_mm is None or self.slice_mm > 0):
            raise ValueError(f"pixel_mm and slice_mm must be positive, got {self.pixel_mm} and {self.slice_mm}")
        if len(self.window_hu) != 2 or not self.window_hu[0] < self.window_hu[1]:
            raise ValueError(f"window_hu must be (lower, upper) with lower < upper, got {self.window_hu}")


@dataclass(frozen=True)
class Grid:
    """Where the voxels of a preprocessed scan lie in the scan; axes are (slice, row, column).

    Attributes
    ----------
    origin : position of the first output voxel's centre along each axis, in input voxels (0 is the first one's centre)
    step : distance of output voxels in input voxels
    shape_in, shape_out : voxels of the scan and of the preprocessed one
    spacing_mm : voxel size of the preprocessed scan
    """

    origin: tuple[float, float, float]
    step: tuple[float, float, float]
    shape_in: tuple[int, int, int]
    shape_out: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]

    def nearest(self, axis: int) -> np.ndarray:
        """Input index nearest to each output voxel along one axis; int64 (shape_out[axis],), -1 outside the scan."""
        positions = self.origin[axis] + self.step[axis] * np.arange(self.shape_out[axis])
        return _inside(np.floor(positions + 0.5), self.shape_in[axis])

    def nearest_back(self, axis: int) -> np.ndarray:
        """Output index nearest to each input voxel along one axis; int64 (shape_in[axis],), -1 outside the output."""
        positions = (np.arange(self.shape_in[axis]) - self.origin[axis]) / self.step[axis]
        # a tie goes down here and up there, so that going there and back is the identity
        return _inside(np.ceil(positions - 0.5), self.shape_out[axis])


@dataclass(frozen=True)
class PreprocessedScan:
    """A CT scan as the network sees it.

    Attributes
    ----------
    images : float32 (slices, size, size) in [0, 1]
    labels : uint8 (slices, size, size), or None for a scan without a label map
    grid : where those voxels lie in the scan
    """

    images: np.ndarray
    labels: np.ndarray | None
    grid: Grid


def _check_size(size: int) -> None:
    if isinstance(size, bool) or not isinstance(size, int) or not 8 <= size <= 4096:
        raise ValueError(f"size must be a whole number of pixels from 8 to 4096, got {size!r}")


def _inside(positions: np.ndarray, length: int) -> np.ndarray:
    return np.where((positions >= 0) & (positions < length), positions, -1).astype(np.int64)


@lru_cache(maxsize=64)
def axis_weights(n_in: int, n_out: int, origin: float, step: float, replicate: bool = False) -> "csr_array":
    """Weights of one axis: output = weights @ input.

    Output voxel i is centred on `origin + i * step` (input voxels). For step >= 1 it is the mean of the interval of
    length `step` about its centre, for step < 1 the linear interpolation of the two nearest voxels.

    Parameters
    ----------
    n_in, n_out : voxels along the axis
    replicate : what lies outside the input repeats its edge (True) or counts as 0 (False)

    Returns
    -------
    float32 sparse (n_out, n_in); rows sum to 1 where the output lies wholly inside the input
    """
    from scipy.sparse import csr_array

    centres = origin + step * np.arange(n_out)
    reach = max(step, 1.0)
    # every input voxel that an output voxel can touch, one column each
    first = np.floor(centres - reach / 2).astype(np.int64)
    inputs = first[:, None] + np.arange(math.ceil(reach) + 2)[None, :]
    if step >= 1:
        overlap = np.minimum(inputs + 0.5, (centres + step / 2)[:, None]) - np.maximum(
            inputs - 0.5, (centres - step / 2)[:, None]
        )
        weights = np.clip(overlap, 0, None) / step
    else:
        # a centre in the outer half of an edge voxel has that voxel's value: there is nothing to interpolate with
        held = np.where((centres > -0.5) & (centres < n_in - 0.5), np.clip(centres, 0, n_in - 1), centres)
        weights = np.clip(1 - np.abs(inputs - held[:, None]), 0, None)
    if replicate:
        inputs = np.clip(inputs, 0, n_in - 1)
    rows = np.broadcast_to(np.arange(n_out)[:, None], inputs.shape)
    used = (weights > 0) & (inputs >= 0) & (inputs < n_in)
    return csr_array(
        (weights[used].astype(np.float32), (rows[used], inputs[used])), shape=(n_out, n_in)
    )  # repeated (row, column) pairs are summed


def resample_plane(plane: np.ndarray, rows: "csr_array", columns: "csr_array") -> np.ndarray:
    """Apply one axis' weights to each axis: float32 (H, W) -> (rows.shape[0], columns.shape[0])."""
    return np.ascontiguousarray((columns @ np.ascontiguousarray((rows @ plane).T)).T)


def preprocess_xray(pixels: np.ndarray, settings: XRaySettings) -> np.ndarray:
    """Resample a radiograph to a square.

    Parameters
    ----------
    pixels : float32 (H, W) in [0, 1]

    Returns
    -------
    float32 (size, size) in [0, 1]
    """
    height, width = pixels.shape
    if (height, width) == (settings.size, settings.size):
        return np.ascontiguousarray(pixels, dtype=np.float32)
    rows, columns = (_whole_axis(length, settings.size) for length in (height, width))
    return np.clip(resample_plane(pixels.astype(np.float32, copy=False), rows, columns), 0.0, 1.0)


def _whole_axis(n_in: int, n_out: int) -> "csr_array":
    """Weights that spread `n_out` voxels over the whole extent of `n_in`."""
    step = n_in / n_out
    return axis_weights(n_in, n_out, step / 2 - 0.5, step, replicate=True)


def window(hu: np.ndarray, window_hu: tuple[float, float]) -> np.ndarray:
    """Map Hounsfield units to [0, 1]: the window's lower edge and below 0, its upper edge and above 1; float32."""
    lower, upper = window_hu
    scaled = (hu - np.float32(lower)) * np.float32(1.0 / (upper - lower))
    return np.clip(scaled, 0.0, 1.0, out=scaled)


def body_centre(hu: np.ndarray, spacing_mm: tuple[float, float, float]) -> tuple[float, float]:
    """Centre (row, column) of the bounding box of the patient's body over the whole scan, in voxels.

    The body is the largest connected region, seen along the scan, of what is denser than -300 HU in at least a tenth as
    many slices as the pixel that is dense in most, after everything thinner than 30 mm is taken away (table, tubes).
    The centre of the image stands in where nothing is left.

    Parameters
    ----------
    hu : float32 (slice, row, column)
    spacing_mm : voxel size
    """
    from scipy import ndimage

    coarse = [max(1, int(4.0 // size)) for size in spacing_mm[1:]]  # about 4 mm is fine enough for a centre
    counts = np.zeros(hu[0, :: coarse[0], :: coarse[1]].shape, dtype=np.int64)
    for plane in hu:
        counts += plane[:: coarse[0], :: coarse[1]] > BODY_THRESHOLD_HU
    dense = counts > 0.1 * counts.max()
    widths = [max(1, round(BODY_SMALLEST_MM / (size * by))) for size, by in zip(spacing_mm[1:], coarse, strict=True)]
    regions, n_regions = ndimage.label(ndimage.binary_opening(dense, structure=np.ones(widths, dtype=bool)))
    if n_regions == 0:
        return (hu.shape[1] - 1) / 2, (hu.shape[2] - 1) / 2
    largest = 1 + int(np.argmax(np.bincount(regions.ravel())[1:]))
    rows, columns = ndimage.find_objects(regions)[largest - 1]
    return (
        coarse[0] * (rows.start + rows.stop - 1) / 2,
        coarse[1] * (columns.start + columns.stop - 1) / 2,
    )


def scan_grid(volume: "Volume", settings: CTSettings) -> Grid:
    """Lay the output grid over a scan: in-plane centred on the body, along the slices over the scan's whole extent."""
    n_slices, height, width = volume.hu.shape
    slice_mm = settings.slice_mm or volume.spacing_mm[0]
    slices_out = max(1, round(n_slices * volume.spacing_mm[0] / slice_mm))
    steps = (
        n_slices / slices_out,  # fits the extent exactly; differs from slice_mm by rounding alone
        settings.pixel_mm / volume.spacing_mm[1],
        settings.pixel_mm / volume.spacing_mm[2],
    )
    # the cut begins at a voxel's border next to the centred place: a needless half-voxel shift would blur
    edges = [
        round(centre - settings.size * step / 2 + 0.5) - 0.5
        for centre, step in zip(body_centre(volume.hu, volume.spacing_mm), steps[1:], strict=True)
    ]
    return Grid(
        origin=(steps[0] / 2 - 0.5, edges[0] + steps[1] / 2, edges[1] + steps[2] / 2),
        step=steps,
        shape_in=(n_slices, height, width),
        shape_out=(slices_out, settings.size, settings.size),
        spacing_mm=(steps[0] * volume.spacing_mm[0], settings.pixel_mm, settings.pixel_mm),
    )


def preprocess_ct(volume: "Volume", labels: np.ndarray | None, settings: CTSettings) -> PreprocessedScan:
    """Window a scan, cut out the body's centre, and resample it; labels follow on the same grid.

    Parameters
    ----------
    volume : hu float32 (slice, row, column), spacing in mm
    labels : uint8 of the scan's shape, or None
    settings : size in pixels, pixel and slice size in mm, window in HU

    Raises
    ------
    ValueError
        If the labels have another shape than the scan.
    """
    if labels is not None and labels.shape != volume.hu.shape:
        raise ValueError(f"the label map has {labels.shape} voxels, the scan {volume.hu.shape}: they must be the same")
    grid = scan_grid(volume, settings)
    images = resample_ct(volume.hu, grid, settings.window_hu)
    return PreprocessedScan(images, None if labels is None else take_nearest(labels, grid), grid)


def resample_ct(hu: np.ndarray, grid: Grid, window_hu: tuple[float, float]) -> np.ndarray:
    """Window a scan and resample it to a grid: float32 `grid.shape_in` in HU -> float32 `grid.shape_out` in [0, 1].

    Outside the scan lies what the window maps to 0. Along the slices the grid covers the scan's whole extent.
    """
    rows, columns = (
        axis_weights(grid.shape_in[axis], grid.shape_out[axis], grid.origin[axis], grid.step[axis]) for axis in (1, 2)
    )
    planes = np.empty((grid.shape_in[0], *grid.shape_out[1:]), dtype=np.float32)
    for plane, target in zip(hu, planes, strict=True):
        target[...] = resample_plane(window(plane, window_hu), rows, columns)
    if grid.shape_out[0] != grid.shape_in[0]:
        flat = planes.reshape(len(planes), -1)  # (slices in, size * size)
        planes = (_whole_axis(grid.shape_in[0], grid.shape_out[0]) @ flat).reshape(grid.shape_out)
    return np.clip(planes, 0.0, 1.0, out=planes)


def take_nearest(labels: np.ndarray, grid: Grid) -> np.ndarray:
    """Label map of a scan on the output grid: uint8 `grid.shape_in` -> uint8 `grid.shape_out`, 0 outside the scan."""
    return _take(labels, [grid.nearest(axis) for axis in range(3)])


def to_scan_grid(labels: np.ndarray, grid: Grid) -> np.ndarray:
    """Predicted label map on the scan's voxels: uint8 `grid.shape_out` -> uint8 `grid.shape_in`, 0 outside the cut."""
    if labels.shape != grid.shape_out:
        raise ValueError(f"expected a label map of shape {grid.shape_out} for this grid, got {labels.shape}")
    return _take(labels, [grid.nearest_back(axis) for axis in range(3)])


def _take(labels: np.ndarray, indices: list[np.ndarray]) -> np.ndarray:
    """Pick voxels by one index list per axis; -1 gives 0."""
    taken = labels[np.ix_(*indices)]
    for axis, index in enumerate(indices):
        outside: list[slice | np.ndarray] = [slice(None)] * 3
        outside[axis] = np.flatnonzero(index < 0)
        taken[tuple(outside)] = 0
    return taken
