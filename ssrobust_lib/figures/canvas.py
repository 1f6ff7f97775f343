"""The figure object that all figure functions return, and the title and caption that all figures carry.

A `StudyFigure` is a plain `matplotlib.figure.Figure` that is not known to pyplot: nothing has to be closed, nothing is
shown twice, no global setting changes. As the last expression of a notebook cell it shows itself as HTML: the picture
with its alternative text, and its caption as text, which a phone can wrap and a reader can select.
Below the caption stand links to the same figure as SVG and PDF. `figure.savefig(path)` writes it with the caption drawn
below. The project's style is in force while it is built (`styled`) and while it is drawn, and nowhere else.
"""

import base64
import functools
import html
import io
import math
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ParamSpec, TypeVar

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.text import Text

from .downloads import link_row
from .hovering import Mark, drawing_source
from .style import DPI, FAINT, INK, STYLE, WIDTH, arm_styles, paper_label

P = ParamSpec("P")
R = TypeVar("R")


_VECTOR: Any = {"svg.hashsalt": "ssrobust", "svg.fonttype": "path", "pdf.fonttype": 42}
"""Same ids in equal SVGs; letters as outlines in SVG, the reader may lack the font; TrueType in PDF, for journals."""

LEAST_LETTERS = 9
"""Height in CSS pixels below which no word of a figure is shown, not even on a phone."""

PHONE = 340
"""CSS pixels that a page leaves for a picture on a phone; the caption of a wider one says there that it scrolls."""

_PICTURES_DPI = 200  # of images inside a vector file


