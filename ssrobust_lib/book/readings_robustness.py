"""Sentences that read drops, corruption errors and feature distances; no number in them is typed.

Enters: `condition_scores.scores_table` and `corruption_error.corruption_errors`. Leaves: Markdown text (sections 2 and
3.3 of the paper).
"""

import pandas as pd
from IPython.display import Markdown

from ssrobust_lib.book.wording import chosen_of, listed
from ssrobust_lib.config import REFERENCE_ARM
from ssrobust_lib.figures import corruption_word, order_arms, order_corruptions, paper_label
from ssrobust_lib.statistics.comparisons import ALL_CORRUPTIONS


def _other_arms(rows: pd.DataFrame) -> list[str]:
    return [arm for arm in order_arms(rows["init"]) if arm != REFERENCE_ARM]


def reading_corruption_errors(
    errors: pd.DataFrame, names: dict[str, str], scores: pd.DataFrame | None = None
) -> Markdown:
    """mCE of every arm against normal training, with its range over the seeds, and where an arm errs less.

    Parameters
    ----------
    scores : of the same conditions; with them, corruptions are named for which accuracy says otherwise.
    """
    lines = []
    for task in [name for name in names if (errors["task"] == name).any()]:
        rows = errors[errors["task"] == task]
        overall = rows[rows["corruption"] == ALL_CORRUPTIONS]
        reference = overall.loc[overall["init"] == REFERENCE_ARM, "ce"]
        for arm in _other_arms(rows):
            own = overall.loc[overall["init"] == arm, "ce"]
            if own.isna().any():
                lines.append(
                    f"- *{task}* ({names[task]}), {paper_label(arm)}: mCE is undefined, see the table's notes."
                )
                continue
            by_corruption = rows[(rows["init"] == arm) & (rows["corruption"] != ALL_CORRUPTIONS)]
            means = by_corruption.groupby("corruption")["ce"].mean()
            order = order_corruptions(means.index)
            less = [corruption_word(name) for name in order if means[name] < 1]
            overlap = own.min() <= reference.max() and reference.min() <= own.max()
            spread = (
                f" (seeds {own.min():.3f} to {own.max():.3f}; those of normal training {reference.min():.3f} to "
                f"{reference.max():.3f}{', which overlap' if overlap else ''})"
            )
            lines.append(
                f"- *{task}* ({names[task]}), {paper_label(arm)}: mCE {own.mean():.3f}"
                f"{spread if len(own) > 1 else ' (one seed)'}. It errs less than normal training under "
                f"{chosen_of(less, [corruption_word(name) for name in order], 'corruption')}."
                f"{_accuracy_differs(rows, means, scores, task, arm)}"
            )
    return Markdown("\n".join(lines) or "This run has no corrupted image.")


def _accuracy_differs(
    errors: pd.DataFrame, ce: "pd.Series[float]", scores: pd.DataFrame | None, task: str, arm: str
) -> str:
    """Name the corruptions for which accuracy and an error by balanced accuracy put different arms ahead."""
    if scores is None or errors["metric"].iloc[0] != "balanced_accuracy":
        return ""
    chosen = scores[(scores["task"] == task) & (scores["set"] == errors["set"].iloc[0]) & (scores["severity"] > 0)]
    means = chosen[chosen["metric"] == "accuracy"].groupby(["corruption", "init"])["value"].mean().unstack("init")
    lead = means[arm] - means[REFERENCE_ARM]
    other = [name for name in order_corruptions(ce.index) if (lead[name] > 0) != (ce[name] < 1)]
    if not other:
        return ""
    return (
        f" By accuracy it is the other way round under {listed([corruption_word(name) for name in other])}: there one "
        "arm gains on the more frequent class what it loses on the rarer one, which this error counts equally."
    )


def reading_features(scores: pd.DataFrame, names: dict[str, str]) -> Markdown:
    """Whose features move less: the paper's own definition of robustness, beside whose score drops less."""
    lines = []
    moved = scores[(scores["metric"] == "feature_distance") & (scores["severity"] > 0)]
    for task in [name for name in names if (moved["task"] == name).any()]:
        rows = moved[moved["task"] == task]
        means = rows.groupby(["corruption", "init"])["value"].mean().unstack("init")
        for arm in _other_arms(rows):
            order = order_corruptions(means.index)
            less = [corruption_word(n) for n in order if means.loc[n, arm] < means.loc[n, REFERENCE_ARM]]
            ours, theirs = means[arm].mean(), means[REFERENCE_ARM].mean()
            lines.append(
                f"- *{task}* ({names[task]}): the features of {paper_label(arm)} move by {ours:.2f} of the distance "
                f"between two patients, those of normal training by {theirs:.2f} (mean over corruptions, severities, "
                f"seeds). They move less under {chosen_of(less, [corruption_word(n) for n in order], 'corruption')}."
            )
    if not lines:
        return Markdown("This run has no corrupted image.")
    return Markdown("\n".join([*lines, _features_and_scores(scores)]))


def _features_and_scores(scores: pd.DataFrame) -> str:
    """How far the definition and the drop agree, over networks and corruptions."""
    lines = []
    for task, metric in (("pneumonia", "accuracy"), ("organs", "dice")):
        rows = scores[(scores["task"] == task) & (scores["structure"] == "") & (scores["severity"] > 0)]
        keys = ["corruption", "init", "seed"]
        moved = rows[rows["metric"] == "feature_distance"].groupby(keys)["value"].mean()
        lost = rows[rows["metric"] == metric].groupby(keys)["drop"].mean()
        both = pd.concat([moved, lost], axis=1).dropna()
        if len(both) > 2 and both["value"].nunique() > 1 and both["drop"].nunique() > 1:
            rank = both["value"].corr(both["drop"], method="spearman")
            lines.append(f"{rank:.2f} on *{task}* ({len(both)} pairs of network and corruption)")
    return f"\nRank correlation of distance and drop: {listed(lines)}." if lines else ""


def reading_confusion(scores: pd.DataFrame) -> Markdown:
    """Whether corruption makes a network take one structure for another, and the left for the right."""
    rows = scores[scores["metric"].isin(["flipped", "mirrored"]) & (scores["structure"] == "")]
    if rows.empty:
        return Markdown("This run has no CT.")
    lines = []
    for arm in order_arms(rows["init"]):
        part = rows[rows["init"] == arm]
        words: list[str] = []
        for metric, what in (("flipped", "another structure"), ("mirrored", "its mirror image")):
            of_metric = part[part["metric"] == metric]
            clean = of_metric.loc[of_metric["severity"] == 0, "value"].mean()
            corrupted = of_metric.loc[of_metric["severity"] > 0, "value"].mean()
            if pd.notna(clean) and pd.notna(corrupted):
                of = "of them" if words else "of a structure's voxels"
                now = f"{100 * corrupted:.1f} % on corrupted ones"
                words.append(f"{100 * clean:.1f} % {of} go to {what} on clean scans and {now}")
        lines.append(f"- {paper_label(arm)}: {listed(words)}.")
    lines.append(
        "- A voxel that is lost to the background counts as neither: where organs vanish, fewer can be swapped."
    )
    return Markdown("\n".join(lines))
