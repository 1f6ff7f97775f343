"""What differs between the set-ups of two runs: code, parameters, data, seeds, machine, time; and which tables agree.

Enters: two stored runs. Leaves: tidy tables of text, one row per thing that could differ, and whether it does.
"""

import filecmp
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ssrobust_lib.run_comparison.stored_run import StoredCell, StoredRun

COLUMNS = ("section", "what", "a", "b", "differs")
ABSENT = "not set"
UNKNOWN = "not stored"
_LONGEST = 90
#: Where the settings of a cell stand in a profile; others keep their name.
_PATHS = {
    "data": "data.{task}",
    "network": "networks.{task}",
    "pretext": "pretext.{task}.{init}",
    "finetune": "finetune.{task}",
    "arm": "arms.{init}",
}
_NOT_PARAMETERS = {"files", "changed_files"}  # of the images; they are compared as data


def set_up(a: StoredRun, b: StoredRun) -> pd.DataFrame:
    """Everything that could differ, in the order in which a reader asks.

    Returns
    -------
    DataFrame with `COLUMNS`: section ('code', 'parameters', 'data', 'machine and time'), what, text for A and for B
    ('not set' where a run has no such parameter, 'not stored' where its files do not say), bool differs.
    """
    rows: list[tuple[str, str, str, str]] = []
    for section, of_run in (("code", _code), ("parameters", parameters), ("data", _data), ("machine and time", _spent)):
        first, second = of_run(a), of_run(b)
        absent = UNKNOWN if section == "data" else ABSENT
        if section == "parameters":
            _fold(first, second)
        names = sorted({*first, *second}) if section == "parameters" else list(dict.fromkeys([*first, *second]))
        rows += [(section, name, first.get(name, absent), second.get(name, absent)) for name in names]
    table = pd.DataFrame(rows, columns=list(COLUMNS[:-1]))
    return table.assign(differs=table["a"] != table["b"])


def _code(run: StoredRun) -> dict[str, str]:
    found = {"commit": ", ".join(run.commits)}
    versions: dict[str, dict[str, None]] = {}
    for cell in run.cells:
        for name, version in cell.record.get("versions", {}).items():
            versions.setdefault(name, {})[str(version)] = None
    return found | {name: ", ".join(seen) for name, seen in versions.items()}


def parameters(run: StoredRun) -> dict[str, str]:
    """Parameters as a profile would name them, such as 'finetune.organs.epochs', from the settings of all cells."""
    seen: dict[str, dict[str, str]] = {}
    for cell in run.cells:
        of = {"task": cell.of.get("task", ""), "init": cell.of.get("init", "")}
        place = ", ".join(part for part in of.values() if part) or cell.step
        for name, value in cell.settings.items():
            if name in _NOT_PARAMETERS:
                continue
            path = _PATHS.get(name, name).format(**of)
            for leaf, text in _leaves(path, value):
                seen.setdefault(leaf, {})[place] = text
    seeds = {cell.of["seed"] for cell in run.of_step("03_finetune")}
    found = {"seeds": str(len(seeds))}
    for path, by_place in seen.items():
        if len(set(by_place.values())) == 1:
            found[path] = next(iter(by_place.values()))
        else:
            found |= {f"{path} ({place})": text for place, text in by_place.items()}
    return found


