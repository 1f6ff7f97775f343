"""The report as a PDF: the single file, printed by an installed Chromium.

What enters: the file that `single_file` wrote. What leaves: a tagged PDF on A4 with a title page, page numbers,
bookmarks and working links. What goes on paper and how is said by the print rules of `book/_static/single_file.css`;
here only what needs measuring is done: tables too wide for the paper are made smaller, and turned where that would make
them too small to read.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from ssrobust_lib.book.browser import open_window

UPRIGHT, TURNED = 673, 1002
"""Pixels between the margins of an A4 page upright and turned, at 96 per inch (178 mm and 265 mm)."""

SMALLEST = 0.72
"""Share of its size to which a table is made smaller before it is turned."""

_PATIENCE_S = 300.0  # formulas of a long report are drawn one by one

LONGEST_FOLDED = 40
"""Rows of a folded table that is opened on paper; of longer ones the paper says that they are in the HTML."""

_UNFOLD_TABLES = """(() => {
  let opened = 0, left = 0;
  for (const fold of document.querySelectorAll('article details')) {
    const table = fold.querySelector(':scope > :not(summary) table, :scope > table');
    if (!table || fold.closest('td')) continue;
    if (table.rows.length <= LONGEST + 1) { fold.open = true; opened += 1; }
    else { fold.open = false; fold.classList.add('not-printed'); left += 1; }
  }
  return {opened, left};
})()"""
_FIT_TABLES = """(() => {
  const fitted = {smaller: 0, turned: 0};
  const wide = table => Math.max(table.offsetWidth, table.scrollWidth);
  for (const table of document.querySelectorAll('article table')) {
    if (table.parentElement.closest('table') || table.closest('details:not([open])') || !table.offsetWidth) continue;
    if (wide(table) <= UPRIGHT) continue;
    for (const cell of table.querySelectorAll('th, td')) cell.style.whiteSpace = 'normal';
    const box = table.closest('.ssrobust-table, .pst-scrollable-table-container') || table;
    let room = UPRIGHT;
    if (room / wide(table) < SMALLEST) {
      room = TURNED;
      box.classList.add('turned');
      Object.assign(box.style, {width: TURNED + 'px', maxWidth: 'none'});
      fitted.turned += 1;
    }
    if (wide(table) > room) { table.style.zoom = room / wide(table); fitted.smaller += 1; }
  }
  return fitted;
})()"""
_READY = """(async () => {
  if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
  await document.fonts.ready;
  await Promise.all(Array.from(document.images).map(image => image.decode().catch(() => null)));
  return true;
})()"""


@dataclass(frozen=True)
class Pdf:
    """What was written, how many bytes; tables made smaller, turned, unfolded, and left folded for their length."""

    path: Path
    size: int
    smaller: int
    turned: int
    opened: int
    left: int


def write_pdf(single_file: Path, destination: Path) -> Pdf:
    """Print the report in one file as a PDF, whole or not at all.

    Raises
    ------
    BrowserError
        No Chromium is installed (the message says what to install), or it does not answer.
    FileNotFoundError
        `single_file` does not exist.
    """
    single_file, destination = Path(single_file), Path(destination)
    if not single_file.is_file():
        raise FileNotFoundError(f"{single_file} does not exist: expected the report in one file; run `make book` first")
    with open_window(patience_s=_PATIENCE_S) as window:
        window.open(single_file)
        window.resize(UPRIGHT, 1000)
        window.show_as("print")
        window.evaluate(_READY)
        folded = window.evaluate(_with_numbers(_UNFOLD_TABLES, LONGEST=LONGEST_FOLDED))
        fitted = window.evaluate(_with_numbers(_FIT_TABLES, UPRIGHT=UPRIGHT, TURNED=TURNED, SMALLEST=SMALLEST))
        content = window.print()
    aside = destination.with_name(destination.name + ".part")
    aside.write_bytes(content)
    os.replace(aside, destination)
    return Pdf(destination, len(content), **folded, **fitted)


def _with_numbers(script: str, **numbers: float) -> str:
    """A script with numbers in place of their names."""
    return f"(() => {{ const {', '.join(f'{name} = {value}' for name, value in numbers.items())}; return {script} }})()"
