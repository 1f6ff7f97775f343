"""Sentences that read a result, computed from the tables: no number in them is typed.

Enters: tidy tables. Leaves: Markdown text, shown by the notebooks below the table or figure that it reads.
"""

from collections.abc import Mapping

import pandas as pd
from IPython.display import Markdown

from ssrobust_lib.book.data_report import PARTS
from ssrobust_lib.book.wording import chosen_of, listed
from ssrobust_lib.figures import (
    HtmlTable,
    corruption_word,
    counted,
    format_p,
    html_table,
    interval_text,
    metric_title,
    order_arms,
    order_corruptions,
    paper_label,
    signed,
    structure_title,
)
from ssrobust_lib.figures.comparison_tables import compared_words


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def reading_splits(samples: pd.DataFrame, crossing: int, contents: int) -> Markdown:
    """Who is where, and whether anybody is in two parts."""
    sizes = samples["split"].value_counts()
    parts = [f"{counted(int(sizes[name]), 'image')} in {words}" for name, words in PARTS.items() if name in sizes]
    leak = (
        "**No patient and no image is in two parts.**"
        if crossing == 0 and contents == 0
        else f"**{counted(crossing, 'patient')} and {counted(contents, 'image')} in more than one part: scores on "
        "the test images flatter every network.**"
    )
    return Markdown(f"{listed(parts)}. {leak} Patients are compared by name, images by the hash of their content.")


def reading_left_out(left_out: pd.DataFrame, task: str, dataset: str) -> Markdown | HtmlTable:
    """Files that could not be read, by reason, or a sentence where there are none."""
    if left_out.empty:
        return Markdown(f"*{task}*: every file could be read; nothing is left out.")
    shown = left_out.groupby("reason", as_index=False).agg(files=("sample_id", "count"), example=("path", "first"))
    return html_table(shown, f"{counted(len(left_out), 'file')} of {task} left out", dataset=dataset, stacked=True)


def reading_balance(majority: float, task_set: str, part: str = "test patients") -> Markdown:
    """What accuracy the class balance alone gives, every patient counted once as in the study's accuracy."""
    return Markdown(
        f"Always giving the more frequent answer is right for {_percent(majority)} of the {part} of {task_set}, each "
        f"counted once however many images there are: an accuracy below {majority:.3f} is worse than no network. AUROC "
        "does not depend on the balance."
    )


def reading_absent(there: list[str], what: str) -> Markdown:
    """A sentence where a run has nothing of a kind to show; empty where it has."""
    return Markdown("<!-- see below -->" if there else f"This run has no {what}.")


def reading_realism(measures: pd.DataFrame, brightness: float) -> Markdown:
    """Whether the phantoms lie where real radiographs lie, and how far mean brightness gives them away."""
    if measures.empty:
        return Markdown("The X-rays of this run are real.")
    least = measures["within_share"].min()
    limit = 0.65  # the study's own bound for phantoms that a threshold must not solve
    verdict = "below" if brightness < limit else "not below"
    return Markdown(
        f"For every measure, at least {100 * least:.0f} % of the phantoms lie within the range of real radiographs. A "
        f"threshold on mean brightness alone separates the classes with AUROC {brightness:.2f}, {verdict} the bound of "
        f"{limit} set for these phantoms: pneumonia has to be *seen*."
    )


_PIECES = {"pneumonia": "X-ray", "organs": "slice"}


def reading_pretext(accuracy: pd.DataFrame, names: dict[str, str]) -> Markdown:
    """Whether the puzzles were learned, per task."""
    lines = []
    for (task, arm), rows in accuracy.groupby(["task", "init"], sort=False):
        learned = int(rows["learned"].sum())
        low, high = rows["accuracy"].min(), rows["accuracy"].max()
        span = f"{low:.2f}" if len(rows) == 1 else f"{low:.2f} to {high:.2f}"
        verdict = f"{learned} of {counted(len(rows), 'seed')} above chance (exact binomial test, p < 0.001)"
        mark = "" if learned == len(rows) else " Every later table marks this arm *pretext not learned*."
        lines.append(
            f"- *{task}* ({names[task]}), {paper_label(arm)}: {span} of the held-out puzzles solved, chance "
            f"{rows['chance'].iloc[0]:.3g}, {counted(int(rows['n'].iloc[0]), _PIECES[task])} per seed; {verdict}.{mark}"
        )
    if (accuracy["task"] == "organs").any():
        lines.append(
            "- Slices of one scan resemble one another: interval and test for *organs*, which take each for itself, "
            "promise more certainty than there is."
        )
    return Markdown("\n".join(lines))


