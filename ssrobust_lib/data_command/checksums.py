"""Checksums of a set's files: the user's own, written beside the data and compared with later.

In: a set's folder. Out: a text file of SHA-256 sums in the form of `sha256sum`, whose paths are relative to the set's
folder (`cd kermany && sha256sum -c ../kermany.sha256` reads it as well), and what has changed since it was written.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ssrobust_lib.data_command import DataCommandError
from ssrobust_lib.datasets.identity import file_digest

ALGORITHMS = ("sha256", "md5")
_ESCAPES = (("\\", "\\\\"), ("\n", "\\n"), ("\r", "\\r"))


class ChecksumFileError(DataCommandError):
    """A file of checksums that cannot be read or written; the message names it and the line."""


def record_path(root: Path) -> Path:
    """Where a set's own checksums lie by default: beside its folder, which is the publisher's."""
    return root.with_name(f"{root.name}.sha256")


def set_files(root: Path) -> list[str]:
    """Paths of all files below a set's folder, relative and sorted; hidden ones (.DS_Store) are passed over."""
    found = []
    for where, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [os.path.relpath(os.path.join(where, name), root) for name in names if not name.startswith(".")]
    return sorted(path.replace(os.sep, "/") for path in found)


def digests(
    root: Path, paths: list[str], *, workers: int, shown: Callable[[int], None] | None = None
) -> Iterator[tuple[str, str | OSError]]:
    """Each path with its SHA-256, or with the error where it cannot be read; in order.

    Parameters
    ----------
    root : the set's folder
    paths : relative to it
    workers : threads; hashing leaves Python's lock
    shown : called with the bytes of each file when it is done
    """

    def one(path: str) -> tuple[str, str | OSError]:
        try:
            return path, file_digest(root / path)
        except OSError as error:
            return path, error

    pool = ThreadPoolExecutor(max(1, workers))
    try:
        for path, found in pool.map(one, paths):
            if shown:
                shown(0 if isinstance(found, OSError) else (root / path).stat().st_size)
            yield path, found
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def compare(recorded: Mapping[str, str], found: Mapping[str, str]) -> dict[str, str]:
    """What differs between recorded and found checksums: path -> reason."""
    differing = {path: "is recorded, but not there" for path in recorded if path not in found}
    differing |= {path: "is not in the recorded checksums" for path in found if path not in recorded}
    changed = [path for path in recorded if path in found and recorded[path] != found[path]]
    differing |= {path: f"has changed: recorded {recorded[path][:12]}…, found {found[path][:12]}…" for path in changed}
    return dict(sorted(differing.items()))


def write_record(path: Path, found: Mapping[str, str]) -> None:
    """Write checksums as `sha256sum` does, whole or not at all; raises `ChecksumFileError`."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        text = "".join(f"{_line(name, digest)}\n" for name, digest in sorted(found.items()))
        aside.write_bytes(os.fsencode(text))  # a name need not be text
        os.replace(aside, path)
    except OSError as error:
        raise ChecksumFileError(
            f"{path}: cannot be written ({error.strerror}): name another place with --checksums FILE"
        ) from error


def read_record(path: Path) -> dict[str, str]:
    """Read what `write_record` or `sha256sum` wrote: path -> checksum; raises `ChecksumFileError` naming the line."""
    found = {}
    try:
        lines = os.fsdecode(path.read_bytes()).split("\n")
    except OSError as error:
        raise ChecksumFileError(f"{path}: cannot be read as checksums ({error.strerror})") from error
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        escaped, body = line.startswith("\\"), line.removeprefix("\\")
        digest, name = body[:64].lower(), body[66:]
        if len(body) < 67 or body[64:66] not in ("  ", " *") or not set(digest) <= set("0123456789abcdef"):
            raise ChecksumFileError(f"{path}: line {number}: expected 64 hexadecimal digits, two spaces and a path")
        found[_unescaped(name) if escaped else name.removeprefix("./")] = digest
    return found


def _line(name: str, digest: str) -> str:
    escaped = name
    for plain, written in _ESCAPES:
        escaped = escaped.replace(plain, written)
    mark = "\\" if escaped != name else ""
    return f"{mark}{digest}  {escaped}"


def _unescaped(name: str) -> str:
    # a backslash may precede an n by chance: read from left to right
    plain, letters = "", iter(name)
    back = {"n": "\n", "r": "\r", "\\": "\\"}
    for letter in letters:
        if letter == "\\":
            following = next(letters, "")
            plain += back.get(following, letter + following)
        else:
            plain += letter
    return plain
