"""Tables for the book: HTML that fits a phone and names its data set.

Enters: tidy frames. Leaves: an `HtmlTable`, which shows itself in a notebook, with a link to its numbers as CSV (what
the columns mean: `column_words`); every text in it is escaped. A table wider than the screen scrolls inside its own
box, so the page never does; one that is asked to stack shows each row as a card on a narrow screen
(`book/_static/custom.css`). The tables of results are in `result_tables`.
"""

import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from .downloads import csv_bytes, link_row
from .style import RED, p_digits

_WRAPPER = "max-width:100%;margin:0 0 1.2em 0"
_SCROLL = "overflow-x:auto;max-width:100%"
_TABLE = "border-collapse:collapse;font-size:0.95em;margin:0;width:auto"
_CAPTION = "margin:0 0 0.4em 0"
_CELL = "padding:0.3em 0.5em;border-bottom:1px solid rgba(128,128,128,0.35);vertical-align:top"
_HEAD = _CELL + ";border-bottom-width:2px;font-weight:600"
_BADGE = "display:inline-block;padding:0.05em 0.55em;border-radius:0.7em;white-space:nowrap;font-weight:600;"
_TONES = {
    "good": "background:#d7ecf7;color:#00456e",
    "bad": "background:#fbe0d0;color:#8a2f00",
    "open": "background:#e6e6e6;color:#333333",
}


class Markup(str):
    """Text of a cell that is HTML already: written as it is, so whoever makes it escapes what goes in."""


def object_frame(rows: list[dict], columns: list[str]) -> pd.DataFrame:
    """A frame that keeps `Markup` as it is: a column of text type would make plain text of it."""
    return pd.DataFrame({column: pd.Series([row[column] for row in rows], dtype=object) for column in columns})


@dataclass(frozen=True)
class HtmlTable:
    """A finished table: `html` is what a notebook shows, `data` what its CSV holds, `str()` gives the caption."""

    html: str
    caption: str
    data: pd.DataFrame = field(default_factory=pd.DataFrame, compare=False)

    def _repr_html_(self) -> str:
        return self.html

    def __str__(self) -> str:
        return self.caption


def _percent(share: Any) -> str:
    """Text of a share of 1: '37.5 %'."""
    return "–" if pd.isna(share) else f"{100 * share:.1f} %"


