"""In which precision an evaluation computes: bfloat16 only where it changes next to no decision.

Enters: what the profile asks for, the networks, a first block of images. Leaves: the precision to use, with the share
of decisions that were measured to differ from float32. A decision is what a score is made of: an image's label, or a
pixel's class. No section of the paper.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ssrobust_lib.devices import PRECISIONS, has_bf16
from ssrobust_lib.evaluation.inference import Condition, ImageCache, Networks, Runner, corrupted_images, network_input
from ssrobust_lib.registry import unknown_name

COMPARED_IMAGES = 32  # at most, of each condition, where bfloat16 is compared with float32

Decide = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Precision:
    """The precision of an evaluation and why.

    Attributes
    ----------
    asked : 'auto', 'float32' or 'bf16'
    used : 'float32' or 'bf16'
    decisions, changed : how many decisions were compared, and how many differed; None where nothing was measured
    bound : largest share of changed decisions at which 'auto' takes bfloat16
    """

    asked: str
    used: str
    decisions: int | None
    changed: int | None
    bound: float

    @property
    def share(self) -> float | None:
        """Share of decisions that bfloat16 changed; None where nothing was measured."""
        return None if self.decisions is None or self.changed is None else self.changed / self.decisions


def labels_of(logits: torch.Tensor) -> torch.Tensor:
    """Decision for each image, bool (B,), from one logit each (B, 1): positive from a probability of 0.5 on."""
    return logits[:, 0] >= 0


def classes_of(logits: torch.Tensor) -> torch.Tensor:
    """Decision for each pixel, int64 (B, H, W), from a logit per class (B, K, H, W)."""
    return logits.argmax(dim=1)


def choose_measured(
    asked: str,
    device: torch.device,
    networks: Networks,
    blocks: Callable[[], Iterable[torch.Tensor]],
    decide: Decide,
    bound: float,
) -> Precision:
    """Choose a precision; 'auto' compares bfloat16 with float32 first, where the processor has it.

    The same networks, images and device give the same choice. 'bf16' is taken as asked, and measured all the same.

    Parameters
    ----------
    asked : one of `devices.PRECISIONS`.
    device : where the networks run.
    networks : those that are to be evaluated.
    blocks : gives the networks' inputs (B, 1, H, W) to compare on; called only where something is measured.
    decide : logits -> decisions (`labels_of`, `classes_of`).
    bound : in [0, 1].

    Raises
    ------
    UnknownNameError
        Another name.
    """
    if asked not in PRECISIONS:
        raise unknown_name("precision", asked, list(PRECISIONS))
    if asked == "float32" or (asked == "auto" and not has_bf16(device)):
        return Precision(asked, "float32", None, None, bound)
    exact, fast = Runner(device, "float32"), Runner(device, "bf16")
    decisions = changed = 0
    with exact.ready(networks):
        for inputs in blocks():
            for network in networks.values():
                differ = decide(exact.logits(network, inputs)) != decide(fast.logits(network, inputs))
                decisions, changed = decisions + differ.numel(), changed + int(differ.sum())
    fits = asked == "bf16" or changed <= bound * decisions
    return Precision(asked, "bf16" if fits else "float32", decisions, changed, bound)


def measured_runner(
    networks: Networks,
    cache: ImageCache,
    positions: np.ndarray,
    normalise: tuple[float, float],
    conditions: Sequence[Condition],
    decide: Decide,
    *,
    device: str | torch.device,
    asked: str,
    bound: float,
    by_slice: bool,
) -> tuple[Runner, Precision]:
    """Choose the precision on the first images, under every condition of an evaluation: who runs its networks, and why.

    Parameters
    ----------
    networks, cache, positions, normalise : what is evaluated, as in `evaluation.evaluate_classification`
    conditions : of the evaluation
    decide, asked, bound : as for `choose_measured`
    device : as for `devices.choose_device`
    by_slice : whether the images are slices of scans
    """
    where = Runner(device).device

    def blocks() -> Iterable[torch.Tensor]:
        for condition in conditions:
            images = corrupted_images(cache, positions[:COMPARED_IMAGES], condition, by_slice=by_slice, device=where)
            yield network_input(images, normalise)

    chosen = choose_measured(asked, where, networks, blocks, decide, bound)
    return Runner(where, chosen.used), chosen
