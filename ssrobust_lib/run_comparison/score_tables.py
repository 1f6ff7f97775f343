"""Changes of scores as tables: each row in words, with its interval, verdict and numbers, and what is missing.

Enters: rows of `changes.changes`. Leaves: HTML for the page, words and numbers for the terminal, CSV.
"""

import base64
import html
from collections.abc import Mapping

import pandas as pd

from ssrobust_lib import figures as fig
from ssrobust_lib.figures.result_tables import detectable_text
from ssrobust_lib.figures.tables import Markup, badge, html_table, object_frame, p_text, small
from ssrobust_lib.run_comparison.changes import CANNOT_BE_TOLD, CHANGED, THE_SAME, WITHIN_NOISE
from ssrobust_lib.run_comparison.comparison import RunComparison, counts
from ssrobust_lib.run_comparison.matched_scores import ALL_CORRUPTIONS, phantoms_of
from ssrobust_lib.run_comparison.stored_run import StoredRun

MAIN_METRICS = ("accuracy", "auroc", "dice")
TONES = {CHANGED: "bad", WITHIN_NOISE: "open", THE_SAME: "good", CANNOT_BE_TOLD: "open"}


def set_words(run: StoredRun, task: str, name: str) -> str:
    """Name of a set, and whether its images are phantoms."""
    return f"{name} phantoms" if phantoms_of(run, task, name) else name


def data_words(comparison: RunComparison, rows: pd.DataFrame) -> str:
    """The sets that rows are about, in words, those of A and B apart where they differ."""
    said = []
    for task, first, second in rows[["task", "set_a", "set_b"]].drop_duplicates().itertuples(index=False):
        of_a, of_b = set_words(comparison.a, task, first), set_words(comparison.b, task, second)
        said.append(of_a if of_a == of_b else f"{of_a} (A), {of_b} (B)")
    return "; ".join(said)


def where(row: Mapping) -> str:
    """What a row is about, in words: 'Dice of the liver, Gaussian noise, severity 3, another centre'."""
    words = fig.metric_title(row["metric"], row["role"])
    words += f" of {fig.structure_title(row['structure'])}" if row["structure"] else ""
    words += f", {fig.corruption_word(row['condition'])}"
    words += f", severity {row['severity']}" if row["scope"] == "severity" else ""
    return words + (", another centre" if row["role"] == "external" else "")


def score_text(row: Mapping, column: str) -> str:
    """A score, or with its sign the difference of an arm from its reference; a dash where there is none."""
    return fig.signed(row[column]) if row["reference"] and pd.notna(row[column]) else fig.mean_std(row[column])


def change_tables(rows: pd.DataFrame, caption: str, dataset: str) -> str:
    """The main rows in sight (clean, all corruptions, another centre, and what changed), the others behind a button."""
    if (rows["verdict"] == THE_SAME).all():
        return f"<p>{html.escape(caption)} ({html.escape(dataset)}): all {len(rows)} are the same, bit for bit.</p>"
    main = rows["metric"].isin(MAIN_METRICS) & (rows["scope"] != "corruption") | (rows["verdict"] == CHANGED)
    shown = change_table(rows[main], caption, dataset) if main.any() else ""
    if main.all():
        return shown
    more = f"{caption}, further rows: {counts(rows[~main])}"
    return shown + change_table(rows[~main], more, dataset, fold=more)


def change_table(
    rows: pd.DataFrame, caption: str, dataset: str, *, fold: str | None = None, note: str | None = None
) -> str:
    """Rows of changes as an HTML table, stacked as cards on a narrow screen.

    Parameters
    ----------
    rows : of `changes.changes`, in any order.
    caption, dataset : what is shown, and on which images.
    fold : words of a button that the table hides behind; None shows it.
    note : more to say below the table.
    """
    columns = ["Score", "Arm", "A", "B", "B less A", "p", "Verdict", "Could have seen", "n"]
    shown = []
    for row in _in_order(rows).to_dict("records"):
        arm = fig.paper_label(row["arm"]) + (f" less {fig.paper_label(row['reference'])}" if row["reference"] else "")
        cells = (
            where(row), arm, score_text(row, "value_a"), score_text(row, "value_b"),
            _with_interval(row["difference"], row["method_ci_low"], row["method_ci_high"]), p_text(row["method_p_bh"]),
            Markup(badge(row["verdict"], TONES[row["verdict"]]) + small(row["note"])), _detectable(row),
            _numbers(row),
        )  # fmt: skip
        shown.append(dict(zip(columns, cells, strict=True)))
    words = ["p: of the method, corrected over the rows."]
    if len({str(row["n"]) for row in shown}) == 1:
        words.append(f"n: {shown[0]['n']}.")
        columns.remove("n")
    else:
        words.append("n: units and seeds of A and of B.")
    words += [note] if note else []
    frame = object_frame(shown, columns)
    return html_table(frame, caption, dataset=dataset, stacked=True, fold=fold, note=" ".join(words)).html


def _detectable(row: dict) -> str:
    return detectable_text(row["detectable"], f"{row['metric']} gap" if row["reference"] else row["metric"])


def _in_order(rows: pd.DataFrame) -> pd.DataFrame:
    """Own set first; by metric, then clean, the corruptions in the paper's order and all of them; arms as drawn."""
    conditions = [name for name in fig.order_corruptions(rows["condition"]) if name != ALL_CORRUPTIONS]
    rank = {name: turn for turn, name in enumerate([*conditions, ALL_CORRUPTIONS])}
    arms = {name: turn for turn, name in enumerate(fig.order_arms(rows["arm"]))}
    keys = rows.assign(_away=rows["role"] != "home", _at=rows["condition"].map(rank), _arm=rows["arm"].map(arms))
    return rows.loc[keys.sort_values(["_away", "metric", "structure", "_at", "severity", "_arm"], kind="stable").index]


def _with_interval(difference: float, low: float, high: float) -> Markup:
    if pd.isna(difference):
        return Markup("–")
    bounds = fig.interval_text(low, high).replace(" ", "\u00a0")
    return Markup(html.escape(fig.signed(difference)) + small(bounds))


def _numbers(row: Mapping) -> str:
    paired = row["n_common"] == row["n_a"] == row["n_b"]
    units = fig.counted(row["n_a"], row["unit"]) if paired else f"{row['n_a']:,} and {row['n_b']:,} {row['unit']}s"
    how = "paired" if paired else f"{row['n_common']:,} in both" if row["n_common"] else "two groups"
    seeds = f"{row['seeds_a']} and {row['seeds_b']} seeds"
    return f"{units}, {how}; " + (f"{row['seeds_a']} seeds, the same networks" if row["same_networks"] else seeds)


def download_link(table: pd.DataFrame, name: str) -> str:
    """A link that saves a table, which is inside the page, as CSV."""
    content = base64.b64encode(to_csv(table).encode()).decode("ascii")
    words = html.escape(name.replace("_", " "))
    return f'<p><a download="{name}.csv" href="data:text/csv;base64,{content}">Save the table {words} as CSV</a></p>'


def to_csv(table: pd.DataFrame) -> str:
    """A table as CSV; floats with 10 digits, empty where there is no value (`note` says why)."""
    return table.to_csv(index=False, float_format="%.10g")
