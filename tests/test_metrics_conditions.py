"""The table of every score with its drop from clean, and corruption errors, against computations by hand."""

import numpy as np
import pandas as pd
import prediction_tables
import pytest

from ssrobust_lib.evaluation.condition_scores import COLUMNS, scores_table
from ssrobust_lib.evaluation.corruption_error import corruption_error, corruption_errors, relative_corruption_error
from ssrobust_lib.evaluation.metrics import (
    CLASSIFICATION_METRICS,
    LOWER_IS_BETTER,
    SEGMENTATION_METRICS,
    SURFACE_METRICS,
)
from ssrobust_lib.registry import UnknownNameError
from ssrobust_lib.statistics.result_tables import seed_scores

NETWORK = ["init", "seed", "corruption", "severity"]


def xrays(**options):
    table = prediction_tables.classification(**options)
    return table.assign(feature_distance=np.float32(0.1) * table["severity"], feature_cosine=np.float32(1))


def scans(measured=(0, 3), **options):
    table = prediction_tables.segmentation(**options)
    measured_rows = table["severity"].isin(measured)
    return table.assign(
        voxels_flipped=5, voxels_mirrored=pd.array([pd.NA] * len(table), dtype="Int64"),
        hd95_mm=np.where(measured_rows, 10.0 + table["severity"], np.nan),
        surface_dice=np.where(measured_rows, 0.5, np.nan),
        feature_distance=np.float32(0.2) * table["severity"], feature_cosine=np.float32(1),
    )  # fmt: skip


def value(scores, metric, structure="", **of):
    chosen = (scores["metric"] == metric) & (scores["structure"] == structure)
    for column, wanted in of.items():
        chosen &= scores[column] == wanted
    assert chosen.sum() == 1
    return scores[chosen].iloc[0]


class TestScoresOfXRays:
    def test_every_metric_of_the_registry_under_every_condition(self):
        table = xrays(n=40, corruptions=("contrast", "resolution"))
        scores = scores_table([table])
        assert tuple(scores) == COLUMNS
        assert set(scores["metric"]) == {*CLASSIFICATION_METRICS, "feature_distance", "feature_cosine"}
        assert not scores.duplicated(["metric", *NETWORK]).any()
        for (metric, *key), rows in scores.groupby(["metric", *NETWORK]):
            part = table[(table[NETWORK] == key).all(axis=1)]
            labels, found = part["label"].to_numpy(), part["score"].to_numpy()
            if metric in CLASSIFICATION_METRICS:  # one image per patient: patients and images are the same
                assert rows["value"].item() == pytest.approx(CLASSIFICATION_METRICS[metric](labels, found), abs=1e-12)
            assert rows["n"].item() == 40

    def test_the_drop_is_positive_where_it_is_worse(self):
        scores = scores_table([xrays(n=200, corruptions=("contrast",))])
        for metric in set(scores["metric"]) - {"feature_cosine"}:
            row = value(scores, metric, init="scratch", seed=0, corruption="contrast", severity=5)
            clean = value(scores, metric, init="scratch", seed=0, corruption="clean", severity=0)
            sign = -1 if metric in LOWER_IS_BETTER else 1
            assert row["clean"] == clean["value"] and clean["drop"] == 0
            assert row["drop"] == sign * (clean["value"] - row["value"])
            if metric in ("accuracy", "auroc", "brier", "feature_distance"):
                assert row["drop"] > 0, "the drawn scores get worse with the severity"

    def test_accuracy_is_that_of_the_paired_tests_with_several_images_of_a_patient(self):
        table = xrays(n=30, corruptions=("contrast",))
        table["patient_id"] = [
            f"p{int(name[-2:]) // 4 if int(name[-2:]) < 20 else name}" for name in table["sample_id"]
        ]
        ours, theirs = scores_table([table]), seed_scores([table])
        theirs = theirs[(theirs["metric"] == "accuracy") & (theirs["scope"] != "corruption")]
        joined = theirs.merge(
            ours[ours["metric"] == "accuracy"], left_on=["init", "seed", "condition", "severity"],
            right_on=NETWORK, suffixes=("", "_ours"),
        )  # fmt: skip
        assert len(joined) == len(theirs) == 36
        np.testing.assert_allclose(joined["value_ours"], joined["value"], atol=1e-12)
        assert (joined["n_ours"] == joined["n"]).all() and joined["n"].iloc[0] == 15

    def test_tables_may_come_in_any_order_and_number(self):
        table = xrays(n=20, corruptions=("contrast", "brightness"))
        parts = [rows.sample(frac=1, random_state=1) for _, rows in table.groupby("corruption", sort=False)]
        keys = ["metric", *NETWORK]
        whole, mixed = (scores_table(t).sort_values(keys).reset_index(drop=True) for t in ([table], parts[::-1]))
        pd.testing.assert_frame_equal(whole, mixed)

    def test_one_class_alone_has_undefined_scores_and_no_unmeasured_rows(self):
        table = xrays(n=10, corruptions=()).assign(label=1, feature_distance=np.float32(np.nan))
        scores = scores_table([table])
        assert (
            scores.loc[scores["metric"].isin(["auroc", "balanced_accuracy", "average_precision"]), "value"].isna().all()
        )
        assert "feature_distance" not in set(scores["metric"])

    def test_faults_are_named(self):
        table = xrays(n=10, corruptions=())
        with pytest.raises(ValueError, match="lacks feature_distance"):
            scores_table([table.drop(columns="feature_distance")])
        with pytest.raises(ValueError, match="more than one prediction for rsna-0003, .*read twice"):
            scores_table([table, table[table["sample_id"] == "rsna-0003"]])
        with pytest.raises(ValueError, match="at least one row"):
            scores_table([])


