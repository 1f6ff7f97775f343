"""Training states of a cell in the making: written now and then, read back after a kill."""

import time
from pathlib import Path

from ssrobust_lib import store
from ssrobust_lib.training.state import TrainingState

_STATE = "training_state"
_SECONDS = 20.0  # between two states: short trainings write none


class Resuming:
    """Keeps the last training state of a cell in its unfinished folder.

    Parameters
    ----------
    folder : the cell's folder in the making.
    """

    def __init__(self, folder: Path) -> None:
        self._tensors = folder / f"{_STATE}.safetensors"
        self._about = folder / f"{_STATE}.json"
        self._written = time.monotonic()

    def state(self) -> TrainingState | None:
        """The state that an interrupted run left, if any."""
        if not (self._about.is_file() and self._tensors.is_file()):
            return None
        about = store.read_json(self._about)
        tensors = store.read_tensors(self._tensors)
        if int(tensors.pop("about_epoch")) != about["epoch"]:  # killed between the two files
            return None
        return TrainingState.from_tensors(tensors, about)

    def keep(self, state: TrainingState) -> None:
        """Write a state, unless the last one is fresh."""
        import torch

        if time.monotonic() - self._written < _SECONDS:
            return
        tensors, about = state.to_tensors()
        aside = self._tensors.with_suffix(".partial")
        store.write_tensors(aside, {**tensors, "about_epoch": torch.tensor(about["epoch"])})
        aside.replace(self._tensors)
        store.write_json(self._about, about)
        self._written = time.monotonic()

    def forget(self) -> None:
        """Remove the state: the training is finished."""
        for path in (self._tensors, self._about):
            path.unlink(missing_ok=True)
