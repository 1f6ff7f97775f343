"""Segmentations side by side: Figure 5 (corrupted image) and Table 3 (another centre) of the paper.

Enters: slices with the true and the predicted structures. Leaves: a figure of one row per case: image with the truth,
corrupted image where there is one, and the prediction of each arm.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .canvas import StudyFigure, legend_strip, message_figure, picture, styled
from .images import legend_rows, overlay, structure_patches
from .sheets import Sheet
from .style import order_arms, paper_label, structure_colours
from .what_to_see import seen_in_cases

_MISSING: Any = object()


@dataclass(frozen=True)
class Case:
    """One slice: all arrays (H, W), masks with value = position of the structure + 1.

    `image` and `corrupted` are float in [0, 1]; `corrupted` is None for a clean image. `predictions` maps an arm to its
    mask, `dice` an arm to the mean Dice printed below it. `aspect` is pixel height over pixel width.
    """

    title: str
    image: np.ndarray
    truth: np.ndarray
    predictions: Mapping[str, np.ndarray]
    corrupted: np.ndarray | None = None
    dice: Mapping[str, float] = field(default_factory=dict)
    aspect: float = 1.0


@styled
def segmentation_cases(
    cases: Sequence[Case],
    *,
    structures: Sequence[str],
    dataset: str,
    title: str = "Predictions under corruption",
    inits: list[str] | None = None,
    note: str | None = None,
) -> StudyFigure:
    """Image with the truth, corrupted image, and the prediction of each arm, one row per case (Figure 5, Table 3).

    Parameters
    ----------
    cases : the rows. The column of corrupted images appears when any case has one.
    structures : names behind the values of the masks.
    inits : arms to show; a case without an arm's prediction says so. Default: all that any case has.
    note : a sentence for the caption, such as the rule by which the cases were chosen.
    """
    if not cases:
        return message_figure(title, dataset, "No case to show.")
    colours = structure_colours(structures)
    arms = order_arms({init for case in cases for init in case.predictions} if inits is None else inits)
    corrupted = any(case.corrupted is not None for case in cases)
    columns = 1 + corrupted + len(arms)
    masks = [mask for case in cases for mask in (case.truth, *case.predictions.values())]
    handles = structure_patches(structures, np.unique(np.concatenate([np.unique(mask) for mask in masks])))
    sheet = Sheet(left=0.28)
    cell = sheet.column_width(columns)
    boxes = [
        sheet.row(columns, cell * case.image.shape[0] * case.aspect / case.image.shape[1], above=0.45 * (turn == 0),
                  below=0.22 if case.dice else 0.0)
        for turn, case in enumerate(cases)
    ]  # fmt: skip
    legend = sheet.strip(legend_rows(len(handles), 4))
    lacking = [paper_label(init) for init in arms if not any(init in case.predictions for case in cases)]
    scored = any(case.dice for case in cases)
    notes = ["Dice: mean over the structures of the whole scan." if scored else None]
    notes += [note, f"Missing: {'; '.join(lacking)}." if lacking else None]
    figure = sheet.figure(title, dataset, notes, see=seen_in_cases([(case.title, case.dice) for case in cases]))
    for row, case in enumerate(cases):
        panels: list[tuple] = [("Image and truth", case.image, case.truth, "")]
        if corrupted:
            panels.append(("Corrupted image" if case.corrupted is not None else "", case.corrupted, None, ""))
        for init in arms:
            dice = f"Dice {case.dice[init]:.2f}" if init in case.dice else ""
            shown = case.image if case.corrupted is None else case.corrupted
            panels.append((paper_label(init), shown, case.predictions.get(init, _MISSING), dice))
        for column, (name, image, mask, words) in enumerate(panels):
            axes = sheet.place(boxes[row][column])
            if image is None or mask is _MISSING:
                picture(axes, np.full(case.image.shape, 0.93), aspect=case.aspect)
                axes.text(0.5, 0.5, "not corrupted" if image is None else "no prediction", ha="center", va="center",
                          transform=axes.transAxes, fontsize=10.5)  # fmt: skip
            else:
                picture(axes, image if mask is None else overlay(image, mask.astype(int), colours), aspect=case.aspect)
            axes.set_xlabel(words, fontsize=10.5, labelpad=2)
            if row == 0:
                axes.set_title(_wrapped(name), fontsize=10.5, loc="center", pad=4)
            if column == 0:
                axes.set_ylabel(case.title, fontsize=10.5)
    legend_strip(sheet.place(legend), handles, columns=4, fontsize=10.5, handlelength=1.1, columnspacing=1.0)
    return figure


def _wrapped(label: str) -> str:
    """Break a column's heading in lines of at most about 16 letters."""
    return textwrap.fill(label, 16)
