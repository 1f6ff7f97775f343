"""The search for severities: the validation score against the strength of each corruption (paper, section 3.3).

Enters: the tables of a calibration cell, one task. Leaves: a figure of one panel per corruption, with the arms, the
score that the rule looks at, its floor, the five levels, and where published tables put theirs.
"""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from .canvas import StudyFigure, finish, legend_strip, message_figure, new_figure, styled
from .severities import COLUMNS, corruption_panels, panels_height
from .style import FAINT, INK, RED, arm_styles, corruption_title, order_arms, order_corruptions, paper_label
from .tidy import require_columns
from .what_to_see import seen_in_calibration

_DASHES = (0, (4, 2))
_WIDEST = 6  # the axis ends at this many times the strength of level 5, or at the strongest measured
_LOWEST = -0.3  # room below zero for the published levels
_PUBLISHED = ("^", "D")  # marker of each published table, row by row from the bottom


@styled
def calibration_curves(
    calibration: pd.DataFrame,
    search: pd.DataFrame,
    *,
    score_name: str,
    dataset: str,
    reference: str = "the weaker arm's",
    units: Mapping[str, tuple[float, str]] | None = None,
    published: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
    title: str = "Severities found on the validation set",
) -> StudyFigure:
    """Validation score against strength for each corruption, the five levels marked, with the floor.

    Parameters
    ----------
    calibration : corruption, severity, strength, unit, score, floor, reached_floor (bool, whether the corruption,
        within its declared range, brings the score down to the floor).
    search : corruption, strength, init, seed, score: everything measured.
    score_name : word on the score's axis.
    reference : whose score the levels are about, in words.
    units : corruption -> (factor, unit): strengths times the factor are in that unit ('sigma, mm'); for the others, the
        table's unit.
    published : name of a table -> corruption -> its strengths, drawn as marks below the curves.
    """
    columns = ["corruption", "severity", "strength", "unit", "score", "floor", "reached_floor"]
    require_columns(calibration, columns, "calibration")
    require_columns(search, ["corruption", "strength", "init", "seed", "score"], "search")
    if calibration.empty:
        return message_figure(title, dataset, "No severity has been calibrated yet.")
    names = order_corruptions(calibration["corruption"])
    styles = arm_styles(order_arms(search["init"].unique()))
    figure = new_figure(panels_height(len(names)) + 0.3 * -(-len(names) // COLUMNS))
    panels, legend = corruption_panels(figure, names)
    for name, axes in panels.items():
        levels = calibration[calibration["corruption"] == name].sort_values("severity")
        factor, unit = (units or {}).get(name, (1.0, str(levels["unit"].iloc[0])))
        tried = search[search["corruption"] == name]
        for init, style in styles.items():
            means = tried[tried["init"] == init].groupby("strength")["score"].mean()
            axes.plot(means.index * factor, means, color=style.colour, linestyle=style.line, linewidth=1.6)
        axes.axhline(float(levels["floor"].iloc[0]), color=RED, linestyle=_DASHES, linewidth=1.3)
        _draw_levels(axes, levels, factor)
        end = min(float(tried["strength"].max()), _WIDEST * float(levels["strength"].max())) * factor
        for row, (marker, table) in enumerate(zip(_PUBLISHED, (published or {}).values(), strict=False)):
            _draw_published(axes, np.asarray(table.get(name, ())) * factor, marker, end, row)
        _square_root_axis(axes, end)
        axes.set_title(corruption_title(name))
        axes.set_xlabel(textwrap.fill(unit, 34), fontsize=10.5)
        axes.set_ylim(_LOWEST if published else 0, 1.08)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
        axes.grid(True)
        if not bool(levels["reached_floor"].iloc[-1]):
            low = float(levels["score"].max()) < 0.4  # the words keep clear of the points
            axes.text(
                0.03, 0.9 if low else 0.24, "floor not reached", transform=axes.transAxes, fontsize=10.5, color=RED
            )
    handles = [
        Line2D([], [], color=style.colour, linestyle=style.line, linewidth=1.6, label=paper_label(init))
        for init, style in styles.items()
    ]
    floors = ", ".join(f"{floor:.2g}" for floor in sorted(calibration["floor"].unique()))
    handles += [
        Line2D([], [], color=INK, marker="o", markerfacecolor="white", linestyle="none", label="severity 1 to 5"),
        Line2D([], [], color=RED, linestyle=_DASHES, label=f"floor {floors}"),
    ]
    handles += [
        Line2D([], [], color=FAINT, marker=marker, linestyle="none", label=f"{table}, 1 to 5")
        for marker, table in zip(_PUBLISHED, published or {}, strict=False)
    ]
    legend_strip(legend, handles, columns=1 if len(names) % COLUMNS else 2)
    notes = [
        f"Vertical: {score_name} on validation images; lines: mean over seeds; circles: {reference} score at "
        "severities 1 to 5. Horizontal: strength, on a square-root scale.",
        "Marks below the curves: levels of published tables; an arrow: further levels beyond the axis."
        if published
        else None,
        levels_missing(calibration),
    ]
    return finish(figure, title, dataset, notes, see=seen_in_calibration(calibration))


def levels_missing(calibration: pd.DataFrame) -> str | None:
    """Sentence on corruptions with fewer than five levels; None where all have them."""
    counts = calibration[calibration["severity"] > 0].groupby("corruption")["severity"].nunique()
    short = [f"{corruption_title(name)} ({n})" for name, n in counts.items() if n < 5]
    return f"Fewer than five levels: {', '.join(short)}." if short else None


def _draw_levels(axes: Axes, levels: pd.DataFrame, factor: float) -> None:
    """Circles with the number of the severity inside."""
    axes.plot(
        levels["strength"] * factor, levels["score"], color=INK, marker="o", linestyle="none", markersize=13,
        markerfacecolor="white", markeredgewidth=1.2, zorder=4,
    )  # fmt: skip
    for row in levels.itertuples():
        axes.annotate(str(row.severity), (row.strength * factor, row.score), ha="center", va="center_baseline",
                      fontsize=10.5, zorder=5)  # fmt: skip


def _draw_published(axes: Axes, strengths: np.ndarray, marker: str, end: float, row: int) -> None:
    """Marks at published strengths in a row of their own below zero, and an arrow where some lie beyond the axis."""
    height = _LOWEST * (0.8 - 0.35 * row)
    shown = strengths[strengths <= end]
    axes.plot(shown, np.full(len(shown), height), color=FAINT, marker=marker, markersize=5, linestyle="none")
    if len(shown) < len(strengths):
        axes.plot([end], [height], color=FAINT, marker=">", markersize=6, linestyle="none", clip_on=False)


def _square_root_axis(axes: Axes, end: float) -> None:
    """From 0 to `end`, on the scale of the square root, on which the search itself compares strengths."""
    axes.set_xscale("function", functions=(_signed_root, _signed_square))
    axes.set_xlim(0, 1.06 * end)
    axes.set_xticks(ticks := square_root_ticks(end), [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()


def square_root_ticks(end: float) -> list[float]:
    """Round numbers from 0 to `end` that stand well apart on a square-root scale.

    Examples
    --------
    >>> square_root_ticks(0.5)
    [0.0, 0.02, 0.1, 0.2, 0.5]
    """
    decade = int(np.floor(np.log10(end)))
    rounds = [float(f"{digit}e{power}") for power in range(decade, decade - 4, -1) for digit in (5, 2, 1)]
    ticks: list[float] = []
    for tick in (tick for tick in rounds if tick <= end * (1 + 1e-9)):
        if np.sqrt(tick) < 0.13 * np.sqrt(end):
            break
        if not ticks or np.sqrt(ticks[-1]) - np.sqrt(tick) >= 0.17 * np.sqrt(end):
            ticks.append(tick)
    return [0.0, *reversed(ticks)]


def _signed_root(values: np.ndarray) -> np.ndarray:
    return np.sign(values) * np.sqrt(np.abs(values))


def _signed_square(values: np.ndarray) -> np.ndarray:
    return np.sign(values) * np.square(values)
