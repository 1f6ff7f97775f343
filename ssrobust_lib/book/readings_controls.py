"""Sentences on control arms and curves over numbers of images; no number in them is typed.

Enters: rows of the comparisons tables, `statistics.amounts.curve_differences`. Leaves: Markdown text (beside section
3.1 of the paper, which has one number of labels and no control arm but normal training).
"""

from typing import TYPE_CHECKING

import pandas as pd
from IPython.display import Markdown

from ssrobust_lib.config import REFERENCE_ARM, Profile
from ssrobust_lib.control_arms import LABELS, POOL
from ssrobust_lib.figures import counted, format_p, html_table, interval_text, metric_title, paper_label, signed
from ssrobust_lib.figures.amount_curves import CONDITIONS, amount_words
from ssrobust_lib.figures.tables import HtmlTable
from ssrobust_lib.statistics.comparisons import ALL_CORRUPTIONS

if TYPE_CHECKING:
    from ssrobust_lib.study import Study

ALPHA = 0.05
METRICS = ("accuracy", "auroc", "dice")
ESTIMATE = {"method_ci_low": "low", "method_ci_high": "high", "method_p_holm": "p"}  # what the figure of gains shows


def arms_described(profile: Profile, dataset: str) -> HtmlTable:
    """Table of what each control arm changes, from the profile."""
    rows = []
    for name, arm in profile.controls.items():
        words = []
        if arm.pretext is not None:
            pool = "the labelled images alone, without labels" if arm.pool == "labelled" else "the unlabelled images"
            words.append(f"puzzles ({arm.pretext}) of {pool}")
        if arm.as_long_as is not None:
            words.append(
                f"as many optimiser steps as {paper_label(arm.as_long_as)} takes for pretraining and fine-tuning"
            )
        if arm.augmentation is not None:
            moved = arm.augmentation
            words.append(
                f"training images turned by up to {moved.rotation_degrees:g} degrees, shifted by up to "
                f"{100 * moved.shift:g} % of the image, scaled by up to {100 * moved.scale:g} %"
            )
        rows.append({"label": paper_label(name), "arm": name, "changes": "; ".join(words)})
    headings = {"label": "Arm", "arm": "Name", "changes": "Normal training, but"}
    return html_table(pd.DataFrame(rows), "Control arms of this run", dataset=dataset, headings=headings, stacked=True)


def reading_gains(comparisons: pd.DataFrame) -> Markdown:
    """Beside which control arms a gain of self-supervision is left, for every score.

    Parameters
    ----------
    comparisons : as for `figures.arm_differences`, of one arm
    """
    lines = []
    for (task, role, metric), rows in comparisons.groupby(["task", "role", "metric"], sort=False):
        for scope, where in CONDITIONS.items():
            part = rows[rows["scope"] == scope].dropna(subset="difference")
            if part.empty:
                continue
            left = part[(part["p"] < ALPHA) & (part["difference"] > 0)]
            lost = part[(part["p"] < ALPHA) & (part["difference"] < 0)]
            told = [f"{_against(row)} {_size(row)}" for row in part.to_dict("records")]
            if part["p"].isna().all():
                verdict = "not tested"
            else:
                verdict = f"a gain is left beside {_names(left)}" if len(left) else "no gain is left beside any of them"
                verdict += f"; it does worse than {_names(lost)}" if len(lost) else ""
            place = f"*{task}*, another centre" if role == "external" else f"*{task}*"
            score = f"{metric_title(str(metric), str(role))}, {where[0].lower() + where[1:]}"
            lines.append(f"- {place}, {score}: **{verdict}** ({'; '.join(told)}).")
    said = f"A gain counts as left where it is positive and its Holm-corrected p is below {ALPHA:g}."
    return Markdown("\n".join([*lines, "", said]) if lines else "This run has no control arm.")


def reading_effects(comparisons: pd.DataFrame) -> Markdown:
    """Which arms do better, and which worse, than normal training, for every score.

    Parameters
    ----------
    comparisons : as for `figures.arm_differences`, against one reference
    """
    lines = []
    for (task, role, metric, scope), rows in comparisons.dropna(subset="difference").groupby(
        ["task", "role", "metric", "scope"], sort=False
    ):
        found = rows[rows["p"] < ALPHA]
        better, worse = found[found["difference"] > 0], found[found["difference"] < 0]
        said = [
            f"{words} {_names(part, 'arm')}" for words, part in (("better:", better), ("worse:", worse)) if len(part)
        ]
        nothing = "not tested" if rows["p"].isna().all() else "no arm differs from normal training"
        where = CONDITIONS[str(scope)]
        place = f"*{task}*, another centre" if role == "external" else f"*{task}*"
        score = f"{metric_title(str(metric), str(role))}, {where[0].lower() + where[1:]}"
        lines.append(f"- {place}, {score}: **{'; '.join(said) or nothing}**.")
    rule = f"An arm counts as different where its Holm-corrected p is below {ALPHA:g}."
    return Markdown("\n".join([*lines, "", rule]) if lines else "This run has no control arm.")


