"""A scan through networks: its corrupted slices in, what is stored of it out (paper, sections 3.2 to 3.4).

Enters: networks, one scan of an image cache, a condition. Leaves, for every network: voxel counts of each structure,
where asked the distances between surfaces, and how far the features moved. Voxels are counted on the scan's own grid
where the cache knows it, else on the network's; surfaces are compared on the network's grid.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch

from ssrobust_lib.evaluation.feature_distances import CleanFeatures, cosines, relative_distances
from ssrobust_lib.evaluation.inference import (
    CLEAN,
    Condition,
    ImageCache,
    Networks,
    Runner,
    batches,
    corrupt_images,
    network_input,
)
from ssrobust_lib.evaluation.surface_distances import Surface, SurfaceSettings, surface_scores, surfaces_of
from ssrobust_lib.evaluation.voxel_counts import ScanCounter, Structures, joint_counts, structure_counts

Scores = dict[str, np.ndarray]


@dataclass(frozen=True)
class Scan:
    """One scan, read once for all severities and networks.

    Attributes
    ----------
    places : int (slices,), where its slices stand among the evaluated rows
    rows : the cache's rows of its slices
    images : float16 (slices, H, W)
    labels : uint8 (slices, H, W), label values on the network's grid
    structures : what is scored, as in `evaluation.evaluate_segmentation`
    counter : counts its own voxels, or None where the cache does not know them
    spacing_mm : voxel size of the network's grid, or None where it is not known
    """

    places: np.ndarray
    rows: pd.DataFrame
    images: np.ndarray
    labels: np.ndarray
    structures: Structures
    counter: ScanCounter | None
    spacing_mm: tuple[float, float, float] | None

    @cached_property
    def label_surfaces(self) -> list[Surface | None]:
        """Surface of each structure in the label, found when it is first asked for; none where lengths are unknown."""
        if self.spacing_mm is None:
            return [None] * len(self.structures)
        return surfaces_of(self.labels, [values for _, values in self.structures.values()], self.spacing_mm)


def read_scan(
    cache: ImageCache, positions: np.ndarray, places: np.ndarray, structures: Structures, device: torch.device
) -> Scan:
    """Read the slices of one scan.

    Parameters
    ----------
    cache : ImageCache with masks
    positions : int (n,), the evaluated rows of the cache
    places : int (slices,), which of them are this scan's
    structures : what is to be scored
    device : where its voxels are counted

    Raises
    ------
    ValueError
        The cache has no masks, or its scan has more slices than the rows hold.
    """
    if cache.masks is None:
        raise ValueError("this image cache has no masks: build it from a set with labelled scans")
    chosen = positions[places]
    rows = cache.rows.iloc[chosen]
    truth = cache.scan_truth(str(rows["sample_id"].iloc[0]))
    counter = spacing = None
    if truth is not None:
        _check_whole(rows, truth[1].shape_out[0])
        counter, spacing = ScanCounter(*truth, device), truth[1].spacing_mm
    images, labels = np.asarray(cache.images[chosen]), np.asarray(cache.masks[chosen])
    return Scan(places, rows, images, labels, structures, counter, spacing)


def score_scan(
    runner: Runner,
    networks: Networks,
    scan: Scan,
    normalise: tuple[float, float],
    condition: Condition,
    *,
    batch_size: int,
    counting: torch.device,
    surfaces: SurfaceSettings | None = None,
    clean_features: CleanFeatures | None = None,
    keep_features: np.ndarray | None = None,
    report: Callable[[int], None] = lambda n: None,
) -> Scores:
    """Corrupt a scan once, pass it through every network, and score it.

    Parameters
    ----------
    runner, networks : networks that are `ready`
    condition : what is done to the images
    batch_size : slices that pass at once
    counting : the device of the scan's counter
    surfaces : settings where the surfaces are to be compared
    clean_features : to measure how far the features moved, of the rows that `scan.places` stands in
    keep_features : float32 (networks, rows, C) that is filled with this scan's features
    report : told the slices that are done

    Returns
    -------
    voxels : int64 (networks, structures, 5), see `structure_counts`
    surfaces : float64 (networks, structures, 2), see `surface_scores`; NaN where none are compared
    features : float64 (networks, 2), mean over the slices of the relative distance and of the cosine; NaN where unknown
    seconds : float64 (), spent on surfaces
    """
    n, height, width = scan.images.shape
    joint: list[np.ndarray | int] = [0] * len(networks)
    moved = np.full((len(networks), n, 2), np.nan)
    compare = surfaces is not None and scan.spacing_mm is not None
    predicted = np.empty((len(networks) if compare else 0, n, height, width), np.uint8)
    for part in batches(n, batch_size):
        clean = torch.from_numpy(scan.images[part].astype(np.float32))[:, None]  # (B, H, W) -> (B, 1, H, W)
        images = clean if runner.device.type == "mps" else clean.to(runner.device)
        inputs = network_input(
            corrupt_images(images, scan.rows.iloc[part], condition, by_slice=True, device=runner.device), normalise
        )
        labels = None
        if scan.counter is None:
            labels = torch.from_numpy(scan.labels[part].astype(np.int64)).to(counting)
        for k, network in enumerate(networks.values()):
            logits = runner.logits_by_class(network, inputs)
            n_classes, classes = logits.shape[1], logits.argmax(dim=1).to(counting)
            if labels is not None:
                joint[k] = joint[k] + joint_counts(labels, classes, n_classes)
            elif scan.counter is not None:
                counts = scan.counter.count(part.start, classes, n_classes)
                joint[k] = joint[k] + (scan.counter.unseen(n_classes) + counts if part.start == 0 else counts)
            if compare:
                predicted[k, part] = classes.to(torch.uint8).cpu().numpy()
            features = runner.features()
            if features is not None:
                places = scan.places[part]
                if keep_features is not None:
                    keep_features[k, places] = features
                moved[k, part] = feature_change(features, k, places, condition, clean_features)
        report(len(images))
    started = time.perf_counter()
    compared = np.full((len(networks), len(scan.structures), 2), np.nan)
    if surfaces is not None and scan.spacing_mm is not None:
        members = [classes for classes, _ in scan.structures.values()]
        for k, classes_of_scan in enumerate(predicted):
            found = surfaces_of(classes_of_scan, members, scan.spacing_mm)
            compared[k] = surface_scores(found, scan.label_surfaces, surfaces.tolerance_mm)
    return {
        "voxels": np.stack([structure_counts(np.asarray(counts), scan.structures) for counts in joint]),
        "surfaces": compared,
        "features": moved.mean(axis=1),
        "seconds": np.array(time.perf_counter() - started if compare else 0.0),
    }


def feature_change(
    features: np.ndarray, network: int, places: np.ndarray, condition: Condition, clean: CleanFeatures | None
) -> np.ndarray:
    """Relative distance and cosine between corrupted and clean features: float64 (B, 2); NaN where none are known.

    Parameters
    ----------
    features : float32 (B, C), of one network
    network : its number
    places : int (B,), where the images stand among the evaluated rows
    condition : what was done to the images; 'clean' ones have not moved
    clean : features of the evaluated rows before corruption
    """
    if condition.corruption == CLEAN:
        return np.stack([np.zeros(len(features)), cosines(features, features)], axis=1)
    if clean is None:
        return np.full((len(features), 2), np.nan)
    before = clean.values[network, places]
    distances = relative_distances(features, before, float(clean.scales[network]))
    return np.stack([distances, cosines(features, before)], axis=1)


def scans_of(rows: pd.DataFrame) -> Iterator[np.ndarray]:
    """Places of each scan's slices in the rows, scans in order of first appearance, slices in the order given."""
    codes, names = pd.factorize(rows["sample_id"])
    order = np.argsort(codes, kind="stable")
    yield from np.split(order, np.searchsorted(codes[order], np.arange(1, len(names))))


def _check_whole(rows: pd.DataFrame, n_slices: int) -> None:
    """Raise ValueError unless the rows are all slices of a scan, from the first to the last."""
    if not np.array_equal(rows["slice"].to_numpy(), np.arange(n_slices)):
        raise ValueError(
            f"rows: expected all {n_slices} slices of {rows['sample_id'].iloc[0]} in their order, got "
            f"{len(rows)}: a scan's score is that of the whole volume"
        )
