"""Tiny sets in their published layouts, written for tests: a few small files each."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from format_files import EXPLICIT, JPEG, SECONDARY_CAPTURE, save_dicom

LPS = np.diag([-2.0, -2.0, 3.0, 1.0])  # array axes (column to the left, row to the back, slice upwards); RAS world


def write_nifti(path: Path, array: np.ndarray, affine: np.ndarray = LPS, *, slope: float | None = None) -> Path:
    """Write an array as it stands; `slope` is stored in the header (0 intercept)."""
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(array, affine)
    if slope is not None:
        image.header.set_slope_inter(slope, 0)
    nibabel.save(image, path)
    return path


def write_canonical(path: Path, array: np.ndarray, spacing_mm: Sequence[float] = (3.0, 2.0, 2.0)) -> Path:
    """Write a canonical (slice, row, column) array as NIfTI of orientation LPS."""
    affine = np.diag([-spacing_mm[2], -spacing_mm[1], spacing_mm[0], 1.0])
    return write_nifti(path, np.ascontiguousarray(array.transpose(2, 1, 0)), affine)


def body(shape: tuple[int, int, int] = (6, 40, 40), seed: int = 0) -> np.ndarray:
    """int16 HU: air with a box of soft tissue that is not symmetric, and a little noise."""
    hu = np.full(shape, -1000, dtype=np.int16)
    hu[:, shape[1] // 4 : -shape[1] // 4, shape[2] // 5 : -shape[2] // 5] = 40
    hu[shape[0] // 2 :, shape[1] // 2 :, shape[2] // 2 : -shape[2] // 5] = 200
    return hu + np.random.default_rng(seed).integers(-5, 6, shape, dtype=np.int16)


def write_dicom(
    path: Path, pixels: np.ndarray, *, bits: int = 8, photometric: str = "MONOCHROME2", jpeg: bool = False
) -> None:
    """Write a radiograph with RSNA's header, invalid PatientAge included."""
    elements = {"SOPClassUID": SECONDARY_CAPTURE, "PhotometricInterpretation": photometric, "PatientID": path.stem}
    elements |= {"PatientAge": "48", "PatientSex": "F", "ViewPosition": "AP"}
    stored = pixels.astype(np.uint8 if bits == 8 else np.uint16)
    save_dicom(path, stored, elements, syntax=JPEG if jpeg else EXPLICIT, bits=bits)


def xray(seed: int = 0, side: int = 32) -> np.ndarray:
    """uint8 radiograph of noise on a ramp."""
    ramp = np.linspace(20, 200, side)[:, None] + np.random.default_rng(seed).integers(0, 40, (side, side))
    return ramp.astype(np.uint8)


def write_rsna(root: Path, n_patients: int = 4) -> Path:
    """Every second patient is positive, with two boxes."""
    rows, classes = ["patientId,x,y,width,height,Target"], ["patientId,class"]
    for k in range(n_patients):
        write_dicom(root / "stage_2_train_images" / f"p{k}.dcm", xray(k), jpeg=True)
        rows += [f"p{k},1,1,5,5,1", f"p{k},9,9,5,5,1"] if k % 2 else [f"p{k},,,,,0"]
        classes += [f"p{k},Lung Opacity"] * 2 if k % 2 else [f"p{k},Normal"]
    (root / "stage_2_train_labels.csv").write_text("\n".join(rows) + "\n")
    (root / "stage_2_detailed_class_info.csv").write_text("\n".join(classes) + "\n")
    return root


def write_pictures(root: Path, names: Sequence[str]) -> Path:
    from PIL import Image

    for seed, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(xray(seed)).save(root / name)
    return root


KERMANY = (
    "chest_xray/train/NORMAL/IM-0115-0001.jpeg",
    "chest_xray/train/NORMAL/NORMAL2-IM-0115-0001.jpeg",
    "chest_xray/train/PNEUMONIA/person23_bacteria_78.jpeg",
    "chest_xray/test/PNEUMONIA/person23_virus_53.jpeg",
    "chest_xray/test/NORMAL/IM-0003-0001-0002.jpeg",
)


def write_nih(root: Path) -> Path:
    write_pictures(root, ["images_001/images/00000001_000.png", "images_002/images/00000002_000.png"])
    write_pictures(root, ["images_002/images/00000002_001.png"])
    header = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
    rows = [
        "00000001_000.png,No Finding,0,1,58,M,PA",
        "00000002_000.png,Edema|Pneumonia,0,2,047Y,F,AP",
        "00000002_001.png,Mass,1,2,48,F,AP",
        "00000003_000.png,No Finding,0,3,30,F,PA",
    ]
    (root / "Data_Entry_2017_v2020.csv").write_text("\n".join([header, *rows]) + "\n")
    return root


def write_decathlon(root: Path, n_labelled: int = 2, n_unlabelled: int = 1) -> Path:
    """Structures Cord (1) and Gland (3); case_1 has the most; a cases.csv with the scanner."""
    training = []
    for k in range(n_labelled):
        write_canonical(root / "imagesTr" / f"case_{k}.nii.gz", body(seed=k))
        label = np.zeros((6, 40, 40), np.uint8)
        label[1:3, 15:18, 15:18], label[3:5, 20:24, 20 : 24 + k] = 1, 3
        write_canonical(root / "labelsTr" / f"case_{k}.nii.gz", label)
        training.append({"image": f"./imagesTr/case_{k}.nii.gz", "label": f"./labelsTr/case_{k}.nii.gz"})
    for k in range(n_unlabelled):
        write_canonical(root / "imagesUn" / f"un_{k}.nii.gz", body(seed=50 + k))
    labels = {"0": "background", "1": "Cord", "3": "Gland"}
    (root / "dataset.json").write_text(json.dumps({"labels": labels, "training": training}))
    cases = "".join(f"case_{k},{'AB'[k % 2]}\n" for k in range(n_labelled))
    (root / "cases.csv").write_text("case_id,scanner_group\n" + cases)
    return root


def write_own_csv(root: Path) -> Path:
    """A table of one's own over every kind of file; column `seed` tells which X-ray a row shows."""
    write_pictures(root, ["a/one.png", "a/two.jpeg", "c/Ödem.png"])
    write_dicom(root / "b" / "three.dcm", xray(3), jpeg=True)
    write_dicom(root / "b" / "four.dcm", xray(4))
    (root / "b" / "four.dcm").rename(root / "b" / "four")
    rows = ["a/one.png,0,0", "a/two.jpeg,1,1", "b/three.dcm,1,3", "b/four,0,4", "c/Ödem.png,1,2"]
    (root / "labels.csv").write_text("\n".join(["path,label,seed", *rows]) + "\n", encoding="utf-8")
    return root
