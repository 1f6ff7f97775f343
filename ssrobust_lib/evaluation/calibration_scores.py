"""One score per network at one strength: what the search for severities asks for (paper, section 3.3).

Enters: networks, an image cache, the validation rows of it, a corruption and a strength. Leaves: accuracy or mean Dice
of each network, in float32 whatever the evaluation runs in, so that the severities do not depend on the processor.
"""

import numpy as np
import torch

from ssrobust_lib.evaluation.conditions import Positions, checked_positions
from ssrobust_lib.evaluation.engine import counting_device, score_batch
from ssrobust_lib.evaluation.inference import (
    Condition,
    ImageCache,
    Networks,
    Runner,
    batches,
    corrupted_images,
    network_input,
    release_pages,
)
from ssrobust_lib.evaluation.metrics import accuracy, dice
from ssrobust_lib.evaluation.scan_scores import read_scan, scans_of, score_scan
from ssrobust_lib.evaluation.voxel_counts import Structures, check_structures
from ssrobust_lib.severities.calibration import CALIBRATION


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

    Parameters and errors as in `engine.evaluate_classification`; an image without a label raises ValueError.

    Returns
    -------
    {(init, seed): accuracy}
    """
    positions = checked_positions(rows, cache)
    labels = cache.rows["label"].iloc[positions]
    if labels.isna().any():
        raise ValueError(f"{int(labels.isna().sum())} of {len(labels)} images have no label: score labelled ones only")
    condition = Condition(corruption, strength, CALIBRATION, study_seed)
    runner, parts = Runner(device, precision), []
    with runner.ready(networks):
        for part in batches(len(positions), batch_size):
            images = corrupted_images(cache, positions[part], condition, by_slice=False, device=runner.device)
            inputs = network_input(images, normalise)
            parts.append(score_batch(runner, networks, inputs, part, condition, None, None)["scores"])
            release_pages(cache)
    scores = np.concatenate(parts, axis=1)  # (networks, n)
    truth = labels.to_numpy(dtype=int)
    return {name: accuracy(truth, values) for name, values in zip(networks, scores, strict=True)}


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
    `engine.evaluate_segmentation`; a set without any labelled structure raises ValueError.

    Returns
    -------
    {(init, seed): mean Dice}
    """
    positions = checked_positions(rows, cache)
    condition = Condition(corruption, strength, CALIBRATION, study_seed)
    check_structures(structures)
    runner = Runner(device, precision)
    counting = counting_device(runner)
    counts = []
    with runner.ready(networks):
        for places in scans_of(cache.rows.iloc[positions]):
            scan = read_scan(cache, positions, places, structures, counting)
            found = score_scan(runner, networks, scan, normalise, condition, batch_size=batch_size, counting=counting)
            counts.append(found["voxels"])
            release_pages(cache)
    voxels = np.stack(counts, axis=1)  # (networks, scans, structures, counts)
    present = voxels[0, :, :, 0] > 0  # (scans, structures)
    if not present.any():
        raise ValueError(f"no scan has a label of {', '.join(structures)}: choose labelled scans for the score")
    values = np.where(present, dice(voxels[..., 0], voxels[..., 1], voxels[..., 2]), 0.0).sum(axis=2)
    labelled = present.any(axis=1)
    means = (values[:, labelled] / present.sum(axis=1)[labelled]).mean(axis=1)
    return {name: float(mean) for name, mean in zip(networks, means, strict=True)}
