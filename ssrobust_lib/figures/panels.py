"""Panels of the explorer: one image under corruption, and what each arm says of it (paper, sections 3.2 to 3.4).

Enters: views as `ssrobust_lib.explorer.views` makes them. Leaves: PNG. A set of panels is laid out once and then only
gets other contents, so that it follows a slider.
"""

import io
import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from .canvas import StudyFigure, legend_strip, picture
from .images import legend_rows, overlay, structure_patches
from .style import FAINT, INK, STYLE, arm_styles, paper_label, structure_colours

PANELS_WIDTH = 9.6
"""Inches: 960 pixels at the resolution below, about what a notebook offers beside its file browser."""

PANELS_DPI = 100
_FINE = 192  # pixels; smaller images are enlarged before outlines are drawn, so that an outline hides little


class XRayPanels:
    """Clean image, corrupted image, and a bar with the probability of each arm.

    Parameters
    ----------
    arms : one or two initialisations, from top to bottom.
    """

    def __init__(self, arms: Sequence[str]) -> None:
        self.arms = tuple(arms)
        with matplotlib.rc_context(STYLE):
            self.figure = StudyFigure(figsize=(PANELS_WIDTH, 3.45), dpi=PANELS_DPI)
            blank = np.zeros((2, 2))
            self._pictures = {}
            for left, name in ((0.01, "Clean"), (0.345, "Corrupted")):
                axes = self.figure.add_axes((left, 0.02, 0.32, 0.86))
                picture(axes, blank)
                axes.set_title(name, fontsize=12, loc="center")
                self._pictures[name.lower()] = axes.images[0]
            self._bars = ProbabilityBars(self.figure.add_axes((0.70, 0.2, 0.28, 0.56)), self.arms)
            self._label = self.figure.text(0.70, 0.905, "", fontsize=12, fontweight="bold", va="baseline")

    def show(self, view: Any) -> None:
        """Put the images and scores of an `XRayView` of the same arms into the panels."""
        for name, image in self._pictures.items():
            set_picture(image, getattr(view, name))
        self._bars.show(view)
        self._label.set_text(f"Label: {label_word(view.label)}")

    def png(self) -> bytes:
        """The panels as they stand."""
        return packed(drawn(self.figure))


class SlicePanels:
    """Clean slice, corrupted slice with the label's outlines, and the prediction of each arm over the latter.

    Parameters
    ----------
    arms : one or two initialisations, from left to right.
    structures : names behind the values of the masks.
    """

    def __init__(self, arms: Sequence[str], structures: Sequence[str]) -> None:
        self.arms, self.structures = tuple(arms), tuple(structures)
        self._colours = structure_colours(self.structures)
        names = ["Clean", "Corrupted, label", *(textwrap.fill(paper_label(arm), 26) for arm in self.arms)]
        across = 1 / len(names)
        side = PANELS_WIDTH * across
        height = 0.42 + side + 0.3
        with matplotlib.rc_context(STYLE):
            self.figure = StudyFigure(figsize=(PANELS_WIDTH, height), dpi=PANELS_DPI)
            self._panels: list[Axes] = []
            for turn, name in enumerate(names):
                axes = self.figure.add_axes((turn * across + 0.004, 0.3 / height, across - 0.008, side / height))
                picture(axes, np.zeros((2, 2, 3)))
                axes.set_title(name, fontsize=11, loc="center")
                self._panels.append(axes)
        self._legend = _structure_legend(self.structures)

    def show(self, view: Any) -> None:
        """Put a `SliceView` of the same arms and structures into the panels."""
        if tuple(view.structures) != self.structures:
            raise ValueError(f"panels of {', '.join(self.structures)} cannot show {', '.join(view.structures)}")
        clean, corrupted = (np.clip(image, 0, 1) for image in (view.clean, view.corrupted))
        shown = [np.repeat(clean[..., None], 3, axis=2), outlined(corrupted, view.truth, self._colours)]
        shown += [filled(corrupted, view.predicted[arm], self._colours) for arm in self.arms]
        below = ["", "outlines: label", *(dice_words(view, arm) for arm in self.arms)]
        for axes, image, words in zip(self._panels, shown, below, strict=True):
            set_picture(axes.images[0], image)
            axes.set_xlabel(words, fontsize=11, labelpad=4)

    def png(self) -> bytes:
        """The panels as they stand."""
        return packed(np.vstack([drawn(self.figure), self._legend]))


