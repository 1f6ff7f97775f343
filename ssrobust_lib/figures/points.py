"""Two arms patient by patient, or scan by scan: one point each, against the line of equality.

Enters: `evaluation.pairs.pair_scores`. Leaves: a figure whose points tell name, label and both scores. Beside Tables 1,
2 and 4 of the paper, which average over what is seen here.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from .canvas import StudyFigure, finish, legend_above, message_figure, new_figure, styled
from .hovering import MOST_MARKS, note_marks
from .result_tables import signed
from .style import FAINT, paper_label
from .tidy import require_columns

CELLS = 40
"""Cells along each axis into which points are counted where there are more than `MOST_MARKS`."""

PAIR_WORDS: dict[str, dict[str, Any]] = {
    "pneumonia": {"score": "probability given to the label", "unit": "patient", "threshold": 0.5},
    "organs": {"score": "Dice", "unit": "scan", "threshold": None},
}
"""What the scores of `evaluation.pairs` are, by task."""

_RANGES = ("arm_low", "arm_high", "reference_low", "reference_high")
_LARGEST = 260.0  # square points, of the point that most units share
_LOOK: dict[str, dict[str, Any]] = {
    "": {"color": "#00588c", "marker": "o"},
    "without the finding": {"color": "#56a0d3", "marker": "o"},
    "with the finding": {"color": "#8c2d04", "marker": "^"},
    "some images with the finding": {"color": "#222222", "marker": "s"},
}


@styled
def pair_scatter(
    pairs: pd.DataFrame,
    *,
    arms: tuple[str, str],
    score: str,
    unit: str,
    dataset: str,
    title: str,
    threshold: float | None = None,
) -> StudyFigure:
    """Score of one arm against that of another, one point per unit; above the line the first arm does better.

    With more than `MOST_MARKS` units those in one cell of a grid of `CELLS` by `CELLS` over [0, 1] share a point (by
    label), whose area is in proportion to their number.

    Parameters
    ----------
    pairs : `evaluation.pairs.pair_scores`, scores in [0, 1].
    arms : the arm (vertical) and its reference (horizontal).
    score : words for the score; unit : 'patient' or 'scan'.
    threshold : score drawn as dashed lines on both axes, such as that above which a call is right.
    """
    shared = len(pairs) > MOST_MARKS
    columns = ["name", "label", "arm", "reference", "difference", "n_seeds", *(() if shared else _RANGES)]
    require_columns(pairs, columns, "pairs")
    if pairs.empty:
        return message_figure(title, dataset, f"No {unit} was scored in both arms.")
    figure = new_figure(6.4)
    axes = figure.subplots()
    low, high = _span(pairs[["arm", "reference"]].to_numpy())
    axes.plot([low, high], [low, high], color=FAINT, linewidth=1.2, zorder=1)
    if threshold is not None and low < threshold < high:
        for line in (axes.axhline, axes.axvline):
            line(threshold, color=FAINT, linestyle=(0, (4, 3)), linewidth=1.0, zorder=1)
    points = _counted(pairs, arms, unit) if shared else _single(pairs, arms)
    handles = [
        _drawn(axes, label, points[points["label"] == label], int(points["n"].max()))
        for label in _LOOK
        if label in set(pairs["label"])
    ]
    edge = 0.015 * (high - low)
    axes.set_xlim(low - edge, high + edge)
    axes.set_ylim(low - edge, high + edge)
    axes.set_aspect("equal")
    axes.grid(True)
    axes.set_xlabel(f"{paper_label(arms[1])}: {score}")
    axes.set_ylabel(f"{paper_label(arms[0])}: {score}")
    if any(handle.get_label() for handle in handles):
        legend_above(axes, handles, columns=len(handles))
    better = int((pairs["difference"] > 0).sum())
    n_seeds = int(pairs["n_seeds"].iloc[0])
    means = f"the mean over {n_seeds} seeds" if n_seeds > 1 else "one seed"
    at_line = (
        f" Dashed: {threshold:g}, above which the call on a single image is right." if threshold is not None else ""
    )
    see = f"Above the line {paper_label(arms[0])} does better: {better} of {len(pairs)} {unit}s."
    notes = [
        f"Each score is {means}.{at_line}",
        f"More than {MOST_MARKS} {unit}s: those near one another share a point, its area in proportion to their number."
        if shared
        else None,
    ]
    return finish(figure, title, dataset, notes, see=see)


def _span(scores: np.ndarray) -> tuple[float, float]:
    """Tenths between which all scores lie, at least two apart; the same for both axes."""
    low, high = float(np.floor(10 * scores.min()) / 10), float(np.ceil(10 * scores.max()) / 10)
    low = min(low, max(high - 0.2, 0.0))
    return low, max(high, low + 0.2)


def _drawn(axes: Axes, label: str, points: pd.DataFrame, most: int) -> Line2D:
    """Draw the points of one label with their words, and return what the legend shows."""
    look = _LOOK[label]
    n = points["n"].to_numpy()
    sizes = 30.0 if (n == 1).all() else np.maximum(_LARGEST * n / most, 3.0)
    axes.scatter(
        points["reference"], points["arm"], s=sizes, edgecolors="white", linewidths=0.5, alpha=0.85, zorder=2, **look
    )
    note_marks(axes, points["reference"].tolist(), points["arm"].tolist(), points["words"].tolist())
    return Line2D([], [], linestyle="none", label=label, **look)


def _single(pairs: pd.DataFrame, arms: tuple[str, str]) -> pd.DataFrame:
    """One point per unit, with its words; first those where the first arm is most ahead."""
    table = pairs.sort_values(["difference", "name"], ascending=[False, True])
    words = []
    for row in table.itertuples(index=False):
        ranges = {"arm": (row.arm_low, row.arm_high), "reference": (row.reference_low, row.reference_high)}
        lines = [row.name.split("/")[-1] + (f", {row.label}" if row.label else "")]
        for side, arm in zip(ranges, arms, strict=True):
            seeds = " (seeds {:.3f} to {:.3f})".format(*ranges[side]) if row.n_seeds > 1 else ""
            lines.append(f"{paper_label(arm)}: {getattr(row, side):.3f}{seeds}")
        words.append("\n".join([*lines, f"Difference: {signed(row.difference)}"]))
    return table.assign(words=words, n=1)


def _counted(pairs: pd.DataFrame, arms: tuple[str, str], unit: str) -> pd.DataFrame:
    """One point per occupied cell of the grid and label, at the mean of its units."""
    cell = {side: np.minimum((pairs[side] * CELLS).astype(int), CELLS - 1) for side in ("arm", "reference")}
    groups = pairs.groupby(["label", cell["reference"].rename("across"), cell["arm"].rename("up")])
    table = groups[["arm", "reference"]].mean().assign(n=groups.size()).reset_index()
    table["words"] = [
        f"{row.n} {unit}{'s' if row.n > 1 else ''}{', ' + row.label if row.label else ''}\n"
        f"{paper_label(arms[0])}: mean {row.arm:.3f}\n{paper_label(arms[1])}: mean {row.reference:.3f}"
        for row in table.itertuples(index=False)
    ]
    return table.sort_values(["across", "up"])
