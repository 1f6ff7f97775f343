"""One study's choice among the decoded images: what it writes, and what training and evaluation open.

In: samples, where their images lie in the shared folders, and what else was found in them. Out: a folder (its files
are listed in `cache`), and an opened `Cache`.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ssrobust_lib.datasets.decoding import Settings
from ssrobust_lib.datasets.image_files import IMAGES, MASKS, SCAN_LABELS, map_file
from ssrobust_lib.datasets.image_store import CacheError, ImageStore, open_store, settings_of
from ssrobust_lib.datasets.loader import Source
from ssrobust_lib.datasets.stored_images import NOWHERE, StoredImages
from ssrobust_lib.preprocessing import CTSettings, Grid
from ssrobust_lib.scan_voxels import ScanLabels

FORMAT = 2
# columns of `stored.parquet` beside those of the samples
PLACES = {
    "content_key": "str",
    "store": "int8",
    "first_image": "int64",
    "n_images": "int32",
    "masked": "bool",
    "first_cell": "int64",
    "n_cells": "int64",
    "outside": "str",
}


class MissingImagesError(CacheError):
    """The shared folder no longer holds the images of a study: `restore_cache` decodes them again."""


@dataclass(frozen=True)
class Cache:
    """An opened cache; arrays are read from disk as they are used.

    Attributes
    ----------
    images : float16 (N, size, size) in [0, 1], memory-mapped
    masks : uint8 (N, size, size), memory-mapped, k for the k-th structure of the image's set, 0 where a scan has no
        label or the study does not look at it; None where no scan has one
    rows : one row per image, in the order of `images`
    scans : one row per CT scan (see `grid_of`), or None for X-rays
    problems : sample_id, path, reason of what was left out
    settings : the preprocessing
    structures : set -> names of its label values 1..K
    stored : one row per sample: its content key, and where its images and labelled voxels lie
    folders : the shared folders that `stored` speaks of
    """

    images: StoredImages
    masks: StoredImages | None
    rows: pd.DataFrame
    scans: pd.DataFrame | None
    problems: pd.DataFrame
    settings: Settings
    structures: dict[str, tuple[str, ...]]
    stored: pd.DataFrame
    folders: tuple[Path, ...]

    def scan_truth(self, sample_id: str) -> tuple[ScanLabels, Grid] | None:
        """Labelled voxels of one scan at its own resolution, and its grid; None for one whose label is not used."""
        row = self.stored.loc[self.stored["sample_id"] == sample_id]
        if row.empty or not row["masked"].iloc[0]:
            return None
        at = row.iloc[0]
        cells, _ = map_file(self.folders[int(at["store"])] / SCAN_LABELS, self.settings.size)
        outside = {int(label): int(n) for label, n in json.loads(at["outside"]).items()}
        chosen = np.array(cells[int(at["first_cell"]) : int(at["first_cell"]) + int(at["n_cells"])])
        return ScanLabels(chosen, outside), grid_of(self, sample_id)


def write_cache(
    folder: Path,
    samples: pd.DataFrame,
    offered: pd.DataFrame,
    stored: pd.DataFrame,
    about: pd.DataFrame,
    report: pd.DataFrame,
    settings: Settings,
    sources: Mapping[str, Source],
    stores: Mapping[Source, ImageStore],
    shared: Path,
) -> None:
    """Write a study's folder; `cache.json` comes last."""
    _rows(samples.iloc[stored.index], stored, about).to_parquet(folder / "rows.parquet", index=False)
    is_ct = isinstance(settings, CTSettings)
    if is_ct:
        names = samples["sample_id"].iloc[stored.index].tolist()
        first = np.cumsum(stored["n_images"]) - stored["n_images"]
        places = zip(names, first, stored["n_images"], about["grid"], strict=True)
        scans = [{"sample_id": name, "first_row": at, "n_slices": n} | grid for name, at, n, grid in places]
        pd.DataFrame(scans).to_parquet(folder / "scans.parquet", index=False)
    # the samples as their loaders list them: with these, and the same files, they can be decoded once more
    kept = offered.iloc[stored.index].reset_index(drop=True)
    columns = [column for column in kept if column not in stored]
    pd.concat([kept[columns], stored.reset_index(drop=True)], axis=1).to_parquet(folder / "stored.parquet", index=False)
    report.to_parquet(folder / "problems.parquet", index=False)
    made = {
        "format": FORMAT,
        "kind": "ct" if is_ct else "xray",
        "settings": asdict(settings),
        "structures": {name: list(source.structures) for name, source in sources.items()},
        "masks": is_ct
        and any(sources[name].structures for name in samples.loc[samples["has_label"].astype(bool), "set"].unique()),
        # found again where the runs were moved as a whole, and where they were not but the study's folder was
        "shared": {"relative": os.path.relpath(shared, folder), "absolute": str(shared.resolve())},
        "stores": [
            {
                "folder": images.folder.name,
                "id": images.about["id"],
                "source": {
                    "loader": source.loader,
                    "root": str(source.root),
                    "structures": list(source.structures),
                    "name": source.name,
                },
            }
            for source, images in stores.items()
        ],
    }
    (folder / "cache.json").write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")


