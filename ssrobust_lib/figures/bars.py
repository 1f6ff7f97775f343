"""Bars: accuracy and Dice under corruption (Figures 3 and 4 of the paper) and on clean data (Tables 1 and 2).

Enters: a table of scores, one row per (init, seed, corruption, severity), columns `init`, `seed`, `corruption`,
`severity`, `score` (already averaged over patients or scans), and optionally the table of comparisons. Leaves: figures.
"""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from .canvas import StudyFigure, arm_patches, finish, legend_above, legend_strip, message_figure, new_figure, styled
from .style import INK, arm_styles, corruption_title, format_p, order_corruptions, p_colour, paper_label
from .tidy import choose_arms, missing_runs, require_columns, seed_dodge, seed_interval
from .what_to_see import seen_in_bars, seen_in_clean_bars

_GROUP = 0.84
_LOWER = "\u25bc"


def _bar(axes: Axes, x: float, width: float, by_seed: np.ndarray, style) -> float:
    """One bar (mean over seeds), its seeds as dots and its interval; returns the height of what was drawn."""
    mean = float(np.nanmean(by_seed))
    axes.bar(x, mean, width * 0.94, color=style.colour, hatch=style.hatch, edgecolor="white", linewidth=0)
    top = mean
    interval = seed_interval(by_seed)
    if interval is not None:
        low, high = np.clip(interval, 0, 1)
        axes.errorbar(
            x, mean, yerr=[[max(mean - low, 0)], [max(high - mean, 0)]], color=INK, capsize=3, linewidth=1.3, zorder=3
        )
        top = max(top, high)
    if by_seed.size > 1:
        dodge = seed_dodge(by_seed.size, width * 0.55)
        axes.plot(x + dodge, by_seed, "o", color="white", markeredgecolor=INK, markersize=3.6, zorder=4)
        top = max(top, float(np.nanmax(by_seed)))
    return top


def _interval_note(scores: pd.DataFrame) -> str:
    n_seeds = scores.groupby("init")["seed"].nunique().max()
    if n_seeds >= 3:
        return (
            f"Bars: mean over {n_seeds} seeds; dots: seeds; whiskers: 95 % Student interval over seeds, within [0, 1]."
        )
    if n_seeds == 2:
        return "Bars: mean over 2 seeds; dots: seeds; too few seeds for an interval."
    return "One seed: no spread to show."


@styled
def corruption_bars(
    scores: pd.DataFrame,
    comparisons: pd.DataFrame | None = None,
    *,
    metric: str,
    dataset: str,
    title: str = "Performance under corruption",
    inits: list[str] | None = None,
    arm: str = "jigsaw",
    reference: str = "scratch",
    p_column: str = "p_holm",
    include_clean: bool = False,
    majority: float | None = None,
    unreached: Collection[str] = (),
) -> StudyFigure:
    """Severity-averaged score per corruption and arm, p values above: Figure 3 (accuracy) and Figure 4 (Dice).

    Parameters
    ----------
    scores : init, seed, corruption, severity, score in [0, 1]; severities 1 to 5 enter the mean with equal weight.
    comparisons : condition, arm, reference and `p_column`, of one task, set and metric; None prints no p value.
    metric : word on the axis ('Accuracy', 'Dice').
    dataset : name of the data set, printed below.
    inits : arms that ought to be there; those without rows are named below. Default: those present.
    arm, reference : the pair whose p values are printed.
    p_column : 'p_holm' (corrected) or 'p' (as the paper prints it).
    include_clean : put the clean score first.
    majority : accuracy of always giving the more frequent answer, drawn as a line.
    unreached : corruptions whose severity 5 is the end of their range, since the calibration's floor was never reached;
        marked with a star.
    """
    require_columns(scores, ["init", "seed", "corruption", "severity", "score"], "scores")
    scores = scores[(scores["severity"] > 0) | (include_clean & (scores["corruption"] == "clean"))]
    if scores.empty:
        return message_figure(title, dataset, "No corrupted score has been computed yet.")
    arms = choose_arms(scores, inits)
    conditions = order_corruptions(scores["corruption"])
    by_seed = scores.groupby(["corruption", "init", "seed"])["score"].mean()
    styles, width = arm_styles(arms), _GROUP / len(arms)
    p_values = _p_values(comparisons, arm, reference, p_column)
    means = by_seed.groupby(["corruption", "init"]).mean()
    sides = {
        name: f" {_LOWER}" if means.get((name, arm), 0) < means.get((name, reference), 0) else "" for name in conditions
    }

    figure = new_figure(4.6)
    axes = figure.subplots()
    highest = majority or 0.0
    for position, condition in enumerate(conditions):
        top = 0.0
        for turn, init in enumerate(arms):
            if (condition, init) not in by_seed.index.droplevel("seed"):
                continue
            x = position + (turn - (len(arms) - 1) / 2) * width
            top = max(top, _bar(axes, x, width, by_seed[condition, init].to_numpy(), styles[init]))
        highest = max(highest, top)
        if condition in p_values:
            p = p_values[condition]
            axes.annotate(
                format_p(p) + ("" if np.isnan(p) else sides[condition]), (position, top), (0, 5),
                textcoords="offset points", ha="center", va="bottom", fontsize=10.5, color=p_colour(p),
                fontweight="bold" if p < 0.001 else "normal", gid=f"p:{condition}",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
            )  # fmt: skip
    stars = {name: "*" if name in unreached else "" for name in conditions}
    ticks = [corruption_title(name, wrap=True) + stars[name] for name in conditions]
    axes.set_xticks(range(len(conditions)), ticks, fontsize=10.5)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.55, len(conditions) - 0.45)
    end = min(1.0, np.ceil(5 * highest + 0.5) / 5)  # the next tick, with room for the p values
    axes.set_ylim(0, 1.08 * end)
    axes.set_yticks(np.arange(0, end + 0.01, 0.2 if end > 0.6 else 0.1))
    axes.set_ylabel(f"{metric}, mean over severities")
    axes.yaxis.grid(True)
    handles: list = arm_patches(arms)
    if majority is not None:
        handles.append(majority_line(axes, majority))
    legend_above(axes, handles)
    p_note = None
    if p_values:
        words = "Holm-corrected" if p_column == "p_holm" else "uncorrected"
        p_note = (
            f"p ({words}, these networks): {paper_label(arm)} against {paper_label(reference)}; red: p < 0.001; "
            f"{_LOWER}: it scores lower."
        )
    floor_note = "*: the floor was not reached, severity 5 is the end of the range." if any(stars.values()) else None
    notes = [_interval_note(scores), p_note, floor_note, _level_note(scores), missing_runs(scores, arms)]
    return finish(figure, title, dataset, notes, see=seen_in_bars(scores, arms))


