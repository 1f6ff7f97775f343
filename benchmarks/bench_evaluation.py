"""Evaluation: what scoring 36 conditions with ten networks costs beyond corrupting once and the bare forward passes.

``python -m benchmarks evaluation`` runs both cases, ``python -m benchmarks evaluation:ct`` one of them. Two arms x 5
seeds of random weights (what an output says does not change its time) see clean images and seven corruptions at five
severities. The engine reads images from a file, corrupts, normalises, runs the networks, keeps features, counts voxels
or takes probabilities, and lays out the tables. The bound corrupts images that lie ready in memory, once for all
networks, and calls the networks under `torch.inference_mode`. The two take turns corruption by corruption, in one
process on one thread; the ratio is that of the sums of medians over the repeats. Seconds are the processor's own, which
other work on the machine does not change.

- xray: 32 radiographs of 48 x 48, CBR-Small;
- ct: a scan of 24 slices of 48 x 48 in twice the resolution, U-Net with 16 base filters, 20 structures. Distances
  between surfaces are a pass of their own; its time, for a label against itself moved by a pixel, stands in brackets.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

NAME = "evaluation"
GOAL = 1.15
ARMS, SEEDS = ("scratch", "jigsaw"), range(5)
SIDE = 48
XRAYS, SCANS, SLICES = 32, 1, 24
STRUCTURES = {f"structure_{k}": ([k], [k]) for k in range(1, 21)}
STRENGTHS = {severity: severity / 10 for severity in range(1, 6)}  # share of each corruption's range
REPEATS = 3
NORMALISE = (0.5, 0.25)


@dataclass
class _Images:
    """An image cache on the disk, as evaluation reads it."""

    images: np.ndarray
    masks: np.ndarray | None
    rows: pd.DataFrame
    truth: dict[str, Any] = field(default_factory=dict)

    def scan_truth(self, sample_id: str) -> Any:
        return self.truth.get(sample_id)


def run(*chosen: str) -> list[dict[str, Any]]:
    """Measure the chosen cases, or all: list of name, measured (ratio), goal, met.

    Raises
    ------
    ValueError
        A case is not known.
    """
    import torch

    unknown = [name for name in chosen if name not in CASES]
    if unknown:
        raise ValueError(f"unknown case {', '.join(unknown)}: expected one of {', '.join(CASES)}")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            return [CASES[name](Path(folder)) for name in chosen or CASES]
    finally:
        torch.set_num_threads(threads)


def _xray(folder: Path) -> dict[str, Any]:
    from ssrobust_lib.evaluation.engine import evaluate_classification

    cache = _Images(_stored(folder / "xrays.npy", XRAYS), None, _rows(np.arange(XRAYS), np.zeros(XRAYS, int)))
    return _case("X-ray, CBR-Small", evaluate_classification, cache, "cbr_small", 1, {})


def _ct(folder: Path) -> dict[str, Any]:
    from ssrobust_lib.evaluation.engine import evaluate_segmentation
    from ssrobust_lib.preprocessing import Grid
    from ssrobust_lib.scan_voxels import labels_by_cell

    n = SCANS * SLICES
    rows = _rows(np.repeat(np.arange(SCANS), SLICES), np.tile(np.arange(SLICES), SCANS))
    cache = _Images(_stored(folder / "slices.npy", n), _blobs(n), rows)
    doubled = (2 * SLICES, 2 * SIDE, 2 * SIDE)
    grid = Grid((0.5, 0.5, 0.5), (2.0, 2.0, 2.0), doubled, (SLICES, SIDE, SIDE), (25.0, 8.0, 8.0))
    for scan, masks in enumerate(np.split(cache.masks, SCANS)):
        fine = masks.repeat(2, 0).repeat(2, 1).repeat(2, 2)
        cache.truth[f"sample{scan}"] = (labels_by_cell(fine, grid), grid)
    row = _case("CT, U-Net base 16", evaluate_segmentation, cache, "unet", 21, {"base_filters": 16})
    each = _surface_seconds(cache.masks[:SLICES], grid.spacing_mm) / len(STRUCTURES)
    return {**row, "name": f"{row['name']} [{1000 * each:.1f} ms a surface]", "surface_seconds": each}


def _case(
    name: str, evaluate: Callable[..., Any], cache: _Images, network: str, n_outputs: int, options: dict[str, int]
) -> dict[str, Any]:
    """Ratio of the engine to the bound on one kind of images."""
    from ssrobust_lib.corruptions import CORRUPTIONS
    from ssrobust_lib.evaluation.feature_distances import CleanFeatures
    from ssrobust_lib.evaluation.inference import CLEAN
    from ssrobust_lib.networks import build_network
    from ssrobust_lib.seeds import torch_rng

    networks = {
        (arm, seed): build_network(network, n_outputs, torch_rng(arm, seed), **options)
        for arm in ARMS
        for seed in SEEDS
    }
    width = next(iter(networks.values())).get_submodule("encoder").out_channels
    n = len(cache.rows)
    features = np.zeros((len(networks), n, int(width)), np.float32)  # type: ignore[arg-type]
    batch_size = XRAYS if n_outputs == 1 else SLICES  # a scan's batches end with it
    more: dict[str, Any] = {} if n_outputs == 1 else {"structures": STRUCTURES}
    spent: dict[str, tuple[list[float], list[float]]] = {}
    for repeat in range(REPEATS + 1):
        for corruption in [CLEAN, *CORRUPTIONS][: None if repeat else 2]:  # the first time warms up
            strengths = {0: 0.0}
            moved: dict[str, Any] = {"keep_features": features}
            if corruption != CLEAN:
                strengths = {s: share * CORRUPTIONS[corruption].strongest for s, share in STRENGTHS.items()}
                moved = {"clean_features": CleanFeatures(features, np.ones(len(networks)))}
            given: dict[str, Any] = {"corruption": corruption, "strengths": strengths, "study_seed": 0}
            engine = _seconds(
                lambda given=given, moved=moved: evaluate(
                    networks, cache, np.arange(n), NORMALISE, batch_size=batch_size, **given, **moved, **more
                )
            )
            bound = _seconds(lambda given=given: _bare(networks, cache, batch_size, n_outputs > 1, **given))
            if repeat:
                found = spent.setdefault(corruption, ([], []))
                found[0].append(engine)
                found[1].append(bound)
    engine, bound = (sum(statistics.median(times[k]) for times in spent.values()) for k in (0, 1))
    passes = n * len(networks) * (1 + 5 * len(CORRUPTIONS))
    return {
        "name": f"engine / bound: {name}",
        "measured": f"{engine / bound:.3f}",
        "goal": f"<= {GOAL:.2f}",
        "met": engine / bound <= GOAL,
        "images_per_second": round(passes / engine, 1),
    }


def _bare(
    networks: Any, cache: _Images, batch_size: int, by_slice: bool, *, corruption: str, strengths: Any, study_seed: int
) -> None:
    """One corruption pass over images that lie in memory, and the forward passes."""
    import torch

    from ssrobust_lib.corruptions import corrupt, sample_keys
    from ssrobust_lib.evaluation.inference import CLEAN

    ready = _in_memory(cache)
    with torch.inference_mode():
        for network in networks.values():
            network.to(memory_format=torch.channels_last).eval()
        for severity, strength in strengths.items():
            for first in range(0, len(ready), batch_size):
                images, rows = ready[first : first + batch_size], cache.rows.iloc[first : first + batch_size]
                if corruption != CLEAN:
                    slices = rows["slice"].to_numpy(np.int64) if by_slice else None
                    keys = sample_keys(study_seed, rows["sample_id"].tolist(), corruption, severity, slices=slices)
                    images = corrupt(corruption, images, strength, keys)
                images = images.contiguous(memory_format=torch.channels_last)
                for network in networks.values():
                    network(images)


_READY: dict[int, Any] = {}


def _in_memory(cache: _Images) -> Any:
    """The images as float32 (n, 1, H, W), converted at the first call."""
    import torch

    if id(cache) not in _READY:
        _READY[id(cache)] = torch.from_numpy(np.asarray(cache.images, np.float32))[:, None]
    return _READY[id(cache)]


def _seconds(work: Callable[[], Any]) -> float:
    """Seconds of the processor that some work takes."""
    started = time.process_time()
    work()
    return time.process_time() - started


def _surface_seconds(labels: np.ndarray, spacing_mm: tuple[float, float, float]) -> float:
    """Seconds to compare all structures of a scan with themselves moved by a pixel, median."""
    from ssrobust_lib.evaluation.surface_distances import surface_scores, surfaces_of

    members = [classes for classes, _ in STRUCTURES.values()]
    moved, known = np.roll(labels, 1, axis=2), surfaces_of(labels, members, spacing_mm)
    return statistics.median(
        _seconds(lambda: surface_scores(surfaces_of(moved, members, spacing_mm), known, 8.0)) for _ in range(9)
    )


def _stored(path: Path, n: int) -> np.ndarray:
    """Smooth images float16 (n, SIDE, SIDE) in [0, 1] on the disk, mapped into memory."""
    from scipy.ndimage import gaussian_filter

    from ssrobust_lib.seeds import rng

    images = gaussian_filter(rng("evaluation benchmark", n).random((n, SIDE, SIDE)), (0, 2, 2))
    np.save(path, (images / images.max()).astype(np.float16))
    return np.load(path, mmap_mode="r")


def _blobs(n: int) -> np.ndarray:
    """Label maps uint8 (n, SIDE, SIDE) in which each scan holds every structure as a box of its own."""
    masks = np.zeros((n, SIDE, SIDE), np.uint8)
    for k in range(len(STRUCTURES)):
        row, column = 2 + 11 * (k // 5), 2 + 9 * (k % 5)
        for scan in range(n // SLICES):
            masks[scan * SLICES + 4 : scan * SLICES + 20, row : row + 8, column : column + 7] = k + 1
    return masks


def _rows(samples: np.ndarray, slices: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "sample_id": [f"sample{k}" for k in samples],
            "patient_id": [f"patient{k}" for k in samples],
            "set": "benchmark",
            "split": "test",
            "label": pd.array(samples % 2, dtype="Int8"),
            "slice": slices,
        }
    )


CASES: dict[str, Callable[[Path], dict[str, Any]]] = {"xray": _xray, "ct": _ct}
