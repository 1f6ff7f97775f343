"""Finished pieces of an evaluation in the making: written now and then, found again after a kill."""

import time
from collections import UserDict
from pathlib import Path

import numpy as np

from ssrobust_lib import store

_NAME = "pieces"
_SECONDS = 20.0  # between two files: short evaluations write none


class KeptPieces(UserDict[str, dict[str, np.ndarray]]):
    """Pieces (name -> arrays) that outlive the process, in files of the cell's unfinished folder.

    A file appears whole or not at all. What was not yet written when a process was killed is evaluated again.

    Parameters
    ----------
    folder : the cell's folder in the making.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._waiting = folder, dict[str, np.ndarray]()
        super().__init__()
        self._files = sorted(folder.glob(f"{_NAME}-*.npz"))
        for path in self._files:
            for name, array in store.read_arrays(path).items():
                piece, _, member = name.rpartition("/")
                self.data.setdefault(piece, {})[member] = array
        self._written = time.monotonic()

    def __setitem__(self, name: str, arrays: dict[str, np.ndarray]) -> None:
        self.data[name] = arrays
        self._waiting |= {f"{name}/{member}": array for member, array in arrays.items()}
        if time.monotonic() - self._written >= _SECONDS:
            self._write()

    def _write(self) -> None:
        path = self._folder / f"{_NAME}-{len(self._files):06d}.npz"
        aside = path.with_name(f".{path.stem}.partial.npz")
        store.write_arrays(aside, self._waiting)
        aside.replace(path)
        self._files.append(path)
        self._waiting.clear()
        self._written = time.monotonic()

    def forget(self) -> None:
        """Remove the files: the evaluation is finished."""
        for path in [*self._files, *self._folder.glob(f".{_NAME}-*.partial.npz")]:
            path.unlink(missing_ok=True)
