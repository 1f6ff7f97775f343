"""Five corruptions as fused Triton kernels for the GPU: one read and one write of each pixel (contrast reads twice).

Enters: images float32 (B, 1, H, W) in [0, 1] on a GPU, a strength, keys int64 (B,). Leaves: corrupted images. Numbers
and order of operations are those of plain torch, with division and root rounded as IEEE 754 asks and no fused
multiply-add, so pixels are the same to rounding: within 1e-6, except that a count of shot noise whose expansion lies
within rounding of a whole number may differ by one photon. Blur and resolution are products with banded matrices, in
`sharpness`.
"""

from collections.abc import Callable
from functools import lru_cache

import torch
import triton
import triton.language as tl

from ssrobust_lib.corruptions.noise import EXPONENTIAL, FEW_PHOTONS, HIGHEST_COUNT, words_of_each
from ssrobust_lib.corruptions.photometry import FIXED_POINT
from ssrobust_lib.corruptions.streams import SEGMENT_BITS, WORDS, normal_table

_COUNTERS_AT_ONCE = 512  # of a program: 2,048 pixels
_PIXELS_AT_ONCE = 4096
_MOST_PIXELS = 2**32  # of an image: its counters are held in 32 bits

_FRACTION_BITS = tl.constexpr(23 - SEGMENT_BITS)
_FRACTION_MASK = tl.constexpr((1 << (23 - SEGMENT_BITS)) - 1)
_FIRST_SEGMENT = tl.constexpr(126 << SEGMENT_BITS)
_FEW = tl.constexpr(FEW_PHOTONS)
_HIGHEST = tl.constexpr(HIGHEST_COUNT)
_FIXED = tl.constexpr(FIXED_POINT)
_T0, _T1, _T2, _T3, _T4, _T5, _T6, _T7 = (tl.constexpr(value) for value in EXPONENTIAL)


