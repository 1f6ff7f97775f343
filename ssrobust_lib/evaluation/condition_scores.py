"""Every metric of every network under every condition, with its drop from clean images (paper, sections 3.2 to 3.4).

Enters: prediction tables (`ssrobust_lib.evaluation.predictions`). Leaves: one long table, a row per task, set, network,
corruption, severity, metric and structure. Absolute scores and drops stand in the same row: an arm that falls less may
still be the worse one.

What is averaged over what:

- accuracy, Brier score and the feature distances are means over patients of the mean over a patient's images, so that
  accuracy is the one of the paper's Table 1 and of the paired tests;
- AUROC, average precision, balanced accuracy and ECE are of all images;
- metrics of structures are means over the scans whose label holds the structure; with `structure` empty, means over
  scans of the mean over a scan's structures. A value that is undefined on one scan (HD95 of a missed structure) is left
  out of the mean; `n` says how many scans entered, and `hd95_undefined` which share of the structures has none.
"""

from collections.abc import Callable, Collection, Iterable, Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from ssrobust_lib.evaluation.metrics import CLASSIFICATION_METRICS, LOWER_IS_BETTER, correct
from ssrobust_lib.evaluation.predictions import CLASSIFICATION_COLUMNS, FEATURE_COLUMNS, SEGMENTATION_COLUMNS
from ssrobust_lib.evaluation.unit_scores import ALTERNATIVE_STRUCTURES

_NETWORK = ("init", "seed")
_CONDITION = ("corruption", "severity")
COLUMNS = (
    "task", "set", "metric", "structure", "corruption", "severity", "init", "seed", "value", "clean", "drop", "n",
    "unit",
)  # fmt: skip

FloatArray = npt.NDArray[np.float64]


def scores_table(
    predictions: Iterable[pd.DataFrame], *, alternatives: Collection[str] = ALTERNATIVE_STRUCTURES
) -> pd.DataFrame:
    """Score every network under every condition by every metric.

    Parameters
    ----------
    predictions : tables with the columns of `ssrobust_lib.evaluation.predictions`, in any order and number.
    alternatives : structures that stay out of the mean over structures.

    Returns
    -------
    DataFrame with `COLUMNS`: `value`; `clean`, the same network's value on clean images of the set (NaN where these
    were not evaluated); `drop`, how much worse than clean the value is, positive where it is worse, whatever the
    metric's direction; `n` units that entered, `unit` (image, patient or scan). What was not measured (surfaces of a
    severity, features without their clean ones) has no row; what is undefined is NaN.

    Raises
    ------
    ValueError
        No predictions, columns missing, or a sample twice under one condition of one network.
    """
    found: list[pd.DataFrame] = []
    by_set: dict[tuple[str, str], list[pd.DataFrame]] = {}
    for table in predictions:
        columns = CLASSIFICATION_COLUMNS if "score" in table else SEGMENTATION_COLUMNS
        if missing := [column for column in columns if column not in table]:
            raise ValueError(f"a prediction table lacks {', '.join(missing)}: expected {', '.join(columns)}")
        for key, rows in table.groupby(["task", "set"], sort=False, observed=True):
            by_set.setdefault((str(key[0]), str(key[1])), []).append(rows)
    if not by_set:
        raise ValueError("expected at least one row of predictions, got none: run the evaluation notebooks first")
    for (task, name), parts in by_set.items():
        rows = pd.concat(parts, ignore_index=True)
        scored = _classification(rows) if "score" in rows else _segmentation(rows, alternatives)
        found.append(scored.assign(task=task, set=name))
    return _with_drop(pd.concat(found, ignore_index=True))


def _with_drop(scores: pd.DataFrame) -> pd.DataFrame:
    """Add the clean value and the drop to rows of one value each."""
    same = ["task", "set", "metric", "structure", *_NETWORK]
    clean = scores.loc[scores["severity"] == 0, [*same, "value"]].rename(columns={"value": "clean"})
    table = scores.merge(clean, how="left", on=same, validate="many_to_one")
    direction = np.where(table["metric"].isin(LOWER_IS_BETTER), -1.0, 1.0)
    return table.assign(drop=direction * (table["clean"] - table["value"]))[list(COLUMNS)]


def _groups(rows: pd.DataFrame) -> tuple[npt.NDArray[np.int64], pd.DataFrame]:
    """Number the networks' conditions: int (rows,), and one row per group with init, seed, corruption, severity."""
    keys = [*_NETWORK, *_CONDITION]
    codes = [pd.factorize(rows[key])[0] for key in keys]
    shape = [int(code.max()) + 1 for code in codes]
    _, first, group = np.unique(np.ravel_multi_index(codes, shape), return_index=True, return_inverse=True)
    return group.astype(np.int64), rows[keys].iloc[first].reset_index(drop=True)


