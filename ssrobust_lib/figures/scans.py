"""Contact sheet of CT scans: a row of planes per scan, structures drawn over them.

Enters: scans in HU as the loaders return them (slice, row, column), with their label maps where there are any.
Leaves: a figure in the radiological view (the patient's right on the left). Section 3.1 of the paper.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .canvas import StudyFigure, legend_strip, message_figure, picture, styled
from .images import legend_rows, overlay, structure_patches, window_hu
from .sheets import Sheet
from .style import structure_colours

TALLEST = 1.7  # of a row, in widths of a picture: a whole body stays within the page


@dataclass(frozen=True)
class Plane:
    """One plane of a scan.

    Attributes
    ----------
    name : what is printed above it
    image : float32 (H, W) in [0, 1]
    mask : integer (H, W), value = position of the structure + 1; None without labels
    aspect : height of a pixel over its width
    """

    name: str
    image: np.ndarray
    mask: np.ndarray | None
    aspect: float


def scan_planes(
    hu: np.ndarray,
    mask: np.ndarray | None,
    spacing_mm: Sequence[float],
    *,
    window: tuple[float, float] = (-160.0, 240.0),
    levels: int = 3,
) -> list[Plane]:
    """Cut axial planes from top to bottom and one coronal plane; where there are labels, through most of them.

    Parameters
    ----------
    hu : float32 (slice, row, column) in HU
    mask : integer of the same shape, or None
    spacing_mm : (slice, row, column)
    window : (low, high) in HU shown as black and white
    levels : number of axial planes, evenly over the slices that hold labels, or over all

    Raises
    ------
    ValueError
        If the mask has another shape than the scan.
    """
    if mask is not None and mask.shape != hu.shape:
        raise ValueError(f"expected a mask of the scan's shape {hu.shape}, got {mask.shape}")
    dz, dy, dx = (float(value) for value in spacing_mm)
    held = np.flatnonzero(mask.any(axis=(1, 2))) if mask is not None else np.arange(0)
    low, high = (int(held[0]), int(held[-1])) if held.size else (0, len(hu) - 1)
    row = int(np.argmax(np.count_nonzero(mask, axis=(0, 2)))) if mask is not None and held.size else hu.shape[1] // 2
    axial = [round(low + share * (high - low)) for share in (np.arange(levels, 0, -1) - 0.5) / levels]
    cuts = [(f"slice {index}", np.index_exp[index], dy / dx) for index in axial]
    cuts.append((f"row {row}", np.index_exp[::-1, row], dz / dx))
    return [
        Plane(name, window_hu(hu[cut], window), None if mask is None else mask[cut].astype(int), aspect)
        for name, cut, aspect in cuts
    ]


@styled
def scan_sheet(
    scans: Sequence[tuple[str, Sequence[Plane]]],
    *,
    structures: Sequence[str],
    dataset: str,
    title: str = "CT scans",
    notes: Sequence[str] = (),
) -> StudyFigure:
    """Contact sheet of scans, one row each: axial planes from superior to inferior, then a coronal one.

    Parameters
    ----------
    scans : name and planes of each; all with the same number of planes
    structures : names behind the values of the masks
    """
    if not scans:
        return message_figure(title, dataset, "No scan to show.")
    sheet = Sheet()
    columns = len(scans[0][1])
    width = sheet.column_width(columns)
    rows = []
    for _, planes in scans:
        tallest = max(plane.image.shape[0] * plane.aspect / plane.image.shape[1] for plane in planes)
        rows.append(sheet.row(columns, width * min(tallest, TALLEST), above=0.22, below=0.24))
    masks = [plane.mask for _, planes in scans for plane in planes if plane.mask is not None]
    present: np.ndarray | list[int] = np.unique(np.concatenate([np.unique(mask) for mask in masks])) if masks else []
    handles = structure_patches(structures, present)
    legend = sheet.strip(legend_rows(len(handles), 4)) if handles else None
    figure = sheet.figure(title, dataset, list(notes))
    colours = structure_colours(structures)
    for (name, planes), boxes in zip(scans, rows, strict=True):
        for turn, (plane, box) in enumerate(zip(planes, boxes, strict=True)):
            axes = sheet.place(box)
            shown = plane.image if plane.mask is None else overlay(plane.image, plane.mask, colours)
            picture(axes, shown, aspect=plane.aspect)
            axes.set_title(plane.name, fontsize=10.5, fontweight="normal", loc="center", pad=2)
            if turn == 0:
                axes.set_xlabel(name, fontsize=10.5, loc="left", labelpad=2)
    if legend is not None:
        legend_strip(sheet.place(legend), handles, columns=4, fontsize=10.5, handlelength=1.1, columnspacing=1.0)
    return figure
