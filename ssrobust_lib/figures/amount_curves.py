"""Curves over numbers of labelled images, or of those of a pretext task.

Enters: `statistics.amounts.curve_points`. Leaves: a figure. Not in the paper, whose section 3.1 has one number of each.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, NullLocator

from ssrobust_lib.control_arms import LABELS

from .canvas import StudyFigure, finish, legend_strip, message_figure, new_figure, styled
from .style import arm_styles, paper_label
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
    notes = [*_notes(points), f"Corruptions at {severities}."]
    return finish(figure, title, dataset, notes, see="Where the bands of two arms overlap, seeds alone can part them.")


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
