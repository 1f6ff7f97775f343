"""The report as PDF: title page, page numbers, bookmarks, tags, tables that fit; a clear message without a browser."""

from pathlib import Path

import pytest
from small_book import small_book

from ssrobust_lib.book import browser
from ssrobust_lib.book.browser import BrowserError, find_chromium
from ssrobust_lib.book.pdf import LONGEST_FOLDED, Pdf, write_pdf
from ssrobust_lib.book.single_file import write_single_file
from ssrobust_lib.cli import main
from ssrobust_lib.config import PROJECT

needs_chromium = pytest.mark.skipif(find_chromium() is None, reason="no Chromium is installed")


def table(rows: int, columns: int, word: str) -> str:
    cells = "".join(f"<td>{word}{k}</td>" for k in range(columns))
    return f'<div class="ssrobust-table"><table>{f"<tr>{cells}</tr>" * rows}</table></div>'


NOTED = ("Wilcoxon", "McNemar", "Wilcoxon")
LONG_TITLE = "A title so long that it takes more than a single line of the paper, " * 2


def cell(word: str) -> str:
    return f"0.5<details><summary>test</summary>{word}, statistic 3</details>"


def tall_figure() -> str:
    """A drawing far taller than a page, with its caption."""
    words = '<text y="10">drawntop</text><text y="299">drawnfoot</text>'
    drawing = f'<svg viewBox="0 0 100 300" width="700" height="2100">{words}</svg>'
    picture = f'<div class="ssrobust-picture" style="overflow-x:auto">{drawing}</div>'
    return f'<figure class="ssrobust-figure">{picture}<figcaption>tallcaption</figcaption></figure>'


def headings() -> str:
    """So many headings with a date and a paragraph that some begin a page."""
    entry = '<section><h3>Entry number {0}</h3><p class="decided">dated {0}</p><p>{1}</p></section>'
    return f"<section><h2>{LONG_TITLE}</h2></section>" + "".join(entry.format(k, "text " * 150) for k in range(24))


@pytest.fixture(scope="module")
def texts(printed: Pdf) -> list[str]:
    """Words of each page."""
    pdfium = pytest.importorskip("pypdfium2")
    document = pdfium.PdfDocument(printed.path)
    try:
        return [page.get_textpage().get_text_bounded() for page in document]
    finally:
        document.close()


@pytest.fixture(scope="module")
def single_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small book with the project's print rules, a wide table, and a folded one too long for paper."""
    html = small_book(tmp_path_factory.mktemp("printed") / "book")
    rules = (PROJECT / "book" / "_static" / "single_file.css").read_text()
    sheet = html / "_static" / "book.css"
    sheet.write_text(sheet.read_text() + rules)
    two = html / "notebooks" / "02_two.html"
    long = f"<details><summary>Long one</summary>{table(LONGEST_FOLDED + 2, 2, 'folded')}</details>"
    wide = table(2, 16, "Unbreakable")
    rows = "".join(f"<tr><td>{cell(word)}</td></tr>" for word in NOTED)
    noted = f'<div class="ssrobust-table"><table>{rows}</table></div>'
    plain = "<details><summary>A profile</summary><pre>study_seed: 2021</pre></details>"
    two.write_text(two.read_text().replace("</article>", f"<p>{'word ' * 50}</p>{wide}{long}{noted}{plain}</article>"))
    one = html / "notebooks" / "01_one.html"
    code = '<div class="cell"><div class="cell_input"><pre>open_study()</pre></div></div>'
    one.write_text(one.read_text().replace("</article>", f"{code}{tall_figure()}{headings()}</article>"))
    return write_single_file(html, html.parent / "report.html", {"Run": "tiny"}).path


@pytest.fixture(scope="module")
def printed(single_file: Path) -> Pdf:
    return write_pdf(single_file, single_file.with_suffix(".pdf"))


