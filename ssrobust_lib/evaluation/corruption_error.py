"""Corruption error: how much a network errs under corruption, against normal training (Hendrycks & Dietterich 2019).

Enters: scores of networks by condition (`condition_scores.scores_table`). Leaves: corruption error (CE), its mean over
corruptions (mCE), and the relative forms, for every network.

With the error E of a network f at severity s of corruption c, and E' that of the reference:

- CE_c = sum_s E_sc / sum_s E'_sc;
- relative CE_c = sum_s (E_sc - E_clean) / sum_s (E'_sc - E'_clean);
- mCE and relative mCE are their means over the corruptions.

1 is as the reference, below 1 is more robust; nothing is multiplied by 100. The reference is this study's own normal
training: E' is the mean over its seeds, so that the mean CE of its seeds is 1. E is 1 - balanced accuracy for X-rays
(as in MedMNIST-C: the more frequent class alone reaches a small error by accuracy) and 1 - Dice for CT.

Undefined stays undefined: CE where the reference makes no error, relative CE where it does not degrade (its sum is 0 or
below), a mean over corruptions of which one is undefined. Whether a value is undefined depends on the reference alone,
hence is the same for every arm; the mean over those that are defined stands in a column of its own.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd

from ssrobust_lib.config import REFERENCE_ARM
from ssrobust_lib.registry import unknown_name
from ssrobust_lib.statistics.comparisons import ALL_CORRUPTIONS

CLASSIFICATION_ERRORS = ("balanced_accuracy", "accuracy")  # E is one minus it
COLUMNS = (
    "task", "set", "metric", "corruption", "init", "seed", "ce", "relative_ce", "ce_of_defined",
    "relative_ce_of_defined", "n_defined", "n_relative_defined", "n", "note",
)  # fmt: skip

FloatArray = npt.NDArray[np.float64]


def corruption_error(errors: npt.ArrayLike, reference: npt.ArrayLike) -> FloatArray:
    """CE from errors over the severities on the last axis, any shape before it; NaN where the reference never errs."""
    return _ratio(np.sum(errors, axis=-1), np.sum(reference, axis=-1))


def relative_corruption_error(
    errors: npt.ArrayLike, clean: npt.ArrayLike, reference: npt.ArrayLike, reference_clean: npt.ArrayLike
) -> FloatArray:
    """Relative CE from errors over the severities on the last axis and the clean errors without that axis.

    NaN where the reference is on average no worse than on clean images: there is nothing to compare a degradation with.
    """
    degraded = np.sum(np.asarray(errors) - np.asarray(clean)[..., None], axis=-1)
    return _ratio(degraded, np.sum(np.asarray(reference) - np.asarray(reference_clean)[..., None], axis=-1))


def _ratio(above: npt.ArrayLike, below: npt.ArrayLike) -> FloatArray:
    above, below = np.broadcast_arrays(np.asarray(above, np.float64), np.asarray(below, np.float64))
    # a sum of differences that should be 0 is so to rounding only
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 1e-12)


def corruption_errors(
    scores: pd.DataFrame, *, reference: str = REFERENCE_ARM, classification: str = "balanced_accuracy"
) -> pd.DataFrame:
    """CE and relative CE of every network, per corruption and over all of them.

    Parameters
    ----------
    scores : `condition_scores.scores_table` of sets that were evaluated clean and under corruption; others are left out
    reference : the arm whose mean error over the seeds stands below the line
    classification : 'balanced_accuracy' or 'accuracy', of which E is the complement for X-rays

    Returns
    -------
    DataFrame with `COLUMNS`, one row per set, network and corruption, and one with `corruption` 'all corruptions' that
    holds mCE and relative mCE: `ce`, `relative_ce` (NaN where undefined); `ce_of_defined`, `relative_ce_of_defined`,
    means over the `n_defined` and `n_relative_defined` of `n` corruptions; `note` says what is undefined.

    Raises
    ------
    UnknownNameError
        The reference is no arm of the scores, or no such error is known.
    """
    if classification not in CLASSIFICATION_ERRORS:
        raise unknown_name("classification error", classification, list(CLASSIFICATION_ERRORS))
    arms = sorted(scores["init"].unique())
    if reference not in arms:
        raise unknown_name("arm in the scores", reference, arms)
    chosen = scores[(scores["structure"] == "") & scores["metric"].isin(["dice", classification])]
    rows: list[pd.DataFrame] = []
    for (task, name), part in chosen.groupby(["task", "set"], sort=False):
        if (part["severity"] > 0).any() and (part["severity"] == 0).any():
            rows.append(_errors_of_set(part, reference).assign(task=task, set=name, metric=part["metric"].iloc[0]))
    return pd.concat(rows, ignore_index=True)[list(COLUMNS)] if rows else pd.DataFrame(columns=list(COLUMNS))


def _errors_of_set(part: pd.DataFrame, reference: str) -> pd.DataFrame:
    wide = part.assign(error=1 - part["value"]).pivot(
        index=["init", "seed"], columns=["corruption", "severity"], values="error"
    )
    clean = wide["clean"][0].to_numpy(np.float64)  # (networks,)
    of_reference = wide.index.get_level_values("init") == reference
    corruptions = [name for name in dict.fromkeys(part["corruption"]) if name != "clean"]
    ce = np.empty((len(wide), len(corruptions)))
    relative = np.empty_like(ce)
    for k, corruption in enumerate(corruptions):
        errors = wide[corruption].to_numpy(np.float64)  # (networks, severities)
        ours, ours_clean = errors[of_reference].mean(axis=0), clean[of_reference].mean()
        ce[:, k] = corruption_error(errors, ours)
        relative[:, k] = relative_corruption_error(errors, clean, ours, ours_clean)
    networks = wide.index.to_frame(index=False)
    tables = []
    for k, corruption in enumerate([*corruptions, ALL_CORRUPTIONS]):
        columns = slice(None) if corruption == ALL_CORRUPTIONS else slice(k, k + 1)
        table = networks.assign(corruption=corruption, n=ce[:, columns].shape[1])
        for values, column, count in ((ce, "ce", "n_defined"), (relative, "relative_ce", "n_relative_defined")):
            there = ~np.isnan(values[:, columns])
            table[count] = there.sum(axis=1)
            sums = np.where(there, values[:, columns], 0.0).sum(axis=1)
            some = np.divide(sums, table[count], out=np.full(len(table), np.nan), where=table[count] > 0)
            table[f"{column}_of_defined"] = some
            table[column] = np.where(there.all(axis=1), some, np.nan)
        table["note"] = [
            _note(row, reference) for row in table[["n_defined", "n_relative_defined", "n"]].itertuples(index=False)
        ]
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _note(row: "tuple[int, int, int]", reference: str) -> str:
    defined, relative, n = row
    notes = []
    if defined < n:
        notes.append(f"CE undefined for {n - defined} of {n}: {reference} makes no error there, or none is defined")
    if relative < n:
        notes.append(f"relative CE undefined for {n - relative} of {n}: {reference} does not degrade there")
    return "; ".join(notes)
