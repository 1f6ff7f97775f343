"""Loaders read the published layouts; orientation, scaling and damage are told from the files themselves."""

import itertools
import json
import math
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ct_layouts import CT_STRUCTURES, CT_WRITERS
from layouts import (
    KERMANY,
    body,
    write_canonical,
    write_decathlon,
    write_dicom,
    write_nifti,
    write_nih,
    write_own_csv,
    write_pictures,
    write_rsna,
    xray,
)

from ssrobust_lib.datasets import LOADERS, LayoutError, UnreadableImageError, Volume, XRay, index_samples, read_image
from ssrobust_lib.datasets.content_hash import content_hash
from ssrobust_lib.datasets.formats import (
    age_in_years,
    read_dicom,
    read_metaimage,
    read_nifti,
    read_nifti_label,
    read_picture,
)
from ssrobust_lib.datasets.loader import SAMPLE_COLUMNS, OptionError, renumber
from ssrobust_lib.datasets.manifest import load_manifest, locate, manifests
from ssrobust_lib.datasets.structures import VISCERAL_STRUCTURES
from ssrobust_lib.datasets.visceral import vote
from ssrobust_lib.registry import UnknownNameError
from ssrobust_lib.splits import PatientCrossesError, check_no_patient_crosses

NAMES = [structure.name for structure in VISCERAL_STRUCTURES]


def write_kits19(root: Path) -> Path:
    """Three cases as (slice from above, row, column) with the published affine; the third was not downloaded."""
    affine = np.array([[0, 0, -2.0, 0], [0, -2.0, 0, 0], [-3.0, 0, 0, 0], [0, 0, 0, 1]])
    for k in range(3):
        label = np.zeros((6, 40, 40), np.uint8)
        label[5, 10:14, 25:30], label[5, 12, 26] = 1, 2
        folder = root / "data" / f"case_{k:05d}"
        if k < 2:
            write_nifti(folder / "imaging.nii.gz", body(seed=k)[::-1], affine)
        write_nifti(folder / "segmentation.nii.gz", label[::-1], affine)
    return root


def write_luna16(root: Path) -> Path:
    import SimpleITK

    for k in range(2):
        image = SimpleITK.GetImageFromArray(body(seed=k))
        image.SetSpacing((2.0, 2.0, 3.0))
        (root / f"subset{k}").mkdir(parents=True)
        SimpleITK.WriteImage(image, root / f"subset{k}" / f"1.3.6.{k}.mhd")
    return root


def write_lits(root: Path) -> Path:
    write_canonical(root / "batch1" / "volume-0.nii", body())
    write_canonical(root / "batch1" / "segmentation-0.nii", (body() > 0).astype(np.uint8))
    write_canonical(root / "test-volume-3.nii", body(seed=1))
    return root


def write_visceral(root: Path) -> Path:
    """One complete scan, and one that lacks all but the liver."""
    for volume, structures in (("10000100_1_CTce_ThAb", NAMES), ("10000200_1_CT_wb", NAMES[:1])):
        write_canonical(root / "silver" / "volumes" / f"{volume}.nii.gz", body())
        for k, structure in enumerate(VISCERAL_STRUCTURES):
            if structure.name in structures:
                mask = np.zeros((6, 40, 40), np.uint8)
                mask[2, 5:15, k + 5] = 1
                write_canonical(root / "silver" / "masks" / f"{volume}_{structure.radlex_id}_1.nii.gz", mask)
    write_nifti(root / "silver" / "volumes" / "10000100_1_MRT1_wb.nii.gz", body())
    return root


WRITERS = {
    "rsna": write_rsna,
    "kermany": lambda root: write_pictures(root, KERMANY),
    "nih": write_nih,
    "visceral": write_visceral,
    "kits19": write_kits19,
    "luna16": write_luna16,
    "lits": write_lits,
    "decathlon": write_decathlon,
    "classification_csv": write_own_csv,
    **CT_WRITERS,
}


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: WRITERS[name](tmp_path_factory.mktemp(name)) for name in LOADERS}


