"""A scan through networks: its corrupted slices in, the voxels of each structure out (paper, sections 3.2 to 3.4).

Enters: networks, an image cache, the rows of whole scans, one condition. Leaves: one table per network, a row per scan
and structure. Voxels are the scan's own where the cache knows them, else those of the network's images.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import torch

from ssrobust_lib.inference import Condition, ImageCache, Networks, Runner, batches, corrupted_images, network_input
from ssrobust_lib.voxel_counts import ScanCounter, Structures, check_structures, joint_counts, structure_voxels


def voxel_tables(
    runner: Runner,
    networks: Networks,
    cache: ImageCache,
    positions: np.ndarray,
    normalise: tuple[float, float],
    structures: Structures,
    condition: Condition,
    *,
    batch_size: int,
    report: Callable[[int], None] = lambda n: None,
) -> dict[tuple[str, int], pd.DataFrame]:
    """Table of every network under one condition: set, sample_id, patient_id and the columns of `structure_voxels`."""
    check_structures(structures)
    if cache.masks is None:
        raise ValueError("this image cache has no masks: build it from a set with labelled scans")
    tables: dict[tuple[str, int], list[pd.DataFrame]] = {name: [] for name in networks}
    with runner.ready(networks):
        for scan in _scans(cache, positions):
            joint = _joint_counts(runner, networks, cache, scan, normalise, condition, batch_size, report)
            row = cache.rows.iloc[scan[0]]
            for name, counts in joint.items():
                table = structure_voxels(counts, structures)
                for place, column in enumerate(("set", "sample_id", "patient_id")):
                    table.insert(place, column, row[column])
                tables[name].append(table)
    return {name: pd.concat(parts, ignore_index=True) for name, parts in tables.items()}


def _joint_counts(
    runner: Runner,
    networks: Networks,
    cache: ImageCache,
    scan: np.ndarray,
    normalise: tuple[float, float],
    condition: Condition,
    batch_size: int,
    report: Callable[[int], None],
) -> dict[tuple[str, int], np.ndarray]:
    """Voxels of one scan by label value and predicted class, int64 (256, K) for every network.

    They are the scan's own voxels where the cache knows them, else those of the network's images.
    """
    truth = cache.scan_truth(str(cache.rows["sample_id"].iloc[scan[0]]))
    counting = torch.device("cpu") if runner.device.type == "mps" else runner.device  # Apple's GPU has no float64
    counter = None if truth is None else ScanCounter(*truth, counting)
    if truth is not None:
        _check_whole(cache, scan, truth[1].shape_out[0])
    joint: dict[tuple[str, int], np.ndarray] = {}
    for part in batches(len(scan), batch_size):
        images = corrupted_images(cache, scan[part], condition, by_slice=True, device=runner.device)
        inputs = network_input(images, normalise)
        if counter is None and cache.masks is not None:
            labels = torch.from_numpy(np.asarray(cache.masks[scan[part]], dtype=np.int64)).to(runner.device)
        for name, network in networks.items():
            logits = runner.logits_by_class(network, inputs)
            n_classes = logits.shape[1]
            if counter is not None:
                counts = counter.count(part.start, logits.argmax(dim=1).to(counting), n_classes)
                joint.setdefault(name, counter.unseen(n_classes))
            else:
                counts = joint_counts(labels, logits)
            joint[name] = joint[name] + counts if name in joint else counts
        report(len(images))
    return joint


def _check_whole(cache: ImageCache, scan: np.ndarray, n_slices: int) -> None:
    """Raise ValueError unless the rows are all slices of a scan, from the first to the last."""
    slices = cache.rows["slice"].iloc[scan].to_numpy()
    if not np.array_equal(slices, np.arange(n_slices)):
        raise ValueError(
            f"rows: expected all {n_slices} slices of {cache.rows['sample_id'].iloc[scan[0]]} in their order, got "
            f"{len(slices)}: a scan's score is that of the whole volume"
        )


def _scans(cache: ImageCache, positions: np.ndarray) -> Iterator[np.ndarray]:
    """Positions of each scan, scans in order of first appearance, slices in the order given."""
    codes, names = pd.factorize(cache.rows["sample_id"].iloc[positions])
    order = np.argsort(codes, kind="stable")
    yield from np.split(positions[order], np.searchsorted(codes[order], np.arange(1, len(names))))
