"""NIH ChestX-ray14: adult X-rays of another centre than Kermany's, labelled from reports by text mining.

In: `Data_Entry_2017_v2020.csv` (or the older `Data_Entry_2017.csv`), the PNG files in `images/` or in
`images_001/images/` to `images_012/images/`, and, where they were downloaded, `train_val_list.txt` and
`test_list.txt`. Out: one sample per image; label 1 where Pneumonia is among the findings, 0 for No Finding, and no
label for everything else, which leaves those images to the pretext pool. Several images belong to one patient. The two
lists become metadata (published_split: train or test), never the default split.
"""

from pathlib import Path
from typing import Any

from ssrobust_lib.datasets.formats import age_in_years, read_picture
from ssrobust_lib.datasets.loader import LOADERS, LayoutError, Loader, Row, XRay, find_folder, relative
from ssrobust_lib.datasets.rsna import read_table

TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
LISTS = {"train": "train_val_list.txt", "test": "test_list.txt"}


def pneumonia_label(findings: str) -> int | None:
    """1, 0 or None (neither pneumonia nor normal) from findings separated by a vertical bar.

    >>> pneumonia_label("Infiltration|Pneumonia"), pneumonia_label("No Finding"), pneumonia_label("Mass")
    (1, 0, None)
    """
    if "Pneumonia" in findings.split("|"):
        return 1
    return 0 if findings == "No Finding" else None


class NihLoader(Loader):
    """ChestX-ray14 as the NIH delivers it, or Kaggle's copy; images in one folder or in the twelve of the release."""

    name = "nih"
    kind = "xray"

    def list_images(self, root: Path, **options: Any) -> list[dict[str, Any]]:
        top = find_folder(root, TABLES)
        source = next((top / name for name in TABLES if (top / name).is_file()), top / TABLES[0])
        table = read_table(source, ("Image Index", "Finding Labels", "Patient ID"))
        files = {path.name: relative(path, root) for path in top.glob("images*/**/*.png")}
        splits = published_splits(top)
        images = []
        for row in table.to_dict("records"):
            name, findings = str(row["Image Index"]), str(row["Finding Labels"])
            label = pneumonia_label(findings)
            image = {
                "sample_id": Path(name).stem,
                "patient_id": str(row["Patient ID"]),
                "image": files.get(name, f"images/{name}"),
                "label": label,
                "has_label": label is not None,
                "findings": findings,
                "view": str(row.get("View Position", "")),
                "sex": str(row.get("Patient Gender", row.get("Patient Sex", ""))),
                "age": age_in_years(row.get("Patient Age", "")),
                "left_out": None if name in files else f"in {source.name}, but no folder images* has such a file",
            }
            images.append(image | ({"published_split": splits.get(name, "")} if splits else {}))
        return images

    def read_image(self, root: Path, row: Row) -> XRay:
        return read_picture(Path(root) / row["image"])


def published_splits(top: Path) -> dict[str, str]:
    """Image name -> train or test from the published lists; empty where neither list is there.

    Raises
    ------
    LayoutError
        If one of the two lists is missing, or an image stands in both.
    """
    absent = [name for name in LISTS.values() if not (top / name).is_file()]
    if len(absent) == len(LISTS):
        return {}
    if absent:
        there = next(name for name in LISTS.values() if name not in absent)
        raise LayoutError(f"{top} has {there}, but no {absent[0]}: the published split needs both, or remove it")
    members = {split: set((top / name).read_text(encoding="utf-8").split()) for split, name in LISTS.items()}
    both = sorted(members["train"] & members["test"])
    if both:
        raise LayoutError(f"{top}: {len(both)} images stand in both {' and '.join(LISTS.values())}, first {both[0]}")
    return {name: split for split, names in members.items() for name in names}


LOADERS.register("nih")(NihLoader())
