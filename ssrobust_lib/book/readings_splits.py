"""Sentences of notebook 01 on splits: shared images, a split of rows, and what its leaks do. No number is typed.

Enters: the tables of `overlap`, `label_rows` and `leaks`. Leaves: Markdown text.
"""

import pandas as pd
from IPython.display import Markdown

from ssrobust_lib.config import REFERENCE_ARM
from ssrobust_lib.datasets.near_duplicates import THRESHOLDS, work_side
from ssrobust_lib.figures import counted, metric_title, order_arms, paper_label, signed
from ssrobust_lib.profile_sections import TaskData
from ssrobust_lib.splits.label_rows import PAPER_ROWS, LabelTable, patient_balance
from ssrobust_lib.splits.leaks import CLEAN_WAY, SAME_TEST, WAYS
from ssrobust_lib.splits.overlap import IDENTICAL, NEAR

_WAY_WORDS = {
    "pretext leak": "test images in the pretext pool",
    "label leak": "test images among the labelled ones",
    "row": "both, as a split of rows has it",
}


def reading_shared(shared: pd.DataFrame, samples: pd.DataFrame, data: TaskData, task: str) -> Markdown:
    """How many images are learned from and evaluated at once, what was done with them, and how far the check goes.

    Parameters
    ----------
    shared : `overlap.COLUMNS`, of one task.
    samples : with kept_out.
    data, task : the task's section of the profile, and its name.
    """
    kinds = shared.groupby("kind")["sample_id"].nunique()
    identical, near = int(kinds.get(IDENTICAL, 0)), int(kinds.get(NEAR, 0))
    if identical or near:
        found = (
            f"**{counted(identical, 'sample')} learned or chosen from {_are(identical)} identical to an evaluated one, "
        )
        found += f"{counted(near, 'sample')} nearly so.** "
        out = int(samples["kept_out"].sum())
        if data.split == "row":
            found += "They are learned from all the same: that is what a split of rows does."
        elif out and data.near_duplicates == "keep_out":
            away = "labels, pretext pools and validation"
            found += f"{counted(out, 'sample')} of these patients {_are(out)} kept out of {away}."
        else:
            found += "The profile asks only to report near-duplicates."
            if out:
                found += f" {counted(out, 'sample')} with equal pixels or of such patients {_are(out)} kept out."
    else:
        found = "**No image that is learned from is found again among those that are evaluated.**"
    return Markdown(f"*{task}*: {found} {_how_far(data)}")


def _how_far(data: TaskData) -> str:
    if data.image_size < min(THRESHOLDS):
        return f"Images of {data.image_size} pixels are too small to tell near-duplicates; pixels alone were compared."
    side = work_side(data.image_size)
    if data.pixel_mm is not None:
        return (
            "Equal pixels are found by their hash. Scans count as nearly identical where the details of their slices, "
            f"aligned at {side} pixels, correlate by {THRESHOLDS[side]:.2f} or more (median)."
        )
    return (
        "Equal pixels are found by their hash, also where a file was renamed. Images count as nearly identical where "
        f"their details correlate by {THRESHOLDS[side]:.2f} or more when they are aligned at {side} pixels, mirrored "
        "or not. `make bench ONLY=near_duplicates` measures how many copies that finds, and how often it takes one "
        "patient for another."
    )


def _are(n: int) -> str:
    return "is" if n == 1 else "are"


