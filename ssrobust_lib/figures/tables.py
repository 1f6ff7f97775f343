"""Tables for the book: HTML that fits a phone, names its data set, and sets the paper's value beside ours.

Enters: tidy frames. Leaves: an `HtmlTable`, which shows itself in a notebook; every text in it is escaped. A table
wider than the screen scrolls inside its own box, so the page never does.
"""

import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from .style import paper_label
from .tidy import require_columns

_WRAPPER = "overflow-x:auto;max-width:100%;margin:0 0 1.2em 0"
_TABLE = "border-collapse:collapse;font-size:0.95em;margin:0;width:auto"
_CAPTION = "caption-side:top;text-align:left;padding:0 0 0.4em 0;font-weight:600;min-width:16em"
_CELL = "padding:0.3em 0.7em;border-bottom:1px solid rgba(128,128,128,0.35);vertical-align:top"
_HEAD = _CELL + ";border-bottom-width:2px;font-weight:600"
_BADGE = "display:inline-block;padding:0.05em 0.55em;border-radius:0.7em;white-space:nowrap;font-weight:600;"
_TONES = {
    "good": "background:#d7ecf7;color:#00456e",
    "bad": "background:#fbe0d0;color:#8a2f00",
    "open": "background:#e6e6e6;color:#333333",
}

#: How the words of a verdict are toned, and how the columns of a comparisons table are toned.
VERDICT_TONES = {"holds": "good", "does not hold": "bad", "undecided": "open", "not tested": "open"}


@dataclass(frozen=True)
class HtmlTable:
    """A finished table: `html` is what a notebook shows, `str()` gives the caption."""

    html: str
    caption: str

    def _repr_html_(self) -> str:
        return self.html

    def __str__(self) -> str:
        return self.caption


def mean_std(mean: float, std: float | None = None, *, digits: int = 3) -> str:
    """'0.900 ± 0.037'; without a spread '0.739'; a missing mean is a dash.

    Examples
    --------
    >>> mean_std(0.9, 0.037)
    '0.900 ± 0.037'
    >>> mean_std(0.7394)
    '0.739'
    >>> mean_std(float("nan"))
    '–'
    """
    if mean is None or pd.isna(mean):
        return "–"
    text = f"{mean:.{digits}f}"
    return text if std is None or pd.isna(std) else f"{text} ± {std:.{digits}f}"


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


def _p_text(value: Any) -> str:
    """A p-value as a table prints it: three significant digits, '< 0.0001' below that, a dash where there is none."""
    if value is None or pd.isna(value):
        return "–"
    return "< 0.0001" if value < 0.0001 else f"{value:.3g}"


