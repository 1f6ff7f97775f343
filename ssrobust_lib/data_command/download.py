"""One file from its publisher's server to disk: goes on where it stopped, tries again, believes only its checksum.

In: a `DownloadFile` of a manifest and where it is to lie. Out: the file, whole and of the published size and checksum;
or a `DownloadError` and, where going on makes sense, the part so far (`<name>.part`) with what the server said of it.
"""

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssrobust_lib.data_command import DataCommandError
from ssrobust_lib.data_command.checksums import ALGORITHMS
from ssrobust_lib.datasets.identity import file_digest

if TYPE_CHECKING:
    import requests

    from ssrobust_lib.datasets.manifest import DownloadFile

CHUNK = 2**20
RESERVE = 256 * 2**20  # bytes of disk that are left free
_AGAIN = (408, 425, 429, 500, 502, 503, 504)  # RFC 9110, 6585, 8470: the same request may succeed later
_CONTENT_RANGE = re.compile(r"bytes (?:(?P<start>\d+)-(?P<end>\d+)|\*)/(?P<total>\d+|\*)")

Shown = Callable[[int, int | None], None]
"""Called as shown(bytes so far, bytes in all or None)."""


class DownloadError(DataCommandError):
    """A file that cannot be had; the message says from where, why and what to do."""


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for.

    Attributes
    ----------
    attempts : in a row without a new byte, before it is given up
    first_wait_s, longest_wait_s : pause before the second attempt; it doubles from one to the next, up to the longest
    connect_s, read_s : silence after which a connection counts as lost
    """

    attempts: int = 6
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    connect_s: float = 20.0
    read_s: float = 60.0


class _AgainError(Exception):
    """Something that may pass; `wait_s` where the server itself says how long."""

    def __init__(self, why: str, wait_s: float | None = None) -> None:
        super().__init__(why)
        self.wait_s = wait_s


def download(
    file: "DownloadFile",
    target: Path,
    *,
    patience: Patience | None = None,
    shown: Shown | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Get one file; a part that an earlier call left is continued, a whole file is only checked.

    Parameters
    ----------
    file : address, published size and checksums
    target : path of the file; its folder is made
    patience : with the server
    shown : told of the progress
    say : told in words of every attempt that failed

    Raises
    ------
    DownloadError
        If the server refuses, has another size or content than published, stays away, or the disk is too small.
    """
    import requests

    patience = patience or Patience()
    target.parent.mkdir(parents=True, exist_ok=True)
    part = _part(target)
    if not target.is_file():
        with requests.Session() as session:
            session.headers.update({"User-Agent": "ssrobust", "Accept-Encoding": "identity"})
            resumed = _size(part) > 0
            _receive_patiently(session, file, part, patience, shown, say)
            wrong = mismatch(file, part)
            if wrong and resumed:  # the part may have come from another version of the file
                say(f"{file.name}: {wrong}; the part was of an earlier attempt, starting anew")
                _drop(part)
                _receive_patiently(session, file, part, patience, shown, say)
                wrong = mismatch(file, part)
        if wrong:
            _drop(part)
            raise DownloadError(
                f"{file.address}: {wrong}. Nothing of it is kept: either the publisher has changed the file, or "
                "something between here and there has. Try again; if it stays so, look for a newer manifest"
            )
        os.replace(part, target)
        _note(part).unlink(missing_ok=True)
    elif wrong := mismatch(file, target):
        target.unlink()
        say(f"{file.name}: {wrong}; getting it anew")
        download(file, target, patience=patience, shown=shown, say=say)


def mismatch(file: "DownloadFile", path: Path) -> str | None:
    """How a file differs from what its publisher says of it (size, checksums); None where it does not."""
    if file.bytes is not None and path.stat().st_size != file.bytes:
        return f"expected {file.bytes:,} bytes, got {path.stat().st_size:,}"
    for algorithm in ALGORITHMS:
        published = getattr(file, algorithm)
        if published and (found := file_digest(path, algorithm)) != published:
            return f"expected {algorithm} {published}, got {found}"
    return None


