"""Figures whose marks say what they stand for: the same drawing as an SVG with words at every mark.

Enters: a finished `StudyFigure` with marks noted by `note_marks`. Leaves: the SVG, its letters as outlines, with one
invisible circle and its words at each mark. In a notebook it is shown as a picture. The book sets it into the page
(`book.drawings`), where a browser shows the words of a mark under the pointer, and the script `_static/hover.js` shows
them under a finger and with the arrow keys, too. No section of the paper.
"""

import base64
import html
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from .style import STYLE

if TYPE_CHECKING:
    from .canvas import StudyFigure

MOST_MARKS = 400
"""Marks with words that one figure of points holds at most; where there are more, near points share a mark."""

_POINTS_PER_INCH = 72  # of SVG
_RADIUS = 5.0
_SVG: Any = {"svg.fonttype": "path", "svg.hashsalt": "ssrobust"}
_NAMELESS: Any = {"Date": None, "Creator": None, "Format": None, "Type": None}
_METADATA = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)
_PLACES = re.compile(r'(?<= [dxy]=")[^"]*(?=")')
_BETWEEN_TAGS = re.compile(r">\s+<")
_LONG_NUMBER = re.compile(r"(\d+\.\d\d)\d+")


@dataclass(frozen=True)
class Mark:
    """Words at a place of a figure; `x` and `y` in the data of `axes`, lines separated by a line feed."""

    axes: Axes
    x: float
    y: float
    words: str


def note_marks(axes: Axes, xs: Sequence[float], ys: Sequence[float], words: Sequence[str]) -> None:
    """Note what the points of an axes stand for, in the order in which a keyboard walks through them.

    Raises
    ------
    ValueError
        If there are not as many words as points, or a place is not finite.
    """
    if not len(xs) == len(ys) == len(words):
        raise ValueError(f"expected one text for each point, got {len(xs)} and {len(ys)} places and {len(words)} texts")
    if not (np.isfinite(np.asarray(xs, float)).all() and np.isfinite(np.asarray(ys, float)).all()):
        raise ValueError("expected finite places of marks: leave out points that are not drawn")
    figure: Any = axes.figure
    new = (Mark(axes, float(x), float(y), text) for x, y, text in zip(xs, ys, words, strict=True))
    figure.marks = (*figure.marks, *new)


def drawing_source(figure: "StudyFigure") -> str:
    """The drawing of `drawing` as a data address, for an image element of a notebook."""
    return "data:image/svg+xml;base64," + base64.b64encode(drawing(figure).encode()).decode("ascii")


def drawing(figure: "StudyFigure") -> str:
    """SVG of a figure without its caption, one circle with a `title` at each mark; equal figures give equal text."""
    label, layout, dpi = figure._supxlabel, figure.get_layout_engine(), figure.dpi  # type: ignore[attr-defined]
    stream = io.StringIO()
    if label is not None:
        label.set_visible(False)
        label.set_in_layout(False)
    try:
        with matplotlib.rc_context(STYLE | _SVG):
            figure.set_dpi(_POINTS_PER_INCH)
            figure.draw_without_rendering()
            figure.set_layout_engine("none")  # drawn again, nothing moves: the circles stay on their marks
            circles = "".join(map(_circle, figure.marks))
            figure.savefig(stream, format="svg", dpi=_POINTS_PER_INCH, metadata=_NAMELESS)
    finally:
        figure.set_layout_engine(layout)
        figure.set_dpi(dpi)
        if label is not None:
            label.set_visible(True)
            label.set_in_layout(True)
    text = stream.getvalue()
    text = _METADATA.sub("", text[text.index("<svg") :])
    text = _PLACES.sub(lambda match: " ".join(_LONG_NUMBER.sub(r"\1", match.group()).split()), text)
    text = _BETWEEN_TAGS.sub("><", text)
    return text.strip().replace("</svg>", f'<g class="ssrobust-marks">{circles}</g></svg>')


def _circle(mark: Mark) -> str:
    x, y = mark.axes.transData.transform((mark.x, mark.y))
    height = mark.axes.figure.get_figheight() * _POINTS_PER_INCH  # type: ignore[union-attr]
    words = html.escape(mark.words, quote=False)
    return (
        f'<circle cx="{x:.2f}" cy="{height - y:.2f}" r="{_RADIUS:g}" fill="#000" fill-opacity="0">'
        f"<title>{words}</title></circle>"
    )