@needs_chromium
def test_pages_titles_numbers_and_bookmarks(printed: Pdf) -> None:
    pdfium = pytest.importorskip("pypdfium2")
    document = pdfium.PdfDocument(printed.path)
    try:
        texts = [page.get_textpage().get_text_bounded() for page in document]
        outline = [(mark.get_title(), mark.level) for mark in document.get_toc()]
        sizes = [tuple(round(length) for length in page.get_size()) for page in document]
        assert pdfium.raw.FPDFCatalog_IsTagged(document.raw)
    finally:
        document.close()
    assert printed.size == printed.path.stat().st_size
    assert "A small book (tiny)" in texts[0] and "tiny" in texts[0] and f"1 / {len(texts)}" not in texts[0]
    assert all(f"{number} / {len(texts)}" in text for number, text in enumerate(texts[1:], start=2))
    assert [title for title, _ in outline if title in ("Start", "One", "Two", "Alone")] == [
        "Start",
        "One",
        "Two",
        "Alone",
    ]
    assert dict(outline)["Alone"] == dict(outline)["Two"] + 1
    starts = [next(k for k, text in enumerate(texts) if k > 1 and word in text) for word in ("Start", "One", "Alone")]
    assert len(set(starts)) == 3, "chapters do not begin on pages of their own"
    assert (595, 842) in sizes and (842, 595) in sizes, "the wide table is not turned"


@needs_chromium
def test_folded_code_stays_away_and_folded_tables_open_where_they_fit(printed: Pdf) -> None:
    pdfium = pytest.importorskip("pypdfium2")
    document = pdfium.PdfDocument(printed.path)
    try:
        text = "\n".join(page.get_textpage().get_text_bounded() for page in document)
    finally:
        document.close()
    assert "hidden_code" not in text and "Show the code" not in text and "Skip to main" not in text
    assert "row 2" in text and "folded1" not in text and "too long for paper" in text
    assert "Unbreakable0" in text and "Unbreakable15" in text, "a column of the wide table is cut"
    assert (printed.opened, printed.left, printed.turned) == (2, 1, 1)
    assert "study_seed: 2021" in text, "a fold without a table is lost"


@needs_chromium
def test_code_of_notebooks_is_left_out_and_the_first_page_says_so(texts: list[str]) -> None:
    assert "open_study" not in "".join(texts)
    assert "left out on paper" in " ".join(texts[0].split()) and "behind buttons" not in texts[0]


@needs_chromium
def test_words_folded_into_cells_become_numbered_notes(texts: list[str]) -> None:
    text = " ".join("\n".join(texts).split())
    assert text.count("test [1]") == 2 and text.count("test [2]") == 1
    assert text.count("Wilcoxon, statistic 3") == text.count("McNemar, statistic 3") == 1
    assert text.index("test [2]") < text.index("Wilcoxon, statistic 3") < text.index("McNemar, statistic 3")


@needs_chromium
def test_a_picture_and_its_caption_are_on_one_page(texts: list[str]) -> None:
    [page] = [text for text in texts if "drawntop" in text]
    assert "drawnfoot" in page and "tallcaption" in page


@needs_chromium
def test_headings_and_dates_stay_with_their_text_and_are_bookmarked_once(printed: Pdf, texts: list[str]) -> None:
    pdfium = pytest.importorskip("pypdfium2")
    document = pdfium.PdfDocument(printed.path)
    try:
        marks = [" ".join(mark.get_title().split()) for mark in document.get_toc()]
    finally:
        document.close()
    assert [mark for mark in marks if mark.startswith("Entry")] == [f"Entry number {k}" for k in range(24)]
    assert " ".join(LONG_TITLE.split()) in marks, "a title of two lines loses the space between them"
    begins = 0
    for text in texts:
        lines = [line for line in text.splitlines() if line.strip() and " / " not in line]
        assert not lines or not lines[-1].startswith(("Entry number", "dated")), "a heading alone at a page's foot"
        begins += bool(lines) and lines[0].startswith("Entry number")
    assert begins, "no heading begins a page: the test sees nothing"


def test_without_a_browser_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(browser, "find_chromium", lambda: None)
    (tmp_path / "report.html").write_text("<html></html>")
    with pytest.raises(BrowserError, match="apt install chromium"):
        write_pdf(tmp_path / "report.html", tmp_path / "report.pdf")
    assert not (tmp_path / "report.pdf").exists()
    assert main(["book", "smoke", "--pdf"]) == 1, "it is told before anything is computed"
    assert "apt install chromium" in capsys.readouterr().err


def test_a_missing_report_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="make book"):
        write_pdf(tmp_path / "report.html", tmp_path / "report.pdf")
