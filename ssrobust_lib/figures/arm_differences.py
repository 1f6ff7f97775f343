"""Differences between one arm and several others on clean images and under corruption.

Enters: rows of the comparisons table. Leaves: a figure. It takes the paper's comparison (section 3.1) apart by control
arms, which the paper does not have.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from .amount_curves import CONDITIONS
from .canvas import StudyFigure, finish, message_figure, new_figure, styled
from .style import INK, ArmStyle, arm_styles, format_p, metric_title, order_arms, p_colour, paper_label
from .tidy import require_columns


@styled
def arm_differences(comparisons: pd.DataFrame, *, dataset: str, title: str) -> StudyFigure:
    """One arm against several others, or several arms against one: a panel per score and condition, a row per arm.

    Parameters
    ----------
    comparisons : rows on clean images and of the mean over corruptions, all of one arm or all against one reference;
        columns task, role, metric, scope, arm, reference, difference, its interval `low` and `high`, and `p`.

    Raises
    ------
    ValueError
        For missing columns, or several arms against several references.
    """
    wanted = ["task", "role", "metric", "scope", "arm", "reference", "difference", "low", "high", "p"]
    require_columns(comparisons, wanted, "comparisons")
    if comparisons.empty:
        return message_figure(title, dataset, "This run has no control arm.")
    shared, listed = ("arm", "reference") if comparisons["arm"].nunique() == 1 else ("reference", "arm")
    if comparisons[shared].nunique() > 1:
        pairs = comparisons[["arm", "reference"]].drop_duplicates().agg(" against ".join, axis=1)
        raise ValueError(f"comparisons: expected one arm or one reference, got {', '.join(pairs)}")
    others, one = order_arms(comparisons[listed]), str(comparisons[shared].iloc[0])
    scores = comparisons[["task", "role", "metric"]].drop_duplicates().to_dict("records")
    height = 0.62 + 0.34 * len(others)
    figure = new_figure(1.1 + height * len(scores))
    grid = figure.subplots(len(scores), 2, squeeze=False)
    styles = arm_styles([*others, one])
    for line, score in zip(grid, scores, strict=True):
        for axes, (condition, words) in zip(line, CONDITIONS.items(), strict=True):
            rows = comparisons[(comparisons[list(score)] == pd.Series(score)).all(axis=1)]
            rows = rows[rows["scope"] == condition].set_index(listed)
            if rows["difference"].isna().all() and condition != "clean":  # no such score at another centre
                axes.set_visible(False)
                continue
            _panel(axes, rows, others, styles)
            axes.set_title(f"{metric_title(score['metric'], score['role'])}, {_place(score)}\n{words}", fontsize=11)
        line[0].set_yticks(range(len(others)), [_short(name) for name in others])
        line[1].set_yticks([])
    named = "the arm named at the left"
    difference = f"{paper_label(one)} minus {named}" if shared == "arm" else f"{named} minus {paper_label(one)}"
    interval = "Lines: 95 % interval, other patients and other seeds; full marker: it leaves out zero."
    see = f"Differences: {difference}; right of zero the former is better."
    notes = [
        interval if comparisons["low"].notna().any() else "One seed: no interval that holds for other seeds.",
        "p: Holm-corrected; red: p < 0.001.",
    ]
    return finish(figure, title, dataset, notes, see=see)


def _panel(axes: Axes, rows: pd.DataFrame, others: list[str], styles: dict[str, ArmStyle]) -> None:
    axes.axvline(0, color=INK, linewidth=1.1, zorder=0)
    axes.set_ylim(len(others) - 0.5, -0.5)
    axes.locator_params(axis="x", nbins=4)
    axes.xaxis.grid(True)
    ends = [*rows["low"], *rows["high"], *rows["difference"], 0.0]
    if np.isfinite(ends).any():
        left, right = np.nanmin(ends), np.nanmax(ends)
        axes.set_xlim(left - 0.08 * (right - left), right + 0.45 * (right - left))  # room for the p values
    for y, other in enumerate(others):
        if other not in rows.index or pd.isna(rows.loc[other, "difference"]):
            axes.text(0.5, y, "not measured", transform=axes.get_yaxis_transform(), ha="center", va="center",
                      fontsize=9.5, fontstyle="italic")  # fmt: skip
            continue
        row, style = rows.loc[other], styles[other]
        there = pd.notna(row["low"])
        outside = there and (row["low"] > 0 or row["high"] < 0)
        if there:
            axes.plot([row["low"], row["high"]], [y, y], color=style.colour, linewidth=2.2)
        axes.plot(row["difference"], y, marker=style.marker, markersize=8, color=style.colour, markeredgewidth=1.6,
                  markerfacecolor=style.colour if outside else "white")  # fmt: skip
        p = float(row["p"]) if pd.notna(row["p"]) else None
        axes.text(0.995, y, format_p(p), transform=axes.get_yaxis_transform(), ha="right", va="center", fontsize=9,
                  color=p_colour(p))  # fmt: skip


def _place(score: dict[str, Any]) -> str:
    return {"external": "another centre"}.get(score["role"], score["task"])


def _short(arm: str) -> str:
    words = paper_label(arm)
    if words.endswith(")"):
        words = words.replace("Self-supervised (jigsaw, ", "Puzzles (").replace("Normal training", "Normal")
    return words
