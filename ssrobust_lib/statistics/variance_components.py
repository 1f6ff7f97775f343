"""Variance components of a finished run: how much of a score's spread is the patient's, the seed's, the network's.

Enters: stored predictions, all arms and seeds. Leaves: an `XrayModel` or a `ScanModel` (`simulation`), whose docstring
names the components. Not in the paper.

    python -m ssrobust_lib.statistics.variance_components runs/demo

prints the medians over clean images and severity 3 of every corruption: the numbers that `benchmarks.bench_statistics`
is given. By moments: networks of the same arm share patient and arm, networks of the same seed share patient and
seed, others the patient only; their mean correlations (X-ray) or covariances (scans) are these sums.
"""

import sys
from dataclasses import astuple
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from ssrobust_lib import store
from ssrobust_lib.statistics.paired_tests import FloatArray
from ssrobust_lib.statistics.simulation import ScanModel, XrayModel

_EDGE = 1e-6  # scores nearer to 0 or 1 than this count as this near
_DICE_EDGE = 0.005
#: A network counts as failed whose mean logit lies this many robust standard deviations below the median network, and
#: at least this many logits.
_FAILED_SPREADS, _FAILED_LOGITS = 3.0, 0.5


def _logit(values: FloatArray, edge: float) -> FloatArray:
    clipped = np.clip(values, edge, 1 - edge)
    return np.log(clipped / (1 - clipped))


def _by_network(rows: pd.DataFrame, value: str) -> tuple[npt.NDArray, npt.NDArray, list[str], FloatArray]:
    """(arm of each network, seed of each network, units, float64 (networks, units)); networks by arm and seed."""
    wide = rows.pivot_table(index=["init", "seed"], columns="sample_id", values=value, observed=True)
    if wide.isna().any(axis=None):
        raise ValueError(f"expected {value} of every network for the same samples; evaluate this cell again")
    arms, seeds = (wide.index.get_level_values(name).to_numpy() for name in ("init", "seed"))
    if np.unique(arms).size < 2 or np.unique(seeds).size < 2:
        raise ValueError("variance components need at least two arms and two seeds")
    return arms, seeds, [str(c) for c in wide.columns], wide.to_numpy(np.float64)


def _shared(arms: npt.NDArray, seeds: npt.NDArray, similarity: FloatArray) -> tuple[float, float, float]:
    """(patient, arm, seed) from the mean similarity of networks that share nothing, the arm, or the seed."""
    same_arm, same_seed = arms[:, None] == arms, seeds[:, None] == seeds
    patient = float(np.nanmean(similarity[~same_arm & ~same_seed]))
    of_arm = float(np.nanmean(similarity[same_arm & ~same_seed])) - patient
    of_seed = float(np.nanmean(similarity[~same_arm & same_seed])) - patient
    return max(patient, 0.0), max(of_arm, 0.0), max(of_seed, 0.0)


def _spread_between_networks(arms: npt.NDArray, seeds: npt.NDArray, effects: FloatArray, noise: float = 0.0) -> float:
    """Standard deviation of network effects given the seed, from differences of two arms; `noise` is a variance."""
    squares = [
        (effects[i] - effects[j]) ** 2 / 2
        for i in range(effects.size)
        for j in range(i)
        if seeds[i] == seeds[j] and arms[i] != arms[j]
    ]
    return float(max(np.mean(squares) - noise, 0.0) ** 0.5) if squares else 0.0


def xray_components(rows: pd.DataFrame) -> XrayModel:
    """Components from the predictions of one set under one condition (columns init, seed, sample_id, label, score)."""
    arms, seeds, images, scores = _by_network(rows, "score")
    labels = rows.drop_duplicates("sample_id").astype({"sample_id": str}).set_index("sample_id")["label"]
    positive = labels.loc[images].to_numpy() == 1
    if positive.all() or not positive.any():
        raise ValueError("variance components of X-ray scores need images of both classes")
    logits = _logit(scores, _EDGE)
    classes = (logits[:, positive], logits[:, ~positive])
    spread = np.sqrt((classes[0].var(axis=1, ddof=1) + classes[1].var(axis=1, ddof=1)) / 2)
    means = [values.mean(axis=1) / spread for values in classes]
    skill, shift = (means[0] - means[1]) / 2, (means[0] + means[1]) / 2
    patient, arm, seed = _shared(arms, seeds, np.mean([np.corrcoef(values) for values in classes], axis=0))
    noise = max(1 - patient - seed, 0.0) * (1 / positive.sum() + 1 / (~positive).sum()) / 4
    of_skill, of_shift = (_spread_between_networks(arms, seeds, effects, noise) for effects in (skill, shift))
    return XrayModel(
        prevalence=float(positive.mean()), delta=float(skill.mean()), threshold=float(shift.mean()),
        skill=of_skill, shift=of_shift, patient=patient, arm=arm, seed=seed,
    )  # fmt: skip


def scan_components(rows: pd.DataFrame) -> ScanModel:
    """Components from the predictions of one set under one condition (columns init, seed, sample_id, dice, ...)."""
    per_scan = rows[rows["voxels_label"] > 0].groupby(["init", "seed", "sample_id"], observed=True)["dice"].mean()
    arms, seeds, _, dice = _by_network(per_scan.reset_index(), "dice")
    logits = _logit(dice, _DICE_EDGE)
    means = logits.mean(axis=1)
    robust = 1.4826 * float(np.median(np.abs(means - np.median(means))))
    failed = means < np.median(means) - max(_FAILED_SPREADS * robust, _FAILED_LOGITS)
    depth = float(np.median(means[~failed]) - means[failed].mean()) if failed.any() else 0.0
    arms, seeds, logits = arms[~failed], seeds[~failed], logits[~failed]
    covariance = np.cov(logits)
    patient, arm, seed = _shared(arms, seeds, covariance)
    total = float(np.diag(covariance).mean())
    rest = max(total - patient - arm - seed, 0.0)
    network = _spread_between_networks(arms, seeds, logits.mean(axis=1), rest / logits.shape[1])
    return ScanModel(float(logits.mean()), network, float(failed.mean()), depth, patient, arm, seed, rest)


def components_of_run(run: Path) -> dict[tuple[str, str], XrayModel | ScanModel]:
    """Median components over clean images and severity 3 of each corruption: {(task, set): model}.

    Parameters
    ----------
    run : folder of a finished run, such as runs/demo.

    Raises
    ------
    FileNotFoundError : no evaluation is finished there.
    """
    found: dict[tuple[str, str], list[XrayModel | ScanModel]] = {}
    paths = sorted(p for step in ("04_clean_eval", "05_corruption_eval") for p in run.glob(f"cells/{step}/*"))
    for folder in paths:
        if not (folder / "predictions.parquet").is_file():
            continue
        table = store.read_table(folder / "predictions.parquet")
        for (task, name), rows in table[table["severity"].isin([0, 3])].groupby(["task", "set"], observed=True):
            components = xray_components if "score" in rows else scan_components
            found.setdefault((str(task), str(name)), []).append(components(rows))
    if not found:
        raise FileNotFoundError(f"{run}: expected finished cells of notebooks 04 and 05; run the study first")
    return {key: type(models[0])(*np.median([astuple(m) for m in models], axis=0)) for key, models in found.items()}


if __name__ == "__main__":
    for (task, name), model in components_of_run(Path(sys.argv[1])).items():
        print(task, name, {key: round(float(value), 4) for key, value in vars(model).items()})
