"""What a decoded sample was made from: its files by content, and the facts of its row that decide how it is decoded.

In: a row of the samples table and where its set lies. Out: two names. The stamp (paths, sizes, times of change) says
without opening a file that nothing has changed; the content key (SHA-256 of every file) says whether a file that was
touched, copied or moved is still the same. Only where both differ is a sample decoded anew.
"""

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

from ssrobust_lib.datasets.loader import LOADERS, Row, Source

# columns that say who a sample is and what a study does with it; whatever else a loader lists may decide how it reads
_OF_THE_STUDY = frozenset(
    {"sample_id", "patient_id", "set", "label", "has_label", "split", "published_split", "content_hash"}
)
# a file that changed this short before it was read may change again within one tick of its clock
_TICK_SECONDS = 2.0
_DIGITS = 32


@dataclass(frozen=True)
class Stamp:
    """The state of a sample's files when they were looked at.

    Attributes
    ----------
    facts : name of what its row says, the same wherever the set lies
    files : path below the set's folder (the whole path of a file outside it), bytes, time of change in ns
    name : of all that and the set's folder
    settled : whether the files are old enough for the name to be believed later
    """

    facts: str
    files: tuple[tuple[str, int, int], ...]
    name: str
    settled: bool


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def _said(value: object) -> str | None:
    """A value as text, None where it is missing; 3 and 3.0 are one number (a column with gaps turns into floats)."""
    if value is None or value != value or str(value) == "<NA>":
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def facts_of(row: Row, label_map: dict[str, int]) -> str:
    """Name of all that decides how a row is decoded besides its files: paths, whether it has a label, metadata."""
    said = {str(name): text for name, value in row.items() if name not in _OF_THE_STUDY and (text := _said(value))}
    values = sorted(label_map.items()) if row["has_label"] else []
    return _digest(repr((sorted(said.items()), bool(row["has_label"]), values)))


def stamp(row: Row, source: Source, label_map: dict[str, int]) -> Stamp:
    """Look at a sample's files without opening them.

    Raises
    ------
    OSError
        A file is not there, or cannot be looked at.
    """
    root = Path(source.root)
    files, newest = [], 0
    for path in LOADERS[source.loader].files(root, row):
        about = path.stat()
        files.append((_below(path, root), about.st_size, about.st_mtime_ns))
        newest = max(newest, about.st_mtime_ns)
    facts = facts_of(row, label_map)
    name = _digest(repr((str(root.resolve()), facts, files)))
    return Stamp(facts, tuple(files), name, newest < (time.time() - _TICK_SECONDS) * 1e9)


def _below(path: Path, root: Path) -> str:
    """Path below a folder with forward slashes; the whole path of a file that a table names outside it."""
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def content_key(seen: Stamp, root: Path) -> tuple[str, list[tuple[str, str]]]:
    """Name of what a sample's files hold, wherever they lie, and each file with its SHA-256; reads every file once.

    Raises
    ------
    OSError
        A file cannot be read.
    """
    files = [(name, file_digest(Path(root) / name)) for name, _, _ in seen.files]
    return _digest(repr((seen.facts, files))), files


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Checksum of a file's content (hex); raises `OSError` if it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def unchanged(seen: Stamp, root: Path) -> bool:
    """Whether the files are still as they were when the stamp was taken."""
    return all(_same(Path(root) / name, size, changed) for name, size, changed in seen.files)


def _same(path: Path, size: int, changed: int) -> bool:
    try:
        about = path.stat()
    except OSError:
        return False
    return (about.st_size, about.st_mtime_ns) == (size, changed)
