"""Cells that train: nobody who is evaluated is in them, no label that is not theirs; and what the arms share."""

import numpy as np
import pytest
import torch
from tiny_cells import ARMS, TASKS, Stopped, finetune_of, patients, pretext_of, samples_of

from ssrobust_lib.cells import calibrate, trained
from ssrobust_lib.cells import finetune as finetune_cell
from ssrobust_lib.cells import pretext as pretext_cell
from ssrobust_lib.cells.data import labelled_ids, pretext_ids
from ssrobust_lib.training import finetuning

# ---- leaks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_no_patient_is_in_two_splits(tiny_study, task):
    samples = samples_of(tiny_study, task)
    assert {"train", "val", "test"} <= set(samples["split"])
    assert (samples.groupby("patient_id")["split"].nunique() == 1).all()
    assert (samples.groupby("content_hash")["split"].nunique() == 1).all()


@pytest.mark.parametrize("task", TASKS)
def test_no_evaluated_patient_is_in_a_pool_or_a_labelled_subset_of_any_seed(tiny_study, task):
    samples, profile = samples_of(tiny_study, task), tiny_study.profile
    evaluated = set(samples.loc[samples["split"].isin(["val", "test", "external"]), "patient_id"])
    subsets = []
    for seed in range(20):
        labelled = labelled_ids(profile, task, samples, seed)
        pool = pretext_ids(profile, task, samples, seed)
        assert labelled
        assert pool
        assert not evaluated & patients(samples, labelled)
        assert not evaluated & patients(samples, pool)
        assert not set(labelled) & set(pool)
        subsets.append(tuple(labelled))
    assert len(set(subsets)) > 1, "every seed draws the same labelled subset"


@pytest.mark.parametrize("task", TASKS)
def test_calibration_sees_validation_patients_alone(tiny_study, task):
    cache, samples = trained.open_images(tiny_study, task), samples_of(tiny_study, task)
    chosen = cache.rows.iloc[calibrate.calibration_images(tiny_study, cache, task)]
    assert len(chosen)
    assert set(chosen["patient_id"]) <= set(samples.loc[samples["split"] == "val", "patient_id"])


@pytest.mark.parametrize("task", TASKS)
def test_pretext_trains_on_its_pool_and_measures_on_validation_patients(tiny_study, task, tmp_path, monkeypatch):
    seen = {}

    def look(images, train_rows, val_rows, normalise, **options):
        seen.update(train=train_rows, val=val_rows)
        raise Stopped

    monkeypatch.setattr(pretext_cell, "pretrain", look)
    with pytest.raises(Stopped):
        pretext_cell.compute(tiny_study, pretext_of(tiny_study, task), tmp_path)
    rows, samples = trained.open_images(tiny_study, task).rows, samples_of(tiny_study, task)
    pool = set(pretext_ids(tiny_study.profile, task, samples, 0))
    assert set(rows["sample_id"].iloc[seen["train"]]) == pool
    assert set(rows["split"].iloc[seen["val"]]) == {"val"}
    test = set(samples.loc[samples["split"].isin(["test", "external"]), "patient_id"])
    assert not test & set(rows["patient_id"].iloc[np.concatenate([seen["train"], seen["val"]])])


def test_the_unlabelled_set_enters_without_labels_and_the_other_centre_enters_no_training(tiny_study):
    samples = samples_of(tiny_study, "organs")
    unlabelled = samples[samples["set"] == "luna16"]
    assert set(unlabelled["split"]) == {"pretext"}
    assert not unlabelled["has_label"].any()
    assert unlabelled["label"].isna().all()
    assert set(samples.loc[samples["set"] == "kits19", "split"]) == {"external"}


class Unlabelled:
    """A task's images where reading a label or a mask is an error."""

    def __init__(self, cache):
        self.images = cache.images
        self.rows = cache.rows.drop(columns=["label", "has_label"])

    @property
    def masks(self):
        raise AssertionError("the pretext task read a mask")


@pytest.mark.parametrize("task", TASKS)
def test_pretext_needs_no_label(tiny_study, task, tmp_path, monkeypatch):
    without = Unlabelled(trained.open_images(tiny_study, task))
    monkeypatch.setattr(trained, "open_images", lambda study, name: without)
    cell = pretext_of(tiny_study, task)
    pretext_cell.compute(tiny_study, cell, tmp_path)
    assert (tmp_path / "encoder.safetensors").read_bytes() == (
        tiny_study.folder_of(cell) / "encoder.safetensors"
    ).read_bytes()


