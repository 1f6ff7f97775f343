"""The corruptions as transforms of MONAI: for arrays and dictionaries, fixed and random.

Enters: images channel-first, (C, H, W) or (C, D, H, W), float in [0, 1], as arrays, tensors or `MetaTensor`s. Leaves:
the same, corrupted. Every channel is corrupted as an image of its own, with the same random stream.

Fixed transforms take the random key from the sample's id: the same pixels in any worker and epoch. Random ones draw
chance, strength and key from MONAI's `self.R`, which `set_random_state` and MONAI's `DataLoader` seed.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

import ssrobust_lib.torchvision_ops  # noqa: F401  (MONAI imports torchvision)

# isort: split
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data import MetaTensor, get_track_meta
from monai.transforms import MapTransform, RandomizableTransform, Transform
from monai.utils import TransformBackends, convert_to_dst_type, convert_to_tensor

from ssrobust_lib.corruptions.entrance import check_strength
from ssrobust_lib.corruptions.interface import CORRUPTIONS, corrupt
from ssrobust_lib.corruptions.streams import sample_keys
from ssrobust_lib.corruptions.transform_arguments import choose_strength
from ssrobust_lib.corruptions.volumes import MODES, corrupt_volume
from ssrobust_lib.registry import unknown_name


def corrupt_channels(
    image: NdarrayOrTensor,
    name: str,
    strength: float,
    key: int,
    *,
    mode: str = "slices",
    slice_axis: int = 0,
    spacing_mm: Sequence[float] | None = None,
) -> Any:
    """Corrupt one channel-first image or volume; see `Corrupt` for the parameters.

    Raises
    ------
    TypeError, ValueError
        As `corrupt` and `corrupt_volume`; where the image has neither two nor three spatial axes.
    """
    tensor = convert_to_tensor(image, track_meta=get_track_meta())
    pixels = tensor.as_tensor() if isinstance(tensor, MetaTensor) else tensor
    if pixels.ndim not in (3, 4):
        raise ValueError(f"expected an image (C, H, W) or a volume (C, D, H, W), got {tuple(pixels.shape)}")
    if not pixels.is_floating_point():
        raise TypeError(f"expected floats in [0, 1], got {pixels.dtype}; put ScaleIntensityRange before")
    single = pixels.to(torch.float32)
    keys = torch.full((len(single),), key, dtype=torch.int64)
    if pixels.ndim == 3:
        out = corrupt(name, single[:, None], strength, keys)[:, 0]  # (C, H, W) -> (C, 1, H, W) and back
    else:
        if spacing_mm is None and isinstance(tensor, MetaTensor):
            spacing_mm = tensor.pixdim.tolist()
        if spacing_mm is not None:
            spacing_mm = list(spacing_mm)
            spacing_mm.insert(0, spacing_mm.pop(slice_axis))
        moved = single.movedim(1 + slice_axis, 1)  # (C, ...) -> (C, D, ., .)
        out = corrupt_volume(name, moved[:, None], strength, keys, mode=mode, spacing_mm=spacing_mm)[:, 0]
        out = out.movedim(1, 1 + slice_axis).contiguous()
    return convert_to_dst_type(out.to(pixels.dtype), dst=tensor)[0]


class Corrupt(Transform):
    """Corrupt an image at one strength, with the random stream that belongs to its id.

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
        Part of the random key.
    mode : 'slices' or 'volume'
        How a volume is corrupted; see `corrupt_volume`.
    slice_axis : int in 0..2
        Which spatial axis of a volume runs from slice to slice: 2 for NIfTI as MONAI loads it.
    spacing_mm : three floats, optional
        Along the spatial axes in their order; a `MetaTensor` knows its own.

    Raises
    ------
    UnknownNameError, ValueError
        As `choose_strength`; at a call, TypeError and ValueError as `corrupt_channels`.
    """

    backend = [TransformBackends.TORCH]

    def __init__(
        self,
        name: str,
        strength: float | None = None,
        *,
        severity: int | None = None,
        strengths: Sequence[float] | None = None,
        seed: int = 0,
        mode: str = "slices",
        slice_axis: int = 0,
        spacing_mm: Sequence[float] | None = None,
    ) -> None:
        self.name, self.seed = name, seed
        self.strength, self.in_key = choose_strength(name, strength, severity, strengths)
        self.volume = _volume_options(mode, slice_axis, spacing_mm)

    def __call__(self, img: NdarrayOrTensor, sample_id: str) -> Any:  # type: ignore[override]
        key = int(sample_keys(self.seed, [str(sample_id)], self.name, self.in_key)[0])
        return corrupt_channels(img, self.name, self.strength, key, **self.volume)


class Corruptd(MapTransform):
    """`Corrupt` for dictionaries: the images under `keys`, with the id under `id_key`."""

    backend = Corrupt.backend

    def __init__(
        self,
        keys: KeysCollection,
        name: str,
        strength: float | None = None,
        *,
        id_key: Hashable = "sample_id",
        allow_missing_keys: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.id_key = id_key
        self.corrupt = Corrupt(name, strength, **options)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        changed = dict(data)
        if self.id_key not in changed:
            raise KeyError(
                f"expected the sample's id under {self.id_key!r}, got {', '.join(map(str, changed))}: give id_key, or "
                "take RandCorruptd, whose keys are drawn"
            )
        for key in self.key_iterator(changed):
            changed[key] = self.corrupt(changed[key], changed[self.id_key])
        return changed


class RandCorrupt(RandomizableTransform):
    """Corrupt with a chance, at a strength drawn uniformly from a range.

    Parameters
    ----------
    name : str
        In `CORRUPTIONS`.
    strength_range : (float, float), optional
        From 0 to the end of the corruption's range where not given.
    prob : float
        Chance that an image is corrupted.
    mode, slice_axis, spacing_mm
        As for `Corrupt`.

    Raises
    ------
    UnknownNameError, ValueError
        Unknown name; a range outside the declared one or the wrong way round.
    """

    backend = Corrupt.backend

    def __init__(
        self,
        name: str,
        strength_range: tuple[float, float] | None = None,
        prob: float = 0.1,
        *,
        mode: str = "slices",
        slice_axis: int = 0,
        spacing_mm: Sequence[float] | None = None,
    ) -> None:
        super().__init__(prob)
        corruption = CORRUPTIONS[name]
        weakest, strongest = strength_range or (0.0, corruption.strongest)
        self.range = check_strength(corruption, weakest), check_strength(corruption, strongest)
        if weakest > strongest:
            raise ValueError(f"strength_range of {name}: expected (weakest, strongest), got ({weakest}, {strongest})")
        self.name = name
        self.volume = _volume_options(mode, slice_axis, spacing_mm)
        self.strength, self.key = 0.0, 0

    def randomize(self, data: Any = None) -> None:
        super().randomize(data)
        self.strength = float(self.R.uniform(*self.range))
        self.key = int(self.R.randint(2**63 - 1, dtype=np.int64))

    def __call__(self, img: NdarrayOrTensor, randomize: bool = True) -> Any:
        if randomize:
            self.randomize()
        if not self._do_transform:
            return convert_to_tensor(img, track_meta=get_track_meta())
        return corrupt_channels(img, self.name, self.strength, self.key, **self.volume)


class RandCorruptd(RandomizableTransform, MapTransform):
    """`RandCorrupt` for dictionaries; all images of a sample share chance, strength and random stream."""

    backend = Corrupt.backend

    def __init__(
        self,
        keys: KeysCollection,
        name: str,
        strength_range: tuple[float, float] | None = None,
        prob: float = 0.1,
        *,
        allow_missing_keys: bool = False,
        **options: Any,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, 1.0)
        self.corrupt = RandCorrupt(name, strength_range, prob, **options)

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> "RandCorruptd":
        super().set_random_state(seed, state)
        self.corrupt.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        changed = dict(data)
        self.corrupt.randomize()
        for key in self.key_iterator(changed):
            changed[key] = self.corrupt(changed[key], randomize=False)
        return changed


def _volume_options(mode: str, slice_axis: int, spacing_mm: Sequence[float] | None) -> dict[str, Any]:
    if mode not in MODES:
        raise unknown_name("mode", mode, list(MODES))
    if slice_axis not in (0, 1, 2):
        raise ValueError(f"slice_axis: expected 0, 1 or 2, got {slice_axis!r}")
    return {"mode": mode, "slice_axis": slice_axis, "spacing_mm": spacing_mm}
