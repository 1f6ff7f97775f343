"""Gaussian, shot and impulse noise: 'reducing the dose costs image quality' (paper, section 2).

Enters: clean images float32 (B, 1, H, W) in [0, 1], one key per image. Leaves: noisy images.
Formulas: ImageNet-C (Hendrycks and Dietterich 2019), on one channel, in float and with a stream of random numbers that
belongs to the image.
"""

import math
from collections.abc import Callable

import torch

from ssrobust_lib.corruptions.interface import corruption
from ssrobust_lib.corruptions.streams import LEVELS, normal_values, random_levels

_CHUNK_PIXELS = 2**16  # pixels handled at once on a CPU, so that intermediate arrays stay in its cache
_FEW_PHOTONS = 4.0  # expected counts below this are drawn from the exact distribution function
_SCALE = 2.0**60


@corruption(
    "gaussian_noise",
    title="Gaussian noise",
    unit="standard deviation, fraction of the intensity range",
    strongest=0.5,
    why_strongest="at half the intensity range a third of the mid-grey pixels are clipped, and more noise shows little",
    describe=lambda strength: f"standard deviation {strength:.3g} of the intensity range",
)
def gaussian_noise(images: torch.Tensor, strength: float, keys: torch.Tensor) -> torch.Tensor:
    """clip(x + N(0, strength))."""

    def add(pixels: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        return normal_values(levels).mul_(strength).add_(pixels).clamp_(0, 1)

    return _per_pixel(images, keys, add)


def _photons(strength: float) -> str:
    if not strength:
        return "no limit on photons"
    number = f"{strength**-2:.3g}"
    return f"{number} photon{'' if number == '1' else 's'} at full intensity"


@corruption(
    "shot_noise",
    title="Shot noise",
    unit="relative noise at full intensity, 1 / sqrt(photons)",
    strongest=1.0,
    why_strongest="there a pixel of full intensity counts one photon on average",
    describe=_photons,
)
def shot_noise(images: torch.Tensor, strength: float, keys: torch.Tensor) -> torch.Tensor:
    """clip(Poisson(x c) / c) with c = 1 / strength**2 photons at full intensity."""
    photons = strength**-2

    def count(pixels: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        return poisson_quantiles(pixels * photons, levels, highest_mean=photons).div_(photons).clamp_(0, 1)

    return _per_pixel(images, keys, count)


@corruption(
    "impulse_noise",
    title="Impulse noise",
    unit="fraction of the pixels replaced",
    strongest=0.5,
    why_strongest="there every second pixel is lost",
    describe=lambda strength: f"{100 * strength:.3g} % of the pixels replaced by black or white",
)
def impulse_noise(images: torch.Tensor, strength: float, keys: torch.Tensor) -> torch.Tensor:
    """Replace a fraction of the pixels, half by 0 (pepper) and half by 1 (salt); exact to 1 / 32768 of the pixels."""
    n_each = max(1, round(strength / 2 * LEVELS))

    def replace(pixels: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        peppered = pixels * (levels >= n_each - LEVELS // 2)
        return torch.maximum(peppered, (levels >= LEVELS // 2 - n_each).to(torch.float32))

    return _per_pixel(images, keys, replace)


def poisson_quantiles(means: torch.Tensor, levels: torch.Tensor, *, highest_mean: float) -> torch.Tensor:
    """Turn levels into Poisson counts with given means.

    From `_FEW_PHOTONS` expected counts on, the count is the Cornish-Fisher expansion of the Poisson quantile about the
    normal one to the order 1 / mean (Giles 2016, ACM TOMS 42(1), 'Algorithm 955', equation for Q_N3), rounded down;
    below, it is found by summing the distribution function.

    Parameters
    ----------
    means : float32 (B, P)
        Expected counts, at least 0.
    levels : int16 (B, P)
        From `random_levels`.
    highest_mean : float
        Upper bound of the means: sets how far a distribution function is summed, the same for all images.

    Returns
    -------
    float32 (B, P), whole numbers.
    """
    if highest_mean < _FEW_PHOTONS:
        return _small_poisson_quantiles(means, levels, highest_mean)
    w = normal_values(levels)
    squared = w * w
    root = means.clamp(min=_FEW_PHOTONS).sqrt_()
    # mean + root w + (2 + w^2)/6 - w (2 + w^2)/72 / root + (-8/405 + 7 w^2/810 + w^4/270) / root^2
    correction = squared * (1 / 270) + 7 / 810
    correction.mul_(squared).sub_(8 / 405).div_(root)
    squared.add_(2)
    correction.sub_((squared * w).mul_(1 / 72)).div_(root)
    counts = (root * w).add_(means).add_(squared.mul_(1 / 6)).add_(correction).floor_().clamp_(min=0)
    few = (means < _FEW_PHOTONS).flatten().nonzero()[:, 0]
    if len(few):
        small = _small_poisson_quantiles(means.flatten()[few], levels.flatten()[few], _FEW_PHOTONS)
        counts.view(-1)[few] = small
    return counts


def _small_poisson_quantiles(means: torch.Tensor, levels: torch.Tensor, highest_mean: float) -> torch.Tensor:
    """Count the values k whose distribution function lies below the level's quantile."""
    # Everything is scaled by 2**60: a power of two changes no digit, the smallest difference between two neighbouring
    # float32 numbers is then above 1, and clamp(difference, 0, 1) is the comparison, faster than to and from booleans.
    quantile = levels.to(torch.float32).add_(LEVELS / 2 + 0.5).mul_(_SCALE / LEVELS)
    # exp in float64: its last bit may depend on the place in the array, a float32 rounded from it does not
    probability = means.double().neg_().exp_().mul_(_SCALE).float()
    summed = probability.clone()
    counts = (quantile - summed).clamp_(0, 1)
    below = torch.empty_like(counts)
    for k in range(1, _highest_count(highest_mean) + 1):
        probability.mul_(means).mul_(1 / k)
        summed.add_(probability)
        counts.add_(torch.sub(quantile, summed, out=below).clamp_(0, 1))
    return counts


def _highest_count(mean: float) -> int:
    """Smallest count whose Poisson distribution function exceeds the highest level's quantile."""
    summed = probability = math.exp(-mean)
    count = 0
    while summed <= 1 - 0.5 / LEVELS:
        count += 1
        probability *= mean / count
        summed += probability
    return count - 1


def _per_pixel(
    images: torch.Tensor, keys: torch.Tensor, change: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Run change(pixels (b, P), levels (b, P)) -> (b, P) over a batch, a few images at a time on a CPU."""
    n_pixels = images.shape[2] * images.shape[3]
    flat = images.reshape(len(images), n_pixels)  # (B, 1, H, W) -> (B, P)
    n_at_once = max(1, _CHUNK_PIXELS // n_pixels) if images.device.type == "cpu" else len(images)
    out = torch.empty_like(flat)
    for start in range(0, len(images), n_at_once):
        part = slice(start, start + n_at_once)
        out[part] = change(flat[part], random_levels(keys[part], n_pixels))
    return out.view(images.shape)  # (B, P) -> (B, 1, H, W)
