"""Tables of training and calibration: what was transferred, and how strong the severities are.

Enters: the tables of the fine-tuning and calibration cells. Leaves: an `HtmlTable` in words. Sections 2 and 3.3 of the
paper.
"""

import pandas as pd

from .style import corruption_title, order_arms, order_corruptions, paper_label
from .tables import HtmlTable, Markup, folded, html_table


def transfer_table(transfer: pd.DataFrame, caption: str, *, dataset: str) -> HtmlTable:
    """Tensors of one network by part, with where they come from; parts are the first three levels of their names."""
    parts = transfer.assign(part=transfer["tensor"].str.split(".").str[:3].str.join("."))
    sums = parts.groupby(["part", "status"], sort=False)["parameters"].agg(["size", "sum"]).reset_index()
    headings = {"part": "part of the network", "status": "starts", "size": "tensors", "sum": "numbers"}
    sums["status"] = sums["status"].replace({"transferred": "from the pretext task"})
    return html_table(sums, caption, dataset=dataset, headings=headings, fold=caption)


def severity_table(severities: pd.DataFrame, caption: str, *, dataset: str) -> HtmlTable:
    """Strongest severity of each corruption of a task: strength in words, score there, what the rule left open.

    Parameters
    ----------
    severities : `ssrobust_lib.examples.strongest_words` of one task.
    """
    said = {row.corruption: note_clauses(row.note) for row in severities.itertuples()}
    everywhere = [clause for clause in next(iter(said.values()), []) if all(clause in other for other in said.values())]
    order = order_corruptions(severities["corruption"])
    rows = severities.set_index("corruption").loc[order].reset_index()
    shown = pd.DataFrame(
        {
            "corruption": [corruption_title(name) for name in order],
            "severity 5": rows["words"],
            "score": rows["score"],
            "floor": pd.Series(
                [
                    Markup(_floor_words(row.reached_floor, [c for c in said[row.corruption] if c not in everywhere]))
                    for row in rows.itertuples()
                ],
                dtype=object,
            ),
        }
    )
    floor = f"Score: weaker arm, validation images. Floor: {rows['floor'].iloc[0]:.3g}." if len(rows) else None
    return html_table(shown, caption, dataset=dataset, note=floor)


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
    return html_table(frame, caption, dataset=dataset, headings=headings)
