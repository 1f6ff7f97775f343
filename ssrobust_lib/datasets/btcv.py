"""Multi-Atlas Labeling Beyond the Cranial Vault (BTCV), abdomen: one of the seven sets of the paper's pretext pool.

In: `RawData/Training/img/imgNNNN.nii.gz` with `RawData/Training/label/labelNNNN.nii.gz`, and
`RawData/Testing/img/imgNNNN.nii.gz`, as the release is unpacked. Out: one sample per scan; thirteen organs of the
training scans. Section 3.1 of the paper, which uses the scans without their labels.
"""

import re
from pathlib import Path
from typing import Any

from ssrobust_lib.datasets.labelled_nifti import LabelledNiftiLoader
from ssrobust_lib.datasets.loader import LOADERS, relative

# organs that VISCERAL has, too, carry its names, so that the sets can be compared
LABELS = {
    "spleen": 1,
    "right_kidney": 2,
    "left_kidney": 3,
    "gallbladder": 4,
    "esophagus": 5,
    "liver": 6,
    "stomach": 7,
    "aorta": 8,
    "inferior_vena_cava": 9,
    "portal_and_splenic_veins": 10,
    "pancreas": 11,
    "right_adrenal": 12,
    "left_adrenal": 13,
}
_IMAGE = re.compile(r"img(?P<number>\d{4})\.nii(?P<gz>\.gz)?")
SPLITS = {"training": "train", "testing": "test"}


class BtcvLoader(LabelledNiftiLoader):
    """Raw (unregistered) abdominal scans; the registered pairs that the release offers beside them are not read."""

    name = "btcv"
    values = LABELS

    def list_images(self, root: Path, **options: Any) -> list[dict[str, Any]]:
        images = []
        for path in sorted(root.rglob("img/img*.nii*")):
            match = _IMAGE.fullmatch(path.name)
            split = SPLITS.get(path.parent.parent.name.lower())
            if not match or split is None:
                continue
            label = path.parent.with_name("label") / f"label{match['number']}.nii{match['gz'] or ''}"
            images.append(
                {
                    "sample_id": f"img{match['number']}",
                    "patient_id": f"img{match['number']}",
                    "image": relative(path, root),
                    "label": None,
                    "has_label": label.is_file(),
                    "label_file": relative(label, root) if label.is_file() else "",
                    "published_split": split,
                }
            )
        return images


LOADERS.register("btcv")(BtcvLoader())
