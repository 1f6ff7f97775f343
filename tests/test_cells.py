"""The cells of a small study: what they write, and what the other centre's structures are."""

from pathlib import Path

import numpy as np
import pytest
from tiny_cells import ARMS, KEY, TASKS, samples_of
from tiny_profile import CORRUPTIONS

from ssrobust_lib.cells import trained
from ssrobust_lib.cells.trained import shared_structures
from ssrobust_lib.datasets import LOADERS
from ssrobust_lib.evaluation.predictions import CLASSIFICATION_COLUMNS, SEGMENTATION_COLUMNS
from ssrobust_lib.registry import UnknownNameError
from ssrobust_lib.statistics.comparisons import COLUMNS
from ssrobust_lib.training.state import CURVE_COLUMNS

EVALUATIONS = ("04_clean_eval", "05_corruption_eval", "06_kits_generalization")


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
