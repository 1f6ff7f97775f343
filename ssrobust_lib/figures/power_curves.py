"""Power curves: how often a test finds a difference between the methods, by how large it is.

Enters: the points of simulated studies (`benchmarks.bench_statistics`). Leaves: a figure. Not in the paper.
"""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from .canvas import StudyFigure, finish, legend_strip, message_figure, new_figure, styled
from .style import FAINT, INK, RED
from .tidy import require_columns

COLUMNS = ("metric", "size", "difference", "studies", "method", "networks", "test")
ALPHA, WANTED = 0.05, 0.8
_LINES: dict[str, tuple[str, dict[str, Any]]] = {
    "method": ("test of the method (primary)", {"color": INK, "linestyle": "-", "marker": "o"}),
    "networks": ("test of these networks, read as about the method", {"color": RED, "linestyle": "--", "marker": "s"}),
}


@styled
def power_curves(points: pd.DataFrame, *, dataset: str, title: str) -> StudyFigure:
    """Share of simulated studies with p < 0.05 against the true difference: a row of panels per size, one per metric.

    Parameters
    ----------
    points : metric, size (words), difference (true, as a share), studies, and the rates of the primary test of the
        method and of the test of these networks, whose name is `test`; a curve begins at difference 0.

    Raises
    ------
    ValueError
        For missing columns.
    """
    if points.empty:
        return message_figure(title, dataset, "No power was simulated.")
    require_columns(points, list(COLUMNS), "points")
    metrics = list(dict.fromkeys(points["metric"]))
    turns = {metric: list(dict.fromkeys(points.loc[points["metric"] == metric, "size"])) for metric in metrics}
    height = max(map(len, turns.values()))
    figure = new_figure(0.9 + 2.3 * height)
    grid = figure.add_gridspec(height + 1, len(metrics), height_ratios=[0.3, *[1] * height])
    for column, metric in enumerate(metrics):
        for row, size in enumerate(turns[metric]):
            axes = figure.add_subplot(grid[row + 1, column])
            _panel(axes, points[(points["metric"] == metric) & (points["size"] == size)])
            axes.set_title(size, fontsize=10, fontweight="normal")
            if row == 0:
                axes.set_title(f"{metric[:1].upper()}{metric[1:]}\n", fontsize=12)
                axes.text(0, 1.05, size, transform=axes.transAxes, fontsize=10)
            if row == height - 1 and column == len(metrics) // 2:
                axes.set_xlabel("True difference in points")
            if column == 0:
                axes.set_ylabel("p < 0.05")
            axes.tick_params(labelleft=column == 0)
    handles = [Line2D([], [], label=words, **look) for words, look in _LINES.values()]
    legend_strip(figure.add_subplot(grid[0, :]), handles, columns=1)
    counts = " or ".join(f"{n:,}" for n in sorted(points["studies"].unique()))
    tests = points.drop_duplicates("metric").set_index("metric")["test"]
    notes = [
        "Share of simulated studies in which a test finds a difference; the first point of a curve is the error where "
        "there is none, which should lie on the line at 0.05; dotted: 0.8, the power that studies are planned for.",
        "Tests about these networks: " + "; ".join(f"{metric} {test}" for metric, test in tests.items()) + ".",
        f"{counts} studies per point.",
    ]
    see = (
        "A curve that starts high finds differences between equal methods; only one that starts at 0.05 may be read as "
        "power about the method."
    )
    return finish(figure, title, dataset, notes, see=see)


def _panel(axes: Axes, points: pd.DataFrame) -> None:
    """Both tests at one size, on one metric."""
    axes.axhline(WANTED, color=FAINT, linestyle=":", linewidth=1.2)
    axes.axhline(ALPHA, color=FAINT, linestyle="-", linewidth=0.8)
    drawn = points.sort_values("difference")
    for name, (_, look) in _LINES.items():
        axes.plot(100 * drawn["difference"], drawn[name], **look)
    axes.set(ylim=(-0.04, 1.06), yticks=[0, 0.5, 1])
