"""What a careful statistician would ask for beside the study's own two tests: one long table.

Enters: a `Pair` and its bootstrap replicates. Leaves: rows of `FURTHER_COLUMNS`, each a test, an interval or an effect
size, with the estimand that it is about. The paper has Wilcoxon's signed-rank test alone, its unit not stated (sections
3.2 to 3.4); the units that it may have had stand here beside the patient or scan of the comparisons table.

McNemar's test is about one network of each arm (seed by seed), or about the majority of the arm's networks. It is not
taken over all pairs of seed and patient: these count a patient once for every seed, as if they were so many patients.
"""

import numpy as np

from ssrobust_lib.seeds import rng
from ssrobust_lib.statistics.bootstrap import bca_interval, hierarchical_replicates, percentile_interval
from ssrobust_lib.statistics.crossed import HILLIS, blocks_of, crossed_test, equivalence_p
from ssrobust_lib.statistics.effect_sizes import cohens_dz, common_language, rank_biserial
from ssrobust_lib.statistics.paired_tests import FloatArray, TestResult, mcnemar, paired_t, signed_rank
from ssrobust_lib.statistics.pairing import Pair
from ssrobust_lib.statistics.scales import cut_interval, largest_difference

NETWORKS, METHOD = "these networks", "the method"
TEST, INTERVAL, EFFECT = "test", "interval", "effect size"
#: estimand: these networks, or the method. kind: test, interval or effect size. unit: what n counts. Where a number
#: does not exist it is NaN, and `note` says why.
FURTHER_COLUMNS = (
    "comparison", "estimand", "kind", "name", "unit", "n", "estimate", "low", "high", "statistic", "p", "note",
)  # fmt: skip


def further_tests(
    pair: Pair, replicates: FloatArray | None, *, seed: int, level: float = 0.95, margin: float | None = None
) -> list[dict]:
    """Rows with `FURTHER_COLUMNS` of one comparison; none where no unit is paired (the comparisons table says why).

    Parameters
    ----------
    replicates : float64 (n_bootstrap, n_seeds), means by seed in each resample of the units; None with fewer than 2.
    seed : of the study, for the resampling of seeds.
    margin : smallest difference that matters; None leaves the equivalence test of these networks out.
    """
    if pair.units.size == 0 or not pair.seeds or pair.metric == "auroc placements":
        return []
    unit, n = pair.scores.unit, pair.units.size
    means = pair.differences.mean(axis=0)
    rows = [_of_test(NETWORKS, test, unit) for test in _tests_of_networks(pair)]
    if pair.metric != "auroc":
        rows += _effect_sizes(means, unit)
        rows += _equivalence(means, unit, margin)
    rows += _intervals(pair, replicates, seed, level)
    rows += [_of_test(METHOD, test, test_unit) for test, test_unit in _tests_over_seeds(pair)]
    hillis = crossed_test(blocks_of(pair.differences, pair.strata), level=level, degrees_of_freedom=HILLIS)
    rows.append(
        _row(
            METHOD, TEST, hillis.test, f"seed and {unit}", n, estimate=hillis.estimate, low=hillis.low,
            high=hillis.high, statistic=hillis.statistic, p=hillis.p, note=hillis.note,
        )
    )  # fmt: skip
    return [{"comparison": pair.name} | _on_scale(row, pair.metric) for row in rows]


def _on_scale(row: dict, metric: str) -> dict:
    """The row with its interval of a difference cut at the ends of the metric's scale."""
    low, high = cut_interval(row["low"], row["high"], largest_difference(metric))
    return row | {"low": low, "high": high}


def _row(estimand: str, kind: str, name: str, unit: str, n: int, *, note: str = "", **numbers: float | None) -> dict:
    empty = dict.fromkeys(("estimate", "low", "high", "statistic", "p"), np.nan)
    given = {key: np.nan if value is None else value for key, value in numbers.items()}
    return {"estimand": estimand, "kind": kind, "name": name, "unit": unit, "n": n} | empty | given | {"note": note}


def _of_test(estimand: str, test: TestResult, unit: str) -> dict:
    return _row(estimand, TEST, test.test, unit, test.n, statistic=test.statistic, p=test.p, note=test.note)


def _tests_of_networks(pair: Pair) -> list[TestResult]:
    """Tests over units of the networks as they are; an AUROC's is DeLong's, in the comparisons table."""
    if pair.metric == "auroc":
        return []
    found = [paired_t(pair.differences.mean(axis=0))]
    if pair.metric == "accuracy" and pair.scope in ("clean", "severity"):
        found += _mcnemar_tests(pair)
    return found


