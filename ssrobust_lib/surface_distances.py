"""Distances between the surfaces of a structure in the label and in the prediction: HD95 and surface Dice.

Enters: a scan's label map and a predicted one on the network's grid, with that grid's voxel size in mm. Leaves: the
95th percentile of the Hausdorff distance (mm) and the surface Dice at a tolerance (mm) of each structure. The paper
reports Dice alone; these are what reviewers of segmentations ask for beside it.

Both are taken on the network's grid, not on the scan's own voxels as Dice is: a surface does not sum over cells. So no
distance below one of the grid's voxels is resolved, and a tolerance below it asks for the very same surface voxels.

Surface voxels are those of a mask with a neighbour (by a face) outside it. HD95 is the larger of the two directions'
95th percentiles; surface Dice the share of both surfaces' voxels that lie within the tolerance of the other surface
(Nikolov et al. 2021, counting voxels). Edges and distances are MONAI's, on the box about label and prediction: nothing
outside it is a surface.

Undefined stays undefined:

- label present, nothing predicted: HD95 is NaN (the structure was missed), surface Dice 0;
- label empty, something predicted: HD95 is NaN, surface Dice 0, a false alarm;
- both empty: both are NaN.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ssrobust_lib.voxel_counts import Structures

PERCENTILE = 95.0

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class SurfaceSettings:
    """For which severities surfaces are compared, and within which tolerance in mm."""

    severities: tuple[int, ...]
    tolerance_mm: float

    def __post_init__(self) -> None:
        if not self.tolerance_mm > 0:
            raise ValueError(f"tolerance_mm of surface Dice: expected a length above 0, got {self.tolerance_mm}")


def surface_scores(
    labels: npt.NDArray[np.uint8],
    predicted: npt.NDArray[np.uint8],
    structures: Structures,
    spacing_mm: Sequence[float],
    tolerance_mm: float,
) -> npt.NDArray[np.float64]:
    """HD95 in mm and surface Dice of each structure of one scan.

    Parameters
    ----------
    labels, predicted : uint8 (slices, H, W)
        Label values, and classes of the network, on one grid.
    structures : {name: (predicted classes, label values)}
    spacing_mm : voxel size (slice, row, column)
    tolerance_mm : of surface Dice

    Returns
    -------
    float64 (structures, 2): HD95, surface Dice

    Raises
    ------
    ValueError
        The maps differ in shape.
    """
    if labels.shape != predicted.shape or labels.ndim != 3:
        raise ValueError(f"expected two label maps (slices, H, W) on one grid, got {labels.shape}, {predicted.shape}")
    label_boxes, predicted_boxes = _boxes(labels), _boxes(predicted)
    scores = np.full((len(structures), 2), np.nan)
    for k, (classes, values) in enumerate(structures.values()):
        ours = [predicted_boxes[c] for c in classes if c in predicted_boxes]
        theirs = [label_boxes[v] for v in values if v in label_boxes]
        if ours and theirs:
            box = _hull([*ours, *theirs])
            distances = directed_distances(
                np.isin(predicted[box], list(classes)), np.isin(labels[box], list(values)), spacing_mm
            )
            scores[k] = hd95(*distances), surface_dice(*distances, tolerance_mm)
        elif ours or theirs:
            scores[k, 1] = 0.0
    return scores


def directed_distances(
    predicted: npt.NDArray[np.bool_], label: npt.NDArray[np.bool_], spacing_mm: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Distance in mm of each surface voxel of one mask to the other's surface, both ways; neither mask is empty.

    Returns
    -------
    float (voxels of the predicted surface,), float (voxels of the label's surface,)
    """
    import ssrobust_lib.torchvision_ops  # noqa: F401, I001  (MONAI imports torchvision)
    from monai.metrics.utils import get_mask_edges, get_surface_distance

    of_predicted, of_label = get_mask_edges(predicted, label, crop=False)
    spacing = list(spacing_mm)
    return (
        np.asarray(get_surface_distance(of_predicted, of_label, spacing=spacing)),
        np.asarray(get_surface_distance(of_label, of_predicted, spacing=spacing)),
    )


def hd95(to_label: np.ndarray, to_predicted: np.ndarray) -> float:
    """Larger of the two directions' 95th percentiles, in the unit of the distances; NaN without a surface."""
    if not len(to_label) or not len(to_predicted):
        return float("nan")
    return float(max(np.percentile(to_label, PERCENTILE), np.percentile(to_predicted, PERCENTILE)))


def surface_dice(to_label: np.ndarray, to_predicted: np.ndarray, tolerance: float) -> float:
    """Share of both surfaces' voxels that lie within the tolerance of the other surface; NaN without a surface."""
    n = len(to_label) + len(to_predicted)
    if n == 0:
        return float("nan")
    return float(((to_label <= tolerance).sum() + (to_predicted <= tolerance).sum()) / n)


def _boxes(labels: npt.NDArray[np.uint8]) -> dict[int, Box]:
    """Bounding box of each value that a label map holds."""
    from scipy.ndimage import find_objects

    return {value: box for value, box in enumerate(find_objects(labels), start=1) if box is not None}


def _hull(boxes: Sequence[Box]) -> Box:
    """Smallest box that holds all of them."""
    first, second, third = (
        slice(min(box[axis].start for box in boxes), max(box[axis].stop for box in boxes)) for axis in range(3)
    )
    return first, second, third
