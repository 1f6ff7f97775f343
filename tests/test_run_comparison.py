"""Two runs with a known truth: verdicts, what is paired with what, flips, and what is said of what is not there."""

import numpy as np
import pandas as pd
import pytest
from stored_runs import scans, write_run, xrays

from ssrobust_lib import store
from ssrobust_lib.run_comparison import side_by_side
from ssrobust_lib.run_comparison.changes import CANNOT_BE_TOLD, CHANGED, THE_SAME, VERDICTS, WITHIN_NOISE, changes
from ssrobust_lib.run_comparison.comparison import IDENTICAL, compare, summary
from ssrobust_lib.run_comparison.page import page_html
from ssrobust_lib.run_comparison.set_up import identical, set_up
from ssrobust_lib.run_comparison.stored_run import RunComparisonError, names_of, open_run

SHIFT = 0.1


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run; the same method again with another draw of everything but the patients; and one whose Dice is higher."""
    folder = tmp_path_factory.mktemp("runs")
    kits = {"n": 6, "corruptions": (), "name": "kits19"}
    first = [xrays(0), scans(1), scans(2, **kits)]
    again = [xrays(3), _with_patients_of(scans(4), first[1]), scans(5, **kits)]
    better = [xrays(6), _with_patients_of(scans(7, shift=SHIFT), first[1]), scans(8, shift=SHIFT, **kits)]
    return {
        "first": open_run(str(write_run(folder / "first", first))),
        "again": open_run(str(write_run(folder / "again", again, key="bbbbbbbbbb"))),
        "better": open_run(
            str(write_run(folder / "better", better, key="cccccccccc", epochs=9, commit="fedcba987654"))
        ),
    }


def _with_patients_of(table, other):
    """Give the scans of one table the levels that they have in another: the same scans in both."""

    def level(of):
        return of.groupby("sample_id")["dice"].mean()

    return table.assign(dice=(table["dice"] + table["sample_id"].map(level(other) - level(other).mean())).clip(0, 1))


def test_a_shift_of_every_scan_is_found_and_what_did_not_move_is_within_noise(runs):
    table = changes(runs["first"], runs["better"])
    dice = table[(table["metric"] == "dice") & (table["role"] == "home") & (table["part"] == "scores")]
    assert set(dice["verdict"]) == {CHANGED}
    assert dice["difference"].to_numpy() == pytest.approx(SHIFT, abs=0.03)
    assert ((dice["method_ci_low"] < SHIFT) & (dice["method_ci_high"] > SHIFT)).mean() > 0.6
    others = table[table["task"] == "pneumonia"]
    assert set(others["verdict"]) == {WITHIN_NOISE}
    assert set(table.loc[table["part"] == "arms", "verdict"]) <= {WITHIN_NOISE}  # every arm moved alike


def test_the_same_method_again_is_within_noise(runs):
    table = changes(runs["first"], runs["again"])
    assert set(table.loc[table["metric"] != "missed", "verdict"]) == {WITHIN_NOISE}
    assert set(table.loc[table["metric"] == "missed", "verdict"]) == {THE_SAME}  # no structure is missed in either


def test_every_row_has_a_verdict_numbers_that_fit_or_a_reason(runs):
    table = changes(runs["first"], runs["better"])
    assert set(table["verdict"]) <= set(VERDICTS)
    assert (table["value_b"] - table["value_a"]).to_numpy() == pytest.approx(table["difference"].to_numpy())
    told = table["verdict"].isin([CHANGED, WITHIN_NOISE])
    assert (told == table["method_p_bh"].notna()).all() and (told == table["method_ci_low"].notna()).all()
    assert (table.loc[~told & (table["verdict"] != THE_SAME), "note"] != "").all()
    assert (table["method_p_bh"].dropna() >= table["method_p"].dropna() - 1e-12).all()
    keys = ["task", "set_a", "metric", "structure", "scope", "condition", "severity", "arm", "reference"]
    assert not table.duplicated(keys).any()


def test_the_correction_is_that_of_statsmodels_in_each_part_and_task(runs):
    from statsmodels.stats.multitest import multipletests

    table = changes(runs["first"], runs["better"]).dropna(subset="method_p")
    for _, rows in table.groupby(["part", "task"]):
        expected = multipletests(rows["method_p"], method="fdr_bh")[1]
        assert rows["method_p_bh"].to_numpy() == pytest.approx(expected)


def test_scores_of_the_table_are_those_of_the_run(runs):
    run = runs["first"]
    seeds = run.table(run.statistics, "seed_scores")
    rows = changes(run, runs["again"])
    for metric, scope in (("accuracy", "clean"), ("auroc", "clean"), ("dice", "corruption")):
        place = (seeds["metric"] == metric) & (seeds["scope"] == scope) & (seeds["structure"] == "")
        expected = seeds[place & (seeds["role"] == "home")].groupby(["condition", "init"])["value"].mean()
        found = rows[(rows["metric"] == metric) & (rows["scope"] == scope) & (rows["part"] == "scores")]
        for row in found[found["role"] == "home"].itertuples():
            assert row.value_a == pytest.approx(expected[row.condition, row.arm])


def test_a_run_against_its_copy_is_the_same_and_said_to_be_identical(runs, tmp_path):
    copy = write_run(tmp_path / "first", [xrays(0), scans(1), scans(2, n=6, corruptions=(), name="kits19")])
    found = compare(runs["first"], open_run(str(copy)))
    assert set(found.changes["verdict"]) == {THE_SAME}
    assert found.identical and IDENTICAL.lower() in summary(found)[0].lower()
    predictions = next((copy / "cells" / "04_clean_eval").glob("pneumonia*")) / "predictions.parquet"
    table = store.read_table(predictions)
    table.loc[0, "score"] = np.nextafter(table.loc[0, "score"], np.float32(2))
    store.write_table(predictions, table)
    assert not compare(runs["first"], open_run(str(copy))).identical


def test_runs_that_differ_are_not_called_identical(runs):
    found = compare(runs["first"], runs["better"])
    assert not identical(found.tables)
    assert found.tables.set_index("step").at["04_clean_eval", "same"] == 0


def test_other_phantoms_of_the_same_names_are_two_groups(runs, tmp_path):
    folder = write_run(tmp_path / "other", [xrays(0)], key="dddddddddd")
    for record in folder.glob("cells/01_data/*/cell.json"):
        record.write_text(
            record.read_text().replace('"phantoms": {"rsna": {"n": 3}}', '"phantoms": {"rsna": {"n": 4}}')
        )
    table = changes(runs["first"], open_run(str(folder)))
    assert set(table["n_common"]) == {0} and table["note"].str.contains("other phantoms").all()
    assert set(table["verdict"]) == {WITHIN_NOISE}  # equal scores of other patients: nothing shows that they moved


def test_another_data_set_is_compared_by_its_role(runs, tmp_path):
    folder = write_run(tmp_path / "chest", [xrays(9, name="kermany")], key="dddddddddd")
    table = changes(runs["first"], open_run(str(folder)))
    assert set(zip(table["set_a"], table["set_b"], strict=True)) == {("rsna", "kermany")}
    assert set(table["n_common"]) == {0} and table["note"].str.startswith("rsna against kermany").all()


def test_the_same_networks_are_paired_and_further_seeds_left_out(tmp_path):
    few = xrays(0)
    noise = np.random.default_rng(1).normal(0, 0.01, len(few)).astype(np.float32)
    more = pd.concat([few.assign(score=(few["score"] + noise).clip(0, 1)), xrays(5).query("seed == 0").assign(seed=3)])
    a = open_run(str(write_run(tmp_path / "few", [few])))
    b = open_run(str(write_run(tmp_path / "more", [more])))  # the same key: the same trainings
    table = changes(a, b)
    assert table["same_networks"].all() and set(table["seeds_b"]) == {3}
    assert table["note"].str.contains("seeds 0, 1, 2, whose networks are the same").all()


def test_only_what_both_runs_have_is_averaged_and_said(runs, tmp_path):
    part = xrays(3).query("corruption != 'contrast' and severity < 4")
    folder = write_run(tmp_path / "part", [part[part["init"] != "scratch_aa"]], key="dddddddddd")
    table = changes(runs["first"], open_run(str(folder)))
    assert set(table["arm"]) == {"scratch", "jigsaw"} and set(table["condition"]) == {"clean", "gaussian_noise"}
    averaged = table[table["scope"] == "corruption"]
    assert averaged["note"].str.contains("severities 1, 2, 3 only").all()


def test_one_seed_cannot_tell_what_the_method_does(tmp_path):
    runs = [
        open_run(str(write_run(tmp_path / name, [xrays(k).query("seed == 0")], key=name * 10)))
        for k, name in enumerate("ab")
    ]
    table = changes(*runs)
    assert set(table["verdict"]) == {CANNOT_BE_TOLD} and table["note"].str.contains("one seed in both runs").all()
    assert table["p"].notna().all() and table["method_p"].isna().all()


def test_one_class_leaves_a_row_with_the_reason(runs, tmp_path):
    healthy = xrays(3).query("label == 0")
    table = changes(runs["first"], open_run(str(write_run(tmp_path / "healthy", [healthy], key="dddddddddd"))))
    rows = table[table["metric"] == "auroc"]
    assert len(rows) and set(rows["verdict"]) == {CANNOT_BE_TOLD} and rows["value_b"].isna().all()
    assert rows["note"].str.contains("every image has label 0").all()


def test_nothing_in_common_says_what_each_has(runs, tmp_path):
    folder = write_run(tmp_path / "xrays", [xrays(0)], key="dddddddddd")
    scan_run = open_run(str(write_run(tmp_path / "scans", [scans(0)], key="eeeeeeeeee")))
    with pytest.raises(
        RunComparisonError, match=r"no score in common: A has tasks pneumonia on rsna.*B has tasks organs"
    ):
        changes(open_run(str(folder)), scan_run)


def test_set_up_shows_the_parameter_that_differs(runs):
    table = set_up(runs["first"], runs["better"]).set_index("what")
    row = table.loc["finetune.organs.epochs"]
    assert (row["a"], row["b"], bool(row["differs"])) == ("2", "9", True)
    assert (table.loc["commit", "a"], table.loc["commit", "b"]) == ("0123456789ab", "fedcba987654")
    same = table[~table["differs"]]
    assert "seeds" in same.index and "data.pneumonia.image_size" in same.index
    assert table.loc["pneumonia, rsna, test", "a"].startswith("40 images or scans of 40 patients")
    assert names_of(runs["first"], runs["better"]) == ("first", "better")


def test_verdicts_that_flip_are_shown_with_both_numbers(tmp_path):
    without, gained = ([scans(k, gain=gain)] for k, gain in ((1, 0.0), (2, 0.2)))
    a = open_run(str(write_run(tmp_path / "a", without)))
    b = open_run(str(write_run(tmp_path / "b", gained, key="bbbbbbbbbb")))
    table = side_by_side.arm_verdicts(a, b).set_index(["metric", "scope", "structure", "arm"])
    row = table.loc[("dice", "all corruptions", "", "jigsaw")]
    assert (row["verdict_a"], row["verdict_b"], bool(row["flipped"])) == ("no difference shown", "better", True)
    assert not table.loc[("dice", "all corruptions", "", "scratch_aa"), "flipped"]
    effect = changes(a, b).query("part == 'arms' and arm == 'jigsaw' and scope == 'clean'").iloc[0]
    assert effect["verdict"] == CHANGED and effect["difference"] == pytest.approx(0.2, abs=0.05)
    claims = side_by_side.claim_verdicts(a, b)
    assert claims["flipped"].equals(claims["verdict_a"] != claims["verdict_b"])


def test_severities_and_errors_stand_side_by_side(runs):
    levels = side_by_side.severities(runs["first"], runs["again"])
    assert len(levels) == 20 and levels["differs"].all()
    assert levels["ratio"].to_numpy() == pytest.approx(2)
    rows = compare(runs["first"], runs["again"]).changes
    assert (rows["note"].str.contains("other strengths") == (rows["condition"] != "clean")).all()
    errors = side_by_side.corruption_errors(runs["first"], runs["again"])
    assert errors["ce_a"].to_numpy() == pytest.approx(1.05) and errors["relative_ce_a"].isna().all()


def test_what_an_older_version_did_not_write_is_named_and_the_rest_compared(runs):
    found = compare(runs["first"], runs["better"])
    assert set(found.left_out) == {"metrics"}
    assert "has no table condition_scores in 07_stats/all-aaaaaaaaaa" in found.left_out["metrics"]
    assert "make study PROFILE=first" in found.left_out["metrics"]
    page = page_html(found)
    assert "Not compared (metrics)" in page and "<code>make study PROFILE=first</code>" in page


def test_a_column_that_is_missing_is_named(runs, tmp_path):
    folder = write_run(tmp_path / "old", [xrays(0)], key="dddddddddd")
    path = next(folder.glob("cells/07_stats/*")) / "comparisons.parquet"
    store.write_table(path, store.read_table(path).drop(columns="n_seeds"))
    with pytest.raises(RunComparisonError, match=r"comparisons in 07_stats/all-dddddddddd .* lacks n_seeds"):
        side_by_side.arm_verdicts(runs["first"], open_run(str(folder)))
    predictions = next(folder.glob("cells/04_clean_eval/*")) / "predictions.parquet"
    store.write_table(predictions, store.read_table(predictions).drop(columns="label"))
    with pytest.raises(RunComparisonError, match=r"lacks label.*make study PROFILE=old"):
        changes(runs["first"], open_run(str(folder)))
