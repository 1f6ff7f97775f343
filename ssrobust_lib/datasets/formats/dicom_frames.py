"""Frames of a DICOM file to stored values: uncompressed, RLE, JPEG (baseline, extended, lossless), JPEG-LS, JPEG 2000.

In: a `DicomFile` and one of its frames. Out: integers (rows, columns) as stored, before any rescaling. Baseline JPEG,
RSNA's format, goes straight to Pillow (libjpeg-turbo); the rest through pydicom's decoders. The size that a compressed
frame states is compared with the header before it is decoded: decoders take memory for what the frame says.
"""

import io
from typing import Any

import numpy as np

from ssrobust_lib.datasets.formats.dicom_files import DicomFile
from ssrobust_lib.datasets.formats.files import printable
from ssrobust_lib.datasets.formats.pictures import check_scans
from ssrobust_lib.datasets.loader import UnreadableImageError

_JPEG_8_BIT = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
_JPEG = (*_JPEG_8_BIT, *(f"1.2.840.10008.1.2.4.{number}" for number in (57, 70, 80, 81)))
_JPEG_2000 = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (90, 91, 201, 202, 203))
_RLE = ("1.2.840.10008.1.2.5",)
_NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2")


def decode_frame(file: DicomFile, frame: bytes | memoryview) -> np.ndarray:
    """Decode one frame.

    Returns
    -------
    uint8, int8, uint16 or int16 (rows, columns), stored values

    Raises
    ------
    UnreadableImageError
        If the frame is damaged, has another size than the header says, or an encoding that is not read here.
    """
    if file.encapsulated == (file.syntax in _NATIVE):
        raise UnreadableImageError(f"the pixels are not encoded as the transfer syntax {_name(file)} demands")
    if file.syntax in _JPEG:
        _check_size(file, *jpeg_size(frame))
        check_scans(bytes(frame))
        if file.syntax in _JPEG_8_BIT and file.bits_allocated == 8 and not file.signed:
            return _decode_jpeg(frame)
    elif file.syntax in _JPEG_2000:
        _check_size(file, *jpeg2000_size(frame))
    elif file.syntax not in _NATIVE + _RLE:
        raise UnreadableImageError(
            f"transfer syntax {_name(file)} is not read; expected uncompressed, RLE, JPEG, JPEG-LS or JPEG 2000"
        )
    return _decode_by_pydicom(file, frame)


def _name(file: DicomFile) -> str:
    from pydicom.uid import UID

    return printable(UID(file.syntax).name, 80)


def _check_size(file: DicomFile, rows: int, columns: int, channels: int) -> None:
    if (rows, columns, channels) != (file.rows, file.columns, 1):
        raise UnreadableImageError(
            f"the compressed frame has {rows} x {columns} pixels of {channels} channels, the header says "
            f"{file.rows} x {file.columns} of 1"
        )


def _decode_jpeg(frame: bytes | memoryview) -> np.ndarray:
    from PIL import Image

    with Image.open(io.BytesIO(frame), formats=("JPEG",)) as picture:
        if picture.mode != "L":
            raise UnreadableImageError(f"the compressed frame is a picture of mode {picture.mode}, expected grey")
        return np.asarray(picture)


def _decode_by_pydicom(file: DicomFile, frame: bytes | memoryview) -> np.ndarray:
    from pydicom.encaps import encapsulate
    from pydicom.pixels import get_decoder

    options: dict[str, Any] = {
        "rows": file.rows,
        "columns": file.columns,
        "samples_per_pixel": 1,
        "number_of_frames": 1,
        "photometric_interpretation": "MONOCHROME2",
        "bits_allocated": file.bits_allocated,
        "bits_stored": file.bits_stored,
        "pixel_representation": int(file.signed),
        "pixel_keyword": "PixelData",
    }
    if file.syntax in _NATIVE:
        options["pixel_vr"] = file.pixels_vr
    elif file.syntax in _JPEG + _JPEG_2000:
        options["decoding_plugin"] = "pylibjpeg"
    source = bytes(frame) if file.syntax in _NATIVE else encapsulate([bytes(frame)], has_bot=False)
    values, _ = get_decoder(file.syntax).as_array(source, index=0, raw=True, **options)
    if values.shape != (file.rows, file.columns) or values.dtype.kind not in "iu" or values.dtype.itemsize > 2:
        raise UnreadableImageError(f"the frame decodes to {values.dtype} {values.shape}, not as the header says")
    return values


def jpeg_size(frame: bytes | memoryview) -> tuple[int, int, int]:
    """Rows, columns and channels that a JPEG or JPEG-LS stream states (ISO 10918-1, B.2.2).

    Raises
    ------
    UnreadableImageError
        If the stream has no frame header.
    """
    head = bytes(frame[: 2**20])
    place = 2
    while head[:2] == b"\xff\xd8" and place + 9 < len(head):
        if head[place] != 0xFF:
            break
        marker = head[place + 1]
        if marker == 0xFF:  # fill
            place += 1
            continue
        if marker in (0xF7, *range(0xC0, 0xD0)) and marker not in (0xC4, 0xC8, 0xCC):
            rows, columns = (int.from_bytes(head[place + at : place + at + 2], "big") for at in (5, 7))
            return rows, columns, head[place + 9]
        place += 2 + int.from_bytes(head[place + 2 : place + 4], "big")
    raise UnreadableImageError("the compressed frame is no JPEG, or damaged at its start")


def jpeg2000_size(frame: bytes | memoryview) -> tuple[int, int, int]:
    """Rows, columns and channels that a JPEG 2000 stream states (ISO 15444-1, A.5.1).

    Raises
    ------
    UnreadableImageError
        If the stream does not begin as one, or is cut into absurdly many tiles.
    """
    head = bytes(frame[:1024])
    start = head.find(b"\xff\x4f\xff\x51")  # start of the code stream and of its size marker
    if start < 0 or len(head) < start + 42:
        raise UnreadableImageError("the compressed frame is no JPEG 2000, or damaged at its start")

    def field(at: int) -> int:
        return int.from_bytes(head[start + at : start + at + 4], "big")

    right, bottom, left, top, tile_width, tile_height = (field(8 + 4 * k) for k in range(6))
    columns, rows = right - left, bottom - top
    tiles = -(-right // max(tile_width, 1)) * -(-bottom // max(tile_height, 1))
    if not (tile_width and tile_height) or tiles > 65_535:
        raise UnreadableImageError(f"the compressed frame is cut into tiles of {tile_width} x {tile_height}: damaged")
    return rows, columns, int.from_bytes(head[start + 40 : start + 42], "big")
