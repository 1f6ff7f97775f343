"""Which implementation of a corruption runs: plain torch, compiled for the CPU, or fused for the GPU.

Enters: a corruption's name, what the caller asks for, a device. Leaves: a function (images, strength, keys) -> images,
or None for the corruption's own plain torch. Numba and Triton are imported at first use; where they are not installed,
plain torch does the work.
"""

from functools import lru_cache
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from ssrobust_lib.registry import unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

IMPLEMENTATIONS = ("auto", "torch", "compiled", "fused")
_LIBRARY = {"compiled": "numba", "fused": "triton"}
_DEVICE = {"compiled": "cpu", "fused": "cuda"}


def implementation_of(
    name: str, asked: str, device: "torch.device"
) -> "Callable[[torch.Tensor, float, torch.Tensor], torch.Tensor] | None":
    """Find the fast implementation of a corruption; None where plain torch is asked for or all there is.

    Raises
    ------
    UnknownNameError
        Where `asked` is none of `IMPLEMENTATIONS`.
    RuntimeError
        Where the implementation asked for by name needs another device or a library that is not installed.
    """
    if asked not in IMPLEMENTATIONS:
        raise unknown_name("implementation", asked, list(IMPLEMENTATIONS))
    if asked == "torch":
        return None
    kernels = _kernels(asked, device) if asked != "auto" else fast_kernels(device)
    return None if kernels is None else kernels.KERNELS.get(name)


def fast_kernels(device: "torch.device") -> ModuleType | None:
    """Module with the fast kernels for a device, or None."""
    if device.type == "cpu":
        return compiled_kernels()
    return fused_kernels() if device.type == "cuda" else None


@lru_cache(maxsize=1)
def compiled_kernels() -> ModuleType | None:
    """`compiled`, or None where Numba is not installed."""
    return _import("compiled")


@lru_cache(maxsize=1)
def fused_kernels() -> ModuleType | None:
    """`fused`, or None where Triton is not installed."""
    return _import("fused")


def _import(module: str) -> ModuleType | None:
    try:
        import_module(_LIBRARY[module])
    except ImportError:
        return None
    return import_module(f"ssrobust_lib.corruptions.{module}")


def _kernels(asked: str, device: "torch.device") -> ModuleType:
    if device.type != _DEVICE[asked]:
        raise RuntimeError(f"implementation {asked!r} needs images on {_DEVICE[asked]}, got {device}: use 'auto'")
    kernels = compiled_kernels() if asked == "compiled" else fused_kernels()
    if kernels is None:
        raise RuntimeError(f"implementation {asked!r} needs {_LIBRARY[asked]}, which is not installed: use 'auto'")
    return kernels
