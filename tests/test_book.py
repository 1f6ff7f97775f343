"""The book: assembling, rendering, and finding what is wrong in it. Built from two small executed notebooks."""

import json
import shutil
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from ssrobust_lib import figures
from ssrobust_lib.book import texts as book_texts
from ssrobust_lib.book.accessibility import axe_problems, axe_script, dark_problems
from ssrobust_lib.book.browser import find_chromium, open_window
from ssrobust_lib.book.build import (
    GENERATED,
    PAGE_NOTE,
    BookError,
    build_book,
    check_book,
    fold_code,
    missing_files,
    pages,
    screenshots,
    shorten_paths,
)
from ssrobust_lib.book.checks import WIDTHS, book_pages
from ssrobust_lib.book.embedded_files import separate_pictures
from ssrobust_lib.config import PROFILES, PROJECT, load_profile
from ssrobust_lib.running.notebook_parameters import OPTIONAL
from ssrobust_lib.statistics.claims import DEFAULT_MARGINS

BOOK = PROJECT / "book"
needs_chromium = pytest.mark.skipif(find_chromium() is None, reason="no Chromium is installed")

CONFIGURATION = yaml.safe_load((BOOK / "_config.yml").read_text()) | {"title": "Tiny"}
TOC = {"format": "jb-book", "root": "index", "chapters": [{"file": f"notebooks/{n}"} for n in ("01_one", "02_two")]}
INDEX = """# Tiny book

```{include} generated/banner.md
```

The mean is {glue:text}`notebooks/02_two.ipynb::mean:.3f`; see [](notebooks/01_one) and {cite:t}`navarro2021`.

$$ a^2 + b^2 = c^2 $$

```{figure} figures/bars.png
:name: fig-bars
:alt: A grey field

Bars.
```

```{bibliography}
```
"""


def picture(path: Path, size: tuple[int, int] = (64, 48)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, 128).save(path)
    return path


