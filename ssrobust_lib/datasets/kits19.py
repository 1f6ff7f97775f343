"""KiTS19: kidney CT of another centre, on which the paper deploys its segmentation networks (section 3.4).

In: `data/case_NNNNN/{imaging,segmentation}.nii.gz`. Out: one sample per case, labels kidney and tumour.

The published arrays run (slice, row, column), unlike those of other NIfTI sets; their affine says so, and the reader
follows the affine. Whether the tumour counts as kidney is for the evaluation to say: it stays a structure of its own
here.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssrobust_lib.datasets.formats import read_nifti, read_nifti_label
from ssrobust_lib.datasets.loader import LOADERS, Loader, Row, Volume, relative, renumber

LABELS = {"kidney": 1, "tumour": 2}


class Kits19Loader(Loader):
    """KiTS19's repository after its own download script has run; cases 210 to 299 have no public segmentation."""

    name = "kits19"
    kind = "ct"

    def list_images(self, root: Path, **options: Any) -> list[dict[str, Any]]:
        top = root / "data" if (root / "data").is_dir() else root
        images = []
        for folder in sorted(top.glob("case_*")):
            scan = folder / "imaging.nii.gz"
            images.append(
                {
                    "sample_id": folder.name,
                    "patient_id": folder.name,
                    "image": relative(scan, root),
                    "label": None,
                    "has_label": (folder / "segmentation.nii.gz").is_file(),
                    "left_out": None if scan.is_file() else "imaging.nii.gz is missing: run the set's download script",
                }
            )
        return images

    def files(self, root: Path, row: Row) -> list[Path]:
        scan = Path(root) / row["image"]
        return [scan, scan.with_name("segmentation.nii.gz")] if row["has_label"] else [scan]

    def read_image(self, root: Path, row: Row) -> Volume:
        return read_nifti(Path(root) / row["image"])

    def read_label(self, root: Path, row: Row, structures: Sequence[str]) -> np.ndarray:
        scan = Path(root) / row["image"]
        return renumber(read_nifti_label(scan.with_name("segmentation.nii.gz"), scan), LABELS, structures)


LOADERS.register("kits19")(Kits19Loader())
