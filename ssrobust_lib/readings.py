"""Sentences that read a result, computed from the tables: no number in them is typed.

Enters: tidy tables. Leaves: Markdown text, shown by the notebooks below the table or figure that it reads.
"""

import pandas as pd
from IPython.display import Markdown

from ssrobust_lib.figures import corruption_title, format_p, order_corruptions, paper_label

_METRICS = {"accuracy": "accuracy", "auroc": "AUROC", "dice": "mean Dice"}


def _list(words: list[str]) -> str:
    if len(words) < 2:
        return "".join(words) or "none"
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _count(n: int, word: str) -> str:
    return f"{n:,} {word}" + ("" if n == 1 else "s")


def reading_splits(samples: pd.DataFrame, crossing: int, contents: int) -> Markdown:
    """Who is where, and whether anybody is in two splits."""
    splits = samples["split"].value_counts()
    parts = [f"{_count(int(splits[name]), 'sample')} in `{name}`" for name in splits.index]
    leak = (
        "**No patient and no image content is in two splits.**"
        if crossing == 0 and contents == 0
        else f"**{_count(crossing, 'patient')} and {_count(contents, 'image content')} are in more than one "
        f"split: scores on "
        "the test images flatter every network.**"
    )
    return Markdown(f"{_list(parts)}. {leak}")


def reading_pretext(accuracy: pd.DataFrame, names: dict[str, str]) -> Markdown:
    """Whether the puzzles were learned, per task."""
    lines = []
    for (task, arm), rows in accuracy.groupby(["task", "init"], sort=False):
        learned = int(rows["learned"].sum())
        verdict = f"{learned} of {_count(len(rows), 'seed')} above chance (exact binomial p < 0.001)"
        mark = "" if learned == len(rows) else " Its arm carries the mark *pretext not learned* in every later table."
        lines.append(
            f"- *{task}*, {arm} ({names[task]}): {rows['accuracy'].min():.3f} to {rows['accuracy'].max():.3f} of "
            f"held-out puzzles solved, chance {rows['chance'].iloc[0]:.3f}; {verdict}.{mark}"
        )
    return Markdown("\n".join(lines))


def reading_transfer(transfer: pd.DataFrame) -> Markdown:
    """What came from the pretext encoder."""
    lines = []
    for (task, arm), rows in transfer.groupby(["task", "init"], sort=False):
        one = rows[rows["seed"] == rows["seed"].iloc[0]]
        taken = one[one["status"] == "transferred"]
        lines.append(
            f"- *{task}*, {paper_label(arm)}: {len(taken)} of {_count(len(one), 'tensor')} transferred "
            f"({int(taken['parameters'].sum()):,} of {int(one['parameters'].sum()):,} numbers)."
        )
    return Markdown("\n".join(lines))


def reading_comparisons(comparisons: pd.DataFrame, names: dict[str, str]) -> Markdown:
    """Each comparison in one line: means, difference, interval, n, unit and p."""
    lines = []
    for row in comparisons.to_dict("records"):
        structure = f" of the {row['structure'].replace('_', ' ')}" if row["structure"] else ""
        words = _METRICS.get(row["metric"], row["metric"]) + structure
        if pd.isna(row["difference"]):
            lines.append(f"- {words}, {paper_label(row['arm'])}: not measured ({row['note']}).")
            continue
        p = (
            f"{row['test']}: p = {row['p']:.3g}, Holm-corrected {row['p_holm']:.3g}"
            if pd.notna(row["p"])
            else row["note"]
        )
        lines.append(
            f"- {words} ({names.get(row['set'], row['set'])}), {paper_label(row['arm'])} {row['mean_arm']:.3f} against "
            f"{row['mean_reference']:.3f} for normal training: difference {row['difference']:+.3f}, 95 % interval "
            f"[{row['ci_low']:+.3f}, {row['ci_high']:+.3f}] over {_count(row['n'], row['unit'])}, "
            f"{_count(row['n_seeds'], 'seed')} averaged; {p}."
        )
    return Markdown("\n".join(lines) or "No comparison was made.")


