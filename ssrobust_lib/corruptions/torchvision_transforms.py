"""The corruptions as a transform of torchvision (v2), to put into someone else's pipeline.

Enters: images (..., 1 or 3, H, W) as `tv_tensors.Image` or tensors, uint8 or float in [0, 1], alone or within any
nesting of tuples and dictionaries. Leaves: the same structure with its images corrupted.

The random key of an image comes from its `SampleId`, where the sample has one: the same pixels in any worker, batch
and epoch. Otherwise it is drawn from the generator given, or from torch's own, which a `DataLoader` seeds differently
in every worker.
"""

from collections.abc import Sequence
from typing import Any

import PIL.Image
import torch

import ssrobust_lib.torchvision_ops  # noqa: F401  (before torchvision)

# isort: split
from torchvision import tv_tensors
from torchvision.transforms import v2

from ssrobust_lib.corruptions.interface import corrupt
from ssrobust_lib.corruptions.streams import sample_keys
from ssrobust_lib.corruptions.transform_arguments import choose_strength


class SampleId(str):
    """Name of a sample within what a data set returns: ``{"image": image, "id": SampleId("patient-7")}``."""

    __slots__ = ()


class Corrupt(v2.Transform):
    """Corrupt images at one strength.

    Three channels are corrupted one by one with the same random stream, and contrast with each channel's mean (as in
    ImageNet-C): a grey image that is repeated three times stays grey.

    Parameters
    ----------
    name : str
        In `CORRUPTIONS`.
    strength : float, optional
        In the corruption's unit.
    severity : int in 0..5, optional
        Instead of a strength.
    strengths : five floats, optional
        What severities 1 to 5 mean; ImageNet-C's where not given.
    seed : int
        Part of the key of an image that has a `SampleId`.
    generator : torch.Generator, optional
        For images without.

    Raises
    ------
    UnknownNameError, ValueError
        As `choose_strength`; at a call, TypeError and ValueError as `corrupt`.
    """

    _transformed_types = (torch.Tensor, PIL.Image.Image, SampleId)

    def __init__(
        self,
        name: str,
        strength: float | None = None,
        *,
        severity: int | None = None,
        strengths: Sequence[float] | None = None,
        seed: int = 0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.strength, self.in_key = choose_strength(name, strength, severity, strengths)
        self.seed = seed
        self._generator = generator

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        names = [str(value) for value in flat_inputs if isinstance(value, SampleId)]
        if len(names) > 1:
            raise ValueError(f"expected one SampleId in a sample, got {len(names)}: {', '.join(names)}")
        if names:
            key = int(sample_keys(self.seed, names, self.name, self.in_key)[0])
        else:
            key = int(torch.randint(2**63 - 1, (), generator=self._generator))
        return {"key": key}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if isinstance(inpt, tv_tensors.TVTensor) and not isinstance(inpt, tv_tensors.Image | tv_tensors.Video):
            return inpt  # masks, boxes, key points
        if isinstance(inpt, SampleId):
            return inpt
        if not isinstance(inpt, torch.Tensor):
            raise TypeError(f"expected an image as a tensor, got {type(inpt).__name__}: put v2.ToImage() before")
        if inpt.ndim < 3 or inpt.shape[-3] not in (1, 3):
            raise ValueError(f"expected images (..., 1 or 3, H, W), got {tuple(inpt.shape)}")
        corrupted = _corrupted(inpt.as_subclass(torch.Tensor), self.name, self.strength, params["key"])
        return tv_tensors.wrap(corrupted, like=inpt) if isinstance(inpt, tv_tensors.TVTensor) else corrupted


def _corrupted(images: torch.Tensor, name: str, strength: float, key: int) -> torch.Tensor:
    """Images (..., C, H, W) of any type; image i of the leading axes has the key + i, its channels share it."""
    pixels = v2.functional.to_dtype(images, torch.float32, scale=True)
    channels, height, width = images.shape[-3:]
    pixels = pixels.reshape(-1, 1, height, width)  # (..., C, H, W) -> (N C, 1, H, W)
    index = torch.arange(len(pixels)) // channels
    out = corrupt(name, pixels, strength, (index + key) & (2**63 - 1)).view(images.shape)
    if images.is_floating_point():
        return out.to(images.dtype)
    return (out * torch.iinfo(images.dtype).max).round_().to(images.dtype)
