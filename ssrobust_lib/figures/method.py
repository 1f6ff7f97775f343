"""The method in one drawing (the subject of Figure 2 of the paper, drawn in our own way).

Enters: optionally an example X-ray and CT slice. Leaves: a figure. Above: the pretext task, solved without labels.
Below: what is transferred to each target task: all features to the pneumonia classifier, the encoder alone to the
U-Net, whose decoder starts from scratch. Learned and transferred features are blue, parts that start from scratch
green; both also say so in words.
"""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Patch

from .canvas import StudyFigure, finish, new_figure, styled
from .images import overlay
from .style import FAINT, INK, structure_colours

BLUE = "#2b7bba"
GREEN = "#3f9b4f"
_SHUFFLED = (4, 8, 0, 5, 1, 6, 3, 7, 2)
_EDGE: dict[str, Any] = {"linewidth": 0.8, "edgecolor": "white"}


def _schematic_xray(size: int = 96) -> np.ndarray:
    """Bright body, two dark lungs: a stand-in where no X-ray is given; float (size, size) in [0, 1]."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    body = 0.78 * np.exp(-((x / 0.95) ** 6)) * (0.85 + 0.15 * y)
    for side in (-1, 1):
        lung = 1 / (1 + np.exp(18 * ((((x - side * 0.42) / 0.3) ** 2 + ((y + 0.02) / 0.62) ** 2) - 1)))
        body = body - 0.5 * lung
    ribs = 0.05 * np.cos(22 * (y + 0.35 * x**2)) * (np.abs(x) < 0.8)
    return np.clip(body + ribs, 0, 1)


def _schematic_ct(size: int = 96) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Axial slice with liver, spleen and kidneys: image float (size, size) in [0, 1], mask uint8, names."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    image = np.where((x / 0.93) ** 2 + (y / 0.72) ** 2 < 1, 0.45, 0.03)
    mask = np.zeros(image.shape, dtype=np.uint8)
    organs = {
        "liver": (-0.4, -0.2, 0.42, 0.36, 0.68),
        "spleen": (0.62, -0.05, 0.17, 0.3, 0.72),
        "right_kidney": (-0.38, 0.36, 0.15, 0.19, 0.8),
        "left_kidney": (0.38, 0.36, 0.15, 0.19, 0.8),
        "aorta": (0.06, 0.16, 0.08, 0.09, 0.86),
        "first_lumbar_vertebra": (0.0, 0.42, 0.16, 0.15, 0.97),
    }
    for value, (cx, cy, rx, ry, grey) in enumerate(organs.values(), start=1):
        inside = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1
        image[inside], mask[inside] = grey, value
    return image, mask, tuple(organs)


def _square(image: np.ndarray, size: int = 96) -> np.ndarray:
    """Central square of an image, sampled at size x size by nearest neighbour."""
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    steps = (np.arange(size) * side) // size
    return image[top : top + side, left : left + side][np.ix_(steps, steps)]


def _shuffle_tiles(image: np.ndarray, gap: int = 5) -> np.ndarray:
    """Nine tiles of a square image in a fixed shuffled order, with white gaps."""
    tile = image.shape[0] // 3
    whole = np.ones((3 * tile + 2 * gap, 3 * tile + 2 * gap))
    for cell, source in enumerate(_SHUFFLED):
        (row, column), (y, x) = divmod(cell, 3), divmod(source, 3)
        piece = image[y * tile : (y + 1) * tile, x * tile : (x + 1) * tile]
        top, left = row * (tile + gap), column * (tile + gap)
        whole[top : top + tile, left : left + tile] = piece
    return whole


def _show(axes: Axes, image: np.ndarray, x: float, y: float, side: float) -> None:
    """Place an image with its lower left corner at (x, y)."""
    axes.imshow(image, extent=(x, x + side, y, y + side), cmap="gray", vmin=0, vmax=1, zorder=2, aspect="auto")


def _stack(axes: Axes, x: float, middle: float, heights: tuple[float, ...], colour: str, step: float = 2.7) -> None:
    """Layers of a network as upright bars, from left to right."""
    for turn, height in enumerate(heights):
        axes.add_patch(
            FancyBboxPatch((x + turn * step, middle - height / 2), step - 0.9, height, facecolor=colour, zorder=3,
                           boxstyle="round,pad=0,rounding_size=0.5", **_EDGE)
        )  # fmt: skip


def _box(axes: Axes, x: float, y: float, width: float, height: float, words: str, colour: str) -> None:
    """Rounded box with white words."""
    axes.add_patch(FancyBboxPatch((x, y), width, height, facecolor=colour, zorder=3,
                                  boxstyle="round,pad=0,rounding_size=0.8", **_EDGE))  # fmt: skip
    axes.text(x + width / 2, y + height / 2, words, color="white", ha="center", va="center", fontsize=10.5, zorder=4,
              fontweight="bold", linespacing=1.2)  # fmt: skip


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str = INK, **options) -> None:
    """Arrow between two points."""
    look: dict[str, Any] = {
        "arrowstyle": "-|>",
        "mutation_scale": 13,
        "linewidth": 1.5,
        "shrinkA": 0,
        "shrinkB": 0,
        "zorder": 2,
    }
    axes.add_patch(FancyArrowPatch(start, end, color=colour, **(look | options)))


def _panel(axes: Axes, x: float, y: float, width: float, height: float, heading: str) -> None:
    """Pale ground of one stage, with its heading."""
    axes.add_patch(FancyBboxPatch((x, y), width, height, facecolor="#f4f5f7", edgecolor="none", zorder=0,
                                  boxstyle="round,pad=0,rounding_size=1.2"))  # fmt: skip
    axes.text(x + 1.4, y + height - 1.2, heading, fontweight="bold", va="top", fontsize=11.5)


def _pretext_stage(axes: Axes, xray: np.ndarray, ct: np.ndarray) -> None:
    _panel(axes, 0, 34, 72, 26, "1  Pretext task: jigsaw puzzles, no labels")
    _show(axes, xray, 1.5, 44.6, 9.6)
    _show(axes, ct, 4.2, 38.8, 9.6)
    axes.text(7.8, 37.8, "X-ray or CT", ha="center", va="top", fontsize=10.5)
    _arrow(axes, (14.6, 46.5), (18.2, 46.5))
    _show(axes, _shuffle_tiles(xray), 19, 39.8, 13.4)
    axes.text(25.7, 37.8, "9 shuffled tiles", ha="center", va="top", fontsize=10.5)
    for y in (41.9, 46.5, 51.1):
        _arrow(axes, (33, y), (37.2, 46.5 + (y - 46.5) * 0.45), linewidth=1.2, mutation_scale=10)
    _stack(axes, 38, 46.5, (12.5, 9.8, 7.2, 4.8), BLUE)
    axes.text(43, 54.6, "one shared trunk,\napplied to each tile", ha="center", va="center", fontsize=10.5)
    _arrow(axes, (48.8, 46.5), (52.2, 46.5))
    axes.text(50.3, 48.6, "\u00d7 9", ha="center", fontsize=10.5)
    _box(axes, 52.8, 42, 17.4, 9, "permutation\nclassifier", FAINT)
    axes.text(61.5, 40.8, "which order were\nthe tiles put in?", ha="center", va="top", fontsize=10.5)


def _classification_stage(axes: Axes, xray: np.ndarray) -> None:
    _panel(axes, 0, 1.5, 32.5, 23, "2a  Pneumonia")
    _show(axes, xray, 1.4, 7.2, 8.6)
    _arrow(axes, (10.4, 11.5), (12.2, 11.5))
    _stack(axes, 12.6, 11.5, (10.5, 8.4, 6.2, 4.2), BLUE, step=2.2)
    axes.text(16.6, 4.9, "all features", ha="center", va="top", fontsize=10.5, color=BLUE, fontweight="bold")
    _arrow(axes, (21.2, 11.5), (23, 11.5))
    _box(axes, 23.4, 8.6, 8.0, 5.8, "classi-\nfier", GREEN)
    axes.text(27.4, 7.8, "pneumonia\nor not", ha="center", va="top", fontsize=10.5)


def _segmentation_stage(axes: Axes, ct: np.ndarray, segmented: np.ndarray) -> None:
    _panel(axes, 34.5, 1.5, 37.5, 23, "2b  Organs")
    _show(axes, ct, 35.6, 7.2, 8.6)
    _arrow(axes, (44.5, 11.5), (46.1, 11.5))
    heights = (10.5, 8.2, 6.0)
    _stack(axes, 46.4, 11.5, (*heights, 3.8), BLUE, step=2.0)
    _stack(axes, 54.6, 11.5, heights[::-1], GREEN, step=2.0)
    for turn, height in enumerate(heights):  # skip connections, outermost highest
        left, right, top = 46.4 + 2.0 * turn + 0.55, 54.6 + 2.0 * (2 - turn) + 0.55, 11.5 + height / 2
        axes.plot([left, left, right, right], [top, 18.6 - 0.75 * turn, 18.6 - 0.75 * turn, top], color=FAINT,
                  linewidth=1.0, zorder=1)  # fmt: skip
    axes.text(49.4, 4.9, "encoder", ha="center", va="top", fontsize=10.5, color=BLUE, fontweight="bold")
    axes.text(57.6, 4.9, "decoder", ha="center", va="top", fontsize=10.5, color=GREEN, fontweight="bold")
    _arrow(axes, (60.6, 11.5), (62.2, 11.5))
    _show(axes, segmented, 62.6, 7.2, 8.6)


@styled
def method_figure(
    xray: np.ndarray | None = None,
    ct_slice: np.ndarray | None = None,
    ct_mask: np.ndarray | None = None,
    structures: tuple[str, ...] = (),
    *,
    dataset: str | None = None,
    title: str = "The method: learn from puzzles, then fine-tune",
) -> StudyFigure:
    """Draw the method; without examples, schematic images stand in for them.

    Parameters
    ----------
    xray, ct_slice : float (H, W) in [0, 1]; the central square is shown.
    ct_mask : integer (H, W) for `ct_slice`, value = position in `structures` + 1, shown as the outcome.
    structures : names behind the mask's values.
    dataset : where the examples come from; needed when any is given.

    Raises
    ------
    ValueError
        Where an example comes without the name of its data set.
    """
    if dataset is None and (xray is not None or ct_slice is not None):
        raise ValueError("expected the name of the examples' data set, got None: pass dataset='...'")
    xray_shown = _schematic_xray() if xray is None else _square(xray)
    if ct_slice is None:
        ct_shown, mask, names = _schematic_ct()
    else:
        ct_shown, names = _square(ct_slice), structures
        mask = np.zeros(ct_shown.shape, dtype=int) if ct_mask is None else _square(ct_mask)
    figure = new_figure(6.6)
    axes = figure.subplots()
    axes.set_axis_off()
    _pretext_stage(axes, xray_shown, ct_shown)
    _classification_stage(axes, xray_shown)
    _segmentation_stage(axes, ct_shown, overlay(ct_shown, mask.astype(int), structure_colours(names), alpha=0.7))
    for start, end, bend in (((41.5, 39.6), (16.6, 18.2), 0.12), ((43.5, 39.6), (49.6, 21.0), -0.08)):
        _arrow(axes, start, end, BLUE, linewidth=3.2, mutation_scale=20, zorder=5,
               connectionstyle=f"arc3,rad={bend}")  # fmt: skip
    axes.text(36.6, 29.2, "weights are copied", ha="center", fontsize=10.5, color=BLUE, fontweight="bold",
              bbox={"facecolor": "white", "edgecolor": "none", "pad": 1}, zorder=6)  # fmt: skip
    axes.text(1.4, 29.2, "2  Fine-tuning,\n    few labels", fontweight="bold", fontsize=11.5, va="center")
    axes.legend(
        handles=[Patch(color=BLUE, label="learned, transferred"), Patch(color=GREEN, label="from scratch"),
                 Patch(color=FAINT, label="dropped after the pretext task")],
        loc="upper center", bbox_to_anchor=(0.5, 0.02), ncols=3, fontsize=10.5, handlelength=1.2, columnspacing=1.2,
    )  # fmt: skip
    axes.set_xlim(-0.5, 72.5)
    axes.set_ylim(-0.5, 60.5)
    axes.set_aspect("equal")
    note = "Normal training starts both networks of stage 2 from random weights instead."
    see = "Follow the blue parts: what puzzles have taught them is where fine-tuning starts; all else starts at random."
    return finish(figure, title, dataset or "schematic drawings", [note], see=see)
