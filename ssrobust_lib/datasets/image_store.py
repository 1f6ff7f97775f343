"""Decoded images of one set under one preprocessing, shared by every study that asks for the same.

In: samples, where their set lies, the preprocessing. Out: a folder ``<set>-<key>`` whose key is made of loader,
structures, preprocessing and the code that decodes; in it the arrays and the journal of `image_files`. A sample is
found again by its files (`identity`): what is there is used, what is new or changed is decoded, and nothing else. A
killed build keeps what it had decoded. A second process that asks for the same set waits, then finds it there; the
system frees the lock when a process dies.
"""

import json
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ssrobust_lib import store
from ssrobust_lib.datasets import image_files
from ssrobust_lib.datasets.decoding import DecodedSample, Settings, decode_sample
from ssrobust_lib.datasets.identity import Stamp, content_key, stamp, unchanged
from ssrobust_lib.datasets.loader import LOADERS, Source, UnreadableImageError
from ssrobust_lib.datasets.parallel import ordered_map
from ssrobust_lib.fingerprint import code_key, settings_key
from ssrobust_lib.preprocessing import CTSettings, XRaySettings
from ssrobust_lib.registry import unknown_name

FORMAT = 1
ABOUT = "set.json"
XRAYS_PER_TASK = 16  # one by one, waiting for the next task would cost as much as decoding
CHECKPOINT_SECONDS = 5.0  # a killed build loses what it decoded since the last one

Told = Callable[[int, int], object]  # (done, total)


class CacheError(store.StoreError):
    """A cache that cannot be made or opened; the message says what is wrong and what to do."""


@dataclass(frozen=True)
class _Task:
    """Samples for one worker; `known` holds the content keys that the folder has under the same facts."""

    rows: list[dict[str, Any]]
    stamps: list[Stamp]
    known: list[list[str]]
    source: Source
    settings: Settings
    folder: Path


@dataclass(frozen=True)
class _Outcome:
    """What became of one sample: a line for the journal, or the reason why there is none."""

    line: dict[str, Any] | None
    reason: str = ""


