"""Folders in the layout of the Medical Segmentation Decathlon: OpenKBP here, and the reader's own CT scans.

In: `dataset.json` (its `labels` and `training`), `imagesTr`, `labelsTr`; and, where they exist, `imagesUn` (scans
without labels, for the pretext pool) and `cases.csv` (column case_id; the others become metadata, patient_id the
patient). Out: one sample per scan; the structures are the names in `dataset.json`. Also reads the newer `labels`
table, name to value.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssrobust_lib.datasets.formats import read_nifti, read_nifti_label
from ssrobust_lib.datasets.loader import (
    LOADERS,
    SAMPLE_COLUMNS,
    LayoutError,
    Loader,
    Row,
    UnreadableImageError,
    Volume,
    renumber,
)
from ssrobust_lib.datasets.rsna import read_table

INDEX = "dataset.json"
CASES = "cases.csv"


def _case(path: str | Path) -> str:
    """Name of a case: its file name without .nii or .nii.gz."""
    return Path(path).name.removesuffix(".gz").removesuffix(".nii")


def _load_index(root: Path) -> dict[str, Any]:
    path = root / INDEX
    if not path.is_file():
        raise LayoutError(f"{path} is missing: a Decathlon-style folder is described by it")
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LayoutError(f"{path} is not valid JSON: {error}") from error
    for key in ("labels", "training"):
        if key not in index:
            raise LayoutError(f"{path} has no entry {key!r}; its entries are {', '.join(index)}")
    return index


def label_values(root: Path) -> dict[str, int]:
    """Structure -> value from `dataset.json`, in the order of the values, without the background."""
    values: dict[str, int] = {}
    for key, entry in _load_index(root)["labels"].items():
        name, value = (entry, key) if str(key).isdigit() else (key, entry)
        try:
            values[str(name)] = int(value)
        except (TypeError, ValueError):
            raise LayoutError(f"{root / INDEX}: label {name!r} has the value {value!r}, not a whole number") from None
    return {name: value for name, value in sorted(values.items(), key=lambda item: item[1]) if value != 0}


class DecathlonLoader(Loader):
    """Decathlon-style CT; one NIfTI per scan and one label map with a value per structure."""

    name = "decathlon"
    kind = "ct"

    def list_images(self, root: Path, **options: Any) -> list[dict[str, Any]]:
        metadata = self._metadata(root)
        images = []
        for entry in _load_index(root)["training"]:
            try:
                scan, label = Path(entry["image"]).as_posix(), Path(entry["label"]).as_posix()
            except (TypeError, KeyError):
                raise LayoutError(f"{root / INDEX}: an entry of 'training' has no image and label: {entry!r}") from None
            missing = [name for name in (scan, label) if not (root / name).is_file()]
            images.append(self._image(scan, True, metadata) | {"label_file": label})
            images[-1]["left_out"] = f"in {INDEX}, but {' and '.join(missing)} is not there" if missing else None
        for path in sorted((root / "imagesUn").glob("*.nii*")):
            images.append(self._image(f"imagesUn/{path.name}", False, metadata) | {"label_file": ""})
        return images

    def _image(self, scan: str, has_label: bool, metadata: dict[str, dict[str, Any]]) -> dict[str, Any]:
        case = _case(scan)
        known = metadata.get(case, {})
        patient = str(known.get("patient_id", case))
        # a column named split is the publisher's; the study draws its own
        extra = {
            "published_split" if key == "split" else key: value
            for key, value in known.items()
            if key not in SAMPLE_COLUMNS
        }
        names = {"sample_id": case, "patient_id": patient, "image": scan}
        return {**names, "label": None, "has_label": has_label, **extra}

    def _metadata(self, root: Path) -> dict[str, dict[str, Any]]:
        if not (root / CASES).is_file():
            return {}
        table = read_table(root / CASES, ("case_id",))
        repeated = table.loc[table["case_id"].duplicated(), "case_id"]
        if len(repeated):
            raise LayoutError(f"{root / CASES}: the case {repeated.iloc[0]} stands there twice")
        return {str(row.pop("case_id")): row for row in table.to_dict("records")}

    def label_map(self, root: Path) -> dict[str, int]:
        return label_values(Path(root))

    def read_image(self, root: Path, row: Row) -> Volume:
        return read_nifti(Path(root) / row["image"])

    def read_label(self, root: Path, row: Row, structures: Sequence[str]) -> np.ndarray:
        if not row["has_label"]:
            raise UnreadableImageError(f"{row['sample_id']}: this scan has no label map")
        labels = read_nifti_label(Path(root) / row["label_file"], Path(root) / row["image"])
        return renumber(labels, label_values(Path(root)), structures)


LOADERS.register("decathlon")(DecathlonLoader())
