"""X-ray sets in their published layouts: whose image it is, its label, what is left out and why."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from layouts import KERMANY, write_dicom, write_nih, write_pictures, write_rsna, xray

from ssrobust_lib.datasets import LOADERS, LayoutError, read_image
from ssrobust_lib.datasets.loader import OptionError
from ssrobust_lib.splits.rules import PatientCrossesError, check_no_patient_crosses


def test_rsna_has_one_sample_per_patient_and_its_header_is_read_without_a_warning(roots: dict[str, Path]) -> None:
    samples = LOADERS["rsna"].index(roots["rsna"])
    assert samples["label"].tolist() == [0, 1, 0, 1]
    assert samples["detailed_class"].tolist() == ["Normal", "Lung Opacity"] * 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = read_image("rsna", roots["rsna"], samples.iloc[1])
    assert image.metadata == {"view": "AP", "sex": "F", "age": 48.0}
    np.testing.assert_allclose(image.pixels, xray(1) / 255, atol=8 / 255)  # JPEG


def test_rsna_label_rows_repeat_an_image_and_cross(roots: dict[str, Path]) -> None:
    samples = LOADERS["rsna"].index(roots["rsna"], unit="label_row")
    assert len(samples) == 6 and samples["image"].nunique() == 4 and samples["patient_id"].nunique() == 4
    with pytest.raises(PatientCrossesError):
        check_no_patient_crosses(samples.assign(split=["train", "train", "test", "test", "train", "test"]))
    with pytest.raises(OptionError, match="unknown value of unit 'box'.*label_row"):
        LOADERS["rsna"].index(roots["rsna"], unit="box")


def test_rsna_reports_a_labelled_patient_without_a_file(tmp_path: Path) -> None:
    write_rsna(tmp_path)
    (tmp_path / "stage_2_train_images" / "p2.dcm").unlink()
    samples, left_out = LOADERS["rsna"].survey(tmp_path)
    assert len(samples) == 3 and left_out["sample_id"].tolist() == ["rsna/p2"]
    (tmp_path / "stage_2_train_labels.csv").write_text("patientId,Label\np1,1\n")
    with pytest.raises(LayoutError, match="no column Target; its columns are patientId, Label"):
        LOADERS["rsna"].survey(tmp_path)


def test_kermany_patients_are_series_and_number(roots: dict[str, Path]) -> None:
    samples = LOADERS["kermany"].index(roots["kermany"]).set_index("sample_id")
    assert samples.loc["kermany/person23_bacteria_78", "patient_id"] == "kermany/person-23"
    assert samples.loc["kermany/person23_virus_53", "patient_id"] == "kermany/person-23"
    assert samples.loc["kermany/IM-0115-0001", "patient_id"] == "kermany/IM-115"
    assert samples.loc["kermany/NORMAL2-IM-0115-0001", "patient_id"] == "kermany/NORMAL2-IM-115"
    assert samples["label"].sum() == 2 and samples["kind"].value_counts()["normal"] == 3


@pytest.mark.parametrize("archive", ["", "chest_xray", "archive/chest_xray", "ZhangLabData/CellData/chest_xray"])
def test_kermany_is_found_however_deep_its_archive_unpacks(tmp_path: Path, archive: str) -> None:
    top = tmp_path / archive
    write_pictures(top, ["train/NORMAL/NORMAL-11-0001.jpeg", "train/PNEUMONIA/VIRUS-7-0001.jpeg"])
    write_pictures(top, ["test/PNEUMONIA/BACTERIA-7-0002.jpeg"])
    (top / "train/NORMAL/._NORMAL-11-0001.jpeg").write_bytes(b"resource fork")
    samples = LOADERS["kermany"].index(tmp_path).set_index("sample_id")
    assert samples["patient_id"].to_dict() == {
        "kermany/NORMAL-11-0001": "kermany/patient-11",
        "kermany/VIRUS-7-0001": "kermany/patient-7",
        "kermany/BACTERIA-7-0002": "kermany/patient-7",
    }
    assert samples["kind"].tolist() == ["bacteria", "normal", "virus"] and samples["label"].sum() == 2


def test_kaggles_second_copy_of_kermany_is_not_read(tmp_path: Path) -> None:
    write_pictures(tmp_path, KERMANY)
    write_pictures(tmp_path / "chest_xray", KERMANY)
    write_pictures(tmp_path, ["__MACOSX/chest_xray/train/NORMAL/IM-0001-0001.jpeg"])
    samples = LOADERS["kermany"].index(tmp_path)
    assert len(samples) == len(KERMANY) and not samples["image"].str.contains("chest_xray/chest_xray").any()


def test_kermany_refuses_a_name_without_a_patient(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["train/NORMAL/photo.jpeg"])
    with pytest.raises(LayoutError, match="photo.jpeg holds no patient"):
        LOADERS["kermany"].index(tmp_path)


def test_nih_labels_and_patients(roots: dict[str, Path]) -> None:
    samples, left_out = LOADERS["nih"].survey(roots["nih"])
    assert [None if pd.isna(label) else label for label in samples["label"]] == [0, 1, None]
    assert samples["has_label"].tolist() == [True, True, False]
    assert samples["patient_id"].tolist() == ["nih/1", "nih/2", "nih/2"] and samples["age"].tolist() == [58, 47, 48]
    assert left_out["sample_id"].tolist() == ["nih/00000003_000"]


def test_nih_of_2017_in_a_folder_of_its_archive(tmp_path: Path) -> None:
    write_nih(tmp_path / "archive")
    newer = tmp_path / "archive" / "Data_Entry_2017_v2020.csv"
    newer.rename(newer.with_name("Data_Entry_2017.csv"))
    samples = LOADERS["nih"].index(tmp_path)
    assert samples["image"].str.startswith("archive/images_00").all() and len(samples) == 3
    newer.write_text("Image Index,Finding Labels,Patient ID,Patient Sex\n00000001_000.png,Pneumonia,1,F\n")
    assert LOADERS["nih"].index(tmp_path)[["label", "sex"]].values.tolist() == [[1, "F"]], "the newer table counts"


def test_nih_lists_give_the_published_split_by_patient(tmp_path: Path) -> None:
    write_nih(tmp_path)
    assert "published_split" not in LOADERS["nih"].index(tmp_path)
    (tmp_path / "train_val_list.txt").write_text("00000002_000.png\n00000002_001.png")
    with pytest.raises(LayoutError, match=r"has train_val_list\.txt, but no test_list\.txt"):
        LOADERS["nih"].index(tmp_path)
    (tmp_path / "test_list.txt").write_text("00000001_000.png\n")
    samples = LOADERS["nih"].index(tmp_path).set_index("sample_id")["published_split"]
    assert samples.tolist() == ["test", "train", "train"]
    (tmp_path / "test_list.txt").write_text("00000001_000.png\n00000002_000.png\n")
    with pytest.raises(LayoutError, match=r"1 images stand in both .*00000002_000\.png"):
        LOADERS["nih"].index(tmp_path)


def test_rsna_test_images_have_no_labels_and_those_that_are_missing_are_named(tmp_path: Path) -> None:
    top = write_rsna(tmp_path / "rsna-pneumonia-detection-challenge")
    assert len(LOADERS["rsna"].index(tmp_path)) == 4
    with pytest.raises(LayoutError, match="stage_2_test_images holds no .dcm file"):
        LOADERS["rsna"].index(tmp_path, images="test")
    for k in range(2):
        write_dicom(top / "stage_2_test_images" / f"t{k}.dcm", xray(k), jpeg=True)
    (top / "stage_2_sample_submission.csv").write_text("patientId,PredictionString\nt0,0.5 0 0 9 9\nt1,\nt2,\n")
    samples, left_out = LOADERS["rsna"].survey(tmp_path, images="test", set_name="rsna_test")
    assert samples["sample_id"].tolist() == ["rsna_test/t0", "rsna_test/t1"] and not samples["has_label"].any()
    assert left_out["sample_id"].tolist() == ["rsna_test/t2"]
    assert read_image("rsna", tmp_path, samples.iloc[0]).metadata["view"] == "AP"
    with pytest.raises(OptionError, match="value of images 'tests'"):
        LOADERS["rsna"].index(tmp_path, images="tests")
