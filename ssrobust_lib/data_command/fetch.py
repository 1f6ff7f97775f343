"""`ssrobust data fetch`: an open set from its publisher into the data folder, whole or not at all.

In: a manifest with addresses, and the data root. Out: the set's folder, laid out as published. Archives and unpacked
files gather in `.ssrobust/<set>/` beside it (`downloads`, `unpacking`, `staged`, and `fetched.json`, which remembers
what is done), so that an interrupted call leaves no half set and the next one goes on; the set's folder appears by one
rename. Files that the user has put there are never replaced.
"""

import errno
import fcntl
import filecmp
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssrobust_lib.data_command import DataCommandError
from ssrobust_lib.data_command.checksums import set_files
from ssrobust_lib.data_command.download import Patience, check_room, download, gigabytes, mismatch
from ssrobust_lib.data_command.extraction import ArchiveError, Limits, extract
from ssrobust_lib.store import read_json, write_json

if TYPE_CHECKING:
    from ssrobust_lib.datasets.manifest import DownloadFile, Manifest

NOTES = "fetched.json"
OWN = "found.json"
"""Paths of what was in the set's folder before anything was fetched."""


class FetchError(DataCommandError):
    """A set that cannot be fetched; the message says why and how to get it otherwise."""


def work_folder(folder: Path, name: str) -> Path:
    """Where the downloads of a set lie while it is fetched: beside its folder, so that one rename moves them in."""
    return folder.parent / ".ssrobust" / name


