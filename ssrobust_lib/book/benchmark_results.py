"""Results of the benchmarks: one file per run, and the latest of each for the book's appendix.

Enters: the rows that a benchmark measured. Leaves: ``runs/benchmarks/<name>-<UTC time>.json``, written whole or not at
all, and from these files the page `Benchmarks`. No section of the paper.

A file holds one `BenchmarkRun`: which benchmark, when, on which processor, with which versions, and its rows. A row
says what was measured (`name`), the figure (`measured`, a text), the `goal` (a text that starts with <= or >=; empty
where there is none) and whether it is `met`: true, false, or null where a figure has no goal or could not be measured.
Further fields of a row (peer, version, images_per_second, ...) stand below its name, and are columns of the CSV. Rows
with a field `power` (metric, size, difference, rates of two tests) are the points of the page's power curves.
"""

import html
import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ssrobust_lib import store
from ssrobust_lib.config import BENCHMARK_RESULTS, PROJECT
from ssrobust_lib.hardware import processor

ALWAYS = ("torch", "numpy")
"""Packages whose versions every run states; a benchmark adds those of its peers."""

VERDICTS: Mapping[bool | None, str] = {True: "met", False: "missed", None: "not judged"}
_TONES = {"met": "good", "missed": "bad", "not judged": "open"}


class Row(BaseModel):
    """One figure of a benchmark; further fields are kept."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    name: str = Field(min_length=1)
    measured: str
    goal: str = ""
    met: bool | None

    @property
    def verdict(self) -> str:
        return VERDICTS[self.met]


class BenchmarkRun(BaseModel):
    """One run of one benchmark, as its file holds it.

    Attributes
    ----------
    name : the benchmark, with the chosen cases as they are given to `python -m benchmarks` ('study:smoke').
    started : UTC, ISO 8601 ('2026-11-23T08:15:12Z').
    seconds : wall time.
    commit : of this project; 'unknown' outside a git checkout.
    machine : system, processor, cores, threads, and gpu where there is one.
    versions : package -> version, or 'not installed'.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    name: str = Field(pattern=r"^[a-z0-9_]+(:[a-z0-9_-]+)*$")
    started: str = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
    seconds: float = Field(ge=0)
    commit: str
    machine: dict[str, str | int]
    versions: dict[str, str]
    rows: tuple[Row, ...]


def results_folder() -> Path:
    """Where results are kept: ``runs/benchmarks`` of the project."""
    return PROJECT / "runs" / BENCHMARK_RESULTS


def keep_results(
    name: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    started: float,
    seconds: float,
    packages: Sequence[str] = (),
    threads: int | None = None,
    folder: Path | None = None,
) -> Path:
    """Write the rows of one run, with what they were measured on.

    Parameters
    ----------
    name : the benchmark and its chosen cases ('corruptions', 'study:smoke').
    rows : name, measured, goal, met, and what a benchmark adds.
    started : seconds since 1970.
    seconds : wall time of the run.
    packages : distributions whose versions matter beside `ALWAYS`, such as the peers'.
    threads : on which the benchmark ran, where it sets them itself; torch's if None.
    folder : `results_folder` if None.

    Returns
    -------
    the file; a run that started in the same second as another takes the next free number.

    Raises
    ------
    ValueError
        A row that lacks a field or has one of another type.
    """
    try:
        run = BenchmarkRun(
            name=name,
            started=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
            seconds=round(seconds, 1),
            commit=store.provenance()["commit"],
            machine=machine(threads),
            versions={package: store.installed(package) for package in dict.fromkeys((*ALWAYS, *packages))},
            rows=tuple(Row(**{key: _native(value) for key, value in row.items()}) for row in rows),
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the run"
        raise ValueError(
            f"benchmark {name}: {where}: {first['msg']}, got {first['input']!r}; rows are made of name, measured and "
            "goal (texts) and met (true, false or None)"
        ) from error
    folder = folder or results_folder()
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{name.replace(':', '.')}-{run.started.replace('-', '').replace(':', '')}"
    path, turn = folder / f"{stem}.json", 1
    while path.exists():
        turn += 1
        path = folder / f"{stem}-{turn}.json"
    store.write_json(path, run.model_dump(mode="json"))
    return path


def _native(value: Any) -> Any:
    """A number of NumPy or torch as Python's own."""
    return value.item() if hasattr(value, "item") else value


def machine(threads: int | None = None) -> dict[str, str | int]:
    """System, processor, cores, threads and GPU that a benchmark ran on."""
    import torch

    about: dict[str, str | int] = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": os.cpu_count() or 1,
        "threads": threads or torch.get_num_threads(),
    }
    if torch.cuda.is_available():
        about["gpu"] = torch.cuda.get_device_name()
    return about


def latest_results(folder: Path | None = None) -> tuple[list[BenchmarkRun], list[str]]:
    """Read the latest run of each benchmark, by name; and say which files are no results.

    Returns
    -------
    runs, in the order of their names; one sentence for each file that cannot be read or has another form.
    """
    latest: dict[str, tuple[tuple[str, str], BenchmarkRun]] = {}
    faults = []
    for path in sorted((folder or results_folder()).glob("*.json")):
        try:
            run = BenchmarkRun.model_validate_json(path.read_bytes())
        except ValidationError as error:
            first = error.errors()[0]
            faults.append(f"{path.name}: {'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}")
            continue
        age = (run.started, path.name)
        if run.name not in latest or latest[run.name][0] < age:
            latest[run.name] = (age, run)
    return [latest[name][1] for name in sorted(latest)], faults