@pytest.mark.parametrize("name", LOADERS.names())
def test_every_loader_keeps_the_contract(roots: dict[str, Path], name: str) -> None:
    loader = LOADERS[name]
    samples, left_out = loader.survey(roots[name], set_name="mine")
    assert loader.name == name
    assert tuple(samples.columns[: len(SAMPLE_COLUMNS)]) == SAMPLE_COLUMNS
    assert samples["sample_id"].is_unique and samples["sample_id"].is_monotonic_increasing
    assert samples["sample_id"].str.startswith("mine/").all() and samples["patient_id"].str.startswith("mine/").all()
    assert samples["label"].dtype == "Int8" and samples["has_label"].dtype == bool
    assert list(left_out.columns) == ["sample_id", "path", "reason"] and (left_out["reason"].str.len() > 10).all()
    for row in samples.to_dict("records"):
        image = loader.read_image(roots[name], row)
        if loader.kind == "xray":
            assert isinstance(image, XRay) and image.pixels.dtype == np.float32 and image.pixels.ndim == 2
            assert 0 <= image.pixels.min() < image.pixels.max() <= 1
        else:
            assert isinstance(image, Volume) and image.hu.dtype == np.float32 and image.hu.shape == (6, 40, 40)
            assert image.spacing_mm == pytest.approx((3, 2, 2))
            np.testing.assert_allclose(np.median(image.hu[:, 12:18, 10:18], axis=(1, 2)), 40, atol=2)
    with pytest.raises((LayoutError, UnknownNameError)):
        loader.survey(roots["rsna" if name != "rsna" else "lits"] / "nowhere")


