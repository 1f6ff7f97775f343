"""Scores of both arms in four ways to choose what is learned from: what the leaks of a split of rows do.

Enters: the table of `splits.leaks.leak_scores`. Leaves: a figure with a panel per metric. Section 3.1 of the
paper.
"""

from typing import Any

import numpy as np
import pandas as pd

from .canvas import StudyFigure, arm_patches, finish, legend_strip, message_figure, new_figure, styled
from .result_tables import interval_text, signed
from .style import INK, arm_styles, metric_title, paper_label
from .tables import P_FORMATS, HtmlTable, html_table
from .tidy import choose_arms, require_columns, seed_dodge
from .what_to_see import seen_in_leaks

WAY_WORDS = {
    "patient": "by\npatient",
    "pretext leak": "pretext\nleak",
    "label leak": "label\nleak",
    "row": "by row\n(both)",
}
"""Words for each way, in the order in which they are shown."""

_KINDS = {"leak": "itself by patient", "arms": "normal training", "change": "the lead by patient"}
_PANELS = {"accuracy": "Accuracy", "auroc": "AUROC", "leaked found": "Leaked images found"}
_GROUP = 0.8


@styled
def leak_bars(scores: pd.DataFrame, *, dataset: str, title: str = "What leaks of a split of rows do") -> StudyFigure:
    """Mean over seeds per way and arm, the seeds as dots; all ways are scored on the same images.

    Parameters
    ----------
    scores : metric, way, init, seed, value in [0, 1].
    dataset : name of the data set, printed below.
    """
    require_columns(scores, ["metric", "way", "init", "seed", "value"], "scores")
    scores = scores[scores["metric"].isin(list(_PANELS))]
    if scores.empty:
        return message_figure(title, dataset, "No network has been trained with leaks.")
    arms = choose_arms(scores, None)
    styles, width = arm_styles(arms), _GROUP / len(arms)
    figure = new_figure(4.2)
    grid = figure.add_gridspec(2, len(_PANELS), height_ratios=[0.22, 1])
    legend_strip(figure.add_subplot(grid[0, :]), arm_patches(arms))
    for column, (metric, words) in enumerate(_PANELS.items()):
        axes = figure.add_subplot(grid[1, column])
        of_metric = scores[scores["metric"] == metric]
        for position, way in enumerate(WAY_WORDS):
            for turn, arm in enumerate(arms):
                chosen = of_metric[(of_metric["way"] == way) & (of_metric["init"] == arm)]
                values = chosen.sort_values("seed")["value"].to_numpy()
                if not values.size:
                    continue
                x = position + (turn - (len(arms) - 1) / 2) * width
                style = styles[arm]
                axes.bar(x, values.mean(), width * 0.92, color=style.colour, hatch=style.hatch, edgecolor="white")
                if values.size > 1:
                    dodge = seed_dodge(values.size, width * 0.5)
                    axes.plot(x + dodge, values, "o", color="white", markeredgecolor=INK, markersize=3.2, zorder=4)
        axes.set_title(words)
        axes.set_xticks(range(len(WAY_WORDS)), list(WAY_WORDS.values()), fontsize=10.5)
        axes.tick_params(axis="x", length=0)
        axes.set_ylim(0, 1)
        axes.set_yticks(np.arange(0, 1.01, 0.2))
        axes.yaxis.grid(True)
    n = scores.groupby("init")["seed"].nunique().max()
    seeds = f"Bars: mean over {n} seeds; dots: seeds." if n > 1 else "One seed: no spread to show."
    notes = [seeds, "Every way is scored on the same test images."]
    return finish(figure, title, dataset, notes, see=seen_in_leaks(scores, WAY_WORDS))


def leak_table(effects: pd.DataFrame, caption: str, *, dataset: str) -> HtmlTable:
    """Every difference that the leaks make, behind a button: way, arm, against what, interval, seeds, n and p.

    Parameters
    ----------
    effects : of `ssrobust_lib.splits.leaks.leak_effects`.
    """
    rows = [
        {
            "metric": metric_title(row["metric"], "home"),
            "way": WAY_WORDS[row["way"]].replace("\n", " "),
            "arm": paper_label(row["init"]),
            "against": _KINDS[row["kind"]],
            "difference": signed(row["difference"]),
            "interval": interval_text(row["ci_low"], row["ci_high"]),
            "seeds": f"{signed(row['seed_low'])} to {signed(row['seed_high'])}",
            "n": row["n"],
            "p": row["p"],
            "p_holm": row["p_holm"],
        }
        for row in effects.to_dict("records")
    ]
    columns = ["metric", "way", "arm", "against", "difference", "interval", "seeds", "n", "p", "p_holm"]
    headings = {"interval": "95 % interval", "n": "patients", "p_holm": "corrected p"}
    note = "Interval: over patients. Accuracy: signed ranks; AUROC: DeLong's test. Corrected: Holm, over all leaks."
    frame = pd.DataFrame(rows, columns=columns)
    words: dict[str, Any] = {"note": note, "fold": caption}
    return html_table(frame, caption, dataset=dataset, headings=headings, formats=P_FORMATS, data=effects, **words)
