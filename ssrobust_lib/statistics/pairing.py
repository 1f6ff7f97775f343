"""Pairs: one arm and the reference on the same seeds and units, for everything that is compared.

Enters: `UnitScores` of every set and metric. Leaves: `Pair` objects, each the two arms' scores of one comparison.
Sections 3.2 to 3.4 of the paper.

`scope` says over which conditions: 'clean'; one 'corruption', averaged over its severities as in Figs. 3 and 4; one
'severity' of it; 'all corruptions', each with the same weight. Metrics 'accuracy gap' and 'dice gap' are differences of
differences, paired by unit: (arm - reference) under corruption less (arm - reference) on clean images; their means are
each arm's change from its own clean score.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from ssrobust_lib.evaluation.unit_scores import CLEAN, UnitScores
from ssrobust_lib.statistics.paired_tests import FloatArray

ALL_CORRUPTIONS = "all corruptions"


@dataclass(frozen=True)
class Pair:
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
        """Arm minus reference: float64 (n_seeds, n_units)."""
        return self.arm_values - self.reference_values

    @property
    def strata(self) -> npt.NDArray[np.int64] | None:
        """Class of each unit of the pair, where units are drawn within their class (AUROC)."""
        return None if self.scores.strata is None else self.scores.strata[self.units]

    @property
    def name(self) -> str:
        """What the row of the comparison is called."""
        structure = f"[{self.scores.structure}]" if self.scores.structure else ""
        severity = f"@{self.severity}" if self.scope == "severity" else ""
        place = f"{self.scores.task}/{self.scores.set}/{self.metric}{structure}"
        return f"{place}/{self.condition}{severity}/{self.arm}"


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
) -> Pair:
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
    return Pair(
        scores, role, scores.metric, scope, condition, severity, arm, reference, seeds, whole,
        a[:, whole], r[:, whole], "; ".join(notes),
    )  # fmt: skip


def _with_gap(corrupted: Pair, clean: Pair) -> Pair | None:
    """Difference of differences on the seeds and units that both pairs have; None without any."""
    seeds = [seed for seed in corrupted.seeds if seed in clean.seeds]
    units = np.intersect1d(corrupted.units, clean.units)
    if not seeds or units.size == 0:
        return None

    def change(values: FloatArray, clean_values: FloatArray) -> FloatArray:
        def part(pair: Pair, of: FloatArray) -> FloatArray:
            kept = np.array([pair.seeds.index(s) for s in seeds])
            return of[np.ix_(kept, np.searchsorted(pair.units, units))]

        return part(corrupted, values) - part(clean, clean_values)

    return replace(
        corrupted, metric=f"{corrupted.metric} gap", seeds=tuple(seeds), units=units,
        arm_values=change(corrupted.arm_values, clean.arm_values),
        reference_values=change(corrupted.reference_values, clean.reference_values),
    )  # fmt: skip


def pairs_of(scores: UnitScores, role: str, arms: Sequence[str], reference: str) -> list[Pair]:
    """All comparisons within one set by one metric."""
    pairs = []
    for arm in arms:
        clean = None
        for scope, condition, severity, positions in _conditions_by_scope(scores):
            if scores.metric == "missed" and scope not in ("clean", "corruption"):
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
