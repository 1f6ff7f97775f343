"""The inspection of a whole report: sound ones pass, planted faults are told, counts say what was looked at."""

import json
from pathlib import Path

import pytest
from small_book import small_book

from ssrobust_lib.book import accessibility, inspection
from ssrobust_lib.book.browser import find_chromium
from ssrobust_lib.book.inspection import NO_BROWSER, inspect_book
from ssrobust_lib.book.single_file import write_single_file
from ssrobust_lib.cli import main

needs_chromium = pytest.mark.skipif(find_chromium() is None, reason="no Chromium is installed")


@pytest.fixture
def html(tmp_path: Path) -> Path:
    html = small_book(tmp_path / "book")
    write_single_file(html, tmp_path / inspection.SINGLE_FILE, {"Run": "tiny"})
    return html


def test_files_alone_are_inspected_without_widths(html: Path) -> None:
    report = inspect_book(html, widths=(), single_file=html.parent / inspection.SINGLE_FILE)
    assert report.problems == () and report.not_looked_at == ()
    assert report.counts["pages"] == 3 and report.counts["files for download"] == 2
    assert any("report in one file" in what and count > 1000 for what, count in report.counts.items())
    assert "looks of a browser" not in report.counts
    assert report.text().endswith("the book is in order")


@needs_chromium
def test_a_sound_report_passes_every_look(html: Path) -> None:
    report = inspect_book(html, single_file=html.parent / inspection.SINGLE_FILE)
    assert report.problems == ()
    assert report.counts["looks of a browser"] == 2 * (3 + 1)
    assert report.counts["stops of the Tab key"] > 4 * 4
    if accessibility.axe_script():
        assert report.not_looked_at == () and report.counts["rules of axe-core applied"] > 8 * 10
    else:
        assert report.not_looked_at == (accessibility.NO_AXE,)


def test_what_could_not_be_looked_at_is_said(html: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "find_chromium", lambda: None)
    report = inspect_book(html, single_file=None)
    assert report.problems == () and report.not_looked_at == (NO_BROWSER,)
    assert f"not looked at: {NO_BROWSER}" in report.text()


def test_faults_of_the_single_file_are_told(html: Path) -> None:
    single = html.parent / inspection.SINGLE_FILE
    planted = '<img src="_images/bars.png" alt="Bars of two arms"><a href="#gone">x</a><a href="book/index.html">y</a>'
    single.write_text(single.read_text().replace("</article>", planted + "</article>", 1))
    found = "\n".join(inspect_book(html, widths=(), single_file=single).problems)
    assert "report.html: needs another file: _images/bars.png" in found
    assert "report.html: links to #gone" in found
    assert "report.html: links to a file beside it: book/index.html" in found
    single.write_text(single.read_text() + "<!--" + "x" * inspection.HEAVIEST_FILE + "-->")
    found = "\n".join(inspect_book(html, widths=(), single_file=single).problems)
    assert "report.html: weighs 25.0 MB with its pictures: at most 25 MB" in found


def test_the_command_line_writes_json_and_fails_on_a_problem(
    html: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(inspection, "find_chromium", lambda: None)
    told = tmp_path / "found.json"
    assert main(["check-book", str(html), "--json", str(told)]) == 0
    assert "the book is in order" in capsys.readouterr().out
    (html / "notebooks" / "02_two.html").unlink()
    assert main(["check-book", str(html), "--json", str(told)]) == 1
    found = json.loads(told.read_text())
    assert any("02_two.html, which does not exist" in problem for problem in found["problems"])
    assert found["external_links"] == {"https://arxiv.org/abs/2105.06986": "index.html"}
    assert found["counts"]["pages"] == 2 and found["not_looked_at"] == [NO_BROWSER]


def test_external_links_are_fetched_only_where_asked(html: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(addresses: dict[str, str]) -> list[tuple[str, str]]:
        asked.extend(addresses)
        return [(address, "answers 404 Not Found") for address in addresses]

    monkeypatch.setattr(inspection, "fetch_links", answer)
    assert inspect_book(html, widths=(), single_file=None).problems == () and asked == []
    report = inspect_book(html, widths=(), single_file=None, external=True)
    assert report.problems == ("index.html: https://arxiv.org/abs/2105.06986 answers 404 Not Found",)
    assert report.counts["external addresses fetched"] == len(asked) == 1
