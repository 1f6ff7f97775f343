"""Whether a run can test a claim at all, or has its outcome fixed before anything is measured.

Enters: a claim, the comparisons that it selects, and the run's setting. Leaves: the reason why it cannot be tested, or
nothing. Sections 3.3 and 3.4 of the paper. What cannot come out otherwise is no result, so its verdict is 'not tested':

- a mean is to lie at a level below the floor that the severities were calibrated to stay above;
- a mean under corruption is to lie above a value that clean images already miss;
- a corrected p is to lie below a level that this number of units, in this family of tests, cannot reach;
- one side of an organ is to be missed where the set labels both sides as one structure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ssrobust_lib.statistics.claim_evidence import DIRECTED
from ssrobust_lib.statistics.claims import Claim
from ssrobust_lib.statistics.paired_tests import smallest_signed_rank_p


@dataclass(frozen=True)
class Setting:
    """What a run fixes beforehand.

    Attributes
    ----------
    floors : (task, corruption) -> score that the calibrated severities stay above on validation images; nothing for
        severities that come from elsewhere.
    merged : another centre's set -> structures there that hold both sides of an organ.
    """

    floors: Mapping[tuple[str, str], float] = field(default_factory=dict)
    merged: Mapping[str, Sequence[str]] = field(default_factory=dict)


def smallest_holm(comparisons: pd.DataFrame) -> pd.Series:
    """Smallest p of these networks that each comparison could have after Holm's correction, whatever the data.

    The exact signed-rank test of n units gives no p below 2 / 2**n. Holm's k-th smallest of m p-values is multiplied by
    m - k + 1, and smaller than this one can only be tests that reach smaller p-values: the smallest p counts at least
    as often as the family has tests that do not. Other tests (DeLong's, the t-tests of the method) have no such bound.
    """
    exact = comparisons["test"].str.startswith("Wilcoxon signed-rank, exact")
    smallest = pd.Series(
        [smallest_signed_rank_p(int(n)) if bound else 0.0 for n, bound in zip(comparisons["n"], exact, strict=True)],
        index=comparisons.index,
    )
    found = pd.Series(0.0, index=comparisons.index)
    for _, rows in comparisons.groupby(["family", "reference"], sort=False):
        tested = smallest[rows.index[rows["p"].notna()]].to_numpy()
        for k in rows.index:
            found[k] = min(1.0, smallest[k] * max(1, int((tested >= smallest[k]).sum())))
    return found


def why_untestable(
    claim: Claim, rows: Sequence[dict], comparisons: pd.DataFrame, setting: Setting, estimand: str
) -> str:
    """Reason why no outcome of this run could bear the claim out, or could fail to; empty where it can be tested.

    Parameters
    ----------
    rows : the comparisons behind the claim (`claim_table.claim_parts`), with `smallest_holm` of each.
    comparisons : all of the run, for the scores on clean images.
    """
    reasons = []
    for row in rows:
        part = claim.parts[row["part"]]
        if part.sides and row["set"] in setting.merged:
            names = ", ".join(setting.merged[row["set"]])
            reasons.append(f"on {row['set']} both sides are labelled as one ({names}): a single one cannot be missed")
        if part.rule == "level":
            reasons.append(_below_the_floor(row, setting))
        if part.rule == "above" and row["scope"] != "clean":
            reasons.append(_missed_on_clean_images(row, comparisons))
        if part.rule in DIRECTED and estimand == "networks" and row["smallest_holm"] >= part.alpha:
            reasons.append(
                f"asks for p < {part.alpha:g}; {row['n']} {row['unit']}s in this family of tests give no corrected p "
                f"below {row['smallest_holm']:.2g}"
            )
    return next(filter(None, reasons), "")


def _below_the_floor(row: Mapping, setting: Setting) -> str:
    floor = setting.floors.get((row["task"], row["condition"]))
    if floor is None or row["value"] + row["tolerance"] >= floor:
        return ""
    return (
        f"severities are chosen such that {row['metric']} stays above {floor:.2f} on validation images: "
        f"{row['value']:g} cannot occur"
    )


def _missed_on_clean_images(row: Mapping, comparisons: pd.DataFrame) -> str:
    same = comparisons["scope"] == "clean"
    for column in ("task", "set", "metric", "structure", "arm", "reference"):
        same &= comparisons[column] == row[column]
    lowest = comparisons.loc[same, ["mean_arm", "mean_reference"]].min(axis=None) if same.any() else np.nan
    if not lowest <= row["value"]:
        return ""
    return f"{row['metric']} on clean {row['set']} is {lowest:.3f}, not above {row['value']:g} without any corruption"
