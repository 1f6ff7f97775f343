"""What each severity of a corruption does to every arm (paper, section 3.3).

Enters: the table of scores (init, seed, corruption, severity, score). Leaves: a figure of one panel per corruption.
"""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from .canvas import StudyFigure, finish, legend_strip, message_figure, new_figure, styled
from .hovering import note_marks
from .style import FAINT, RED, arm_styles, corruption_title, order_corruptions, paper_label
from .tidy import choose_arms, missing_runs, require_columns, seed_interval
from .what_to_see import seen_in_severities

COLUMNS = 2
SMALLER_IS_ROBUST = "A line that stays lower belongs to the more robust arm: corruption moves it less."


def corruption_panels(figure: StudyFigure, names: list[str]) -> tuple[dict[str, Axes], Axes]:
    """One panel per corruption, two in a row, and a cell for the legend: the last, or a strip below an even number."""
    n_rows = -(-len(names) // COLUMNS)
    odd = len(names) % COLUMNS == 1
    grid = figure.add_gridspec(n_rows + (not odd), COLUMNS, height_ratios=[1] * n_rows + [0.35] * (not odd))
    panels = {name: figure.add_subplot(grid[divmod(turn, COLUMNS)]) for turn, name in enumerate(names)}
    return panels, figure.add_subplot(grid[-1, 1] if odd else grid[-1, :])


def panels_height(n_panels: int) -> float:
    """Height of a figure of that many panels, inches."""
    return 1.3 + 2.25 * -(-n_panels // COLUMNS)


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
    scores : init, seed, corruption, severity, score; the rows of 'clean' (severity 0) start every panel's lines. With
        `n` and `unit` (how many patients or scans a score is of) the points tell these, too.
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
    figure = new_figure(panels_height(len(names)))
    panels, legend = corruption_panels(figure, names)
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
            means = table.mean(axis=1)
            axes.plot(table.index, means, color=style.colour, linestyle=style.line, marker=style.marker)
            words = [_words(init, name, int(severity), table.loc[severity], rows, bounded) for severity in table.index]
            note_marks(axes, table.index.tolist(), means.tolist(), words)
        if floor is not None:
            axes.axhline(floor, color=RED, linestyle=(0, (4, 2)), linewidth=1.2)
        if majority is not None:
            axes.axhline(majority, color=FAINT, linestyle=(0, (1, 1.5)), linewidth=1.4)
        axes.set_title(corruption_title(name))
        axes.set_xlim(-0.2, 5.2)
        axes.set_xticks(range(6), ["clean", "1", "2", "3", "4", "5"], fontsize=10.5)
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
    legend_strip(legend, handles, columns=1 if len(names) % COLUMNS else 2)
    n_seeds = scores["seed"].nunique()
    spread = f"Lines: mean of {n_seeds} seeds; bands: their range." if n_seeds > 1 else "One seed: no spread to show."
    scales = "" if bounded else " Every panel has a scale of its own."
    notes = [f"Vertical: {metric}; horizontal: severity.{scales} {spread}", missing_runs(scores, arms)]
    see = seen_in_severities(scores, arms) if bounded else SMALLER_IS_ROBUST
    return finish(figure, title, dataset, notes, see=see)


def _words(
    init: str, corruption: str, severity: int, of_seeds: "pd.Series[float]", rows: pd.DataFrame, bounded: bool
) -> str:
    """Words of one point: arm and condition, the mean over seeds and its interval, the seeds' range, what n counts.

    The interval of a score that lies in [0, 1] (`bounded`) is cut at the ends of the scale.
    """
    values = of_seeds.dropna().to_numpy()
    at = f"{corruption_title(corruption)}, severity {severity}" if severity else "Clean"
    lines = [f"{paper_label(init)}, {at}", f"Mean: {values.mean():.3f}"]
    interval = seed_interval(values)
    if interval:
        interval = (max(interval[0], 0.0), min(interval[1], 1.0)) if bounded else interval
        lines[1] += f", 95 % interval over seeds {interval[0]:.3f} to {interval[1]:.3f}"
    if values.size > 1:
        lines.append(f"{values.size} seeds, from {values.min():.3f} to {values.max():.3f}")
    else:
        lines.append("1 seed: no interval")
    if {"n", "unit"} <= set(rows):
        here = rows[(rows["init"] == init) & (rows["severity"] == severity)]
        lines.append(f"n = {int(here['n'].iloc[0])} {here['unit'].iloc[0]}s")
    return "\n".join(lines)


def _narrow(label: str) -> str:
    """Break a long label in two lines, for a legend in a narrow cell."""
    return label.replace(": ", ":\n").replace(" (", "\n(") if len(label) > 20 else label
