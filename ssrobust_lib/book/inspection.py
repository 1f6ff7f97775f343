"""Inspect a whole report: its pages, its links, the single file, and whether everybody can read it.

What enters: the HTML folder that `build.build_book` made and, where there is one, the report in one file. What leaves:
a `BookReport` with every problem in plain words, counts of what was looked at, and what was not looked at for want of
a browser or a checker. No part of the paper.
"""

import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ssrobust_lib.book import accessibility
from ssrobust_lib.book.browser import Window, find_chromium, open_window
from ssrobust_lib.book.checks import (
    HEAVIEST_PAGE,
    WIDTHS,
    book_folder,
    book_pages,
    download_problems,
    page_problems,
    page_weight,
    rendered_problems,
    style_problems,
)
from ssrobust_lib.book.links import Links, fetch_links, follow_links
from ssrobust_lib.book.single_file import HEAVIEST_FILE

if TYPE_CHECKING:
    from bs4 import BeautifulSoup

SINGLE_FILE = "report.html"
"""Name of the report in one file, beside the folder of the book."""

NO_BROWSER = (
    "no Chromium is installed: nothing was looked at as a reader sees it (widths, requests, keyboard, contrast)"
)

_PATIENCE_S = 300.0


@dataclass(frozen=True)
class BookReport:
    """What an inspection found.

    Attributes
    ----------
    problems : tuple of str
        One line each, beginning with the page's path; empty for a sound report.
    counts : mapping of str to int
        What was looked at, in words, and how much of it.
    not_looked_at : tuple of str
        What could not be checked here, and what to install.
    external_links : mapping of str to str
        Addresses outside the book -> the first page that names each.
    """

    problems: tuple[str, ...]
    counts: Mapping[str, int]
    not_looked_at: tuple[str, ...]
    external_links: Mapping[str, str]

    def json(self) -> str:
        """All of it as JSON."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    def text(self) -> str:
        """All of it but the external addresses, for a terminal."""
        lines = [*self.problems, *(f"not looked at: {reason}" for reason in self.not_looked_at)]
        lines += [f"{count:>12,}  {what}" for what, count in self.counts.items()]
        lines.append(f"{len(self.problems)} problems" if self.problems else "the book is in order")
        return "\n".join(lines)


def check_book(html: Path, *, widths: Sequence[int] = WIDTHS) -> list[str]:
    """List the problems of a rendered book's pages; see `inspect_book`."""
    return list(inspect_book(html, widths=widths, single_file=None).problems)


