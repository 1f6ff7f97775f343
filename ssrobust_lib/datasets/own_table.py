"""A CSV of the user's own: read strictly, so that what is wrong is named by its line before anything is trained.

In: a file. Out: a `Table` of text, with the line of every row. UTF-8, with or without a byte-order mark; separated by
comma, semicolon or tab, whichever the header holds most of.
"""

import csv
import io
import posixpath
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssrobust_lib.datasets.loader import LayoutError, OptionError
from ssrobust_lib.registry import unknown_name

SEPARATORS = ",;\t"


@dataclass(frozen=True)
class Table:
    """Rows of a CSV.

    Attributes
    ----------
    path : the file
    columns : its header
    rows : (line in the file, column -> text without surrounding blanks)
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[int, dict[str, str]], ...]

    def values(self, column: str, *, empty: bool = True, is_path: bool = True) -> list[str]:
        """One column's texts; `LayoutError` for an empty one unless `empty`. Paths are normalised ('./a' is 'a')."""
        values = []
        for line, row in self.rows:
            value = row[column]
            if not value and not empty:
                raise LayoutError(f"{self.path}, line {line}: column {column!r} is empty")
            values.append(posixpath.normpath(value) if value and is_path else value)
        return values

    def refuse_repeated(self, images: Sequence[str]) -> None:
        """Raise `LayoutError` if an image stands in two rows; `images` are paths in the order of the rows."""
        first: dict[str, int] = {}
        repeated = []
        for (line, _), image in zip(self.rows, images, strict=True):
            if image in first:
                repeated.append(f"{image!r} in lines {first[image]} and {line}")
            first.setdefault(image, line)
        if repeated:
            shown = "; ".join(repeated[:5])
            raise LayoutError(f"{self.path}: {len(repeated)} rows repeat an image ({shown}): keep one row per image")


def read_own_table(path: Path) -> Table:
    """Read a CSV.

    Raises
    ------
    LayoutError
        If it is missing, not UTF-8, has no rows, a column twice, a row of another length, or broken quotes.
    """
    if not path.is_file():
        raise LayoutError(f"{path} is missing: the table of images is expected there (option table of the manifest)")
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise LayoutError(f"{path}, line {line}: not UTF-8 text: save the table as 'CSV UTF-8'") from error
    header_line = text.split("\n", 1)[0]
    separator = max(SEPARATORS, key=header_line.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows = []
    try:
        columns = tuple(name.strip() for name in next(reader, []))
        _check_header(path, columns)
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(columns):
                found = f"expected {len(columns)} cells as in the header, found {len(cells)}"
                raise LayoutError(f"{path}, line {reader.line_num}: {found}")
            rows.append((reader.line_num, dict(zip(columns, (cell.strip() for cell in cells), strict=True))))
    except csv.Error as error:
        raise LayoutError(f"{path}, line {reader.line_num}: not a valid CSV ({error})") from error
    if not rows:
        raise LayoutError(f"{path} has no rows")
    return Table(path, columns, tuple(rows))


def _check_header(path: Path, columns: Sequence[str]) -> None:
    if not any(columns):
        raise LayoutError(f"{path} is empty: expected a header with the names of the columns")
    if "" in columns:
        raise LayoutError(f"{path}: column {columns.index('') + 1} of the header has no name")
    twice = [name for name in columns if columns.count(name) > 1]
    if twice:
        raise LayoutError(f"{path}: the header names the column {twice[0]!r} twice")


def check_columns(columns: Any, roles: Sequence[str]) -> None:
    """Raise `OptionError` unless `columns` maps known roles to distinct column names."""
    if not isinstance(columns, Mapping):
        raise OptionError(("columns",), f"columns: expected role: column, as in {{path: file}}, got {columns!r}")
    for role, column in columns.items():
        if role not in roles:
            raise OptionError(("columns", role), unknown_name("role of a column", role, list(roles)))
        if not isinstance(column, str) or not column:
            raise OptionError(("columns", role), f"{role}: expected the name of a column, got {column!r}")
    if len(set(columns.values())) < len(columns):
        raise OptionError(("columns",), f"columns: one column cannot be two things, got {dict(columns)}")


def find_file(root: Path, written: str) -> str | None:
    """The path under which a file listed in a table exists, relative to `root`; None where it does not.

    Tried in this order: as written; with its accents composed or decomposed (macOS and Linux store them differently);
    with Windows' backslashes as slashes.
    """
    slashes = written.replace("\\", "/")
    forms = (written, *(unicodedata.normalize(form, text) for text in (written, slashes) for form in ("NFC", "NFD")))
    return next((form for form in dict.fromkeys(forms) if _is_file(root / form)), None)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long for the file system, or with a zero byte
        return False