def majority_line(axes: Axes, majority: float) -> Line2D:
    """Draw the accuracy of always giving the more frequent answer; return its legend handle."""
    look: dict[str, Any] = {"color": INK, "linestyle": (0, (1, 1.5)), "linewidth": 1.6}
    axes.axhline(majority, zorder=2, **look)
    return Line2D([], [], label=f"more frequent answer ({majority:.3f})", **look)


def _p_values(comparisons: pd.DataFrame | None, arm: str, reference: str, p_column: str) -> dict[str, float]:
    """p value of each condition for one pair of arms."""
    if comparisons is None:
        return {}
    require_columns(comparisons, ["condition", "arm", "reference", p_column], "comparisons")
    pair = comparisons[(comparisons["arm"] == arm) & (comparisons["reference"] == reference)]
    repeated = pair.loc[pair["condition"].duplicated(), "condition"].unique()
    if len(repeated):
        raise ValueError(
            f"comparisons: expected one row per condition for {arm} against {reference}, got several for "
            f"{', '.join(repeated)}: filter to one task, set and metric first"
        )
    return dict(zip(pair["condition"], pair[p_column].astype(float), strict=True))


def _level_note(scores: pd.DataFrame) -> str | None:
    """Sentence on corruptions that were not measured at all five severities."""
    levels = scores[scores["severity"] > 0].groupby("corruption")["severity"].nunique()
    short = [f"{corruption_title(name)} ({n})" for name, n in levels.items() if n < 5]
    return f"Fewer than five severities: {', '.join(short)}." if short else None


@styled
def clean_bars(
    panels: Mapping[str, pd.DataFrame],
    paper: Mapping[str, Mapping[str, float]] | None = None,
    *,
    dataset: str,
    title: str = "Performance on clean data",
    inits: list[str] | None = None,
    majority: Mapping[str, float] | None = None,
) -> StudyFigure:
    """Clean scores of the arms, one panel per metric, with the paper's value as a line across the bar.

    Parameters
    ----------
    panels : metric's name -> table with init, seed, score (severity 0 only).
    paper : metric's name -> init -> value printed in the paper.
    majority : metric's name -> score of always giving the more frequent answer, drawn as a line across the panel.
    """
    if not panels or all(frame.empty for frame in panels.values()):
        return message_figure(title, dataset, "No clean score has been computed yet.")
    for name, frame in panels.items():
        require_columns(frame, ["init", "seed", "score"], f"scores of {name}")
    everything = pd.concat([frame[["init", "seed", "score"]] for frame in panels.values()])
    arms = choose_arms(everything, inits)
    styles = arm_styles(arms)
    figure = new_figure(4.6)
    grid = figure.add_gridspec(2, len(panels), height_ratios=[0.3, 1])
    handles: list = arm_patches(arms)
    if paper:
        handles.append(Line2D([], [], color=INK, linestyle=(0, (2, 1)), label="the paper's value, on its own data"))
    strip = figure.add_subplot(grid[0, :])
    for column, (name, frame) in enumerate(panels.items()):
        axes = figure.add_subplot(grid[1, column])
        for turn, init in enumerate(arms):
            value = (paper or {}).get(name, {}).get(init)
            if value is not None:
                axes.plot([turn - 0.46, turn + 0.46], [value, value], color=INK, linestyle=(0, (2, 1)), zorder=5)
            by_seed = frame[frame["init"] == init].groupby("seed")["score"].mean().to_numpy()
            if by_seed.size:
                _bar(axes, turn, 0.8, by_seed, styles[init])
                mean = float(np.nanmean(by_seed))
                axes.text(turn, 0.03, f"{mean:.3f}", ha="center", fontsize=10.5, fontweight="bold", zorder=6,
                          bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5})  # fmt: skip
        if majority and name in majority:
            handles.append(majority_line(axes, majority[name]))
        axes.set_title(name)
        axes.set_xticks([])
        axes.set_xlim(-0.6, len(arms) - 0.4)
        axes.set_ylim(0, 1)
        axes.yaxis.grid(True)
    legend_strip(strip, handles)
    notes = [_interval_note(everything), missing_runs(everything, arms)]
    return finish(figure, title, dataset, notes, see=seen_in_clean_bars(panels, arms))
