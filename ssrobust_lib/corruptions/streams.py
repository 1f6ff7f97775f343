"""Random streams that belong to images: keys, one random word per pixel, standard-normal values.

Enters: what identifies an image (study seed, sample id, corruption, severity). Leaves: an int64 key, and from the key
one 32-bit word per pixel. The word of pixel p of an image is a function of (key, p) alone, computed with integers only:
the same for any batch size, order, number of threads or device.

The generator is Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011, 'Parallel random numbers: as easy as 1, 2, 3'), the
counter-based generator of cuRAND, PyTorch's GPU backend and Triton: ten rounds turn (key, counter) into four words.
Streams of two keys are two permutations, not two stretches of one sequence, so they cannot overlap, and neighbouring
keys (slices of a scan) are as independent as any.

A word w stands for the quantile (w + 1/2) / 2**32. Values that follow a law are its quantiles at that word, so the same
key at a higher strength gives the same pattern, only stronger (common random numbers): the score of a network falls
smoothly with the strength, as the search of the calibration needs.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch

from ssrobust_lib.seeds import derive_seed

WORDS = 2**32
COUNTERS = 64  # counters of a block; the four words of its counter j go to the pixels j, j + 64, j + 128, j + 192
BLOCK = 4 * COUNTERS  # pixels
ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)

SEGMENT_BITS = 8  # the normal quantile is linear on 256 segments of every octave of the distance from the nearer tail
_OCTAVES = 33
_EXPONENT_OF_HALF = 126  # of float32: the distance from the tail starts at 1/2
_LOW_32 = 0xFFFFFFFF


def sample_keys(
    study_seed: int,
    sample_ids: Sequence[str],
    corruption: str,
    severity: int | str,
    *,
    slices: Sequence[int] | np.ndarray | None = None,
) -> np.ndarray:
    """Make the key of each image: SHA-256 of (study seed, sample id, corruption, severity).

    Parameters
    ----------
    study_seed : int
        The profile's seed.
    sample_ids : sequence of str (B,)
    corruption : str
    severity : int in 1..5, or a fixed word where strengths are compared under the same random stream
        ('calibration' while the severities are being searched).
    slices : sequence of int (B,), optional
        For a volume: the index of the slice within its scan. Key of a slice = key of the sample + slice index, so a
        slice has the same noise whether its scan is read whole or in parts.

    Returns
    -------
    int64 (B,), not negative.

    Raises
    ------
    ValueError
        Where `slices` has another length or a negative index.
    """
    of_sample = {
        sample: derive_seed("corruption", study_seed, sample, corruption, severity)
        for sample in dict.fromkeys(str(sample) for sample in sample_ids)
    }
    keys = np.array([of_sample[str(sample)] for sample in sample_ids], dtype=np.uint64)
    if slices is not None:
        index = np.asarray(slices)
        if index.shape != keys.shape or (len(index) and index.min() < 0):
            raise ValueError(
                f"slices: expected one index from 0 per sample, shape {keys.shape}, got shape {index.shape}"
                + (f" with a minimum of {index.min()}" if index.size else "")
            )
        keys = (keys + index.astype(np.uint64)) & np.uint64(2**63 - 1)
    return keys.astype(np.int64)


def random_words(keys: torch.Tensor, n_pixels: int) -> torch.Tensor:
    """Draw one word per pixel from the stream of each key.

    Parameters
    ----------
    keys : int64 (B,)
    n_pixels : int

    Returns
    -------
    int64 (B, n_pixels), uniform over 0 .. 2**32 - 1.
    """
    n_blocks = -(-n_pixels // BLOCK)
    counters = torch.arange(n_blocks * COUNTERS, device=keys.device)
    nothing = torch.zeros_like(counters)
    words = philox([counters, nothing, nothing, nothing], keys[:, None])
    planes = torch.stack([word.expand(len(keys), -1).unflatten(1, (n_blocks, COUNTERS)) for word in words], dim=2)
    return planes.flatten(1)[:, :n_pixels]  # (B, blocks, 4, 64) -> (B, P)


def philox(counter: list[torch.Tensor], keys: torch.Tensor) -> list[torch.Tensor]:
    """Philox4x32-10: four words of a 128-bit counter under 64-bit keys; all int64, broadcast against each other."""
    low, high = keys & _LOW_32, (keys >> 32) & _LOW_32
    c0, c1, c2, c3 = counter
    for turn in range(ROUNDS):
        if turn:
            low, high = (low + KEY_STEPS[0]) & _LOW_32, (high + KEY_STEPS[1]) & _LOW_32
        product0, product1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]  # wrap around in int64, no bit is lost
        c0, c1, c2, c3 = (
            ((product1 >> 32) & _LOW_32) ^ c1 ^ low,
            product1 & _LOW_32,
            ((product0 >> 32) & _LOW_32) ^ c3 ^ high,
            product0 & _LOW_32,
        )
    return [c0, c1, c2, c3]


def normal_values(words: torch.Tensor) -> torch.Tensor:
    """Turn words int64 (B, P) into standard-normal values float32 (B, P), at most 6.4 from 0.

    The distance r of a word from the nearer end of its range is known to float32; exponent and leading digits of
    r + 1/2 choose a segment, and the value is linear within it. It differs by less than 2e-6 from the normal quantile.
    """
    upper = words >= WORDS // 2
    distance = torch.where(upper, _LOW_32 - words, words).to(torch.int32).to(torch.float32).add_(0.5)
    bits = distance.view(torch.int32)
    n_fraction = 23 - SEGMENT_BITS
    segment = (bits >> n_fraction) - (_EXPONENT_OF_HALF << SEGMENT_BITS)
    fraction = (bits & ((1 << n_fraction) - 1)).to(torch.float32)
    start, slope = (torch.from_numpy(table).to(words.device) for table in normal_table())
    segment = segment.flatten()
    values = start[segment].view(words.shape)
    values.add_(fraction.mul_(slope[segment].view(words.shape)))
    return torch.where(upper, values, -values)


@lru_cache(maxsize=1)
def normal_table() -> tuple[np.ndarray, np.ndarray]:
    """Value at the start of each segment, and slope per unit of the fraction: two of float32 (33 * 256,).

    Values are distances from the centre: minus the normal quantile of r / 2**32 for the distance r from the tail, at
    r = 2**(o - 1) (1 + s / 256) for octave o and segment s. No value lies above the centre, r = 2**31.
    """
    from scipy.special import ndtri

    n_segments = 1 << SEGMENT_BITS
    edges = np.ldexp(1 + np.arange(n_segments + 1) / n_segments, np.arange(_OCTAVES)[:, None] - 1)
    values = -ndtri(np.minimum(edges, 2.0**31) / WORDS)  # (octaves, segments + 1)
    slopes = np.diff(values) / (1 << (23 - SEGMENT_BITS))
    return values[:, :-1].astype(np.float32).ravel(), slopes.astype(np.float32).ravel()
