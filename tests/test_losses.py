"""Losses: closed forms, MONAI's Dice loss, median-frequency weights by hand."""

import math

import numpy as np
import pytest
import torch

from ssrobust_lib.seeds import torch_rng
from ssrobust_lib.training.losses import (
    EPSILON,
    binary_cross_entropy,
    median_frequency_weights,
    segmentation_loss,
    soft_dice_loss,
    weighted_cross_entropy,
)


def example(classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    logits = torch.randn(3, classes, 8, 8, generator=torch_rng(0))
    return logits, torch.randint(classes, (3, 8, 8), generator=torch_rng(1))


def test_dice_loss_equals_monai() -> None:
    import ssrobust_lib.torchvision_ops  # noqa: F401, I001
    from monai.losses import DiceLoss

    logits, masks = example()
    monai = DiceLoss(
        include_background=False, to_onehot_y=True, softmax=True, batch=True, smooth_nr=EPSILON, smooth_dr=EPSILON
    )
    assert float(soft_dice_loss(logits, masks)) == pytest.approx(float(monai(logits, masks[:, None])), abs=1e-6)


def test_dice_loss_is_over_the_classes_that_are_there() -> None:
    logits, masks = example(5)
    masks[(masks == 2) | (masks == 4)] = 0
    probabilities = logits.softmax(dim=1)
    by_hand = [
        1 - 2 * (probabilities[:, k] * (masks == k)).sum() / (probabilities[:, k].sum() + (masks == k).sum())
        for k in (1, 3)
    ]
    assert float(soft_dice_loss(logits, masks)) == pytest.approx(float(sum(by_hand) / 2), abs=1e-5)


def test_dice_loss_is_zero_for_the_truth_one_for_a_miss_and_zero_without_foreground() -> None:
    _, masks = example()
    truth = torch.nn.functional.one_hot(masks, 4).movedim(-1, 1).float() * 60
    assert float(soft_dice_loss(truth, masks)) == pytest.approx(0, abs=1e-5)
    only_background = torch.zeros_like(truth)
    only_background[:, 0] = 60
    assert float(soft_dice_loss(only_background, masks)) == pytest.approx(1, abs=1e-5)
    logits = torch.zeros(1, 4, 8, 8, requires_grad=True)
    loss = soft_dice_loss(logits, torch.zeros(1, 8, 8, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0
    assert torch.isfinite(logits.grad).all()


def test_weighted_cross_entropy_equals_torch() -> None:
    logits, masks = example()
    weights = torch.tensor([0.1, 1.0, 3.0, 0.5])
    expected = torch.nn.functional.cross_entropy(logits, masks, weight=weights)
    assert float(weighted_cross_entropy(logits, masks, weights)) == pytest.approx(float(expected), rel=1e-5)


def test_segmentation_loss_is_the_sum_of_its_parts() -> None:
    logits, masks = example()
    weights = torch.tensor([0.1, 1.0, 3.0, 0.5])
    parts = soft_dice_loss(logits, masks) + weighted_cross_entropy(logits, masks, weights)
    assert float(segmentation_loss(logits, masks, weights)) == pytest.approx(float(parts), rel=1e-6)


def test_uninformed_answers_cost_log_two() -> None:
    assert float(binary_cross_entropy(torch.zeros(4, 1), torch.tensor([0, 1, 1, 0]))) == pytest.approx(math.log(2))


def test_median_frequency_weights_by_hand() -> None:
    one = np.array([[0, 0], [0, 1]])  # 4 pixels
    two = np.array([[0, 0], [2, 2]])
    # frequencies: background 5/8, class 1 1/4, class 2 2/4; their median 1/2
    weights = median_frequency_weights([one, two], 4)
    assert weights.tolist() == pytest.approx([0.5 / 0.625, 2.0, 1.0, 0.0])


def test_median_frequency_weights_are_clipped() -> None:
    mask = np.zeros((100, 100), np.uint8)
    mask[0, 0] = 1
    mask[1:11, :10] = 2
    weights = median_frequency_weights([mask], 3)
    assert weights.tolist() == pytest.approx([0.1, 10.0, 1.0])


def test_bad_masks_are_refused() -> None:
    with pytest.raises(ValueError, match="label 3, but the labels of 3 classes end at 2"):
        median_frequency_weights([np.full((2, 2), 3, np.uint8)], 3)
    with pytest.raises(ValueError, match="got none"):
        median_frequency_weights([], 3)
