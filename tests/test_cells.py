"""The cells of a small study: what they write, who is in them, and what the arms share."""

import errno
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal
from tiny_profile import CORRUPTIONS

from ssrobust_lib import finetuning, store
from ssrobust_lib.cells import calibrate, resuming, trained
from ssrobust_lib.cells import data as data_cell
from ssrobust_lib.cells import finetune as finetune_cell
from ssrobust_lib.cells import pretext as pretext_cell
from ssrobust_lib.cells.data import labelled_ids, pretext_ids
from ssrobust_lib.cells.trained import shared_structures
from ssrobust_lib.comparisons import COLUMNS
from ssrobust_lib.config import ProfileError
from ssrobust_lib.datasets import LOADERS
from ssrobust_lib.predictions import CLASSIFICATION_COLUMNS, SEGMENTATION_COLUMNS
from ssrobust_lib.registry import UnknownNameError
from ssrobust_lib.study import Study
from ssrobust_lib.training_state import CURVE_COLUMNS

TASKS = ("pneumonia", "organs")
ARMS = ("scratch", "jigsaw", "scratch_aa")
KEY = ["task", "init", "seed"]
EVALUATIONS = ("04_clean_eval", "05_corruption_eval", "06_kits_generalization")


class Stopped(Exception):
    """Ends a cell where the test has seen enough."""


def samples_of(study, task):
    return study.table(trained.data_cell(study, task), "samples")


def patients(samples, ids):
    return set(samples.loc[samples["sample_id"].isin(ids), "patient_id"])


def finetune_of(study, task, arm):
    return study.cells("03_finetune", tasks=[task], arms=[arm], seeds=[0])[0]


def pretext_of(study, task):
    return study.cells("02_pretext", tasks=[task], pretext_tasks=["jigsaw"], seeds=[0])[0]


# ---- tables --------------------------------------------------------------------------------------------------------


def test_every_cell_is_finished_and_says_what_made_it(tiny_study):
    for cell in tiny_study.all_cells:
        record = tiny_study.record(cell)
        assert record["cell"] == cell.id
        assert record["needs"] == [need.id for need in cell.needs]
        assert record["settings"]["study_seed"] == 7
        assert not list(tiny_study.folder_of(cell).glob("training_state*")), "the training state outlived its training"
    assert not list((tiny_study.folder / "cells").rglob("*.partial"))


def test_predictions_have_a_row_for_every_network_severity_and_unit(tiny_study):
    for cell in [cell for step in EVALUATIONS for cell in tiny_study.cells(step)]:
        table = tiny_study.table(cell, "predictions")
        pneumonia = cell.of["task"] == "pneumonia"
        assert set(table) == set(CLASSIFICATION_COLUMNS if pneumonia else SEGMENTATION_COLUMNS)
        severities = [1, 2, 3, 4, 5] if "corruption" in cell.of else [0]
        unit = ["sample_id"] if pneumonia else ["sample_id", "structure"]
        assert not table.duplicated([*KEY, "severity", *unit]).any()
        assert len(table) == len(ARMS) * len(severities) * len(table[unit].drop_duplicates())
        assert sorted(table["severity"].unique()) == severities
        assert set(table["corruption"]) == {cell.of.get("corruption", "clean")}
        assert set(table["set"]) == {cell.of["set"]}
        score = table["score"] if pneumonia else table["dice"].dropna()
        assert score.between(0, 1).all()


def test_columns_are_typed_as_documented(tiny_study):
    xray = tiny_study.table(tiny_study.cells("04_clean_eval", tasks=["pneumonia"]), "predictions")
    assert xray[["label", "score"]].dtypes.tolist() == [np.int8, np.float32]
    organs = tiny_study.table(tiny_study.cells("04_clean_eval", tasks=["organs"]), "predictions")
    assert organs["dice"].dtype == np.float64
    for counted in ("voxels_label", "voxels_predicted", "voxels_overlap"):
        assert organs[counted].dtype == np.int64


@pytest.mark.parametrize("task", TASKS)
def test_test_predictions_are_about_the_test_patients_alone(tiny_study, task):
    samples = samples_of(tiny_study, task)
    test = set(samples.loc[samples["split"] == "test", "sample_id"])
    for step in ("04_clean_eval", "05_corruption_eval"):
        for cell in tiny_study.cells(step, tasks=[task]):
            assert set(tiny_study.table(cell, "predictions")["sample_id"]) == test


def test_curves_transfer_and_accuracy(tiny_study):
    trained_cells = [*tiny_study.cells("02_pretext"), *tiny_study.cells("03_finetune")]
    for cell in trained_cells:
        curves = tiny_study.table(cell, "curves")
        assert set(curves) == {*CURVE_COLUMNS, *KEY}
        assert curves["epoch"].tolist() == list(range(1, len(curves) + 1))
        assert curves[KEY].drop_duplicates().to_dict("records") == [cell.of]
    for cell in tiny_study.cells("02_pretext"):
        row = tiny_study.table(cell, "accuracy").iloc[0]
        assert row["accuracy"] == row["correct"] / row["n"]
        assert row["chance"] == pytest.approx(1 / 5)
        assert row["learned"] == (row["p"] < 0.001)


@pytest.mark.parametrize("task", TASKS)
def test_severities_grow_and_are_those_of_the_evaluation(tiny_study, task):
    severities = tiny_study.table(tiny_study.cells("05_calibration", tasks=[task]), "severities")
    assert severities["corruption"].drop_duplicates().tolist() == list(CORRUPTIONS)
    for corruption, rows in severities.groupby("corruption"):
        assert rows["severity"].tolist() == [1, 2, 3, 4, 5]
        assert (np.diff(rows["strength"]) > 0).all()
        assert trained.strengths_of(tiny_study, task, corruption) == dict(
            zip(rows["severity"], rows["strength"], strict=True)
        )


