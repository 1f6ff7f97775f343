"""Label maps as pictures, one PNG per slice, as CHAOS has them in `Ground/`.

In: the pictures of one scan, in the order of its DICOM files. Out: an int16 label map in the scan's canonical axes. A
picture does not tell where it lies; the DICOM file of the same number does.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ssrobust_lib.datasets.formats.dicom_series import read_stack
from ssrobust_lib.datasets.formats.files import named, printable
from ssrobust_lib.datasets.formats.grids import empty_canonical
from ssrobust_lib.datasets.formats.pictures import open_picture
from ssrobust_lib.datasets.loader import UnreadableImageError, Volume

MODES = ("1", "L", "P", "I;16", "I")  # one number a pixel: black and white, grey of 8 and 16 bits, indexed


def read_mask_pictures(files: Sequence[Path], like: Volume, *, series: Sequence[Path] | None = None) -> np.ndarray:
    """Read one label picture per slice.

    Parameters
    ----------
    files : PNG pictures, one per slice, in the order of `series`
    like : the scan; only its shape is used
    series : the scan's DICOM files; picture k lies where file k does. Without it, pictures are taken as they are, from
        the most inferior slice to the most superior.

    Returns
    -------
    int16 (slice, row, column), canonical axes: the pictures' numbers (0 and 1 for black and white ones, the index of an
    indexed one, else the grey value, often 255 inside)

    Raises
    ------
    UnreadableImageError
        If a picture is damaged, coloured, or of another size than the scan, or their number is not that of its slices.
    """
    folder = Path(files[0]).parent if len(files) else Path("masks")
    with named(folder, "mask pictures"):
        if series is None:
            if len(files) != like.hu.shape[0]:
                raise UnreadableImageError(f"{len(files)} mask pictures for {like.hu.shape[0]} slices, not one each")
            labels = np.empty(like.hu.shape, dtype=np.int16)
            for place, path in enumerate(map(Path, files)):
                labels[place] = _mask(path, labels.shape[1:])
            return labels
        if len(series) != len(files):
            raise UnreadableImageError(f"{len(files)} mask pictures for {len(series)} DICOM files, not one each")
        stack = read_stack(series)
        labels, in_file = empty_canonical(stack.grid, np.int16)
        if labels.shape != like.hu.shape:
            raise UnreadableImageError(f"the DICOM files have {labels.shape} voxels, the scan {like.hu.shape}")
        columns, rows, _ = stack.grid.shape
        for place, number in enumerate(stack.order):
            in_file[:, :, place] = _mask(Path(files[number]), (rows, columns)).T
        return labels


def _mask(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """One picture's numbers: integers (rows, columns)."""
    with named(path, "PNG"), open_picture(path, ("PNG",)) as picture:
        if picture.mode not in MODES:
            raise UnreadableImageError(
                f"a picture of mode {printable(picture.mode, 16)}; expected a mask of one number a pixel"
            )
        if (picture.height, picture.width) != tuple(shape):
            raise UnreadableImageError(
                f"the mask has {picture.height} x {picture.width} pixels, its slice {shape[0]} x {shape[1]}"
            )
        values = np.asarray(picture)
        if values.dtype.kind not in "bui" or int(values.max()) > np.iinfo(np.int16).max:
            raise UnreadableImageError(f"the mask holds {values.max()}; expected whole numbers up to 32767")
        return values.astype(np.int16)
