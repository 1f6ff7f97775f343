"""Sheets of pictures: boxes of fixed size in inches, filled from top to bottom, in a figure just large enough.

Enters: the sizes of rows of pictures. Leaves: a `StudyFigure` and the axes in it. Pictures have a fixed aspect, so
their places are computed and not solved for: there is no slack between rows, and drawing stays quick.
"""

from matplotlib.axes import Axes

from .canvas import StudyFigure, caption_of, finish, wrap_title
from .style import DPI, WIDTH

Box = tuple[float, float, float, float]
"""Left, top (from the upper edge of the pictures), width and height, in inches."""

_TITLE_LINE, _CAPTION_LINE = 0.25, 0.19


class Sheet:
    """Boxes placed from top to bottom of a page of the project's width."""

    def __init__(self, left: float = 0.0, gap: float = 0.05) -> None:
        """Start a page; `left` inches stay free for the names of the rows, `gap` inches between pictures."""
        self.left, self.gap = left, gap
        self.used = 0.0
        self._figure: StudyFigure | None = None
        self._top = 0.0

    def column_width(self, columns: int) -> float:
        """Width in inches of one of `columns` pictures side by side."""
        return (WIDTH - self.left - (columns - 1) * self.gap) / columns

    def row(self, columns: int, height: float, *, above: float = 0.0, below: float = 0.0) -> list[Box]:
        """Boxes of one row of pictures; `above` and `below` are inches for words."""
        width = self.column_width(columns)
        top = self.used + above
        self.used = top + height + below + self.gap
        return [(self.left + turn * (width + self.gap), top, width, height) for turn in range(columns)]

    def strip(self, height: float) -> Box:
        """One box over the whole width, for a legend."""
        self.used += 0.05
        box = (0.05, self.used, WIDTH - 0.05, height)
        self.used += height
        return box

    def figure(self, title: str, dataset: str, notes: list[str | None], *, see: str = "") -> StudyFigure:
        """The figure with its title and caption (`canvas.finish`), high enough for everything placed so far."""
        self._top = 0.12 + _TITLE_LINE * (wrap_title(title, WIDTH).count("\n") + 1)
        bottom = 0.14 + _CAPTION_LINE * (caption_of(dataset, notes, WIDTH, see).count("\n") + 1)
        height = self._top + self.used + bottom
        self._figure = StudyFigure(figsize=(WIDTH, height), dpi=DPI)
        return finish(self._figure, title, dataset, notes, see=see)

    def place(self, box: Box) -> Axes:
        """Axes in a box, once the figure is there.

        Raises
        ------
        RuntimeError
            Before `figure` was called: the height of the page is not known yet.
        """
        if self._figure is None:
            raise RuntimeError("expected Sheet.figure to be called before Sheet.place: call it when all rows are in")
        left, top, width, height = box
        whole = self._figure.get_figheight()
        bottom = 1 - (self._top + top + height) / whole
        return self._figure.add_axes((left / WIDTH, bottom, width / WIDTH, height / whole))
