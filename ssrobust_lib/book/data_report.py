"""Tables of notebook 01: what is there, who is in which part, and that nobody is in two (paper, section 3.1).

Enters: the samples table of a data cell, and for the phantoms their files. Leaves: frames in words, for showing.
"""

from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd

from ssrobust_lib.cells import trained
from ssrobust_lib.splits.table import used_by

if TYPE_CHECKING:
    from ssrobust_lib.study import Study

PARTS = {
    "train": "training",
    "val": "validation",
    "test": "test",
    "pretext": "pretext task only",
    "external": "other centre",
}
"""Words for each split, in the order in which they are shown."""

ORDER = list(PARTS)
_MEASURE_WORDS = {
    "q05": "intensity, 5 % quantile",
    "q25": "intensity, 25 % quantile",
    "q50": "intensity, median",
    "q75": "intensity, 75 % quantile",
    "q95": "intensity, 95 % quantile",
    "slope": "slope of the power spectrum",
}


def split_counts(samples: pd.DataFrame, names: dict[str, str] | None = None) -> pd.DataFrame:
    """Images, patients and labelled images of each set and part; with labels of a class, the positive ones as well.

    Parameters
    ----------
    samples : set, split, sample_id, patient_id, has_label, label.
    names : set -> words.
    """
    groups = samples.assign(positive=_positive(samples)).groupby(["set", "split"], sort=False)
    counts = groups.agg(
        images=("sample_id", "count"),
        patients=("patient_id", "nunique"),
        labelled=("has_label", "sum"),
        positive=("positive", "sum"),
    ).reset_index()
    counts["order"] = counts["split"].map(ORDER.index)
    counts = counts.sort_values(["order", "set"], kind="stable").drop(columns="order").reset_index(drop=True)
    counts["set"] = counts["set"].map(lambda name: (names or {}).get(name, name))
    counts = counts.rename(columns={"split": "part"}).assign(part=counts["split"].map(PARTS))
    if samples["label"].isna().all():
        return counts.drop(columns="positive")
    return counts.assign(positive_share=counts["positive"] / counts["labelled"].where(counts["labelled"] > 0))


def _positive(samples: pd.DataFrame) -> pd.Series:
    """Whether an image shows the finding, as int64: a small type would overflow when it is summed."""
    return (samples["label"] == 1).fillna(False).astype("int64")


def scan_kinds(samples: pd.DataFrame) -> pd.DataFrame:
    """CT scans of each part by contrast agent and field of view, where a set states them; empty where none does."""
    if not {"contrast", "field_of_view"} <= set(samples):
        return pd.DataFrame()
    known = samples[samples["field_of_view"].notna()]
    fields = {"ThAb": "thorax and abdomen", "wb": "whole body"}
    kinds = known.assign(
        part=known["split"].map(PARTS),
        contrast_agent=known["contrast"].map({True: "with", False: "without"}).fillna("not stated"),
        field_of_view=known["field_of_view"].map(lambda word: fields.get(word, word)),
    )
    groups = ["part", "contrast_agent", "field_of_view"]
    kinds = kinds.assign(order=kinds["split"].map(ORDER.index)).sort_values(["order", *groups], kind="stable")
    return kinds.groupby(groups, sort=False).size().rename("scans").reset_index()


def shared_patients(samples: pd.DataFrame) -> pd.DataFrame:
    """Number of patients that two parts have in common, for every pair of parts: zeros off the diagonal.

    Samples that are kept out (see `overlap.keep_out`) are in no part: nothing learns from them.
    """
    samples = _used(samples)
    members = {split: set(samples.loc[samples["split"] == split, "patient_id"]) for split in ORDER}
    there = [split for split in ORDER if members[split]]
    words = [PARTS[split] for split in there]
    table = pd.DataFrame([[len(members[a] & members[b]) for b in there] for a in there], columns=words)
    table.insert(0, "patients in", words)
    return table


def crossing_patients(samples: pd.DataFrame) -> int:
    """Patients in more than one part; training and the pretext task, which both learn, count as one."""
    return int((_sides(samples).groupby("patient_id")["split"].nunique() > 1).sum())


def shared_contents(samples: pd.DataFrame) -> int:
    """Image contents that occur in more than one part, parts as in `crossing_patients`."""
    known = _sides(samples[samples["content_hash"].notna()])
    return int((known.groupby("content_hash")["split"].nunique() > 1).sum())


def _used(samples: pd.DataFrame) -> pd.DataFrame:
    return samples[~samples["kept_out"].astype(bool)] if "kept_out" in samples else samples


def _sides(samples: pd.DataFrame) -> pd.DataFrame:
    used = _used(samples)
    return used.assign(split=used["split"].replace("pretext", "train"))


def shared_pairs(shared: pd.DataFrame, names: dict[str, str], most: int = 12) -> pd.DataFrame:
    """Samples that are learned from and evaluated at once, in words, the most alike first.

    Parameters
    ----------
    shared : `overlap.COLUMNS`.
    names : set -> words.
    most : rows at the most.
    """
    chosen = shared.sort_values("correlation", ascending=False, kind="stable").head(most)

    def places(sets: pd.Series, splits: pd.Series) -> list[str]:
        return [f"{names.get(one, one)}, {PARTS[part]}" for one, part in zip(sets, splits, strict=True)]

    return pd.DataFrame(
        {
            "learned_from": chosen["sample_id"].to_list(),
            "in": places(chosen["set"], chosen["split"]),
            "evaluated": chosen["evaluated_id"].to_list(),
            "evaluated_in": places(chosen["evaluated_set"], chosen["evaluated_split"]),
            "kind": [f"{row.kind}, mirrored" if row.mirrored else row.kind for row in chosen.itertuples()],
            "correlation": chosen["correlation"].to_list(),
        }
    )


