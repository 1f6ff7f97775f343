"""PNG and JPEG radiographs to [0, 1].

In: a path. Out: an `XRay`. Pillow decodes; only its PNG and JPEG readers are ever tried, and no picture whose header
claims more pixels than a radiograph can have.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np

from ssrobust_lib.datasets.formats.dicom_files import MAX_PIXELS, MAX_SIDE
from ssrobust_lib.datasets.formats.files import named, read_bytes
from ssrobust_lib.datasets.loader import UnreadableImageError, XRay

MAX_FILE_BYTES = 2**29
MAX_SCANS = 256  # of a progressive JPEG, each of which touches the whole image; encoders write some ten
FORMATS = ("PNG", "JPEG")


def read_picture(path: Path) -> XRay:
    """Read a PNG or JPEG radiograph; colour becomes grey by the usual luma weights (ITU-R 601), alpha is dropped.

    Raises
    ------
    UnreadableImageError
        If the file is damaged, cut short, or absurdly large.
    """
    path = Path(path)
    with named(path, "PNG or JPEG"), open_picture(path) as picture:
        if picture.mode.startswith("I"):  # 16-bit grey
            pixels = np.asarray(picture).astype(np.float32) / 65_535.0
        else:
            picture.draft("L", picture.size)  # a JPEG is decoded to its brightness alone, which is the same and quicker
            pixels = np.divide(np.asarray(picture.convert("L")), np.float32(255), dtype=np.float32)
        return XRay(check_radiograph(pixels))


def open_picture(path: Path, formats: tuple[str, ...] = FORMATS) -> Any:
    """Open a picture by Pillow without decoding it; the caller closes it.

    Raises
    ------
    UnreadableImageError
        If it is no plain file, or its header claims too many pixels.
    """
    from PIL import Image

    content = read_bytes(path, MAX_FILE_BYTES)
    check_scans(content)
    picture = Image.open(io.BytesIO(content), formats=formats)
    width, height = picture.size
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE) or height * width > MAX_PIXELS:
        picture.close()
        raise UnreadableImageError(
            f"the header claims {height} x {width} pixels; expected 1 to {MAX_SIDE} each way, {MAX_PIXELS:,} in all"
        )
    return picture


def check_scans(content: bytes) -> None:
    """Raise for a JPEG of so many scans that decoding it would take minutes."""
    if content[:2] == b"\xff\xd8" and content.count(b"\xff\xda") > MAX_SCANS:
        raise UnreadableImageError(f"a JPEG of more than {MAX_SCANS} scans: is it damaged?")


def check_radiograph(pixels: np.ndarray) -> np.ndarray:
    """Raise for an image whose pixels all have one value; hand back any other."""
    few = pixels[::64, ::64]  # tell almost every image from an empty one; its corners and edges are often black
    if few.min() == few.max() and pixels.min() == pixels.max():
        raise UnreadableImageError(f"all pixels have one value ({float(pixels.flat[0]):.3f}): an empty image")
    return pixels
