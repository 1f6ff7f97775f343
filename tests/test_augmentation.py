"""Movements of training images: what they do to pixels and masks, and where they are used."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssrobust_lib.seeds import rng
from ssrobust_lib.training import finetuning
from ssrobust_lib.training.augmentation import Movements, move_images
from ssrobust_lib.training.loop import TrainingSettings

ALL = Movements(rotation_degrees=15, shift=0.15, scale=0.15)


class Fixed:
    """A generator that draws the same four numbers for every image."""

    def __init__(self, *amounts):
        self.amounts = amounts

    def uniform(self, low, high, shape):
        return np.tile(self.amounts, (shape[0], 1))


def squares(n=3, side=16):
    """Binary images with a block of ones, and the same as masks."""
    images = torch.zeros(n, 1, side, side)
    images[:, :, 5:10, 4:8] = 1
    return images, images[:, 0].long()


def test_nothing_moves_by_nothing():
    images, masks = squares()
    moved, moved_masks = move_images(images, masks, Movements(0, 0, 0), rng(1, "still"))
    assert torch.equal(moved, images)
    assert torch.equal(moved_masks, masks)


def test_a_shift_by_whole_pixels_is_exact_and_brings_black_and_background():
    images, masks = squares()
    images += 0.25 * (images == 0)
    moved, moved_masks = move_images(images, masks, Movements(0, 0.5, 0), Fixed(0, 0.25, -0.5, 0))  # right 2, up 4
    expected = torch.zeros_like(images)
    expected[:, :, :-4, 2:] = images[:, :, 4:, :-2]
    assert torch.allclose(moved, expected, atol=1e-5)
    assert torch.equal(moved_masks[:, :-4, 2:], masks[:, 4:, :-2])
    assert not moved_masks[:, -4:].any()


def test_a_quarter_turn_is_that_of_the_pixels():
    images, masks = squares()
    turned, turned_masks = move_images(images, masks, Movements(90, 0, 0), Fixed(1, 0, 0, 0))
    assert torch.allclose(turned, torch.rot90(images, -1, (2, 3)), atol=1e-4)
    assert torch.equal(turned_masks, torch.rot90(masks, -1, (1, 2)))


def test_scaling_grows_what_is_shown():
    images, masks = squares()
    grown = move_images(images, masks, Movements(0, 0, 0.5), Fixed(0, 0, 0, 1))[1]
    assert int(grown.sum()) == pytest.approx(1.5**2 * int(masks.sum()), rel=0.2)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 4))
def test_masks_follow_images_and_both_stay_in_range(seed, n):
    images, masks = squares(n)
    kept = images.clone()
    moved, moved_masks = move_images(images, masks, ALL, rng(seed, "moves"))
    assert torch.equal(images, kept)
    assert moved.shape == images.shape
    assert moved_masks.dtype == torch.int64
    assert 0 <= moved.min() <= moved.max() <= 1 + 1e-6
    assert set(moved_masks.unique().tolist()) <= {0, 1}
    sure = (moved[:, 0] < 0.02) | (moved[:, 0] > 0.98)  # beyond the blurred rim both say the same
    assert torch.equal(moved_masks[sure], moved[:, 0][sure].round().long())


def test_the_same_stream_moves_the_same_way_and_another_does_not():
    images, _ = squares()
    first, again, other = (move_images(images, None, ALL, rng(seed, "moves"))[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1]), "all images of a batch are moved alike"


def test_masks_of_another_size_are_refused():
    images, masks = squares()
    with pytest.raises(ValueError, match=r"expected masks \(3, 16, 16\), got \(3, 8, 8\)"):
        move_images(images, masks[:, :8, :8], ALL, rng(1, "moves"))


@pytest.mark.parametrize("kind", ["classification", "segmentation"])
def test_fine_tuning_moves_every_training_batch_and_no_validation_image(kind, monkeypatch):
    images = np.random.default_rng(0).random((12, 16, 16)).astype(np.float32)
    masks = (images > 0.5).astype(np.uint8)
    moved = []

    def look(batch, truth, movements, generator):
        moved.append((batch.clone(), None if truth is None else truth.clone()))
        return move_images(batch, truth, movements, generator)

    monkeypatch.setattr(finetuning, "move_images", look)
    network = {"network": "unet", "network_options": {"base_filters": 2}, "n_outputs": 2}
    if kind == "classification":
        network = {"network": "cbr_small", "network_options": {}, "n_outputs": 1}
    trained = finetuning.finetune(
        images,
        masks if kind == "segmentation" else np.arange(12) % 2,
        np.arange(8),
        np.arange(8, 12),
        (0.5, 0.2),
        kind=kind,
        settings=TrainingSettings(epochs=2, batch_size=4, steps_per_epoch=3, precision="float32"),
        data_seed=1,
        weight_seed=2,
        movements=ALL,
        **network,
    )
    assert len(moved) == int(trained.curves["step"].max()) == 6
    for batch, truth in moved:
        rows = [int(np.abs(images[:8] - image[0].numpy()).mean(axis=(1, 2)).argmin()) for image in batch]
        assert torch.allclose(batch[:, 0], torch.from_numpy(images[rows])), "a moved image is none of the training's"
        assert (truth is None) == (kind == "classification")
        if truth is not None:
            assert torch.equal(truth, torch.from_numpy(masks[rows]).long())
