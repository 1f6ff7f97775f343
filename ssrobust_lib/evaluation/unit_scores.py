"""Predictions to one score per unit: what enters a paired test (Tables 1, 2, 4 and Figs. 3, 4 of the paper).

Enters: prediction tables (one row per image, or per scan and structure). Leaves: `UnitScores`, a dense array over
initialisation, seed, condition and unit.

The units, which the paper does not state:
- accuracy: the patient; the share of that patient's images called correctly (RSNA has one image per patient);
- AUROC: the patient; pseudo-values (see `ssrobust_lib.statistics.auroc`), on uncorrupted images;
- Dice: the scan; the mean over the structures that the scan's reference holds. A structure that the reference lacks is
  left out for every arm alike, whatever the networks predict there, so that a pair always compares the same structures;
- missed: the scan; the share of its structures that the prediction does not touch at all;
- flipped: the scan; the share of a structure's labelled voxels that are given to another structure, mean over the
  scan's structures (section 3.3: labels flipped "between different structures");
- feature_distance: the patient or the scan; how far a corruption moves the encoder's features, mean over the unit's
  images (section 2, the paper's definition of robustness; `evaluation.feature_distances`). It is 0 on clean images.
The last two exist where the prediction tables hold them.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from ssrobust_lib.statistics.auroc import patient_pseudo_values
from ssrobust_lib.statistics.paired_tests import FloatArray

CLEAN = ("clean", 0)
DECISION_THRESHOLD = 0.5

#: Second readings of a structure that is there already (KiTS: the kidney with its tumour is the main one). They get
#: rows of their own and do not enter the mean over structures.
ALTERNATIVE_STRUCTURES = ("kidney_without_tumour",)

FEATURES = "feature_distance"
FLIPPED_VOXELS = "voxels_flipped"

#: Scopes in which a metric is compared, where not in all of them: a whole structure is rarely missed or taken for
#: another at one single severity, and features of clean images do not move.
COMPARED_SCOPES: Mapping[str, tuple[str, ...]] = {
    "missed": ("clean", "corruption"),
    "flipped": ("clean", "corruption"),
    FEATURES: ("corruption", "all corruptions"),
}

_KEYS = ("task", "init", "seed", "set", "corruption", "severity", "sample_id", "patient_id")
CLASSIFICATION_COLUMNS = (*_KEYS, "label", "score")
SEGMENTATION_COLUMNS = (*_KEYS, "structure", "dice", "voxels_label", "voxels_predicted", "voxels_overlap")


@dataclass(frozen=True)
class UnitScores:
    """Scores of every unit of one set by one metric.

    Attributes
    ----------
    metric : "accuracy", "auroc", "dice", "missed", "flipped" or "feature_distance".
    structure : name of one structure, or "" for all (the mean over them).
    unit : "patient" or "scan".
    inits, seeds, conditions, units : the axes of `values`; a condition is (corruption, severity).
    values : float64 (inits, seeds, conditions, units); NaN where nothing was predicted.
    strata : int64 (units,) or None; classes to resample within.
    note : why there are no values; empty otherwise.
    """

    task: str
    set: str
    metric: str
    structure: str
    unit: str
    inits: tuple[str, ...]
    seeds: tuple[int, ...]
    conditions: tuple[tuple[str, int], ...]
    units: tuple[str, ...]
    values: FloatArray = field(repr=False)
    strata: npt.NDArray[np.int64] | None = field(default=None, repr=False)
    note: str = ""


@dataclass(frozen=True)
class _Axes:
    inits: tuple[str, ...]
    seeds: tuple[int, ...]
    conditions: tuple[tuple[str, int], ...]
    codes: tuple[npt.NDArray[np.int64], ...]  # row -> (init, seed, condition)


def split_by_task(predictions: Iterable[pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Concatenate prediction tables task by task; a task's tables hold either `score` or `dice`.

    Raises
    ------
    ValueError : no rows at all, columns missing, a severity outside 0 to 5, or 'clean' with a severity other than 0.
    """
    by_task: dict[str, list[pd.DataFrame]] = {}
    for table in predictions:
        columns = CLASSIFICATION_COLUMNS if "score" in table.columns else SEGMENTATION_COLUMNS
        if missing := [column for column in columns if column not in table.columns]:
            raise ValueError(
                f"a prediction table lacks {', '.join(missing)}: expected the columns {', '.join(columns)}"
            )
        kept = [*columns, *(name for name in (FEATURES, FLIPPED_VOXELS) if name in table.columns)]
        for task, rows in table[kept].groupby("task", sort=False, observed=True):
            by_task.setdefault(str(task), []).append(rows)
    if not by_task:
        raise ValueError("expected at least one row of predictions, got none: run the evaluation notebooks first")
    merged = {}
    for task, tables in by_task.items():
        if len({"score" in table.columns for table in tables}) > 1:
            raise ValueError(
                f"task {task!r} has tables with `score` and tables with `dice`: expected one kind per task"
            )
        rows = pd.concat(tables, ignore_index=True)
        clean, severity = (rows["corruption"] == "clean").to_numpy(), rows["severity"].to_numpy()
        if not (((severity == 0) == clean) & (severity >= 0) & (severity <= 5)).all():
            raise ValueError(
                f"task {task!r}: expected severity 0 for 'clean' and 1 to 5 for a corruption, "
                f"got {sorted(set(zip(rows['corruption'], map(int, severity), strict=True)))}"
            )
        merged[task] = rows
    return merged


