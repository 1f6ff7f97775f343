"""Paired tests, bootstrap intervals and Holm's correction.

Enters: differences between two arms, one value per unit (a patient, a scan) and, for intervals, one row per seed.
Leaves: frozen results with the statistic, the p-value or the reason why there is none.
Implements the significance statements of sections 3.2 to 3.4 ("Wilcoxon signed-rank statistical test"), with the
interval, the unit and the correction for several tests that the paper leaves out.

Nothing here knows what a patient or a network is; `ssrobust_lib.statistics.comparisons` does.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

#: Differences are rounded to this many decimals before they are ranked: means over seeds such as 2/3 - 1/3 and 1/3 - 0
#: differ in the last bit only, and would otherwise break a tie (or hide a zero) by rounding error.
TIE_DECIMALS = 12

#: Up to this many non-zero differences the null distribution of the signed-rank statistic is enumerated.
EXACT_UP_TO = 50


@dataclass(frozen=True)
class TestResult:
    """One test of 'no difference' (two-sided).

    Attributes
    ----------
    test : name of the test, and which null distribution gave the p-value.
    n : number of units that entered.
    statistic, p : floats; None where the test does not exist for these data.
    note : why there is no p-value; empty otherwise.
    """

    __test__ = False  # not a pytest class

    test: str
    n: int
    statistic: float | None
    p: float | None
    note: str = ""


@dataclass(frozen=True)
class Interval:
    """A bootstrap interval of a mean difference; `low` and `high` are None where it does not exist (see `note`)."""

    low: float | None
    high: float | None
    level: float
    method: str
    n_resamples: int
    note: str = ""


def finite_array(values: npt.ArrayLike, name: str, n_dimensions: int) -> FloatArray:
    """Check user input: float64 with `n_dimensions` dimensions and finite values, or a ValueError that names it."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != n_dimensions:
        raise ValueError(
            f"{name}: expected {n_dimensions} dimension(s), got shape {array.shape}; average or select before the test"
        )
    if not np.isfinite(array).all():
        raise ValueError(
            f"{name}: expected finite values, got {int((~np.isfinite(array)).sum())} that are not; drop units that "
            "one of the arms lacks before pairing"
        )
    return array


def midranks(values: FloatArray) -> FloatArray:
    """Ranks from 1, ties share their mean rank; float64 (n,)."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[group]


def mean_difference(arm: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Mean of `arm - reference` over paired units; both (n,), in the metric's unit."""
    arm_values, reference_values = finite_array(arm, "arm", 1), finite_array(reference, "reference", 1)
    if arm_values.shape != reference_values.shape or arm_values.size == 0:
        raise ValueError(
            f"expected two equally long, non-empty arrays of paired units, got {arm_values.size} and "
            f"{reference_values.size}"
        )
    return float(np.mean(arm_values - reference_values))


def smallest_signed_rank_p(n: int) -> float:
    """Smallest two-sided exact p-value of the signed-rank test with `n` non-zero differences: 2 / 2**n, at most 1.

    n = 10 gives 0.00195 and n = 13 gives 0.00024: the sizes that the paper's p = 0.002 and 0.0002 point to.
    """
    if n < 0:
        raise ValueError(f"expected a number of units >= 0, got {n}")
    return float(min(1.0, 2.0 ** (1 - n)))


def _exact_signed_rank_p(ranks: FloatArray, statistic: float) -> float:
    """Two-sided p given the ranks, ties included, by convolution over all 2**n sign patterns.

    Doubled midranks are whole numbers, so the distribution of the sum of positive ranks is a polynomial product: each
    rank contributes (1 + z**(2 rank)) / 2.
    """
    steps = np.rint(2 * ranks).astype(np.int64)
    probability = np.zeros(int(steps.sum()) + 1)
    probability[0] = 1.0
    for step in steps:
        shifted = np.zeros_like(probability)
        shifted[step:] = probability[: probability.size - step]
        probability = (probability + shifted) / 2
    smaller_tail = probability[: int(np.rint(2 * statistic)) + 1].sum()
    return float(min(1.0, 2 * smaller_tail))


