"""Evaluation cells: all networks of a task on one set under one corruption (paper, sections 3.2, 3.3 and 3.4)."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ssrobust_lib import store
from ssrobust_lib.cells import trained
from ssrobust_lib.cells.pieces import KeptPieces
from ssrobust_lib.devices import set_threads
from ssrobust_lib.evaluation.engine import evaluate_classification, evaluate_segmentation
from ssrobust_lib.evaluation.feature_distances import CleanFeatures, mean_distance
from ssrobust_lib.evaluation.inference import CLEAN
from ssrobust_lib.evaluation.surface_distances import SurfaceSettings
from ssrobust_lib.progress import progress

if TYPE_CHECKING:
    from ssrobust_lib.evaluation.inference import Networks
    from ssrobust_lib.study import Cell, Study

FEATURES = "features.npy"


def compute(study: "Study", cell: "Cell", folder: Path) -> None:
    """Write what the networks say of every image, and how it was measured.

    - ``predictions.parquet``: see `ssrobust_lib.evaluation.predictions`;
    - ``evaluation.json``: device, precision with the reason for it, seconds spent on surface distances;
    - of the clean images of the task's own set, ``features.npy`` float32 (networks, images, C) and
      ``feature_scales.parquet``: one row per network, in that order, with the mean distance between images of
      different patients. The cells of the corruptions measure with these how far features move.

    A killed cell goes on behind the pieces that it had kept aside.
    """
    profile, task, label = study.profile, cell.of["task"], cell.of["set"]
    set_threads(profile.threads)
    corruption = cell.of.get("corruption", CLEAN)
    strengths = {0: 0.0} if corruption == CLEAN else trained.strengths_of(study, task, corruption)
    cache: Any = trained.open_images(study, task)
    own = label == profile.data[task].label
    chosen = trained.positions(cache, split="test" if own else "external", data_set=label)
    networks = trained.load_networks(study, task)
    normalise = tuple(trained.constants(study, task)["normalise"])
    kept = _feature_file(folder, networks, len(chosen)) if own and corruption == CLEAN else None
    pieces = KeptPieces(folder)
    with progress(cell.id, len(chosen) * len(strengths), study.folder) as shown:
        options: dict[str, Any] = {
            "corruption": corruption,
            "strengths": strengths,
            "study_seed": profile.study_seed,
            "batch_size": profile.evaluation.batch_size,
            "device": "auto",
            "precision": profile.evaluation.precision,
            "largest_change": profile.evaluation.largest_change,
            "clean_features": None if corruption == CLEAN else _clean_features(study, task),
            "keep_features": kept,
            "pieces": pieces,
            "progress": shown,
        }
        if task == "pneumonia":
            found = evaluate_classification(networks, cache, chosen, normalise, **options)
        else:
            structures = trained.own_structures(study, task) if own else trained.external_structures(study, task, label)
            surfaces = SurfaceSettings(**profile.evaluation.surface.model_dump())
            options |= {"structures": structures, "surfaces": surfaces}
            found = evaluate_segmentation(networks, cache, chosen, normalise, **options)
    store.write_table(folder / "predictions.parquet", found.predictions)
    if kept is not None:
        kept.flush()
        patients = pd.factorize(cache.rows["patient_id"].iloc[chosen])[0]
        store.write_table(folder / "feature_scales.parquet", _scales(task, networks, kept, patients))
    about = {
        "device": str(found.device),
        "precision": {**asdict(found.precision), "share": found.precision.share},
        "seconds": {"surface_distances": round(found.surface_seconds, 2)},
        "networks": len(networks),
        "images": len(chosen),
    }
    store.write_json(folder / "evaluation.json", about)
    pieces.forget()


def _feature_file(folder: Path, networks: "Networks", n_images: int) -> Any:
    """A file for the features of every network and image, to be filled."""
    width = next(iter(networks.values())).get_submodule("encoder").out_channels
    return store.array_file(folder / FEATURES, (len(networks), n_images, int(width)), "<f4")  # type: ignore[arg-type]


def _scales(task: str, networks: "Networks", features: np.ndarray, patients: np.ndarray) -> pd.DataFrame:
    measured = [mean_distance(values, patients) for values in features]
    return pd.DataFrame(
        {
            "task": task,
            "init": [init for init, _ in networks],
            "seed": [seed for _, seed in networks],
            "scale": [mean for mean, _ in measured],
            "n_pairs": [pairs for _, pairs in measured],
        }
    )


def _clean_features(study: "Study", task: str) -> CleanFeatures:
    """Features of the task's own clean test images, as their cell stored them."""
    clean = study.cells("04_clean_eval", tasks=[task])[0]
    scales = study.table(clean, "feature_scales")["scale"].to_numpy(np.float64)
    return CleanFeatures(store.map_array(study.folder_of(clean) / FEATURES), scales)