class TestScoresOfScans:
    def test_every_metric_and_the_mean_over_structures(self):
        table = scans(n=6, corruptions=("contrast",))
        scores = scores_table([table])
        always = {*SEGMENTATION_METRICS, "missed", "flipped", "feature_distance", "feature_cosine"}
        assert set(scores["metric"]) == {*always, *SURFACE_METRICS, "hd95_undefined"}
        of = {"init": "jigsaw", "seed": 1, "corruption": "contrast", "severity": 3}
        part = table[(table[list(of)] == list(of.values())).all(axis=1)]
        assert value(scores, "dice", **of)["value"] == pytest.approx(part["dice"].mean())
        liver = part.loc[part["structure"] == "liver", "dice"]
        assert value(scores, "dice", "liver", **of)["value"] == pytest.approx(liver.mean())
        assert value(scores, "flipped", **of)["value"] == pytest.approx(0.05)
        assert value(scores, "hd95_mm", **of)[["value", "clean", "drop", "n"]].tolist() == [13, 10, 3, 6]
        assert value(scores, "feature_distance", **of)["value"] == pytest.approx(0.6)

    def test_surfaces_that_were_not_compared_have_no_row(self):
        scores = scores_table([scans(n=3, corruptions=("contrast",))])
        for metric in ("hd95_mm", "surface_dice", "hd95_undefined"):
            assert set(scores.loc[scores["metric"] == metric, "severity"]) == {0, 3}

    def test_a_missed_structure_is_counted_and_its_distance_left_out(self):
        table = scans(n=4, seeds=(0,), arms=("scratch",), corruptions=())
        missed = (table["sample_id"] == "visceral-000") & (table["structure"] == "liver")
        table.loc[missed, ["voxels_predicted", "voxels_overlap", "dice", "surface_dice"]] = 0
        table.loc[missed, "hd95_mm"] = np.nan
        scores = scores_table([table])
        liver = {metric: value(scores, metric, "liver") for metric in ("missed", "hd95_mm", "hd95_undefined")}
        assert [row["value"] for row in liver.values()] == [0.25, 10.0, 0.25]
        assert [row["n"] for row in liver.values()] == [4, 3, 4]
        table["hd95_mm"], table["surface_dice"] = np.nan, 0.0
        nowhere = value(scores_table([table]), "hd95_mm")
        assert np.isnan(nowhere["value"]) and nowhere["n"] == 0

    def test_structures_that_a_label_lacks_and_second_readings_stay_out(self):
        table = scans(
            n=3, seeds=(0,), arms=("scratch",), corruptions=(), structures=("kidney", "kidney_without_tumour")
        )
        table.loc[table["sample_id"] == "visceral-001", ["voxels_label", "voxels_overlap"]] = 0
        table["voxels_mirrored"] = np.where(table["structure"] == "kidney", 3, pd.NA)
        scores = scores_table([table])
        kidney = table[(table["structure"] == "kidney") & (table["voxels_label"] > 0)]
        assert value(scores, "dice")[["value", "n"]].tolist() == pytest.approx([kidney["dice"].mean(), 2])
        assert value(scores, "mirrored", "kidney")["value"] == pytest.approx(0.03)
        assert not ((scores["metric"] == "mirrored") & (scores["structure"] == "kidney_without_tumour")).any()

    def test_dice_agrees_with_the_table_of_the_figures(self):
        table = scans(n=5, corruptions=("contrast",))
        theirs = seed_scores([table])
        theirs = theirs[theirs["metric"].isin(["dice", "missed"]) & (theirs["scope"] == "severity")]
        theirs = theirs[theirs["structure"] == ""]
        ours = scores_table([table])
        joined = theirs.merge(
            ours[ours["structure"] == ""], left_on=["metric", "init", "seed", "condition", "severity"],
            right_on=["metric", *NETWORK], suffixes=("", "_ours"),
        )  # fmt: skip
        assert len(joined) == len(theirs) > 0
        np.testing.assert_allclose(joined["value_ours"], joined["value"], atol=1e-12)