@pytest.mark.parametrize("name", LOADERS.names())
def test_a_sample_needs_no_other_files_than_its_own(roots: dict[str, Path], name: str, tmp_path: Path) -> None:
    """`files` names all that a sample is decoded from: with them and the set's tables, and no other, it reads the same.

    What it leaves out could change without the cache noticing.
    """
    loader, root = LOADERS[name], roots[name]
    known = [manifest.structures for manifest in manifests().values() if manifest.loader == name]
    structures = tuple(loader.label_map(root)) or (known[0] if known else ())
    for number, row in enumerate(loader.index(root).to_dict("records")):
        alone, files = tmp_path / str(number), loader.files(root, row)
        assert files and len(set(files)) == len(files)
        tables = [path for suffix in ("csv", "json") for path in root.glob(f"*.{suffix}")]
        for path in {*files, *tables}:
            (alone / path.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
            (alone / path.relative_to(root)).write_bytes(path.read_bytes())
        whole, part = loader.read_image(root, row), loader.read_image(alone, row)
        if isinstance(whole, XRay):
            np.testing.assert_array_equal(part.pixels, whole.pixels)
            continue
        np.testing.assert_array_equal(part.hu, whole.hu)
        if row["has_label"] and structures:
            labels = loader.read_label(root, row, structures)
            np.testing.assert_array_equal(loader.read_label(alone, row, structures), labels)


@pytest.mark.parametrize("name", LOADERS.names())
def test_label_maps_fit_their_scans_or_are_refused(roots: dict[str, Path], name: str) -> None:
    loader = LOADERS[name]
    own = {"visceral": NAMES, "kits19": ["kidney", "tumour"], "decathlon": ["Cord", "Gland"], **CT_STRUCTURES}
    structures = own.get(name, ["liver"])
    for row in loader.index(roots[name]).to_dict("records"):
        if loader.kind == "ct" and row["has_label"]:
            labels = loader.read_label(roots[name], row, structures)
            assert labels.shape == (6, 40, 40) and labels.dtype == np.uint8
            assert set(np.unique(labels)) == set(range(len(structures) + 1))
            with pytest.raises(UnknownNameError, match="unknown structure 'livr'"):
                loader.read_label(roots[name], row, ["livr"])
        else:
            with pytest.raises(UnreadableImageError, match="label map"):
                loader.read_label(roots[name], row, structures)


def test_importing_the_package_loads_no_decoder() -> None:
    heavy = "{'torch', 'pydicom', 'nibabel', 'SimpleITK', 'scipy', 'PIL', 'tqdm'}"
    code = f"import sys, ssrobust_lib.datasets, ssrobust_lib.datasets.cache; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"


# --- X-ray sets


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


@pytest.mark.parametrize(
    ("text", "years"), [("048Y", 48), ("6M", 0.5), ("48", 48), (30, 30), ("", None), ("155", None)]
)
def test_ages(text: object, years: float | None) -> None:
    assert math.isnan(age_in_years(text)) if years is None else age_in_years(text) == years


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_dicom_values_are_scaled_by_the_stored_bits_and_monochrome1_inverted(tmp_path: Path, bits: int) -> None:
    stored = np.random.default_rng(bits).integers(0, 2**bits, (20, 30))
    write_dicom(tmp_path / "a.dcm", stored, bits=bits)
    write_dicom(tmp_path / "b.dcm", stored, bits=bits, photometric="MONOCHROME1")
    expected = stored / (2**bits - 1)
    np.testing.assert_allclose(read_dicom(tmp_path / "a.dcm").pixels, expected, atol=1e-6)
    np.testing.assert_allclose(read_dicom(tmp_path / "b.dcm").pixels, 1 - expected, atol=1e-6)


def test_pictures_of_any_mode_become_grey(tmp_path: Path) -> None:
    from PIL import Image

    grey = Image.fromarray(xray())
    for mode in ("L", "RGB", "RGBA"):
        grey.convert(mode).save(tmp_path / "a.png")
        np.testing.assert_allclose(read_picture(tmp_path / "a.png").pixels, xray() / 255, atol=1e-6)
    deep = xray().astype(np.uint16) * 200
    Image.fromarray(deep).save(tmp_path / "b.png")
    np.testing.assert_allclose(read_picture(tmp_path / "b.png").pixels, deep / 65_535, atol=1e-6)


@pytest.mark.parametrize("read", [read_dicom, read_picture, read_nifti, read_metaimage])
def test_damaged_and_missing_files_are_named(tmp_path: Path, read: object) -> None:
    path = tmp_path / {read_nifti: "bad.nii.gz", read_metaimage: "bad.mhd"}.get(read, "bad.png")
    with pytest.raises(UnreadableImageError, match=r"bad\."):
        read(path)
    path.write_bytes(b"not an image at all" * 40)
    with pytest.raises(UnreadableImageError, match=r"bad\."):
        read(path)


def test_a_picture_cut_short_or_empty_is_refused(tmp_path: Path) -> None:
    from PIL import Image

    write_pictures(tmp_path, ["a.jpeg"])
    path = tmp_path / "a.jpeg"
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(UnreadableImageError, match="a.jpeg"):
        read_picture(path)
    Image.new("L", (20, 20), 7).save(tmp_path / "flat.png")
    with pytest.raises(UnreadableImageError, match="all pixels have one value"):
        read_picture(tmp_path / "flat.png")


def test_content_hash_tells_values_and_shapes_apart() -> None:
    zero = np.zeros((2, 3), np.float32)
    images = [zero, zero.T, zero + 1, zero + np.float32(1 / 255), zero - 1, zero + 0.3, zero - 1000, zero + 1e6]
    assert len({content_hash(image) for image in images}) == len(images)
    assert content_hash(zero.copy()) == content_hash(zero)


# --- CT sets


@pytest.mark.parametrize(
    ("order", "signs"),
    list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))[::3],
)
def test_nifti_of_any_orientation_becomes_canonical(
    tmp_path: Path, order: tuple[int, ...], signs: tuple[int, ...]
) -> None:
    canonical = body((4, 12, 10))
    spacing = np.array([3.0, 1.5, 2.0])
    stored = canonical.transpose(order)[tuple(slice(None, None, sign) for sign in signs)]
    world, towards = (2, 1, 0), (1, -1, -1)  # canonical axes run to S, P and L; the world of NIfTI is R, A, S
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for axis, (source, sign) in enumerate(zip(order, signs, strict=True)):
        affine[world[source], axis] = towards[source] * sign * spacing[source]
    volume = read_nifti(write_nifti(tmp_path / "a.nii.gz", np.ascontiguousarray(stored), affine))
    np.testing.assert_array_equal(volume.hu, canonical)
    assert volume.spacing_mm == pytest.approx(tuple(spacing))


