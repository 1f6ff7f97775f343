"""LiTS: abdominal CT, one of the seven sets of the paper's pretext pool (section 3.1), used without its labels.

In: `volume-N.nii` and `test-volume-N.nii` (or .nii.gz) anywhere below the root, as the batches of the release are
unpacked. Out: one unlabelled sample per scan. The liver and tumour labels of the release play no part in the study
and are not read.
"""

import re
from pathlib import Path
from typing import Any

from ssrobust_lib.datasets.formats import read_nifti
from ssrobust_lib.datasets.loader import LOADERS, Loader, Row, Volume, relative

_VOLUME = re.compile(r"(?P<name>(?P<test>test-)?volume-\d+)\.nii(?:\.gz)?")


class LitsLoader(Loader):
    """LiTS training and test scans."""

    name = "lits"
    kind = "ct"

    def list_images(self, root: Path, **options: Any) -> list[dict[str, Any]]:
        images = []
        for path in sorted(root.rglob("*volume-*.nii*")):
            if match := _VOLUME.fullmatch(path.name):
                images.append(
                    {
                        "sample_id": match["name"],
                        "patient_id": match["name"],
                        "image": relative(path, root),
                        "label": None,
                        "has_label": False,
                        "published_split": "test" if match["test"] else "train",
                    }
                )
        return images

    def read_image(self, root: Path, row: Row) -> Volume:
        return read_nifti(Path(root) / row["image"])


LOADERS.register("lits")(LitsLoader())
