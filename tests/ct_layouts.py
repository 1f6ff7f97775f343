"""Tiny CT sets in their published layouts: scans of (6, 40, 40) voxels of 3 x 2 x 2 mm."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from format_files import ct_elements, save_dicom, write_itk
from layouts import body, write_canonical, write_nifti

from ssrobust_lib.datasets import btcv
from ssrobust_lib.datasets.structures import VISCERAL_STRUCTURES

SHAPE = (6, 40, 40)
SPACING_MM = (3.0, 2.0, 2.0)
ORIGIN = (-100.0, -40.0, -40.0)  # (z, y, x), LPS


def label_map(n_structures: int) -> np.ndarray:
    """uint8 labels 1..n, four voxels each, on slices 1 to 4."""
    labels = np.zeros(SHAPE, np.uint8)
    for k in range(n_structures):
        labels[1 + k % 4, 10:12, 2 * k : 2 * k + 2] = k + 1
    return labels


def write_scan(path: Path, array: np.ndarray, *, flipped: bool = False) -> Path:
    """MetaImage or NRRD; `flipped` stores slices from the head down and rows from the back."""
    z, y, x = ORIGIN
    if flipped:
        z, y = z + 3.0 * (array.shape[0] - 1), y + 2.0 * (array.shape[1] - 1)
        array = np.ascontiguousarray(array[::-1, ::-1])
    direction = (1, 0, 0, 0, -1, 0, 0, 0, -1) if flipped else ()
    return write_itk(path, array, direction=direction, spacing_mm=SPACING_MM, origin=(z, y, x))


def write_slices(folder: Path, hu: np.ndarray, names: Sequence[str], *, own_series: bool = False) -> None:
    """One uncompressed axial DICOM per slice, the lowest first in `names`."""
    from pydicom.uid import generate_uid

    folder.mkdir(parents=True, exist_ok=True)
    for k, (plane, name) in enumerate(zip(hu, names, strict=True)):
        series = generate_uid(entropy_srcs=[str(folder), name if own_series else "one"])
        elements = ct_elements(series, SPACING_MM) | {
            "PatientID": folder.name,
            "InstanceNumber": k + 1,
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "ImagePositionPatient": [ORIGIN[2], ORIGIN[1], ORIGIN[0] + SPACING_MM[0] * k],
            "RescaleSlope": 2,
            "RescaleIntercept": -1100,
        }
        save_dicom(folder / name, ((plane.astype(np.int32) + 1100) // 2).astype(np.uint16), elements)


def write_btcv(root: Path) -> Path:
    raw = root / "RawData"
    write_canonical(raw / "Training" / "img" / "img0001.nii.gz", body())
    write_canonical(raw / "Training" / "label" / "label0001.nii.gz", label_map(len(btcv.LABELS)))
    write_canonical(raw / "Testing" / "img" / "img0061.nii.gz", body(seed=1))
    write_canonical(root / "RegData" / "Training-Training" / "img" / "img0001-0002.nii.gz", body())
    return root


def write_cad_pe(root: Path) -> Path:
    for case, reference, flipped in (("001", "0001", False), ("e0032", "e0032", True)):
        write_scan(root / "images" / f"{case}.nrrd", body(), flipped=flipped)
        write_scan(root / "rs" / f"{reference}RefStd.nrrd", label_map(3), flipped=flipped)
    write_scan(root / "images" / "007.nrrd", body(seed=1))
    return root


def write_exact09(root: Path) -> Path:
    names = [str(1093782 + k) for k in (3, 1, 5, 0, 2, 4)]  # the order of names is not that of positions
    write_slices(root / "Training" / "CASE01", body(), names)
    write_slices(root / "Testing" / "CASE21", body(seed=1), names)
    (root / "Testing" / "CASE22").mkdir()
    return root


def write_chaos(root: Path) -> Path:
    """Patient 1 is named from the head down, patient 21 upwards and from one."""
    from PIL import Image

    liver = label_map(1)
    for patient, names in (
        ("1", [f"i{k:04d},0000b.dcm" for k in (5, 4, 3, 2, 1, 0)]),
        ("21", [f"IMG-0001-{k + 1:05d}.dcm" for k in range(6)]),
    ):
        folder = root / "Train_Sets" / "CT" / patient
        write_slices(folder / "DICOM_anon", body(), names, own_series=True)
        (folder / "Ground").mkdir()
        for place, name in enumerate(sorted(names)):
            mask = Image.fromarray(liver[names.index(name)] * np.uint8(255))
            (mask.convert("1") if patient == "1" else mask).save(folder / "Ground" / f"liver_GT_{place:03d}.png")
    test_names = [f"i{k:04d},0000b.dcm" for k in range(6)]
    write_slices(root / "Test_Sets" / "CT" / "3" / "DICOM_anon", body(seed=1), test_names)
    write_slices(root / "Train_Sets" / "MR" / "2" / "T2SPIR" / "DICOM_anon", body(), [f"IMG{k}.dcm" for k in range(6)])
    return root


def write_sliver07(root: Path) -> Path:
    write_scan(root / "training" / "scan" / "liver-orig001.mhd", body())
    write_scan(root / "training" / "label" / "liver-seg001.mhd", label_map(1) * np.uint8(1))
    write_scan(root / "test" / "scan" / "liver-orig001.mhd", body(seed=1))
    return root


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
    for k in range(2):
        write_scan(root / f"subset{k}" / f"1.3.6.{k}.mhd", body(seed=k))
    return root


def write_lits(root: Path) -> Path:
    write_canonical(root / "batch1" / "volume-0.nii", body())
    write_canonical(root / "batch1" / "segmentation-0.nii", (body() > 0).astype(np.uint8))
    write_canonical(root / "test-volume-3.nii", body(seed=1))
    return root


def write_visceral(root: Path) -> Path:
    """One complete scan, and one that lacks all but the liver."""
    for volume, n_structures in (("10000100_1_CTce_ThAb", 20), ("10000200_1_CT_wb", 1)):
        write_canonical(root / "silver" / "volumes" / f"{volume}.nii.gz", body())
        for k, structure in enumerate(VISCERAL_STRUCTURES[:n_structures]):
            mask = np.zeros(SHAPE, np.uint8)
            mask[2, 5:15, k + 5] = 1
            write_canonical(root / "silver" / "masks" / f"{volume}_{structure.radlex_id}_1.nii.gz", mask)
    write_nifti(root / "silver" / "volumes" / "10000100_1_MRT1_wb.nii.gz", body())
    return root


CT_WRITERS = {
    "btcv": write_btcv,
    "cad_pe": write_cad_pe,
    "exact09": write_exact09,
    "chaos": write_chaos,
    "sliver07": write_sliver07,
}
CT_STRUCTURES = {"btcv": list(btcv.LABELS), "cad_pe": ["embolus"], "lits": ["liver"]}
