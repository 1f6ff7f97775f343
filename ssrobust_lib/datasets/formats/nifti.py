"""NIfTI-1 and NIfTI-2 in one file, plain or gzipped: CT scans and their label maps.

In: a path. Out: a `Volume`, or an int16 label map on the scan's grid. The header is nibabel's; the voxels are
read plane by plane, so that a compressed file is never held decompressed as a whole, and one that would grow without
end is left as soon as its voxels are read.
"""

import io
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssrobust_lib.datasets.formats.files import file_size, named
from ssrobust_lib.datasets.formats.grids import (
    VoxelGrid,
    check_grid,
    check_same_grid,
    check_voxel_type,
    hounsfield_scan,
    label_map,
    read_chunks,
)
from ssrobust_lib.datasets.formats.inflation import MAX_RATIO, inflated
from ssrobust_lib.datasets.loader import UnreadableImageError, Volume

MAX_FILE_BYTES = 2**34
MAX_OFFSET = 2**24  # bytes before the voxels: header and extensions
_SILENT = logging.Logger("headers", level=logging.CRITICAL + 1)


@dataclass(frozen=True)
class _Header:
    grid: VoxelGrid
    dtype: np.dtype
    skipped: int  # bytes between it and the first voxel
    slope: float
    intercept: float


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, int]]:
    """The file's stream, decompressed where need be, and the bytes that it can hold at most."""
    size = file_size(path, MAX_FILE_BYTES)
    with path.open("rb") as file:
        if file.read(2) != b"\x1f\x8b":  # many a file is called .gz and is not, or the other way round
            file.seek(0)
            yield file, size
            return
        file.seek(0)
        yield inflated(file, gzip=True), size * MAX_RATIO


def _read_header(stream: Any, holds: int) -> _Header:
    """Read and check the header; the stream is left behind it.

    Parameters
    ----------
    stream : at its start
    holds : bytes that the stream can have at most
    """
    from nibabel import nifti1, nifti2

    start = stream.read(348)
    sizes = {int.from_bytes(start[:4], order) for order in ("little", "big")}
    if len(start) == 348 and 540 in sizes:
        start += stream.read(540 - 348)
    header: Any
    if len(start) == 540:
        header = nifti2.Nifti2Header.from_fileobj(io.BytesIO(start), check=False)
    elif len(start) == 348 and 348 in sizes:
        header = nifti1.Nifti1Header.from_fileobj(io.BytesIO(start), check=False)
    else:
        raise ValueError("it does not begin with a NIfTI header")
    magic = bytes(header["magic"].item())
    if not magic.startswith((b"n+1", b"n+2")):
        raise UnreadableImageError(
            "the header belongs to a pair of files (.hdr and .img) or to Analyze 7.5; expected NIfTI in one file"
        )
    offset = float(header["vox_offset"]) or float(header.single_vox_offset)
    if not (math.isfinite(offset) and offset == int(offset) and header.single_vox_offset <= offset <= MAX_OFFSET):
        raise UnreadableImageError(f"the header puts the voxels at byte {offset:g}: is it damaged?")
    header.check_fix(logger=_SILENT, error_level=40)  # as nibabel mends what has one meaning, and refuses the rest
    dtype = check_voxel_type(header.get_data_dtype())
    grid = check_grid(tuple(int(n) for n in header.get_data_shape()), header.get_best_affine())
    need = int(offset) + math.prod(grid.shape) * dtype.itemsize
    if need > holds:
        raise UnreadableImageError(
            f"the header claims {grid.shape} voxels of {dtype}, {need:,} bytes, and the file can hold at most "
            f"{holds:,}: was it cut short?"
        )
    slope, intercept = header.get_slope_inter()
    return _Header(
        grid,
        dtype,
        int(offset) - len(start),
        1.0 if slope is None else float(slope),
        0.0 if intercept is None else float(intercept),
    )


def _chunks(stream: Any, header: _Header) -> Iterator[tuple[int, np.ndarray]]:
    stream.read(header.skipped)
    yield from read_chunks(stream, header.grid, header.dtype)


def read_nifti(path: Path) -> Volume:
    """Read a CT scan from NIfTI, of any orientation, with the header's slope and intercept applied.

    Raises
    ------
    UnreadableImageError
        If the file is damaged, its grid absurd, its affine singular, or voxels are NaN or infinite.
    """
    path = Path(path)
    with named(path, "NIfTI"), _opened(path) as (stream, holds):
        header = _read_header(stream, holds)
        return hounsfield_scan(_chunks(stream, header), header.grid, header.slope, header.intercept)


def read_nifti_label(path: Path, scan: Path) -> np.ndarray:
    """Read a label map that belongs to a NIfTI scan.

    Parameters
    ----------
    path, scan : the label's file, and the scan's (only its header is read)

    Returns
    -------
    int16 (slice, row, column), canonical axes

    Raises
    ------
    UnreadableImageError
        If values are not whole numbers, or the label lies on another grid than the scan (other shape, or a corner more
        than a voxel away).
    """
    path, scan = Path(path), Path(scan)
    with named(scan, "NIfTI"), _opened(scan) as (stream, holds):
        scan_grid = _read_header(stream, holds).grid
    with named(path, "NIfTI label"), _opened(path) as (stream, holds):
        header = _read_header(stream, holds)
        check_same_grid(header.grid, scan_grid, scan.name)
        return label_map(_chunks(stream, header), header.grid, header.slope, header.intercept)
