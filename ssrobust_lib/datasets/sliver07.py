"""SLIVER07: contrast-enhanced abdominal CT, one of the seven sets of the paper's pretext pool (section 3.1).

In: `liver-origNNN.mhd` and `.raw`, and `liver-segNNN.mhd` with `.raw` (values other than 0 are liver), anywhere below
the root: in `scan/` and `label/`, as the archives unpack, or side by side. Out: one sample per scan. Training and test
scans are numbered from 1 alike; a scan with `test` in the names of its folders is a test scan.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssrobust_lib.datasets.formats import read_metaimage, read_metaimage_label
from ssrobust_lib.datasets.loader import LOADERS, Loader, Row, Volume, is_visible, relative, renumber, require_label

LABELS = {"liver": 1}
_FILE = re.compile(r"liver-(?P<kind>orig|seg)(?P<number>\d{3})\.mhd")


class Sliver07Loader(Loader):
    """SLIVER07's training and test scans; the test scans have no public labels."""

    name = "sliver07"
    kind = "ct"

    def list_images(self, root: Path, **options: Any) -> list[dict[str, Any]]:
        scans, labels = [], {}
        for path in sorted(root.rglob("liver-*.mhd")):
            match = _FILE.fullmatch(path.name)
            if not match or not is_visible(path):
                continue
            name = relative(path, root)
            split = "test" if "test" in name.rpartition("/")[0].lower() else "train"
            if match["kind"] == "seg":
                labels[split, match["number"]] = name
            else:
                scans.append((split, match["number"], name))
        images = []
        for split, number, name in scans:
            label = labels.get((split, number), "")
            images.append(
                {
                    "sample_id": f"{split}_{number}",
                    "patient_id": f"{split}_{number}",
                    "image": name,
                    "label": None,
                    "has_label": bool(label),
                    "label_file": label,
                    "published_split": split,
                }
            )
        return images

    def read_image(self, root: Path, row: Row) -> Volume:
        return read_metaimage(Path(root) / row["image"])

    def read_label(self, root: Path, row: Row, structures: Sequence[str]) -> np.ndarray:
        mask = read_metaimage_label(require_label(root, row), Path(root) / row["image"])
        return renumber((mask != 0).astype(np.int16), LABELS, structures)


LOADERS.register("sliver07")(Sliver07Loader())