def _against(row: dict) -> str:
    return f"against {paper_label(row['reference'])}"


def _size(row: dict) -> str:
    interval = interval_text(row["low"], row["high"])
    return f"{signed(row['difference'])}{f' {interval}' if interval else ''}"


def _names(rows: pd.DataFrame, column: str = "reference") -> str:
    names = [paper_label(name) for name in rows[column]]
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def reading_curves(differences: pd.DataFrame, names: dict[str, str]) -> Markdown:
    """Where two curves differ beyond what seeds do, and that they do not, where they do not.

    Parameters
    ----------
    differences : `curve_differences`
    names : task -> name of its data set
    """
    lines = []
    for (task, axis, metric, condition, init), rows in differences.groupby(
        ["task", "axis", "metric", "condition", "init"], sort=False
    ):
        where = CONDITIONS[str(condition)]
        score = f"{metric_title(str(metric))}, {where[0].lower() + where[1:]}"
        beside = rows[rows["against"] == REFERENCE_ARM]
        found = _verdict(beside, paper_label(str(init)), axis == LABELS)
        grown = rows[rows["against"] != REFERENCE_ARM]
        if axis == POOL and len(grown):
            found += " " + _growth(grown.iloc[0])
        lines.append(f"- *{task}* ({names.get(str(task), task)}), {score}: {found}")
    return Markdown("\n".join(lines) or "This run has no such curve.")


def _verdict(rows: pd.DataFrame, arm: str, labels: bool) -> str:
    tested = rows.dropna(subset="p_holm")
    kind = "number" if labels else "size"
    points = f"{counted(len(rows), kind)} of {'labels' if labels else 'the pool'}"
    if tested.empty:
        reason = rows["note"].iloc[0] if len(rows) else "no pair of networks"
        return f"whether the curves differ cannot be told ({reason})."
    beyond = tested[tested["p_holm"] < ALPHA]
    largest = tested.loc[tested["difference"].abs().idxmax()]
    size = (
        f"the largest difference is {signed(largest['difference'])} "
        f"{interval_text(largest['low'], largest['high'])} at {largest['n_images']:,} images "
        f"({amount_words(largest['amount'])}), {format_p(largest['p_holm'])}"
    )
    seeds = counted(int(tested["n_seeds"].min()), "seed")
    if beyond.empty:
        return f"**{arm} and normal training do not differ** at any of {points} beyond what {seeds} tell; {size}."
    above, below = (beyond["difference"] > 0).sum(), (beyond["difference"] < 0).sum()
    sides = [f"above at {above}"] * bool(above) + [f"below at {below}"] * bool(below)
    return f"**{arm} lies {' and '.join(sides)} of {points}** ({seeds}); {size}."


def _growth(row: pd.Series) -> str:
    said = (
        f"From {amount_words(row['against'])} of the pool to all of it: {signed(row['difference'])} "
        f"{interval_text(row['low'], row['high'])}"
    )
    if pd.isna(row["p_holm"]):
        return f"{said} (no test: {row['note']})."
    more = "more unlabelled images change the score" if row["p_holm"] < ALPHA else "no gain from more images is seen"
    return f"{said}, {format_p(row['p_holm'])}: {more}."


def gains(study: "Study", arm: str) -> pd.DataFrame:
    """Comparisons of a self-supervised arm with normal training and every control arm, for `figures.arm_differences`.

    Mean scores on clean images and over all corruptions; no rows where the run has no control arm.
    """
    cells = study.cells("07_stats")
    table = study.table(cells, "comparisons")
    if study.profile.controls:
        table = pd.concat([table, study.table(cells, "control_comparisons")], ignore_index=True)
    else:
        table = table.head(0)
    return _means(table[table["arm"] == arm])


def effects(study: "Study") -> pd.DataFrame:
    """Comparisons of every control arm and self-supervised arm with normal training, as `gains` has them."""
    table = study.table(study.cells("07_stats"), "comparisons")
    arms = [*study.profile.main_pretext_tasks, *study.profile.controls]
    return _means(table[table["arm"].isin(arms if study.profile.controls else [])])


def _means(table: pd.DataFrame) -> pd.DataFrame:
    wanted = table["scope"].isin(["clean", ALL_CORRUPTIONS]) & (table["structure"] == "")
    place = ["task", "role", "metric", "scope", "arm", "reference", "difference"]
    return table.loc[wanted & table["metric"].isin(METRICS), [*place, *ESTIMATE]].rename(columns=ESTIMATE)
