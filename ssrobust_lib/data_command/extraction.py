"""Archives to files, none of which can land elsewhere, fill the disk or be anything but a plain file.

In: a zip, tar (plain or compressed by gzip) or gzip file and an empty place. Out: a folder with its files, or an
`ArchiveError` and no folder. Names, kinds and sizes are judged as the bytes arrive, whatever the archive claims.
"""

import os
import shutil
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ssrobust_lib.data_command import DataCommandError
from ssrobust_lib.data_command.download import RESERVE, gigabytes
from ssrobust_lib.registry import unknown_name

CHUNK = 2**20
ROOM_EVERY = 2**28  # bytes between two looks at the disk
LARGEST_READ = 2**26  # a header, or the table of a zip, is no longer: 64 MiB name more than 600,000 files
DEEPEST = 32
LONGEST_NAME = 255  # bytes, the limit of common file systems


class ArchiveError(DataCommandError):
    """An archive that is damaged or unsafe; the message names it, the member and the reason."""


@dataclass(frozen=True)
class Limits:
    """What an archive may unpack to.

    Attributes
    ----------
    files : number of files
    n_bytes : bytes of all files together
    ratio : unpacked over packed bytes, once more than `free_bytes` are unpacked. Images shrink by 1.1 to 10, label maps
        by up to some hundred; a bomb by a thousand and more
    free_bytes : see ratio
    """

    files: int = 2_000_000
    n_bytes: int = 4 * 2**40
    ratio: float = 100.0
    free_bytes: int = 2**26


class _Folder:
    """The place that one archive is unpacked to, and what has come so far."""

    def __init__(self, folder: Path, packed: int, limits: Limits) -> None:
        self.folder, self.packed, self.limits = folder, packed, limits
        self.files: dict[str, int] = {}
        self.n_bytes = 0
        self._checked = 0

    def write(self, name: str, content: Any) -> None:
        """Write one member; raises `ArchiveError` for an unsafe or repeated name and beyond the limits."""
        path = safe_name(name)
        if len(self.files) >= self.limits.files:
            raise ArchiveError(f"holds more than {self.limits.files:,} files")
        target = self.folder / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            written = target.open("xb")
        except (FileExistsError, NotADirectoryError):
            raise ArchiveError(f"{name!r} stands in it twice, or as a file and as a folder") from None
        with written:
            size = 0
            while chunk := content.read(CHUNK):
                size += len(chunk)
                self._count(len(chunk))
                written.write(chunk)
        self.files[str(path)] = size

    def _count(self, n_bytes: int) -> None:
        self.n_bytes += n_bytes
        check_growth(self.n_bytes, self.packed, self.limits)
        if self.n_bytes - self._checked >= ROOM_EVERY:
            self._checked = self.n_bytes
            if shutil.disk_usage(self.folder).free < RESERVE + ROOM_EVERY:
                raise ArchiveError(f"the disk of {self.folder} is nearly full: make room and run the command again")


def extract(
    archive: Path,
    kind: str,
    folder: Path,
    *,
    limits: Limits | None = None,
    shown: Callable[[int, int], None] | None = None,
) -> dict[str, int]:
    """Unpack an archive into a folder of its own.

    Only plain files and folders are unpacked; file modes and owners are not. A gzip file gives one file of its name
    without .gz.

    Parameters
    ----------
    archive : the file
    kind : zip, tar or gzip
    folder : must not exist; is not there afterwards if anything goes wrong
    limits : what the archive may unpack to
    shown : called as shown(packed bytes read, packed bytes in all)

    Returns
    -------
    path relative to the folder -> bytes

    Raises
    ------
    ArchiveError
        If the archive is damaged or encrypted, a member has an unsafe name or is a link or device, a limit is
        exceeded, or the disk is too small.
    """
    readers = {"zip": _read_zip, "tar": _read_tar, "gzip": _read_gzip}
    if kind not in readers:
        raise unknown_name("kind of archive", kind, list(readers))
    packed = archive.stat().st_size
    folder.mkdir(parents=True)
    try:
        with _named(archive, kind), archive.open("rb") as opened:
            into = _Folder(folder, packed, limits or Limits())
            _check_room(folder, packed)
            if packed == 0:
                raise ArchiveError("is empty")
            for _ in readers[kind](_Metered(opened), archive, into):
                if shown:
                    shown(min(opened.tell(), packed), packed)
            if not into.files:
                raise ArchiveError("holds no file")
            return into.files
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def safe_name(name: str) -> PurePosixPath:
    """A member's name as a path that stays below the folder it is unpacked to.

    >>> safe_name("images/a.png"), safe_name("./b.png")
    (PurePosixPath('images/a.png'), PurePosixPath('b.png'))

    Raises
    ------
    ArchiveError
        For a name that is empty, absolute, leads upwards, holds a backslash, colon after a drive's letter or control
        character, is not UTF-8, or is longer or deeper than file systems take.
    """
    path = PurePosixPath(name)
    parts = path.parts
    if path.is_absolute() or name[1:2] == ":":
        why = "is absolute"
    elif ".." in parts:
        why = "leads out of its folder"
    elif "\\" in name or any(ord(letter) < 32 or ord(letter) == 127 for letter in name):
        why = "holds a backslash or a control character"
    elif not parts:
        why = "is empty"
    elif any("\ud800" <= letter <= "\udfff" for letter in name):
        why = "is not UTF-8"
    elif len(parts) > DEEPEST or any(len(part.encode()) > LONGEST_NAME for part in parts):
        why = f"is deeper than {DEEPEST} folders or has a part of more than {LONGEST_NAME} bytes"
    else:
        return path
    shown = name if len(name) <= 120 else name[:120] + "…"
    raise ArchiveError(f"the name {shown!r} {why}: refused")


