"""Everything that a training needs to go on after a kill, as plain tensors and JSON.

Enters: a network, its optimiser and what the loop has recorded. Leaves: a `TrainingState`, and its form on disk: named
tensors (safetensors) and a small dictionary (JSON); nothing is pickled. No random state is kept: batches and noise are
functions of the seed and the epoch.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

CURVE_COLUMNS = ("epoch", "step", "learning_rate", "train_loss", "val_loss", "val_score")
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass
class TrainingState:
    """The state after a finished epoch.

    The tensors are those of the running training, not copies: whoever wants to keep them writes or copies them before
    the next epoch begins.

    Attributes
    ----------
    epoch : finished epochs.
    network, optimizer, best : named tensors: current weights, Adam's moments, weights of the best epoch.
    best_epoch : the epoch, from 1, that `best` comes from.
    curves : one row per finished epoch, keys `CURVE_COLUMNS`.
    """

    epoch: int
    network: dict[str, torch.Tensor]
    optimizer: dict[str, torch.Tensor]
    best: dict[str, torch.Tensor]
    best_epoch: int
    curves: list[dict[str, float]]

    def to_tensors(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Give the named tensors for a safetensors file, and a dictionary for a JSON file beside it."""
        groups = {"network": self.network, "optimizer": self.optimizer, "best": self.best}
        tensors = {
            f"{group}/{name}": tensor.detach().to("cpu").contiguous()
            for group, members in groups.items()
            for name, tensor in members.items()
        }
        rows = [[row[column] for column in CURVE_COLUMNS] for row in self.curves]
        tensors["curves"] = torch.tensor(rows, dtype=torch.float64).reshape(-1, len(CURVE_COLUMNS))
        return tensors, {"epoch": self.epoch, "best_epoch": self.best_epoch, "curves": list(CURVE_COLUMNS)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor], description: Mapping[str, Any]) -> "TrainingState":
        """Read back what `to_tensors` gave.

        Raises
        ------
        ValueError
            A part is missing, or the curves have other columns: another version wrote it.
        """
        if list(description.get("curves", ())) != list(CURVE_COLUMNS) or "curves" not in tensors:
            raise ValueError(
                f"a training state with curves {list(CURVE_COLUMNS)} was expected, got "
                f"{description.get('curves')}: it is damaged or of another version; delete it to train from the start"
            )
        groups: dict[str, dict[str, torch.Tensor]] = {"network": {}, "optimizer": {}, "best": {}}
        for name, tensor in tensors.items():
            group, _, member = name.partition("/")
            if member:
                groups[group][member] = tensor
        curves = [curve_row(*values) for values in tensors["curves"].tolist()]
        return cls(int(description["epoch"]), **groups, best_epoch=int(description["best_epoch"]), curves=curves)


def curve_row(
    epoch: float, step: float, learning_rate: float, train_loss: float, val_loss: float, val_score: float
) -> dict[str, float]:
    """One row of the curves: epoch and step count from 1, losses in nats or as the loss says, score in [0, 1]."""
    values = (int(epoch), int(step), learning_rate, train_loss, val_loss, val_score)
    return dict(zip(CURVE_COLUMNS, values, strict=True))


def optimizer_tensors(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Name Adam's tensors by parameter: ``<parameter>/step``, ``.../exp_avg``, ``.../exp_avg_sq``."""
    return {
        f"{name}/{moment}": optimizer.state[parameter][moment]
        for name, parameter in network.named_parameters()
        for moment in _MOMENTS
        if parameter in optimizer.state
    }


def load_optimizer_tensors(
    network: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]
) -> None:
    """Put back what `optimizer_tensors` gave, in the memory layout of the parameters."""
    for name, parameter in network.named_parameters():
        if f"{name}/step" not in tensors:
            continue
        step, *moments = (tensors[f"{name}/{moment}"] for moment in _MOMENTS)
        # fused Adam walks parameter and moments in the order in which they lie in memory
        laid_out = [torch.empty_like(parameter).copy_(moment) for moment in moments]
        step = step.to(parameter.device, torch.float32, copy=True)
        optimizer.state[parameter] = dict(zip(_MOMENTS, (step, *laid_out), strict=True))


def is_better(row: Mapping[str, float], best: Mapping[str, float]) -> bool:
    """Whether an epoch is better: higher validation score, on a tie lower loss, on a further tie the earlier one.

    An undefined score (NaN: no positive image, no structure) ranks below every number. An empty `best` is none yet.
    """
    if not best:
        return True

    def rank(of: Mapping[str, float]) -> tuple[float, float]:
        score, loss = of["val_score"], of["val_loss"]
        return (-math.inf if math.isnan(score) else score, -math.inf if math.isnan(loss) else -loss)

    return rank(row) > rank(best)
