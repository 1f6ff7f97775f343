"""The whole report as one HTML file that can be mailed, and that a browser prints as a book.

What enters: the HTML folder that `build.build_book` made, and the facts of its title page. What leaves: one file that
holds all pages in the order of the table of contents, with styles, fonts, pictures and formulas inside; it asks for
nothing, neither from a network nor from a folder. The pages present sections 2 to 4 of the paper.

The file is put together from the finished pages. Sphinx has a builder for single files, but it would render the book a
second time and leave the anchors of two pages that share a name as one; here every anchor that several pages use
carries the name of its page.
"""

import html as escapes
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from ssrobust_lib.book.pictures import embedded_pictures
from ssrobust_lib.book.resources import data_address, head_lines, own_scripts

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

HEAVIEST_FILE = 25 * 1024**2
"""Bytes of the file: what most mail servers take."""

ENCLOSED = {".csv", ".bib", ".json", ".txt"}
"""Endings of the downloads that are enclosed; drawings in vector form stay in the book's folder, since every figure is
in the file as a picture already."""

HEAVIEST_ENCLOSED = 512 * 1024
"""Bytes of a download that is enclosed."""

_POINTING = ("aria-labelledby", "aria-describedby", "aria-controls", "aria-details", "aria-owns", "for", "headers")
_HASH = re.compile(r"url\(\s*['\"]?#([^'\")]+)['\"]?\s*\)")


class SingleFileError(RuntimeError):
    """The pages do not fit into one file; the message says what is heaviest."""


@dataclass(frozen=True)
class SingleFile:
    """What was written.

    Attributes
    ----------
    path : Path
    size : int
        Bytes.
    pages, pictures : int
        How many of the book are inside.
    picture_width : int or None
        Pixels beyond which pictures were made smaller; None where all are as the book has them.
    left_out : tuple of str
        Downloads of the book that are not enclosed, by file name.
    """

    path: Path
    size: int
    pages: int
    pictures: int
    picture_width: int | None
    left_out: tuple[str, ...]


def write_single_file(
    html: Path, destination: Path, facts: Mapping[str, str], *, most_bytes: int = HEAVIEST_FILE
) -> SingleFile:
    """Write a rendered book as one file, whole or not at all.

    Parameters
    ----------
    html : Path
        Folder of the rendered book.
    destination : Path
        The file, replaced where it exists.
    facts : mapping of str to str
        What the title page tells of the run (profile, images, date, ...), in order.
    most_bytes : int
        The file is no heavier: where pictures would make it so, they are reduced in width, all to the same largest one
        of `pictures.WIDTHS` that fits, and the title page says so.

    Raises
    ------
    SingleFileError
        Even with the smallest pictures the file would be heavier.
    """
    html, destination = Path(html), Path(destination)
    chapters = _chapters(html)
    index = chapters[html / "index.html"]
    _keep_anchors_apart(chapters, html)
    left_out: dict[str, None] = {}
    pictures: dict[Path, str] = {}
    for page, soup in chapters.items():
        article = _article(soup)
        _redirect_links(article, page, chapters, left_out)
        _take_pictures(article, page, pictures)
        _strip(article)
    title = _book_title(index)
    template = "\n".join(
        [
            *head_lines(html, index, title, any(soup.select("article .math") for soup in chapters.values())),
            '<body class="single-file" data-default-mode="light">',
            '<div class="skip-link"><a href="#main-content">Skip to main content</a></div>',
            _title_page(title, facts, _article(index)),
            _contents(chapters),
            '<main id="main-content">',
            *(str(_article(soup)) for soup in chapters.values()),
            "</main>",
            *own_scripts(html, chapters),
            "</body>\n</html>\n",
        ]
    )
    text, width = _with_pictures(template, pictures, left_out, most_bytes)
    aside = destination.with_name(destination.name + ".part")
    aside.write_bytes(text)
    os.replace(aside, destination)
    return SingleFile(destination, len(text), len(chapters), len(pictures), width, tuple(left_out))


