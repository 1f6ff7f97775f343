"""Published strengths of the five severities, in the units used here: ImageNet-C's and MedMNIST-C's.

A yardstick beside the calibrated severities (paper, section 3.3), and to be chosen by name in a profile instead of
them. Enters: nothing. Leaves: `PUBLISHED_STRENGTHS`, by table and task.

ImageNet-C (Hendrycks and Dietterich 2019) states its strengths for 224 x 224 pixels; 'resolution' is called 'pixelate'
there. MedMNIST-C (Di Salvo et al. 2024; the values of the package medmnistc 0.1.0) has strengths of its own for each
data set: here those of PneumoniaMNIST for X-rays and those of OrganAMNIST for CT, which OrganCMNIST and OrganSMNIST
share. Its 'contrast_down' is the contrast of the paper, its 'brightness_up' the brightness. Two of its units differ:

- Brightness is a factor there and an offset here. Both give the same at mid-grey: offset = (factor - 1) / 2.
- Blur is stated by the size of its kernel, from which torchvision derives sigma = 0.15 size + 0.35 pixels and cuts the
  Gaussian at (size - 1) / 2 pixels. What counts is what is left of it: the standard deviation of the cut kernel.
"""

import math
from collections.abc import Mapping

_STATED_SIDE = 224  # pixels
_MID_GREY = 0.5

Strengths = Mapping[str, tuple[float, ...]]


def kernel_deviation(size: int) -> float:
    """Standard deviation, in pixels, of the Gaussian kernel that torchvision makes for an odd size."""
    sigma = 0.15 * size + 0.35
    offsets = range(-(size // 2), size // 2 + 1)
    weights = [math.exp(-0.5 * (offset / sigma) ** 2) for offset in offsets]
    return math.sqrt(sum(w * offset**2 for w, offset in zip(weights, offsets, strict=True)) / sum(weights))


def _from_medmnist(
    *,
    gaussian: tuple[float, ...],
    photons: tuple[float, ...],
    impulse: tuple[float, ...],
    contrast_factors: tuple[float, ...],
    brightness_factors: tuple[float, ...],
    kernel_sizes: tuple[int, ...],
    kept: tuple[float, ...],
) -> Strengths:
    """Strengths in the units used here from those that MedMNIST-C states."""
    return {
        "gaussian_noise": gaussian,
        "shot_noise": tuple(n**-0.5 for n in photons),
        "impulse_noise": impulse,
        "contrast": tuple(1 - factor for factor in contrast_factors),
        "brightness": tuple((factor - 1) * _MID_GREY for factor in brightness_factors),
        "gaussian_blur": tuple(kernel_deviation(size) / _STATED_SIDE for size in kernel_sizes),
        "resolution": tuple(1 - share for share in kept),
    }


IMAGENET_C_STRENGTHS: Strengths = {
    "gaussian_noise": (0.08, 0.12, 0.18, 0.26, 0.38),
    "shot_noise": tuple(photons**-0.5 for photons in (60, 25, 12, 5, 3)),
    "impulse_noise": (0.03, 0.06, 0.09, 0.17, 0.27),
    "contrast": tuple(1 - kept for kept in (0.4, 0.3, 0.2, 0.1, 0.05)),
    "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),
    "gaussian_blur": tuple(sigma / _STATED_SIDE for sigma in (1, 2, 3, 4, 6)),
    "resolution": tuple(1 - kept for kept in (0.6, 0.5, 0.4, 0.3, 0.25)),
}

MEDMNIST_C_STRENGTHS: Mapping[str, Strengths] = {
    "pneumonia": _from_medmnist(  # PneumoniaMNIST; of its six kernels the first five are its severities
        gaussian=(0.04, 0.05, 0.06, 0.07, 0.08),
        photons=(300, 200, 150, 100, 80),
        impulse=(0.005, 0.01, 0.013, 0.017, 0.02),
        contrast_factors=(0.9, 0.8, 0.7, 0.6, 0.4),
        brightness_factors=(1.1, 1.2, 1.3, 1.4, 1.5),
        kernel_sizes=(3, 5, 7, 9, 11),
        kept=(0.8, 0.7, 0.6, 0.5, 0.4),
    ),
    "organs": _from_medmnist(  # OrganAMNIST
        gaussian=(0.04, 0.08, 0.12, 0.16, 0.20),
        photons=(200, 100, 50, 25, 15),
        impulse=(0.01, 0.02, 0.03, 0.05, 0.08),
        contrast_factors=(0.8, 0.7, 0.6, 0.55, 0.5),
        brightness_factors=(1.2, 1.3, 1.4, 1.5, 1.6),
        kernel_sizes=(11, 13, 15, 17, 21),
        kept=(0.7, 0.6, 0.5, 0.4, 0.35),
    ),
}

PUBLISHED_STRENGTHS: Mapping[str, Mapping[str, Strengths]] = {
    "imagenet_c": dict.fromkeys(MEDMNIST_C_STRENGTHS, IMAGENET_C_STRENGTHS),
    "medmnist_c": MEDMNIST_C_STRENGTHS,
}
PUBLISHED_TITLES = {"imagenet_c": "ImageNet-C", "medmnist_c": "MedMNIST-C"}
