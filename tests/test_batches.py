"""Batches: every image is used equally, in even parts, and comes out normalised and unchanged."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from small_trainings import IMAGES, NORMALISE, SIDE

from ssrobust_lib.seeds import rng
from ssrobust_lib.training.batches import epoch_batches, read_images, steps_in_epoch


@given(n=st.integers(1, 200), size=st.integers(1, 70))
def test_an_epoch_is_one_pass_in_even_batches(n: int, size: int) -> None:
    dealt = epoch_batches(np.arange(n) + 5, size, rng(n))
    assert sorted(np.concatenate(dealt)) == list(range(5, n + 5))
    lengths = {len(batch) for batch in dealt}
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1
    assert len(dealt) == steps_in_epoch(n, size)


@given(n=st.integers(1, 50), size=st.integers(1, 70), steps=st.integers(1, 20))
@hypothesis_settings(max_examples=50)
def test_asked_steps_are_full_batches_that_use_all_images_equally(n: int, size: int, steps: int) -> None:
    dealt = epoch_batches(np.arange(n), size, rng(n), steps_per_epoch=steps)
    assert [len(batch) for batch in dealt] == [min(size, n)] * steps
    uses = np.bincount(np.concatenate(dealt), minlength=n)
    assert uses.max() - uses.min() <= 1


def test_no_images_are_refused() -> None:
    with pytest.raises(ValueError, match="got none"):
        epoch_batches(np.array([], int), 4, rng(0))


def test_stored_images_come_out_normalised_and_unchanged(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", IMAGES)
    stored = np.load(tmp_path / "images.npy", mmap_mode="r")
    batch = read_images(stored, np.array([3, 0]), NORMALISE)
    assert batch.shape == (2, 1, SIDE, SIDE)
    assert batch.dtype == torch.float32
    expected = (IMAGES[[3, 0]].astype(np.float32) - np.float32(0.4)) / np.float32(0.2)
    assert np.allclose(batch[:, 0].numpy(), expected, rtol=0, atol=1e-6)
    whole = IMAGES.astype(np.float32)
    read_images(whole, np.array([0]), NORMALISE)
    assert np.array_equal(whole, IMAGES)
