"""NIH ChestX-ray14: adult X-rays of another centre than Kermany's, labelled from reports by text mining.

In: `Data_Entry_2017_v2020.csv` and `images*/` (also `images_001/images/`) with the PNG files. Out: one sample per
image; label 1 where Pneumonia is among the findings, 0 for No Finding, and no label for everything else, which leaves
those images to the pretext pool. Several images belong to one patient.
"""

from pathlib import Path
from typing import Any

from ssrobust_lib.datasets.formats import age_in_years, read_picture
from ssrobust_lib.datasets.loader import LOADERS, Loader, Row, XRay, relative
from ssrobust_lib.datasets.rsna import read_table

TABLE = "Data_Entry_2017_v2020.csv"


def pneumonia_label(findings: str) -> int | None:
    """1, 0 or None (neither pneumonia nor normal) from findings separated by a vertical bar.

    >>> pneumonia_label("Infiltration|Pneumonia"), pneumonia_label("No Finding"), pneumonia_label("Mass")
    (1, 0, None)
    """
    if "Pneumonia" in findings.split("|"):
        return 1
    return 0 if findings == "No Finding" else None


class NihLoader(Loader):
    """ChestX-ray14 as the NIH delivers it; images may lie in one folder or in the twelve of the release."""

    name = "nih"
    kind = "xray"

    def list_images(self, root: Path, **options: Any) -> list[dict[str, Any]]:
        table = read_table(root / TABLE, ("Image Index", "Finding Labels", "Patient ID"))
        files = {path.name: relative(path, root) for path in root.glob("images*/**/*.png")}
        images = []
        for row in table.to_dict("records"):
            name, findings = str(row["Image Index"]), str(row["Finding Labels"])
            label = pneumonia_label(findings)
            images.append(
                {
                    "sample_id": Path(name).stem,
                    "patient_id": str(row["Patient ID"]),
                    "image": files.get(name, f"images/{name}"),
                    "label": label,
                    "has_label": label is not None,
                    "findings": findings,
                    "view": str(row.get("View Position", "")),
                    "sex": str(row.get("Patient Gender", "")),
                    "age": age_in_years(row.get("Patient Age", "")),
                    "left_out": None if name in files else f"in {TABLE}, but no folder images* has such a file",
                }
            )
        return images

    def read_image(self, root: Path, row: Row) -> XRay:
        return read_picture(Path(root) / row["image"])


LOADERS.register("nih")(NihLoader())