class ImageStore:
    """The folder of one set's decoded images; open it with `open_store`.

    Attributes
    ----------
    folder : where it lies
    about : set.json: id, set, loader, structures, kind, settings
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        try:
            self.about: dict[str, Any] = store.read_json(self.folder / ABOUT)
        except (OSError, ValueError) as error:
            raise CacheError(f"{self.folder} holds no decoded images ({error}): prepare the set again") from error
        if self.about.get("format") != FORMAT:
            raise CacheError(
                f"{self.folder} has format {self.about.get('format')}, expected {FORMAT}: delete it and prepare again"
            )
        self._lines: dict[str, str] = {}  # content key -> line of the journal
        self._stamps: dict[str, str] = {}  # stamp -> content key
        self._by_facts: dict[str, list[str]] = {}  # facts -> content keys
        self._read = 0

    @property
    def side(self) -> int:
        """Side of an image in pixels."""
        return int(self.about["settings"]["size"])

    def refresh(self) -> None:
        """Read what has been added to the journal since the last time."""
        lines, self._read = image_files.read_lines(self.folder, self._read)
        for line in lines:
            self._note(json.loads(line), line)

    def _note(self, entry: dict[str, Any], line: str) -> None:
        if "first" in entry:
            if entry["content"] not in self._lines:
                self._by_facts.setdefault(entry["facts"], []).append(entry["content"])
            self._lines[entry["content"]] = line
        if entry.get("stamp"):
            self._stamps[entry["stamp"]] = entry["content"]

    def entry(self, content: str) -> dict[str, Any]:
        """What the journal says of a content key; raises `KeyError` for one that it does not have."""
        return json.loads(self._lines[content])

    def __contains__(self, content: str) -> bool:
        return content in self._lines

    def __len__(self) -> int:
        return len(self._lines)

    def ensure(
        self, samples: pd.DataFrame, source: Source, settings: Settings, *, workers: int = 1, told: Told | None = None
    ) -> tuple[list[str | None], dict[int, str]]:
        """Decode what is not here yet.

        Parameters
        ----------
        samples : rows as the set's loader lists them
        source, settings : those that the folder was made for
        workers : processes that decode
        told : is called with the number of samples done and of all

        Returns
        -------
        contents : content key of every row, None where it cannot be read
        problems : position -> reason
        """
        told = told or (lambda done, total: None)
        label_map = LOADERS[source.loader].label_map(Path(source.root)) if source.structures else {}
        self.refresh()
        found = _Search(self, samples, source, label_map)
        told(found.done, len(samples))
        if found.missing:
            with store.exclusive(self.folder):
                self.refresh()  # another process may have decoded the same meanwhile
                found.look_again()
                self._decode(found, source, settings, workers, told)
        return found.contents, found.problems

    def _decode(self, found: "_Search", source: Source, settings: Settings, workers: int, told: Told) -> None:
        size = 1 if isinstance(settings, CTSettings) else XRAYS_PER_TASK
        missing = found.missing
        chunks = [missing[start : start + size] for start in range(0, len(missing), size)]
        tasks = (self._task(found, chunk, source, settings) for chunk in chunks)
        waiting: list[dict[str, Any]] = []
        saved = time.monotonic()
        try:
            for chunk, outcomes in zip(chunks, ordered_map(_decode_task, tasks, workers), strict=True):
                for name, outcome in zip(chunk, outcomes, strict=True):
                    found.settle(name, None if outcome.line is None else outcome.line["content"], outcome.reason)
                lines = [outcome.line for outcome in outcomes if outcome.line is not None]
                waiting += [line for line in lines if "first" in line or line["stamp"]]
                if time.monotonic() - saved > CHECKPOINT_SECONDS:
                    self._save(waiting)
                    waiting, saved = [], time.monotonic()
                told(found.done, len(found.contents))
        finally:
            self._save(waiting)

    def _task(self, found: "_Search", names: Sequence[str], source: Source, settings: Settings) -> _Task:
        stamps = [found.stamps[name] for name in names]
        known = [self._by_facts.get(seen.facts, []) for seen in stamps]
        return _Task(found.rows(names), stamps, known, source, settings, self.folder)

    def _save(self, lines: list[dict[str, Any]]) -> None:
        if lines:
            image_files.settle(self.folder, self.side)
            image_files.add_lines(self.folder, lines)
            self.refresh()


class _Search:
    """Which samples a store has, by the stamps of their files; rows of the same files are looked up once."""

    def __init__(self, images: ImageStore, samples: pd.DataFrame, source: Source, label_map: dict[str, int]) -> None:
        self._images, self._samples = images, samples
        self.contents: list[str | None] = [None] * len(samples)
        self.problems: dict[int, str] = {}
        self.stamps: dict[str, Stamp] = {}  # of what is missing
        self._places: dict[str, list[int]] = {}  # stamp -> positions that wait for it
        self.done = 0
        for position, row in enumerate(_records(samples)):
            try:
                seen = stamp(row, source, label_map)
            except OSError as error:
                name = Path(error.filename).name if error.filename else row["image"]
                self.problems[position] = f"{name}: {error.strerror or error}"
                self.done += 1
                continue
            content = images._stamps.get(seen.name)
            if content is not None and content in images:
                self.contents[position] = content
                self.done += 1
                continue
            self.stamps.setdefault(seen.name, seen)
            self._places.setdefault(seen.name, []).append(position)

    @property
    def missing(self) -> list[str]:
        """Stamps of what is to be decoded, in the samples' order."""
        return list(self._places)

    def rows(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """One row of each stamp: those that share one differ in who they are, not in what they show."""
        return self._samples.iloc[[self._places[name][0] for name in names]].to_dict("records")  # type: ignore[return-value]

    def look_again(self) -> None:
        for name in self.missing:
            content = self._images._stamps.get(name)
            if content is not None and content in self._images:
                self.settle(name, content)

    def settle(self, name: str, content: str | None, reason: str = "") -> None:
        """Say what became of all rows that wait for a stamp."""
        for position in self._places.pop(name):
            self.done += 1
            if content is None:
                self.problems[position] = reason
            else:
                self.contents[position] = content


def _records(table: pd.DataFrame, size: int = 1024) -> Iterator[dict[str, Any]]:
    """Rows as dictionaries, a block at a time: all at once they would take more room than the table."""
    for start in range(0, len(table), size):
        yield from table.iloc[start : start + size].to_dict("records")  # type: ignore[misc]


def open_store(root: Path, source: Source, settings: Settings) -> ImageStore:
    """Open the folder of a set under a preprocessing below `root`, or make it, empty."""
    loader = LOADERS[source.loader]
    if (loader.kind == "ct") != isinstance(settings, CTSettings):
        raise CacheError(f"the loader {source.loader} reads {loader.kind} images, the settings are for others")
    name = source.name or source.loader
    about = {
        "format": FORMAT,
        "set": name,
        "loader": source.loader,
        "structures": list(source.structures),
        "kind": loader.kind,
        "settings": asdict(settings),
        "code": decoding_code(source.loader),
    }
    folder = Path(root) / f"{name}-{settings_key(about)[:12]}"
    if not (folder / ABOUT).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with store.exclusive(folder):
            if not (folder / ABOUT).is_file():
                image_files.create_files(folder, settings.size, with_labels=bool(source.structures))
                store.write_json(folder / ABOUT, {**about, "id": uuid.uuid4().hex})
    return ImageStore(folder)


def decoding_code(loader: str) -> str:
    """Fingerprint of the code that turns a set's files into stored arrays."""
    module = type(LOADERS[loader]).__module__
    package = __name__.split(".")[0] + "."
    own = code_key(module.removeprefix(package)) if module.startswith(package) else _source_of(module)
    return settings_key([own, code_key("datasets.decoding")])


def _source_of(module: str) -> str:
    """A loader from outside the library counts with its whole file."""
    file = getattr(sys.modules[module], "__file__", None)
    return Path(file).read_text(encoding="utf-8") if file else module


def settings_of(kind: str, values: Mapping[str, Any]) -> Settings:
    """The preprocessing as a JSON file holds it."""
    if kind not in ("xray", "ct"):
        raise unknown_name("kind of images", kind, ["xray", "ct"])
    return CTSettings(**values) if kind == "ct" else XRaySettings(**values)


# ---- in a worker ---------------------------------------------------------------------------------------------------


def _decode_task(task: _Task) -> list[_Outcome]:
    """Decode some samples and write their arrays; whatever goes wrong with one becomes its reason."""
    outcomes: list[_Outcome] = []
    decoded: list[tuple[int, dict[str, Any], DecodedSample]] = []
    for position, (row, seen, known) in enumerate(zip(task.rows, task.stamps, task.known, strict=True)):
        line: dict[str, Any] = {"stamp": seen.name if seen.settled else None, "facts": seen.facts}
        outcomes.append(_Outcome(line))
        try:
            line["content"], files = content_key(seen, task.source.root)
            if line["content"] in known:  # touched, copied or moved, but the same
                continue
            line["files"] = files
            sample = decode_sample(row, task.source, task.settings)
            if not unchanged(seen, task.source.root):
                raise UnreadableImageError("a file changed while it was read: prepare the set again when it is whole")
        except UnreadableImageError as error:
            outcomes[-1] = _Outcome(None, str(error))
        except OSError as error:
            name = Path(error.filename).name if error.filename else row["image"]
            outcomes[-1] = _Outcome(None, f"{name}: cannot be read ({error.strerror or error})")
        except Exception as error:  # one bad file must not end a run over thousands
            outcomes[-1] = _Outcome(None, f"{type(error).__name__}: {error}")
        else:
            decoded.append((position, line, sample))
    _write(task, decoded)
    return outcomes


def _write(task: _Task, decoded: list[tuple[int, dict[str, Any], DecodedSample]]) -> None:
    """Write the arrays of one task to places of their own, and complete the lines with where they lie."""
    n_images = sum(len(sample.images) for _, _, sample in decoded)
    n_cells = sum(len(sample.scan_labels.cells) for _, _, sample in decoded if sample.scan_labels is not None)
    if not n_images:
        return
    first, first_cell = image_files.take_places(task.folder, n_images, n_cells)
    side = task.settings.size
    for _, line, sample in decoded:
        image_files.write_at(task.folder / image_files.IMAGES, first, sample.images, side)
        line |= {"first": first, "n": len(sample.images), "content_hash": sample.content_hash}
        if any(sample.labelled):
            line["labelled"] = list(sample.labelled)
        if sample.metadata:
            line["metadata"] = {k: v.item() if isinstance(v, np.generic) else v for k, v in sample.metadata.items()}
        if sample.grid is not None:
            line["grid"] = asdict(sample.grid)
        if sample.label_problem:
            line["label_problem"] = sample.label_problem
        if sample.masks is None and task.source.structures:  # a hole, so that the file reaches as far as the images
            last, blank = first + len(sample.images) - 1, np.zeros((1, side, side), np.uint8)
            image_files.write_at(task.folder / image_files.MASKS, last, blank, side)
        if sample.masks is not None and sample.scan_labels is not None:
            cells = sample.scan_labels.cells
            image_files.write_at(task.folder / image_files.MASKS, first, sample.masks, side)
            image_files.write_at(task.folder / image_files.SCAN_LABELS, first_cell, cells, side)
            outside = {str(label): voxels for label, voxels in sample.scan_labels.outside.items()}
            line["scan_labels"] = {"first": first_cell, "n": len(cells), "outside": outside}
            first_cell += len(cells)
        first += len(sample.images)