def executed_notebook(path: Path, title: str, *outputs: dict) -> Path:
    code = new_code_cell("show()", execution_count=2, outputs=list(outputs))
    cells = [
        new_markdown_cell(f"# {title}"),
        new_code_cell("size = 1", metadata={"tags": ["parameters"]}, execution_count=1),
        new_code_cell("size = 2", metadata={"tags": ["injected-parameters"]}, execution_count=1),
        code,
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What build_book takes, for a book of three pages."""
    folder = tmp_path_factory.mktemp("parts")
    source = folder / "book"
    source.mkdir()
    (source / "_config.yml").write_text(yaml.safe_dump(CONFIGURATION))
    (source / "_toc.yml").write_text(yaml.safe_dump(TOC))
    (source / "index.md").write_text(INDEX)
    shutil.copy(BOOK / "references.bib", source)
    shutil.copytree(BOOK / "_static", source / "_static")
    png = picture(folder / "figures" / "bars.png")
    glued = new_output(
        "display_data",
        {"text/plain": "0.12345"},
        metadata={"scrapbook": {"mime_prefix": "application/papermill.record/", "name": "mean"}},
    )
    glued["data"] = {"application/papermill.record/text/plain": "0.12345"}
    image = f'<figure><img alt="A grey field" src="data:image/png;base64,{_base64(png)}"></figure>'
    shown = new_output("display_data", {"text/html": image, "text/plain": "<Figure>"})
    notebooks = {
        "01_one": executed_notebook(folder / "one.ipynb", "One", shown),
        "02_two": executed_notebook(folder / "two.ipynb", "Two", glued),
    }
    banner = ":::{admonition} Phantoms\n:class: warning data-banner\nNot the paper's data.\n:::\n"
    return {
        "book_source": source,
        "executed_notebooks": notebooks,
        "figures": folder / "figures",
        "generated": {"banner.md": banner},
        "profile": "tiny",
    }


def _base64(path: Path) -> str:
    import base64

    return base64.b64encode(path.read_bytes()).decode()


@pytest.fixture(scope="module")
def html(parts: dict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_book(**parts, destination=tmp_path_factory.mktemp("built") / "html").parent


@pytest.fixture
def damaged(html: Path, tmp_path: Path) -> Path:
    """A copy of the book, without the parts that all pages share, to plant faults in."""
    copy = tmp_path / "html"
    shutil.copytree(html, copy, ignore=shutil.ignore_patterns("mathjax", "webfonts", "vendor"))
    return copy


def insert(page: Path, markup: str) -> None:
    text = page.read_text()
    assert "</article>" in text
    page.write_text(text.replace("</article>", markup + "</article>"))


def test_book_is_built_and_in_order(html: Path) -> None:
    index = (html / "index.html").read_text()
    assert "Tiny (tiny)" in index
    assert ">0.123</span>; see" in index, "the value glued in another page is not rendered"
    assert "Not the paper" in index and "Navarro" in index
    assert [page.relative_to(html).as_posix() for page in book_pages(html)] == [
        "index.html",
        "notebooks/01_one.html",
        "notebooks/02_two.html",
    ]
    assert check_book(html) == []
    assert not list(html.parent.glob("html.*")), "the folder of the build stays behind"


def test_defaults_of_parameters_are_replaced_by_the_injected_ones(html: Path) -> None:
    from bs4 import BeautifulSoup

    page = BeautifulSoup((html / "notebooks" / "01_one.html").read_text(), "html.parser")
    shown = " ".join(cell.get_text() for cell in page.select("article .cell_input"))
    assert "size = 2" in shown and "size = 1" not in shown


def test_parameters_do_not_tell_where_their_maker_keeps_profile_and_images() -> None:
    source = (
        'profile = "/home/someone/my runs/mine.yaml"\ndata = {"rsna": {"root": "D:\\\\images\\\\rsna/"}}\nshare = "a/b"'
    )
    cells = [
        new_code_cell(source, metadata={"tags": ["injected-parameters"]}),
        new_code_cell('x = "/not/ours"', metadata={"tags": ["report"]}),
    ]
    notebook = json.loads(nbformat.writes(new_notebook(cells=cells)))
    shorten_paths(notebook)
    assert notebook["cells"][0]["source"] == 'profile = "mine.yaml"\ndata = {"rsna": {"root": "rsna"}}\nshare = "a/b"'
    assert "".join(notebook["cells"][1]["source"]) == 'x = "/not/ours"'


def test_a_folder_of_this_machine_on_a_page_is_a_fault(damaged: Path) -> None:
    insert(damaged / "index.html", f"<p>profile = {PROJECT / 'profiles' / 'demo.yaml'}</p>")
    assert any("names a folder of the machine" in problem for problem in check_book(damaged, widths=()))


def test_fold_code_keeps_defaults_of_a_notebook_that_ran_by_itself() -> None:
    notebook = {"cells": [{"metadata": {"tags": ["parameters"]}}, {"metadata": {}}]}
    fold_code(notebook)
    assert notebook["cells"][0]["metadata"]["tags"] == ["parameters", "hide-input"]
    assert notebook["cells"][1]["metadata"].get("tags", []) == []


def test_code_that_shows_results_is_folded_and_code_that_computes_is_not() -> None:
    def code(*tags: str) -> dict:
        return {"cell_type": "code", "metadata": {"tags": list(tags)}}

    notebook = {"cells": [code("report"), code(), {"cell_type": "markdown", "metadata": {"tags": ["report"]}}]}
    fold_code(notebook)
    assert [cell["metadata"]["tags"] for cell in notebook["cells"]] == [["report", "hide-input"], [], ["report"]]


def test_every_notebook_says_below_its_title_what_it_was_computed_on(parts: dict, tmp_path: Path) -> None:
    note = book_texts.page_note(load_profile("smoke"))
    with_note = parts | {"generated": parts["generated"] | {PAGE_NOTE: note}}
    html = build_book(**with_note, destination=tmp_path / "html").parent
    for name in ("01_one", "02_two"):
        assert "not on the paper" in (html / "notebooks" / f"{name}.html").read_text()


def test_pictures_inside_pages_become_files_that_open(tmp_path: Path) -> None:
    png = picture(tmp_path / "bars.png")
    page = tmp_path / "html" / "notebooks" / "01_one.html"
    page.parent.mkdir(parents=True)
    image = f'<img alt="Bars" src="data:image/png;base64,{_base64(png)}" style="max-width:100%">'
    page.write_text(f"<article>{image}</article>")
    separate_pictures(tmp_path / "html")
    (written,) = (tmp_path / "html" / "_images").glob("*.png")
    assert written.read_bytes() == png.read_bytes()
    address = f"../_images/{written.name}"
    expected = f'<a href="{address}"><img alt="Bars" src="{address}" style="max-width:100%"></a>'
    assert page.read_text() == f"<article>{expected}</article>"


def test_nothing_is_fetched_from_a_network_by_any_script(html: Path) -> None:
    assert "THEBE" not in (html / "index.html").read_text()
    assert (html / "_static" / "mathjax" / "tex-chtml.js").is_file()


def test_missing_files_are_listed_by_name(parts: dict, tmp_path: Path) -> None:
    incomplete = parts | {"executed_notebooks": {}, "figures": None, "generated": {}}
    with pytest.raises(BookError, match="01_one.ipynb.*banner.md.*figures/bars.png"):
        build_book(**incomplete, destination=tmp_path / "html")
    assert not (tmp_path / "html").exists()
    absent = parts | {"executed_notebooks": {"01_one": tmp_path / "gone.ipynb"}}
    with pytest.raises(BookError, match="01_one.*gone.ipynb"):
        build_book(**absent, destination=tmp_path / "html")
    with pytest.raises(BookError, match="_config.yml"):
        build_book(**(parts | {"book_source": tmp_path}), destination=tmp_path / "html")


def test_a_failed_build_shows_the_log_and_keeps_the_old_book(parts: dict, tmp_path: Path) -> None:
    source = tmp_path / "book"
    shutil.copytree(parts["book_source"], source)
    with (source / "index.md").open("a") as text:
        text.write("\nSee {ref}`nowhere-to-be-found`.\n")
    old = tmp_path / "html"
    old.mkdir()
    (old / "index.html").write_text("old")
    with pytest.raises(BookError, match="nowhere-to-be-found"):
        build_book(**(parts | {"book_source": source}), destination=old)
    assert (old / "index.html").read_text() == "old"


PLANTED = {
    "a missing picture": ('<img src="_images/gone.png">', "gone.png does not exist"),
    "a picture without source": ("<img>", "without a source"),
    "a script from a CDN": ('<script src="https://cdn.example.org/a.js"></script>', "fetched from the network"),
    "a style sheet from a CDN": ('<link rel="stylesheet" href="//cdn.example.org/a.css">', "fetched from the network"),
    "a picture in a style": ('<p style="background: url(https://example.org/a.png)">', "a style is fetched"),
    "an import in a style": ('<style>@import "http://example.org/a.css";</style>', "a style is fetched"),
    "a failed cell": (
        '<div class="cell_output"><div class="output traceback"><pre>Traceback (most recent call last)\n'
        "ValueError: bad</pre></div></div>",
        "a cell failed: ValueError: bad",
    ),
    "an error as text": (
        '<div class="cell_output"><div class="output stream"><pre>x\nKeyError: 3</pre></div></div>',
        "shows an error",
    ),
    "a warning": (
        '<div class="cell_output"><div class="output stderr"><pre>a.py:1: UserWarning: hm</pre></div></div>',
        "shows a warning",
    ),
    "a number that is none": ("<table><tr><td>nan</td></tr></table>", "a table shows 'nan'"),
    "an unresolved number": ("<p>Figure ??</p>", "unresolved reference"),
    "an unresolved glue": ("<p>glue:text not found</p>", "unresolved reference"),
    "an unresolved link": ('<span class="xref myst">somewhere</span>', "leads nowhere"),
    "a dead link": ('<a href="notebooks/09_gone.html">x</a>', "09_gone.html, which does not exist"),
    "a dead anchor": ('<a href="#gone">x</a>', "links to #gone"),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_planted_faults_are_found(damaged: Path, fault: str) -> None:
    markup, message = PLANTED[fault]
    before = set(check_book(damaged, widths=()))
    insert(damaged / "index.html", markup)
    found = set(check_book(damaged, widths=())) - before
    assert any(line.startswith("index.html: ") and message in line for line in found), found


def test_damaged_missing_and_heavy_files_are_found(damaged: Path) -> None:
    (damaged / "_images" / "bars.png").write_bytes(b"not a picture")
    (damaged / "notebooks" / "02_two.html").unlink()
    (damaged / "_static" / "extra.css").write_text('/* url(http://a) */ a { background: url("https://example.org/x") }')
    insert(damaged / "notebooks" / "01_one.html", "<!--" + "x" * 3 * 1024**2 + "-->")
    found = "\n".join(check_book(damaged, widths=()))
    assert "bars.png is damaged" in found
    assert "02_two.html, which does not exist" in found
    assert "_static/extra.css: a style is fetched from the network: https://example.org/x" in found
    assert "http://a" not in found
    assert "01_one.html: weighs 3.0 MB" in found


def test_links_and_words_that_are_no_faults_are_left_alone(damaged: Path) -> None:
    before = check_book(damaged, widths=())
    harmless = (
        '<a href="https://arxiv.org/abs/2105.06986">x</a><code>??</code><table><tr><td>nanometre</td></tr></table>'
    )
    insert(damaged / "index.html", harmless + "<p>An Error: as a word of prose.</p>")
    assert check_book(damaged, widths=()) == before


def test_a_folder_without_a_book_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="make book"):
        check_book(tmp_path)


@needs_chromium
def test_pages_are_measured_as_a_reader_sees_them(html: Path, tmp_path: Path) -> None:
    copy = tmp_path / "html"
    shutil.copytree(html, copy)
    insert(copy / "index.html", '<div style="width: 700px">wide</div>')
    script = "<script>new Image().src = 'https://example.org/' + 'pixel.png'; undefinedFunction();</script>"
    insert(copy / "notebooks" / "01_one.html", script)
    found = check_book(copy)
    wide = [line for line in found if line.startswith("index.html")]
    assert len(wide) == 1 and "in a window of 390" in wide[0], found
    assert any("https://example.org/pixel.png" in line for line in found), "a request that a script makes is missed"
    assert any("undefinedFunction" in line for line in found), "an error of a script is missed"
    assert not any(line.startswith("notebooks/02_two.html") for line in found), found


@needs_chromium
def test_screenshots_are_whole_pages_of_the_asked_width(html: Path, tmp_path: Path) -> None:
    written = screenshots(html, tmp_path / "shots", widths=(WIDTHS[-1],))
    assert len(written) == 3
    for path in written:
        with Image.open(path) as shot:
            assert shot.width == int(path.stem.rsplit("-", 1)[1])
            assert len(shot.convert("L").getcolors()) > 5, f"{path.name} is blank"


def test_the_real_book_lacks_nothing_but_what_a_run_makes(tmp_path: Path) -> None:
    source = tmp_path / "book"
    shutil.copytree(BOOK, source, ignore=shutil.ignore_patterns("_build"))
    for name in GENERATED:
        (source / "generated").mkdir(exist_ok=True)
        (source / "generated" / name).write_text("x")
    notebooks = [page for page in pages(source) if page.startswith("notebooks/")]
    assert sorted(missing_files(source)) == sorted(f"{page}.ipynb" for page in notebooks)
    assert notebooks == sorted(notebooks) and len(notebooks) == 7 + len(OPTIONAL)


def test_every_citation_of_a_manifest_is_in_the_bibliography() -> None:
    from ssrobust_lib.datasets.manifest import manifests

    text = (BOOK / "references.bib").read_text()
    for name, manifest in manifests().items():
        assert f"{{{manifest.citation}," in text, f"references.bib lacks {manifest.citation} of data set {name}"


@pytest.mark.parametrize("name", sorted(path.stem for path in PROFILES.glob("*.yaml")))
def test_banner_and_run_table_of_every_profile(name: str) -> None:
    profile = load_profile(name)
    text, table = book_texts.banner(profile), book_texts.run_table(profile)
    assert ("phantoms" in text) == bool(profile.phantoms)
    assert f"`{profile.name}`" in text and "data-banner" in text
    lines = [line for line in table.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {len(profile.tasks) + 2}, "rows of different length"
    assert str(profile.study_seed) in table and "None" not in table
    for margin, size in (dict(DEFAULT_MARGINS) | dict(profile.statistics.margins)).items():
        assert f"{margin.replace('_', ' ')} {size:g}" in table  # those that the profile leaves to the code, too


def test_the_run_table_says_where_severities_come_from() -> None:
    demo = load_profile("demo")
    said = {
        "calibrated": "severities calibrated (floor 0.49, reference weaker, equal steps of strength)",
        "medmnist_c": "severities medmnist_c; ",
        "/somewhere/theirs.json": "severities `theirs.json`; ",
    }
    for chosen, words in said.items():
        rule = demo.calibration.model_copy(update={"severities": chosen})
        assert words in book_texts.run_table(demo.model_copy(update={"calibration": rule}))
    rule = demo.calibration.model_copy(update={"severities": {"organs": "imagenet_c"}})
    table = book_texts.run_table(demo.model_copy(update={"calibration": rule}))
    assert "severities calibrated (pneumonia), imagenet_c (organs) (floor" in table


def test_banner_names_the_papers_own_data_as_such() -> None:
    demo = load_profile("demo")
    real = demo.model_copy(update={"phantoms": {}, "seeds": book_texts.ENOUGH_SEEDS})
    assert "Computed on the paper's data sets" in book_texts.banner(real)
    assert "chance can outweigh" not in book_texts.banner(real)
    partly = demo.model_copy(update={"phantoms": {"rsna": demo.phantoms["rsna"]}})
    assert "in part on embedded phantoms" in book_texts.banner(partly)


def test_citation_file_and_version_agree() -> None:
    import ssrobust_lib

    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text())
    assert citation["version"] == ssrobust_lib.__version__
    assert f"## {ssrobust_lib.__version__}" in (PROJECT / "CHANGELOG.md").read_text()
    assert json.dumps(citation["license"]) == '"Apache-2.0"'


@needs_chromium
@pytest.mark.skipif(axe_script() is None, reason="axe-core is not installed")
def test_what_tables_print_in_red_can_be_read_in_dark_colours_too(damaged: Path) -> None:
    numbers = pd.DataFrame({"p": [0.00005], "p_holm": [0.0005]})
    plain, output = (
        figures.html_table(numbers, caption, dataset="phantoms", formats=figures.P_FORMATS).html
        for caption in ("In the text", "In a notebook's output")
    )
    assert "ssrobust-red" in plain
    insert(damaged / "index.html", f'{plain}<div class="cell_output"><div class="text_html">{output}</div></div>')
    with open_window() as window:
        window.resize(1280, 900)
        window.open(damaged / "index.html")
        assert axe_problems(window, axe_script() or "")[1] == []
        assert dark_problems(window) == []
