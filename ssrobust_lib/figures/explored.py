"""Strips of the explorer's states: one image from clean to severity 5, and what each arm says of it.

Enters: views as `ssrobust_lib.explorer.views` makes them. Leaves: figures for the book (paper, sections 3.2 and 3.3).
"""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from .canvas import StudyFigure, arm_patches, legend_strip, message_figure, picture, styled
from .images import legend_rows, structure_patches
from .panels import ProbabilityBars, filled, outlined, wrong_mark
from .sheets import Sheet
from .style import arm_styles, paper_label, structure_colours
from .what_to_see import seen_in_probabilities, seen_in_slices


@styled
def explored_xrays(views: Sequence[Any], *, dataset: str, title: str, notes: Sequence[str] = ()) -> StudyFigure:
    """One radiograph in several states, from left to right, with each arm's probability below, beside its colour.

    Parameters
    ----------
    views : `XRayView` of the same arms; the heading of each is its severity.
    """
    if not views:
        return message_figure(title, dataset, "No image to show.")
    sheet, n = Sheet(), len(views)
    pictures = sheet.row(n, sheet.column_width(n), above=0.26)
    bars = sheet.row(n, 0.42, above=0.02, below=0.42)
    arms = views[0].state.arms
    handles, styles = arm_patches(arms), arm_styles(arms)
    legend = sheet.strip(0.3)
    see = seen_in_probabilities([view.scores for view in views], views[0].label)
    figure = sheet.figure(title, dataset, list(notes), see=see)
    for view, place, below in zip(views, pictures, bars, strict=True):
        axes = sheet.place(place)
        picture(axes, view.corrupted)
        axes.set_title(_level(view), fontsize=10.5, fontweight="normal", loc="center", pad=4)
        axes = sheet.place(below)
        ProbabilityBars(axes, arms, words=False).show(view)
        for line, arm in enumerate(arms):
            words: dict[str, Any] = {
                "fontsize": 10.5,
                "va": "center",
                "xycoords": "axes fraction",
                "textcoords": "offset points",
            }
            height, said = -9 - 13.5 * line, f"{view.scores[arm]:.2f}{wrong_mark(view, arm)}"
            axes.annotate("\u25a0", (0, 0), (0, height), color=styles[arm].colour, **words)
            axes.annotate(said, (0, 0), (11, height), **words)
    legend_strip(sheet.place(legend), handles, fontsize=10.5)
    return figure


@styled
def explored_slices(views: Sequence[Any], *, dataset: str, title: str, notes: Sequence[str] = ()) -> StudyFigure:
    """One CT slice in several states: corrupted with the label's outlines, then the prediction of each arm.

    Parameters
    ----------
    views : `SliceView` of the same arms and structures; the heading of each is its severity.
    """
    if not views:
        return message_figure(title, dataset, "No slice to show.")
    arms, structures = views[0].state.arms, views[0].structures
    colours = structure_colours(structures)
    masks = [mask for view in views for mask in (view.truth, *view.predicted.values())]
    handles = structure_patches(structures, np.unique(np.concatenate([np.unique(mask) for mask in masks])))
    sheet, n = Sheet(left=0.28), len(views)
    side = sheet.column_width(n)
    rows = [sheet.row(n, side, above=0.26 * (turn == 0), below=0.22 * (turn > 0)) for turn in range(1 + len(arms))]
    legend = sheet.strip(legend_rows(len(handles), 4))
    see = seen_in_slices([view.slice_dice for view in views])
    figure = sheet.figure(title, dataset, list(notes), see=see)
    for column, view in enumerate(views):
        for turn, name in enumerate(("label", *arms)):
            axes = sheet.place(rows[turn][column])
            mask = view.truth if turn == 0 else view.predicted[name]
            picture(axes, (outlined if turn == 0 else filled)(np.clip(view.corrupted, 0, 1), mask, colours))
            if turn == 0:
                axes.set_title(_level(view), fontsize=10.5, fontweight="normal", loc="center", pad=4)
            else:
                axes.set_xlabel(f"Dice {view.slice_dice[name]:.2f}", fontsize=10.5, labelpad=2)
            if column == 0:
                words = "Label" if turn == 0 else textwrap.fill(paper_label(name), 16)
                axes.set_ylabel(words, fontsize=10.5)
    small: dict[str, Any] = {"fontsize": 9.5, "handlelength": 1.1, "columnspacing": 1.0}
    legend_strip(sheet.place(legend), handles, columns=4, **small)
    return figure


def _level(view: Any) -> str:
    return "clean" if view.state.severity == 0 else f"severity {view.state.severity}"
