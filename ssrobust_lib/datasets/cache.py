"""Every image decoded and preprocessed once: what training and evaluation read instead of the sets' own files.

In: the samples table, where the sets lie, and the preprocessing. Out: a folder with

- `images.npy`: float16 (N, size, size) in [0, 1], one 2-D image each (an X-ray, or an axial slice of a scan),
- `masks.npy`: uint8 (N, size, size), k for the k-th structure of the image's set; CT with labels only, 0 where a scan
  has none,
- `rows.parquet`: one row per stored image, in their order: sample_id, patient_id, set, split (if given), label,
  has_label, slice, labelled_voxels, content_hash and the metadata,
- `scans.parquet` (CT): one row per scan: its first row and number of slices, and its `Grid`,
- `problems.parquet`: sample_id, path, reason of what was left out,
- `cache.json`: how it was made.

Images are written as they are decoded: memory holds a few scans per worker, however many there are. The folder is
complete once `cache.json` is there; making it appear all at once is the caller's part (write aside, then rename).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import pandas as pd

from ssrobust_lib.datasets.duplicates import content_hash
from ssrobust_lib.datasets.loader import LOADERS, PROBLEM_COLUMNS, Source, UnreadableImageError, XRay
from ssrobust_lib.datasets.parallel import ordered_map
from ssrobust_lib.preprocessing import CTSettings, Grid, XRaySettings, preprocess_ct, preprocess_xray
from ssrobust_lib.registry import unknown_name

FORMAT = 1
ON_ERROR = ("report", "stop")
XRAYS_PER_TASK = 16  # one by one, passing results between processes would cost as much as decoding

Settings = XRaySettings | CTSettings


class CacheError(RuntimeError):
    """A cache that cannot be made or opened; the message says what is wrong and what to do."""


@dataclass(frozen=True)
class Cache:
    """An opened cache; arrays are read from disk as they are used.

    Attributes
    ----------
    images : float16 memory map (N, size, size) in [0, 1]
    masks : uint8 memory map (N, size, size), or None
    rows : one row per image, in the order of `images`
    scans : one row per CT scan (see `grid_of`), or None for X-rays
    problems : sample_id, path, reason of what was left out
    settings : the preprocessing
    structures : set -> names of its label values 1..K
    """

    images: np.ndarray
    masks: np.ndarray | None
    rows: pd.DataFrame
    scans: pd.DataFrame | None
    problems: pd.DataFrame
    settings: Settings
    structures: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class _Decoded:
    """What a worker hands back for one sample; `reason` alone where it failed."""

    reason: str | None
    images: np.ndarray | None = None  # float16 (n, size, size)
    masks: np.ndarray | None = None  # uint8 (n, size, size)
    labelled: tuple[int, ...] = ()  # labelled voxels per image
    content: str = ""
    metadata: Mapping[str, Any] | None = None
    grid: Grid | None = None


def _decode(row: dict[str, Any], source: Source, settings: Settings) -> _Decoded:
    loader = LOADERS[source.loader]
    image = loader.read_image(source.root, row)
    if isinstance(image, XRay) and isinstance(settings, XRaySettings):
        pixels = image.pixels
        if not np.isfinite(pixels).all() or pixels.min() < 0 or pixels.max() > 1:
            raise UnreadableImageError("pixels are NaN, infinite or outside [0, 1]")
        stored = preprocess_xray(pixels, settings)[None].astype(np.float16)
        return _Decoded(None, stored, labelled=(0,), content=content_hash(pixels), metadata=image.metadata)
    if isinstance(image, XRay) or isinstance(settings, XRaySettings):
        raise UnreadableImageError(f"the loader {loader.name} reads {loader.kind} images, the settings are for others")
    labels = None
    if row["has_label"] and source.structures:
        labels = loader.read_label(source.root, row, source.structures)
    scan = preprocess_ct(image, labels, settings)
    counts = (0,) * len(scan.images) if scan.labels is None else np.count_nonzero(scan.labels, axis=(1, 2)).tolist()
    return _Decoded(
        None, scan.images.astype(np.float16), scan.labels, tuple(counts), content_hash(image.hu), grid=scan.grid
    )


def _decode_chunk(task: tuple[list[dict[str, Any]], dict[str, Source], Settings]) -> list[_Decoded]:
    """Decode some samples in a worker; whatever goes wrong with one becomes its reason."""
    rows, sources, settings = task
    decoded = []
    for row in rows:
        try:
            decoded.append(_decode(row, sources[row["set"]], settings))
        except UnreadableImageError as error:
            decoded.append(_Decoded(str(error)))
        except Exception as error:  # one bad file must not end a run over thousands
            decoded.append(_Decoded(f"{type(error).__name__}: {error}"))
    return decoded


class _GrowingArray:
    """A .npy file to which images are appended; its header is completed on closing."""

    def __init__(self, path: Path, side: int, dtype: str) -> None:
        self._side, self._dtype, self._n = side, np.dtype(dtype), 0
        self._file: BinaryIO = path.open("wb")
        self._write_header()
        self._data_start = self._file.tell()

    def _write_header(self) -> None:
        # NumPy pads the header so that the first axis can grow in place
        header = {"descr": self._dtype.str, "fortran_order": False, "shape": (self._n, self._side, self._side)}
        np.lib.format.write_array_header_1_0(self._file, header)

    def append(self, images: np.ndarray | None, n: int) -> None:
        """Append (n, side, side); None appends zeros, as a hole that takes no room on most file systems."""
        if images is None:
            self._file.seek(n * self._side**2 * self._dtype.itemsize, 1)
        else:
            self._file.write(np.ascontiguousarray(images, dtype=self._dtype).data.cast("B"))
        self._n += n

    def close(self) -> None:
        self._file.truncate()  # a hole at the end is part of the file, too
        self._file.seek(0)
        self._write_header()
        if self._file.tell() != self._data_start:
            raise CacheError(f"the header of {self._file.name} has outgrown its room")
        self._file.close()


def build_cache(
    samples: pd.DataFrame,
    folder: Path,
    sources: Mapping[str, Source],
    settings: Settings,
    *,
    workers: int = 1,
    on_error: Literal["report", "stop"] = "report",
    progress: bool = True,
) -> pd.DataFrame:
    """Decode and preprocess every sample once, into `folder`.

    Parameters
    ----------
    samples : samples table, all X-rays or all CT; images are stored in its order, a scan's slices from inferior to
        superior
    folder : made if missing, else empty
    sources : set -> where it lies, and the structures of its labels
    settings : `XRaySettings` or `CTSettings`
    workers : processes that decode; the result does not depend on their number
    on_error : leave an unreadable sample out and report it, or stop at the first
    progress : show a bar

    Returns
    -------
    problems : sample_id, path, reason of every sample that was left out

    Raises
    ------
    CacheError
        If no sample can be read, one cannot and `on_error` is stop, or the folder is in use.
    """
    from tqdm.auto import tqdm

    if on_error not in ON_ERROR:
        raise unknown_name("way with unreadable images", on_error, list(ON_ERROR))
    _check_samples(samples, sources)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise CacheError(f"{folder} is not empty: a cache is made in a folder of its own")
    is_ct = isinstance(settings, CTSettings)
    with_masks = is_ct and any(
        sources[name].structures for name in samples.loc[samples["has_label"].astype(bool), "set"].unique()
    )
    kept: list[dict[str, Any]] = []
    scans: list[dict[str, Any]] = []
    problems: list[dict[str, str]] = []
    images = _GrowingArray(folder / "images.npy", settings.size, "<f2")
    masks = _GrowingArray(folder / "masks.npy", settings.size, "|u1") if with_masks else None
    with tqdm(total=len(samples), desc="decode", unit="scan" if is_ct else "image", disable=not progress) as bar:
        for sample, decoded in _decode_all(samples, sources, settings, workers):
            bar.update()
            if decoded.reason is not None or decoded.images is None:
                reason = decoded.reason or "no image came back"
                problem = {"sample_id": sample["sample_id"], "path": sample["image"], "reason": reason}
                if on_error == "stop":
                    raise CacheError(f"{problem['sample_id']} ({problem['path']}): {reason}")
                problems.append(problem)
                continue
            n = len(decoded.images)
            images.append(decoded.images, n)
            if masks is not None:
                masks.append(decoded.masks, n)
            if decoded.grid is not None:
                place = {"sample_id": sample["sample_id"], "first_row": len(kept), "n_slices": n}
                scans.append(place | asdict(decoded.grid))
            kept += _rows_of(sample, decoded)
    images.close()
    if masks is not None:
        masks.close()
    report = pd.DataFrame(problems, columns=list(PROBLEM_COLUMNS))
    if not kept:
        shown = "; ".join(f"{problem['path']}: {problem['reason']}" for problem in problems[:3])
        raise CacheError(f"none of {len(samples)} images could be read ({shown}): is the set complete?")
    _table_of_rows(kept).to_parquet(folder / "rows.parquet", index=False)
    if is_ct:
        pd.DataFrame(scans).to_parquet(folder / "scans.parquet", index=False)
    report.to_parquet(folder / "problems.parquet", index=False)
    made = {
        "format": FORMAT,
        "kind": "ct" if is_ct else "xray",
        "settings": asdict(settings),
        "structures": {name: list(source.structures) for name, source in sources.items()},
    }
    (folder / "cache.json").write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
    return report


def _check_samples(samples: pd.DataFrame, sources: Mapping[str, Source]) -> None:
    if samples.empty:
        raise CacheError("there are no samples to decode")
    without = sorted(set(samples["set"]) - set(sources))
    if without:
        raise CacheError(f"no source for the sets {', '.join(without)}; there are sources for {', '.join(sources)}")
    repeated = samples.loc[samples["sample_id"].duplicated(), "sample_id"]
    if len(repeated):
        raise CacheError(f"the sample {repeated.iloc[0]} stands in the table twice; sample_id must be unique")


def _decode_all(
    samples: pd.DataFrame, sources: Mapping[str, Source], settings: Settings, workers: int
) -> Iterator[tuple[dict[str, Any], _Decoded]]:
    """Every sample with what was decoded of it, in the table's order."""
    records = samples.to_dict("records")
    size = 1 if isinstance(settings, CTSettings) else XRAYS_PER_TASK
    chunks = [records[start : start + size] for start in range(0, len(records), size)]
    tasks = ((chunk, dict(sources), settings) for chunk in chunks)
    for chunk, results in zip(chunks, ordered_map(_decode_chunk, tasks, workers), strict=True):
        yield from zip(chunk, results, strict=True)


