"""Differences between arms with their intervals: the forest plot of every comparison of the study.

Enters: the table `comparisons`. Leaves: a figure whose rows are grouped by family (the tests corrected together).
Sections 3.2 to 3.4 of the paper.
"""

import numpy as np
import pandas as pd
from matplotlib.transforms import blended_transform_factory

from ssrobust_lib.registry import unknown_name

from .canvas import StudyFigure, message_figure, styled
from .sheets import Sheet
from .style import (
    FAINT,
    INK,
    WIDTH,
    arm_styles,
    corruption_title,
    format_p,
    metric_title,
    order_corruptions,
    p_colour,
    paper_label,
    structure_title,
)
from .tidy import require_columns

_COLUMNS = ["family", "metric", "condition", "arm", "reference", "n", "n_seeds", "unit"]
_COLUMNS += ["difference", "note"]

_FAMILY_WORDS = {
    "clean": "Clean images",
    "corruption": "Under each corruption, severities averaged",
    "overall": "Mean over all corruptions",
    "generalization": "Clean images of another centre",
}
_METHOD_WORDS = "The method: other patients or scans and other seeds."
_NETWORKS_WORDS = "These networks: other patients or scans, the networks as they are."
#: Estimand -> its interval, its corrected p and the words of the caption.
_ESTIMANDS = {
    "method": ("method_ci_low", "method_ci_high", "method_p_holm", _METHOD_WORDS),
    "networks": ("ci_low", "ci_high", "p_holm", _NETWORKS_WORDS),
}


@styled
def forest_plot(
    comparisons: pd.DataFrame,
    *,
    dataset: str,
    margin: float | None = None,
    title: str = "Differences between the arms",
    estimand: str = "method",
) -> StudyFigure:
    """Difference (arm minus reference) with its interval and p value, one row per comparison, grouped by family.

    Parameters
    ----------
    comparisons : family, metric, condition, arm, reference, n, n_seeds, unit, difference, note, and interval and
        corrected p of the estimand. A row whose difference is empty stays in its place and prints its note.
    margin : differences within +- margin count as none; drawn as a band.
    estimand : 'method' (`method_ci_low`, ...: other patients and other seeds) or 'networks' (`ci_low`, ...: other
        patients, the networks as they are).

    Raises
    ------
    ValueError
        For missing columns.
    UnknownNameError
        For an unknown estimand.

    Notes
    -----
    A full marker stands for an interval that leaves out zero, a hollow one for an interval that holds it.
    """
    if estimand not in _ESTIMANDS:
        raise unknown_name("estimand", estimand, list(_ESTIMANDS))
    low, high, p_column, _ = _ESTIMANDS[estimand]
    require_columns(comparisons, [*_COLUMNS, low, high, p_column], "comparisons")
    comparisons = comparisons.assign(ci_low=comparisons[low], ci_high=comparisons[high])
    if comparisons.empty:
        return message_figure(title, dataset, "No comparison has been made yet.")
    pairs = comparisons[["arm", "reference"]].drop_duplicates()
    lines = _lines(comparisons, several_pairs=len(pairs) > 1)
    styles = arm_styles({*pairs["arm"], "jigsaw", "scratch"})
    longest = max((len(text) for text, row in lines if row is not None), default=10)
    left, right = min(0.25 + 0.083 * longest, 3.2), 0.95
    sheet = Sheet()
    box = (left, 0.05, WIDTH - left - right, 0.28 * len(lines))
    sheet.used = box[1] + box[3] + 0.55
    figure = sheet.figure(title, dataset, _notes(comparisons, margin, estimand))
    axes = sheet.place(box)
    across = blended_transform_factory(figure.transFigure, axes.transData)
    beside = blended_transform_factory(axes.transAxes, axes.transData)
    for y, (text, row) in enumerate(lines):
        if row is None:
            axes.plot([0, 1], [y - 0.5, y - 0.5], transform=across, color="#bbbbbb", linewidth=0.8, clip_on=False)
            axes.text(0.01, y, text, transform=across, va="center", fontweight="bold", fontsize=10.5, zorder=5,
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 2})  # fmt: skip
            continue
        axes.text(-0.02, y, text, transform=beside, ha="right", va="center", fontsize=11)
        p = float(row[p_column]) if pd.notna(row[p_column]) else None
        axes.text(1.02, y, format_p(p), transform=beside, va="center", fontsize=10.5, color=p_colour(p),
                  fontweight="bold" if p is not None and p < 0.001 else "normal")  # fmt: skip
        if pd.isna(row["difference"]):
            axes.text(0.5, y, str(row["note"]) or "not computed", transform=beside, ha="center", va="center",
                      fontsize=9.5, fontstyle="italic", color=FAINT)  # fmt: skip
            continue
        style = styles[row["arm"]]
        leaves_out_zero = pd.notna(row["ci_low"]) and (row["ci_low"] > 0 or row["ci_high"] < 0)
        if pd.notna(row["ci_low"]):
            axes.plot([row["ci_low"], row["ci_high"]], [y, y], color=style.colour, linewidth=2.2)
        axes.plot(row["difference"], y, marker=style.marker, markersize=8, color=style.colour, markeredgewidth=1.6,
                  markerfacecolor=style.colour if leaves_out_zero else "white")  # fmt: skip
    axes.axvline(0, color=INK, linewidth=1.1, zorder=0)
    if margin is not None:
        axes.axvspan(-margin, margin, color="#e8e8e8", zorder=-1, linewidth=0)
    reach = np.nanmax(np.abs(comparisons[["difference", "ci_low", "ci_high"]].to_numpy(dtype=float)), initial=0.02)
    axes.set_xlim(-1.08 * reach, 1.08 * reach)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.xaxis.grid(True)
    axes.locator_params(axis="x", nbins=5)
    if len(pairs) == 1:
        arm, reference = pairs.iloc[0]
        words = f"\u2190 {_short(reference)} better     {_short(arm)} better \u2192"
    else:
        words = "arm minus reference (right: arm better)"
    axes.set_xlabel(words, fontsize=10.5)
    return figure


