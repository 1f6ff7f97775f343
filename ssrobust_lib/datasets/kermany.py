"""Paediatric chest X-rays of Kermany et al. 2018: an open stand-in for the X-ray set of the paper's section 3.1.

In: `{train,val,test}/{NORMAL,PNEUMONIA}/*.jpeg` in the root or in a folder up to three levels below it, which covers
what users have: Mendeley's version 2 (`chest_xray/{train,test}`), Mendeley's version 3 (`CellData/chest_xray`, other
file names) and Kaggle's copy (`chest_xray/{train,val,test}`, with a second copy of all images in
`chest_xray/chest_xray`, which is not read). Out: one sample per image, labelled by its folder; the split it was
published in is metadata, never the default split.

A patient is the series in the file name and its number, the kind of pneumonia left aside: `person23_bacteria_78` and
`person23_virus_53` are one patient. Patients of the three series of version 2 (`person`, `IM`, `NORMAL2-IM`) are
numbered on their own; in version 3 one number is one patient, whatever stands before it.
"""

import re
from pathlib import Path
from typing import Any

from ssrobust_lib.datasets.formats import read_picture
from ssrobust_lib.datasets.loader import LOADERS, LayoutError, Loader, Row, XRay, find_folder, relative

SPLITS = ("train", "val", "test")
LABELS = {"NORMAL": 0, "PNEUMONIA": 1}
_PNEUMONIA = re.compile(r"person(?P<number>\d+)_(?P<kind>bacteria|virus)_")
_NORMAL = re.compile(r"(?P<series>(?:[A-Z]+\d*-)?IM)-(?P<number>\d+)")
_VERSION_3 = re.compile(r"(?P<kind>NORMAL|BACTERIA|VIRUS)-(?P<number>\d+)-\d+")


def patient_of(file_name: str) -> tuple[str, str]:
    """Patient and kind of image (bacteria, virus, normal) from a published file name.

    >>> patient_of("person23_bacteria_78.jpeg"), patient_of("NORMAL2-IM-0927-0001.jpeg")
    (('person-23', 'bacteria'), ('NORMAL2-IM-927', 'normal'))
    >>> patient_of("VIRUS-1351146-0001.jpeg")
    ('patient-1351146', 'virus')
    """
    if match := _PNEUMONIA.match(file_name):
        return f"person-{int(match['number'])}", match["kind"]
    if match := _VERSION_3.match(file_name):
        return f"patient-{int(match['number'])}", match["kind"].lower()
    if match := _NORMAL.match(file_name):
        return f"{match['series']}-{int(match['number'])}", "normal"
    expected = (
        "personN_bacteria_N.jpeg, personN_virus_N.jpeg, IM-N-N.jpeg, NORMAL2-IM-N-N.jpeg, or (version 3) "
        "NORMAL-N-N.jpeg, BACTERIA-N-N.jpeg, VIRUS-N-N.jpeg"
    )
    raise LayoutError(f"the file name {file_name} holds no patient: expected {expected}")


class KermanyLoader(Loader):
    """Kermany et al. 2018: Mendeley's versions 2 and 3, or Kaggle's copy of version 2."""

    name = "kermany"
    kind = "xray"

    def list_images(self, root: Path, **options: Any) -> list[dict[str, Any]]:
        top = find_folder(root, tuple(f"{split}/{name}" for split in SPLITS for name in LABELS))
        images = []
        for split in SPLITS:
            for folder, label in LABELS.items():
                for path in sorted((top / split / folder).glob("*.jp*g")):
                    if path.name.startswith("."):  # macOS leaves '._' companions in the published archive
                        continue
                    patient, kind = patient_of(path.name)
                    images.append(
                        {
                            "sample_id": path.stem,
                            "patient_id": patient,
                            "image": relative(path, root),
                            "label": label,
                            "has_label": True,
                            "published_split": split,
                            "kind": kind,
                        }
                    )
        return images

    def read_image(self, root: Path, row: Row) -> XRay:
        return read_picture(Path(root) / row["image"])


LOADERS.register("kermany")(KermanyLoader())
