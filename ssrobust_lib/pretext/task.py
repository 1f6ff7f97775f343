"""What a pretext task is to the rest of the study, and the collection of them (paper, section 2, 'Self-Supervision').

A pretext task turns unlabelled images into a classification problem whose answers are known because the task made
them. To add one, write one module in this package that ends in
``PRETEXT_TASKS.register("name")(PretextTask(...))``: it then has a profile name, an arm and the contract tests.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ssrobust_lib.registry import Registry

PRETEXT_TASKS: Registry["PretextTask"] = Registry("pretext task")


@dataclass(frozen=True)
class PretextTask:
    """A self-supervised classification task.

    Attributes
    ----------
    name, title : how profiles and figures call it.
    options_class : frozen dataclass of its options, all with defaults, that raises ValueError for bad values.
    build : (encoder, options, generator) -> module that contains the encoder as `.encoder` and maps inputs to
        logits (B, classes); the weights of its head come from the torch generator.
    make_batch : (images, options, generator) -> (inputs, targets). images float32 (B, C, H, W), network input scale;
        targets int64 (B,), drawn uniformly from 0 .. classes-1 and independent of the images; all randomness from
        the CPU generator. Raises ValueError for images that are too small.
    chance : options -> accuracy of guessing, in (0, 1).
    examples : (network, images, normalise, options, generator) -> value with what a figure shows of the task;
        here images are float32 (n, 1, H, W) in [0, 1] and `normalise` is the (mean, standard deviation) of the inputs.
    """

    name: str
    title: str
    options_class: type
    build: Callable[[nn.Module, Any, torch.Generator], nn.Module]
    make_batch: Callable[[torch.Tensor, Any, torch.Generator], tuple[torch.Tensor, torch.Tensor]]
    chance: Callable[[Any], float]
    examples: Callable[[nn.Module, torch.Tensor, tuple[float, float], Any, torch.Generator], Any]

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Cross-entropy in nats, mean over the batch. outputs float32 (B, classes), targets int64 (B,)."""
        return nn.functional.cross_entropy(outputs, targets)

    def accuracy(self, outputs: torch.Tensor, targets: torch.Tensor) -> float:
        """Fraction of the batch whose largest logit is the target's, in [0, 1]."""
        return float((outputs.argmax(dim=1) == targets).float().mean())
