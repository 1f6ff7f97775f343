"""Robustness in groups of patients and organ by organ: differences between the arms with intervals, and the scores.

Enters: `statistics.subgroups.subgroup_scores` of one task, set, metric and arm. Leaves: a figure and tables. The paper
has no such table; they stand beside its sections 3.2 and 3.3.
"""

import textwrap
from collections.abc import Mapping

import pandas as pd
from matplotlib.lines import Line2D

from ssrobust_lib.statistics.subgroups import EVERYBODY, ORGAN

from .canvas import StudyFigure, finish, legend_above, message_figure, new_figure, styled
from .hovering import note_marks
from .result_tables import interval_text, signed
from .style import FAINT, INK, paper_label, structure_title
from .tables import HtmlTable, Markup, html_table, object_frame, small
from .tidy import require_columns

EXPLORATORY = (
    "Exploratory: in no declared family and without a p-value; of so many intervals some exclude zero by chance."
)
_SCOPES: Mapping[str, tuple[str, str, float]] = {  # words, face, place within a row
    "clean": ("clean images", "white", -0.16),
    "all corruptions": ("mean over the corruptions", "#00588c", 0.16),
}
_INTERVALS = "Interval of the method"
_NEEDED = [
    "attribute", "group", "scope", "arm", "reference", "n", "n_seeds", "unit", "mean_arm", "mean_reference",
    "difference", "ci_low", "ci_high", "method_ci_low", "method_ci_high", "note",
]  # fmt: skip


def group_title(attribute: str, group: str) -> str:
    """'view: AP', 'left kidney', or 'everybody'."""
    if attribute == EVERYBODY:
        return "everybody"
    return structure_title(group) if attribute == ORGAN else f"{attribute}: {group}"


@styled
def subgroup_differences(
    scores: pd.DataFrame, *, dataset: str, metric: str, title: str, scopes: tuple[str, ...] = tuple(_SCOPES)
) -> StudyFigure:
    """Difference between two arms in each group, clean and under corruption, with the interval of the method.

    Parameters
    ----------
    scores : rows of one task, set, metric and arm. With one seed the intervals are those of these networks.
    metric : word on the axis.
    scopes : 'clean', 'all corruptions', or both.
    """
    require_columns(scores, _NEEDED, "scores")
    rows = scores[scores["scope"].isin(scopes)]
    if rows.empty:
        return message_figure(title, dataset, "No group has been scored in both arms.")
    groups = list(dict.fromkeys(zip(rows["attribute"], rows["group"], strict=True)))
    figure = new_figure(2.0 + 0.42 * len(groups))
    axes = figure.subplots()
    axes.axvline(0, color=INK, linewidth=1.0)
    by_seeds = bool(rows["method_ci_low"].notna().any())
    names = []
    for place, (attribute, group) in enumerate(groups):
        of_group = rows[(rows["attribute"] == attribute) & (rows["group"] == group)]
        names.append(textwrap.fill(f"{group_title(attribute, group)} (n = {int(of_group['n'].max())})", 30))
        for row in of_group.itertuples(index=False):
            words, face, offset = _SCOPES[str(row.scope)]
            y = place + (offset if len(scopes) > 1 else 0)
            if pd.isna(row.difference):
                if row.scope == scopes[0]:
                    axes.annotate(_short(row.note), (0, place), (5, 0), textcoords="offset points", va="center")
                continue
            low, high = (row.method_ci_low, row.method_ci_high) if by_seeds else (row.ci_low, row.ci_high)
            if pd.notna(low):
                axes.plot([low, high], [y, y], color="#00588c", linewidth=1.4, zorder=2)
            axes.plot(row.difference, y, marker="o", markerfacecolor=face, markeredgecolor="#00588c", zorder=3)
            said = f"{group_title(attribute, group)}, {words}, n = {row.n} {row.unit}s"
            difference = f"Difference {signed(float(row.difference))}{_interval(low, high)}"
            means = f"{paper_label(row.arm)} {row.mean_arm:.3f}, {paper_label(row.reference)} {row.mean_reference:.3f}"
            note_marks(axes, [float(row.difference)], [y], [f"{said}\n{difference}\n{means}"])
    axes.set_yticks(range(len(groups)), names, fontsize=12)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(groups) - 0.4, -0.6)
    for place in range(1, len(groups)):
        if groups[place][0] != groups[place - 1][0]:
            axes.axhline(place - 0.5, color=FAINT, linewidth=0.6, linestyle=(0, (2, 3)))
    axes.xaxis.grid(True)
    arm, reference = str(rows["arm"].iloc[0]), str(rows["reference"].iloc[0])
    axes.set_xlabel(f"{metric}: {paper_label(arm)}\nminus {paper_label(reference).lower()}")
    looks = [_SCOPES[scope] for scope in scopes]
    handles = [
        Line2D([], [], marker="o", color="#00588c", markerfacecolor=face, label=words) for words, face, _ in looks
    ]
    legend_above(axes, handles)
    estimand = "the method (other patients and seeds)" if by_seeds else "these networks (other patients; one seed)"
    counts = []
    for scope in scopes:
        measured = rows[(rows["scope"] == scope) & rows["difference"].notna() & (rows["attribute"] != "")]
        where = f" ({_SCOPES[scope][0].lower()})" if len(scopes) > 1 else ""
        counts.append(f"{int((measured['difference'] > 0).sum())} of {len(measured)} groups{where}")
    see = f"{paper_label(arm)} is ahead in {' and in '.join(counts)}: right of zero it does better."
    notes = [f"Lines: 95 % intervals of {estimand}. {EXPLORATORY}"]
    return finish(figure, title, dataset, notes, see=see)


