"""The paper's Tables 1, 2 and 4 and the numbers behind Figs. 3 and 4, from this run, with the paper's values beside.

Enters: prediction tables and, for the paper's columns, `statistics.paper.paper_results()`. Leaves: tidy frames.
"""

from collections.abc import Collection, Iterable, Mapping

import numpy as np
import pandas as pd

from ssrobust_lib.evaluation.unit_scores import ALTERNATIVE_STRUCTURES, CLEAN, UnitScores, home_sets, unit_scores

#: Columns of `seed_scores`: `scope` is 'clean', 'corruption' (mean over severities) or 'severity'.
SEED_COLUMNS = (
    "task", "set", "role", "metric", "structure", "scope", "condition", "severity", "init", "seed",
    "value", "n", "unit",
)  # fmt: skip
_GROUP = ["task", "set", "role", "metric", "structure", "scope", "condition", "init"]


def _rows_of(scores: UnitScores, role: str) -> list[tuple]:
    rows = []
    place = (scores.task, scores.set, role, scores.metric, scores.structure)
    severities: dict[str, list[int]] = {}
    for position, (corruption, level_number) in enumerate(scores.conditions):
        if level_number:
            severities.setdefault(corruption, []).append(position)
    chosen: list[tuple[str, str, int | None, list[int]]]
    chosen = [("clean", *condition, [k]) for k, condition in enumerate(scores.conditions) if condition == CLEAN]
    chosen += [("severity", *condition, [k]) for k, condition in enumerate(scores.conditions) if condition != CLEAN]
    chosen += [("corruption", corruption, None, positions) for corruption, positions in severities.items()]
    for scope, condition, severity, positions in chosen:
        level = scores.values[:, :, positions].mean(axis=2)  # (inits, seeds, units)
        for i, s in np.ndindex(level.shape[0], level.shape[1]):
            values = level[i, s][~np.isnan(level[i, s])]
            if values.size:
                at = (scope, condition, severity, scores.inits[i], scores.seeds[s])
                rows.append((*place, *at, float(values.mean()), values.size, scores.unit))
    return rows


def seed_scores(
    predictions: Iterable[pd.DataFrame],
    *,
    home: Mapping[str, str] | None = None,
    alternatives: Collection[str] = ALTERNATIVE_STRUCTURES,
) -> pd.DataFrame:
    """Mean score of every network: one row per task, set, metric, structure, condition, severity, init and seed.

    Returns
    -------
    DataFrame with `SEED_COLUMNS`; severity is NA in rows averaged over severities (Figs. 3 and 4), n counts units.
    """
    scores = unit_scores(predictions, alternatives)
    homes = home_sets(scores, dict(home) if home else None)
    rows = [row for s in scores for row in _rows_of(s, "home" if homes[s.task] == s.set else "external")]
    table = pd.DataFrame(rows, columns=list(SEED_COLUMNS))
    return table.astype({"severity": "Int8"})


def seed_spread(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean and range over seeds of the rows of `seed_scores`: columns value, seed_min, seed_max, seed_std, n_seeds, n.

    `seed_std` has n - 1 in the denominator and is NaN with a single seed.
    """
    keys = [*_GROUP, "severity"]
    groups = scores.groupby(keys, sort=False, dropna=False)
    spread = groups["value"].agg(value="mean", seed_min="min", seed_max="max", seed_std="std", n_seeds="count")
    return spread.join(groups[["n", "unit"]].first()).reset_index()


def _unit_std(scores: Iterable[UnitScores]) -> pd.DataFrame:
    """Standard deviation over units (n - 1) of the seed-averaged clean scores, as Tables 2 and 4 print it."""
    rows = []
    for score in scores:
        if CLEAN not in score.conditions or score.metric == "auroc":
            continue
        values = score.values[:, :, score.conditions.index(CLEAN)]  # (inits, seeds, units)
        for k, init in enumerate(score.inits):
            there = ~np.isnan(values[k]).all(axis=1)
            per_unit = values[k][there].mean(axis=0) if there.any() else np.array([])
            per_unit = per_unit[~np.isnan(per_unit)]
            std = float(per_unit.std(ddof=1)) if per_unit.size > 1 else np.nan
            rows.append((score.task, score.set, score.metric, score.structure, init, std))
    return pd.DataFrame(rows, columns=["task", "set", "metric", "structure", "init", "std"])


def _printed_table(
    predictions: Iterable[pd.DataFrame],
    source: str,
    role: str,
    metrics: Collection[str],
    paper: pd.DataFrame | None,
    home: Mapping[str, str] | None,
) -> pd.DataFrame:
    tables = list(predictions)
    spread = seed_spread(seed_scores(tables, home=home))
    chosen = spread[(spread["scope"] == "clean") & (spread["role"] == role) & spread["metric"].isin(list(metrics))]
    if chosen.empty:
        what = "own" if role == "home" else "another centre's"
        raise ValueError(
            f"{source}: the predictions hold no {' or '.join(metrics)} on clean images of the task's {what} set; "
            "evaluate it first"
        )
    table = chosen.merge(_unit_std(unit_scores(tables)), how="left", on=["task", "set", "metric", "structure", "init"])
    table = table.assign(source=source, paper_value=np.nan, paper_std=np.nan)
    if paper is not None:
        printed = paper[paper["source"] == source].set_index(["metric", "arm"])
        for k in table.index[table["structure"] == ""]:
            key = (table.at[k, "metric"], table.at[k, "init"])
            if key in printed.index:
                table.loc[k, ["paper_value", "paper_std"]] = printed.loc[key, ["value", "std"]].to_numpy(np.float64)
    columns = [
        "source",
        "task",
        "set",
        "metric",
        "structure",
        "init",
        "value",
        "std",
        "seed_min",
        "seed_max",
        "n_seeds",
    ]
    return table[[*columns, "n", "unit", "paper_value", "paper_std"]].reset_index(drop=True)


def table1(
    predictions: Iterable[pd.DataFrame], paper: pd.DataFrame | None = None, *, home: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Accuracy and AUROC on the clean test set, one row per metric and arm.

    Columns: value (mean over patients and seeds), std (over patients; NaN for AUROC), seed_min and seed_max, n_seeds,
    n, unit, and the paper's value and std where it prints them.

    Raises
    ------
    ValueError : the predictions hold no classification on the task's own set.
    """
    return _printed_table(predictions, "Table 1", "home", ("accuracy", "auroc"), paper, home)


def table2(
    predictions: Iterable[pd.DataFrame], paper: pd.DataFrame | None = None, *, home: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Mean Dice on clean scans, one row per arm; `std` is over scans. Columns and errors as in `table1`."""
    table = _printed_table(predictions, "Table 2", "home", ("dice",), paper, home)
    return table[table["structure"] == ""].reset_index(drop=True)


def table4(
    predictions: Iterable[pd.DataFrame], paper: pd.DataFrame | None = None, *, home: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Dice at another centre, one row per set, structure ('' for all) and arm. Columns and errors as in `table1`."""
    return _printed_table(predictions, "Table 4", "external", ("dice",), paper, home)


def per_structure(predictions: Iterable[pd.DataFrame], *, home: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Dice of each structure, clean and averaged over each corruption's severities, with the range over seeds."""
    spread = seed_spread(seed_scores(predictions, home=home))
    chosen = (spread["metric"] == "dice") & (spread["structure"] != "") & (spread["scope"] != "severity")
    return spread[chosen].reset_index(drop=True)
