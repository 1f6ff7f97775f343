"""Images and keys that the tests of the corruptions share."""

import numpy as np
import torch

from ssrobust_lib.corruptions import sample_keys

NOISES = ["gaussian_noise", "shot_noise", "impulse_noise"]


def smooth_images(n: int, height: int, width: int | None = None, seed: int = 0) -> torch.Tensor:
    """Images with structure at several sizes, in [0, 1]: float32 (n, 1, height, width)."""
    generator = torch.Generator().manual_seed(seed)
    size = (height, width or height)
    layers = [
        torch.nn.functional.interpolate(torch.rand(n, 1, side, side, generator=generator), size, mode="bilinear")
        for side in (3, 9, 27)
    ]
    images = layers[0] + 0.5 * layers[1] + 0.25 * layers[2]
    lowest, highest = images.aminmax()
    return (images - lowest) / (highest - lowest)


def some_keys(n: int, seed: int = 1) -> np.ndarray:
    return sample_keys(seed, [f"image-{i}" for i in range(n)], "gaussian_noise", 3)
