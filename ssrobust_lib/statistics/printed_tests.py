"""Which test, on how many units, could have given the paper's p-values? (Sections 3.2 to 3.4, Figs. 3 and 4, Table 4.)

Enters: the printed numbers (`paper_results`) and the units that each set offers. Leaves: tidy tables: for each printed
p and unit whether a Wilcoxon signed-rank test can give it and what it takes; which correlation between the arms a
paired t-test on the printed means and deviations needs; on how many images the two arms have to disagree.

The paper says "Wilcoxon signed-rank statistical test" and states neither unit nor n. With n untied differences the
two-sided exact p is one of finitely many; it depends on the sum of the ranks on the losing side alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ssrobust_lib.datasets.manifest import load_manifest
from ssrobust_lib.statistics.paired_tests import EXACT_UP_TO
from ssrobust_lib.statistics.printed_numbers import rounding_range, rows_by_class

FloatArray = npt.NDArray[np.float64]

#: Complete gold-corpus scans in the table of the first author's earlier code (shape_aware_segmentation, 2019).
GOLD_SCANS_LISTED = 23
LARGEST_SEARCHED = 5000

SIGNED_RANK_COLUMNS = (
    "source", "set", "metric", "condition", "printed_p", "unit", "n", "smallest_p", "possible", "opposed_low",
    "opposed_high", "rank_biserial_low", "rank_biserial_high", "note",
)  # fmt: skip
T_TEST_COLUMNS = (
    "source",
    "set",
    "printed_p",
    "unit",
    "n",
    "correlation_low",
    "correlation_high",
    "possible",
    "likely",
)


NO_VALUE_PER_UNIT = "an AUROC has no value per image"


@dataclass(frozen=True)
class Unit:
    """What may have been paired: words for it, and how many of them there are."""

    words: str
    n: int


def candidate_units(results: pd.DataFrame, set_name: str, condition: str) -> list[Unit]:
    """Units that a set offers under a condition; numbers from the paper where it prints them, else as published."""
    value = results.set_index("id")["value"]
    severities = int(value["text.severities"])
    if set_name == "rsna":
        units = [Unit("test images", int(value["text.rsna.test"]))]
    elif set_name == "visceral":
        gold, organs = int(value["text.visceral.gold"]), int(value["text.visceral.structures"])
        units = [
            Unit("scans", gold),
            Unit("scans, as an earlier table lists them", GOLD_SCANS_LISTED),
            Unit("structures", organs),
            Unit("structures of scans", gold * organs),
        ]
    else:
        labelled = int(load_manifest(set_name).counts["labelled"])
        units = [Unit("scans with labels", labelled), Unit("kidneys, two to a scan", 2 * labelled)]
    if condition != "clean":
        units += [Unit("severities", severities), Unit(f"{units[0].words} x severities", units[0].n * severities)]
    return units


def signed_rank_p_values(n: int) -> FloatArray:
    """Exact two-sided p of every possible smaller rank sum of n untied differences, ascending: float64 (rank sums,).

    By the generating function prod (1 + z**k) / 2**n over the ranks k.

    Raises
    ------
    ValueError : no unit, or more than `EXACT_UP_TO`, for which `paired_tests.signed_rank` approximates as well.
    """
    if not 1 <= n <= EXACT_UP_TO:
        raise ValueError(f"exact signed-rank distribution: expected 1 to {EXACT_UP_TO} units, got {n}")
    total = n * (n + 1) // 2
    probability = np.zeros(total + 1)
    probability[0] = 1.0
    for rank in range(1, n + 1):
        shifted = np.zeros_like(probability)
        shifted[rank:] = probability[:-rank]
        probability = (probability + shifted) / 2
    return np.minimum(1.0, 2 * np.cumsum(probability)[: total // 2 + 1])


def possible_rank_sums(n: int, printed_p: str) -> tuple[int, int] | None:
    """Smallest and largest losing rank sum whose p prints like this, or None where none does.

    Exact up to `EXACT_UP_TO` units; beyond, by the normal approximation without a correction for continuity, as in
    `paired_tests.signed_rank`.
    """
    low, high = rounding_range(printed_p)
    if n <= EXACT_UP_TO:
        first, last = np.searchsorted(signed_rank_p_values(n), [low, high])  # p in [low, high)
    else:
        from scipy.special import ndtri

        half, deviation = n * (n + 1) / 4, np.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        ends = [0.0 if p == 0 else half + deviation * ndtri(p / 2) for p in (low, high)]
        first, last = np.ceil(np.maximum(ends, 0.0))
    return (int(first), int(last) - 1) if last > first else None


def smallest_n(printed_p: str) -> int:
    """Fewest untied differences with which a signed-rank test can print this p.

    Raises
    ------
    ValueError : no number up to `EXACT_UP_TO` will do.
    """
    for n in range(1, EXACT_UP_TO + 1):
        if possible_rank_sums(n, printed_p):
            return n
    raise ValueError(f"p {printed_p}: no signed-rank test of up to {EXACT_UP_TO} units gives it")


def signed_rank_table(results: pd.DataFrame) -> pd.DataFrame:
    """Every printed p with every unit that its set offers.

    Returns
    -------
    DataFrame with `SIGNED_RANK_COLUMNS`. `opposed_*`: share of the rank sum on the losing side, in [0, 0.5], over all
    p that print alike; `rank_biserial_*`: the effect size that this is, 1 - 2 x the share. NaN where p is impossible,
    or where the metric has no value for the unit, which `note` says.
    """
    rows = []
    for printed in results[results["printed_p"] != ""].to_dict("records"):
        for unit in candidate_units(results, printed["set"], printed["condition"]):
            note = NO_VALUE_PER_UNIT if printed["metric"] == "auroc" else ""
            found = None if note else possible_rank_sums(unit.n, printed["printed_p"])
            total = unit.n * (unit.n + 1) / 2
            shares = (found[0] / total, found[1] / total) if found else (np.nan, np.nan)
            place = (printed["source"], printed["set"], printed["metric"], printed["condition"], printed["printed_p"])
            effects = (1 - 2 * shares[1], 1 - 2 * shares[0])
            smallest = float(min(1.0, 2.0 ** (1 - unit.n)))
            rows.append((*place, unit.words, unit.n, smallest, found is not None, *shares, *effects, note))
    return pd.DataFrame(rows, columns=list(SIGNED_RANK_COLUMNS))


def needed_correlations(
    n: int, printed_p: str, difference: tuple[float, float], deviations: Sequence[tuple[float, float]]
) -> tuple[float, float]:
    """Correlations between two arms with which a paired t-test prints this p; may lie outside [-1, 1].

    From t = d sqrt(n) / s_d follows s_d, from s_d**2 = s_1**2 + s_2**2 - 2 r s_1 s_2 follows r.

    Parameters
    ----------
    difference : range of the mean difference; positive.
    deviations : range of the standard deviation of each arm, over units.

    Returns
    -------
    (low, high) over all values that round to the printed ones.
    """
    smallest, largest = _needed_deviations(np.array([n]), printed_p, difference)
    return _correlations((float(smallest[0]), float(largest[0])), deviations)


def _needed_deviations(
    n: npt.NDArray[np.int64], printed_p: str, difference: tuple[float, float]
) -> tuple[FloatArray, FloatArray]:
    """Smallest and largest standard deviation of the differences with which a paired t-test prints this p."""
    from scipy.stats import t

    p_low, p_high = rounding_range(printed_p)
    smallest = difference[0] * np.sqrt(n) / t.isf(p_low / 2, n - 1)  # p of 0: t is infinite
    return smallest, difference[1] * np.sqrt(n) / t.isf(p_high / 2, n - 1)


def _correlations(of_difference: tuple[float, float], of_arms: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Range of r in s_d**2 = s_1**2 + s_2**2 - 2 r s_1 s_2 over ranges of the three deviations."""
    first, second, between = np.meshgrid(*(np.linspace(*ends, 9) for ends in (*of_arms, of_difference)), indexing="ij")
    r = (first**2 + second**2 - between**2) / (2 * first * second)
    return float(r.min()), float(r.max())