def _rows_of(sample: dict[str, Any], decoded: _Decoded) -> list[dict[str, Any]]:
    """Table rows of one sample's images; what its header tells fills in where the samples table is silent."""
    shared = {**(decoded.metadata or {}), **sample, "content_hash": decoded.content}
    return [{**shared, "slice": position, "labelled_voxels": count} for position, count in enumerate(decoded.labelled)]


def _table_of_rows(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame(rows)
    table["label"] = table["label"].astype("Int8")
    return table.astype({"slice": "int32", "labelled_voxels": "int32", "has_label": bool})


def open_cache(folder: Path) -> Cache:
    """Open what `build_cache` made; arrays stay on disk.

    Raises
    ------
    CacheError
        If the cache is missing, incomplete, of another format, or its parts do not fit each other.
    """
    folder = Path(folder)
    try:
        made = json.loads((folder / "cache.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CacheError(f"{folder} holds no complete cache (no cache.json): build it first") from None
    if made.get("format") != FORMAT:
        raise CacheError(f"{folder} has cache format {made.get('format')}, expected {FORMAT}: build it again")
    is_ct = made["kind"] == "ct"
    try:
        images = np.load(folder / "images.npy", mmap_mode="r")
        masks = np.load(folder / "masks.npy", mmap_mode="r") if (folder / "masks.npy").is_file() else None
        rows = pd.read_parquet(folder / "rows.parquet")
        scans = pd.read_parquet(folder / "scans.parquet") if is_ct else None
        problems = pd.read_parquet(folder / "problems.parquet")
    except (OSError, ValueError) as error:
        raise CacheError(f"{folder} is damaged ({error}): build it again") from error
    if len(rows) != len(images) or (masks is not None and masks.shape != images.shape):
        raise CacheError(f"{folder} is damaged: {len(images)} images, {len(rows)} rows: build it again")
    settings = CTSettings(**made["settings"]) if is_ct else XRaySettings(**made["settings"])
    structures = {name: tuple(names) for name, names in made["structures"].items()}
    return Cache(images, masks, rows, scans, problems, settings, structures)


def grid_of(cache: Cache, sample_id: str) -> Grid:
    """Grid of one scan, for `preprocessing.to_scan_grid`; raises `KeyError` for a scan that the cache does not hold."""
    if cache.scans is None or sample_id not in set(cache.scans["sample_id"]):
        raise KeyError(f"the cache holds no scan {sample_id!r}")
    row = cache.scans.loc[cache.scans["sample_id"] == sample_id].iloc[0]
    # Parquet hands tuples back as arrays; tolist() gives Python numbers of the stored type
    return Grid(**{name: tuple(row[name].tolist()) for name in Grid.__dataclass_fields__})
