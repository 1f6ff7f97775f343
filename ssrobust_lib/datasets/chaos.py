"""CHAOS, its CT part: healthy livers, one of the seven sets of the paper's pretext pool (section 3.1).

In: `Train_Sets/CT/<number>/DICOM_anon/*.dcm` with `Ground/liver_GT_*.png`, and `Test_Sets/CT/<number>/DICOM_anon`.
Out: one sample per patient; the MR part is passed over. The paper uses the scans without their labels.

A mask picture belongs to the slice of the same place in the order of *names*: `liver_GT_000.png` to
`i0000,0000b.dcm`, or to `IMG-0001-00001.dcm` where a series begins at one. The order of positions is another one in
many series, and lays livers over lungs.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssrobust_lib.datasets.formats import read_dicom_series, read_mask_pictures
from ssrobust_lib.datasets.loader import (
    LOADERS,
    Loader,
    Row,
    UnreadableImageError,
    Volume,
    is_visible,
    relative,
    renumber,
)

LABELS = {"liver": 1}
SPLITS = {"Train_Sets": "train", "Test_Sets": "test"}


def _by_number(path: Path) -> tuple[list[int], str]:
    """Order of names: by the numbers in them, so that a series without leading zeros is in order, too."""
    return [int(digits) for digits in re.findall(r"\d+", path.stem)], path.name


def _slices(folder: Path) -> list[Path]:
    return sorted((path for path in folder.glob("*.dcm") if is_visible(path)), key=_by_number)


def _masks(folder: Path) -> list[Path]:
    pictures = folder.with_name("Ground").glob("*.png")
    return sorted((path for path in pictures if is_visible(path)), key=_by_number)


class ChaosLoader(Loader):
    """CHAOS CT: training scans with a liver mask, test scans without."""

    name = "chaos"
    kind = "ct"

    def list_images(self, root: Path, **options: Any) -> list[dict[str, Any]]:
        images = []
        for folder in sorted(root.rglob("CT/*/DICOM_anon")):
            split = SPLITS.get(folder.parents[2].name)
            if split is None:
                continue
            slices, masks, reason = len(_slices(folder)), len(_masks(folder)), None
            if not slices:
                reason = "the folder holds no DICOM slice"
            elif masks and masks != slices:
                reason = f"{masks} mask pictures for {slices} slices: which belongs to which cannot be told"
            images.append(
                {
                    "sample_id": f"{split}_{folder.parent.name}",
                    "patient_id": f"{split}_{folder.parent.name}",
                    "image": relative(folder, root),
                    "label": None,
                    "has_label": masks > 0,
                    "published_split": split,
                    "left_out": reason,
                }
            )
        return images

    def files(self, root: Path, row: Row) -> list[Path]:
        folder = Path(root) / row["image"]
        return [*_slices(folder), *(_masks(folder) if row["has_label"] else ())]

    def read_image(self, root: Path, row: Row) -> Volume:
        return read_dicom_series(_slices(Path(root) / row["image"]))

    def read_label(self, root: Path, row: Row, structures: Sequence[str]) -> np.ndarray:
        if not row["has_label"]:
            raise UnreadableImageError(f"{row['sample_id']}: this scan has no label map")
        folder = Path(root) / row["image"]
        slices, masks = _slices(folder), _masks(folder)
        pictures = read_mask_pictures(masks, read_dicom_series(slices), series=slices)
        return renumber((pictures != 0).astype(np.int16), LABELS, structures)


LOADERS.register("chaos")(ChaosLoader())
