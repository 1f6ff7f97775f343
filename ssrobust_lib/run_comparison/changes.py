"""What changed in the scores from run A to run B, by how much, and whether seeds and patients alone could do it.

Enters: two stored runs with their predictions. Leaves: one row per score that both have (`COLUMNS`), in three parts:

- 'scores': every arm's accuracy, AUROC, Dice and share of missed structures, on clean images, under each corruption
  (mean over severities) and over all of them;
- 'details': the same at each severity, and Dice of each structure;
- 'arms': how far an arm is from normal training, which is what the paper's comparisons are about.

A row's verdict is for *the method* (patients and seeds random; `statistics.two_runs`): 'changed' where the p-value,
corrected over the rows of its part and task (Benjamini & Hochberg 1995), is below 0.05; 'within noise' where it is not;
'the same' where all values agree bit for bit; 'cannot be told' where there is no test, with the reason in `note`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ssrobust_lib.config import REFERENCE_ARM
from ssrobust_lib.evaluation.unit_scores import UnitScores
from ssrobust_lib.run_comparison.matched_scores import Score, matched, places, same_networks, scores_of, why_apart
from ssrobust_lib.run_comparison.stored_run import RunComparisonError, StoredRun
from ssrobust_lib.statistics.scales import cut_interval, largest_difference
from ssrobust_lib.statistics.two_runs import Estimate, RunDifference, RunScores, run_difference

CHANGED, WITHIN_NOISE, THE_SAME, CANNOT_BE_TOLD = "changed", "within noise", "the same", "cannot be told"
VERDICTS = (CHANGED, WITHIN_NOISE, THE_SAME, CANNOT_BE_TOLD)
PARTS = ("scores", "details", "arms")
ALPHA = 0.05
COLUMNS = (
    "part", "task", "role", "set_a", "set_b", "metric", "structure", "scope", "condition", "severity", "arm",
    "reference", "value_a", "value_b", "difference", "ci_low", "ci_high", "p", "method_ci_low", "method_ci_high",
    "method_statistic", "method_df", "method_p", "method_p_bh", "detectable", "verdict", "n_a", "n_b", "n_common",
    "unit", "seeds_a", "seeds_b", "same_networks", "note",
)  # fmt: skip


def changes(a: StoredRun, b: StoredRun) -> pd.DataFrame:
    """Every score that both runs have, run B against run A.

    Returns
    -------
    DataFrame with `COLUMNS`. `ci_low`, `ci_high`, `p` are for these networks, names with `method_` for the method;
    `detectable` is the smallest difference that the method's test finds with 80 % power. `reference` is empty in rows
    of scores, and the arm that `value_a` and `value_b` are differences from in the part 'arms'.

    Raises
    ------
    RunComparisonError
        The runs have no score in common, or a table or column is missing.
    """
    of_a, of_b = scores_of(a), scores_of(b)
    same = same_networks(a, b)
    rows: list[dict[str, Any]] = []
    for first, second in matched(a, b, of_a, of_b):
        apart = why_apart(a, b, first.task, first.set, second.set)
        role = "home" if first.set == a.home_sets.get(first.task) else "external"
        rows += [{"role": role} | row for row in _rows(_Pairing(apart, same), first, second)]
    if not rows:
        raise RunComparisonError(
            f"the runs have no score in common: A has {a.contents}; B has {b.contents}. Expected a task, an arm and a "
            "metric that both have"
        )
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"severity": "Int8"})
    return _judge(table)


@dataclass(frozen=True)
class _Pairing:
    """What belongs together: `apart` says why units of equal names do not, `same` which networks are the same."""

    apart: str
    same: frozenset[tuple[str, str, int]]


def _rows(pairing: _Pairing, first: UnitScores, second: UnitScores) -> list[dict[str, Any]]:
    rows = []
    for (structure, scope, condition, severity), one, other, note in places(first, second):
        at = {"structure": structure, "scope": scope, "condition": condition, "severity": severity}
        with_arms = not structure and scope != "severity" and first.metric != "missed"
        for arm in first.inits:
            for reference in ("", REFERENCE_ARM) if with_arms and arm != REFERENCE_ARM else ("",):
                row = _row(pairing, one, other, arm, reference)
                if row:
                    part = "arms" if reference else "details" if structure or scope == "severity" else "scores"
                    row["note"] = "; ".join(text for text in (pairing.apart, note, row["note"]) if text)
                    rows.append({"part": part} | at | row)
    return rows


def _row(pairing: _Pairing, one: Score, other: Score, arm: str, reference: str) -> dict[str, Any]:
    """One row without its place; empty where a run has no such score."""
    arms = [arm, *([reference] if reference else [])]
    if any(name not in score.scores.inits for name in arms for score in (one, other)):
        return {}
    seeds = [_seeds(score, arms) for score in (one, other)]
    task, both = one.scores.task, [seed for seed in seeds[0] if seed in seeds[1]]
    shared = tuple(seed for seed in both if all((task, name, seed) in pairing.same for name in arms))
    notes = []
    if shared:
        left = [f"{name} has {len(of)}" for name, of in zip("AB", seeds, strict=True) if len(of) > len(shared)]
        if left:
            notes.append(f"seeds {', '.join(map(str, shared))}, whose networks are the same ({', '.join(left)})")
        seeds = [shared, shared]
    runs = []
    for name, score, of in (("A", one, seeds[0]), ("B", other, seeds[1])):
        values = score.of(arm, of) - (score.of(reference, of) if reference else 0.0)
        whole, some = (each(np.isfinite(values), axis=0) for each in (np.all, np.any))
        if not len(of) or not whole.any():
            why = score.scores.note or f"no {score.scores.unit} of {name} has a score"
            return _fields(one.scores, other.scores, arm, reference, None, bool(shared), [why])
        if lost := int(some.sum() - whole.sum()):
            notes.append(f"{lost} {score.scores.unit}s of {name} lack a seed and are left out")
        names = [unit if not pairing.apart else f"{name}: {unit}" for unit in score.scores.units]
        strata = score.scores.strata if score.scores.strata is not None else np.zeros(len(names), np.int64)
        units = tuple(unit for unit, kept in zip(names, whole, strict=True) if kept)
        runs.append(RunScores(values[:, whole], units, strata[whole]))
    return _fields(one.scores, other.scores, arm, reference, (runs[0], runs[1]), bool(shared), notes)


def _fields(
    first: UnitScores, second: UnitScores, arm: str, reference: str, runs: tuple[RunScores, RunScores] | None,
    same: bool, notes: list[str],
) -> dict[str, Any]:  # fmt: skip
    """A row; without runs one that says why there is none."""
    nothing = Estimate()
    found = RunDifference(np.nan, np.nan, np.nan, 0, False, nothing, nothing)
    if runs is not None:
        found = run_difference(*runs, same_networks=same)
    networks, method = found.networks, found.method
    if found.equal:  # nothing differs: there is nothing to test
        networks = method = nothing
    notes += [method.note] if method.note else []
    largest = largest_change(first.metric, reference)
    low, high = cut_interval(networks.low, networks.high, largest)
    method_low, method_high = cut_interval(method.low, method.high, largest)
    n_units = [len(run.units) for run in runs] if runs else [0, 0]
    n_seeds = [len(run.values) for run in runs] if runs else [0, 0]
    return {
        "task": first.task, "set_a": first.set, "set_b": second.set, "metric": first.metric, "arm": arm,
        "reference": reference, "value_a": found.mean_a, "value_b": found.mean_b, "difference": found.difference,
        "ci_low": low, "ci_high": high, "p": networks.p,
        "method_ci_low": method_low, "method_ci_high": method_high, "method_statistic": method.statistic,
        "method_df": method.df, "method_p": method.p, "method_p_bh": np.nan, "detectable": method.detectable,
        "verdict": THE_SAME if found.equal else "", "n_a": n_units[0], "n_b": n_units[1],
        "n_common": found.n_common, "unit": first.unit, "seeds_a": n_seeds[0], "seeds_b": n_seeds[1],
        "same_networks": same, "note": "; ".join(notes),
    }  # fmt: skip


def largest_change(metric: str, reference: str) -> float:
    """Largest change of a score between two runs, or, with a reference, of how far two arms are apart."""
    return largest_difference(f"{metric} gap" if reference else metric)


def _seeds(score: Score, arms: list[str]) -> tuple[int, ...]:
    """Seeds that every one of the arms has."""
    of_arms = [score.seeds_of(arm) for arm in arms]
    return tuple(seed for seed in of_arms[0] if all(seed in seeds for seeds in of_arms))


def _judge(table: pd.DataFrame) -> pd.DataFrame:
    """Fill `method_p_bh` and `verdict`, by part and task, and put the rows in order."""
    from scipy.stats import false_discovery_control

    corrected, verdict = table["method_p_bh"].copy(), table["verdict"].copy()
    for _, rows in table.groupby(["part", "task"]):
        tested = rows.index[rows["method_p"].notna()]
        if len(tested):
            corrected[tested] = false_discovery_control(table.loc[tested, "method_p"].to_numpy(np.float64))
    undecided = (verdict == "").to_numpy(bool)
    verdict[undecided & corrected.isna()] = CANNOT_BE_TOLD
    verdict[undecided & (corrected < ALPHA)] = CHANGED
    verdict[undecided & (corrected >= ALPHA)] = WITHIN_NOISE
    table = table.assign(method_p_bh=corrected, verdict=verdict)
    order = table.assign(rank=table["part"].map(PARTS.index), away=table["role"] == "external")
    order = order.sort_values(["rank", "task", "away", "metric", "structure", "scope"], kind="stable")
    return table.loc[order.index].reset_index(drop=True)
