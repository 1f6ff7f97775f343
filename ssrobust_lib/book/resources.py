"""What a page loads, put into the page: style sheets with fonts, scripts, formulas.

What enters: the folder of the rendered book and its parsed pages. What leaves: lines of HTML that ask for no other
file; `single_file` puts them around the chapters.
"""

import base64
import html as escapes
import mimetypes
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from bs4 import BeautifulSoup

_THEME_SCRIPTS = re.compile(
    r"/(?:mathjax|scripts)/|(?:documentation_options|doctools|sphinx_highlight|clipboard\.min|copybutton\w*|togglebutton"
    r"|design-tabs|searchtools|language_data|searchindex|require(?:\.min)?)\.js$"
)
_URL = re.compile(r"""url\(\s*(['"]?)(?P<address>[^'")]+)\1\s*\)(?P<format>\s*format\([^)]*\))?""")
_TRUETYPE = re.compile(r""",\s*url\([^)]*\.ttf[^)]*\)\s*format\([^)]*\)""")


def head_lines(html: Path, index: "BeautifulSoup", title: str, formulas: bool) -> Iterator[str]:
    """The beginning of a page that asks for nothing: styles, fonts and, where there are formulas, MathJax inside.

    Parameters
    ----------
    html : Path
        Folder of the rendered book.
    index : BeautifulSoup
        Its first page, parsed, which names the style sheets.
    title : str
        Name of the page.
    formulas : bool
        Whether any page has formulas.
    """
    yield '<!DOCTYPE html>\n<html lang="en" data-theme="light" data-mode="light">\n<head>\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{escapes.escape(title)}</title>"
    if (html / "_static" / "logo.svg").is_file():
        yield f'<link rel="icon" href="{data_address(html / "_static" / "logo.svg")}">'
    for link in index.select('link[rel~="stylesheet"][href]'):
        path = html / unquote(urlsplit(str(link["href"])).path)
        if path.is_file():
            sheet = _enclosed_style(path.read_text(encoding="utf-8"), path.parent)
            yield "<style>\n" + sheet.replace("</style", "<\\/style") + "\n</style>"
    if formulas:
        yield from _formula_scripts(html, index)
    yield "</head>"


def _formula_scripts(html: Path, index: "BeautifulSoup") -> Iterator[str]:
    """MathJax in the form that draws its letters itself and needs no font files, with the book's settings."""
    settings = next((s.get_text() for s in index.find_all("script") if "window.MathJax" in s.get_text()), "")
    yield f"<script>{settings or 'window.MathJax = {}'};\n{_FORMULA_SETTINGS}</script>"
    script = (html / "_static" / "mathjax" / "tex-svg.js").read_text(encoding="utf-8")
    yield "<script>" + script.replace("</script", "<\\/script") + "</script>"


# The menu and the spoken formulas would load further files; the formulas' MathML, which screen readers read, stays.
_FORMULA_SETTINGS = """
MathJax.options = Object.assign({enableMenu: false, enableExplorer: false, enableEnrichment: false}, MathJax.options);
MathJax.options.menuOptions = {settings: {assistiveMml: true}};
MathJax.svg = {fontCache: 'local'};
"""


def _enclosed_style(sheet: str, folder: Path) -> str:
    """A style sheet with its fonts and pictures inside; where a font comes in two forms, the smaller one."""

    def enclosed(match: re.Match[str]) -> str:
        address = match["address"]
        if address.startswith(("data:", "#")):
            return match[0]
        path = folder / unquote(urlsplit(address).path)
        kept = f'url("{data_address(path)}")' if path.is_file() else "none"
        return kept + (match["format"] or "")

    sheet = re.sub(r"/\*# sourceMappingURL=[^*]*\*/", "", _TRUETYPE.sub("", sheet))
    sheet = re.sub(r"""@import\s+(?:url\()?['"]?[^;]*;""", "", sheet)
    return _URL.sub(enclosed, sheet)


def own_scripts(html: Path, chapters: Mapping[Path, "BeautifulSoup"]) -> Iterator[str]:
    """The book's own scripts, each once; those of the theme move side bars that are not here."""
    addresses: dict[Path, None] = {}
    for page, soup in chapters.items():
        for script in soup.select("script[src]"):
            address = urlsplit(str(script["src"]))
            if not address.scheme and not _THEME_SCRIPTS.search(address.path):
                addresses[(page.parent / unquote(address.path)).resolve()] = None
    for path in addresses:
        yield "<script>" + path.read_text(encoding="utf-8").replace("</script", "<\\/script") + "</script>"


def data_address(path: Path) -> str:
    """A file as an address that holds the file itself."""
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