class Poisoned:
    """A task's images where every label but those of the labelled subset and of validation is nonsense."""

    def __init__(self, cache, allowed):
        self.images, self.rows = cache.images, cache.rows.copy()
        foreign = ~(self.rows["sample_id"].isin(allowed) | (self.rows["split"] == "val"))
        assert foreign.any()
        self.rows.loc[foreign, "label"] = 99
        self.masks = None if cache.masks is None else cache.masks[:]
        if self.masks is not None:
            self.masks[foreign.to_numpy()] = 255


@pytest.mark.parametrize("task", TASKS)
def test_fine_tuning_reads_the_labels_of_its_subset_and_of_validation_alone(tiny_study, task, tmp_path, monkeypatch):
    labelled = labelled_ids(tiny_study.profile, task, samples_of(tiny_study, task), 0)
    poisoned = Poisoned(trained.open_images(tiny_study, task), labelled)
    monkeypatch.setattr(trained, "open_images", lambda study, name: poisoned)
    cell = finetune_of(tiny_study, task, "scratch")
    finetune_cell.compute(tiny_study, cell, tmp_path)
    kept = tiny_study.folder_of(cell) / "model.safetensors"
    assert (tmp_path / "model.safetensors").read_bytes() == kept.read_bytes()


def test_slices_of_air_are_no_puzzles():
    images = np.zeros((600, 10, 10), np.float16)
    images[::2, :3, :3] = 0.4  # 9 % of the pixels
    images[1, 0, :5] = 1  # 5 %: not more
    rows = np.arange(100, 600)
    kept = pretext_cell.with_content(images, rows)
    assert kept.tolist() == list(range(100, 600, 2))
    assert pretext_cell.with_content(images, np.array([1, 0])).tolist() == [0]
    assert pretext_cell.with_content(images, rows[:0]).size == 0


# ---- arms ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_all_arms_of_a_seed_see_the_same_labelled_images_in_the_same_batches(tiny_study, task, tmp_path, monkeypatch):
    dealt = {}
    for arm in ARMS:
        batches = dealt.setdefault(arm, [])

        def read(images, rows, *rest, batches=batches, original=finetuning.read_images):
            batches.append(rows.tolist())
            return original(images, rows, *rest)

        with monkeypatch.context() as patched:
            patched.setattr(finetuning, "read_images", read)
            finetune_cell.compute(tiny_study, finetune_of(tiny_study, task, arm), tmp_path)
    settings = tiny_study.profile.finetune[task]
    assert len(dealt["scratch"]) == settings.epochs * settings.steps_per_epoch
    assert dealt["scratch"] == dealt["jigsaw"] == dealt["scratch_aa"]
    drawn = tiny_study.table(trained.data_cell(tiny_study, task), "labelled")
    ids = trained.open_images(tiny_study, task).rows["sample_id"]
    assert {ids[row] for batch in dealt["scratch"] for row in batch} <= set(drawn["sample_id"])


def first_weights(study, task, arm, folder, monkeypatch):
    """Weights with which a fine-tuning cell starts its training."""
    seen = {}

    def look(network, *rest, **options):
        seen.update({name: tensor.clone() for name, tensor in network.state_dict().items()})
        raise Stopped

    with monkeypatch.context() as patched:
        patched.setattr(finetuning, "fit", look)
        with pytest.raises(Stopped):
            finetune_cell.compute(study, finetune_of(study, task, arm), folder)
    return seen


@pytest.mark.parametrize("task", TASKS)
def test_the_encoder_is_transferred_and_everything_else_starts_as_normal_training_does(
    tiny_study, task, tmp_path, monkeypatch
):
    start = {arm: first_weights(tiny_study, task, arm, tmp_path, monkeypatch) for arm in ARMS}
    encoder = tiny_study.tensors(pretext_of(tiny_study, task), "encoder")
    report = tiny_study.table(finetune_of(tiny_study, task, "jigsaw"), "transfer").set_index("tensor")["status"]
    assert set(report.index) == set(start["jigsaw"])
    assert set(report) == {"transferred", "from scratch"}
    for name, status in report.items():
        if status == "transferred":
            assert torch.equal(start["jigsaw"][name], encoder[name.removeprefix("encoder.")])
        else:
            assert torch.equal(start["jigsaw"][name], start["scratch"][name])
    kernels = [name for name, tensor in start["scratch"].items() if tensor.ndim == 4]
    transferred = [name for name in kernels if report[name] == "transferred"]
    assert transferred
    for name in transferred:
        assert not torch.equal(start["jigsaw"][name], start["scratch"][name])
    for name in kernels:
        assert not torch.equal(start["scratch_aa"][name], start["scratch"][name])
    for arm in ("scratch", "scratch_aa"):
        assert set(tiny_study.table(finetune_of(tiny_study, task, arm), "transfer")["status"]) == {"from scratch"}
