"""The quiet row of links below every figure and table: the same content as a file to keep.

Enters: files in memory, named after the title they belong to. Leaves: HTML that holds them inside its links, so that a
notebook needs no folder beside it; `book.embedded_files` moves them out of the pages of the book. No section of the
paper.
"""

import base64
import html
import re
import unicodedata
from collections.abc import Mapping

import numpy as np
import pandas as pd

MIME_TYPES: Mapping[str, str] = {"svg": "image/svg+xml", "pdf": "application/pdf", "csv": "text/csv"}
"""Kinds of files that are offered, and what a browser calls them."""

_LONGEST_NAME = 70
_TAG = re.compile(r"<[^>]+>")


def file_stem(title: str) -> str:
    """Name of a file after a title: lower case, letters and digits, underscores between words.

    Examples
    --------
    >>> file_stem("Figure 3. Accuracy under corruption")
    'figure_3_accuracy_under_corruption'
    >>> file_stem("...")
    'untitled'
    """
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode("ascii").lower()
    stem = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
    if len(stem) > _LONGEST_NAME:
        stem = stem[: _LONGEST_NAME + 1].rpartition("_")[0] or stem[:_LONGEST_NAME]
    return stem or "untitled"


def link_row(title: str, files: Mapping[str, bytes]) -> str:
    """Links that save a figure or table as a file.

    Parameters
    ----------
    title : of the figure or table; names the files.
    files : kind ('svg', 'pdf', 'csv') -> content.

    Raises
    ------
    KeyError
        For a kind that is not in `MIME_TYPES`.
    """
    links = [
        f'<a download="{file_stem(title)}.{kind}" aria-label="{kind.upper()}: {html.escape(title)}" '
        f'href="data:{MIME_TYPES[kind]};base64,{base64.b64encode(content).decode("ascii")}">{kind.upper()}</a>'
        for kind, content in files.items()
    ]
    style = "display:block;font-size:0.85em;margin:0.3em 0 0 0"
    return f'<span class="ssrobust-downloads" style="{style}">Download: {" · ".join(links)}</span>' if links else ""


def csv_bytes(frame: pd.DataFrame) -> bytes:
    """A frame as CSV: UTF-8, a header, commas, numbers in full, missing values empty.

    Cells that are HTML lose their tags.
    """
    plain = frame.copy()
    for column in (name for name in plain if plain[name].dtype.kind == "O"):
        plain[column] = plain[column].map(_without_tags)
    with np.printoptions(
        legacy=False
    ):  # pandas writes floats as NumPy prints them; other libraries may have changed that
        return plain.to_csv(index=False, lineterminator="\n").encode("utf-8")


def _without_tags(value: object) -> object:
    from .tables import Markup

    if not isinstance(value, Markup):
        return value
    return " ".join(html.unescape(_TAG.sub(" ", value)).split())
