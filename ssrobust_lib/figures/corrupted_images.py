"""What the corruptions look like: Figure 1 of the paper, and one corruption from clean to severity 5.

Enters: images float32 (H, W) in [0, 1] as the network sees them, corrupted by the caller. Leaves: figures.
"""

from collections.abc import Mapping

import numpy as np

from .canvas import StudyFigure, message_figure, picture, styled
from .sheets import Sheet
from .style import corruption_title, order_corruptions


@styled
def corruption_examples(
    rows: Mapping[str, Mapping[str, np.ndarray]],
    *,
    dataset: str,
    severity: int | None = None,
    per_line: int = 8,
    title: str = "Image corruptions",
) -> StudyFigure:
    """Original and corrupted images, one row per modality, one column per corruption (Figure 1).

    Parameters
    ----------
    rows : word for the row ('CT', 'X-ray') -> corruption -> image (H, W) in [0, 1]; 'clean' is the original. A
        corruption that one row lacks leaves a blank cell that says so.
    severity : level shown, for the caption.
    per_line : columns before the rows wrap; 4 makes the pictures twice as large.
    """
    rows = {name: dict(images) for name, images in rows.items() if images}
    if not rows:
        return message_figure(title, dataset, "No image to show.")
    names = order_corruptions(name for images in rows.values() for name in images)
    blocks = [names[start : start + per_line] for start in range(0, len(names), per_line)]
    columns = max(len(block) for block in blocks)
    wrapped = columns > 4
    sheet = Sheet(left=0.3)
    lines = [(row_name, block, row_name == next(iter(rows))) for block in blocks for row_name in rows]
    cell, heading = sheet.column_width(columns), 0.42 if wrapped else 0.27
    boxes = [sheet.row(columns, _tallest(rows[name], cell), above=heading * first) for name, _, first in lines]
    level = None if severity is None else f"Severity {severity} of 5."
    see = "Compare each picture with the original: what can no longer be seen, no network can use."
    figure = sheet.figure(title, dataset, [level], see=see)
    for (row_name, block, first), places in zip(lines, boxes, strict=True):
        for turn, (place, name) in enumerate(zip(places, block, strict=False)):
            axes = sheet.place(place)
            image = rows[row_name].get(name)
            picture(axes, np.full((8, 8), 0.93) if image is None else image)
            if image is None:
                axes.text(0.5, 0.5, "none", ha="center", va="center", transform=axes.transAxes, fontsize=10.5)
            if first:
                word = "Original" if name == "clean" else corruption_title(name, wrap=wrapped)
                axes.set_title(word, fontsize=10.5 if wrapped else 12, loc="center", fontweight="normal", pad=4)
            if turn == 0:
                axes.set_ylabel(row_name, fontsize=11)
    return figure


def _tallest(images: Mapping, width: float) -> float:
    """Height in inches of the tallest of the images when each is `width` inches wide."""
    return max(width * image.shape[0] / image.shape[1] for image in images.values())


@styled
def severity_strip(
    images: Mapping[str, Mapping[int, np.ndarray]],
    strengths: Mapping[str, Mapping[int, str]] | None = None,
    units: Mapping[str, str] | None = None,
    *,
    dataset: str,
    title: str = "From clean to severity 5",
) -> StudyFigure:
    """One row per corruption, one column per severity 0 (clean) to 5; the strength below each picture.

    Parameters
    ----------
    images : corruption -> severity (0 to 5) -> image (H, W) in [0, 1].
    strengths : corruption -> severity -> a short number ('0.08').
    units : corruption -> what the number measures, beside the corruption's name.

    Raises
    ------
    ValueError
        For a severity outside 0 to 5.
    """
    wrong = sorted({level for by_level in images.values() for level in by_level if level not in range(6)})
    if wrong:
        raise ValueError(f"expected severities 0 (clean) to 5, got {', '.join(map(str, wrong))}")
    names = order_corruptions(images)
    if not names:
        return message_figure(title, dataset, "No image to show.")
    sheet = Sheet()
    below = 0.22 if strengths else 0.05
    boxes = {
        name: sheet.row(6, _tallest(images[name], sheet.column_width(6)), above=0.28, below=below) for name in names
    }
    note = "From left to right: clean, then severities 1 to 5" + ("; below: strength." if strengths else ".")
    see = "Look along a row for the picture in which you would stop trusting your own reading."
    figure = sheet.figure(title, dataset, [note], see=see)
    for name, places in boxes.items():
        for level, place in enumerate(places):
            axes = sheet.place(place)
            image = images[name].get(level)
            picture(axes, np.full((8, 8), 0.93) if image is None else image)
            if image is None:
                axes.text(0.5, 0.5, "not made", ha="center", va="center", transform=axes.transAxes, fontsize=10.5)
            strength = (strengths or {}).get(name, {}).get(level, "clean" if level == 0 else "")
            axes.set_xlabel(strength if strengths else "", fontsize=10.5, labelpad=2)
            if level == 0:
                unit = (units or {}).get(name, "")
                heading = f"{corruption_title(name)}: {unit}" if unit else corruption_title(name)
                axes.annotate(
                    heading, (0, 1), (0, 5), xycoords="axes fraction", textcoords="offset points", fontsize=11
                )
    return figure
