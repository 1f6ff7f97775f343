"""Predictions to the comparisons table: every arm against normal training, for two estimands.

Enters: prediction tables of any number of cells. Leaves: one row per comparison (`COLUMNS`), and a long table of
further tests. Implements the comparisons behind Tables 1, 2 and 4 and Figs. 3 and 4 of the paper (sections 3.2 to 3.4).

What is compared is in `pairing`. On another centre's set a gap compares two groups of units: the paired differences
there less those at home.

Two estimands. *These networks* on other patients: `ci_low` to `note`; unit scores are averaged over the seeds that both
arms have, then tested by unit; the paper's question. *The method* on other patients, with other seeds: `method_...`,
`equivalence_p`, `detectable`; seeds and units crossed (`crossed`); what readers take from the paper, and the primary
one here. A test of the first kind answers the second question wrongly: how often it calls two equal methods different
is simulated (`make bench ONLY=statistics`) and shown by the A/A arm (normal training again, other initial weights).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from ssrobust_lib.config import AA_ARM, REFERENCE_ARM
from ssrobust_lib.evaluation.unit_scores import ALTERNATIVE_STRUCTURES, home_sets, unit_scores
from ssrobust_lib.registry import UnknownNameError, unknown_name
from ssrobust_lib.seeds import rng
from ssrobust_lib.statistics.auroc import delong
from ssrobust_lib.statistics.bootstrap import percentile_interval, resample_counts
from ssrobust_lib.statistics.claims import margin_of
from ssrobust_lib.statistics.crossed import (
    Block,
    CrossedResult,
    blocks_of,
    crossed_test,
    detectable_difference,
    equivalence_p,
)
from ssrobust_lib.statistics.families import DEFAULT_FAMILIES, Families, correct_families
from ssrobust_lib.statistics.further_tests import FURTHER_COLUMNS, further_tests
from ssrobust_lib.statistics.paired_tests import FloatArray, TestResult, rank_sum, signed_rank
from ssrobust_lib.statistics.pairing import ALL_CORRUPTIONS, Pair, pairs_of

#: Columns of the comparisons table: where a row belongs, these networks, the method.
COLUMNS = (
    "comparison", "family", "task", "set", "metric", "condition", "arm", "reference", "n", "n_seeds", "unit",
    "mean_arm", "mean_reference", "difference", "role", "structure", "scope", "severity",
    "ci_low", "ci_high", "test", "statistic", "p", "p_holm", "p_bh", "note",
    "method_ci_low", "method_ci_high", "method_test", "method_statistic", "method_df", "method_p", "method_p_holm",
    "method_p_bh", "method_note", "equivalence_p", "detectable",
)  # fmt: skip
__all__ = ["ALL_CORRUPTIONS", "COLUMNS", "Comparisons", "compare_all", "compare_and_test"]
_NUMBERS = ("mean_arm", "mean_reference", "difference", "ci_low", "ci_high", "statistic", "p", "p_holm", "p_bh")
_METHOD_NUMBERS = ("method_ci_low", "method_ci_high", "method_statistic", "method_df", "method_p", "method_p_holm")
_MORE_NUMBERS = ("method_p_bh", "equivalence_p", "detectable")
_CHUNK_CELLS = 8_000_000  # resampling counts held at a time: 64 MB


class Comparisons(NamedTuple):
    """The comparisons table (`COLUMNS`) and further tests of the same rows (`further_tests.FURTHER_COLUMNS`)."""

    table: pd.DataFrame
    further: pd.DataFrame


def _replicates(pairs: Sequence[Pair], seed: int, n_bootstrap: int) -> list[FloatArray | None]:
    """Bootstrap means of each pair's differences by seed, (n_bootstrap, n_seeds) each; None with fewer than 2 units.

    Comparisons on the same units share their resamples, so one matrix product serves all of them.
    """
    groups: dict[tuple, list[int]] = {}
    for k, pair in enumerate(pairs):
        if pair.units.size >= 2 and pair.seeds:
            key = (pair.scores.task, pair.scores.set, pair.scores.unit, pair.strata is not None, pair.units.tobytes())
            groups.setdefault(key, []).append(k)
    results: list[FloatArray | None] = [None] * len(pairs)
    for (task, name, unit, stratified, _), members in groups.items():
        first = pairs[members[0]]
        n = first.units.size
        stacked = np.concatenate([pairs[k].differences for k in members])  # (all seeds of all members, units)
        generator = rng(seed, "bootstrap", task, name, unit, int(stratified))
        means, chunk = [], max(1, _CHUNK_CELLS // n)
        for start in range(0, n_bootstrap, chunk):
            counts = resample_counts(n, min(chunk, n_bootstrap - start), generator, first.strata)
            means.append(counts @ stacked.T / n)
        columns = np.concatenate(means)  # (n_bootstrap, all seeds of all members)
        ends = np.cumsum([len(pairs[k].seeds) for k in members])
        for k, part in zip(members, np.split(columns, ends[:-1], axis=1), strict=True):
            results[k] = part
    return results


def _placement_differences(pair: Pair) -> FloatArray:
    """Undo the pseudo-values' scale: per-patient differences of placements, whose class means are the difference."""
    differences = pair.differences.mean(axis=0)
    strata = pair.strata if pair.strata is not None else np.zeros(pair.units.size)
    shares = np.array([np.mean(strata == stratum) for stratum in strata])
    return differences.mean() + shares * (differences - differences.mean())


