"""Voxels that a text header describes: in the same file or in one beside it, plain or compressed.

In: what a MetaImage or NRRD header says (`RawVolume`). Out: a stream of exactly the voxels. A header may name a file in
its own folder or below it, and no other: it came from elsewhere, and must not make us read what it pleases.
"""

import bz2
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from ssrobust_lib.datasets.formats.files import file_size, printable
from ssrobust_lib.datasets.formats.grids import VoxelGrid
from ssrobust_lib.datasets.formats.inflation import MAX_RATIO, inflated
from ssrobust_lib.datasets.loader import UnreadableImageError

MAX_FILE_BYTES = 2**34
MAX_HEADER_BYTES = 2**16
MAX_HEADER_LINES = 1024

Encoding = Literal["raw", "zlib", "gzip", "bzip2"]


@dataclass(frozen=True)
class RawVolume:
    """Where voxels lie, in the patient and on disk.

    Attributes
    ----------
    grid, dtype : of the voxels; dtype with its byte order
    data : file that holds them
    offset : bytes before them; -1 where they are the last bytes of the file
    encoding : how they are compressed
    skipped : bytes to leave out after decompression
    slope, intercept : HU = slope * voxel + intercept
    """

    grid: VoxelGrid
    dtype: np.dtype
    data: Path
    offset: int
    encoding: Encoding = "raw"
    skipped: int = 0
    slope: float = 1.0
    intercept: float = 0.0


def header_lines(file: BinaryIO) -> Iterator[str]:
    """Lines of a text header as they are asked for, without their ends.

    Raises
    ------
    UnreadableImageError
        If the header has no end within its bounds.
    """
    for number in range(MAX_HEADER_LINES):
        line = file.readline(MAX_HEADER_BYTES)
        if not line:
            return
        if not line.endswith(b"\n") and len(line) >= MAX_HEADER_BYTES or file.tell() > MAX_HEADER_BYTES * 4:
            raise UnreadableImageError(f"line {number + 1} of the header has no end")
        yield line.decode("utf-8", "surrogateescape").rstrip("\r\n")
    raise UnreadableImageError(f"the header has no end within {MAX_HEADER_LINES} lines")


def numbers(text: str, count: int, what: str) -> np.ndarray:
    """`count` finite numbers of a header's field; raises `UnreadableImageError` where there are others."""
    try:
        values = np.array([float(word) for word in text.replace(",", " ").split()], dtype=np.float64)
    except ValueError:
        values = np.array([])
    if len(values) != count or not np.isfinite(values).all():
        raise UnreadableImageError(f"the header's {what} is {printable(text, 80)!r}; expected {count} numbers")
    return values


def whole_numbers(text: str, count: int, what: str) -> tuple[int, ...]:
    """As `numbers`, for whole ones."""
    values = numbers(text, count, what)
    if (values != np.rint(values)).any() or np.abs(values).max(initial=0) > 2**53:
        raise UnreadableImageError(f"the header's {what} is {printable(text, 80)!r}; expected whole numbers")
    return tuple(int(value) for value in values)


def data_file(header: Path, name: str) -> Path:
    """The file that a header names, in its own folder or below.

    Raises
    ------
    UnreadableImageError
        If the name leads out of the folder, or stands for several files.
    """
    parts = name.replace("\\", "/").split("/")
    if not name or name.startswith(("/", "\\", "~")) or ":" in parts[0] or ".." in parts or "\0" in name:
        raise UnreadableImageError(
            f"the header points to {printable(name, 80)!r}; expected a file in its own folder (nothing else is opened)"
        )
    if name.split()[0].upper() == "LIST" or "%" in name:
        raise UnreadableImageError(f"the header names several files ({printable(name, 80)!r}); expected one")
    return header.parent.joinpath(*parts)


@contextmanager
def voxel_stream(volume: RawVolume) -> Iterator[Any]:
    """Open the voxels of a volume for `grids.read_chunks`.

    Raises
    ------
    UnreadableImageError
        If the data file is missing, or cannot hold as many voxels as the header claims.
    """
    need = math.prod(volume.grid.shape) * volume.dtype.itemsize
    try:
        size = file_size(volume.data, MAX_FILE_BYTES)
    except UnreadableImageError as error:
        raise UnreadableImageError(f"its data file {printable(volume.data.name)}: {error}") from error
    start = size - need if volume.offset < 0 else volume.offset
    holds = {"raw": 1, "zlib": MAX_RATIO, "gzip": MAX_RATIO}.get(volume.encoding, math.inf)
    if start < 0 or need + volume.skipped > (size - start) * holds:
        raise UnreadableImageError(
            f"the header claims {volume.grid.shape} voxels of {volume.dtype}, {need:,} bytes, and "
            f"{printable(volume.data.name)} has {size:,}: was it cut short?"
        )
    with volume.data.open("rb") as file:
        file.seek(start)
        stream: Any = file
        if volume.encoding == "bzip2":
            stream = bz2.BZ2File(file)
        elif volume.encoding != "raw":
            stream = inflated(file, gzip=volume.encoding == "gzip")
        if len(stream.read(volume.skipped)) < volume.skipped:
            raise UnreadableImageError(f"{printable(volume.data.name)} has no {volume.skipped:,} bytes to skip")
        yield stream
