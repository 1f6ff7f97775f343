"""CAD-PE: CT pulmonary angiography, one of the seven sets of the paper's pretext pool (section 3.1).

In: `images/NNN.nrrd` and `rs/NNNNRefStd.nrrd` (one value per embolus, numbers padded to four digits), anywhere below
the root; names that do not begin with a digit (`e0032.nrrd`) are padded already. Out: one sample per scan; all emboli
of a scan are one structure. The paper uses the scans without their labels.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssrobust_lib.datasets.formats import read_metaimage, read_metaimage_label
from ssrobust_lib.datasets.loader import LOADERS, Loader, Row, Volume, is_visible, relative, renumber, require_label

LABELS = {"embolus": 1}
_REFERENCE = re.compile(r"(?P<case>\w+)RefStd\.nrrd", re.IGNORECASE)


def _case(name: str) -> str:
    """Case in the form in which scan and reference agree: '001' and '0001' are one.

    >>> _case("001"), _case("0001"), _case("e0032")
    ('0001', '0001', 'e0032')
    """
    return name.zfill(4) if name.isdigit() else name.lower()


class CadPeLoader(Loader):
    """CAD-PE's scans with their reference standard, where a scan has one."""

    name = "cad_pe"
    kind = "ct"

    def list_images(self, root: Path, **options: Any) -> list[dict[str, Any]]:
        scans, references = [], {}
        for path in sorted(root.rglob("*.nrrd")):
            if not is_visible(path):
                continue
            if match := _REFERENCE.fullmatch(path.name):
                references[_case(match["case"])] = relative(path, root)
            else:
                scans.append(path)
        images = []
        for path in scans:
            label = references.get(_case(path.stem), "")
            images.append(
                {
                    "sample_id": path.stem,
                    "patient_id": path.stem,
                    "image": relative(path, root),
                    "label": None,
                    "has_label": bool(label),
                    "label_file": label,
                }
            )
        return images

    def read_image(self, root: Path, row: Row) -> Volume:
        return read_metaimage(Path(root) / row["image"])

    def read_label(self, root: Path, row: Row, structures: Sequence[str]) -> np.ndarray:
        emboli = read_metaimage_label(require_label(root, row), Path(root) / row["image"])
        return renumber((emboli != 0).astype(np.int16), LABELS, structures)


LOADERS.register("cad_pe")(CadPeLoader())
