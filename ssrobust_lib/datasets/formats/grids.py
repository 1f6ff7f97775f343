"""Voxels in a file's own order to canonical axes: CT scans in Hounsfield units, and label maps.

In: where a header says that the voxels lie (`VoxelGrid`), and the voxels as they come from the file, a few planes at a
time. Out: a `Volume` or an int16 label map in canonical axes. Shared by NIfTI, MetaImage, NRRD, DICOM series and mask
pictures, so that all are turned, scaled and checked alike. Memory holds the result and a few planes.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ssrobust_lib.datasets.loader import UnreadableImageError, Volume

# A header that claims more than this is taken for damaged before anything is allocated.
MAX_SIDE = 16_384  # voxels along an axis
MAX_VOXELS = 2**30  # a whole body of 512 x 512 x 2,000 has half of it
MAX_PLANE = 2**24  # voxels of the two axes that lie together in the file
MAX_SPACING_MM = 50.0
MAX_HU = 100_000.0  # metal in an extended scale reaches some 30,000
MIN_DETERMINANT = 0.1  # of the axes' directions: 1 for a right angle, 0.87 for a gantry tilted by 30 degrees
MAX_TAIL = 2**20  # bytes behind the last voxel
CHUNK_BYTES = 2**20  # at a time: a processor's cache holds them until they are converted and checked

Chunks = Iterable[tuple[int, np.ndarray]]  # first plane; (fastest axis, next axis, planes)


class Stream(Protocol):
    """What voxels are read from: a file, or one that is decompressed on the way."""

    def readinto(self, buffer: memoryview, /) -> int | None: ...

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class VoxelGrid:
    """Where the voxels of a file lie.

    Attributes
    ----------
    shape : voxels along each axis of the array; the first axis is the fastest in the file
    affine : float64 (4, 4), from array indices to the patient's right, anterior, superior in mm (as in NIfTI)
    """

    shape: tuple[int, ...]
    affine: np.ndarray

    @property
    def spacing_mm(self) -> np.ndarray:
        """Voxel size along each axis of the array."""
        return np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))


def check_grid(shape: tuple[int, ...], affine: np.ndarray) -> VoxelGrid:
    """The grid that a header claims.

    Parameters
    ----------
    shape : axes of length 1 behind the third are dropped
    affine : (4, 4), see `VoxelGrid`

    Raises
    ------
    UnreadableImageError
        If there are not three axes, or sizes, spacings or directions are none that a CT scan can have.
    """
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3 or min(shape) < 1:
        raise UnreadableImageError(f"expected three axes of voxels, the header says {shape}")
    if math.prod(shape) > MAX_VOXELS or max(shape) > MAX_SIDE or shape[0] * shape[1] > MAX_PLANE:
        raise UnreadableImageError(f"the header claims {shape} voxels, more than {MAX_VOXELS:,}: is it damaged?")
    affine = np.asarray(affine, dtype=np.float64)
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or np.abs(affine).max() > 1e9:
        raise UnreadableImageError("the affine is not finite: the patient's axes cannot be told")
    grid = VoxelGrid(shape, affine)
    spacing = grid.spacing_mm
    if spacing.min() < 1e-3 or spacing.max() > MAX_SPACING_MM:
        shown = ", ".join(f"{size:.4g}" for size in spacing)
        raise UnreadableImageError(f"the header claims voxels of ({shown}) mm; expected 0.001 to {MAX_SPACING_MM:g} mm")
    if abs(np.linalg.det(affine[:3, :3] / spacing)) < MIN_DETERMINANT:
        raise UnreadableImageError("the affine is singular: the patient's axes cannot be told")
    return grid


def affine_from_lps(columns: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Affine of a header whose world runs to the patient's left, posterior and superior (DICOM, MetaImage).

    Parameters
    ----------
    columns : (3, 3), column k is the step in mm along array axis k
    origin : (3,), centre of the first voxel
    """
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = columns, origin
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def check_same_grid(grid: VoxelGrid, scan: VoxelGrid, scan_name: str) -> None:
    """Raise unless a label lies on its scan's grid: the same shape, and no corner more than a voxel away."""
    if grid.shape != scan.shape:
        raise UnreadableImageError(f"the label has {grid.shape} voxels, its scan {scan_name} has {scan.shape}")
    last = np.array(grid.shape) - 1
    corners = np.array([[x, y, z, 1] for x in (0, last[0]) for y in (0, last[1]) for z in (0, last[2])], np.float64)
    apart = np.abs((corners @ (grid.affine - scan.affine).T)[:, :3]).max()
    if apart > scan.spacing_mm.max():
        raise UnreadableImageError(f"the label's grid lies up to {apart:.1f} mm away from its scan's, {scan_name}")


