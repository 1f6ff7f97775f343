"""From predictions to the comparisons table: units, pairing, averages, families and intervals."""

import numpy as np
import pandas as pd
import pytest
from prediction_tables import ARMS, CORRUPTIONS, classification, segmentation

from ssrobust_lib.evaluation.unit_scores import classification_scores, home_sets, segmentation_scores, split_by_task
from ssrobust_lib.registry import UnknownNameError
from ssrobust_lib.statistics.comparisons import COLUMNS, compare_all
from ssrobust_lib.statistics.families import DEFAULT_FAMILIES, correct_families, matches
from ssrobust_lib.statistics.multiplicity import benjamini_hochberg, holm
from ssrobust_lib.statistics.paper import paper_results
from ssrobust_lib.statistics.result_tables import per_structure, seed_scores, seed_spread, table1, table2, table4

KIDNEYS = ("kidney", "kidney_without_tumour")


@pytest.fixture(scope="module")
def predictions():
    return [
        classification(gain=0.5),
        classification(gain=0.5, corruptions=(), name="kermany", random=5),
        segmentation(gain=0.01, corrupted_gain=0.06),
        segmentation(gain=0.1, corruptions=(), name="kits19", structures=KIDNEYS, random=6),
    ]


@pytest.fixture(scope="module")
def table(predictions):
    return compare_all(predictions, arms=ARMS, seed=1, n_bootstrap=500)


def one(table, **where):
    found = table[matches(table, where)]
    assert len(found) == 1, found["comparison"].tolist()
    return found.iloc[0]


def test_columns_and_ids(table):
    assert tuple(table.columns) == COLUMNS
    assert table["comparison"].is_unique
    assert set(table["arm"]) == {"jigsaw", "scratch_aa"} and set(table["reference"]) == {"scratch"}


def test_accuracy_is_averaged_over_images_seeds_and_severities(predictions, table):
    rows = predictions[0]
    rows = rows[rows["corruption"] == "contrast"].assign(right=lambda r: (r["score"] >= 0.5) == (r["label"] == 1))
    expected = rows.groupby("init")["right"].mean()
    row = one(table, task="pneumonia", metric="accuracy", scope="corruption", condition="contrast", arm="jigsaw")
    assert row["mean_arm"] == pytest.approx(expected["jigsaw"]) and row["n"] == 60 and row["n_seeds"] == 2
    assert row["difference"] == pytest.approx(expected["jigsaw"] - expected["scratch"])
    assert row["ci_low"] < row["difference"] < row["ci_high"]
    assert row["method_ci_low"] < row["difference"] < row["method_ci_high"] and row["unit"] == "patient"


def test_patients_weigh_the_same_however_many_images_they_have():
    rows = classification(n=4, seeds=(0,), arms=("scratch",), corruptions=())
    rows["patient_id"], rows["score"], rows["label"] = ["a", "a", "a", "b"], [0.9, 0.9, 0.1, 0.9], [1, 1, 1, 0]
    (accuracy, area) = classification_scores(split_by_task([rows])["pneumonia"])
    assert accuracy.units == ("a", "b")
    np.testing.assert_allclose(accuracy.values[0, 0, 0], [2 / 3, 0])
    assert area.values[0, 0, 0].mean() == pytest.approx(1 / 3)  # pairs: tie, tie, lost


def test_auroc_rows_match_a_plain_auroc(predictions, table):
    from scipy.stats import mannwhitneyu

    rows = predictions[0]
    areas = []
    for _, network in rows[(rows["corruption"] == "clean") & (rows["init"] == "jigsaw")].groupby("seed"):
        positive, negative = (network.loc[network["label"] == k, "score"] for k in (1, 0))
        areas.append(mannwhitneyu(positive, negative).statistic / positive.size / negative.size)
    row = one(table, metric="auroc", role="home", arm="jigsaw")
    assert row["mean_arm"] == pytest.approx(np.mean(areas)) and row["test"] == "DeLong, paired"
    named = one(table, metric="auroc placements", role="home", arm="jigsaw")
    assert named["difference"] == pytest.approx(row["difference"]) and "signed-rank" in named["test"]


