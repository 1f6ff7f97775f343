"""Contrast and brightness: 'a surrogate of contrast enhancement and high exposure' (paper, section 2).

Enters: clean images float32 (B, 1, H, W) in [0, 1]. Leaves: images of another appearance; no random numbers.
Formulas: ImageNet-C (Hendrycks and Dietterich 2019). Behind a corruption stands only a fixed affine map (one mean and
one standard deviation from the training data): normalising each image by itself would undo both.

What stands here is the definition, in plain torch; `compiled` and `fused` compute it in one pass over memory.
"""

import torch

from ssrobust_lib.corruptions.interface import corruption

FIXED_POINT = 2.0**24
_AT_ONCE = 4  # images converted to whole numbers together: the copy stays in a CPU's cache


@corruption(
    "contrast",
    title="Contrast",
    unit="fraction of the contrast removed",
    strongest=0.98,
    why_strongest="the fiftieth of the contrast that is left spans five of the 256 grey levels of a display",
    describe=lambda strength, image: f"{100 * strength:.3g} % of the contrast removed",
)
def contrast(images: torch.Tensor, strength: float, keys: torch.Tensor) -> torch.Tensor:
    """clip((x - mean) (1 - strength) + mean), with the mean of the image itself."""
    mean = image_means(images)
    # (x - mean) (1 - strength) + mean, with one pass less over the images
    return (images * (1 - strength)).add_(mean * strength).clamp_(0, 1)


@corruption(
    "brightness",
    title="Brightness",
    unit="offset added, fraction of the intensity range",
    strongest=0.6,
    why_strongest="only the darker two fifths of the intensity range then stay below white",
    describe=lambda strength, image: f"{strength:.3g} of the intensity range added",
)
def brightness(images: torch.Tensor, strength: float, keys: torch.Tensor) -> torch.Tensor:
    """clip(x + strength)."""
    return (images + strength).clamp_(0, 1)


def image_means(images: torch.Tensor) -> torch.Tensor:
    """Mean of each image, float32 (B, 1, 1, 1).

    The sum runs over whole multiples of 2**-24, the spacing of float32 below 1. It is exact (up to 2**39 pixels), so
    its order, and with it batch size, threads and device, cannot change a bit of it.
    """
    total = torch.cat(
        [
            (part * FIXED_POINT).round_().to(torch.int64).sum(dim=(1, 2, 3), keepdim=True)
            for part in images.split(_AT_ONCE)
        ]
    )
    return (total.double() / (FIXED_POINT * images.shape[2] * images.shape[3])).float()