def check_room(folder: Path, needed: int, what: str) -> None:
    """Raise `DownloadError` unless the disk of `folder` has `needed` bytes left, and some more."""
    free = shutil.disk_usage(folder).free
    if needed + RESERVE > free:
        raise DownloadError(
            f"{what} needs {gigabytes(needed)}, but {folder} has {gigabytes(free)} free: make room, or name another "
            "data folder with --root; what is here already is kept"
        )


def gigabytes(n_bytes: int) -> str:
    """Bytes in words, decimal units.

    >>> gigabytes(1_230_000_000), gigabytes(45_000), gigabytes(12)
    ('1.2 GB', '45 kB', '12 B')
    """
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if n_bytes >= factor:
            return f"{n_bytes / factor:.1f} {unit}"
    return f"{n_bytes / 1e3:.0f} kB" if n_bytes >= 1000 else f"{n_bytes} B"


def _receive_patiently(
    session: "requests.Session",
    file: "DownloadFile",
    part: Path,
    patience: Patience,
    shown: Shown | None,
    say: Callable[[str], None],
) -> None:
    failures, furthest = 0, _size(part)
    while True:
        try:
            _receive(session, file, part, patience, shown)
            return
        except _AgainError as trouble:
            failures = failures + 1 if _size(part) <= furthest else 0
            furthest = max(furthest, _size(part))
            if failures >= patience.attempts:
                raise DownloadError(
                    f"{file.address}: given up after {failures} attempts without progress ({trouble}). "
                    f"{gigabytes(furthest)} are kept; the same command goes on from there"
                ) from trouble
            wait_s = min(trouble.wait_s or patience.first_wait_s * 2 ** max(failures - 1, 0), patience.longest_wait_s)
            say(f"{file.name}: {trouble}; trying again in {wait_s:.0f} s")
            time.sleep(wait_s)


def _receive(
    session: "requests.Session", file: "DownloadFile", part: Path, patience: Patience, shown: Shown | None
) -> None:
    """Ask once for what is missing of a file and append it to its part."""
    asked = _request_headers(file, part)
    response = _ask(session, file, asked, patience)
    with response:
        if response.status_code == 416 and _ended(response, file, part):
            return
        start = _start_of(response, part)
        total = _total(response, start)
        if file.bytes is not None and total is not None and total != file.bytes:
            raise DownloadError(f"{file.address}: the manifest says {file.bytes:,} bytes, the server {total:,}")
        expected = file.bytes if total is None else total
        if expected is not None:
            check_room(part.parent, expected - start, file.name)
        _note(part).write_text(json.dumps({"address": file.address, "validator": _validator(response)}))
        limit = expected if expected is not None else start + shutil.disk_usage(part.parent).free - RESERVE
        with part.open("r+b" if part.exists() else "wb") as written:
            written.truncate(start)
            written.seek(start)
            done = start
            if shown:
                shown(done, expected)
            for chunk in _chunks(response):
                done += len(chunk)
                if done > limit:
                    raise DownloadError(f"{file.address}: the server sends more than the {gigabytes(limit)} expected")
                written.write(chunk)
                if shown:
                    shown(done, expected)
    if expected is not None and done < expected:
        raise _AgainError(f"the connection ended after {done:,} of {expected:,} bytes")


def _ask(
    session: "requests.Session", file: "DownloadFile", headers: dict[str, str], patience: Patience
) -> "requests.Response":
    """The server's answer to one request, if it is one that brings bytes or says that there are no more."""
    import requests

    wait = (patience.connect_s, patience.read_s)
    try:
        response = session.get(file.address, headers=headers, stream=True, timeout=wait)
    except (requests.exceptions.SSLError, requests.exceptions.TooManyRedirects, ValueError) as error:
        # requests' errors for impossible addresses are ValueErrors
        raise DownloadError(f"{file.address}: {_reason(error)}") from error
    except requests.exceptions.RequestException as error:
        raise _AgainError(_reason(error)) from error
    status = response.status_code
    try:
        if file.address.startswith("https:") and not response.url.startswith("https:"):
            raise DownloadError(f"{file.address}: sent on to {response.url}, which is not encrypted: not followed")
        if status in _AGAIN:
            raise _AgainError(f"the server answers {status} {response.reason}", _retry_after(response))
        if status not in (200, 206, 416):
            raise DownloadError(
                f"{file.address}: the server answers {status} {response.reason}. Has the publisher moved the file? "
                "Look at how to get the set (`ssrobust data list`)"
            )
        kind = response.headers.get("Content-Type", "").split(";")[0].strip().lower()
        if kind == "text/html" and not file.name.lower().endswith((".html", ".htm")):
            raise DownloadError(
                f"{file.address}: the server sends a web page instead of {file.name}; a page to sign in or agree to? "
                "Look at how to get the set (`ssrobust data list`)"
            )
    except BaseException:
        response.close()
        raise
    return response


