"""Folders in the layout of the Medical Segmentation Decathlon: OpenKBP here, and the reader's own CT scans.

In: `dataset.json` (its `labels`, `training` and `test`), `imagesTr`, `labelsTr`, `imagesTs`; and, where they exist,
`imagesUn` (scans without labels, for the pretext pool) and `cases.csv` (column case_id; the others become metadata,
patient_id the patient). Out: one sample per scan; the structures are the names in `dataset.json`. Test scans have no
labels in a Decathlon folder, and serve the pretext pool alone. nnU-Net's form is read as well: `labels` from name to
value, and `channel_names` and `file_ending` in the place of `training` (`imagesTr/<case>_0000<ending>`).
"""

import json
from collections.abc import Iterator, Sequence
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
    Volume,
    is_visible,
    renumber,
    require_label,
)
from ssrobust_lib.datasets.own_table import read_own_table

INDEX = "dataset.json"
CASES = "cases.csv"
LARGEST_LABEL = 2**15 - 1  # of an int16 label map
_ENTRIES: tuple[tuple[str, type, str], ...] = (
    ("labels", dict, 'values with their names, as in {"1": "liver"}'),
    ("training", list, "a list of image and label"),
    ("test", list, "a list of scans"),
)


def _case(path: str | Path) -> str:
    """Name of a case: its file name without .nii or .nii.gz, and without nnU-Net's number of the channel."""
    return Path(path).name.removesuffix(".gz").removesuffix(".nii").removesuffix("_0000")


def _load_index(root: Path) -> dict[str, Any]:
    path = root / INDEX
    if not path.is_file():
        raise LayoutError(f"{path} is missing: a Decathlon-style folder is described by it")
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LayoutError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(index, dict):
        raise LayoutError(f"{path}: expected entries (labels, training), got {type(index).__name__}")
    if "training" not in index and {"channel_names", "file_ending"} <= set(index):
        index["training"] = list(_nnunet_training(root, str(index["file_ending"])))
    for key in ("labels", "training"):
        if key not in index:
            raise LayoutError(f"{path} has no entry {key!r}; its entries are {', '.join(index)}")
    for key, kind, expected in _ENTRIES:
        if key in index and not isinstance(index[key], kind):
            raise LayoutError(f"{path}: {key!r}: expected {expected}, got {json.dumps(index[key])[:60]}")
    channels = index.get("modality", index.get("channel_names", {"0": "CT"}))
    kinds = [str(kind) for kind in channels.values()] if isinstance(channels, dict) else [str(channels)]
    if [kind.upper() for kind in kinds] != ["CT"]:
        found = ", ".join(kinds) or "none"
        raise LayoutError(f"{path}: expected images of one channel, CT (values in HU), got {found}")
    return index


def _nnunet_training(root: Path, ending: str) -> Iterator[dict[str, str]]:
    """Entries of `training` as an nnU-Net folder implies them."""
    for label in sorted((root / "labelsTr").glob(f"*{ending}")):
        if is_visible(label):
            case = label.name.removesuffix(ending)
            yield {"image": f"imagesTr/{case}_0000{ending}", "label": f"labelsTr/{label.name}"}


def _inside(root: Path, name: Any) -> str:
    """Path of a file as `dataset.json` names it, relative to the root; refuses what leads out of the folder."""
    if not isinstance(name, str) or not name:
        raise LayoutError(f"{root / INDEX}: expected the path of a file, got {name!r}")
    path = Path(name)
    if path.is_absolute() or ".." in path.parts:
        raise LayoutError(f"{root / INDEX}: {name!r} lies outside the folder: expected a path below it")
    return path.as_posix()


def _absent(files: Sequence[str]) -> str:
    return f"in {INDEX}, but {' and '.join(files)} {'is' if len(files) == 1 else 'are'} not there"