def _printed_pair(results: pd.DataFrame, source: str, metric: str) -> tuple[dict, dict]:
    rows = results[(results["source"] == source) & (results["metric"] == metric)].set_index("arm")
    return rows.loc["jigsaw"].to_dict(), rows.loc["scratch"].to_dict()


def _difference(arm: dict, reference: dict) -> tuple[float, float]:
    (arm_low, arm_high), (low, high) = rounding_range(arm["printed"]), rounding_range(reference["printed"])
    return arm_low - high, arm_high - low


def t_test_table(results: pd.DataFrame) -> pd.DataFrame:
    """What a paired t-test on the printed means and deviations takes, for each unit and for the fewest possible.

    Returns
    -------
    DataFrame with `T_TEST_COLUMNS`; `possible`: some correlation in [-1, 1] does; `likely`: one above 0, as two
    networks that are tested on the same units have it.
    """
    rows = []
    for source in ("Table 2", "Table 4"):
        arm, reference = _printed_pair(results, source, "dice")
        deviations = [rounding_range(row["printed_std"]) for row in (arm, reference)]
        fewest = Unit("fewest units of a signed-rank test", smallest_n(arm["printed_p"]))
        for unit in [fewest, *candidate_units(results, arm["set"], "clean")]:
            low, high = needed_correlations(unit.n, arm["printed_p"], _difference(arm, reference), deviations)
            possible = low <= 1 and high >= -1
            likely = possible and high > 0
            rows.append((source, arm["set"], arm["printed_p"], unit.words, unit.n, low, high, possible, likely))
    return pd.DataFrame(rows, columns=list(T_TEST_COLUMNS))