def reading_corruptions(comparisons: pd.DataFrame, printed: pd.DataFrame) -> Markdown:
    """Where self-supervision is ahead, where significantly, and what the paper says of the same corruptions."""
    lines = []
    for (task, arm), rows in comparisons.groupby(["task", "arm"], sort=False):
        ahead = [corruption_title(r["condition"]) for r in rows.to_dict("records") if r["difference"] > 0]
        red = [corruption_title(r["condition"]) for r in rows.to_dict("records") if r["p"] < 0.001]
        figure = "Figure 3" if task == "pneumonia" else "Figure 4"
        theirs = printed[(printed["source"] == figure) & (printed["direction"] == "+")]
        strong = printed[(printed["source"] == figure) & (printed["p"] <= 0.001)]
        strong_names = [corruption_title(name) for name in order_corruptions(strong["condition"])]
        lines.append(
            f"- *{task}*: {paper_label(arm)} has the higher mean in {len(ahead)} of {_count(len(rows), 'corruption')} "
            f"({_list(ahead)}); uncorrected p < 0.001 in {_list(red)}. The paper, on its own data, has it ahead "
            f"in {len(theirs)} of 7, with p < 0.001 in {_list(strong_names)}."
        )
    return Markdown("\n".join(lines))


def reading_calibration(severities: pd.DataFrame) -> Markdown:
    """Where the paper's rule applies as it stands, and where it cannot."""
    lines = []
    for task, rows in severities.groupby("task", sort=False):
        last = rows[rows["severity"] == rows["severity"].max()]
        unreached = [corruption_title(name) for name in last.loc[~last["reached_floor"], "corruption"]]
        notes = sorted({note for note in last["note"] if note})
        reached = int(last["reached_floor"].sum())
        text = f"- *{task}*: the floor is reached by {reached} of {_count(len(last), 'corruption')}"
        text += (
            f"; never by {_list(unreached)}, where severity 5 is the end of the declared range." if unreached else "."
        )
        lines.append(text + "".join(f"\n  - {note}" for note in notes))
    return Markdown("\n".join(lines))


def reading_missed(comparisons: pd.DataFrame, names: dict[str, str]) -> Markdown:
    """Share of structures that a network missed altogether on another centre's scans."""
    lines = [
        f"- {row['structure'].replace('_', ' ') or 'structures'} ({names.get(row['set'], row['set'])}): "
        f"missed altogether in {100 * row['mean_reference']:.1f} % of the scans by normal training, "
        f"in {100 * row['mean_arm']:.1f} % by {paper_label(row['arm'])}."
        for row in comparisons.to_dict("records")
    ]
    return Markdown("\n".join(lines) or "No structure was scored.")


def reading_claims(claims: pd.DataFrame) -> Markdown:
    """How many of the paper's claims hold, for each arm."""
    lines = []
    for arm, rows in claims.groupby("arm", sort=False):
        counts = rows["verdict"].value_counts()
        words = _list([f"{counts[verdict]} *{verdict}*" for verdict in counts.index])
        lines.append(f"- {paper_label(arm)}: of {_count(len(rows), 'claim')}, {words}.")
    return Markdown("\n".join(lines))


def reading_aa(comparisons: pd.DataFrame) -> Markdown:
    """How often normal training differs from itself."""
    tested = comparisons[comparisons["p"].notna()]
    if tested.empty:
        return Markdown("This run has no A/A arm.")
    raw, corrected = int((tested["p"] < 0.05).sum()), int((tested["p_holm"] < 0.05).sum())
    return Markdown(
        f"Normal training against itself, with other initial weights: {raw} of {_count(len(tested), 'comparison')} "
        f"have p < 0.05 before correction, {corrected} after; the smallest: {format_p(float(tested['p'].min()))}. "
        "What these networks differ by is chance in the training, which a test over patients takes for an effect."
    )
