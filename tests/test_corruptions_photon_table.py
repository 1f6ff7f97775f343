"""Guide table of shot noise: no cell says another count than the definition, and few are unsure."""

import numpy as np
import pytest
import torch
from corrupted_images import smooth_images, some_keys

from ssrobust_lib.corruptions import corrupt
from ssrobust_lib.corruptions.implementations import compiled_kernels
from ssrobust_lib.corruptions.noise import FEW_PHOTONS, poisson_quantiles
from ssrobust_lib.corruptions.photon_table import COLUMN_BITS, MOST_PHOTONS, ROWS_PER_ROOT, UNSURE, count_table

TABLE = count_table().reshape(-1, 2**COLUMN_BITS)
EDGES = (np.arange(len(TABLE)) / ROWS_PER_ROOT) ** 2  # of the means
COLUMN = 2 ** (32 - COLUMN_BITS)  # words


def looked_up(means: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Table's entries for float32 means and words (P,)."""
    rows = (np.sqrt(means, dtype=np.float32) * np.float32(ROWS_PER_ROOT)).astype(np.int64)
    return TABLE[rows, words // COLUMN]


def defined(means: np.ndarray, words: np.ndarray) -> np.ndarray:
    return poisson_quantiles(torch.from_numpy(means)[None], torch.from_numpy(words)[None])[0].numpy()


def test_sure_cells_hold_the_count_of_the_definition_everywhere_within():
    random = np.random.default_rng(0)
    n = 400_000
    means = (random.uniform(0, MOST_PHOTONS**0.5, n) ** 2).astype(np.float32)
    words = random.integers(0, 2**32, n)
    found = looked_up(means, words)
    sure = found != UNSURE
    assert np.array_equal(found[sure], defined(means, words)[sure])


def test_sure_cells_hold_it_at_their_corners():
    rows, columns = (axis.ravel() for axis in np.indices((len(TABLE) - 1, 2**COLUMN_BITS))[:, :, 1::7])
    below = np.nextafter(EDGES[rows + 1].astype(np.float32), np.float32(0))
    low, high = columns * COLUMN, (columns + 1) * COLUMN - 1
    for means, words in (
        (EDGES[rows].astype(np.float32), low),
        (EDGES[rows].astype(np.float32), high),
        (below, low),
        (below, high),
    ):
        found = looked_up(means, words)
        sure = found != UNSURE
        assert np.array_equal(found[sure], defined(means, words)[sure])


def test_counts_grow_with_the_mean_and_the_word_where_the_table_relies_on_it():
    """The expansion, in the middle of every column but the outermost, on a grid finer than the rows."""
    words = np.arange(2**COLUMN_BITS)[1:-1] * COLUMN + COLUMN // 2
    means = np.linspace(FEW_PHOTONS, MOST_PHOTONS, 3000, dtype=np.float32)
    counts = poisson_quantiles(
        torch.from_numpy(np.repeat(means[:, None], len(words), 1)), torch.from_numpy(np.tile(words, (len(means), 1)))
    )
    assert (counts.diff(dim=0) >= 0).all() and (counts.diff(dim=1) >= 0).all()


@pytest.mark.parametrize(("photons", "most_unsure"), [(1, 0.04), (12, 0.08), (64, 0.16)])
def test_few_cells_are_unsure(photons, most_unsure):
    width = np.diff(EDGES)
    reached = EDGES[1:] <= photons
    unsure = (TABLE[:-1] == UNSURE).mean(axis=1)
    assert (unsure * width)[reached].sum() / width[reached].sum() < most_unsure
    assert (TABLE[-1] == UNSURE).all() and TABLE.nbytes < 2**20


@pytest.mark.skipif(compiled_kernels() is None, reason="Numba is not installed")
@pytest.mark.parametrize("photons", [1.0, 3.9, 12.0, 63.9, 64.0, 64.1])
def test_compiled_counts_are_those_of_the_definition_around_the_ends_of_the_table(photons):
    images, keys = smooth_images(3, 90, 150), some_keys(3)
    images[0, 0, :2] = torch.linspace(0, 1, 300).view(2, 150)
    ways = [
        corrupt("shot_noise", images, min(1.0, photons**-0.5), keys, implementation=way)
        for way in ("compiled", "torch")
    ]
    assert torch.equal(*ways)


@pytest.mark.skipif(compiled_kernels() is None, reason="Numba is not installed")
def test_values_that_nobody_checked_harm_no_other_pixel():
    images, keys = smooth_images(2, 64), some_keys(2)
    expected = corrupt("shot_noise", images, 12**-0.5, keys)
    spoilt = images.clone()
    places = torch.zeros_like(images, dtype=torch.bool)
    for i, value in enumerate((float("nan"), float("inf"), -float("inf"), -3.0, 1e30)):
        spoilt[0, 0, i, 7 * i], places[0, 0, i, 7 * i] = value, True
    found = corrupt("shot_noise", spoilt, 12**-0.5, keys, check=False)
    assert torch.equal(found[~places], expected[~places])
