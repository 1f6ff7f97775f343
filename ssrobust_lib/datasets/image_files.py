"""The files of a folder of decoded images: arrays that grow at their end, and the journal of what is in them.

In: arrays, from several processes at once. Out: .npy files (`images.npy` float16 (N, size, size), `masks.npy` uint8 of
the same rows, `scan_labels.npy` of `scan_voxels.CELL`) and `entries.jsonl`, one line per sample that is decoded. A
place is taken before it is written, and no place is given out twice: what a killed process leaves half written is a
hole that no line speaks of. A line is added after its arrays have reached the disk.
"""

import fcntl
import io
import json
import mmap
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssrobust_lib.scan_voxels import CELL

IMAGES, MASKS, SCAN_LABELS = "images.npy", "masks.npy", "scan_labels.npy"
JOURNAL, ENDS = "entries.jsonl", "ends"
HEADER_BYTES = 256
_AT_ONCE = 2**30  # a single write may stop short of 2 GiB


def item_shape(name: str, side: int) -> tuple[np.dtype, tuple[int, ...]]:
    """Type and shape of one entry along the first axis of a file."""
    if name == SCAN_LABELS:
        return CELL, ()
    return np.dtype("<f2" if name == IMAGES else "|u1"), (side, side)


def _item_bytes(name: str, side: int) -> int:
    dtype, shape = item_shape(name, side)
    return dtype.itemsize * int(np.prod(shape, dtype=np.int64))


def length_of(path: Path, side: int) -> int:
    """Entries along the first axis that a file has room for; 0 where there is no file."""
    return max(0, path.stat().st_size - HEADER_BYTES) // _item_bytes(path.name, side) if path.is_file() else 0


def map_file(path: Path, side: int) -> tuple[np.ndarray, mmap.mmap | None]:
    """Map a file into memory, read-only: (N, side, side), or (N,) of `CELL`, and the mapping behind it."""
    dtype, shape = item_shape(path.name, side)
    n = length_of(path, side)
    if n == 0:
        return np.empty((0, *shape), dtype), None
    with path.open("rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    count = n * int(np.prod(shape, dtype=np.int64))
    return np.frombuffer(mapping, dtype, count, HEADER_BYTES).reshape(n, *shape), mapping


def write_at(path: Path, first: int, array: np.ndarray, side: int) -> None:
    """Write entries `first`, `first + 1`, ... of a file."""
    dtype, _ = item_shape(path.name, side)
    rest = np.ascontiguousarray(array, dtype=dtype).reshape(-1).view(np.uint8).data
    place = HEADER_BYTES + first * _item_bytes(path.name, side)
    file = os.open(path, os.O_WRONLY)
    try:
        while len(rest):
            written = os.pwrite(file, rest[:_AT_ONCE], place)
            rest, place = rest[written:], place + written
    finally:
        os.close(file)


def create_files(folder: Path, side: int, *, with_labels: bool) -> None:
    """Make the empty files of a new folder."""
    for name in (IMAGES, MASKS, SCAN_LABELS) if with_labels else (IMAGES,):
        (folder / name).write_bytes(_header(name, 0, side))
    (folder / ENDS).write_bytes(struct.pack("<qq", 0, 0))
    (folder / JOURNAL).touch()


def take_places(folder: Path, images: int, cells: int) -> tuple[int, int]:
    """Take places for so many images and cells; returns the first of each. Places are never given back."""
    with (folder / ENDS).open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        first, first_cell = struct.unpack("<qq", file.read(16))
        file.seek(0)
        file.write(struct.pack("<qq", first + images, first_cell + cells))
    return first, first_cell


def settle(folder: Path, side: int) -> None:
    """Complete the headers and bring what was written to the disk, and which places are taken: after a power cut, none
    that the journal speaks of may be given out again.
    """
    with (folder / ENDS).open("rb") as file:
        os.fsync(file.fileno())
    for name in (IMAGES, MASKS, SCAN_LABELS):
        path = folder / name
        if path.is_file():
            with path.open("r+b") as file:
                file.write(_header(name, length_of(path, side), side))
                file.flush()
                os.fsync(file.fileno())


def _header(name: str, n: int, side: int) -> bytes:
    """The .npy header; NumPy pads it so that the first axis can grow in place."""
    dtype, shape = item_shape(name, side)
    written = io.BytesIO()
    # the lists that describe a structured type are read as tuples
    descr: Any = dtype.str if dtype.names is None else [tuple(part) for part in dtype.descr]
    header = {"descr": descr, "fortran_order": False, "shape": (n, *shape)}
    np.lib.format.write_array_header_1_0(written, header)
    text = written.getvalue()
    if len(text) > HEADER_BYTES:
        raise ValueError(f"the header of {name} takes {len(text)} bytes, more than the {HEADER_BYTES} kept for it")
    # padded to the room that is kept: the format ends a header with a line break
    body = text[10:-1] + b" " * (HEADER_BYTES - len(text)) + b"\n"
    return text[:8] + struct.pack("<H", len(body)) + body


def add_lines(folder: Path, entries: Sequence[dict[str, Any]]) -> None:
    """Append entries to the journal and bring them to the disk; what a killed process left half written goes first."""
    with (folder / JOURNAL).open("r+b") as file:
        end = _whole_lines(file)
        file.truncate(end)
        file.seek(end)
        file.write("".join(f"{json.dumps(entry, separators=(',', ':'))}\n" for entry in entries).encode())
        file.flush()
        os.fsync(file.fileno())


def _whole_lines(file: Any) -> int:
    """Bytes up to and with the last line break."""
    size = file.seek(0, os.SEEK_END)
    back = min(size, 2**20)
    while True:
        file.seek(size - back)
        place = file.read(back).rfind(b"\n")
        if place >= 0 or back == size:
            return size - back + place + 1 if place >= 0 else 0
        back = min(size, back * 2)


def read_lines(folder: Path, start: int = 0) -> tuple[list[str], int]:
    """The journal's complete lines from a byte on, and the byte behind the last of them."""
    with (folder / JOURNAL).open("rb") as file:
        file.seek(start)
        text = file.read()
    whole = text[: text.rfind(b"\n") + 1]
    return whole.decode().splitlines(), start + len(whole)
