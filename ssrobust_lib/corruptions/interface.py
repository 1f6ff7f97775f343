"""What a corruption is: its name, its unit, its declared range, and the checks at its entrance (paper, section 2)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from ssrobust_lib.corruptions.entrance import check_images, check_keys, check_strength
from ssrobust_lib.corruptions.implementations import implementation_of
from ssrobust_lib.corruptions.units import StatedImage, Words
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
    words : callable (strength, StatedImage) -> str
        The strength in words; ask `describe`.
    """

    name: str
    title: str
    unit: str
    strongest: float
    why_strongest: str
    transform: Transform
    words: Words

    def describe(self, strength: float, *, side: int | None = None, pixel_mm: float | None = None) -> str:
        """Put the strength into words, for captions and tables.

        Parameters
        ----------
        strength : float
        side : int, optional
            Longer side of the image in pixels. Without it, lengths are told for 224 pixels, and of noise is not told
            which pixels it is counted in.
        pixel_mm : float, optional
            Side of a pixel in mm; lengths are then told in mm as well.

        Raises
        ------
        ValueError
            Where `side` or `pixel_mm` is not above 0.
        """
        return self.words(strength, StatedImage(side, pixel_mm))

    def apply(
        self,
        images: torch.Tensor,
        strength: float,
        keys: torch.Tensor | np.ndarray,
        *,
        check: bool = True,
        implementation: str = "auto",
    ) -> torch.Tensor:
        """Corrupt a batch.

        Parameters
        ----------
        images : float32 (B, 1, H, W) in [0, 1]
            Clean images on any device; they stay unchanged.
        strength : float in [0, strongest]
            In the corruption's unit; 0 returns a copy of the images.
        keys : int64 (B,)
            One key per image (`sample_keys`); the image's random stream is a function of its key alone.
        check : bool
            Whether to look for values outside [0, 1] and NaN. Types, shapes and the strength are always checked. False
            is for images that are known to be clean, such as those of the image cache.
        implementation : str
            'auto' takes the fastest that is there for the images' device; 'torch' is plain torch on any device, the
            same bits on a CPU. 'compiled' (CPU, Numba) and 'fused' (GPU, Triton) are the fast ones.

        Returns
        -------
        float32 (B, 1, H, W) in [0, 1], on the device of `images`.

        Raises
        ------
        TypeError
            Where images or keys have another type.
        ValueError
            Where a shape, a value of the images or the strength is outside what is stated above, or the batch is empty.
        UnknownNameError
            Where no implementation has that name.
        RuntimeError
            Where the implementation asked for cannot run here.
        """
        check_images(images, values=check)
        keys = check_keys(keys, images)
        strength = check_strength(self, strength)
        run = implementation_of(self.name, implementation, images.device) or self.transform
        return run(images, strength, keys) if strength else images.clone()


CORRUPTIONS: Registry[Corruption] = Registry("corruption")


def corruption(
    name: str, *, title: str, unit: str, strongest: float, why_strongest: str, describe: Words
) -> Callable[[Transform], Transform]:
    """Return a decorator that files a transform (images, strength, keys) -> images as a corruption."""

    def file_transform(transform: Transform) -> Transform:
        CORRUPTIONS.register(name)(Corruption(name, title, unit, strongest, why_strongest, transform, describe))
        return transform

    return file_transform


def corrupt(
    name: str,
    images: torch.Tensor,
    strength: float,
    keys: torch.Tensor | np.ndarray,
    *,
    check: bool = True,
    implementation: str = "auto",
) -> torch.Tensor:
    """Corrupt a batch with the corruption of that name; see `Corruption.apply`.

    Raises
    ------
    UnknownNameError
        Where no corruption has that name.
    """
    return CORRUPTIONS[name].apply(images, strength, keys, check=check, implementation=implementation)