def reading_best_epochs(curves: pd.DataFrame) -> Markdown:
    """In how many trainings of each arm the best epoch was the last one; `curves` are of one task."""
    best = curves.loc[curves.groupby(["init", "seed"], sort=False)["val_score"].idxmax()]
    last = curves.groupby(["init", "seed"])["epoch"].max()
    at_end = {
        arm: sum(row.epoch == last[arm, row.seed] for row in best[best["init"] == arm].itertuples())
        for arm in order_arms(best["init"])
    }
    if not any(at_end.values()):
        return Markdown("No best epoch is the last one.")
    said = [f"{paper_label(arm)} {n} of {(best['init'] == arm).sum()}" for arm, n in at_end.items()]
    return Markdown(f"The best epoch is the last one: {listed(said)}.")


def reading_transfer(transfer: pd.DataFrame) -> Markdown:
    """What came from the pretext encoder."""
    lines = []
    for (task, arm), rows in transfer.groupby(["task", "init"], sort=False):
        one = rows[rows["seed"] == rows["seed"].iloc[0]]
        taken = one[one["status"] == "transferred"]
        if len(taken):
            numbers = f"{int(taken['parameters'].sum()):,} of {int(one['parameters'].sum()):,} weights"
            lines.append(
                f"- *{task}*, {paper_label(arm)}: {len(taken)} of {counted(len(one), 'tensor')} come from the pretext "
                f"task, {numbers}."
            )
    return Markdown(
        "\n".join([*lines, "- All other arms: nothing is taken over, every tensor starts as it is initialised."])
    )


def reading_comparisons(
    comparisons: pd.DataFrame,
    names: dict[str, str],
    *,
    same: pd.DataFrame | None = None,
    majority: float | None = None,
) -> Markdown:
    """Each comparison in one line: means, difference, interval, n, unit and p.

    Parameters
    ----------
    names : set -> short words.
    same : the same comparisons of the A/A arm, whose difference is then put beside it.
    majority : accuracy of always giving the more frequent answer, which accuracies are then held against.
    """
    lines = []
    for row in comparisons.to_dict("records"):
        structure = f" of the {structure_title(row['structure'])}" if row["structure"] else ""
        words = f"{metric_title(row['metric'], row['role'])}{structure}, {names.get(row['set'], row['set'])}"
        if pd.isna(row["difference"]):
            lines.append(f"- {words}, {paper_label(row['arm'])}: not measured ({row['note']}).")
            continue
        lines.append(
            f"- {words}: {paper_label(row['arm'])} {row['mean_arm']:.3f}, normal training "
            f"{row['mean_reference']:.3f}; difference {signed(row['difference'])} over "
            f"{counted(row['n'], row['unit'])} and {counted(row['n_seeds'], 'seed')}. The method: "
            f"{_tested(row, 'method_')}. These networks: {_tested(row, '')}.{_same_words(row, same)}"
            + ("" if majority is None or row["metric"] != "accuracy" else _guess_words(row, majority))
        )
    return Markdown("\n".join(lines) or "No comparison was made.")


def _same_words(row: Mapping, same: pd.DataFrame | None) -> str:
    """How far normal training differs from itself in the same comparison."""
    if same is None:
        return ""
    keys = ["task", "set", "role", "metric", "structure", "condition"]
    there = same[(same[keys] == pd.Series({key: row[key] for key in keys})).all(axis=1) & same["difference"].notna()]
    return f" Normal training against itself (A/A): {signed(there['difference'].iloc[0])}." if len(there) else ""


def _guess_words(row: Mapping, guess: float) -> str:
    """Which of both arms is right less often than a constant answer."""
    arms = {paper_label(row["arm"]): row["mean_arm"], "normal training": row["mean_reference"]}
    below = [name for name, mean in arms.items() if mean < guess]
    if not below:
        return ""
    who = "Both are" if len(below) == 2 else f"{below[0][:1].upper()}{below[0][1:]} is"
    return f" {who} right less often than who always gives the more frequent answer ({guess:.3f})."


def _tested(row: Mapping, side: str) -> str:
    """Interval and p of one estimand in words; `side` is '' (these networks) or 'method_'."""
    interval = interval_text(row[f"{side}ci_low"], row[f"{side}ci_high"])
    if pd.isna(row[f"{side}p"]):
        no_test = f"no test: {row[f'{side}note']}"
        return f"95 % interval {interval}; {no_test}" if interval else no_test
    p = f"{format_p(row[f'{side}p'])} ({row[f'{side}test']}), Holm-corrected {format_p(row[f'{side}p_holm'])}"
    return f"95 % interval {interval}; {p}"


