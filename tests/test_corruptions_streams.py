"""Random streams of the corruptions: the generator's published values, and the laws that its words are turned into."""

import numpy as np
import pytest
import torch

from ssrobust_lib.corruptions.noise import FEW_PHOTONS, poisson_quantiles
from ssrobust_lib.corruptions.streams import BLOCK, WORDS, normal_values, philox, random_words

N = 2**16
EVENLY = (torch.arange(N) * (WORDS // N) + WORDS // N // 2)[None]  # words in the middle of N equal parts
QUANTILES = (EVENLY[0].double().numpy() + 0.5) / WORDS


# known answers of the Random123 library (kat_vectors): counter, key, words
@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ([0] * 4, [0, 0], [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_gives_the_published_words(counter, key, expected):
    keys = torch.from_numpy(np.array([key[0] | key[1] << 32], np.uint64).view(np.int64))
    words = philox([torch.tensor([part]) for part in counter], keys)
    assert [int(word) for word in words] == expected


def test_the_words_of_a_counter_go_to_pixels_64_apart():
    key = torch.tensor([2**61 + 12345])
    words = random_words(key, 3 * BLOCK)[0]
    zero = torch.zeros(1, dtype=torch.int64)
    for counter in (0, 63, 64, 130):
        expected = [int(word) for word in philox([zero + counter, zero, zero, zero], key)]
        first = counter // 64 * BLOCK + counter % 64
        assert words[first : first + BLOCK : 64].tolist()[:4] == expected


def test_words_are_uniform_and_uncorrelated_between_pixels_and_neighbouring_keys():
    values = random_words(torch.arange(5, 7), 40_000).double() / (WORDS / 2) - 1  # uniform over [-1, 1)
    assert abs(values.mean()) < 5 * (1 / 3 / 80_000) ** 0.5
    assert abs(values.square().mean() - 1 / 3) < 5 * (4 / 45 / 80_000) ** 0.5
    pairs = [(values[0], values[1])] + [(values[0, :-lag], values[0, lag:]) for lag in (1, 64, 256)]
    for first, second in pairs:
        assert abs((first * second).mean() * 3) < 5 / len(first) ** 0.5


@pytest.mark.parametrize("shift", [0, 8, 16, 24])
def test_every_byte_of_the_words_is_uniform(shift):
    from scipy.stats import chisquare

    found = torch.bincount((random_words(torch.tensor([11]), 2**17)[0] >> shift) & 255, minlength=256)
    assert chisquare(found.numpy()).pvalue > 1e-4


def test_a_longer_stream_starts_like_a_shorter_one():
    keys = torch.tensor([3, 2**62])
    assert torch.equal(random_words(keys, 1001)[:, :50], random_words(keys, 50))


def test_normal_values_are_the_normal_quantiles():
    from scipy.special import ndtri

    values = normal_values(EVENLY)[0].double()
    assert np.abs(values.numpy() - ndtri(QUANTILES)).max() < 2e-6
    assert torch.equal(normal_values(WORDS - 1 - EVENLY)[0].double(), -values)
    assert abs(values.square().mean() - 1) < 1e-4


def test_normal_values_rise_to_the_very_ends():
    from scipy.special import ndtri

    ends = torch.tensor([[0, 1, 2, 5, 2**31 - 1, 2**31, WORDS - 6, WORDS - 2, WORDS - 1]])
    values = normal_values(ends)[0].double()
    assert (values.diff() >= 0).all()
    expected = ndtri((ends[0].double().numpy() + 0.5) / WORDS)
    assert np.abs(values.numpy() - expected).max() < 2e-6
    assert values[-1] > 6.2


@pytest.mark.parametrize("mean", [0.0, 0.01, 0.7, 3.9, 4.1, 9.0, 60.0, 1000.0])
def test_poisson_quantiles_are_those_of_the_poisson_law(mean):
    from scipy.stats import poisson

    found = poisson_quantiles(torch.full((1, N), mean), EVENLY)[0].double().numpy()
    assert np.mean(found != poisson.ppf(QUANTILES, mean)) < 0.002
    assert abs(found.mean() - mean) < 1e-3 + 1e-5 * mean
    assert abs(found.var() - mean) < 3e-3 + 1e-4 * mean


@pytest.mark.parametrize("mean", [0.003, 0.4, 1.0, 2.7, 3.999, 4.0, 6.0, 12.0, 60.0])
def test_the_poisson_distribution_function_is_met(mean):
    from scipy.stats import poisson

    found = poisson_quantiles(torch.full((1, N), mean), EVENLY)[0].numpy()
    counts = np.arange(found.max() + 1)
    reached = np.searchsorted(np.sort(found), counts, side="right") / N
    # exact to the grid of words where it is summed; the expansion's error falls as 1 / mean
    bound = 1.1 / N if mean < FEW_PHOTONS else 1.6e-3 / mean + 1.1 / N
    assert np.abs(reached - poisson.cdf(counts, mean)).max() < bound


def test_a_pixel_of_few_photons_does_not_depend_on_brighter_ones_beside_it():
    means = torch.linspace(0, 1, N)[None]
    alone = poisson_quantiles(means, EVENLY)
    beside = poisson_quantiles(torch.cat([means, torch.full_like(means, 50.0)]), EVENLY.expand(2, -1))
    assert torch.equal(alone[0], beside[0])