def test_nifti_slope_is_applied_and_a_fourth_axis_of_one_dropped(tmp_path: Path) -> None:
    stored = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    write_nifti(tmp_path / "a.nii", stored[..., None], slope=2.0)
    assert read_nifti(tmp_path / "a.nii").hu.max() == 46
    with pytest.raises(UnreadableImageError, match="three axes"):
        read_nifti(write_nifti(tmp_path / "b.nii", np.stack([stored, stored], -1)))


def test_metaimage_of_any_direction_becomes_canonical(tmp_path: Path) -> None:
    import SimpleITK

    canonical = body((4, 12, 10))
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(canonical[::-1, ::-1]))
    image.SetSpacing((2.0, 1.5, 3.0))
    image.SetDirection((1, 0, 0, 0, -1, 0, 0, 0, -1))
    SimpleITK.WriteImage(image, tmp_path / "a.mhd")
    volume = read_metaimage(tmp_path / "a.mhd")
    np.testing.assert_array_equal(volume.hu, canonical)
    assert volume.spacing_mm == pytest.approx((3.0, 1.5, 2.0))
    (tmp_path / "a.raw").unlink()
    with pytest.raises(UnreadableImageError, match="a.mhd"):
        read_metaimage(tmp_path / "a.mhd")


def test_absurd_nifti_headers_and_voxels_are_refused(tmp_path: Path) -> None:
    import nibabel

    huge = nibabel.Nifti1Header()
    huge.set_data_dtype(np.int16)
    huge.set_data_shape((32_000, 32_000, 32_000))
    (tmp_path / "huge.nii").write_bytes(huge.binaryblock + bytes(4096))
    with pytest.raises(UnreadableImageError, match="claims"):
        read_nifti(tmp_path / "huge.nii")
    scan = body().astype(np.float32)
    scan[3, 4, 5] = np.nan
    with pytest.raises(UnreadableImageError, match=r"nan.nii: 1 voxels are NaN"):
        read_nifti(write_nifti(tmp_path / "nan.nii", scan))
    with pytest.raises(UnreadableImageError, match="one value"):
        read_nifti(write_nifti(tmp_path / "flat.nii", np.full((3, 4, 5), -1000, np.int16)))
    with pytest.raises(UnreadableImageError, match="mm"):
        read_nifti(write_nifti(tmp_path / "metres.nii", body(), np.diag([-900.0, -900.0, 900.0, 1])))


def test_a_label_on_another_grid_or_without_whole_numbers_is_refused(tmp_path: Path) -> None:
    scan = write_canonical(tmp_path / "scan.nii", body())
    label = np.zeros((6, 40, 40), np.uint8)
    with pytest.raises(UnreadableImageError, match=r"has \(40, 40, 5\) voxels, its scan"):
        read_nifti_label(write_canonical(tmp_path / "short.nii", label[1:]), scan)
    flipped = np.diag([2.0, -2.0, 3.0, 1.0])
    with pytest.raises(UnreadableImageError, match="mm away"):
        read_nifti_label(write_nifti(tmp_path / "flipped.nii", label.transpose(2, 1, 0), flipped), scan)
    for value in (0.5, np.nan, 1e9):
        with pytest.raises(UnreadableImageError, match="whole numbers"):
            read_nifti_label(write_canonical(tmp_path / "half.nii", label + np.float32(value)), scan)
    np.testing.assert_array_equal(read_nifti_label(write_canonical(tmp_path / "f.nii", label + np.float32(2)), scan), 2)


