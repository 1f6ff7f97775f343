"""A phantom set as a folder that is whole or not there: written aside, scan by scan on several processes, then renamed.

Enter: the folder, the set's parameters, a function that writes one scan. Leaves: the folder with `phantoms.json`, the
parameters that made it. A killed run goes on where it stopped; a whole set with equal parameters is left alone.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

MARKER = "phantoms.json"
DONE = ".done"

Options = dict[str, Any]
Rows = list[dict[str, Any]]
WriteScan = Callable[[Path, int, Options], Rows]
Finish = Callable[[Path, Options, list[Rows]], None]
Progress = Callable[[int, int], None]


class DirectoryTakenError(FileExistsError):
    """A folder that no phantom writer made stands where a set should go."""


def build_set(
    root: Path | str,
    options: Options,
    write_scan: WriteScan,
    finish: Finish,
    *,
    workers: int,
    progress: Progress | None,
) -> Path:
    """Write a set of `options["n_scans"]` scans.

    Parameters
    ----------
    root : the set's folder. While it grows it is called `<root>.partial`.
    options : everything that decides the set's content; must survive JSON.
    write_scan : (folder, scan index, options) -> rows for the set's tables; a module's top-level function.
    finish : (folder, options, rows of every scan) writes what belongs to the set as a whole.
    workers : processes; 1 stays in this one.
    progress : called as progress(scans done, scans in all).

    Returns
    -------
    The folder.

    Raises
    ------
    ValueError
        If a count is not positive.
    DirectoryTakenError
        If the folder holds something that is not a phantom set.
    OSError
        If a file cannot be written (disk full); the message names the path.
    """
    root = Path(root)
    if options["n_scans"] < 1 or workers < 1:
        raise ValueError(f"expected n_scans and workers of 1 or more, got {options['n_scans']} and {workers}")
    if _made_with(root) == options:
        return root
    if root.exists() and not (root / MARKER).is_file() and (not root.is_dir() or any(root.iterdir())):
        raise DirectoryTakenError(
            f"expected an empty place or a phantom set at {root}, found other files: "
            "choose another folder or move them away"
        )
    aside = root.with_name(root.name + ".partial")
    if _made_with(aside) != options:
        shutil.rmtree(aside, ignore_errors=True)
        (aside / DONE).mkdir(parents=True)
        _write_json(aside / MARKER, options)
    rows = _write_scans(aside, options, write_scan, workers, progress)
    with _naming(aside):
        finish(aside, options, rows)
    shutil.rmtree(aside / DONE)
    if root.exists():
        shutil.rmtree(root)
    os.replace(aside, root)
    return root


def _write_scans(
    folder: Path, options: Options, write_scan: WriteScan, workers: int, progress: Progress | None
) -> list[Rows]:
    n = options["n_scans"]
    notes = [folder / DONE / f"{index}.json" for index in range(n)]
    todo = [index for index, note in enumerate(notes) if not note.is_file()]
    write = partial(_write_one, folder, options, write_scan)
    for done, _ in enumerate(_run(write, todo, workers), start=n - len(todo) + 1):
        if progress is not None:
            progress(done, n)
    return [json.loads(note.read_text(encoding="utf-8")) for note in notes]


def _run(write: Callable[[int], None], todo: list[int], workers: int) -> Iterator[None]:
    if workers == 1 or len(todo) < 2:
        yield from map(write, todo)
        return
    # Fresh processes: a fork would inherit the locks of a parent that computes with threads.
    with ProcessPoolExecutor(min(workers, len(todo)), mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(write, index) for index in todo]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _write_one(folder: Path, options: Options, write_scan: WriteScan, index: int) -> None:
    with _naming(folder):
        rows = write_scan(folder, index, options)
        _write_json(folder / DONE / f"{index}.json", rows)


class _naming:
    """Name the folder in an OSError that does not say where writing failed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            where = error.filename or self.folder
            raise OSError(
                error.errno,
                f"could not write the phantoms: {error.strerror or error}; free some space or choose another folder",
                str(where),
            ) from error


def _made_with(folder: Path) -> Options | None:
    marker = folder / MARKER
    try:
        return json.loads(marker.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None


def _write_json(path: Path, content: object) -> None:
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(temporary, path)
