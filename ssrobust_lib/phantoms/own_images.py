"""Phantoms in the form of a reader's own images: a table of X-rays, and a Decathlon folder of CT scans.

Enter: a folder. Leave: files as the book's chapter on own data describes them, with which its examples run as printed.
Neither is a published set; both have a second place (another hospital, another scanner) to be tested on.
"""

from pathlib import Path

import numpy as np

from ssrobust_lib.phantoms.sets import Options, Progress, Rows, build_set
from ssrobust_lib.phantoms.xray import draw_patient, render
from ssrobust_lib.phantoms.xray_pictures import save_picture
from ssrobust_lib.seeds import derive_seed

VERSION = 1  # of the files; a change makes old folders stale
TABLE = "films.csv"
# of twenty patients in a row: who is trained on, validated on, tested on, has no label, comes from elsewhere
PARTS = ("train",) * 9 + ("val",) * 2 + ("test",) * 4 + ("unlabelled",) * 2 + ("external",) * 3
STRUCTURES = {"liver": ("liver",), "spleen": ("spleen",), "kidney": ("right_kidney", "left_kidney")}
REACH_MM = (-185.0, 185.0)  # upper abdomen
UNLABELLED_EVERY = 5


def write_own_xrays(
    root: Path | str, *, n_patients: int = 120, size: int = 96, seed: int = 1, progress: Progress | None = None
) -> Path:
    """Write X-rays and `films.csv` with the columns file, finding, person and part; see sets.build_set for errors.

    Files of the own hospital are PNG or JPEG, those of the other one DICOM. A finding is opacity or clear.

    Parameters
    ----------
    root : folder of the set
    n_patients : of twenty in a row nine for training, two for validation, four for testing, two unlabelled, three
        external
    size : pixels along an edge, 32 or more
    seed : decides everything
    """
    options = {"set": "own xrays", "version": VERSION, "n_scans": n_patients, "size": size, "seed": seed}
    return build_set(root, options, _own_xray, _own_table, workers=1, progress=progress)


def write_own_scans(
    root: Path | str, *, n_scans: int = 15, matrix: int = 64, seed: int = 1, progress: Progress | None = None
) -> Path:
    """Write a folder in the layout of the Medical Segmentation Decathlon; see sets.build_set for errors.

    `dataset.json` (liver, spleen, kidney), `imagesTr`, `labelsTr`, `imagesTs` (every fifth scan, without labels) and
    `cases.csv` (case_id, scanner): every third scan comes from scanner B, which has a sharper kernel and more noise.

    Parameters
    ----------
    root : folder of the set
    n_scans : scans, each of another patient
    matrix : rows and columns; the field of view is 480 mm, slices lie 10 mm apart
    seed : decides everything
    """
    options = {"set": "own scans", "version": VERSION, "n_scans": n_scans, "matrix": matrix, "seed": seed}
    return build_set(root, options, _own_scan, _own_index, workers=1, progress=progress)


def _own_xray(folder: Path, index: int, options: Options) -> Rows:
    seed, size, part = derive_seed(options["seed"], "own xrays"), int(options["size"]), PARTS[index % len(PARTS)]
    patient = draw_patient(seed, 2 * index if index % 2 else _sick_one(seed, index))
    film = render(patient, seed, size)
    suffix = ".dcm" if part == "external" else (".png", ".jpg")[index % 2]
    name = f"images/film_{index:04d}{suffix}"
    if part == "external":
        from ssrobust_lib.phantoms.xray_files import dicom_of, patient_id

        (folder / "images").mkdir(exist_ok=True)
        dicom_of(patient, film, patient_id(seed, index)).save_as(folder / name, enforce_file_format=True)
    else:
        save_picture(folder / name, film)
    finding = "" if part == "unlabelled" else ("opacity" if patient.positive else "clear")
    return [{"file": name, "finding": finding, "person": f"P{index:04d}", "part": part}]


def _sick_one(seed: int, index: int) -> int:
    """Number of a phantom patient with pneumonia, another one for every even index: half of the films show it."""
    from ssrobust_lib.phantoms.xray import category_of
    from ssrobust_lib.phantoms.xray_findings import OPACITY

    number = 10_000 + 40 * index
    while category_of(seed, number) != OPACITY:
        number += 1
    return number


def _own_table(folder: Path, options: Options, rows: list[Rows]) -> None:
    columns = ("file", "finding", "person", "part")
    lines = [",".join(str(row[column]) for column in columns) for patient in rows for row in patient]
    (folder / TABLE).write_text("\n".join([",".join(columns), *lines]) + "\n", encoding="utf-8")


def _own_scan(folder: Path, index: int, options: Options) -> Rows:
    import nibabel

    from ssrobust_lib.phantoms.ct import SHARP_KERNEL, SOFT_KERNEL, grid_over, render
    from ssrobust_lib.phantoms.ct_anatomy import LABELS
    from ssrobust_lib.phantoms.ct_parts import draw_patient

    matrix, scanner = int(options["matrix"]), "B" if index % 3 == 2 else "A"
    patient = draw_patient(options["seed"], "own scans", index)
    grid = grid_over(patient, REACH_MM, pixel_mm=480 / matrix, slice_mm=10.0, matrix=matrix)
    hu, labels = render(patient, grid, SHARP_KERNEL if scanner == "B" else SOFT_KERNEL, "portal")
    (step, row, column), (z, y, x) = grid.spacing_mm, grid.origin_mm
    affine = np.diag([-column, -row, step, 1.0])  # columns to the left, rows to the back, slices to the head
    affine[:3, 3] = -x, -y, z
    case, labelled = f"case_{index:03d}", index % UNLABELLED_EVERY != UNLABELLED_EVERY - 1
    values = np.zeros(256, np.uint8)
    for value, parts in enumerate(STRUCTURES.values(), start=1):
        values[[LABELS[part] for part in parts]] = value
    volumes = {"imagesTr" if labelled else "imagesTs": hu} | ({"labelsTr": values[labels]} if labelled else {})
    for place, volume in volumes.items():
        (folder / place).mkdir(exist_ok=True)
        image = nibabel.Nifti1Image(np.ascontiguousarray(volume.transpose(2, 1, 0)), affine)
        nibabel.save(image, folder / place / f"{case}.nii.gz")
    return [{"case": case, "scanner": scanner, "labelled": labelled}]


def _own_index(folder: Path, options: Options, rows: list[Rows]) -> None:
    import json

    cases = [row for scan in rows for row in scan]
    pairs = [
        {"image": f"./imagesTr/{row['case']}.nii.gz", "label": f"./labelsTr/{row['case']}.nii.gz"}
        for row in cases
        if row["labelled"]
    ]
    test = [f"./imagesTs/{row['case']}.nii.gz" for row in cases if not row["labelled"]]
    index = {
        "name": "Phantoms",
        "description": "made-up patients",
        "tensorImageSize": "3D",
        "modality": {"0": "CT"},
        "labels": {"0": "background"} | {str(value): name for value, name in enumerate(STRUCTURES, start=1)},
        "numTraining": len(pairs),
        "numTest": len(test),
        "training": pairs,
        "test": test,
    }
    (folder / "dataset.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    table = "\n".join(["case_id,scanner", *(f"{row['case']},{row['scanner']}" for row in cases)])
    (folder / "cases.csv").write_text(table + "\n", encoding="utf-8")
