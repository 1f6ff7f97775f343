"""From stored images to what a network says of them, in batches (paper, sections 3.2 to 3.4).

Enters: stored images, a corruption with its strength, trained networks. Leaves: probabilities or predicted classes, and
what the encoder extracts from the images.

An image is corrupted once and shown to every network: all arms see the same pixels. Behind the corruption stands one
fixed affine map, (x - mean) / std with two numbers from the training data; nothing is normalised per image.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
import torch
from torch import nn

from ssrobust_lib.corruptions import corrupt, sample_keys
from ssrobust_lib.devices import choose_device, choose_precision

if TYPE_CHECKING:
    from ssrobust_lib.preprocessing import Grid
    from ssrobust_lib.scan_voxels import ScanLabels

CLEAN = "clean"

Networks = Mapping[tuple[str, int], nn.Module]  # (init, seed) -> network


class ImageCache(Protocol):
    """What evaluation needs of the image cache."""

    images: np.ndarray  # float16 (N, H, W) in [0, 1], may be a memory map
    masks: np.ndarray | None  # uint8 (N, H, W)
    rows: pd.DataFrame  # sample_id, patient_id, set, split, label, slice: one row per image, in the order of the arrays

    def scan_truth(self, sample_id: str) -> "tuple[ScanLabels, Grid] | None":
        """A scan's labelled voxels at its own resolution, and where its images lie in it; None where not known."""


@runtime_checkable
class _Mapped(Protocol):
    """Images that are read from files (`datasets.stored_images`)."""

    def release(self) -> None: ...


@dataclass(frozen=True)
class Condition:
    """What is done to the images of one pass.

    Attributes
    ----------
    corruption : str
        Name in `CORRUPTIONS`, or 'clean' for images as stored.
    strength : float
        In the corruption's unit; 0 for 'clean'.
    severity : int in 0..5, or 'calibration'
        Part of the random key, with the study seed, the sample id and the corruption.
    study_seed : int
    """

    corruption: str
    strength: float
    severity: int | str
    study_seed: int


def corrupted_images(
    cache: ImageCache,
    positions: np.ndarray,
    condition: Condition,
    *,
    by_slice: bool,
    device: str | torch.device = "cpu",
) -> torch.Tensor:
    """Read images and corrupt each with the random stream that belongs to it.

    Parameters
    ----------
    cache : ImageCache
    positions : int (B,)
        Rows of the cache.
    condition : Condition
    by_slice : bool
        Whether the images are slices of scans: the slice's index is then added to the key.
    device : str or torch.device

    Returns
    -------
    float32 (B, 1, H, W) in [0, 1]
    """
    images = stored_images(cache, positions, device)
    return corrupt_images(images, cache.rows.iloc[positions], condition, by_slice=by_slice, device=device)


def stored_images(cache: ImageCache, positions: np.ndarray, device: str | torch.device = "cpu") -> torch.Tensor:
    """Read images once, to be corrupted in several ways: float32 (B, 1, H, W) in [0, 1], where they are corrupted."""
    pixels = torch.from_numpy(np.asarray(cache.images[positions], dtype=np.float32))
    # Apple's GPU has no float64, which exact sums need: corrupt on the CPU there
    return pixels[:, None].to("cpu" if torch.device(device).type == "mps" else device)  # (B, H, W) -> (B, 1, H, W)


def corrupt_images(
    images: torch.Tensor,
    rows: pd.DataFrame,
    condition: Condition,
    *,
    by_slice: bool,
    device: str | torch.device = "cpu",
) -> torch.Tensor:
    """Corrupt images that were read (`stored_images`), each with the random stream that belongs to it.

    Parameters
    ----------
    images : float32 (B, 1, H, W) in [0, 1]
        They stay unchanged.
    rows : the cache's rows of these images, with `sample_id` and `slice`
    condition, by_slice, device
        As in `corrupted_images`.

    Returns
    -------
    float32 (B, 1, H, W) in [0, 1]; the images themselves where the condition is 'clean'
    """
    if condition.corruption == CLEAN:
        return images.to(device)
    slices = rows["slice"].to_numpy(dtype=np.int64) if by_slice else None
    keys = sample_keys(
        condition.study_seed, rows["sample_id"].tolist(), condition.corruption, condition.severity, slices=slices
    )
    return corrupt(condition.corruption, images, condition.strength, keys, check=False).to(device)


def release_pages(cache: ImageCache) -> None:
    """Let go of the pages of the files that the images were read from; nothing where they lie in memory."""
    for stored in (cache.images, getattr(cache, "masks", None)):
        if isinstance(stored, _Mapped):
            stored.release()


