"""Gaussian blur and resolution: 'patient movement' and 'different scanner resolutions' (paper, section 2).

Enters: clean images float32 (B, 1, H, W) in [0, 1]. Leaves: images with less detail; no random numbers.
Formulas: ImageNet-C (Hendrycks and Dietterich 2019). Both are linear and separable: one matrix for the rows and one for
the columns, applied to the whole batch. Lengths are fractions of the image's longer side, so that a strength means the
same at any image size.
"""

from functools import lru_cache

import torch

from ssrobust_lib.corruptions.interface import corruption

_STATED_SIDE = 224  # pixels: the side for which ImageNet-C states its blur, used in descriptions
_TRUNCATE = 4.0  # standard deviations after which the Gaussian ends, as in SciPy and scikit-image
_WEAKEST_KEPT = 1 / 16


@corruption(
    "gaussian_blur",
    title="Gaussian blur",
    unit="sigma, fraction of the image side",
    strongest=1 / 16,
    why_strongest="the blur's full width at half maximum is then a seventh of the side, the width of an organ",
    describe=lambda strength: f"sigma {_STATED_SIDE * strength:.3g} pixels at {_STATED_SIDE} x {_STATED_SIDE}",
)
def gaussian_blur(images: torch.Tensor, strength: float, keys: torch.Tensor) -> torch.Tensor:
    """Convolve with a Gaussian of sigma = strength x side, cut at 4 sigma; the border pixel is repeated outside."""
    height, width = images.shape[2:]
    sigma = strength * max(height, width)  # pixels
    return _along_both_axes(images, blur_matrix(height, sigma), blur_matrix(width, sigma))


@corruption(
    "resolution",
    title="Resolution",
    unit="fraction of the pixels along a side removed",
    strongest=1 - _WEAKEST_KEPT,
    why_strongest="a sixteenth of the side is 14 pixels at 224 x 224, fewer than a thumbnail needs",
    describe=lambda strength: (
        f"{kept_pixels(_STATED_SIDE, strength)} of {_STATED_SIDE} pixels kept along a side, then enlarged again"
    ),
)
def resolution(images: torch.Tensor, strength: float, keys: torch.Tensor) -> torch.Tensor:
    """Average over areas down to a fraction 1 - strength of the side, and back up to the old size."""
    height, width = images.shape[2:]
    rows = resolution_matrix(height, kept_pixels(height, strength))
    columns = resolution_matrix(width, kept_pixels(width, strength))
    return _along_both_axes(images, rows, columns)


def kept_pixels(side: int, strength: float) -> int:
    """Pixels along a side of the small image: the whole part of side (1 - strength), at least one."""
    return max(1, int(side * (1 - strength) + 1e-6))


@lru_cache(maxsize=32)
def blur_matrix(side: int, sigma: float) -> torch.Tensor:
    """Gaussian blur along an axis of `side` pixels as a banded matrix, float32 (side, side); rows sum to 1."""
    radius = int(_TRUNCATE * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1)  # (2 radius + 1,)
    weights = torch.exp(-0.5 * (offsets.double() / sigma) ** 2)
    sources = (torch.arange(side)[:, None] + offsets).clamp_(0, side - 1)  # (side, 2 radius + 1)
    matrix = torch.zeros(side, side, dtype=torch.float64)
    matrix.scatter_add_(1, sources, (weights / weights.sum()).expand(side, -1))
    return matrix.float()


@lru_cache(maxsize=32)
def resolution_matrix(side: int, n_kept: int) -> torch.Tensor:
    """Down to `n_kept` pixels and up to `side` again along an axis, float32 (side, side); rows sum to 1."""
    return (_area_matrix(n_kept, side) @ _area_matrix(side, n_kept)).float()


def _area_matrix(n_in: int, n_out: int) -> torch.Tensor:
    """Area-weighted resampling of an axis: float64 (n_out, n_in), the share of input pixel j in output pixel i."""
    edges_in = torch.linspace(0, 1, n_in + 1, dtype=torch.float64)
    edges_out = torch.linspace(0, 1, n_out + 1, dtype=torch.float64)[:, None]
    upper = torch.minimum(edges_out[1:], edges_in[1:])  # (n_out, n_in)
    lower = torch.maximum(edges_out[:-1], edges_in[:-1])
    overlap = (upper - lower).clamp_(min=0)
    return overlap / overlap.sum(dim=1, keepdim=True)


def _along_both_axes(images: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """rows (H, H) @ image (H, W) @ columns (W, W) transposed, for each image of the batch."""
    n = len(images)
    rows = rows.to(images.device).expand(n, -1, -1)
    columns = columns.to(images.device).T.expand(n, -1, -1)
    # one product of fixed size per image: the order of its sums does not depend on the batch
    return torch.bmm(torch.bmm(rows, images[:, 0]), columns).clamp_(0, 1)[:, None]  # (B, H, W) -> (B, 1, H, W)
