"""Metrics: the paper's accuracy, AUROC and Dice (sections 3.2 to 3.4), and what is reported beside them.

Enters: labels and scores of one network on one set, or voxel counts of one structure in one scan. Leaves: a number, or
an array of one value per patient or structure. Plain NumPy: tables of millions of predictions are scored without
tensors, and tests hold every value against scikit-learn, torchmetrics and MONAI. What is undefined is NaN, never 0.

`CLASSIFICATION_METRICS`: (labels int (N,) of 0 and 1, scores float (N,) in [0, 1]) -> float.
`SEGMENTATION_METRICS`: (voxels_label, voxels_predicted, voxels_overlap: int arrays) -> float64 array of that shape.
`SURFACE_METRICS`: names of the columns that `ssrobust_lib.evaluation.surface_distances` measures.
`LOWER_IS_BETTER`: those among all of these that are errors, distances or shares of failures.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from ssrobust_lib.registry import Registry
from ssrobust_lib.statistics.auroc import placements

CLASSIFICATION_METRICS: Registry[Callable[[np.ndarray, np.ndarray], float]] = Registry("classification metric")
SEGMENTATION_METRICS: Registry[Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = Registry(
    "segmentation metric"
)

# which sample, network and condition a prediction belongs to
IDENTITY = ("task", "init", "seed", "set", "corruption", "severity", "sample_id", "patient_id")
SURFACE_METRICS = ("surface_dice", "hd95_mm")
LOWER_IS_BETTER = frozenset(
    {"brier", "ece", "hd95_mm", "missed", "hd95_undefined", "flipped", "mirrored", "feature_distance"}
)

THRESHOLD = 0.5
CALIBRATION_BINS = 15  # of the expected calibration error, as Guo et al. (2017)


def correct(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Say for each image whether the decision at a score of 0.5 (inclusive) equals the label: bool (N,)."""
    labels, scores = _checked(labels, scores)
    return (scores >= THRESHOLD) == labels


@CLASSIFICATION_METRICS.register("accuracy")
def accuracy(labels: np.ndarray, scores: np.ndarray) -> float:
    """Share of images decided rightly at a score of 0.5; NaN without images.

    A network that always answers the more frequent class reaches that class's share.
    """
    decided = correct(labels, scores)
    return float(decided.mean()) if len(decided) else float("nan")


@CLASSIFICATION_METRICS.register("balanced_accuracy")
def balanced_accuracy(labels: np.ndarray, scores: np.ndarray) -> float:
    """Mean of sensitivity and specificity at a score of 0.5; NaN where a class is missing."""
    decided = correct(labels, scores)
    positive = np.asarray(labels).astype(bool)
    if positive.all() or not positive.any():
        return float("nan")
    return float((decided[positive].mean() + decided[~positive].mean()) / 2)


@CLASSIFICATION_METRICS.register("auroc")
def auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve: the chance that a positive image scores above a negative one, ties counting half.

    NaN where a class is missing.
    """
    labels, scores = _checked(labels, scores)
    return float(auroc_components(labels, scores)[labels].mean()) if labels.any() else float("nan")


def auroc_components(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """DeLong's placement values (`ssrobust_lib.statistics.auroc.placements`): what each image contributes to the AUROC.

    Parameters
    ----------
    labels : int (N,) of 0 and 1
    scores : float (N,)

    Returns
    -------
    float64 (N,) in [0, 1], in the order of the input: of a positive image the share of negative images that score
    below it, of a negative image the share of positive images that score above it, ties counting half. The mean over
    either class is the AUROC. All NaN where a class is missing.
    """
    labels, scores = _checked(labels, scores)
    if labels.all() or not labels.any():
        return np.full(len(labels), np.nan)
    return placements(scores, labels)


@CLASSIFICATION_METRICS.register("average_precision")
def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the precision-recall curve as a sum of steps, sum over thresholds of (R_n - R_{n-1}) P_n.

    The thresholds are the distinct scores; nothing is interpolated (as scikit-learn and torchmetrics). A score that
    tells nothing reaches the share of positive images. NaN where a class is missing.
    """
    labels, scores = _checked(labels, scores)
    if labels.all() or not labels.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)  # of the images that share a score
    hits = np.cumsum(labels[order])[last]
    precision = hits / (np.flatnonzero(last) + 1)
    return float(np.sum(np.diff(hits, prepend=0) * precision) / hits[-1])


