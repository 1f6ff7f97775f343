"""The same profile gives the same results, bit for bit, whatever ran before and in whatever order."""

import random

import numpy as np
import torch
from pandas.testing import assert_frame_equal
from tiny_profile import tiny_profile, write_profile

from ssrobust_lib import store
from ssrobust_lib.config import load_profile
from ssrobust_lib.study import Study


def test_a_second_run_gives_equal_tables_weights_and_images(tiny_study, tmp_path):
    again = Study(load_profile(write_profile(tmp_path, tiny_profile())), runs=tmp_path / "runs")
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002  the global state must not matter
    torch.manual_seed(1)
    for cell in reversed(again.all_cells):  # each computes first what it needs
        again.ensure(cell)
    assert [cell.id for cell in again.all_cells] == [cell.id for cell in tiny_study.all_cells]
    compared = 0
    for cell in tiny_study.all_cells:
        first, second = tiny_study.folder_of(cell), again.folder_of(cell)
        files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
        assert files == sorted(path.relative_to(second) for path in second.rglob("*") if path.is_file())
        for name in files:
            compared += _compare(first / name, second / name)
    assert compared > 40


def _compare(first, second):
    if first.suffix == ".parquet":
        assert_frame_equal(store.read_table(first), store.read_table(second), check_exact=True)
    elif first.suffix in (".safetensors", ".npy"):
        assert first.read_bytes() == second.read_bytes(), first
    elif first.suffix == ".npz":
        one, other = store.read_arrays(first), store.read_arrays(second)
        assert one.keys() == other.keys()
        for name, array in one.items():
            np.testing.assert_array_equal(array, other[name])
    else:  # settings: cell.json holds times, constants.json the folders of the images
        return 0
    return 1
