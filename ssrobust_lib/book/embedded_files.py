"""Move what pages hold inside into files of their own: pictures, and the downloads below figures and tables.

Enters: the folder of rendered HTML, whose notebooks' outputs carry everything as data inside the page. Leaves: the same
pages with addresses instead, pictures in `_images`, downloads in `_downloads`, so that a page loads quickly and a file
only when somebody asks for it.
"""

import base64
import hashlib
import re
from pathlib import Path

IMAGES, DOWNLOADS = "_images", "_downloads"

_PICTURE = re.compile(
    r'<img (?P<before>[^>]*?)src="data:image/png;base64,(?P<data>[A-Za-z0-9+/=\s]+)"(?P<after>[^>]*)>'
)
_DOWNLOAD = re.compile(
    r'<a download="(?P<name>[A-Za-z0-9_.-]+)"(?P<between>[^>]*?) '
    r'href="data:[a-z0-9/+.-]+;base64,(?P<data>[A-Za-z0-9+/=\s]*)"'
)


def separate_pictures(html: Path) -> None:
    """Move the pictures that pages hold inside into files, each linked to itself: tapped, it fills the screen."""
    folder = html / IMAGES
    for page in html.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        if "data:image/png;base64," not in text:
            continue

        def moved(match: re.Match[str], up: str = _up(page, html)) -> str:
            content = base64.b64decode(match["data"])
            path = folder / f"{hashlib.sha256(content).hexdigest()[:20]}.png"
            folder.mkdir(exist_ok=True)
            path.write_bytes(content)
            address = f"{up}{IMAGES}/{path.name}"
            return f'<a href="{address}"><img {match["before"]}src="{address}"{match["after"]}></a>'

        page.write_text(_PICTURE.sub(moved, text), encoding="utf-8")


def separate_downloads(html: Path) -> list[Path]:
    """Move the files that links hold inside to `_downloads`, named after page and title; return their paths.

    Two files of a page with one name and different contents are told apart by a number, in the order of the page.
    """
    folder, written = html / DOWNLOADS, []
    for page in sorted(html.rglob("*.html")):
        text = page.read_text(encoding="utf-8")
        if "<a download=" not in text:
            continue
        contents: dict[str, bytes] = {}

        def moved(match: re.Match[str], page: Path = page, contents: dict[str, bytes] = contents) -> str:
            content = base64.b64decode(match["data"])
            name = _free_name(f"{page_word(page)}-{match['name']}", content, contents)
            contents[name] = content
            address = f"{_up(page, html)}{DOWNLOADS}/{name}"
            return f'<a download="{name}"{match["between"]} href="{address}"'

        text = _DOWNLOAD.sub(moved, text)
        page.write_text(text, encoding="utf-8")
        for name, content in contents.items():
            folder.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
            written.append(folder / name)
    return written


def page_word(page: Path) -> str:
    """Name of a page without the number that orders it.

    Examples
    --------
    >>> page_word(Path("notebooks/05_corruption_eval.html"))
    'corruption_eval'
    """
    return re.sub(r"^\d+_", "", page.stem)


def _free_name(name: str, content: bytes, taken: dict[str, bytes]) -> str:
    """The name, with a number where another content of the page has it already."""
    stem, dot, kind = name.rpartition(".")
    turn, free = 1, name
    while free in taken and taken[free] != content:
        turn += 1
        free = f"{stem}-{turn}{dot}{kind}"
    return free


def _up(page: Path, html: Path) -> str:
    """Address of the book's root, as seen from a page."""
    return "../" * (len(page.relative_to(html).parts) - 1)
