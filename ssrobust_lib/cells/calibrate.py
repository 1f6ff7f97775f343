"""Calibration cells: five severities per corruption on validation images, by the paper's rule (section 3.3)."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ssrobust_lib import store
from ssrobust_lib.calibration import calibrate, weaker_arm_score
from ssrobust_lib.cells import trained
from ssrobust_lib.config import AA_ARM
from ssrobust_lib.devices import set_threads
from ssrobust_lib.evaluation import classification_score, segmentation_score
from ssrobust_lib.progress import progress
from ssrobust_lib.seeds import rng

if TYPE_CHECKING:
    from ssrobust_lib.study import Cell, Study


def compute(study: "Study", cell: "Cell", folder: Path) -> None:
    """Write ``severities.parquet`` (five strengths per corruption) and ``search.parquet`` (every score measured)."""
    profile, task = study.profile, cell.of["task"]
    set_threads(profile.threads)
    cache: Any = trained.open_images(study, task)
    chosen = calibration_images(study, cache, task)
    networks = trained.load_networks(study, task, [arm for arm in profile.arms if arm != AA_ARM])
    options: dict[str, Any] = {
        "study_seed": profile.study_seed,
        "batch_size": profile.evaluation.batch_size,
        "device": "auto",
    }
    if task == "organs":
        options["structures"] = trained.own_structures(study, task)
    score = classification_score if task == "pneumonia" else segmentation_score
    normalise = tuple(trained.constants(study, task)["normalise"])
    rule = profile.calibration
    total = len(profile.corruptions) * rule.max_evaluations
    severities, search, clean = [], [], None
    with progress(cell.id, total, study.folder) as shown:

        def measured(strength: float) -> float:
            scores = score(networks, cache, chosen, normalise, corruption=corruption, strength=strength, **options)
            shown(min(shown.done + 1, shown.total), text=corruption)
            return weaker_arm_score(scores)

        for k, corruption in enumerate(profile.corruptions):
            found = calibrate(
                measured,
                corruption,
                clean_score=clean,
                floor=rule.floor,
                max_evaluations=rule.max_evaluations,
            )
            clean = found.clean_score
            severities += [{"task": task, **row} for row in found.rows]
            search += [(task, corruption, strength, value) for strength, value in found.evaluations]
            shown((k + 1) * rule.max_evaluations)
    store.write_table(folder / "severities.parquet", pd.DataFrame(severities))
    store.write_table(
        folder / "search.parquet", pd.DataFrame(search, columns=["task", "corruption", "strength", "score"])
    )


def calibration_images(study: "Study", cache: "object", task: str) -> np.ndarray:
    """Validation images that calibrate a task: all, or as many as the profile says (whole scans for CT).

    Returns
    -------
    int64 (n,): rows of the cache, in order
    """
    rows = cache.rows  # type: ignore[attr-defined]
    chosen = trained.positions(cache, split="val")  # type: ignore[arg-type]
    limit = study.profile.calibration.images.get(task)
    if limit is None or limit >= len(chosen):
        return chosen
    generator = rng(study.profile.study_seed, "calibration images", task)
    if task == "pneumonia":
        return np.sort(generator.choice(chosen, limit, replace=False))
    scans = rows["sample_id"].to_numpy()[chosen]
    kept: list[np.ndarray] = []
    for scan in generator.permutation(np.unique(scans)):
        if sum(map(len, kept)) >= limit:
            break
        kept.append(chosen[scans == scan])
    return np.sort(np.concatenate(kept))