def label_values(root: Path) -> dict[str, int]:
    """Structure -> value from `dataset.json`, in the order of the values, without the background.

    Raises
    ------
    LayoutError
        If a value is no whole number from 0 to 32,767, or a name or a value stands there twice.
    """
    values: dict[str, int] = {}
    for key, entry in _load_index(root)["labels"].items():
        name, value = (entry, key) if str(key).isdigit() else (key, entry)
        number = _whole(value)
        if number is None or not 0 <= number <= LARGEST_LABEL:
            expected = f"expected a whole number from 0 to {LARGEST_LABEL:,}"
            raise LayoutError(f"{root / INDEX}: label {name!r} has the value {value!r}: {expected}")
        twice = next((known for known, taken in values.items() if known == str(name) or taken == number), None)
        if twice is not None:
            raise LayoutError(
                f"{root / INDEX}: labels {twice!r} ({values[twice]}) and {name!r} ({number}) have one name or one "
                "value: give each its own; `merge` in the manifest scores several as one"
            )
        values[str(name)] = number
    return {name: value for name, value in sorted(values.items(), key=lambda item: item[1]) if value != 0}


def _whole(value: Any) -> int | None:
    """A whole number of a JSON file, where it may be written as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return int(value) if int(value) == float(value) else None
    except (OverflowError, ValueError):
        return None


class DecathlonLoader(Loader):
    """Decathlon-style CT; one NIfTI per scan and one label map with a value per structure."""

    name = "decathlon"
    kind = "ct"

    def needed_files(self, **options: Any) -> list[str]:
        return [INDEX]

    def structures(self, root: Path) -> tuple[str, ...]:
        return tuple(label_values(Path(root)))

    def list_images(self, root: Path, **options: Any) -> list[dict[str, Any]]:
        metadata, index = self._metadata(root), _load_index(root)
        images = []
        for entry in index["training"]:
            try:
                scan, label = _inside(root, entry["image"]), _inside(root, entry["label"])
            except (TypeError, KeyError):
                raise LayoutError(f"{root / INDEX}: an entry of 'training' has no image and label: {entry!r}") from None
            missing = [name for name in (scan, label) if not (root / name).is_file()]
            images.append(self._image(scan, True, metadata) | {"label_file": label})
            images[-1]["left_out"] = _absent(missing) if missing else None
        tests = [entry.get("image") if isinstance(entry, dict) else entry for entry in index.get("test", [])]
        more = [path for path in sorted((root / "imagesUn").glob("*.nii*")) if is_visible(path)]
        for scan in [*(_inside(root, name) for name in tests), *(f"imagesUn/{path.name}" for path in more)]:
            images.append(self._image(scan, False, metadata) | {"label_file": "", "left_out": None})
            if not (root / scan).is_file():
                images[-1]["left_out"] = _absent([scan])
        listed = {image["sample_id"] for image in images}
        nowhere = f"in {CASES}, but no scan of {INDEX} or imagesUn is called so"
        for case in metadata:
            if case not in listed:
                images.append(
                    self._image(case, False, metadata) | {"image": CASES, "label_file": "", "left_out": nowhere}
                )
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
        table = read_own_table(root / CASES)
        if "case_id" not in table.columns:
            raise LayoutError(f"{table.path} has no column 'case_id'; its columns are {', '.join(table.columns)}")
        cases = table.values("case_id", empty=False, is_path=False)
        if "patient_id" in table.columns:
            table.values("patient_id", empty=False, is_path=False)  # all that lack one would be one patient
        known: dict[str, dict[str, Any]] = {}
        for case, (line, row) in zip(cases, table.rows, strict=True):
            if case in known:
                raise LayoutError(f"{table.path}, line {line}: the case {case} stands there twice")
            known[case] = {name: value or None for name, value in row.items() if name != "case_id"}
        return known

    def label_map(self, root: Path) -> dict[str, int]:
        return label_values(Path(root))

    def read_image(self, root: Path, row: Row) -> Volume:
        return read_nifti(Path(root) / row["image"])

    def read_label(self, root: Path, row: Row, structures: Sequence[str]) -> np.ndarray:
        labels = read_nifti_label(require_label(root, row), Path(root) / row["image"])
        return renumber(labels, label_values(Path(root)), structures)


LOADERS.register("decathlon")(DecathlonLoader())
