"""Which of a claim's comparisons bears it out least, and how that one is told.

Enters: rows of `claim_table.claim_parts`. Leaves: the row whose interval and p stand for the claim, and words.

A claim that all of its comparisons have to bear out is tested by the union of the null hypotheses: its p is the largest
of the one-sided p-values in the claimed direction (Berger 1982), p / 2 where the difference has the claimed sign and
1 - p / 2 where it has not. The comparison that this p belongs to is the one that is shown, with its own interval and
its own two-sided p. That of equivalence is one-sided already. A comparison without a p bears a claim out least of all.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from ssrobust_lib.statistics.claims import ESTIMANDS, FAILS, HOLDS, RULES_ABOUT_MEANS, UNDECIDED, bounds

DIRECTED = ("higher", "lower")
#: Stands for 'gap' in the name of a comparison with the home set, where at home it is the change from clean images.
HOME_GAP = "gap to home"
_NO_P = 2.0


def where(row: Mapping) -> str:
    """Short name of a comparison among others: what tells it apart."""
    condition = "" if row["scope"] == "clean" else f", {row['condition']}"
    metric = row["metric"]
    if row["role"] == "external" and metric.endswith(" gap"):
        metric = f"{metric.removesuffix(' gap')} {HOME_GAP}"
    return f"{row['set']} {metric}{condition}"


def one_sided_p(row: Mapping, estimand: str) -> float:
    """Holm-corrected p in the claimed direction; of 'similar' that of equivalence; NaN where there is none.

    Of these networks no p of equivalence is in the table: there the bootstrap interval is read as that of a normal
    distribution, which serves for the order of comparisons and is not shown.
    """
    if row["rule"] in DIRECTED:
        p = float(row[ESTIMANDS[estimand].p])
        ahead = float(row["difference"]) * (1 if row["rule"] == "higher" else -1) > 0
        return p / 2 if ahead else 1 - p / 2
    if row["rule"] in RULES_ABOUT_MEANS:
        return np.nan
    return float(row["equivalence_p"]) if estimand == "method" else _equivalence_by_interval(row)


def _equivalence_by_interval(row: Mapping) -> float:
    from scipy.special import ndtr, ndtri

    low, high = bounds(row, "networks")
    difference, error = float(row["difference"]), (high - low) / (2 * ndtri(0.975))
    if not error > 0:
        return np.nan if np.isnan(error) else float(abs(difference) >= row["margin"])
    return float(max(ndtr((difference - row["margin"]) / error), ndtr(-(difference + row["margin"]) / error)))


def least(rows: Sequence[dict], estimand: str) -> dict:
    """The comparison that bears the claim out least: the one with the largest one-sided p.

    Equal ones (p of 1, after the correction) are told apart by how far the interval lies on the claimed side. Rules
    about means have no p: they stand for a claim that has no other, first by verdict, then by size.
    """
    tested = [row for row in rows if row["rule"] not in RULES_ABOUT_MEANS]

    def weakness(row: dict) -> tuple[float, float]:
        p = one_sided_p(row, estimand)
        low, high = bounds(row, estimand)
        sign = {"higher": 1.0, "lower": -1.0}.get(row["rule"], 0.0)
        standing = sign * float(row["difference"]) / (high - low) if high > low else 0.0
        return _NO_P if np.isnan(p) else p, -standing

    def by_means(row: dict) -> tuple[int, float]:
        difference = float(row["difference"])
        farthest = -abs(difference) if np.isfinite(difference) else -np.inf
        return (FAILS, UNDECIDED, HOLDS).index(row["verdict"]), farthest

    return max(tested, key=weakness) if tested else min(rows, key=by_means)


def interval_words(row: Mapping, estimand: str) -> str:
    """'[+0.050, +0.150]', or an empty text where there is no interval."""
    low, high = bounds(row, estimand)
    return f"[{low:+.3f}, {high:+.3f}]" if np.isfinite([low, high]).all() else ""


def named_interval(row: Mapping, estimand: str, described: Mapping | None) -> str:
    """The interval, after the comparison's name where that is not the one `described` elsewhere; means have none."""
    words = "" if row["rule"] in RULES_ABOUT_MEANS else interval_words(row, estimand)
    elsewhere = described is not None and row["comparison"] != described["comparison"]
    return f"{where(row)}: {words}" if words and elsewhere else words


def grounds(rows: Sequence[dict], shown: Mapping, estimand: str) -> str:
    """Why a claim does not hold, where that is due to another comparison than the one shown; else empty."""
    failed = [row for row in rows if row["verdict"] == FAILS]
    if not failed or shown["verdict"] == FAILS:
        return ""
    row = least(failed, estimand)
    if row["rule"] in RULES_ABOUT_MEANS:
        return f"because of {where(row)}: {measured_words(row)}, asked for {asked_words(row)}"
    return f"because of {where(row)}: {interval_words(row, estimand)}"


def asked_words(row: Mapping) -> str:
    """What a rule about means asks for."""
    value = f"{row['value']:g}"
    if row["rule"] == "level":
        return f"{value} ± {row['tolerance']:g} in both arms"
    words = {
        "above": "more than {} in both arms",
        "at most": "{} at most",
        "reference above": "more than {} in the latter",
    }
    return words[row["rule"]].format(value)


def measured_words(row: Mapping) -> str:
    """Both means and their difference."""
    if not np.isfinite(float(row["difference"])):
        return "not measured"
    return f"{row['mean_arm']:.3f} against {row['mean_reference']:.3f} ({row['difference']:+.3f})"
