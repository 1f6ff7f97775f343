"""Where the links of a rendered book lead: to pages, to places on pages, to files, to the network.

What enters: the parsed pages of a book, or the report in one file. What leaves: what leads nowhere, in plain words, and
the external addresses, whose syntax is checked; they are fetched only where a reader asks for it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from bs4 import BeautifulSoup

_HOST = re.compile(r"(?:localhost|[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9-]+)+)\Z")
_MAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+\Z")
_NOT_FOR_PROGRAMS = {401, 403, 405, 406, 429, 999}  # answers of sites that turn programs away, not of dead links
_AGENT = "Mozilla/5.0 (compatible; ssrobust check-book)"


@dataclass(frozen=True)
class Links:
    """What was found.

    Attributes
    ----------
    internal, anchors, downloads : int
        Links to pages and files of the book, those among them (and on the same page) that name a place on a page, and
        files in `_downloads`.
    external : mapping of str to str
        Address -> the first page that names it.
    problems : tuple of str
        One line each, beginning with the page.
    """

    internal: int
    anchors: int
    downloads: int
    external: Mapping[str, str]
    problems: tuple[str, ...]


def follow_links(pages: Mapping[Path, "BeautifulSoup"], html: Path) -> Links:
    """Follow every link of the pages, as far as the folder `html` goes.

    Parameters
    ----------
    pages : mapping of Path to BeautifulSoup
        All pages of the book, or one file.
    html : Path
        Folder that the links stay in; a link that leaves it would be dead wherever the book is copied to.
    """
    html = Path(html).resolve()
    places = {page.resolve(): _places(soup) for page, soup in pages.items()}
    problems: dict[str, None] = {}
    external: dict[str, str] = {}
    reached: set[Path] = set()
    internal = anchors = 0
    for page, soup in pages.items():
        name = page.resolve().relative_to(html).as_posix()
        for href in dict.fromkeys(str(link["href"]).strip() for link in soup.select("a[href], area[href]")):
            parts = urlsplit(href)
            if parts.scheme == "data":
                continue
            if parts.scheme or parts.netloc:
                external.setdefault(href, name)
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page.resolve()
            internal += bool(parts.path)
            reached.add(target)
            if not target.exists():
                problems[f"{name}: links to {href}, which does not exist"] = None
            elif not target.is_relative_to(html):
                problems[f"{name}: links to {href}, which lies outside the book's folder"] = None
            elif parts.fragment and target in places:
                anchors += 1
                if unquote(parts.fragment) not in places[target]:
                    problems[f"{name}: links to {href}, a place that the page does not have"] = None
    files = [path for path in sorted(html.glob("_downloads/**/*")) if path.is_file()]
    for path in files:
        if len(pages) > 1 and path not in reached:
            problems[f"{path.relative_to(html).as_posix()}: no page links to this file"] = None
    for address, name in external.items():
        if fault := address_fault(address):
            problems[f"{name}: the address {address} {fault}"] = None
    return Links(internal, anchors, len(files), external, tuple(problems))


def _places(soup: "BeautifulSoup") -> set[str]:
    named = {str(tag["name"]) for tag in soup.select("a[name]")}
    return named | {str(tag["id"]) for tag in soup.select("[id]")}


def address_fault(address: str) -> str:
    """Say what is wrong with the syntax of an external address (RFC 3986, host names as in RFC 1123); empty if nothing.

    Examples
    --------
    >>> address_fault("https://arxiv.org/abs/2105.06986")
    ''
    >>> address_fault("https:/arxiv.org")
    'names no host'
    """
    try:
        parts = urlsplit(address)
        port_fault = parts.port is not None and not 0 < parts.port < 65536
    except ValueError as error:
        return f"cannot be read: {error}"
    if re.search(r"\s|[<>\"{}|\\^`]", address):
        return "has a character that addresses must not have"
    if parts.scheme == "mailto":
        return "" if _MAIL.match(unquote(parts.path)) else "names no mailbox"
    if parts.scheme not in ("http", "https", ""):
        return f"has the scheme {parts.scheme}: expected https, http or mailto"
    if not parts.hostname:
        return "names no host"
    if not _HOST.match(parts.hostname) or port_fault:
        return "has no valid host"
    return ""


def fetch_links(addresses: Iterable[str], *, timeout_s: float = 20.0, at_once: int = 8) -> Iterator[tuple[str, str]]:
    """Ask for external addresses over the network; yield (address, what is wrong, empty if it answers).

    Sites that turn programs away (401, 403, 405, 406, 429) exist and count as answering. Addresses of mailboxes are
    left out, and so is what follows `#`.
    """
    wanted = [address for address in addresses if urlsplit(address).scheme in ("http", "https")]
    with ThreadPoolExecutor(at_once) as pool:
        yield from zip(wanted, pool.map(lambda address: _answer_fault(address, timeout_s), wanted), strict=True)


def _answer_fault(address: str, timeout_s: float) -> str:
    import requests

    options = {"timeout": timeout_s, "allow_redirects": True, "headers": {"User-Agent": _AGENT}}
    try:
        answer = requests.head(address, **options)  # type: ignore[arg-type]
        if answer.status_code >= 400 and answer.status_code not in _NOT_FOR_PROGRAMS:
            with requests.get(address, stream=True, **options) as answer:  # type: ignore[arg-type]
                pass  # some servers know no HEAD; the body is not wanted
    except requests.RequestException as error:
        return f"does not answer: {type(error).__name__}"
    if answer.status_code >= 400 and answer.status_code not in _NOT_FOR_PROGRAMS:
        return f"answers {answer.status_code} {answer.reason or ''}".rstrip()
    return ""
