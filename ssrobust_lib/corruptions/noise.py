"""Gaussian, shot and impulse noise: 'reducing the dose costs image quality' (paper, section 2).

Enters: clean images float32 (B, 1, H, W) in [0, 1], one key per image. Leaves: noisy images.
Formulas: ImageNet-C (Hendrycks and Dietterich 2019), on one channel, in float and with a stream of random numbers that
belongs to the image. Noise is drawn per pixel of the image as it stands: the same strength on a finer grid is another
noise in the same square millimetre (`units.noise_at_side` converts).

What stands here is the definition, in plain torch for any device. `compiled` computes the same bits on a CPU in one
pass, `fused` the same pixels to rounding on a GPU.
"""

import math
from collections.abc import Callable

import torch

from ssrobust_lib.corruptions.interface import corruption
from ssrobust_lib.corruptions.streams import WORDS, normal_values, random_words
from ssrobust_lib.corruptions.units import in_pixels_of, photons_in_words

_CHUNK_PIXELS = 2**16  # pixels handled at once on a CPU, so that intermediate arrays stay in its cache
FEW_PHOTONS = 4.0  # expected counts below this are drawn from the exact distribution function
EXPONENTIAL = tuple(1 / math.factorial(power) for power in range(8))  # Taylor coefficients of e**y


@corruption(
    "gaussian_noise",
    title="Gaussian noise",
    unit="standard deviation, fraction of the intensity range",
    strongest=0.5,
    why_strongest="at half the intensity range a third of the mid-grey pixels are clipped, and more noise shows little",
    describe=in_pixels_of(lambda strength: f"standard deviation {strength:.3g} of the intensity range"),
)
def gaussian_noise(images: torch.Tensor, strength: float, keys: torch.Tensor) -> torch.Tensor:
    """clip(x + N(0, strength))."""

    def add(pixels: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        return normal_values(words).mul_(strength).add_(pixels).clamp_(0, 1)

    return _per_pixel(images, keys, add)


@corruption(
    "shot_noise",
    title="Shot noise",
    unit="relative noise at full intensity, 1 / sqrt(photons)",
    strongest=1.0,
    why_strongest="there a pixel of full intensity counts one photon on average",
    describe=in_pixels_of(photons_in_words),
)
def shot_noise(images: torch.Tensor, strength: float, keys: torch.Tensor) -> torch.Tensor:
    """clip(Poisson(x c) / c) with c = 1 / strength**2 photons at full intensity."""
    photons = strength**-2

    def count(pixels: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        return poisson_quantiles(pixels * photons, words).mul_(1 / photons).clamp_(0, 1)

    return _per_pixel(images, keys, count)


@corruption(
    "impulse_noise",
    title="Impulse noise",
    unit="fraction of the pixels replaced",
    strongest=0.5,
    why_strongest="there every second pixel is lost",
    describe=in_pixels_of(lambda strength: f"{100 * strength:.3g} % of the pixels replaced by black or white"),
)
def impulse_noise(images: torch.Tensor, strength: float, keys: torch.Tensor) -> torch.Tensor:
    """Replace a fraction of the pixels, half by 0 (pepper) and half by 1 (salt)."""
    n_each = words_of_each(strength)

    def replace(pixels: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        return torch.maximum(pixels * (words >= n_each), (words >= WORDS - n_each).to(torch.float32))

    return _per_pixel(images, keys, replace)


def words_of_each(strength: float) -> int:
    """How many of the 2**32 words mean pepper; as many mean salt."""
    return max(1, round(strength / 2 * WORDS))


def poisson_quantiles(means: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
    """Turn words into Poisson counts with given means.

    From `FEW_PHOTONS` expected counts on, the count is the Cornish-Fisher expansion of the Poisson quantile about the
    normal one to the order 1 / mean (Giles 2016, ACM TOMS 42(1), 'Algorithm 955', equation for Q_N3), rounded down;
    below, it is found by summing the distribution function.

    Parameters
    ----------
    means : float32 (B, P)
        Expected counts, at least 0.
    words : int64 (B, P)
        From `random_words`.

    Returns
    -------
    float32 (B, P), whole numbers.
    """
    z = normal_values(words)
    squared = z * z
    root = means.clamp(min=FEW_PHOTONS).sqrt_()
    inverse = root.reciprocal()
    # mean + root z + (2 + z^2)/6 - z (2 + z^2)/72 / root + (-8/405 + 7 z^2/810 + z^4/270) / root^2
    correction = squared.mul(1 / 270).add_(7 / 810).mul_(squared).sub_(8 / 405).mul_(inverse)
    squared.add_(2)
    correction.sub_((squared * z).mul_(1 / 72)).mul_(inverse)
    counts = (root * z).add_(means).add_(squared.mul_(1 / 6)).add_(correction).floor_().clamp_(min=0)
    few = (means < FEW_PHOTONS).flatten().nonzero()[:, 0]
    if len(few):
        counts.view(-1)[few] = _few_photons(means.flatten()[few], words.flatten()[few])
    return counts


def _few_photons(means: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
    """Count the values k whose distribution function lies below the word's quantile; both (P,)."""
    quantile = (words >> 9).to(torch.float32).add_(0.5).mul_(2.0**-23)  # 24 digits: exact in float32
    eighth = means * -0.125
    probability = torch.full_like(means, EXPONENTIAL[-1])
    for coefficient in EXPONENTIAL[-2::-1]:
        probability.mul_(eighth).add_(coefficient)
    for _ in range(3):  # e**-mean = (e**(-mean / 8))**8
        probability.mul_(probability)
    summed = probability.clone()
    below = quantile > summed
    counts = below.to(torch.float32)
    for k in range(1, HIGHEST_COUNT + 1):
        if not below.any():
            break
        probability.mul_(means).mul_(1 / k)
        summed.add_(probability)
        below = quantile > summed
        counts.add_(below)
    return counts


def _highest_count(mean: float) -> int:
    """Largest count whose Poisson distribution function lies below the highest quantile, up to a multiple of four."""
    summed = probability = math.exp(-mean)
    count = 0
    while summed <= 1 - 2.0**-24:  # quantiles have 23 digits
        count += 1
        probability *= mean / count
        summed += probability
    return -(-(count - 1) // 4) * 4


HIGHEST_COUNT = _highest_count(FEW_PHOTONS)


def _per_pixel(
    images: torch.Tensor, keys: torch.Tensor, change: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Run change(pixels (b, P), words (b, P)) -> (b, P) over a batch, a few images at a time on a CPU."""
    n_pixels = images.shape[2] * images.shape[3]
    flat = images.reshape(len(images), n_pixels)  # (B, 1, H, W) -> (B, P)
    n_at_once = max(1, _CHUNK_PIXELS // n_pixels) if images.device.type == "cpu" else len(images)
    out = torch.empty_like(flat)
    for start in range(0, len(images), n_at_once):
        part = slice(start, start + n_at_once)
        out[part] = change(flat[part], random_words(keys[part], n_pixels))
    return out.view(images.shape)  # (B, P) -> (B, 1, H, W)
