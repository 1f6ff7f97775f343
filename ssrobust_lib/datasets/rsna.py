"""RSNA Pneumonia Detection Challenge, stage 2: the X-ray set of the paper (section 3.1).

In: `stage_2_train_labels.csv` (one row per box, several per patient), `stage_2_detailed_class_info.csv` (optional
here) and `stage_2_train_images/<patientId>.dcm`. Out: one sample per patient, positive if any of its rows is. View,
sex and age stand in the DICOM headers alone; they come with the decoded image, so that listing 26,684 patients reads
two small tables only.

The option ``unit="label_row"`` lists the label table's rows instead, as the paper's counts suggest it did: an image
with three boxes is then three samples, which a split by row spreads over training and test.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from ssrobust_lib.datasets.formats import read_dicom
from ssrobust_lib.datasets.loader import LOADERS, LayoutError, Loader, Row, XRay
from ssrobust_lib.registry import unknown_name

IMAGES = "stage_2_train_images"
LABELS = "stage_2_train_labels.csv"
CLASSES = "stage_2_detailed_class_info.csv"
UNITS = ("patient", "label_row")


class RsnaLoader(Loader):
    """RSNA stage 2 as Kaggle delivers it; the 3,000 stage-2 test images have no public labels and are not listed."""

    name = "rsna"
    kind = "xray"
    row_options = MappingProxyType({"unit": "label_row"})

    def list_images(self, root: Path, *, unit: str = "patient", **options: Any) -> list[dict[str, Any]]:
        if unit not in UNITS:
            raise unknown_name("unit of an RSNA sample", unit, list(UNITS))
        rows = read_table(root / LABELS, ("patientId", "Target"))
        if not rows["Target"].isin([0, 1]).all():
            found = sorted(rows["Target"].unique(), key=str)
            raise LayoutError(f"{root / LABELS}: Target must be 0 or 1, found {found[:5]}")
        classes = self._classes(root)
        present = {path.stem for path in (root / IMAGES).glob("*.dcm")}
        if unit == "patient":
            targets = rows.groupby("patientId", sort=True)["Target"].max()
            samples = [(str(patient), str(patient), int(target)) for patient, target in targets.items()]
        else:
            order = rows.groupby("patientId").cumcount()
            samples = [
                (f"{patient}#{n}", str(patient), int(target))
                for patient, n, target in zip(rows["patientId"], order, rows["Target"], strict=True)
            ]
        return [
            {
                "sample_id": sample,
                "patient_id": patient,
                "image": f"{IMAGES}/{patient}.dcm",
                "label": target,
                "has_label": True,
                "detailed_class": classes.get(patient, ""),
                "left_out": None if patient in present else f"in {LABELS}, but {IMAGES} has no such file",
            }
            for sample, patient, target in samples
        ]

    def _classes(self, root: Path) -> Mapping[str, str]:
        if not (root / CLASSES).is_file():
            return {}
        table = read_table(root / CLASSES, ("patientId", "class")).drop_duplicates("patientId")
        return dict(zip(table["patientId"].astype(str), table["class"].astype(str), strict=True))

    def read_image(self, root: Path, row: Row) -> XRay:
        return read_dicom(Path(root) / row["image"])


def read_table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read a published CSV and make sure of its columns; raises `LayoutError` with what was expected and found."""
    if not path.is_file():
        raise LayoutError(f"{path} is missing: the loader needs this table (see the set's manifest for the layout)")
    table = pd.read_csv(path)
    absent = [column for column in columns if column not in table]
    if absent:
        found = ", ".join(map(str, table.columns))
        raise LayoutError(f"{path} has no column {', '.join(absent)}; its columns are {found}")
    if table.empty:
        raise LayoutError(f"{path} has no rows")
    return table


LOADERS.register("rsna")(RsnaLoader())