def check_growth(unpacked: int, packed: int, limits: Limits) -> None:
    """Raise `ArchiveError` where an archive has unpacked to more than a set of images would."""
    if unpacked > limits.n_bytes:
        raise ArchiveError(f"unpacks to more than {gigabytes(limits.n_bytes)}")
    if unpacked > limits.free_bytes and unpacked > limits.ratio * packed:
        raise ArchiveError(f"{gigabytes(packed)} unpack to more than {limits.ratio:g} times as much: a bomb?")


class _Metered:
    """A stream whose single reads stay small, so that a header cannot claim all memory for itself.

    `last` is what was read last. With `packed` it counts what has been unpacked as well, since headers and padding are
    never written anywhere.
    """

    def __init__(self, stream: Any, packed: int | None = None, limits: Limits | None = None) -> None:
        self._stream, self._packed, self._limits = stream, packed, limits
        self.last = b""

    def read(self, n: int = -1) -> bytes:
        data = self._stream.read(min(n, LARGEST_READ + 1) if n >= 0 else LARGEST_READ + 1)
        if len(data) > LARGEST_READ:
            raise ArchiveError(f"a header is longer than {gigabytes(LARGEST_READ)}")
        self.last = data
        if self._packed is not None and self._limits is not None:
            check_growth(self._stream.tell(), self._packed, self._limits)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if offset < 0 and whence == os.SEEK_SET:  # the disk's error for it could not be told from a fault of the disk
            raise ArchiveError("a header points to before the beginning of the archive")
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def seekable(self) -> bool:
        return True


def _read_zip(stream: Any, file: Path, into: _Folder) -> Iterator[None]:
    import zipfile

    with zipfile.ZipFile(stream) as archive:
        members = archive.infolist()
        check_growth(sum(member.file_size for member in members), into.packed, into.limits)
        _check_room(into.folder, sum(member.file_size for member in members))
        for member in members:
            # the names as stored: zipfile itself cuts them at a NUL and mends some
            safe_name(member.orig_filename)
            mode = stat.S_IFMT(member.external_attr >> 16)
            if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise ArchiveError(f"{member.filename!r} is a link or a device: refused")
            if member.flag_bits & 1:
                raise ArchiveError(f"{member.filename!r} is encrypted")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                method = {9: "Deflate64"}.get(member.compress_type, f"method {member.compress_type}")
                raise ArchiveError(
                    f"{member.filename!r} is compressed by {method}, which is not read here; unpack {file} yourself, "
                    "with 7-Zip for example"
                )
        for member in members:
            if not member.is_dir():
                with archive.open(member) as content:
                    into.write(member.filename, content)
            yield


def _read_tar(stream: Any, file: Path, into: _Folder) -> Iterator[None]:
    import tarfile

    unpacked = _Metered(_decompressed(stream), into.packed, into.limits)
    with tarfile.open(fileobj=unpacked, mode="r:") as archive:  # type: ignore[call-overload]  # a reader of our own
        end = 0
        while (member := archive.next()) is not None:
            if member.size < 0 or archive.offset <= end:
                raise ArchiveError(f"the header of {member.name!r} is damaged")
            end = archive.offset
            if member.name.strip("/") not in ("", "."):  # the folder itself, as `tar -C folder .` writes it
                safe_name(member.name)
            if member.issparse() or not (member.isreg() or member.isdir()):
                raise ArchiveError(f"{member.name!r} is a link, a device or a sparse file: refused")
            content = archive.extractfile(member) if member.isreg() else None
            if content is not None:
                into.write(member.name, content)
            archive.members = []  # a long archive would keep every header in memory
            yield
        # tarfile takes a damaged or missing header for the end; a whole archive ends with a block of zeros
        if unpacked.last != bytes(tarfile.BLOCKSIZE):
            raise ArchiveError(f"ends without the mark of an end after {len(into.files)} files: cut short or damaged")


def _read_gzip(stream: Any, file: Path, into: _Folder) -> Iterator[None]:
    import gzip

    plain = file.name.removesuffix(".gz")
    if plain == file.name:
        raise ArchiveError("expected a name that ends in .gz")
    with gzip.GzipFile(fileobj=stream) as content:
        into.write(plain, content)
    yield


def _decompressed(stream: Any) -> Any:
    """The stream of a tar's bytes; its first bytes tell whether gzip has compressed them."""
    start = stream.read(6)
    stream.seek(0)
    if start.startswith(b"\x1f\x8b"):
        import gzip

        return gzip.GzipFile(fileobj=stream)
    if start.startswith((b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")):
        raise ArchiveError("is compressed by bzip2, xz or zstd; expected gzip or none")
    return stream


@contextmanager
def _named(archive: Path, kind: str) -> Iterator[None]:
    """Turn what the libraries raise of a bad archive into an `ArchiveError` that names it."""
    import tarfile
    import zipfile

    broken = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, ValueError, OverflowError, RuntimeError)
    try:
        yield
    except ArchiveError as error:
        raise ArchiveError(f"{archive.name}: {error}") from error
    except broken as error:
        raise ArchiveError(f"{archive.name}: not readable as {kind} ({type(error).__name__}: {error})") from error
    except OSError as error:
        if error.errno is not None:  # the disk's, not the archive's: gzip and bz2 raise OSError without a number
            raise
        raise ArchiveError(f"{archive.name}: not readable as {kind} ({error})") from error


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed + RESERVE > free:
        raise ArchiveError(
            f"unpacking needs {gigabytes(needed)}, {folder} has {gigabytes(free)} free: make room, or name another "
            "data folder with --root"
        )
