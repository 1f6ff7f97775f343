"""`ssrobust data list`: every set that has a manifest, whether it is here, on what terms, and how to get it.

In: the manifests and a data root. Out: one `Entry` per set, as text for a terminal or as JSON.
"""

import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssrobust_lib.data_command.checksums import record_path

if TYPE_CHECKING:
    from ssrobust_lib.datasets.manifest import Manifest

KINDS = {"xray": "X-rays", "ct": "CT"}
STATES = {
    "here": "here",
    "part": "in part",
    "other": "other layout",
    "missing": "missing",
}
"""here: laid out as expected, with as many images as published; part: fewer; other: a folder that does not fit."""


@dataclass(frozen=True)
class Entry:
    """One set as `list` tells of it.

    Attributes
    ----------
    name, title, kind, version, licence, terms, access, get, citation, verified : as in the manifest
    read_before : whether the layout was checked against real files
    state : here, part, other, missing
    folder : where it is or would be; None without a data root
    problem : what is missing or wrong, '' where nothing is
    found, published : counts (images, patients, labelled, positive)
    fetchable : `ssrobust data fetch` can get it
    recorded : the user's own checksums lie beside it
    """

    name: str
    title: str
    kind: str
    state: str
    folder: str | None
    problem: str
    found: dict[str, int]
    published: dict[str, int]
    licence: str
    terms: str
    access: str
    get: str
    fetchable: bool
    recorded: bool
    version: str
    citation: str
    verified: str
    read_before: bool


def inventory(sets: "Mapping[str, Manifest]", data_root: Path | None) -> list[Entry]:
    """Look for every set; lists the images of those that are there, opens none."""
    return [_entry(manifest, data_root) for manifest in sets.values()]


def _entry(manifest: "Manifest", data_root: Path | None) -> Entry:
    from ssrobust_lib.datasets.manifest import DataFolderError, set_folder

    state, problem, found = "missing", "", dict[str, int]()
    try:
        folder = set_folder(manifest, data_root)
    except DataFolderError:  # no data root
        folder = None
    if folder is not None:
        state, problem, found = _state(manifest, data_root, folder)
    return Entry(
        name=manifest.name,
        title=manifest.title,
        kind=manifest.kind,
        state=state,
        folder=None if folder is None else str(folder),
        problem=problem,
        found=found,
        published=dict(manifest.counts),
        licence=manifest.licence,
        terms=manifest.terms,
        access=manifest.access,
        get=manifest.get,
        fetchable=manifest.access == "open" and bool(manifest.files),
        recorded=folder is not None and record_path(folder).is_file(),
        version=manifest.version,
        citation=manifest.citation,
        verified=manifest.layout.verified,
        read_before=manifest.layout.is_verified,
    )


def _state(manifest: "Manifest", data_root: Path | None, folder: Path) -> tuple[str, str, dict[str, int]]:
    """State, problem and counts of a set; reads tables and file names only."""
    from ssrobust_lib.datasets import index_samples
    from ssrobust_lib.datasets.left_out import sort_left_out
    from ssrobust_lib.datasets.loader import LayoutError
    from ssrobust_lib.datasets.manifest import count_report, locate

    if not folder.is_dir() or not any(folder.iterdir()):
        return "missing", "there is no such folder" if not folder.is_dir() else "the folder is empty", {}
    absent = [pattern for pattern in manifest.layout.files if next(folder.glob(pattern), None) is None]
    if absent:
        return "other", f"nothing matches {', '.join(absent)}", {}
    try:
        samples, left_out = index_samples(manifest, locate(manifest, data_root))
    except (LayoutError, OSError, ValueError) as error:
        return "other", str(error), {}
    counts = count_report(manifest, samples)
    found = {"images": len(samples)} | {row["what"]: row["found"] for row in counts}
    _, _, lacking = sort_left_out(manifest, folder, left_out)
    short = [f"{row['found']:,} of {row['published']:,} {row['what']}" for row in counts
             if row["found"] < row["published"]]  # fmt: skip
    if short or lacking:
        told = short or [f"{len(lacking):,} of its images lack something; first {lacking[0]['path']}"]
        return "part", ", ".join(told), found
    return "here", "", found


def as_json(entries: list[Entry], data_root: Path | None) -> dict[str, Any]:
    """What `--json` prints: the data root, and one mapping per set."""
    return {"data_root": None if data_root is None else str(data_root), "sets": [asdict(entry) for entry in entries]}


def inventory_text(entries: list[Entry], data_root: Path | None, width: int = 100) -> str:
    """The inventory for a terminal of `width` columns: a line per set, then how to get what is not here."""
    name_width = max(len(entry.name) for entry in entries)
    amount_width = max(len("images"), *(len(_amount(entry)) for entry in entries))
    heading = f"  {'':<{name_width}}  {'state':<12}  {'images':<{amount_width}}  {'access':<12}  licence"
    lines = [f"data folder: {data_root}" if data_root else NO_ROOT, "", heading]
    for kind, title in KINDS.items():
        group = [entry for entry in entries if entry.kind == kind]
        if not group:
            continue
        lines += ["", title]
        for entry in group:
            state = f"{STATES[entry.state]:<12}  {_amount(entry):<{amount_width}}  {entry.access:<12}"
            head = f"  {entry.name:<{name_width}}  {state}  "
            lines.append(head + _short(entry.licence, max(12, width - len(head))))
            counted = entry.published.get("images") not in (None, entry.found.get("images"))
            if entry.state == "other" or (entry.state == "part" and not counted):
                lines += _hanging(" " * (name_width + 4), entry.problem, width)
    unverified = [entry.name for entry in entries if entry.state == "here" and not entry.read_before]
    if unverified:
        lines += ["", *_hanging("", f"Layout never read from real files: {', '.join(unverified)}.", width)]
    lacking = [entry for entry in entries if entry.state != "here" and (entry.access, entry.state) != ("own", "part")]
    if lacking:
        lines += ["", "How to get what is not here" if data_root else "How to get them"]
        for entry in lacking:
            fetch = f"ssrobust data fetch {entry.name}"
            how = entry.get.rstrip(".") + (f"; or: {fetch}" if entry.fetchable and fetch not in entry.get else "")
            lines += _hanging(f"  {entry.name:<{name_width}}  ", how, width)
            if entry.folder:
                lines += _hanging(" " * (name_width + 4), f"-> {entry.folder}", width)
    lines += ["", "Terms of each set: --json, or data_manifests/<set>.yaml. Is a set whole? ssrobust data check NAME"]
    return "\n".join(lines)


NO_ROOT = "data folder: none named (--root FOLDER, or `export SSROBUST_REAL_DATA=/path/to/images`)"


def _amount(entry: Entry) -> str:
    """Images found of those published, as far as both are known."""
    found, published = entry.found.get("images"), entry.published.get("images")
    if found is None:
        return f"{published:,} images" if published else ""
    return f"{found:,} of {published:,}" if published and published != found else f"{found:,} images"


def _short(text: str, at_most: int) -> str:
    return textwrap.shorten(text, at_most, placeholder=" …")


def _hanging(head: str, text: str, width: int) -> list[str]:
    """Text after a head, wrapped so that later lines begin below its first word."""
    indent = " " * min(len(head), width // 2)
    return textwrap.wrap(
        text, width, initial_indent=head, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    ) or [head.rstrip()]
