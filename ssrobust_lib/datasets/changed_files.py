"""Files that changed in place since a study decoded them: the same name and length, another content.

In: what `record_files` wrote into a study's folder of images, and where its sets lie now. Out: the files whose content
is another, so that the study takes them for other images and computes anew what depends on them. A file is opened only
if it was touched since; one that was touched, copied or moved with the same content is noted as seen.
"""

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ssrobust_lib.datasets.identity import file_digest

FILES = "files.json"  # set -> path below its folder -> [SHA-256 of the content, time of change in ns]


def record_files(folder: Path, decoded: Iterable[tuple[str, Path, str, str]], before_ns: int) -> None:
    """Write which files the images of a folder were decoded from.

    Parameters
    ----------
    folder : of the study's images
    decoded : (set, its folder, path below it, SHA-256 of the content) of every file
    before_ns : when decoding began. A file with a later time of change may have changed after it was read, and is
        opened the next time
    """
    record: dict[str, dict[str, tuple[str, int]]] = {}
    for name_of_set, root, name, digest in dict.fromkeys(decoded):
        changed = _time_of_change(root / name)
        record.setdefault(name_of_set, {})[name] = (digest, changed if changed < before_ns else 0)
    _write(folder, record)


def changed_files(folder: Path, roots: Mapping[str, Path]) -> list[tuple[str, str, str]]:
    """Files that no longer hold what was decoded.

    Parameters
    ----------
    folder : of the study's images
    roots : set -> its folder now; files of other sets are not looked at

    Returns
    -------
    (set, path below its folder, SHA-256 now), sorted; empty where there is no record. Files that
    are gone are none of them: the set's listing tells.
    """
    path = Path(folder) / FILES
    if not path.is_file():
        return []
    record = json.loads(path.read_text(encoding="utf-8"))
    found: list[tuple[str, str, str]] = []
    touched = False
    for name_of_set in record.keys() & roots.keys():
        for name, (digest, known) in record[name_of_set].items():
            file = Path(roots[name_of_set]) / name
            now = _time_of_change(file)
            if now in (known, 0):
                continue
            content = file_digest(file)
            if content == digest:
                record[name_of_set][name], touched = (digest, now), True
            else:
                found.append((name_of_set, name, content))
    if touched:
        with suppress(OSError):  # results that may only be read: the files are hashed again the next time
            _write(path.parent, record)
    return sorted(found)


def _write(folder: Path, record: Mapping[str, Any]) -> None:
    aside = Path(folder) / f".{FILES}.{os.getpid()}"
    aside.write_text(json.dumps(record), encoding="utf-8")
    os.replace(aside, Path(folder) / FILES)


def _time_of_change(file: Path) -> int:
    """In ns; 0 for a file that is not there."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0
