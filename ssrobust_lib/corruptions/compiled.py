"""The seven corruptions compiled for the CPU: the same bits as plain torch, in one pass over memory.

Enters: images float32 (B, 1, H, W) in [0, 1] in main memory, a strength, keys int64 (B,). Leaves: corrupted images.
Functions are compiled by Numba at their first call, once per machine (they are kept in `__pycache__`), and run on as
many threads as torch uses.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from ssrobust_lib.corruptions import compiled_noise, compiled_sums
from ssrobust_lib.corruptions.noise import words_of_each
from ssrobust_lib.corruptions.parts import run_in_parts
from ssrobust_lib.corruptions.photon_table import count_table
from ssrobust_lib.corruptions.sharpness import area_taps, blur_weights
from ssrobust_lib.corruptions.units import kept_pixels

_WORTH_A_THREAD = 2**15  # pixels


def all_in_range(images: torch.Tensor) -> bool:
    """Whether every value of float32 images, of any shape, lies in [0, 1] (NaN does not)."""
    values = images.contiguous().view(-1).numpy()
    counts = run_in_parts(
        lambda first, last: compiled_sums.count_outside(values, first, last), len(values), at_least=2 * _WORTH_A_THREAD
    )
    return not sum(counts)


def draw_words(keys: torch.Tensor, n_pixels: int) -> np.ndarray:
    """One random word per pixel, uint32 (B, n_pixels): `streams.random_words`, compiled."""
    out = np.empty((len(keys), n_pixels), np.uint32)
    _over_tiles(lambda first, last: compiled_noise.draw_words(keys.numpy(), first, last, out), out.shape)
    return out


def draw_normals(keys: torch.Tensor, n_pixels: int) -> np.ndarray:
    """One standard-normal number per pixel, float32 (B, n_pixels): `streams.normal_values` of its word, compiled."""
    out = np.empty((len(keys), n_pixels), np.float32)
    table = compiled_noise.NORMAL_PAIRS
    _over_tiles(lambda first, last: compiled_noise.draw_normals(keys.numpy(), table, first, last, out), out.shape)
    return out


def _gaussian_noise(images: torch.Tensor, strength: float, keys: torch.Tensor) -> torch.Tensor:
    return _noise(compiled_noise.add_gaussian, images, keys, compiled_noise.NORMAL_PAIRS, np.float32(strength))


def _shot_noise(images: torch.Tensor, strength: float, keys: torch.Tensor) -> torch.Tensor:
    photons = strength**-2
    tables = compiled_noise.NORMAL_PAIRS, count_table()
    return _noise(compiled_noise.count_photons, images, keys, *tables, np.float32(photons), np.float32(1 / photons))


def _impulse_noise(images: torch.Tensor, strength: float, keys: torch.Tensor) -> torch.Tensor:
    return _noise(compiled_noise.replace_impulses, images, keys, np.uint32(words_of_each(strength)))


def _contrast(images: torch.Tensor, strength: float, keys: torch.Tensor) -> torch.Tensor:
    pixels, out, result = _arrays(images, (len(images), -1))
    kept, removed = np.float32(1 - strength), np.float32(strength)
    run_in_parts(
        lambda first, last: compiled_sums.shrink_contrast(pixels, kept, removed, first, last, out),
        len(pixels),
        at_least=-(-_WORTH_A_THREAD // pixels.shape[1]),
    )
    return result


def _brightness(images: torch.Tensor, strength: float, keys: torch.Tensor) -> torch.Tensor:
    values, out, result = _arrays(images, (-1,))
    offset = np.float32(strength)
    run_in_parts(
        lambda first, last: compiled_sums.add_offset(values, offset, first, last, out),
        len(values),
        at_least=2 * _WORTH_A_THREAD,
    )
    return result


def _gaussian_blur(images: torch.Tensor, strength: float, keys: torch.Tensor) -> torch.Tensor:
    pixels, out, result = _arrays(images, (len(images), *images.shape[2:]))
    weights = blur_weights(strength * max(images.shape[2:])).numpy()
    _, height, width = pixels.shape
    run_in_parts(
        lambda first, last: compiled_sums.blur_rows(pixels, weights, first, last, out),
        len(pixels) * height,
        at_least=-(-_WORTH_A_THREAD // (width * len(weights))),
    )
    return result


def _resolution(images: torch.Tensor, strength: float, keys: torch.Tensor) -> torch.Tensor:
    pixels, out, result = _arrays(images, (len(images), *images.shape[2:]))
    _, height, width = pixels.shape
    n_rows, n_columns = kept_pixels(height, strength), kept_pixels(width, strength)
    down_rows, down_columns, up_columns, up_rows = (
        _taps(n_in, n_out)
        for n_in, n_out in ((height, n_rows), (width, n_columns), (n_columns, width), (n_rows, height))
    )
    run_in_parts(
        lambda first, last: compiled_sums.reduce_and_enlarge(
            pixels, down_rows, down_columns, up_columns, up_rows, first, last, out
        ),
        len(pixels),
        at_least=-(-_WORTH_A_THREAD // (height * width)),
    )
    return result


KERNELS: dict[str, Callable[[torch.Tensor, float, torch.Tensor], torch.Tensor]] = {
    "gaussian_noise": _gaussian_noise,
    "shot_noise": _shot_noise,
    "impulse_noise": _impulse_noise,
    "contrast": _contrast,
    "brightness": _brightness,
    "gaussian_blur": _gaussian_blur,
    "resolution": _resolution,
}


def _arrays(images: torch.Tensor, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, torch.Tensor]:
    """Images and a new tensor of their shape as arrays of another shape, and that tensor."""
    images = images.detach().contiguous()
    result = torch.empty_like(images)
    return images.view(shape).numpy(), result.view(shape).numpy(), result


@lru_cache(maxsize=32)
def _taps(n_in: int, n_out: int) -> tuple[np.ndarray, np.ndarray]:
    """`sharpness.area_taps` as indices uint32 and weights float32, both (T, n_out)."""
    first, weights = area_taps(n_in, n_out)
    indices = (first + torch.arange(weights.shape[1])[:, None]).clamp_(max=n_in - 1)
    return indices.numpy().astype(np.uint32), weights.T.contiguous().numpy()


def _noise(kernel: Callable[..., None], images: torch.Tensor, keys: torch.Tensor, *numbers: Any) -> torch.Tensor:
    pixels, out, result = _arrays(images, (len(images), -1))
    key_values = keys.contiguous().numpy()
    _over_tiles(lambda first, last: kernel(pixels, key_values, *numbers, first, last, out), pixels.shape)
    return result


def _over_tiles(work: Callable[[int, int], None], shape: tuple[int, ...]) -> None:
    n_images, n_pixels = shape
    run_in_parts(work, n_images * -(-n_pixels // compiled_noise.TILE), at_least=_WORTH_A_THREAD // compiled_noise.TILE)