def _chapters(html: Path) -> dict[Path, "BeautifulSoup"]:
    """Parse the pages in the order of the table of contents, first page first."""
    from bs4 import BeautifulSoup

    index = html / "index.html"
    chapters = {index: BeautifulSoup(index.read_text(encoding="utf-8"), "html.parser")}
    for link in chapters[index].select("nav.bd-links a[href]"):
        page = (html / unquote(urlsplit(str(link["href"])).path)).resolve()
        page = html / page.relative_to(html.resolve()) if page.suffix == ".html" else index
        if page not in chapters:
            chapters[page] = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
    return chapters


def _article(soup: "BeautifulSoup") -> "Tag":
    article = soup.find("article")
    if article is None:
        raise SingleFileError("a page of the book has no article: render it anew with `make book`")
    return article  # type: ignore[return-value]


def _slug(page: Path, html: Path) -> str:
    return "-".join(page.relative_to(html).with_suffix("").parts)


def _keep_anchors_apart(chapters: Mapping[Path, "BeautifulSoup"], html: Path) -> None:
    """Give every page an anchor, and anchors that several pages use the page's name, with all that points to them."""
    used = Counter(
        name for soup in chapters.values() for name in {str(tag["id"]) for tag in _article(soup).select("[id]")}
    )
    for page, soup in chapters.items():
        article, slug = _article(soup), _slug(page, html)
        used[f"page-{slug}"] += 1

        def renamed(name: str, slug: str = slug) -> str:
            return f"{slug}--{name}" if used[name] > 1 else name

        for tag in article.find_all(True):
            _rename(tag, renamed, slug)
        article["id"] = f"page-{slug}"
        article["class"] = "bd-article"
        article.attrs.pop("role", None)


def _rename(tag: "Tag", renamed: Callable[[str], str], slug: str) -> None:
    for name, value in list(tag.attrs.items()):
        if name == "id":
            tag[name] = renamed(str(value))
        elif name in _POINTING:
            words = value if isinstance(value, list) else str(value).split()
            tag[name] = " ".join(renamed(word) for word in words)
        elif name == "name" and tag.name == "input":
            tag[name] = f"{slug}--{value}"
        elif isinstance(value, str) and value.startswith("#") and len(value) > 1 and name != "fill":
            tag[name] = "#" + renamed(unquote(value[1:])) if name in _LINKING else value
        elif isinstance(value, str) and "url(#" in value.replace('"', "").replace("'", ""):
            tag[name] = _HASH.sub(lambda match: f"url(#{renamed(match[1])})", value)


_LINKING = {"href", "xlink:href", "data-target", "data-bs-target"}


def _redirect_links(
    article: "Tag", page: Path, chapters: Mapping[Path, "BeautifulSoup"], left_out: dict[str, None]
) -> None:
    """Lead links between pages to places in the file, enclose small downloads, undo what has no place here."""
    anchors = {chapter.resolve(): str(_article(soup)["id"]) for chapter, soup in chapters.items()}
    for link in article.select("a[href]"):
        parts = urlsplit(str(link["href"]))
        if parts.scheme or parts.netloc or not parts.path:
            continue
        target = (page.parent / unquote(parts.path)).resolve()
        if target in anchors:
            link["href"] = "#" + _anchor(anchors[target], unquote(parts.fragment), chapters, target)
        elif target.suffix in ENCLOSED and target.is_file() and target.stat().st_size <= HEAVIEST_ENCLOSED:
            link["href"], link["download"] = data_address(target), target.name
        else:
            if target.parent.name != "_images" and not link.find("img"):
                left_out[target.name] = None
                link.insert_after(" (in the book's folder)")
            link.unwrap()


def _anchor(chapter: str, fragment: str, chapters: Mapping[Path, "BeautifulSoup"], target: Path) -> str:
    """Name in the file of a place on a page; the page's first line where the page has no such place."""
    if not fragment:
        return chapter
    article = next(_article(soup) for page, soup in chapters.items() if page.resolve() == target)
    own = f"{chapter.removeprefix('page-')}--{fragment}"
    return next((name for name in (own, fragment) if article.find(id=name)), chapter)


