"""Voxel counts of structures: from predicted classes and label values to label, prediction and overlap.

Enters: predictions and label values of a scan's slices, at the network's resolution or at the scan's own. Leaves: how
many voxels a structure has in the label, in the prediction and in both (paper, sections 3.2 to 3.4), and how many of
its labelled voxels were given to another structure (section 3.3: labels flipped "between different structures") or to
its mirror image, such as the left kidney for the right one. A structure may merge several classes and several label
values, so that a network is scored on a set that is labelled in another way (KiTS: kidney and tumour).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from ssrobust_lib.evaluation.mirror_images import mirror_images
from ssrobust_lib.preprocessing import Grid
from ssrobust_lib.scan_voxels import ScanLabels, voxels_per_cell

N_LABEL_VALUES = 256
COUNTS = ("voxels_label", "voxels_predicted", "voxels_overlap", "voxels_flipped", "voxels_mirrored")
NO_MIRROR = -1  # voxels_mirrored of a structure without a mirror image, until a table says that it is missing

Structures = Mapping[str, tuple[Sequence[int], Sequence[int]]]  # name -> (predicted classes, label values)


def joint_counts(labels: torch.Tensor, predicted: torch.Tensor, n_classes: int) -> np.ndarray:
    """Count voxels by label value and predicted class: int64 (256, K) from two maps int64 (B, H, W) and K."""
    pairs = labels * n_classes + predicted  # (B, H, W)
    counts = torch.bincount(pairs.flatten(), minlength=N_LABEL_VALUES * n_classes)
    return counts.view(N_LABEL_VALUES, n_classes).cpu().numpy()


class ScanCounter:
    """Counts one scan's own voxels by label value and predicted class, some slices of the network's at a time.

    A predicted class is carried to the scan's voxels as `preprocessing.to_scan_grid` does it, to the nearest ones; what
    lies outside the network's images counts as predicted background (see `unseen`).

    Parameters
    ----------
    truth : the scan's labelled voxels by cell of the grid
    grid : where the network's images lie in the scan
    device : where the counting happens
    """

    def __init__(self, truth: ScanLabels, grid: Grid, device: torch.device) -> None:
        def tensor(values: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(values).astype(np.int64)).to(device, dtype)

        along, plane = voxels_per_cell(grid)
        self._first_cells = truth.cells["cell"].astype(np.int64)
        self._cells = tensor(truth.cells["cell"], torch.int64)
        self._labels = tensor(truth.cells["label"], torch.int64)
        self._voxels = tensor(truth.cells["voxels"], torch.float64)  # sums of whole numbers are exact below 2**53
        self._along, self._plane = tensor(along, torch.float64), tensor(plane.ravel(), torch.float64)
        self._outside = dict(truth.outside)
        self._unseen = int(np.prod(grid.shape_in, dtype=np.int64)) - int(along.sum()) * int(plane.sum())
        self._weights: tuple[tuple[int, int], torch.Tensor] | None = None

    def unseen(self, n_classes: int) -> np.ndarray:
        """Voxels outside the network's images: int64 (256, K), all of them in class 0."""
        joint = np.zeros((N_LABEL_VALUES, n_classes), dtype=np.int64)
        for label, voxels in self._outside.items():
            joint[label, 0] = voxels
        joint[0, 0] = self._unseen - sum(self._outside.values())
        return joint

    def count(self, first: int, predicted: torch.Tensor, n_classes: int) -> np.ndarray:
        """Voxels that slices `first`, `first + 1`, ... of the grid stand for: int64 (256, K).

        Parameters
        ----------
        first : number of the first slice
        predicted : int64 (n, H, W) on the counter's device
        n_classes : K
        """
        n, pixels = len(predicted), len(self._plane)
        classes = predicted.reshape(-1)  # (n * H * W,)
        by_class = torch.bincount(classes, weights=self._weights_of(first, n), minlength=n_classes)
        lower, upper = np.searchsorted(self._first_cells, [first * pixels, (first + n) * pixels])
        found = classes[self._cells[lower:upper] - first * pixels]
        pairs = self._labels[lower:upper] * n_classes + found
        counts = torch.bincount(pairs, weights=self._voxels[lower:upper], minlength=N_LABEL_VALUES * n_classes)
        joint = counts.view(N_LABEL_VALUES, n_classes).cpu().numpy().astype(np.int64)
        joint[0] += by_class.cpu().numpy().astype(np.int64) - joint.sum(axis=0)
        return joint

    def _weights_of(self, first: int, n: int) -> torch.Tensor:
        """Voxels that each pixel of some slices stands for; kept for the next network, which sees the same slices."""
        if self._weights is None or self._weights[0] != (first, n):
            weights = self._along[first : first + n, None] * self._plane  # (n, H * W)
            self._weights = ((first, n), weights.reshape(-1))
        return self._weights[1]


def structure_counts(joint: np.ndarray, structures: Structures) -> np.ndarray:
    """Read the voxel counts of structures from the joint counts of one scan.

    Parameters
    ----------
    joint : int64 (label values, classes)
        Voxels with that label value and that predicted class.
    structures : {name: (predicted classes, label values)}
        Classes that the network does not have count nothing.

    Returns
    -------
    int64 (structures, 5), the columns of `COUNTS`: voxels of the label, of the prediction and of both; voxels of the
    label that are predicted as any structure but this one (neither it nor background), and as its mirror image (-1 for
    a structure that has none).
    """
    n_values, n_classes = joint.shape
    predicted = np.zeros((n_classes, len(structures)), dtype=np.int64)  # membership of classes in structures
    labelled = np.zeros((n_values, len(structures)), dtype=np.int64)
    for column, (classes, values) in enumerate(structures.values()):
        predicted[[k for k in classes if k < n_classes], column] = 1
        labelled[list(values), column] = 1
    found = labelled.T @ joint  # (structures, classes): what the voxels of a label became
    overlap = (found * predicted.T).sum(axis=1)
    mirrored = np.full(len(structures), NO_MIRROR, dtype=np.int64)
    names = list(structures)
    for name, other in mirror_images(names).items():
        mirrored[names.index(name)] = found[names.index(name)] @ predicted[:, names.index(other)]
    return np.stack(
        [found.sum(axis=1), joint.sum(axis=0) @ predicted, overlap, found[:, 1:].sum(axis=1) - overlap, mirrored],
        axis=1,
    )


def check_structures(structures: Structures) -> None:
    """Raise ValueError where there is no structure, or one without a class or label value in 1..255."""
    if not structures:
        raise ValueError("structures: expected at least one {name: (predicted classes, label values)}, got none")
    for name, (classes, values) in structures.items():
        numbers = [*classes, *values]
        if not classes or not values or any(not 0 < number < N_LABEL_VALUES for number in numbers):
            raise ValueError(
                f"structure {name!r}: expected predicted classes and label values, each in 1..{N_LABEL_VALUES - 1}, "
                f"got {classes} and {values}"
            )
