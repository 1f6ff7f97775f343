"""DICOM series and mask pictures: stacked by geometry, turned into canonical axes, refused where they make no stack."""

import itertools
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from format_files import AXIAL, bundled, ct_elements, picture_bytes, save_dicom, write_ct_series, write_enhanced_ct
from layouts import body

from ssrobust_lib.datasets import UnreadableImageError
from ssrobust_lib.datasets.formats import read_dicom_series, read_mask_pictures

HU = body((5, 12, 10))
# every way to lay the array's axes along the patient's, a half of them left-handed
DIRECTIONS = [
    np.diag(signs)[list(order)]
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]


def shuffled(files: list[Path]) -> list[Path]:
    return random.Random(1).sample(files, len(files))


def canonical(stored: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """The array (slice, row, column) of `write_ct_series` with its axes turned to superior, posterior, left."""
    by_axis = directions[::-1]  # directions of (slice, row, column)
    order = [int(np.flatnonzero(by_axis[:, world])[0]) for world in (2, 1, 0)]
    signs = [int(by_axis[axis, world]) for axis, world in zip(order, (2, 1, 0), strict=True)]
    return stored.transpose(order)[tuple(slice(None, None, sign) for sign in signs)]


@pytest.mark.parametrize("directions", DIRECTIONS[::5] + [AXIAL, np.diag([1, 1, -1])])
def test_slices_in_any_order_and_orientation_become_canonical(tmp_path: Path, directions: np.ndarray) -> None:
    files = write_ct_series(tmp_path, HU, directions=directions)
    volume = read_dicom_series(shuffled(files))
    np.testing.assert_array_equal(volume.hu, canonical(HU, directions))
    by_world = {int(np.flatnonzero(row)[0]): size for row, size in zip(directions, (1.5, 2.0, 3.0), strict=True)}
    assert volume.spacing_mm == pytest.approx((by_world[2], by_world[1], by_world[0]))
    assert volume.hu.dtype == np.float32 and volume.hu.flags["C_CONTIGUOUS"]


@pytest.mark.parametrize(
    "syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.90"]
)
def test_compressed_series_are_the_same(tmp_path: Path, syntax: str) -> None:
    hu = body((3, 40, 40))
    np.testing.assert_array_equal(read_dicom_series(write_ct_series(tmp_path, hu, syntax=syntax)).hu, hu)


def test_each_slice_has_its_own_scale(tmp_path: Path) -> None:
    files = write_ct_series(tmp_path, HU)
    halved = {"RescaleSlope": 0.5, "RescaleIntercept": -1512}
    files += write_ct_series(tmp_path / "more", HU[:1] * 2 + 2000, elements=halved)
    import pydicom

    data = pydicom.dcmread(files[-1])
    data.ImagePositionPatient = [-40, -60, 700 + 5 * 3.0]
    data.save_as(files[-1])
    volume = read_dicom_series(files)
    np.testing.assert_array_equal(volume.hu[:5], HU)
    np.testing.assert_array_equal(volume.hu[5], HU[0])


def test_an_enhanced_file_is_the_series_of_its_frames(tmp_path: Path) -> None:
    one = write_enhanced_ct(tmp_path / "a.dcm", HU)
    mixed = write_enhanced_ct(tmp_path / "b.dcm", HU, order=[3, 0, 4, 2, 1])
    for path in (one, mixed):
        volume = read_dicom_series([path])
        np.testing.assert_array_equal(volume.hu, HU)
        assert volume.spacing_mm == pytest.approx((3, 2, 1.5))
    import pydicom

    data = pydicom.dcmread(one)
    del data.PerFrameFunctionalGroupsSequence[4:]
    data.save_as(one)
    with pytest.raises(UnreadableImageError, match=r"a.dcm: 5 frames and 4 descriptions of where they lie"):
        read_dicom_series([one])


def test_a_single_slice_takes_its_depth_from_its_thickness(tmp_path: Path) -> None:
    files = write_ct_series(tmp_path, HU[3:4])
    assert read_dicom_series(files).spacing_mm == pytest.approx((3, 2, 1.5))
    with pytest.raises(UnreadableImageError, match="without SliceThickness"):
        read_dicom_series(write_ct_series(tmp_path, HU[:1], elements={"SliceThickness": None}))
    assert read_dicom_series([bundled("CT_small.dcm")]).spacing_mm == pytest.approx((5.0, 0.661468, 0.661468))


