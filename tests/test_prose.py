"""The book's prose: code that fits its box, screenshots of long pages, words below the explorer's pictures."""

from pathlib import Path

import pytest
from PIL import Image
from small_book import small_book

from ssrobust_lib.book.browser import TALLEST_PICTURE, find_chromium, parts_of_picture
from ssrobust_lib.book.checks import screenshots
from ssrobust_lib.config import PROJECT
from ssrobust_lib.figures.what_to_see import seen_in_probabilities, seen_in_slices

WIDEST_CODE = 78
"""Letters of a line of code that a page shows whole in a window of 1280 pixels."""


@pytest.mark.parametrize("page", sorted((PROJECT / "book").glob("*.md")), ids=lambda page: page.stem)
def test_code_fits_its_box(page: Path) -> None:
    fence, wide = "", []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("```"):
            fence = "" if fence else line
        elif fence and not fence.startswith("```{") and len(line) > WIDEST_CODE:  # directives hold prose
            wide.append(f"{page.name}:{number}: {line}")
    assert not wide


def test_a_tall_page_is_photographed_in_parts_that_join() -> None:
    path = Path("shots/files-1280.png")
    assert parts_of_picture(path, TALLEST_PICTURE) == [(path, 0, TALLEST_PICTURE)]
    parts = parts_of_picture(path, 2 * TALLEST_PICTURE + 5)
    assert [part.name for part, _, _ in parts] == ["files-1280.png", "files-1280-2.png", "files-1280-3.png"]
    assert [top for _, top, _ in parts] == [0, TALLEST_PICTURE, 2 * TALLEST_PICTURE]
    assert sum(height for _, _, height in parts) == 2 * TALLEST_PICTURE + 5


@pytest.mark.skipif(find_chromium() is None, reason="no Chromium is installed")
def test_the_foot_of_a_tall_page_is_on_its_last_picture(tmp_path: Path) -> None:
    html = small_book(tmp_path / "book")
    index = html / "index.html"
    foot = f'<div style="height:{TALLEST_PICTURE}px"></div><div style="height:300px;background:#f00"></div></article>'
    index.write_text(index.read_text().replace("</article>", foot))
    written = screenshots(html, tmp_path / "shots", widths=(390,))
    assert [path.name for path in written if path.name.startswith("index")] == ["index-390.png", "index-390-2.png"]
    with Image.open(tmp_path / "shots" / "index-390-2.png") as last:
        assert last.height > 300 and (255, 0, 0) in {colour for _, colour in last.convert("RGB").getcolors(10**6)}


def test_the_explorers_words_say_where_an_answer_turns_and_whether_to_the_worse() -> None:
    scores = [{"scratch": 0.9, "jigsaw": 0.2}, {"scratch": 0.8, "jigsaw": 0.7}, {"scratch": 0.1, "jigsaw": 0.8}]
    assert seen_in_probabilities(scores, 1) == (
        "Answers from left to right. Normal training: from right to wrong at severity 2; "
        "Self-supervised (jigsaw): from wrong to right at severity 1."
    )
    assert seen_in_probabilities(scores[:2], 0) == (
        "Answers from left to right. Normal training: wrong at every severity; "
        "Self-supervised (jigsaw): from right to wrong at severity 1."
    )
    assert "from the finding to no finding at severity 2" in seen_in_probabilities(scores)
    assert seen_in_slices([{"scratch": 0.9}, {"scratch": 0.5}]) == (
        "Dice of this slice from clean to severity 1. Normal training: 0.90 to 0.50."
    )
