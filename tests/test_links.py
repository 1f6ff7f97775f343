"""Links of a book: planted dead ones are found, sound ones counted, external ones read and, if asked, fetched."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from bs4 import BeautifulSoup
from small_book import PAGES, small_book

from ssrobust_lib.book.links import Links, address_fault, fetch_links, follow_links


def followed(html: Path) -> Links:
    return follow_links({html / name: BeautifulSoup((html / name).read_text(), "html.parser") for name in PAGES}, html)


def test_a_sound_book_has_no_problem_and_every_link_is_counted(tmp_path: Path) -> None:
    links = followed(small_book(tmp_path / "book"))
    assert links.problems == ()
    assert links.downloads == 2 and dict(links.external) == {"https://arxiv.org/abs/2105.06986": "index.html"}
    assert links.internal == 3 * 2 + 2 + 1 + 2  # navigation, places on other pages, the picture, the downloads
    assert links.anchors == 3 + 1 + 2 + 1  # past the navigation; heading; places on other pages; a place on its own


@pytest.mark.parametrize(
    ("markup", "told"),
    [
        ('<a href="notebooks/09_gone.html">x</a>', "09_gone.html, which does not exist"),
        ('<a href="notebooks/01_one.html#gone">x</a>', "01_one.html#gone, a place that the page does not have"),
        ('<a href="#gone">x</a>', "#gone, a place that the page does not have"),
        ('<a href="../outside.txt">x</a>', "outside the book's folder"),
        ('<a href="https://exa mple.org">x</a>', "must not have"),
        ('<a href="https:///nothing">x</a>', "names no host"),
    ],
)
def test_planted_faults_are_found(tmp_path: Path, markup: str, told: str) -> None:
    html = small_book(tmp_path / "book")
    (tmp_path / "outside.txt").write_text("x")
    index = html / "index.html"
    index.write_text(index.read_text().replace("</article>", markup + "</article>"))
    (problem,) = followed(html).problems
    assert problem.startswith("index.html: ") and told in problem


def test_a_download_that_no_page_offers_is_found(tmp_path: Path) -> None:
    html = small_book(tmp_path / "book")
    (html / "_downloads" / "ab12" / "forgotten.csv").write_text("x")
    assert followed(html).problems == ("_downloads/ab12/forgotten.csv: no page links to this file",)


@pytest.mark.parametrize(
    ("address", "sound"),
    [
        ("https://arxiv.org/abs/2105.06986", True),
        ("http://localhost:8888/tree", True),
        ("https://doi.org/10.1007/978-3-030-87234-2_1#page=2", True),
        ("mailto:someone@example.org", True),
        ("mailto:someone", False),
        ("ftp://example.org/a", False),
        ("https://example..org", False),
        ("https://example.org:99999/", False),
        ("https://-example.org", False),
        ("https://[half", False),
    ],
)
def test_syntax_of_external_addresses(address: str, sound: bool) -> None:
    assert (address_fault(address) == "") == sound


class _Answers(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self._answer({"/here": 200, "/only-get": 501, "/no-programs": 403}.get(self.path, 404))

    def do_GET(self) -> None:
        self._answer({"/here": 200, "/only-get": 200}.get(self.path, 404))

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


def test_external_links_are_fetched_where_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}"
    try:
        wanted = [f"{base}/{name}" for name in ("here", "only-get", "no-programs", "gone")]
        answers = dict(fetch_links([*wanted, "mailto:a@b.org"], timeout_s=10))
    finally:
        server.shutdown()
        server.server_close()
    closed = dict(fetch_links([f"{base}/here"], timeout_s=10))
    assert [answers[address] for address in wanted[:3]] == ["", "", ""]
    assert answers[wanted[3]].startswith("answers 404") and len(answers) == 4
    assert "does not answer" in closed[f"{base}/here"]
