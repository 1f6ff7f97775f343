"""Mend what the theme and Sphinx leave unreadable for some readers.

What enters: the HTML folder of a book as Jupyter Book rendered it. What leaves: the same folder with small changes of
its markup. Each answers a finding of axe-core or of `accessibility`, and none changes what a page looks like.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bs4 import BeautifulSoup

_VIEWPORT = re.compile(r'\s*<meta name="viewport"[^>]*>')


def repair_pages(html: Path) -> None:
    """Apply all repairs to every page in a folder."""
    from bs4 import BeautifulSoup

    for page in sorted(Path(html).rglob("*.html")):
        if "_static" in page.relative_to(html).parts:
            continue
        soup = BeautifulSoup(_one_viewport(page.read_text(encoding="utf-8")), "html.parser")
        name_table_heads(soup)
        drop_old_roles(soup)
        name_side_bar(soup)
        page.write_text(str(soup), encoding="utf-8")


def _one_viewport(text: str) -> str:
    """Keep the first of the three equal lines that tell a phone how wide a page is."""
    first = _VIEWPORT.search(text)
    return text if first is None else text[: first.end()] + _VIEWPORT.sub("", text[first.end() :])


def name_table_heads(soup: "BeautifulSoup") -> None:
    """Say of every head of a table whether it is one of a column or of a row (WCAG 1.3.1); an empty one is no head."""
    for head in soup.select("th"):
        if not head.get_text(strip=True) and not head.find("img"):
            head.name = "td"
            head.attrs.pop("scope", None)
        elif not head.get("scope"):
            head["scope"] = "col" if head.find_parent("thead") else "row"


def drop_old_roles(soup: "BeautifulSoup") -> None:
    """Take out roles of the bibliography that WAI-ARIA has withdrawn, and a list that has no items (WCAG 4.1.2)."""
    for entry in soup.select('[role="doc-biblioentry"], .citation-list[role="list"]'):
        del entry["role"]


def name_side_bar(soup: "BeautifulSoup") -> None:
    """Make the side bar a named region: its picture and its search button stand in none otherwise."""
    bar = soup.select_one("#pst-primary-sidebar")
    if bar is not None and not bar.get("role"):
        bar["role"] = "region"
        bar["aria-label"] = "Book"
