"""Render the study's book: prose and executed notebooks in, a folder of HTML out.

What enters: the folder `book/` (prose, configuration, table of contents), the executed notebooks, a folder of figures,
and the generated texts (banner, tables) that the prose includes. What leaves: a self-contained HTML folder that needs
no network, put in place in one step, so that a reader never meets half a book. Nothing is executed while rendering.
The book presents sections 2 to 4 of the paper; it computes none of them.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from ssrobust_lib.book.checks import screenshots
from ssrobust_lib.book.drawings import inline_drawings
from ssrobust_lib.book.embedded_files import separate_downloads, separate_pictures
from ssrobust_lib.book.inspection import check_book
from ssrobust_lib.book.theme_repairs import repair_pages
from ssrobust_lib.running.notebook_parameters import OPTIONAL

__all__ = [
    "GENERATED",
    "PAGE_NOTE",
    "BookError",
    "build_book",
    "check_book",
    "missing_files",
    "pages",
    "screenshots",
]

GENERATED = (
    "banner.md",
    "claim_table.md",
    "summary_classification.md",
    "summary_segmentation.md",
    "run_table.md",
    "explorer.md",
    "paper_numbers.md",
    "benchmarks.md",
    "split_columns.md",
    "splits.csv",
    "answers.md",
    "provenance.md",
    "citation.md",
    "columns.md",
)
"""Texts that the prose includes from `generated/`: on which images the numbers were computed, the verdict on each claim
of the paper, the two figures of the start page, the parameters of the run, what the explorer shows, what the paper's
own numbers allow, the latest benchmarks, the columns of the table of splits, that table itself, which pages offer for
download; the answer in a sentence per task, where the numbers come from, what to cite, and what the columns of the
tables mean."""

SPLITS_FILE = "splits.csv"

PAGE_NOTE = "page_note.md"
"""Generated text that is put below the title of every notebook: whoever lands there must not take phantoms for
patients."""

_USED_FILE = re.compile(
    r"^\s*(?:```|:::)+\{(?:include|figure|image)\}\s+(?P<path>\S+)|\{download\}`[^`<]*<(?P<download>[^>`]+)>`",
    re.MULTILINE,
)
_LIVE_CODE = re.compile(
    r"""<script>const\ THEBE_JS_URL[^<]*</script>\s*
    |<script[^>]*src="[^"]*sphinx-thebe\.js[^"]*"[^>]*></script>\s*
    |<script\ type="text/x-thebe-config">.*?</script>\s*
    |<link[^>]*href="[^"]*sphinx-thebe\.css[^"]*"[^>]*>\s*""",
    re.VERBOSE | re.DOTALL,
)
_LOG_LINES = 40
_ABSOLUTE_PATH = re.compile(
    r"""(?P<quote>["'])(?:/|[A-Za-z]:[/\\])(?:[^"'\n]*[/\\])?(?P<last>[^"'/\\\n]+)[/\\]*(?P=quote)"""
)


class BookError(RuntimeError):
    """The book cannot be assembled or rendered; the message says what is missing or ends with the renderer's log."""


def build_book(
    book_source: Path,
    executed_notebooks: Mapping[str, Path],
    destination: Path,
    *,
    figures: Path | None = None,
    generated: Mapping[str, str] | None = None,
    profile: str = "",
) -> Path:
    """Render the book and put it at `destination`, replacing what stood there.

    Parameters
    ----------
    book_source : Path
        Folder with `_config.yml`, `_toc.yml` and the prose. It is copied, never written to.
    executed_notebooks : mapping of str to Path
        Page name (`01_data`) to the executed notebook shown under that name in `notebooks/`.
    destination : Path
        Folder of the HTML. `<destination>.build` beside it is used for building: deleted first, and kept after a
        failure for looking at it.
    figures : Path, optional
        Folder copied to `figures/`, for prose that shows pictures from there.
    generated : mapping of str to str, optional
        File name to Markdown text, written to `generated/`; the prose includes `GENERATED`, and `PAGE_NOTE` is put into
        every notebook.
    profile : str
        Name of the run, appended to the book's title, so that a smoke book is never mistaken for a full one.

    Returns
    -------
    Path
        `destination / "index.html"`.

    Raises
    ------
    BookError
        A file that the table of contents or the prose names is missing (all of them are listed), or rendering failed
        or warned (with the end of its log).
    """
    destination = Path(destination).absolute()
    build_folder = destination.with_name(destination.name + ".build")
    shutil.rmtree(build_folder, ignore_errors=True)  # an incremental build forgets the warnings of a failed one
    source = build_folder / "source"
    _assemble(Path(book_source), source, executed_notebooks, figures, generated or {}, profile)
    missing = list(missing_files(source))
    if missing:
        raise BookError(
            "the book names files that were not given: expected "
            + ", ".join(missing)
            + "; pass them as executed_notebooks, figures or generated, or take them out of the prose"
        )
    html = _render(source, build_folder / "output")
    _drop_live_code(html)
    inline_drawings(html)
    separate_pictures(html)
    separate_downloads(html)
    repair_pages(html)
    _put_in_place(html, destination)
    shutil.rmtree(build_folder, ignore_errors=True)
    return destination / "index.html"


def pages(source: Path) -> list[str]:
    """List the pages that `_toc.yml` names, root first, without their file endings."""
    toc = yaml.safe_load((Path(source) / "_toc.yml").read_text(encoding="utf-8"))

    def files(node: object) -> Iterator[str]:
        if isinstance(node, list):
            for item in node:
                yield from files(item)
        elif isinstance(node, dict):
            if "file" in node:
                yield node["file"]
            for key in ("parts", "chapters", "sections", "entries", "subtrees"):
                yield from files(node.get(key))

    return [toc["root"], *files(toc)]


def missing_files(source: Path) -> Iterator[str]:
    """Yield every page of the table of contents, included text and figure that an assembled folder lacks."""
    source = Path(source)
    for page in pages(source):
        if not any((source / f"{page}{ending}").is_file() for ending in (".md", ".ipynb")):
            yield f"{page}.ipynb" if page.startswith("notebooks/") else f"{page}.md"
    for text in sorted(source.glob("*.md")):
        for match in _USED_FILE.finditer(text.read_text(encoding="utf-8")):
            path = match["path"] or match["download"]
            if not (source / path).is_file():
                yield f"{path} (used in {text.name})"


def _assemble(
    book_source: Path,
    source: Path,
    executed_notebooks: Mapping[str, Path],
    figures: Path | None,
    generated: Mapping[str, str],
    profile: str,
) -> None:
    """Copy prose, notebooks, figures and generated texts into one folder that Jupyter Book can render."""
    for name in ("_config.yml", "_toc.yml"):
        if not (book_source / name).is_file():
            raise BookError(f"{book_source} is not a book: expected a file {name} in it")
    shutil.copytree(book_source, source, ignore=shutil.ignore_patterns("_build", ".ipynb_checkpoints"))
    if profile:
        configuration = yaml.safe_load((source / "_config.yml").read_text(encoding="utf-8"))
        configuration["title"] = f"{configuration['title']} ({profile})"
        text = yaml.safe_dump(configuration, sort_keys=False, allow_unicode=True)
        (source / "_config.yml").write_text(text, encoding="utf-8")
    _drop_chapters(source / "_toc.yml", [f"notebooks/{name}" for name in OPTIONAL if name not in executed_notebooks])
    (source / "notebooks").mkdir(exist_ok=True)
    for name, path in executed_notebooks.items():
        if not Path(path).is_file():
            raise BookError(f"the executed notebook {name!r} is missing: expected it at {path}")
        notebook = json.loads(Path(path).read_text(encoding="utf-8"))
        fold_code(notebook)
        shorten_paths(notebook)
        if PAGE_NOTE in generated:
            insert_note(notebook, generated[PAGE_NOTE])
        text = json.dumps(notebook, indent=1, ensure_ascii=False)
        (source / "notebooks" / f"{name}.ipynb").write_text(text, encoding="utf-8")
    if figures is not None:
        shutil.copytree(figures, source / "figures", dirs_exist_ok=True)
    (source / "generated").mkdir(exist_ok=True)
    for name, text in generated.items():
        (source / "generated" / name).write_text(text, encoding="utf-8")


def _drop_chapters(contents: Path, chapters: list[str]) -> None:
    """Take chapters out of a table of contents: those of notebooks that this run has nothing to show in."""
    toc = yaml.safe_load(contents.read_text(encoding="utf-8"))
    for part in toc.get("parts", []):
        part["chapters"] = [chapter for chapter in part["chapters"] if chapter.get("file") not in chapters]
    contents.write_text(yaml.safe_dump(toc, sort_keys=False, allow_unicode=True), encoding="utf-8")


def fold_code(notebook: dict) -> None:
    """Fold the code that shows results and the parameters behind a button, and drop the defaults that were replaced.

    Code that computes stays in sight: it is the study. Changes `notebook` (nbformat 4 as a dict) in place. Without
    parameters injected by papermill the defaults stay, folded.
    """

    def tags(cell: dict) -> list[str]:
        return cell.setdefault("metadata", {}).setdefault("tags", [])

    injected = any("injected-parameters" in tags(cell) for cell in notebook["cells"])
    for cell in notebook["cells"]:
        if "parameters" in tags(cell) and injected:
            tags(cell).append("remove-cell")
        elif cell.get("cell_type", "code") == "code" and {"parameters", "injected-parameters", "report"} & set(
            tags(cell)
        ):
            tags(cell).append("hide-input")


def shorten_paths(notebook: dict) -> None:
    """Leave of absolute paths among the parameters that papermill put in their last part, in place.

    A report is read elsewhere; where its maker keeps profile and images is nobody's business.
    """
    for cell in notebook["cells"]:
        if "injected-parameters" in cell.get("metadata", {}).get("tags", []):
            source = cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])
            cell["source"] = _ABSOLUTE_PATH.sub(r"\g<quote>\g<last>\g<quote>", source)


