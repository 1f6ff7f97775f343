"""Voxel counts of structures: from predicted classes and label values to label, prediction and overlap.

Enters: logits and label values of a scan's slices. Leaves: how many voxels a structure has in the label, in the
prediction and in both, and its Dice (paper, sections 3.2 to 3.4). A structure may merge several classes and several
label values, so that a network is scored on a set that is labelled in another way (KiTS: kidney and tumour).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from ssrobust_lib.metrics import dice

N_LABEL_VALUES = 256

Structures = Mapping[str, tuple[Sequence[int], Sequence[int]]]  # name -> (predicted classes, label values)


def joint_counts(labels: torch.Tensor, logits: torch.Tensor) -> np.ndarray:
    """Count voxels by label value and predicted class: int64 (256, K) from labels (B, H, W) and logits (B, K, H, W)."""
    n_classes = logits.shape[1]
    pairs = labels * n_classes + logits.argmax(dim=1)  # (B, H, W)
    counts = torch.bincount(pairs.flatten(), minlength=N_LABEL_VALUES * n_classes)
    return counts.view(N_LABEL_VALUES, n_classes).cpu().numpy()


def structure_voxels(joint: np.ndarray, structures: Structures) -> pd.DataFrame:
    """Read the voxel counts and the Dice of structures from the joint counts of one scan.

    Parameters
    ----------
    joint : int64 (label values, classes)
        Voxels with that label value and that predicted class.
    structures : {name: (predicted classes, label values)}
        Classes that the network does not have count nothing.

    Returns
    -------
    DataFrame with structure, dice, voxels_label, voxels_predicted, voxels_overlap, one row per structure.
    """
    n_values, n_classes = joint.shape
    predicted = np.zeros((n_classes, len(structures)), dtype=np.int64)  # membership of classes in structures
    labelled = np.zeros((n_values, len(structures)), dtype=np.int64)
    for column, (classes, values) in enumerate(structures.values()):
        predicted[[k for k in classes if k < n_classes], column] = 1
        labelled[list(values), column] = 1
    voxels_label = joint.sum(axis=1) @ labelled
    voxels_predicted = joint.sum(axis=0) @ predicted
    voxels_overlap = np.einsum("vs,vk,ks->s", labelled, joint, predicted, optimize=True)
    return pd.DataFrame(
        {
            "structure": list(structures),
            "dice": dice(voxels_label, voxels_predicted, voxels_overlap),
            "voxels_label": voxels_label,
            "voxels_predicted": voxels_predicted,
            "voxels_overlap": voxels_overlap,
        }
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