def results_text(folder: Path | None = None) -> str:
    """Write the body of the book's page of benchmarks: what was missed first, then a table for each benchmark."""
    runs, faults = latest_results(folder)
    parts = [_summary(runs)] if runs else [_NONE]
    parts += [_section(run) for run in runs]
    if faults:
        listed = "\n".join(f"- {_plain(fault)}" for fault in faults)
        parts.append(f"## Files that could not be read\n\n{listed}")
    return "\n\n".join(parts) + "\n"


_NONE = (
    "**No results lay in `runs/benchmarks` when this book was made.** `make bench` measures them and keeps what it "
    "finds there; the next `make book` shows it."
)


def _summary(runs: Sequence[BenchmarkRun]) -> str:
    rows = [(run, row) for run in runs for row in run.rows]
    judged = [(run, row) for run, row in rows if row.met is not None]
    missed = [(run, row) for run, row in judged if not row.met]
    beside = (
        f" {len(rows) - len(judged)} further figures have no goal or could not be measured." if judged != rows else ""
    )
    if not missed:
        return f"**{'The only goal was' if len(judged) == 1 else f'All {len(judged)} goals were'} met.**{beside}"
    listed = "\n".join(
        f"- {run.name}: {_plain(row.name)}: {_plain(row.measured)}, goal {_plain(row.goal)}" for run, row in missed
    )
    return f"**{len(missed)} of {len(judged)} goals were missed:**{beside}\n\n{listed}"


def _section(run: BenchmarkRun) -> str:
    """A benchmark: its verdict first, then its figures, and last when, on what and with which versions."""
    judged = [row for row in run.rows if row.met is not None]
    met = sum(bool(row.met) for row in judged)
    verdict = f"{met} of {len(judged)} goals met." if judged else "None of its figures has a goal."
    parts = [f"## {run.name.replace(':', ', ')}", f"**{verdict}**", _power_curves(run), _table(run), _about(run)]
    return "\n\n".join(part for part in parts if part)


def _power_curves(run: BenchmarkRun) -> str:
    """The rows of power as a figure; empty where a run has none."""
    from ssrobust_lib import figures as fig

    points = pd.DataFrame(
        [(row.model_extra or {}).get("power") for row in run.rows if "power" in (row.model_extra or {})]
    )
    if points.empty:
        return ""
    drawn = fig.power_curves(points, dataset=f"simulated studies, {run.started[:10]}", title="Power of the tests")
    return f"```{{raw}} html\n{drawn.html()}\n```"


def _about(run: BenchmarkRun) -> str:
    """When, on what, with which versions."""
    where = run.machine
    processor = _plain(str(where["processor"]))
    gpu = f", {where['gpu']}" if "gpu" in where else ""
    versions = ", ".join(f"{name} {number}" for name, number in run.versions.items())
    threads = f"{where['threads']} thread{'' if where['threads'] == 1 else 's'}"
    known = "" if run.commit == "unknown" else f" Commit `{run.commit}`."
    return (
        f"Run on {run.started[:10]} at {run.started[11:16]} UTC in {run.seconds:.0f} s, on {processor} "
        f"({where['cores']} cores, {threads}{gpu}).{known} Versions: {_plain(versions)}."
    )


def _table(run: BenchmarkRun) -> str:
    """Four columns, which fit beside the navigation: what was missed first, further fields in small print."""
    from ssrobust_lib import figures as fig
    from ssrobust_lib.figures.tables import Markup, object_frame, small

    order = sorted(run.rows, key=lambda row: [False, None, True].index(row.met))
    rows = [
        {
            "verdict": row.verdict,
            "what": Markup(html.escape(row.name) + small(_further(row))),
            "measured": row.measured,
            "goal": row.goal or "–",
        }
        for row in order
    ]
    table = fig.html_table(
        object_frame(rows, ["verdict", "what", "measured", "goal"]),
        f"Benchmark {run.name}",
        tones={"verdict": _TONES},
        stacked=True,
        data=pd.json_normalize([row.model_dump() for row in run.rows]),
    )
    return f"```{{raw}} html\n{table.html}\n```"


def _further(row: Row) -> str:
    """The fields that a benchmark added to a row, in words: 'spread 40.1 to 74.3, turns 9'."""
    fields = {
        name: value
        for name, value in (row.model_extra or {}).items()
        if value not in (None, "") and not isinstance(value, dict)
    }
    texts = {name: f"{value:,.4g}" if isinstance(value, float) else str(value) for name, value in fields.items()}
    return ", ".join(f"{name.replace('_', ' ')} {text}" for name, text in texts.items() if text not in row.name)


def _plain(text: str) -> str:
    """Text that Markdown takes as it is."""
    return "".join("\\" + letter if letter in r"\`*_{}[]()#+!|$~" else letter for letter in html.escape(text))
