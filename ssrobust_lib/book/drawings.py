"""Drawings with marks that tell what they stand for, set into the pages of the book.

Enters: rendered HTML with drawings as images (`figures.hovering`). Leaves: the same pages with each drawing as SVG in
the page: a browser shows the words of a mark under the pointer, and `_static/hover.js` adds finger and keyboard.
Without the script, and in print, it is the same figure. No section of the paper.
"""

import base64
import hashlib
import re
from html import escape, unescape
from pathlib import Path

_DRAWING = re.compile(
    r'<img (?P<before>[^>]*?)src="data:image/svg\+xml;base64,(?P<data>[A-Za-z0-9+/=\s]+)"(?P<after>[^>]*)>'
)
_ALT = re.compile(r'\balt="([^"]*)"')
_ID = re.compile(r'\bid="([^"]+)"')
_USED_ID = re.compile(r'(href="#|url\(#)([^")]+)')
_SIZE = re.compile(r'\b(?P<side>width|height)="(?P<points>[\d.]+)pt"')
_OPENING = re.compile(r"<svg [^>]*>")
_PIXELS_PER_POINT = 96 / 72


def inline_drawings(html: Path) -> int:
    """Set the drawings of every page of a rendered book into the page, and return how many there were."""
    n = 0
    for page in Path(html).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        if "data:image/svg+xml;base64," in text:
            text, of_page = _DRAWING.subn(_inline, text)
            page.write_text(text, encoding="utf-8")
            n += of_page
    return n


def _inline(match: re.Match[str]) -> str:
    svg = base64.b64decode(match["data"]).decode("utf-8")
    alt = _ALT.search(match["before"] + match["after"])
    return inline_svg(svg, unescape(alt.group(1)) if alt else "")


def inline_svg(svg: str, alt: str) -> str:
    """An SVG document as an element of a page.

    Parameters
    ----------
    svg : the document, as `figures.hovering.drawing` makes it.
    alt : what the figure shows, in words.

    Returns
    -------
    The element, named by `alt`, as wide as its column at most. Of its ids those that it uses are kept, with a
    beginning of their own, since several drawings share a page; its style sheet stays within it.
    """
    own = "d" + hashlib.sha256((alt + svg).encode()).hexdigest()[:8]
    short = {name: f"{own}-{turn:x}" for turn, name in enumerate(dict.fromkeys(m[1] for m in _USED_ID.findall(svg)))}
    svg = _ID.sub(lambda match: f'id="{short[match[1]]}"' if match[1] in short else "", svg)
    svg = _USED_ID.sub(lambda match: match[1] + short[match[2]], svg)
    svg = svg.replace('<style type="text/css">*{', f'<style type="text/css">#{own} *{{')
    opening = _OPENING.search(svg)
    if opening is None:
        raise ValueError("expected an SVG document, got a text without an <svg> element")
    sizes = {side: f"{float(points) * _PIXELS_PER_POINT:.0f}" for side, points in _SIZE.findall(opening.group())}
    head = _SIZE.sub(lambda found: f'{found["side"]}="{sizes[found["side"]]}"', opening.group())
    named = f'<svg id="{own}" class="ssrobust-drawing" role="img" aria-label="{escape(alt)}" '
    return named + head.removeprefix("<svg ") + svg[opening.end() :].strip()
