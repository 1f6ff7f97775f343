"""Phantom CT sets in the published layouts: VISCERAL Anatomy3, KiTS19, LUNA16, LiTS.

Enter: a folder, a number of scans, a grid and a seed. Leave: files that the loaders of the real sets read. Each set has
patients of its own (the set's name is part of every random stream) and its own scanner, contrast phase and reach.
Implements the data of section 3.1 and, for KiTS19, of section 3.4 of the paper, where the real ones cannot be had.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssrobust_lib.datasets.structures import VISCERAL_STRUCTURES
from ssrobust_lib.phantoms.ct import LIVER_KERNEL, LUNG_KERNEL, SHARP_KERNEL, SOFT_KERNEL, Grid, grid_over, render
from ssrobust_lib.phantoms.ct_anatomy import KIDNEY_TUMOUR, LABELS, LIVER_TUMOUR
from ssrobust_lib.phantoms.ct_parts import Patient, draw_patient
from ssrobust_lib.phantoms.ct_thorax import draw_nodules
from ssrobust_lib.phantoms.sets import Options, Progress, Rows, build_set
from ssrobust_lib.seeds import derive_seed

VERSION = 1  # of the anatomy and the files; a change of either makes old folders stale
# Reach of a scan in reference heights (mm; 0 is the first lumbar vertebra): lowest and highest slice.
THORAX_ABDOMEN, WHOLE_BODY, PELVIS_MISSING = (-338.0, 392.0), (-425.0, 428.0), (-185.0, 392.0)
KIDNEYS, CHEST, LIVER = (-185.0, 150.0), (5.0, 335.0), (-205.0, 185.0)
WHOLE_BODY_FIELD = 1.2  # field of view of a whole-body scan against a thorax-abdomen scan
VISCERAL_FIRST_ID = 10000100


def write_visceral_phantoms(
    root: Path | str,
    *,
    n_scans: int = 40,
    pixel_mm: float = 4.5,
    slice_mm: float = 9.0,
    matrix: int = 96,
    seed: int = 0,
    first_patient: int = 0,
    incomplete: int = 0,
    workers: int = 1,
    progress: Progress | None = None,
) -> Path:
    """Write a set as VISCERAL Anatomy3 lays it out: `volumes/` and `segmentations/`, one binary mask per structure.

    Even patients are scanned with contrast agent over thorax and abdomen (`<id>_1_CTce_ThAb.nii.gz`), odd ones without
    over more of the body in a field of view 1.2 times as wide (`<id>_1_CT_wb.nii.gz`).

    Parameters
    ----------
    root : the set's folder.
    n_scans : scans, each of another patient.
    pixel_mm, slice_mm, matrix : nominal in-plane spacing, slice distance, rows and columns; each scan's pixel deviates
        by up to 6 %.
    seed : decides everything, with the patient's number and the grid.
    first_patient : number of the first patient.
    incomplete : so many scans, the last ones, end above the bladder, and its mask is missing.
    workers, progress : see sets.build_set.

    Returns
    -------
    The folder. Raises as sets.build_set does, and ValueError for an impossible grid.
    """
    if not 0 <= incomplete <= n_scans:
        raise ValueError(f"expected incomplete between 0 and n_scans ({n_scans}), got {incomplete}")
    options = _options("visceral", n_scans, pixel_mm, slice_mm, matrix, seed, first_patient)
    options["incomplete"] = incomplete
    return build_set(root, options, _visceral_scan, _nothing_more, workers=workers, progress=progress)


def write_kits19_phantoms(
    root: Path | str,
    *,
    n_scans: int = 16,
    pixel_mm: float = 4.2,
    slice_mm: float = 6.0,
    matrix: int = 96,
    seed: int = 0,
    first_patient: int = 0,
    workers: int = 1,
    progress: Progress | None = None,
) -> Path:
    """Write a set as KiTS19 lays it out: `data/case_NNNNN/{imaging,segmentation}.nii.gz` and `data/kits.json`.

    Another scanner than VISCERAL's (sharp kernel, coarse noise, round field of view, flat table), an earlier contrast
    phase, the abdomen alone, and a tumour in every patient. Arrays run (slice, row, column) from the head down, with
    the published affine. Labels: 1 kidney, 2 tumour. Parameters as in `write_visceral_phantoms`; the slice distance
    varies too.
    """
    options = _options("kits19", n_scans, pixel_mm, slice_mm, matrix, seed, first_patient)
    return build_set(root, options, _kits19_scan, _kits19_table, workers=workers, progress=progress)


def write_luna16_phantoms(
    root: Path | str,
    *,
    n_scans: int = 12,
    pixel_mm: float = 4.0,
    slice_mm: float = 6.0,
    matrix: int = 96,
    seed: int = 0,
    first_patient: int = 0,
    workers: int = 1,
    progress: Progress | None = None,
) -> Path:
    """Write a set as LUNA16 lays it out: `subset0..9/<seriesuid>.mhd` with `.raw`, and `annotations.csv`.

    Chest CT without contrast agent; 0 to 4 nodules with their centres in world coordinates (LPS, mm) and diameters.
    Parameters as in `write_visceral_phantoms`.
    """
    options = _options("luna16", n_scans, pixel_mm, slice_mm, matrix, seed, first_patient)
    return build_set(root, options, _luna16_scan, _luna16_table, workers=workers, progress=progress)


def write_lits_phantoms(
    root: Path | str,
    *,
    n_scans: int = 8,
    pixel_mm: float = 4.4,
    slice_mm: float = 8.0,
    matrix: int = 96,
    seed: int = 0,
    first_patient: int = 0,
    workers: int = 1,
    progress: Progress | None = None,
) -> Path:
    """Write a set as LiTS lays it out: `volume-N.nii` and `segmentation-N.nii`; 1 liver, 2 tumour.

    Abdominal CT in the portal venous phase; every second file has its rows stored from back to front, since the real
    set mixes orientations. Parameters as in `write_visceral_phantoms`; the slice distance varies too.
    """
    options = _options("lits", n_scans, pixel_mm, slice_mm, matrix, seed, first_patient)
    return build_set(root, options, _lits_scan, _nothing_more, workers=workers, progress=progress)


def _options(
    name: str, n_scans: int, pixel_mm: float, slice_mm: float, matrix: int, seed: int, first_patient: int
) -> Options:
    if min(pixel_mm, slice_mm) <= 0 or matrix < 1 or first_patient < 0:
        raise ValueError(
            "expected positive pixel_mm, slice_mm and matrix and first_patient of 0 or more, "
            f"got {pixel_mm}, {slice_mm}, {matrix} and {first_patient}"
        )
    return {
        "set": name, "version": VERSION, "n_scans": int(n_scans), "pixel_mm": float(pixel_mm),
        "slice_mm": float(slice_mm), "matrix": int(matrix), "seed": int(seed), "first_patient": int(first_patient),
    }  # fmt: skip


def _scan(
    index: int, options: Options, reach: tuple[float, float], *, field: float = 1.0, slices: tuple[float, ...] = (1.0,)
) -> tuple[int, Patient, Grid, np.random.Generator]:
    """Patient number, patient, grid and the scan's own stream; `slices`: factors of the slice distance to draw from."""
    number = options["first_patient"] + index
    patient = draw_patient(options["seed"], options["set"], number)
    generator = patient.rng("scan")
    pixel = options["pixel_mm"] * field * generator.uniform(0.94, 1.06)
    step = options["slice_mm"] * float(generator.choice(slices))
    ends = (reach[0] + generator.uniform(-8, 4), reach[1] + generator.uniform(-4, 8))
    grid = grid_over(patient, ends, pixel_mm=float(pixel), slice_mm=step, matrix=options["matrix"])
    return number, patient, grid, generator