def _request_headers(file: "DownloadFile", part: Path) -> dict[str, str]:
    """Range of what is missing, on condition that the file is still the one whose part is here (RFC 9110, 13.1.5)."""
    note = _read_note(part)
    if note.get("address") != file.address:
        _drop(part)
    if not (note.get("validator") or file.md5 or file.sha256):
        _drop(part)  # nothing would tell if the rest were that of another version
    held = _size(part)
    if not held:
        return {}
    condition = {"If-Range": note["validator"]} if note.get("validator") else {}
    return {"Range": f"bytes={held}-", **condition}


def _start_of(response: "requests.Response", part: Path) -> int:
    """Where in the file the answer begins: at 0 where the server sends all of it, else where the part ends."""
    if response.status_code == 200:
        return 0
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    before, now = _read_note(part).get("validator"), _validator(response)
    if not match or match["start"] is None or int(match["start"]) != _size(part) or (before and now and before != now):
        _drop(part)
        raise _AgainError("the server sends another piece than asked for, starting anew")
    return int(match["start"])


def _total(response: "requests.Response", start: int) -> int | None:
    """Length of the whole file as the server states it; None where it does not."""
    if response.status_code == 206:
        match = _CONTENT_RANGE.fullmatch(response.headers["Content-Range"])
        if match and match["total"] != "*":
            return int(match["total"])
    length = response.headers.get("Content-Length", "")
    return start + int(length) if length.isdigit() else None


def _ended(response: "requests.Response", file: "DownloadFile", part: Path) -> bool:
    """Whether 'range not satisfiable' means that the part is the whole; else it is dropped and asked for anew."""
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    total = int(match["total"]) if match and match["total"] != "*" else None
    if total is not None and total == _size(part) and file.bytes in (None, total):
        return True
    if not _size(part):
        raise DownloadError(f"{file.address}: the server answers 416 to a request for the whole file")
    _drop(part)
    raise _AgainError("the server's file is shorter than the part here, starting anew")


def _chunks(response: "requests.Response") -> Iterator[bytes]:
    """The body as sent, not decoded; a lost connection becomes `_AgainError`, whichever layer notices it."""
    import urllib3

    body = response.raw.stream(CHUNK, decode_content=False)
    while True:
        try:
            chunk = next(body, None)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _AgainError(f"the connection was lost ({_reason(error)})") from error
        if chunk is None:
            return
        yield chunk


def _validator(response: "requests.Response") -> str | None:
    """What tells one version of the file from the next: a strong ETag, else the date of its last change."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified")


def _retry_after(response: "requests.Response") -> float | None:
    """Seconds that the server asks to wait: a number or a date (RFC 9110, 10.2.3)."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def _reason(error: BaseException) -> str:
    """The innermost words of an error that several layers have wrapped."""
    inner: Any = error
    while True:
        deeper = getattr(inner, "reason", None) or next((a for a in inner.args if isinstance(a, BaseException)), None)
        if not isinstance(deeper, BaseException):
            break
        inner = deeper
    words = re.sub(r"<[^>]* object at 0x[0-9a-f]+>:? ?|^\w*Connection\([^)]*\): ?", "", str(inner))
    return words or type(inner).__name__


def _part(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_note(part: Path) -> dict[str, Any]:
    """What the server said of a part's file: address, validator; empty where nothing was noted."""
    try:
        return dict(json.loads(_note(part).read_text()))
    except (OSError, ValueError):
        return {}


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _drop(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)
