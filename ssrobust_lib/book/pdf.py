"""The report as a PDF: the single file, printed by an installed Chromium.

What enters: the file that `single_file` wrote. What leaves: a tagged PDF on A4 with a title page, page numbers,
bookmarks and working links. What goes on paper and how is said by the print rules of `book/_static/single_file.css`;
here only what needs measuring is done: folds that fit are opened, words folded into a cell become numbered notes below
their table, tables too wide for the paper are made smaller, and turned where that would make them too small to read,
and a picture is made smaller where it and its caption would not fit on a page together.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from ssrobust_lib.book.browser import open_window

UPRIGHT, TURNED = 673, 1002
"""Pixels between the margins of an A4 page upright and turned, at 96 per inch (178 mm and 265 mm)."""

SMALLEST = 0.72
"""Share of its size to which a table is made smaller before it is turned."""

TALLEST_FIGURE = 850
"""Pixels that a picture and its caption take at most: a page has 979 of them (259 mm), the rest is for a heading."""

_PATIENCE_S = 300.0  # formulas of a long report are drawn one by one

LONGEST_FOLDED = 40
"""Rows of a folded table that is opened on paper; of longer ones the paper says that they are in the HTML."""

_UNFOLD = """(() => {
  let opened = 0, left = 0;
  for (const fold of document.querySelectorAll('article details:not(.above-input)')) {
    if (fold.closest('td')) continue;
    const rows = Math.max(0, ...Array.from(fold.querySelectorAll('table'), table => table.rows.length));
    if (rows <= LONGEST + 1) { fold.open = true; opened += 1; }
    else { fold.open = false; fold.classList.add('not-printed'); left += 1; }
  }
  return {opened, left};
})()"""
_NUMBER_NOTES = """(() => {
  for (const table of document.querySelectorAll('article table')) {
    if (table.closest('details:not([open])') || table.parentElement.closest('table')) continue;
    const notes = new Map();
    for (const fold of table.querySelectorAll('td details')) {
      const button = fold.querySelector('summary').textContent.trim();
      fold.querySelector('summary').remove();
      const words = fold.textContent.trim().replace(/\\s+/g, ' ');
      if (!notes.has(words)) notes.set(words, notes.size + 1);
      const mark = document.createElement('small');
      mark.textContent = `${button}\\u00a0[${notes.get(words)}]`;
      mark.style.display = 'block';
      fold.replaceWith(mark);
    }
    if (!notes.size) continue;
    const list = document.createElement('ol');
    list.className = 'cell-notes';
    for (const words of notes.keys()) list.append(Object.assign(document.createElement('li'), {textContent: words}));
    (table.closest('.ssrobust-table') || table).after(list);
  }
})()"""
_FIT_FIGURES = """(() => {
  for (const figure of document.querySelectorAll('article figure')) {
    const drawn = figure.querySelector('img, svg');
    const height = figure.getBoundingClientRect().height;
    if (!drawn || height <= TALLEST) continue;
    const room = drawn.getBoundingClientRect().height - (height - TALLEST);
    drawn.style.setProperty('max-height', Math.max(room, TALLEST / 3) + 'px', 'important');
  }
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
    """What was written, how many bytes; tables made smaller and turned, folds opened and left for their length."""

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
        folded = window.evaluate(_with_numbers(_UNFOLD, LONGEST=LONGEST_FOLDED))
        window.evaluate(_NUMBER_NOTES)
        window.evaluate(_with_numbers(_FIT_FIGURES, TALLEST=TALLEST_FIGURE))
        fitted = window.evaluate(_with_numbers(_FIT_TABLES, UPRIGHT=UPRIGHT, TURNED=TURNED, SMALLEST=SMALLEST))
        content = window.print()
    aside = destination.with_name(destination.name + ".part")
    aside.write_bytes(content)
    os.replace(aside, destination)
    return Pdf(destination, len(content), **folded, **fitted)


def _with_numbers(script: str, **numbers: float) -> str:
    """A script with numbers in place of their names."""
    return f"(() => {{ const {', '.join(f'{name} = {value}' for name, value in numbers.items())}; return {script} }})()"
