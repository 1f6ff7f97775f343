"""The header of an NRRD file (Teem's "nearly raw raster data", versions 1 to 5).

In: a path that begins with NRRD. Out: a `RawVolume`. Read are three axes of one value per voxel, attached or with one
data file beside the header, raw, gzip or bzip2. Format: https://teem.sourceforge.net/nrrd/format.html
"""

from pathlib import Path

import numpy as np

from ssrobust_lib.datasets.formats.files import file_size, printable
from ssrobust_lib.datasets.formats.grids import affine_from_lps, check_grid
from ssrobust_lib.datasets.formats.raw_volumes import (
    MAX_FILE_BYTES,
    MAX_HEADER_BYTES,
    Encoding,
    RawVolume,
    data_file,
    header_lines,
    numbers,
    whole_numbers,
)
from ssrobust_lib.datasets.loader import UnreadableImageError

_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_CODES = {name: code for code, names in _TYPES.items() for name in names}
_ENCODINGS: dict[str, Encoding] = {"raw": "raw", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2"}
_ABBREVIATED = {
    "ras": "right-anterior-superior",
    "las": "left-anterior-superior",
    "lps": "left-posterior-superior",
}
# sign of each word in a world that runs to the left, posterior and superior
_AXES = ({"left": 1.0, "right": -1.0}, {"posterior": 1.0, "anterior": -1.0}, {"superior": 1.0, "inferior": -1.0})
_SAME = {"datafile": "data file", "lineskip": "line skip", "byteskip": "byte skip"}
MAX_SKIP = 2**24


def nrrd_header(path: Path) -> RawVolume:
    """Read and check a header.

    Raises
    ------
    UnreadableImageError
        If a field is missing, is repeated or has no meaning for a CT scan.
    """
    fields, length = _fields(path)
    missing = [name for name in ("dimension", "sizes", "type", "encoding") if name not in fields]
    if missing:
        raise UnreadableImageError(f"the header has no {', '.join(missing)}")
    (axes,) = whole_numbers(fields["dimension"], 1, "dimension")
    if axes != 3:
        raise UnreadableImageError(f"expected three axes of voxels, the header says {axes}")
    kind, encoding = fields["type"].lower(), fields["encoding"].lower()
    if kind not in _CODES:
        raise UnreadableImageError(f"voxels of type {printable(kind, 40)!r}; expected one of {', '.join(_CODES)}")
    if encoding not in _ENCODINGS:
        raise UnreadableImageError(
            f"the voxels are encoded as {printable(encoding, 40)!r}; expected one of {', '.join(_ENCODINGS)}"
        )
    order = fields.get("endian", "little").lower()
    if order not in ("little", "big"):
        raise UnreadableImageError(f"the byte order is {printable(order, 40)!r}; expected little or big")
    shape = whole_numbers(fields["sizes"], 3, "sizes")
    lines, skip = (whole_numbers(fields.get(name, "0"), 1, name)[0] for name in ("line skip", "byte skip"))
    if not 0 <= lines <= 1024 or not -1 <= skip <= MAX_SKIP or (skip == -1 and encoding != "raw"):
        raise UnreadableImageError(f"the header skips {lines} lines and {skip} bytes: is it damaged?")
    name = fields.get("data file", "")
    data = data_file(path, name) if name else path
    offset = _behind_lines(data, 0 if name else length, lines)
    return RawVolume(
        check_grid(shape, _affine(fields)),
        np.dtype(("<" if order == "little" else ">") + _CODES[kind]),
        data,
        -1 if skip == -1 else offset + (skip if encoding == "raw" else 0),
        _ENCODINGS[encoding],
        skipped=0 if encoding == "raw" else skip,
    )


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """Fields of the header by lower-case name, and the bytes that it takes; an empty line or the file's end ends it."""
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        for number, line in enumerate(header_lines(file)):
            if not line:
                return fields, file.tell()
            if number == 0 or line.startswith("#") or ":=" in line:  # the magic, a comment, a key of the writer's own
                continue
            name, found, value = line.partition(": ")
            name = _SAME.get(name.strip().lower(), name.strip().lower())
            if not found:
                raise UnreadableImageError(f"line {number + 1} of the header is no field: {printable(line, 60)!r}")
            if name in fields:
                raise UnreadableImageError(f"the header has two fields {printable(name, 40)}: is it damaged?")
            fields[name] = value.strip()
        if "data file" in fields:
            return fields, file.tell()
    raise UnreadableImageError("the file ends within its header: was it cut short?")


def _affine(fields: dict[str, str]) -> np.ndarray:
    """Affine of the header; without a named space the axes run to the left, posterior and superior, as ITK takes it."""
    space = fields.get("space", "left-posterior-superior").lower()
    words = _ABBREVIATED.get(space, space).split("-")
    if len(words) != 3 or any(word not in known for word, known in zip(words, _AXES, strict=True)):
        raise UnreadableImageError(
            f"the space is {printable(space, 60)!r}; expected one such as left-posterior-superior"
        )
    turn = np.diag([known[word] for word, known in zip(words, _AXES, strict=True)])
    if "space directions" in fields:
        columns = _vectors(fields["space directions"], 3, "space directions").T
    else:
        columns = np.diag(np.abs(numbers(fields.get("spacings", "1 1 1"), 3, "spacings")))
    origin = _vectors(fields.get("space origin", "(0,0,0)"), 1, "space origin")[0]
    return affine_from_lps(turn @ columns, turn @ origin)


def _vectors(text: str, count: int, what: str) -> np.ndarray:
    """`count` vectors such as (1,0,0): float64 (count, 3)."""
    return numbers(text.replace("(", " ").replace(")", " "), 3 * count, what).reshape(count, 3)


def _behind_lines(data: Path, start: int, lines: int) -> int:
    """Byte behind so many lines from `start` on."""
    if not lines:
        return start
    file_size(data, MAX_FILE_BYTES)
    with data.open("rb") as file:
        file.seek(start)
        for _ in range(lines):
            if not file.readline(MAX_HEADER_BYTES).endswith(b"\n"):
                raise UnreadableImageError(f"the data file has no {lines} lines to skip")
        return file.tell()