def test_renumber_follows_the_asked_order_and_refuses_unknown_values() -> None:
    labels = np.array([[0, 1, 3], [3, 3, 0]], np.int16)
    values = {"Cord": 1, "Gland": 3}
    np.testing.assert_array_equal(renumber(labels, values, ["Gland", "Cord"]), [[0, 2, 1], [1, 1, 0]])
    np.testing.assert_array_equal(renumber(labels, values, ["Gland"]), [[0, 0, 1], [1, 1, 0]])
    for wrong in (2, 9, -1):
        with pytest.raises(UnreadableImageError, match=rf"label values \[{wrong}\] in 1 voxels .*1 Cord, 3 Gland"):
            renumber(np.array([0, 1, wrong], np.int16), values, ["Cord"])
    with pytest.raises(ValueError, match="twice"):
        renumber(labels, values, ["Cord", "Cord"])


def test_kits19_slices_from_above_are_turned_and_the_bad_case_is_left_out(tmp_path: Path) -> None:
    write_kits19(tmp_path / "kits19")
    (tmp_path / "kits19" / "data" / "case_00001").rename(tmp_path / "kits19" / "data" / "case_00015")
    manifest = load_manifest("kits19")
    root = locate(manifest, tmp_path)
    samples, left_out = index_samples(manifest, root)
    assert samples["sample_id"].tolist() == ["kits19/case_00000"]
    assert left_out["reason"].str.contains("mislabelled|missing").all() and len(left_out) == 2
    labels = LOADERS["kits19"].read_label(root, samples.iloc[0], manifest.structures)
    assert np.unique(np.nonzero(labels)[0]).tolist() == [5] and (labels == 2).sum() == 1
    assert LOADERS["kits19"].read_image(root, samples.iloc[0]).hu[5, 30, 25] > 150  # the dense part is above


def test_visceral_takes_complete_scans_and_reports_the_rest(roots: dict[str, Path]) -> None:
    samples, left_out = LOADERS["visceral"].survey(roots["visceral"])
    assert samples["sample_id"].tolist() == ["visceral/10000100_1_CTce_ThAb"]
    row = samples.iloc[0]
    assert (row["patient_id"], row["corpus"], row["contrast"], row["field_of_view"]) == (
        "visceral/10000100",
        "silver",
        True,
        "ThAb",
    )
    assert left_out["reason"].tolist() == [f"19 of 20 structures have no mask: {', '.join(NAMES[1:])}"]
    every = LOADERS["visceral"].index(roots["visceral"], incomplete="unlabelled")
    assert every["has_label"].tolist() == [True, False]


def test_visceral_tells_psoas_sides_from_geometry_and_lets_small_structures_win(tmp_path: Path) -> None:
    write_visceral(tmp_path)
    masks = tmp_path / "silver" / "masks"
    for number, columns in ((32248, slice(30, 34)), (32249, slice(4, 8)), (58, slice(0, 40))):
        mask = np.zeros((6, 40, 40), np.uint8)
        mask[4, 20:30, columns] = 1
        write_canonical(masks / f"10000100_1_CTce_ThAb_{number}_1.nii.gz", mask)
    row = LOADERS["visceral"].index(tmp_path).iloc[0]
    labels = LOADERS["visceral"].read_label(tmp_path, row, ["liver", "right_psoas", "left_psoas"])
    assert (labels[4, 20:30, 4:8] == 2).all() and (labels[4, 20:30, 30:34] == 3).all()
    assert (labels == 1).sum() == 10 * 32
    one = LOADERS["visceral"].read_label(tmp_path, row, ["left_psoas"])
    assert set(np.nonzero(one)[2]) == set(range(30, 34))


