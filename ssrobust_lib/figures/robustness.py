"""Tables of every metric: on clean images, what corruption takes away, and each structure of CT.

Enters: `evaluation.condition_scores.scores_table` and `evaluation.corruption_error.corruption_errors` of one task
and set. Leaves: an `HtmlTable` with a column per arm, mean over the seeds and their standard deviation. Beside the
paper's Tables 1, 2 and 4 and its Figures 3 and 4 (sections 3.2 to 3.4).
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ssrobust_lib.config import REFERENCE_ARM
from ssrobust_lib.evaluation.metrics import LOWER_IS_BETTER
from ssrobust_lib.statistics.comparisons import ALL_CORRUPTIONS

from .result_tables import mean_std, signed
from .style import corruption_title, metric_title, order_arms, order_corruptions, paper_label, structure_title
from .tables import HtmlTable, Markup, html_table, object_frame, small
from .tidy import require_columns

METRICS = (
    "accuracy", "balanced_accuracy", "auroc", "average_precision", "brier", "ece",
    "dice", "surface_dice", "hd95_mm", "hd95_undefined", "missed", "flipped", "mirrored",
)  # fmt: skip
_IN_PERCENT = ("hd95_undefined", "missed", "flipped", "mirrored")
_OF_STRUCTURE = {
    "dice": "Dice", "surface_dice": "Surface Dice", "hd95_mm": "HD95, mm",
    "missed": "Missed, %", "flipped": "Given to another, %", "mirrored": "To the mirror image, %",
}  # fmt: skip


def metric_words(metric: str) -> Markup:
    """Title of a metric and, in small print, that less of it is better."""
    return Markup(metric_title(metric) + (small("lower is better") if metric in LOWER_IS_BETTER else ""))


def metric_table(scores: pd.DataFrame, caption: str, *, dataset: str, note: str | None = None) -> HtmlTable:
    """Every metric of each arm under one condition.

    Parameters
    ----------
    scores : rows of one set, corruption and severity, of the means over structures (`structure` empty).
    """
    require_columns(scores, ["metric", "init", "seed", "value"], "scores")
    arms = order_arms(scores["init"])
    shown = [metric for metric in METRICS if metric in set(scores["metric"])]
    rows = [
        {"Metric": metric_words(metric)}
        | {paper_label(arm): _spread(metric, _values(scores, arm, metric)) for arm in arms}
        for metric in shown
    ]
    words = _spread_words(scores) + (f" {note}" if note else "")
    frame = object_frame(rows, ["Metric", *map(paper_label, arms)])
    data = scores[scores["metric"].isin(shown)]
    return html_table(frame, caption, dataset=dataset, note=words, stacked=True, data=data)


def structure_table(scores: pd.DataFrame, caption: str, *, dataset: str, arms: tuple[str, str]) -> HtmlTable:
    """Each structure by each metric of CT, two arms in a cell.

    Parameters
    ----------
    scores : rows of one set, corruption and severity.
    arms : the first and the second number of each cell.
    """
    require_columns(scores, ["metric", "structure", "init", "seed", "value"], "scores")
    of_arm = scores[scores["init"].isin(arms) & (scores["structure"] != "")]
    means = of_arm.groupby(["structure", "metric", "init"], sort=False)["value"].mean()
    titles = {metric: title for metric, title in _OF_STRUCTURE.items() if metric in set(of_arm["metric"])}

    def cell(structure: str, metric: str) -> str:
        values = [means.get((structure, metric, arm), np.nan) for arm in arms]
        return " | ".join(_number(metric, value, digits=0).removesuffix(" %") for value in values)

    rows = [
        {"Structure": structure_title(name)} | {title: cell(name, metric) for metric, title in titles.items()}
        for name in dict.fromkeys(of_arm["structure"])
    ]
    words = " | ".join(map(paper_label, arms))
    note = f"In each cell: {words}; means over {_seeds(of_arm)} and over the scans that hold the structure."
    frame = object_frame(rows, ["Structure", *titles.values()])
    return html_table(frame, caption, dataset=dataset, note=note, data=of_arm)


def drop_table(scores: pd.DataFrame, caption: str, *, dataset: str, metric: str) -> HtmlTable:
    """One metric of each arm under each corruption, mean over the severities, with its drop from clean images.

    Parameters
    ----------
    scores : rows of one task and set; of them those of `metric` with `structure` empty are shown.
    """
    require_columns(
        scores, ["metric", "structure", "corruption", "severity", "init", "seed", "value", "drop"], "scores"
    )
    rows = scores[(scores["metric"] == metric) & (scores["structure"] == "")]
    arms = order_arms(rows["init"])
    means = rows.groupby(["corruption", "init", "seed"])[["value", "drop"]].mean()

    def cell(corruption: str, arm: str) -> Markup:
        part = means.loc[(corruption, arm)]
        lost = "" if corruption == "clean" else f"drop {signed(part['drop'].mean())}"
        return Markup(_spread(metric, part["value"].to_numpy()) + small(lost))

    table = [
        {"Corruption": corruption_title(name)} | {paper_label(arm): cell(name, arm) for arm in arms}
        for name in order_corruptions(rows["corruption"])
    ]
    note = (
        f"{metric_title(metric)}: mean over the severities. {_spread_words(rows)} Below it the "
        "drop from clean images: an arm that drops less may still be the worse one."
    )
    frame = object_frame(table, ["Corruption", *map(paper_label, arms)])
    return html_table(frame, caption, dataset=dataset, note=note, stacked=True, data=rows)


def corruption_error_table(errors: pd.DataFrame, caption: str, *, dataset: str) -> HtmlTable:
    """Corruption error and relative corruption error of each arm; below them mCE and relative mCE.

    Parameters
    ----------
    errors : `corruption_errors` of one task and set.
    """
    require_columns(errors, ["metric", "corruption", "init", "seed", "ce", "relative_ce"], "errors")
    arms = order_arms(errors["init"])

    def cell(corruption: str, arm: str) -> Markup:
        of_corruption = errors[errors["corruption"] == corruption]
        part = of_corruption[of_corruption["init"] == arm]
        own = of_corruption.loc[of_corruption["init"] == REFERENCE_ARM, "relative_ce"]  # its mean is 1
        relative = "uncertain" if own.std() > 1 else _defined(part["relative_ce"].to_numpy(np.float64))
        return Markup(_defined(part["ce"].to_numpy(np.float64)) + small(f"relative {relative}"))

    order = [*order_corruptions(set(errors["corruption"]) - {ALL_CORRUPTIONS}), ALL_CORRUPTIONS]
    table = [
        {"Corruption": Markup("<b>all: mCE</b>") if name == ALL_CORRUPTIONS else corruption_title(name)}
        | {paper_label(arm): cell(name, arm) for arm in arms}
        for name in order
    ]
    error = {"dice": "1 − Dice", "accuracy": "1 − accuracy", "balanced_accuracy": "1 − balanced accuracy"}
    note = (
        f"Error: {error[str(errors['metric'].iloc[0])]}. 1 is as normal training (mean of its seeds), below 1 is more "
        f"robust. {_spread_words(errors)} Relative: of what is lost against clean images. "
        "Undefined where normal training loses nothing; uncertain where it loses less than its own seeds differ."
    )
    frame = object_frame(table, ["Corruption", *map(paper_label, arms)])
    return html_table(frame, caption, dataset=dataset, note=note, stacked=True, data=errors)


def confusion_table(scores: pd.DataFrame, caption: str, *, dataset: str) -> HtmlTable:
    """Shares of labelled voxels given to another structure, and to the mirror image, by corruption and arm.

    Parameters
    ----------
    scores : rows of one task and set, all severities.
    """
    rows = scores[scores["metric"].isin(["flipped", "mirrored"]) & (scores["structure"] == "")]
    arms = order_arms(rows["init"])
    means = rows.groupby(["corruption", "init", "metric"])["value"].mean()

    def cell(corruption: str, arm: str) -> Markup:
        shares: Mapping[str, float] = {m: means.get((corruption, arm, m), np.nan) for m in ("flipped", "mirrored")}
        words = "" if np.isnan(shares["mirrored"]) else f"left for right {_number('mirrored', shares['mirrored'])}"
        return Markup(_number("flipped", shares["flipped"]) + small(words))

    table = [
        {"Corruption": corruption_title(name)} | {paper_label(arm): cell(name, arm) for arm in arms}
        for name in order_corruptions(rows["corruption"])
    ]
    note = (
        f"Share of a structure's voxels that the network gives to another structure, and below it to the structure's "
        f"mirror image; means over structures, scans, severities and {_seeds(rows)}."
    )
    frame = object_frame(table, ["Corruption", *map(paper_label, arms)])
    return html_table(frame, caption, dataset=dataset, note=note, stacked=True, data=rows)


def _values(scores: pd.DataFrame, arm: str, metric: str) -> np.ndarray:
    return scores.loc[(scores["init"] == arm) & (scores["metric"] == metric), "value"].to_numpy(np.float64)


def _spread(metric: str, values: np.ndarray) -> str:
    """Mean and standard deviation over the seeds for which the metric is defined; 'undefined' where it is for none."""
    values = values[~np.isnan(values)]
    if not len(values):
        return "undefined"
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    if metric in _IN_PERCENT:
        return f"{100 * values.mean():.1f} %" if std is None else f"{100 * values.mean():.1f} ± {100 * std:.1f} %"
    return mean_std(float(values.mean()), std, digits=1 if metric == "hd95_mm" else 3)


def _number(metric: str, value: float, digits: int = 1) -> str:
    if np.isnan(value):
        return "–"
    return f"{100 * value:.{digits}f} %" if metric in _IN_PERCENT else f"{value:.{1 if metric == 'hd95_mm' else 2}f}"


def _defined(values: np.ndarray) -> str:
    if np.isnan(values).any():
        return "undefined"
    words = mean_std(float(values.mean()), float(np.std(values, ddof=1)) if len(values) > 1 else None)
    return words.replace("-", "−")


def _spread_words(rows: pd.DataFrame) -> str:
    return f"Mean ± standard deviation over {_seeds(rows)}." if rows["seed"].nunique() > 1 else "One seed: no spread."


def _seeds(rows: pd.DataFrame) -> str:
    n = rows["seed"].nunique()
    return f"{n} seed" + ("" if n == 1 else "s")