# ---- corruption error ----------------------------------------------------------------------------------------------


def test_corruption_error_by_hand():
    """Errors 0.2, 0.3, 0.4 of a network, 0.3, 0.5, 0.7 of the reference; clean 0.1 and 0.2."""
    errors, reference = [0.2, 0.3, 0.4], [0.3, 0.5, 0.7]
    assert corruption_error(errors, reference) == pytest.approx(0.9 / 1.5)
    assert relative_corruption_error(errors, 0.1, reference, 0.2) == pytest.approx(0.6 / 0.9)


def test_a_reference_that_never_errs_or_does_not_degrade_defines_nothing():
    assert np.isnan(corruption_error([0.2, 0.3], [0.0, 0.0]))
    for reference in ([0.2, 0.2], [0.1, 0.2], [0.1 + 0.2 - 0.1, 0.2]):  # the last is 0.2 to rounding
        assert np.isnan(relative_corruption_error([0.2, 0.3], 0.1, reference, 0.2))
    assert corruption_error([[0.1, 0.3], [0.2, 0.2]], [0.4, 0.4]).tolist() == [0.5, 0.5]


def made_scores(errors: dict[str, dict[str, list[float]]], metric="balanced_accuracy"):
    """Scores from errors: network 'init/seed' -> corruption -> errors by severity."""
    rows = [
        {"task": "pneumonia", "set": "rsna", "metric": metric, "structure": "", "corruption": corruption,
         "severity": severity if corruption != "clean" else 0, "init": name.split("/")[0],
         "seed": int(name.split("/")[1]), "value": 1 - error}
        for name, of_network in errors.items()
        for corruption, values in of_network.items()
        for severity, error in enumerate(values, start=1)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_mean_corruption_error_against_the_mean_over_the_seeds_of_normal_training():
    table = corruption_errors(
        made_scores({
            "scratch/0": {"clean": [0.1], "blur": [0.2, 0.4], "noise": [0.3, 0.5]},
            "scratch/1": {"clean": [0.2], "blur": [0.4, 0.6], "noise": [0.1, 0.3]},
            "jigsaw/0": {"clean": [0.1], "blur": [0.2, 0.2], "noise": [0.3, 0.6]},
        })
    )  # fmt: skip
    of = table.set_index(["init", "seed", "corruption"])
    # reference: blur 0.3 + 0.5, noise 0.2 + 0.4, clean 0.15
    assert of.loc[("jigsaw", 0, "blur"), "ce"] == pytest.approx(0.4 / 0.8)
    assert of.loc[("jigsaw", 0, "noise"), "ce"] == pytest.approx(0.9 / 0.6)
    assert of.loc[("jigsaw", 0, "all corruptions"), "ce"] == pytest.approx((0.5 + 1.5) / 2)
    assert of.loc[("jigsaw", 0, "blur"), "relative_ce"] == pytest.approx(0.2 / 0.5)
    assert of.loc[("jigsaw", 0, "noise"), "relative_ce"] == pytest.approx(0.7 / 0.3)
    own = table[table["init"] == "scratch"].groupby("corruption")["ce"].mean()
    np.testing.assert_allclose(own, 1.0, atol=1e-12)
    assert (table["note"] == "").all()


def test_undefined_corruption_errors_are_told_and_never_averaged_away():
    table = corruption_errors(
        made_scores({
            "scratch/0": {"clean": [0.2], "blur": [0.3, 0.4], "contrast": [0.2, 0.2], "noise": [0.0, 0.0]},
            "jigsaw/0": {"clean": [0.1], "blur": [0.3, 0.4], "contrast": [0.1, 0.3], "noise": [0.1, 0.0]},
        })
    ).set_index(["init", "corruption"])  # fmt: skip
    for arm in ("scratch", "jigsaw"):
        row = table.loc[(arm, "all corruptions")]
        assert np.isnan(row["ce"]) and np.isnan(row["relative_ce"])
        assert (row["n_defined"], row["n_relative_defined"], row["n"]) == (2, 1, 3)
        assert "CE undefined for 1 of 3" in row["note"] and "relative CE undefined for 2 of 3" in row["note"]
    assert table.loc[("jigsaw", "all corruptions"), "ce_of_defined"] == pytest.approx((1 + 1) / 2)
    assert table.loc[("jigsaw", "all corruptions"), "relative_ce_of_defined"] == pytest.approx(0.5 / 0.3)
    assert np.isnan(table.loc[("jigsaw", "noise"), "ce"])


def test_a_severity_that_a_network_lacks_leaves_its_error_undefined():
    scores = made_scores({
        "scratch/0": {"clean": [0.2], "blur": [0.3, 0.4]}, "jigsaw/0": {"clean": [0.1], "blur": [0.3]},
    })  # fmt: skip
    table = corruption_errors(scores).set_index(["init", "corruption"])
    assert np.isnan(table.loc[("jigsaw", "blur"), "ce"]) and table.loc[("scratch", "blur"), "ce"] == 1


def test_the_error_is_chosen_by_name_and_external_sets_have_none():
    scores = scores_table([xrays(n=60), xrays(n=60, corruptions=(), name="kermany"), scans(n=4)])
    table = corruption_errors(scores)
    assert set(zip(table["set"], table["metric"], strict=True)) == {("rsna", "balanced_accuracy"), ("visceral", "dice")}
    assert set(corruption_errors(scores, classification="accuracy")["metric"]) == {"accuracy", "dice"}
    with pytest.raises(UnknownNameError, match="balanced_accuracy"):
        corruption_errors(scores, classification="auroc")
    with pytest.raises(UnknownNameError, match="scratch_aa"):
        corruption_errors(scores, reference="normal")
    assert len(corruption_errors(scores[scores["set"] == "kermany"])) == 0
