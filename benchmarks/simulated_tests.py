"""Every test of the study on many simulated comparisons at once: how often each says p < 0.05 or misses the truth.

Enters: simulated scores of two arms (`ssrobust_lib.statistics.simulation`). Leaves: rates by test. The tests are the
library's own functions, called once per simulated study, but for bootstraps: as in the study, comparisons on the same
units share their resamples.
"""

from collections.abc import Callable, Iterator

import numpy as np

from ssrobust_lib.statistics.auroc import delong, patient_pseudo_values
from ssrobust_lib.statistics.bootstrap import hierarchical_replicates, resample_counts
from ssrobust_lib.statistics.crossed import HILLIS, SATTERTHWAITE, blocks_of, crossed_test
from ssrobust_lib.statistics.paired_tests import FloatArray, TestResult, mcnemar, paired_t, signed_rank

ALPHA, LEVEL = 0.05, 0.95
PRIMARY, HILLIS_TEST, OVER_SEEDS = "the method: seeds and units crossed", "the method, Hillis' df", "t over seeds"
BOOTSTRAP, HIERARCHICAL = "paired bootstrap", "hierarchical bootstrap"
RESAMPLES = 1000

Rates = dict[str, float]


def _rejects(test: TestResult) -> bool:
    return test.p is not None and test.p < ALPHA


def _rates(found: list[dict[str, bool]]) -> Rates:
    return {name: float(np.mean([one[name] for one in found])) for name in found[0]}


def _method(
    differences: FloatArray, truth: float, every: bool, strata: np.ndarray | None = None
) -> Iterator[tuple[str, bool]]:
    """Verdicts about the method on one study: rejected; for the primary one, whether its interval held the truth."""
    blocks = blocks_of(differences, strata)
    result = crossed_test(blocks, degrees_of_freedom=SATTERTHWAITE)
    yield PRIMARY, result.p is not None and result.p < ALPHA
    yield "covers", result.low is not None and result.high is not None and result.low <= truth <= result.high
    if every:
        other = crossed_test(blocks, degrees_of_freedom=HILLIS)
        yield HILLIS_TEST, other.p is not None and other.p < ALPHA
        yield OVER_SEEDS, _rejects(paired_t(differences.mean(axis=1)))


def _cover(differences: FloatArray, truth: float, generator: np.random.Generator, strata: np.ndarray | None) -> Rates:
    """Share of bootstrap intervals that hold the truth; `differences` is (studies, seeds, units)."""
    studies, seeds, units = differences.shape
    counts = resample_counts(units, RESAMPLES, generator, strata)
    replicates = (counts @ differences.reshape(-1, units).T / units).reshape(RESAMPLES, studies, seeds)
    held = {BOOTSTRAP: 0, HIERARCHICAL: 0}
    for k in range(studies):
        both = hierarchical_replicates(replicates[:, k], generator)
        for name, values in ((BOOTSTRAP, replicates[:, k].mean(axis=1)), (HIERARCHICAL, both)):
            low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
            held[name] += bool(low <= truth <= high)
    return {name: count / studies for name, count in held.items()}


def accuracy_rates(
    scores: FloatArray, labels: np.ndarray, truth: float, generator: np.random.Generator, every: bool = True
) -> Rates:
    """Rates of the tests of accuracy; `scores` is (studies, 2, seeds, patients), positive above 0.

    With `every` false, of the paper's test and those of the method alone; so below.
    """
    right = (scores > 0) == (labels == 1)
    differences = right[:, 1].astype(float) - right[:, 0]
    found = []
    for (reference, arm), d in zip(right, differences, strict=True):
        one = {
            "Wilcoxon signed-rank, patients": _rejects(signed_rank(d.mean(axis=0))),
            **dict(_method(d, truth, every)),
        }
        if every:
            majority = arm.mean(axis=0) > 0.5, reference.mean(axis=0) > 0.5
            one["t, patients"] = _rejects(paired_t(d.mean(axis=0)))
            one["McNemar, majority of the seeds"] = _rejects(mcnemar(*majority))
            # under the null of these networks, the second network of one arm is equal to the first of the other
            one["McNemar, one network of each arm"] = _rejects(mcnemar(arm[1], reference[0]))
            one["Wilcoxon signed-rank, seeds x patients"] = _rejects(signed_rank(d.ravel()))
        found.append(one)
    return _rates(found) | (_cover(differences, truth, generator, None) if every else {})


def auroc_rates(
    scores: FloatArray, labels: np.ndarray, truth: float, generator: np.random.Generator, every: bool = True
) -> Rates:
    """Rates of the tests of the AUROC; `scores` is (studies, 2, seeds, patients)."""
    studies, _, seeds, patients = scores.shape
    everyone, found = np.arange(patients), []
    shares = np.where(labels == 1, labels.mean(), 1 - labels.mean())
    differences = np.empty((studies, seeds, patients))
    for k, study in enumerate(scores):
        pseudo = np.array([[patient_pseudo_values(z, labels, everyone, patients) for z in arm] for arm in study])
        differences[k] = pseudo[1] - pseudo[0]
        mean = differences[k].mean(axis=0)
        one = {
            "DeLong, patients": _rejects(delong(mean, labels)),
            **dict(_method(differences[k], truth, every, labels)),
        }
        if every:
            placed = mean.mean() + shares * (mean - mean.mean())
            one["Wilcoxon signed-rank, placements"] = _rejects(signed_rank(placed))
        found.append(one)
    return _rates(found) | (_cover(differences, truth, generator, labels) if every else {})


def dice_rates(dice: FloatArray, truth: float, generator: np.random.Generator, every: bool = True) -> Rates:
    """Rates of the tests of Dice; `dice` is (studies, 2, seeds, scans)."""
    differences = dice[:, 1] - dice[:, 0]
    found = []
    for d in differences:
        one = {"Wilcoxon signed-rank, scans": _rejects(signed_rank(d.mean(axis=0))), **dict(_method(d, truth, every))}
        if every:
            one["t, scans"] = _rejects(paired_t(d.mean(axis=0)))
            one["Wilcoxon signed-rank, seeds x scans"] = _rejects(signed_rank(d.ravel()))
        found.append(one)
    return _rates(found) | (_cover(differences, truth, generator, None) if every else {})


def mean_rates(parts: list[tuple[int, Rates]]) -> Rates:
    """Rates over several batches of studies, each with its number of studies."""
    total = sum(count for count, _ in parts)
    return {name: sum(count * rates[name] for count, rates in parts) / total for name in parts[0][1]}


def in_batches(studies: int, batch: int, measure: Callable[[int], Rates]) -> Rates:
    """Rates over `studies` studies, simulated a batch at a time to bound the memory."""
    sizes = [min(batch, studies - start) for start in range(0, studies, batch)]
    return mean_rates([(size, measure(size)) for size in sizes])
