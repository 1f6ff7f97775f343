"""Predictions to the comparisons table: every arm against normal training, with n, interval and p-value.

Enters: prediction tables of any number of cells. Leaves: one row per comparison (`COLUMNS`).
Implements the comparisons behind Tables 1, 2 and 4 and Figs. 3 and 4 of the paper (sections 3.2 to 3.4).

What is compared. Unit scores (`evaluation.unit_scores`) are averaged over the seeds that both arms have, then paired
by unit. `scope` says over which conditions: 'clean'; one 'corruption', averaged over its severities as in Figs. 3 and
4; one 'severity' of it; 'all corruptions', each with the same weight. Metrics 'accuracy gap' and 'dice gap' are
differences of differences, paired by unit: (arm - reference) under corruption less (arm - reference) on clean images;
their means are each arm's change from its own clean score. On another centre's set the gap compares two groups of
units: the paired differences there less those at home.

Two intervals. `ci_low`, `ci_high` resample units: these networks on other patients. `ci_low_seeds`, `ci_high_seeds`
resample seeds as well: this way of training on other patients. The p-value is of the first kind; how often it calls
two equal ways of training different is what the A/A arm (normal training again, with other initial weights) shows.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from ssrobust_lib.config import AA_ARM, REFERENCE_ARM
from ssrobust_lib.evaluation.unit_scores import (
    ALTERNATIVE_STRUCTURES,
    CLEAN,
    COMPARED_SCOPES,
    UnitScores,
    home_sets,
    unit_scores,
)
from ssrobust_lib.registry import unknown_name
from ssrobust_lib.seeds import rng
from ssrobust_lib.statistics.auroc import delong
from ssrobust_lib.statistics.families import DEFAULT_FAMILIES, Families, correct_families
from ssrobust_lib.statistics.paired_tests import (
    FloatArray,
    TestResult,
    hierarchical_replicates,
    percentile_interval,
    rank_sum,
    resample_counts,
    signed_rank,
)

#: Columns of the comparisons table; those from `role` place the row in the study and add the interval over seeds.
COLUMNS = (
    "comparison", "family", "task", "set", "metric", "condition", "arm", "reference", "n", "n_seeds", "unit",
    "mean_arm", "mean_reference", "difference", "ci_low", "ci_high", "test", "statistic", "p", "p_holm", "note",
    "role", "structure", "scope", "severity", "ci_low_seeds", "ci_high_seeds",
)  # fmt: skip
ALL_CORRUPTIONS = "all corruptions"
_CHUNK_CELLS = 8_000_000  # resampling counts held at a time: 64 MB


@dataclass(frozen=True)
class _Pair:
    """One arm and the reference on the same seeds and units; both float64 (n_seeds, n_units), finite."""

    scores: UnitScores
    role: str
    metric: str
    scope: str
    condition: str
    severity: int | None
    arm: str
    reference: str
    seeds: tuple[int, ...]
    units: np.ndarray  # positions in scores.units
    arm_values: FloatArray = field(repr=False)
    reference_values: FloatArray = field(repr=False)
    note: str = ""

    @property
    def differences(self) -> FloatArray:
        return self.arm_values - self.reference_values


def _conditions_by_scope(scores: UnitScores) -> list[tuple[str, str, int | None, list[int]]]:
    """(scope, condition, severity, positions in scores.conditions) of everything to compare."""
    found: list[tuple[str, str, int | None, list[int]]] = []
    by_corruption: dict[str, list[int]] = {}
    for position, (corruption, severity) in enumerate(scores.conditions):
        if (corruption, severity) == CLEAN:
            found.append(("clean", "clean", 0, [position]))
        else:
            by_corruption.setdefault(corruption, []).append(position)
    for corruption, positions in by_corruption.items():
        found.append(("corruption", corruption, None, positions))
        if scores.structure == "":
            found += [("severity", corruption, scores.conditions[p][1], [p]) for p in positions]
    if len(by_corruption) > 1 and scores.structure == "":
        found.append((ALL_CORRUPTIONS, ALL_CORRUPTIONS, None, sum(by_corruption.values(), [])))
    return found


def _condition_mean(scores: UnitScores, positions: Sequence[int]) -> FloatArray:
    """Mean over conditions, every corruption with the same weight: (inits, seeds, units); NaN where one is lacking."""
    by_corruption: dict[str, list[int]] = {}
    for position in positions:
        by_corruption.setdefault(scores.conditions[position][0], []).append(position)
    means = [scores.values[:, :, p].mean(axis=2) for p in by_corruption.values()]
    return means[0] if len(means) == 1 else np.mean(means, axis=0)


def _pair(
    scores: UnitScores, role: str, key: tuple[str, str, int | None], level: FloatArray, arm: str, reference: str
) -> _Pair:
    """Take the seeds that both arms have, then the units that have a score in all of them.

    `level` is float64 (inits, seeds, units). An arm without predictions gives an empty pair whose note says so.
    """
    nothing = np.full(level.shape[1:], np.nan)
    a, r = (level[scores.inits.index(name)] if name in scores.inits else nothing for name in (arm, reference))
    has_arm, has_reference = (~np.isnan(a)).any(axis=1), (~np.isnan(r)).any(axis=1)
    both = has_arm & has_reference
    seeds = tuple(seed for seed, there in zip(scores.seeds, both, strict=True) if there)
    notes = [scores.note] if scores.note else []
    for name, there in ((arm, has_arm), (reference, has_reference)):
        lost = [str(seed) for seed, ok in zip(scores.seeds, there, strict=True) if not ok]
        if lost:
            notes.append(f"{name} lacks seed{'s' if len(lost) > 1 else ''} {', '.join(lost)}")
    if not seeds:
        notes.append("no seed has both arms")
    a, r = a[both], r[both]
    whole = np.flatnonzero(np.isfinite(a).all(axis=0) & np.isfinite(r).all(axis=0)) if seeds else np.arange(0)
    scope, condition, severity = key
    return _Pair(
        scores, role, scores.metric, scope, condition, severity, arm, reference, seeds, whole,
        a[:, whole], r[:, whole], "; ".join(notes),
    )  # fmt: skip


def _with_gap(corrupted: _Pair, clean: _Pair) -> _Pair | None:
    """Difference of differences on the seeds and units that both pairs have; None without any."""
    seeds = [seed for seed in corrupted.seeds if seed in clean.seeds]
    units = np.intersect1d(corrupted.units, clean.units)
    if not seeds or units.size == 0:
        return None

    def change(values: FloatArray, clean_values: FloatArray) -> FloatArray:
        def part(pair: _Pair, of: FloatArray) -> FloatArray:
            kept = np.array([pair.seeds.index(s) for s in seeds])
            return of[np.ix_(kept, np.searchsorted(pair.units, units))]

        return part(corrupted, values) - part(clean, clean_values)

    return replace(
        corrupted, metric=f"{corrupted.metric} gap", seeds=tuple(seeds), units=units,
        arm_values=change(corrupted.arm_values, clean.arm_values),
        reference_values=change(corrupted.reference_values, clean.reference_values),
    )  # fmt: skip


def _pairs_of(scores: UnitScores, role: str, arms: Sequence[str], reference: str) -> list[_Pair]:
    """All comparisons within one set by one metric."""
    pairs = []
    for arm in arms:
        clean = None
        for scope, condition, severity, positions in _conditions_by_scope(scores):
            if scope not in COMPARED_SCOPES.get(scores.metric, (scope,)):
                continue
            pair = _pair(scores, role, (scope, condition, severity), _condition_mean(scores, positions), arm, reference)
            if scope == "clean":
                clean = pair
            if scope == "corruption":
                severities = sorted(scores.conditions[p][1] for p in positions)
                if severities != [1, 2, 3, 4, 5]:
                    text = f"severities {', '.join(map(str, severities))} only"
                    pair = replace(pair, note=f"{pair.note}; {text}" if pair.note else text)
            pairs.append(pair)
            if scores.metric == "auroc":
                pairs.append(replace(pair, metric="auroc placements"))
        if clean is None or scores.structure or scores.metric not in ("accuracy", "dice"):
            continue
        for pair in list(pairs):
            if pair.arm == arm and pair.scope in ("corruption", ALL_CORRUPTIONS):
                gap = _with_gap(pair, clean)
                pairs += [gap] if gap else []
    return pairs


def _replicates(pairs: Sequence[_Pair], seed: int, n_bootstrap: int) -> list[FloatArray | None]:
    """Bootstrap means of each pair's differences by seed, (n_bootstrap, n_seeds) each; None with fewer than 2 units.

    Comparisons on the same units share their resamples, so one matrix product serves all of them.
    """
    groups: dict[tuple, list[int]] = {}
    for k, pair in enumerate(pairs):
        if pair.units.size >= 2 and pair.seeds:
            stratified = pair.scores.strata is not None
            key = (pair.scores.task, pair.scores.set, pair.scores.unit, stratified, pair.units.tobytes())
            groups.setdefault(key, []).append(k)
    results: list[FloatArray | None] = [None] * len(pairs)
    for (task, name, unit, stratified, _), members in groups.items():
        first = pairs[members[0]]
        n = first.units.size
        strata = first.scores.strata[first.units] if stratified and first.scores.strata is not None else None
        stacked = np.concatenate([pairs[k].differences for k in members])  # (all seeds of all members, units)
        generator = rng(seed, "bootstrap", task, name, unit, int(stratified))
        means, chunk = [], max(1, _CHUNK_CELLS // n)
        for start in range(0, n_bootstrap, chunk):
            counts = resample_counts(n, min(chunk, n_bootstrap - start), generator, strata)
            means.append(counts @ stacked.T / n)
        columns = np.concatenate(means)  # (n_bootstrap, all seeds of all members)
        ends = np.cumsum([len(pairs[k].seeds) for k in members])
        for k, part in zip(members, np.split(columns, ends[:-1], axis=1), strict=True):
            results[k] = part
    return results


def _placement_differences(pair: _Pair) -> FloatArray:
    """Undo the pseudo-values' scale: per-patient differences of placements, whose class means are the difference."""
    differences = pair.differences.mean(axis=0)
    strata = pair.scores.strata[pair.units] if pair.scores.strata is not None else np.zeros(pair.units.size)
    shares = np.array([np.mean(strata == stratum) for stratum in strata])
    return differences.mean() + shares * (differences - differences.mean())


