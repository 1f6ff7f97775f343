"""EXACT'09: chest CT, one of the seven sets of the paper's pretext pool (section 3.1).

In: `Training/CASEnn` and `Testing/CASEnn`, a folder of DICOM slices each, whose names carry no suffix. Out: one
unlabelled sample per folder: the challenge publishes no airway labels.
"""

import re
from pathlib import Path
from typing import Any

from ssrobust_lib.datasets.formats import read_dicom_series
from ssrobust_lib.datasets.loader import LOADERS, Loader, Row, Volume, relative, series_files

_CASE = re.compile(r"CASE\d+", re.IGNORECASE)
SPLITS = {"training": "train", "testing": "test"}


class Exact09Loader(Loader):
    """EXACT'09 training and test scans."""

    name = "exact09"
    kind = "ct"

    def list_images(self, root: Path, **options: Any) -> list[dict[str, Any]]:
        images = []
        for folder in sorted(path for path in root.rglob("*") if _CASE.fullmatch(path.name) and path.is_dir()):
            images.append(
                {
                    "sample_id": folder.name.upper(),
                    "patient_id": folder.name.upper(),
                    "image": relative(folder, root),
                    "label": None,
                    "has_label": False,
                    "published_split": SPLITS.get(folder.parent.name.lower(), "not stated"),
                    "left_out": None if series_files(folder) else "the folder holds no DICOM slice",
                }
            )
        return images

    def read_image(self, root: Path, row: Row) -> Volume:
        return read_dicom_series(series_files(Path(root) / row["image"]))


LOADERS.register("exact09")(Exact09Loader())