def network_input(images: torch.Tensor, normalise: tuple[float, float]) -> torch.Tensor:
    """(x - mean) / std with two constants from the training data, in channels_last: float32 (B, 1, H, W)."""
    mean, std = normalise
    if not std > 0:
        raise ValueError(f"normalise: expected (mean, std) with std above 0, got ({mean:g}, {std:g})")
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


def has_encoder(network: nn.Module) -> bool:
    """Whether a network has the submodule `encoder` that `networks.build_network` promises."""
    return any(name == "encoder" for name, _ in network.named_children())


class Runner:
    """Runs networks on one device, without gradients, in one precision.

    Parameters
    ----------
    device : str or torch.device
        As for `devices.choose_device`.
    precision : str
        'float32', 'bf16', or 'auto' for bf16 where the processor has it.
    """

    def __init__(self, device: str | torch.device = "cpu", precision: str = "float32") -> None:
        self.device = choose_device(str(device))
        self.bf16 = choose_precision(precision, self.device) == "bf16"
        self._maps: torch.Tensor | None = None  # the encoder's last feature maps of the last forward pass

    @contextmanager
    def ready(self, networks: Networks, *, features: bool = False) -> Iterator[None]:
        """Move networks to the device and to channels_last, in evaluation mode; give their mode back afterwards.

        With `features`, what a network's `encoder` gives in a forward pass is kept until the next one (see `features`).
        """
        if not networks:
            raise ValueError("networks: expected at least one (init, seed), got none")
        modes = {name: network.training for name, network in networks.items()}
        hooks = []
        for network in networks.values():
            network.to(self.device).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
            if features and has_encoder(network):
                hooks.append(network.get_submodule("encoder").register_forward_hook(self._keep_maps))
        try:
            yield
        finally:
            self._maps = None
            for hook in hooks:
                hook.remove()
            for name, network in networks.items():
                network.train(modes[name])

    def _keep_maps(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._maps = output[-1] if isinstance(output, list | tuple) else output  # an encoder with levels: the last one

    def logits(self, network: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
        """Output of a network that is `ready`, float32 unless its own type differs."""
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            return network(inputs).float()

    def features(self) -> np.ndarray | None:
        """What the encoder made of the last inputs, averaged over the plane: float32 (B, C); None without an encoder.

        The same as the encoder's own `features` (see `networks.build_network`), without a second pass.
        """
        if self._maps is None:
            return None
        maps, self._maps = self._maps, None
        return maps.float().mean(dim=(2, 3)).cpu().numpy()  # (B, C, h, w) -> (B, C)

    def probabilities(self, network: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
        """Probability of the positive class, float32 (B,), from one logit per image."""
        logits = self.logits(network, inputs)
        if logits.shape != (len(inputs), 1):
            raise ValueError(
                f"classification needs one logit per image, output ({len(inputs)}, 1), got {tuple(logits.shape)}"
            )
        return torch.sigmoid(logits[:, 0])

    def logits_by_class(self, network: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
        """Logit of each class at each pixel, float32 (B, K, H, W)."""
        logits = self.logits(network, inputs)
        n, _, height, width = inputs.shape
        if logits.ndim != 4 or logits.shape[1] < 2 or (logits.shape[0], *logits.shape[2:]) != (n, height, width):
            raise ValueError(
                f"segmentation needs a logit per class and pixel, output ({n}, K, {height}, {width}) with K >= 2, "
                f"got {tuple(logits.shape)}"
            )
        return logits


def predict_probabilities(
    network: nn.Module,
    images: torch.Tensor,
    normalise: tuple[float, float],
    *,
    device: str | torch.device = "cpu",
    precision: str = "float32",
) -> np.ndarray:
    """Probability of the positive class for a few images float32 (B, 1, H, W) in [0, 1]: float32 (B,)."""
    runner = Runner(device, precision)
    with runner.ready({("", 0): network}):
        return runner.probabilities(network, network_input(images.to(runner.device), normalise)).cpu().numpy()


def predict_masks(
    network: nn.Module,
    images: torch.Tensor,
    normalise: tuple[float, float],
    *,
    device: str | torch.device = "cpu",
    precision: str = "float32",
) -> np.ndarray:
    """Predicted class of each pixel of a few images float32 (B, 1, H, W) in [0, 1]: uint8 (B, H, W)."""
    runner = Runner(device, precision)
    with runner.ready({("", 0): network}):
        logits = runner.logits_by_class(network, network_input(images.to(runner.device), normalise))
    return logits.argmax(dim=1).to(torch.uint8).cpu().numpy()


def batches(n: int, batch_size: int) -> Iterator[slice]:
    """Consecutive parts of `n` images, the last one shorter where they do not come out even."""
    if batch_size < 1:
        raise ValueError(f"batch_size: expected at least 1, got {batch_size}")
    for start in range(0, n, batch_size):
        yield slice(start, min(start + batch_size, n))
