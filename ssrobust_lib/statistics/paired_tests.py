"""Paired tests of these networks: units random, the trained networks as they are.

Enters: differences between two arms, one value per unit (a patient, a scan). Leaves: frozen results with the statistic,
the p-value or the reason why there is none. Implements the significance statements of sections 3.2 to 3.4 ("Wilcoxon
signed-rank statistical test"). Intervals are in `bootstrap`, corrections in `multiplicity`, the test of the method in
`crossed`.

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
    non-zero differences the p-value is exact, by enumeration of the signs, ties or not; above, the normal approximation
    with its correction for ties. Equal to SciPy's `wilcoxon`, a call of which takes twenty times as long.

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
        return TestResult(f"{name}, exact", n, statistic, _exact_signed_rank_p(ranks, statistic))
    from scipy.special import ndtr

    # given the ranks, each has its sign by the toss of a coin: mean sum / 2, variance sum of squares / 4
    z = (statistic - ranks.sum() / 2) / (np.sqrt((ranks**2).sum()) / 2)
    return TestResult(f"{name}, normal approximation", n, statistic, float(min(1.0, 2 * ndtr(z))))


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


def paired_t(differences: npt.ArrayLike) -> TestResult:
    """Student's t-test of paired differences, two-sided (SciPy's `ttest_1samp`); about their mean, as intervals are.

    Parameters
    ----------
    differences : float (n,), arm minus reference, one value per unit.
    """
    values = finite_array(differences, "differences", 1)
    name, n = "Student's t, paired", values.size
    if n < 2:
        return TestResult(name, n, None, None, f"{n} unit(s): needs at least 2")
    if np.ptp(values) <= 10.0**-TIE_DECIMALS:
        return TestResult(name, n, None, None, f"all {n} differences are equal")
    from scipy.special import stdtr

    t = float(values.mean() / (values.std(ddof=1) / n**0.5))
    return TestResult(name, n, t, float(2 * stdtr(n - 1, -abs(t))))


def mcnemar(arm_correct: npt.ArrayLike, reference_correct: npt.ArrayLike) -> TestResult:
    """McNemar's exact test that two arms are right equally often, two-sided, on the same images.

    Given the images that one arm alone gets right, each arm does so with probability 1/2 (binomial, SciPy).

    Parameters
    ----------
    arm_correct, reference_correct : bool (n,), one value per unit.

    Returns
    -------
    TestResult : `statistic` is the smaller of the two counts. p is None where the arms are right about the same units.
    """
    arm, reference = np.asarray(arm_correct), np.asarray(reference_correct)
    if arm.shape != reference.shape or arm.ndim != 1 or arm.dtype != bool or reference.dtype != bool:
        raise ValueError(
            f"expected two equally long arrays of true and false, got {arm.dtype} {arm.shape} and "
            f"{reference.dtype} {reference.shape}"
        )
    name, only_arm, only_reference = "McNemar, exact", int((arm & ~reference).sum()), int((reference & ~arm).sum())
    smaller, discordant = min(only_arm, only_reference), only_arm + only_reference
    if discordant == 0:
        return TestResult(name, arm.size, None, None, "both arms are right about the same units")
    from scipy.special import bdtr

    return TestResult(name, arm.size, float(smaller), float(min(1.0, 2 * bdtr(smaller, discordant, 0.5))))