def _mcnemar_tests(pair: Pair) -> list[TestResult]:
    """McNemar's exact test for each seed and for the majority of the seeds; patients need one image each."""
    both = np.stack([pair.arm_values, pair.reference_values])
    if not np.isin(both, (0.0, 1.0)).all():
        note = "some patients have several images: right or wrong is not one answer for each"
        return [TestResult("McNemar, exact", pair.units.size, None, None, note)]
    right = both > 0.5
    found = []
    for k, seed in enumerate(pair.seeds):
        test = mcnemar(right[0, k], right[1, k])
        found.append(_named(test, f"McNemar, exact, seed {seed}"))
    if len(pair.seeds) > 1:
        majority = both.mean(axis=1) > 0.5  # an even number of seeds that is divided counts as wrong, in both arms
        found.append(_named(mcnemar(*majority), "McNemar, exact, majority of the seeds"))
    return found


def _named(test: TestResult, name: str) -> TestResult:
    return TestResult(name, test.n, test.statistic, test.p, test.note)


def _effect_sizes(means: FloatArray, unit: str) -> list[dict]:
    rows = []
    for name, measure, why in (
        ("rank-biserial correlation", rank_biserial, "no difference is left after the zeros"),
        ("Cohen's d_z", cohens_dz, "the differences have no spread"),
        ("common-language effect size", common_language, "no unit"),
    ):
        value = measure(means)
        note = why if value is None else ""
        rows.append(_row(NETWORKS, EFFECT, name, unit, means.size, estimate=value, note=note))
    return rows


def _equivalence(means: FloatArray, unit: str, margin: float | None) -> list[dict]:
    """Two one-sided t-tests over units; the method's are in the comparisons table."""
    if margin is None:
        return []
    name, n = f"equivalence within {margin:g}, two one-sided t", means.size
    if n < 2 or np.ptp(means) <= 1e-12:
        return [_row(NETWORKS, TEST, name, unit, n, note="needs 2 units and some spread")]
    p = equivalence_p(float(means.mean()), float(means.std(ddof=1)) / n**0.5, n - 1, margin)
    return [_row(NETWORKS, TEST, name, unit, n, estimate=float(means.mean()), p=p)]


def _intervals(pair: Pair, replicates: FloatArray | None, seed: int, level: float) -> list[dict]:
    """BCa over units, and percentiles over seeds and units."""
    unit, n, difference = pair.scores.unit, pair.units.size, float(pair.differences.mean())
    if replicates is None:
        note = f"{n} {unit}: an interval needs at least 2"
        return [_row(NETWORKS, INTERVAL, "paired bootstrap, BCa", unit, n, estimate=difference, note=note)]
    rows = []
    if pair.metric != "auroc":  # an AUROC's units are drawn within their class, for which BCa has no agreed form
        bounds = bca_interval(replicates.mean(axis=1), pair.differences.mean(axis=0), level)
        low, high = bounds or (None, None)
        note = "" if bounds else "undefined: the differences have no spread"
        name = "paired bootstrap, BCa"
        rows.append(_row(NETWORKS, INTERVAL, name, unit, n, estimate=difference, low=low, high=high, note=note))
    name, both = "hierarchical bootstrap", f"seed and {unit}"
    if replicates.shape[1] < 2:
        note = "1 seed: there is nothing to draw seeds from"
        return [*rows, _row(METHOD, INTERVAL, name, both, n, estimate=difference, note=note)]
    redrawn = hierarchical_replicates(replicates, rng(seed, "bootstrap over seeds", replicates.shape[1]))
    low, high = percentile_interval(redrawn, level)
    return [*rows, _row(METHOD, INTERVAL, name, both, n, estimate=difference, low=low, high=high)]


def _tests_over_seeds(pair: Pair) -> list[tuple[TestResult, str]]:
    """Tests over seeds (these patients) and over all pairs of seed and unit, taken for independent."""
    if len(pair.seeds) < 2:
        return []
    theta = pair.differences.mean(axis=1)
    found = [(_named(paired_t(theta), "Student's t over seeds"), "seed")]
    found.append((_over("seeds", signed_rank(theta)), "seed"))
    if pair.metric != "auroc":
        pooled = signed_rank(pair.differences.ravel())
        found.append((_over("seeds and units, as if independent", pooled), f"seed x {pair.scores.unit}"))
    return found


def _over(what: str, test: TestResult) -> TestResult:
    return _named(test, f"{test.test}, over {what}")
