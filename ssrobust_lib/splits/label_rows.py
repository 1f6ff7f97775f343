"""What a split of RSNA's label rows does: how many test images are also in training, and what balance is left.

In: the challenge's label table (one row per box, several per image), or a stand-in of the published margins. Out: a
table of counts over several draws of the split. The paper's X-ray counts (section 3.1) are those of such a split, and
of no split by patient.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ssrobust_lib.config import Profile
from ssrobust_lib.datasets.rsna import LABELS, read_table
from ssrobust_lib.seeds import derive_seed
from ssrobust_lib.sources import REAL_DATA
from ssrobust_lib.splits.rules import labelled_subset, pretext_pool, split_by_row

PUBLISHED_BOXES: Mapping[int, int] = {0: 20_672, 1: 2_614, 2: 3_266, 3: 119, 4: 13}
"""Boxes of an image -> images, counted in the challenge's stage-2 label table: 26,684 images, 30,227 rows."""

PUBLISHED_ROWS = sum(max(1, boxes) * images for boxes, images in PUBLISHED_BOXES.items())
PAPER_ROWS: Mapping[str, int] = {"test": 3_024, "train": 24_483, "val": 2_720}
"""Sizes of the paper's parts: test as printed, training as printed with a doubled digit taken out ('244,483'), and what
then remains."""

TEST = VALIDATION = 0.1
LABEL_FRACTION = 0.01


@dataclass(frozen=True)
class LabelTable:
    """Label rows (sample_id, patient_id, label 0 or 1, has_label), and whether they are the challenge's own."""

    rows: pd.DataFrame
    real: bool


def label_table(profile: Profile) -> LabelTable:
    """The challenge's whole label table where it lies under the folder of real images, else the stand-in.

    Looked for where the set's loader does, and in `full_labels/` below the set's folder (for a folder that
    holds a part of the images with their part of the table).
    """
    for path in label_table_files(profile):
        table = read_table(path, ("patientId", "Target"))
        if len(table) == PUBLISHED_ROWS:
            return LabelTable(_rows(table["patientId"].astype(str), table["Target"]), real=True)
    return stand_in()


def label_table_files(profile: Profile) -> list[Path]:
    """Files that may be the challenge's whole label table, as far as they exist; none is opened."""
    from ssrobust_lib.datasets.loader import find_folder
    from ssrobust_lib.datasets.manifest import load_manifest

    root = profile.data_root or os.environ.get(REAL_DATA)
    if not root:
        return []
    folder = Path(root).expanduser() / load_manifest("rsna").folder
    places = dict.fromkeys((find_folder(folder, (LABELS,)), folder / "full_labels"))
    return [place / LABELS for place in places if (place / LABELS).is_file()]


def stand_in() -> LabelTable:
    """Rows with invented names and the published number of images for every number of boxes."""
    boxes = np.repeat(list(PUBLISHED_BOXES), list(PUBLISHED_BOXES.values()))
    names = pd.Series([f"image{k:05d}" for k in range(len(boxes))])
    repeats = np.maximum(boxes, 1)
    return LabelTable(_rows(names.repeat(repeats), pd.Series((boxes > 0).astype(int)).repeat(repeats)), real=False)


def _rows(patients: pd.Series, targets: pd.Series) -> pd.DataFrame:
    patients = patients.reset_index(drop=True)
    number = patients.groupby(patients).cumcount().astype(str)
    frame = {"sample_id": patients + "#" + number, "patient_id": patients, "label": targets.to_numpy(dtype=np.int64)}
    return pd.DataFrame(frame).assign(has_label=True)


def row_split_counts(table: LabelTable, seed: int, draws: int = 5) -> pd.DataFrame:
    """Split the rows as the paper seems to have, several times, and count what leaks.

    Parameters
    ----------
    table : label rows.
    seed : of the draws.
    draws : how many splits, each with one labelled subset.

    Returns
    -------
    DataFrame, one row per draw: `train`, `val`, `test` (rows); `test_images` (distinct); of the test rows those whose
    image is also in training (`in_train`), in training or validation (`in_train_or_val`), in the pretext pool
    (`in_pool`), among the labelled (`labelled`); `prevalence`, the positive share of the test rows; `majority`, the
    accuracy of always giving the more frequent answer there.
    """
    counts = [_one_draw(table.rows, derive_seed(seed, "row split", draw)) for draw in range(draws)]
    return pd.DataFrame(counts)


def _one_draw(rows: pd.DataFrame, seed: int) -> dict[str, float]:
    rows = rows.assign(split=split_by_row(rows, val=VALIDATION, test=TEST, seed=seed))
    labelled = labelled_subset(rows, LABEL_FRACTION, seed)
    pool = pretext_pool(rows, labelled, apart=False)
    patient = rows.set_index("sample_id")["patient_id"]
    train = set(rows.loc[rows["split"] == "train", "patient_id"])
    val = set(rows.loc[rows["split"] == "val", "patient_id"])
    test = rows[rows["split"] == "test"]
    prevalence = float(test["label"].mean())
    return {
        **{part: int((rows["split"] == part).sum()) for part in ("train", "val", "test")},
        "test_images": int(test["patient_id"].nunique()),
        "in_train": int(test["patient_id"].isin(train).sum()),
        "in_train_or_val": int(test["patient_id"].isin(train | val).sum()),
        "in_pool": int(test["patient_id"].isin(set(patient[pool])).sum()),
        "labelled": int(test["patient_id"].isin(set(patient[labelled])).sum()),
        "prevalence": prevalence,
        "majority": max(prevalence, 1 - prevalence),
    }


def patient_balance(table: LabelTable) -> tuple[float, float]:
    """Positive share of the images, and the accuracy of always giving the more frequent answer for them."""
    prevalence = float(table.rows.groupby("patient_id")["label"].max().mean())
    return prevalence, max(prevalence, 1 - prevalence)


def row_split_table(table: LabelTable, counts: pd.DataFrame) -> pd.DataFrame:
    """The counts in words: by rows (mean and range over draws), by patient, and what the paper prints.

    Returns
    -------
    DataFrame of text: what, rows, patients, paper
    """
    prevalence, majority = patient_balance(table)
    n = counts["test"]
    balance = f"{100 * prevalence:.1f} %"
    lines = [
        ("test", _span(n), "–", f"{PAPER_ROWS['test']:,}"),
        ("training", _span(counts["train"]), "–", f"{PAPER_ROWS['train']:,} (printed: 244,483)"),
        ("validation", _span(counts["val"]), "–", f"{PAPER_ROWS['val']:,} (the rest)"),
        ("test rows whose image is also in training", _share(counts["in_train"], n), "0", "not stated"),
        ("... in training or validation", _share(counts["in_train_or_val"], n), "0", "not stated"),
        ("... in the pretext pool", _share(counts["in_pool"], n), "0", "not stated"),
        ("... among the labelled 1 %", _share(counts["labelled"], n), "0", "not stated"),
        ("share of pneumonia in the test set", _percent(counts["prevalence"]), balance, "not stated"),
        ("accuracy of the more frequent answer", _value(counts["majority"]), f"{majority:.3f}", "not stated"),
    ]
    return pd.DataFrame(lines, columns=["what", "rows", "patients", "paper"])


def _span(values: pd.Series) -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _share(values: pd.Series, of: pd.Series) -> str:
    return f"{_span(values)} ({100 * (values / of).mean():.1f} %)"


def _percent(values: pd.Series) -> str:
    return f"{100 * values.mean():.1f} %"


def _value(values: pd.Series) -> str:
    return f"{values.mean():.3f}"