def signed_rank(differences: npt.ArrayLike) -> TestResult:
    """Wilcoxon's signed-rank test of paired differences, two-sided.

    Zeros are dropped (Wilcoxon 1945; SciPy's `zero_method="wilcox"`), ties share their mean rank. Up to `EXACT_UP_TO`
    non-zero differences the p-value is exact: SciPy's exact distribution without ties, full enumeration of the signs
    with them; above, SciPy's normal approximation with its correction for ties.

    Parameters
    ----------
    differences : float (n,), arm minus reference, one value per unit.

    Returns
    -------
    TestResult : `statistic` is the smaller of the two rank sums. p is None if no difference is left after the zeros.

    Raises
    ------
    ValueError : more than one dimension, or values that are not finite.
    """
    values = np.round(finite_array(differences, "differences", 1), TIE_DECIMALS)
    name, n = "Wilcoxon signed-rank", values.size
    if n == 0:
        return TestResult(name, 0, None, None, "no unit is paired")
    values = values[values != 0]
    if values.size == 0:
        return TestResult(name, n, None, None, f"all {n} differences are zero")
    if n == 1:
        return TestResult(name, n, None, None, "one unit only: every sign has p = 1")
    ranks = midranks(np.abs(values))
    statistic = float(min(ranks[values > 0].sum(), ranks[values < 0].sum()))
    if values.size <= EXACT_UP_TO:
        if np.unique(ranks).size < ranks.size:
            return TestResult(f"{name}, exact", n, statistic, _exact_signed_rank_p(ranks, statistic))
        method = "exact"
    else:
        method = "asymptotic"
    from scipy.stats import wilcoxon

    p = float(wilcoxon(values, zero_method="wilcox", method=method).pvalue)
    return TestResult(f"{name}, {'exact' if method == 'exact' else 'normal approximation'}", n, statistic, p)


def rank_sum(first: npt.ArrayLike, second: npt.ArrayLike) -> TestResult:
    """Wilcoxon's rank-sum (Mann-Whitney) test of two independent groups, two-sided.

    Compares paired differences on one set with paired differences on another, where the units are not the same.
    Exact where SciPy can (no ties and one group of at most 8), normal approximation otherwise.

    Parameters
    ----------
    first, second : float (n,) and (m,).
    """
    a = np.round(finite_array(first, "first", 1), TIE_DECIMALS)
    b = np.round(finite_array(second, "second", 1), TIE_DECIMALS)
    name, n = "Wilcoxon rank-sum", a.size + b.size
    if min(a.size, b.size) < 2:
        return TestResult(name, n, None, None, f"groups of {a.size} and {b.size} units: each needs at least 2")
    if np.ptp(np.concatenate([a, b])) == 0:
        return TestResult(name, n, None, None, "all values are equal")
    from scipy.stats import mannwhitneyu

    result = mannwhitneyu(a, b, alternative="two-sided", method="auto")
    return TestResult(name, n, float(result.statistic), float(result.pvalue))