def _plain(value: Any, digits: int) -> str:
    """Text of a cell: floats rounded, counts with thousands, missing values as a dash."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return "–"
    if isinstance(value, float) or pd.api.types.is_float(value):
        return f"{value:.{digits}f}"
    if pd.api.types.is_bool(value):
        return "yes" if value else "no"
    if pd.api.types.is_integer(value):
        return f"{value:,}"
    return str(value)


def p_text(value: Any) -> str:
    """A p-value as a table prints it: two significant digits, '< 0.0001' below that, a dash where there is none.

    Below 0.001 it is red, as in Figures 3 and 4 of the paper.

    Examples
    --------
    >>> p_text(0.0423)
    '0.042'
    >>> p_text(float("nan"))
    '–'
    """
    if value is None or pd.isna(value):
        return "–"
    text = "&lt; 0.0001" if value < 0.0001 else f"{value:.1g}" if value < 0.001 else p_digits(value)
    look = f"color:var(--ssrobust-red,{RED});font-weight:600"
    return Markup(f'<span style="{look}">{text}</span>') if value < 0.001 else text


P_FORMATS: dict[str, Callable[[Any], str]] = {"p": p_text, "p_holm": p_text}


def badge(text: str, tone: str) -> Markup:
    """A word on a coloured ground; tone is 'good', 'bad' or 'open'."""
    return Markup(f'<span style="{_BADGE}{_TONES[tone]}">{html.escape(text)}</span>')


def small(text: str) -> Markup:
    """A line in small print below the main words of a cell."""
    return Markup(f'<br><span style="font-size:0.88em;opacity:0.85">{html.escape(text)}</span>') if text else Markup("")


def folded(text: str, summary: str) -> Markup:
    """Words behind a button."""
    inside = html.escape(text)
    return Markup(f'<details style="font-size:0.88em"><summary>{html.escape(summary)}</summary>{inside}</details>')


def html_table(
    frame: pd.DataFrame,
    caption: str,
    *,
    dataset: str | None = None,
    headings: Mapping[str, str] | None = None,
    formats: Mapping[str, Callable[[Any], str]] | None = None,
    tones: Mapping[str, Mapping[str, str]] | None = None,
    note: str | None = None,
    digits: int = 3,
    stacked: bool = False,
    fold: str | None = None,
    data: pd.DataFrame | None = None,
) -> HtmlTable:
    """Render a frame (its index is left out) as a table that scrolls within the page.

    Parameters
    ----------
    frame : any columns; numbers are set right, texts left.
    caption : what the table shows; the data set's name is added to it.
    dataset : name of the data set the numbers were measured on.
    headings : column -> words in the head; default: the column's name with spaces.
    formats : column -> function from a value to its text; default: `digits` decimals, thousands separated, and percent
        in a column whose name ends in `_share` (a share of 1, which the CSV keeps).
    tones : column -> value -> 'good', 'bad' or 'open': shown as a coloured badge (the words stay).
    stacked : show each row as a card where the screen is narrow, for tables with long words.
    fold : words of a button that the whole table hides behind; None shows it.
    note : a line below the table.
    data : what the CSV below the table holds, for tables whose cells are words made of numbers: the tidy rows that they
        were made from. Default: the frame.

    Raises
    ------
    ValueError
        For a heading, format or tone of a column that the frame does not have, or an unknown tone.
    """
    for name, given in (("headings", headings), ("formats", formats), ("tones", tones)):
        unknown = [column for column in (given or {}) if column not in frame.columns]
        if unknown:
            raise ValueError(
                f"{name}: expected columns of the frame ({', '.join(map(str, frame.columns))}), "
                f"got {', '.join(unknown)}"
            )
    for column, by_value in (tones or {}).items():
        for tone in by_value.values():
            if tone not in _TONES:
                raise ValueError(f"tones[{column!r}]: expected one of {', '.join(_TONES)}, got {tone!r}")
    full = caption.rstrip(".") + (f" ({dataset})" if dataset else "")
    numeric = {c: pd.api.types.is_numeric_dtype(frame[c]) and not pd.api.types.is_bool_dtype(frame[c]) for c in frame}
    words = {c: html.escape((headings or {}).get(c, str(c).replace("_", " "))) for c in frame}
    head = "".join(
        f'<th scope="col" style="{_HEAD};text-align:{"right" if numeric[c] else "left"}">{words[c]}</th>' for c in frame
    )
    body = []
    for row in frame.to_dict("records"):
        cells = []
        for column, value in row.items():
            write = (formats or {}).get(column) or (_percent if str(column).endswith("_share") else None)
            plain: str = value if isinstance(value, Markup) else write(value) if write else _plain(value, digits)
            text: str = plain if isinstance(plain, Markup) else html.escape(str(plain))
            tone = (tones or {}).get(column, {}).get(str(value), "")
            if tone:
                text = badge(str(plain), tone)
            short = ";white-space:nowrap" if len(plain) <= 16 else ""  # keeps '0.900 ± 0.037' in one line
            side = ("right" if numeric[column] else "left") + short
            label = f' data-label="{words[column]}"' if stacked else ""
            cells.append(f'<td{label} style="{_CELL};text-align:{side}">{text}</td>')
        body.append("<tr>" + "".join(cells) + "</tr>")
    if not body:
        body.append(f'<tr><td colspan="{max(len(frame.columns), 1)}" style="{_CELL}">none</td></tr>')
    raw = frame if data is None else data
    below = f'<p style="font-size:0.85em;margin:0.4em 0 0 0">{html.escape(note)}</p>' if note else ""
    below += link_row(caption.rstrip("."), {"csv": csv_bytes(raw)})
    source = f" <span>Data: {html.escape(dataset)}.</span>" if dataset else ""
    title = f"<strong>{html.escape(caption.rstrip('.'))}.</strong>{source}"
    kind = "ssrobust-table ssrobust-stacked" if stacked else "ssrobust-table"
    inside = (
        f'<div style="{_SCROLL}" tabindex="0" role="region" aria-label="{html.escape(full)}">'
        f'<table style="{_TABLE}"><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>{below}'
    )
    if fold:
        caption_line = f'<p class="ssrobust-caption" style="{_CAPTION}">{title}</p>'
        inside = f"<details><summary>{html.escape(fold)}</summary>{caption_line}{inside}</details>"
    else:
        inside = f'<p class="ssrobust-caption" style="{_CAPTION}">{title}</p>{inside}'
    return HtmlTable(f'<div class="{kind}" style="{_WRAPPER}">{inside}</div>', full, raw)
