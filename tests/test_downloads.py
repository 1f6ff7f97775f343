"""What is offered below figures and tables: the same content, raw, in files whose names say what they are."""

import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from figure_inputs import DATASET, made_scores

from ssrobust_lib import figures
from ssrobust_lib.book.embedded_files import DOWNLOADS, page_word, separate_downloads
from ssrobust_lib.book.inspection import check_book
from ssrobust_lib.figures import downloads
from ssrobust_lib.figures.column_words import COLUMN_WORDS, columns_text
from ssrobust_lib.figures.tables import Markup, object_frame


def bars(title="Under corruption"):
    return figures.corruption_bars(made_scores(), metric="Accuracy", dataset=DATASET, title=title)


def inside(html: str) -> dict[str, bytes]:
    """Name -> content of the files that links hold."""
    links = re.findall(r'<a download="([^"]+)"[^>]* href="data:[^;]+;base64,([^"]*)"', html)
    return {name: base64.b64decode(data) for name, data in links}


def test_a_figure_offers_itself_as_svg_and_pdf_with_equal_bytes():
    files, again = inside(bars().html()), inside(bars().html())
    assert list(files) == ["under_corruption.svg", "under_corruption.pdf"]
    assert files == again
    assert files["under_corruption.pdf"].startswith(b"%PDF-") and b"CreationDate" not in files["under_corruption.pdf"]
    svg = ElementTree.fromstring(files["under_corruption.svg"])
    assert svg.tag.endswith("svg") and b"dc:date" not in files["under_corruption.svg"]
    assert DATASET in "".join(svg.itertext()), "the file says in words on what it was measured"


def test_lines_are_vectors_and_photographs_stay_pictures():
    assert b"<image" not in bars().vectors(["svg"])["svg"]
    assert b"<image" in figures.xray_sheet([np.eye(8)], dataset=DATASET).vectors(["svg"])["svg"]
    with pytest.raises(ValueError, match="svg or pdf, got 'eps'"):
        bars().vectors(["eps"])


def test_links_say_what_they_save_and_can_be_left_out():
    html = bars().html()
    assert 'aria-label="SVG: Under corruption"' in html and html.count("<a download=") == 2
    assert "<a download=" not in bars().html(downloads=False)


@pytest.mark.parametrize(
    ("title", "stem"),
    [
        ("Figure 3. Accuracy under corruption", "figure_3_accuracy_under_corruption"),
        ("Müller & Söhne: 5 %", "muller_sohne_5"),
        ("../../etc/passwd", "etc_passwd"),
        ("…", "untitled"),
        ("word " * 40, "_".join(["word"] * 14)),
    ],
)
def test_names_of_files_are_plain_and_short(title, stem):
    assert downloads.file_stem(title) == stem


def test_a_table_offers_its_numbers_and_not_its_words():
    row = {"n": 1234, "value": 1 / 3, "note": Markup("a &amp; b<br><i>c</i>"), "p": np.nan}
    frame = object_frame([row], list(row))
    with np.printoptions(legacy="1.13"):  # as a library of long ago leaves it behind
        table = figures.html_table(frame, "Scores, all", dataset=DATASET)
    (csv,) = inside(table.html).values()
    assert "0.333" in table.html and "1,234" in table.html and "0.3333333333333333" not in table.html
    back = pd.read_csv(io.BytesIO(csv))
    assert back["value"][0] == 1 / 3 and back["n"][0] == 1234 and np.isnan(back["p"][0])
    assert back["note"][0] == "a & b c"
    assert table.data is frame


def test_a_table_in_words_offers_the_rows_that_it_was_made_from():
    rng = np.random.default_rng(3)
    curves = pd.DataFrame({"init": "jigsaw", "seed": 0, "epoch": [1, 2], "val_score": rng.random(2)})
    table = figures.best_epochs(curves, "Best", dataset=DATASET, score_name="Dice")
    (csv,) = inside(table.html).values()
    pd.testing.assert_frame_equal(pd.read_csv(io.BytesIO(csv)), curves.nlargest(1, "val_score").reset_index(drop=True))


