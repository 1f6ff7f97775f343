"""Find what is wrong in the pages of a rendered book before a reader does.

What enters: a page of the HTML folder that `build.build_book` made, parsed, or open in a window. What leaves: problems
in plain words, none for a sound page. `inspection` applies these checks, and those of links and accessibility, to a
whole book.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from ssrobust_lib.book.browser import Window, open_window
from ssrobust_lib.book.embedded_files import DOWNLOADS
from ssrobust_lib.config import PROJECT
from ssrobust_lib.figures import COLUMN_WORDS

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

WIDTHS = (1280, 390)
"""Window widths in pixels: a laptop and a phone."""

HEAVIEST_PAGE = 2 * 1024**2
"""Bytes of a page and the pictures on it; what all pages share (style sheets, fonts, MathJax) is not counted."""

_SERVICE_PAGES = {"genindex.html", "search.html", "py-modindex.html"}
_CSS_ADDRESS = re.compile(r"""(?:url\(\s*['"]?|@import\s+['"])(?P<url>[^'")\s]+)""")
_CSS_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_ERROR_LINE = re.compile(r"^(?:\w+\.)*[A-Z]\w*(?:Error|Exception|Interrupt)(?::|$)", re.MULTILINE)
_UNRESOLVED = re.compile(r"\?\?|undefined label|glue:\w+|\{(?:glue|numref|ref|cite)(?::\w+)?\}")
_FETCHED_LINKS = {"stylesheet", "preload", "modulepreload", "icon", "prefetch", "preconnect"}
_NOT_A_VALUE = {"nan", "<na>", "nat", "none", "null", "inf", "-inf"}


def screenshots(html: Path, folder: Path, widths: Sequence[int] = WIDTHS) -> list[Path]:
    """Save every page, whole, as `<folder>/<page>-<width>.png` and return the paths.

    Raises
    ------
    BrowserError
        No Chromium is installed.
    """
    html, folder = book_folder(html), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with open_window() as window:
        for page in book_pages(html):
            name = "-".join(page.relative_to(html).with_suffix("").parts)
            window.open(page)
            for width in widths:
                written.append(folder / f"{name}-{width}.png")
                window.look(width, screenshot=written[-1])
    return written


def book_pages(html: Path) -> list[Path]:
    """List the pages that were written for readers: all HTML files but the theme's index and search pages."""
    html = book_folder(html)
    every = (page for page in html.rglob("*.html") if "_static" not in page.relative_to(html).parts)
    return sorted(page for page in every if page.name not in _SERVICE_PAGES)


def book_folder(html: Path) -> Path:
    """Folder of a book, given it or its index page; FileNotFoundError where there is none."""
    folder = Path(html).parent if Path(html).suffix == ".html" else Path(html)
    if not (folder / "index.html").is_file():
        raise FileNotFoundError(f"{folder} holds no book: expected index.html in it; run `make book` first")
    return folder


def download_problems(html: Path) -> Iterator[str]:
    """Yield what is wrong with the files below figures and tables."""
    for path in sorted((html / DOWNLOADS).glob("*.*")):
        where = path.relative_to(html).as_posix()
        if path.suffix == ".csv":
            with path.open(encoding="utf-8", newline="") as file:
                head = next(csv.reader(file), [])
            unknown = [column for column in head if column not in COLUMN_WORDS]
            if not head:
                yield f"{where}: has no columns"
            elif unknown and not path.name.startswith("benchmarks-"):  # their rows have fields of their own
                yield f"{where}: nobody describes {', '.join(unknown)}: add them to COLUMN_WORDS"
        elif path.suffix == ".svg" and (reason := _damage(path)):
            yield f"{where}: is damaged: {reason}"
        elif path.suffix == ".pdf" and not path.read_bytes().startswith(b"%PDF-"):
            yield f"{where}: is no PDF"


def page_problems(page: Path, soup: "BeautifulSoup", heaviest: int = HEAVIEST_PAGE) -> Iterator[str]:
    """Yield what is wrong in the file of a page: pictures, requests, output of cells, references, weight.

    Parameters
    ----------
    page : Path
        The file.
    soup : BeautifulSoup
        The same, parsed.
    heaviest : int
        Bytes that the page may have, with its pictures.
    """
    article = soup.find("article") or soup
    yield from _picture_problems(soup, page)
    yield from _network_problems(soup)
    yield from _output_problems(article)
    if str(PROJECT) in article.get_text():
        yield f"names a folder of the machine it was made on: {PROJECT}"
    yield from _reference_problems(article)
    searches = soup.select(".search-button__button, .search-button-field")
    visible = [s for s in searches if s.find_parent(class_="bd-header") or s.find_parent(class_="bd-sidebar-primary")]
    if len(visible) > 1:
        yield f"{len(visible)} search buttons: set the four navbar_ lists of html_theme_options to []"
    weight = page_weight(page, soup)
    if weight > heaviest:
        yield f"weighs {weight / 1024**2:.1f} MB with its pictures: at most {heaviest / 1024**2:.0f} MB"


