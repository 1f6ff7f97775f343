"""Barriers to readers: those planted in markup, colours and the order of stops are found; the theme's are mended."""

from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from small_book import small_book

from ssrobust_lib.book import accessibility
from ssrobust_lib.book.accessibility import axe_problems, dark_problems, keyboard_problems, markup_problems
from ssrobust_lib.book.browser import find_chromium, open_window
from ssrobust_lib.book.theme_repairs import repair_pages

SCRIPT = accessibility.axe_script()
needs_chromium = pytest.mark.skipif(find_chromium() is None, reason="no Chromium is installed")
needs_axe = pytest.mark.skipif(SCRIPT is None, reason="axe-core is not installed")

PLANTED = {
    "no alternative": ('<img src="a.png">', "a picture without words"),
    "an empty alternative": ('<img src="a.png" alt=" ">', "a picture without words"),
    "a file name as alternative": ('<img src="a.png" alt="figures/bars.png">', "a picture without words"),
    "a word that says nothing": ('<img src="a.png" alt="Figure 3">', "a picture without words"),
    "a link without words": ('<a href="#start"><span></span></a>', "a link without words: #start"),
    "a heading too deep": ("<h4>Deep</h4>", "the heading 'Deep' is of level 4 below one of level 2"),
    "a head without scope": ("<table><tr><th>n</th></tr><tr><td>1</td></tr></table>", "of a row or a column: n 1"),
    "the same id twice": ('<p id="x"></p><p id="x"></p>', "2 elements have the id x"),
}


def with_markup(html: Path, markup: str) -> Path:
    index = html / "index.html"
    index.write_text(index.read_text().replace("</article>", markup + "</article>"))
    return index


def parse(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(), "html.parser")


def test_sound_pages_have_no_barrier(tmp_path: Path) -> None:
    for page in small_book(tmp_path / "book").rglob("*.html"):
        assert list(markup_problems(parse(page))) == []


@pytest.mark.parametrize("fault", PLANTED)
def test_planted_barriers_in_the_markup_are_found(tmp_path: Path, fault: str) -> None:
    markup, told = PLANTED[fault]
    (problem,) = markup_problems(parse(with_markup(small_book(tmp_path / "book"), markup)))
    assert told in problem


def test_a_page_without_a_language_is_found(tmp_path: Path) -> None:
    soup = parse(small_book(tmp_path / "book") / "index.html")
    del soup.html["lang"]  # type: ignore[index]
    assert list(markup_problems(soup)) == ["does not say in which language it is written"]


def test_pictures_that_only_decorate_need_no_words() -> None:
    text = '<html lang="en"><article><h1>x</h1><img src="a.png" role="presentation"></article></html>'
    assert list(markup_problems(BeautifulSoup(text, "html.parser"))) == []


def test_repairs_of_the_theme(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        '<html><head><meta name="viewport" content="a"><meta name="viewport" content="a"></head><body>'
        '<div id="pst-primary-sidebar"></div><div role="list" class="citation-list">'
        '<div role="doc-biblioentry">Navarro</div></div><table><thead><tr><th></th><th class="head">n</th></tr></thead>'
        '<tbody><tr><th>row</th><td>&lt;1&nbsp;%</td></tr></tbody></table><script>if (1 < 2 && "</b>") {}</script>'
        "</body></html>"
    )
    (tmp_path / "_static").mkdir()
    (tmp_path / "_static" / "part.html").write_text("<th>left alone")
    repair_pages(tmp_path)
    soup, text = parse(page), page.read_text()
    assert len(soup.select('meta[name="viewport"]')) == 1
    assert not soup.select('[role="doc-biblioentry"], [role="list"]')
    assert [(head.get_text(), head["scope"]) for head in soup.select("th")] == [("n", "col"), ("row", "row")]
    assert soup.select_one("thead td") is not None and soup.select_one("[role=region][aria-label]") is not None
    assert 'if (1 < 2 && "</b>") {}' in text and "&lt;1" in text
    assert (tmp_path / "_static" / "part.html").read_text() == "<th>left alone"
    repair_pages(tmp_path)
    assert page.read_text() == text, "a second repair changes something"


@needs_chromium
@needs_axe
def test_axe_passes_a_sound_page_and_finds_what_is_planted(tmp_path: Path) -> None:
    assert SCRIPT is not None
    html = small_book(tmp_path / "book")
    faults = '<p style="color: #999">Pale words.</p><input type="text"><div role="button"></div>'
    dark = '<style>[data-theme="dark"] p { color: #222; background: #111 }</style>'
    with open_window() as window:
        window.open(html / "notebooks" / "02_two.html")
        window.resize(1280, 900)
        rules, found = axe_problems(window, SCRIPT)
        assert rules > 15 and found == []
        window.open(with_markup(html, faults + dark))
        text = "\n".join(axe_problems(window, SCRIPT)[1])
        assert "(color-contrast, " in text and "(label, " in text and "Pale words" in text
        assert any("in dark colours: accessibility (color-contrast" in line for line in dark_problems(window))


@needs_chromium
def test_the_tab_key_reaches_every_stop_and_each_shows_it(tmp_path: Path) -> None:
    html = small_book(tmp_path / "book")
    faults = (
        '<style>#pale:focus { outline: none }</style><a id="pale" href="#start">Pale link</a>'
        '<button id="trap">Trap</button><button id="lost">Lost</button>'
        "<script>document.getElementById('lost').addEventListener('focusin', event => event.stopPropagation())</script>"
    )
    with open_window() as window:
        window.open(html / "notebooks" / "02_two.html")
        window.resize(1280, 900)
        stops, found = keyboard_problems(window)
        assert found == [] and stops == 1 + 3 + 1, "the link past the navigation, three pages, the folded table"
        window.open(with_markup(html, faults))
        _, found = keyboard_problems(window)
        assert [line for line in found if "Pale link" in line] == ['nothing shows that a "Pale link" has the focus']
        assert 'the Tab key does not reach button "Lost"' in found and len(found) == 2
        page = html / "notebooks" / "01_one.html"
        page.write_text(page.read_text().replace('class="skip-link"', 'class="skip-link" hidden'))
        window.open(page)
        assert "no link past the navigation" in "\n".join(keyboard_problems(window)[1])
