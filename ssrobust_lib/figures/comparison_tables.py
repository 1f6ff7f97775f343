"""Every test in words: what was compared, both means, difference, n, interval and p of both estimands.

Enters: the table of `statistics.comparisons`. Leaves: an `HtmlTable` in words. The paper's p-values (sections 3.2 to
3.4) have neither an interval nor a correction.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ssrobust_lib.config import AA_ARM

from .result_tables import counted, detectable_text, in_words, interval_text, p_words, signed, statistic_text
from .style import corruption_word, metric_title, order_arms, order_corruptions, paper_label, structure_title
from .tables import HtmlTable, Markup, folded, html_table, object_frame, p_text, small
from .tidy import require_columns

_P_WORDS = (
    "The method: other patients and other seeds. These networks: other patients, seeds averaged first.",
    "Of each the 95 % interval, cut at the ends of the metric's scale, p, and p after Holm's correction within its "
    "family.",
)
_TEST_COLUMNS = ("ci_low", "ci_high", "test", "statistic", "p", "p_holm", "note")
_METRIC_ORDER = ("accuracy", "auroc", "auroc placements", "dice", "missed", "accuracy gap", "dice gap")


def comparison_table(
    comparisons: pd.DataFrame,
    caption: str,
    *,
    dataset: str,
    names: Mapping[str, str] | None = None,
    marks: Mapping[tuple[str, str], str] | None = None,
    paper: Mapping[tuple[str, str, str, str], str] | None = None,
    main: str = "",
    note: str | None = None,
    fold: str | None = None,
) -> HtmlTable:
    """Tests in words: what was compared, both means, difference, n, and interval, test and p of both estimands.

    Parameters
    ----------
    comparisons : rows of `ssrobust_lib.statistics.comparisons.compare_all`.
    dataset : on what the scores were measured.
    names : set -> short words, set below a row where several sets are in the table.
    marks : (task, arm) -> words set beside the arm's name, such as 'pretext not learned (seed 0)'.
    paper : (task, role, metric, condition) -> what the paper reports there; adds a column.
    main : name of the one structure that another centre's mean is about.
    note : a further line below the table.
    fold : words of a button to hide the table behind.
    """
    wanted = ["task", "set", "role", "metric", "structure", "scope", "condition", "severity", "arm", "n", "n_seeds"]
    wanted += ["unit", "mean_arm", "mean_reference", "difference", "detectable", "equivalence_p", "equivalence_margin"]
    wanted += ["family", "family_tests", "method_family_tests"]
    wanted += [f"{side}{column}" for side in ("", "method_") for column in _TEST_COLUMNS]
    require_columns(comparisons, wanted, "comparisons")
    one_family = comparisons["family"].nunique() == 1
    several_sets, arms = comparisons["set"].nunique() > 1, order_arms(comparisons["arm"])
    rows = []
    for row in in_order(comparisons).to_dict("records"):
        place = (names or {}).get(row["set"], row["set"]) if several_sets else ""
        mark = (marks or {}).get((row["task"], row["arm"]), "")
        arm = "; ".join(text for text in (paper_label(row["arm"]) if len(arms) > 1 else "", mark) if text)
        missing = pd.isna(row["difference"])
        entry = {
            "Score": Markup(compared_words(row, main) + small(place) + small(arm)),
            "Arm": "–" if missing else f"{row['mean_arm']:.3f}".replace("-", "−"),
            "Normal": "–" if missing else f"{row['mean_reference']:.3f}".replace("-", "−"),
            "Difference": "not measured" if missing else signed(row["difference"]),
            "The method": _estimand_cell(row, "method_", one_family, names),
            "These networks": _estimand_cell(row, "", one_family, names),
            "n": Markup(counted(int(row["n"]), row["unit"]) + small(counted(int(row["n_seeds"]), "seed"))),
            "Paper": (paper or {}).get((row["task"], row["role"], row["metric"], row["condition"]), "–"),
        }
        if row["structure"] or row["arm"] == AA_ARM:
            entry["Paper"] = "–"
        rows.append(entry)
    columns = ["Score", "Arm", "Normal", "Difference", "The method", "These networks", "n", "Paper"]
    shown = object_frame(rows, columns)
    if not paper or (shown["Paper"] == "–").all():
        shown = shown.drop(columns="Paper")
    arm_heading = paper_label(arms[0]).replace(" (jigsaw)", "") if len(arms) == 1 else "This arm"
    references = [paper_label(name) for name in dict.fromkeys(comparisons["reference"])]
    other = references[0] if len(references) == 1 else "Normal training"
    headings = {"Arm": arm_heading, "Normal": other}
    words = [f"Difference: arm minus {other[0].lower() + other[1:]}{_pairing(comparisons)}.", *_P_WORDS]
    words += [f"All of them in the {_family_words(comparisons.iloc[0])}."] if one_family else []
    words += ["The paper's values were measured on the paper's own data."] if "Paper" in shown else []
    words += _remarks(comparisons)
    below = " ".join([*words, *([note] if note else [])])
    options: dict[str, Any] = {"headings": headings, "note": below, "fold": fold, "data": comparisons}
    return html_table(shown, caption, dataset=dataset, stacked=True, **options)


def _estimand_cell(row: Mapping, side: str, one_family: bool, names: Mapping[str, str] | None) -> Markup:
    """Interval, p and corrected p of one estimand, its test behind a button; `side` is '' or 'method_'."""
    p, corrected, test = row[f"{side}p"], row[f"{side}p_holm"], row[f"{side}test"]
    told = [] if pd.isna(row[f"{side}statistic"]) else [f"{test}, statistic {statistic_text(row[f'{side}statistic'])}"]
    told += [in_words(row[f"{side}note"], names)] if row[f"{side}note"] else []
    if side and not pd.isna(row["detectable"]):
        found = detectable_text(row["detectable"], row["metric"])
        a = "" if found.startswith("no ") else "a difference of "
        told.append(f"with this many {a}{found} would be found in 80 % of the cases")
    if side and not pd.isna(row["equivalence_p"]):
        told.append(f"equivalence within ±{row['equivalence_margin']:g}: p {p_words(row['equivalence_p'])}")
    words = interval_text(row[f"{side}ci_low"], row[f"{side}ci_high"]) or "–"
    family = "" if one_family else f", {_family_words(row, side)}"
    holm = small("" if pd.isna(corrected) else f"Holm {p_words(corrected)}{family}")
    tested = "" if pd.isna(p) else f"<br>p {p_text(p)}{holm}"
    return Markup(words + tested + (folded("; ".join(told), "test") if told else ""))


def _family_words(row: Mapping, side: str = "") -> str:
    """'family clean of 3 tests'."""
    return f"family {row['family']} of {counted(int(row[f'{side}family_tests']), 'test')}"


def _unpaired(comparisons: pd.DataFrame) -> pd.Series:
    """Which rows compare two groups of units: changes from the home set."""
    return (comparisons["role"] == "external") & comparisons["metric"].str.endswith(" gap")


def _pairing(comparisons: pd.DataFrame) -> str:
    """', paired by scans'; of changes from the home set that they are not."""
    apart = _unpaired(comparisons)
    units = " or ".join(f"{unit}s" for unit in dict.fromkeys(comparisons.loc[~apart, "unit"]))
    paired = f", paired by {units}" if units else ""
    if not apart.any():
        return paired
    groups = " or ".join(f"{unit}s" for unit in dict.fromkeys(comparisons.loc[apart, "unit"]))
    return f"{paired}; a change from the home set compares two groups of {groups}, which are not paired"


def _remarks(comparisons: pd.DataFrame) -> list[str]:
    """What a reader would stumble over, where it occurs: intervals without 0 beside a p that is not small."""
    leaves_out = (comparisons["ci_low"] > 0) | (comparisons["ci_high"] < 0)
    odd = int((leaves_out & (comparisons["p"] >= 0.05)).sum())
    if not odd:
        return []
    return [
        f"In {counted(odd, 'row')} the interval of these networks leaves out 0 although p is not below 0.05: the "
        "bootstrap asks about the mean of the differences, the tests of ranks about their signs and order, and with "
        "few units the bootstrap is narrow."
    ]


def in_order(comparisons: pd.DataFrame) -> pd.DataFrame:
    """Rows by metric, set, structure, scope and corruption; the A/A arm below the others."""
    metrics = [*_METRIC_ORDER, *sorted(set(comparisons["metric"]).difference(_METRIC_ORDER))]
    conditions = order_corruptions(comparisons["condition"])
    ranks = {
        "by_metric": comparisons["metric"].map(metrics.index),
        "by_scope": comparisons["scope"].map({"clean": 0, "all corruptions": 1, "corruption": 2}).fillna(3),
        "by_condition": comparisons["condition"].map(conditions.index),
        "by_arm": (comparisons["arm"] == AA_ARM).astype(int),
    }
    by = ["by_metric", "set", "by_scope", "by_condition", "by_arm"]
    return comparisons.assign(**ranks).sort_values(by, kind="stable")


def compared_words(row: Mapping, main: str = "") -> str:
    """What a row of the comparisons table compares: 'Dice, left kidney, shot noise, severity 3'."""
    words = [metric_title(row["metric"], row["role"])]
    if row["structure"] or (main and row["metric"] in ("dice", "missed")):
        words.append(structure_title(row["structure"] or main))
    if row["scope"] != "clean":
        words.append(corruption_word(row["condition"]))
    if row["scope"] == "severity":
        words.append(f"severity {row['severity']}")
    return ", ".join(words)
