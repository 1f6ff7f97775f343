"""Predictions to the comparisons table: every arm against normal training, for two estimands.

Enters: prediction tables of any number of cells. Leaves: one row per comparison (`COLUMNS`), and a long table of
further tests. Implements the comparisons behind Tables 1, 2 and 4 and Figs. 3 and 4 of the paper (sections 3.2 to 3.4).

What is compared is in `pairing`, the change from the home set at another centre in `home_gaps`: it compares two groups
of units, the paired differences there less those at home. Intervals end where a metric's scale does (`scales`).

Two estimands. *These networks* on other patients: `ci_low` to `note`; unit scores are averaged over the seeds that both
arms have, then tested by unit; the paper's question. *The method* on other patients, with other seeds: `method_...`,
`equivalence_p`, `detectable`; seeds and units crossed (`crossed`); what readers take from the paper, and the primary
one here. A test of the first kind answers the second question wrongly: how often it calls two equal methods different
is simulated (`make bench ONLY=statistics`) and shown by the A/A arm (normal training again, other initial weights).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from ssrobust_lib.config import AA_ARM, REFERENCE_ARM
from ssrobust_lib.evaluation.unit_scores import ALTERNATIVE_STRUCTURES, home_sets, unit_scores
from ssrobust_lib.registry import UnknownNameError, unknown_name
from ssrobust_lib.statistics.auroc import delong
from ssrobust_lib.statistics.bootstrap import percentile_interval
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
from ssrobust_lib.statistics.home_gaps import HomeGap, home_gaps
from ssrobust_lib.statistics.paired_tests import FloatArray, TestResult, rank_sum, signed_rank
from ssrobust_lib.statistics.pairing import ALL_CORRUPTIONS, Pair, pairs_of
from ssrobust_lib.statistics.replicates import pair_replicates
from ssrobust_lib.statistics.scales import cut_interval, largest_difference

#: Columns of the comparisons table: where a row belongs, these networks, the method.
COLUMNS = (
    "comparison", "family", "task", "set", "metric", "condition", "arm", "reference", "n", "n_seeds", "unit",
    "mean_arm", "mean_reference", "difference", "role", "structure", "scope", "severity",
    "ci_low", "ci_high", "test", "statistic", "p", "p_holm", "p_bh", "note",
    "method_ci_low", "method_ci_high", "method_test", "method_statistic", "method_df", "method_p", "method_p_holm",
    "method_p_bh", "method_note", "equivalence_p", "detectable", "equivalence_margin", "family_tests",
    "method_family_tests",
)  # fmt: skip
__all__ = ["ALL_CORRUPTIONS", "COLUMNS", "Comparisons", "compare_all", "compare_and_test"]
_NUMBERS = ("mean_arm", "mean_reference", "difference", "ci_low", "ci_high", "statistic", "p", "p_holm", "p_bh")
_METHOD_NUMBERS = ("method_ci_low", "method_ci_high", "method_statistic", "method_df", "method_p", "method_p_holm")
_MORE_NUMBERS = ("method_p_bh", "equivalence_p", "detectable", "equivalence_margin")


class Comparisons(NamedTuple):
    """The comparisons table (`COLUMNS`) and further tests of the same rows (`further_tests.FURTHER_COLUMNS`)."""

    table: pd.DataFrame
    further: pd.DataFrame


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


def _interval(replicates: FloatArray | None, level: float, metric: str) -> tuple[float | None, float | None]:
    if replicates is None:
        return np.nan, np.nan
    return cut_interval(*percentile_interval(replicates.mean(axis=1), level), largest_difference(metric))


def _method_columns(method: CrossedResult, metric: str, role: str, margins: Mapping[str, float]) -> dict:
    """The columns of the method, with equivalence and detectable difference; the note says why one is empty."""
    notes, equivalence, detectable = [method.note] if method.note else [], None, None
    margin = _margin(metric, role, margins)
    if method.estimate is not None and method.standard_error is not None and method.df is not None:
        detectable = detectable_difference(method.standard_error, method.df)
        if margin is None:
            notes.append(f"no equivalence test: the profile has no margin for {metric}")
        else:
            equivalence = equivalence_p(method.estimate, method.standard_error, method.df, margin)
    low, high = cut_interval(method.low, method.high, largest_difference(metric))
    return {
        "method_ci_low": low, "method_ci_high": high, "method_test": method.test if method.p else "",
        "method_statistic": method.statistic, "method_df": method.df, "method_p": method.p,
        "method_note": "; ".join(notes), "equivalence_p": equivalence, "detectable": detectable,
        "equivalence_margin": margin,
    }  # fmt: skip


def _margin(metric: str, role: str, margins: Mapping[str, float]) -> float | None:
    try:
        return margin_of(metric, margins, role)
    except UnknownNameError:
        return None


def _row(
    pair: Pair, test: TestResult, bounds: tuple[float | None, float | None], method: dict, **changed: object
) -> dict:
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


def _gap_row(gap: HomeGap, level: float, margins: Mapping[str, float]) -> dict:
    """The row of a change from the home set; an empty one, with the reason, where home has no such score."""
    pair = gap.away
    note = "; ".join(text for text in (pair.note, gap.note) if text)
    if gap.home is None:
        nothing = CrossedResult("", len(pair.seeds), None, None, None, None, None, None, None)
        empty = dict.fromkeys(("mean_arm", "mean_reference", "difference"), np.nan)
        columns = _method_columns(nothing, pair.metric, pair.role, margins)
        return _row(pair, TestResult("", 0, None, None), (np.nan, np.nan), columns, **empty, n=0, note=note)
    away, home = pair.differences, gap.home.differences
    test = rank_sum(away.mean(axis=0), home.mean(axis=0))
    method = crossed_test([Block(1.0, away), Block(-1.0, home)], level=level)
    mean_arm = float(pair.arm_values.mean() - gap.home.arm_values.mean())
    mean_reference = float(pair.reference_values.mean() - gap.home.reference_values.mean())
    return _row(
        pair, test, _interval(gap.replicates, level, pair.metric),
        _method_columns(method, pair.metric, pair.role, margins), n=test.n, mean_arm=mean_arm,
        mean_reference=mean_reference, difference=mean_arm - mean_reference,
        note="; ".join(text for text in (note, test.note) if text),
    )  # fmt: skip


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
    parts: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
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
    parts : another centre's set -> its structures -> the home set's structures that each is made of; those of a set
        that is not named are looked for by their own names. The change from the home set is taken over them alone.

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
    tables = list(predictions)
    scores = unit_scores(tables, alternatives)
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
    replicates = pair_replicates(pairs, seed, n_bootstrap)
    rows, further = [], []
    for pair, part in zip(pairs, replicates, strict=True):
        columns = _method_columns(_method_of(pair, level), pair.metric, pair.role, margins or {})
        rows.append(_row(pair, _test(pair), _interval(part, level, pair.metric), columns))
        further += further_tests(
            pair, part, seed=seed, level=level, margin=_margin(pair.metric, pair.role, margins or {})
        )
    gaps = home_gaps(
        pairs, tables, seed=seed, n_bootstrap=n_bootstrap, alternatives=alternatives, parts=parts or {}
    )  # fmt: skip
    rows += [_gap_row(gap, level, margins or {}) for gap in gaps]
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
