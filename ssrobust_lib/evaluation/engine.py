"""Score trained networks on clean and corrupted images (paper, sections 3.2 to 3.4).

Enters: networks of all arms and seeds, an image cache, the rows of it to score. Leaves: long tables with one row per
network, severity and image (classification) or per network, severity, scan and structure (segmentation), see
`ssrobust_lib.evaluation.predictions`.

An image is read once, corrupted once for each severity, and shown to all networks. Images stream through in batches,
scans one by one with their voxels counted on the way, and the pages of the cache are given back, so memory does not
grow with the set. What is measured of a batch or a scan at one severity is a piece; finished pieces may be kept aside,
and an evaluation that finds them goes on behind them.

Corrupted pixels do not depend on the batch. A network's output does, to rounding: processors sum in another order for
another number of images. The same batch size gives the same bits.
"""

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from ssrobust_lib.evaluation.conditions import Positions, checked_positions, conditions_of
from ssrobust_lib.evaluation.feature_distances import CleanFeatures
from ssrobust_lib.evaluation.inference import (
    Condition,
    ImageCache,
    Networks,
    Runner,
    batches,
    corrupt_images,
    network_input,
    release_pages,
    stored_images,
)
from ssrobust_lib.evaluation.precision import Precision, classes_of, labels_of, measured_runner
from ssrobust_lib.evaluation.predictions import classification_table, segmentation_table
from ssrobust_lib.evaluation.scan_scores import feature_change, read_scan, scans_of, score_scan
from ssrobust_lib.evaluation.surface_distances import SurfaceSettings
from ssrobust_lib.evaluation.voxel_counts import Structures, check_structures

LARGEST_CHANGE = 0.001  # share of decisions that bfloat16 may change

