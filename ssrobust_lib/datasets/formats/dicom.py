"""DICOM radiographs to [0, 1], as a viewer would show them.

In: a path. Out: an `XRay`. The grey scale follows the standard's pipeline (PS3.3, C.11): stored value, modality table
or rescaling, table or window of the values of interest, MONOCHROME1 turned round. A file that names no window is
spread over all values that its bits can hold. The X-ray part of section 3.1 of the paper.
"""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from ssrobust_lib.datasets.formats.dicom_files import DicomFile, named_dicom, number, open_dicom, words
from ssrobust_lib.datasets.formats.dicom_frames import decode_frame
from ssrobust_lib.datasets.formats.files import printable
from ssrobust_lib.datasets.formats.pictures import check_radiograph
from ssrobust_lib.datasets.loader import UnreadableImageError, XRay

# projections; OT is "other", and a secondary capture may name none
RADIOGRAPHS = ("CR", "DX", "RG", "MG", "PX", "IO", "RF", "XA", "OT", "SC", "DR", "")
WINDOWS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


def read_dicom(path: Path) -> XRay:
    """Read a DICOM radiograph of one grey frame, compressed or not.

    MONOCHROME1 is inverted. The first window (or table of values of interest) of the header is applied; without one,
    values are divided by the largest that the stored bits can hold (after the sign bit is shifted out).

    A file of several frames is refused: a cine loop or a tomosynthesis does not say which of them is the radiograph.

    Returns
    -------
    XRay with metadata view, sex ('' where the header has none) and age (years, NaN where it has none)

    Raises
    ------
    UnreadableImageError
        If the file is damaged, of another modality, not grey, or has several frames.
    """
    path = Path(path)
    with named_dicom(path):
        file = open_dicom(path, RADIOGRAPHS)
        if file.frames != 1:
            raise UnreadableImageError(f"expected one frame, found {file.frames}: which of them is the radiograph?")
        (frame,) = file.encoded_frames()
        pixels = check_radiograph(_displayed(decode_frame(file, frame), file))
        metadata: dict[str, Any] = {
            "view": words(file.header, "ViewPosition", 16),
            "sex": words(file.header, "PatientSex", 16),
            "age": age_in_years(file.header.get("PatientAge", "")),
        }
        return XRay(pixels, metadata)


def age_in_years(text: object) -> float:
    """Age in years from '048Y', '006M', '48' or 48; NaN for anything else, and above 120 (RSNA holds a '155').

    >>> age_in_years("006M"), age_in_years("48")
    (0.5, 48.0)
    """
    match = re.fullmatch(r"\s*(\d{1,4})\s*([YMWD]?)\s*", str(text or ""))
    if not match:
        return math.nan
    years = int(match[1]) / {"": 1, "Y": 1, "M": 12, "W": 365.25 / 7, "D": 365.25}[match[2]]
    return years if years <= 120 else math.nan


def _displayed(stored: np.ndarray, file: DicomFile) -> np.ndarray:
    """Stored values as float32 in [0, 1]."""
    header = file.header
    inverted = header.PhotometricInterpretation == "MONOCHROME1"
    lowest = -(2 ** (file.bits_stored - 1)) if file.signed else 0
    if file.bits_stored < 8 * stored.itemsize:  # a few files hold values beyond the bits that they state
        stored = np.clip(stored, lowest, lowest + 2**file.bits_stored - 1)
    if _window(file) or header.get("VOILUTSequence") or header.get("ModalityLUTSequence"):
        table = _display_table(file)
        pixels = table[stored.astype(np.int64) - lowest]
    else:
        pixels = np.subtract(stored, np.float32(lowest), dtype=np.float32) if lowest else stored
        pixels = np.divide(pixels, np.float32(2.0**file.bits_stored - 1), dtype=np.float32)
        inverted ^= (number(header, "RescaleSlope") or 1.0) < 0
    if inverted:
        np.subtract(1.0, pixels, out=pixels)
    return pixels


def _window(file: DicomFile) -> tuple[float, float] | None:
    """Centre and width of the header's first window, or None."""
    centre, width = (number(file.header, keyword) for keyword in ("WindowCenter", "WindowWidth"))
    return None if centre is None or width is None else (centre, width)


def _display_table(file: DicomFile) -> np.ndarray:
    """Grey value of every stored value, from the smallest on: float32 (2**bits_stored,) in [0, 1]."""
    header = file.header
    lowest = -(2 ** (file.bits_stored - 1)) if file.signed else 0
    values = np.arange(lowest, lowest + 2**file.bits_stored, dtype=np.float64)
    if header.get("ModalityLUTSequence"):
        values = _look_up(values, header.ModalityLUTSequence[0], file.little_endian)[0]
    else:
        values = values * (number(header, "RescaleSlope") or 1.0) + (number(header, "RescaleIntercept") or 0.0)
    if header.get("VOILUTSequence"):
        entries, bits = _look_up(values, header.VOILUTSequence[0], file.little_endian)
        grey = entries / (2.0**bits - 1)
    elif window := _window(file):
        grey = windowed(values, *window, words(header, "VOILUTFunction", 16).upper() or "LINEAR")
    else:
        grey = (values - values.min()) / max(float(np.ptp(values)), 1.0)
    return np.clip(grey, 0.0, 1.0).astype(np.float32)


def windowed(values: np.ndarray, centre: float, width: float, function: str = "LINEAR") -> np.ndarray:
    """Map values to [0, 1] by a window (PS3.3, C.11.2.1.2 and C.11.2.1.3).

    Parameters
    ----------
    values : float64, after the modality's rescaling
    centre, width : of the window
    function : LINEAR, LINEAR_EXACT or SIGMOID

    Raises
    ------
    UnreadableImageError
        If the function is unknown, or the width is none that it can have.
    """
    if function not in WINDOWS:
        raise UnreadableImageError(f"window function {printable(function, 20)}; expected one of {', '.join(WINDOWS)}")
    if width < 1 if function == "LINEAR" else width <= 0:
        raise UnreadableImageError(f"a window of width {width:g} shows nothing")
    if function == "SIGMOID":
        return 1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - centre) / width, -700, 700)))
    if function == "LINEAR":
        centre, width = centre - 0.5, width - 1.0
    if width == 0:
        return (values > centre).astype(np.float64)
    return np.clip((values - centre) / width + 0.5, 0.0, 1.0)


def _look_up(values: np.ndarray, item: Any, little_endian: bool) -> tuple[np.ndarray, int]:
    """Apply a table of the header to values; its entries, and their bits."""
    order = "<" if little_endian else ">"
    described = item.LUTDescriptor
    if isinstance(described, bytes):
        described = np.frombuffer(described, f"{order}u2").tolist()
    length, first, bits = (int(part) for part in described)
    length = length or 2**16
    first -= 2**16 if first >= 2**15 and values.min() < 0 else 0  # the descriptor's type follows the pixels' sign
    entries = item.LUTData
    if isinstance(entries, bytes):
        entries = np.frombuffer(entries, f"{order}u2" if len(entries) >= 2 * length else "u1")
    table = np.asarray(entries, dtype=np.float64).reshape(-1)
    if not 8 <= bits <= 16 or not 1 <= length <= len(table):
        raise UnreadableImageError(f"a table of {len(table)} entries; the header says {length} of {bits} bits")
    return table[np.clip(np.rint(values) - first, 0, length - 1).astype(np.int64)], bits
