"""Caches and networks whose scores are known in closed form, for the tests of the evaluation."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from torch import nn

NORMALISE = (0.4, 0.25)
SEED = 11
STRUCTURES = {"low": ([1], [1]), "high": ([2], [2]), "absent": ([3], [9])}


@dataclass
class Cache:
    images: np.ndarray
    masks: np.ndarray | None
    rows: pd.DataFrame
    truth: dict = field(default_factory=dict)  # sample_id -> labelled voxels, grid

    def scan_truth(self, sample_id):
        return self.truth.get(sample_id)


class MeanLogit(nn.Module):
    """Logit = factor x mean of what it sees; batch norm left in training mode would show."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.norm = nn.BatchNorm2d(1)
        self.factor = factor
        self.seen = []

    def forward(self, x):
        self.seen.append((x.detach().clone(), x.is_contiguous(memory_format=torch.channels_last)))
        return self.norm(x).mean(dim=(1, 2, 3))[:, None] * self.factor


class Thresholds(nn.Module):
    """Class 1 where the input is above the first threshold, class 2 above the second; class 3 never."""

    def __init__(self, *thresholds):
        super().__init__()
        self.thresholds = thresholds

    def forward(self, x):
        low, high = self.thresholds
        return torch.cat([x * 0 + 0.5, (x > low) * 1.0, (x > high) * 2.0, x * 0 - 1], dim=1)


def xray_cache(n=10, size=16):
    images = np.random.default_rng(0).random((n, size, size)).astype(np.float16)
    images[n // 2 :] = images[n // 2 :] * 0.5 + 0.5
    rows = pd.DataFrame(
        {"sample_id": [f"x{i}" for i in range(n)], "patient_id": [f"p{i // 2}" for i in range(n)], "set": "phantom",
         "split": "test", "label": pd.array([0] * (n // 2) + [1] * (n - n // 2), dtype="Int8"), "slice": 0}
    )  # fmt: skip
    return Cache(images, None, rows)


def ct_cache(n_scans=3, n_slices=5, size=12):
    n = n_scans * n_slices
    images = np.random.default_rng(1).random((n, size, size)).astype(np.float16)
    masks = (images > 0.5).astype(np.uint8) + (images > 0.8)
    rows = pd.DataFrame(
        {"sample_id": np.repeat([f"s{i}" for i in range(n_scans)], n_slices), "patient_id": "p", "set": "phantom",
         "split": "test", "label": pd.array([None] * n, dtype="Int8"), "slice": np.tile(np.arange(n_slices), n_scans)}
    )  # fmt: skip
    return Cache(images, masks.astype(np.uint8), rows)


def at(value):
    """What the network sees where the stored image has this value."""
    return (value - NORMALISE[0]) / NORMALISE[1]
