"""Cells on a full disk, after a kill, without their decoded images, or with no image that can be read."""

import errno
import shutil

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from tiny_cells import finetune_of, pretext_of

from ssrobust_lib import store
from ssrobust_lib.cells import data as data_cell
from ssrobust_lib.cells import finetune as finetune_cell
from ssrobust_lib.cells import pretext as pretext_cell
from ssrobust_lib.cells import resuming, trained
from ssrobust_lib.config import ProfileError
from ssrobust_lib.study import Study


def test_a_set_of_which_nothing_can_be_read_stops_the_cell():
    samples = pd.DataFrame({"sample_id": ["a/1", "b/1", "b/2"], "set": ["a", "b", "b"]})
    problems = pd.DataFrame({"sample_id": ["b/1", "b/2"], "path": ["1.nii", "2.nii"], "reason": ["cut off", "empty"]})
    with pytest.raises(ProfileError, match=r"none of its 2 images could be read; the first: b/1 \(1\.nii\): cut off"):
        data_cell.check_readable(samples, samples[:1], problems)
    data_cell.check_readable(samples, samples[:2], problems[1:])


def test_a_full_disk_is_reported_with_the_name_of_the_cell(tiny_study, tmp_path, monkeypatch):
    study = Study(tiny_study.profile, runs=tmp_path)
    shutil.copytree(tiny_study.folder, study.folder)
    cell = study.cells("04_clean_eval", tasks=["organs"])[0]
    shutil.rmtree(study.folder_of(cell))

    def full(path, table):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(store, "write_table", full)
    with pytest.raises(store.StoreError, match=rf"no space left .*{cell.id}: .*run the same command again"):
        study.ensure(cell)
    assert not study.finished(cell)
    assert all(map(study.finished, cell.needs))
    monkeypatch.undo()
    study.ensure(cell)
    expected = tiny_study.table(cell, "predictions")
    assert_frame_equal(study.table(cell, "predictions"), expected, check_exact=True)


def test_decoded_images_that_were_deleted_are_decoded_again(tiny_study, tmp_path):
    study = Study(tiny_study.profile, runs=tmp_path)
    cell = trained.data_cell(study, "organs")
    shutil.copytree(tiny_study.folder_of(cell), study.folder_of(cell))
    shutil.copytree(data_cell.decoded_images(tiny_study), data_cell.decoded_images(study))
    for folder in data_cell.decoded_images(study).glob("visceral-*"):
        shutil.rmtree(folder)
    cache, expected = trained.open_images(study, "organs"), trained.open_images(tiny_study, "organs")
    assert cache.folders[0].is_relative_to(tmp_path)
    np.testing.assert_array_equal(cache.images[:], expected.images[:])
    np.testing.assert_array_equal(cache.masks[:], expected.masks[:])


@pytest.mark.parametrize(("task", "step"), [("pneumonia", "finetune"), ("organs", "finetune"), ("organs", "pretext")])
def test_an_interrupted_training_goes_on_and_ends_with_the_same_bytes(tiny_study, task, step, tmp_path, monkeypatch):
    monkeypatch.setattr(resuming, "_SECONDS", 0.0)
    cell = finetune_of(tiny_study, task, "jigsaw") if step == "finetune" else pretext_of(tiny_study, task)
    module = finetune_cell if step == "finetune" else pretext_cell
    original, epochs = resuming.Resuming.keep, []

    def keep(self, state):
        original(self, state)
        epochs.append(state.epoch)
        if len(epochs) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(resuming.Resuming, "keep", keep)
    folder = tmp_path / "cell"
    with pytest.raises(KeyboardInterrupt), store.writing(folder, {}) as aside:
        module.compute(tiny_study, cell, aside)
    assert not store.finished(folder)
    with store.writing(folder, {}) as aside:
        module.compute(tiny_study, cell, aside)
    last = tiny_study.table(cell, "curves")["epoch"].max()
    assert epochs == list(range(1, last + 1)), "an epoch was trained twice, or left out"
    for path in tiny_study.folder_of(cell).iterdir():
        if path.suffix == ".safetensors":
            assert (folder / path.name).read_bytes() == path.read_bytes()
        elif path.suffix == ".parquet":
            assert_frame_equal(store.read_table(folder / path.name), store.read_table(path), check_exact=True)
    assert {path.name for path in folder.iterdir()} == {path.name for path in tiny_study.folder_of(cell).iterdir()}
