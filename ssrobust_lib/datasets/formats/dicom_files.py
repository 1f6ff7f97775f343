"""A DICOM file up to its pixels: header, checked numbers, and where the frames lie.

In: a path. Out: a `DicomFile`, whose frames `dicom_frames` decodes. The header is parsed by pydicom from memory, with
bounds on the file, on a deflated data set and on the number of elements. The header's own conformity is not judged:
RSNA's `PatientAge` ('48') is not a valid age string.
"""

import io
import math
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssrobust_lib.datasets.formats.files import named, printable, read_bytes, whole_number
from ssrobust_lib.datasets.loader import UnreadableImageError

MAX_FILE_BYTES = 2**31
MAX_READS = 2_000_000  # of the parser; an enhanced CT of 1,000 slices takes some 100,000
MAX_VALUE_BYTES = 2**24  # of an element other than the pixels; longer ones are skipped
MAX_PIXELS = 2**26  # of a frame; a long-leg film of 3,000 x 15,000 has two thirds of it
MAX_SIDE = 16_384
MAX_FRAMES = 10_000
_PIXEL_DATA = 0x7FE00010
_UNDEFINED = 0xFFFFFFFF
_DEFLATED = "1.2.840.10008.1.2.1.99"
_IMPLICIT = "1.2.840.10008.1.2"
_EXPLICIT = "1.2.840.10008.1.2.1"
_BIG_ENDIAN = "1.2.840.10008.1.2.2"


@dataclass(frozen=True)
class DicomFile:
    """One file's header and undecoded pixels.

    Attributes
    ----------
    path : of the file
    header : pydicom Dataset without its pixels
    syntax : UID of the transfer syntax, by which the pixels are encoded
    rows, columns, frames : of the pixels
    bits_allocated, bits_stored : 8 or 16, and those of them that hold the value
    signed : whether values are two's complement
    """

    path: Path
    header: Any
    syntax: str
    rows: int
    columns: int
    frames: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    little_endian: bool
    encapsulated: bool
    pixels_vr: str
    _content: bytes
    _start: int

    def encoded_frames(self) -> Iterator[bytes | memoryview]:
        """The frames as they are stored, in the file's order.

        Raises
        ------
        UnreadableImageError
            If the file ends before its last frame.
        """
        if self.encapsulated:
            from pydicom.encaps import generate_frames

            stream = io.BytesIO(self._content)
            stream.seek(self._start)
            frames = generate_frames(stream, number_of_frames=self.frames)
            for _ in range(self.frames):
                frame = next(frames, b"")
                if not frame:
                    raise UnreadableImageError(f"fewer frames than the header's {self.frames}: was the file cut short?")
                yield frame
            return
        stored = memoryview(self._content)[self._start :]
        size = self.rows * self.columns * self.bits_allocated // 8
        if len(stored) < size * self.frames:
            raise UnreadableImageError(
                f"the header claims {self.frames} x {self.rows} x {self.columns} pixels of {self.bits_allocated} bits, "
                f"{size * self.frames:,} bytes, and {len(stored):,} are there: was the file cut short?"
            )
        for number in range(self.frames):
            yield stored[number * size : (number + 1) * size]


