"""What two runs conclude, side by side: comparisons of arms, claims, severities, corruption errors, further metrics.

Enters: two stored runs. Leaves: tidy tables with a column for each run. A table that a run does not have, or that
another version wrote with other columns, raises `RunComparisonError`, which says so.
"""

from typing import Any

import numpy as np
import pandas as pd

from ssrobust_lib.evaluation.corruption_error import COLUMNS as ERROR_COLUMNS
from ssrobust_lib.evaluation.metrics import LOWER_IS_BETTER
from ssrobust_lib.run_comparison.matched_scores import ALL_CORRUPTIONS
from ssrobust_lib.run_comparison.stored_run import RunComparisonError, StoredRun
from ssrobust_lib.statistics.claim_table import claim_table
from ssrobust_lib.statistics.comparisons import COLUMNS as COMPARISON_COLUMNS
from ssrobust_lib.statistics.paper import paper_claims

BETTER, WORSE, NO_DIFFERENCE, NOT_TESTED = "better", "worse", "no difference shown", "not tested"
ALPHA = 0.05
_PLACE = ["task", "role", "metric", "structure", "scope", "condition", "severity", "arm", "reference"]
_TESTED = ["set", *_PLACE, "n", "n_seeds", "difference"]
_P_COLUMNS = ("method_p_holm", "p_holm")
_STRENGTHS = ["task", "corruption", "severity", "strength", "unit", "score", "reached_floor", "note"]


def arm_verdicts(a: StoredRun, b: StoredRun) -> pd.DataFrame:
    """What each run's own test says of every comparison between arms that both made.

    Returns
    -------
    DataFrame with the place of the comparison, difference_a, difference_b, p_a, p_b (Holm-corrected), verdict_a,
    verdict_b ('better', 'worse', 'no difference shown' or 'not tested': the arm against its reference), bool flipped,
    and `p_column`, the p-value that both runs have: the method's where they do, otherwise that of these networks. A
    flip alone is no change: one p-value just below 0.05 and one just above it differ by little.
    """
    tables = [run.table(run.statistics, "comparisons", _TESTED) for run in (a, b)]
    shared = [name for name in _P_COLUMNS if all(name in table for table in tables)]
    if not shared:
        raise RunComparisonError(f"the comparisons of the runs share none of the columns {', '.join(_P_COLUMNS)}")
    p_column = shared[0]
    parts = [
        table[[*_PLACE, "difference", p_column]]
        .rename(columns={p_column: "p"})
        .assign(verdict=_verdicts(table, p_column), away=away)
        for table, away in zip(tables, _other_centres(*tables), strict=True)
    ]
    both = parts[0].merge(parts[1], on=[*_PLACE, "away"], suffixes=("_a", "_b"), validate="one_to_one")
    tested = (both[["verdict_a", "verdict_b"]] != NOT_TESTED).all(axis=1)
    return both.assign(flipped=tested & (both["verdict_a"] != both["verdict_b"]), p_column=p_column)


def _other_centres(of_a: pd.DataFrame, of_b: pd.DataFrame) -> list[pd.Series]:
    """Name of the other centre's set of each row, empty at home; of a task with one such set in both runs, 'only one'.

    Sets of the same role are compared whatever they are called, as long as it is clear which belong together.
    """
    outside = [table[table["role"] == "external"] for table in (of_a, of_b)]
    only_one = {
        task
        for task in set(outside[0]["task"]) & set(outside[1]["task"])
        if all(rows.loc[rows["task"] == task, "set"].nunique() == 1 for rows in outside)
    }
    return [
        table["set"].where(~table["task"].isin(only_one), "only one").where(table["role"] == "external", "")
        for table in (of_a, of_b)
    ]


def _verdicts(table: pd.DataFrame, p_column: str) -> np.ndarray:
    metric = table["metric"].str.removesuffix(" gap")
    gain = table["difference"] * np.where(metric.isin(LOWER_IS_BETTER), -1.0, 1.0)
    significant = table[p_column] < ALPHA
    choices = [table[p_column].isna(), significant & (gain > 0), significant & (gain < 0)]
    return np.select(choices, [NOT_TESTED, BETTER, WORSE], NO_DIFFERENCE)


def claim_verdicts(a: StoredRun, b: StoredRun) -> pd.DataFrame:
    """The verdict on each claim of the paper in either run, by the rules of this version.

    Floors of severities and merged sides are not looked at: a claim that these keep from being tested in a run's own
    report is judged here by the comparisons alone, alike in both runs.

    Returns
    -------
    DataFrame with claim, arm, quote, verdict_a, verdict_b, this_run_a, this_run_b (the numbers behind it) and flipped.
    """
    parts = []
    for run in (a, b):
        table = run.table(run.statistics, "comparisons", list(COMPARISON_COLUMNS))
        margins = run.statistics.settings["statistics"]["margins"]
        parts.append(claim_table(table, paper_claims(), margins)[["claim", "arm", "quote", "verdict", "this_run"]])
    both = parts[0].merge(parts[1].drop(columns="quote"), on=["claim", "arm"], suffixes=("_a", "_b"))
    return both.assign(flipped=both["verdict_a"] != both["verdict_b"])


