"""Counting by cells of a grid gives what counting on the scan's own voxels gives."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssrobust_lib.evaluation.voxel_counts import ScanCounter
from ssrobust_lib.preprocessing import Grid, to_scan_grid
from ssrobust_lib.scan_voxels import labels_by_cell, voxels_per_cell

lengths = st.tuples(st.integers(1, 9), st.integers(1, 12), st.integers(1, 12))
steps = st.tuples(*[st.floats(0.25, 4)] * 3)
origins = st.tuples(*[st.floats(-5, 5)] * 3)


def counted_voxel_by_voxel(labels: np.ndarray, predicted: np.ndarray, grid: Grid, n_classes: int) -> np.ndarray:
    joint = np.zeros((256, n_classes), dtype=np.int64)
    np.add.at(joint, (labels.ravel(), to_scan_grid(predicted, grid).ravel()), 1)
    return joint


@settings(max_examples=150, deadline=None)
@given(
    shape_in=lengths, shape_out=lengths, step=steps, origin=origins, seed=st.integers(0, 99), batch=st.integers(1, 9)
)
def test_both_ways_of_counting_agree(shape_in, shape_out, step, origin, seed, batch) -> None:
    generator = np.random.default_rng(seed)
    grid = Grid(origin, step, shape_in, shape_out, (1.0, 1.0, 1.0))
    labels = (generator.integers(0, 4, shape_in) * generator.integers(0, 2, shape_in)).astype(np.uint8)
    predicted = generator.integers(0, 3, shape_out).astype(np.uint8)
    truth = labels_by_cell(labels, grid)
    assert (np.diff(truth.cells["cell"].astype(np.int64)) >= 0).all()
    assert truth.cells["voxels"].sum() + sum(truth.outside.values()) == np.count_nonzero(labels)
    counter = ScanCounter(truth, grid, torch.device("cpu"))
    joint = counter.unseen(3)
    for first in range(0, shape_out[0], batch):
        joint += counter.count(first, torch.from_numpy(predicted[first : first + batch].astype(np.int64)), 3)
    np.testing.assert_array_equal(joint, counted_voxel_by_voxel(labels, predicted, grid, 3))


def test_a_cell_stands_for_the_voxels_nearest_to_it() -> None:
    grid = Grid((0.5, 0.0, 0.0), (2.0, 1.0, 0.5), (5, 3, 4), (2, 3, 8), (2.0, 1.0, 0.5))
    along, plane = voxels_per_cell(grid)
    assert along.tolist() == [2, 2] and plane[0].tolist() == [1, 0, 1, 0, 1, 0, 1, 0]
    labels = np.zeros((5, 3, 4), np.uint8)
    labels[0:2, 1, 2], labels[4, 0, 0] = 7, 9  # two voxels of one cell, and one behind the last slice
    truth = labels_by_cell(labels, grid)
    assert truth.cells.tolist() == [(1 * 8 + 4, 7, 2)] and truth.outside == {9: 1}


def test_labels_of_another_shape_are_refused() -> None:
    grid = Grid((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (2, 2, 2), (2, 2, 2), (1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match=r"\(1, 2, 2\) voxels, its grid was laid over \(2, 2, 2\)"):
        labels_by_cell(np.zeros((1, 2, 2), np.uint8), grid)
