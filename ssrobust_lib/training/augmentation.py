"""Random movements of training images, for the control arm that is trained with augmentation (not in the paper).

Enters: a batch of images in [0, 1], with their masks or without, and a generator. Leaves: both, rotated, shifted and
scaled together. The resampling is torchvision's; its random transforms draw from torch's global state, so the amounts
are drawn here, from a stream that depends on nothing but seed, epoch and batch.
"""

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Movements:
    """How far an image may be moved; each amount is drawn uniformly between minus and plus the value.

    Attributes
    ----------
    rotation_degrees : in [0, 180].
    shift : along each axis, as a share of the image's side, in [0, 1).
    scale : relative to 1, in [0, 1): 0.15 draws from 0.85 to 1.15.
    """

    rotation_degrees: float
    shift: float
    scale: float


def move_images(
    images: torch.Tensor, masks: torch.Tensor | None, movements: Movements, generator: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Move every image of a batch by amounts of its own, and its mask with it.

    Parameters
    ----------
    images : float32 (B, 1, H, W) in [0, 1]; resampled bilinearly. What comes in from outside is black.
    masks : int64 (B, H, W) or None; nearest neighbour, and background (0) from outside.
    movements : see `Movements`.
    generator : source of the amounts; four numbers are drawn per image.

    Returns
    -------
    images float32 (B, 1, H, W) in [0, 1], channels last; masks int64 (B, H, W) or None. The inputs are left alone.

    Raises
    ------
    ValueError
        The masks are not of the images' size.
    """
    import ssrobust_lib.torchvision_ops  # noqa: F401  (before torchvision)

    # isort: split
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional

    if masks is not None and masks.shape != (len(images), *images.shape[2:]):
        raise ValueError(f"expected masks {(len(images), *images.shape[2:])}, got {tuple(masks.shape)}")
    height, width = images.shape[2:]
    moved, moved_masks = [], []
    for k, (angle, x, y, scale) in enumerate(generator.uniform(-1, 1, (len(images), 4)).tolist()):
        amounts = {
            "angle": angle * movements.rotation_degrees,
            "translate": [x * movements.shift * width, y * movements.shift * height],
            "scale": 1 + scale * movements.scale,
            "shear": [0.0, 0.0],
        }
        moved.append(functional.affine(images[k], interpolation=InterpolationMode.BILINEAR, **amounts))
        if masks is not None:
            moved_masks.append(functional.affine(masks[k][None], interpolation=InterpolationMode.NEAREST, **amounts)[0])
    batch = torch.stack(moved).contiguous(memory_format=torch.channels_last)
    return batch, torch.stack(moved_masks) if masks is not None else None