def test_annotators_vote() -> None:
    masks = [np.array(mask, bool) for mask in ([1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 0, 0], [1, 0, 1, 0])]
    np.testing.assert_array_equal(vote(masks[:1]), masks[0])
    np.testing.assert_array_equal(vote(masks[:2]), masks[0])
    np.testing.assert_array_equal(vote(masks[:3]), [1, 1, 0, 0])
    np.testing.assert_array_equal(vote(masks), [1, 0, 0, 0])  # half is not more than half


def test_decathlon_reads_metadata_and_both_forms_of_labels(tmp_path: Path) -> None:
    write_decathlon(tmp_path)
    index = json.loads((tmp_path / "dataset.json").read_text())
    samples = LOADERS["decathlon"].index(tmp_path)
    assert samples["scanner_group"].tolist()[:2] == ["A", "B"] and samples["has_label"].tolist() == [True, True, False]
    first = LOADERS["decathlon"].read_label(tmp_path, samples.iloc[1], ["Gland", "Cord"])
    index["labels"] = {"background": 0, "Gland": 3, "Cord": 1}
    (tmp_path / "dataset.json").write_text(json.dumps(index))
    np.testing.assert_array_equal(LOADERS["decathlon"].read_label(tmp_path, samples.iloc[1], ["Gland", "Cord"]), first)
    (tmp_path / "labelsTr" / "case_0.nii.gz").unlink()
    assert "labelsTr/case_0.nii.gz is not there" in LOADERS["decathlon"].survey(tmp_path)[1]["reason"].iloc[0]
    (tmp_path / "dataset.json").write_text("{}")
    with pytest.raises(LayoutError, match="no entry 'labels'"):
        LOADERS["decathlon"].index(tmp_path)


def test_options_of_a_manifest_reach_the_loader(roots: dict[str, Path]) -> None:
    manifest = load_manifest("rsna").model_copy(update={"loader_options": {"unit": "label_row"}})
    assert len(index_samples(manifest, roots["rsna"])[0]) == 6
    assert len(index_samples(manifest, roots["rsna"], unit="patient")[0]) == 4


# --- real images, where the reader has them

REAL = os.environ.get("SSROBUST_REAL_DATA")
real = pytest.mark.skipif(not REAL, reason="SSROBUST_REAL_DATA is not set: no real images to read")


@real
@pytest.mark.parametrize(
    ("name", "images", "labelled", "positive"),
    [("rsna", 240, 240, None), ("kermany", 5_840, 5_840, 4_265), ("nih", 621, 621, 192), ("openkbp", 261, 219, 0)],
)
def test_real_sets_are_listed_in_full_and_decoded(name: str, images: int, labelled: int, positive: int | None) -> None:
    manifest = manifests()[name]
    if not (Path(REAL) / manifest.folder).is_dir():
        pytest.skip(f"SSROBUST_REAL_DATA has no folder {manifest.folder}")
    root = locate(manifest, REAL)
    samples, left_out = index_samples(manifest, root)
    assert (len(samples), samples["has_label"].sum(), len(left_out)) == (images, labelled, 0)
    if positive is not None:
        assert (samples["label"] == 1).sum() == positive
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for row in samples.iloc[:: images // 4].to_dict("records"):
            image = read_image(manifest.loader, root, row)
            if isinstance(image, XRay):
                assert image.pixels.std() > 0.05
                continue
            assert -1100 <= image.hu.min() <= -900 and image.hu.max() > 500
            if row["has_label"]:
                labels = LOADERS[manifest.loader].read_label(root, row, manifest.structures)
                columns = [np.nonzero(labels == k)[2].mean() for k in (3, 4)]
                assert columns[0] < columns[1]  # column 0 is the patient's right


@real
def test_real_kermany_patients_cross_the_published_split() -> None:
    samples = LOADERS["kermany"].index(locate(load_manifest("kermany"), REAL))
    sides = samples.groupby("patient_id")["published_split"].nunique()
    crossing = samples["patient_id"].isin(sides.index[sides > 1])
    assert (sides > 1).sum() == 170
    assert (crossing & (samples["published_split"] == "test")).sum() == 320