def _test(pair: Pair) -> TestResult:
    """The test of these networks."""
    if pair.units.size == 0:
        return TestResult("", 0, None, None, "" if pair.note else "no unit has a score in both arms")
    if pair.metric == "auroc" and pair.strata is not None:
        return delong(pair.differences.mean(axis=0), pair.strata)
    if pair.metric == "auroc placements":
        return signed_rank(_placement_differences(pair))
    return signed_rank(pair.differences.mean(axis=0))


def _method_of(pair: Pair, level: float) -> CrossedResult:
    """The test of the method; a result without numbers where there is none."""
    if pair.units.size == 0 or not pair.seeds:
        note = "no unit has a score in both arms"
        return CrossedResult("", len(pair.seeds), None, None, None, None, None, None, None, note)
    if pair.metric == "auroc placements":
        note = "placements of one image set depend on each other: see the AUROC's row"
        return CrossedResult("", len(pair.seeds), None, None, None, None, None, None, None, note)
    return crossed_test(blocks_of(pair.differences, pair.strata), level=level)


def _interval(replicates: FloatArray | None, level: float) -> tuple[float, float]:
    return (np.nan, np.nan) if replicates is None else percentile_interval(replicates.mean(axis=1), level)


def _method_columns(method: CrossedResult, metric: str, role: str, margins: Mapping[str, float]) -> dict:
    """The columns of the method, with equivalence and detectable difference; the note says why one is empty."""
    notes, equivalence, detectable = [method.note] if method.note else [], None, None
    if method.estimate is not None and method.standard_error is not None and method.df is not None:
        detectable = detectable_difference(method.standard_error, method.df)
        margin = _margin(metric, role, margins)
        if margin is None:
            notes.append(f"no equivalence test: the profile has no margin for {metric}")
        else:
            equivalence = equivalence_p(method.estimate, method.standard_error, method.df, margin)
    return {
        "method_ci_low": method.low, "method_ci_high": method.high, "method_test": method.test if method.p else "",
        "method_statistic": method.statistic, "method_df": method.df, "method_p": method.p,
        "method_note": "; ".join(notes), "equivalence_p": equivalence, "detectable": detectable,
    }  # fmt: skip


def _margin(metric: str, role: str, margins: Mapping[str, float]) -> float | None:
    try:
        return margin_of(metric, margins, role)
    except UnknownNameError:
        return None


def _row(pair: Pair, test: TestResult, bounds: tuple[float, float], method: dict, **changed: object) -> dict:
    scores, n = pair.scores, pair.units.size
    note = "; ".join(text for text in (pair.note, test.note) if text)
    return {
        "comparison": pair.name, "family": "", "task": scores.task, "set": scores.set, "metric": pair.metric,
        "condition": pair.condition, "arm": pair.arm, "reference": pair.reference, "n": n, "n_seeds": len(pair.seeds),
        "unit": scores.unit,
        "mean_arm": float(pair.arm_values.mean()) if n else np.nan,
        "mean_reference": float(pair.reference_values.mean()) if n else np.nan,
        "difference": float(pair.differences.mean()) if n else np.nan,
        "role": pair.role, "structure": scores.structure, "scope": pair.scope, "severity": pair.severity,
        "ci_low": bounds[0], "ci_high": bounds[1], "test": test.test, "statistic": test.statistic, "p": test.p,
        "note": note,
    } | method | changed  # fmt: skip


def _external_gap_rows(
    pairs: Sequence[Pair], replicates: Sequence[FloatArray | None], level: float, margins: Mapping[str, float]
) -> list[dict]:
    """Gap of the clean comparison on another centre's set over the one at home; the units are two groups."""
    clean = {
        (p.scores.task, p.scores.set, p.metric, p.arm): k
        for k, p in enumerate(pairs)
        if p.scope == "clean" and p.scores.structure == "" and p.metric in ("accuracy", "dice")
    }
    rows = []
    for (task, _, metric, arm), k in clean.items():
        away = pairs[k]
        homes = [j for (t, _, m, a), j in clean.items() if (t, m, a) == (task, metric, arm) and pairs[j].role == "home"]
        if away.role != "external" or not homes:
            continue
        at_home = pairs[homes[0]]
        seeds = [s for s in away.seeds if s in at_home.seeds]
        here, there = replicates[homes[0]], replicates[k]
        if not seeds or here is None or there is None:
            continue
        in_away, in_home = [away.seeds.index(s) for s in seeds], [at_home.seeds.index(s) for s in seeds]
        # resamples of the two sets have streams of their own, so their difference is a bootstrap of two groups
        bounds = _interval(there[:, in_away] - here[:, in_home], level)
        away_values, home_values = away.differences[in_away], at_home.differences[in_home]
        test = rank_sum(away_values.mean(axis=0), home_values.mean(axis=0))
        method = crossed_test([Block(1.0, away_values), Block(-1.0, home_values)], level=level)
        mean_arm = float(away.arm_values[in_away].mean() - at_home.arm_values[in_home].mean())
        mean_reference = float(away.reference_values[in_away].mean() - at_home.reference_values[in_home].mean())
        gap = replace(away, metric=f"{metric} gap", seeds=tuple(seeds))
        columns = _method_columns(method, gap.metric, gap.role, margins)
        row = _row(
            gap, test, bounds, columns, n=test.n, mean_arm=mean_arm, mean_reference=mean_reference,
            difference=mean_arm - mean_reference,
        )  # fmt: skip
        note = f"{away.units.size} units of {away.scores.set} against {at_home.units.size} of {at_home.scores.set}"
        row["note"] = f"{row['note']}; {note}" if row["note"] else note
        rows.append(row)
    return rows


