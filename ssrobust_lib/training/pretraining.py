"""Train an encoder on a pretext task, without labels (paper, section 2, 'Self-Supervision').

Enters: stored images, the rows of the pretext pool and those of held-out patients, a pretext task with its options.
Leaves: the encoder's weights, the curves, and whether the task was learned: accuracy on the held-out patients against
guessing, with its n and exact p.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import nn

from ssrobust_lib.devices import autocast, launch
from ssrobust_lib.networks import build_network
from ssrobust_lib.pretext import PRETEXT_TASKS
from ssrobust_lib.seeds import rng, torch_rng
from ssrobust_lib.training.batches import blocks, epoch_batches, read_images, steps_in_epoch
from ssrobust_lib.training.loop import Progress, TrainingSettings, fit
from ssrobust_lib.training.state import TrainingState
from ssrobust_lib.training.transfer import encoder_tensors
from ssrobust_lib.training.validation import Validation

LEARNED_P = 0.001
EXAMPLES = 6


@dataclass(frozen=True)
class PretextResult:
    """A pretrained encoder and how well it solves its task on patients it was not trained on.

    Attributes
    ----------
    tensors : the encoder's weights of the best epoch, for `transfer_encoder`.
    best_epoch, curves : see `FitResult`; val_score is the accuracy.
    accuracy : fraction of held-out images solved, in [0, 1], on fresh puzzles: the best epoch was chosen by others of
        the same images, and its best value would flatter.
    chance : accuracy of guessing.
    n : held-out images.
    p : exact one-sided binomial probability of at least this accuracy by guessing.
    learned : p < 0.001.
    predictions : one row per held-out image: row, target, predicted, correct.
    examples : what the task shows in a figure; of the jigsaw `Puzzles`.
    """

    tensors: dict[str, torch.Tensor]
    best_epoch: int
    curves: pd.DataFrame
    accuracy: float
    chance: float
    n: int
    p: float
    learned: bool
    predictions: pd.DataFrame
    examples: Any


def pretrain(
    images: npt.NDArray[np.floating],
    train_rows: npt.NDArray[np.int64],
    val_rows: npt.NDArray[np.int64],
    normalise: tuple[float, float],
    *,
    network: str,
    network_options: Mapping[str, Any],
    pretext_task: str,
    options: Mapping[str, Any],
    settings: TrainingSettings,
    seed: int,
    devices: int = 1,
    device: str = "auto",
    on_epoch: Callable[[TrainingState], None] | None = None,
    resume: TrainingState | None = None,
    progress: Progress | None = None,
) -> PretextResult:
    """Train the encoder of a network on a pretext task.

    Parameters
    ----------
    images : float16 or float32 (N, H, W) in [0, 1], an array or a memory map.
    train_rows, val_rows : int, rows of the pretext pool and of held-out patients; each image of the latter gives one
        puzzle that is the same at every epoch, and another one for the final accuracy.
    normalise : mean and standard deviation of the training images.
    network, network_options : what `build_network` takes; its encoder is trained, the rest is thrown away.
    pretext_task, options : a name of `PRETEXT_TASKS` and the fields of its options that differ from the defaults.
    settings : see `TrainingSettings`.
    seed : source of weights, batches and puzzles, each a stream of its own.
    devices, device : see `launch`.
    on_epoch, resume, progress : see `fit`.

    Raises
    ------
    ValueError
        The images are too small for the task, an option has a bad value, or there are no rows.
    TypeError
        The task has no such option.
    TrainingError
        The loss is not finite.
    """
    task = PRETEXT_TASKS[pretext_task]
    chosen = task.options_class(**options)
    if len(train_rows) == 0 or len(val_rows) == 0:
        raise ValueError(
            f"pretraining needs images to train on and held-out ones, got {len(train_rows)} and {len(val_rows)}"
        )

    def make(rows: npt.NDArray[np.int64], where: torch.device, *stream: int | str) -> tuple[torch.Tensor, torch.Tensor]:
        return task.make_batch(read_images(images, rows, normalise, where), chosen, torch_rng(seed, *stream))

    def work(fabric: Any) -> PretextResult:
        whole = build_network(network, 1, torch_rng(seed, "pretext network"), **network_options)
        model = task.build(whole.get_submodule("encoder"), chosen, torch_rng(seed, "pretext head"))

        def batches(epoch: int) -> Any:
            order = epoch_batches(
                train_rows, settings.batch_size, rng(seed, "pretext batches", epoch), settings.steps_per_epoch
            )
            for number, rows in enumerate(order):
                yield make(rows, fabric.device, "pretext puzzles", epoch, number)

        def outcomes(model: nn.Module, stream: str) -> tuple[torch.Tensor, torch.Tensor]:
            solved = [
                (model(inputs).float(), targets)
                for number, rows in enumerate(blocks(np.asarray(val_rows), settings.batch_size))
                for inputs, targets in [make(rows, fabric.device, stream, number)]
            ]
            outputs, targets = (torch.cat(parts) for parts in zip(*solved, strict=True))
            return outputs, targets

        def validate(model: nn.Module) -> Validation:
            outputs, targets = outcomes(model, "validation puzzles")
            return Validation(float(task.loss(outputs, targets)), task.accuracy(outputs, targets))

        fitted = fit(
            model,
            batches,
            task.loss,
            validate,
            settings,
            steps_per_epoch=steps_in_epoch(len(train_rows), settings.batch_size, settings.steps_per_epoch),
            seed=seed,
            fabric=fabric,
            on_epoch=on_epoch,
            resume=resume,
            progress=progress,
        )
        with torch.inference_mode(), autocast(settings.precision, fabric.device):
            outputs, targets = outcomes(model, "held-out puzzles")  # others than those that chose the epoch
        predictions = pd.DataFrame(
            {"row": np.asarray(val_rows), "target": targets.cpu().numpy(), "predicted": outputs.argmax(1).cpu().numpy()}
        )
        predictions["correct"] = predictions["target"] == predictions["predicted"]
        n, correct = len(predictions), int(predictions["correct"].sum())
        p = probability_by_guessing(correct, n, task.chance(chosen))
        shown = read_images(images, np.asarray(val_rows)[:EXAMPLES], (0.0, 1.0))
        return PretextResult(
            tensors=encoder_tensors(model),
            best_epoch=fitted.best_epoch,
            curves=fitted.curves,
            accuracy=correct / n,
            chance=task.chance(chosen),
            n=n,
            p=p,
            learned=p < LEARNED_P,
            predictions=predictions,
            examples=task.examples(model.cpu(), shown, normalise, chosen, torch_rng(seed, "example puzzles")),
        )

    return launch(work, devices=devices, device=device)


def probability_by_guessing(correct: int, n: int, chance: float) -> float:
    """Exact probability of at least `correct` of `n` right answers by guessing.

    The targets are drawn uniformly and independently, so under guessing the number of right answers is binomial:
    P(X >= k) is the regularised incomplete beta function I_chance(k, n - k + 1).
    """
    if correct == 0:
        return 1.0
    from scipy.special import betainc

    return float(betainc(correct, n - correct + 1, chance))