def fitting_sizes(results: pd.DataFrame, source: str) -> tuple[int, int] | None:
    """Fewest and most units with which some correlation in [-1, 1] gives the printed p; None if there are none."""
    arm, reference = _printed_pair(results, source, "dice")
    deviations = [rounding_range(row["printed_std"]) for row in (arm, reference)]
    sizes = np.arange(3, LARGEST_SEARCHED + 1)
    smallest, largest = _needed_deviations(sizes, arm["printed_p"], _difference(arm, reference))
    (first_low, first_high), (second_low, second_high) = deviations
    # s_d lies between |s_1 - s_2| (correlation 1) and s_1 + s_2 (correlation -1)
    nearest = max(first_low - second_high, second_low - first_high, 0.0)
    fits = sizes[(smallest <= first_high + second_high) & (largest >= nearest)]
    return (int(fits[0]), int(fits[-1])) if fits.size else None


def discordant_shares(results: pd.DataFrame) -> dict[str, float]:
    """Share of the test images that one arm gets right and the other wrong, if images are the unit.

    Differences are then -1, 0 and 1, all ranks are tied, and the test statistic is z = (b - c) / sqrt(b + c), with b
    and c images won and lost: McNemar's without correction.

    Returns
    -------
    `low` and `high`, which print this p with these accuracies; `least` and `most`, which the accuracies allow;
    `independent`, if the arms' errors had nothing to do with each other.
    """
    from scipy.stats import norm

    arm, reference = _printed_pair(results, "Table 1", "accuracy")
    n = results.set_index("id")["value"]["text.rsna.test"]
    gain, p_values = _difference(arm, reference), rounding_range(arm["printed_p"])
    low, high = ((gain[k] / norm.isf(p_values[k] / 2)) ** 2 * n for k in (0, 1))
    a, b = arm["value"], reference["value"]
    return {
        "low": low, "high": high, "least": a - b, "most": min(a, b, 1 - a, 1 - b) * 2 + abs(a - b),
        "independent": a * (1 - b) + b * (1 - a),
    }  # fmt: skip


def auroc_error(auroc: float, n_positive: int, n_negative: int) -> float:
    """Standard error of an AUROC (Hanley and McNeil 1982, eq. 2, exponential approximation)."""
    q1, q2 = auroc / (2 - auroc), 2 * auroc**2 / (1 + auroc)
    variance = auroc * (1 - auroc) + (n_positive - 1) * (q1 - auroc**2) + (n_negative - 1) * (q2 - auroc**2)
    return float(np.sqrt(variance / (n_positive * n_negative)))


def auroc_correlations(results: pd.DataFrame) -> tuple[float, float]:
    """Correlations between the two AUROCs with which their z-test prints the paper's p.

    Class sizes are those of a test set of a tenth of the label rows within each class, which has the printed size.
    """
    from scipy.stats import norm

    arm, reference = _printed_pair(results, "Table 1", "auroc")
    negative, positive = (-(-rows // 10) for rows in rows_by_class())
    errors = []
    for row in (arm, reference):
        low, high = rounding_range(row["printed"])
        errors.append((auroc_error(high, positive, negative), auroc_error(low, positive, negative)))
    gain, p_values = _difference(arm, reference), rounding_range(arm["printed_p"])
    between = (gain[0] / norm.isf(p_values[0] / 2), gain[1] / norm.isf(p_values[1] / 2))
    return _correlations((float(between[0]), float(between[1])), errors)
