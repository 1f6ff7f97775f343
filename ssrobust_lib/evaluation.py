"""Score trained networks on clean and corrupted images (paper, sections 3.2 to 3.4).

Enters: networks of all arms and seeds, an image cache, the rows of it to score. Leaves: long tables with one row per
network, severity and image (classification) or per network, severity, scan and structure (segmentation), and for the
calibration one score per network.

An image is corrupted once for all networks. Images stream through in batches, scans one by one with their voxels
counted on the way, so memory does not grow with the set.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from ssrobust_lib.calibration import CALIBRATION
from ssrobust_lib.corruptions import CORRUPTIONS
from ssrobust_lib.inference import (
    CLEAN,
    Condition,
    ImageCache,
    Networks,
    Runner,
    batches,
    corrupted_images,
    network_input,
)
from ssrobust_lib.metrics import accuracy, dice_per_scan
from ssrobust_lib.voxel_counts import Structures
from ssrobust_lib.voxel_tables import voxel_tables

HIGHEST_SEVERITY = 5

Progress = Callable[[int, int], object]
Positions = Sequence[int] | np.ndarray


def evaluate_classification(
    networks: Networks,
    cache: ImageCache,
    rows: Positions,
    normalise: tuple[float, float],
    *,
    corruption: str,
    strengths: Mapping[int, float],
    study_seed: int,
    task: str = "pneumonia",
    batch_size: int = 64,
    device: str | torch.device = "cpu",
    precision: str = "float32",
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Score every image with every network at every severity.

    Parameters
    ----------
    networks : {(init, seed): nn.Module} with one logit per image, output (B, 1)
        Moved to `device` and to channels_last; their training mode is given back afterwards.
    cache : ImageCache
    rows : int (n,)
        Positions in the cache, in the order of the output.
    normalise : (mean, std)
        From the training data; the network sees (x - mean) / std.
    corruption : str
        Name in `CORRUPTIONS`, or 'clean' with the strengths {0: 0.0}.
    strengths : {severity 1..5: strength}
    study_seed : int
        Part of every image's random key.
    task : str
        Copied into the table.
    batch_size : int
        Corrupted pixels do not depend on it.
    device, precision : str
        As for `Runner`.
    progress : callable (done, total), optional
        Called after each batch with the images done, over all severities.

    Returns
    -------
    DataFrame with the columns task, init, seed, set, corruption, severity, sample_id, patient_id, label (int8; Int8
    where some are missing), score (float32, probability of the positive class). All severities of one network together,
    networks in the order given.

    Raises
    ------
    UnknownNameError
        Where the corruption is not known.
    ValueError
        Where a severity, a strength, a position or a network's output is not as stated.
    """
    positions = _checked_positions(rows, cache)
    conditions = _conditions(corruption, strengths, study_seed)
    runner = Runner(device, precision)
    report = _counted(progress, len(positions) * len(strengths))
    scores = {
        severity: _probabilities(
            runner, networks, cache, positions, normalise, condition, batch_size=batch_size, report=report
        )
        for severity, condition in conditions.items()
    }
    of_image = cache.rows.iloc[positions]
    labels = of_image["label"].astype("Int8").reset_index(drop=True)
    if not labels.isna().any():
        labels = labels.astype("int8")
    tables = [
        pd.DataFrame(
            {
                "task": task,
                "init": init,
                "seed": seed,
                "set": of_image["set"].to_numpy(),
                "corruption": corruption,
                "severity": severity,
                "sample_id": of_image["sample_id"].to_numpy(),
                "patient_id": of_image["patient_id"].to_numpy(),
                "label": labels,
                "score": scores[severity][init, seed],
            }
        )
        for init, seed in networks
        for severity in strengths
    ]
    return pd.concat(tables, ignore_index=True)