def paper_says(printed: pd.DataFrame) -> dict[tuple[str, str, str, str], str]:
    """What the paper reports of a comparison: its two values where it prints them, else the direction, and p.

    Returns
    -------
    {(task, role, metric, condition): '0.761 against 0.739, p = 0.0002' or 'higher, p < 0.001'}
    """
    rows = printed[printed["source"].str.startswith(("Table", "Figure"))]
    said = {}
    for (source, task, metric, condition), part in rows.groupby(["source", "task", "metric", "condition"], sort=False):
        by_arm = part.set_index("arm")
        if "difference" in by_arm.index:
            words = {"+": "higher", "-": "lower"}[by_arm.at["difference", "direction"]]
            p = by_arm.at["difference", "printed_p"]
        elif {"jigsaw", "scratch"} <= set(by_arm.index):
            words = f"{by_arm.at['jigsaw', 'printed']} against {by_arm.at['scratch', 'printed']}"
            p = by_arm.at["jigsaw", "printed_p"]
        else:
            continue
        role = "external" if source == "Table 4" else "home"
        tested = f", p {p[0]} {p[1:]}" if p.startswith("<") else f", p = {p}" if p else ""
        said[task, role, metric, condition] = words + tested
    return said


def reading_corruptions(
    comparisons: pd.DataFrame,
    printed: pd.DataFrame,
    names: Mapping[str, str],
    majority: Mapping[str, float | None] | None = None,
) -> Markdown:
    """Where self-supervision is ahead, where significantly by estimand, and what the paper says of the corruptions.

    Parameters
    ----------
    comparisons : means over the severities, of one metric per task.
    majority : task -> accuracy of always giving the more frequent answer; None where there is no such answer.
    """
    lines = []
    groups = dict(list(comparisons.groupby(["task", "arm"], sort=False)))
    for task, arm in sorted(groups, key=lambda key: list(names).index(key[0])):
        rows = groups[task, arm]
        by_name = {row["condition"]: row for row in rows.to_dict("records")}
        order = order_corruptions(by_name)
        every = [corruption_word(name) for name in order]
        ahead = [corruption_word(name) for name in order if by_name[name]["difference"] > 0]
        tests = {
            "the method (p < 0.05 after Holm's correction)": ("method_p_holm", 0.05),
            "these networks as the paper tests them (p < 0.001)": ("p", 0.001),
            "these networks (p < 0.05 after Holm's correction)": ("p_holm", 0.05),
        }
        found = [f"{what}: {_by_direction(by_name, order, *rule)}" for what, rule in tests.items()]
        figure = "Figure 3" if task == "pneumonia" else "Figure 4"
        theirs = printed[(printed["source"] == figure) & (printed["direction"] == "+")]
        strong = printed[(printed["source"] == figure) & (printed["p"] <= 0.001)]
        strong_names = [corruption_word(name) for name in order_corruptions(strong["condition"])]
        guess = (majority or {}).get(task)
        lines.append(
            f"- *{task}* ({names[task]}): {paper_label(arm)} has the higher mean in "
            f"{chosen_of(ahead, every, 'corruption')}. Differences of {'; of '.join(found)}. The paper, on its own "
            f"data: higher in {len(theirs)} of 7, p < 0.001 in {listed(strong_names)}."
            + ("" if guess is None else f" {_below_guessing(rows, guess)}")
        )
    return Markdown("\n".join(lines))


def _by_direction(by_name: Mapping[str, Mapping], order: list[str], column: str, level: float) -> str:
    """The corruptions whose p lies below the level, those for an arm apart from those against it."""
    found = [name for name in order if by_name[name][column] < level]
    sides = {
        "for it": [corruption_word(name) for name in found if by_name[name]["difference"] > 0],
        "against it": [corruption_word(name) for name in found if by_name[name]["difference"] <= 0],
    }
    return ", ".join(f"{side} in {listed(words)}" for side, words in sides.items() if words) or "none"


def _below_guessing(rows: pd.DataFrame, guess: float) -> str:
    """In how many means over the severities an arm errs more often than a constant answer would."""
    means = pd.concat([rows["mean_arm"], rows["mean_reference"]])
    below = int((means < guess).sum())
    if not below:
        return ""
    which = f"All {len(means)}" if below == len(means) else f"{below} of the {len(means)}"
    lie = "lies" if below == 1 else "lie"
    return f"{which} accuracies of both arms {lie} below that of always giving the more frequent answer ({guess:.3f})."


