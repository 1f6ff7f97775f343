"""A run as it lies on the disk: its records and tables, found without its profile, its images or the code that made it.

Enters: a profile's name, or the folder of a run, perhaps copied from another machine. Leaves: a `StoredRun`. The keys
in the cells' names belong to the code that made them, so nothing is looked up by key: the latest finished cell of
statistics says which cells it needs, these say what they need, and so on. Results of the same step that it does not
need are left aside and named.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from ssrobust_lib import store
from ssrobust_lib.config import PROFILES, PROJECT, ProfileError, load_profile
from ssrobust_lib.registry import unknown_name

STATISTICS = "07_stats"
EVALUATIONS = ("04_clean_eval", "05_corruption_eval", "06_kits_generalization")


class RunComparisonError(RuntimeError):
    """Runs that cannot be compared; the message says what is missing, in which of them, and what can be done."""


@dataclass(frozen=True)
class StoredCell:
    """One finished piece of a run: `id` is `<step>/<name>-<key>`, `record` what stands in its `cell.json`."""

    id: str
    folder: Path
    record: dict[str, Any] = field(repr=False)

    @property
    def step(self) -> str:
        return self.id.split("/")[0]

    @property
    def name(self) -> str:
        """Its name without the key."""
        return self.id.split("/")[1].rsplit("-", 1)[0]

    @property
    def of(self) -> dict[str, Any]:
        """Task, init, seed, set, corruption: which part of the study it is."""
        return self.record["of"]

    @property
    def settings(self) -> dict[str, Any]:
        return self.record["settings"]


@dataclass(frozen=True)
class StoredRun:
    """A finished run.

    Attributes
    ----------
    name : of its folder, which is the profile's.
    cells : what the latest statistics are made of, that cell last.
    older : ids of finished results of the same cells that the latest statistics do not rest on.
    """

    name: str
    folder: Path
    cells: tuple[StoredCell, ...] = field(repr=False)
    older: tuple[str, ...] = ()

    @property
    def statistics(self) -> StoredCell:
        return self.cells[-1]

    def of_step(self, *steps: str) -> list[StoredCell]:
        return [cell for cell in self.cells if cell.step in steps]

    def table(self, cell: StoredCell, name: str, columns: list[str] | None = None) -> pd.DataFrame:
        """One table of a cell.

        Raises
        ------
        RunComparisonError
            The table, or a column of it, is not there; says which and what can be done.
        """
        path = cell.folder / f"{name}.parquet"
        if not path.is_file():
            raise RunComparisonError(
                f"the run in {self.folder} has no table {name} in {cell.id}: an older version made it, or it was "
                f"copied in part. {self.remedy}"
            )
        table = pd.read_parquet(path)
        if lacking := [column for column in columns or [] if column not in table]:
            raise RunComparisonError(
                f"the table {name} in {cell.id} of the run in {self.folder} lacks {', '.join(lacking)} (it has "
                f"{', '.join(map(str, table.columns))}): another version made it. {self.remedy}"
            )
        return table

    @property
    def remedy(self) -> str:
        return (
            f"Compute the run anew with this version (`make study PROFILE={self.name}`; finished cells that are "
            "still valid are kept), or compare with the version that made it"
        )

    @cached_property
    def home_sets(self) -> dict[str, str]:
        """Task -> the set that it was trained on, from the evaluations on clean images of its own."""
        return {cell.of["task"]: cell.of["set"] for cell in self.of_step("04_clean_eval")}

    @cached_property
    def arms(self) -> list[str]:
        return list(dict.fromkeys(cell.of["init"] for cell in self.of_step("03_finetune")))

    @cached_property
    def corruptions(self) -> list[str]:
        return list(dict.fromkeys(cell.of["corruption"] for cell in self.of_step("05_corruption_eval")))

    @cached_property
    def commits(self) -> list[str]:
        return list(dict.fromkeys(str(cell.record.get("commit", "unknown")) for cell in self.cells))

    @property
    def contents(self) -> str:
        """What the run is about, in words."""
        tasks = "; ".join(f"{task} on {name}" for task, name in sorted(self.home_sets.items()))
        return f"tasks {tasks}; arms {', '.join(self.arms)}; corruptions {', '.join(self.corruptions) or 'none'}"


def names_of(a: StoredRun, b: StoredRun) -> tuple[str, str]:
    """Names that tell two runs apart: their own, or with the commit, or with the key of their statistics."""
    for more in (lambda run: "", lambda run: run.commits[-1], lambda run: run.statistics.id.rsplit("-", 1)[1]):
        first, second = (f"{run.name}-{more(run)}".strip("-") for run in (a, b))
        if first != second:
            return first, second
    return f"{a.name}-1", f"{b.name}-2"


def open_run(name_or_path: str, *, runs: Path | None = None) -> StoredRun:
    """Find a run and read its records.

    Parameters
    ----------
    name_or_path : name of a folder in `runs` (the profile's name), path of a profile, or path of a run's folder.
    runs : folder of all runs; ``runs/`` of the project where not given.

    Raises
    ------
    RunComparisonError
        There is no such run, it is not finished, or a record cannot be read; says what is there and what is missing.
    """
    runs = runs or PROJECT / "runs"
    folder = _folder(name_or_path, runs)
    if not (folder / "cells").is_dir():
        raise RunComparisonError(
            f"{folder} holds no run: expected a folder `cells` in it. Compute it with `make study "
            f"PROFILE={name_or_path}`, or name the folder of a run"
        )
    finished = {cell.id: cell for cell in _finished(folder)}
    last = [cell for cell in finished.values() if cell.step == STATISTICS]
    if not last:
        raise RunComparisonError(_unfinished(folder, finished, name_or_path))
    needed: dict[str, StoredCell] = {}
    _collect(max(last, key=_when), finished, folder, needed)
    names = {(cell.step, cell.name) for cell in needed.values()}
    older = [cell.id for cell in finished.values() if cell.id not in needed and (cell.step, cell.name) in names]
    return StoredRun(folder.name, folder, tuple(needed.values()), tuple(sorted(older)))


def _when(cell: StoredCell) -> tuple[datetime, float, str]:
    """When a cell was finished; by its folder where the record does not say, or says the same of two."""
    try:
        finished = datetime.strptime(cell.record["finished"], "%Y-%m-%dT%H:%M:%S%z")
    except (KeyError, TypeError, ValueError):
        finished = datetime.min.replace(tzinfo=UTC)
    return finished, cell.folder.stat().st_mtime, cell.id


def _folder(name_or_path: str, runs: Path) -> Path:
    path = Path(name_or_path).expanduser()
    if path.suffix in (".yaml", ".yml"):
        try:
            return runs / load_profile(path).name
        except ProfileError as error:
            raise RunComparisonError(str(error)) from None
    for folder in (runs / name_or_path, path):
        if folder.is_dir():
            return folder.resolve()
    there = sorted(folder.name for folder in runs.glob("*") if (folder / "cells").is_dir())
    if len(path.parts) > 1:
        raise RunComparisonError(f"{path}: no such folder; expected the folder of a run, such as {runs / 'demo'}")
    if not there:
        raise RunComparisonError(f"no run {name_or_path!r}: {runs} holds none; `make study PROFILE=...` computes one")
    raise RunComparisonError(f"{unknown_name('run', name_or_path, there)} A run elsewhere is named by its path.")


def _finished(folder: Path) -> Iterator[StoredCell]:
    for path in sorted((folder / "cells").glob(f"*/*/{store.RECORD}")):
        if path.parent.name.startswith("."):  # being computed
            continue
        try:
            record = store.read_json(path)
        except ValueError as error:
            raise RunComparisonError(
                f"{path} cannot be read ({error}): copy it again or compute its cell anew"
            ) from None
        if lacking := [name for name in ("of", "settings", "needs") if name not in record]:
            raise RunComparisonError(f"{path} lacks {', '.join(lacking)}: expected the record of a cell of this study")
        yield StoredCell(f"{path.parent.parent.name}/{path.parent.name}", path.parent, record)


def _collect(cell: StoredCell, finished: dict[str, StoredCell], folder: Path, needed: dict[str, StoredCell]) -> None:
    """Add to `needed` all that a cell is made of, then the cell."""
    for name in cell.record["needs"]:
        if name not in finished:
            raise RunComparisonError(
                f"the run in {folder} is incomplete: {cell.id} was made from {name}, which is not there. Copy "
                "`cells` whole (its folders `cache` and the images are not needed), or compute it anew"
            )
        if name not in needed:
            _collect(finished[name], finished, folder, needed)
    needed[cell.id] = cell


def _unfinished(folder: Path, finished: dict[str, StoredCell], name: str) -> str:
    """Say which cells a run without statistics lacks, by its profile where that is known."""
    steps = sorted({cell.step for cell in finished.values()})
    counts = ", ".join(f"{sum(cell.step == step for cell in finished.values())} of {step}" for step in steps)
    text = f"the run in {folder} is not finished: there is no {STATISTICS} (finished: {counts or 'nothing'})"
    profile = name if Path(name).suffix in (".yaml", ".yml") else folder.name
    if profile == name or (PROFILES / f"{profile}.yaml").is_file():
        missing = _missing_by_profile(profile, folder)
        if missing:
            shown = ", ".join(missing[:6]) + (f" and {len(missing) - 6} more" if len(missing) > 6 else "")
            text += f"; missing by the profile and the code of now: {shown}"
    return f"{text}. `make study PROFILE={profile}` goes on where it stopped"


def _missing_by_profile(profile: str, folder: Path) -> list[str]:
    """Ids of the cells that a profile asks for and the folder lacks; none where the profile cannot be used here."""
    from ssrobust_lib.datasets.loader import LayoutError
    from ssrobust_lib.datasets.manifest import ManifestError
    from ssrobust_lib.study import Study

    try:
        study = Study(load_profile(profile), runs=folder.parent)
        return [cell.id for cell in study.all_cells if not study.finished(cell)]
    except (ProfileError, ManifestError, LayoutError, OSError):  # its images are elsewhere
        return []
