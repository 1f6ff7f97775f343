"""RSNA Pneumonia Detection Challenge, stage 2: the X-ray set of the paper (section 3.1).

In: `stage_2_train_labels.csv` (one row per box, several per patient), `stage_2_detailed_class_info.csv` (optional
here) and `stage_2_train_images/<patientId>.dcm`. Out: one sample per patient, positive if any of its rows is. View,
sex and age stand in the DICOM headers alone; they come with the decoded image, so that listing 26,684 patients reads
two small tables only.

The option ``images="test"`` lists the 3,000 images of the stage-2 test set instead (`stage_2_test_images/*.dcm`), which
have no public labels: images for a pretext task. The option ``unit="label_row"`` lists the label table's rows, as the
paper's counts suggest it did: an image with three boxes is then three samples, which a split by row spreads over
training and test.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from ssrobust_lib.datasets.formats import read_dicom
from ssrobust_lib.datasets.loader import LOADERS, LayoutError, Loader, OptionError, Row, XRay, find_folder, relative
from ssrobust_lib.registry import unknown_name

IMAGES = "stage_2_train_images"
TEST_IMAGES = "stage_2_test_images"
LABELS = "stage_2_train_labels.csv"
CLASSES = "stage_2_detailed_class_info.csv"
SUBMISSION = "stage_2_sample_submission.csv"
UNITS = ("patient", "label_row")
PARTS = ("train", "test")


class RsnaLoader(Loader):
    """RSNA stage 2 as Kaggle delivers it, in the root or in a folder below it."""

    name = "rsna"
    kind = "xray"
    row_options = MappingProxyType({"unit": "label_row"})

    def check_options(self, **options: Any) -> None:
        for option, known in (("unit", UNITS), ("images", PARTS)):
            if options.get(option, known[0]) not in known:
                raise OptionError((option,), unknown_name(f"value of {option}", options[option], list(known)))

    def list_images(
        self, root: Path, *, unit: str = "patient", images: str = "train", **options: Any
    ) -> list[dict[str, Any]]:
        self.check_options(unit=unit, images=images)
        return self._unlabelled(root) if images == "test" else self._labelled(root, unit)

    def _labelled(self, root: Path, unit: str) -> list[dict[str, Any]]:
        top = find_folder(root, (LABELS,))
        rows = read_table(top / LABELS, ("patientId", "Target"))
        if not rows["Target"].isin([0, 1]).all():
            found = sorted(rows["Target"].unique(), key=str)
            raise LayoutError(f"{top / LABELS}: Target must be 0 or 1, found {found[:5]}")
        classes = self._classes(top)
        present = {path.stem for path in (top / IMAGES).glob("*.dcm")}
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
                "image": relative(top / IMAGES / f"{patient}.dcm", root),
                "label": target,
                "has_label": True,
                "detailed_class": classes.get(patient, ""),
                "left_out": None if patient in present else f"in {LABELS}, but {IMAGES} has no such file",
            }
            for sample, patient, target in samples
        ]

    def _unlabelled(self, root: Path) -> list[dict[str, Any]]:
        """Images of the stage-2 test set; those that the sample submission names and the folder lacks are left out."""
        top = find_folder(root, (TEST_IMAGES,))
        present = {path.stem for path in (top / TEST_IMAGES).glob("*.dcm")}
        if not present:
            raise LayoutError(f"{top / TEST_IMAGES} holds no .dcm file: the unlabelled images of stage 2 lie there")
        named: set[str] = set()
        if (top / SUBMISSION).is_file():
            named = set(read_table(top / SUBMISSION, ("patientId",))["patientId"].astype(str))
        return [
            {
                "sample_id": patient,
                "patient_id": patient,
                "image": relative(top / TEST_IMAGES / f"{patient}.dcm", root),
                "label": None,
                "has_label": False,
                "left_out": None if patient in present else f"in {SUBMISSION}, but {TEST_IMAGES} has no such file",
            }
            for patient in sorted(present | named)
        ]

    def _classes(self, root: Path) -> Mapping[str, str]:
        if not (root / CLASSES).is_file():
            return {}
        table = read_table(root / CLASSES, ("patientId", "class")).drop_duplicates("patientId")
        return dict(zip(table["patientId"].astype(str), table["class"].astype(str), strict=True))

    def read_image(self, root: Path, row: Row) -> XRay:
        return read_dicom(Path(root) / row["image"])


def read_table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read a published CSV and make sure of its columns.

    Parameters
    ----------
    path : the table
    columns : those that must be there

    Raises
    ------
    LayoutError
        If the table is missing, empty, not UTF-8 or no CSV, or a column is not there.
    """
    if not path.is_file():
        raise LayoutError(f"{path} is missing: the loader needs this table (see the set's manifest for the layout)")
    try:
        table = pd.read_csv(path)
    except UnicodeDecodeError as error:
        raise LayoutError(f"{path}: not UTF-8 text: save the table as 'CSV UTF-8', or get it anew") from error
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        reason = " ".join(str(error).split())
        raise LayoutError(
            f"{path}: expected a CSV with a header, got something else ({reason}): get it anew"
        ) from error
    absent = [column for column in columns if column not in table]
    if absent:
        found = ", ".join(map(str, table.columns))
        raise LayoutError(f"{path} has no column {', '.join(absent)}; its columns are {found}")
    if table.empty:
        raise LayoutError(f"{path} has no rows")
    return table


LOADERS.register("rsna")(RsnaLoader())
