"""The method: seeds and units crossed, both random. Two arms compared as two modalities are by several readers.

Enters: differences d[seed, unit] = arm - reference, paired by seed and unit. Leaves: the mean difference with its
standard error, degrees of freedom, t, p and interval: what another training with other seeds would give on other
patients. The paper tests the networks it happened to train; its readers want to know about the method.

The statistic is that of Obuchowski and Rockette (1995) for two modalities, seeds in the place of readers. With S seeds,
theta_s the difference of seed s (of means, or of AUROCs by their pseudo-values), MS the variance of the theta_s, and
Cov >= 0 the mean covariance of two of them over units,

    t = mean(theta) / sqrt(V),   V = MS / S + Cov.

Degrees of freedom. Hillis (2007) takes Cov as known: df = V^2 / ((MS / S)^2 / (S - 1)). With 12 scans it is not known.
Cov is the difference of two mean squares over units, A - R: A the squared standard error of the seeds' mean, with n - 1
degrees of freedom, R the part of it that differs from seed to seed, with (S - 1)(n - 1). So Satterthwaite's (1946) df
counts them too:

    df = V^2 / ((MS / S)^2 / (S - 1) + sum of A^2 / (n - 1) + sum of R^2 / ((S - 1)(n - 1))),

the sums over blocks of units (the classes of an AUROC, two centres; otherwise one); S - 1 where Cov is 0, and never
fewer than the smaller of S - 1 and n - 1, below which a difference of mean squares can push it. For means this is the
two-way random-effects analysis of variance. By simulation it keeps its level where Hillis' df exceeds it: few scans,
seeds that differ little (`make bench ONLY=statistics`). `book/decisions.md` has the argument.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ssrobust_lib.statistics.paired_tests import FloatArray, finite_array

NO_VARIANCE = 1e-24
SATTERTHWAITE, HILLIS = "Satterthwaite", "Hillis"
_RULES = {SATTERTHWAITE: "Satterthwaite's df", HILLIS: "Hillis' df"}


class Block(NamedTuple):
    """Units that are drawn together: `weight` of their mean in theta, and float64 differences (seeds, units)."""

    weight: float
    differences: FloatArray


@dataclass(frozen=True)
class CrossedResult:
    """What the seeds and units say of the method.

    Attributes
    ----------
    estimate : mean difference over seeds and units.
    standard_error, df, statistic, p, low, high : None where they do not exist (see `note`).
    """

    test: str
    n_seeds: int
    estimate: float | None
    standard_error: float | None
    df: float | None
    statistic: float | None
    p: float | None
    low: float | None
    high: float | None
    note: str = ""


def blocks_of(differences: npt.ArrayLike, strata: npt.NDArray[np.int64] | None = None) -> list[Block]:
    """Blocks for one set: all units, or for an AUROC's pseudo-values each class with its share of the units.

    Parameters
    ----------
    differences : float (n_seeds, n_units).
    strata : int (n_units,), or None.
    """
    values = finite_array(differences, "differences", 2)
    if strata is None:
        return [Block(1.0, values)]
    if np.shape(strata) != values.shape[1:]:
        raise ValueError(f"expected one stratum for each of {values.shape[1]} units, got shape {np.shape(strata)}")
    return [Block(float(np.mean(strata == s)), values[:, strata == s]) for s in np.unique(strata)]


def _no_result(name: str, blocks: Sequence[Block]) -> str:
    """Why there is no test; empty if there may be one."""
    n_seeds = {block.differences.shape[0] for block in blocks}
    if len(n_seeds) != 1:
        raise ValueError(f"{name}: expected blocks of the same seeds, got {sorted(n_seeds)} of them")
    if min(n_seeds) < 2:
        return f"{min(n_seeds)} seed: what other seeds would give cannot be told from it; train at least 2"
    smallest = min(block.differences.shape[1] for block in blocks)
    return f"a group of {smallest} unit(s): each needs at least 2" if smallest < 2 else ""


def crossed_test(
    blocks: Sequence[Block], *, level: float = 0.95, degrees_of_freedom: str = SATTERTHWAITE
) -> CrossedResult:
    """Test and interval of the mean difference, seeds and units random (see the head of this module).

    Parameters
    ----------
    blocks : the same seeds, in the same order, in each; for a difference between two centres one block with weight 1
        and one with -1.
    level : of the interval.
    degrees_of_freedom : 'Satterthwaite', or 'Hillis' for the published rule.

    Raises
    ------
    ValueError : no block, blocks of different seeds, or an unknown rule.
    """
    if not blocks or degrees_of_freedom not in _RULES:
        raise ValueError(
            f"expected at least one block, and {SATTERTHWAITE!r} or {HILLIS!r}; "
            f"got {len(blocks)} and {degrees_of_freedom!r}"
        )
    name = f"Obuchowski-Rockette, {_RULES[degrees_of_freedom]}"
    note = _no_result(name, blocks)
    n_seeds = blocks[0].differences.shape[0]
    if note:
        return CrossedResult(name, n_seeds, None, None, None, None, None, None, None, note)
    theta = np.zeros(n_seeds)
    covariance, known_by, fewest = 0.0, 0.0, n_seeds - 1
    for weight, d in blocks:
        n = d.shape[1]
        seed_means, unit_means = d.mean(axis=1), d.mean(axis=0)
        theta += weight * seed_means
        a = weight**2 * unit_means.var(ddof=1) / n
        rest = d - seed_means[:, None] - unit_means + unit_means.mean()
        r = weight**2 * float((rest**2).sum()) / ((n_seeds - 1) * (n - 1) * n_seeds * n)
        covariance, fewest = covariance + float(a - r), min(fewest, n - 1)
        known_by += float(a**2 / (n - 1) + r**2 / ((n_seeds - 1) * (n - 1)))
    between = float(theta.var(ddof=1)) / n_seeds
    estimate, variance = float(theta.mean()), between + max(covariance, 0.0)
    if variance <= NO_VARIANCE:
        note = f"no variance: every seed has the same difference, {estimate:+.3g}, on every unit"
        return CrossedResult(name, n_seeds, estimate, None, None, None, None, None, None, note)
    unknown = between**2 / (n_seeds - 1)
    if degrees_of_freedom == SATTERTHWAITE and covariance > 0:
        unknown += known_by
    df = max(variance**2 / unknown, fewest) if unknown > 0 else np.inf
    return _by_t(name, n_seeds, estimate, variance**0.5, float(df), level)


def _by_t(name: str, n_seeds: int, estimate: float, error: float, df: float, level: float) -> CrossedResult:
    from scipy.special import ndtr, ndtri, stdtr, stdtrit

    t = estimate / error
    below, quantile = (ndtr(-abs(t)), ndtri((1 + level) / 2)) if np.isinf(df) else (
        stdtr(df, -abs(t)), stdtrit(df, (1 + level) / 2)
    )  # fmt: skip
    reach = float(quantile) * error
    return CrossedResult(name, n_seeds, estimate, error, df, t, float(2 * below), estimate - reach, estimate + reach)


def equivalence_p(estimate: float, standard_error: float, df: float, margin: float) -> float:
    """p of two one-sided tests (Schuirmann 1987) that the difference lies within +-margin; the larger of the two.

    Below alpha exactly where the 1 - 2 alpha interval lies within the margin.
    """
    from scipy.special import stdtr

    if not margin > 0:
        raise ValueError(f"expected a margin above 0, got {margin}")
    return float(max(stdtr(df, (estimate - margin) / standard_error), stdtr(df, -(estimate + margin) / standard_error)))


def detectable_difference(standard_error: float, df: float, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """Smallest true difference that a two-sided t-test with this error and df finds with the stated power.

    From the noncentral t (the far tail, below 0.0001 here, is left out). It takes the error from the data but not the
    observed difference, so it says what the study's size could show, not what it has shown.
    """
    from scipy.special import nctdtrinc, ndtri, stdtrit

    if df > 1e6:
        return float((ndtri(1 - alpha / 2) + ndtri(power)) * standard_error)
    return float(nctdtrinc(df, 1 - power, stdtrit(df, 1 - alpha / 2)) * standard_error)
