"""Pictures of the data: contact sheets of X-rays and CT scans, and organs drawn over an image.

Enters: arrays as the loaders return them (X-rays float32 (H, W) in [0, 1]; CT in HU, axes slice, row, column increasing
towards superior, posterior and left). Leaves: figures in the radiological view (the patient's right on the left).
Section 3.1 of the paper.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.patches import Patch, Rectangle

from .canvas import StudyFigure, legend_strip, message_figure, picture, styled
from .sheets import Sheet
from .style import INK, structure_colours, structure_title

_CLASSES = ("no pneumonia", "pneumonia")
_LABEL_COLOURS: dict[int | None, str] = {0: "#00588c", 1: "#d55e00"}


def overlay(image: np.ndarray, mask: np.ndarray, colours: np.ndarray, *, alpha: float = 0.45) -> np.ndarray:
    """Draw structures over a grey image: transparent fill, solid outline one pixel wide.

    Parameters
    ----------
    image : float (H, W) in [0, 1].
    mask : integer (H, W); 0 is background, k is the structure of colours[k - 1].
    colours : float (K, 3) in [0, 1].
    alpha : opacity of the fill, in [0, 1].

    Returns
    -------
    float64 (H, W, 3) in [0, 1].

    Raises
    ------
    ValueError
        Where the shapes differ or the mask holds a value that has no colour.
    """
    if image.shape != mask.shape or image.ndim != 2:
        raise ValueError(f"expected an image and a mask of one shape (H, W), got {image.shape} and {mask.shape}")
    if mask.min() < 0 or mask.max() > len(colours):
        raise ValueError(
            f"expected mask values 0 to {len(colours)} (one per structure), got {mask.min()} to {mask.max()}: "
            "pass the structures the mask was made with"
        )
    grey = np.repeat(np.clip(image, 0, 1)[..., None].astype(float), 3, axis=2)  # (H, W, 3)
    table = np.vstack([np.zeros((1, 3)), colours])
    painted = table[mask]
    inside = mask > 0
    edge = np.zeros_like(inside)
    edge[1:] |= mask[1:] != mask[:-1]
    edge[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    edge[:-1] |= mask[:-1] != mask[1:]
    edge[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    opacity = np.where(inside & edge, 1.0, np.where(inside, alpha, 0.0))[..., None]
    return (1 - opacity) * grey + opacity * painted


def structure_patches(structures: Sequence[str], present: Sequence[int] | np.ndarray) -> list[Patch]:
    """Legend handles of the structures whose label value (position + 1) is in `present`."""
    colours = structure_colours(structures)
    values = sorted({int(value) for value in present if value > 0})
    return [Patch(facecolor=colours[v - 1], edgecolor="none", label=structure_title(structures[v - 1])) for v in values]


def legend_rows(n_handles: int, columns: int) -> float:
    """Height in inches of a legend of small entries."""
    return 0.1 + 0.23 * max(1, -(-n_handles // columns))


def window_hu(hu: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Map HU linearly so that window = (low, high) becomes (0, 1), and clip.

    Raises
    ------
    ValueError
        Unless low < high.
    """
    low, high = window
    if not low < high:
        raise ValueError(f"expected a window (low, high) in HU with low < high, got {window}")
    return np.clip((np.asarray(hu, dtype=np.float32) - low) / (high - low), 0, 1)


@styled
def xray_sheet(
    images: Sequence[np.ndarray],
    *,
    dataset: str,
    labels: Sequence[int | None] | None = None,
    views: Sequence[str | None] | None = None,
    columns: int = 4,
    title: str = "Chest X-rays",
    classes: tuple[str, str] | None = None,
) -> StudyFigure:
    """Contact sheet of X-rays, each with its label (word and frame) and view below.

    Parameters
    ----------
    images : float (H, W) in [0, 1] each; sizes may differ.
    labels : 0, 1 or None (not labelled), one per image.
    views : 'PA', 'AP' or any other word, one per image.
    classes : what labels 0 and 1 mean; no pneumonia and pneumonia if None.

    Raises
    ------
    ValueError
        Where labels or views are not as many as the images.
    """
    for name, values in (("labels", labels), ("views", views)):
        if values is not None and len(values) != len(images):
            raise ValueError(f"expected one entry of {name} per image ({len(images)}), got {len(values)}")
    if len(images) == 0:
        return message_figure(title, dataset, "No image to show.")
    classes = classes or _CLASSES
    sheet = Sheet()
    width = sheet.column_width(columns)
    boxes: list = []
    for start in range(0, len(images), columns):
        tallest = max(width * image.shape[0] / image.shape[1] for image in images[start : start + columns])
        boxes += sheet.row(columns, tallest, below=0.25 if (labels is not None or views is not None) else 0.0)
    known = [] if labels is None else [label for label in labels if label is not None and label == label]
    positive = sum(int(label) for label in known)
    see = (
        f"{positive} of {len(known)} labelled images show {classes[1]}." if known else "None of the images is labelled."
    )
    figure = sheet.figure(title, dataset, [f"Thick frame: {classes[1]}." if known else None], see=see)
    for turn, (box, image) in enumerate(zip(boxes, images, strict=False)):
        axes = sheet.place(box)
        picture(axes, np.asarray(image, dtype=np.float32))
        label = None if labels is None else labels[turn]
        label = None if label is None or label != label else int(label)
        words = ([] if labels is None else ["no label" if label is None else classes[label]]) + [
            str(view) for view in ([] if views is None else [views[turn]]) if view
        ]
        axes.set_xlabel(", ".join(words), fontsize=10.5, color=_LABEL_COLOURS.get(label, INK))
        if label is not None:
            width = {0: 1.5, 1: 4.0}[label]
            axes.add_patch(
                Rectangle((0, 0), 1, 1, transform=axes.transAxes, fill=False, edgecolor=_LABEL_COLOURS[label],
                          linewidth=width, clip_on=True)
            )  # fmt: skip
    return figure


