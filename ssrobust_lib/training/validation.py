"""How good a network is on the validation images after an epoch: what decides which epoch's weights are kept.

Enters: a network in evaluation mode and the validation rows. Leaves: a loss and a score. The paper does not say how it
chooses among epochs. Here the score is the task's own metric: AUROC for the classifier (accuracy would jump with every
image that crosses 0.5), mean Dice per scan for the segmentation (section 3, 'Metric').
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ssrobust_lib.statistics.auroc import auroc
from ssrobust_lib.training.batches import blocks, read_images, read_masks
from ssrobust_lib.training.losses import binary_cross_entropy


@dataclass(frozen=True)
class Validation:
    """Mean loss over the validation images, and a score in [0, 1], higher is better, NaN where it is undefined."""

    loss: float
    score: float


def validate_classification(
    network: nn.Module,
    images: npt.NDArray[np.floating],
    labels: npt.NDArray[np.integer],
    rows: npt.NDArray[np.int64],
    normalise: tuple[float, float],
    *,
    batch_size: int,
    device: torch.device,
) -> Validation:
    """Binary cross-entropy and AUROC. images (N, H, W) in [0, 1], labels (N,) of 0 and 1, rows those to use."""
    parts = [network(read_images(images, part, normalise, device)).float() for part in blocks(rows, batch_size)]
    logits = torch.cat(parts)  # (n, 1)
    truth = np.asarray(labels)[rows]
    loss = float(binary_cross_entropy(logits, torch.as_tensor(truth, device=logits.device)))
    both = truth.min() != truth.max()
    return Validation(loss, auroc(logits[:, 0].cpu().numpy(), truth) if both else float("nan"))


def validate_segmentation(
    network: nn.Module,
    images: npt.NDArray[np.floating],
    masks: npt.NDArray[np.uint8],
    rows: npt.NDArray[np.int64],
    scans: npt.NDArray[np.int64],
    normalise: tuple[float, float],
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    *,
    batch_size: int,
    device: torch.device,
) -> Validation:
    """Mean loss per slice, and the mean over scans of the mean Dice of their structures, each over the whole scan.

    Parameters
    ----------
    images, masks : float (N, H, W) in [0, 1] and uint8 (N, H, W).
    rows : int (n,), slices to use.
    scans : int (n,), which scan each of them is from, numbered from 0.
    loss : (logits, masks int64) -> scalar, mean over the batch.
    """
    counts = torch.zeros((), dtype=torch.int64, device=device)
    total = 0.0
    for part, of_scan in zip(blocks(rows, batch_size), blocks(scans, batch_size), strict=True):
        logits = network(read_images(images, part, normalise, device)).float()
        truth = read_masks(masks, part, device)
        total += float(loss(logits, truth)) * len(part)
        scan = torch.as_tensor(of_scan, device=device)
        counts = counts + _voxel_counts(logits.argmax(dim=1), truth, scan, logits.shape[1], int(scans.max()) + 1)
    return Validation(total / len(rows), dice_of_scans(counts.cpu().numpy()))


def dice_of_scans(counts: npt.NDArray[np.int64]) -> float:
    """Mean Dice per scan over the structures that label or prediction hold, then the mean over scans; NaN if none.

    counts : int (3, scans, classes): voxels in the overlap, the label and the prediction; class 0, background, is
    left out.
    """
    overlap, labelled, predicted = counts[:, :, 1:].astype(np.float64)
    size = labelled + predicted
    there = size > 0
    dice = np.divide(2 * overlap, size, out=np.zeros_like(size), where=there)
    scans = there.any(axis=1)
    if not scans.any():
        return float("nan")
    return float((dice.sum(axis=1)[scans] / there.sum(axis=1)[scans]).mean())


def _voxel_counts(
    predicted: torch.Tensor, truth: torch.Tensor, scans: torch.Tensor, n_classes: int, n_scans: int
) -> torch.Tensor:
    """Count voxels per scan and class: int64 (3, scans, classes), see `dice_of_scans`."""
    first = scans[:, None, None] * n_classes  # (B, 1, 1): where the scan's classes begin
    agreed = (first + truth)[predicted == truth]
    found = [
        torch.bincount(which.flatten(), minlength=n_scans * n_classes)
        for which in (agreed, first + truth, first + predicted)
    ]
    return torch.stack(found).reshape(3, n_scans, n_classes)