def _short(init: str) -> str:
    return paper_label(init).replace("Self-supervised (jigsaw)", "Self-supervised")


def _lines(comparisons: pd.DataFrame, *, several_pairs: bool) -> list[tuple[str, pd.Series | None]]:
    """Rows of the plot: a heading per family, then its comparisons by metric and corruption."""
    lines: list[tuple[str, pd.Series | None]] = []
    rank = {name: turn for turn, name in enumerate(order_corruptions(comparisons["condition"]))}
    families = [name for name in _FAMILY_WORDS if name in set(comparisons["family"])]
    families += [name for name in comparisons["family"].unique() if name not in families]
    for family in families:
        rows = comparisons[comparisons["family"] == family]
        rows = rows.assign(rank=rows["condition"].map(rank)).sort_values(["metric", "rank"], kind="stable")
        heading, pairs = _FAMILY_WORDS.get(family, str(family).replace("_", " ")), rows[["arm", "reference"]]
        pairs = pairs.drop_duplicates()
        if several_pairs and len(pairs) == 1:
            heading += f" ({_pair(rows.iloc[0])})"
        lines.append((heading, None))
        one_metric = rows["metric"].nunique() == 1 and str(rows["metric"].iloc[0]) in str(family)
        for _, row in rows.iterrows():
            words = [] if one_metric else [metric_title(str(row["metric"]), str(row.get("role", "home")))]
            if isinstance(row.get("structure"), str) and row["structure"]:
                words.append(structure_title(row["structure"]))
            if row["condition"] not in ("clean", "all corruptions") or not words:
                words.append(corruption_title(row["condition"]))
            if row.get("scope") == "severity":
                words.append(f"severity {row['severity']}")
            if len(pairs) > 1:
                words.append(_pair(row))
            lines.append((", ".join(words), row))
    return lines


def _pair(row: pd.Series) -> str:
    return f"{_short(row['arm'])} against {_short(row['reference'])}"


def _notes(comparisons: pd.DataFrame, margin: float | None, estimand: str) -> list[str | None]:
    """Sentences of the caption: unit, n, seeds, correction, margin."""
    counted = comparisons.dropna(subset=["n"])
    sizes = [
        f"{unit}: n = {low:,}" + ("" if low == high else f" to {high:,}")
        for unit, low, high in (
            (unit, int(rows["n"].min()), int(rows["n"].max())) for unit, rows in counted.groupby("unit", sort=False)
        )
    ]
    seeds = sorted(comparisons["n_seeds"].dropna().astype(int).unique())
    return [
        f"Paired by {'; '.join(sizes)}." if sizes else None,
        f"Seeds: {', '.join(map(str, seeds))}." if seeds else None,
        _ESTIMANDS[estimand][-1],
        "Lines: 95 % interval; full marker: it leaves out zero.",
        "p: Holm-corrected within a family; red: p < 0.001.",
        f"Grey band: differences within {margin:g} count as none." if margin is not None else None,
    ]