@styled
def ct_sheet(
    hu: np.ndarray,
    mask: np.ndarray | None = None,
    *,
    spacing_mm: Sequence[float],
    dataset: str,
    structures: Sequence[str] = (),
    window: tuple[float, float] = (-160.0, 240.0),
    levels: int = 4,
    title: str = "CT scan",
) -> StudyFigure:
    """One scan: axial levels from top to bottom of the body, a coronal and a sagittal plane, organs drawn over them.

    Parameters
    ----------
    hu : float32 (S, R, C) in HU; slice 0 most inferior, row 0 most anterior, column 0 the patient's right.
    mask : integer (S, R, C), value = position in `structures` + 1; None where the scan has no label.
    spacing_mm : (slice, row, column) in mm; sets the aspect of each plane.
    window : (low, high) in HU shown as black and white.
    levels : number of axial slices, evenly spaced.

    Raises
    ------
    ValueError
        Where the mask does not fit the scan or holds a value without a structure.
    """
    if hu.ndim != 3 or len(spacing_mm) != 3:
        raise ValueError(f"expected a scan (slice, row, column) and 3 spacings, got {hu.shape} and {spacing_mm}")
    if mask is not None and mask.shape != hu.shape:
        raise ValueError(f"expected a mask of the scan's shape {hu.shape}, got {mask.shape}")
    dz, dy, dx = (float(value) for value in spacing_mm)
    n_slices, n_rows, n_columns = hu.shape
    positions = np.linspace(0.9, 0.1, levels) * (n_slices - 1)
    row, column = _richest(mask, axis=1), _richest(mask, axis=2)
    planes: list[tuple] = [(f"axial, slice {int(round(z))}", (int(round(z)), slice(None), slice(None)), False, dy / dx)
              for z in positions]  # fmt: skip
    row, column = n_rows // 2 if row is None else row, n_columns // 2 if column is None else column
    planes += [
        (f"coronal, row {row}", (slice(None), row, slice(None)), True, dz / dx),
        (f"sagittal, column {column}", (slice(None), slice(None), column), True, dz / dy),
    ]
    sheet = Sheet()
    across = min(levels, 4)
    boxes: list = []
    for start in range(0, levels, across):
        height = sheet.column_width(across) * (n_rows * dy) / (n_columns * dx)
        boxes += sheet.row(across, height, above=0.22)[: levels - start]
    long_height = sheet.column_width(2) * (n_slices * dz) / max(n_columns * dx, n_rows * dy)
    boxes += sheet.row(2, min(long_height, 5.0), above=0.22)
    handles = structure_patches(structures, np.unique(mask) if mask is not None else [])
    legend = sheet.strip(legend_rows(len(handles), 4)) if handles else None
    size = f"{n_slices} x {n_rows} x {n_columns} voxels of {dz:.2g} x {dy:.2g} x {dx:.2g} mm"
    note = f"{size}; window {window[0]:g} to {window[1]:g} HU."
    see = "The patient's right is on the left of the picture. "
    see += f"{len(handles)} of {len(structures)} structures are labelled." if structures else "No structure is drawn."
    figure = sheet.figure(title, dataset, [note, "No label." if mask is None else None], see=see)
    for box, (name, index, upright, aspect) in zip(boxes, planes, strict=True):
        plane = window_hu(hu[index], window)
        if mask is not None:
            plane = overlay(plane, mask[index].astype(int), structure_colours(structures))
        axes = sheet.place(box)
        picture(axes, plane[::-1] if upright else plane, aspect=aspect)
        axes.set_title(name, fontsize=10.5, fontweight="normal", loc="center", pad=3)
        _sides(axes, "AP" if name.startswith("sagittal") else "RL")
    if legend is not None:
        legend_strip(sheet.place(legend), handles, columns=4, fontsize=10.5, handlelength=1.1, columnspacing=1.0)
    return figure


def _richest(mask: np.ndarray | None, axis: int) -> int | None:
    """Index along `axis` whose plane shows most structures, ties by labelled area; None without any label."""
    if mask is None or not mask.any():
        return None
    planes = np.moveaxis(mask, axis, 0)
    rank = [(np.unique(plane[plane > 0]).size, int(np.count_nonzero(plane))) for plane in planes]
    return max(range(len(rank)), key=rank.__getitem__)


def _sides(axes, letters: str) -> None:
    """Letters of the two sides: R and L of the patient, or A and P."""
    for x, letter, side in ((0.03, letters[0], "left"), (0.97, letters[1], "right")):
        axes.text(x, 0.5, letter, transform=axes.transAxes, color="#ffe27a", fontsize=10.5, ha=side, va="center")