def test_a_tilted_gantry_is_read_with_the_distance_between_slices(tmp_path: Path) -> None:
    tilted = AXIAL.copy()
    tilted[2] = [0, np.tan(np.radians(20)), 1]  # each slice is shifted towards the back
    volume = read_dicom_series(write_ct_series(tmp_path, HU, directions=tilted))
    np.testing.assert_array_equal(volume.hu, HU)
    tilted[2] = [0, 1.5, 1]
    with pytest.raises(UnreadableImageError, match="shifted against each other by 56 degrees"):
        read_dicom_series(write_ct_series(tmp_path, HU, directions=tilted))


def test_slices_that_an_anonymiser_gave_a_series_each_are_one_stack(tmp_path: Path) -> None:
    files = write_ct_series(tmp_path, HU)
    for k, path in enumerate(files):
        moved(path.rename(path.with_suffix("")), SeriesInstanceUID=f"1.2.{k}")  # EXACT09's names have no suffix, either
    np.testing.assert_array_equal(read_dicom_series([path.with_suffix("") for path in files]).hu, HU)


def moved(path: Path, **elements: Any) -> None:
    import pydicom

    data = pydicom.dcmread(path)
    for keyword, value in elements.items():
        setattr(data, keyword, value)
    data.save_as(path)


def test_what_makes_no_stack_is_named(tmp_path: Path) -> None:
    files = write_ct_series(tmp_path / "scan", HU)
    with pytest.raises(
        UnreadableImageError, match="scan: 6.00 mm between i0001.dcm and i0003.dcm, 3.00 mm .* 1 slices"
    ):
        read_dicom_series([file for k, file in enumerate(files) if k != 2])
    with pytest.raises(UnreadableImageError, match="i0002.dcm and i0002.dcm lie at one place"):
        read_dicom_series([*files, files[2]])
    moved(files[1], SeriesInstanceUID="9.9", PixelSpacing=[2.0, 2.0])
    with pytest.raises(UnreadableImageError, match=r"spacing.*; the files are of 2 series \(4 of 1.2.3, 1 of 9.9\)"):
        read_dicom_series(files)
    moved(files[1], SeriesInstanceUID="1.2.3")
    with pytest.raises(UnreadableImageError, match="i0001.dcm has another pixel spacing than i0000.dcm"):
        read_dicom_series(files)
    moved(files[1], PixelSpacing=[2.0, 1.5], ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
    with pytest.raises(UnreadableImageError, match="i0001.dcm has another direction"):
        read_dicom_series(files)
    moved(files[1], ImageOrientationPatient=[1, 0, 0, 0, 1, 0], ImagePositionPatient=[-20, -60, 703])
    with pytest.raises(UnreadableImageError, match="i0001.dcm lies 20.0 mm beside the stack"):
        read_dicom_series(files)
    with pytest.raises(UnreadableImageError, match="a series of 0 files"):
        read_dicom_series([])


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"Modality": "PT"}, "an image of modality PT; expected CT"),
        ({"Modality": None}, "modality none; expected CT"),
        ({"RescaleSlope": None}, "has no RescaleSlope"),
        ({"RescaleSlope": 0}, "scales voxels by 0.0"),
        ({"RescaleType": "OD"}, "units of OD"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "no two directions"),
        ({"ImageOrientationPatient": None}, "ImageOrientationPatient is 'None', expected 6 numbers"),
        ({"ImagePositionPatient": [0, 0]}, "ImagePositionPatient is"),
        ({"ImagePositionPatient": None}, "1 frames and 0 descriptions"),
        ({"PixelSpacing": [0, 0]}, "voxels of"),
        ({"PixelSpacing": [1, 900]}, "900"),
        ({"RescaleIntercept": 1e8}, "no Hounsfield units"),
    ],
)
def test_slices_that_are_wrong_are_named(tmp_path: Path, elements: dict[str, Any], reason: str) -> None:
    files = write_ct_series(tmp_path / "scan", HU, elements=elements)
    with pytest.raises(UnreadableImageError, match=f"scan: .*{reason}"):
        read_dicom_series(files)


