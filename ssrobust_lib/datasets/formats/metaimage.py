"""MetaImage (.mha, .mhd with .raw or .zraw) and NRRD (.nrrd, .nhdr): CT scans and their label maps.

In: a path. Out: a `Volume`, or an int16 label map on the scan's grid. Which of the two formats a file has is told by
its first line. The headers are read here and not by ITK, which would follow a file name anywhere and take memory for
any size before it looks at the file; tests compare the two on what both accept.
"""

from pathlib import Path

import numpy as np

from ssrobust_lib.datasets.formats.files import file_size, named, printable
from ssrobust_lib.datasets.formats.grids import (
    affine_from_lps,
    check_grid,
    check_same_grid,
    hounsfield_scan,
    label_map,
    read_chunks,
)
from ssrobust_lib.datasets.formats.nrrd import nrrd_header
from ssrobust_lib.datasets.formats.raw_volumes import (
    MAX_FILE_BYTES,
    RawVolume,
    data_file,
    header_lines,
    numbers,
    voxel_stream,
    whole_numbers,
)
from ssrobust_lib.datasets.loader import UnreadableImageError, Volume

_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
# fields of one meaning have several names
_SAME = {
    "Position": "Offset",
    "Origin": "Offset",
    "Orientation": "TransformMatrix",
    "Rotation": "TransformMatrix",
    "ElementByteOrderMSB": "BinaryDataByteOrderMSB",
}


def read_metaimage(path: Path) -> Volume:
    """Read a CT scan from MetaImage (.mhd + .raw or .zraw, .mha) or NRRD, of any orientation.

    Raises
    ------
    UnreadableImageError
        If the file or its .raw is missing or damaged, its grid absurd, or voxels are NaN or infinite.
    """
    path = Path(path)
    with named(path, "MetaImage or NRRD"):
        header = _header(path)
        with voxel_stream(header) as stream:
            chunks = read_chunks(stream, header.grid, header.dtype)
            return hounsfield_scan(chunks, header.grid, header.slope, header.intercept)


def read_metaimage_label(path: Path, scan: Path) -> np.ndarray:
    """Read a label map that belongs to a scan in MetaImage or NRRD.

    Parameters
    ----------
    path, scan : the label's file, and the scan's (only its header is read)

    Returns
    -------
    int16 (slice, row, column), canonical axes

    Raises
    ------
    UnreadableImageError
        As `read_metaimage`; if values are not whole numbers, or the label lies on another grid than the scan.
    """
    path, scan = Path(path), Path(scan)
    with named(scan, "MetaImage or NRRD"):
        scan_grid = _header(scan).grid
    with named(path, "MetaImage or NRRD label"):
        header = _header(path)
        check_same_grid(header.grid, scan_grid, scan.name)
        with voxel_stream(header) as stream:
            chunks = read_chunks(stream, header.grid, header.dtype)
            return label_map(chunks, header.grid, header.slope, header.intercept)


def _header(path: Path) -> RawVolume:
    file_size(path, MAX_FILE_BYTES)
    with path.open("rb") as file:
        is_nrrd = file.read(6) == b"NRRD00"
    return nrrd_header(path) if is_nrrd else _metaimage_header(path)


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """Fields of a MetaImage header, and the bytes that it takes; `ElementDataFile` ends it."""
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        for line in header_lines(file):
            key, found, value = line.partition("=")
            key = _SAME.get(key.strip(), key.strip())
            if not found or not key.isidentifier():
                raise ValueError(f"no MetaImage header: {printable(line, 60)!r}")
            if key in fields:
                raise UnreadableImageError(f"the header has two fields {key}: is it damaged?")
            fields[key] = value.strip()
            if key == "ElementDataFile":
                return fields, file.tell()
    raise UnreadableImageError("the header ends without ElementDataFile: was the file cut short?")


def _flag(fields: dict[str, str], name: str) -> bool:
    return fields.get(name, "False").strip().lower().startswith(("t", "1", "y"))


def _metaimage_header(path: Path) -> RawVolume:
    fields, length = _fields(path)
    missing = [name for name in ("NDims", "DimSize", "ElementType") if name not in fields]
    if missing:
        raise UnreadableImageError(f"the header has no {', '.join(missing)}")
    if fields.get("ObjectType", "Image").lower() != "image":
        raise UnreadableImageError(f"the file holds {printable(fields['ObjectType'], 40)!r}, expected an image")
    (axes,) = whole_numbers(fields["NDims"], 1, "NDims")
    if axes != 3:
        raise UnreadableImageError(f"expected three axes of voxels, the header says {axes}")
    if fields.get("ElementNumberOfChannels", "1") != "1":
        raise UnreadableImageError("a voxel has several values; expected one")
    if fields["ElementType"] not in _TYPES:
        raise UnreadableImageError(
            f"voxels of type {printable(fields['ElementType'], 40)!r}; expected one of {', '.join(_TYPES)}"
        )
    if not _flag({"BinaryData": "True", **fields}, "BinaryData"):
        raise UnreadableImageError("the voxels are written as text (BinaryData = False); expected binary ones")
    spacing = numbers(fields.get("ElementSpacing", fields.get("ElementSize", "1 1 1")), 3, "ElementSpacing")
    turn = numbers(fields.get("TransformMatrix", "1 0 0 0 1 0 0 0 1"), 9, "TransformMatrix").reshape(3, 3)
    origin = numbers(fields.get("Offset", "0 0 0"), 3, "Offset")
    # row k of the file's matrix is the direction of array axis k; its length is 1 but for rounding
    grid = check_grid(whole_numbers(fields["DimSize"], 3, "DimSize"), affine_from_lps(turn.T * np.abs(spacing), origin))
    order = ">" if _flag(fields, "BinaryDataByteOrderMSB") else "<"  # of the bytes of a voxel
    (before,) = whole_numbers(fields.get("HeaderSize", "0"), 1, "HeaderSize")
    if before < -1:
        raise UnreadableImageError(f"the header's HeaderSize is {before}; expected -1 (data at the end) or more")
    name = fields["ElementDataFile"]
    local = name.upper() == "LOCAL"
    offset = -1 if before == -1 else (length if local else 0) + before
    compressed = _flag(fields, "CompressedData")
    if compressed and offset < 0:
        raise UnreadableImageError("compressed data at the end of the file (HeaderSize = -1): its start cannot be told")
    return RawVolume(
        grid,
        np.dtype(order + _TYPES[fields["ElementType"]]),
        path if local else data_file(path, name),
        offset,
        "zlib" if compressed else "raw",
        slope=float(numbers(fields.get("ElementToIntensityFunctionSlope", "1"), 1, "intensity slope")[0]),
        intercept=float(numbers(fields.get("ElementToIntensityFunctionOffset", "0"), 1, "intensity offset")[0]),
    )