def _rows(samples: pd.DataFrame, stored: pd.DataFrame, about: pd.DataFrame) -> pd.DataFrame:
    """One row per image; what a file's header tells fills in where the samples table is silent."""
    headers = pd.DataFrame([metadata or {} for metadata in about["metadata"]], index=samples.index)
    table = samples.copy()
    for column in headers:
        if column in table:
            table[column] = table[column].where(table[column].notna(), headers[column])
    table = pd.concat([headers[[column for column in headers if column not in table]], table], axis=1)
    table["content_hash"] = about["content_hash"].to_numpy()
    n = stored["n_images"].to_numpy()
    rows = table.iloc[np.repeat(np.arange(len(table)), n)].reset_index(drop=True)
    rows["label"] = rows["label"].astype("Int8")
    rows["has_label"] = rows["has_label"].astype(bool)
    rows["slice"] = (np.arange(len(rows)) - np.repeat(np.cumsum(n) - n, n)).astype(np.int32)
    voxels = np.zeros(len(rows), dtype=np.int32)
    for first, counts in zip(np.cumsum(n) - n, about["labelled"], strict=True):
        if counts is not None:
            voxels[first : first + len(counts)] = counts
    rows["labelled_voxels"] = voxels
    return rows


def open_cache(folder: Path) -> Cache:
    """Open what `build_cache` made; arrays stay on disk.

    Raises
    ------
    MissingImagesError
        If the shared folder no longer holds the images.
    CacheError
        If the cache is missing, incomplete, of another format, or its parts do not fit each other.
    """
    folder = Path(folder)
    made = _made(folder)
    is_ct = made["kind"] == "ct"
    try:
        rows = pd.read_parquet(folder / "rows.parquet")
        scans = pd.read_parquet(folder / "scans.parquet") if is_ct else None
        stored = pd.read_parquet(folder / "stored.parquet")
        problems = pd.read_parquet(folder / "problems.parquet")
    except (OSError, ValueError) as error:
        raise CacheError(f"{folder} is damaged ({error}): build it again") from error
    n = stored["n_images"].to_numpy()
    if len(rows) != n.sum():
        raise CacheError(f"{folder} is damaged: {n.sum()} images, {len(rows)} rows: build it again")
    settings = settings_of(made["kind"], made["settings"])
    folders = tuple(_shared(folder, made) / about["folder"] for about in made["stores"])
    for about, where in zip(made["stores"], folders, strict=True):
        if _id_of(where) != about["id"]:
            raise MissingImagesError(
                f"the decoded images of {folder} are no longer in {where}: run the same command again, or prepare the "
                "set, and they are decoded once more"
            )
    file = np.repeat(stored["store"].to_numpy(np.int8), n)
    place = np.repeat(stored["first_image"].to_numpy() - (np.cumsum(n) - n), n) + np.arange(len(rows))
    try:
        images = StoredImages([where / IMAGES for where in folders], file, place, settings.size)
        masks = None
        if made["masks"]:
            file = np.where(np.repeat(stored["masked"].to_numpy(bool), n), file, NOWHERE)
            masks = StoredImages([where / MASKS for where in folders], file, place, settings.size)
    except (OSError, ValueError) as error:
        raise CacheError(f"{folders[0].parent} is damaged ({error}): delete the folder and prepare the set") from error
    structures = {name: tuple(names) for name, names in made["structures"].items()}
    return Cache(images, masks, rows, scans, problems, settings, structures, stored, folders)


