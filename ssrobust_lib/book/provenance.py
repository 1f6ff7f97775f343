"""Where the numbers of a run come from: code, machine, time, seeds, parameters, images and their terms.

Enters: a finished run: the records of its cells, its samples tables, its profile, and the manifests of its data sets.
Leaves: Markdown for the page *Provenance*. What no record states is called 'not recorded'; no path, host or user is
written. Beside section 3.1 of the paper (data) and its implementation details.
"""

import hashlib
import html
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from ssrobust_lib.book.citing import about_software, bibliography
from ssrobust_lib.book.data_report import PARTS
from ssrobust_lib.figures.tables import Markup, object_frame, small

if TYPE_CHECKING:
    from ssrobust_lib.study import Study

UNKNOWN = "not recorded"

STEP_WORDS = {
    "01_data": "decoding and splits",
    "01_leaks": "experiment with leaks",
    "02_pretext": "pretext tasks",
    "03_finetune": "fine-tuning",
    "04_clean_eval": "clean images",
    "05_calibration": "severities",
    "05_corruption_eval": "corrupted images",
    "06_kits_generalization": "another centre",
    "07_stats": "statistics",
}
_LOCAL_PARAMETERS = ("data_root",)  # say where files lie on one machine and change no result


def provenance_text(study: "Study") -> str:
    """The page's body, a section a question."""
    records = [study.record(cell) | {"step": cell.step} for cell in study.all_cells]
    sections = {
        "Which code, when": _code(records),
        "On what machine, with which libraries": _machine(records),
        "How long, and how much memory": _costs(records),
        "Which images": _images(study),
        "On what terms": _terms(study),
        "Which seeds and parameters": _parameters(study),
    }
    return "\n\n".join(f"## {heading}\n\n{text}" for heading, text in sections.items()) + "\n"


