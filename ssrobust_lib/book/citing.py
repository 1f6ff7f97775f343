"""How to cite: the software, the paper whose study it repeats, and the data sets of a run.

Enters: CITATION.cff, the book's bibliography, the manifests of a run's data sets. Leaves: Markdown with BibTeX to copy.
Nothing is typed here, so that the page cannot disagree with those files.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import yaml

from ssrobust_lib.config import PROJECT

if TYPE_CHECKING:
    from ssrobust_lib.study import Study

CITATION_FILE = PROJECT / "CITATION.cff"
BIBLIOGRAPHY = PROJECT / "book" / "references.bib"
BOOK_CONFIGURATION = PROJECT / "book" / "_config.yml"
PAPER = "navarro2021"


@cache
def about_software() -> dict[str, Any]:
    """Content of CITATION.cff: title, version, license, authors and what else it states."""
    return yaml.safe_load(CITATION_FILE.read_text(encoding="utf-8"))


def software_bibtex(about: Mapping[str, Any], commit: str = "", year: str = "") -> str:
    """BibTeX of the software, from the fields of a CITATION.cff.

    Parameters
    ----------
    about : title, version, authors; license, date-released, doi, repository-code and url where it states them.
    commit : of the code that was used, for the note; empty where unknown.
    year : of a version that has no `date-released` yet; left out where empty.

    Examples
    --------
    >>> print(software_bibtex({"title": "A", "version": "1", "authors": [{"name": "B"}], "license": "MIT"}))
    @software{ssrobust,
      author = {{B}},
      title = {{A}},
      version = {1},
      note = {License MIT}
    }
    """
    address = about.get("repository-code") or about.get("url")
    said = [f"License {about['license']}" if "license" in about else "", f"commit {commit}" if commit else ""]
    fields = {
        "author": " and ".join(_author(author) for author in about["authors"]),
        "title": "{" + str(about["title"]) + "}",
        "version": about.get("version"),
        "year": str(about["date-released"])[:4] if "date-released" in about else year,
        "doi": about.get("doi"),
        "url": address,
        "note": ", ".join(text for text in said if text) or None,
    }
    lines = [f"  {name} = {{{value}}}" for name, value in fields.items() if value]
    return "@software{ssrobust,\n" + ",\n".join(lines) + "\n}"


def book_year() -> str:
    """Year of the book's copyright, in its configuration: that of a version before its release."""
    return str(yaml.safe_load(BOOK_CONFIGURATION.read_text(encoding="utf-8"))["copyright"])


def _author(author: Mapping[str, str]) -> str:
    """An author as BibTeX takes it: 'Family, Given', or a group's name in braces."""
    if "name" in author:
        return "{" + author["name"] + "}"
    return ", ".join(part for part in (author.get("family-names"), author.get("given-names")) if part)


@cache
def bibliography() -> dict[str, str]:
    """Entries of the book's bibliography as they stand in its file, by key."""
    text = BIBLIOGRAPHY.read_text(encoding="utf-8")
    entries = re.findall(r"^@\w+\{([^,\s]+),.*?^\}", text, re.MULTILINE | re.DOTALL)
    whole = re.finditer(r"^@\w+\{[^,\s]+,.*?^\}", text, re.MULTILINE | re.DOTALL)
    return dict(zip(entries, (match.group() for match in whole), strict=True))


def entries_bibtex(keys: Iterable[str]) -> str:
    """BibTeX of works of the book's bibliography.

    Raises
    ------
    KeyError
        For a key that the bibliography lacks; names it.
    """
    known = bibliography()
    lacking = [key for key in keys if key not in known]
    if lacking:
        raise KeyError(f"{', '.join(lacking)}: not in {BIBLIOGRAPHY.name}; a manifest cites by the keys of that file")
    return "\n\n".join(known[key] for key in dict.fromkeys(keys))


def citation_text(study: "Study") -> str:
    """The body of the page: what to cite for this run, each with BibTeX."""
    about = about_software()
    commits = {study.record(cell).get("commit", "unknown") for cell in study.all_cells}
    commit = commits.pop() if len(commits) == 1 else ""
    commit = "" if commit == "unknown" else commit.replace("-dirty", " with local changes")
    authors = ", ".join(author.get("name") or _author(author) for author in about["authors"])
    parts = [
        "## This software",
        f"{authors}: *{about['title']}*. Version {about['version']}, licence {about['license']}.",
        _block(software_bibtex(about, commit, book_year())),
        "## The paper whose study it repeats",
        f"{{cite:t}}`{PAPER}`. Results of this book are not the paper's: say which of the two you cite.",
        _block(entries_bibtex([PAPER])),
        "## The data sets of this run",
        *_data_sets(study),
    ]
    return "\n\n".join(parts) + "\n"


def _data_sets(study: "Study") -> list[str]:
    """For each set of the run: whose work it is, or why there is nothing to cite."""
    from ssrobust_lib.datasets.manifest import load_manifest
    from ssrobust_lib.datasets.manifest_schema import NOT_STATED

    profile, lines, keys, phantoms = study.profile, [], [], []
    for name in dict.fromkeys(name for task in profile.tasks for name in profile.sets(task)):
        manifest = load_manifest(name)
        cited = manifest.citation != NOT_STATED and manifest.citation in bibliography()
        if name in profile.phantoms:
            phantoms.append(manifest.title)
        elif cited:
            keys.append(manifest.citation)
            lines.append(f"- {manifest.title}: {{cite:t}}`{manifest.citation}`; terms: {manifest.terms}.")
        elif manifest.citation != NOT_STATED:
            lines.append(f"- {manifest.title}: {manifest.citation}; terms: {manifest.terms}.")
        else:
            lines.append(f"- {manifest.title}: its manifest states no citation.")
    said = f"Phantoms in the layouts of {'; '.join(phantoms)}: no image of theirs was used, cite this software."
    return [
        *([said] if phantoms else []),
        *(["\n".join(lines)] if lines else []),
        *([_block(entries_bibtex(keys))] if keys else []),
    ]


def _block(bibtex: str) -> str:
    return f"```bibtex\n{bibtex}\n```"