def _test(pair: _Pair) -> TestResult:
    if pair.units.size == 0:
        return TestResult("", 0, None, None, "" if pair.note else "no unit has a score in both arms")
    if pair.metric == "auroc" and pair.scores.strata is not None:
        return delong(pair.differences.mean(axis=0), pair.scores.strata[pair.units])
    if pair.metric == "auroc placements":
        return signed_rank(_placement_differences(pair))
    return signed_rank(pair.differences.mean(axis=0))


def _intervals(replicates: FloatArray | None, seed: int, level: float) -> tuple[float, float, float, float]:
    """(ci_low, ci_high, ci_low_seeds, ci_high_seeds) from replicates by seed; NaN where there is none."""
    if replicates is None:
        return (np.nan,) * 4
    units = percentile_interval(replicates.mean(axis=1), level)
    if replicates.shape[1] < 2:
        return (*units, np.nan, np.nan)
    both = hierarchical_replicates(replicates, rng(seed, "bootstrap over seeds", replicates.shape[1]))
    return (*units, *percentile_interval(both, level))


def _row(pair: _Pair, test: TestResult, bounds: tuple[float, float, float, float], **changed: object) -> dict:
    scores, n = pair.scores, pair.units.size
    structure = f"[{scores.structure}]" if scores.structure else ""
    severity = f"@{pair.severity}" if pair.scope == "severity" else ""
    mean_arm = float(pair.arm_values.mean()) if n else np.nan
    mean_reference = float(pair.reference_values.mean()) if n else np.nan
    name = f"{scores.task}/{scores.set}/{pair.metric}{structure}/{pair.condition}{severity}/{pair.arm}"
    difference = float(pair.differences.mean()) if n else np.nan
    note = "; ".join(text for text in (pair.note, test.note) if text)
    values = (
        name, "", scores.task, scores.set, pair.metric, pair.condition, pair.arm, pair.reference, n, len(pair.seeds),
        scores.unit, mean_arm, mean_reference, difference, bounds[0], bounds[1], test.test, test.statistic, test.p,
        np.nan, note, pair.role, scores.structure, pair.scope, pair.severity, bounds[2], bounds[3],
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True)) | changed


