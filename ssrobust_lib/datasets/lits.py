"""LiTS: abdominal CT, one of the seven sets of the paper's pretext pool (section 3.1), where its labels are not used.

In: `volume-N.nii` with `segmentation-N.nii`, and `test-volume-N.nii` (or .nii.gz), anywhere below the root, as the
batches of the release are unpacked. Out: one sample per scan; labels liver and tumour of the training scans.
"""

import re
from pathlib import Path
from typing import Any

from ssrobust_lib.datasets.labelled_nifti import LabelledNiftiLoader
from ssrobust_lib.datasets.loader import LOADERS, is_visible, relative

LABELS = {"liver": 1, "tumour": 2}
_FILE = re.compile(r"(?P<kind>volume|segmentation|test-volume)-(?P<number>\d+)\.nii(?:\.gz)?")


class LitsLoader(LabelledNiftiLoader):
    """LiTS training and test scans; the test scans have no public labels."""

    name = "lits"
    values = LABELS

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


LOADERS.register("lits")(LitsLoader())
