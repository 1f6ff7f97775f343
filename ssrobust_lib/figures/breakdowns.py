"""What lies below the averages: Dice of each structure, and the labels that each split holds.

Enters: predictions of the segmentation task (one row per scan and structure), or the samples table. Leaves: figures.
"""

import numpy as np
import pandas as pd

from .canvas import StudyFigure, arm_patches, finish, legend_above, message_figure, new_figure, styled
from .style import INK, arm_styles, structure_title
from .tidy import choose_arms, missing_runs, require_columns
from .what_to_see import seen_in_balance, seen_in_structures

_PART_WORDS = {
    "pretext": "pretext task",
    "train": "training",
    "val": "validation",
    "test": "test",
    "external": "other centre",
}
_LABEL_LOOK = {
    "without the finding": ("#9ecae1", ""),
    "with the finding": ("#b5541c", "///"),
    "no label": ("#d9d9d9", "..."),
}


@styled
def structure_dice(
    predictions: pd.DataFrame,
    *,
    dataset: str,
    title: str = "Dice of each structure",
    structures: list[str] | None = None,
    inits: list[str] | None = None,
) -> StudyFigure:
    """Dice per structure and arm: bar = mean over scans and seeds, whisker = standard deviation over scans.

    Parameters
    ----------
    predictions : init, seed, sample_id, structure, dice in [0, 1] (NaN is left out), of one condition.
    structures : order of the rows, top to bottom; default: in order of appearance. One without rows says so.
    """
    require_columns(predictions, ["init", "seed", "sample_id", "structure", "dice"], "predictions")
    valid = predictions.dropna(subset=["dice"])
    if valid.empty:
        return message_figure(title, dataset, "No Dice has been computed yet.")
    arms = choose_arms(valid, inits)
    names = list(valid["structure"].unique()) if structures is None else structures
    by_scan = valid.groupby(["structure", "init", "sample_id"])["dice"].mean()  # over seeds
    mean = by_scan.groupby(["structure", "init"]).mean()
    spread = by_scan.groupby(["structure", "init"]).std(ddof=1)
    styles, thickness = arm_styles(arms), 0.8 / len(arms)

    figure = new_figure(1.9 + len(names) * max(0.3, 0.17 * len(arms)))
    axes = figure.subplots()
    for row, name in enumerate(names):
        if name not in mean.index.get_level_values("structure"):
            axes.text(0.01, row, "in no scan", va="center", fontsize=10.5, fontstyle="italic")
            continue
        for turn, init in enumerate(arms):
            if (name, init) not in mean.index:
                continue
            y, value = row + (turn - (len(arms) - 1) / 2) * thickness, mean[name, init]
            style = styles[init]
            axes.barh(y, value, thickness * 0.94, color=style.colour, hatch=style.hatch, edgecolor="white", linewidth=0)
            if not np.isnan(spread[name, init]):
                low, high = min(spread[name, init], value), min(spread[name, init], 1 - value)
                axes.errorbar(value, y, xerr=[[low], [high]], color=INK, linewidth=1.0, capsize=1.5, zorder=3)
    axes.set_yticks(range(len(names)), [structure_title(name) for name in names], fontsize=10.5)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.set_xlabel("Dice")
    axes.xaxis.grid(True)
    legend_above(axes, arm_patches(arms))
    n_scans = valid["sample_id"].nunique()
    notes = [
        f"Bars: mean over {n_scans} scans and the seeds; whiskers: standard deviation over scans, within [0, 1].",
        missing_runs(valid, arms),
    ]
    return finish(figure, title, dataset, notes, see=seen_in_structures(mean, arms))


@styled
def class_balance(samples: pd.DataFrame, *, dataset: str, title: str = "Labels in each part") -> StudyFigure:
    """Images per split, and how many of them show the finding.

    Parameters
    ----------
    samples : split, label (0, 1 or NA), one row per image.
    """
    require_columns(samples, ["split", "label"], "samples")
    if samples.empty:
        return message_figure(title, dataset, "The samples table has no row.")
    order = ["train", "val", "test", "pretext", "external"]
    present = samples["split"].unique()
    splits = [name for name in order if name in present] + sorted(set(present).difference(order))
    label = samples["label"].astype("Int64")
    kind = pd.Series("no label", index=samples.index)
    kind[(label == 0).fillna(False)] = "without the finding"
    kind[(label == 1).fillna(False)] = "with the finding"
    counts = pd.crosstab(samples["split"], kind).reindex(index=splits, columns=list(_LABEL_LOOK), fill_value=0)

    figure = new_figure(1.7 + 0.5 * len(splits))
    axes = figure.subplots()
    start = np.zeros(len(splits))
    for name, (colour, hatch) in _LABEL_LOOK.items():
        if counts[name].any():
            axes.barh(range(len(splits)), counts[name], 0.7, left=start, color=colour, hatch=hatch, edgecolor="white",
                      linewidth=0, label=name)  # fmt: skip
        start = start + counts[name].to_numpy()
    shares = []
    for row, split in enumerate(splits):
        total, positive = int(counts.loc[split].sum()), int(counts.loc[split, "with the finding"])
        labelled = total - int(counts.loc[split, "no label"])
        shares += [100 * positive / labelled] if labelled else []
        share = f", {100 * positive / labelled:.1f} % with" if labelled else ""
        axes.annotate(f"{total:,}{share}", (total, row), (5, 0), textcoords="offset points", va="center", fontsize=11)
    axes.set_yticks(range(len(splits)), [str(_PART_WORDS.get(split, split)) for split in splits])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(splits) - 0.5, -0.5)
    axes.set_xlim(0, float(start.max()) * 1.32)
    axes.set_xlabel("Images")
    axes.xaxis.grid(True)
    legend_above(axes, axes.get_legend_handles_labels()[0])
    return finish(figure, title, dataset, see=seen_in_balance(shares))
