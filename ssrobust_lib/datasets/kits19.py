"""KiTS19: kidney CT of another centre, on which the paper deploys its segmentation networks (section 3.4).

In: `case_NNNNN/{imaging,segmentation}.nii.gz`, in `data/` of the publisher's repository. Out: one sample per case,
labels kidney and tumour; sex and age where `kits.json` beside the cases tells them.

The published arrays run (slice, row, column), unlike those of other NIfTI sets; their affine says so, and the reader
follows the affine. Whether the tumour counts as kidney is for the profile to say (`evaluation.tumour`): it stays a
structure of its own here.
"""

import json
import re
from pathlib import Path
from typing import Any

from ssrobust_lib.datasets.formats import age_in_years
from ssrobust_lib.datasets.labelled_nifti import LabelledNiftiLoader
from ssrobust_lib.datasets.loader import LOADERS, LayoutError, relative

LABELS = {"kidney": 1, "tumour": 2}
CASES = "kits.json"
_CASE = re.compile(r"case_\d{5}")


class Kits19Loader(LabelledNiftiLoader):
    """KiTS19's repository after its own download script has run; cases 210 to 299 have no public segmentation."""

    name = "kits19"
    values = LABELS

    def list_images(self, root: Path, **options: Any) -> list[dict[str, Any]]:
        folders = sorted(path for path in root.rglob("case_*") if _CASE.fullmatch(path.name) and path.is_dir())
        told = {parent: read_cases(parent / CASES) for parent in {folder.parent for folder in folders}}
        images = []
        for folder in folders:
            case = told[folder.parent].get(folder.name, {})
            scan, label = folder / "imaging.nii.gz", folder / "segmentation.nii.gz"
            images.append(
                {
                    "sample_id": folder.name,
                    "patient_id": folder.name,
                    "image": relative(scan, root),
                    "label": None,
                    "has_label": label.is_file(),
                    "label_file": relative(label, root) if label.is_file() else "",
                    "sex": str(case.get("gender") or ""),
                    "age": age_in_years(case.get("age_at_nephrectomy")),
                    "left_out": None if scan.is_file() else "imaging.nii.gz is missing: run the set's download script",
                }
            )
        return images


def read_cases(path: Path) -> dict[str, dict[str, Any]]:
    """Case -> what the published table says of it; its first release names cases and spacings alone.

    Empty where there is no such file; LayoutError where it is no list of cases.
    """
    if not path.is_file():
        return {}
    try:
        cases = json.loads(path.read_text(encoding="utf-8"))
        return {str(case["case_id"]): case for case in cases}
    except (ValueError, TypeError, KeyError) as error:
        raise LayoutError(
            f"{path}: expected a JSON list of cases with a case_id each ({error}): get the file anew, or remove it"
        ) from error


LOADERS.register("kits19")(Kits19Loader())
