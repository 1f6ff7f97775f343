"""LiTS: abdominal CT, one of the seven sets of the paper's pretext pool (section 3.1), where its labels are not used.

In: `volume-N.nii` with `segmentation-N.nii`, and `test-volume-N.nii` (or .nii.gz), anywhere below the root, as the
batches of the release are unpacked. Out: one sample per scan; labels liver and tumour of the training scans.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssrobust_lib.datasets.formats import read_nifti, read_nifti_label
from ssrobust_lib.datasets.loader import LOADERS, Loader, Row, Volume, is_visible, relative, renumber, require_label

LABELS = {"liver": 1, "tumour": 2}
_FILE = re.compile(r"(?P<kind>volume|segmentation|test-volume)-(?P<number>\d+)\.nii(?:\.gz)?")


class LitsLoader(Loader):
    """LiTS training and test scans; the test scans have no public labels."""

    name = "lits"
    kind = "ct"

    def list_images(self, root: Path, **options: Any) -> list[dict[str, Any]]:
        found = [
            (match, path)
            for path in sorted(root.rglob("*-*.nii*"))
            if (match := _FILE.fullmatch(path.name)) and is_visible(path)
        ]
        labels = {match["number"]: relative(path, root) for match, path in found if match["kind"] == "segmentation"}
        images = []
        for match, path in found:
            if match["kind"] == "segmentation":
                continue
            name, is_test = f"{match['kind']}-{match['number']}", match["kind"] == "test-volume"
            label = "" if is_test else labels.get(match["number"], "")
            images.append(
                {
                    "sample_id": name,
                    "patient_id": name,
                    "image": relative(path, root),
                    "label": None,
                    "has_label": bool(label),
                    "label_file": label,
                    "published_split": "test" if is_test else "train",
                }
            )
        return images

    def read_image(self, root: Path, row: Row) -> Volume:
        return read_nifti(Path(root) / row["image"])

    def read_label(self, root: Path, row: Row, structures: Sequence[str]) -> np.ndarray:
        label = require_label(root, row)
        return renumber(read_nifti_label(label, Path(root) / row["image"]), LABELS, structures)


LOADERS.register("lits")(LitsLoader())
