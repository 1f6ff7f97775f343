"""Scores against the number of images: means over seeds, and whether an arm's curve differs from normal training's.

Enters: ``scores.parquet`` of the curve cells. Leaves: a table of points and one of differences. Not in the paper, which
trains at one number of labels and on one pool (section 3.1). The unit is the seed: it draws labelled images, weights
and batches; the test images are the same for all, so an interval here is about other seeds, not other patients.
"""

import numpy as np
import pandas as pd

from ssrobust_lib.config import REFERENCE_ARM
from ssrobust_lib.control_arms import LABELS, POOL
from ssrobust_lib.profile_fields import ALL
from ssrobust_lib.statistics.comparisons import ALL_CORRUPTIONS
from ssrobust_lib.statistics.multiplicity import holm
from ssrobust_lib.statistics.scales import cut_interval_of_mean, largest_difference

CLEAN, NONE = "clean", "none"
MIN_SEEDS = 3
POINT_COLUMNS = ("task", "axis", "metric", "condition", "init", "amount", "n_images", "n_seeds", "mean", "low", "high")
DIFFERENCE_COLUMNS = (
    "task", "axis", "metric", "condition", "init", "amount", "n_images", "against", "n_seeds", "difference", "low",
    "high", "p", "p_holm", "note",
)  # fmt: skip
_CURVE = ["task", "axis", "metric", "condition", "init"]


def network_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """One score per network on clean images, and one as the mean over corruptions (each first over its severities).

    Parameters
    ----------
    scores : task, axis, init, seed, amount, n_images, corruption, severity, metric, value; or nothing

    Returns
    -------
    DataFrame with task, axis, metric, init, seed, amount, n_images, condition ('clean' or 'all corruptions'), value
    """
    network = ["task", "axis", "metric", "init", "seed", "amount", "n_images"]
    if scores.empty:
        return pd.DataFrame(columns=[*network, "condition", "value"])
    clean = scores[scores["corruption"] == CLEAN].assign(condition=CLEAN)
    corrupted = scores[scores["corruption"] != CLEAN].groupby([*network, "corruption"], as_index=False)["value"].mean()
    corrupted = corrupted.groupby(network, as_index=False)["value"].mean().assign(condition=ALL_CORRUPTIONS)
    columns = [*network, "condition", "value"]
    return pd.concat([clean[columns], corrupted[columns]], ignore_index=True)


def curve_points(networks: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds at every amount, with the 95 % Student interval over seeds; rows in the order of the amounts.

    The interval is empty with fewer than three seeds, and ends where the metric's scale does. `n_images` is the mean
    over seeds, rounded.
    """
    rows = []
    for key, part in networks.groupby([*_CURVE, "amount"], sort=False):
        values = part["value"].to_numpy(np.float64)
        low, high = cut_interval_of_mean(*_interval(values), str(part["metric"].iloc[0]))
        n_images = round(float(part["n_images"].mean()))
        rows.append((*key, n_images, len(values), values.mean(), low, high))
    table = pd.DataFrame(rows, columns=list(POINT_COLUMNS))
    return table.sort_values([*_CURVE, "n_images"], kind="stable", ignore_index=True)


def curve_differences(networks: pd.DataFrame) -> pd.DataFrame:
    """Where an arm's curve differs from normal training's, seed by seed.

    On the axis `labels`, at every amount: the arm minus normal training with as many labels. On the axis `pool`: every
    share minus normal training, which has seen no pool, and the whole pool minus the smallest share (`against` names
    it). Paired t-test over seeds, Holm-corrected over the rows of a curve; empty, with a note, with fewer than three
    seeds or where all seeds differ by the same amount.

    Parameters
    ----------
    networks : see `network_scores`
    """
    rows = []
    curves = networks[(networks["init"] != REFERENCE_ARM)].groupby(_CURVE, sort=False)
    for (task, axis, metric, condition, init), curve in curves:
        same = (networks["task"] == task) & (networks["axis"] == axis) & (networks["metric"] == metric)
        reference = networks[same & (networks["condition"] == condition) & (networks["init"] == REFERENCE_ARM)]
        sizes = curve.groupby("amount")["n_images"].mean().sort_values(kind="stable")
        of_amount = {amount: _by_seed(curve, amount) for amount in sizes.index}
        against = {amount: _by_seed(reference, amount if axis == LABELS else NONE) for amount in sizes.index}
        pairs = [(amount, REFERENCE_ARM, of_amount[amount], against[amount]) for amount in sizes.index]
        if axis == POOL and ALL in of_amount and len(sizes) > 1:
            pairs.append((ALL, sizes.index[0], of_amount[ALL], of_amount[sizes.index[0]]))
        for amount, other, ours, theirs in pairs:
            found = _difference((ours - theirs).dropna().to_numpy(np.float64), largest_difference(str(metric)))
            rows.append((task, axis, metric, condition, init, amount, round(sizes[amount]), other, *found))
    columns = [name for name in DIFFERENCE_COLUMNS if name != "p_holm"]
    table = pd.DataFrame(rows, columns=columns).assign(p_holm=np.nan)
    for _, place in table.groupby(_CURVE).groups.items():
        table.loc[place, "p_holm"] = holm(table.loc[place, "p"].to_numpy(np.float64))
    return table[list(DIFFERENCE_COLUMNS)]


def _by_seed(networks: pd.DataFrame, amount: str) -> pd.Series:
    return networks[networks["amount"] == amount].set_index("seed")["value"]


def _interval(values: np.ndarray) -> tuple[float, float]:
    """95 % Student interval of the mean, mean +- t(0.975, n - 1) s / sqrt(n); empty with fewer than three values."""
    from scipy.special import stdtrit

    if len(values) < MIN_SEEDS:
        return np.nan, np.nan
    half = float(stdtrit(len(values) - 1, 0.975)) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def _difference(values: np.ndarray, largest: float) -> tuple[int, float, float, float, float, str]:
    """(n_seeds, difference, low, high, p, note) of differences by seed, the interval cut at +-largest."""
    n, mean = len(values), float(values.mean()) if len(values) else np.nan
    if n < MIN_SEEDS:
        return n, mean, np.nan, np.nan, np.nan, f"{n} of at least {MIN_SEEDS} seeds: no interval and no test"
    low, high = _interval(values)
    low, high = float(np.clip(low, -largest, largest)), float(np.clip(high, -largest, largest))
    if values.std(ddof=1) <= 1e-12 * max(1.0, abs(mean)):
        return n, mean, low, high, np.nan, "all seeds differ by the same amount: no test"
    from scipy.stats import ttest_1samp

    return n, mean, low, high, float(ttest_1samp(values, 0.0).pvalue), ""
