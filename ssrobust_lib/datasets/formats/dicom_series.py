"""A CT series in DICOM, one file per slice or one enhanced multi-frame file, to Hounsfield units.

In: the files of one folder, in any order. Out: a `Volume`. Slices are sorted by their position along the normal of
their plane, never by name or number, and the stack is refused where it has a gap, two slices at one place, or slices of
several sizes or directions. Whether slices belong together is judged by where they lie: an anonymiser may have given
each its own series identifier, which is then only part of the reason for a refusal. Geometry: PS3.3, C.7.6.2 (one slice
a file) and C.7.6.16 (functional groups of an enhanced CT).
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssrobust_lib.datasets.formats.dicom_files import (
    MAX_FRAMES,
    DicomFile,
    named_dicom,
    number,
    number_list,
    open_dicom,
    words,
)
from ssrobust_lib.datasets.formats.dicom_frames import decode_frame
from ssrobust_lib.datasets.formats.files import named, printable
from ssrobust_lib.datasets.formats.grids import HounsfieldScan, VoxelGrid, affine_from_lps, check_grid
from ssrobust_lib.datasets.loader import UnreadableImageError, Volume

MAX_SERIES_BYTES = 2**33  # of all files together
SAME_DIRECTION = 1e-3  # of a direction's cosine
UNEVEN = 0.1  # of the distance of slices; at least UNEVEN_MM
UNEVEN_MM = 0.1
MAX_TILT_DEGREES = 35.0  # of the gantry; none tilts further
UNITS = ("HU", "US", "")  # of the rescaled values; US is "unspecified"


@dataclass(frozen=True)
class Slice:
    """One slice of a series: the frame of a file, where it lies, and its scale.

    Attributes
    ----------
    frame : number of the frame in `file`
    position : (3,) mm, centre of the first pixel; to the patient's left, posterior, superior
    along_row, along_column : (3,) unit vectors from column to column, and from row to row
    spacing : distance of rows, of columns in mm
    thickness : mm; None where the header has none
    slope, intercept : HU = slope * stored value + intercept
    """

    file: DicomFile
    frame: int
    position: np.ndarray
    along_row: np.ndarray
    along_column: np.ndarray
    spacing: tuple[float, float]
    thickness: float | None
    slope: float
    intercept: float


@dataclass(frozen=True)
class Stack:
    """Slices in the order of their positions, and the grid that they make; its third axis runs over the slices.

    `order` is the number of each slice among those that were given.
    """

    slices: tuple[Slice, ...]
    order: tuple[int, ...]
    grid: VoxelGrid


def read_dicom_series(files: Sequence[Path]) -> Volume:
    """Read the CT series that files make up.

    Parameters
    ----------
    files : of one series and all of it, in any order: one file per slice, or an enhanced CT of several frames

    Raises
    ------
    UnreadableImageError
        If a file is damaged or no CT, or the files make up no single, complete, evenly spaced stack.
    """
    stack = read_stack(files)
    with named(_folder(files), "a CT series"):
        scan = HounsfieldScan(stack.grid)
        decoded: dict[int, list[int]] = {}  # file -> places of its slices in the stack, by frame
        for place, one in enumerate(stack.slices):
            decoded.setdefault(id(one.file), []).append(place)
        for places in decoded.values():
            _decode_file([(place, stack.slices[place]) for place in places], scan)
        return scan.finish()


def _decode_file(wanted: list[tuple[int, Slice]], scan: HounsfieldScan) -> None:
    """Decode a file's frames in their order, each put into its place in the scan."""
    file = wanted[0][1].file
    by_frame = {one.frame: (place, one) for place, one in wanted}
    with named_dicom(file.path):
        for number_, encoded in enumerate(file.encoded_frames()):
            if number_ in by_frame:
                place, one = by_frame[number_]
                values = decode_frame(file, encoded).T[:, :, None]  # (columns, rows, 1)
                scan.put(place, values, one.slope, one.intercept)


def read_stack(files: Sequence[Path]) -> Stack:
    """Read the headers of a series and lay its slices on top of each other; raises as `read_dicom_series`."""
    with named(_folder(files), "a CT series"):
        if not 0 < len(files) <= MAX_FRAMES:
            raise UnreadableImageError(f"a series of {len(files)} files; expected 1 to {MAX_FRAMES:,}")
        slices: list[Slice] = []
        series: Counter[str] = Counter()
        size = 0
        for path in map(Path, files):
            with named_dicom(path):
                file = open_dicom(path, ("CT",))
                slices += _slices(file)
                series[words(file.header, "SeriesInstanceUID")] += 1
                size += path.stat().st_size
                if size > MAX_SERIES_BYTES or len(slices) > MAX_FRAMES:
                    raise UnreadableImageError(f"{len(slices):,} slices of {size:,} bytes up to here: one series?")
        try:
            return _stacked(slices)
        except UnreadableImageError as error:
            if len(series) == 1:
                raise
            shown = ", ".join(f"{count} of {uid or 'no series'}" for uid, count in series.most_common(4))
            raise UnreadableImageError(f"{error}; the files are of {len(series)} series ({shown})") from error


def _folder(files: Sequence[Path]) -> Path:
    return Path(files[0]).parent if len(files) else Path("series")


def _slices(file: DicomFile) -> list[Slice]:
    """The slices of one file; raises where a slice's place is not told."""
    header = file.header
    if file.frames == 1 and "ImagePositionPatient" in header:
        return [_slice(file, 0, [header])]
    shared, frames = (header.get(f"{which}FunctionalGroupsSequence") or [] for which in ("Shared", "PerFrame"))
    if len(frames) != file.frames:
        raise UnreadableImageError(
            f"{file.frames} frames and {len(frames)} descriptions of where they lie; expected one for each"
        )
    return [_slice(file, k, [frame, *list(shared)[:1], header]) for k, frame in enumerate(frames)]


