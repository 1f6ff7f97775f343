"""Voxels counted at a scan's own resolution, without its files: where Dice is taken (paper, section 3, 'Metric').

In: a label map on the scan's voxels and the `Grid` that a network sees. Out: for each cell of that grid how many of the
scan's voxels it stands for carry which label; and, from a predicted label map on the grid, the voxels of the scan by
label and predicted class. A predicted class is carried back to the nearest voxels (`preprocessing.to_scan_grid`);
counting by cells gives the same numbers and touches a small part of the voxels, those that are labelled.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ssrobust_lib.preprocessing import Grid

# cell: flat index into the grid; label: 1..255; voxels: how many of the scan's voxels in that cell carry it
CELL = np.dtype([("cell", "<u4"), ("label", "|u1"), ("voxels", "<u4")])


@dataclass(frozen=True)
class ScanLabels:
    """A scan's labelled voxels.

    Attributes
    ----------
    cells : CELL (n,), one entry per cell and label, by cell; background is left out
    outside : label -> voxels that lie outside the grid, where a network cannot see them
    """

    cells: np.ndarray
    outside: Mapping[int, int] = field(default_factory=dict)


def labels_by_cell(labels: np.ndarray, grid: Grid) -> ScanLabels:
    """Count the labelled voxels of a scan by cell of the grid.

    Parameters
    ----------
    labels : uint8 `grid.shape_in`
    grid : where the cells lie in the scan

    Raises
    ------
    ValueError
        If the label map has another shape, or the grid more cells than 2**32.
    """
    if labels.shape != grid.shape_in:
        raise ValueError(f"the label map has {labels.shape} voxels, its grid was laid over {grid.shape_in}")
    if np.prod(grid.shape_out, dtype=np.int64) > 2**32:
        raise ValueError(f"a grid of {grid.shape_out} cells is too large to number: choose a smaller image_size")
    slices, rows, columns = (grid.nearest_back(axis) for axis in range(3))
    _, height, width = grid.shape_out
    plane_cells = rows[:, None] * width + columns  # (rows in, columns in)
    plane_cells[rows < 0] = -1
    plane_cells[:, columns < 0] = -1
    found: list[np.ndarray] = []
    outside = np.zeros(256, dtype=np.int64)
    for target in np.unique(slices):  # all of the scan's slices that one slice of the grid stands for
        keys = []
        for plane in labels[slices == target]:
            there = np.flatnonzero(plane)
            values, cells = plane.ravel()[there].astype(np.int64), plane_cells.ravel()[there]
            inside = cells >= 0 if target >= 0 else np.zeros(len(cells), dtype=bool)
            outside += np.bincount(values[~inside], minlength=256)
            keys.append((cells[inside] << 8) | values[inside])
        pairs, voxels = np.unique(np.concatenate(keys), return_counts=True)
        part = np.empty(len(pairs), dtype=CELL)
        part["cell"], part["label"], part["voxels"] = (pairs >> 8) + target * height * width, pairs & 255, voxels
        found.append(part)
    left = {int(label): int(outside[label]) for label in np.flatnonzero(outside)}
    return ScanLabels(np.concatenate(found) if found else np.empty(0, dtype=CELL), left)


def voxels_per_cell(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """How many of the scan's voxels a cell stands for: int64 (slices out,) along the scan, (rows, columns) in plane."""
    along, down, across = (
        np.bincount(nearest[nearest >= 0], minlength=n)
        for nearest, n in zip((grid.nearest_back(axis) for axis in range(3)), grid.shape_out, strict=True)
    )
    return along, down[:, None] * across[None, :]
