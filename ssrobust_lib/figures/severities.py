"""Strength and severity: how the five levels of each corruption were found, and what each does to every arm.

Enters: the table `calibration` (one row per corruption and severity) and the table of scores (init, seed, corruption,
severity, score). Leaves: figures of one panel per corruption. Section 3.3 of the paper (severity levels found on a
validation set so that performance stays above 0.49).
"""

import textwrap
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from .canvas import StudyFigure, finish, legend_strip, message_figure, new_figure, styled
from .style import FAINT, RED, arm_styles, corruption_title, order_corruptions, paper_label
from .tidy import choose_arms, missing_runs, require_columns

_COLUMNS = 2
_LINE = "#00588c"


def _panels(figure: StudyFigure, names: list[str]) -> tuple[dict[str, Axes], Axes]:
    """One panel per corruption, two in a row, and a cell for the legend: the last, or a strip below an even number."""
    n_rows = -(-len(names) // _COLUMNS)
    odd = len(names) % _COLUMNS == 1
    grid = figure.add_gridspec(n_rows + (not odd), _COLUMNS, height_ratios=[1] * n_rows + [0.35] * (not odd))
    panels = {name: figure.add_subplot(grid[divmod(turn, _COLUMNS)]) for turn, name in enumerate(names)}
    return panels, figure.add_subplot(grid[-1, 1] if odd else grid[-1, :])


def _height(n_panels: int) -> float:
    return 1.3 + 2.25 * -(-n_panels // _COLUMNS)


@styled
def calibration_curves(
    calibration: pd.DataFrame,
    sweep: pd.DataFrame | None = None,
    *,
    score_name: str,
    dataset: str,
    title: str = "Severities found on the validation set",
) -> StudyFigure:
    """Validation score against strength for each corruption, the five levels marked, with the floor.

    Parameters
    ----------
    calibration : corruption, severity, strength, unit, score, floor, reached_floor (bool, read at the highest severity:
        whether the corruption, within its declared range, could bring the score down to the floor).
    sweep : corruption, strength, score: further strengths tried, drawn as a thin line.
    score_name : word on the score's axis.
    """
    require_columns(
        calibration, ["corruption", "severity", "strength", "unit", "score", "floor", "reached_floor"], "calibration"
    )
    if calibration.empty:
        return message_figure(title, dataset, "No severity has been calibrated yet.")
    names = order_corruptions(calibration["corruption"])
    figure = new_figure(_height(len(names)))
    panels, legend = _panels(figure, names)
    for name, axes in panels.items():
        levels = calibration[calibration["corruption"] == name].sort_values("severity")
        reached = bool(levels["reached_floor"].iloc[-1])
        if sweep is not None:
            tried = sweep[sweep["corruption"] == name].sort_values("strength")
            axes.plot(tried["strength"], tried["score"], color=FAINT, linewidth=1.0)
        axes.axhline(float(levels["floor"].iloc[0]), color=RED, linestyle=(0, (4, 2)), linewidth=1.3)
        axes.plot(
            levels["strength"], levels["score"], color=_LINE, marker="o", linewidth=1.6, markersize=7,
            markerfacecolor=_LINE if reached else "white", markeredgecolor=_LINE,
        )  # fmt: skip
        for row in levels.itertuples():
            axes.annotate(str(row.severity), (row.strength, row.score), (0, 7), textcoords="offset points",
                          ha="center", fontsize=10)  # fmt: skip
        axes.set_title(corruption_title(name))
        axes.set_xlabel(textwrap.fill(str(levels["unit"].iloc[0]), 34), fontsize=10.5)
        axes.set_xlim(0, None)
        axes.set_ylim(0, 1.08)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
        axes.locator_params(axis="x", nbins=5)
        axes.grid(True)
        if not reached:
            low = float(levels["score"].max()) < 0.4  # the words keep clear of the points
            axes.text(
                0.03, 0.9 if low else 0.06, "floor not reached", transform=axes.transAxes, fontsize=10.5, color=RED
            )
    floors = ", ".join(f"{floor:.2g}" for floor in sorted(calibration["floor"].unique()))
    handles = [
        Line2D([], [], color=_LINE, marker="o", label="severity 1 to 5"),
        Line2D([], [], color=_LINE, marker="o", markerfacecolor="white", label="same, floor not reached"),
        Line2D([], [], color=RED, linestyle=(0, (4, 2)), label=f"floor {floors}"),
    ]
    if sweep is not None:
        handles.append(Line2D([], [], color=FAINT, linewidth=1.0, label="strengths tried"))
    legend_strip(legend, handles, columns=1 if len(names) % _COLUMNS else 2)
    short = levels_missing(calibration)
    arms = "Vertical: mean over seeds of the weaker arm's"
    return finish(figure, title, dataset, [f"{arms} {score_name} on validation images.", short])


def levels_missing(calibration: pd.DataFrame) -> str | None:
    """Sentence on corruptions with fewer than five levels; None where all have them."""
    counts = calibration[calibration["severity"] > 0].groupby("corruption")["severity"].nunique()
    short = [f"{corruption_title(name)} ({n})" for name, n in counts.items() if n < 5]
    return f"Fewer than five levels: {', '.join(short)}." if short else None


@styled
def severity_curves(
    scores: pd.DataFrame,
    *,
    metric: str,
    dataset: str,
    title: str = "Performance against severity",
    inits: list[str] | None = None,
    floor: float | None = None,
    majority: float | None = None,
    bounded: bool = True,
) -> StudyFigure:
    """Score against severity 0 (clean) to 5, one panel per corruption: mean over seeds, and the seeds' range as a band.

    Parameters
    ----------
    scores : init, seed, corruption, severity, score; the rows of 'clean' (severity 0) start every panel's lines.
    metric : word on the axis.
    floor : performance that calibration kept, drawn as a line.
    majority : accuracy of always giving the more frequent answer, drawn as a line.
    bounded : whether the score ends at 1, where every axis ends then; otherwise each panel has a scale of its own.
    """
    require_columns(scores, ["init", "seed", "corruption", "severity", "score"], "scores")
    names = [name for name in order_corruptions(scores["corruption"]) if name != "clean"]
    if not names:
        return message_figure(title, dataset, "No corrupted score has been computed yet.")
    arms = choose_arms(scores, inits)
    styles = arm_styles(arms)
    figure = new_figure(_height(len(names)))
    panels, legend = _panels(figure, names)
    clean = scores[scores["corruption"] == "clean"]
    for name, axes in panels.items():
        rows = pd.concat([clean, scores[(scores["corruption"] == name)]])
        for init in arms:
            style = styles[init]
            table = rows[rows["init"] == init].pivot_table(index="severity", columns="seed", values="score")
            if table.empty:
                continue
            axes.fill_between(table.index, table.min(axis=1), table.max(axis=1), color=style.colour, alpha=0.22,
                              linewidth=0)  # fmt: skip
            axes.plot(table.index, table.mean(axis=1), color=style.colour, linestyle=style.line, marker=style.marker)
        if floor is not None:
            axes.axhline(floor, color=RED, linestyle=(0, (4, 2)), linewidth=1.2)
        if majority is not None:
            axes.axhline(majority, color=FAINT, linestyle=(0, (1, 1.5)), linewidth=1.4)
        axes.set_title(corruption_title(name))
        axes.set_xlim(-0.2, 5.2)
        axes.set_xticks(range(6), ["clean", "1", "2", "3", "4", "5"], fontsize=10)
        if bounded:
            axes.set_ylim(0, 1.02)
            axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
        else:
            axes.set_ylim(0, 1.05 * (float(rows["score"].max()) or 1.0))
        axes.grid(True)
    handles = [
        Line2D([], [], color=s.colour, linestyle=s.line, marker=s.marker, label=_narrow(paper_label(init)))
        for init, s in styles.items()
    ]
    if floor is not None:
        handles.append(Line2D([], [], color=RED, linestyle=(0, (4, 2)), linewidth=1.2, label=f"floor {floor:.2g}"))
    if majority is not None:
        look: dict[str, Any] = {"color": FAINT, "linestyle": (0, (1, 1.5)), "linewidth": 1.4}
        handles.append(Line2D([], [], label="always the more\nfrequent answer", **look))
    legend_strip(legend, handles, columns=1 if len(names) % _COLUMNS else 2)
    n_seeds = scores["seed"].nunique()
    spread = f"Lines: mean of {n_seeds} seeds; bands: their range." if n_seeds > 1 else "One seed: no spread to show."
    scales = "" if bounded else " Every panel has a scale of its own."
    notes = [f"Vertical: {metric}; horizontal: severity.{scales} {spread}", missing_runs(scores, arms)]
    return finish(figure, title, dataset, notes)


def _narrow(label: str) -> str:
    """Break a long label in two lines, for a legend in a narrow cell."""
    return label.replace(": ", ":\n").replace(" (", "\n(") if len(label) > 20 else label
