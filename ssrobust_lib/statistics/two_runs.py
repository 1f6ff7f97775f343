"""How far a mean score moved between two runs, and how far it moves by chance: seeds and patients of both runs.

Enters: one score of one arm in two runs, each a value per network (seed) and unit (patient or scan). Leaves: the
difference, run B minus run A, with an interval, a p-value and the smallest difference that would have been seen, for
both questions of this study. The paper compares no runs; this is for its sections 3.2 to 3.4 done twice.

*These networks*: patients are random, the trained networks are as they are. The variance of the difference is that of
the units' means over seeds.

*The method*: patients and seeds are random. In each run every network sees every unit, so a score is a mean over a
two-way layout without replicates (Obuchowski & Rockette 1995, with seeds as readers). The variance of the difference is

    seeds + max(0, units - rest)

where `seeds` is the variance over seeds of the seeds' means, `units` the variance over units of the units' means, both
of the difference of the runs, and `rest`, the interaction of seed and unit, is what both hold. Its degrees of freedom
are Satterthwaite's (1946), the units' part included, as Hillis (2007) has them for many cases.

Units that both runs tested enter paired: their covariance is taken off, in proportion to how many there are. With
all of them common this is the variance of paired differences, with none that of two groups. Seeds are independent
draws, unless the networks of the runs are the same ones: then seeds are paired too.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ssrobust_lib.statistics.paired_tests import FloatArray

POWER = 0.8
_NO_SPREAD = 1e-24  # variance of a difference that rounding alone can make


@dataclass(frozen=True)
class RunScores:
    """One score of one arm in one run.

    Attributes
    ----------
    values : float64 (n_seeds, n_units), finite.
    units : n_units names; a name that both runs have is the same patient or scan.
    strata : int64 (n_units,), the class of each unit where classes are fixed (AUROC); all zero otherwise.
    """

    values: FloatArray = field(repr=False)
    units: tuple[str, ...]
    strata: npt.NDArray[np.int64] = field(repr=False)

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.shape[1] != len(self.units) or self.strata.shape != (len(self.units),):
            raise ValueError(
                f"expected values of shape (seeds, units) with a name and a stratum for each unit, got "
                f"{self.values.shape}, {len(self.units)} names and {self.strata.shape} strata"
            )
        if self.values.size == 0 or not np.isfinite(self.values).all():
            raise ValueError("expected at least one seed and unit and finite values: leave out units without a score")


@dataclass(frozen=True)
class Estimate:
    """What is known of a difference: interval, test, power. All NaN where it cannot be told, and `note` says why.

    Attributes
    ----------
    low, high : bounds of the interval.
    statistic, df, p : Student's t of 'no difference', its degrees of freedom, two-sided p-value.
    detectable : the smallest difference that the test finds with 80 % power.
    """

    low: float = np.nan
    high: float = np.nan
    statistic: float = np.nan
    df: float = np.nan
    p: float = np.nan
    detectable: float = np.nan
    note: str = ""


@dataclass(frozen=True)
class RunDifference:
    """Run B minus run A.

    Attributes
    ----------
    n_common : units that both runs tested.
    equal : every value of every seed and unit is the same, bit for bit.
    networks, method : see the module's description.
    """

    mean_a: float
    mean_b: float
    difference: float
    n_common: int
    equal: bool
    networks: Estimate
    method: Estimate


def run_difference(a: RunScores, b: RunScores, *, same_networks: bool = False, level: float = 0.95) -> RunDifference:
    """Compare one score of two runs.

    Parameters
    ----------
    same_networks : the rows of both are the same trained networks, in the same order: seeds are paired.
    level : of the intervals, between 0 and 1.

    Raises
    ------
    ValueError : the level is outside (0, 1), or the networks are said to be the same and differ in number.
    """
    if not 0 < level < 1:
        raise ValueError(f"level: expected a number between 0 and 1, got {level}")
    if same_networks and len(a.values) != len(b.values):
        raise ValueError(f"the same networks in both runs? got {len(a.values)} and {len(b.values)} of them")
    mean_a, mean_b = float(a.values.mean()), float(b.values.mean())
    places = _common(a, b)
    equal = a.units == b.units and np.array_equal(a.values, b.values)
    networks, method = _estimates(a, b, places, same_networks, mean_b - mean_a, level)
    return RunDifference(mean_a, mean_b, mean_b - mean_a, len(places[0]), equal, networks, method)


def _estimates(
    a: RunScores, b: RunScores, places: tuple[np.ndarray, np.ndarray], same: bool, difference: float, level: float
) -> tuple[Estimate, Estimate]:
    """(these networks, the method)."""
    for name, run in (("A", a), ("B", b)):
        smallest = int(np.unique(run.strata, return_counts=True)[1].min())
        if smallest < 2:
            of = " of one class" if len(np.unique(run.strata)) > 1 else ""
            none = Estimate(note=f"run {name} has {smallest} unit{of}: a spread needs 2")
            return none, none
    by_unit = (a.values.mean(axis=0, keepdims=True), b.values.mean(axis=0, keepdims=True))  # (1, n_units) each
    parts = [_within(values, run.strata) for values, run in zip(by_unit, (a, b), strict=True)]
    units = sum(parts) - 2 * _shared(*by_unit, a, b, places)
    df_units = _df_of_units(a, b, len(places[0]), parts)
    networks = _student(difference, units, df_units, level)
    seeds_a, seeds_b = len(a.values), len(b.values)
    if min(seeds_a, seeds_b) < 2:
        which = "both runs" if max(seeds_a, seeds_b) < 2 else "run A" if seeds_a < 2 else "run B"
        return networks, Estimate(note=f"one seed in {which}: how far seeds differ is not known")
    of_seeds, rest = _seed_terms(a, b, places, same)
    between = max(0.0, units - rest)
    terms = [*of_seeds, *([(units, df_units)] if between else [])]
    total = sum(term for term, _ in of_seeds) + between
    below = sum(term**2 / df for term, df in terms)
    return networks, _student(difference, total, total**2 / below if below > 0 else np.nan, level)


def _seed_terms(
    a: RunScores, b: RunScores, places: tuple[np.ndarray, np.ndarray], same: bool
) -> tuple[list[tuple[float, int]], float]:
    """Variances due to seeds, each with its degrees of freedom, and the part that the units' variance holds too."""
    means = [run.values.mean(axis=1) for run in (a, b)]  # (n_seeds,) each
    numbers = [len(mean) for mean in means]
    left = (a.values - a.values.mean(axis=0), b.values - b.values.mean(axis=0))
    rest = sum(
        _within(values, run.strata) / (n * (n - 1)) for values, run, n in zip(left, (a, b), numbers, strict=True)
    )
    if same:
        n = numbers[0]
        rest -= 2 * _shared(*left, a, b, places) / (n * (n - 1))
        return [(float((means[1] - means[0]).var(ddof=1)) / n, n - 1)], rest
    return [(float(mean.var(ddof=1)) / n, n - 1) for mean, n in zip(means, numbers, strict=True)], rest


