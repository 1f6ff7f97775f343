"""How far a corruption moves what a network extracts from an image: the paper's own definition of robustness (section
2).

Enters: features of images as they are and corrupted, one vector per image (`inference.Runner.features`: the encoder's
last feature maps, averaged over the plane; what CBR's linear layer sees, and the U-Net's bottom). Leaves: one distance
and one cosine per image.

The paper calls a network more robust "if the learned feature representations are less sensitive to the image corruption
function". Features of two networks have different scales, so a distance means nothing by itself: it is divided by the
mean distance between clean images of different patients in the same network. 0 is no change, 1 as far as another
patient's image.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

_BLOCK = 1024  # images whose distances are held in memory at a time, squared


@dataclass(frozen=True)
class CleanFeatures:
    """What the networks extract from the images of a set before they are corrupted.

    Attributes
    ----------
    values : float32 (networks, n, C), may be a memory map
        Networks and images in the order of the evaluation that reads them.
    scales : float64 (networks,)
        Mean distance between images of different patients (`mean_distance`).
    """

    values: np.ndarray
    scales: npt.NDArray[np.float64]

    def check(self, n_networks: int, n_images: int) -> None:
        """Raise ValueError unless there are features of so many networks and images."""
        if self.values.ndim != 3 or self.values.shape[:2] != (n_networks, n_images) or len(self.scales) != n_networks:
            raise ValueError(
                f"clean features: expected shape ({n_networks}, {n_images}, C) and {n_networks} scales, got "
                f"{self.values.shape} and {len(self.scales)}: evaluate the clean images with the same networks first"
            )


def relative_distances(corrupted: np.ndarray, clean: np.ndarray, scale: float) -> npt.NDArray[np.float64]:
    """Euclidean distance of each pair of feature vectors, in units of `scale`: float64 (n,) >= 0.

    Parameters
    ----------
    corrupted, clean : float (n, C)
    scale : mean distance between different images (`mean_distance`); where it is 0 or NaN the result is NaN
    """
    moved = np.linalg.norm(np.subtract(corrupted, clean, dtype=np.float64), axis=1)
    return moved / scale if scale > 0 else np.full(len(moved), np.nan)


def cosines(corrupted: np.ndarray, clean: np.ndarray) -> npt.NDArray[np.float64]:
    """Cosine of the angle between each pair of feature vectors (n, C): float64 (n,) in [-1, 1], NaN if one is zero."""
    a, b = np.asarray(corrupted, np.float64), np.asarray(clean, np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    products = np.einsum("nc,nc->n", a, b)
    found = np.divide(products, lengths, out=np.full(len(a), np.nan), where=lengths > 0)
    return np.clip(found, -1, 1)


def mean_distance(features: np.ndarray, patients: npt.NDArray[np.integer]) -> tuple[float, int]:
    """Mean Euclidean distance over all pairs of images of different patients, and how many pairs these are.

    Parameters
    ----------
    features : float (n, C), an array or a memory map; read in blocks
    patients : int (n,), whose image each is

    Returns
    -------
    (mean, pairs); NaN and 0 with a single patient.
    """
    n, total, ordered_pairs = len(features), 0.0, 0
    for first in range(0, n, _BLOCK):
        ours = torch.from_numpy(np.asarray(features[first : first + _BLOCK], np.float64))
        for second in range(first, n, _BLOCK):
            others = torch.from_numpy(np.asarray(features[second : second + _BLOCK], np.float64))
            apart = patients[first : first + _BLOCK, None] != patients[second : second + _BLOCK]
            times = 1 if first == second else 2  # a block with itself holds each pair in both orders
            total += times * float(torch.cdist(ours, others)[torch.from_numpy(apart)].sum())
            ordered_pairs += times * int(apart.sum())
    return (total / ordered_pairs if ordered_pairs else float("nan")), ordered_pairs // 2
