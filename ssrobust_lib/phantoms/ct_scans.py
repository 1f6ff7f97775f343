"""What every phantom CT set has in common: its options, the patient and the grid of each scan, and its world.

Enter: a set's name, number of scans, grid and seed. Leave: checked options, and per scan the patient, the grid and a
random stream. Each set has patients of its own: its name is part of every stream.
"""

import numpy as np
from numpy.typing import NDArray

from ssrobust_lib.phantoms.ct import Grid, grid_over
from ssrobust_lib.phantoms.ct_parts import Patient, draw_patient
from ssrobust_lib.phantoms.sets import Options, Rows

VERSION = 1  # of the anatomy and the files; a change of either makes old folders stale
# Reach of a scan in reference heights (mm; 0 is the first lumbar vertebra): lowest and highest slice.
THORAX_ABDOMEN, WHOLE_BODY, PELVIS_MISSING = (-338.0, 392.0), (-425.0, 428.0), (-185.0, 392.0)
KIDNEYS, CHEST, LIVER = (-185.0, 150.0), (5.0, 335.0), (-205.0, 185.0)


def set_options(
    name: str, n_scans: int, pixel_mm: float, slice_mm: float, matrix: int, seed: int, first_patient: int
) -> Options:
    """Options that decide a set's content, for `sets.build_set`; raises ValueError for an impossible grid."""
    if min(pixel_mm, slice_mm) <= 0 or matrix < 1 or first_patient < 0:
        raise ValueError(
            "expected positive pixel_mm, slice_mm and matrix and first_patient of 0 or more, "
            f"got {pixel_mm}, {slice_mm}, {matrix} and {first_patient}"
        )
    return {
        "set": name, "version": VERSION, "n_scans": int(n_scans), "pixel_mm": float(pixel_mm),
        "slice_mm": float(slice_mm), "matrix": int(matrix), "seed": int(seed), "first_patient": int(first_patient),
    }  # fmt: skip


def draw_scan(
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


def lps_affine(grid: Grid, *, table_mm: float, flip_rows: bool = False) -> NDArray[np.float64]:
    """NIfTI affine (to RAS mm) of an array (column, row, slice) with columns to the left and rows to the back.

    With `flip_rows` the rows are stored from the back to the front.
    """
    (step, row, column), (z, y, x) = grid.spacing_mm, grid.origin_mm
    affine = np.diag([-column, -row, step, 1.0])
    affine[:3, 3] = -x, -y, z + table_mm
    if flip_rows:
        affine[1, 1], affine[1, 3] = row, -y - (grid.shape[1] - 1) * row
    return affine


def no_tables(folder: object, options: Options, rows: list[Rows]) -> None:
    """The set has no table of its own."""