def _within(values: FloatArray, strata: npt.NDArray[np.int64]) -> float:
    """Variance of the mean over units, within strata, summed over rows; values (rows, n_units)."""
    total = 0.0
    for stratum in np.unique(strata):
        members = values[:, strata == stratum]
        total += float(members.var(axis=1, ddof=1).sum()) * members.shape[1]
    return total / values.shape[1] ** 2


def _shared(
    of_a: FloatArray, of_b: FloatArray, a: RunScores, b: RunScores, places: tuple[np.ndarray, np.ndarray]
) -> float:
    """Covariance of the two means over units, by the units that both have, within strata, summed over rows."""
    total, (in_a, in_b) = 0.0, places
    for stratum in np.unique(a.strata):
        both = (a.strata[in_a] == stratum) & (b.strata[in_b] == stratum)
        if both.sum() < 2:
            continue
        x, y = of_a[:, in_a[both]], of_b[:, in_b[both]]
        x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
        total += float((x * y).sum()) / (x.shape[1] - 1) * x.shape[1]
    return total / (len(a.units) * len(b.units))


def _common(a: RunScores, b: RunScores) -> tuple[np.ndarray, np.ndarray]:
    """Positions in both runs of the units that both have."""
    where = {name: k for k, name in enumerate(b.units)}
    pairs = [(k, where[name]) for k, name in enumerate(a.units) if name in where]
    both = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _df_of_units(a: RunScores, b: RunScores, n_common: int, parts: list[float]) -> float:
    """Degrees of freedom of the units' variance: paired, of two groups (Welch 1947), or the fewer of the two."""
    free = [len(run.units) - len(np.unique(run.strata)) for run in (a, b)]
    if n_common or sum(parts) == 0:
        return float(min(free))
    return float(sum(parts) ** 2 / sum(part**2 / df for part, df in zip(parts, free, strict=True)))


def _student(difference: float, variance: float, df: float, level: float) -> Estimate:
    from scipy.special import stdtr, stdtrit

    if not variance > _NO_SPREAD or not np.isfinite(df):
        return Estimate(note="no spread in the differences: nothing to test against")
    error = float(np.sqrt(variance))
    reach, statistic = float(stdtrit(df, (1 + level) / 2)), difference / error
    found = error * float(stdtrit(df, 0.975) + stdtrit(df, POWER))
    low, high = difference - reach * error, difference + reach * error
    return Estimate(low, high, statistic, float(df), float(2 * stdtr(df, -abs(statistic))), found)
