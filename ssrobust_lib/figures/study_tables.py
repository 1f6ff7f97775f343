"""Tables of training and calibration: what was transferred, and how strong the severities are.

Enters: the tables of the fine-tuning and calibration cells. Leaves: an `HtmlTable` in words. Sections 2 and 3.3 of the
paper.
"""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from .style import corruption_title, order_arms, order_corruptions, paper_label
from .tables import HtmlTable, Markup, folded, html_table, small


def transfer_table(transfer: pd.DataFrame, caption: str, *, dataset: str) -> HtmlTable:
    """Tensors of one network by part, with where they come from; parts are the first three levels of their names."""
    parts = transfer.assign(part=transfer["tensor"].str.split(".").str[:3].str.join("."))
    sums = parts.groupby(["part", "status"], sort=False)["parameters"].agg(["size", "sum"]).reset_index()
    headings = {"part": "part of the network", "status": "starts", "size": "tensors", "sum": "numbers"}
    sums["status"] = sums["status"].replace({"transferred": "from the pretext task"})
    return html_table(sums, caption, dataset=dataset, headings=headings, fold=caption, data=transfer)


def severity_table(
    severities: pd.DataFrame,
    strongest: pd.DataFrame,
    caption: str,
    *,
    dataset: str,
    reference: str = "the weaker arm's",
    published: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
) -> HtmlTable:
    """Severities of each corruption of a task: strengths and scores, what the rule left open, published strengths.

    Parameters
    ----------
    severities : one row per corruption and severity.
    strongest : `ssrobust_lib.severities.strengths.strongest_words` of them.
    reference : whose score it is, in words.
    published : name of a table -> corruption -> its strengths.
    """
    said = {row.corruption: note_clauses(row.note) for row in strongest.itertuples()}
    everywhere = [clause for clause in next(iter(said.values()), []) if all(clause in other for other in said.values())]
    order = order_corruptions(strongest["corruption"])
    rows = strongest.set_index("corruption").loc[order].reset_index()
    of_name = {name: part.sort_values("severity") for name, part in severities.groupby("corruption")}
    columns = {
        "corruption": [
            Markup(corruption_title(name) + small(f"severity 5: {words}"))
            for name, words in zip(order, rows["words"], strict=True)
        ],
        "strengths 1 to 5": [_numbers(of_name[name]["strength"]) for name in order],
        "scores 1 to 5": [_numbers(of_name[name]["score"], "{:.2f}") for name in order],
        "floor": [
            Markup(_floor_words(row.reached_floor, [c for c in said[row.corruption] if c not in everywhere]))
            for row in rows.itertuples()
        ],
    }
    columns |= {
        title: [_numbers(table[name]) if name in table else "–" for name in order]
        for title, table in (published or {}).items()
    }
    shown = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})
    floor = f"Score: {reference}, validation images. Floor: {rows['floor'].iloc[0]:.3g}." if len(rows) else None
    return html_table(shown, caption, dataset=dataset, note=floor, stacked=True, data=severities)


def _numbers(values: Iterable[float], form: str = "{:.2g}") -> str:
    return ", ".join(form.format(value) for value in values)


def _floor_words(reached: bool, why: list[str]) -> str:
    return ("reached" if reached else "not reached") + (folded("; ".join(why), "why") if why else "")


def note_clauses(note: str) -> list[str]:
    """The parts of a note that are parted by semicolons."""
    return [clause.strip() for clause in note.split(";") if clause.strip()]


def best_epochs(curves: pd.DataFrame, caption: str, *, dataset: str, score_name: str) -> HtmlTable:
    """The epoch whose weights were kept, of each arm and seed of one task.

    Parameters
    ----------
    curves : init, seed, epoch, val_score: one row per epoch of every network.
    score_name : word for the validation score.
    """
    best = curves.loc[curves.groupby(["init", "seed"], sort=False)["val_score"].idxmax()]
    last = curves.groupby(["init", "seed"])["epoch"].max()
    rows = []
    for arm in order_arms(best["init"]):
        of_arm = best[best["init"] == arm].sort_values("seed")
        epochs = [f"{row.epoch} of {last[arm, row.seed]}" for row in of_arm.itertuples()]
        scores = [f"{row.val_score:.3f}" for row in of_arm.itertuples()]
        rows.append({"arm": paper_label(arm), "epoch": ", ".join(epochs), "score": ", ".join(scores)})
    headings = {"epoch": "best epoch of each seed", "score": f"validation {score_name}"}
    frame = pd.DataFrame(rows, columns=["arm", "epoch", "score"])
    return html_table(frame, caption, dataset=dataset, headings=headings, data=best)
