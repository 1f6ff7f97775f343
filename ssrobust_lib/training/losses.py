"""The losses of the two tasks (paper, section 2, 'Implementation Details').

Enters: logits and labels. Leaves: a scalar in nats (cross-entropy) or without unit (Dice). Classification: binary
cross-entropy. Segmentation: soft Dice plus weighted cross-entropy. The paper gives neither the weights nor their sum's;
as in its first author's earlier segmentation work, the weights follow median-frequency balancing (Eigen & Fergus 2015),
and the two parts count equally.
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch.nn import functional

EPSILON = 1e-5  # added to both sides of the Dice quotient
WEIGHT_RANGE = (0.1, 10.0)


def binary_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean binary cross-entropy. logits float32 (B, 1), labels (B,) of 0 and 1."""
    return functional.binary_cross_entropy_with_logits(logits[:, 0], labels.to(logits.dtype))


def soft_dice_loss(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """One minus the soft Dice coefficient, mean over the foreground classes that the batch's masks hold.

    Sums run over the whole batch (Milletari et al. 2016 with plain sums in the denominator): slices hold few of the
    structures, and a quotient of one slice alone would jump. A class that no mask of the batch holds is left to the
    cross-entropy. Without any foreground the loss is 0.

    Parameters
    ----------
    logits : float32 (B, K, H, W), class 0 is background.
    masks : int64 (B, H, W) in 0 .. K-1.

    Returns
    -------
    float32 scalar in [0, 1].
    """
    return _soft_dice_loss(functional.softmax(logits, dim=1), _one_hot(masks, logits.shape[1]))


def weighted_cross_entropy(logits: torch.Tensor, masks: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Cross-entropy in nats, mean over pixels weighted by their class.

    Parameters
    ----------
    logits : float32 (B, K, H, W).
    masks : int64 (B, H, W) in 0 .. K-1.
    weights : float32 (K,), >= 0.
    """
    return _weighted_cross_entropy(functional.log_softmax(logits, dim=1), _one_hot(masks, logits.shape[1]), weights)


def segmentation_loss(logits: torch.Tensor, masks: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Soft Dice loss plus weighted cross-entropy, each with weight one; arguments as in `weighted_cross_entropy`."""
    one_hot = _one_hot(masks, logits.shape[1])
    log_probabilities = functional.log_softmax(logits, dim=1)
    dice = _soft_dice_loss(log_probabilities.exp(), one_hot)
    return dice + _weighted_cross_entropy(log_probabilities, one_hot, weights)


def median_frequency_weights(masks: Iterable[np.ndarray], n_classes: int) -> torch.Tensor:
    """Weigh classes by median-frequency balancing: median of all frequencies over the own one (Eigen & Fergus 2015).

    The frequency of a class is its share of the pixels of those images that hold it. Weights are clipped to
    [0.1, 10], so that neither a tiny structure nor the background governs the training alone; a class that no image
    holds cannot be learned and gets weight 0.

    Parameters
    ----------
    masks : label images of the labelled training set only, each an integer array with values in 0 .. n_classes-1.
    n_classes : number of classes, background included.

    Returns
    -------
    float32 (n_classes,).

    Raises
    ------
    ValueError
        No mask was given, or one holds a value of `n_classes` or more.
    """
    pixels = np.zeros(n_classes, np.int64)
    pixels_where_present = np.zeros(n_classes, np.int64)
    for mask in masks:
        counts = np.bincount(np.asarray(mask).ravel(), minlength=n_classes)
        if len(counts) > n_classes:
            raise ValueError(
                f"a mask holds the label {len(counts) - 1}, but the labels of {n_classes} classes end at "
                f"{n_classes - 1}: check the list of structures"
            )
        pixels += counts
        pixels_where_present[counts > 0] += counts.sum()
    present = pixels > 0
    if not present.any():
        raise ValueError("class weights need at least one label image, got none")
    frequency = pixels[present] / pixels_where_present[present]
    weights = np.zeros(n_classes)
    weights[present] = np.clip(np.median(frequency) / frequency, *WEIGHT_RANGE)
    return torch.from_numpy(weights.astype(np.float32))


def _one_hot(masks: torch.Tensor, n_classes: int) -> torch.Tensor:
    classes = torch.arange(n_classes, device=masks.device, dtype=masks.dtype)
    return masks[:, None] == classes[:, None, None]  # bool (B, K, H, W)


def _soft_dice_loss(probabilities: torch.Tensor, one_hot: torch.Tensor) -> torch.Tensor:
    axes = (0, 2, 3)
    overlap = (probabilities * one_hot).sum(axes)[1:]  # (K-1,): foreground
    sizes = one_hot.sum(axes)[1:]
    dice = (2 * overlap + EPSILON) / (probabilities.sum(axes)[1:] + sizes + EPSILON)
    present = (sizes > 0).to(dice.dtype)
    return ((1 - dice) * present).sum() / present.sum().clamp(min=1)


def _weighted_cross_entropy(
    log_probabilities: torch.Tensor, one_hot: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    axes = (0, 2, 3)
    surprise = -(log_probabilities * one_hot).sum(axes)  # (K,): summed over each class's pixels
    weights = weights.to(log_probabilities)
    mass = (weights * one_hot.sum(axes)).sum()
    return (weights * surprise).sum() / mass.clamp(min=EPSILON)