def _classification(rows: pd.DataFrame) -> pd.DataFrame:
    rows = rows[rows["label"].notna()]
    group, networks = _groups(rows)
    images, patients = pd.factorize(rows["sample_id"])[0], pd.factorize(rows["patient_id"])[0]
    _check_once(group * (int(images.max(initial=0)) + 1) + images, rows)
    order = np.argsort(group, kind="stable")
    ends = np.cumsum(np.bincount(group, minlength=len(networks)))[:-1]

    def split(values: npt.NDArray) -> list[npt.NDArray]:
        return np.split(values[order], ends)

    labels = split(rows["label"].to_numpy(np.int64))
    scores = split(rows["score"].to_numpy(np.float64))
    features = {name: split(rows[name].to_numpy(np.float64)) for name in FEATURE_COLUMNS}
    by_patient: Mapping[str, Callable[[npt.NDArray, npt.NDArray], npt.NDArray]] = {
        "accuracy": correct,
        "brier": lambda truth, score: (score - truth) ** 2,
    }
    parts = []
    of_patient = split(patients)
    counts = {"image": np.array([len(part) for part in labels]), "patient": _distinct(of_patient)}
    for metric in CLASSIFICATION_METRICS:
        if metric in by_patient:
            each = [by_patient[metric](*pair) for pair in zip(labels, scores, strict=True)]
            values = _patient_means(each, of_patient)
        else:
            values = [CLASSIFICATION_METRICS[metric](*pair) for pair in zip(labels, scores, strict=True)]
        unit = "patient" if metric in by_patient else "image"
        parts.append(networks.assign(metric=metric, structure="", value=values, n=counts[unit], unit=unit))
    for name, each in features.items():
        table = networks.assign(metric=name, structure="", value=_patient_means(each, of_patient))
        parts.append(table.assign(n=counts["patient"], unit="patient").dropna(subset="value"))
    return pd.concat(parts, ignore_index=True)


def _distinct(parts: list[npt.NDArray]) -> npt.NDArray[np.int64]:
    return np.array([len(np.unique(part)) for part in parts])


def _patient_means(values: list[npt.NDArray], patients: list[npt.NDArray]) -> list[float]:
    """Mean over patients of the mean over a patient's images, for each group."""
    means = []
    for each, of_patient in zip(values, patients, strict=True):
        images = np.bincount(of_patient)
        sums = np.bincount(of_patient, weights=each)
        means.append(float(np.mean(sums[images > 0] / images[images > 0])) if len(each) else float("nan"))
    return means


def _segmentation(rows: pd.DataFrame, alternatives: Collection[str]) -> pd.DataFrame:
    group, networks = _groups(rows)
    scan, scans = pd.factorize(rows["sample_id"])
    structure, structures = pd.factorize(rows["structure"])
    shape = (len(networks), len(scans), len(structures))
    place = np.ravel_multi_index((group, scan, structure), shape)
    _check_once(place, rows)

    def cube(values: npt.ArrayLike) -> FloatArray:
        laid_out = np.full(shape, np.nan)
        laid_out.reshape(-1)[place] = np.asarray(values, np.float64)
        return laid_out

    label = cube(rows["voxels_label"])
    present = label > 0  # NaN, where a scan has no such row, is not
    flipped, overlap = cube(rows["voxels_flipped"]), cube(rows["voxels_overlap"])
    mirrored = cube(rows["voxels_mirrored"].astype("Float64").to_numpy(np.float64, na_value=np.nan))
    surface, distance = cube(rows["surface_dice"]), cube(rows["hd95_mm"])
    with np.errstate(invalid="ignore", divide="ignore"):
        metrics = {
            "dice": cube(rows["dice"]),
            "missed": (overlap == 0).astype(np.float64),
            "flipped": flipped / label,
            "mirrored": mirrored / label,
            "surface_dice": surface,
            "hd95_mm": distance,
            "hd95_undefined": np.where(np.isnan(surface), np.nan, np.isnan(distance)),
        }
    measured = (present & ~np.isnan(surface)).any(axis=(1, 2))  # groups whose surfaces were compared
    main = [k for k, name in enumerate(structures) if name not in alternatives] or list(range(len(structures)))
    parts = []
    for metric, values in metrics.items():
        values = np.where(present, values, np.nan)
        chosen = measured if metric in ("surface_dice", "hd95_mm", "hd95_undefined") else np.full(len(networks), True)
        of_metric = [("", _mean(values[..., main])[0])]
        of_metric += [(str(name), values[..., k]) for k, name in enumerate(structures)]
        for name, of_scan in of_metric:
            undefined_everywhere = np.isnan(of_scan).all(axis=1)
            mean, n = _mean(of_scan)
            # hd95_mm may be undefined on every scan; any other metric then does not apply (no label, no mirror image)
            kept = chosen & ~undefined_everywhere
            if metric == "hd95_mm":
                there = present if not name else present[..., [list(structures).index(name)]]
                kept = chosen & there.any(axis=(1, 2))
            table = networks.assign(metric=metric, structure=name, value=mean, n=n, unit="scan")
            parts.append(table[kept])
    for name in FEATURE_COLUMNS:
        values = _mean(cube(rows[name]))[0]  # the same in every structure's row
        mean, n = _mean(values)
        parts.append(networks.assign(metric=name, structure="", value=mean, n=n, unit="scan").dropna(subset="value"))
    return pd.concat(parts, ignore_index=True)


def _mean(values: FloatArray) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Mean over the last axis without NaN, and how many values entered; NaN where none did."""
    there = ~np.isnan(values)
    n = there.sum(axis=-1)
    sums = np.where(there, values, 0.0).sum(axis=-1)
    return np.divide(sums, n, out=np.full(sums.shape, np.nan), where=n > 0), n


def _check_once(place: npt.NDArray[np.int64], rows: pd.DataFrame) -> None:
    """Raise ValueError where two rows have the same place."""
    _, first, count = np.unique(place, return_index=True, return_counts=True)
    if (count > 1).any():
        row = rows.iloc[first[np.argmax(count > 1)]]
        raise ValueError(
            f"more than one prediction for {row['sample_id']}, {row['init']}, seed {row['seed']}, {row['corruption']}, "
            f"severity {row['severity']}; was a cell read twice?"
        )
