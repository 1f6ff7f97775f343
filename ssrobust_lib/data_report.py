"""Tables of notebook 01: what is there, who is in which split, and that nobody is in two (paper, section 3.1)."""

from typing import TYPE_CHECKING

import pandas as pd

from ssrobust_lib.cells import trained

if TYPE_CHECKING:
    from ssrobust_lib.study import Study

ORDER = ["train", "val", "test", "pretext", "external"]


def split_counts(samples: pd.DataFrame) -> pd.DataFrame:
    """Images, patients, labelled and positive images of each set and split."""
    groups = samples.groupby(["set", "split"], sort=False)
    counts = groups.agg(
        images=("sample_id", "count"),
        patients=("patient_id", "nunique"),
        labelled=("has_label", "sum"),
        positive=("label", lambda labels: int((labels == 1).sum())),
    ).reset_index()
    counts["order"] = counts["split"].map(ORDER.index)
    return counts.sort_values(["order", "set"], kind="stable").drop(columns="order").reset_index(drop=True)


def shared_patients(samples: pd.DataFrame) -> pd.DataFrame:
    """Number of patients that two splits have in common, for every pair of splits: zeros off the diagonal."""
    members = {split: set(samples.loc[samples["split"] == split, "patient_id"]) for split in ORDER}
    there = [split for split in ORDER if members[split]]
    table = pd.DataFrame([[len(members[a] & members[b]) for b in there] for a in there], columns=there)
    table.insert(0, "split", there)
    return table


def crossing_patients(samples: pd.DataFrame) -> int:
    """Patients in more than one split."""
    return int((samples.groupby("patient_id")["split"].nunique() > 1).sum())


def shared_contents(samples: pd.DataFrame) -> int:
    """Images whose content occurs in more than one split."""
    known = samples[samples["content_hash"].notna()]
    return int((known.groupby("content_hash")["split"].nunique() > 1).sum())


def labelled_by_seed(study: "Study", task: str) -> pd.DataFrame:
    """Size and class balance of each seed's labelled subset, and of the pool that its pretext task learns from."""
    cell = trained.data_cell(study, task)
    samples, drawn = study.table(cell, "samples"), study.table(cell, "labelled")
    pool = int(samples["split"].isin(["train", "pretext"]).sum())
    rows = drawn.merge(samples[["sample_id", "label", "patient_id"]], on="sample_id")
    table = rows.groupby("seed").agg(
        labelled=("sample_id", "count"),
        patients=("patient_id", "nunique"),
        positive=("label", lambda labels: int((labels == 1).sum())),
    )
    table["pretext_pool"] = pool - table["labelled"]
    return table.reset_index()