def _described(places: Sequence[Any], group: str, keyword: str) -> Any:
    """The part of the header that holds a keyword: a frame's own group, then the one shared by all, then the header."""
    for place in places:
        if keyword in place:
            return place
        for item in (place.get(group) or [])[:1]:
            if keyword in item:
                return item
    return places[-1]


def _slice(file: DicomFile, frame: int, places: Sequence[Any]) -> Slice:
    def numbers(group: str, keyword: str, length: int) -> np.ndarray:
        return np.array(number_list(_described(places, group, keyword), keyword, length))

    def scale(keyword: str) -> float:
        value = number(_described(places, "PixelValueTransformationSequence", keyword), keyword)
        if value is None:
            raise UnreadableImageError(f"the header has no {keyword}: values cannot be turned into Hounsfield units")
        return value

    units = words(_described(places, "PixelValueTransformationSequence", "RescaleType"), "RescaleType", 16)
    if units not in UNITS:
        raise UnreadableImageError(f"values in units of {units}; expected Hounsfield units (HU)")
    directions = numbers("PlaneOrientationSequence", "ImageOrientationPatient", 6).reshape(2, 3)
    lengths = np.linalg.norm(directions, axis=1)
    if np.abs(lengths - 1).max() > 0.01 or abs(directions[0] @ directions[1]) > 0.01:
        raise UnreadableImageError(f"ImageOrientationPatient is {directions.ravel().tolist()}: no two directions")
    along_row, along_column = directions / lengths[:, None]
    spacing = numbers("PixelMeasuresSequence", "PixelSpacing", 2)
    return Slice(
        file=file,
        frame=frame,
        position=numbers("PlanePositionSequence", "ImagePositionPatient", 3),
        along_row=along_row,
        along_column=along_column,
        spacing=(float(spacing[0]), float(spacing[1])),
        thickness=number(_described(places, "PixelMeasuresSequence", "SliceThickness"), "SliceThickness"),
        slope=scale("RescaleSlope"),
        intercept=scale("RescaleIntercept"),
    )


def _name(one: Slice) -> str:
    return printable(one.file.path.name) + (f" (frame {one.frame + 1})" if one.file.frames > 1 else "")


def _stacked(slices: Sequence[Slice]) -> Stack:
    """Sort slices and check that they make up one even stack."""
    first = slices[0]
    for one in slices[1:]:
        alike = {
            "size": (one.file.rows, one.file.columns) == (first.file.rows, first.file.columns),
            "direction": np.allclose(one.along_row, first.along_row, atol=SAME_DIRECTION)
            and np.allclose(one.along_column, first.along_column, atol=SAME_DIRECTION),
            "pixel spacing": np.allclose(one.spacing, first.spacing, rtol=1e-3),
        }
        if not all(alike.values()):
            differs = ", ".join(name for name, same in alike.items() if not same)
            raise UnreadableImageError(f"{_name(one)} has another {differs} than {_name(first)}: one series?")
    normal = np.cross(first.along_row, first.along_column)
    heights = np.array([one.position @ normal for one in slices])
    order = np.argsort(heights, kind="stable")
    ordered = [slices[k] for k in order]
    step = _step(ordered, heights[order], normal)
    columns = np.stack(
        [first.along_row * first.spacing[1], first.along_column * first.spacing[0], step], axis=1
    )  # per axis of the array (column, row, slice)
    shape = (first.file.columns, first.file.rows, len(slices))
    grid = check_grid(shape, affine_from_lps(columns, ordered[0].position))
    return Stack(tuple(ordered), tuple(int(k) for k in order), grid)


def _step(ordered: Sequence[Slice], heights: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """From slice to slice: (3,) mm.

    Raises
    ------
    UnreadableImageError
        If slices coincide, one is missing, or they are shifted against each other more than a tilted gantry explains.
    """
    if len(ordered) == 1:
        thickness = ordered[0].thickness
        if not thickness or not thickness > 0:
            raise UnreadableImageError("one slice without SliceThickness: its depth cannot be told")
        return normal * thickness
    distances = np.diff(heights)
    usual = float(np.median(distances))
    tolerance = max(UNEVEN * usual, UNEVEN_MM)
    for k in np.flatnonzero(distances < min(0.01, usual / 2) if usual > 0 else distances <= 0)[:1]:
        raise UnreadableImageError(
            f"{_name(ordered[k])} and {_name(ordered[k + 1])} lie at one place ({heights[k]:.2f} mm): two scans in one?"
        )
    for k in np.flatnonzero(np.abs(distances - usual) > tolerance)[:1]:
        missing = round(distances[k] / usual) - 1
        what = f"{missing} slices missing" if missing > 0 else "unevenly spaced"
        raise UnreadableImageError(
            f"{distances[k]:.2f} mm between {_name(ordered[k])} and {_name(ordered[k + 1])}, {usual:.2f} mm between "
            f"others: {what}"
        )
    step = (ordered[-1].position - ordered[0].position) / (len(ordered) - 1)
    tilt = math.degrees(math.acos(min(1.0, float(step @ normal) / float(np.linalg.norm(step)))))
    if tilt > MAX_TILT_DEGREES:
        raise UnreadableImageError(f"slices are shifted against each other by {tilt:.0f} degrees: no stack")
    for k, one in enumerate(ordered):
        shifted = float(np.linalg.norm(one.position - (ordered[0].position + k * step)))
        if shifted > max(2.0, float(np.linalg.norm(step))):
            raise UnreadableImageError(f"{_name(one)} lies {shifted:.1f} mm beside the stack of the others")
    return step