def test_shares_are_percent_on_the_page_and_shares_in_the_csv():
    table = figures.html_table(pd.DataFrame({"positive_share": [0.375, float("nan")]}), "Balance", dataset="phantoms")
    assert "37.5 %" in table.html and "–" in table.html
    (csv,) = inside(table.html).values()
    assert pd.read_csv(io.BytesIO(csv))["positive_share"].iloc[0] == 0.375


@pytest.fixture
def folder(tmp_path):
    """Two pages: one with two tables of one name and other numbers, and a figure; one with a table of the same name."""
    one, other = (figures.html_table(pd.DataFrame({"n": [n]}), "Scores", dataset=DATASET).html for n in (1, 2))
    (tmp_path / "notebooks").mkdir()
    head = "<html><article><h1>Title</h1>"
    (tmp_path / "notebooks" / "04_clean_eval.html").write_text(head + one + other + one + bars().html() + "</article>")
    (tmp_path / "index.html").write_text(head + one + "</article>")
    return tmp_path


def test_files_leave_the_pages_under_names_of_page_and_title(folder):
    written = separate_downloads(folder)
    names = ["clean_eval-scores.csv", "clean_eval-scores-2.csv", "clean_eval-under_corruption.svg"]
    names += ["clean_eval-under_corruption.pdf", "index-scores.csv"]
    assert {path.name for path in written} == {path.name for path in (folder / DOWNLOADS).iterdir()} == set(names)
    page = (folder / "notebooks" / "04_clean_eval.html").read_text()
    assert "data:text/csv" not in page and "data:application/pdf" not in page
    assert page.count('href="../_downloads/clean_eval-scores.csv"') == 2
    assert (folder / DOWNLOADS / "clean_eval-scores-2.csv").read_text() == "n\n2\n"
    assert 'href="_downloads/index-scores.csv"' in (folder / "index.html").read_text()
    before = page
    assert separate_downloads(folder) == [] and (folder / "notebooks" / "04_clean_eval.html").read_text() == before


def test_the_check_finds_lost_files_damaged_files_and_columns_without_a_description(folder):
    separate_downloads(folder)
    (folder / DOWNLOADS / "index-scores.csv").write_text("n,surprise\n1,2\n")
    (folder / DOWNLOADS / "clean_eval-scores.csv").unlink()
    (folder / DOWNLOADS / "clean_eval-under_corruption.svg").write_text("<svg")
    (folder / DOWNLOADS / "clean_eval-under_corruption.pdf").write_text("none")
    found = "\n".join(check_book(folder, widths=()))
    assert "index-scores.csv: nobody describes surprise" in found
    assert "links to ../_downloads/clean_eval-scores.csv, which does not exist" in found
    assert "clean_eval-under_corruption.svg: is damaged" in found
    assert "clean_eval-under_corruption.pdf: is no PDF" in found


def test_page_words_drop_the_number():
    from pathlib import Path

    assert page_word(Path("a/07_stats.html")) == "stats" and page_word(Path("index.html")) == "index"


def test_every_column_of_the_studys_tables_is_described():
    from ssrobust_lib.splits.leaks import EFFECT_COLUMNS
    from ssrobust_lib.statistics.claim_table import CLAIM_COLUMNS
    from ssrobust_lib.statistics.comparisons import COLUMNS
    from ssrobust_lib.statistics.further_tests import FURTHER_COLUMNS
    from ssrobust_lib.statistics.subgroups import COLUMNS as OF_GROUPS

    lacking = {*COLUMNS, *CLAIM_COLUMNS, *EFFECT_COLUMNS, *FURTHER_COLUMNS, *OF_GROUPS} - set(COLUMN_WORDS)
    assert not lacking, f"COLUMN_WORDS lacks {sorted(lacking)}"
    assert columns_text().count("\n") == len(COLUMN_WORDS) + 2


def test_columns_are_sorted_and_understood_without_their_neighbours():
    names = [line.split("`")[1] for line in columns_text().splitlines()[2:]]
    assert names == sorted(names)
    leaning = re.compile(r"^(its|the same|that|there)\b|^(the |up)?(larg|small|upp|low)er?(est)?( end)?$")
    assert not [name for name, words in COLUMN_WORDS.items() if leaning.search(words)]