def severities(a: StoredRun, b: StoredRun) -> pd.DataFrame:
    """Strength of every severity in either run, and the score that it left.

    Returns
    -------
    DataFrame with task, corruption, severity, strength_a, strength_b, unit_a, unit_b, score_a, score_b, ratio (B over
    A) and bool `differs`; of the tasks and corruptions that both have.
    """
    parts = []
    for run in (a, b):
        tables = [run.table(cell, "severities", _STRENGTHS) for cell in run.of_step("05_calibration")]
        if not tables:
            raise RunComparisonError(f"the run in {run.folder} has no calibration. {run.remedy}")
        parts.append(pd.concat(tables, ignore_index=True)[_STRENGTHS[:6]])
    both = parts[0].merge(parts[1], on=_STRENGTHS[:3], suffixes=("_a", "_b"), validate="one_to_one")
    if both.empty:
        raise RunComparisonError("the runs have no corruption of the same task in common")
    differs = (both["strength_a"] != both["strength_b"]) | (both["unit_a"] != both["unit_b"])
    ratio = (both["strength_b"] / both["strength_a"]).where(both["unit_a"] == both["unit_b"])
    return both.assign(ratio=ratio, differs=differs)


def corruption_errors(a: StoredRun, b: StoredRun) -> pd.DataFrame:
    """Mean corruption error of every arm against its run's own normal training, in either run.

    Returns
    -------
    DataFrame with task, arm, ce_a, ce_b, relative_ce_a, relative_ce_b (means over seeds, NaN where undefined), their
    standard deviations over seeds (`ce_std_a`, ...; NaN with one seed), seeds_a, seeds_b, and note.
    """
    parts = []
    for run in (a, b):
        table = run.table(run.statistics, "corruption_errors", list(ERROR_COLUMNS))
        rows = table[table["corruption"] == ALL_CORRUPTIONS]
        groups = rows.groupby(["task", "init"], sort=False)
        part = groups.agg(
            ce=("ce", "mean"), ce_std=("ce", "std"), relative_ce=("relative_ce", "mean"),
            relative_ce_std=("relative_ce", "std"), seeds=("seed", "nunique"), n=("n", "first"), note=("note", "first"),
        )  # fmt: skip
        undefined = groups[["ce", "relative_ce"]].agg(lambda values: values.isna().any())
        part["ce"], part["relative_ce"] = (part[c].mask(undefined[c]) for c in ("ce", "relative_ce"))
        parts.append(part.reset_index().rename(columns={"init": "arm"}))
    both = parts[0].merge(parts[1], on=["task", "arm"], suffixes=("_a", "_b"), validate="one_to_one")
    if both.empty:
        raise RunComparisonError("no arm of the same task has a corruption error in both runs")
    return both


def further_metrics(a: StoredRun, b: StoredRun) -> pd.DataFrame:
    """Metrics that have no value per patient, or none in the tests: means over seeds in either run, without a verdict.

    Returns
    -------
    DataFrame with task, set_a, set_b, metric, condition ('clean', or 'all corruptions', mean over severities), arm,
    value_a, value_b, std_a, std_b (over seeds; NaN with one), difference.
    """
    parts = []
    for run in (a, b):
        needed = ["task", "set", "metric", "structure", "corruption", "severity", "init", "seed", "value"]
        table = run.table(run.statistics, "condition_scores", needed)
        own = table["set"] == table["task"].map(run.home_sets)
        rows = table[own & (table["structure"] == "")].rename(columns={"init": "arm"})
        rows = rows.assign(condition=np.where(rows["severity"] == 0, "clean", ALL_CORRUPTIONS))
        of_seed = rows.groupby(["task", "set", "metric", "condition", "arm", "seed"], sort=False)["value"]
        means = of_seed.agg(lambda values: values.mean(skipna=False)).reset_index()
        groups = means.groupby(["task", "set", "metric", "condition", "arm"], sort=False)["value"]
        parts.append(groups.agg(value=lambda values: values.mean(skipna=False), std="std").reset_index())
    both = parts[0].merge(parts[1], on=["task", "metric", "condition", "arm"], suffixes=("_a", "_b"))
    return both.assign(difference=both["value_b"] - both["value_a"])


def curves(a: StoredRun, b: StoredRun) -> pd.DataFrame:
    """Scores of every network at every severity on the tasks' own sets, both runs below each other.

    Returns
    -------
    DataFrame with run ('A' or 'B'), task, metric ('accuracy' or 'dice'), init, seed, corruption, severity (0 is clean)
    and score; of the arms and corruptions that both runs have.
    """
    needed = ["task", "role", "metric", "structure", "scope", "condition", "severity", "init", "seed", "value"]
    parts: list[Any] = []
    for name, run in (("A", a), ("B", b)):
        table = run.table(run.statistics, "seed_scores", needed)
        kept = (table["role"] == "home") & (table["structure"] == "") & table["scope"].isin(["clean", "severity"])
        rows = table[kept & table["metric"].isin(["accuracy", "dice"])]
        rows = rows.rename(columns={"condition": "corruption", "value": "score"}).assign(run=name)
        parts.append(rows[["run", "task", "metric", "init", "seed", "corruption", "severity", "score"]])
    for column in ("task", "init", "corruption"):
        both = set(parts[0][column]) & set(parts[1][column])
        parts = [part[part[column].isin(both)] for part in parts]
    return pd.concat(parts, ignore_index=True).astype({"severity": int})
