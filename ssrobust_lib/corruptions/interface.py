"""What a corruption is: its name, its unit, its declared range, and the checks at its entrance (paper, section 2)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from ssrobust_lib.registry import Registry

Transform = Callable[[torch.Tensor, float, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Corruption:
    """One kind of image damage with a strength in a physical unit.

    Attributes
    ----------
    name : str
        Name in `CORRUPTIONS`, in profiles and in tables.
    title : str
        Name in figures, as the paper writes it.
    unit : str
        What the strength measures.
    strongest : float
        End of the declared range of strengths; calibration never goes beyond it.
    why_strongest : str
        The reason for that end.
    transform : callable (images, strength, keys) -> images
        The formula, without the checks; never called with strength 0.
    describe : callable (strength) -> str
        The strength in words, for captions and tables.
    """

    name: str
    title: str
    unit: str
    strongest: float
    why_strongest: str
    transform: Transform
    describe: Callable[[float], str]

    def apply(self, images: torch.Tensor, strength: float, keys: torch.Tensor | np.ndarray) -> torch.Tensor:
        """Corrupt a batch.

        Parameters
        ----------
        images : float32 (B, 1, H, W) in [0, 1]
            Clean images on any device; they stay unchanged.
        strength : float in [0, strongest]
            In the corruption's unit; 0 returns a copy of the images.
        keys : int64 (B,)
            One key per image (`sample_keys`); the image's random stream is a function of its key alone.

        Returns
        -------
        float32 (B, 1, H, W) in [0, 1], on the device of `images`.

        Raises
        ------
        TypeError
            Where images or keys have another type.
        ValueError
            Where a shape, a value of the images or the strength is outside what is stated above.
        """
        _check_images(images)
        keys = _checked_keys(keys, images)
        strength = float(strength)
        if not 0 <= strength <= self.strongest:
            raise ValueError(
                f"strength of {self.name}: expected 0 to {self.strongest:g} ({self.unit}), got {strength:g}; "
                f"the range ends there because {self.why_strongest}"
            )
        if strength == 0 or len(images) == 0:
            return images.clone()
        return self.transform(images, strength, keys)


CORRUPTIONS: Registry[Corruption] = Registry("corruption")


def corruption(
    name: str, *, title: str, unit: str, strongest: float, why_strongest: str, describe: Callable[[float], str]
) -> Callable[[Transform], Transform]:
    """Return a decorator that files a transform (images, strength, keys) -> images as a corruption."""

    def file_transform(transform: Transform) -> Transform:
        CORRUPTIONS.register(name)(Corruption(name, title, unit, strongest, why_strongest, transform, describe))
        return transform

    return file_transform


def corrupt(name: str, images: torch.Tensor, strength: float, keys: torch.Tensor | np.ndarray) -> torch.Tensor:
    """Corrupt a batch with the corruption of that name; see `Corruption.apply`.

    Raises
    ------
    UnknownNameError
        Where no corruption has that name.
    """
    return CORRUPTIONS[name].apply(images, strength, keys)


def _check_images(images: torch.Tensor) -> None:
    if not isinstance(images, torch.Tensor) or images.dtype != torch.float32:
        got = images.dtype if isinstance(images, torch.Tensor) else type(images).__name__
        raise TypeError(f"images: expected a torch tensor of float32, got {got}; convert with torch's .float()")
    if images.ndim != 4 or images.shape[1] != 1 or 0 in images.shape[2:]:
        raise ValueError(
            f"images: expected the shape (B, 1, H, W) with at least one pixel, got {tuple(images.shape)}; "
            "a volume enters as its slices, images[:, None]"
        )
    if images.numel() == 0:
        return
    lowest, highest = (value.item() for value in images.aminmax())
    if lowest != lowest or highest != highest:
        raise ValueError("images: expected finite values in [0, 1], got NaN; leave unreadable images out of the batch")
    if lowest < 0 or highest > 1:
        raise ValueError(
            f"images: expected values in [0, 1], got {lowest:g} to {highest:g}; corruptions act on the windowed image, "
            "before the mean and standard deviation of the training data are applied"
        )


def _checked_keys(keys: torch.Tensor | np.ndarray, images: torch.Tensor) -> torch.Tensor:
    if isinstance(keys, np.ndarray):
        keys = torch.from_numpy(keys)
    if not isinstance(keys, torch.Tensor) or keys.dtype != torch.int64:
        got = keys.dtype if isinstance(keys, torch.Tensor) else type(keys).__name__
        raise TypeError(f"keys: expected int64, one per image, got {got}; make them with sample_keys")
    if keys.shape != (len(images),):
        raise ValueError(f"keys: expected the shape ({len(images)},), one per image, got {tuple(keys.shape)}")
    return keys.to(images.device)
