"""The split as a table that can be published: who is in which part, and what each seed learns from (section 3.1).

In: the samples of a task with their split, each seed's labelled subset and pretext pool. Out: one row per sample, no
label, no path and no measurement, so that the table may be passed on where images and labels may not. With it and the
images, anyone can train and test on the same patients.
"""

from collections.abc import Collection, Mapping

import pandas as pd

COLUMNS: Mapping[str, str] = {
    "task": "pneumonia or organs",
    "sample_id": "the set's label, a slash, and the publisher's name of the image, scan or label row",
    "patient_id": "the set's label, a slash, and the publisher's name of the patient",
    "set": "label of the data set in this run",
    "split": "train, val, test, external (another centre), or pretext (served by no label)",
    "kept_out": "true: nothing learns from it, since its patient, or an image like one of its patient's, is evaluated",
    "seed_<n>": "what seed n uses it for: labelled (fine-tuning), pretext (the puzzles), or nothing (empty)",
}
"""Columns of the table and what they mean; there is one `seed_<n>` for every seed."""

LABELLED, PRETEXT, UNUSED = "labelled", "pretext", ""


def split_table(
    task: str, samples: pd.DataFrame, uses: Mapping[int, tuple[Collection[str], Collection[str]]]
) -> pd.DataFrame:
    """Make the table of one task.

    Parameters
    ----------
    task : copied into every row.
    samples : sample_id, patient_id, set, split, and kept_out where it is known.
    uses : seed -> (sample_ids of the labelled subset, sample_ids of the pretext pool).

    Returns
    -------
    DataFrame with `COLUMNS`, sorted by set and sample_id.

    Raises
    ------
    ValueError
        A subset names a sample that the table does not hold, or one is labelled and in the pool at once.
    """
    table = samples[["sample_id", "patient_id", "set", "split"]].copy()
    table.insert(0, "task", task)
    table["kept_out"] = samples["kept_out"].to_numpy(bool) if "kept_out" in samples else False
    known = set(table["sample_id"])
    for seed, (labelled, pool) in sorted(uses.items()):
        labelled, pool = set(labelled), set(pool)
        if unknown := sorted((labelled | pool) - known):
            raise ValueError(f"seed {seed}: {len(unknown)} samples are not in the table, first {unknown[0]!r}")
        if both := sorted(labelled & pool):
            raise ValueError(f"seed {seed}: {len(both)} samples are labelled and in the pool, first {both[0]!r}")
        use = {**dict.fromkeys(labelled, LABELLED), **dict.fromkeys(pool, PRETEXT)}
        table[f"seed_{seed}"] = table["sample_id"].map(use).fillna(UNUSED)
    return table.sort_values(["set", "sample_id"], ignore_index=True)


def seeds_of(table: pd.DataFrame) -> list[int]:
    """Seeds that a table speaks of, ascending."""
    return sorted(int(column.removeprefix("seed_")) for column in table if str(column).startswith("seed_"))


def used_by(table: pd.DataFrame, seed: int) -> tuple[list[str], list[str]]:
    """Labelled subset and pretext pool of one seed, sorted sample_ids.

    Raises
    ------
    KeyError
        The table has no such seed; the message lists those it has.
    """
    if (column := f"seed_{seed}") not in table:
        raise KeyError(f"the split table has no seed {seed}; it has {', '.join(map(str, seeds_of(table)))}")
    return tuple(sorted(table.loc[table[column] == use, "sample_id"]) for use in (LABELLED, PRETEXT))  # type: ignore[return-value]


def to_csv(tables: Collection[pd.DataFrame]) -> str:
    """The tables of all tasks as one CSV text, booleans as true and false, lines ended by a line feed."""
    whole = pd.concat(list(tables), ignore_index=True)
    whole["kept_out"] = whole["kept_out"].map({True: "true", False: "false"})
    return whole.to_csv(index=False, lineterminator="\n")


def columns_text() -> str:
    """The columns and their meaning as a Markdown table."""
    lines = [f"| `{name}` | {words} |" for name, words in COLUMNS.items()]
    return "\n".join(["| column | meaning |", "|---|---|", *lines])
