"""`ssrobust data show`: what the images of a set look like, and CT with its structures, on one page.

In: a manifest and the data root. Out: a PNG of a few images, read by the same loader that a run uses.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ssrobust_lib.config import PROJECT
from ssrobust_lib.data_command import DataCommandError
from ssrobust_lib.datasets.loader import LOADERS, UnreadableImageError, Volume, XRay

if TYPE_CHECKING:
    from ssrobust_lib.datasets.manifest import Manifest
    from ssrobust_lib.figures.canvas import StudyFigure
    from ssrobust_lib.figures.scans import Plane

IMAGES = {"xray": 12, "ct": 4}
"""Images on a sheet unless told otherwise; a row per scan."""

TRIES = 3  # samples looked at per image shown, before what cannot be read leaves the sheet short


class ShowError(DataCommandError):
    """A set of which nothing can be shown; the message says why."""


@dataclass(frozen=True)
class Shown:
    """A written contact sheet.

    Attributes
    ----------
    path : of the PNG
    samples : names of the samples on it
    skipped : file -> reason, of what was drawn and cannot be read
    """

    path: Path
    samples: list[str]
    skipped: dict[str, str]


def default_path(name: str) -> Path:
    """Where a set's sheet goes unless told otherwise: below `runs`, which git ignores; patients' images stay here."""
    return PROJECT / "runs" / "data" / f"{name}.png"


def show_set(
    manifest: "Manifest",
    data_root: Path | None,
    *,
    n: int | None = None,
    seed: int = 0,
    target: Path | None = None,
) -> Shown:
    """Draw some images of a set, labelled ones first, and write them as one PNG.

    Parameters
    ----------
    manifest : of the set
    data_root : folder that holds the sets' folders
    n : images; 12 X-rays or 4 scans by default
    seed : which ones
    target : path of the PNG; `runs/data/<set>.png` by default

    Raises
    ------
    DataFolderError, LayoutError
        If the set is not there or laid out otherwise.
    ShowError
        If none of the drawn images can be read, or the file cannot be written.
    """
    from ssrobust_lib.datasets import index_samples
    from ssrobust_lib.datasets.manifest import locate

    n = IMAGES[manifest.kind] if n is None else n
    if n < 1:
        raise ShowError(f"expected one image or more, got {n}")
    root = locate(manifest, data_root)
    samples, _ = index_samples(manifest, root)
    order = np.random.default_rng(seed).permutation(len(samples))
    drawn = samples.iloc[order].sort_values("has_label", ascending=False, kind="stable")
    rows = drawn.head(TRIES * n).to_dict("records")
    skipped: dict[str, str] = {}
    figure, names = (_xrays if manifest.kind == "xray" else _scans)(manifest, root, rows, n, skipped)
    if not names:
        path, reason = next(iter(skipped.items()))
        raise ShowError(f"{manifest.name}: none of {len(skipped)} images can be read; the first, {path}: {reason}")
    target = target or default_path(manifest.name)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(figure.png())
    except OSError as error:
        raise ShowError(f"{target} cannot be written ({error.strerror}): name another file with --to FILE") from error
    return Shown(target, names, skipped)


def _xrays(
    manifest: "Manifest", root: Path, rows: list[dict[str, Any]], n: int, skipped: dict[str, str]
) -> "tuple[StudyFigure, list[str]]":
    from ssrobust_lib.figures import xray_sheet

    images, labels, views, names = [], [], [], []
    for row, image, _ in _readable(manifest, root, rows, n, skipped):
        if isinstance(image, XRay):
            images.append(image.pixels)
            labels.append(None if pd.isna(row["label"]) else int(row["label"]))
            view = {**row, **image.metadata}.get("view")
            views.append(view if isinstance(view, str) else "")  # NaN where a table has none
            names.append(row["sample_id"])
    labelled = any(label is not None for label in labels)
    figure = xray_sheet(
        images, dataset=_source(manifest), labels=labels if labelled else None, views=views if any(views) else None,
        title=manifest.title, classes=classes_of(manifest),
    )  # fmt: skip
    return figure, names


def classes_of(manifest: "Manifest") -> tuple[str, str] | None:
    """What labels 0 and 1 of X-rays of one's own mean, as the manifest calls them; None for published sets."""
    if not LOADERS[manifest.loader].reads_own_images:
        return None
    options = manifest.loader_options
    negative, positive = (options.get(name) for name in ("negative", "positive"))
    return (
        negative if isinstance(negative, str) else f"not {positive}" if isinstance(positive, str) else "negative",
        positive if isinstance(positive, str) else "positive",
    )


def _scans(
    manifest: "Manifest", root: Path, rows: list[dict[str, Any]], n: int, skipped: dict[str, str]
) -> "tuple[StudyFigure, list[str]]":
    from ssrobust_lib.datasets import structures_of
    from ssrobust_lib.figures.scans import scan_planes, scan_sheet

    scans: list[tuple[str, list[Plane]]] = []
    names = []
    for row, image, labels in _readable(manifest, root, rows, n, skipped):
        if isinstance(image, Volume):  # a few planes are kept, not the scan
            voxels, mm = (" x ".join(f"{n:.3g}" for n in sizes) for sizes in (image.hu.shape, image.spacing_mm))
            words = f"{row['sample_id']}: {voxels} voxels of {mm} mm" + ("" if labels is not None else ", no label")
            scans.append((words, scan_planes(image.hu, labels, image.spacing_mm)))
            names.append(row["sample_id"])
    figure = scan_sheet(
        scans, structures=structures_of(manifest, root), dataset=_source(manifest), title=manifest.title,
        notes=["Axial planes from superior to inferior, then a coronal one; window -160 to 240 HU."],
    )  # fmt: skip
    return figure, names


def _readable(
    manifest: "Manifest", root: Path, rows: list[dict[str, Any]], n: int, skipped: dict[str, str]
) -> Iterator[tuple[dict[str, Any], XRay | Volume, np.ndarray | None]]:
    """The first `n` samples that can be read, with their label maps; the others go to `skipped`."""
    from ssrobust_lib.datasets import structures_of

    loader, structures = LOADERS[manifest.loader], structures_of(manifest, root)
    read = 0
    for row in rows:
        if read == n:
            return
        try:
            image = loader.read_image(root, row)
            labelled = bool(row["has_label"] and structures)
            labels = loader.read_label(root, row, structures) if labelled else None
        except UnreadableImageError as error:
            skipped[str(row["image"])] = str(error)
            continue
        read += 1
        yield row, image, labels


def _source(manifest: "Manifest") -> str:
    return f"{manifest.name}, licence: {manifest.licence}"