def labelled_by_seed(study: "Study", task: str) -> pd.DataFrame:
    """Size and class balance of each seed's labelled subset, and of the pool that its pretext task learns from."""
    cell = trained.data_cell(study, task)
    samples, drawn, uses = (study.table(cell, name) for name in ("samples", "labelled", "splits"))
    rows = drawn.merge(samples[["sample_id", "label", "patient_id"]], on="sample_id")
    table = (
        rows.assign(positive=_positive(rows))
        .groupby("seed")
        .agg(labelled=("sample_id", "count"), patients=("patient_id", "nunique"), positive=("positive", "sum"))
    )
    table["pretext_pool"] = [len(used_by(uses, seed)[1]) for seed in table.index]
    table = table.reset_index().astype({"seed": str})
    return table.drop(columns="positive") if samples["label"].isna().all() else table


def majority_accuracy(samples: pd.DataFrame, split: str = "test", data_set: str | None = None) -> float:
    """Accuracy of always giving the more frequent answer, mean over patients as the study's accuracy is.

    Parameters
    ----------
    samples : split, set, patient_id, label (0, 1 or NA).
    split : the part that is asked for.
    data_set : the set, where several share a part.

    Returns
    -------
    float in [0.5, 1], or NaN where nothing is labelled.
    """
    chosen = samples[(samples["split"] == split) & samples["label"].notna()]
    if data_set is not None:
        chosen = chosen[chosen["set"] == data_set]
    share = float((chosen["label"] == 1).groupby(chosen["patient_id"]).mean().mean()) if len(chosen) else np.nan
    return max(share, 1 - share)


def majority_note(study: "Study") -> str | None:
    """A line on the accuracy of always giving the more frequent answer, for every set of X-rays that is tested."""
    if "pneumonia" not in study.profile.tasks:
        return None
    from ssrobust_lib.book.examples import short_names

    samples, names = study.table(trained.data_cell(study, "pneumonia"), "samples"), short_names(study)
    data = study.profile.data["pneumonia"]
    places = [(data.label, "test"), *((choice.label, "external") for choice in data.external_sets)]
    shares = [f"{majority_accuracy(samples, split, label):.3f} ({names[label]})" for label, split in places]
    return f"Accuracy of always giving the more frequent answer: {', '.join(shares)}."


def realism_ranges(measures: pd.DataFrame) -> pd.DataFrame:
    """The table of `phantom_realism` with ranges in words ('0.31 to 0.62'): measure, real, phantoms, within_share."""
    ranges = {
        who: [f"{low:.2f} to {high:.2f}" for low, high in measures[[f"{who}_low", f"{who}_high"]].to_numpy()]
        for who in ("real", "phantoms")
    }
    return measures[["measure"]].assign(**ranges, within_share=measures["within_share"])


def phantom_realism(study: "Study", n: int = 300) -> tuple[pd.DataFrame, float]:
    """How the X-ray phantoms of a run compare with real radiographs, measured on their files.

    Parameters
    ----------
    n : images to read, the first of the samples table.

    Returns
    -------
    table : measure; real_low and real_high, the range over real radiographs (lowest 1st and highest 99th percentile of
        three sets); phantoms_low and phantoms_high, the phantoms' 1st to 99th percentile; within_share, that of the
        phantoms within the real range. Empty where the run's X-rays are no phantoms.
    auroc : of a threshold on an image's mean brightness alone, in [0.5, 1]; NaN for an empty table.
    """
    from ssrobust_lib.datasets import LOADERS, XRay
    from ssrobust_lib.datasets.manifest import load_manifest
    from ssrobust_lib.phantoms import realism

    if "pneumonia" not in study.profile.tasks or study.profile.data["pneumonia"].set not in study.profile.phantoms:
        return pd.DataFrame(), np.nan
    about, label = trained.constants(study, "pneumonia"), study.profile.data["pneumonia"].label
    samples = study.table(trained.data_cell(study, "pneumonia"), "samples")
    samples = samples[(samples["set"] == label) & samples["label"].notna()].head(n)
    loader, root = LOADERS[load_manifest(about["sets"][label]).loader], Path(about["roots"][label])
    images = [cast(XRay, loader.read_image(root, row)).pixels for _, row in samples.iterrows()]
    measures, real = realism.measure(images), realism.real_envelope()
    own, within = realism.reference_range(measures), realism.share_within(measures, real)
    rows = [
        {
            "measure": _MEASURE_WORDS[name],
            **{f"real_{end}": value for end, value in zip(("low", "high"), real[name], strict=True)},
            **{f"phantoms_{end}": value for end, value in zip(("low", "high"), own[name], strict=True)},
            "within_share": within[name],
        }
        for name in realism.MEASURES
    ]
    brightness = realism.brightness_auroc([image.mean() for image in images], samples["label"].astype(int))
    return pd.DataFrame(rows), brightness
