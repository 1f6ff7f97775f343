"""KiTS19: kidney CT of another centre, on which the paper deploys its segmentation networks (section 3.4).

In: `case_NNNNN/{imaging,segmentation}.nii.gz`, in `data/` of the publisher's repository. Out: one sample per case,
labels kidney and tumour.

The published arrays run (slice, row, column), unlike those of other NIfTI sets; their affine says so, and the reader
follows the affine. Whether the tumour counts as kidney is for the profile to say (`evaluation.tumour`): it stays a
structure of its own here.
"""

import re
from pathlib import Path
from typing import Any

from ssrobust_lib.datasets.labelled_nifti import LabelledNiftiLoader
from ssrobust_lib.datasets.loader import LOADERS, relative

LABELS = {"kidney": 1, "tumour": 2}
_CASE = re.compile(r"case_\d{5}")


class Kits19Loader(LabelledNiftiLoader):
    """KiTS19's repository after its own download script has run; cases 210 to 299 have no public segmentation."""

    name = "kits19"
    values = LABELS

    def list_images(self, root: Path, **options: Any) -> list[dict[str, Any]]:
        folders = sorted(path for path in root.rglob("case_*") if _CASE.fullmatch(path.name) and path.is_dir())
        images = []
        for folder in folders:
            scan, label = folder / "imaging.nii.gz", folder / "segmentation.nii.gz"
            images.append(
                {
                    "sample_id": folder.name,
                    "patient_id": folder.name,
                    "image": relative(scan, root),
                    "label": None,
                    "has_label": label.is_file(),
                    "label_file": relative(label, root) if label.is_file() else "",
                    "left_out": None if scan.is_file() else "imaging.nii.gz is missing: run the set's download script",
                }
            )
        return images


LOADERS.register("kits19")(Kits19Loader())