def test_a_damaged_slice_names_its_file(tmp_path: Path) -> None:
    files = write_ct_series(tmp_path / "scan", HU)
    files[3].write_bytes(files[3].read_bytes()[:-20])
    with pytest.raises(UnreadableImageError, match=r"scan: i0003.dcm: the header claims .* cut short"):
        read_dicom_series(files)
    flat = write_ct_series(tmp_path / "flat", np.full((3, 4, 5), 40, np.int16))
    with pytest.raises(UnreadableImageError, match="flat: all voxels have one value"):
        read_dicom_series(flat)
    plain = save_dicom(tmp_path / "cine.dcm", np.zeros((3, 4, 5), np.uint16), ct_elements())
    with pytest.raises(UnreadableImageError, match="3 frames and 0 descriptions"):
        read_dicom_series([plain])


# --- mask pictures


def write_masks(folder: Path, masks: np.ndarray, mode: str = "L") -> list[Path]:
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for k, mask in enumerate(masks):
        path = folder / f"liver_GT_{k:03d}.png"
        picture = Image.fromarray((mask > 0).astype(np.uint8) * (255 if mode == "1" else 1) if mode == "1" else mask)
        (picture.convert("1") if mode == "1" else picture).save(path)
        files.append(path)
    return files


@pytest.mark.parametrize("directions", [AXIAL, np.diag([1, 1, -1]), np.diag([-1, 1, 1]), AXIAL[[2, 1, 0]]])
def test_masks_lie_where_the_dicom_files_of_their_number_lie(tmp_path: Path, directions: np.ndarray) -> None:
    masks = (HU > 100).astype(np.uint8) * 255
    masks[0, 0, 0], masks[4, 11, 9] = 63, 252
    series = write_ct_series(tmp_path / "DICOM_anon", HU, directions=directions)
    files = write_masks(tmp_path / "Ground", masks)
    volume = read_dicom_series(series)
    labels = read_mask_pictures(files, volume, series=series)
    assert labels.dtype == np.int16
    np.testing.assert_array_equal(labels, canonical(masks, directions))
    order = [2, 0, 4, 1, 3]
    again = read_mask_pictures([files[k] for k in order], volume, series=[series[k] for k in order])
    np.testing.assert_array_equal(again, labels)


def test_masks_without_a_series_are_taken_from_below_and_black_and_white_ones_hold_ones(tmp_path: Path) -> None:
    volume = read_dicom_series(write_ct_series(tmp_path / "scan", HU))
    masks = (HU > 100).astype(np.uint8)
    np.testing.assert_array_equal(read_mask_pictures(write_masks(tmp_path / "a", masks, "1"), volume), masks)


def test_masks_that_do_not_fit_are_named(tmp_path: Path) -> None:
    series = write_ct_series(tmp_path / "scan", HU)
    volume = read_dicom_series(series)
    files = write_masks(tmp_path / "Ground", (HU > 100).astype(np.uint8))
    with pytest.raises(UnreadableImageError, match="Ground: 4 mask pictures for 5 slices"):
        read_mask_pictures(files[:4], volume)
    with pytest.raises(UnreadableImageError, match="5 mask pictures for 4 DICOM files"):
        read_mask_pictures(files, volume, series=series[:4])
    files[2].write_bytes(picture_bytes(np.zeros((12, 11), np.uint8), "PNG"))
    with pytest.raises(UnreadableImageError, match="liver_GT_002.png: the mask has 12 x 11 pixels, its slice 12 x 10"):
        read_mask_pictures(files, volume, series=series)
    files[2].write_bytes(picture_bytes(np.zeros((12, 10, 3), np.uint8), "PNG"))
    with pytest.raises(UnreadableImageError, match="liver_GT_002.png: a picture of mode RGB"):
        read_mask_pictures(files, volume)
    files[2].write_bytes(picture_bytes(np.zeros((12, 10), np.uint8), "JPEG"))
    with pytest.raises(UnreadableImageError, match="liver_GT_002.png: not readable as PNG; it looks like JPEG"):
        read_mask_pictures(files, volume)
    files[2].write_bytes(picture_bytes(np.full((12, 10), 40_000, np.uint16), "PNG"))
    with pytest.raises(UnreadableImageError, match="holds 40000"):
        read_mask_pictures(files, volume)
