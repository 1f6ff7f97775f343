"""The report in one file: everything inside, every link leads somewhere, light enough to mail."""

import base64
import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from PIL import Image
from small_book import small_book

from ssrobust_lib.book.pictures import WIDTHS, embedded_pictures, reduced
from ssrobust_lib.book.single_file import HEAVIEST_ENCLOSED, SingleFileError, write_single_file

FACTS = {"Run": "tiny", "Images": "phantoms & <invented> patients"}


@pytest.fixture
def html(tmp_path: Path) -> Path:
    return small_book(tmp_path / "book")


def read(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(), "html.parser")


def test_all_pages_are_in_it_in_the_order_of_the_contents(html: Path, tmp_path: Path) -> None:
    written = write_single_file(html, tmp_path / "report.html", FACTS)
    soup = read(written.path)
    assert [article["id"] for article in soup.select("main > article")] == [
        "page-index",
        "page-notebooks-01_one",
        "page-notebooks-02_two",
    ]
    assert written.pages == 3 and written.pictures == 1 and written.picture_width is None
    assert written.size == written.path.stat().st_size
    assert soup.title is not None and soup.title.get_text() == "A small book (tiny)"
    assert "phantoms & <invented> patients" in soup.select_one(".title-page").get_text()  # type: ignore[union-attr]
    assert soup.select_one(".title-page .data-banner"), "the title page does not say on which images"
    assert not list(tmp_path.glob("*.part"))


def test_every_link_leads_to_a_place_of_the_file(html: Path, tmp_path: Path) -> None:
    soup = read(write_single_file(html, tmp_path / "report.html", FACTS).path)
    names = [str(tag["id"]) for tag in soup.select("[id]")]
    assert len(names) == len(set(names))
    inner = [str(link["href"]) for link in soup.select("a[href^='#']")]
    assert len(inner) > 8 and {address[1:] for address in inner} <= set(names)
    by_words = {link.get_text(): str(link["href"]) for link in soup.select("article a[href]")}
    assert by_words["the place"] == by_words["here"] == "#notebooks-01_one--same"
    assert by_words["the other"] == "#only", "an anchor that one page alone has keeps its name, which scripts may use"
    assert by_words["the page"] == "#page-notebooks-02_two"
    assert by_words["the paper"] == "https://arxiv.org/abs/2105.06986"


def test_it_asks_for_nothing(html: Path, tmp_path: Path) -> None:
    soup = read(write_single_file(html, tmp_path / "report.html", FACTS).path)
    addresses = [str(tag.get("src") or tag.get("href")) for tag in soup.select("[src], link[href]")]
    assert addresses and all(address.startswith("data:") for address in addresses)
    styles = " ".join(tag.get_text() for tag in soup.select("style"))
    assert re.findall(r"url\(\"?(\w+:)?", styles).count("data:") == 2 and "tiny.ttf" not in styles
    assert base64.b64encode(b"tiny.woff2").decode() in styles
    scripts = " ".join(tag.get_text() for tag in soup.select("script"))
    assert "ownScript" in scripts and "(theme)" not in scripts
    assert "'</script>'" not in (tmp_path / "report.html").read_text(), "the script would end within its own text"


def test_small_downloads_are_enclosed_and_the_rest_is_told(html: Path, tmp_path: Path) -> None:
    written = write_single_file(html, tmp_path / "report.html", FACTS)
    soup = read(written.path)
    link = soup.select_one("a[download]")
    assert link is not None and link["download"] == "scores.csv"
    assert base64.b64decode(str(link["href"]).split(",")[1]) == b"arm,score\nscratch,0.5\n"
    assert written.left_out == ("bars.pdf",)
    assert "PDF (in the book's folder)" in soup.get_text() and "Of the downloads, 1" in soup.get_text()
    (html / "_downloads" / "ab12" / "scores.csv").write_bytes(b"x" * (HEAVIEST_ENCLOSED + 1))
    assert write_single_file(html, tmp_path / "report.html", FACTS).left_out == ("scores.csv", "bars.pdf")


def test_drawings_keep_their_parts(html: Path, tmp_path: Path) -> None:
    two = html / "notebooks" / "02_two.html"
    two.write_text(
        two.read_text()
        .replace('id="clip"', 'id="only-clip"')
        .replace("</clipPath></svg>", "</clipPath><g clip-path='url(#only-clip)'></g></svg>")
    )
    soup = read(write_single_file(html, tmp_path / "report.html", FACTS).path)
    for clip in soup.select("clippath"):
        user = clip.find_parent("svg").select_one("[clip-path]")  # type: ignore[union-attr]
        assert user is not None and user["clip-path"] == f"url(#{clip['id']})"


def test_pictures_shrink_until_the_file_is_light_enough(tmp_path: Path) -> None:
    html = small_book(tmp_path / "book", picture_size=(2000, 500), noise=True)
    whole = write_single_file(html, tmp_path / "whole.html", FACTS)
    lighter = write_single_file(html, tmp_path / "lighter.html", FACTS, most_bytes=whole.size - 1)
    assert lighter.picture_width in WIDTHS[1:] and lighter.size < whole.size
    assert f"wider than {lighter.picture_width:,} pixels" in read(lighter.path).get_text()
    with pytest.raises(SingleFileError, match="expected at most 0 MB"):
        write_single_file(html, tmp_path / "none.html", FACTS, most_bytes=1000)
    assert not (tmp_path / "none.html").exists()


def test_a_reduced_picture_keeps_its_shape_and_transparency(tmp_path: Path) -> None:
    path = tmp_path / "wide.png"
    Image.new("RGBA", (400, 100), (10, 200, 30, 0)).save(path)
    small = tmp_path / "small.webp"
    small.write_bytes(reduced(path.read_bytes(), 100))
    with Image.open(small) as picture:
        assert picture.size == (100, 25) and picture.convert("RGBA").getpixel((50, 12))[3] == 0  # type: ignore[index]
    widths = [width for width, _ in embedded_pictures([path])]
    assert widths == list(WIDTHS)