def inspect_book(
    html: Path,
    *,
    widths: Sequence[int] = WIDTHS,
    single_file: Path | None,
    external: bool = False,
) -> BookReport:
    """Inspect a rendered book.

    Looked for: links to pages, places and files that are not there, and downloads that nothing links to; missing or
    damaged pictures; anything fetched from a network; output of failed cells and warnings, cells of tables without a
    value, unresolved references; repeated search boxes; pages heavier than `checks.HEAVIEST_PAGE` and a single file
    heavier than `single_file.HEAVIEST_FILE`; tables to save with columns that nobody describes; what
    `accessibility.markup_problems` names. With a Chromium also: pages wider than the window, pictures and formulas that
    do not show, errors of scripts, requests that leave the machine, stops of the Tab key. With axe-core also its rules,
    at every width, and contrasts in dark colours.

    Parameters
    ----------
    html : Path
        Folder of the rendered book, or its index.html.
    widths : sequence of int
        Window widths in pixels for the checks in a browser; none for the static checks alone.
    single_file : Path, optional
        The report in one file; left out where it is None or does not exist. Its pages' text is not looked at a second
        time by axe, its frame (title page, contents, places of everything) is.
    external : bool
        Fetch the external addresses as well.

    Raises
    ------
    FileNotFoundError
        The folder holds no book.
    """
    from bs4 import BeautifulSoup

    html = book_folder(html)
    every = [page for page in sorted(html.rglob("*.html")) if "_static" not in page.relative_to(html).parts]
    parsed = {page: BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser") for page in every}
    written = book_pages(html)
    found: list[str] = []
    links = follow_links(parsed, html)
    found += links.problems
    for page in written:
        found += _named(page.relative_to(html).as_posix(), [*page_problems(page, parsed[page])])
        found += _named(page.relative_to(html).as_posix(), [*accessibility.markup_problems(parsed[page])])
    found += download_problems(html)
    for sheet in sorted(html.rglob("*.css")):
        text = sheet.read_text(encoding="utf-8", errors="replace")
        found += _named(sheet.relative_to(html).as_posix(), [*style_problems(text)])
    weights = [page_weight(page, parsed[page]) for page in written]
    counts = {"pages": len(written)} | _counts(links)
    counts[f"bytes of the heaviest page with its pictures, at most {HEAVIEST_PAGE:,}"] = max(weights, default=0)
    if single_file is not None and single_file.is_file():
        whole = BeautifulSoup(single_file.read_text(encoding="utf-8"), "html.parser")
        found += _single_file_problems(single_file, whole)
        counts[f"bytes of the report in one file, at most {HEAVIEST_FILE:,}"] = single_file.stat().st_size
    missing: list[str] = []
    if widths:
        looked, seen, missing = _look(html, written, widths, single_file)
        found += looked
        counts |= seen
    if external:
        answers = list(fetch_links(links.external))
        found += [f"{links.external[address]}: {address} {fault}" for address, fault in answers if fault]
        counts["external addresses fetched"] = len(answers)
    return BookReport(tuple(dict.fromkeys(found)), counts, tuple(missing), links.external)


def _named(name: str, problems: Sequence[str]) -> list[str]:
    return [f"{name}: {problem}" for problem in problems]


def _counts(links: Links) -> dict[str, int]:
    return {
        "links within the book": links.internal,
        "of them to a place on a page": links.anchors,
        "files for download": links.downloads,
        "external addresses": len(links.external),
    }


def _single_file_problems(path: Path, soup: "BeautifulSoup") -> list[str]:
    """What is wrong in the markup of the report in one file: links, pictures, weight, what it would fetch."""
    problems = list(follow_links({path: soup}, path.parent).problems)
    problems += _named(path.name, [*page_problems(path, soup, HEAVIEST_FILE)])
    outside = [str(tag.get("src") or tag.get("href")) for tag in soup.select("[src], link[href]")]
    problems += _named(
        path.name, [f"needs another file: {address[:80]}" for address in outside if not address.startswith("data:")]
    )
    files = [str(link["href"]) for link in soup.select("a[href]")]
    problems += _named(
        path.name,
        [f"links to a file beside it: {address}" for address in files if not _goes_with_the_file(address)],
    )
    return problems + _named(path.name, [*accessibility.markup_problems(soup)])


def _goes_with_the_file(address: str) -> bool:
    return address.startswith(("#", "data:", "http:", "https:", "mailto:"))


def _look(
    html: Path, pages: Sequence[Path], widths: Sequence[int], single_file: Path | None
) -> tuple[list[str], dict[str, int], list[str]]:
    """Look at every page in a browser; return problems, counts, and what could not be looked at."""
    if find_chromium() is None:
        return [], {}, [NO_BROWSER]
    script = accessibility.axe_script()
    missing = [] if script else [accessibility.NO_AXE]
    jobs = [
        (page.relative_to(html).as_posix(), partial(_look_at, page=page, widths=widths, script=script))
        for page in sorted(pages, key=lambda page: -page.stat().st_size)  # the longest first
    ]
    if single_file is not None and single_file.is_file():
        frame = partial(_look_at, page=single_file, widths=widths, script=script, frame_only=True)
        jobs.insert(0, (single_file.name, frame))
    queue = iter(jobs)
    problems: dict[str, list[str]] = {}
    totals: dict[str, int] = {}

    def work(_: int) -> None:
        with open_window(patience_s=_PATIENCE_S) as window:
            for name, job in queue:
                found, counts = job(window)
                problems[name] = _named(name, found)
                for what, count in counts.items():
                    totals[what] = totals.get(what, 0) + count

    with ThreadPoolExecutor(max_workers := min(2, os.cpu_count() or 1)) as pool:
        list(pool.map(work, range(max_workers)))
    return [problem for name in sorted(problems) for problem in problems[name]], totals, missing


def _look_at(
    window: Window, page: Path, widths: Sequence[int], script: Path | None, frame_only: bool = False
) -> tuple[list[str], dict[str, int]]:
    """Look at one page: at every width, with axe, with the keyboard; with the last two at its frame only if asked."""
    found: list[str] = []
    counts = {"looks of a browser": 0, "stops of the Tab key": 0, "rules of axe-core applied": 0}
    window.open(page)
    for width in widths:
        found += rendered_problems(window, width)
        counts["looks of a browser"] += 1
    if frame_only:
        accessibility.keep_frame(window)
    if script is not None:
        for width in widths:
            window.resize(width, 900)
            rules, problems = accessibility.axe_problems(window, script)
            counts["rules of axe-core applied"] += rules
            found += [f"{problem} (in a window of {width})" for problem in problems]
        if not frame_only:
            window.resize(widths[0], 900)
            found += accessibility.dark_problems(window)
    if not frame_only:
        window.open(page)
    window.resize(max(widths), 900)
    stops, problems = accessibility.keyboard_problems(window)
    counts["stops of the Tab key"] += stops
    return found + problems, counts
