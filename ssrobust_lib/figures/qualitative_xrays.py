"""X-rays side by side with what the arms make of them: for X-rays what Figure 5 and Table 3 of the paper do for CT.

Enters: X-rays with their label and each network's probability. Leaves: a figure of one row per case: the image, the
corrupted image where there is one, and a bar per arm.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from .canvas import StudyFigure, message_figure, picture, styled
from .panels import label_word
from .sheets import Box, Sheet
from .style import FAINT, INK, arm_styles, order_arms, paper_label
from .what_to_see import seen_in_xrays


@dataclass(frozen=True)
class XRayCase:
    """One X-ray.

    `image` and `corrupted` are float (H, W) in [0, 1]; `corrupted` is None for a clean image. `probabilities` maps an
    arm to the probability of the finding by each of its seeds, float (n_seeds,). `label` is 0 or 1.
    """

    title: str
    image: np.ndarray
    label: int
    probabilities: Mapping[str, np.ndarray]
    corrupted: np.ndarray | None = None


@styled
def xray_cases(
    cases: Sequence[XRayCase], *, dataset: str, title: str = "X-rays under corruption", note: str | None = None
) -> StudyFigure:
    """Image, corrupted image, and the probability of the finding by each arm, one row per case.

    Parameters
    ----------
    cases : the rows. The column of corrupted images appears when any case has one.
    note : a sentence for the caption, such as the rule by which the cases were chosen.
    """
    if not cases:
        return message_figure(title, dataset, "No case to show.")
    corrupted = any(case.corrupted is not None for case in cases)
    columns = 2 + corrupted
    sheet = Sheet(left=0.28)
    height = sheet.column_width(3)
    boxes = [sheet.row(columns, height, above=0.25 * (turn == 0)) for turn in range(len(cases))]
    several = max(values.size for case in cases for values in case.probabilities.values()) > 1
    seeds = "mean over the seeds; points: single seeds" if several else "the only seed"
    bars = f"Bars: {seeds}; dashed: the threshold of the call."
    means = [
        (case.label, {arm: float(np.mean(values)) for arm, values in case.probabilities.items()}) for case in cases
    ]
    figure = sheet.figure(title, dataset, [bars, note], see=seen_in_xrays(means))
    for row, case in enumerate(cases):
        shown: list[tuple[str, np.ndarray | None]] = [("Image", case.image)]
        shown += [("Corrupted image", case.corrupted)] if corrupted else []
        for column, (name, image) in enumerate(shown):
            axes = sheet.place(boxes[row][column])
            picture(axes, np.full(case.image.shape, 0.93) if image is None else image)
            axes.set_title(name if row == 0 else "", fontsize=10.5, loc="center", pad=4)
            if column == 0:
                axes.set_ylabel(case.title, fontsize=10.5)
        _bars(sheet.place(_inner(boxes[row][-1])), case)
    return figure


def _inner(box: Box) -> Box:
    """The part of a picture's box that leaves room for the words around bars."""
    left, top, width, height = box
    return left + 0.15, top + 0.55, width - 0.25, height - 1.1


def _bars(axes: Axes, case: XRayCase) -> None:
    arms = order_arms(case.probabilities)
    styles = arm_styles(arms)
    axes.set_title(f"Label: {label_word(case.label)}", fontsize=10.5, pad=16)
    for turn, arm in enumerate(arms):
        values, style = np.asarray(case.probabilities[arm], float), styles[arm]
        axes.barh(turn, values.mean(), 0.34, color=style.colour, hatch=style.hatch, edgecolor="white", linewidth=0)
        axes.plot(values, np.full(values.size, turn), linestyle="none", marker="o", markersize=4,
                  markerfacecolor="white", markeredgecolor=INK, clip_on=False)  # fmt: skip
        ground = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        axes.text(0, turn - 0.24, f"{paper_label(arm)}: {values.mean():.2f}", fontsize=10, va="bottom", bbox=ground)
    axes.axvline(0.5, color=FAINT, linewidth=1.2, linestyle=(0, (3, 2)), zorder=0)
    axes.set_xlim(0, 1)
    axes.set_ylim(len(arms) - 0.6, -0.75)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"], fontsize=10)
    axes.set_xlabel("probability of pneumonia", fontsize=10)