class ProbabilityBars:
    """Horizontal bars from 0 to 1, one per arm, with the threshold of 0.5 and a mark at the clean image's value."""

    def __init__(self, axes: Axes, arms: Sequence[str], *, words: bool = True) -> None:
        self.arms = tuple(arms)
        styles = arm_styles(self.arms)
        axes.set_xlim(0, 1)
        axes.set_ylim(len(self.arms) - 0.45, -0.75)
        axes.set_yticks([])
        axes.set_xticks([0, 0.5, 1] if words else [])
        for side in ("left", "top", "right"):
            axes.spines[side].set_visible(False)
        axes.axvline(0.5, color=FAINT, linewidth=1.2, linestyle=(0, (3, 2)))
        self._bars, self._marks, self._words = {}, {}, {}
        thick = 0.34 if words else 0.62
        for turn, arm in enumerate(self.arms):
            style = styles[arm]
            bar = Rectangle(
                (0, turn - thick / 2), 0, thick, facecolor=style.colour, hatch=style.hatch, edgecolor="white"
            )
            axes.add_patch(bar)
            self._bars[arm] = bar
            shape: dict[str, Any] = {
                "marker": "D",
                "markersize": 6 if words else 4,
                "linestyle": "none",
                "clip_on": False,
            }
            (self._marks[arm],) = axes.plot([], [], markerfacecolor="white", markeredgecolor=INK, **shape)
            if words:
                ground: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "pad": 1}
                axes.text(0, turn - 0.27, paper_label(arm), fontsize=11, va="bottom", bbox=ground)
                self._words[arm] = axes.text(1, turn - 0.27, "", fontsize=11, va="bottom", ha="right")
        if words:
            axes.set_xlabel("probability of pneumonia\n(diamond: for the clean image)", fontsize=10.5)

    def show(self, view: Any) -> None:
        """Set the bars to an `XRayView` of the same arms."""
        for arm in self.arms:
            self._bars[arm].set_width(view.scores[arm])
            there = arm in view.clean_scores
            at = self.arms.index(arm)
            self._marks[arm].set_data([view.clean_scores[arm]] if there else [], [at] if there else [])
            if arm in self._words:
                self._words[arm].set_text(f"{view.scores[arm]:.2f}{wrong_mark(view, arm)}")


def wrong_mark(view: Any, arm: str) -> str:
    """' (wrong)' for a decision that differs from the label, else nothing."""
    return " (wrong)" if view.verdict(arm) == "wrong" else ""


def set_picture(image: Any, pixels: np.ndarray) -> None:
    """Give drawn pixels (H, W) in [0, 1] or (H, W, 3) to an image of axes, whatever size it had."""
    image.set_data(pixels)
    height, width = pixels.shape[:2]
    image.set_extent((-0.5, width - 0.5, height - 0.5, -0.5))


def _structure_legend(structures: Sequence[str]) -> np.ndarray:
    """Colours and names of all structures, drawn once: uint8 (H, W, 3). They take longer than the pictures."""
    handles = structure_patches(structures, range(1, len(structures) + 1))
    height = legend_rows(len(handles), 6)
    words: dict[str, Any] = {"fontsize": 10, "handlelength": 1.1, "columnspacing": 1.0}
    with matplotlib.rc_context(STYLE):
        figure = StudyFigure(figsize=(PANELS_WIDTH, height), dpi=PANELS_DPI)
        legend_strip(figure.add_axes((0.005, 0.0, 0.99, 1.0)), handles, columns=6, **words)
    return drawn(figure)


def drawn(figure: StudyFigure) -> np.ndarray:
    """Pixels of a figure in its own size: uint8 (H, W, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = figure.canvas if isinstance(figure.canvas, FigureCanvasAgg) else FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def packed(pixels: np.ndarray) -> bytes:
    """PNG of pixels uint8 (H, W, 3), packed for speed: a notebook shows it at once, nobody keeps it."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def outlined(image: np.ndarray, mask: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Image (H, W) with the outlines of a mask's structures, enlarged where it is small: (k H, k W, 3) in [0, 1]."""
    return _painted(image, mask, colours, alpha=0.0)


def filled(image: np.ndarray, mask: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Image (H, W) with a mask's structures filled and outlined, enlarged as in `outlined`."""
    return _painted(image, mask, colours, alpha=0.45)


def _painted(image: np.ndarray, mask: np.ndarray, colours: np.ndarray, alpha: float) -> np.ndarray:
    times = max(1, -(-_FINE // max(image.shape)))
    large = np.ones((times, times), dtype=np.uint8)
    return overlay(np.kron(image, large), np.kron(mask, large).astype(int), colours, alpha=alpha)


def label_word(label: int | None) -> str:
    """Words for the label of a radiograph."""
    return "none" if label is None else ("pneumonia" if label else "no pneumonia")


def dice_words(view: Any, arm: str) -> str:
    """'Dice: slice 0.61, scan 0.72', or why one of them is not there."""
    of_slice = view.slice_dice[arm]
    here = "no label" if np.isnan(of_slice) else f"{of_slice:.2f}"
    return f"Dice: slice {here}" + (f", scan {view.scan_dice[arm]:.2f}" if arm in view.scan_dice else "")