P_FORMATS: dict[str, Callable[[Any], str]] = {"p": _p_text, "p_holm": _p_text}


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
) -> HtmlTable:
    """Render a frame (its index is left out) as a table that scrolls within the page.

    Parameters
    ----------
    frame : any columns; numbers are set right, texts left.
    caption : what the table shows; the data set's name is added to it.
    dataset : name of the data set the numbers were measured on.
    headings : column -> words in the head; default: the column's name with spaces.
    formats : column -> function from a value to its text; default: `digits` decimals, thousands separated.
    tones : column -> value -> 'good', 'bad' or 'open': shown as a coloured badge (the words stay).
    note : a line below the table.

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
    head = "".join(
        f'<th scope="col" style="{_HEAD};text-align:{"right" if numeric[c] else "left"}">'
        f"{html.escape((headings or {}).get(c, str(c).replace('_', ' ')))}</th>"
        for c in frame
    )
    body = []
    for row in frame.to_dict("records"):
        cells = []
        for column, value in row.items():
            write = (formats or {}).get(column)
            text = html.escape(write(value) if write else _plain(value, digits))
            badge = (tones or {}).get(column, {}).get(str(value))
            if badge:
                text = f'<span style="{_BADGE}{_TONES[badge]}">{text}</span>'
            short = ";white-space:nowrap" if len(text) <= 14 else ""  # keeps '0.900 ± 0.037' in one line
            side = ("right" if numeric[column] else "left") + short
            cells.append(f'<td style="{_CELL};text-align:{side}">{text}</td>')
        body.append("<tr>" + "".join(cells) + "</tr>")
    if not body:
        body.append(f'<tr><td colspan="{max(len(frame.columns), 1)}" style="{_CELL}">no row yet</td></tr>')
    below = f'<p style="font-size:0.85em;margin:0.4em 0 0 0">{html.escape(note)}</p>' if note else ""
    text = (
        f'<div class="ssrobust-table" style="{_WRAPPER}" tabindex="0" role="region" aria-label="{html.escape(full)}">'
        f'<table style="{_TABLE}"><caption style="{_CAPTION}">{html.escape(full)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>{below}</div>"
    )
    return HtmlTable(text, full)


def paper_beside_ours(
    ours: pd.DataFrame,
    paper: pd.DataFrame,
    caption: str,
    *,
    dataset: str,
    paper_dataset: str = "the paper's own data",
    digits: int = 3,
    note: str | None = None,
) -> HtmlTable:
    """Results of each arm with the paper's value beside ours (Tables 1, 2 and 4 of the paper).

    Parameters
    ----------
    ours : init, metric, mean, std (NaN where there is none), n, unit: one row per arm and metric.
    paper : init, metric, mean, std. A pair that only one side has shows a dash on the other.
    dataset, paper_dataset : on what each side was measured.
    """
    keys = ["init", "metric"]
    require_columns(ours, [*keys, "mean", "std", "n", "unit"], "ours")
    require_columns(paper, [*keys, "mean", "std"], "paper")
    both = ours.merge(paper, on=keys, how="outer", suffixes=("", "_paper"), sort=False)
    rank = {key: turn for turn, key in enumerate(zip(ours["metric"], ours["init"], strict=True))}
    both["rank"] = [rank.get(key, len(rank)) for key in zip(both["metric"], both["init"], strict=True)]
    both = both.sort_values("rank", kind="stable")
    shown = pd.DataFrame(
        {
            "Metric": both["metric"],
            "Arm": [paper_label(init) for init in both["init"]],
            "Ours": [mean_std(m, s, digits=digits) for m, s in both[["mean", "std"]].to_numpy()],
            "Paper": [mean_std(m, s, digits=digits) for m, s in both[["mean_paper", "std_paper"]].to_numpy()],
            "n (ours)": ["–" if pd.isna(n) else f"{int(n):,} {unit}" for n, unit in both[["n", "unit"]].to_numpy()],
        }
    )
    sources = f"Ours: {dataset}. Paper: {paper_dataset}."
    return html_table(shown, caption, dataset=dataset, note=f"{sources} {note}" if note else sources, digits=digits)


def paper_table(table: pd.DataFrame, caption: str, *, dataset: str, digits: int = 3) -> HtmlTable:
    """`paper_beside_ours` for the tables of `ssrobust_lib.result_tables` (`table1`, `table2`, `table4`).

    Parameters
    ----------
    table : init, metric, structure, value, std, n, unit, paper_value, paper_std.
    """
    require_columns(
        table, ["init", "metric", "structure", "value", "std", "n", "unit", "paper_value", "paper_std"], "table"
    )
    metric = [
        f"{m}, {s.replace('_', ' ')}" if s else m for m, s in zip(table["metric"], table["structure"], strict=True)
    ]
    ours = table.assign(metric=metric).rename(columns={"value": "mean"})
    ours = ours[["init", "metric", "mean", "std", "n", "unit"]]
    paper = table.assign(metric=metric, mean=table["paper_value"], std=table["paper_std"])
    paper = paper[["init", "metric", "mean", "std"]]
    return paper_beside_ours(ours, paper, caption, dataset=dataset, digits=digits)


def verdict_table(
    claims: pd.DataFrame,
    caption: str,
    *,
    dataset: str,
    columns: Mapping[str, str],
    verdict: str = "verdict",
    tones: Mapping[str, str],
    note: str | None = None,
) -> HtmlTable:
    """The paper's claims with what was found for each; the verdict is a word on a coloured ground.

    Parameters
    ----------
    claims : one row per claim.
    columns : column of `claims` -> heading, in the order shown; other columns are left out.
    verdict : the column that holds the verdict.
    tones : verdict -> 'good' (as the paper says), 'bad' (the opposite) or 'open' (not decided).
    """
    require_columns(claims, [*columns, verdict], "claims")
    badges = {verdict: tones} if verdict in columns else None
    return html_table(claims[[*columns]], caption, dataset=dataset, headings=columns, tones=badges, note=note)
