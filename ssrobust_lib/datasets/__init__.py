"""Data sets: manifests, loaders by name, and the decoded cache that training and evaluation read (section 3.1).

In: a manifest and the folder where its set lies. Out: the samples table, decoded images, label maps. Importing this
package imports every loader, and none of the libraries that decode (those come with the first image).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ssrobust_lib.datasets import (  # noqa: F401 (register)
    btcv,
    cad_pe,
    chaos,
    classification_csv,
    decathlon,
    exact09,
    kermany,
    kits19,
    lits,
    luna16,
    nih,
    rsna,
    sliver07,
    visceral,
)
from ssrobust_lib.datasets.loader import (
    LOADERS,
    LayoutError,
    Loader,
    Row,
    Source,
    UnreadableImageError,
    Volume,
    XRay,
)
from ssrobust_lib.datasets.structures import VISCERAL_STRUCTURES, Structure

if TYPE_CHECKING:
    from ssrobust_lib.datasets.manifest import Manifest

__all__ = [
    "LOADERS",
    "VISCERAL_STRUCTURES",
    "LayoutError",
    "Loader",
    "Source",
    "Structure",
    "UnreadableImageError",
    "Volume",
    "XRay",
    "index_samples",
    "read_image",
    "read_label",
    "structures_of",
]


def index_samples(manifest: "Manifest", root: Path, **options: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """List the images of a set, without the cases that its manifest knows to be bad.

    Parameters
    ----------
    manifest : of the set; its name becomes the `set` column and the prefix of sample and patient names
    root : folder of the set (see `manifest.locate`)
    options : of the loader; they win over the manifest's `loader_options`

    Returns
    -------
    samples : sample_id, patient_id, set, image, label, has_label and metadata, sorted by sample_id
    left_out : sample_id, path, reason

    Raises
    ------
    LayoutError
        If the folder is laid out otherwise than the loader expects, or names other label values than the manifest.
    """
    _check_label_values(manifest, LOADERS[manifest.loader].label_map(Path(root)))
    return LOADERS[manifest.loader].survey(
        root,
        set_name=manifest.name,
        exclude={case.sample: f"{case.reason} ({case.source})" for case in manifest.known_bad},
        **{**manifest.loader_options, **options},
    )


def _check_label_values(manifest: "Manifest", found: dict[str, int]) -> None:
    """Make sure that the manifest's labels are those of the folder, where its files name any."""
    for name, value in manifest.labels.items() if found else ():
        if found.get(name) != value:
            there = ", ".join(f"{known} {number}" for known, number in found.items())
            raise LayoutError(
                f"{manifest.name}: the manifest has the label {name!r} with the value {value}, the set's own files "
                f"have {there}: correct the manifest's labels"
            )


def structures_of(manifest: "Manifest", root: Path) -> tuple[str, ...]:
    """Structures of a CT set in the order in which label maps count them (1..K).

    They are the manifest's; where a manifest of one's own names none, those that the folder itself names.
    """
    return manifest.structures or LOADERS[manifest.loader].structures(Path(root))


def read_image(loader: str, root: Path, row: Row) -> XRay | Volume:
    """Decode the image of one row of the samples table with the named loader; raises `UnreadableImageError`."""
    return LOADERS[loader].read_image(Path(root), row)


def read_label(loader: str, root: Path, row: Row, structures: Sequence[str]) -> np.ndarray:
    """Label map of a scan, uint8 (slice, row, column), k for `structures[k - 1]`; raises `UnreadableImageError`."""
    return LOADERS[loader].read_label(Path(root), row, structures)
