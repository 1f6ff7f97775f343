"""Other libraries' corruptions, used as documented: batches float32 (B, 1, H, W) in [0, 1] to the same.

What a library needs on the way (uint8, HWC, one image at a time) is part of its time. Strengths are those of ImageNet-C
at severity 3, MedMNIST-C's own at its third. A library is only asked for what it does: MONAI's `AdjustContrast` is a
gamma curve and its low resolution another filter, so both are left out. torchvision and kornia make images brighter by
a factor instead of an offset, which costs the same.
"""

import functools
import importlib.metadata
import inspect
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ssrobust_lib.corruptions import IMAGENET_C_STRENGTHS
from ssrobust_lib.profile_sections import CORRUPTION_NAMES

Peer = Callable[[torch.Tensor], Any]

NAMES = CORRUPTION_NAMES
_AT = {name: strengths[2] for name, strengths in IMAGENET_C_STRENGTHS.items()}  # severity 3
_STD, _AMOUNT, _OFFSET = _AT["gaussian_noise"], _AT["impulse_noise"], _AT["brightness"]
_PHOTONS, _SIGMA = round(_AT["shot_noise"] ** -2), round(224 * _AT["gaussian_blur"], 6)
_KEPT_CONTRAST, _KEPT = round(1 - _AT["contrast"], 6), round(1 - _AT["resolution"], 6)
_TAPS = 25  # 4 standard deviations of 3 pixels on both sides
_SEVERITY = 3


