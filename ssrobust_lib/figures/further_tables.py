"""Tables of what stands beside the two tests of a comparison: effect sizes, and further tests and intervals.

Enters: the comparisons table and the long table of further tests (`ssrobust_lib.statistics.further_tests`). Leaves: an
`HtmlTable`. Sections 3.2 to 3.4 of the paper, which has neither.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from .comparison_tables import compared_words, in_order
from .result_tables import counted, detectable_text, interval_text, statistic_text
from .tables import HtmlTable, Markup, html_table, object_frame, p_text, small
from .tidy import require_columns

_EFFECTS = {
    "rank-biserial correlation": "Rank-biserial",
    "Cohen's d_z": "Cohen's d_z",
    "common-language effect size": "Common language",
}
_EFFECT_COLUMNS = {
    "rank-biserial correlation": "rank_biserial",
    "Cohen's d_z": "cohens_d_z",
    "common-language effect size": "common_language",
}
_KEYS = ["comparison", "task", "set", "role", "metric", "structure", "scope", "condition", "severity", "arm"]
_KEYS += ["n_seeds"]
_FURTHER = ["comparison", "estimand", "kind", "name", "unit", "n", "estimate", "low", "high", "statistic", "p", "note"]


def _counted_units(row: Mapping, n_seeds: int) -> str:
    """n in words: '12 scans', '3 seeds, 12 scans' where they are crossed, '36 pairs of seed and scan'."""
    n, unit = int(row["n"]), str(row["unit"])
    if unit.startswith("seed and "):
        return f"{counted(n_seeds, 'seed')}, {counted(n, unit.removeprefix('seed and '))}"
    return f"{n:,} pairs of {unit.replace(' x ', ' and ')}" if " x " in unit else counted(n, unit)


def effect_table(
    comparisons: pd.DataFrame,
    further: pd.DataFrame,
    caption: str,
    *,
    dataset: str,
    names: Mapping[str, str] | None = None,
    fold: str | None = None,
) -> HtmlTable:
    """One line per comparison: effect sizes over units, and what the method's test could and could not show.

    Parameters
    ----------
    comparisons, further : `compare_and_test`'s two tables; rows of `further` about other comparisons are left out.
    names : set -> short words, set below a row where several sets are in the table.
    fold : words of a button to hide the table behind.
    """
    require_columns(comparisons, [*_KEYS, "equivalence_p", "detectable"], "comparisons")
    require_columns(further, _FURTHER, "further tests")
    sizes = further[further["kind"] == "effect size"].set_index(["comparison", "name"])["estimate"]
    several, rows = comparisons["set"].nunique() > 1, []
    for row in in_order(comparisons).to_dict("records"):
        place = (names or {}).get(row["set"], row["set"]) if several else ""
        line: dict = {"Comparison": Markup(compared_words(row) + small(place))}
        for name, heading in _EFFECTS.items():
            value = sizes.get((row["comparison"], name))
            line[heading] = "–" if value is None or pd.isna(value) else f"{value:+.2f}".replace("-", "−")
        line["Common language"] = line["Common language"].removeprefix("+")
        line["Equivalence, p"] = p_text(row["equivalence_p"])
        line["Detectable"] = detectable_text(row["detectable"], row["metric"])
        rows.append(line)
    shown = object_frame(rows, ["Comparison", *_EFFECTS.values(), "Equivalence, p", "Detectable"])
    note = (
        "Effect sizes are of these networks, over patients or scans: rank-biserial from −1 to 1; d_z in standard "
        "deviations of the differences; common language: share of the patients or scans on which the arm is ahead. "
        "Equivalence within the profile's margin, and the difference that would have been found in 80 % of the cases, "
        "are of the method. An AUROC has no value per patient."
    )
    headings = {name: name for name in _EFFECTS.values()}  # an underscore is no space here
    words: dict[str, Any] = {"dataset": dataset, "headings": headings, "note": note, "fold": fold}
    return html_table(shown, caption, stacked=True, data=_with_effects(comparisons, sizes), **words)


def _with_effects(comparisons: pd.DataFrame, sizes: pd.Series) -> pd.DataFrame:
    """Comparisons with a column for each effect size: what the CSV below the table holds."""
    wide = sizes.unstack("name").reindex(columns=list(_EFFECTS)).reindex(comparisons["comparison"])
    kept = comparisons[[*_KEYS, "n", "unit", "difference", "equivalence_p", "detectable"]].reset_index(drop=True)
    return kept.assign(**{_EFFECT_COLUMNS[name]: wide[name].to_numpy() for name in _EFFECTS})


def further_table(
    comparisons: pd.DataFrame,
    further: pd.DataFrame,
    caption: str,
    *,
    dataset: str,
    names: Mapping[str, str] | None = None,
    fold: str | None = None,
) -> HtmlTable:
    """Every further test and interval of some comparisons, with its question, unit and n.

    Parameters
    ----------
    comparisons, further : `compare_and_test`'s two tables; rows of `further` about other comparisons are left out.
    names : set -> short words.
    fold : words of a button to hide the table behind.
    """
    require_columns(comparisons, _KEYS, "comparisons")
    require_columns(further, _FURTHER, "further tests")
    listed, rows = further[further["kind"] != "effect size"], []
    for compared in in_order(comparisons).to_dict("records"):
        place = (names or {}).get(compared["set"], compared["set"])
        for row in listed[listed["comparison"] == compared["comparison"]].to_dict("records"):
            statistic = "" if pd.isna(row["statistic"]) else f"statistic {statistic_text(row['statistic'])}"
            rows.append(
                {
                    "Comparison": Markup(compared_words(compared) + small(place)),
                    "Question": row["estimand"],
                    "Test or interval": Markup(row["name"] + small("; ".join(filter(None, (statistic, row["note"]))))),
                    "n": _counted_units(row, int(compared["n_seeds"])),
                    "95 % interval": interval_text(row["low"], row["high"]) or "–",
                    "p": p_text(row["p"]),
                }
            )
    columns = ["Comparison", "Question", "Test or interval", "n", "95 % interval", "p"]
    words: dict[str, Any] = {"dataset": dataset, "fold": fold}
    data = listed[listed["comparison"].isin(comparisons["comparison"])]
    return html_table(object_frame(rows, columns), caption, stacked=True, data=data, **words)
