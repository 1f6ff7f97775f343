"""The answer of a run in one sentence per task, for the start page of its book.

Enters: the comparisons table. Leaves: Markdown, every number computed. The sentence is about the *method* (patients and
seeds random) where the run has seeds enough for its interval, and says so where it is about *these networks* alone.
"""

from collections.abc import Mapping

import pandas as pd

from ssrobust_lib.figures import interval_text, metric_title, paper_label, signed
from ssrobust_lib.statistics.comparisons import ALL_CORRUPTIONS

TASK_WORDS = {"pneumonia": "Pneumonia in chest X-rays", "organs": "Organs in CT"}
INTERVALS = (
    ("method_ci_low", "method_ci_high", "the method"),
    ("ci_low", "ci_high", "these networks"),
)
"""Pairs of columns in the order of preference, and what their interval is about."""

_ABOUT = {
    "the method": ("patients and seeds random", "the method holds up"),
    "these networks": ("these networks on other patients", "these networks hold up"),
}


def answer_text(comparisons: pd.DataFrame, metrics: Mapping[str, str], arm: str, names: Mapping[str, str]) -> str:
    """A sentence per task: what self-supervision changes on clean images and over all corruptions.

    Parameters
    ----------
    comparisons : of the run.
    metrics : task -> the metric that the sentence is about.
    arm : whose difference to normal training it is.
    names : set -> words.
    """
    home = comparisons[(comparisons["role"] == "home") & (comparisons["arm"] == arm) & (comparisons["structure"] == "")]
    lines = []
    for task, metric in metrics.items():
        rows = home[(home["task"] == task) & (home["metric"] == metric)]
        if len(rows):
            whole = rows[rows["scope"].isin(["clean", ALL_CORRUPTIONS])]
            found = {row["scope"]: row for row in whole.to_dict("records")}
            where = f"**{TASK_WORDS.get(task, task)}** ({names.get(rows['set'].iloc[0], rows['set'].iloc[0])})"
            lines.append(f"- {where}: {_sentence(found, metric, arm)}")
    return "\n".join(lines) + "\n" if lines else "This run has no comparison to answer with.\n"


def _sentence(found: Mapping[str, Mapping], metric: str, arm: str) -> str:
    word = metric_title(metric) if metric != "accuracy" else "accuracy"
    corrupted, clean = found.get(ALL_CORRUPTIONS), found.get("clean")
    if corrupted is None or pd.isna(corrupted["difference"]):
        why = f" ({corrupted['note']})" if corrupted is not None and corrupted["note"] else ""
        return f"performance under corruption was not compared{why}."
    low, high, about = _interval(corrupted)
    if pd.isna(low):
        within, verdict = "no interval", "nothing says whether that is more than chance"
    else:
        varies, subject = _ABOUT[about]
        within = f"95 % interval {interval_text(low, high)}, {varies}"
        verdict = "chance alone can explain that" if low <= 0 <= high else f"{subject} **{_side(low)}**"
        if about == "these networks":
            verdict += ", and too few seeds to speak of the method"
    beside = ""
    if clean is not None and pd.notna(clean["difference"]):
        beside = (
            f" On clean images: {signed(clean['difference'])} {interval_text(*_interval(clean)[:2])}".rstrip() + "."
        )
    return (
        f"over all corruptions, {paper_label(arm)} changes {word} against normal training by "
        f"{signed(corrupted['difference'])} ({within}): {verdict}.{beside}"
    )


def _side(low: float) -> str:
    return "better" if low > 0 else "worse"


def _interval(row: Mapping) -> tuple[float, float, str]:
    """The first interval of a row that is there, and what it is about."""
    for low, high, varies in INTERVALS:
        if low in row and pd.notna(row[low]):
            return row[low], row[high], varies
    return float("nan"), float("nan"), ""