def _visceral_scan(folder: Path, index: int, options: Options) -> Rows:
    contrast = (options["first_patient"] + index) % 2 == 0
    reach, field = (THORAX_ABDOMEN, 1.0) if contrast else (WHOLE_BODY, WHOLE_BODY_FIELD)
    if index >= options["n_scans"] - options["incomplete"]:
        reach = PELVIS_MISSING
    number, patient, grid, generator = _scan(index, options, reach, field=field)
    hu, labels = render(patient, grid, SOFT_KERNEL, "portal" if contrast else "none")
    stem = f"{VISCERAL_FIRST_ID + number}_1_{'CTce_ThAb' if contrast else 'CT_wb'}"
    affine = _lps_affine(grid, table_mm=float(generator.uniform(-900, -300)))
    _write_nifti(folder / "volumes" / f"{stem}.nii.gz", hu.transpose(2, 1, 0), affine)
    annotator = int(generator.integers(4, 9))
    for value, structure in enumerate(VISCERAL_STRUCTURES, start=1):
        mask = labels == value
        if mask.any():
            path = folder / "segmentations" / f"{stem}_{structure.radlex_id}_{annotator}.nii.gz"
            _write_nifti(path, mask.astype(np.uint8).transpose(2, 1, 0), affine)
    return []


