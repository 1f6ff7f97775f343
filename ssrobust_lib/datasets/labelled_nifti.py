"""Sets of CT scans in NIfTI with one label map per scan, whose values the publisher has fixed.

In: rows with `image` and `label_file`. Out: volumes, and label maps in the study's numbers. A loader adds how the files
are called. Sets of the paper's sections 3.1 and 3.4.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from ssrobust_lib.datasets.formats import read_nifti, read_nifti_label
from ssrobust_lib.datasets.loader import Loader, Row, Volume, renumber, require_label


class LabelledNiftiLoader(Loader):
    """Reads a scan and its label map; subclasses list the files, and give `values`: structure -> value in the map."""

    kind: Literal["ct"] = "ct"
    values: ClassVar[Mapping[str, int]]

    def read_image(self, root: Path, row: Row) -> Volume:
        return read_nifti(Path(root) / row["image"])

    def read_label(self, root: Path, row: Row, structures: Sequence[str]) -> np.ndarray:
        labels = read_nifti_label(require_label(root, row), Path(root) / row["image"])
        return renumber(labels, self.values, structures)
