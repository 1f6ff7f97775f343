"""The long table beside the comparisons: which estimand a number is about, its unit, and why one is missing."""

import numpy as np
import pandas as pd
import pytest
from prediction_tables import ARMS, classification, segmentation

from ssrobust_lib.statistics.comparisons import compare_and_test
from ssrobust_lib.statistics.crossed import equivalence_p
from ssrobust_lib.statistics.families import matches
from ssrobust_lib.statistics.further_tests import FURTHER_COLUMNS, METHOD, NETWORKS
from ssrobust_lib.statistics.paired_tests import mcnemar

MARGINS = {"accuracy": 0.03, "auroc": 0.03, "dice": 0.02}


@pytest.fixture(scope="module")
def compared():
    rows = [
        classification(gain=0.5, seeds=(0, 1, 2), corruptions=("contrast",)),
        segmentation(gain=0.02, seeds=(0, 1, 2), corruptions=("contrast",)),
        segmentation(gain=0.1, seeds=(0, 1, 2), corruptions=(), name="kits19", random=6),
    ]
    return compare_and_test(rows, arms=ARMS, seed=1, n_bootstrap=500, margins=MARGINS), rows


def row_of(table, **where):
    found = table[matches(table, where)]
    assert len(found) == 1, found["comparison"].tolist()
    return found.iloc[0]


def of(compared, **where):
    row = row_of(compared.table, **where)
    further = compared.further[compared.further["comparison"] == row["comparison"]]
    return row, further.set_index("name")


def test_every_empty_number_has_a_reason(compared):
    table, further = compared[0]
    assert tuple(further.columns) == FURTHER_COLUMNS and set(further["estimand"]) == {NETWORKS, METHOD}
    tests = further[further["kind"] == "test"]
    assert (tests.loc[tests["p"].isna(), "note"] != "").all()
    others = further[further["kind"] != "test"]
    empty = others["estimate"].isna() | ((others["kind"] == "interval") & others["low"].isna())
    assert (others.loc[empty, "note"] != "").all()
    assert (table.loc[table["method_p"].isna(), "method_note"] != "").all()
    assert (table.loc[table["equivalence_p"].isna(), "method_note"] != "").all()
    assert not further.duplicated(["comparison", "name"]).any()


def test_dice_has_what_a_statistician_asks_for(compared):
    row, further = of(compared[0], metric="dice", role="home", scope="clean", structure="", arm="jigsaw")
    names = set(further.index)
    assert {"Student's t, paired", "rank-biserial correlation", "Cohen's d_z", "common-language effect size"} <= names
    assert {"paired bootstrap, BCa", "hierarchical bootstrap", "equivalence within 0.02, two one-sided t"} <= names
    assert {"Obuchowski-Rockette, Hillis' df", "Student's t over seeds"} <= names
    pooled = next(name for name in names if "as if independent" in name)
    assert further.loc[pooled, "n"] == 36 and further.loc[pooled, "unit"] == "seed x scan"
    assert further.loc["Student's t over seeds", "n"] == 3 and row["n"] == 12
    bounds = further.loc["hierarchical bootstrap"]
    assert bounds["low"] < row["difference"] < bounds["high"] and bounds["estimand"] == METHOD


def test_equivalence_and_detectable_difference_are_those_of_the_method(compared):
    row = row_of(compared[0].table, metric="dice", role="home", scope="clean", structure="", arm="jigsaw")
    error = row["difference"] / row["method_statistic"]
    assert row["equivalence_p"] == pytest.approx(equivalence_p(row["difference"], error, row["method_df"], 0.02))
    assert row["detectable"] > 2 * abs(error)
    row = row_of(compared[0].table, metric="missed", role="home", scope="clean", structure="", arm="scratch_aa")
    assert "no variance" in row["method_note"] or "no margin for missed" in row["method_note"]


def test_mcnemar_for_each_seed_and_the_majority(compared):
    table, predictions = compared
    row, further = of(table, metric="accuracy", scope="clean", arm="jigsaw")
    clean = predictions[0][predictions[0]["corruption"] == "clean"]
    right = clean.assign(right=(clean["score"] >= 0.5) == (clean["label"] == 1))
    wide = right.pivot_table(index=["init", "seed"], columns="sample_id", values="right").astype(bool)
    for seed in (0, 1, 2):
        expected = mcnemar(wide.loc["jigsaw", seed].to_numpy(), wide.loc["scratch", seed].to_numpy())
        assert further.loc[f"McNemar, exact, seed {seed}", "p"] == expected.p
    votes = {arm: wide.loc[arm].sum(axis=0).to_numpy() >= 2 for arm in ("jigsaw", "scratch")}
    expected = mcnemar(votes["jigsaw"], votes["scratch"])
    assert further.loc["McNemar, exact, majority of the seeds", "p"] == expected.p
    _, mean = of(table, metric="accuracy", scope="corruption", arm="jigsaw")
    assert not any("McNemar" in name for name in mean.index)  # a mean over severities is not right or wrong
    assert row["n"] == 60


def test_patients_with_several_images_have_no_mcnemar():
    rows = classification(n=12, corruptions=())
    rows["patient_id"] = [f"p{int(name[-4:]) // 2}" for name in rows["sample_id"]]
    _, further = of(compare_and_test([rows], arms=ARMS, seed=1, n_bootstrap=50), metric="accuracy", arm="jigsaw")
    assert np.isnan(further.loc["McNemar, exact", "p"]) and "several images" in further.loc["McNemar, exact", "note"]


def test_one_seed_says_nothing_of_the_method():
    rows = [classification(seeds=(0,), corruptions=()), segmentation(seeds=(0,), corruptions=())]
    table, further = compare_and_test(rows, arms=ARMS, seed=1, n_bootstrap=50, margins=MARGINS)
    numbers = ["method_p", "method_ci_low", "method_df", "equivalence_p", "detectable", "method_p_holm"]
    measured = table[table["metric"] != "auroc placements"]
    assert measured[numbers].isna().all(axis=None) and measured["method_note"].str.contains("1 seed").all()
    assert table["p"].notna().any()
    of_method = further[further["estimand"] == METHOD]
    assert len(of_method) and of_method["p"].isna().all() and of_method["note"].str.contains("1 seed").all()


def test_the_gap_at_another_centre_has_a_method_of_two_groups(compared):
    table = compared[0].table
    away = row_of(table, metric="dice", role="external", structure="", arm="jigsaw")
    home = row_of(table, metric="dice", role="home", scope="clean", structure="", arm="jigsaw")
    gap = row_of(table, metric="dice gap", role="external", arm="jigsaw")
    assert gap["method_ci_low"] < gap["difference"] < gap["method_ci_high"] and gap["method_p"] < 0.05
    assert gap["difference"] == pytest.approx(away["difference"] - home["difference"])


def test_missing_and_broken_arms_leave_a_reason():
    rows = segmentation(corruptions=())
    rows = rows[(rows["init"] == "scratch") == (rows["seed"] == 0)]
    table, further = compare_and_test([rows], arms=["jigsaw"], seed=1, n_bootstrap=50)
    assert further.empty and (table["method_note"] != "").all() and table["method_p"].isna().all()
    constant = segmentation(corruptions=()).assign(dice=0.5)
    table, further = compare_and_test([constant], arms=["jigsaw"], seed=1, n_bootstrap=50)
    dice = table[table["metric"] == "dice"]
    assert dice["method_p"].isna().all() and dice["method_note"].str.contains("no variance").all()
    assert isinstance(further, pd.DataFrame) and (further.loc[further["p"].isna(), "estimand"] != "").all()