def page_weight(page: Path, soup: "BeautifulSoup") -> int:
    """Bytes of a page and the pictures on it."""
    return page.stat().st_size + sum(path.stat().st_size for path in _pictures(soup, page) if path.is_file())


def _pictures(soup: "BeautifulSoup", page: Path) -> list[Path]:
    addresses = (urlsplit(_text(image, "src")) for image in soup.select("img"))
    paths = dict.fromkeys(address.path for address in addresses if address.path and not address.scheme)
    return [page.parent / unquote(path) for path in paths]


def _picture_problems(soup: "BeautifulSoup", page: Path) -> Iterator[str]:
    for image in soup.select("img"):
        if not _text(image, "src"):
            yield "a picture without a source"
    for path in _pictures(soup, page):
        if not path.is_file():
            yield f"the picture {path.name} does not exist"
        elif reason := _damage(path):
            yield f"the picture {path.name} is damaged: {reason}"


def _damage(path: Path) -> str:
    """Say why a picture cannot be shown; empty where it can."""
    from PIL import Image

    try:
        if path.suffix == ".svg":
            from xml.etree import ElementTree

            ElementTree.parse(path)
        else:
            with Image.open(path) as picture:
                picture.load()
    except (OSError, SyntaxError, ValueError) as error:
        return str(error) or type(error).__name__
    return ""


def _network_problems(soup: "BeautifulSoup") -> Iterator[str]:
    """Yield what a browser would fetch from elsewhere while showing the page; links to follow are not among it."""
    for tag in soup.select("script[src], img[src], iframe[src], source[src], video[src], audio[src], embed[src]"):
        yield from _outside(tag, "src")
    for tag in soup.select("link[href]"):
        if _FETCHED_LINKS & set(_text(tag, "rel").split()):
            yield from _outside(tag, "href")
    for tag in soup.select("object[data]"):
        yield from _outside(tag, "data")
    for tag in soup.select("[srcset]"):
        yield from _outside(tag, "srcset")
    for tag in soup.select("style"):
        yield from style_problems(tag.get_text())
    for tag in soup.select("[style]"):
        yield from style_problems(_text(tag, "style"))


def _text(tag: "Tag", attribute: str) -> str:
    """Give an attribute as text, with spaces between the values of a list, empty where the tag lacks it."""
    value = tag.get(attribute) or ""
    return value if isinstance(value, str) else " ".join(value)


def _outside(tag: "Tag", attribute: str) -> Iterator[str]:
    for address in re.split(r",\s+|\s+", _text(tag, attribute)):
        if _leaves(address):
            yield f"<{tag.name}> is fetched from the network: {address}"


def style_problems(style: str) -> Iterator[str]:
    for match in _CSS_ADDRESS.finditer(_CSS_COMMENT.sub("", style)):
        if _leaves(match["url"]):
            yield f"a style is fetched from the network: {match['url']}"


def _leaves(address: str) -> bool:
    return address.lower().startswith(("http:", "https:", "//", "ftp:"))


def _output_problems(article: "Tag") -> Iterator[str]:
    for output in article.select(".cell_output .output, .cell_output pre"):
        text = output.get_text()
        classes = _text(output, "class").split()
        if "traceback" in classes or "Traceback (most recent call last)" in text:
            yield f"a cell failed: {text.strip().splitlines()[-1][:200]}"
        elif error := _ERROR_LINE.search(text):
            yield f"a cell shows an error: {error.group(0)[:200]}"
        if "stderr" in classes and "Warning" in text:
            yield f"a cell shows a warning: {text.strip().splitlines()[0][:200]}"
    for cell in article.select("td"):
        if cell.get_text().strip().lower() in _NOT_A_VALUE:
            yield f"a table shows {cell.get_text().strip()!r} instead of a value or a reason"


def _reference_problems(article: "Tag") -> Iterator[str]:
    for node in article.select(".problematic, .system-message, .pasted-error"):
        yield f"unresolved markup: {node.get_text().strip()[:200]}"
    for node in article.select("span.xref.myst, code.xref.myst"):
        if not node.find_parent("a"):
            yield f"a reference leads nowhere: {node.get_text().strip()[:200]}"
    for text in article.find_all(string=_UNRESOLVED):
        if not text.find_parent(["pre", "code", "script", "style"]):
            yield f"an unresolved reference: {str(text).strip()[:200]}"
    if not article.find("h1"):
        yield "has no title"


def rendered_problems(window: "Window", width: int) -> Iterator[str]:
    """Yield what a reader sees wrong of the page that is open in a window `width` pixels wide."""
    seen = window.look(width)
    if seen.width > width:
        blame = f" (first: {', '.join(seen.wide)})" if seen.wide else ""
        yield f"is {seen.width} pixels wide in a window of {width}{blame}"
    yield from (f"the picture {url} does not show" for url in seen.broken_images)
    yield from (f"a formula does not show: {text}" for text in seen.formula_errors)
    yield from (f"a script fails: {text}" for text in seen.script_errors)
    yield from (f"is fetched from the network: {url}" for url in seen.external_requests)
