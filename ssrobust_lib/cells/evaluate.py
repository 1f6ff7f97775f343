"""Evaluation cells: all networks of a task on one set under one corruption (paper, sections 3.2, 3.3 and 3.4)."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssrobust_lib import store
from ssrobust_lib.cells import trained
from ssrobust_lib.devices import set_threads
from ssrobust_lib.evaluation import CLEAN, evaluate_classification, evaluate_segmentation
from ssrobust_lib.progress import progress

if TYPE_CHECKING:
    from ssrobust_lib.study import Cell, Study


def compute(study: "Study", cell: "Cell", folder: Path) -> None:
    """Write ``predictions.parquet``: one row per network, severity and image (or scan and structure)."""
    profile, task, label = study.profile, cell.of["task"], cell.of["set"]
    set_threads(profile.threads)
    corruption = cell.of.get("corruption", CLEAN)
    strengths = {0: 0.0} if corruption == CLEAN else trained.strengths_of(study, task, corruption)
    cache: Any = trained.open_images(study, task)
    own = label == profile.data[task].label
    chosen = trained.positions(cache, split="test" if own else "external", data_set=label)
    networks = trained.load_networks(study, task)
    normalise = tuple(trained.constants(study, task)["normalise"])
    with progress(cell.id, len(chosen) * len(strengths), study.folder) as shown:
        options: dict[str, Any] = {
            "corruption": corruption,
            "strengths": strengths,
            "study_seed": profile.study_seed,
            "batch_size": profile.evaluation.batch_size,
            "device": "auto",
            "progress": shown,
        }
        if task == "pneumonia":
            predictions = evaluate_classification(networks, cache, chosen, normalise, **options)
        else:
            structures = trained.own_structures(study, task) if own else trained.external_structures(study, task, label)
            predictions = evaluate_segmentation(networks, cache, chosen, normalise, structures=structures, **options)
    store.write_table(folder / "predictions.parquet", predictions)