def _kits19_scan(folder: Path, index: int, options: Options) -> Rows:
    number, patient, grid, _ = _scan(index, options, KIDNEYS, slices=(0.8, 1.0, 1.25))
    hu, labels = render(patient, grid, SHARP_KERNEL, "nephrographic", ("kidney_tumour",))
    answer = np.zeros(256, np.uint8)
    answer[[LABELS["right_kidney"], LABELS["left_kidney"]]] = 1
    answer[KIDNEY_TUMOUR] = 2
    step, row, column = grid.spacing_mm
    affine = np.array([[0, 0, -column, 0], [0, -row, 0, 0], [-step, 0, 0, 0], [0, 0, 0, 1.0]])
    case = f"case_{number:05d}"
    _write_nifti(folder / "data" / case / "imaging.nii.gz", hu[::-1], affine)
    _write_nifti(folder / "data" / case / "segmentation.nii.gz", answer[labels[::-1]], affine)
    return [
        {"case_id": case, "captured_pixel_width": column, "captured_slice_thickness": step, "gender": _gender(patient)}
    ]


def _kits19_table(folder: Path, options: Options, rows: list[Rows]) -> None:
    import json

    cases = [row for scan in rows for row in scan]
    (folder / "data" / "kits.json").write_text(json.dumps(cases, indent=2) + "\n", encoding="utf-8")


def _gender(patient: Patient) -> str:
    return "female" if patient.female else "male"


def _luna16_scan(folder: Path, index: int, options: Options) -> Rows:
    import SimpleITK

    number, patient, grid, generator = _scan(index, options, CHEST)
    hu, _ = render(patient, grid, LUNG_KERNEL, "none", ("lung_nodule",))
    uid = f"2.25.{derive_seed(options['seed'], 'luna16', number)}"
    # The series has a world of its own: LPS, as x, y, z here, moved by the table's position.
    shift = np.array([generator.uniform(-20, 20), generator.uniform(-150, 150), generator.uniform(-400, 0)]).round(2)
    image = SimpleITK.GetImageFromArray(hu)
    image.SetSpacing([float(s) for s in grid.spacing_mm[::-1]])
    image.SetOrigin([float(o) for o in np.array(grid.origin_mm[::-1]) + shift])
    path = folder / f"subset{number % 10}" / f"{uid}.mhd"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        SimpleITK.WriteImage(image, str(path))
    except RuntimeError as error:
        raise OSError(None, str(error), str(path)) from error
    rows = []
    for nodule in draw_nodules(patient):
        centre = patient.to_scanner(nodule.centre) + shift
        if grid.origin_mm[0] <= centre[2] - shift[2] <= float(grid.axis(0)[-1]):
            x, y, z = (round(float(c), 4) for c in centre)
            rows.append(
                {"seriesuid": uid, "coordX": x, "coordY": y, "coordZ": z, "diameter_mm": round(nodule.diameter_mm, 4)}
            )
    return rows


def _luna16_table(folder: Path, options: Options, rows: list[Rows]) -> None:
    for subset in range(10):
        (folder / f"subset{subset}").mkdir(exist_ok=True)
    names = ("seriesuid", "coordX", "coordY", "coordZ", "diameter_mm")
    lines = [",".join(str(row[name]) for name in names) for scan in rows for row in scan]
    (folder / "annotations.csv").write_text("\n".join([",".join(names), *lines]) + "\n", encoding="utf-8")


def _lits_scan(folder: Path, index: int, options: Options) -> Rows:
    number, patient, grid, generator = _scan(index, options, LIVER, slices=(0.75, 1.0, 1.25))
    hu, labels = render(patient, grid, LIVER_KERNEL, "portal", ("liver_tumour",))
    answer = np.zeros(256, np.uint8)
    answer[LABELS["liver"]], answer[LIVER_TUMOUR] = 1, 2
    flip = number % 2 == 1
    affine = _lps_affine(grid, table_mm=float(generator.uniform(-500, 0)), flip_rows=flip)
    for name, array in (("volume", hu), ("segmentation", answer[labels])):
        array = array[:, ::-1] if flip else array
        _write_nifti(folder / f"{name}-{number}.nii", array.transpose(2, 1, 0), affine)
    return []


def _nothing_more(folder: Path, options: Options, rows: list[Rows]) -> None:
    """The set has no table of its own."""


def _lps_affine(grid: Grid, *, table_mm: float, flip_rows: bool = False) -> NDArray[np.float64]:
    """NIfTI affine (to RAS mm) of an array (column, row, slice) with columns to the left and rows to the back.

    With `flip_rows` the rows are stored from the back to the front.
    """
    (step, row, column), (z, y, x) = grid.spacing_mm, grid.origin_mm
    affine = np.diag([-column, -row, step, 1.0])
    affine[:3, 3] = -x, -y, z + table_mm
    if flip_rows:
        affine[1, 1], affine[1, 3] = row, -y - (grid.shape[1] - 1) * row
    return affine


def _write_nifti(path: Path, array: NDArray[Any], affine: NDArray[np.float64]) -> None:
    """Write an int16 or uint8 volume; `.gz` with the fastest compression."""
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(np.ascontiguousarray(array), affine)
    image.header.set_xyzt_units("mm")
    try:
        nibabel.save(image, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
