"""Phantom CT sets in the layouts of five challenges: CAD-PE, EXACT'09, BTCV, CHAOS, SLIVER07.

Enter: a folder, a number of scans, a grid and a seed. Leave: files that the loaders of the real sets read, with labels
where the real ones have them. Together with LUNA16 and LiTS (ct_files) these stand in for the seven pretext sets of
section 3.1 of the paper. Parameters as in `ct_files.write_visceral_phantoms`.
"""

from pathlib import Path

import numpy as np

from ssrobust_lib.datasets import btcv
from ssrobust_lib.phantoms.ct import LIVER_KERNEL, LUNG_KERNEL, SHARP_KERNEL, SOFT_KERNEL, render
from ssrobust_lib.phantoms.ct_anatomy import EMBOLUS, FURTHER_LABELS, LABELS, LIVER_TUMOUR
from ssrobust_lib.phantoms.ct_formats import write_dicom_series, write_itk, write_mask_pictures, write_nifti
from ssrobust_lib.phantoms.ct_scans import CHEST, LIVER, draw_scan, lps_affine, no_tables, set_options
from ssrobust_lib.phantoms.sets import Options, Progress, Rows, build_set
from ssrobust_lib.seeds import derive_seed

# numbers of the published cases, training and test
EXACT09_CASES = (range(1, 21), range(21, 41))
BTCV_CASES = ((*range(1, 11), *range(21, 41)), range(61, 81))
SLIVER07_CASES = (range(1, 21), range(1, 11))
CHAOS_TRAIN = (1, 2, 5, 6, 8, 10, 14, 16, 18, 19, *range(21, 31))
CHAOS_CASES = (CHAOS_TRAIN, tuple(number for number in range(1, 41) if number not in CHAOS_TRAIN))


def write_cad_pe_phantoms(
    root: Path | str,
    *,
    n_scans: int = 8,
    pixel_mm: float = 4.0,
    slice_mm: float = 6.0,
    matrix: int = 96,
    seed: int = 0,
    first_patient: int = 0,
    workers: int = 1,
    progress: Progress | None = None,
) -> Path:
    """Write a set as CAD-PE lays it out: `images/NNN.nrrd` and `rs/NNNNRefStd.nrrd`, one value per embolus.

    Chest CT with the contrast agent in the pulmonary arteries. Every third scan bears a name with `e`; every second is
    stored from the head to the feet.
    """
    options = set_options("cad_pe", n_scans, pixel_mm, slice_mm, matrix, seed, first_patient)
    return build_set(root, options, _cad_pe_scan, no_tables, workers=workers, progress=progress)


def write_exact09_phantoms(
    root: Path | str,
    *,
    n_scans: int = 8,
    pixel_mm: float = 4.0,
    slice_mm: float = 6.0,
    matrix: int = 96,
    seed: int = 0,
    first_patient: int = 0,
    workers: int = 1,
    progress: Progress | None = None,
) -> Path:
    """Write a set as EXACT'09 lays it out: `Training/CASEnn` and `Testing/CASEnn`, DICOM slices without a suffix.

    Chest CT without contrast agent, training and test scans in turn; no labels, as the challenge publishes none.
    """
    options = set_options("exact09", n_scans, pixel_mm, slice_mm, matrix, seed, first_patient)
    return build_set(root, options, _exact09_scan, no_tables, workers=workers, progress=progress)


