"""The leak cells of a small study: what they train, share and write, and what a profile may ask of them."""

import numpy as np
import pytest
from tiny_profile import profile_of_xrays, tiny_profile, write_profile

from ssrobust_lib.cells import leak, trained
from ssrobust_lib.config import ProfileError, load_profile
from ssrobust_lib.running.checks import check_profile
from ssrobust_lib.splits.leaks import WAYS
from ssrobust_lib.study import Study
from ssrobust_lib.training import finetuning, pretraining

LEAKS = {
    "seeds": 1,
    "patients": 90,
    "validation": 0.15,
    "label_fraction": 0.4,
    "pretext": {"epochs": 1, "batch_size": 16, "max_steps": 2},
    "finetune": {"epochs": 1, "batch_size": 16, "max_steps": 2},
}


def xray_profile(**changed):
    phantoms = {"rsna": {"n_patients": 90, "size": 32}}
    return profile_of_xrays(name="leaking", leaks=LEAKS) | {"phantoms": phantoms} | changed


@pytest.fixture(scope="module")
def computed(tmp_path_factory):
    """A study whose leak cell is finished, and how often each kind of training ran."""
    folder = tmp_path_factory.mktemp("leaking")
    study = Study(load_profile(write_profile(folder, xray_profile())), runs=folder / "runs")
    calls = {"finetune": 0, "pretrain": 0}
    patch = pytest.MonkeyPatch()

    def counted(name, function):
        def run(*args, **options):
            calls[name] += 1
            return function(*args, **options)

        patch.setattr(leak, name, run)

    counted("finetune", finetuning.finetune)
    counted("pretrain", pretraining.pretrain)
    study.ensure(study.cells("01_leaks"))
    patch.undo()
    return study, calls


def test_a_training_that_two_ways_share_is_done_once(computed):
    _, calls = computed
    assert calls == {"pretrain": 2, "finetune": 2 + 4}


def test_every_arm_is_scored_in_every_way_on_the_same_images(computed):
    study, _ = computed
    (cell,) = study.cells("01_leaks")
    predictions, design = study.table(cell, "predictions"), study.table(cell, "design")
    groups = predictions.groupby(["way", "init"])["sample_id"]
    assert set(groups.groups) == {(way, arm) for way in WAYS for arm in ("scratch", "jigsaw")}
    tested = design.loc[design["part"] == "test", "sample_id"].tolist()
    assert all(sorted(names) == sorted(tested) for _, names in groups)
    assert set(predictions["seed"]) == {0}
    scores = predictions.pivot(index="sample_id", columns=["way", "init"], values="score")
    for shared in ("patient", "pretext leak"), ("label leak", "row"):  # scratch sees the labels alone
        np.testing.assert_array_equal(scores[shared[0], "scratch"], scores[shared[1], "scratch"])
    assert not np.array_equal(scores["patient", "scratch"], scores["row", "scratch"])
    assert design.loc[design["leaked"], "part"].eq("test").all()
    accuracy = study.table(cell, "accuracy")
    assert accuracy["way"].tolist() == ["patient", "pretext leak"] and accuracy["n_pool"].nunique() == 1


def test_label_rows_are_those_of_the_decoded_patients(computed):
    study, _ = computed
    rows = leak.label_rows(study)
    assert rows["sample_id"].is_unique and rows["patient_id"].nunique() == 90
    assert rows["image"].nunique() == 90 and len(rows) > 90
    fewer = study.profile.leaks.model_copy(update={"patients": 40})
    small = Study(study.profile.model_copy(update={"leaks": fewer}), runs=study.folder.parent)
    some = leak.label_rows(small)
    assert some["patient_id"].nunique() == 40 and set(some["sample_id"]) < set(rows["sample_id"])


def test_the_data_cell_writes_the_table_of_splits_and_of_shared_images(computed):
    study, _ = computed
    data = study.cells("01_data")
    samples, splits = study.table(data, "samples"), study.table(data, "splits")
    assert sorted(splits["sample_id"]) == sorted(samples["sample_id"])
    merged = splits.merge(samples, on="sample_id", suffixes=("", "_samples"))
    assert (merged["split"] == merged["split_samples"]).all()
    labelled = set(study.table(data, "labelled")["sample_id"])
    assert set(splits.loc[splits["seed_0"] == "labelled", "sample_id"]) == labelled
    assert len(study.table(data, "shared")) == 0 and not samples["kept_out"].any()


def test_a_set_with_one_label_per_image_is_refused(computed, monkeypatch):
    from ssrobust_lib.datasets import LOADERS

    study, _ = computed
    monkeypatch.setattr(type(LOADERS["rsna"]), "row_options", {})
    for ask in (lambda: leak.label_rows(study), lambda: check_profile(study.profile)):
        with pytest.raises(ProfileError, match="one label per image.*Take the section leaks out"):
            ask()


def test_too_few_patients_are_a_fault_of_the_profile(computed, tmp_path):
    study, _ = computed
    few = study.profile.model_copy(update={"leaks": study.profile.leaks.model_copy(update={"patients": 4})})
    (cell,) = study.cells("01_leaks")
    with pytest.raises(ProfileError, match="^leaks: "):
        leak.compute(Study(few, runs=study.folder.parent), cell, tmp_path)


def test_a_manifest_of_ones_own_names_the_rows_as_it_names_the_images(computed, tmp_path, monkeypatch):
    study, _ = computed
    about = trained.constants(study, "pneumonia")
    manifest = tmp_path / "rsna.yaml"
    manifest.write_text("loader: rsna\nfolder: .\n")
    monkeypatch.setattr(leak.trained, "constants", lambda *_: about | {"sets": {"rsna": str(manifest)}})
    assert leak.label_rows(study)["patient_id"].nunique() == 90


def test_leaks_need_the_task_they_are_about(tmp_path):
    sections = tiny_profile(leaks=LEAKS)
    for name in ("data", "networks", "pretext", "finetune"):
        sections[name] = {"organs": sections[name]["organs"]}
    with pytest.raises(ProfileError, match="leaks: asks for the task pneumonia"):
        load_profile(write_profile(tmp_path, sections))


@pytest.mark.parametrize("split", ["row", "patient"])
def test_a_split_by_fractions_of_rows_or_patients(tmp_path, split):
    sections = xray_profile(leaks={})
    chosen = {"split": split, "validation": 0.1, "test": 0.1}
    sections["data"] = {"pneumonia": sections["data"]["pneumonia"] | chosen}
    study = Study(load_profile(write_profile(tmp_path, sections)), runs=tmp_path / "runs")
    study.ensure(study.cells("01_data"))
    samples, splits = (study.table(study.cells("01_data"), name) for name in ("samples", "splits"))
    sizes = samples["split"].value_counts()
    crossing = (samples.groupby("patient_id")["split"].nunique() > 1).any()
    assert samples["patient_id"].nunique() == 90
    assert not samples["kept_out"].any()
    if split == "patient":
        assert sizes[["val", "test"]].tolist() == [9, 9] and len(samples) == 90 and not crossing
        return
    by_class = samples["label"].value_counts()
    assert sizes["test"] == sum(int(np.ceil(round(0.1 * n, 9))) for n in by_class)
    assert len(samples) > 90 and crossing
    tested = set(samples.loc[samples["split"] == "test", "patient_id"])
    pool = splits.loc[splits["seed_0"] == "pretext", "patient_id"]
    assert tested & set(pool)