def holm(p_values: npt.ArrayLike) -> FloatArray:
    """Holm's step-down correction within one family; NaN (no test) stays NaN and does not count as a test.

    The k-th smallest of m p-values (k from 0) is multiplied by m - k, then no corrected value may be below an earlier
    one, and none above 1 (Holm 1979). Equal to `statsmodels` `multipletests(method="holm")`, which a test checks; that
    one collects all garbage of the process at each call, which here took longer than all tests together.

    Raises
    ------
    ValueError : values outside [0, 1], or more than one dimension.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or np.any((p < 0) | (p > 1)):
        raise ValueError(f"expected p-values in [0, 1] in one dimension, got shape {p.shape} with values {p.tolist()}")
    corrected = np.full(p.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    factors = np.arange(order.size, 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return corrected


def resample_counts(
    n_units: int,
    n_resamples: int,
    generator: np.random.Generator,
    strata: npt.NDArray[np.int64] | None = None,
) -> FloatArray:
    """How often each unit is drawn in each bootstrap sample.

    Parameters
    ----------
    n_units, n_resamples : sizes, at least 1.
    generator : source of every draw.
    strata : int (n_units,), or None. Units are drawn with replacement within their stratum, whose size stays fixed.

    Returns
    -------
    float64 (n_resamples, n_units) of whole numbers; every row sums to `n_units`.
    """
    if n_units < 1 or n_resamples < 1:
        raise ValueError(f"expected at least one unit and one resample, got {n_units} and {n_resamples}")
    labels = np.zeros(n_units, np.int64) if strata is None else np.asarray(strata)
    if labels.shape != (n_units,):
        raise ValueError(f"expected one stratum for each of {n_units} units, got shape {labels.shape}")
    counts = np.empty((n_resamples, n_units))
    for stratum in np.unique(labels):
        members = np.flatnonzero(labels == stratum)
        drawn = generator.integers(0, members.size, size=(n_resamples, members.size), dtype=np.int64)
        drawn += np.arange(n_resamples, dtype=np.int64)[:, None] * members.size  # (resample, draw) -> flat cell
        flat = np.bincount(drawn.ravel(), minlength=n_resamples * members.size)
        counts[:, members] = flat.reshape(n_resamples, members.size)  # (resamples, units of this stratum)
    return counts


def percentile_interval(replicates: FloatArray, level: float = 0.95) -> tuple[float, float]:
    """Central `level` of the bootstrap replicates (n_resamples,): their (1 - level)/2 and (1 + level)/2 quantiles."""
    low, high = np.quantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bca_interval(replicates: FloatArray, differences: FloatArray, level: float = 0.95) -> tuple[float, float] | None:
    """Bias-corrected and accelerated interval of a mean (Efron 1987, eq. 6.8), or None where it is undefined.

    The jackknife of a mean is known in closed form, so the acceleration is sum(d**3) / (6 sum(d**2)**1.5) with
    d = differences - mean. Undefined when all differences are equal, or all replicates lie on one side of the mean.
    """
    centred = differences - differences.mean()
    spread = float(np.sum(centred**2))
    mean = differences.mean()
    share_below = (np.mean(replicates < mean) + np.mean(replicates <= mean)) / 2
    if spread <= 1e-24 or share_below in (0.0, 1.0):
        return None
    from scipy.special import ndtr, ndtri

    acceleration = float(np.sum(centred**3)) / (6 * spread**1.5)
    bias = ndtri(share_below)
    shifted = bias + ndtri(np.array([(1 - level) / 2, (1 + level) / 2]))
    low, high = np.quantile(replicates, ndtr(bias + shifted / (1 - acceleration * shifted)))
    return float(low), float(high)


def _check_bootstrap(level: float, method: str) -> None:
    if not 0 < level < 1:
        raise ValueError(f"expected a confidence level between 0 and 1, got {level}")
    if method not in ("percentile", "bca"):
        raise ValueError(f"unknown interval method {method!r}: expected 'percentile' or 'bca'")


def paired_bootstrap(
    differences: npt.ArrayLike,
    *,
    generator: np.random.Generator,
    n_resamples: int = 2000,
    level: float = 0.95,
    method: str = "percentile",
    strata: npt.NDArray[np.int64] | None = None,
) -> Interval:
    """Bootstrap interval of the mean paired difference, resampling units.

    `percentile` is the default and what the comparisons table prints: it is defined for every sample, keeps to the
    metric's range, and is the same rule as for the interval over seeds, for which BCa has no agreed form. It is too
    narrow for a handful of units (n = 10: about 90 % cover at a nominal 95 %). `bca` corrects bias and skew.

    Parameters
    ----------
    differences : float (n,), arm minus reference per unit.
    strata : int (n,), or None: resample within these groups (AUROC: within class).

    Returns
    -------
    Interval : what the data say about *these* networks on new patients; it does not hold the variation over seeds.
    """
    _check_bootstrap(level, method)
    values = finite_array(differences, "differences", 1)
    if values.size < 2:
        return Interval(None, None, level, method, 0, f"{values.size} unit(s): an interval needs at least 2")
    counts = resample_counts(values.size, n_resamples, generator, strata)
    replicates = counts @ values / values.size
    if method == "bca":
        bounds = bca_interval(replicates, values, level)
        if bounds is None:
            return Interval(None, None, level, method, n_resamples, "BCa is undefined: no spread in the differences")
        return Interval(*bounds, level, method, n_resamples)
    return Interval(*percentile_interval(replicates, level), level, method, n_resamples)


def hierarchical_replicates(seed_replicates: FloatArray, generator: np.random.Generator) -> FloatArray:
    """Add the resampling of seeds to replicates made by resampling units.

    Parameters
    ----------
    seed_replicates : float64 (n_resamples, n_seeds), the mean difference of each seed in each resample of units.

    Returns
    -------
    float64 (n_resamples,) : the mean over as many seeds, drawn with replacement in each resample.
    """
    n_resamples, n_seeds = seed_replicates.shape
    drawn = generator.integers(0, n_seeds, size=(n_resamples, n_seeds))
    return np.take_along_axis(seed_replicates, drawn, axis=1).mean(axis=1)  # (resamples, seeds) -> (resamples,)


def hierarchical_bootstrap(
    differences: npt.ArrayLike,
    *,
    generator: np.random.Generator,
    n_resamples: int = 2000,
    level: float = 0.95,
    strata: npt.NDArray[np.int64] | None = None,
) -> Interval:
    """Bootstrap interval of the mean difference, resampling seeds and units (crossed: every seed sees every unit).

    Parameters
    ----------
    differences : float (n_seeds, n_units), arm minus reference, paired by seed and unit.

    Returns
    -------
    Interval : what the data say about the *way of training* on new patients and new seeds. None with a single seed;
        rough below five, since few distinct sets of seeds can be drawn.
    """
    _check_bootstrap(level, "percentile")
    values = finite_array(differences, "differences", 2)
    n_seeds, n_units = values.shape
    name = "percentile over seeds and units"
    if n_seeds < 2 or n_units < 2:
        return Interval(None, None, level, name, 0, f"{n_seeds} seed(s) and {n_units} unit(s): needs 2 of each")
    counts = resample_counts(n_units, n_resamples, generator, strata)
    replicates = hierarchical_replicates(counts @ values.T / n_units, generator)
    return Interval(*percentile_interval(replicates, level), level, name, n_resamples)
