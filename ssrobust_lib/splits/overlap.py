"""Images that a learning part shares with an evaluation part: equal to the pixel, or the same exposure stored anew.

In: the samples of a task with their split, and its images as the cache holds them. Out: one row per pair of a sample
that is learned from (train, pretext) and one that is scored (val, test, external), across all sets of the task, and
per pair of validation, which chooses severities, and test or external. The data cell runs it once; under the policy
``keep_out`` nothing learns from such a sample or from its patient, and nothing is chosen by it.
"""

import numpy as np
import pandas as pd

from ssrobust_lib.datasets.near_duplicates import (
    THRESHOLDS,
    Selection,
    find_near_duplicate_scans,
    find_near_duplicates,
)
from ssrobust_lib.datasets.stored_images import StoredImages
from ssrobust_lib.splits.rules import EVALUATION_SPLITS, groups_of

COLUMNS = (
    "sample_id", "set", "split", "kind", "evaluated_id", "evaluated_set", "evaluated_split", "correlation", "mirrored",
)  # fmt: skip
"""Of a pair: the sample learned from, its set and split; kind ('identical' or 'near-duplicate'); the sample that is
scored, its set and split; correlation in [-1, 1] (see `datasets.near_duplicates`; 1 where identical); whether one is
the mirror image of the other."""

IDENTICAL, NEAR = "identical", "near-duplicate"
_LEARNING = ("train", "pretext")
_CHOOSING = "val"
_FINAL = tuple(part for part in EVALUATION_SPLITS if part != _CHOOSING)


def shared_images(samples: pd.DataFrame, images: np.ndarray | StoredImages, rows: pd.DataFrame) -> pd.DataFrame:
    """Find every sample of train and pretext that shows what a sample of val, test or external shows, and of val.

    Images of one patient are compared by their pixels' hash alone, since the split has to do with them anyway; so are
    all images where they are smaller than the check can tell apart (32 pixels).

    Parameters
    ----------
    samples : sample_id, patient_id, set, split, content_hash; one row per sample.
    images : float16 (N, S, S) in [0, 1], as the cache holds them.
    rows : sample_id and slice of each image, in their order; a scan has several.

    Returns
    -------
    DataFrame with `COLUMNS`, identical pairs first.
    """
    learning = samples[samples["split"].isin((*_LEARNING, _CHOOSING))]
    scored = samples[samples["split"].isin(EVALUATION_SPLITS)]
    pairs = [_identical(learning, scored)]
    if images.shape[1] >= min(THRESHOLDS) and len(learning) and len(scored):
        codes = dict(zip(samples["sample_id"], pd.factorize(groups_of(samples))[0].tolist(), strict=True))
        is_ct = rows["sample_id"].duplicated().any()
        pairs.append((_near_scans if is_ct else _near_images)(learning, scored, images, rows, codes))
    found = pd.concat([part for part in pairs if len(part)] or pairs[:1], ignore_index=True)
    of_learning = learning.set_index("sample_id")[["set", "split"]]
    of_scored = scored.set_index("sample_id")[["set", "split"]].add_prefix("evaluated_")
    found = found.join(of_learning, on="sample_id").join(of_scored, on="evaluated_id")
    found = found[(found["split"] != _CHOOSING) | (found["evaluated_split"] != _CHOOSING)]
    order = ["kind", "set", "sample_id", "evaluated_id"]
    return found.sort_values(order, ignore_index=True)[list(COLUMNS)]


def keep_out(samples: pd.DataFrame, shared: pd.DataFrame) -> pd.Series:
    """Whether a sample must not be learned from: its patient is scored, or images of its patient are among the shared.

    The same holds for what severities are chosen by (val) and what the results are taken from (test, external). A split
    by patient leaves no patient on both sides; a publisher's own may (Kermany's does).

    Returns
    -------
    Series of bool named kept_out, index of `samples`; false for test and external.
    """
    groups, split = groups_of(samples), samples["split"]
    alike = groups.isin(set(groups[samples["sample_id"].isin(set(shared["sample_id"]))]))
    scored = groups.isin(set(groups[split.isin(EVALUATION_SPLITS)]))
    final = groups.isin(set(groups[split.isin(_FINAL)]))
    away = (split.isin(_LEARNING) & (alike | scored)) | ((split == _CHOOSING) & (alike | final))
    return away.rename("kept_out")


def _identical(learning: pd.DataFrame, scored: pd.DataFrame) -> pd.DataFrame:
    ours = learning.loc[learning["content_hash"].notna(), ["sample_id", "content_hash"]]
    theirs = scored.loc[scored["content_hash"].notna(), ["sample_id", "content_hash"]]
    pairs = ours.merge(theirs.rename(columns={"sample_id": "evaluated_id"}), on="content_hash")
    return pairs.drop(columns="content_hash").assign(kind=IDENTICAL, correlation=1.0, mirrored=False)


def _near_images(
    learning: pd.DataFrame,
    scored: pd.DataFrame,
    images: np.ndarray | StoredImages,
    rows: pd.DataFrame,
    codes: dict[str, int],
) -> pd.DataFrame:
    position = pd.Series(np.arange(len(rows)), index=rows["sample_id"])

    def part(samples: pd.DataFrame) -> tuple[list[str], Selection, np.ndarray]:
        names = samples.loc[samples["sample_id"].isin(position.index), "sample_id"].tolist()
        chosen = Selection(images, position[names].to_numpy())
        return names, chosen, np.array([codes[name] for name in names], np.int64)

    names, own, groups = part(learning)
    scored_names, evaluated, scored_groups = part(scored)
    # the smaller part asks, since each question is put in 54 variants
    if len(evaluated) <= len(own):
        pairs = find_near_duplicates(evaluated, own, scored_groups, groups)
        asked, answered = scored_names, names
    else:
        pairs = find_near_duplicates(own, evaluated, groups, scored_groups)
        asked, answered = names, scored_names
    first = [asked[k] for k in pairs["query"]]
    second = [answered[k] for k in pairs["pool"]]
    ours, theirs = (second, first) if asked is scored_names else (first, second)
    found = {"sample_id": ours, "evaluated_id": theirs, "kind": NEAR}
    return pd.DataFrame(found).assign(correlation=pairs["correlation"], mirrored=pairs["mirrored"])


def _near_scans(
    learning: pd.DataFrame,
    scored: pd.DataFrame,
    images: np.ndarray | StoredImages,
    rows: pd.DataFrame,
    codes: dict[str, int],
) -> pd.DataFrame:
    there = set(rows["sample_id"])
    queries = [name for name in scored["sample_id"] if name in there]
    pool = [name for name in learning["sample_id"] if name in there]
    pairs = find_near_duplicate_scans(images, rows["sample_id"].to_numpy(), queries, pool, codes)
    renamed = pairs.rename(columns={"query": "evaluated_id", "pool": "sample_id"})
    return renamed.assign(kind=NEAR, mirrored=False)
