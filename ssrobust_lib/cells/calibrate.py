"""Calibration cells: five severities per corruption on validation images, by the paper's rule (section 3.3).

What a cell leaves: ``severities.parquet``, one row per corruption and severity; ``search.parquet``, every score of each
network that was measured; ``calibration.json``, the severities with their provenance, for another study to take over.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ssrobust_lib import store
from ssrobust_lib.cells import trained
from ssrobust_lib.config import REFERENCE_ARM
from ssrobust_lib.devices import set_threads
from ssrobust_lib.evaluation.calibration_scores import classification_score, segmentation_score
from ssrobust_lib.progress import progress
from ssrobust_lib.seeds import rng
from ssrobust_lib.severities.calibration import CALIBRATION, Calibration, calibrate, measure_given, reference_score
from ssrobust_lib.severities.crossing import Closeness
from ssrobust_lib.severities.files import FILE, FORMAT, given_strengths, measured_strengths

if TYPE_CHECKING:
    from ssrobust_lib.study import Cell, Study

Scores = dict[tuple[str, int], float]

_MEASURED = "measured.json"  # what a cell in the making has measured so far
_ROWS_AT_ONCE = 256


def compute(study: "Study", cell: "Cell", folder: Path) -> None:
    """Calibrate every corruption of a task, or measure the scores at strengths that come from elsewhere."""
    profile, task, rule = study.profile, cell.of["task"], study.profile.calibration
    set_threads(profile.threads)
    cache: Any = trained.open_images(study, task)
    chosen = calibration_images(study, cache, task)
    given = given_strengths(profile, task)
    measured = _Measured(folder / _MEASURED, _scorer(study, cache, chosen, task))
    resolution = 1 / len(chosen) if task == "pneumonia" else 0.0
    each = measured_strengths(rule, task)
    found: list[Calibration] = []
    with progress(cell.id, len(profile.corruptions) * each, study.folder) as shown:
        for k, corruption in enumerate(profile.corruptions):

            def score_at(strength: float, corruption: str = corruption, first: int = k * each) -> float:
                shown(min(shown.done + 1, first + each), text=corruption)
                return reference_score(measured(corruption, strength), rule.reference)

            options: dict[str, Any] = {"clean_score": found[0].clean_score if found else None, "floor": rule.floor}
            if given is not None:
                strengths = given.strengths[corruption]
                found.append(measure_given(score_at, corruption, strengths, given.source, **options))
            else:
                close = Closeness(**rule.closeness.model_dump())
                options |= {"steps": rule.steps, "closeness": close, "resolution": resolution}
                found.append(calibrate(score_at, corruption, **options))
            shown((k + 1) * each)
    severities = [{"task": task, **row} for one in found for row in one.rows]
    store.write_table(folder / "severities.parquet", pd.DataFrame(severities))
    store.write_table(folder / "search.parquet", _search_table(task, found, measured))
    store.write_json(folder / FILE, _artefact(study, cell, found, cache, chosen))
    measured.forget()


class _Measured:
    """Scores of every network by corruption and strength, kept in a file: a killed search measures nothing twice."""

    def __init__(self, path: Path, score: Callable[[str, float], Scores]) -> None:
        self._path, self._score = path, score
        kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
        self._known = {(c, s): {(init, seed): v for init, seed, v in scores} for c, s, scores in kept}

    def __call__(self, corruption: str, strength: float) -> Scores:
        place = (corruption if strength else "", strength)  # clean images are the same under every corruption
        if place not in self._known:
            self._known[place] = self._score(corruption, strength)
            lines = [(*p, [(*name, v) for name, v in scores.items()]) for p, scores in self._known.items()]
            store.write_json(self._path, lines)
        return self._known[place]

    def forget(self) -> None:
        """Remove the file: the cell is finished."""
        self._path.unlink(missing_ok=True)


def _scorer(study: "Study", cache: Any, chosen: np.ndarray, task: str) -> Callable[[str, float], Scores]:
    """Return the function that scores every network on the validation images at a strength."""
    profile = study.profile
    networks = trained.load_networks(study, task, _arms(study))
    normalise = tuple(trained.constants(study, task)["normalise"])
    options: dict[str, Any] = {
        "study_seed": profile.study_seed,
        "batch_size": profile.evaluation.batch_size,
        "device": "auto",
    }
    if task == "organs":
        options["structures"] = trained.own_structures(study, task)
    score: Any = classification_score if task == "pneumonia" else segmentation_score
    return lambda corruption, strength: score(
        networks, cache, chosen, normalise, corruption=corruption, strength=strength, **options
    )


def _arms(study: "Study") -> list[str]:
    """Arms that are scored: neither the repetition of normal training nor control arms, which choose no severity."""
    return study.profile.main_arms


def _search_table(task: str, found: list[Calibration], measured: _Measured) -> pd.DataFrame:
    """Every score by corruption, strength and network, clean included under each corruption."""
    rows = [
        (task, one.corruption, strength, init, seed, score)
        for one in found
        for strength, _ in one.evaluations
        for (init, seed), score in measured(one.corruption, strength).items()
    ]
    return pd.DataFrame(rows, columns=["task", "corruption", "strength", "init", "seed", "score"])


def _artefact(study: "Study", cell: "Cell", found: list[Calibration], cache: Any, chosen: np.ndarray) -> dict[str, Any]:
    """Severities of a task with all that led to them; the same study gives the same bytes."""
    profile, task = study.profile, cell.of["task"]
    rule = cell.settings["calibration"]
    arms = [REFERENCE_ARM] if rule["reference"] == "scratch" else _arms(study)
    data, rows = profile.data[task], cache.rows.iloc[chosen]
    provenance = store.provenance()
    return {
        "format": FORMAT,
        "task": task,
        "corruptions": {one.corruption: _levels(one) for one in found},
        "rule": {name: value for name, value in rule.items() if name != "images"},
        "score": "accuracy" if task == "pneumonia" else "mean over scans of the mean Dice of their structures",
        "networks": [
            {"init": c.of["init"], "seed": c.of["seed"], "cell": c.id}
            for c in study.cells("03_finetune", tasks=[task], arms=arms)
        ],
        "validation": {
            "set": data.label,
            "phantoms": data.set in profile.phantoms,
            "images": len(chosen),
            "samples": int(rows["sample_id"].nunique()),
            "patients": int(rows["patient_id"].nunique()),
            "sha256": content_of(cache, chosen),
        },
        "input": {"image_size": data.image_size, "pixel_mm": data.pixel_mm, "window_hu": data.window_hu},
        "random_key": {"study_seed": profile.study_seed, "severity": CALIBRATION},
        "made_with": {"profile": profile.name, "commit": provenance["commit"], **provenance["versions"]},
    }


def _levels(one: Calibration) -> dict[str, Any]:
    return {
        "unit": one.rows[0]["unit"],
        "strengths": [row["strength"] for row in one.rows],
        "scores": [row["score"] for row in one.rows],
        "clean_score": one.clean_score,
        "floor": one.floor,
        "reached_floor": one.reached_floor,
        "refused": one.refused,
        "reason": one.reason,
        "note": one.note,
        "measured": len(one.evaluations),
    }


def content_of(cache: Any, chosen: np.ndarray) -> str:
    """SHA-256 (hex) over names, labels, pixels and masks of some images of the cache, in their order."""
    digest = hashlib.sha256()
    named = cache.rows.iloc[chosen][["sample_id", "slice", "label"]].astype(str)
    digest.update(named.to_csv(index=False, lineterminator="\n").encode())
    for start in range(0, len(chosen), _ROWS_AT_ONCE):
        part = chosen[start : start + _ROWS_AT_ONCE]
        for stored in (cache.images, cache.masks):
            if stored is not None:
                digest.update(np.ascontiguousarray(stored[part]).data.cast("B"))
    return digest.hexdigest()


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