class StudyFigure(Figure):
    """A figure in the project's style that shows itself in a notebook."""

    see: str = ""
    """What to see in it, in one or two sentences: the first words of its caption."""
    marks: tuple[Mark, ...] = ()
    """Points that tell what they stand for (see `hovering`); a figure with some is shown as a drawing."""

    def draw(self, renderer: Any) -> None:
        with matplotlib.rc_context(STYLE):
            super().draw(renderer)

    def get_tightbbox(self, *args: Any, **kwargs: Any) -> Any:
        with matplotlib.rc_context(STYLE):
            return super().get_tightbbox(*args, **kwargs)

    def png(self, dpi: float = DPI, *, caption: bool = True) -> bytes:
        """The figure as PNG; equal figures give equal bytes (no date, no version inside).

        Parameters
        ----------
        dpi : pixels per inch.
        caption : draw the caption below the picture; without it, it belongs beside the picture as text.
        """
        label, stream = getattr(self, "_supxlabel", None), io.BytesIO()
        if label is not None:
            label.set_visible(caption)
            label.set_in_layout(caption)
        try:
            options: dict[str, Any] = {"bbox_inches": "tight", "pad_inches": 0.08, "metadata": {"Software": None}}
            self.savefig(stream, format="png", dpi=dpi, **options)
        finally:
            if label is not None:
                label.set_visible(True)
                label.set_in_layout(True)
        return stream.getvalue()

    def vectors(self, kinds: Sequence[str] = ("svg", "pdf")) -> dict[str, bytes]:
        """The figure as files by kind ('svg', 'pdf'), caption drawn below; equal figures give equal bytes.

        Lines and letters are vectors; images stay images. The layout is computed once for all of them.

        Raises
        ------
        ValueError
            For another kind.
        """
        nameless: dict[str, dict[str, Any]] = {
            "svg": {"Date": None, "Creator": None, "Title": self.title, "Description": self.caption},
            "pdf": {"CreationDate": None, "Creator": None, "Producer": None, "Title": self.title},
        }
        if unknown := [kind for kind in kinds if kind not in nameless]:
            raise ValueError(f"expected a vector format, {' or '.join(nameless)}, got {unknown[0]!r}")
        files, layout = {}, self.get_layout_engine()
        with matplotlib.rc_context(_VECTOR):
            self.draw_without_rendering()
            self.set_layout_engine("none")
            around: dict[str, Any] = {"bbox_inches": self.get_tightbbox().padded(0.08), "dpi": _PICTURES_DPI}
            for kind in kinds:
                stream = io.BytesIO()
                self.savefig(stream, format=kind, metadata=nameless[kind], **around)
                files[kind] = stream.getvalue()
            self.set_layout_engine(layout)
        return files

    def html(self, *, every_colour: bool = False, downloads: bool = True) -> str:
        """The figure as an HTML `<figure>`: picture with alternative text, caption as text below, links to files.

        Parameters
        ----------
        every_colour : keep all colours, at twice the bytes; where many structures are painted over images, 256 colours
            make near ones equal.
        downloads : whether to offer the figure as SVG and PDF.
        """
        png = self.png(caption=False)
        source = drawing_source(self) if self.marks else _png_source(png, every_colour)
        alt, caption = html.escape(f"{self.title} {self.see}".strip()), html.escape(self.caption)
        files = self.vectors() if downloads else {}
        least = least_width(self, png)
        kind = "ssrobust-figure ssrobust-wide" if least > PHONE else "ssrobust-figure"
        return (
            f'<figure class="{kind}" style="margin:0 0 1.2em 0">'
            f'<div class="ssrobust-picture" style="overflow-x:auto">'
            f'<img alt="{alt}" src="{source}" '
            f'style="max-width:100%;--least-width:{least}px"></div>'
            f'<figcaption style="font-size:0.9em">{caption}{link_row(self.title, files)}</figcaption></figure>'
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/html": self.html(), "text/plain": self.alt}

    @property
    def title(self) -> str:
        """The words above the figure, in one line."""
        return " ".join(self.get_suptitle().split())

    @property
    def caption(self) -> str:
        """The words below the figure, in one line: what to see, the data set, then the notes."""
        return " ".join(self.get_supxlabel().split())

    @property
    def alt(self) -> str:
        """The title and the caption in one line."""
        return f"{self.title} {self.caption}".strip()


def smallest_letters(figure: Figure) -> float:
    """Size in points of the smallest words on a drawn figure, title and caption left out."""
    beside = {figure._suptitle, figure._supxlabel}  # type: ignore[attr-defined]
    words = (item for item in figure.findobj(Text) if item not in beside)
    return min(
        (float(item.get_fontsize()) for item in words if item.get_visible() and item.get_text().strip()), default=12.0
    )


def least_width(figure: Figure, png: bytes) -> int:
    """CSS pixels that the picture must be wide for its smallest words to be `LEAST_LETTERS` high.

    Where the window is narrower, as on a phone, the picture scrolls in its own box (`book/_static/custom.css`).

    Parameters
    ----------
    png : of the drawn figure at `DPI`.
    """
    inches = int.from_bytes(png[16:20], "big") / DPI  # the width in the header, pixels
    return math.ceil(LEAST_LETTERS * 72 / smallest_letters(figure) * inches)


def with_palette(png: bytes) -> bytes:
    """The same picture with at most 256 colours, which halves its bytes; lossless for most charts and grey images."""
    from PIL import Image

    smaller = io.BytesIO()
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(smaller, "PNG", optimize=True)
    return smaller.getvalue()


def styled(function: Callable[P, R]) -> Callable[P, R]:
    """Run a figure function with the project's style and leave matplotlib's settings as they were."""

    @functools.wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        with matplotlib.rc_context(STYLE):
            return function(*args, **kwargs)

    return inside


def new_figure(height: float, width: float = WIDTH) -> StudyFigure:
    """Empty figure of the given size in inches, with constrained layout."""
    return StudyFigure(figsize=(width, height), layout="constrained")


def finish(
    figure: StudyFigure, title: str, dataset: str, notes: Iterable[str | None] = (), *, see: str = ""
) -> StudyFigure:
    """Put the title above and the caption below: what to see, the name of the data set, then the notes.

    Parameters
    ----------
    see : what a reader should look at, or what there is to see: one or two sentences, computed where they can be.
    dataset : name of the data set, as shown ('phantoms, RSNA layout'); never empty.
    notes : sentences on what is drawn or missing; None is skipped.

    Raises
    ------
    ValueError
        Where the data set has no name: no figure leaves without saying what it was measured on.
    """
    width = figure.get_figwidth()
    figure.suptitle(wrap_title(title, width), x=0.01, ha="left")
    figure.see = see
    figure.supxlabel(caption_of(dataset, notes, width, see), x=0.01, ha="left", color=FAINT, linespacing=1.25)
    return figure


def wrap_title(title: str, width: float) -> str:
    """Break a title in lines that fit a figure of `width` inches."""
    return textwrap.fill(title, int(width * 9.2), break_on_hyphens=False)


def caption_of(dataset: str, notes: Iterable[str | None], width: float, see: str = "") -> str:
    """Caption of a figure of `width` inches: what to see, data set, notes; ValueError for a nameless data set."""
    if not dataset.strip():
        raise ValueError("expected the name of the data set for the figure's caption, got nothing: pass dataset='...'")
    caption = " ".join(
        [*([see] if see else []), "Data: " + dataset.rstrip(".") + ".", *(note for note in notes if note)]
    )
    return textwrap.fill(caption, int(width * 12.6), break_on_hyphens=False)


def message_figure(title: str, dataset: str, message: str) -> StudyFigure:
    """A figure that says in words why there is nothing to draw."""
    figure = new_figure(1.6)
    axes = figure.subplots()
    axes.set_axis_off()
    axes.text(0.5, 0.5, textwrap.fill(message, 60), ha="center", va="center", color=INK, transform=axes.transAxes)
    return finish(figure, title, dataset)


def arm_patches(inits: Sequence[str]) -> list[Patch]:
    """Legend handles of the arms: colour and hatch."""
    return [
        Patch(facecolor=style.colour, hatch=style.hatch, edgecolor="white", label=paper_label(init))
        for init, style in arm_styles(inits).items()
    ]


def legend_above(axes: Axes, handles: Sequence[Any], *, columns: int | None = None, **options: Any) -> None:
    """Legend in one strip over the axes, left-aligned with it; two columns where the words are long."""
    words = sum(len(str(handle.get_label())) + 6 for handle in handles)
    columns = columns or (len(handles) if words < 80 else 2)
    axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns, borderaxespad=0.3,
        columnspacing=1.4, handlelength=2.0, **options,
    )  # fmt: skip


def legend_strip(axes: Axes, handles: Sequence[Any], *, columns: int | None = None, **options: Any) -> None:
    """Turn empty axes into a legend, left-aligned, for figures of several panels."""
    axes.set_axis_off()
    words = sum(len(str(handle.get_label())) + 6 for handle in handles)
    columns = columns or (len(handles) if words < 80 else 2)
    axes.legend(handles=handles, loc="center left", bbox_to_anchor=(0, 0.5), ncols=columns, borderaxespad=0, **options)


def picture(axes: Axes, image: Any, **options: Any) -> None:
    """Show an image (H, W) in [0, 1] or (H, W, 3) without ticks and frame."""
    axes.imshow(image, **({"vmin": 0, "vmax": 1} if getattr(image, "ndim", 2) == 2 else {}) | options)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _png_source(png: bytes, every_colour: bool) -> str:
    packed = png if every_colour else with_palette(png)
    return "data:image/png;base64," + base64.b64encode(packed).decode("ascii")