def _axes(rows: pd.DataFrame) -> _Axes:
    init, inits = pd.factorize(rows["init"], sort=True)
    seed, seeds = pd.factorize(rows["seed"], sort=True)
    corruption, corruptions = pd.factorize(rows["corruption"], sort=True)
    pair = corruption.astype(np.int64) * 6 + rows["severity"].to_numpy(np.int64)
    pairs, condition = np.unique(pair, return_inverse=True)
    conditions = tuple((str(corruptions[code // 6]), int(code % 6)) for code in pairs)
    return _Axes(
        tuple(map(str, inits)), tuple(int(s) for s in seeds), conditions, (init, seed, condition.astype(np.int64))
    )


def _shape(axes: _Axes) -> tuple[int, int, int]:
    return len(axes.inits), len(axes.seeds), len(axes.conditions)


def _cube(axes: _Axes, more_codes: tuple, more_names: tuple, values: npt.NDArray, where: str) -> FloatArray:
    """Lay rows out as an array (init, seed, condition, *more); a cell is there whole, or not at all.

    Raises
    ------
    ValueError : a row is there twice, or some network lacks samples that another one has under the same condition.
    """
    shape = (*_shape(axes), *(len(names) for names in more_names))
    flat = np.ravel_multi_index((*axes.codes, *more_codes), shape)
    if np.bincount(flat).max(initial=0) > 1:
        first = np.unravel_index(int(np.argmax(np.bincount(flat))), shape)
        names = (axes.inits, axes.seeds, axes.conditions, *more_names)
        place = ", ".join(str(names[axis][index]) for axis, index in enumerate(first))
        raise ValueError(f"{where}: more than one prediction for {place}; was a cell read twice?")
    cube = np.full(shape, np.nan)
    cube.reshape(-1)[flat] = values
    there = ~np.isnan(cube).reshape(*_shape(axes), -1)
    expected = there.any(axis=(0, 1), keepdims=True)  # per condition, over all networks
    broken = there.any(axis=-1) & (there != expected).any(axis=-1)
    if broken.any():
        i, s, c = np.argwhere(broken)[0]
        lost = np.flatnonzero(expected[0, 0, c] & ~there[i, s, c])
        first_lost = [str(more_names[0][np.unravel_index(k, shape[3:])[0]]) for k in lost[:3]]
        raise ValueError(
            f"{where}: {axes.inits[i]}, seed {axes.seeds[s]}, {axes.conditions[c]} lacks {len(lost)} predictions that "
            f"other networks have ({', '.join(first_lost)}{', ...' if len(lost) > 3 else ''}): pairs need the same "
            "samples; evaluate this cell again"
        )
    return cube


def _attribute_of(code: npt.NDArray, values: npt.NDArray, n: int, where: str, what: str) -> npt.NDArray:
    """Value of each sample given one per row; raises where rows of a sample disagree."""
    attribute = np.zeros(n, values.dtype)
    attribute[code] = values
    if (attribute[code] != values).any():
        raise ValueError(f"{where}: a sample has more than one {what}; sample_id must name one image only")
    return attribute


def classification_scores(rows: pd.DataFrame, threshold: float = DECISION_THRESHOLD) -> list[UnitScores]:
    """Accuracy under every condition and AUROC on clean images, per patient, for each set of one task.

    Parameters
    ----------
    rows : predictions of one task, as `split_by_task` gives them.
    threshold : an image is called positive at this score and above.
    """
    scores = []
    for name, part in rows.groupby("set", sort=True, observed=True):
        task, where = str(part["task"].iloc[0]), f"{part['task'].iloc[0]}, {name}"
        label, score = part["label"].to_numpy(np.int64), part["score"].to_numpy(np.float64)
        if not np.isfinite(score).all() or not np.isin(label, (0, 1)).all():
            raise ValueError(f"{where}: expected finite scores and labels 0 or 1; a network may have diverged")
        axes = _axes(part)
        image, images = pd.factorize(part["sample_id"], sort=True)
        patient_row, patients = pd.factorize(part["patient_id"], sort=True)
        cube = _cube(axes, (image,), (images,), score, where)  # (init, seed, condition, image)
        labels = _attribute_of(image, label, len(images), where, "label")
        patient = _attribute_of(image, patient_row, len(images), where, "patient")
        correct = np.where(np.isnan(cube), np.nan, (cube >= threshold) == (labels == 1))
        accuracy = UnitScores(
            task, str(name), "accuracy", "", "patient", axes.inits, axes.seeds, axes.conditions,
            tuple(map(str, patients)), _mean_by(correct, patient, len(patients)),
        )  # fmt: skip
        scores.append(accuracy)
        moved = _feature_cube(part, axes, (image,), (images,), where)
        if moved is not None:
            scores.append(replace(accuracy, metric=FEATURES, values=_mean_by(moved, patient, len(patients))))
        if CLEAN in axes.conditions:
            clean = cube[:, :, axes.conditions.index(CLEAN)]  # (init, seed, image)
            scores.append(_auroc_scores(accuracy, clean, labels, patient))
    return scores


def _feature_cube(rows: pd.DataFrame, axes: _Axes, codes: tuple, names: tuple, where: str) -> FloatArray | None:
    """Feature distances laid out like the scores, or None where the tables hold none under any corruption."""
    if FEATURES not in rows or not rows.loc[rows["severity"] > 0, FEATURES].notna().any():
        return None
    return _cube(axes, codes, names, rows[FEATURES].to_numpy(np.float64), where)


def _auroc_scores(accuracy: UnitScores, clean: FloatArray, labels: npt.NDArray, patient: npt.NDArray) -> UnitScores:
    """AUROC beside accuracy on the same patients; `clean` is (inits, seeds, images), labels and patient (images,)."""
    n_patients, note = len(accuracy.units), ""
    values = np.full((*clean.shape[:2], 1, n_patients), np.nan)
    for i, s in np.ndindex(*clean.shape[:2]):
        there = ~np.isnan(clean[i, s])
        if not there.any():
            continue
        if np.unique(labels[there]).size < 2:
            note = f"AUROC is undefined: every image has label {labels[there][0]}"
            continue
        values[i, s, 0] = patient_pseudo_values(clean[i, s, there], labels[there], patient[there], n_patients)
    strata = (np.bincount(patient, weights=labels, minlength=n_patients) > 0).astype(np.int64)
    return replace(accuracy, metric="auroc", conditions=(CLEAN,), values=values, strata=strata, note=note)


def _mean_by(cube: FloatArray, group: npt.NDArray, n_groups: int) -> FloatArray:
    """Mean over the last axis within groups, NaN left out; NaN where a group is empty."""
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(n_groups))
    there = ~np.isnan(cube[..., order])
    counts = np.add.reduceat(there, starts, axis=-1, dtype=np.float64)
    sums = np.add.reduceat(np.where(there, cube[..., order], 0.0), starts, axis=-1)
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)


def _mean_over_structures(cube: FloatArray) -> FloatArray:
    """(..., scan, structure) -> (..., scan), NaN left out; NaN where a scan has none of the structures."""
    there = ~np.isnan(cube)
    counts = there.sum(axis=-1)
    sums = np.where(there, cube, 0.0).sum(axis=-1)
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)


def segmentation_scores(rows: pd.DataFrame, alternatives: Collection[str] = ALTERNATIVE_STRUCTURES) -> list[UnitScores]:
    """Dice per scan (mean and per structure) and the share of structures missed, for each set of one task.

    Parameters
    ----------
    rows : predictions of one task, as `split_by_task` gives them.
    alternatives : structures that stay out of the mean (other readings of one that is in it).

    Returns
    -------
    For each set: "dice" and "missed" over all structures; "dice" and "missed" of each alternative; "dice" of each
    structure where there are several; "flipped" and "feature_distance" where the tables hold them.
    """
    scores = []
    for name, part in rows.groupby("set", sort=True, observed=True):
        where = f"{part['task'].iloc[0]}, {name}"
        part = part[part["voxels_label"].to_numpy() > 0]
        if part.empty:
            raise ValueError(f"{where}: no scan's reference holds any structure; check the set's label mapping")
        dice = part["dice"].to_numpy(np.float64)
        if not np.isfinite(dice).all():
            raise ValueError(f"{where}: Dice is not finite although the reference holds the structure")
        axes = _axes(part)
        scan, scans = pd.factorize(part["sample_id"], sort=True)
        structure, structures = pd.factorize(part["structure"], sort=True)
        codes, names = (scan, structure), (scans, structures)
        dice_cube = _cube(axes, codes, names, dice, where)  # (init, seed, condition, scan, structure)
        missed = (part["voxels_overlap"].to_numpy() == 0).astype(np.float64)
        missed_cube = _cube(axes, codes, names, missed, where)
        template = UnitScores(
            str(part["task"].iloc[0]), str(name), "dice", "", "scan", axes.inits, axes.seeds, axes.conditions,
            tuple(map(str, scans)), dice_cube[..., 0],
        )  # fmt: skip
        main = [k for k, s in enumerate(structures) if s not in alternatives] or list(range(len(structures)))
        for metric, cube in (("dice", dice_cube), ("missed", missed_cube)):
            scores.append(replace(template, metric=metric, values=_mean_over_structures(cube[..., main])))
            for k, structure_name in enumerate(structures):
                other_reading = k not in main
                if other_reading or (metric == "dice" and len(main) > 1):
                    values = cube[..., k]
                    scores.append(replace(template, metric=metric, structure=str(structure_name), values=values))
        if FLIPPED_VOXELS in part and part[FLIPPED_VOXELS].notna().any():
            shares = part[FLIPPED_VOXELS].to_numpy(np.float64) / part["voxels_label"].to_numpy(np.float64)
            flipped = _cube(axes, codes, names, shares, where)
            scores.append(replace(template, metric="flipped", values=_mean_over_structures(flipped[..., main])))
        moved = _feature_cube(part, axes, codes, names, where)
        if moved is not None:  # the same in every structure's row of a scan
            scores.append(replace(template, metric=FEATURES, values=_mean_over_structures(moved)))
    return scores


def unit_scores(
    predictions: Iterable[pd.DataFrame], alternatives: Collection[str] = ALTERNATIVE_STRUCTURES
) -> list[UnitScores]:
    """All unit scores of all tasks and sets in the prediction tables (see the two functions above)."""
    scores: list[UnitScores] = []
    for rows in split_by_task(predictions).values():
        kind = classification_scores(rows) if "score" in rows else segmentation_scores(rows, alternatives)
        scores.extend(kind)
    return scores


def home_sets(scores: Iterable[UnitScores], home: dict[str, str] | None = None) -> dict[str, str]:
    """The set on which each task was trained and tested; every other one counts as another centre's.

    Stated in `home`, or recognised: the only set, or the only one that was evaluated under corruption.

    Raises
    ------
    ValueError : neither stated nor recognisable, or the stated one was not evaluated.
    """
    found: dict[str, dict[str, bool]] = {}
    for score in scores:
        corrupted = any(condition != CLEAN for condition in score.conditions)
        sets = found.setdefault(score.task, {})
        sets[score.set] = sets.get(score.set, False) or corrupted
    result = {}
    for task, sets in found.items():
        candidates = [home[task]] if home and task in home else list(sets)
        if len(candidates) > 1:
            candidates = [name for name, corrupted in sets.items() if corrupted]
        if len(candidates) != 1 or candidates[0] not in sets:
            raise ValueError(
                f"task {task!r}: cannot tell which of the sets {', '.join(sets)} is the one trained on "
                f"(got {candidates}); state it as home={{{task!r}: '<set>'}}"
            )
        result[task] = candidates[0]
    return result