def write_btcv_phantoms(
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
    """Write a set as BTCV lays it out: `RawData/Training/{img,label}` and `RawData/Testing/img`; thirteen organs.

    Abdominal CT in the portal venous phase, training and test scans in turn.
    """
    options = set_options("btcv", n_scans, pixel_mm, slice_mm, matrix, seed, first_patient)
    return build_set(root, options, _btcv_scan, no_tables, workers=workers, progress=progress)


def write_chaos_phantoms(
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
    """Write a set as CHAOS lays out its CT part: `Train_Sets/CT/<n>/{DICOM_anon,Ground}` and `Test_Sets/CT/<n>`.

    Abdominal CT of healthy livers in the portal venous phase, training and test scans in turn. As published, masks are
    numbered like the names of the slices, which run from the head to the feet in some series and upwards in others, and
    the slices of one scan have series identifiers of their own.
    """
    options = set_options("chaos", n_scans, pixel_mm, slice_mm, matrix, seed, first_patient)
    return build_set(root, options, _chaos_scan, no_tables, workers=workers, progress=progress)


def write_sliver07_phantoms(
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
    """Write a set as SLIVER07's archives unpack: `training/{scan,label}` and `test/scan`, MetaImage.

    Abdominal CT in the portal venous phase, livers with tumours, training and test scans in turn.
    """
    options = set_options("sliver07", n_scans, pixel_mm, slice_mm, matrix, seed, first_patient)
    return build_set(root, options, _sliver07_scan, no_tables, workers=workers, progress=progress)


def _case(options: Options, number: int, cases: tuple) -> tuple[bool, int]:
    """Whether a scan is a test scan, and its published number; training and test scans take turns.

    Raises
    ------
    ValueError
        If the set has no more such cases.
    """
    is_test, place = bool(number % 2), number // 2
    if place >= len(cases[is_test]):
        most = 2 * min(map(len, cases))
        raise ValueError(f"{options['set']}: expected patient numbers below {most}, as many cases are published")
    return is_test, cases[is_test][place]


def _cad_pe_scan(folder: Path, index: int, options: Options) -> Rows:
    from scipy.ndimage import label

    number, patient, grid, _ = draw_scan(index, options, CHEST, slices=(0.75, 1.0))
    hu, labels = render(patient, grid, SOFT_KERNEL, "pulmonary", ("pulmonary_embolus",))
    emboli, _ = label(labels == EMBOLUS)
    case, reference = f"{number + 1:03d}", f"{number + 1:04d}"
    if number % 3 == 2:
        case = reference = f"e{number + 1:04d}"
    downwards = number % 2 == 1
    for path, array in (
        (folder / "images" / f"{case}.nrrd", hu),
        (folder / "rs" / f"{reference}RefStd.nrrd", emboli.astype(np.uint8)),
    ):
        write_itk(path, array, grid.spacing_mm, grid.origin_mm, downwards=downwards, compress=True)
    return []


def _exact09_scan(folder: Path, index: int, options: Options) -> Rows:
    number, patient, grid, generator = draw_scan(index, options, CHEST)
    is_test, case = _case(options, number, EXACT09_CASES)
    hu, _ = render(patient, grid, LUNG_KERNEL, "none")
    first = int(generator.integers(1_000_000, 9_000_000))
    write_dicom_series(
        folder / ("Testing" if is_test else "Training") / f"CASE{case:02d}",
        hu,
        grid,
        [str(first + k) for k in range(len(hu))],
        uid=derive_seed(options["seed"], "exact09", number),
        patient_name=f"CASE{case:02d}",
        table_mm=float(generator.uniform(-400, 0)),
    )
    return []


def _btcv_scan(folder: Path, index: int, options: Options) -> Rows:
    number, patient, grid, generator = draw_scan(index, options, LIVER, slices=(0.75, 1.0, 1.25))
    is_test, case = _case(options, number, BTCV_CASES)
    hu, labels = render(patient, grid, LIVER_KERNEL, "portal", further=True)
    affine = lps_affine(grid, table_mm=float(generator.uniform(-500, 0)))
    part = folder / "RawData" / ("Testing" if is_test else "Training")
    write_nifti(part / "img" / f"img{case:04d}.nii.gz", hu.transpose(2, 1, 0), affine)
    if not is_test:
        answer = np.zeros(256, np.uint8)
        for name, value in btcv.LABELS.items():
            answer[{**LABELS, **FURTHER_LABELS}[name]] = value
        write_nifti(part / "label" / f"label{case:04d}.nii.gz", answer[labels].transpose(2, 1, 0), affine)
    return []


def _chaos_scan(folder: Path, index: int, options: Options) -> Rows:
    number, patient, grid, generator = draw_scan(index, options, LIVER)
    is_test, case = _case(options, number, CHAOS_CASES)
    hu, labels = render(patient, grid, SHARP_KERNEL, "portal")
    n, first_style = len(hu), (number // 2) % 2 == 0
    # place in the order of names of each slice, from the feet to the head
    places = range(n - 1, -1, -1) if first_style else range(n)
    patient_folder = folder / ("Test_Sets" if is_test else "Train_Sets") / "CT" / str(case)
    write_dicom_series(
        patient_folder / "DICOM_anon",
        hu,
        grid,
        [f"i{k:04d},0000b.dcm" if first_style else f"IMG-0001-{k + 1:05d}.dcm" for k in places],
        uid=derive_seed(options["seed"], "chaos", number),
        patient_name="anonymous",
        table_mm=float(generator.uniform(-500, 0)),
        own_series=True,
    )
    if not is_test:
        write_mask_pictures(
            patient_folder / "Ground", labels == LABELS["liver"], [f"liver_GT_{k:03d}.png" for k in places]
        )
    return []


def _sliver07_scan(folder: Path, index: int, options: Options) -> Rows:
    number, patient, grid, _ = draw_scan(index, options, LIVER, slices=(0.75, 1.0, 1.25))
    is_test, case = _case(options, number, SLIVER07_CASES)
    hu, labels = render(patient, grid, LIVER_KERNEL, "portal", ("liver_tumour",))
    part = folder / ("test" if is_test else "training")
    write_itk(part / "scan" / f"liver-orig{case:03d}.mhd", hu, grid.spacing_mm, grid.origin_mm)
    if not is_test:
        liver = ((labels == LABELS["liver"]) | (labels == LIVER_TUMOUR)).astype(np.int8)
        write_itk(part / "label" / f"liver-seg{case:03d}.mhd", liver, grid.spacing_mm, grid.origin_mm)
    return []
