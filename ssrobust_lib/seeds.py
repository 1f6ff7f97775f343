"""Random streams by name: every random choice of the study derives from the profile's seed and what it is for.

``rng(2021, "labelled subset", "pneumonia", 3)`` is the same stream in every process, and independent of every other.
"""

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive_seed(*parts: int | str) -> int:
    """Hash the parts (order and type matter) to an integer in [0, 2**63) with SHA-256."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def rng(*parts: int | str) -> np.random.Generator:
    """NumPy generator whose stream is a function of the parts alone."""
    return np.random.default_rng(derive_seed(*parts))


def torch_rng(*parts: int | str) -> "torch.Generator":
    """Torch generator (CPU) whose stream is a function of the parts alone."""
    import torch

    return torch.Generator().manual_seed(derive_seed(*parts))