def canonical_axes(affine: np.ndarray) -> tuple[list[int], tuple[slice, ...]]:
    """Which array axis runs along (S, P, L), and the slices that turn each into increasing S, P, L.

    An oblique grid is taken for its nearest orthogonal one; it is turned and flipped, never resampled.
    """
    from nibabel.orientations import io_orientation

    # per array axis: the world axis (0 = right, 1 = anterior, 2 = superior) that it follows, and the sign along it
    world, sign = io_orientation(affine).T
    axes = [int(np.flatnonzero(world == axis)[0]) for axis in (2, 1, 0)]
    wanted = (1, -1, -1)
    return axes, tuple(slice(None, None, int(sign[axis]) * want) for axis, want in zip(axes, wanted, strict=True))


def empty_canonical(grid: VoxelGrid, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """An array in canonical axes, not yet filled, and the same memory seen in the axes of the file."""
    axes, turns = canonical_axes(grid.affine)
    canonical: np.ndarray = np.empty([grid.shape[axis] for axis in axes], dtype=dtype)
    return canonical, canonical[turns].transpose(np.argsort(axes))


def read_chunks(stream: Stream, grid: VoxelGrid, dtype: np.dtype) -> Iterator[tuple[int, np.ndarray]]:
    """Read voxels a few planes at a time: first plane, and an array (fastest axis, next axis, planes).

    The array's memory is used again for the next one. Behind the last plane the stream is read to its end, so that a
    compressed one compares its checksum.

    Raises
    ------
    UnreadableImageError
        If the stream ends too early, or far too late.
    """
    plane = grid.shape[0] * grid.shape[1] * dtype.itemsize
    planes = max(1, min(grid.shape[2], CHUNK_BYTES // plane))
    buffer = memoryview(bytearray(planes * plane))
    for start in range(0, grid.shape[2], planes):
        count = min(planes, grid.shape[2] - start)
        filled = 0
        while filled < count * plane:
            got = stream.readinto(buffer[filled : count * plane])
            if not got:
                have, need = start * plane + filled, grid.shape[2] * plane
                raise UnreadableImageError(f"the voxels end after {have:,} of {need:,} bytes: was the file cut short?")
            filled += got
        voxels = np.frombuffer(buffer[: count * plane], dtype=dtype)
        yield start, voxels.reshape((grid.shape[0], grid.shape[1], count), order="F")
    if len(stream.read(MAX_TAIL + 1)) > MAX_TAIL:
        raise UnreadableImageError(f"more than {MAX_TAIL:,} bytes follow behind the last voxel: is the header damaged?")


def check_voxel_type(dtype: np.dtype) -> np.dtype:
    """Raise unless voxels are plain integers or floats of at most 8 bytes."""
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise UnreadableImageError(f"voxels of type {dtype}; expected integers or floats")
    return dtype


def check_scaling(slope: float, intercept: float) -> tuple[np.float32, np.float32]:
    """Slope and intercept as float32; raises where they are not finite or the slope is 0."""
    if not (math.isfinite(slope) and math.isfinite(intercept)) or slope == 0 or max(abs(slope), abs(intercept)) > 1e9:
        raise UnreadableImageError(f"the header scales voxels by {slope} and adds {intercept}: no Hounsfield units")
    return np.float32(slope), np.float32(intercept)


def _cannot_exceed(dtype: np.dtype, slope: np.float32, intercept: np.float32) -> bool:
    """Whether all that a type can hold is within what a CT can have, as is usual for 16 bits."""
    if dtype.kind not in "iu":
        return False
    held = np.iinfo(dtype)
    return max(abs(end * float(slope) + float(intercept)) for end in (held.min, held.max)) <= MAX_HU


class HounsfieldScan:
    """A CT scan that is filled plane by plane; each plane is scaled and checked as it comes."""

    def __init__(self, grid: VoxelGrid) -> None:
        self._grid = grid
        self._hu, self._in_file = empty_canonical(grid, np.float32)
        self._lowest, self._highest = math.inf, -math.inf
        self._not_finite = 0

    def put(self, start: int, voxels: np.ndarray, slope: float = 1.0, intercept: float = 0.0) -> None:
        """Store planes `start` and following: HU = slope * voxels + intercept.

        Parameters
        ----------
        voxels : integers or floats (fastest axis, next axis, planes)
        """
        by, plus = check_scaling(slope, intercept)
        target = self._in_file[:, :, start : start + voxels.shape[2]]
        with np.errstate(all="ignore"):  # what overflows becomes infinite, and is counted below
            if by == 1:
                target[...] = voxels
            else:
                np.multiply(voxels, by, out=target, casting="unsafe")
            if plus != 0:
                target += plus
            if self._lowest < self._highest and _cannot_exceed(voxels.dtype, by, plus):
                return  # there is contrast, and no voxel to refuse: their extremes would tell nothing more
            ends = [float(end) * float(by) + float(plus) for end in (voxels.min(), voxels.max())]
        if not all(map(math.isfinite, ends)):
            self._not_finite += int(np.count_nonzero(~np.isfinite(target)))
            return
        self._lowest, self._highest = min(self._lowest, *ends), max(self._highest, *ends)

    def finish(self) -> Volume:
        """The scan.

        Raises
        ------
        UnreadableImageError
            For NaN, infinities, values that no CT has, or a scan without any contrast.
        """
        if self._not_finite:
            raise UnreadableImageError(f"{self._not_finite} voxels are NaN or infinite")
        if self._lowest == self._highest:
            raise UnreadableImageError(f"all voxels have one value ({self._lowest:.1f} HU): an empty scan")
        if max(-self._lowest, self._highest) > MAX_HU:
            raise UnreadableImageError(f"values from {self._lowest:.4g} to {self._highest:.4g} are no Hounsfield units")
        axes, _ = canonical_axes(self._grid.affine)
        slice_mm, row_mm, column_mm = (float(self._grid.spacing_mm[axis]) for axis in axes)
        return Volume(self._hu, (slice_mm, row_mm, column_mm))


def hounsfield_scan(chunks: Chunks, grid: VoxelGrid, slope: float = 1.0, intercept: float = 0.0) -> Volume:
    """A CT scan from its voxels; see `HounsfieldScan`."""
    scan = HounsfieldScan(grid)
    for start, voxels in chunks:
        scan.put(start, voxels, slope, intercept)
    return scan.finish()


def label_map(chunks: Chunks, grid: VoxelGrid, slope: float = 1.0, intercept: float = 0.0) -> np.ndarray:
    """A label map from its voxels.

    Returns
    -------
    int16 (slice, row, column), canonical axes

    Raises
    ------
    UnreadableImageError
        If a value is no whole number, or one that int16 cannot hold.
    """
    check_scaling(slope, intercept)
    labels, in_file = empty_canonical(grid, np.int16)
    for start, voxels in chunks:
        with np.errstate(all="ignore"):
            values = voxels if (slope, intercept) == (1.0, 0.0) else voxels * np.float64(slope) + np.float64(intercept)
            whole = values.astype(np.int16)
        if not np.array_equal(whole, values):  # refuses NaN, too, and what int16 cannot hold
            wrong = values[whole != values]
            raise UnreadableImageError(
                f"the label holds {wrong.size} values that are not whole numbers from -32768 to 32767 "
                f"(the first is {float(wrong.flat[0]):g})"
            )
        in_file[:, :, start : start + voxels.shape[2]] = whole
    return labels
