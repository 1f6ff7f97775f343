"""Scores and differences between the arms in groups of patients, and organ by organ (sections 3.2 to 3.4 of the paper,
which reports neither).

Enters: prediction tables, and the samples tables that say who the patients are. Leaves: one row per set, metric, arm,
group and scope (`COLUMNS`). These comparisons are exploratory: they are in no declared family, carry no p-value, and
with so many groups some interval excludes zero by chance.

`scope` is 'clean'; 'all corruptions', the mean over the severities of each corruption and then over the corruptions;
or 'drop', clean less corrupted, unit by unit. `attribute` is one of `evaluation.subgroups.ATTRIBUTES`, 'organ' for
each structure, or '' for everybody. `ci_low`, `ci_high` are of these networks (other patients); `method_ci_low`,
`method_ci_high` of the method (other patients and other seeds; see `crossed`). The former are Student's, where the
comparisons table has a bootstrap's of the same difference: percentiles over a group of five units are far too narrow.
The two differ by a unit of the third decimal or so where a group is large.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from ssrobust_lib.config import REFERENCE_ARM
from ssrobust_lib.evaluation.subgroups import SMALLEST_GROUP, subgroups
from ssrobust_lib.evaluation.unit_scores import (
    ALTERNATIVE_STRUCTURES,
    CLEAN,
    UnitScores,
    classification_scores,
    segmentation_scores,
    split_by_task,
)
from ssrobust_lib.statistics.crossed import Block, blocks_of, crossed_test
from ssrobust_lib.statistics.paired_tests import FloatArray
from ssrobust_lib.statistics.scales import cut_interval, largest_difference

EVERYBODY = ""
ORGAN = "organ"
DROP = "drop"
METRICS = ("accuracy", "auroc", "dice")
COLUMNS = (
    "task", "set", "role", "metric", "attribute", "group", "scope", "arm", "reference", "n", "n_seeds", "unit",
    "positive", "mean_arm", "mean_reference", "difference", "ci_low", "ci_high", "method_ci_low", "method_ci_high",
    "note",
)  # fmt: skip


def subgroup_scores(
    predictions: Iterable[pd.DataFrame],
    samples: pd.DataFrame,
    *,
    arms: Sequence[str],
    home: Mapping[str, str],
    reference: str = REFERENCE_ARM,
    alternatives: Collection[str] = ALTERNATIVE_STRUCTURES,
) -> pd.DataFrame:
    """Score every arm and the reference in every group of every set.

    Parameters
    ----------
    predictions : tables in the study's prediction layouts.
    samples : samples tables of all tasks (see `evaluation.subgroups.subgroups`); the halves of an attribute are those
        of the samples that were evaluated.
    arms : compared with `reference`; one without predictions gets no row.
    home : task -> the set it was trained on.
    alternatives : structures that are a second reading of another one; they are no organ of their own.

    Returns
    -------
    DataFrame with `COLUMNS`. `n` counts units (patients, or scans that hold the organ); `positive` is the share of them
    with the finding. In a group of fewer than `SMALLEST_GROUP` units (for AUROC: of either class) the numbers are NaN,
    and `note` says that it is too small.
    """
    samples = samples.drop_duplicates("sample_id")
    rows: list[dict] = []
    for task, table in split_by_task(predictions).items():
        for name, part in table.groupby("set", sort=True, observed=True):
            place = {"task": task, "set": str(name), "role": "home" if home.get(task) == name else "external"}
            for attribute, group, scores, positive in _grouped(part, samples, alternatives):
                keys = place | {"attribute": attribute, "group": group, "positive": positive}
                rows += [row for arm in arms if arm != reference for row in _rows(scores, arm, reference, keys)]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    numbers = [name for name in COLUMNS if name.startswith(("mean", "diff", "ci_", "method", "positive"))]
    return table.astype(dict.fromkeys(numbers, np.float64))


def _grouped(
    part: pd.DataFrame, samples: pd.DataFrame, alternatives: Collection[str]
) -> Iterator[tuple[str, str, UnitScores, float]]:
    """Attribute, group, scores and share of positives of everybody, of each organ, and of each group of a set."""
    for scores in _scores(part, alternatives):
        attribute = ORGAN if scores.structure else EVERYBODY
        if scores.structure not in alternatives:
            yield attribute, scores.structure, scores, _positive(part)
    row_of, ids = pd.factorize(part["sample_id"])
    evaluated = samples[samples["sample_id"].isin(ids)]
    for (attribute, group), members in subgroups(evaluated).groupby(["attribute", "group"], sort=False):
        of_group = part[ids.isin(members["sample_id"])[row_of]]
        for scores in _scores(of_group, alternatives):
            if not scores.structure:
                yield str(attribute), str(group), scores, _positive(of_group)


def _scores(part: pd.DataFrame, alternatives: Collection[str]) -> list[UnitScores]:
    if "score" in part:
        found = classification_scores(part)
    elif (part["voxels_label"] > 0).any():
        found = segmentation_scores(part, alternatives)
    else:  # a group whose scans hold none of the structures
        found = []
    return [scores for scores in found if scores.metric in METRICS]


def _positive(part: pd.DataFrame) -> float:
    """Share of patients with at least one image that shows the finding; NaN for scans."""
    if "label" not in part:
        return float("nan")
    return float(part.groupby("patient_id")["label"].max().mean())


def _rows(scores: UnitScores, arm: str, reference: str, keys: dict) -> Iterator[dict]:
    if arm not in scores.inits or reference not in scores.inits:
        return
    for scope, values in _by_scope(scores).items():
        a, r = values[scores.inits.index(arm)], values[scores.inits.index(reference)]
        seeds = np.isfinite(a).any(axis=1) & np.isfinite(r).any(axis=1)
        a, r = a[seeds], r[seeds]
        units = np.isfinite(a).all(axis=0) & np.isfinite(r).all(axis=0)
        n, n_seeds = (int(units.sum()), int(seeds.sum())) if seeds.any() else (0, 0)
        row: dict[str, object] = {
            "metric": scores.metric,
            "scope": scope,
            "arm": arm,
            "reference": reference,
            "unit": scores.unit,
        }
        row |= keys | {"n": n, "n_seeds": n_seeds, "note": scores.note}
        if not scores.note and _smallest(scores, units) < SMALLEST_GROUP:
            of_class = " with or without the finding" if scores.strata is not None else ""
            row["note"] = f"too small: fewer than {SMALLEST_GROUP} {scores.unit}s{of_class}"
        if not row["note"]:
            strata = None if scores.strata is None else scores.strata[units]
            largest = largest_difference(f"{scores.metric} drop" if scope == DROP else scores.metric)
            row |= _compared(a[:, units], r[:, units], strata, largest)
        yield row


def _smallest(scores: UnitScores, units: np.ndarray) -> int:
    """Units that have a score, of the rarer class where the score compares two."""
    if scores.strata is None:
        return int(units.sum())
    return int(np.bincount(scores.strata[units], minlength=2).min())


def _compared(a: FloatArray, r: FloatArray, strata: npt.NDArray[np.int64] | None, largest: float) -> dict[str, object]:
    """Means and intervals, cut at +-largest, of two arms on the same seeds and units, float64 (n_seeds, n_units)."""
    d = a - r
    found: dict[str, object] = {"mean_arm": a.mean(), "mean_reference": r.mean(), "difference": d.mean()}
    if np.ptp(d) == 0:
        return found | {"note": "no interval: the difference is the same on every unit"}
    blocks = blocks_of(d, strata)
    low, high = cut_interval(*interval_over_units(blocks), largest)
    method = crossed_test(blocks)
    method_low, method_high = cut_interval(method.low, method.high, largest)
    found |= {"ci_low": low, "ci_high": high, "method_ci_low": method_low, "method_ci_high": method_high}
    return found


def _by_scope(scores: UnitScores) -> dict[str, FloatArray]:
    """Values float64 (inits, seeds, units) of each scope that was evaluated."""
    corrupted: dict[str, list[int]] = {}
    for position, (corruption, severity) in enumerate(scores.conditions):
        if severity:
            corrupted.setdefault(corruption, []).append(position)
    found = {}
    if CLEAN in scores.conditions:
        found["clean"] = scores.values[:, :, scores.conditions.index(CLEAN)]
    if corrupted:
        means = [scores.values[:, :, positions].mean(axis=2) for positions in corrupted.values()]
        found["all corruptions"] = np.mean(means, axis=0)
    if len(found) == 2:
        found[DROP] = found["clean"] - found["all corruptions"]
    return found


def interval_over_units(blocks: Sequence[Block], level: float = 0.95) -> tuple[float, float]:
    """Student interval of the mean difference of these networks on other units.

    With one block the interval of a paired t-test; of an AUROC's pseudo-values, the variances of the classes added up
    as in DeLong's test, with one degree of freedom less for each class.

    Parameters
    ----------
    blocks : as `crossed.blocks_of` makes them; the seeds are averaged first.
    """
    from scipy.special import stdtrit

    of_unit = [(block.weight, block.differences.mean(axis=0)) for block in blocks]
    mean = sum(weight * float(d.mean()) for weight, d in of_unit)
    variance = sum(weight**2 * float(d.var(ddof=1)) / d.size for weight, d in of_unit)
    half = float(stdtrit(sum(d.size - 1 for _, d in of_unit), (1 + level) / 2)) * variance**0.5
    return mean - half, mean + half
