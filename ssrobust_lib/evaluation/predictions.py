"""The tables of predictions: their columns, and how they are laid out. One place for both.

Enters: what an evaluation measured, as arrays with an axis for networks, severities and samples. Leaves: long tables,
all severities of one network together, networks, severities and samples in the order given.

Columns of every table: task, init, seed (of the network), set, corruption, severity (0 is clean), sample_id,
patient_id, and the paper's measure of robustness, `feature_distance` and `feature_cosine` (float32; see
`evaluation.feature_distances`; for scans the mean over their slices, the same in the row of every structure; NaN
where it is not known; 0 and 1 on clean images).

Classification, one row per network, severity and image: `label` (int8; Int8 where some are missing), `score` (float32,
probability of the positive class).

Segmentation, one row per network, severity, scan and structure, voxels of the scan itself where the cache knows them:
`voxels_label`, `voxels_predicted`, `voxels_overlap` (int64), `dice` (float64, NaN where label and prediction are
empty); `voxels_flipped`, labelled voxels that were given to another structure, and `voxels_mirrored`, to its mirror
image (Int64, missing where it has none); `hd95_mm` and `surface_dice` (float64; on the network's grid; NaN where
undefined, see `evaluation.surface_distances`, and for severities whose surfaces are not compared: `surface_dice` is
then NaN although the label holds the structure).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ssrobust_lib.evaluation.metrics import IDENTITY, dice
from ssrobust_lib.evaluation.voxel_counts import COUNTS, NO_MIRROR

FEATURE_COLUMNS = ("feature_distance", "feature_cosine")
SURFACE_COLUMNS = ("hd95_mm", "surface_dice")
CLASSIFICATION_COLUMNS = (*IDENTITY, "label", "score", *FEATURE_COLUMNS)
SEGMENTATION_COLUMNS = (*IDENTITY, "structure", "dice", *COUNTS, *SURFACE_COLUMNS, *FEATURE_COLUMNS)

NetworkNames = Sequence[tuple[str, int]]  # (init, seed)


def classification_table(
    samples: pd.DataFrame,
    networks: NetworkNames,
    severities: Sequence[int],
    scores: np.ndarray,
    features: np.ndarray,
    *,
    task: str,
    corruption: str,
) -> pd.DataFrame:
    """Lay out the scores of images.

    Parameters
    ----------
    samples : the cache's rows of the n images
    networks : (init, seed) of each
    severities : of the corruption
    scores : float32 (networks, severities, n)
    features : float (networks, severities, n, 2), relative distance and cosine

    Returns
    -------
    DataFrame with `CLASSIFICATION_COLUMNS`
    """
    labels = samples["label"].astype("Int8").reset_index(drop=True)
    if not labels.isna().any():
        labels = labels.astype("int8")
    repeats = len(networks) * len(severities)
    table = _keys(samples, networks, severities, 1, task, corruption)
    table["label"] = labels.iloc[np.tile(np.arange(len(labels)), repeats)].reset_index(drop=True)
    table["score"] = scores.reshape(-1)
    _add_features(table, features)
    return table[list(CLASSIFICATION_COLUMNS)]


def segmentation_table(
    samples: pd.DataFrame,
    structures: Sequence[str],
    networks: NetworkNames,
    severities: Sequence[int],
    measured: Mapping[str, np.ndarray],
    *,
    task: str,
    corruption: str,
) -> pd.DataFrame:
    """Lay out what was measured on scans.

    Parameters
    ----------
    samples : one row of the cache for each of the n scans
    structures : names
    networks, severities, task, corruption : as in `classification_table`
    measured : arrays of `scan_scores.score_scan` with leading axes (networks, severities, n)

    Returns
    -------
    DataFrame with `SEGMENTATION_COLUMNS`
    """
    table = _keys(samples, networks, severities, len(structures), task, corruption)
    n_rows = len(table)
    table["structure"] = np.tile(np.array(structures, dtype=object), n_rows // len(structures))
    voxels = measured["voxels"].reshape(n_rows, len(COUNTS))
    for column, counts in zip(COUNTS, voxels.T, strict=True):
        table[column] = counts
    mirrored = table["voxels_mirrored"].astype("Int64")
    table["voxels_mirrored"] = mirrored.mask(mirrored == NO_MIRROR)
    table["dice"] = dice(table["voxels_label"], table["voxels_predicted"], table["voxels_overlap"])
    for column, values in zip(SURFACE_COLUMNS, measured["surfaces"].reshape(n_rows, 2).T, strict=True):
        table[column] = values
    _add_features(table, np.repeat(measured["features"], len(structures), axis=2))
    return table[list(SEGMENTATION_COLUMNS)]


def _keys(
    samples: pd.DataFrame,
    networks: NetworkNames,
    severities: Sequence[int],
    rows_each: int,
    task: str,
    corruption: str,
) -> pd.DataFrame:
    """One row per network, severity, sample and part of a sample, with the columns that say which."""
    n, parts = len(samples), len(severities) * len(samples) * rows_each
    columns = {
        "task": task,
        "init": np.repeat(np.array([init for init, _ in networks], dtype=object), parts),
        "seed": np.repeat(np.array([seed for _, seed in networks], dtype=np.int64), parts),
        "corruption": corruption,
        "severity": np.tile(np.repeat(np.array(severities, dtype=np.int64), n * rows_each), len(networks)),
    }
    for name in ("set", "sample_id", "patient_id"):
        each = np.repeat(samples[name].to_numpy(dtype=object), rows_each)
        columns[name] = np.tile(each, len(networks) * len(severities))
    return pd.DataFrame(columns)


def _add_features(table: pd.DataFrame, features: np.ndarray) -> None:
    for column, values in zip(FEATURE_COLUMNS, features.reshape(len(table), 2).T, strict=True):
        table[column] = values.astype(np.float32)
