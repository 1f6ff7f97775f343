"""Distances between the surfaces of a structure in the label and in the prediction: HD95 and surface Dice.

Enters: a scan's label map and a predicted one on the network's grid, with that grid's voxel size in mm. Leaves: the
95th percentile of the Hausdorff distance (mm) and the surface Dice at a tolerance (mm) of each structure. The paper
reports Dice alone; these are what reviewers of segmentations ask for beside it.

Both are taken on the network's grid, not on the scan's own voxels as Dice is: a surface does not sum over cells. So no
distance below one of the grid's voxels is resolved, and a tolerance below it asks for the very same surface voxels.

Surface voxels are those of a mask with a neighbour (by a face) outside it. HD95 is the larger of the two directions'
95th percentiles; surface Dice the share of both surfaces' voxels that lie within the tolerance of the other surface
(Nikolov et al. 2021, counting voxels). Both are MONAI's to its rounding, which tests hold them to; SciPy is called
directly, since to import MONAI takes a cell longer than all its surfaces, and so that a label's surface is found once
for all networks. A surface is sought in the box about its structure: nothing outside it is a surface.

Undefined stays undefined:

- label present, nothing predicted: HD95 is NaN (the structure was missed), surface Dice 0;
- label empty, something predicted: HD95 is NaN, surface Dice 0, a false alarm;
- both empty: both are NaN.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

PERCENTILE = 95.0


@dataclass(frozen=True)
class SurfaceSettings:
    """For which severities surfaces are compared, and within which tolerance in mm."""

    severities: tuple[int, ...]
    tolerance_mm: float

    def __post_init__(self) -> None:
        if not self.tolerance_mm > 0:
            raise ValueError(f"tolerance_mm of surface Dice: expected a length above 0, got {self.tolerance_mm}")


@dataclass(frozen=True)
class Surface:
    """Surface voxels of one structure: their centres float64 (n, 3) in mm, n > 0, and a tree to find the nearest."""

    points: npt.NDArray[np.float64]
    tree: "cKDTree"


def surfaces_of(
    label_map: npt.NDArray[np.uint8], members: Iterable[Sequence[int]], spacing_mm: Sequence[float]
) -> list[Surface | None]:
    """Find the surface of each structure in a label map, or in a map of predicted classes.

    Parameters
    ----------
    label_map : uint8 (slices, H, W)
    members : for each structure the values that are merged into it, each in 1..255
    spacing_mm : voxel size (slice, row, column)

    Returns
    -------
    list of one surface per structure, None where the map does not hold it

    Raises
    ------
    ValueError
        The map does not have three axes.
    """
    from scipy.ndimage import binary_erosion, find_objects
    from scipy.spatial import cKDTree

    if label_map.ndim != 3:
        raise ValueError(f"expected a label map (slices, H, W), got the shape {label_map.shape}")
    boxes = find_objects(label_map)
    surfaces: list[Surface | None] = []
    for values in members:
        there = [boxes[value - 1] for value in values if value <= len(boxes) and boxes[value - 1] is not None]
        if not there:
            surfaces.append(None)
            continue
        first = [min(box[axis].start for box in there) for axis in range(3)]
        last = [max(box[axis].stop for box in there) for axis in range(3)]
        part = label_map[tuple(map(slice, first, last))]
        mask = part == values[0] if len(values) == 1 else np.isin(part, values)
        edge = mask & ~binary_erosion(mask)  # what lies outside the box counts as outside the mask
        points = (np.argwhere(edge) + np.array(first)) * np.asarray(spacing_mm, np.float64)
        surfaces.append(Surface(points, cKDTree(points)))
    return surfaces


def surface_scores(
    predicted: Sequence[Surface | None], labelled: Sequence[Surface | None], tolerance_mm: float
) -> npt.NDArray[np.float64]:
    """HD95 in mm and surface Dice of each structure.

    Parameters
    ----------
    predicted, labelled : surfaces of the same structures (`surfaces_of`) on one grid
    tolerance_mm : of surface Dice

    Returns
    -------
    float64 (structures, 2): HD95, surface Dice
    """
    scores = np.full((len(labelled), 2), np.nan)
    for k, (ours, theirs) in enumerate(zip(predicted, labelled, strict=True)):
        if ours is not None and theirs is not None:
            distances = directed_distances(ours, theirs)
            scores[k] = hd95(*distances), surface_dice(*distances, tolerance_mm)
        elif ours is not None or theirs is not None:
            scores[k, 1] = 0.0
    return scores


def directed_distances(predicted: Surface, labelled: Surface) -> tuple[np.ndarray, np.ndarray]:
    """Distance in mm from each voxel of one surface to the nearest of the other, both ways: float32 (n,), (m,).

    In single precision as MONAI's: a distance of two voxels then equals the same number given as a tolerance, whatever
    the rounding of the coordinates.
    """
    to_label = labelled.tree.query(predicted.points)[0]
    to_predicted = predicted.tree.query(labelled.points)[0]
    return to_label.astype(np.float32), to_predicted.astype(np.float32)


def hd95(to_label: npt.NDArray[np.float32], to_predicted: npt.NDArray[np.float32]) -> float:
    """Larger of the two directions' 95th percentiles, in the unit of the distances."""
    return float(max(np.percentile(to_label, PERCENTILE), np.percentile(to_predicted, PERCENTILE)))


def surface_dice(to_label: npt.NDArray[np.float32], to_predicted: npt.NDArray[np.float32], tolerance: float) -> float:
    """Share of both surfaces' voxels that lie within the tolerance of the other surface."""
    within = np.count_nonzero(to_label <= np.float32(tolerance)) + np.count_nonzero(
        to_predicted <= np.float32(tolerance)
    )
    return within / (len(to_label) + len(to_predicted))