def insert_note(notebook: dict, text: str) -> None:
    """Put a Markdown cell below the notebook's first cell, in place."""
    cell = {"cell_type": "markdown", "id": "page-note", "metadata": {}, "source": text}
    notebook["cells"].insert(1, cell)


def _render(source: Path, output: Path) -> Path:
    """Run Jupyter Book, every warning an error, and return the folder of the HTML."""
    program = "from jupyter_book.cli.main import main; main()"  # the package has no `python -m` entry
    command = [sys.executable, "-c", program, "build", str(source), "--path-output", str(output)]
    command += ["--warningiserror", "--nitpick", "--keep-going"]
    environment = os.environ | {"NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}
    run = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    html = output / "_build" / "html"
    if run.returncode != 0 or not (html / "index.html").is_file():
        log = [line for line in run.stdout.splitlines() if line.strip()]
        told = [line for line in log if "WARNING" in line or "ERROR" in line]
        end = "\n".join([*told, "...", *log[-_LOG_LINES:]])
        raise BookError(f"Jupyter Book failed (exit status {run.returncode}) on {source}; its log says:\n{end}")
    return html


def _drop_live_code(html: Path) -> None:
    """Take the loader of Thebe out of every page.

    Jupyter Book 1 adds it even where it is switched off, and twice, which is a script error on every page; all that it
    could do is fetch code from a CDN.
    """
    for page in html.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        page.write_text(_LIVE_CODE.sub("", text), encoding="utf-8")


def _put_in_place(html: Path, destination: Path) -> None:
    """Exchange the folder at `destination` for `html` by renaming, on the same file system."""
    old = destination.with_name(destination.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if destination.exists():
        destination.rename(old)
    html.rename(destination)
    shutil.rmtree(old, ignore_errors=True)
