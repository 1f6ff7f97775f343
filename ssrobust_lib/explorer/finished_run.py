"""A finished run, opened for looking at: its images, networks and stored predictions, each read once.

Enters: a study whose cells are finished. Leaves: what `views` and `samples` ask for, from memory where it was asked for
before.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ssrobust_lib import store
from ssrobust_lib.cells import trained
from ssrobust_lib.evaluation.conditions import HIGHEST_SEVERITY
from ssrobust_lib.registry import unknown_name

if TYPE_CHECKING:
    from torch import nn

    from ssrobust_lib.study import Cell, Study

CT = "organs"
_STEPS = ("01_data", "03_finetune", "04_clean_eval", "05_calibration", "05_corruption_eval", "06_kits_generalization")


class FinishedRun:
    """The tasks of a run whose cells are all finished.

    Parameters
    ----------
    study : the run; nothing of it is computed.

    Raises
    ------
    StoreError
        No task is finished; says which command finishes them.
    """

    def __init__(self, study: "Study") -> None:
        self.study = study
        lacking = {task: _lacking(study, task) for task in study.profile.tasks}
        self.tasks = [task for task, cells in lacking.items() if not cells]
        self.seeds, self.arms = study.seeds, list(study.profile.arms)
        self.corruptions = list(study.profile.corruptions)
        if not self.tasks:
            n = sum(map(len, lacking.values()))
            total = sum(len(_needed(study, task)) for task in study.profile.tasks)
            first = next(cells[0] for cells in lacking.values())
            raise store.StoreError(
                f"the run {study.profile.name!r} is not finished: {n} of the {total} cells that are shown here are "
                f"missing in {study.folder}, the first is {first.id}. Compute them with "
                f"`make study PROFILE={study.profile.name}` (finished cells are kept; other code or parameters "
                "ask for cells anew), then run this again"
            )
        self._kept: dict[tuple[Any, ...], Any] = {}

    def sets(self, task: str) -> list[str]:
        """Labels of the sets that a task was evaluated on, its own first."""
        data = self.study.profile.data[self._known("task", task, self.tasks)]
        return [data.label, *(choice.label for choice in data.external_sets)]

    def is_own(self, task: str, data_set: str) -> bool:
        """Whether a set is the one that the task's networks were trained on."""
        return self._known("set", data_set, self.sets(task)) == self.study.profile.data[task].label

    def images(self, task: str) -> Any:
        """The prepared images of a task (`datasets.cache.Cache`), memory-mapped."""
        return self._once(("images", task), lambda: trained.open_images(self.study, task))

    def normalise(self, task: str) -> tuple[float, float]:
        """Mean and standard deviation of the training images."""
        return self._once(("constants", task), lambda: tuple(trained.constants(self.study, task)["normalise"]))

    def samples(self, task: str, data_set: str) -> dict[str, np.ndarray]:
        """Evaluated images or scans of a set: sample id -> its rows of the cache, a scan's slices from inferior up."""

        def read() -> dict[str, np.ndarray]:
            split = "test" if self.is_own(task, data_set) else "external"
            positions = trained.positions(self.images(task), split=split, data_set=data_set)
            codes, names = pd.factorize(self.images(task).rows["sample_id"].iloc[positions])
            return {str(name): positions[codes == k] for k, name in enumerate(names)}

        return self._once(("samples", task, data_set), read)

    def rows_of(self, task: str, data_set: str, sample_id: str) -> np.ndarray:
        """Rows of one image or scan in the cache; UnknownNameError where the set was not evaluated with it."""
        samples = self.samples(task, data_set)
        return samples[self._known("image", sample_id, list(samples))]

    def network(self, task: str, arm: str, seed: int) -> "nn.Module":
        """A fine-tuned network, in evaluation mode."""
        self._known("arm", arm, self.arms)
        self._known("seed", seed, self.seeds)

        def read() -> "nn.Module":
            (cell,) = self.study.cells("03_finetune", tasks=[task], arms=[arm], seeds=[seed])
            return trained.load_network(self.study, cell)

        return self._once(("network", task, arm, seed), read)

    def strength(self, task: str, corruption: str, severity: int) -> float:
        """Calibrated strength of a severity; 0 for severity 0.

        Raises
        ------
        UnknownNameError
            The run has no such corruption.
        ValueError
            The severity is outside 0 to 5.
        """
        self._known("corruption", corruption, self.corruptions)
        if severity not in range(HIGHEST_SEVERITY + 1):
            raise ValueError(f"severity: expected 0 (clean) to {HIGHEST_SEVERITY}, got {severity}")
        levels = self._once(("strengths", task, corruption), lambda: trained.strengths_of(self.study, task, corruption))
        return 0.0 if severity == 0 else levels[severity]

    def predictions(self, task: str, data_set: str, corruption: str, severity: int) -> pd.DataFrame | None:
        """What the evaluation stored at one severity, all networks; None for what was not evaluated.

        Sets of another centre are evaluated on clean images only (paper, section 3.4).
        """
        own = self.is_own(task, data_set)
        if not own and severity > 0:
            return None
        chosen = {"tasks": [task], "sets": [data_set]}
        if not own:
            (cell,) = self.study.cells("06_kits_generalization", **chosen)
        elif severity == 0:
            (cell,) = self.study.cells("04_clean_eval", **chosen)
        else:
            (cell,) = self.study.cells("05_corruption_eval", corruptions=[corruption], **chosen)
        of_cell = self._once(("predictions", cell.id), lambda: self.study.table(cell, "predictions"))
        return of_cell[of_cell["severity"] == severity]

    def structures(self, data_set: str) -> dict[str, tuple[Sequence[int], Sequence[int]]]:
        """Structures that are scored on a CT set: name -> (classes of the networks, values of the set's masks)."""

        def read() -> dict[str, tuple[list[int], list[int]]]:
            if self.is_own(CT, data_set):
                return trained.own_structures(self.study, CT)
            every = trained.external_structures(self.study, CT, data_set)
            return {name: parts for name, parts in every.items() if f"_without_{trained.TUMOUR}" not in name}

        return self._once(("structures", data_set), read)

    def _once(self, name: tuple[Any, ...], read: Any) -> Any:
        if name not in self._kept:
            self._kept[name] = read()
        return self._kept[name]

    @staticmethod
    def _known(kind: str, name: Any, known: Sequence[Any]) -> Any:
        if name not in known:
            raise unknown_name(kind, str(name), [str(one) for one in known])
        return name


def _needed(study: "Study", task: str) -> list["Cell"]:
    """Cells of a task whose results are shown."""
    return [cell for cell in study.all_cells if cell.step in _STEPS and cell.of["task"] == task]


def _lacking(study: "Study", task: str) -> list["Cell"]:
    return [cell for cell in _needed(study, task) if not study.finished(cell)]