Progress = Callable[[int, int], object]
Pieces = MutableMapping[str, dict[str, np.ndarray]]


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation leaves.

    Attributes
    ----------
    predictions : DataFrame, see `ssrobust_lib.evaluation.predictions`
    device : where the networks ran
    precision : in which, and why
    surface_seconds : time spent on the distances between surfaces
    """

    predictions: pd.DataFrame
    device: torch.device
    precision: Precision
    surface_seconds: float = 0.0


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
    largest_change: float = LARGEST_CHANGE,
    clean_features: CleanFeatures | None = None,
    keep_features: np.ndarray | None = None,
    pieces: Pieces | None = None,
    progress: Progress | None = None,
) -> Evaluated:
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
    device : as for `devices.choose_device`
    precision, largest_change : as for `precision.choose_measured`
    clean_features : features of the same rows in the same networks, uncorrupted
        Without them, how far the features moved is NaN.
    keep_features : float32 (networks, n, C)
        Filled with the images' features; for clean images.
    pieces : {name: arrays}
        Finished pieces of this very evaluation are taken from it, new ones put in.
    progress : callable (done, total), optional
        Called after each batch and severity with the images done, over all severities.

    Returns
    -------
    Evaluated

    Raises
    ------
    UnknownNameError
        Where the corruption is not known.
    ValueError
        Where a severity, a strength, a position or a network's output is not as stated.
    """
    positions = checked_positions(rows, cache)
    conditions = conditions_of(corruption, strengths, study_seed)
    if clean_features is not None:
        clean_features.check(len(networks), len(positions))
    runner, chosen = measured_runner(
        networks, cache, positions, normalise, list(conditions.values()), labels_of,
        device=device, asked=precision, bound=largest_change, by_slice=False,
    )  # fmt: skip
    report = _counted(progress, len(positions) * len(strengths))
    pieces = {} if pieces is None else pieces
    parts = list(batches(len(positions), batch_size))
    with runner.ready(networks, features=True):
        for part in parts:
            todo = {s: c for s, c in conditions.items() if f"{s}/{part.start}" not in pieces}
            images = stored_images(cache, positions[part], runner.device) if todo else None
            of_image = cache.rows.iloc[positions[part]]
            for severity, condition in conditions.items():
                if severity in todo and images is not None:
                    seen = corrupt_images(images, of_image, condition, by_slice=False, device=runner.device)
                    inputs = network_input(seen, normalise)
                    found = score_batch(runner, networks, inputs, part, condition, clean_features, keep_features)
                    pieces[f"{severity}/{part.start}"] = found
                report(part.stop - part.start)
            release_pages(cache)
    measured = {
        name: np.stack(
            [np.concatenate([pieces[f"{s}/{p.start}"][name] for p in parts], axis=1) for s in conditions], axis=1
        )
        for name in ("scores", "features")
    }
    table = classification_table(
        cache.rows.iloc[positions], list(networks), list(strengths), measured["scores"], measured["features"],
        task=task, corruption=corruption,
    )  # fmt: skip
    return Evaluated(table, runner.device, chosen)


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
    largest_change: float = LARGEST_CHANGE,
    surfaces: SurfaceSettings | None = None,
    clean_features: CleanFeatures | None = None,
    keep_features: np.ndarray | None = None,
    pieces: Pieces | None = None,
    progress: Progress | None = None,
) -> Evaluated:
    """Count labelled, predicted, overlapping and misplaced voxels of each structure on whole scans.

    Parameters
    ----------
    networks : {(init, seed): nn.Module} with K logits per pixel, output (B, K, H, W); class 0 is background
    structures : {name: (predicted classes, label values)}
        Several classes or values are merged into one structure. A set labelled like the training set has
        {'liver': ([1], [1]), ...}; the KiTS set, where 1 is kidney and 2 tumour, has {'kidney': ([13, 14], [1, 2])}
        with the tumour counted as kidney, and ([13, 14], [1]) without.
    surfaces : for which severities the distances between surfaces are taken as well; they need a cache that knows the
        size of a voxel
    cache, rows, normalise, corruption, strengths, study_seed, task, batch_size, device, precision, largest_change,
    clean_features, keep_features, pieces, progress
        As in `evaluate_classification`. The rows must hold all slices of a scan: its score is that of the volume, at
        the scan's own resolution where the cache knows its voxels.

    Returns
    -------
    Evaluated

    Raises
    ------
    UnknownNameError
        Where the corruption is not known.
    ValueError
        As in `evaluate_classification`, and where the cache has no masks or a structure no class or label value.
    """
    positions = checked_positions(rows, cache)
    conditions = conditions_of(corruption, strengths, study_seed)
    check_structures(structures)
    if clean_features is not None:
        clean_features.check(len(networks), len(positions))
    runner, chosen = measured_runner(
        networks, cache, positions, normalise, list(conditions.values()), classes_of,
        device=device, asked=precision, bound=largest_change, by_slice=True,
    )  # fmt: skip
    counting = counting_device(runner)
    report = _counted(progress, len(positions) * len(strengths))
    pieces = {} if pieces is None else pieces
    scans = list(scans_of(cache.rows.iloc[positions]))
    with runner.ready(networks, features=True):
        for number, places in enumerate(scans):
            todo = {s: c for s, c in conditions.items() if f"{s}/{number}" not in pieces}
            if len(todo) < len(conditions):
                report(len(places) * (len(conditions) - len(todo)))
            if not todo:
                continue
            scan = read_scan(cache, positions, places, structures, counting)
            for severity, condition in todo.items():
                pieces[f"{severity}/{number}"] = score_scan(
                    runner, networks, scan, normalise, condition,
                    batch_size=batch_size, counting=counting, clean_features=clean_features,
                    keep_features=keep_features, report=report,
                    surfaces=surfaces if surfaces is not None and severity in surfaces.severities else None,
                )  # fmt: skip
            release_pages(cache)
    measured = {
        name: np.stack(
            [np.stack([pieces[f"{s}/{k}"][name] for k in range(len(scans))], axis=1) for s in conditions], axis=1
        )
        for name in ("voxels", "surfaces", "features")
    }
    samples = cache.rows.iloc[positions[[places[0] for places in scans]]]
    table = segmentation_table(
        samples, list(structures), list(networks), list(strengths), measured, task=task, corruption=corruption
    )
    seconds = sum(float(pieces[f"{s}/{k}"]["seconds"]) for s in conditions for k in range(len(scans)))
    return Evaluated(table, runner.device, chosen, seconds)


def score_batch(
    runner: Runner,
    networks: Networks,
    inputs: torch.Tensor,
    part: slice,
    condition: Condition,
    clean_features: CleanFeatures | None,
    keep_features: np.ndarray | None,
) -> dict[str, np.ndarray]:
    """Probabilities float32 (networks, B) of a batch, and how far its features moved, float64 (networks, B, 2)."""
    scores = np.empty((len(networks), len(inputs)), np.float32)
    moved = np.full((len(networks), len(inputs), 2), np.nan)
    places = np.arange(part.start, part.stop)
    for k, network in enumerate(networks.values()):
        scores[k] = runner.probabilities(network, inputs).cpu().numpy()
        features = runner.features()
        if features is None:
            continue
        if keep_features is not None:
            keep_features[k, places] = features
        moved[k] = feature_change(features, k, places, condition, clean_features)
    return {"scores": scores, "features": moved}


def counting_device(runner: Runner) -> torch.device:
    """Where voxels are counted: Apple's GPU has no float64, which exact sums need."""
    return torch.device("cpu") if runner.device.type == "mps" else runner.device


def _counted(progress: Progress | None, total: int) -> Callable[[int], None]:
    """Return a function that adds to the number done and tells `progress`."""
    done = 0

    def report(n: int) -> None:
        nonlocal done
        done += n
        if progress is not None:
            progress(done, total)

    return report
