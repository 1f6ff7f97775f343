"""Curve cells: how networks trained on other numbers of images do on the task's test images under one corruption."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ssrobust_lib import store
from ssrobust_lib.cells import trained
from ssrobust_lib.cells.data import labelled_ids
from ssrobust_lib.cells.pieces import KeptPieces
from ssrobust_lib.control_arms import LABELS
from ssrobust_lib.curve_cells import CurvePoint, curve_points
from ssrobust_lib.devices import set_threads
from ssrobust_lib.evaluation.condition_scores import scores_table
from ssrobust_lib.evaluation.engine import evaluate_classification, evaluate_segmentation
from ssrobust_lib.evaluation.inference import CLEAN
from ssrobust_lib.progress import progress

if TYPE_CHECKING:
    from ssrobust_lib.study import Cell, Study

METRICS = {"pneumonia": ("accuracy", "auroc"), "organs": ("dice",)}


def compute(study: "Study", cell: "Cell", folder: Path) -> None:
    """Write ``scores.parquet``: one row per point of a curve, metric and severity.

    Columns: task, axis, init, seed, amount (as the profile says it), n_images (labelled X-rays or scans; on the axis
    `pool`, images that the pretext task learned from), corruption, severity, metric, value, n (units of the test set).
    A network that stands on both curves, or at several points, is scored once.
    """
    profile, task, corruption = study.profile, cell.of["task"], cell.of["corruption"]
    set_threads(profile.threads)
    points = curve_points(study, task)
    cells = {point.network.id: point.network for point in points}
    networks = {(name, c.of["seed"]): trained.load_network(study, c) for name, c in cells.items()}
    if corruption == CLEAN:
        strengths = {0: 0.0}
    else:
        found = trained.strengths_of(study, task, corruption)
        strengths = {severity: found[severity] for severity in cell.settings["severities"]}
    cache: Any = trained.open_images(study, task)
    chosen = trained.positions(cache, split="test", data_set=profile.data[task].label)
    pieces = KeptPieces(folder)
    with progress(cell.id, len(chosen) * len(strengths), study.folder) as shown:
        options: dict[str, Any] = {
            "corruption": corruption,
            "strengths": strengths,
            "study_seed": profile.study_seed,
            "batch_size": profile.evaluation.batch_size,
            "device": "auto",
            "pieces": pieces,
            "progress": shown,
        }
        if task == "organs":
            options["structures"] = trained.own_structures(study, task)
        evaluate: Any = evaluate_classification if task == "pneumonia" else evaluate_segmentation
        normalise = tuple(trained.constants(study, task)["normalise"])
        predictions = evaluate(networks, cache, chosen, normalise, **options).predictions
    scores = scores_table([predictions])
    scores = scores[scores["metric"].isin(METRICS[task]) & (scores["structure"] == "")]
    about = _points_table(study, task, points)
    same = ["corruption", "severity", "metric", "value", "n"]
    table = about.merge(scores[["init", "seed", *same]], on=["init", "seed"], validate="many_to_many")
    columns = ["task", "axis", "arm", "seed", "amount", "n_images", *same]
    store.write_table(folder / "scores.parquet", table[columns].rename(columns={"arm": "init"}))
    pieces.forget()


def _points_table(study: "Study", task: str, points: list[CurvePoint]) -> pd.DataFrame:
    """One row per point: task, axis, arm, seed, amount, n_images, and as `init` the cell of its network."""
    samples = study.table(trained.data_cell(study, task), "samples")
    rows = []
    for point in points:
        if point.axis == LABELS:
            n = len(labelled_ids(study.profile, task, samples, point.seed, point.amount))
        else:
            n = 0 if point.pretext is None else int(study.table(point.pretext, "accuracy")["n_train"].iloc[0])
        rows.append((task, point.axis, point.arm, point.seed, str(point.amount), n, point.network.id))
    table = pd.DataFrame(rows, columns=["task", "axis", "arm", "seed", "amount", "n_images", "init"])
    return table.astype({"n_images": np.int64})