def _take_pictures(article: "Tag", page: Path, pictures: dict[Path, str]) -> None:
    """Put a mark in place of every picture's address, and note which file belongs there."""
    for image in article.select("img[src]"):
        parts = urlsplit(str(image["src"]))
        if parts.scheme:
            continue
        path = (page.parent / unquote(parts.path)).resolve()
        image["src"] = pictures.setdefault(path, f"@picture-{len(pictures)}@")
        image.attrs.pop("srcset", None)
        image["loading"] = "eager"  # lazy pictures would be missing in print


def _strip(article: "Tag") -> None:
    """Take out what serves the pages only: signs that show an anchor's address, the configuration of live code."""
    for tag in article.select("a.headerlink, script[type='text/x-thebe-config'], .prev-next-footer"):
        tag.decompose()
    for script in article.find_all("script"):
        if "kernelName" in script.get_text() or "thebe" in script.get_text().lower():
            script.decompose()


def _book_title(index: "BeautifulSoup") -> str:
    text = index.title.get_text() if index.title else ""
    return " ".join(text.rsplit("—", 1)[-1].split())


def _title_page(title: str, facts: Mapping[str, str], index: "Tag") -> str:
    told = "".join(f"<dt>{escapes.escape(k)}</dt><dd>{escapes.escape(v)}</dd>" for k, v in facts.items())
    banner = index.select_one(".data-banner")
    return (
        f'<header class="title-page"><h1>{escapes.escape(title)}</h1><dl>{told}</dl>{banner or ""}'
        "<p>@about@</p></header>"
    )


def _contents(chapters: Mapping[Path, "BeautifulSoup"]) -> str:
    """The table of contents: pages and their sections."""
    rows = []
    for soup in chapters.values():
        article = _article(soup)
        first = article.find("h1")
        sections = "".join(
            f'<li><a href="#{escapes.escape(str(parent["id"]))}">{escapes.escape(_words(heading))}</a></li>'
            for heading in article.find_all("h2")
            if (parent := heading.find_parent("section", id=True))
        )
        name = escapes.escape(_words(first) if first else str(article["id"]))
        below = f"<ul>{sections}</ul>" if sections else ""
        rows.append(f'<li><a href="#{escapes.escape(str(article["id"]))}">{name}</a>{below}</li>')
    return f'<nav class="book-contents" aria-label="Contents"><h2>Contents</h2><ol>{"".join(rows)}</ol></nav>'


def _words(tag: "Tag") -> str:
    return " ".join(tag.get_text().split())


def _with_pictures(
    template: str, pictures: Mapping[Path, str], left_out: Mapping[str, None], most_bytes: int
) -> tuple[bytes, int | None]:
    """Fill in the pictures in the largest width with which the file is light enough."""
    for width, addresses in embedded_pictures(list(pictures)):
        text = template.replace("@about@", _about(len(left_out), width))
        marks = {mark: addresses[path] for path, mark in pictures.items()}
        whole = re.sub(r"@picture-\d+@", lambda match: marks.get(match[0], match[0]), text).encode()  # noqa: B023
        if len(whole) <= most_bytes:
            return whole, width
    raise SingleFileError(
        f"the report in one file would weigh {len(whole) / 1024**2:.1f} MB even with pictures {width} pixels wide, "
        f"expected at most {most_bytes / 1024**2:.0f} MB (of it {len(template.encode()) / 1024**2:.1f} MB are not "
        "pictures); send the book's folder instead, or make the largest tables smaller"
    )


def _about(left_out: int, width: int | None) -> str:
    """What the title page says of the file itself."""
    text = (
        "All pages of the report in one file; it needs no network. "
        '<span class="ssrobust-screen">Code that shows results is folded behind buttons.</span>'
        '<span class="ssrobust-print">Code of the notebooks, long tables and the files to save are left out on paper: '
        "they are in the HTML book.</span>"
    )
    if left_out:
        text += f" Of the downloads, {left_out} (drawings in vector form, large tables) are only in the book's folder."
    if width is not None:
        text += f" Pictures wider than {width:,} pixels were reduced to that width, to keep the file below 25 MB."
    return text
