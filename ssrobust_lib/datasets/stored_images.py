"""Images of one study that lie in the files of several sets: indexed like an array, read as they are asked for.

In: memory-mapped files and, for each image, the file and the place in it. Out: arrays in memory, one copy per image.
"""

import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssrobust_lib.datasets.image_files import IMAGES, item_shape, map_file

NOWHERE = -1  # the file of a mask that a study has none of: zeros


class StoredImages:
    """(N, side, side) images; `images[i]`, `images[first:last]`, `images[rows]` and `images[chosen]` are arrays.

    Parameters
    ----------
    files : of the sets' stores, all named alike
    file : int8 (N,), which of them holds each image; `NOWHERE` for zeros
    place : int64 (N,), its place along the file's first axis
    side : of an image, in pixels
    """

    ndim = 3

    def __init__(self, files: Sequence[Path], file: np.ndarray, place: np.ndarray, side: int) -> None:
        self._files = tuple(files)
        self._file, self._place, self._side = np.asarray(file, np.int8), np.asarray(place, np.int64), side
        self.dtype, shape = item_shape(self._files[0].name if self._files else IMAGES, side)
        self.shape = (len(self._place), *shape)
        mapped_files = [map_file(path, side) for path in self._files]
        self._maps, self._mappings = [array for array, _ in mapped_files], [mapping for _, mapping in mapped_files]
        for number, mapped in enumerate(self._maps):
            used = self._place[self._file == number]
            if used.size and not 0 <= used.min() <= used.max() < len(mapped):
                raise ValueError(
                    f"{self._files[number]} holds {len(mapped)} images, expected at least {used.max() + 1}"
                )
        self._only = len(self._maps) == 1 and bool((self._file == 0).all())

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        if isinstance(key, tuple):
            found = self[key[0]]
            return found[(slice(None), *key[1:]) if found.ndim == 3 else key[1:]]
        file, place = self._file[key], self._place[key]
        if self._only:
            return np.take(self._maps[0], place, axis=0)
        if np.ndim(place) == 0:
            empty = np.zeros(self.shape[1:], self.dtype)
            return empty if file == NOWHERE else np.array(self._maps[int(file)][int(place)])
        return self._gather(file, place)

    def _gather(self, file: np.ndarray, place: np.ndarray) -> np.ndarray:
        there = np.unique(file)
        if len(there) == 1 and there[0] != NOWHERE:
            return np.take(self._maps[int(there[0])], place, axis=0)
        found = np.zeros((len(place), *self.shape[1:]), self.dtype)
        for number in there[there != NOWHERE]:
            chosen = np.flatnonzero(file == number)
            found[chosen] = np.take(self._maps[int(number)], place[chosen], axis=0)
        return found

    def release(self) -> None:
        """Let go of the pages read so far, which count as this process's memory; they stay in the system's own."""
        for mapping in self._mappings:
            if mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
                mapping.madvise(mmap.MADV_DONTNEED)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        whole = self[:]
        return whole if dtype is None else whole.astype(dtype)

    def copy(self) -> np.ndarray:
        """All images, in memory."""
        return self[:]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._files, self._file, self._place, self._side)  # maps are opened anew, not sent