def _fold(first: dict[str, str], second: dict[str, str]) -> None:
    """Make one entry of a whole group ('manifests.rsna', 'phantoms.lits') that one run says nothing about, in place."""
    for one, other in ((first, second), (second, first)):
        groups: dict[str, list[str]] = {}
        for path in one:
            groups.setdefault(".".join(path.split(" ")[0].split(".")[:2]), []).append(path)
        for group, paths in groups.items():
            if len(paths) > 1 and not any(path == group or path.startswith(f"{group}.") for path in other):
                for path in paths:
                    del one[path]
                one[group] = f"{len(paths)} values"


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Every value below a path, as text."""
    if isinstance(value, dict) and value:
        for name, inside in value.items():
            yield from _leaves(f"{path}.{name}", inside)
    elif isinstance(value, list) and value and all(isinstance(part, dict) for part in value):
        for number, part in enumerate(value):
            named = part.get("name") or part.get("set") or number
            yield from _leaves(f"{path}.{named}", {k: v for k, v in part.items() if k != "name"})
    else:
        text = ", ".join(map(str, value)) if isinstance(value, list) else "empty" if value is None else str(value)
        if isinstance(value, dict) or not text:
            text = "empty"
        short = hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:8]
        yield path, text if len(text) <= _LONGEST else f"{text[: _LONGEST - 12]}... ({short})"


def _data(run: StoredRun) -> dict[str, str]:
    """Counts of every set and part, shares of positives, and digests of what was read."""
    found: dict[str, str] = {}
    for cell in run.of_step("01_data"):
        task, files = cell.of["task"], cell.settings.get("files", {})
        for name, identity in sorted(dict(files).items()):
            found[f"{task}, {name}: files (SHA-256)"] = str(identity)[:12]
        path = cell.folder / "samples.parquet"
        if not path.is_file():
            continue
        samples = pd.read_parquet(path)
        for (name, split), rows in samples.groupby(["set", "split"], sort=True, observed=True):
            found[f"{task}, {name}, {split}"] = _counts(rows)
        for name, rows in samples.groupby("set", sort=True, observed=True):
            found[f"{task}, {name}: images and their parts (SHA-256)"] = _digest(rows)
    return found


def _counts(rows: pd.DataFrame) -> str:
    text = f"{rows['sample_id'].nunique():,} images or scans of {rows['patient_id'].nunique():,} patients"
    if "label" not in rows or not rows["label"].isin([0, 1]).any() or not rows["label"].dropna().isin([0, 1]).all():
        return text
    return f"{text}, {100 * rows['label'].dropna().mean():.1f} % positive"


def _digest(rows: pd.DataFrame) -> str:
    """Of the images' names, parts and, where they are stored, contents."""
    columns = [name for name in ("sample_id", "split", "content_hash") if name in rows]
    lines = sorted({"\0".join(map(str, values)) for values in rows[columns].itertuples(index=False)})
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def _spent(run: StoredRun) -> dict[str, str]:
    machines: dict[str, dict[str, None]] = {}
    for cell in run.cells:
        described = {"machine": cell.record["machine"]} if "machine" in cell.record else {}
        for what, text in _leaves("hardware", cell.record.get("hardware", described)):
            machines.setdefault(what.removeprefix("hardware."), {})[text] = None
    found = {what: ", ".join(seen) for what, seen in machines.items()}
    found["statistics finished"] = str(run.statistics.record.get("finished", UNKNOWN))
    for step in sorted({cell.step for cell in run.cells}):
        seconds = [cell.record.get("seconds") for cell in run.of_step(step)]
        known = [float(value) for value in seconds if value is not None]
        found[f"{step}, processor"] = f"{sum(known):,.0f} s" if len(known) == len(seconds) else UNKNOWN
    peaks = [float(cell.record["peak_memory_bytes"]) for cell in run.cells if "peak_memory_bytes" in cell.record]
    found["most memory of a cell"] = f"{max(peaks) / 1e9:.2f} GB" if peaks else UNKNOWN
    return found


def equal_tables(a: StoredRun, b: StoredRun) -> pd.DataFrame:
    """Which tables of the two runs are the same, step by step.

    Returns
    -------
    DataFrame with step, tables (that both runs have), same (of these, bit for bit), only_a, only_b (tables that one run
    has alone). Runs are identical where `same` is `tables` and nothing stands alone, in every step.
    """
    tables = [_tables(run) for run in (a, b)]
    rows = []
    for step in sorted({step for of_run in tables for step, _, _ in of_run}):
        first, second = ({key: path for key, path in of_run.items() if key[0] == step} for of_run in tables)
        both = [key for key in first if key in second]
        same = sum(_same_table(first[key], second[key]) for key in both)
        rows.append((step, len(both), same, len(first) - len(both), len(second) - len(both)))
    return pd.DataFrame(rows, columns=["step", "tables", "same", "only_a", "only_b"])


def identical(alike: pd.DataFrame) -> bool:
    """Whether `equal_tables` found every table in both runs, and no difference."""
    return bool(((alike["tables"] == alike["same"]) & (alike["only_a"] == 0) & (alike["only_b"] == 0)).all())


def _tables(run: StoredRun) -> dict[tuple[str, str, str], Path]:
    """(step, cell, table) -> file."""
    return {(c.step, c.name, path.stem): path for c in run.cells for path in sorted(c.folder.glob("*.parquet"))}


def _same_table(first: Path, second: Path) -> bool:
    """Same columns, types and values; floating-point numbers by their bits, so that -0 is not 0."""
    if filecmp.cmp(first, second, shallow=False):
        return True
    one, other = pd.read_parquet(first), pd.read_parquet(second)
    if not one.columns.equals(other.columns) or len(one) != len(other):
        return False
    return all(_same_column(one[name], other[name]) for name in one)


def _same_column(one: pd.Series, other: pd.Series) -> bool:
    if one.dtype != other.dtype:
        return False
    if isinstance(one.dtype, np.dtype) and one.dtype.kind == "f":
        return one.to_numpy().tobytes() == other.to_numpy().tobytes()
    return one.equals(other)


def same_network(first: StoredCell, second: StoredCell) -> bool:
    """Whether two finished trainings gave the same network: the same key (code, settings, data), or equal weights."""
    if first.id == second.id:
        return True
    weights = [cell.folder / "model.safetensors" for cell in (first, second)]
    return all(path.is_file() for path in weights) and filecmp.cmp(weights[0], weights[1], shallow=False)