def test_comparisons_hold_every_arm_against_normal_training(tiny_study):
    comparisons = tiny_study.table(tiny_study.cells("07_stats"), "comparisons")
    assert tuple(comparisons) == COLUMNS
    assert set(comparisons["reference"]) == {"scratch"}
    assert set(comparisons["arm"]) == {"jigsaw", "scratch_aa"}
    assert set(comparisons.loc[comparisons["role"] == "external", "set"]) == {"kits19"}
    assert set(comparisons["condition"]) >= {"clean", *CORRUPTIONS}
    tested = comparisons.dropna(subset=["p", "p_holm"])
    assert len(tested)
    assert (tested["p_holm"] >= tested["p"]).all()
    assert (comparisons.loc[comparisons["p"].isna(), "note"] != "").all(), "an empty p-value without a reason"


def test_clean_accuracy_is_recomputed_from_the_predictions(tiny_study):
    predictions = tiny_study.table(tiny_study.cells("04_clean_eval", tasks=["pneumonia"]), "predictions")
    comparisons = tiny_study.table(tiny_study.cells("07_stats"), "comparisons")
    chosen = (comparisons["metric"] == "accuracy") & (comparisons["condition"] == "clean")
    assert chosen.sum() == 2
    right = (predictions["score"] >= 0.5) == (predictions["label"] == 1)
    by_arm = right.groupby(predictions["init"]).mean()
    for row in comparisons[chosen].itertuples():
        assert row.mean_arm == pytest.approx(by_arm[row.arm])
        assert row.mean_reference == pytest.approx(by_arm["scratch"])


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


def test_a_set_of_which_nothing_can_be_read_stops_the_cell():
    samples = pd.DataFrame({"sample_id": ["a/1", "b/1", "b/2"], "set": ["a", "b", "b"]})
    problems = pd.DataFrame({"sample_id": ["b/1", "b/2"], "path": ["1.nii", "2.nii"], "reason": ["cut off", "empty"]})
    with pytest.raises(ProfileError, match=r"none of its 2 images could be read; the first: b/1 \(1\.nii\): cut off"):
        data_cell.check_readable(samples, samples[:1], problems)
    data_cell.check_readable(samples, samples[:2], problems[1:])


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


# ---- the other centre ----------------------------------------------------------------------------------------------


def test_kidneys_of_the_other_centre_are_merged_and_scored_with_and_without_tumour(tiny_study):
    cell = tiny_study.cells("06_kits_generalization", tasks=["organs"])[0]
    table = tiny_study.table(cell, "predictions")
    assert set(table["structure"]) == {"kidney", "kidney_without_tumour"}
    columns = [*KEY, "sample_id"]
    wide = table.set_index([*columns, "structure"]).unstack("structure")
    cache = trained.open_images(tiny_study, "organs")
    source = trained.constants(tiny_study, "organs")["roots"]["kits19"]
    samples = LOADERS["kits19"].index(Path(source)).set_index("sample_id", drop=False)
    names = cache.rows.loc[cache.rows["set"] == "kits19", "sample_id"].unique()
    # at the scan's own resolution, as the file holds them
    masks = {n: LOADERS["kits19"].read_label(Path(source), samples.loc[n], ("kidney", "tumour")) for n in names}
    scans = wide.index.get_level_values("sample_id")
    kidney, alone = wide["voxels_label"]["kidney"], wide["voxels_label"]["kidney_without_tumour"]
    assert kidney.tolist() == [int((masks[scan] > 0).sum()) for scan in scans]
    assert alone.tolist() == [int((masks[scan] == 1).sum()) for scan in scans]
    assert (kidney > alone).any(), "no phantom has a tumour: the two readings are not told apart"
    predicted = wide["voxels_predicted"]
    assert (predicted["kidney"] == predicted["kidney_without_tumour"]).all()


def test_both_kidneys_of_the_network_are_the_kidney_of_the_other_set(tiny_study):
    structures = trained.external_structures(tiny_study, "organs", "kits19")
    own = trained.own_structures(tiny_study, "organs")
    sides = [own[name][0][0] for name in ("right_kidney", "left_kidney")]
    assert structures == {"kidney": (sides, [1, 2]), "kidney_without_tumour": (sides, [1])}


def test_sets_with_sides_are_merged_on_both_sides_and_sets_without_a_common_structure_are_refused():
    merge = {"kidney": ["right_kidney", "left_kidney"]}
    own = ["liver", "right_kidney", "left_kidney"]
    assert shared_structures(own, merge, ["left_kidney", "right_kidney", "liver"]) == {
        "kidney": ([2, 3], [2, 1]),
        "liver": ([1], [3]),
    }
    with_tumour = ["kidney", "tumour"]
    assert shared_structures(own, merge, with_tumour, tumour="counted") == {"kidney": ([2, 3], [1, 2])}
    assert shared_structures(own, merge, with_tumour, tumour="apart") == {"kidney": ([2, 3], [1])}
    assert list(shared_structures(own, merge, [*with_tumour, "liver"])) == [
        "kidney", "kidney_without_tumour", "liver", "liver_without_tumour",
    ]  # fmt: skip
    with pytest.raises(UnknownNameError, match="way with tumours 'count'"):
        shared_structures(own, merge, with_tumour, tumour="count")
    with pytest.raises(ValueError, match=r"share no structure: liver, right_kidney, left_kidney and brain"):
        shared_structures(own, merge, ["brain"])


# ---- a full disk, a kill ------------------------------------------------------------------------------------------


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
