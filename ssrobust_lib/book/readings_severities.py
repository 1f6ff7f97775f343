"""Sentences on the severities: where the paper's rule applies as it stands, and where it cannot (section 3.3).

Enters: the tables of the calibration cells, and the paper's printed numbers. Leaves: Markdown text for notebook 05.
"""

import pandas as pd
from IPython.display import Markdown

from ssrobust_lib.book.wording import listed
from ssrobust_lib.figures import corruption_word, counted, in_words, note_clauses, order_corruptions
from ssrobust_lib.profile_sections import Calibration
from ssrobust_lib.severities.calibration import REASONS, REFERENCES
from ssrobust_lib.statistics.paper import fill_numbers

_STEPS = {
    "strength": "equal steps of strength below it",
    "score": "the strengths at equal steps of score between clean and the floor",
}


def reading_rule(rule: Calibration, severities: pd.DataFrame) -> Markdown:
    """How the severities of each task were chosen: by which rule, or from where.

    Parameters
    ----------
    rule : the profile's section.
    severities : one row per task, corruption and severity.
    """
    lines = []
    for task, rows in severities.groupby("task", sort=False):
        given = rows.loc[rows["reason"] == "given", "note"]
        if len(given):
            source = note_clauses(given.iloc[0])[0].removeprefix("strengths of ")
            lines.append(
                f"- *{task}*: the severities are those of {source}; nothing was searched. The score at each of them is "
                "measured all the same."
            )
            continue
        floor = float(rows["floor"].iloc[0])
        lowered = f" (lowered from {rule.floor:g}, see below)" if floor < rule.floor else ""
        lines.append(
            f"- *{task}*: severity 5 is the strongest at which {REFERENCES[rule.reference]} score stays above the "
            f"floor of {floor:.3g}{lowered}; severities 1 to 4 are {_STEPS[rule.steps]}. The search ends within "
            f"{rule.closeness.score:g} of the floor, where the validation images tell that much apart and the score "
            f"does not jump, and within {100 * rule.closeness.strength:g} % of the strength."
        )
    return Markdown("\n".join(lines))


def reading_calibration(severities: pd.DataFrame, search: pd.DataFrame) -> Markdown:
    """Where the paper's rule applies as it stands, where it cannot and why, and what the search took.

    Parameters
    ----------
    severities : one row per task, corruption and severity.
    search : every score measured: task, corruption, strength, init, seed, score.
    """
    lines = []
    for task, rows in severities.groupby("task", sort=False):
        last = rows[rows["severity"] == rows["severity"].max()]
        reached = int(last["reached_floor"].sum())
        text = f"- *{task}*: {reached} of {counted(len(last), 'corruption')} bring the score down to the floor."
        said = [note_clauses(note) for note in last["note"]]
        everywhere = [clause for clause in (said[0] if said else []) if all(clause in other for other in said)]
        text += f" For all of them: {in_words('; '.join(everywhere))}." if everywhere else ""
        for reason, of_reason in last.groupby("reason", sort=False):
            if reason in ("rule", "given", "floor_lowered"):  # nothing to add; the last one holds for all corruptions
                continue
            words = [corruption_word(name) for name in order_corruptions(of_reason["corruption"])]
            text += f" {_capital(listed(words))}: {REASONS[str(reason)]}."
        tried = search[(search["task"] == task) & (search["strength"] > 0)]
        networks = len(tried[["init", "seed"]].drop_duplicates())
        strengths = len(tried[["corruption", "strength"]].drop_duplicates())
        text += f" {counted(strengths, 'strength')} were measured, each with {counted(networks, 'network')}."
        lines.append(text)
    return Markdown("\n".join(lines))


def reading_paper_severities(results: pd.DataFrame) -> Markdown:
    """Where the paper's rule and its own result disagree, from its printed numbers."""
    value = results.set_index("id")["value"]
    if value["fig4.impulse_noise.level"] >= value["text.floor"]:
        return Markdown("The paper's scores under corruption agree with its rule.")
    text = (
        "The paper does not meet its own rule everywhere: its severities keep the performance above {text.floor}, yet "
        "its mean Dice under impulse noise is about {fig4.impulse_noise.level}. A mean over five severities lies below "
        "the floor only where some of them do. It prints no strengths, so that they cannot be taken over here."
    )
    return Markdown(fill_numbers(text, results))


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
