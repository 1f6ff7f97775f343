"""The tiny study with control arms and curves: who learns from what, for how long, and what is compared."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from controls_profile import CONTROLS, controls_profile
from tiny_cells import TASKS, Stopped, finetune_of, patients, samples_of
from tiny_profile import write_profile

from ssrobust_lib.cells import finetune as finetune_cell
from ssrobust_lib.cells import pretext as pretext_cell
from ssrobust_lib.cells import trained
from ssrobust_lib.cells.compare import home_parts
from ssrobust_lib.cells.data import labelled_ids, pretext_ids
from ssrobust_lib.config import load_profile
from ssrobust_lib.statistics.comparisons import compare_all
from ssrobust_lib.study import Study
from ssrobust_lib.training import finetuning

ALL_ARMS = ("scratch", "jigsaw", "scratch_aa", *CONTROLS)


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """A finished study with control arms and curves; read it, never write into it."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if folder.name.startswith("popen-") else folder  # shared by the workers of a run
    runs = folder / "controls_runs"
    runs.mkdir(exist_ok=True)
    study = Study(load_profile(write_profile(tmp_path_factory.mktemp("profile"), controls_profile())), runs=runs)
    study.ensure(study.all_cells)
    return study


def steps_of(study, cell):
    """Optimiser steps of a training, and its validations."""
    curves = study.table(cell, "curves")
    return int(curves["step"].max()), len(curves)


# ---- what a pretext task learns from -------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_the_same_data_arm_learns_from_its_seeds_labelled_images_and_nobody_elses(study, task):
    samples = samples_of(study, task)
    cell = study.cells("02_pretext", tasks=[task], arms=["jigsaw_same_data"])[0]
    evaluated = set(samples.loc[samples["split"].isin(["val", "test", "external"]), "patient_id"])
    for seed in range(10):
        found = pretext_cell.other_images(study, replace(cell, of={**cell.of, "seed": seed}), samples)
        assert found == labelled_ids(study.profile, task, samples, seed)
        assert not evaluated & patients(samples, found)
        assert not set(found) & set(pretext_ids(study.profile, task, samples, seed))
    main = study.cells("02_pretext", tasks=[task], arms=["jigsaw"])[0]
    assert pretext_cell.other_images(study, main, samples) is None


def pretext_rows(study, cell, folder, monkeypatch):
    """Samples, settings and seed that a pretext cell hands to its training."""
    seen = {}

    def look(images, train_rows, val_rows, normalise, **options):
        seen.update(options, train=train_rows, val=val_rows)
        raise Stopped

    with monkeypatch.context() as patched:
        patched.setattr(pretext_cell, "pretrain", look)
        with pytest.raises(Stopped):
            pretext_cell.compute(study, cell, folder)
    rows = trained.open_images(study, cell.of["task"]).rows
    return set(rows["sample_id"].iloc[seen["train"]]), set(rows["split"].iloc[seen["val"]]), seen


