"""Bootstrap of paired differences: resampling units, and seeds as well.

Enters: differences between two arms, one value per unit (a patient, a scan), by seed. Leaves: replicates of their mean
and intervals. The paper gives no interval; these stand beside its tests (sections 3.2 to 3.4).

Percentiles of replicates over units hold for *these networks* on other patients. They are too narrow for a handful of
units (`make bench ONLY=statistics` measures by how much); BCa corrects bias and skew, not that. Replicates that redraw
the seeds too are about *the method*; with three or five seeds they are too narrow: few distinct sets of seeds can be
drawn, and none of them spreads further than the seeds that there are.
"""

import numpy as np
import numpy.typing as npt

from ssrobust_lib.statistics.paired_tests import FloatArray


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