def reading_row_split(table: LabelTable, counts: pd.DataFrame) -> Markdown:
    """Whether the paper's counts come out, how many test images are also in training, and what balance is left."""
    origin = (
        "This is the challenge's own label table."
        if table.real
        else "The challenge's table is not here: this is a stand-in with invented names and the published number of "
        "images for every number of boxes, which fixes all counts in the table but for the chance of a draw."
    )
    sizes = {part: int(counts[part].iloc[0]) for part in ("test", "train", "val")}
    exact = sizes == dict(PAPER_ROWS)
    shares = {name: (counts[name] / counts["test"]).mean() for name in ("in_train", "in_pool", "labelled")}
    prevalence, majority = patient_balance(table)
    verdict = (
        "the paper's counts to the digit, if its 244,483 is a misprint of 24,483 (it prints no third count)"
        if exact
        else "not the paper's counts"
    )
    return Markdown(
        f"{origin} A tenth of each class rounded up, then a tenth of the rest rounded to the nearest, gives "
        f"{sizes['test']:,}, {sizes['train']:,} and {sizes['val']:,} rows: {verdict}. In the mean of "
        f"{counted(len(counts), 'draw')}, **{100 * shares['in_train']:.1f} % of the test rows show an image that is "
        f"also in training**, all of them with pneumonia, since only these images have several rows. The pretext task "
        f"sees {100 * shares['in_pool']:.1f} %, but the labelled hundredth of training holds "
        f"{100 * shares['labelled']:.1f} %: with so few labels, it is the pretext task that a split of rows lets look "
        f"at the test set. Pneumonia is in {100 * counts['prevalence'].mean():.1f} % of the test rows and in "
        f"{100 * prevalence:.1f} % of the images; always answering *no* is right in "
        f"{counts['majority'].mean():.3f} of the rows and in {majority:.3f} of the images."
    )


def reading_leaks(effects: pd.DataFrame, scores: pd.DataFrame, design: pd.DataFrame, dataset: str) -> Markdown:
    """What each leak does to each arm and to the comparison, and whether chance could do as much.

    Parameters
    ----------
    effects, scores : of `leaks.leak_effects` and `leaks.leak_scores`.
    design : the cells' tables of images: sample_id, part, leaked.
    """
    tests = design[design["part"] == "test"].drop_duplicates("sample_id")
    n_leaked, n_test = int(tests["leaked"].sum()), len(tests)
    lines = [
        f"{counted(n_leaked, 'image')} of {n_test:,} in the test set leak by rows ({100 * n_leaked / n_test:.0f} %), "
        f"on {dataset}; the ways differ in nothing but these images and those in their place. What each leak changes "
        "(intervals and p-values: in the table below):"
    ]
    for way in WAYS:
        if way == CLEAN_WAY:
            continue
        rows = effects[(effects["way"] == way) & (effects["kind"] == "leak")]
        rows = rows[(rows["init"] != REFERENCE_ARM) | (way != "pretext leak")]  # scratch has no pretext task
        said = [f"{paper_label(init)}: {_differences(part)}" for init, part in rows.groupby("init", sort=False)]
        changed = effects[(effects["way"] == way) & (effects["kind"] == "change")]
        moved = [
            f"lead of {paper_label(init)}: {_differences(part)}" for init, part in changed.groupby("init", sort=False)
        ]
        lines.append(f"- *{_WAY_WORDS[way]}*: {'; '.join([*said, *moved])}.")
    found = scores[scores["metric"] == "leaked found"].groupby(["init", "way"])["value"].mean()
    for init in order_arms(scores["init"]):
        without, both = found[init, CLEAN_WAY], found[init, "row"]
        lines.append(
            f"- Of the leaked images, which all show pneumonia, {paper_label(init)} finds {100 * without:.0f} % "
            f"without a leak and {100 * both:.0f} % with both."
        )
    lines.append(f"- {_verdict(effects)}")
    return Markdown("\n".join([lines[0], "", *lines[1:]]))


def _differences(rows: pd.DataFrame) -> str:
    """One difference per metric, such as 'accuracy +0.012, AUROC -0.003'."""
    said = [f"{metric_title(row['metric'], 'home')} {signed(row['difference'])}" for row in rows.to_dict("records")]
    return ", ".join(said)


def _verdict(effects: pd.DataFrame) -> str:
    tested = effects[effects["kind"].isin(["leak", "change"]) & effects["p"].notna()].drop_duplicates(SAME_TEST)
    sure = tested[tested["p_holm"] < 0.05]
    agreed = sure[(sure["seed_low"] > 0) | (sure["seed_high"] < 0)]
    of_all = counted(len(tested), "difference")
    if agreed.empty:
        return (
            f"**None of {of_all} is both significant after Holm's correction (these networks) and of one sign in "
            "every seed:** on so few images these leaks are not told from the chance of training."
        )
    return (
        f"**{len(agreed)} of {of_all} {_are(len(agreed))} significant after Holm's correction "
        "(these networks) and of one sign in every seed.** The others are not told from the chance of training."
    )