@pytest.mark.parametrize("task", TASKS)
def test_parts_of_the_pool_hold_one_another_and_start_from_the_same_weights(study, task, tmp_path, monkeypatch):
    (whole,) = study.cells("02_pretext", tasks=[task], arms=["jigsaw"])
    (part,) = study.cells("08_curve_pretext", tasks=[task])
    (same,) = study.cells("02_pretext", tasks=[task], arms=["jigsaw_same_data"])
    samples = samples_of(study, task)
    pool = pretext_ids(study.profile, task, samples, 0)
    taken, held_out, options = pretext_rows(study, part, tmp_path, monkeypatch)
    all_of_it, _, main = pretext_rows(study, whole, tmp_path, monkeypatch)
    labelled, _, other = pretext_rows(study, same, tmp_path, monkeypatch)
    assert held_out == {"val"}
    assert taken < all_of_it == set(pool)
    assert len(taken) == -(-len(pool) // 2)
    assert labelled == set(labelled_ids(study.profile, task, samples, 0))
    assert options["seed"] == main["seed"] == other["seed"]
    assert options["pretext_task"] == other["pretext_task"] == "jigsaw"


@pytest.mark.parametrize("task", TASKS)
def test_every_pretraining_takes_as_many_steps_whatever_its_images(study, task):
    cells = study.cells("02_pretext", tasks=[task]) + study.cells("08_curve_pretext", tasks=[task])
    assert len(cells) == 3
    assert len({steps_of(study, cell) for cell in cells}) == 1


# ---- fine-tuning ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_longer_training_takes_the_steps_of_both_and_chooses_among_as_many_epochs(study, task):
    tuned = {arm: steps_of(study, finetune_of(study, task, arm)) for arm in ALL_ARMS}
    (pretext,) = study.cells("02_pretext", tasks=[task], arms=["jigsaw"])
    assert tuned["scratch_long"][0] == steps_of(study, pretext)[0] + tuned["scratch"][0]
    assert tuned["scratch_long"][1] <= tuned["scratch"][1]
    others = [arm for arm in ALL_ARMS if arm != "scratch_long"]
    assert len({tuned[arm] for arm in others}) == 1


@pytest.mark.parametrize("task", TASKS)
def test_control_arms_start_from_the_weights_and_meet_the_batches_of_their_seed(study, task, tmp_path, monkeypatch):
    start, dealt = {}, {}
    for arm in ALL_ARMS:
        batches = dealt.setdefault(arm, [])

        def read(images, rows, *rest, batches=batches, original=finetuning.read_images):
            batches.append(rows.tolist())
            return original(images, rows, *rest)

        def look(network, *rest, arm=arm, original=finetuning.fit, **options):
            start[arm] = {name: tensor.clone() for name, tensor in network.state_dict().items()}
            return original(network, *rest, **options)

        with monkeypatch.context() as patched:
            patched.setattr(finetuning, "read_images", read)
            patched.setattr(finetuning, "fit", look)
            (tmp_path / arm).mkdir()
            finetune_cell.compute(study, finetune_of(study, task, arm), tmp_path / arm)
    assert dealt["scratch"] == dealt["jigsaw_same_data"] == dealt["scratch_augmented"] == dealt["jigsaw"]
    assert {row for batch in dealt["scratch_long"] for row in batch} == {r for b in dealt["scratch"] for r in b}
    for arm in ("scratch_long", "scratch_augmented"):
        assert all(torch.equal(start[arm][name], tensor) for name, tensor in start["scratch"].items())
    encoder = study.tensors(study.cells("02_pretext", tasks=[task], arms=["jigsaw_same_data"])[0], "encoder")
    assert all(torch.equal(start["jigsaw_same_data"][f"encoder.{name}"], tensor) for name, tensor in encoder.items())
    for arm in ALL_ARMS:  # the same cell again gives the same bits, augmentation included
        kept = study.folder_of(finetune_of(study, task, arm)) / "model.safetensors"
        assert (tmp_path / arm / "model.safetensors").read_bytes() == kept.read_bytes()
    models = {(tmp_path / arm / "model.safetensors").read_bytes() for arm in ALL_ARMS}
    assert len(models) == len(ALL_ARMS), "two arms were trained alike"


@pytest.mark.parametrize("task", TASKS)
def test_more_labels_hold_the_fewer_ones_and_nobody_who_is_evaluated(study, task):
    samples = samples_of(study, task)
    evaluated = set(samples.loc[samples["split"].isin(["val", "test", "external"]), "patient_id"])
    amounts = [1, 2, "all"] if task == "organs" else [0.1, 0.3, 0.5, "all"]
    for seed in range(5):
        subsets = [set(labelled_ids(study.profile, task, samples, seed, amount)) for amount in amounts]
        for fewer, more in zip(subsets, subsets[1:], strict=False):
            assert fewer <= more
        assert not evaluated & patients(samples, subsets[-1])
        assert subsets[-1] == set(samples.loc[(samples["split"] == "train") & samples["has_label"], "sample_id"])


@pytest.mark.parametrize("task", TASKS)
def test_a_curves_point_is_trained_on_its_number_of_labels(study, task, tmp_path, monkeypatch):
    (cell,) = study.cells("08_curve_finetune", tasks=[task], arms=["jigsaw"], amounts=["labels-all"])
    seen = {}

    def look(images, targets, train_rows, *rest, **options):
        seen.update(options, rows=train_rows)
        raise Stopped

    monkeypatch.setattr(finetune_cell, "finetune", look)
    with pytest.raises(Stopped):
        finetune_cell.compute(study, cell, tmp_path)
    ids = set(trained.open_images(study, task).rows["sample_id"].iloc[seen["rows"]])
    assert ids == set(labelled_ids(study.profile, task, samples_of(study, task), 0, "all"))
    encoder = study.tensors(study.cells("02_pretext", tasks=[task], arms=["jigsaw"])[0], "encoder")
    assert all(torch.equal(seen["init_tensors"][name], tensor) for name, tensor in encoder.items())


# ---- evaluation and comparison -------------------------------------------------------------------------------------


def test_control_arms_choose_no_severity_and_are_evaluated_like_the_others(study):
    searched = study.table(study.cells("05_calibration"), "search")
    assert set(searched["init"]) == {"scratch", "jigsaw"}
    for step in ("04_clean_eval", "05_corruption_eval", "06_kits_generalization"):
        for cell in study.cells(step):
            assert set(study.table(cell, "predictions")["init"]) == set(ALL_ARMS)


def test_control_arms_are_compared_in_families_of_their_own(study):
    (cell,) = study.cells("07_stats")
    found, against = study.table(cell, "comparisons"), study.table(cell, "control_comparisons")
    controls = found["arm"].isin(CONTROLS)
    assert set(found.loc[controls, "arm"]) == set(CONTROLS)
    assert found.loc[controls, "family"].str.startswith("control arms: ").all()
    assert set(found["reference"]) == {"scratch"}
    assert set(against["arm"]) == {"jigsaw"}
    assert set(against["reference"]) == set(CONTROLS)
    assert all(f"against {row.reference}: " in row.family for row in against.itertuples())
    assert against["comparison"].is_unique
    assert found["comparison"].is_unique
    predictions = [study.table(need, "predictions") for need in cell.needs if "predictions" in _tables(study, need)]
    home = {task: study.profile.data[task].label for task in TASKS}
    margins = study.profile.statistics.margins
    options = {"seed": 7, "n_bootstrap": 20, "home": home, "parts": home_parts(study), "margins": margins}
    plain = compare_all(predictions, arms=["jigsaw", "scratch_aa"], **options)
    pd.testing.assert_frame_equal(found[~controls].reset_index(drop=True), plain)


def _tables(study, cell):
    return {path.stem for path in study.folder_of(cell).glob("*.parquet")}


def test_curves_hold_every_point_and_agree_with_the_arms_own_scores(study):
    scores = study.table(study.cells("08_curves"), "scores")
    points = scores.groupby(["task", "axis", "init"])["amount"].agg(lambda amounts: set(amounts))
    assert points["pneumonia", "labels", "scratch"] == points["pneumonia", "labels", "jigsaw"] == {"0.3", "0.5", "all"}
    assert points["organs", "labels", "scratch"] == {"1", "all"}
    assert points["organs", "pool", "jigsaw"] == {"0.5", "all"}
    assert points["organs", "pool", "scratch"] == {"none"}
    assert set(scores["severity"]) == {0, 3}
    assert set(scores["corruption"]) == {"clean", *study.profile.corruptions}
    sizes = scores.groupby(["task", "axis", "init", "amount"])["n_images"].first()
    samples = samples_of(study, "pneumonia")
    assert sizes["pneumonia", "labels", "jigsaw", "all"] == (samples["split"] == "train").sum()
    assert sizes["pneumonia", "pool", "scratch", "none"] == 0 < sizes["pneumonia", "pool", "jigsaw", "0.5"]
    arms = study.table(study.cells("07_stats"), "condition_scores")
    own = scores[(scores["axis"] == "pool") & scores["amount"].isin(["none", "all"])]
    assert len(own)
    same = ["task", "init", "seed", "corruption", "severity", "metric"]
    both = own.merge(arms[(arms["structure"] == "") & (arms["set"] != "kits19")], on=same, suffixes=("", "_of_arm"))
    assert len(both) == len(own)
    np.testing.assert_allclose(both["value"], both["value_of_arm"], rtol=0, atol=1e-6)