def reading_missed(comparisons: pd.DataFrame, names: Mapping[str, str], main: str) -> Markdown:
    """Share of the scans in which a structure was missed altogether, at another centre.

    Parameters
    ----------
    main : name of the one structure that rows without a structure are about; empty where they average several.
    """
    lines = []
    for row in comparisons.to_dict("records"):
        name = structure_title(row["structure"] or main) or "structures, on average"
        lines.append(
            f"- {name} ({names.get(row['set'], row['set'])}): missed altogether in {_percent(row['mean_reference'])} "
            f"by normal training, in {_percent(row['mean_arm'])} by {paper_label(row['arm'])}; "
            f"{counted(row['n'], row['unit'])}, mean of {counted(row['n_seeds'], 'seed')}; the method: "
            f"{format_p(row['method_p'])}; these networks: {format_p(row['p'])}."
        )
    return Markdown("\n".join(lines) or "No structure was scored.")


def reading_claims(claims: pd.DataFrame) -> Markdown:
    """How many of the paper's claims hold, for each arm: for the method, and beside it for these networks."""
    lines = []
    for arm, rows in claims.groupby("arm", sort=False):
        counts = [_verdict_counts(rows[column]) for column in ("verdict", "networks_verdict")]
        parted = int((rows["verdict"] != rows["networks_verdict"]).sum())
        same = "the same" if counts[0] == counts[1] and not parted else counts[1]
        lines.append(
            f"- {paper_label(arm)}: of {counted(len(rows), 'claim')}, about the method {counts[0]}; about these "
            f"networks {same}."
        )
        if (rows["reason"] == "one seed").any():
            lines[-1] += " One seed says nothing about the method: other random starts may do otherwise."
    return Markdown("\n".join(lines))


_VERDICT_WORDS = {
    "holds": ("*holds*", "*hold*"),
    "does not hold": ("*does not hold*", "*do not hold*"),
    "undecided": ("is *undecided*", "are *undecided*"),
    "not tested": ("is *not tested*", "are *not tested*"),
}


def _verdict_counts(verdicts: pd.Series) -> str:
    counts = verdicts.value_counts()
    order = [verdict for verdict in ("holds", "does not hold", "undecided", "not tested") if verdict in counts.index]
    return listed([f"{counts[verdict]} {_VERDICT_WORDS[verdict][int(counts[verdict] > 1)]}" for verdict in order])


def aa_count(same: pd.DataFrame) -> tuple[int, int, int]:
    """Claims that one arm is ahead, judged for the A/A arm: (hold for the method, hold for these networks, judged)."""
    ahead = same[same["expected"].isin(["+", "-"]) & (same["networks_verdict"] != "not tested")]
    method, networks = ((ahead[column] == "holds").sum() for column in ("verdict", "networks_verdict"))
    return int(method), int(networks), len(ahead)


def reading_aa_claims(same: pd.DataFrame, arm: str) -> Markdown:
    """How many of the paper's claims of superiority normal training bears out against itself; empty without that arm.

    Parameters
    ----------
    same : the claims, judged for the A/A arm.
    arm : its name.
    """
    method, networks, judged = aa_count(same)
    if not judged:
        return Markdown("")
    return Markdown(
        f"- {paper_label(arm)}: by the same rule, {method} of {counted(judged, 'claim')} of an arm that is ahead would "
        f"*hold* about the method, {networks} about these networks, for normal training against itself, where only the "
        "random start differs."
    )


def reading_aa(comparisons: pd.DataFrame, same: pd.DataFrame) -> Markdown:
    """How often normal training differs from itself, and which claims of superiority that bears out.

    Parameters
    ----------
    comparisons : rows of the A/A arm.
    same : the claims, judged for the A/A arm.
    """
    lines = []
    for words, p, corrected in (("these networks", "p", "p_holm"), ("the method", "method_p", "method_p_holm")):
        tested = comparisons[comparisons[p].notna()]
        if len(tested):
            raw, after = int((tested[p] < 0.05).sum()), int((tested[corrected] < 0.05).sum())
            first = tested.loc[tested[p].idxmin()]
            lines.append(
                f"As tests of {words}, {raw} of {counted(len(tested), 'comparison')} have p < 0.05 before correction, "
                f"{after} after it. The smallest belongs to {compared_words(first)}: {format_p(float(first[p]))}, a "
                f"difference of {signed(float(first['difference']))}."
            )
    if not lines:
        return Markdown("This run has no A/A arm.")
    method, networks, _ = aa_count(same)
    return Markdown(
        f"Normal training against itself. {' '.join(lines)} Of the claims that one arm is ahead, {method} would *hold* "
        f"about the method and {networks} about these networks. A test over patients sees these networks only; that "
        "another training with the same recipe would differ as much shows here."
    )
