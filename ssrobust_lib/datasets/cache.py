"""Every image decoded and preprocessed once, for all studies: what training and evaluation read instead of files.

In: the samples table, where the sets lie, and the preprocessing. Out: decoded images in the folder that all runs share
(``runs/cache/<set>-<key>``, see `image_store`), and for one study a folder that says which of them it uses:

- `rows.parquet`: one row per image: sample_id, patient_id, set, split (if given), label, has_label, slice,
  labelled_voxels, content_hash and the metadata,
- `scans.parquet` (CT): one row per scan: its first row and number of slices, and its `Grid`,
- `stored.parquet`: one row per sample: its content key and where its images lie,
- `problems.parquet`: sample_id, path, reason of what was left out,
- `files.json`: every file that was decoded, with the SHA-256 of its content (see `changed_files`),
- `cache.json`: how it was made, and from which shared folders.

A study's folder is complete once `cache.json` is there; making it appear all at once is the caller's part (write aside,
then rename). The shared folders may be deleted at any time: `restore_cache` decodes again what is missing, as long as
the sets' own files are the same.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from ssrobust_lib.datasets.changed_files import record_files
from ssrobust_lib.datasets.decoding import Settings
from ssrobust_lib.datasets.image_store import CacheError, ImageStore, Told, open_store
from ssrobust_lib.datasets.loader import PROBLEM_COLUMNS, Source
from ssrobust_lib.datasets.study_cache import (
    PLACES,
    Cache,
    MissingImagesError,
    grid_of,
    open_cache,
    restore_cache,
    write_cache,
)
from ssrobust_lib.preprocessing import CTSettings
from ssrobust_lib.registry import unknown_name

if TYPE_CHECKING:
    from ssrobust_lib.datasets.manifest import Manifest

__all__ = [
    "Cache",
    "CacheError",
    "MissingImagesError",
    "build_cache",
    "grid_of",
    "open_cache",
    "prepare_set",
    "problems_of",
    "restore_cache",
]

POLICIES = ("report", "stop")
UNREADABLE = "unreadable.csv"
_SHOWN = 10  # unreadable images that an error names


def build_cache(
    samples: pd.DataFrame,
    folder: Path,
    sources: Mapping[str, Source],
    settings: Settings,
    *,
    shared: Path,
    with_labels: pd.Series | None = None,
    workers: int = 1,
    on_unreadable: Literal["report", "stop"] = "report",
    lacking: pd.DataFrame | None = None,
    progress: bool | Told = True,
) -> pd.DataFrame:
    """Choose a study's images, and decode those that no study has asked for before.

    Parameters
    ----------
    samples : samples table, all X-rays or all CT; images are stored in its order, a scan's slices from inferior to
        superior
    folder : made if missing, else empty
    sources : set -> where it lies, and the structures of its labels
    settings : `XRaySettings` or `CTSettings`
    shared : the folder of all decoded images
    with_labels : bool, index of `samples`: whether a sample has a label map on disk, where `has_label` hides some from
        the study; `has_label` if None
    workers : processes that decode; the result does not depend on their number
    on_unreadable : leave unreadable samples out and report them, or stop once all are known
    lacking : sample_id, path, reason of what the sets speak of and do not hold; it stops a run as unreadable ones do
    progress : show a bar, or tell a function how many samples are done and of how many

    Returns
    -------
    problems : sample_id, path, reason of every sample that was left out

    Raises
    ------
    CacheError
        If no sample can be read, some cannot and `on_unreadable` is stop, or the folder is in use.
    """
    if on_unreadable not in POLICIES:
        raise unknown_name("way with unreadable images", on_unreadable, list(POLICIES))
    _check_samples(samples, sources)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise CacheError(f"{folder} is not empty: a cache is made in a folder of its own")
    offered = samples if with_labels is None else samples.assign(has_label=with_labels)
    begun = time.time_ns()
    stores: dict[Source, ImageStore] = {}
    contents: dict[int, str] = {}
    reasons: dict[int, str] = {}
    of_sample = samples["set"].map(dict(sources)).tolist()
    by_source: dict[Source, list[int]] = {}
    for position, source in enumerate(of_sample):
        by_source.setdefault(source, []).append(position)
    with _telling(progress, len(samples), settings) as told:
        done = 0
        for source, positions in by_source.items():
            stores[source] = open_store(shared, source, settings)
            part = offered if len(by_source) == 1 else offered.iloc[positions]
            tell = partial(_tell_after, told, done, len(samples))
            found, problems = stores[source].ensure(part, source, settings, workers=workers, told=tell)
            contents |= {positions[k]: content for k, content in enumerate(found) if content is not None}
            reasons |= {positions[k]: reason for k, reason in problems.items()}
            done += len(positions)
    folders = list(stores)
    stored, about = _stored(samples, contents, reasons, [folders.index(source) for source in of_sample], stores)
    report = _report(samples, reasons)
    if on_unreadable == "stop":
        absent = report.head(0) if lacking is None else lacking
        _stop_if_any(pd.concat([absent, report], ignore_index=True), len(samples) + len(absent))
    record_files(folder, _files_of(contents, of_sample, stores), begun)
    write_cache(folder, samples, offered, stored, about, report, settings, sources, stores, Path(shared))
    return report


def _files_of(
    contents: Mapping[int, str], of_sample: Sequence[Source], stores: Mapping[Source, ImageStore]
) -> Iterator[tuple[str, Path, str, str]]:
    """Set, its folder, path below it and SHA-256 of every file that was decoded."""
    for position in sorted(contents):
        source = of_sample[position]
        for name, digest in stores[source].entry(contents[position])["files"]:
            yield source.name or source.loader, Path(source.root), name, digest


def _tell_after(told: Told, before: int, total: int, done: int, _: int) -> None:
    told(before + done, total)


def _check_samples(samples: pd.DataFrame, sources: Mapping[str, Source]) -> None:
    if samples.empty:
        raise CacheError("there are no samples to decode")
    without = sorted(set(samples["set"]) - set(sources))
    if without:
        raise CacheError(f"no source for the sets {', '.join(without)}; there are sources for {', '.join(sources)}")
    repeated = samples.loc[samples["sample_id"].duplicated(), "sample_id"]
    if len(repeated):
        raise CacheError(f"the sample {repeated.iloc[0]} stands in the table twice; sample_id must be unique")


@contextmanager
def _telling(progress: bool | Told, total: int, settings: Settings) -> Iterator[Told]:
    """A function that takes (done, total): the caller's, one that moves a bar, or one that does nothing."""
    if not isinstance(progress, bool):
        yield progress
        return
    from tqdm.auto import tqdm

    unit = "scan" if isinstance(settings, CTSettings) else "image"
    with tqdm(total=total, desc="decode", unit=unit, disable=not progress) as bar:

        def move(done: int, total: int) -> None:
            bar.update(done - bar.n)

        yield move


