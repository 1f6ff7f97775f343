"""One file before a decoder sees it: is it there, is it a plain file, how large is it, and what does it look like?

In: a path. Out: its bytes or an open stream, never more than asked for, or an `UnreadableImageError` that names the
file. Nothing here knows a format beyond the first bytes by which it is told from others.
"""

import math
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ssrobust_lib.datasets.loader import UnreadableImageError

LONGEST_REASON = 400  # characters; libraries quote what they stumble over
HEAD_BYTES = 4096
_GZIP = "a gzip file"
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (128, b"DICM", "DICOM"),
    (344, b"n+1\0", "NIfTI"),
    (344, b"ni1\0", "the header of a NIfTI pair (.hdr and .img)"),
    (4, b"n+2\0", "NIfTI"),
    (0, b"NRRD00", "NRRD"),
    (0, b"ObjectType", "MetaImage"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x1f\x8b", _GZIP),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (0, b"Rar!", "a RAR archive"),
    (257, b"ustar", "a tar archive"),
    (0, b"BZh", "a bzip2 file"),
    (0, b"\xfd7zXZ", "an xz file"),
    (0, b"%PDF", "PDF"),
    (0, b"GIF8", "GIF"),
    (0, b"BM", "BMP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"\x89HDF", "HDF5"),
    (0, b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (0, b"version https://git-lfs", "a Git LFS pointer: the file itself was not fetched"),
    (0, b"Salted__", "a file encrypted with OpenSSL"),
    (0, b"-----BEGIN PGP", "a file encrypted with PGP"),
)


def printable(text: object, longest: int = LONGEST_REASON) -> str:
    """Text in one line that any table and terminal can hold: no control characters, no half code points.

    >>> printable("a\\nb\\udcff")
    'a b?'
    """
    whole = str(text)[: 4 * longest].encode("utf-8", "replace").decode("utf-8")
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in whole).split())
    return line if len(line) <= longest else line[: longest - 3] + "..."


@contextmanager
def named(path: Path, form: str) -> Iterator[None]:
    """Turn whatever a decoder raises into an `UnreadableImageError` that names the file; silence its warnings.

    Parameters
    ----------
    path : file or folder to name
    form : what was expected, e.g. "DICOM"
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a header's faults that matter raise; the rest would flood a long run
            yield
    except UnreadableImageError as error:
        raise UnreadableImageError(f"{printable(path.name)}: {error}") from error
    except Exception as error:  # four libraries and their plug-ins: no common base class
        found = _look(path)
        as_it_should = found in form or (found == _GZIP and form.startswith("NIfTI"))
        seen = "" if as_it_should else f"; it looks like {found}"
        reason = printable(f"{type(error).__name__}: {error}")
        raise UnreadableImageError(f"{printable(path.name)}: not readable as {form}{seen} ({reason})") from error


def file_size(path: Path, largest: int) -> int:
    """Bytes of a plain file.

    Raises
    ------
    UnreadableImageError
        If there is no such file, it is a folder or a device (which could be read for ever), empty, or above `largest`.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        raise UnreadableImageError("no such file") from None
    except (OSError, ValueError) as error:
        raise UnreadableImageError(f"cannot be opened ({printable(error)})") from error
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableImageError(f"a {'folder' if stat.S_ISDIR(status.st_mode) else 'device'}, not a file")
    if status.st_size == 0:
        raise UnreadableImageError("the file is empty (0 bytes)")
    if status.st_size > largest:
        raise UnreadableImageError(f"the file has {status.st_size:,} bytes, more than the {largest:,} expected at most")
    return status.st_size


def read_bytes(path: Path, largest: int) -> bytes:
    """The whole content of a plain file; raises as `file_size`."""
    size = file_size(path, largest)
    with path.open("rb") as file:
        return file.read(size)


def looks_like(head: bytes) -> str:
    """What the first bytes of a file look like: a format's name, or a description; '' for nothing in particular.

    >>> looks_like(b"\\x89PNG\\r\\n\\x1a\\n"), looks_like(bytes(512))
    ('PNG', 'a file of zeros')
    """
    for start, signature, name in _SIGNATURES:
        if head[start : start + len(signature)] == signature:
            return name
    text = head[:512].lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page, perhaps a login page saved in place of the file"
    if head and not any(head):
        return "a file of zeros"
    if len(head) >= 1024 and _bits_per_byte(head) > 7.5:
        return "an encrypted or compressed file (its bytes have no pattern)"
    return ""


def _bits_per_byte(data: bytes) -> float:
    """Shannon entropy of single bytes: 8 for random ones."""
    counts = np.bincount(np.frombuffer(data, dtype=np.uint8), minlength=256)
    shares = counts[counts > 0] / len(data)
    return float(-(shares * np.log2(shares)).sum())


def _look(path: Path) -> str:
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            return looks_like(file.read(HEAD_BYTES))
    except (OSError, ValueError):
        return ""


def whole_number(value: object, what: str) -> int:
    """A header's number as int; raises `UnreadableImageError` where it is none."""
    try:
        number = float(str(value))
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or number != int(number):
        raise UnreadableImageError(f"{what} is {printable(value, 40)!r}, expected a whole number")
    return int(number)