@triton.jit
def _add_kernel(images, out, offset, n, AT_ONCE: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * AT_ONCE + tl.arange(0, AT_ONCE)
    there = at < n
    x = tl.load(images + at, mask=there)
    tl.store(out + at, tl.minimum(tl.maximum(x + offset, 0.0), 1.0), mask=there)


@triton.jit
def _sum_kernel(images, totals, n_pixels, AT_ONCE: tl.constexpr):
    image = tl.program_id(1).to(tl.int64)
    at = tl.program_id(0).to(tl.int64) * AT_ONCE + tl.arange(0, AT_ONCE)
    x = tl.load(images + image * n_pixels + at, mask=at < n_pixels, other=0.0)
    scaled = x * _FIXED
    whole = tl.floor(scaled)
    rest = scaled - whole  # exact; halves go to the even neighbour, as in torch
    odd = whole.to(tl.int32) & 1
    up = (rest > 0.5) | ((rest == 0.5) & (odd == 1))
    rounded = whole.to(tl.int32) + up.to(tl.int32)
    tl.atomic_add(totals + image, tl.sum(rounded.to(tl.int64), 0))


@triton.jit
def _shrink_kernel(images, shifts, out, kept, n_pixels, AT_ONCE: tl.constexpr):
    image = tl.program_id(1).to(tl.int64)
    at = tl.program_id(0).to(tl.int64) * AT_ONCE + tl.arange(0, AT_ONCE)
    there = at < n_pixels
    x = tl.load(images + image * n_pixels + at, mask=there)
    changed = x * kept + tl.load(shifts + image)
    tl.store(out + image * n_pixels + at, tl.minimum(tl.maximum(changed, 0.0), 1.0), mask=there)


@triton.jit
def _normal(word, starts, slopes):
    upper = word >= 0x80000000
    distance = tl.where(upper, ~word, word).to(tl.int32).to(tl.float32) + 0.5
    bits = distance.to(tl.int32, bitcast=True)
    segment = (bits >> _FRACTION_BITS) - _FIRST_SEGMENT
    fraction = (bits & _FRACTION_MASK).to(tl.float32)
    value = tl.load(starts + segment) + fraction * tl.load(slopes + segment)
    return tl.where(upper, value, -value)


@triton.jit
def _count(mean, word, z):
    squared = z * z
    root = tl.sqrt_rn(tl.maximum(mean, _FEW))
    inverse = tl.div_rn(tl.full(root.shape, 1.0, tl.float32), root)
    correction = ((squared * (1 / 270) + 7 / 810) * squared - 8 / 405) * inverse
    squared = squared + 2.0
    correction = (correction - squared * z * (1 / 72)) * inverse
    count = tl.maximum(tl.floor(root * z + mean + squared * (1 / 6) + correction), 0.0)
    if tl.min(mean, 0) < _FEW:
        quantile = ((word >> 9).to(tl.int32).to(tl.float32) + 0.5) * (1 / 8388608)
        y = mean * -0.125
        p = ((((((_T7 * y + _T6) * y + _T5) * y + _T4) * y + _T3) * y + _T2) * y + _T1) * y + _T0
        p = p * p
        p = p * p
        p = p * p
        total = p
        small = (quantile > total).to(tl.float32)
        for k in tl.static_range(1, _HIGHEST + 1):
            p = p * mean * (1 / k)
            total = total + p
            small = small + (quantile > total).to(tl.float32)
        count = tl.where(mean < _FEW, small, count)
    return count


@triton.jit
def _noise_kernel(
    images,
    keys,
    starts,
    slopes,
    out,
    number,
    inverse,
    pepper,
    salt,
    n_pixels,
    KIND: tl.constexpr,
    AT_ONCE: tl.constexpr,
):
    image = tl.program_id(1).to(tl.int64)
    counter = tl.program_id(0).to(tl.int64) * AT_ONCE + tl.arange(0, AT_ONCE)
    nothing = tl.zeros((AT_ONCE,), tl.uint32)
    words = tl.philox(tl.load(keys + image), counter.to(tl.uint32), nothing, nothing, nothing)
    for plane in tl.static_range(4):
        at = (counter // 64) * 256 + plane * 64 + counter % 64
        there = at < n_pixels
        x = tl.load(images + image * n_pixels + at, mask=there, other=0.0)
        word = words[plane]
        if KIND == "gaussian":
            y = _normal(word, starts, slopes) * number + x
        elif KIND == "shot":
            y = _count(x * number, word, _normal(word, starts, slopes)) * inverse
        else:
            wide = word.to(tl.int64)
            y = tl.where(wide >= salt, 1.0, tl.where(wide >= pepper, x, 0.0))
        tl.store(out + image * n_pixels + at, tl.minimum(tl.maximum(y, 0.0), 1.0), mask=there)


def _brightness(images: torch.Tensor, strength: float, keys: torch.Tensor) -> torch.Tensor:
    images = images.detach().contiguous()
    out = torch.empty_like(images)
    with torch.cuda.device_of(images):
        grid = (triton.cdiv(images.numel(), _PIXELS_AT_ONCE),)
        _add_kernel[grid](images, out, strength, images.numel(), AT_ONCE=_PIXELS_AT_ONCE, enable_fp_fusion=False)
    return out


def _contrast(images: torch.Tensor, strength: float, keys: torch.Tensor) -> torch.Tensor:
    images = images.detach().contiguous()
    out = torch.empty_like(images)
    n_pixels = images[0].numel()
    grid = (triton.cdiv(n_pixels, _PIXELS_AT_ONCE), len(images))
    totals = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    with torch.cuda.device_of(images):
        _sum_kernel[grid](images, totals, n_pixels, AT_ONCE=_PIXELS_AT_ONCE, enable_fp_fusion=False)
        shifts = (totals.double() / (FIXED_POINT * n_pixels)).float() * strength
        _shrink_kernel[grid](
            images, shifts, out, 1 - strength, n_pixels, AT_ONCE=_PIXELS_AT_ONCE, enable_fp_fusion=False
        )
    return out


def _gaussian_noise(images: torch.Tensor, strength: float, keys: torch.Tensor) -> torch.Tensor:
    return _noise("gaussian", images, keys, number=strength)


def _shot_noise(images: torch.Tensor, strength: float, keys: torch.Tensor) -> torch.Tensor:
    return _noise("shot", images, keys, number=strength**-2, inverse=1 / strength**-2)


def _impulse_noise(images: torch.Tensor, strength: float, keys: torch.Tensor) -> torch.Tensor:
    return _noise("impulse", images, keys, n_each=words_of_each(strength))


KERNELS: dict[str, Callable[[torch.Tensor, float, torch.Tensor], torch.Tensor]] = {
    "gaussian_noise": _gaussian_noise,
    "shot_noise": _shot_noise,
    "impulse_noise": _impulse_noise,
    "contrast": _contrast,
    "brightness": _brightness,
}


def _noise(
    kind: str,
    images: torch.Tensor,
    keys: torch.Tensor,
    *,
    number: float = 0.0,
    inverse: float = 0.0,
    n_each: int = 0,
) -> torch.Tensor:
    images = images.detach().contiguous()
    n_pixels = images[0].numel()
    if n_pixels > _MOST_PIXELS:
        raise ValueError(f"images: expected at most {_MOST_PIXELS:,} pixels each, got {n_pixels:,}; use slices")
    out = torch.empty_like(images)
    grid = (triton.cdiv(n_pixels, 4 * _COUNTERS_AT_ONCE), len(images))
    starts, slopes = _tables(images.device)
    with torch.cuda.device_of(images):
        _noise_kernel[grid](
            images, keys.contiguous(), starts, slopes, out, number, inverse, n_each, WORDS - n_each, n_pixels,
            KIND=kind, AT_ONCE=_COUNTERS_AT_ONCE, enable_fp_fusion=False,
        )  # fmt: skip
    return out


@lru_cache(maxsize=8)
def _tables(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    start, slope = normal_table()
    return torch.from_numpy(start).to(device), torch.from_numpy(slope).to(device)
