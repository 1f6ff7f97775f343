"""Phantom CT sets in the published layouts: VISCERAL Anatomy3, KiTS19, LUNA16, LiTS.

Enter: a folder, a number of scans, a grid and a seed. Leave: files that the loaders of the real sets read. Each set has
patients of its own (the set's name is part of every random stream) and its own scanner, contrast phase and reach.
Implements the data of section 3.1 and, for KiTS19, of section 3.4 of the paper, where the real ones cannot be had.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssrobust_lib.datasets.structures import VISCERAL_STRUCTURES
from ssrobust_lib.phantoms.ct import LIVER_KERNEL, LUNG_KERNEL, SHARP_KERNEL, SOFT_KERNEL, render
from ssrobust_lib.phantoms.ct_anatomy import KIDNEY_TUMOUR, LABELS, LIVER_TUMOUR
from ssrobust_lib.phantoms.ct_formats import write_itk, write_nifti
from ssrobust_lib.phantoms.ct_parts import Patient
from ssrobust_lib.phantoms.ct_scans import (
    CHEST,
    KIDNEYS,
    LIVER,
    PELVIS_MISSING,
    THORAX_ABDOMEN,
    WHOLE_BODY,
    draw_scan,
    lps_affine,
    no_tables,
    set_options,
)
from ssrobust_lib.phantoms.ct_thorax import draw_nodules
from ssrobust_lib.phantoms.sets import Options, Progress, Rows, build_set
from ssrobust_lib.seeds import derive_seed

WHOLE_BODY_FIELD = 1.2  # field of view of a whole-body scan against a thorax-abdomen scan
VISCERAL_FIRST_ID = 10000100
PSOAS_NUMBERS = {32248: 32249, 32249: 32248}


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
    gold: int = 0,
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
    incomplete : so many scans, the last ones (before the gold corpus), end above the bladder, and its mask is missing.
    gold : so many scans, the last ones, make up a gold corpus in `gold_corpus/`, the others lie in `silver_corpus/`. In
        the gold corpus three annotators drew the liver and two the spleen, and the numbers of the psoas muscles stand
        for the other sides.
    workers, progress : see sets.build_set.

    Returns
    -------
    The folder. Raises as sets.build_set does, and ValueError for an impossible grid.
    """
    if min(incomplete, gold) < 0 or incomplete + gold > n_scans:
        raise ValueError(f"expected incomplete and gold of 0 to n_scans ({n_scans}), got {incomplete} and {gold}")
    options = set_options("visceral", n_scans, pixel_mm, slice_mm, matrix, seed, first_patient)
    options |= {"incomplete": incomplete, "gold": gold}
    return build_set(root, options, _visceral_scan, no_tables, workers=workers, progress=progress)


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
    options = set_options("kits19", n_scans, pixel_mm, slice_mm, matrix, seed, first_patient)
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
    options = set_options("luna16", n_scans, pixel_mm, slice_mm, matrix, seed, first_patient)
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
    options = set_options("lits", n_scans, pixel_mm, slice_mm, matrix, seed, first_patient)
    return build_set(root, options, _lits_scan, no_tables, workers=workers, progress=progress)


def _visceral_scan(folder: Path, index: int, options: Options) -> Rows:
    contrast = (options["first_patient"] + index) % 2 == 0
    reach, field = (THORAX_ABDOMEN, 1.0) if contrast else (WHOLE_BODY, WHOLE_BODY_FIELD)
    silver = options["n_scans"] - options["gold"]
    if silver - options["incomplete"] <= index < silver:
        reach = PELVIS_MISSING
    number, patient, grid, generator = draw_scan(index, options, reach, field=field)
    hu, labels = render(patient, grid, SOFT_KERNEL, "portal" if contrast else "none")
    if options["gold"]:
        folder = folder / ("silver_corpus" if index < silver else "gold_corpus")
    stem = f"{VISCERAL_FIRST_ID + number}_1_{'CTce_ThAb' if contrast else 'CT_wb'}"
    affine = lps_affine(grid, table_mm=float(generator.uniform(-900, -300)))
    write_nifti(folder / "volumes" / f"{stem}.nii.gz", hu.transpose(2, 1, 0), affine)
    annotator = int(generator.integers(4, 9))
    for value, structure in enumerate(VISCERAL_STRUCTURES, start=1):
        mask = labels == value
        if not mask.any():
            continue
        drawn, number_in_name = [mask], structure.radlex_id
        if index >= silver:
            number_in_name = PSOAS_NUMBERS.get(number_in_name, number_in_name)
            drawn += _other_annotators(structure.name, mask)
        for further, drawing in enumerate(drawn):
            path = folder / "segmentations" / f"{stem}_{number_in_name}_{annotator + further}.nii.gz"
            write_nifti(path, drawing.astype(np.uint8).transpose(2, 1, 0), affine)
    return []


def _other_annotators(structure: str, mask: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """What further annotators of the gold corpus draw, bool (S, R, C): some agree, one is a voxel off."""
    moved = np.roll(mask, 1, axis=2)
    return {"liver": [moved, mask], "spleen": [moved]}.get(structure, [])


def _kits19_scan(folder: Path, index: int, options: Options) -> Rows:
    number, patient, grid, _ = draw_scan(index, options, KIDNEYS, slices=(0.8, 1.0, 1.25))
    hu, labels = render(patient, grid, SHARP_KERNEL, "nephrographic", ("kidney_tumour",))
    answer = np.zeros(256, np.uint8)
    answer[[LABELS["right_kidney"], LABELS["left_kidney"]]] = 1
    answer[KIDNEY_TUMOUR] = 2
    step, row, column = grid.spacing_mm
    affine = np.array([[0, 0, -column, 0], [0, -row, 0, 0], [-step, 0, 0, 0], [0, 0, 0, 1.0]])
    case = f"case_{number:05d}"
    write_nifti(folder / "data" / case / "imaging.nii.gz", hu[::-1], affine)
    write_nifti(folder / "data" / case / "segmentation.nii.gz", answer[labels[::-1]], affine)
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
    number, patient, grid, generator = draw_scan(index, options, CHEST)
    hu, _ = render(patient, grid, LUNG_KERNEL, "none", ("lung_nodule",))
    uid = f"2.25.{derive_seed(options['seed'], 'luna16', number)}"
    # The series has a world of its own: LPS, as x, y, z here, moved by the table's position.
    shift = np.array([generator.uniform(-20, 20), generator.uniform(-150, 150), generator.uniform(-400, 0)]).round(2)
    place = np.array(grid.origin_mm) + shift[::-1]
    write_itk(folder / f"subset{number % 10}" / f"{uid}.mhd", hu, grid.spacing_mm, place)
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
    number, patient, grid, generator = draw_scan(index, options, LIVER, slices=(0.75, 1.0, 1.25))
    hu, labels = render(patient, grid, LIVER_KERNEL, "portal", ("liver_tumour",))
    answer = np.zeros(256, np.uint8)
    answer[LABELS["liver"]], answer[LIVER_TUMOUR] = 1, 2
    flip = number % 2 == 1
    affine = lps_affine(grid, table_mm=float(generator.uniform(-500, 0)), flip_rows=flip)
    for name, array in (("volume", hu), ("segmentation", answer[labels])):
        array = array[:, ::-1] if flip else array
        write_nifti(folder / f"{name}-{number}.nii", array.transpose(2, 1, 0), affine)
    return []