def test_auroc_of_one_class_is_a_note():
    rows = classification(corruptions=()).assign(label=0)
    row = one(compare_all([rows], arms=ARMS, seed=1, n_bootstrap=50), metric="auroc", arm="jigsaw")
    assert row["n"] == 0 and np.isnan(row["p"]) and "every image has label 0" in row["note"]


def test_dice_leaves_out_structures_that_the_reference_lacks():
    rows = segmentation(n=3, corruptions=())
    lacking = (rows["sample_id"] == "visceral-000") & (rows["structure"] == "liver")
    rows.loc[lacking, ["voxels_label", "dice"]] = [0, np.nan]
    rows.loc[lacking & (rows["init"] == "jigsaw"), "dice"] = 0.0  # predicted there by one arm only
    mean, liver, spleen, missed = segmentation_scores(split_by_task([rows])["organs"])
    assert np.isnan(liver.values[..., 0]).all() and not np.isnan(liver.values[..., 1:]).any()
    np.testing.assert_allclose(mean.values[..., 0], spleen.values[..., 0])
    np.testing.assert_allclose(mean.values[..., 1], (liver.values[..., 1] + spleen.values[..., 1]) / 2)
    assert missed.metric == "missed" and (missed.values == 0).all()
    table = compare_all([rows], arms=ARMS, seed=1, n_bootstrap=50)
    assert one(table, metric="dice", structure="liver", arm="jigsaw")["n"] == 2


def test_missed_counts_structures_without_overlap():
    rows = segmentation(n=4, corruptions=())
    gone = (rows["init"] == "jigsaw") & (rows["structure"] == "liver")
    rows.loc[gone, ["voxels_overlap", "dice"]] = 0
    row = one(compare_all([rows], arms=ARMS, seed=1, n_bootstrap=50), metric="missed", arm="jigsaw")
    assert row["mean_arm"] == 0.5 and row["mean_reference"] == 0


def test_kidney_with_and_without_tumour_are_two_readings(table):
    main = one(table, set="kits19", metric="dice", structure="", arm="jigsaw")
    other = one(table, set="kits19", metric="dice", structure="kidney_without_tumour", arm="jigsaw")
    assert main["family"] == "generalization" and other["family"] != "generalization"
    assert main["mean_arm"] != other["mean_arm"] and main["role"] == "external"


def test_gap_is_the_difference_of_differences(table):
    where = {"task": "organs", "arm": "jigsaw", "structure": ""}
    clean = one(table, metric="dice", role="home", scope="clean", **where)
    noisy = one(table, metric="dice", role="home", scope="corruption", condition="shot_noise", **where)
    gap = one(table, metric="dice gap", role="home", condition="shot_noise", **where)
    assert gap["difference"] == pytest.approx(noisy["difference"] - clean["difference"])
    assert gap["mean_reference"] == pytest.approx(noisy["mean_reference"] - clean["mean_reference"])
    assert gap["p"] < 0.01 and gap["difference"] == pytest.approx(0.05, abs=0.02)
    away = one(table, metric="dice gap", role="external", **where)
    assert np.isnan(away["difference"]) and away["n"] == 0 and np.isnan(away["p"])
    assert "kidney cannot be scored on visceral: kidney not scored" in away["note"]


def test_all_corruptions_is_the_mean_of_seven(table):
    where = {"task": "organs", "arm": "jigsaw", "metric": "dice", "structure": "", "role": "home"}
    seven = table[matches(table, where | {"scope": "corruption"})]
    assert set(seven["condition"]) == set(CORRUPTIONS)
    assert one(table, scope="all corruptions", **where)["difference"] == pytest.approx(seven["difference"].mean())