class _CountedBytes(io.BytesIO):
    """A file in memory that refuses a parser which reads without end."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads += 1
        if self._reads > MAX_READS:
            raise UnreadableImageError(f"the header has more than {MAX_READS:,} parts: is it damaged?")
        return super().read(size)


@contextmanager
def named_dicom(path: Path) -> Iterator[None]:
    """Name the file in every error, and let pydicom accept values that the standard does not allow."""
    from pydicom.config import disable_value_validation

    with named(path, "DICOM"), disable_value_validation():
        yield


def open_dicom(path: Path, modalities: Sequence[str]) -> DicomFile:
    """Read a file's header; its pixels are not decoded yet.

    Parameters
    ----------
    modalities : one of them the file must have; '' for a file that names none

    Raises
    ------
    UnreadableImageError
        If the file is of another modality, holds no grey pixels of 8 or 16 bits, or claims what no image has.
    """
    content = read_bytes(path, MAX_FILE_BYTES)
    stream = _CountedBytes(content)
    syntax = _transfer_syntax(stream, content)
    if syntax == _DEFLATED:
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        plain = inflate.decompress(content[stream.tell() :], MAX_FILE_BYTES // 8)
        if inflate.unconsumed_tail:
            raise UnreadableImageError(f"the data set grows beyond {MAX_FILE_BYTES // 8:,} bytes when it is inflated")
        stream, content = _CountedBytes(plain), plain
    header, start, vr, length = _parse(stream, syntax, len(content))
    modality = words(header, "Modality", 16)
    if modality not in modalities:
        raise UnreadableImageError(
            f"an image of modality {modality or 'none'}; expected {', '.join(filter(None, modalities))}"
        )
    return _checked(path, header, syntax, content, start, vr, length)


def _transfer_syntax(stream: io.BytesIO, content: bytes) -> str:
    """UID of the transfer syntax; the stream is left where the data set begins."""
    from pydicom.errors import InvalidDicomError
    from pydicom.filereader import read_dataset

    if content[128:132] == b"DICM":
        stream.seek(132)
        meta = read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
        syntax = str(meta.get("TransferSyntaxUID", "") or "")
        if syntax:
            return syntax
    elif not (content[:1] == b"\x08" and content[1:2] == b"\0" and content[3:4] == b"\0"):
        raise InvalidDicomError("no DICM at byte 128")
    # older files begin with the data set itself, in one of two encodings
    group = content[stream.tell() :][:6]
    return _EXPLICIT if group[4:6].isalpha() and group[4:6].isupper() else _IMPLICIT


def _parse(stream: io.BytesIO, syntax: str, end: int) -> tuple[Any, int, str, int]:
    """The header, and first byte, VR and length of its pixels; raises where there are none."""
    from pydicom.filereader import read_dataset

    found: list[tuple[int, str, int]] = []

    def at_pixels(tag: int, vr: str | None, length: int) -> bool:
        if tag == _PIXEL_DATA:
            found.append((stream.tell(), vr or "OW", length))
        elif length != _UNDEFINED and length > end - stream.tell():
            raise UnreadableImageError(
                f"the element {tag:08X} claims {length:,} bytes and {end - stream.tell():,} are left: is it cut short?"
            )
        return tag == _PIXEL_DATA

    header = read_dataset(
        stream, syntax == _IMPLICIT, syntax != _BIG_ENDIAN, stop_when=at_pixels, defer_size=MAX_VALUE_BYTES
    )
    if not found:
        kind = printable(header.get("Modality", "") or "none", 16)
        raise UnreadableImageError(f"the file has no pixels (modality {kind}): is it an image, and complete?")
    return header, *found[0]


def _checked(path: Path, header: Any, syntax: str, content: bytes, start: int, vr: str, length: int) -> DicomFile:
    def count(keyword: str, otherwise: int | None = None) -> int:
        value = header.get(keyword)
        if value is None or value == "":
            if otherwise is None:
                raise UnreadableImageError(f"the header has no {keyword}")
            return otherwise
        return whole_number(value, keyword)

    rows, columns = count("Rows"), count("Columns")
    if not (0 < rows <= MAX_SIDE and 0 < columns <= MAX_SIDE) or rows * columns > MAX_PIXELS:
        raise UnreadableImageError(
            f"the header claims {rows} x {columns} pixels; expected 1 to {MAX_SIDE} each way, {MAX_PIXELS:,} in all"
        )
    frames, channels = count("NumberOfFrames", 1) or 1, count("SamplesPerPixel", 1)
    if not 1 <= frames <= MAX_FRAMES:
        raise UnreadableImageError(f"the header claims {frames} frames; expected 1 to {MAX_FRAMES}")
    photometric = printable(header.get("PhotometricInterpretation", ""), 40)
    if channels != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise UnreadableImageError(
            f"expected grey pixels (MONOCHROME1 or MONOCHROME2), found {channels} channels ({photometric or 'unnamed'})"
        )
    allocated, stored = count("BitsAllocated"), count("BitsStored")
    if allocated not in (8, 16) or not 1 <= stored <= allocated or count("HighBit", stored - 1) != stored - 1:
        raise UnreadableImageError(
            f"expected values in the lower bits of 8 or 16, found {stored} bits of {allocated} "
            f"(highest {header.get('HighBit')})"
        )
    return DicomFile(
        path=path,
        header=header,
        syntax=syntax,
        rows=rows,
        columns=columns,
        frames=frames,
        bits_allocated=allocated,
        bits_stored=stored,
        signed=count("PixelRepresentation", 0) == 1,
        little_endian=syntax != _BIG_ENDIAN,
        encapsulated=length == _UNDEFINED,
        pixels_vr=vr,
        _content=content,
        _start=start,
    )


def number(header: Any, keyword: str) -> float | None:
    """A header's number, the first where there are several; None where it has none.

    Raises
    ------
    UnreadableImageError
        If the value is no finite number.
    """
    value = header.get(keyword)
    if not isinstance(value, str) and hasattr(value, "__len__"):
        value = value[0] if len(value) else None
    if value is None or str(value).strip() == "":
        return None
    try:
        result = float(value)
    except (TypeError, ValueError):
        result = math.nan
    if not math.isfinite(result):
        raise UnreadableImageError(f"{keyword} is {printable(value, 40)!r}, expected a number")
    return result


def number_list(header: Any, keyword: str, length: int) -> tuple[float, ...]:
    """So many finite numbers; raises `UnreadableImageError` where the header has others, or none."""
    value = header.get(keyword)
    try:
        result = tuple(float(part) for part in value) if value is not None else ()
    except (TypeError, ValueError):
        result = ()
    if len(result) != length or not all(map(math.isfinite, result)):
        raise UnreadableImageError(f"{keyword} is {printable(value, 80)!r}, expected {length} numbers")
    return result


def words(header: Any, keyword: str, longest: int = 64) -> str:
    """A header's text in one printable line; '' where it has none."""
    return printable(header.get(keyword, "") or "", longest)