@CLASSIFICATION_METRICS.register("brier")
def brier(labels: np.ndarray, scores: np.ndarray) -> float:
    """Brier score: mean squared difference of probability and label, in [0, 1], lower is better; NaN without images.

    The form for two classes with one probability (Brier's own sum over both classes is twice as large).
    """
    labels, scores = _checked(labels, scores)
    return float(np.mean((scores - labels) ** 2)) if len(labels) else float("nan")


@CLASSIFICATION_METRICS.register("ece")
def expected_calibration_error(labels: np.ndarray, scores: np.ndarray) -> float:
    """Expected calibration error of the probability of the positive class, in [0, 1], lower is better.

    The images are put into 15 bins of equal width by their probability; the result is the mean over images of
    |share of positive images - mean probability| of their bin (Naeini et al. 2015; `CALIBRATION_BINS`). A bin holds its
    lower edge, the last one both. With few images a perfect network is above 0, since bins are small. NaN without
    images.
    """
    labels, scores = _checked(labels, scores)
    if not len(labels):
        return float("nan")
    if scores.min() < 0 or scores.max() > 1:
        raise ValueError(f"scores: expected probabilities, got {scores.min():g} to {scores.max():g}")
    bins = np.minimum((scores * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    return float(np.abs(np.bincount(bins, weights=labels - scores)).sum() / len(labels))


@SEGMENTATION_METRICS.register("dice")
def dice(voxels_label: np.ndarray, voxels_predicted: np.ndarray, voxels_overlap: np.ndarray) -> np.ndarray:
    """Dice score 2 |label and prediction| / (|label| + |prediction|) from voxel counts of whole scans.

    - Label and prediction empty: NaN, there is nothing to score.
    - Label present, nothing predicted: 0, the structure was missed.
    - Label empty, something predicted: 0. The row stays in the table as a false alarm; the mean of a scan runs over
      the structures that its label has, and so leaves it out.

    Parameters
    ----------
    voxels_label, voxels_predicted, voxels_overlap : int, equal shapes

    Returns
    -------
    float64, of that shape, in [0, 1] or NaN.

    Raises
    ------
    ValueError
        Where a count is negative or the overlap exceeds the label or the prediction.
    """
    label = np.asarray(voxels_label, dtype=np.int64)
    predicted = np.asarray(voxels_predicted, dtype=np.int64)
    overlap = np.asarray(voxels_overlap, dtype=np.int64)
    if np.any(overlap < 0) or np.any(overlap > label) or np.any(overlap > predicted):
        raise ValueError(
            "voxel counts: expected 0 <= overlap <= label and overlap <= prediction in every row; "
            "were the columns given in the order label, predicted, overlap?"
        )
    total = label + predicted
    return np.divide(2.0 * overlap, total, out=np.full(total.shape, np.nan), where=total > 0)


def dice_per_scan(predictions: pd.DataFrame) -> pd.DataFrame:
    """Average Dice over the structures that a scan's label has: the paper's score of a scan.

    Parameters
    ----------
    predictions : table with one row per scan and structure
        Columns `structure`, `dice`, `voxels_label`; those of `IDENTITY` that it has say which scan, network and
        condition a row belongs to.

    Returns
    -------
    DataFrame, one row per scan, network and condition in order of first appearance: the identifying columns, `dice` and
    `n_structures`. A scan without any labelled structure has no row.
    """
    identity = [column for column in IDENTITY if column in predictions]
    present = predictions[predictions["voxels_label"] > 0]
    grouped = present.groupby(identity, sort=False, observed=True, dropna=False)["dice"]
    return grouped.agg(dice="mean", n_structures="size").reset_index()


def _checked(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return labels as bool (N,) and scores as float64 (N,), or say what is wrong with them."""
    labels, scores = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if labels.shape != scores.shape or labels.ndim != 1:
        raise ValueError(f"expected labels and scores of one length, shape (N,), got {labels.shape} and {scores.shape}")
    if not np.isin(labels, (0, 1)).all():
        found = ", ".join(str(value) for value in np.unique(labels)[:5])
        raise ValueError(f"labels: expected 0 and 1, got {found}; drop images without a label first")
    if np.isnan(scores).any():
        raise ValueError(f"scores: {int(np.isnan(scores).sum())} of {len(scores)} are NaN; did the training diverge?")
    return labels.astype(bool), scores
