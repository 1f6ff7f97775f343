"""Corruptions of volumes: slice by slice, as the study does, or in three dimensions.

Enters: volumes float32 (B, 1, D, H, W) in [0, 1], one key per volume, for lengths the spacing of the voxels in mm.
Leaves: corrupted volumes of the same shape.

Slice by slice, slice i is corrupted as an image of its own with the key of the volume plus i (as `sample_keys` makes
them). In three dimensions, noise is per voxel, contrast shrinks about the mean of the volume, and blur and resolution
act along all three axes with the same lengths in mm as within a slice.
"""

from collections.abc import Sequence

import numpy as np
import torch

from ssrobust_lib.corruptions.entrance import check_keys, check_range, check_strength
from ssrobust_lib.corruptions.interface import CORRUPTIONS
from ssrobust_lib.corruptions.sharpness import area_taps, blur_axis, blur_weights, resample_axis
from ssrobust_lib.corruptions.units import kept_pixels
from ssrobust_lib.registry import unknown_name

MODES = ("slices", "volume")
_AXES = (2, 3, 4)  # of D, H, W


def corrupt_volume(
    name: str,
    volumes: torch.Tensor,
    strength: float,
    keys: torch.Tensor | np.ndarray,
    *,
    mode: str = "slices",
    spacing_mm: Sequence[float] | None = None,
    check: bool = True,
) -> torch.Tensor:
    """Corrupt volumes.

    Parameters
    ----------
    name : str
        In `CORRUPTIONS`.
    volumes : float32 (B, 1, D, H, W) in [0, 1]
        They stay unchanged.
    strength : float in [0, strongest]
        In the corruption's unit; lengths are fractions of the longer side of a slice.
    keys : int64 (B,)
        One key per volume (`sample_keys` without `slices`).
    mode : 'slices' or 'volume'
    spacing_mm : (between slices, between rows, between columns)
        Needed by blur and resolution in three dimensions, else not looked at.
    check : bool
        As for `corrupt`.

    Returns
    -------
    float32 (B, 1, D, H, W) in [0, 1], on the device of `volumes`.

    Raises
    ------
    UnknownNameError
        Where the corruption or the mode is not known.
    TypeError, ValueError
        Where volumes, keys, strength or spacing are not what is stated above.
    """
    corruption = CORRUPTIONS[name]
    if mode not in MODES:
        raise unknown_name("mode", mode, list(MODES))
    _check_volumes(volumes)
    keys = check_keys(keys, volumes)
    n, _, depth, height, width = volumes.shape
    if mode == "slices":
        slice_keys = (keys[:, None] + torch.arange(depth, device=keys.device)) & (2**63 - 1)
        slices = volumes.reshape(n * depth, 1, height, width)  # (B, 1, D, H, W) -> (B D, 1, H, W)
        return corruption.apply(slices, strength, slice_keys.flatten(), check=check).view(volumes.shape)
    if name in ("gaussian_blur", "resolution"):
        strength = check_strength(corruption, strength)
        spacing = _checked_spacing(spacing_mm, name)
        if check:
            check_range(volumes)
        if not strength:
            return volumes.clone()
        return (_blur if name == "gaussian_blur" else _reduce)(volumes, strength, spacing).clamp_(0, 1)
    # the others know no neighbours: a volume is one tall image to them, with one mean and one stream
    tall = volumes.reshape(n, 1, depth * height, width)  # (B, 1, D, H, W) -> (B, 1, D H, W)
    return corruption.apply(tall, strength, keys, check=check).view(volumes.shape)


def _blur(volumes: torch.Tensor, strength: float, spacing: Sequence[float]) -> torch.Tensor:
    """Gaussian of one width in mm along all axes."""
    side_mm = max(volumes.shape[3] * spacing[1], volumes.shape[4] * spacing[2])
    for axis, step in zip(_AXES, spacing, strict=True):
        volumes = blur_axis(volumes, blur_weights(strength * side_mm / step).tolist(), axis)
    return volumes


def _reduce(volumes: torch.Tensor, strength: float, spacing: Sequence[float]) -> torch.Tensor:
    """Averages over cubes of one side in mm, and back up; an axis that is coarser already stays as it is."""
    sides = [count * step for count, step in zip(volumes.shape[2:], spacing, strict=True)]
    longer = 1 if sides[1] >= sides[2] else 2  # axis within a slice
    cube_mm = sides[longer] / kept_pixels(volumes.shape[2 + longer], strength)
    for axis, side_mm in zip(_AXES, sides, strict=True):
        n_voxels = volumes.shape[axis]
        n_kept = min(n_voxels, max(1, int(side_mm / cube_mm + 1e-6)))
        if n_kept < n_voxels:
            small = resample_axis(volumes, *_taps(n_voxels, n_kept, volumes.device), axis)
            volumes = resample_axis(small, *_taps(n_kept, n_voxels, volumes.device), axis)
    return volumes.clone()


def _taps(n_in: int, n_out: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    first, weights = area_taps(n_in, n_out)
    return first.to(device), weights.to(device)


def _check_volumes(volumes: torch.Tensor) -> None:
    if not isinstance(volumes, torch.Tensor) or volumes.dtype != torch.float32:
        got = volumes.dtype if isinstance(volumes, torch.Tensor) else type(volumes).__name__
        raise TypeError(f"volumes: expected a torch tensor of float32, got {got}; convert with torch's .float()")
    if volumes.ndim != 5 or volumes.shape[1] != 1 or 0 in volumes.shape:
        raise ValueError(
            f"volumes: expected the shape (B, 1, D, H, W) with at least one voxel, got {tuple(volumes.shape)}"
        )


def _checked_spacing(spacing_mm: Sequence[float] | None, name: str) -> Sequence[float]:
    if spacing_mm is None or len(spacing_mm) != 3 or not all(0 < float(step) < float("inf") for step in spacing_mm):
        raise ValueError(
            f"spacing_mm: {name} in three dimensions expects three distances above 0 in mm (slices, rows, columns), "
            f"got {spacing_mm!r}"
        )
    return [float(step) for step in spacing_mm]