def _interval(low: float, high: float) -> str:
    return "" if pd.isna(low) else f", 95 % interval {signed(float(low))} to {signed(float(high))}"


def subgroup_table(scores: pd.DataFrame, caption: str, *, dataset: str, scope: str = "clean") -> HtmlTable:
    """Scores of both arms in each group, the difference, and its two intervals; under corruption the drops, too.

    Parameters
    ----------
    scores : rows of one task, set, metric and arm.
    scope : 'clean' or 'all corruptions'.
    """
    require_columns(scores, _NEEDED, "scores")
    rows = scores[scores["scope"] == scope]
    drops = scores[scores["scope"] == "drop"].set_index(["attribute", "group"])
    corrupted = scope != "clean"
    table = []
    for row in rows.itertuples(index=False):
        key = (row.attribute, row.group)
        drop = drops.loc[key] if corrupted and key in drops.index else None
        cells = {"Group": group_title(*key), "n": str(row.n)}
        if not pd.isna(getattr(row, "positive", float("nan"))):
            cells["With the finding"] = f"{100 * row.positive:.0f} %"
        for column, arm in (("mean_reference", row.reference), ("mean_arm", row.arm)):
            value = getattr(row, column)
            lost = "" if drop is None or pd.isna(drop[column]) else f"drop {signed(float(drop[column]))}"
            cells[paper_label(arm)] = _short(row.note) if pd.isna(value) else Markup(f"{value:.3f}" + small(lost))
        if pd.isna(row.difference):
            cells |= dict.fromkeys(("Difference", _INTERVALS), "–")
        else:
            of_drop = (
                "" if drop is None or pd.isna(drop["difference"]) else f"of drops {signed(float(drop['difference']))}"
            )
            cells["Difference"] = Markup(signed(float(row.difference)) + small(of_drop))
            no_method = row.note or ("one seed" if row.n_seeds < 2 else "no interval")
            of_method = _between(row.method_ci_low, row.method_ci_high, no_method)
            cells[_INTERVALS] = Markup(
                of_method + small(f"these networks {_between(row.ci_low, row.ci_high, row.note)}")
            )
        table.append(cells)
    columns = list(dict.fromkeys(name for cells in table for name in cells))
    units = "/".join(dict.fromkeys(f"{unit}s" for unit in rows["unit"]))
    note = (
        f"n: {units}. Intervals: 95 % of the difference, of the method (other patients and seeds) and of these "
        "networks (other patients); where the few seeds happen to agree, the first can come out the narrower. Both are "
        "Student's; the tables of tests have bootstrap intervals of these networks, which differ a little. "
        "Attributes that the set does not state, or in which all agree, have no rows. "
        f"{EXPLORATORY}"
    )
    return html_table(object_frame(table, columns), caption, dataset=dataset, note=note, stacked=True, data=scores)


def _between(low: float, high: float, reason: str) -> str:
    return _short(reason) if pd.isna(low) else interval_text(float(low), float(high))


def _short(note: str) -> str:
    """The reason in a few words: what stands before its colon, where it has one."""
    return note.split(":")[0] if note else "–"


def subgroup_parts(scores: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """What to show of one task, set and arm: (words, metric, rows) of the groups of patients and of the organs.

    Each part begins with everybody; one without a group is left out.
    """
    parts = []
    for metric in dict.fromkeys(scores["metric"]):
        rows = scores[scores["metric"] == metric]
        for words, chosen in (("groups of patients", rows["attribute"] != ORGAN), ("organ by organ", None)):
            shown = rows[chosen] if chosen is not None else rows[rows["attribute"].isin([EVERYBODY, ORGAN])]
            if (shown["attribute"] != EVERYBODY).any():
                parts.append((words, str(metric), shown))
    return parts