def _made(folder: Path) -> dict[str, Any]:
    try:
        made = json.loads((folder / "cache.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CacheError(f"{folder} holds no complete cache (no cache.json): build it first") from None
    if made.get("format") != FORMAT:
        raise CacheError(f"{folder} has cache format {made.get('format')}, expected {FORMAT}: build it again")
    return made


def _shared(folder: Path, made: Mapping[str, Any]) -> Path:
    """The shared folder, beside the study's where it was when the cache was made, or where it lay then."""
    beside = Path(os.path.normpath(folder.absolute() / made["shared"]["relative"]))
    return beside if beside.is_dir() else Path(made["shared"]["absolute"])


def _id_of(folder: Path) -> str | None:
    try:
        return ImageStore(folder).about["id"]
    except CacheError:
        return None


def restore_cache(folder: Path, *, workers: int = 1) -> None:
    """Decode again what a study's cache speaks of and the shared folder has lost.

    Raises
    ------
    CacheError
        If a set's files are gone or are no longer the same: the study then has to be computed anew.
    """
    folder = Path(folder)
    made = _made(folder)
    settings = settings_of(made["kind"], made["settings"])
    shared = _shared(folder, made)
    stored = pd.read_parquet(folder / "stored.parquet")
    for number, about in enumerate(made["stores"]):
        values = about["source"]
        source = Source(values["loader"], Path(values["root"]), tuple(values["structures"]), values.get("name") or "")
        images = open_store(shared, source, settings)
        chosen = np.flatnonzero(stored["store"] == number)
        part = stored.iloc[chosen].drop(columns=list(PLACES))
        found, problems = images.ensure(part, source, settings, workers=workers)
        other = [k for k, content in enumerate(found) if content != stored["content_key"].iloc[chosen[k]]]
        if other:
            name = stored["sample_id"].iloc[chosen[other[0]]]
            why = problems.get(other[0], "its file has changed since it was decoded, or the code that decodes it")
            raise CacheError(
                f"the images that {folder} was made of cannot be decoded again: {len(other)} differ, the first "
                f"{name}: {why}. Delete {folder.parent} and run the same command again"
            )
        entries = [images.entry(content) for content in found if content is not None]
        stored.loc[stored.index[chosen], "first_image"] = [entry["first"] for entry in entries]
        cells = [entry["scan_labels"]["first"] if "scan_labels" in entry else 0 for entry in entries]
        stored.loc[stored.index[chosen], "first_cell"] = cells
        about |= {"folder": images.folder.name, "id": images.about["id"]}
    aside = folder / ".stored.parquet"
    stored.to_parquet(aside, index=False)
    os.replace(aside, folder / "stored.parquet")
    aside = folder / ".cache.json"
    aside.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
    os.replace(aside, folder / "cache.json")


def grid_of(cache: Cache, sample_id: str) -> Grid:
    """Grid of one scan, for `preprocessing.to_scan_grid`; raises `KeyError` for a scan that the cache does not hold."""
    if cache.scans is None or sample_id not in set(cache.scans["sample_id"]):
        raise KeyError(f"the cache holds no scan {sample_id!r}")
    row = cache.scans.loc[cache.scans["sample_id"] == sample_id].iloc[0]
    # Parquet hands tuples back as arrays; tolist() gives Python numbers of the stored type
    return Grid(**{name: tuple(row[name].tolist()) for name in Grid.__dataclass_fields__})
