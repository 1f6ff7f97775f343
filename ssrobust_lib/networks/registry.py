"""The collection of networks, and how one of them is built and initialised from a seed.

Enters: a network's name, its number of outputs, its options and a random generator. Leaves: an initialised module whose
`encoder` is a submodule of its own, so that a pretext task can train it alone (paper, section 2, Fig. 2).
"""

import inspect
import math

import torch
from torch import nn

from ssrobust_lib.registry import Registry, unknown_name

NETWORKS: Registry[type[nn.Module]] = Registry("network")


def build_network(name: str, n_outputs: int, generator: torch.Generator, **options: int) -> nn.Module:
    """Build a registered network with weights drawn from `generator`.

    Parameters
    ----------
    name : one of `NETWORKS.names()`.
    n_outputs : logits per image (classification) or per pixel (segmentation, background included), >= 1.
    generator : source of every initial weight; the same state gives the same weights, bit for bit.
    options : keyword options of the network's class, such as ``base_filters=16`` for ``unet``.

    Returns
    -------
    module in training mode on the CPU, with a submodule `encoder` that offers
    `out_channels` (int) and `features(x: float32 (B, C, H, W)) -> float32 (B, out_channels)`.

    Raises
    ------
    UnknownNameError
        The network, or one of its options, is not known; the message lists the known ones.
    ValueError
        `n_outputs` is below one, or the network refuses an option's value.
    """
    network_class = NETWORKS[name]
    if n_outputs < 1:
        raise ValueError(f"a network needs at least one output, got n_outputs={n_outputs}")
    known = [option for option in inspect.signature(network_class).parameters if option != "n_outputs"]
    for option in options:
        if option not in known:
            raise unknown_name(f"option of network {name!r}:", option, known)
    with torch.device("meta"):  # no memory is filled and no global random number is drawn before `initialise`
        network = network_class(n_outputs=n_outputs, **options)
    network = network.to_empty(device="cpu")
    initialise(network, generator)
    return network


@torch.no_grad()
def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Draw all weights anew, in the order of the submodules, from PyTorch's default distributions.

    The paper does not say how its networks are initialised, so the framework's default stands: weights and biases of
    convolutions and linear layers uniform in +-1/sqrt(fan_in) (He et al. 2015 with a = sqrt(5)), batch normalisation
    the identity. Only the source of the numbers differs: an explicit generator instead of the global one.

    Raises
    ------
    TypeError
        A submodule holds parameters of its own and is of a kind without a rule here.
    """
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
            if layer.bias is not None:
                fan_in = layer.weight[0].numel()
                bound = 1 / math.sqrt(fan_in)
                nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.reset_parameters()
        elif any(True for _ in layer.parameters(recurse=False)) or any(True for _ in layer.buffers(recurse=False)):
            raise TypeError(
                f"no initialisation is known for {type(layer).__name__} (submodule {name!r}): "
                "add a rule for it to ssrobust_lib.networks.initialise"
            )
