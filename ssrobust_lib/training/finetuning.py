"""Train a task's network on the labelled images, from scratch or from a pretrained encoder (paper, section 3.1).

Enters: stored images with labels or masks, the rows of the labelled subset and of the validation set, the weights of an
encoder or none. Leaves: the network's weights, the curves, and a table of what was transferred. Arms of one seed share
everything but the encoder's first weights: `data_seed` fixes the batches, `weight_seed` all initial weights, which the
pretrained encoder then overwrites in part.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import nn

from ssrobust_lib.devices import launch
from ssrobust_lib.networks import build_network
from ssrobust_lib.registry import unknown_name
from ssrobust_lib.seeds import rng, torch_rng
from ssrobust_lib.training.augmentation import Movements, move_images
from ssrobust_lib.training.batches import epoch_batches, read_images, read_masks, steps_in_epoch
from ssrobust_lib.training.loop import Progress, TrainingSettings, fit
from ssrobust_lib.training.losses import binary_cross_entropy, median_frequency_weights, segmentation_loss
from ssrobust_lib.training.state import TrainingState
from ssrobust_lib.training.transfer import transfer_encoder, transfer_report
from ssrobust_lib.training.validation import Validation, validate_classification, validate_segmentation

KINDS = ("classification", "segmentation")


@dataclass(frozen=True)
class FinetuneResult:
    """A trained network.

    Attributes
    ----------
    tensors : all weights of the best epoch, names as in the network's state.
    best_epoch, curves : see `FitResult`; val_score is AUROC or mean Dice per scan.
    transfer : tensor, shape, parameters, status ('transferred' or 'from scratch').
    class_weights : float32 (classes,) of the cross-entropy; None for classification.
    """

    tensors: dict[str, torch.Tensor]
    best_epoch: int
    curves: pd.DataFrame
    transfer: pd.DataFrame
    class_weights: npt.NDArray[np.float32] | None


@dataclass(frozen=True)
class _Objective:
    """What a kind of task asks of the loop: targets of some rows, a loss, a validation."""

    targets: Callable[[npt.NDArray[np.int64], torch.device], torch.Tensor]
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    validate: Callable[[nn.Module, torch.device], Validation]
    class_weights: npt.NDArray[np.float32] | None = None


def finetune(
    images: npt.NDArray[np.floating],
    targets: npt.NDArray[np.integer],
    train_rows: npt.NDArray[np.int64],
    val_rows: npt.NDArray[np.int64],
    normalise: tuple[float, float],
    *,
    kind: Literal["classification", "segmentation"],
    network: str,
    network_options: Mapping[str, Any],
    n_outputs: int,
    settings: TrainingSettings,
    data_seed: int,
    weight_seed: int,
    init_tensors: Mapping[str, torch.Tensor] | None = None,
    val_scans: npt.ArrayLike | None = None,
    movements: Movements | None = None,
    devices: int = 1,
    device: str = "auto",
    on_epoch: Callable[[TrainingState], None] | None = None,
    resume: TrainingState | None = None,
    progress: Progress | None = None,
) -> FinetuneResult:
    """Train a network on a labelled subset.

    Parameters
    ----------
    images : float16 or float32 (N, H, W) in [0, 1], an array or a memory map.
    targets : labels int (N,) of 0 and 1, or masks uint8 (N, H, W); rows outside train and val are never read.
    train_rows, val_rows : int, rows of the labelled subset and of the validation set.
    normalise : mean and standard deviation of the training images.
    kind : 'classification' (binary cross-entropy, one logit) or 'segmentation' (Dice + weighted cross-entropy).
    network, network_options, n_outputs : what `build_network` takes; outputs are 1, or structures + background.
    settings : see `TrainingSettings`.
    data_seed : source of the batches; the same in all arms of a seed.
    weight_seed : source of all initial weights; the same in both arms of a pair, another in the A/A arm.
    init_tensors : a pretrained encoder's weights, or None for training from scratch.
    val_scans : (len(val_rows),), which scan each validation slice is from (any labels); segmentation only. Dice is
        taken per scan; None takes all slices for one scan.
    movements : augmentation of the training images and their masks, a stream of its own per batch; None for none.
        Validation images are never moved.
    devices, device : see `launch`.
    on_epoch, resume, progress : see `fit`.

    Raises
    ------
    UnknownNameError
        The kind, network or one of its options is not known.
    ValueError
        No rows; a label other than 0 and 1; a mask value beyond the outputs; image sides that the network refuses.
    TransferError
        The pretrained weights do not fit the network.
    TrainingError
        The loss is not finite.
    """
    if kind not in KINDS:
        raise unknown_name("kind of task", kind, list(KINDS))
    train_rows, val_rows = np.asarray(train_rows), np.asarray(val_rows)
    if train_rows.size == 0 or val_rows.size == 0:
        raise ValueError(
            f"fine-tuning needs images to train on and to validate, got {train_rows.size} and {val_rows.size}"
        )
    if kind == "classification":
        objective = _classification(images, targets, train_rows, val_rows, normalise, n_outputs, settings.batch_size)
    else:
        objective = _segmentation(
            images, targets, train_rows, val_rows, normalise, n_outputs, settings.batch_size, val_scans
        )

    def work(fabric: Any) -> FinetuneResult:
        model = build_network(network, n_outputs, torch_rng(weight_seed, "network"), **network_options)
        if init_tensors is None:
            transfer = transfer_report(model, transferred=False)
        else:
            transfer = transfer_encoder(model, init_tensors)

        def batches(epoch: int) -> Any:
            order = rng(data_seed, "fine-tuning batches", epoch)
            dealt = epoch_batches(train_rows, settings.batch_size, order, settings.steps_per_epoch)
            for number, rows in enumerate(dealt):
                targets = objective.targets(rows, fabric.device)
                if movements is None:
                    yield read_images(images, rows, normalise, fabric.device), targets
                    continue
                masks = targets if kind == "segmentation" else None
                amounts = rng(data_seed, "augmentation", epoch, number)
                stored = read_images(images, rows, (0.0, 1.0), fabric.device)  # black is black before normalising
                moved, moved_masks = move_images(stored, masks, movements, amounts)
                yield moved.sub_(normalise[0]).div_(normalise[1]), targets if moved_masks is None else moved_masks

        fitted = fit(
            model,
            batches,
            objective.loss,
            lambda network: objective.validate(network, fabric.device),
            settings,
            steps_per_epoch=steps_in_epoch(train_rows.size, settings.batch_size, settings.steps_per_epoch),
            seed=data_seed,
            fabric=fabric,
            on_epoch=on_epoch,
            resume=resume,
            progress=progress,
        )
        return FinetuneResult(fitted.tensors, fitted.best_epoch, fitted.curves, transfer, objective.class_weights)

    return launch(work, devices=devices, device=device)


def _classification(
    images: npt.NDArray[np.floating],
    labels: npt.NDArray[np.integer],
    train_rows: npt.NDArray[np.int64],
    val_rows: npt.NDArray[np.int64],
    normalise: tuple[float, float],
    n_outputs: int,
    batch_size: int,
) -> _Objective:
    if n_outputs != 1:
        raise ValueError(f"binary classification has one output, got n_outputs={n_outputs}")
    values = np.zeros(len(labels), np.int64)  # rows without a label may hold anything; only those used are looked at
    for rows in (train_rows, val_rows):
        used = np.asarray(labels)[rows]
        if not np.isin(used, (0, 1)).all():
            raise ValueError(f"expected labels 0 and 1, got {sorted(set(used.tolist()) - {0, 1})}")
        values[rows] = used

    def validate(network: nn.Module, where: torch.device) -> Validation:
        return validate_classification(
            network, images, values, val_rows, normalise, batch_size=batch_size, device=where
        )

    return _Objective(lambda rows, where: torch.from_numpy(values[rows]).to(where), binary_cross_entropy, validate)


def _segmentation(
    images: npt.NDArray[np.floating],
    masks: npt.NDArray[Any],
    train_rows: npt.NDArray[np.int64],
    val_rows: npt.NDArray[np.int64],
    normalise: tuple[float, float],
    n_outputs: int,
    batch_size: int,
    val_scans: npt.ArrayLike | None,
) -> _Objective:
    if n_outputs < 2:
        raise ValueError(f"segmentation needs background and at least one structure, got n_outputs={n_outputs}")
    labels = np.zeros(val_rows.size, np.int64) if val_scans is None else np.asarray(val_scans)
    if labels.shape != val_rows.shape:
        raise ValueError(f"expected one scan per validation slice, got {labels.size} for {val_rows.size} slices")
    scans = np.unique(labels, return_inverse=True)[1].reshape(-1)
    weights = median_frequency_weights((masks[row] for row in train_rows), n_outputs)
    median_frequency_weights((masks[row] for row in val_rows), n_outputs)  # refuses labels beyond the outputs

    def loss(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        return segmentation_loss(logits, truth, weights.to(logits.device))

    def validate(network: nn.Module, where: torch.device) -> Validation:
        return validate_segmentation(
            network, images, masks, val_rows, scans, normalise, loss, batch_size=batch_size, device=where
        )

    return _Objective(lambda rows, where: read_masks(masks, rows, where), loss, validate, weights.numpy())
