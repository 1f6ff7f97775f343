"""Sentences on groups of patients, computed from the results (beside sections 3.2 and 3.3 of the paper).

Enters: `statistics.subgroups.subgroup_scores` of one arm. Leaves: Markdown.
"""

from collections.abc import Mapping

import pandas as pd
from IPython.display import Markdown

from ssrobust_lib.figures import counted, paper_label
from ssrobust_lib.figures.subgroups import group_title
from ssrobust_lib.statistics.subgroups import EVERYBODY, ORGAN

_MAIN = ("accuracy", "dice")


def reading_groups(scores: pd.DataFrame, names: Mapping[str, str], scope: str = "clean") -> Markdown:
    """What stands out among the groups of each task: where scores are lowest, and where the arms differ.

    Parameters
    ----------
    scores : rows of one arm and role.
    names : task -> words for its data set; those of other tasks are left out.
    scope : 'clean' or 'all corruptions'.
    """
    rows = scores[(scores["scope"] == scope) & scores["metric"].isin(_MAIN)]
    return Markdown("\n".join(_sentences(rows[rows["task"] == t], f"- *{t}* ({words})") for t, words in names.items()))


def _of_group(row: pd.Series) -> str:
    """'sex: male (0.731, n = 104)'."""
    return f"{group_title(row['attribute'], row['group'])} ({row['mean_reference']:.3f}, n = {row['n']})"


def _sentences(rows: pd.DataFrame, of: str) -> str:
    groups = rows[~rows["attribute"].isin([EVERYBODY, ORGAN])]
    if groups.empty:
        return f"{of}: the set states nothing that tells its patients apart."
    stated = ", ".join(dict.fromkeys(groups["attribute"]))
    measured = groups[groups["difference"].notna()]
    left = len(groups) - len(measured)
    small = f" {left} of them {'is' if left == 1 else 'are'} too small to be scored." if left else ""
    said = f"{of}: {counted(len(groups), 'group')} by {stated}.{small}"
    if measured.empty:
        return said
    lowest, highest = (
        measured.loc[measured["mean_reference"].idxmin()],
        measured.loc[measured["mean_reference"].idxmax()],
    )
    said += (
        f" Normal training scores alike in all of them ({lowest['mean_reference']:.3f})."
        if highest["mean_reference"] - lowest["mean_reference"] < 0.0005
        else f" Normal training scores lowest in {_of_group(lowest)} and highest in {_of_group(highest)}."
    )
    by_seeds = measured["method_ci_low"].notna().any()
    low, high = ("method_ci_low", "method_ci_high") if by_seeds else ("ci_low", "ci_high")
    apart = int(((measured[low] > 0) | (measured[high] < 0)).sum())
    ahead = int((measured["difference"] > 0).sum())
    whose = "the method" if by_seeds else "these networks"
    return said + (
        f" {paper_label(str(measured['arm'].iloc[0]))} is ahead in {ahead} of {len(measured)}; the interval of {whose} "
        f"excludes zero in {apart}."
    )
