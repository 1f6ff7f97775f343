"""The training loop of every network of the study, pretext and fine-tuning alike.

Enters: a network, batches as a function of the epoch, a loss, a validation. Leaves: the weights of the best epoch and
the curves. Implements section 2, 'Implementation Details' of the paper: Adam, learning rate cosine annealed from 1e-3
to 1e-6 (here step by step over the whole training). No augmentation, as the paper names none; a control arm may ask for
it (`training.augmentation`).
"""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import torch
from torch import nn

from ssrobust_lib.devices import OneDevice, autocast
from ssrobust_lib.seeds import derive_seed
from ssrobust_lib.training.state import (
    CURVE_COLUMNS,
    TrainingState,
    curve_row,
    is_better,
    load_optimizer_tensors,
    optimizer_tensors,
)
from ssrobust_lib.training.transfer import copied_tensors
from ssrobust_lib.training.validation import Validation

Batch = tuple[torch.Tensor, torch.Tensor]
Progress = Callable[[int, int, str], None]
_CHECK_EVERY = 16  # steps between looks at the loss: each look makes a GPU wait


class TrainingError(RuntimeError):
    """The training cannot go on; says where it stopped and what to change."""


@dataclass(frozen=True)
class TrainingSettings:
    """How long and how fast to train; the defaults are the paper's.

    Attributes
    ----------
    epochs : validations; the best one gives the weights.
    batch_size : images per batch, the largest size.
    learning_rate, min_learning_rate : of the first and the last step.
    steps_per_epoch : batches per epoch; None = one pass over the images. Small labelled sets need it: a pass over 30
        images is one batch.
    max_steps : stop after this many steps; the annealing then spans these.
    weight_decay : L2 penalty of Adam.
    precision : 'float32', 'bf16', or 'auto' (bf16 where the processor has it).
    """

    epochs: int
    batch_size: int
    learning_rate: float = 1e-3
    min_learning_rate: float = 1e-6
    steps_per_epoch: int | None = None
    max_steps: int | None = None
    weight_decay: float = 0.0
    precision: str = "auto"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "steps_per_epoch", "max_steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if not 0 <= self.min_learning_rate <= self.learning_rate or self.learning_rate <= 0:
            raise ValueError(
                "the learning rate falls from learning_rate > 0 to min_learning_rate >= 0, got "
                f"{self.learning_rate} and {self.min_learning_rate}"
            )
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay must not be negative, got {self.weight_decay}")

    def total_steps(self, steps_per_epoch: int) -> int:
        """Steps of the whole training, given the batches of one epoch."""
        return min(self.epochs * steps_per_epoch, self.max_steps or self.epochs * steps_per_epoch)

    def lengthened(self, steps_per_epoch: int, further: int) -> "TrainingSettings":
        """The same training with `further` steps more, and no more epochs, so that the best one is of as many.

        The annealing then spans all steps; the last epoch may be shorter than the others.
        """
        total = self.total_steps(steps_per_epoch) + further
        return replace(self, steps_per_epoch=-(-total // self.epochs), max_steps=total)

    def learning_rate_at(self, step: int, total: int) -> float:
        """Cosine-annealed rate of step 0 .. total-1 (Loshchilov & Hutter 2017, without restarts).

        The first step has `learning_rate`, the last one `min_learning_rate`; a training of one step has the former.
        """
        done = step / max(1, total - 1)
        span = self.learning_rate - self.min_learning_rate
        return self.min_learning_rate + span * (1 + math.cos(math.pi * done)) / 2


@dataclass(frozen=True)
class FitResult:
    """A finished training.

    Attributes
    ----------
    tensors : weights of the best epoch, on the CPU.
    best_epoch : that epoch, from 1.
    curves : epoch, step, learning_rate, train_loss, val_loss, val_score; one row per epoch.
    """

    tensors: dict[str, torch.Tensor]
    best_epoch: int
    curves: pd.DataFrame


def fit(
    network: nn.Module,
    batches: Callable[[int], Iterable[Batch]],
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    validate: Callable[[nn.Module], Validation],
    settings: TrainingSettings,
    *,
    steps_per_epoch: int,
    seed: int,
    fabric: Any = None,
    on_epoch: Callable[[TrainingState], None] | None = None,
    resume: TrainingState | None = None,
    progress: Progress | None = None,
) -> FitResult:
    """Train a network and leave it with the weights of its best epoch.

    The best epoch has the highest validation score; on a tie the lower validation loss, then the earlier epoch.
    A training that resumes from a state ends with the same numbers, bit for bit, as one that was never interrupted
    (on the CPU with the same number of threads; some CUDA kernels add in changing order).

    Parameters
    ----------
    network : moved to the device of `fabric`, trained in place.
    batches : epoch (from 1) -> batches (inputs, targets) on that device; a function of the epoch alone.
    loss : (outputs float32, targets) -> scalar, a mean over the batch.
    validate : network in evaluation mode -> `Validation`.
    settings : see `TrainingSettings`.
    steps_per_epoch : number of batches that `batches` gives.
    seed : for random numbers inside the network (dropout), if it draws any.
    fabric : `OneDevice` or a launched Lightning Fabric; None = `OneDevice()`.
    on_epoch : gets the `TrainingState` after every epoch (in the first process only).
    resume : a state to go on from.
    progress : called with steps done, all steps and a few words.

    Raises
    ------
    TrainingError
        The loss is not finite; names epoch and step.
    """
    fabric = fabric or OneDevice()
    total = settings.total_steps(steps_per_epoch)
    network.to(fabric.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    curves: list[dict[str, float]] = []
    best: dict[str, torch.Tensor] = {}
    best_row: dict[str, float] = {}
    if resume is not None:
        network.load_state_dict(resume.network)
        load_optimizer_tensors(network, optimizer, resume.optimizer)
        curves, best = list(resume.curves), dict(resume.best)
        best_row = curves[resume.best_epoch - 1]
    model, stepper = fabric.setup(network, optimizer)

    step = int(curves[-1]["step"]) if curves else 0
    while step < total:
        epoch = len(curves) + 1
        network.train()
        record = _LossRecord(epoch)
        with _private_noise(derive_seed(seed, "noise in the network", epoch), fabric.device):
            for inputs, targets in batches(epoch):
                rate = settings.learning_rate_at(step, total)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                share = slice(fabric.global_rank, None, fabric.world_size)
                stepper.zero_grad()
                with autocast(settings.precision, fabric.device):
                    outputs = model(inputs[share])
                value = loss(outputs.float(), targets[share])
                # processes average their gradients: weigh each by its part of the batch
                fabric.backward(value * (len(targets[share]) * fabric.world_size / len(targets)))
                stepper.step()
                step += 1
                record.add(value.detach(), len(targets))
                if progress is not None:
                    progress(step, total, f"epoch {epoch}")
                if step == total:
                    break
        train_loss = float(fabric.all_reduce(torch.tensor(record.mean(), device=fabric.device), reduce_op="mean"))
        network.eval()
        with torch.inference_mode(), autocast(settings.precision, fabric.device):
            measured = fabric.broadcast(validate(network) if fabric.is_global_zero else None)
        row = curve_row(epoch, step, rate, train_loss, measured.loss, measured.score)
        curves.append(row)
        if is_better(row, best_row):
            best, best_row = copied_tensors(network), row
        if on_epoch is not None and fabric.is_global_zero:
            moments = optimizer_tensors(network, optimizer)
            on_epoch(TrainingState(epoch, network.state_dict(), moments, best, int(best_row["epoch"]), list(curves)))
    network.load_state_dict(best)
    network.eval()
    return FitResult(best, int(best_row["epoch"]), pd.DataFrame(curves, columns=list(CURVE_COLUMNS)))


class _LossRecord:
    """The losses of one epoch's steps; looked at in bundles, since each look makes a GPU wait."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self._waiting: list[torch.Tensor] = []
        self._sizes: list[int] = []
        self._losses: list[float] = []

    def add(self, loss: torch.Tensor, size: int) -> None:
        self._waiting.append(loss)
        self._sizes.append(size)
        if len(self._waiting) >= _CHECK_EVERY or loss.device.type == "cpu":
            self._look()

    def mean(self) -> float:
        """Mean over the images of the epoch."""
        self._look()
        return math.fsum(a * b for a, b in zip(self._losses, self._sizes, strict=True)) / sum(self._sizes)

    def _look(self) -> None:
        for value in torch.stack(self._waiting).tolist() if self._waiting else []:
            self._losses.append(value)
            if not math.isfinite(value):
                raise TrainingError(
                    f"the loss became {value} in epoch {self.epoch}, step {len(self._losses)} of that epoch: check the "
                    "images and labels for values that are not finite, or lower the learning rate"
                )
        self._waiting.clear()


@contextmanager
def _private_noise(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's own generators for random layers inside the block, and leave them as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