def _external_gap_rows(
    pairs: Sequence[_Pair], replicates: Sequence[FloatArray | None], seed: int, level: float
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
        bounds = _intervals(there[:, in_away] - here[:, in_home], seed, level)
        away_mean, home_mean = away.differences[in_away].mean(axis=0), at_home.differences[in_home].mean(axis=0)
        test = rank_sum(away_mean, home_mean)
        mean_arm = float(away.arm_values[in_away].mean() - at_home.arm_values[in_home].mean())
        mean_reference = float(away.reference_values[in_away].mean() - at_home.reference_values[in_home].mean())
        gap = replace(away, metric=f"{metric} gap", seeds=tuple(seeds))
        note = f"{away_mean.size} units of {away.scores.set} against {home_mean.size} of {at_home.scores.set}"
        row = _row(
            gap, test, bounds, n=test.n, mean_arm=mean_arm, mean_reference=mean_reference,
            difference=mean_arm - mean_reference,
        )  # fmt: skip
        row["note"] = f"{row['note']}; {note}" if row["note"] else note
        rows.append(row)
    return rows


def compare_all(
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
) -> pd.DataFrame:
    """Compare every arm with the reference on every set, metric and condition that the predictions hold.

    Parameters
    ----------
    predictions : tables in the study's prediction layouts, in any order and number.
    arms : initialisations to compare; the reference itself may be among them.
    seed : the study's seed; every resample derives from it.
    families : family -> selectors (see `ssrobust_lib.statistics.families`); Holm's correction is within a family.
    home : task -> the set it was trained on; recognised by its corruptions where not given.
    aa_arms : arms that repeat the reference; their rows get families of their own.
    level : of the intervals.
    alternatives : structures that stay out of the mean over structures.

    Returns
    -------
    DataFrame with `COLUMNS`, sorted by task, role, set, metric, structure, scope; the same for any order of the input.
    A seed that one arm lacks is left out of that pair, and the note says so.

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
    pairs: list[_Pair] = []
    for score in scores:
        role = "home" if homes[score.task] == score.set else "external"
        pairs += _pairs_of(score, role, compared, reference)
    replicates = _replicates(pairs, seed, n_bootstrap)
    rows = [
        _row(pair, _test(pair), _intervals(part, seed, level)) for pair, part in zip(pairs, replicates, strict=True)
    ]
    rows += _external_gap_rows(pairs, replicates, seed, level)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    numbers = ["mean_arm", "mean_reference", "difference", "ci_low", "ci_high", "statistic", "p"]
    table[numbers] = table[numbers].astype(np.float64)
    table["severity"] = table["severity"].astype("Int8")
    table = correct_families(table, families, aa_arms)
    order = table.assign(away=table["role"] == "external")
    order = order.sort_values(["task", "away", "set", "metric", "structure", "scope", "comparison"], kind="stable")
    return table.loc[order.index, list(COLUMNS)].reset_index(drop=True)