def evaluate_segmentation(
    networks: Networks,
    cache: ImageCache,
    rows: Positions,
    normalise: tuple[float, float],
    *,
    structures: Structures,
    corruption: str,
    strengths: Mapping[int, float],
    study_seed: int,
    task: str = "organs",
    batch_size: int = 16,
    device: str | torch.device = "cpu",
    precision: str = "float32",
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Count labelled, predicted and overlapping voxels of each structure on whole scans, and their Dice.

    Parameters
    ----------
    networks : {(init, seed): nn.Module} with K logits per pixel, output (B, K, H, W); class 0 is background
    structures : {name: (predicted classes, label values)}
        Several classes or values are merged into one structure. A set labelled like the training set has
        {'liver': ([1], [1]), ...}; the KiTS set, where 1 is kidney and 2 tumour, has {'kidney': ([13, 14], [1, 2])}
        with the tumour counted as kidney, and ([13, 14], [1]) without.
    cache, rows, normalise, corruption, strengths, study_seed, task, batch_size, device, precision, progress
        As in `evaluate_classification`. The rows must hold all slices of a scan: its score is that of the volume, at
        the scan's own resolution where the cache knows its voxels.

    Returns
    -------
    DataFrame with the columns task, init, seed, set, corruption, severity, sample_id, patient_id, structure, dice
    (float64, NaN where label and prediction are both empty), voxels_label, voxels_predicted, voxels_overlap (int64).
    All severities of one network together, networks in the order given.

    Raises
    ------
    UnknownNameError
        Where the corruption is not known.
    ValueError
        As in `evaluate_classification`, and where the cache has no masks or a structure no class or label value.
    """
    positions = _checked_positions(rows, cache)
    conditions = _conditions(corruption, strengths, study_seed)
    runner = Runner(device, precision)
    report = _counted(progress, len(positions) * len(strengths))
    tables = {
        severity: voxel_tables(
            runner, networks, cache, positions, normalise, structures, condition, batch_size=batch_size, report=report
        )
        for severity, condition in conditions.items()
    }
    parts = []
    for init, seed in networks:
        for severity in strengths:
            part = tables[severity][init, seed]
            part.insert(0, "task", task)
            part.insert(1, "init", init)
            part.insert(2, "seed", seed)
            part.insert(4, "corruption", corruption)
            part.insert(5, "severity", severity)
            parts.append(part)
    return pd.concat(parts, ignore_index=True)


def classification_score(
    networks: Networks,
    cache: ImageCache,
    rows: Positions,
    normalise: tuple[float, float],
    *,
    corruption: str,
    strength: float,
    study_seed: int,
    batch_size: int = 64,
    device: str | torch.device = "cpu",
    precision: str = "float32",
) -> dict[tuple[str, int], float]:
    """Accuracy of each network at one strength, under the same random keys at every strength: for calibration.

    Parameters and errors as in `evaluate_classification`; an image without a label raises ValueError.

    Returns
    -------
    {(init, seed): accuracy}
    """
    positions = _checked_positions(rows, cache)
    labels = cache.rows["label"].iloc[positions]
    if labels.isna().any():
        raise ValueError(f"{int(labels.isna().sum())} of {len(labels)} images have no label: score labelled ones only")
    condition = Condition(corruption, strength, CALIBRATION, study_seed)
    scores = _probabilities(
        Runner(device, precision), networks, cache, positions, normalise, condition, batch_size=batch_size
    )
    return {name: accuracy(labels.to_numpy(dtype=int), values) for name, values in scores.items()}


def segmentation_score(
    networks: Networks,
    cache: ImageCache,
    rows: Positions,
    normalise: tuple[float, float],
    *,
    structures: Structures,
    corruption: str,
    strength: float,
    study_seed: int,
    batch_size: int = 16,
    device: str | torch.device = "cpu",
    precision: str = "float32",
) -> dict[tuple[str, int], float]:
    """Mean Dice of each network at one strength, under the same random keys at every strength: for calibration.

    The mean over scans of the mean over the structures that a scan's label has. Parameters and errors as in
    `evaluate_segmentation`; a set without any labelled structure raises ValueError.

    Returns
    -------
    {(init, seed): mean Dice}
    """
    positions = _checked_positions(rows, cache)
    condition = Condition(corruption, strength, CALIBRATION, study_seed)
    tables = voxel_tables(
        Runner(device, precision), networks, cache, positions, normalise, structures, condition, batch_size=batch_size
    )
    scores = {name: dice_per_scan(table)["dice"] for name, table in tables.items()}
    if any(len(values) == 0 for values in scores.values()):
        raise ValueError(f"no scan has a label of {', '.join(structures)}: choose labelled scans for the score")
    return {name: float(values.mean()) for name, values in scores.items()}


def _probabilities(
    runner: Runner,
    networks: Networks,
    cache: ImageCache,
    positions: np.ndarray,
    normalise: tuple[float, float],
    condition: Condition,
    *,
    batch_size: int,
    report: Callable[[int], None] = lambda n: None,
) -> dict[tuple[str, int], np.ndarray]:
    """Probabilities float32 (n,) of every network under one condition."""
    scores = {name: np.empty(len(positions), np.float32) for name in networks}
    with runner.ready(networks):
        for part in batches(len(positions), batch_size):
            images = corrupted_images(cache, positions[part], condition, by_slice=False, device=runner.device)
            inputs = network_input(images, normalise)
            for name, network in networks.items():
                scores[name][part] = runner.probabilities(network, inputs).cpu().numpy()
            report(len(images))
    return scores


def _counted(progress: Progress | None, total: int) -> Callable[[int], None]:
    """Return a function that adds to the number done and tells `progress`."""
    done = 0

    def report(n: int) -> None:
        nonlocal done
        done += n
        if progress is not None:
            progress(done, total)

    return report


def _checked_positions(rows: Positions, cache: ImageCache) -> np.ndarray:
    positions = np.asarray(rows)
    n = len(cache.rows)
    if positions.ndim != 1 or len(positions) == 0 or not np.issubdtype(positions.dtype, np.integer):
        raise ValueError(
            f"rows: expected positions in the cache, integers of shape (n,) with n > 0, got {positions.dtype} "
            f"{positions.shape}; np.flatnonzero turns a selection into positions"
        )
    if positions.min() < 0 or positions.max() >= n:
        raise ValueError(f"rows: expected positions in 0..{n - 1}, got {positions.min()}..{positions.max()}")
    return positions


def _conditions(corruption: str, strengths: Mapping[int, float], study_seed: int) -> dict[int, Condition]:
    """Check the severities of a corruption and give each its condition."""
    if corruption == CLEAN:
        if dict(strengths) != {0: 0.0}:
            raise ValueError(f"clean images have severity 0 and strength 0: expected {{0: 0.0}}, got {dict(strengths)}")
    else:
        strongest = CORRUPTIONS[corruption].strongest
        wrong = [severity for severity in strengths if severity not in range(1, HIGHEST_SEVERITY + 1)]
        if wrong or not strengths:
            raise ValueError(
                f"strengths of {corruption}: expected severities 1 to {HIGHEST_SEVERITY} (0 is 'clean'), "
                f"got {list(strengths)}"
            )
        beyond = {severity: value for severity, value in strengths.items() if not 0 <= value <= strongest}
        if beyond:
            raise ValueError(f"strengths of {corruption}: expected 0 to {strongest:g}, got {beyond}; calibrate again")
    return {
        int(severity): Condition(corruption, float(strength), int(severity), study_seed)
        for severity, strength in strengths.items()
    }