def version(package: str) -> str:
    """Version of an installed package, or 'not installed'."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _per_image(change: Callable[[np.ndarray], np.ndarray]) -> Peer:
    """For libraries that take one grey float image (H, W)."""
    return lambda batch: torch.from_numpy(np.stack([change(image) for image in batch.numpy()[:, 0]]))[:, None]


def _per_grey_image(change: Callable[[np.ndarray], np.ndarray]) -> Peer:
    """For libraries that take and give one image of bytes; of three channels given the first is kept."""

    def run(batch: torch.Tensor) -> torch.Tensor:
        bytes_in = (batch.numpy()[:, 0] * 255).round().astype(np.uint8)
        out = np.empty(bytes_in.shape, np.float32)
        for image, place in zip(bytes_in, out, strict=True):
            changed = change(image)
            place[...] = changed[..., 0] if changed.ndim == 3 else changed
        return torch.from_numpy(out / 255)[:, None]

    return run


def imagecorruptions() -> dict[str, Peer]:
    _mend_for_imagecorruptions()
    import imagecorruptions as library

    names = dict(zip(NAMES, NAMES, strict=True)) | {"resolution": "pixelate"}
    return {
        ours: _per_grey_image(functools.partial(library.corrupt, severity=_SEVERITY, corruption_name=theirs))
        for ours, theirs in names.items()
    }


def _mend_for_imagecorruptions() -> None:
    """Put back what imagecorruptions 1.1.2 imports and current setuptools, SciPy, NumPy and scikit-image lack."""
    import scipy.ndimage
    import skimage.filters

    package = types.ModuleType("pkg_resources")
    package.resource_filename = lambda package, resource: resource  # type: ignore[attr-defined]
    sys.modules.setdefault("pkg_resources", package)
    old = types.ModuleType("scipy.ndimage.interpolation")
    old.map_coordinates = scipy.ndimage.map_coordinates  # type: ignore[attr-defined]
    sys.modules.setdefault(old.__name__, old)
    if not hasattr(np, "float_"):
        np.float64 = np.float64  # type: ignore[attr-defined]
    current = skimage.filters.gaussian
    if "multichannel" not in inspect.signature(current).parameters:

        def gaussian(image: Any, sigma: float = 1, multichannel: bool = False, **options: Any) -> Any:
            return current(image, sigma=sigma, channel_axis=-1 if multichannel else None, **options)

        skimage.filters.gaussian = gaussian


def medmnistc() -> dict[str, Peer]:
    # its filters also hold a motion blur by ImageMagick, which is not needed here
    for name in ("wand", "wand.image", "wand.api"):
        sys.modules.setdefault(name, types.ModuleType(name))
    if not hasattr(sys.modules["wand.image"], "Image"):
        sys.modules["wand.image"].Image = object  # type: ignore[attr-defined]
        library = types.SimpleNamespace(MagickMotionBlurImage=types.SimpleNamespace())
        sys.modules["wand.api"].library = library  # type: ignore[attr-defined]
    import ssrobust_lib.torchvision_ops  # noqa: F401, I001
    from medmnistc.corruptions.registry import CORRUPTIONS_DS
    from PIL import Image

    corruptions = CORRUPTIONS_DS["pneumoniamnist"]
    corruptions["impulse_noise"].rng = np.random.default_rng(0)
    theirs = {"brightness": "brightness_up", "contrast": "contrast_down", "resolution": "pixelate"}

    def change(name: str) -> Callable[[np.ndarray], np.ndarray]:
        corruption = corruptions[theirs.get(name, name)]
        return lambda image: np.asarray(corruption.apply(Image.fromarray(image), _SEVERITY - 1))

    return {name: _per_grey_image(change(name)) for name in NAMES}


def torchvision() -> dict[str, Peer]:
    import ssrobust_lib.torchvision_ops  # noqa: F401, I001
    from torchvision.transforms.v2 import InterpolationMode, functional

    def resolution(batch: torch.Tensor) -> torch.Tensor:
        side = int(batch.shape[-1] * _KEPT)
        small = functional.resize(batch, [side, side], interpolation=InterpolationMode.BILINEAR, antialias=True)
        return functional.resize(small, list(batch.shape[2:]), interpolation=InterpolationMode.NEAREST)

    return {
        "gaussian_noise": lambda batch: functional.gaussian_noise(batch, 0.0, _STD, True),
        "contrast": lambda batch: functional.adjust_contrast(batch, _KEPT_CONTRAST),
        "brightness": lambda batch: functional.adjust_brightness(batch, 1 + _OFFSET),
        "gaussian_blur": lambda batch: functional.gaussian_blur(batch, [_TAPS, _TAPS], [_SIGMA, _SIGMA]),
        "resolution": resolution,
    }


def kornia() -> dict[str, Peer]:
    import kornia.augmentation as augmentation
    import kornia.enhance

    return {
        "gaussian_noise": augmentation.RandomGaussianNoise(0.0, _STD, p=1.0),
        "impulse_noise": augmentation.RandomSaltAndPepperNoise((_AMOUNT, _AMOUNT), (0.5, 0.5), p=1.0),
        "contrast": augmentation.RandomContrast((_KEPT_CONTRAST, _KEPT_CONTRAST), p=1.0),
        "brightness": lambda batch: kornia.enhance.adjust_brightness(batch, _OFFSET),
        "gaussian_blur": augmentation.RandomGaussianBlur((_TAPS, _TAPS), (_SIGMA, _SIGMA), p=1.0),
    }


def monai() -> dict[str, Peer]:
    import ssrobust_lib.torchvision_ops  # noqa: F401, I001
    from monai.transforms import GaussianSmooth, RandGaussianNoise, ShiftIntensity

    def with_the_batch_as_channels(transform: Any) -> Peer:
        return lambda batch: torch.as_tensor(transform(batch[:, 0]))[:, None]

    return {
        "gaussian_noise": with_the_batch_as_channels(RandGaussianNoise(prob=1.0, std=_STD, sample_std=False)),
        "brightness": with_the_batch_as_channels(ShiftIntensity(offset=_OFFSET)),
        "gaussian_blur": with_the_batch_as_channels(GaussianSmooth(sigma=_SIGMA)),
    }


def scikit_image() -> dict[str, Peer]:
    from skimage.filters import gaussian
    from skimage.util import random_noise

    generator = np.random.default_rng(0)
    return {
        "gaussian_noise": _per_image(
            lambda image: random_noise(image, "gaussian", var=_STD**2, rng=generator).astype(np.float32)
        ),
        "impulse_noise": _per_image(
            lambda image: random_noise(image, "s&p", amount=_AMOUNT, rng=generator).astype(np.float32)
        ),
        "gaussian_blur": _per_image(lambda image: gaussian(image, sigma=_SIGMA)),
    }


def opencv() -> dict[str, Peer]:
    import cv2

    def resolution(image: np.ndarray) -> np.ndarray:
        side = int(image.shape[1] * _KEPT)
        small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
        return cv2.resize(small, image.shape[::-1], interpolation=cv2.INTER_NEAREST)

    return {
        "gaussian_blur": _per_image(lambda image: cv2.GaussianBlur(image, (_TAPS, _TAPS), _SIGMA)),
        "resolution": _per_image(resolution),
    }


def numpy() -> dict[str, Peer]:
    generator = np.random.default_rng(0)

    def gaussian_noise(batch: torch.Tensor) -> torch.Tensor:
        noise = generator.standard_normal(batch.shape, dtype=np.float32)
        return torch.from_numpy(np.clip(batch.numpy() + np.float32(_STD) * noise, 0, 1))

    def shot_noise(batch: torch.Tensor) -> torch.Tensor:
        counts = generator.poisson(batch.numpy() * _PHOTONS)
        return torch.from_numpy(np.clip(counts / _PHOTONS, 0, 1).astype(np.float32))

    return {"gaussian_noise": gaussian_noise, "shot_noise": shot_noise}


def plain_torch() -> dict[str, Peer]:
    """What one would write; not a library, so no goal compares with it."""
    from torch.nn import functional

    def impulse_noise(batch: torch.Tensor) -> torch.Tensor:
        drawn = torch.rand_like(batch)
        return torch.where(drawn < _AMOUNT / 2, 0.0, torch.where(drawn < _AMOUNT, 1.0, batch))

    def contrast(batch: torch.Tensor) -> torch.Tensor:
        mean = batch.mean((-2, -1), keepdim=True)
        return torch.lerp(mean.expand_as(batch), batch, _KEPT_CONTRAST).clamp_(0, 1)

    offsets = torch.arange(_TAPS) - _TAPS // 2
    weights = torch.softmax(-0.5 * (offsets / _SIGMA) ** 2, 0)

    def gaussian_blur(batch: torch.Tensor) -> torch.Tensor:
        padded = functional.pad(batch, [_TAPS // 2] * 4, mode="replicate")
        return functional.conv2d(functional.conv2d(padded, weights.view(1, 1, 1, -1)), weights.view(1, 1, -1, 1))

    def resolution(batch: torch.Tensor) -> torch.Tensor:
        side = int(batch.shape[-1] * _KEPT)
        small = functional.interpolate(batch, (side, side), mode="area")
        return functional.interpolate(small, batch.shape[2:], mode="nearest")

    return {
        "gaussian_noise": lambda batch: torch.randn_like(batch).mul_(_STD).add_(batch).clamp_(0, 1),
        "shot_noise": lambda batch: torch.poisson(batch * _PHOTONS).div_(_PHOTONS).clamp_(max=1),
        "impulse_noise": impulse_noise,
        "contrast": contrast,
        "brightness": lambda batch: (batch + _OFFSET).clamp_(0, 1),
        "gaussian_blur": gaussian_blur,
        "resolution": resolution,
    }


# name -> (package on the index, its corruptions); the two benchmarks of robustness first
BENCHMARKS = {
    "imagecorruptions": ("imagecorruptions", imagecorruptions),
    "medmnistc": ("medmnistc", medmnistc),
}
LIBRARIES = {
    "torchvision": ("torchvision", torchvision),
    "kornia": ("kornia", kornia),
    "MONAI": ("monai", monai),
    "scikit-image": ("scikit-image", scikit_image),
    "OpenCV": ("opencv-python-headless", opencv),
    "NumPy": ("numpy", numpy),
}
EVERYONE = {**BENCHMARKS, **LIBRARIES, "plain torch": ("torch", plain_torch)}
