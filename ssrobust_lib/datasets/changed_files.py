"""Files that changed in place since a study decoded them: the same name and length, another content.

In: what `record_files` wrote into a study's folder of images, and where its sets lie now. Out: the files whose content
is another, so that the study takes them for other images and computes anew what depends on them. A file is opened only
if it was touched since; one that was touched, copied or moved with the same content is noted as seen.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from ssrobust_lib.datasets.identity import file_digest

FILES = "files.parquet"
COLUMNS = ("set", "name", "sha256", "mtime_ns")
"""Of a decoded file: its set, its path below the set's folder, SHA-256 of its content, its time of change in ns."""


def record_files(folder: Path, decoded: Iterable[tuple[str, Path, str, str]], before_ns: int) -> None:
    """Write which files the images of a folder were decoded from.

    Parameters
    ----------
    folder : of the study's images
    decoded : (set, its folder, path below it, SHA-256 of the content) of every file
    before_ns : when decoding began. A file with a later time of change may have changed after it was read, and is
        opened the next time
    """
    rows = []
    for name_of_set, root, name, digest in dict.fromkeys(decoded):
        changed = _time_of_change(root / name)
        rows.append((name_of_set, name, digest, changed if changed < before_ns else 0))
    pd.DataFrame(rows, columns=list(COLUMNS)).to_parquet(folder / FILES, index=False)


def changed_files(folder: Path, roots: Mapping[str, Path]) -> list[tuple[str, str, str]]:
    """Files that no longer hold what was decoded.

    Parameters
    ----------
    folder : of the study's images
    roots : set -> its folder now; files of other sets are not looked at

    Returns
    -------
    (set, path below its folder, SHA-256 now), in the order of the record; empty where there is no record. Files that
    are gone are none of them: the set's listing tells.
    """
    path = Path(folder) / FILES
    if not path.is_file():
        return []
    table = pd.read_parquet(path)
    found: list[tuple[str, str, str]] = []
    seen: dict[int, int] = {}
    columns = (table[column].tolist() for column in COLUMNS)
    for row, (name_of_set, name, digest, known) in enumerate(zip(*columns, strict=True)):
        if name_of_set not in roots:
            continue
        file = Path(roots[name_of_set]) / name
        now = _time_of_change(file)
        if now in (known, 0):
            continue
        content = file_digest(file)
        if content != digest:
            found.append((name_of_set, name, content))
        else:
            seen[row] = now
    if seen:
        table.loc[list(seen), "mtime_ns"] = list(seen.values())
        aside = path.with_name(f".{FILES}.{os.getpid()}")
        table.to_parquet(aside, index=False)
        os.replace(aside, path)
    return found


def _time_of_change(file: Path) -> int:
    """In ns; 0 for a file that is not there."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0