def _stored(
    samples: pd.DataFrame,
    contents: Mapping[int, str],
    reasons: dict[int, str],
    file: list[int],
    stores: Mapping[Source, ImageStore],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Where the images of every readable sample lie, and what else was found in it; both with its position as index.

    A sample whose label the study needs and cannot have joins `reasons`.
    """
    opened = list(stores.values())
    labelled = samples["has_label"].to_numpy(bool)
    places: list[tuple[Any, ...]] = []
    found: list[tuple[Any, ...]] = []
    index: list[int] = []
    for position in sorted(contents):
        entry = opened[file[position]].entry(contents[position])
        if labelled[position] and "label_problem" in entry:
            reasons[position] = entry["label_problem"]
            continue
        truth = entry.get("scan_labels") if labelled[position] else None
        cells = (truth["first"], truth["n"], json.dumps(truth["outside"])) if truth else (0, 0, "{}")
        index.append(position)
        places.append((contents[position], file[position], entry["first"], entry["n"], truth is not None, *cells))
        counts = entry.get("labelled") if labelled[position] else None
        found.append((entry["content_hash"], counts, entry.get("metadata"), entry.get("grid")))
    stored = pd.DataFrame(places, columns=list(PLACES), index=index).astype(PLACES)
    about = pd.DataFrame(found, columns=["content_hash", "labelled", "metadata", "grid"], index=index)
    return stored, about


def _problems(samples: pd.DataFrame, reasons: Mapping[int, str]) -> pd.DataFrame:
    """Table of unreadable samples, in their order: sample_id, path, reason."""
    positions = sorted(reasons)
    chosen = samples[["sample_id", "image"]].iloc[positions].rename(columns={"image": "path"})
    chosen["reason"] = [reasons[position] for position in positions]
    return chosen.reset_index(drop=True)[list(PROBLEM_COLUMNS)]


def _report(samples: pd.DataFrame, reasons: Mapping[int, str]) -> pd.DataFrame:
    """Table of what is left out; raises where that is everything."""
    report = _problems(samples, reasons)
    if len(report) == len(samples):
        raise CacheError(f"none of {len(samples)} images could be read ({_first_of(report)}): is the set complete?")
    return report


def _stop_if_any(report: pd.DataFrame, n: int) -> None:
    """Raise `CacheError` if any of `n` images is missing or cannot be read."""
    if len(report):
        more = f"; and {len(report) - _SHOWN} more" if len(report) > _SHOWN else ""
        raise CacheError(
            f"{len(report)} of {n} images are missing or cannot be read, and on_unreadable is stop: "
            f"{_first_of(report)}{more}. Mend or remove them, or set on_unreadable to report to go on without them; "
            "what could be read is kept"
        )


def _first_of(report: pd.DataFrame) -> str:
    return "; ".join(f"{row.sample_id} ({row.path}): {row.reason}" for row in report.head(_SHOWN).itertuples())


def prepare_set(
    manifest: "Manifest",
    root: Path,
    settings: Settings,
    *,
    workers: int = 1,
    progress: bool | Told = True,
    shared: Path | None = None,
) -> Path:
    """Decode a whole set under one preprocessing, before any study asks for it.

    Parameters
    ----------
    manifest : of the set
    root : folder of the set (see `manifest.locate`)
    settings : those of the profiles that will use it: `XRaySettings` or `CTSettings`
    workers : processes that decode
    progress : show a bar, or tell a function how many samples are done and of how many
    shared : the folder of all decoded images; ``runs/cache`` of the project if None

    Returns
    -------
    the set's folder of decoded images; `problems_of` reads what could not be decoded

    Raises
    ------
    LayoutError, CacheError
        If the set is laid out otherwise, or the preprocessing is not for its kind of images.
    """
    from ssrobust_lib.config import PROJECT
    from ssrobust_lib.datasets import index_samples, structures_of

    samples, _ = index_samples(manifest, root)
    source = Source(manifest.loader, Path(root), structures_of(manifest, root), manifest.name)
    images = open_store(shared or PROJECT / "runs" / "cache", source, settings)
    with _telling(progress, len(samples), settings) as told:
        contents, reasons = images.ensure(samples, source, settings, workers=workers, told=told)
    for position, content in enumerate(contents):
        problem = images.entry(content).get("label_problem") if content is not None else None
        if problem and samples["has_label"].iloc[position]:
            reasons[position] = problem
    _problems(samples, reasons).to_csv(images.folder / UNREADABLE, index=False)
    return images.folder


def problems_of(folder: Path) -> pd.DataFrame:
    """What the last `prepare_set` could not decode: sample_id, path, reason."""
    path = Path(folder) / UNREADABLE
    return pd.read_csv(path, dtype=str) if path.is_file() else pd.DataFrame(columns=list(PROBLEM_COLUMNS))
