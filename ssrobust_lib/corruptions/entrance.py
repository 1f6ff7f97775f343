"""The checks at the entrance of every corruption: type, shape, range, keys, strength.

Enters: what a caller gave. Leaves: the same in the form that the formulas take, or an error that says what was
expected, what came and what to do. The range is looked at once, where images enter.
"""

from typing import Protocol

import numpy as np
import torch

from ssrobust_lib.corruptions.implementations import compiled_kernels


class _Ranged(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def strongest(self) -> float: ...
    @property
    def why_strongest(self) -> str: ...


def check_images(images: torch.Tensor, *, values: bool = True) -> None:
    """Raise unless images are float32 (B, 1, H, W) with B, H, W >= 1 and, where asked, all values in [0, 1].

    Raises
    ------
    TypeError
        Another type.
    ValueError
        Another shape, an empty batch, a value outside, NaN.
    """
    if not isinstance(images, torch.Tensor) or images.dtype != torch.float32:
        got = images.dtype if isinstance(images, torch.Tensor) else type(images).__name__
        raise TypeError(f"images: expected a torch tensor of float32, got {got}; convert with torch's .float()")
    if images.ndim != 4 or images.shape[1] != 1 or 0 in images.shape[2:]:
        raise ValueError(
            f"images: expected the shape (B, 1, H, W) with at least one pixel, got {tuple(images.shape)}; "
            "a volume enters through corrupt_volume, or as its slices, images[:, None]"
        )
    if not len(images):
        raise ValueError(f"images: expected at least one image, got an empty batch {tuple(images.shape)}")
    if values:
        check_range(images)


def check_range(images: torch.Tensor) -> None:
    """Raise ValueError unless every value of float32 images, of any shape, lies in [0, 1]."""
    kernels = compiled_kernels() if images.device.type == "cpu" else None
    if kernels is not None and kernels.all_in_range(images):
        return
    lowest, highest = (value.item() for value in images.aminmax())
    if lowest != lowest or highest != highest:
        raise ValueError("images: expected finite values in [0, 1], got NaN; leave unreadable images out of the batch")
    if lowest < 0 or highest > 1:
        raise ValueError(
            f"images: expected values in [0, 1], got {lowest:g} to {highest:g}; corruptions act on the windowed image, "
            "before the mean and standard deviation of the training data are applied"
        )


def check_keys(keys: torch.Tensor | np.ndarray, images: torch.Tensor) -> torch.Tensor:
    """Return the keys as int64 (B,) on the images' device.

    Raises
    ------
    TypeError
        Another type.
    ValueError
        Another number of keys than of images.
    """
    if isinstance(keys, np.ndarray):
        keys = torch.from_numpy(keys)
    if not isinstance(keys, torch.Tensor) or keys.dtype != torch.int64:
        got = keys.dtype if isinstance(keys, torch.Tensor) else type(keys).__name__
        raise TypeError(f"keys: expected int64, one per image, got {got}; make them with sample_keys")
    if keys.shape != (len(images),):
        raise ValueError(f"keys: expected the shape ({len(images)},), one per image, got {tuple(keys.shape)}")
    return keys.to(images.device)


def check_strength(corruption: _Ranged, strength: float | None) -> float:
    """Return the strength as a float.

    Raises
    ------
    TypeError
        No number.
    ValueError
        Outside 0 to the end of the corruption's declared range.
    """
    if strength is None or isinstance(strength, bool | str):
        raise TypeError(f"strength of {corruption.name}: expected a number ({corruption.unit}), got {strength!r}")
    strength = float(strength)
    if not 0 <= strength <= corruption.strongest:
        raise ValueError(
            f"strength of {corruption.name}: expected 0 to {corruption.strongest:g} ({corruption.unit}), got "
            f"{strength:g}; the range ends there because {corruption.why_strongest}"
        )
    return strength
