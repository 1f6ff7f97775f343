"""Random streams that belong to images: keys, random 16-bit levels, standard-normal values.

Enters: what identifies an image (study seed, sample id, corruption, severity). Leaves: an int64 key, and from the key
one random level per pixel. The level of pixel p of an image is a function of (key, p) alone, computed with integers
only: the same for any batch size, order, number of threads or device.

The generator is SplitMix64 (Steele, Lea, Flood 2014, 'Fast splittable pseudorandom number generators'): step j of the
stream of seed s is mix(s + j * GAMMA), which needs no state and so is computed for all pixels at once. Each 64-bit step
gives four levels.

A level v in -32768 .. 32767 stands for the quantile (v + 32768.5) / 65536. Values that follow a law are its quantiles
at that level. A distribution function is then met to within 2**-17, which takes more than 10**9 pixels to tell from the
law itself, and the same key at a higher strength gives the same pattern, only stronger (common random numbers): the
score of a network falls smoothly with the strength, as the search of the calibration needs.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch

from ssrobust_lib.seeds import derive_seed

LEVELS = 65536
_GAMMA = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed integer: 2**64 divided by the golden ratio, odd
_MIX = ((30, -4658895280553007687), (27, -7723592293110705685))  # 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


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


def random_levels(keys: torch.Tensor, n_pixels: int) -> torch.Tensor:
    """Draw one level per pixel from the stream of each key.

    Parameters
    ----------
    keys : int64 (B,)
    n_pixels : int

    Returns
    -------
    int16 (B, n_pixels), uniform over -32768 .. 32767.
    """
    n_steps = -(-n_pixels // 4)
    steps = torch.arange(1, n_steps + 1, dtype=torch.int64, device=keys.device).mul_(_GAMMA)
    # neighbouring keys (slices of a scan) are hashed first, so that their streams start far apart
    bits = _mix(_mix(keys.clone())[:, None] + steps)  # (B, n_steps)
    return bits.view(torch.int16)[:, :n_pixels]  # (B, 4 * n_steps) -> (B, n_pixels)


def normal_values(levels: torch.Tensor) -> torch.Tensor:
    """Turn levels int16 (B, P) into standard-normal values float32 (B, P): mean 0, variance 1, at most 4.3 from 0."""
    table = _normal_table(levels.device)
    index = levels.to(torch.int32).add_(LEVELS // 2)
    return table.index_select(0, index.flatten()).view(levels.shape)


@lru_cache(maxsize=8)
def _normal_table(device: torch.device) -> torch.Tensor:
    """Quantiles of the standard normal law at the middle of each level, scaled to variance 1: float32 (65536,)."""
    middle = (torch.arange(LEVELS, dtype=torch.float64) + 0.5) / LEVELS
    quantiles = torch.special.ndtri(middle)
    quantiles = (quantiles - quantiles.flip(0)) / 2  # symmetric to the last bit
    return (quantiles / quantiles.square().mean().sqrt()).float().to(device)


def _mix(bits: torch.Tensor) -> torch.Tensor:
    """Finalise int64 values in place (SplitMix64, variant 13 of Stafford's mixers); products wrap around."""
    for shift, factor in _MIX:
        bits.bitwise_xor_(_shifted_right(bits, shift)).mul_(factor)
    return bits.bitwise_xor_(_shifted_right(bits, 31))


def _shifted_right(bits: torch.Tensor, shift: int) -> torch.Tensor:
    """Shift right and fill with zeros (torch fills signed integers with the sign)."""
    return bits.bitwise_right_shift(shift).bitwise_and_((1 << (64 - shift)) - 1)