def test_families_are_as_declared(table):
    sizes = table.groupby("family").size()
    assert sizes["clean"] == 3 and sizes["corruption"] == 14
    assert sizes["A/A: clean"] == 3 and sizes["A/A: corruption"] == 14
    assert set(table["family"].str.removeprefix("A/A: ")) <= set(DEFAULT_FAMILIES)
    assert all(sizes[f"severity {k}"] == 14 for k in range(1, 6))
    for _, rows in table.groupby("family"):
        for p in ("p", "method_p"):
            np.testing.assert_allclose(rows[f"{p}_holm"], holm(rows[p]))
            np.testing.assert_allclose(rows[f"{p}_bh"], benjamini_hochberg(rows[p]))
            sizes = rows["family_tests" if p == "p" else "method_family_tests"]
            assert (sizes == rows[p].notna().sum()).all()


def test_undeclared_rows_stay_uncorrected(table):
    only = correct_families(table, {"mine": [{"metric": "accuracy"}]}, aa_arms=("scratch_aa",))
    assert only.loc[only["metric"] == "dice", "p_holm"].isna().all()
    assert only.loc[only["metric"] == "dice", "note"].str.contains("no declared family").all()
    with pytest.raises(UnknownNameError, match="metric"):
        matches(table, {"metrik": "dice"})


def test_swapping_the_arms_flips_the_signs():
    rows = [segmentation(gain=0.02, corruptions=("contrast",)), classification(gain=0.3, corruptions=("contrast",))]
    there = compare_all(rows, arms=["jigsaw"], seed=3, n_bootstrap=200).drop(columns=["comparison", "arm"])
    back = compare_all(rows, arms=["scratch"], reference="jigsaw", seed=3, n_bootstrap=200)
    np.testing.assert_allclose(back["difference"], -there["difference"])
    np.testing.assert_allclose(back["ci_low"], -there["ci_high"], atol=1e-12)
    np.testing.assert_allclose(back["p"], there["p"])
    np.testing.assert_allclose(back["method_p"], there["method_p"])
    np.testing.assert_allclose(back["method_ci_low"], -there["method_ci_high"], atol=1e-12)


def test_identical_arms_give_no_p_and_no_difference():
    twin = segmentation(arms=("scratch",), corruptions=("contrast",))
    rows = compare_all([twin, twin.assign(init="jigsaw")], arms=["jigsaw"], seed=1, n_bootstrap=50)
    assert (rows["difference"] == 0).all() and rows["p"].isna().all() and (rows["ci_high"] == 0).all()
    assert rows["note"].str.contains("differences are zero").all()
    assert rows["method_p"].isna().all() and rows["method_note"].str.contains("no variance").all()


def test_input_order_and_pieces_do_not_matter(predictions, table):
    pieces = [piece for rows in predictions for _, piece in rows.groupby("corruption")]
    shuffled = [piece.sample(frac=1, random_state=2) for piece in pieces[::-1]]
    pd.testing.assert_frame_equal(compare_all(shuffled, arms=ARMS, seed=1, n_bootstrap=500), table)
    other = compare_all(predictions, arms=ARMS, seed=2, n_bootstrap=500)
    assert not np.allclose(other["ci_low"], table["ci_low"], equal_nan=True)
    np.testing.assert_allclose(other["p"], table["p"])


def test_a_seed_that_one_arm_lacks_is_left_out_and_named():
    rows = segmentation(seeds=(0, 1, 2), corruptions=())
    rows = rows[~((rows["init"] == "jigsaw") & (rows["seed"] == 1))]
    row = one(compare_all([rows], arms=["jigsaw"], seed=1, n_bootstrap=50), metric="dice", structure="")
    assert row["n_seeds"] == 2 and row["note"].startswith("jigsaw lacks seed 1")
    reference = rows[(rows["init"] == "scratch") & (rows["seed"] != 1)]["dice"].mean()
    assert row["mean_reference"] == pytest.approx(reference)


def test_arms_without_a_common_seed_give_an_empty_row():
    rows = segmentation(corruptions=())
    rows = rows[(rows["init"] == "scratch") == (rows["seed"] == 0)]
    row = one(compare_all([rows], arms=["jigsaw"], seed=1, n_bootstrap=50), metric="dice", structure="")
    assert row["n"] == 0 and np.isnan(row["difference"]) and "no seed has both arms" in row["note"]


