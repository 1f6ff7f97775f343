"""Two runs in pictures: how far every score moved, with its interval, and both runs' curves over the severities.

Enters: `run_comparison.changes.changes` of one task, and `run_comparison.side_by_side.curves`. Leaves: figures. The
paper's Figs. 3 and 4, done twice.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from .canvas import StudyFigure, finish, legend_strip, message_figure, new_figure, styled
from .severities import corruption_panels, panels_height
from .sheets import Sheet
from .style import (
    FAINT,
    INK,
    WIDTH,
    arm_styles,
    corruption_title,
    metric_title,
    order_arms,
    order_corruptions,
    paper_label,
)
from .tidy import require_columns, seed_dodge

_CHANGE_COLUMNS = ["role", "metric", "condition", "arm", "difference", "method_ci_low", "method_ci_high", "verdict"]
_ROW = 0.2  # inches of one arm
_RUN_LINES: dict[str, Any] = {"A": (0, (4, 2)), "B": "-"}


@styled
def change_plot(changes: pd.DataFrame, *, dataset: str, title: str = "What changed from run A to run B") -> StudyFigure:
    """Difference (run B minus run A) of every score with its interval: a row per condition, a marker per arm.

    Parameters
    ----------
    changes : role, metric, condition, arm, difference, method_ci_low, method_ci_high (NaN: no interval), verdict; one
        task, one row per score. A full marker stands for the verdict 'changed'.

    Raises
    ------
    ValueError
        For missing columns.
    """
    require_columns(changes, _CHANGE_COLUMNS, "changes")
    if changes.empty:
        return message_figure(title, dataset, "The runs have no score in common.")
    arms = order_arms(changes["arm"])
    styles, offsets = arm_styles(arms), seed_dodge(len(arms), _ROW * (len(arms) - 1))
    lines = _lines(changes)
    heights = [0.34 if rows is None else _ROW * len(arms) + 0.12 for _, rows in lines]
    below = np.cumsum(heights)
    left, sheet = 1.95, Sheet()
    legend = sheet.strip(0.1 + 0.3 * -(-len(arms) // 2))
    box = (left, sheet.used + 0.05, WIDTH - left - 0.15, float(below[-1]))
    sheet.used = box[1] + box[3] + 0.55
    told = changes["method_ci_low"].notna()
    notes: list[str | None] = [
        "Lines: 95 % interval over other patients and other seeds; full marker: changed, after correction for the "
        "many rows; hollow: within noise, or not tested.",
        f"{int((~told).sum())} of {len(told)} scores are without an interval." if not told.all() else None,
    ]
    figure = sheet.figure(title, dataset, notes)
    legend_strip(sheet.place(legend), [_handle(arm, styles) for arm in arms], columns=2)
    axes = sheet.place(box)
    axes.set_ylim(float(below[-1]), 0)
    for (text, rows), bottom, height in zip(lines, below, heights, strict=True):
        middle = bottom - height / 2
        if rows is None:
            axes.text(-left / box[2], middle, text, transform=axes.get_yaxis_transform(), va="center",
                      fontweight="bold", fontsize=10.5)  # fmt: skip
            continue
        axes.text(-0.02, middle, text, transform=axes.get_yaxis_transform(), ha="right", va="center", fontsize=10.5)
        for arm, offset in zip(arms, offsets, strict=True):
            for _, row in rows[rows["arm"] == arm].iterrows():
                _draw(axes, row, middle + offset, styles[arm])
    axes.axvline(0, color=INK, linewidth=1.1, zorder=0)
    reach = np.nanmax(np.abs(changes[["difference", "method_ci_low", "method_ci_high"]].to_numpy(float)), initial=0.01)
    axes.set_xlim(-1.08 * reach, 1.08 * reach)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.xaxis.grid(True)
    axes.locator_params(axis="x", nbins=5)
    axes.set_xlabel("run B minus run A", fontsize=10.5)
    return figure


def _draw(axes, row: pd.Series, y: float, style) -> None:
    if pd.isna(row["difference"]):
        return
    if pd.notna(row["method_ci_low"]):
        axes.plot([row["method_ci_low"], row["method_ci_high"]], [y, y], color=style.colour, linewidth=2)
    face = style.colour if row["verdict"] == "changed" else "white"
    axes.plot(row["difference"], y, marker=style.marker, markersize=7, color=style.colour, markeredgewidth=1.5,
              markerfacecolor=face)  # fmt: skip


def _handle(arm: str, styles) -> Line2D:
    style = styles[arm]
    return Line2D([], [], color=style.colour, marker=style.marker, linestyle="-", label=paper_label(arm))


def _lines(changes: pd.DataFrame) -> list[tuple[str, pd.DataFrame | None]]:
    """Rows of the plot: a heading per metric and role, then its conditions."""
    lines: list[tuple[str, pd.DataFrame | None]] = []
    for (role, metric), rows in changes.groupby(["role", "metric"], sort=False):
        where = ", another centre" if role == "external" else ""
        lines.append((metric_title(str(metric)) + where, None))
        names = [name for name in order_corruptions(rows["condition"]) if name != "all corruptions"]
        for name in [*names, *(["all corruptions"] if (rows["condition"] == "all corruptions").any() else [])]:
            lines.append((corruption_title(name), rows[rows["condition"] == name]))
    return lines


@styled
def run_curves(
    scores: pd.DataFrame, *, metric: str, dataset: str, title: str = "Both runs against severity"
) -> StudyFigure:
    """Score against severity in both runs, one panel per corruption: mean over seeds, run A dashed and hollow.

    Parameters
    ----------
    scores : run ('A' or 'B'), init, seed, corruption, severity (0 is clean), score; of one task and metric.
    metric : word on the axis.
    """
    require_columns(scores, ["run", "init", "seed", "corruption", "severity", "score"], "scores")
    names = [name for name in order_corruptions(scores["corruption"]) if name != "clean"]
    if not names:
        return message_figure(title, dataset, "The runs have no corruption in common.")
    arms = order_arms(scores["init"])
    styles = arm_styles(arms)
    figure = new_figure(panels_height(len(names)))
    panels, legend = corruption_panels(figure, names)
    for name, axes in panels.items():
        rows = scores[scores["corruption"].isin(["clean", name])]
        means = rows.groupby(["init", "run", "severity"])["score"].mean()
        for init in arms:
            for run, line in _RUN_LINES.items():
                if (init, run) in means.index.droplevel("severity"):
                    curve = means[init, run]
                    axes.plot(curve.index, curve, color=styles[init].colour, linestyle=line, linewidth=1.8,
                              marker=styles[init].marker, markersize=5,
                              markerfacecolor="white" if run == "A" else styles[init].colour)  # fmt: skip
        axes.set_title(corruption_title(name))
        axes.set_xlim(-0.2, 5.2)
        axes.set_xticks(range(6), ["clean", "1", "2", "3", "4", "5"], fontsize=10)
        axes.set_ylim(0, 1.02)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
        axes.grid(True)
    handles = [
        Line2D([], [], color=s.colour, marker=s.marker, linestyle="", label=paper_label(init).replace(" (", "\n("))
        for init, s in styles.items()
    ]
    handles += [
        Line2D([], [], color=FAINT, linestyle=line, marker="o", markerfacecolor="white" if run == "A" else FAINT,
               label=f"run {run}")
        for run, line in _RUN_LINES.items()
    ]  # fmt: skip
    legend_strip(legend, handles, columns=1 if len(names) % 2 else 3, fontsize=10)
    seeds = ", ".join(f"{name}: {of_run['seed'].nunique()}" for name, of_run in scores.groupby("run"))
    notes = [
        f"Vertical: {metric}; horizontal: severity. Lines: mean over seeds ({seeds}). A severity is a strength that "
        "each run found for itself: where the strengths differ, so do the images."
    ]
    return finish(figure, title, dataset, notes)