def fetch_set(
    manifest: "Manifest",
    data_root: Path,
    *,
    keep_archives: bool = False,
    patience: Patience | None = None,
    limits: Limits | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Download, check and unpack what is missing of an open set.

    Parameters
    ----------
    manifest : of the set
    data_root : folder that holds the sets' folders; made if missing
    keep_archives : leave the archives in `.ssrobust/<set>/downloads` instead of deleting each once it is unpacked
    patience, limits : with the servers, and of what an archive may unpack to
    say : told in words of what goes on

    Returns
    -------
    the set's folder

    Raises
    ------
    FetchError
        If the set is not open, has no addresses, is here but was not fetched, or would replace a file of the user's.
    DownloadError, ArchiveError
        If a file cannot be had, is not the published one, or is unsafe to unpack.
    """
    from ssrobust_lib.datasets.manifest import set_folder

    folder = set_folder(manifest, data_root)
    _check_open(manifest, folder)
    folder = folder.resolve()
    work = work_folder(folder, manifest.name)
    with _writable(work), _alone(work):
        notes = fetched_files(folder, manifest.name)
        if not notes and _fits(manifest, folder):
            raise FetchError(
                f"{manifest.name} is in {folder} already, but not from this command, and is left alone: "
                f"`ssrobust data check {manifest.name}` says whether it is whole. To fetch it anew, move it away first"
            )
        if not (work / OWN).is_file():
            write_json(work / OWN, set_files(folder))
        todo = [file for file in manifest.files if not _is_done(file, notes, folder, work)]
        known = sum(file.bytes or 0 for file in todo)
        if todo:
            say(f"{manifest.name}: {len(todo)} of {len(manifest.files)} files to get, {_size_of(todo)}")
            # an archive leaves at least about as many bytes as it has, beside which it lies while it is unpacked
            beside = known if keep_archives else max(file.bytes or 0 for file in todo)
            check_room(work, known - _held(todo, work) + beside, manifest.name)
        for number, file in enumerate(todo, start=1):
            archive = work / "downloads" / file.name
            with _bar(f"get {number}/{len(todo)} {file.name}") as shown:
                download(file, archive, patience=patience, shown=shown, say=say)
            with _bar(f"unpack {number}/{len(todo)} {file.name}") as shown:
                files = _stage(file, archive, work, limits, shown)
            notes[file.name] = {**_published(file), "files": files}
            write_json(work / NOTES, notes)
            if not keep_archives:
                archive.unlink(missing_ok=True)
            say(f"{file.name}: {len(files):,} files, {gigabytes(sum(files.values()))}")
        if (work / "staged").is_dir():
            _move_in(work / "staged", folder, set(read_json(work / OWN)))
        shutil.rmtree(work / "unpacking", ignore_errors=True)
    return folder


def fetched_files(folder: Path, name: str) -> dict[str, Any]:
    """What is remembered of each fetched file of a set, by its name; empty if the set was not fetched.

    address, md5, sha256, unpack, into : as the manifest said when the file was fetched and checked
    files : path in the set -> bytes of what came of it
    """
    notes = work_folder(folder.resolve(), name) / NOTES
    return read_json(notes) if notes.is_file() else {}


def _check_open(manifest: "Manifest", folder: Path) -> None:
    if manifest.access == "open" and manifest.files:
        return
    if manifest.access == "own":
        raise FetchError(
            f"{manifest.name} holds images of your own: there is nothing to fetch. They are read from {folder}"
        )
    why = {
        "open": "is open, but has no address from which it can be fetched",
        "account": "needs an account",
        "registration": "needs a registration",
        "agreement": "needs a signed agreement",
    }[manifest.access]
    raise FetchError(
        f"{manifest.name} {why}, so it is not fetched. How to get it: {manifest.get.rstrip('.')}. Put it in {folder} "
        f"(expected there: {', '.join(manifest.layout.files)}); `ssrobust data check {manifest.name}` then checks it"
    )


def _holds_files(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _fits(manifest: "Manifest", folder: Path) -> bool:
    """Whether the folder is laid out as the set is."""
    return _holds_files(folder) and all(next(folder.glob(pattern), None) for pattern in manifest.layout.files)


def _published(file: "DownloadFile") -> dict[str, Any]:
    return {"address": file.address, "md5": file.md5, "sha256": file.sha256, "unpack": file.unpack, "into": file.into}


def _is_done(file: "DownloadFile", notes: dict[str, Any], folder: Path, work: Path) -> bool:
    """Whether everything that came of a file is there, in the set's folder or on the way to it."""
    note = notes.get(file.name)
    if note is not None and {key: note.get(key) for key in _published(file)} == _published(file):
        return all(
            any(_size(place / path) == n_bytes for place in (folder, work / "staged"))
            for path, n_bytes in note["files"].items()
        )
    there = folder / file.into / file.name
    if file.unpack != "none" or not (file.md5 or file.sha256) or not there.is_file():
        return False
    return mismatch(file, there) is None  # the user has put it there


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _size_of(files: "list[DownloadFile]") -> str:
    """How much there is to get, in words, as far as it is stated."""
    sizes = [file.bytes for file in files if file.bytes is not None]
    if not sizes:
        return "of a size that is not stated"
    return gigabytes(sum(sizes)) + ("" if len(sizes) == len(files) else ", and some whose size is not stated")


def _held(files: "list[DownloadFile]", work: Path) -> int:
    """Bytes of these files that are here already."""
    names = [name for file in files for name in (file.name, f"{file.name}.part")]
    return sum(_size(work / "downloads" / name) or 0 for name in names)


def _stage(
    file: "DownloadFile", archive: Path, work: Path, limits: Limits | None, shown: Callable[[int, int], None]
) -> dict[str, int]:
    """Unpack an archive aside and move its files to where the set gathers; path in the set -> bytes."""
    staged = work / "staged" / file.into
    if file.unpack == "none":
        files = {file.name: archive.stat().st_size}
        staged.mkdir(parents=True, exist_ok=True)
        _link_or_copy(archive, staged / file.name)
    else:
        unpacking = work / "unpacking"
        shutil.rmtree(unpacking, ignore_errors=True)
        files = extract(archive, file.unpack, unpacking, limits=limits, shown=shown)
        for path in files:
            if _size(staged / path) not in (None, files[path]):
                raise ArchiveError(f"{file.name}: {path} came from another archive of the set already, and differs")
            (staged / path).parent.mkdir(parents=True, exist_ok=True)
            os.replace(unpacking / path, staged / path)
    return {(Path(file.into) / path).as_posix(): n_bytes for path, n_bytes in files.items()}


def _link_or_copy(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)


def _move_in(staged: Path, folder: Path, own: set[str]) -> None:
    """Let the gathered files appear as the set's folder: by one rename, or one by one where the folder has files.

    Raises `FetchError`, before anything is moved, for a file that would replace one of the user's `own`.
    """
    for path in sorted(own.intersection(set_files(staged))):
        if (folder / path).is_file() and not filecmp.cmp(staged / path, folder / path, shallow=False):
            raise FetchError(
                f"{folder / path} was there before and differs from the published file: move it away, and run the same "
                "command again; everything is downloaded"
            )
    if not _holds_files(folder):
        try:
            os.replace(staged, folder)
            return
        except OSError as error:  # the folder is where another disk is mounted
            if error.errno not in (errno.EXDEV, errno.EBUSY):
                raise
    for where, _, names in os.walk(staged):
        target = folder / Path(where).relative_to(staged)
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            _move(Path(where) / name, target / name)
    shutil.rmtree(staged)


def _move(source: Path, target: Path) -> None:
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        aside = target.with_name(f".{target.name}.partial")
        shutil.copyfile(source, aside)
        os.replace(aside, target)
        source.unlink()


@contextmanager
def _alone(work: Path) -> Iterator[None]:
    """One process at a time fetches a set; the system frees the lock when a process dies."""
    work.mkdir(parents=True, exist_ok=True)
    with open(work / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise FetchError(f"another process is fetching {work.name!r}: wait for it or stop it first") from None
        yield


@contextmanager
def _writable(work: Path) -> Iterator[None]:
    """Say what to do where the disk is full or read-only."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise FetchError(f"no space left in {work.parent.parent}: free some and run the command again") from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise FetchError(
                f"{error.filename or work} cannot be written ({error.strerror}): name another data folder with --root"
            ) from error
        raise


@contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar of bytes in the terminal (none elsewhere): what, how far, how fast, how long still."""
    from tqdm import tqdm

    with tqdm(desc=what, unit="B", unit_scale=True, leave=False, disable=None, mininterval=0.5) as bar:

        def shown(done: int, total: int | None) -> None:
            if bar.n == 0 or done < bar.n:  # begins, goes on from a part, or anew: nothing of that is speed
                bar.total, bar.initial, bar.n = total, done, done
                bar.refresh()
            bar.update(done - bar.n)

        yield shown
