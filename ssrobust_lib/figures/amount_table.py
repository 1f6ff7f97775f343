"""The numbers behind a curve: every arm's score at every number of images, and its difference from normal training.

Enters: `statistics.amounts.curve_points` and `curve_differences`. Leaves: an `HtmlTable`. Not in the paper, which has
one number of labels and one pool (section 3.1).
"""

import pandas as pd

from ssrobust_lib.config import REFERENCE_ARM

from .amount_curves import CONDITIONS, amount_words
from .result_tables import interval_text, signed
from .style import metric_title, order_arms, paper_label
from .tables import HtmlTable, Markup, html_table, object_frame, p_text, small
from .tidy import require_columns

_PLACE = ["metric", "condition", "amount"]


def amount_table(
    points: pd.DataFrame, differences: pd.DataFrame, caption: str, *, dataset: str, fold: str | None = None
) -> HtmlTable:
    """One row per score and amount: each arm's mean with its interval, and the differences with their p-values.

    Parameters
    ----------
    points, differences : of one task and axis.
    fold : words of a button that the table hides behind.
    """
    require_columns(points, [*_PLACE, "init", "n_images", "n_seeds", "mean", "low", "high"], "points")
    require_columns(differences, [*_PLACE, "init", "against", "difference", "p_holm"], "differences")
    arms = order_arms(points["init"])
    rows = []
    order = points.sort_values(["metric", "condition", "n_images"], key=_ranked, kind="stable")
    for place in order[_PLACE].drop_duplicates().to_dict("records"):
        here = points[(points[_PLACE] == pd.Series(place)).all(axis=1)].set_index("init")
        found = differences[(differences[_PLACE] == pd.Series(place)).all(axis=1)]
        images = ", ".join(f"{n:,}" for n in sorted(here["n_images"].unique()))
        words = metric_title(str(place["metric"])) + small(CONDITIONS[str(place["condition"])])
        entry = {"Score": Markup(words), "Images": Markup(images + small(amount_words(str(place["amount"]))))}
        entry |= {paper_label(arm): _mean(here, arm) for arm in arms}
        entry["Difference"] = Markup("".join(_difference(row) for row in found.to_dict("records")) or "–")
        rows.append(entry)
    columns = ["Score", "Images", *map(paper_label, arms), "Difference"]
    note = "Mean over seeds and its 95 % interval (Student); p from paired t-tests over seeds, Holm-corrected by curve."
    return html_table(
        object_frame(rows, columns), caption, dataset=dataset, note=note, stacked=True, fold=fold, data=points
    )


def _ranked(column: pd.Series) -> pd.Series:
    return column.map(list(CONDITIONS).index) if column.name == "condition" else column


def _mean(here: pd.DataFrame, arm: str) -> Markup:
    if arm not in here.index:
        return Markup("–")
    row = here.loc[arm]
    return Markup(f"{row['mean']:.3f}" + small(interval_text(row["low"], row["high"])))


def _difference(row: dict) -> str:
    against = "" if row["against"] == REFERENCE_ARM else f"against {amount_words(row['against'])} of the pool"
    p = small(row["note"]) if pd.isna(row["p_holm"]) else Markup(f"<br>p {p_text(row['p_holm'])}")
    said = signed(row["difference"]) + small(interval_text(row["low"], row["high"])) + small(against) + p
    return f"<div>{said}</div>"
