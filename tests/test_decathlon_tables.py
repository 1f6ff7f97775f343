"""`dataset.json` and `cases.csv` of a Decathlon folder: what is wrong in them is named before a scan is opened."""

import json
from pathlib import Path
from typing import Any

import pytest
from layouts import write_decathlon

from ssrobust_lib.datasets import LOADERS, index_samples
from ssrobust_lib.datasets.decathlon import label_values
from ssrobust_lib.datasets.loader import LayoutError
from ssrobust_lib.datasets.manifest import load_manifest

PAIR = {"image": "./imagesTr/case_0.nii.gz", "label": "./labelsTr/case_0.nii.gz"}


def change_index(root: Path, entries: dict[str, Any]) -> None:
    index = json.loads((root / "dataset.json").read_text())
    (root / "dataset.json").write_text(json.dumps(index | entries))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"labels": ["background", "Cord"]}, "'labels': expected values with their names.*got .*Cord"),
        ({"labels": None}, "'labels': expected .*got null"),
        ({"training": None}, "'training': expected a list of image and label, got null"),
        ({"training": {"case_0": PAIR}}, "'training': expected a list"),
        ({"training": [PAIR | {"image": 5}]}, "expected the path of a file, got 5"),
        ({"training": [PAIR | {"label": ""}]}, "expected the path of a file, got ''"),
        ({"test": None}, "'test': expected a list of scans, got null"),
        ({"test": [{"scan": "x"}]}, "expected the path of a file, got None"),
    ],
)
def test_an_index_of_another_form_is_refused(tmp_path: Path, entries: dict[str, Any], message: str) -> None:
    change_index(write_decathlon(tmp_path), entries)
    with pytest.raises(LayoutError, match=message):
        LOADERS["decathlon"].survey(tmp_path)
        label_values(tmp_path)


@pytest.mark.parametrize("value", [99_999_999_999, -1, 1.7, True, [1, 3], "one", float("inf")])
def test_label_values_are_whole_numbers_that_a_label_map_can_hold(tmp_path: Path, value: Any) -> None:
    change_index(write_decathlon(tmp_path), {"labels": {"Cord": value}})
    with pytest.raises(LayoutError, match="label 'Cord' has the value .*expected a whole number from 0 to 32,767"):
        label_values(tmp_path)


@pytest.mark.parametrize("labels", [{"Cord": 1, "Gland": 1}, {"1": "Cord", "2": "Cord"}])
def test_two_labels_of_one_value_or_one_name_are_refused(tmp_path: Path, labels: dict[str, Any]) -> None:
    change_index(write_decathlon(tmp_path), {"labels": labels})
    with pytest.raises(LayoutError, match="one name or one value: give each its own"):
        label_values(tmp_path)


def test_values_may_be_written_as_text(tmp_path: Path) -> None:
    change_index(write_decathlon(tmp_path), {"labels": {"background": "0", "Gland": "3", "Cord": 1.0}})
    assert label_values(tmp_path) == {"Cord": 1, "Gland": 3}


@pytest.mark.parametrize("labels", ["{Gland: 2}", "{Glnd: 3}"])
def test_a_manifest_cannot_give_other_label_values_than_the_folder(tmp_path: Path, labels: str) -> None:
    root = write_decathlon(tmp_path / "scans")
    (tmp_path / "scans.yaml").write_text(f"loader: decathlon\nfolder: scans\nlabels: {labels}\n")
    with pytest.raises(
        LayoutError, match=r"scans: the manifest has the label 'Gl.*files have Cord 1, Gland 3: correct"
    ):
        index_samples(load_manifest(tmp_path / "scans.yaml"), root)


def with_numbers(root: Path, cases: str) -> Path:
    """Scans that are called 007 and 010, with a table of them."""
    write_decathlon(root, n_unlabelled=0)
    pairs = []
    for old, new in (("case_0", "007"), ("case_1", "010")):
        for folder in ("imagesTr", "labelsTr"):
            (root / folder / f"{old}.nii.gz").rename(root / folder / f"{new}.nii.gz")
        pairs.append({"image": f"imagesTr/{new}.nii.gz", "label": f"labelsTr/{new}.nii.gz"})
    change_index(root, {"training": pairs})
    (root / "cases.csv").write_text(cases)
    return root


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_names_of_cases_and_patients_stay_as_they_are_written(tmp_path: Path, separator: str) -> None:
    rows = ["case_id,patient_id,scanner", "007,01,3", "010,1,"]
    samples = LOADERS["decathlon"].index(with_numbers(tmp_path, "\n".join(rows).replace(",", separator)))
    assert samples["patient_id"].tolist() == ["decathlon/01", "decathlon/1"]
    assert samples["scanner"].tolist()[0] == "3" and samples["scanner"].isna().tolist() == [False, True]


def test_a_case_of_the_table_that_is_no_scan_is_left_out_by_name(tmp_path: Path) -> None:
    samples, left_out = LOADERS["decathlon"].survey(with_numbers(tmp_path, "case_id,scanner\n007,A\n010,B\n011,A\n"))
    assert samples["sample_id"].tolist() == ["decathlon/007", "decathlon/010"]
    assert left_out["sample_id"].tolist() == ["decathlon/011"]
    assert left_out["reason"].tolist() == ["in cases.csv, but no scan of dataset.json or imagesUn is called so"]


@pytest.mark.parametrize(
    ("cases", "message"),
    [
        ("case_id,scanner\n007,A,x\n010,B\n", "line 2: expected 2 cells as in the header, found 3"),
        ("case_id,patient_id\n007,1\n010,\n", "line 3: column 'patient_id' is empty"),
        ("case_id,scanner\n007,A\n007,B\n", "line 3: the case 007 stands there twice"),
        ("case,scanner\n007,A\n", "has no column 'case_id'; its columns are case, scanner"),
        ("", "is empty: expected a header"),
    ],
)
def test_a_table_of_cases_that_contradicts_itself_is_refused(tmp_path: Path, cases: str, message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        LOADERS["decathlon"].survey(with_numbers(tmp_path, cases))
