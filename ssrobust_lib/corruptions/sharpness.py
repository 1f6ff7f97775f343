"""Gaussian blur and resolution: 'patient movement' and 'different scanner resolutions' (paper, section 2).

Enters: clean images float32 (B, 1, H, W) in [0, 1]. Leaves: images with less detail; no random numbers.
Formulas: ImageNet-C (Hendrycks and Dietterich 2019). Both are linear and separable. Lengths are fractions of the
image's longer side, so that a strength means the same at any image size.

What stands here is the definition, in plain torch: on a CPU as sums in a stated order, of which `compiled` gives the
same bits; on a GPU as products with banded matrices, the same to rounding.
"""

from collections.abc import Callable
from functools import lru_cache

import torch

from ssrobust_lib.corruptions.interface import corruption
from ssrobust_lib.corruptions.units import blur_in_words, kept_pixels, resolution_in_words

TRUNCATE = 4.0  # standard deviations after which the Gaussian ends, as in SciPy and scikit-image
_WEAKEST_KEPT = 1 / 16
_CHUNK_PIXELS = 2**18


@corruption(
    "gaussian_blur",
    title="Gaussian blur",
    unit="sigma, fraction of the image side",
    strongest=1 / 16,
    why_strongest="the blur's full width at half maximum is then a seventh of the side, the width of an organ",
    describe=blur_in_words,
)
def gaussian_blur(images: torch.Tensor, strength: float, keys: torch.Tensor) -> torch.Tensor:
    """Convolve with a Gaussian of sigma = strength x side, cut at 4 sigma; the border pixel is repeated outside."""
    sigma = strength * max(images.shape[2:])  # pixels
    if images.device.type != "cpu":
        rows, columns = (blur_matrix(side, sigma) for side in images.shape[2:])
        return banded_product(images, rows, columns)
    weights = blur_weights(sigma).tolist()
    return _in_chunks(images, lambda part: blur_axis(blur_axis(part, weights, 2), weights, 3))


@corruption(
    "resolution",
    title="Resolution",
    unit="fraction of the pixels along a side removed",
    strongest=1 - _WEAKEST_KEPT,
    why_strongest="a sixteenth of the side is 14 pixels at 224 x 224, fewer than a thumbnail needs",
    describe=resolution_in_words,
)
def resolution(images: torch.Tensor, strength: float, keys: torch.Tensor) -> torch.Tensor:
    """Average over areas down to a fraction 1 - strength of the side, and back up to the old size."""
    height, width = images.shape[2:]
    n_rows, n_columns = kept_pixels(height, strength), kept_pixels(width, strength)
    if images.device.type != "cpu":
        return banded_product(images, resolution_matrix(height, n_rows), resolution_matrix(width, n_columns))

    def down_and_up(part: torch.Tensor) -> torch.Tensor:
        for n_in, n_out, axis in (
            (height, n_rows, 2),
            (width, n_columns, 3),
            (n_columns, width, 3),
            (n_rows, height, 2),
        ):
            part = resample_axis(part, *area_taps(n_in, n_out), axis)
        return part

    return _in_chunks(images, down_and_up)


@lru_cache(maxsize=32)
def blur_weights(sigma: float) -> torch.Tensor:
    """Weights of the pixels at a distance of 0, 1, ... from the centre, float32 (radius + 1,); both sides sum to 1."""
    offsets = torch.arange(int(TRUNCATE * sigma + 0.5) + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (offsets / sigma) ** 2)
    return (weights / (2 * weights.sum() - weights[0])).float()


def blur_axis(images: torch.Tensor, weights: list[float], axis: int) -> torch.Tensor:
    """w0 x[i], then for each distance k in turn + wk (x[i - k] + x[i + k]); float32 of any shape, border repeated."""
    side, radius = images.shape[axis], len(weights) - 1
    index = torch.arange(-radius, side + radius).clamp_(0, side - 1)
    padded = images.index_select(axis, index)
    out = images * weights[0]
    for k in range(1, radius + 1):
        pair = padded.narrow(axis, radius - k, side) + padded.narrow(axis, radius + k, side)
        out.add_(pair.mul_(weights[k]))
    return out


