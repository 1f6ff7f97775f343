"""Carry a pretrained encoder into a network, or say tensor by tensor why not (paper, section 2, Fig. 2).

Enters: a network and the tensors of an encoder. Leaves: the network with these weights, and a table of what was done
with each of its tensors. For the classifier the encoder is the whole trunk; of the U-Net only the contracting path is
transferred and the decoder stays as it was initialised.
"""

from collections.abc import Mapping

import pandas as pd
import torch
from torch import nn

TRANSFERRED = "transferred"
FROM_SCRATCH = "from scratch"
PREFIX = "encoder."


class TransferError(ValueError):
    """Weights that do not fit the network; the message lists every tensor that does not."""


def encoder_tensors(network: nn.Module) -> dict[str, torch.Tensor]:
    """Copy the encoder's weights and batch statistics to the CPU, under names relative to the encoder."""
    return copied_tensors(network.get_submodule("encoder"))


def copied_tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    """Copy a module's state to contiguous CPU tensors that own their memory, ready for safetensors."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in module.state_dict().items()}


def transfer_report(network: nn.Module, *, transferred: bool) -> pd.DataFrame:
    """Tabulate the fate of every tensor of `network`: columns tensor, shape, parameters (count), status."""
    rows = [
        {
            "tensor": name,
            "shape": " x ".join(map(str, tensor.shape)) or "scalar",
            "parameters": tensor.numel(),
            "status": TRANSFERRED if transferred and name.startswith(PREFIX) else FROM_SCRATCH,
        }
        for name, tensor in network.state_dict().items()
    ]
    return pd.DataFrame(rows)


def transfer_encoder(network: nn.Module, tensors: Mapping[str, torch.Tensor]) -> pd.DataFrame:
    """Copy pretrained tensors into `network.encoder`, all or none.

    Parameters
    ----------
    network : a network with a submodule `encoder`; its other submodules are not touched.
    tensors : the encoder's state, names relative to the encoder, as `encoder_tensors` gives it.

    Returns
    -------
    table of all tensors of the network: tensor, shape, parameters, status ('transferred' or 'from scratch').

    Raises
    ------
    TransferError
        A tensor is missing, not known, of another shape, or not finite; all such tensors are listed and the network
        is left as it was.
    """
    encoder = network.get_submodule("encoder")
    expected = encoder.state_dict()
    misfits = [misfit for name, tensor in expected.items() if (misfit := _misfit(name, tensor, tensors.get(name)))]
    misfits += [
        f"{name}: the weights hold {tuple(tensors[name].shape)}, the network has no such tensor"
        for name in sorted(set(tensors) - set(expected))
    ]
    if misfits:
        listed = "\n  ".join(misfits)
        raise TransferError(
            f"the pretrained encoder does not fit {type(network).__name__}: {len(misfits)} of {len(expected)} tensors "
            f"differ. Pretrain with the same network and options, or name other weights.\n  {listed}"
        )
    encoder.load_state_dict(dict(tensors))
    return transfer_report(network, transferred=True)


def _misfit(name: str, expected: torch.Tensor, given: torch.Tensor | None) -> str | None:
    if given is None:
        return f"{name}: the network expects {tuple(expected.shape)}, the weights lack it"
    if given.shape != expected.shape:
        return f"{name}: the network expects {tuple(expected.shape)}, the weights hold {tuple(given.shape)}"
    if not torch.isfinite(given).all():
        return f"{name}: the weights hold values that are not finite"
    return None