def cost_table(records: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Cells, wall time, processor time and largest memory of each step of the study, and of all.

    Parameters
    ----------
    records : of finished cells, with `step`, `seconds`, `cpu_seconds` (s) and `peak_memory_bytes`.

    Returns
    -------
    DataFrame with step, cells, wall_seconds, cpu_seconds, peak_memory_gib; the last row, 'all', adds up the times and
    takes the largest memory. NaN where no record of a step states it.
    """
    keys = ["step", "seconds", "cpu_seconds", "peak_memory_bytes"]
    table = pd.DataFrame([{key: record.get(key) for key in keys} for record in records], columns=keys)
    numbers = table.astype(dict.fromkeys(keys[1:], float))
    whole = numbers.assign(step="all")
    both = pd.concat([numbers, whole], ignore_index=True).groupby("step", sort=False)
    costs = pd.DataFrame(
        {
            "cells": both.size(),
            "wall_seconds": both["seconds"].sum(min_count=1),
            "cpu_seconds": both["cpu_seconds"].sum(min_count=1),
            "peak_memory_gib": both["peak_memory_bytes"].max() / 2**30,
        }
    )
    return costs.reset_index()


def image_table(samples: pd.DataFrame) -> pd.DataFrame:
    """Images, patients and labelled images of each set and part, with a checksum over the contents of the images.

    Parameters
    ----------
    samples : a task's samples table: set, split, sample_id, patient_id, has_label, content_hash.

    Returns
    -------
    DataFrame with set, part, images, patients, labelled, sha256: SHA-256 over the sorted content hashes, which depends
    neither on names nor on the order; 'not recorded' where an image has none.
    """
    rows = [
        {
            "set": name,
            "part": PARTS[split],
            "images": len(part),
            "patients": part["patient_id"].nunique(),
            "labelled": int(part["has_label"].sum()),
            "sha256": checksum(part["content_hash"]),
        }
        for (name, split), part in samples.groupby(["set", "split"], sort=False)
    ]
    order = {words: turn for turn, words in enumerate(PARTS.values())}
    table = pd.DataFrame(rows, columns=["set", "part", "images", "patients", "labelled", "sha256"])
    return table.sort_values("part", key=lambda parts: parts.map(order), kind="stable").reset_index(drop=True)


def checksum(hashes: pd.Series) -> str:
    """SHA-256 (hex) over the sorted content hashes, one a line; 'not recorded' where one is missing."""
    if hashes.isna().any():
        return UNKNOWN
    return hashlib.sha256("\n".join(sorted(map(str, hashes))).encode()).hexdigest()


def public_parameters(profile: Mapping[str, Any]) -> dict[str, Any]:
    """A profile without what names places on one machine: no data root, and of a file's path the name alone."""

    def public(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: public(inside) for key, inside in value.items() if key not in _LOCAL_PARAMETERS}
        if isinstance(value, (list, tuple)):
            return [public(inside) for inside in value]
        if isinstance(value, str) and ("/" in value or "\\" in value) and PurePath(value).suffix:
            return PurePath(value.replace("\\", "/")).name
        return value

    return public(profile)


def _code(records: list[dict[str, Any]]) -> str:
    software = about_software()
    commits = pd.Series([record.get("commit", "unknown") for record in records]).value_counts(sort=False)
    lines = [_commit_words(str(commit), int(n), len(records)) for commit, n in commits.items()]
    finished = sorted(str(record["finished"]) for record in records if record.get("finished"))
    when = f"{_moment(finished[0])} to {_moment(finished[-1])}" if finished else UNKNOWN
    return (
        f"ssrobust {software['version']}, licence {software['license']}. Cells of the study were finished from {when}. "
        "Code by the commit of its repository:\n\n" + "\n".join(f"- {line}" for line in lines)
    )


def _commit_words(commit: str, n: int, of: int) -> str:
    cells = "all cells" if n == of else f"{n} of {of} cells"
    if commit == "unknown":
        return f"commit {UNKNOWN} (not a checkout of the repository): {cells}"
    changed = "; **files were changed after it**" if commit.endswith("-dirty") else ", unchanged"
    return f"`{commit.removesuffix('-dirty')}`{changed}: {cells}"


def _moment(finished: str) -> str:
    return pd.Timestamp(finished).tz_convert("UTC").strftime("%Y-%m-%d %H:%M UTC")


def _machine(records: list[dict[str, Any]]) -> str:
    machines = dict.fromkeys(_hardware_words(record.get("hardware")) for record in records)
    several = "Cells ran on more than one kind of machine:" if len(machines) > 1 else "All cells ran on:"
    names = dict.fromkeys(name for record in records for name in record.get("versions", {}))
    versions = {
        name: ", ".join(dict.fromkeys(record["versions"].get(name, UNKNOWN) for record in records)) for name in names
    }
    listed = "; ".join(f"{name} {number}" for name, number in versions.items()) or UNKNOWN
    return "\n".join([several, "", *(f"- {machine}" for machine in machines), "", f"Libraries: {listed}."])


def _hardware_words(about: Mapping[str, Any] | None) -> str:
    if not about:
        return f"hardware {UNKNOWN}"
    cores, usable = about["cores"], about.get("usable_cores", about["cores"])
    memory = f"{about['memory_bytes'] / 2**30:.0f} GiB of memory" if "memory_bytes" in about else f"memory {UNKNOWN}"
    gpus = f"GPU: {', '.join(about['gpus'])}" if about.get("gpus") else "no GPU used"
    used = "" if usable == cores else f" ({usable} of them usable)"
    return f"{about['processor']}, {cores} cores{used}, {memory}, {gpus}; {about['system']}"


def _number(form: str) -> Callable[[float], str]:
    """From a number to its text in a format of `str.format`, 'not recorded' for NaN."""
    return lambda value: UNKNOWN if pd.isna(value) else form.format(value)


def _costs(records: list[dict[str, Any]]) -> str:
    from ssrobust_lib import figures as fig

    costs = cost_table(records)
    shown = costs.assign(step=[STEP_WORDS.get(step, step) for step in costs["step"]])
    headings = {"step": "step of the study", "wall_seconds": "wall time, s", "cpu_seconds": "processor time, s"}
    headings["peak_memory_gib"] = "largest memory of a process, GiB"
    formats = {name: _number(form) for name, form in (("wall_seconds", "{:,.1f}"), ("cpu_seconds", "{:,.1f}"))}
    formats["peak_memory_gib"] = _number("{:.2f}")
    note = "Times of cells are added up; cells that ran side by side took less. Processor time: all threads of a cell."
    table = fig.html_table(
        shown, "What this run took", headings=headings, formats=formats, note=note, stacked=True, data=costs
    )
    return f"```{{raw}} html\n{table.html}\n```"


def _images(study: "Study") -> str:
    from ssrobust_lib import figures as fig
    from ssrobust_lib.book.examples import short_names

    names, parts = short_names(study), []
    for task in study.profile.tasks:
        cells = study.cells("01_data", tasks=[task])
        table, left_out = image_table(study.table(cells, "samples")), study.table(cells, "left_out")
        shown = table.assign(
            set=table["set"].map(lambda name: names.get(name, name)),
            sha256=[value if value == UNKNOWN else f"{value[:16]}…" for value in table["sha256"]],
        )
        caption = f"Images of the task {task}, with checksums"
        note = (
            "SHA-256 over the sorted hashes of all images' contents, whole in the CSV: runs with the same value saw "
            f"the same pixels. {_unread(len(left_out))}"
        )
        parts.append(fig.html_table(shown, caption, note=note, stacked=True, data=table).html)
    return "\n\n".join(f"```{{raw}} html\n{part}\n```" for part in parts)


def _unread(files: int) -> str:
    """What became of files that could not be read."""
    if not files:
        return "Every file could be read."
    return (
        f"{files:,} files could not be read and were left out."
        if files > 1
        else ("1 file could not be read and was left out.")
    )


def _terms(study: "Study") -> str:
    from ssrobust_lib import figures as fig
    from ssrobust_lib.datasets.manifest import load_manifest

    profile, rows = study.profile, []
    for name in dict.fromkeys(name for task in profile.tasks for name in profile.sets(task)):
        manifest = load_manifest(name)
        phantoms = name in profile.phantoms
        complete = "; ".join(f"{count:,} {what}" for what, count in manifest.counts.items()) or "not stated"
        rows.append(
            {
                "set": manifest.title,
                "images": "phantoms, made by this software" if phantoms else "real",
                "version": manifest.version,
                "licence": about_software()["license"] if phantoms else manifest.licence,
                "citation": "this software" if phantoms else manifest.citation,
                "terms": "those of this software" if phantoms else manifest.terms,
                "complete": complete,
            }
        )
    note = (
        "Counts in small print: what a whole copy of the set holds by its manifest, without what the study leaves out."
    )
    if any(row["images"] != "real" for row in rows):
        note += " Phantoms lie in the layout of the set that is named, and hold nothing of its images."
    if any(row["citation"] in bibliography() for row in rows):
        note += " Citations: keys of the page How to cite, which has them in full."
    data, caption = pd.DataFrame(rows), "Data sets of this run, and their terms"
    shown = object_frame([_in_four_cells(row) for row in rows], ["set", "images", "licence", "citation"])
    table = fig.html_table(shown, caption, headings={"set": "data set"}, note=note, stacked=True, data=data)
    return f"```{{raw}} html\n{table.html}\n```"


def _in_four_cells(row: dict[str, str]) -> dict[str, Markup]:
    """Version and counts below the name of a data set, terms below its licence: seven columns are too wide a table."""
    words = {key: html.escape(text) for key, text in row.items()}
    return {
        "set": Markup(words["set"] + small(f"{row['version']}; a whole copy: {row['complete']}")),
        "images": Markup(words["images"]),
        "licence": Markup(words["licence"] + small(row["terms"])),
        "citation": Markup(words["citation"]),
    }


def _parameters(study: "Study") -> str:
    profile = study.profile
    text = yaml.safe_dump(public_parameters(profile.model_dump(mode="json")), sort_keys=False, allow_unicode=True)
    seeds = ", ".join(map(str, study.seeds))
    return (
        f"Study seed {profile.study_seed}; seeds {seeds} of every arm. Every random choice derives from these: the "
        "same profile on the same machine gives the same tables, bit for bit. [](methods) has the parameters as a "
        "table; here is the whole profile, as it was checked and completed with defaults:\n\n"
        f":::{{dropdown}} Every parameter of the run\n```yaml\n{text}```\n:::"
    )