@lru_cache(maxsize=32)
def area_taps(n_in: int, n_out: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Area-weighted resampling of an axis as the few input pixels of each output pixel.

    Returns
    -------
    first : int64 (n_out,)
        First input pixel that an output pixel covers; the others follow it.
    weights : float32 (n_out, T)
        Their shares; 0 after the last. Rows sum to 1.
    """
    matrix = _area_matrix(n_in, n_out)
    first = (matrix > 0).to(torch.int8).argmax(dim=1)
    index = first[:, None] + torch.arange(int((matrix > 0).sum(dim=1).max()))
    return first, matrix.gather(1, index.clamp(max=n_in - 1)).where(index < n_in, 0.0).float()


def resample_axis(images: torch.Tensor, first: torch.Tensor, weights: torch.Tensor, axis: int) -> torch.Tensor:
    """Sum of weight x pixel over the taps of each output pixel, in their order; float32 of any shape."""
    highest = images.shape[axis] - 1
    shape = [-1 if dimension == axis else 1 for dimension in range(images.ndim)]
    out = images.index_select(axis, first).mul_(weights[:, 0].view(shape))
    for tap in range(1, weights.shape[1]):
        pixels = images.index_select(axis, (first + tap).clamp_(max=highest))
        out.add_(pixels.mul_(weights[:, tap].view(shape)))
    return out


@lru_cache(maxsize=32)
def blur_matrix(side: int, sigma: float) -> torch.Tensor:
    """Gaussian blur along an axis of `side` pixels as a banded matrix, float32 (side, side); rows sum to 1."""
    half = blur_weights(sigma).double()
    radius = len(half) - 1
    offsets = torch.arange(-radius, radius + 1)
    sources = (torch.arange(side)[:, None] + offsets).clamp_(0, side - 1)  # (side, 2 radius + 1)
    matrix = torch.zeros(side, side, dtype=torch.float64)
    return matrix.scatter_add_(1, sources, half[offsets.abs()].expand(side, -1)).float()


@lru_cache(maxsize=32)
def resolution_matrix(side: int, n_kept: int) -> torch.Tensor:
    """Down to `n_kept` pixels and up to `side` again along an axis, float32 (side, side); rows sum to 1."""
    return (_area_matrix(n_kept, side) @ _area_matrix(side, n_kept)).float()


def banded_product(images: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """rows (H, H) @ image (H, W) @ columns (W, W) transposed, for each image of the batch."""
    n = len(images)
    rows = rows.to(images.device).expand(n, -1, -1)
    columns = columns.to(images.device).T.expand(n, -1, -1)
    # one product of fixed size per image: the order of its sums does not depend on the batch
    return torch.bmm(torch.bmm(rows, images[:, 0]), columns).clamp_(0, 1)[:, None]  # (B, H, W) -> (B, 1, H, W)


def _area_matrix(n_in: int, n_out: int) -> torch.Tensor:
    """Area-weighted resampling of an axis: float64 (n_out, n_in), the share of input pixel j in output pixel i."""
    edges_in = n_out * torch.arange(n_in + 1)  # in whole parts of 1 / (n_in n_out) of the axis, so that edges meet
    edges_out = n_in * torch.arange(n_out + 1)[:, None]
    upper = torch.minimum(edges_out[1:], edges_in[1:])  # (n_out, n_in)
    lower = torch.maximum(edges_out[:-1], edges_in[:-1])
    overlap = (upper - lower).clamp_(min=0)
    return overlap.double() / n_in


def _in_chunks(images: torch.Tensor, change: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Run change over a few images at a time, whose intermediate copies stay in the cache, and clip to [0, 1]."""
    n_at_once = max(1, _CHUNK_PIXELS // (images.shape[2] * images.shape[3]))
    return torch.cat([change(part) for part in images.split(n_at_once)]).clamp_(0, 1)
