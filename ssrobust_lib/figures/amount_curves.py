"""Curves over numbers of images, and what remains of self-supervision's gain beside each control arm.

Enters: `statistics.amounts.curve_points`, and rows of the comparisons table with other references than normal training.
Leaves: figures. Neither is in the paper; they take apart its comparison of section 3.1.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, NullLocator

from ssrobust_lib.config import REFERENCE_ARM
from ssrobust_lib.control_arms import LABELS

from .canvas import StudyFigure, finish, legend_strip, message_figure, new_figure, styled
from .style import INK, arm_styles, format_p, metric_title, p_colour, paper_label
from .tidy import choose_arms, require_columns

CONDITIONS = {"clean": "Clean images", "all corruptions": "Mean over corruptions"}
_OTHER = {"pneumonia": "X-rays", "organs": "scans"}


@styled
def amount_curves(points: pd.DataFrame, *, metric: str, dataset: str, title: str, severities: str) -> StudyFigure:
    """Score against the number of images, clean and under corruption: mean over seeds and its interval, by arm.

    Parameters
    ----------
    points : `curve_points` of one task, axis and metric.
    metric : word on the vertical axis.
    severities : words for the severities that entered the mean over corruptions, for the caption.

    Raises
    ------
    ValueError
        For missing columns, or rows of several tasks, axes or metrics.
    """
    require_columns(points, ["task", "axis", "metric", "condition", "init", "amount", "n_images", "mean"], "points")
    if points.empty:
        return message_figure(title, dataset, "This run has no such curve.")
    mixed = [name for name in ("task", "axis", "metric") if points[name].nunique() > 1]
    if mixed:
        raise ValueError(f"points: expected one {', one '.join(mixed)}, got several: filter the table first")
    task, axis = points["task"].iloc[0], points["axis"].iloc[0]
    styles = arm_styles(choose_arms(points, None))
    figure = new_figure(4.2)
    grid = figure.add_gridspec(2, 2, height_ratios=[0.2, 1])
    first = figure.add_subplot(grid[1, 0])
    panels = [first, figure.add_subplot(grid[1, 1], sharey=first)]
    for axes, (condition, words) in zip(panels, CONDITIONS.items(), strict=True):
        for turn, (init, style) in enumerate(styles.items()):
            rows = points[(points["condition"] == condition) & (points["init"] == init)].sort_values("n_images")
            if (rows["n_images"] == 0).all():
                _level(axes, rows, style)
            else:
                reach = (rows[["high"]].to_numpy() - rows[["mean"]].to_numpy())[:, 0]
                beside = rows["n_images"] * 1.05**turn  # so that no interval covers another
                axes.errorbar(beside, rows["mean"], yerr=np.nan_to_num(reach), color=style.colour, capsize=4,
                              linestyle=style.line, marker=style.marker, elinewidth=1.4)  # fmt: skip
        axes.set_title(words)
        _ticks(axes, points[points["n_images"] > 0])
        axes.grid(True, axis="y")
    what = f"Labelled {_OTHER.get(str(task), 'images')}" if axis == LABELS else "Unlabelled images of the puzzles"
    for axes in panels:
        axes.set_xlabel(what)
    panels[0].set_ylabel(metric)
    handles = [
        Line2D([], [], color=s.colour, linestyle=s.line, marker=s.marker, label=paper_label(init))
        for init, s in styles.items()
    ]
    legend_strip(figure.add_subplot(grid[0, :]), handles)
    return finish(figure, title, dataset, [*_notes(points), f"Corruptions at {severities}."])


def _level(axes: Axes, rows: pd.DataFrame, style: Any) -> None:
    """A line across the panel for an arm that has seen none of the images along the axis."""
    row = rows.iloc[0]
    axes.axhline(row["mean"], color=style.colour, linestyle=style.line)
    if pd.notna(row["low"]):
        axes.axhspan(row["low"], row["high"], color=style.colour, alpha=0.18, linewidth=0)


def _ticks(axes: Axes, points: pd.DataFrame) -> None:
    """A logarithmic axis with a tick at every number of images, the share below it where that is how it was asked."""
    axes.set_xscale("log")
    ticks = points.drop_duplicates("n_images").sort_values("n_images")
    axes.set_xticks(ticks["n_images"], [_tick(row) for row in ticks.to_dict("records")], fontsize=10)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    low, high = ticks["n_images"].min(), ticks["n_images"].max()
    axes.set_xlim(low / 1.35, high * 1.35)


def _tick(row: dict[str, Any]) -> str:
    return f"{row['n_images']:,}\n{amount_words(row['amount'], counts=False)}".strip()


def amount_words(amount: str, *, counts: bool = True) -> str:
    """'0.05' -> '5 %', 'all' -> 'all', '4' -> '4' (empty without `counts`: the axis says it)."""
    if amount in ("all", "none"):
        return amount
    return f"{100 * float(amount):g} %" if "." in amount else amount if counts else ""


def _notes(points: pd.DataFrame) -> list[str]:
    seeds = sorted(points["n_seeds"].unique())
    what = f"Mean of {', '.join(map(str, seeds))} seeds" if seeds[-1] > 1 else "One seed: no interval"
    lines = "; lines and bands: 95 % interval over seeds (Student), on the same test images." if seeds[-1] > 2 else "."
    return [what + lines]


@styled
def remaining_gains(comparisons: pd.DataFrame, *, dataset: str, title: str) -> StudyFigure:
    """Gain of self-supervision over normal training and over each control arm, one panel per score and condition.

    Parameters
    ----------
    comparisons : rows of one arm on clean images and of the mean over corruptions, with several references; columns
        task, role, metric, scope, arm, reference, difference, its interval `low` and `high`, and `p`.

    Raises
    ------
    ValueError
        For missing columns, or several arms.
    """
    wanted = ["task", "role", "metric", "scope", "arm", "reference", "difference", "low", "high", "p"]
    require_columns(comparisons, wanted, "comparisons")
    if comparisons.empty:
        return message_figure(title, dataset, "This run has no control arm.")
    if comparisons["arm"].nunique() > 1:
        raise ValueError(f"comparisons: expected one arm, got {', '.join(comparisons['arm'].unique())}")
    references = sorted(comparisons["reference"].unique(), key=lambda name: (name != REFERENCE_ARM, name))
    scores = comparisons[["task", "role", "metric"]].drop_duplicates().to_dict("records")
    height = 0.62 + 0.34 * len(references)
    figure = new_figure(1.1 + height * len(scores))
    grid = figure.subplots(len(scores), 2, squeeze=False)
    styles = arm_styles([*references, *comparisons["arm"].unique()])
    for line, score in zip(grid, scores, strict=True):
        for axes, (condition, words) in zip(line, CONDITIONS.items(), strict=True):
            rows = comparisons[(comparisons[list(score)] == pd.Series(score)).all(axis=1)]
            rows = rows[rows["scope"] == condition].set_index("reference")
            if rows["difference"].isna().all() and condition != "clean":  # no such score at another centre
                axes.set_visible(False)
                continue
            _panel(axes, rows, references, styles)
            axes.set_title(f"{metric_title(score['metric'], score['role'])}, {_place(score)}\n{words}", fontsize=11)
        line[0].set_yticks(range(len(references)), [_beside(name) for name in references])
        line[1].set_yticks([])
    interval = "Lines: 95 % interval, other patients and other seeds; full marker: it leaves out zero."
    notes = [
        "Differences: self-supervised minus the arm named at the left; above zero: self-supervision is better.",
        interval if comparisons["low"].notna().any() else "One seed: no interval that holds for other seeds.",
        "p: Holm-corrected; red: p < 0.001.",
    ]
    return finish(figure, title, dataset, notes)


def _panel(axes: Axes, rows: pd.DataFrame, references: list[str], styles: Any) -> None:
    axes.axvline(0, color=INK, linewidth=1.1, zorder=0)
    axes.set_ylim(len(references) - 0.5, -0.5)
    axes.locator_params(axis="x", nbins=5)
    axes.xaxis.grid(True)
    ends = [*rows["low"], *rows["high"], *rows["difference"], 0.0]
    if np.isfinite(ends).any():
        left, right = np.nanmin(ends), np.nanmax(ends)
        axes.set_xlim(left - 0.08 * (right - left), right + 0.45 * (right - left))  # room for the p values
    for y, reference in enumerate(references):
        if reference not in rows.index or pd.isna(rows.loc[reference, "difference"]):
            axes.text(0.5, y, "not measured", transform=axes.get_yaxis_transform(), ha="center", va="center",
                      fontsize=9.5, fontstyle="italic")  # fmt: skip
            continue
        row, style = rows.loc[reference], styles[reference]
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


def _beside(reference: str) -> str:
    words = (
        paper_label(reference).replace("Self-supervised (jigsaw, ", "Puzzles (").replace("Normal training", "Normal")
    )
    return words if reference != REFERENCE_ARM else "Normal training"