def test_too_few_units_for_significance_is_said():
    rows = segmentation(n=4, gain=0.2, corruptions=())
    row = one(compare_all([rows], arms=["jigsaw"], seed=1, n_bootstrap=50), metric="dice", structure="")
    assert row["p"] == pytest.approx(0.125) and "smallest attainable p with 4 units is 0.12" in row["note"]


def test_severities_that_were_not_reached_are_said():
    rows = segmentation(corruptions=("contrast",))
    rows = rows[rows["severity"] < 4]
    found = compare_all([rows], arms=["jigsaw"], seed=1, n_bootstrap=50)
    assert "severities 1, 2, 3 only" in one(found, scope="corruption", metric="dice", structure="")["note"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda r: pd.concat([r, r.iloc[:1]]), "more than one prediction"),
        (lambda r: r.iloc[1:], "lacks 1 predictions that other networks have"),
        (lambda r: r.assign(severity=7), "severity 0 for 'clean'"),
        (lambda r: r.assign(score=np.nan), "finite scores"),
        (lambda r: r.drop(columns="label"), "lacks label"),
        (
            lambda r: r.assign(label=np.arange(len(r)) % 2, sample_id="one", seed=np.arange(len(r))),
            "more than one label",
        ),
        (lambda r: r.iloc[:0], "at least one row"),
    ],
)
def test_broken_predictions_raise(spoil, message):
    with pytest.raises(ValueError, match=message):
        compare_all([spoil(classification(n=9, corruptions=()))], arms=["jigsaw"], seed=1)


def test_unknown_arms_and_homes_raise(predictions):
    with pytest.raises(UnknownNameError, match="jigsaw, scratch, scratch_aa"):
        compare_all(predictions, arms=["rotation"], seed=1)
    two = [segmentation(corruptions=()), segmentation(corruptions=(), name="kits19")]
    scores = [s for rows in two for s in segmentation_scores(split_by_task([rows])["organs"])]
    with pytest.raises(ValueError, match="which of the sets visceral, kits19"):
        home_sets(scores)
    assert home_sets(scores, {"organs": "kits19"}) == {"organs": "kits19"}


def test_the_papers_tables(predictions):
    paper = paper_results()
    first = table1(predictions, paper).set_index(["metric", "init"])
    assert first.loc[("auroc", "jigsaw"), "paper_value"] == 0.821
    assert np.isnan(first.loc[("accuracy", "scratch_aa"), "paper_value"])
    second = table2(predictions, paper).set_index("init")
    assert second.loc["scratch", "paper_std"] == 0.037
    rows = predictions[2]
    clean = rows[(rows["corruption"] == "clean") & (rows["init"] == "scratch")]
    per_scan = clean.groupby("sample_id")["dice"].mean()
    assert second.loc["scratch", "value"] == pytest.approx(per_scan.mean())
    assert second.loc["scratch", "std"] == pytest.approx(per_scan.std())
    fourth = table4(predictions, paper)
    assert set(fourth["structure"]) == {"", "kidney_without_tumour"} and set(fourth["set"]) == {"kits19"}
    with pytest.raises(ValueError, match="Table 1"):
        table1(predictions[2:])


def test_scores_by_seed(predictions, table):
    scores = seed_scores(predictions)
    spread = seed_spread(scores)
    where = (spread["metric"] == "dice") & (spread["structure"] == "") & (spread["condition"] == "contrast")
    row = spread[where & (spread["scope"] == "corruption") & (spread["init"] == "jigsaw")].iloc[0]
    compared = one(table, metric="dice", structure="", scope="corruption", condition="contrast", arm="jigsaw")
    assert row["value"] == pytest.approx(compared["mean_arm"]) and row["seed_min"] <= row["value"] <= row["seed_max"]
    assert row["n_seeds"] == 2 and row["n"] == 12
    assert set(per_structure(predictions)["structure"]) == {"liver", "spleen", "kidney_without_tumour"}