def compare_and_test(
    predictions: Iterable[pd.DataFrame],
    *,
    arms: Sequence[str],
    reference: str = REFERENCE_ARM,
    seed: int,
    n_bootstrap: int = 2000,
    families: Families = DEFAULT_FAMILIES,
    home: Mapping[str, str] | None = None,
    aa_arms: Collection[str] = (AA_ARM,),
    level: float = 0.95,
    alternatives: Collection[str] = ALTERNATIVE_STRUCTURES,
    margins: Mapping[str, float] | None = None,
) -> Comparisons:
    """Compare every arm with the reference on every set, metric and condition that the predictions hold.

    Parameters
    ----------
    predictions : tables in the study's prediction layouts, in any order and number.
    arms : initialisations to compare; the reference itself may be among them.
    seed : the study's seed; every resample derives from it.
    families : family -> selectors (see `ssrobust_lib.statistics.families`); corrections are within a family.
    home : task -> the set it was trained on; recognised by its corruptions where not given.
    aa_arms : arms that repeat the reference; their rows get families of their own.
    level : of the intervals.
    alternatives : structures that stay out of the mean over structures.
    margins : metric -> smallest difference that matters; without one there is no equivalence test.

    Returns
    -------
    Comparisons : the table with `COLUMNS`, sorted by task, role, set, metric, structure, scope, the same for any order
    of the input, and the further tests in the same order. A seed that one arm lacks is left out of that pair, and the
    note says so.

    Raises
    ------
    UnknownNameError : an arm, or the reference, occurs in no prediction.
    ValueError : repeated, incomplete or non-finite predictions; a home set that cannot be told.
    """
    scores = unit_scores(predictions, alternatives)
    known = sorted({name for score in scores for name in score.inits})
    for arm in (*arms, reference):
        if arm not in known:
            raise unknown_name("arm in the predictions", arm, known)
    compared = [arm for arm in dict.fromkeys(arms) if arm != reference]
    homes = home_sets(scores, dict(home) if home else None)
    pairs: list[Pair] = []
    for score in scores:
        role = "home" if homes[score.task] == score.set else "external"
        pairs += pairs_of(score, role, compared, reference)
    replicates = _replicates(pairs, seed, n_bootstrap)
    rows, further = [], []
    for pair, part in zip(pairs, replicates, strict=True):
        columns = _method_columns(_method_of(pair, level), pair.metric, pair.role, margins or {})
        rows.append(_row(pair, _test(pair), _interval(part, level), columns))
        further += further_tests(
            pair, part, seed=seed, level=level, margin=_margin(pair.metric, pair.role, margins or {})
        )
    rows += _external_gap_rows(pairs, replicates, level, margins or {})
    table = correct_families(_typed(pd.DataFrame(rows, columns=list(COLUMNS))), families, aa_arms)
    order = table.assign(away=table["role"] == "external")
    order = order.sort_values(["task", "away", "set", "metric", "structure", "scope", "comparison"], kind="stable")
    table = table.loc[order.index, list(COLUMNS)].reset_index(drop=True)
    place = {name: k for k, name in enumerate(table["comparison"])}
    long = pd.DataFrame(further, columns=list(FURTHER_COLUMNS))
    long = long.sort_values("comparison", key=lambda names: names.map(place), kind="stable").reset_index(drop=True)
    numbers = ["estimate", "low", "high", "statistic", "p"]
    return Comparisons(table, long.astype(dict.fromkeys(numbers, np.float64)))


def compare_all(predictions: Iterable[pd.DataFrame], **options) -> pd.DataFrame:  # type: ignore[no-untyped-def]
    """The comparisons table alone; options as for `compare_and_test`."""
    return compare_and_test(predictions, **options).table


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """Whole columns of one type, whatever rows there are."""
    return table.astype(dict.fromkeys((*_NUMBERS, *_METHOD_NUMBERS, *_MORE_NUMBERS), np.float64) | {"severity": "Int8"})
