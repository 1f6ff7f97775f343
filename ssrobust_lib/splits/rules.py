"""Who is trained on, validated on and tested on (paper, section 3.1): by patient, seeded, and checked.

In: the samples table. Out: the `split` column (train, val, test, external, pretext), each seed's labelled subset of
train, and its pretext pool. Patients stay whole; so do groups of patients who share an image with identical content,
where the table has a `content_hash` column (see `datasets.content_hash`). The paper's own split was very likely one of
label rows, which puts one patient's image on both sides: it exists here under its name, ``row``, to show what it
does.
"""

import heapq
import math
from collections.abc import Callable, Collection, Sequence

import numpy as np
import pandas as pd

from ssrobust_lib.registry import Registry, unknown_name
from ssrobust_lib.seeds import rng

EVALUATION_SPLITS = ("val", "test", "external")

Splitter = Callable[..., pd.Series]
SPLITS: Registry[Splitter] = Registry("way to split")


class PatientCrossesError(ValueError):
    """A patient, or an image's content, is in more than one split; the message names who and where."""


def groups_of(samples: pd.DataFrame) -> pd.Series:
    """Name of the group that must stay together, per sample: the patient, joined with all who share an image's content.

    Returns
    -------
    Series of str, index of `samples`: the first patient_id (by name) of the group
    """
    patients = samples["patient_id"].astype(str)
    if "content_hash" not in samples:
        return patients.rename("group")
    leader = {patient: patient for patient in sorted(patients.unique())}

    def find(patient: str) -> str:
        while leader[patient] != patient:
            leader[patient] = leader[leader[patient]]
            patient = leader[patient]
        return patient

    for _, same in patients[samples["content_hash"].notna()].groupby(samples["content_hash"]):
        roots = sorted({find(patient) for patient in same})
        for root in roots[1:]:
            leader[root] = roots[0]
    return patients.map(find).rename("group")


def apportion(weights: Sequence[int], total: int, minimum: int = 0) -> list[int]:
    """Share `total` among strata in proportion to their sizes (Sainte-Lague), each at least `minimum`.

    The method is monotone: a larger total gives no stratum less, so that a larger subset contains the smaller one.

    Raises
    ------
    ValueError
        If the strata cannot give as many, or a stratum has fewer than the minimum.
    """
    if total > sum(weights) or (weights and min(weights) < minimum):
        raise ValueError(f"cannot draw {total} (at least {minimum} of each kind) from strata of {list(weights)}")
    seats = [minimum] * len(weights)
    queue = [(-weight / (2 * minimum + 1), k) for k, weight in enumerate(weights) if weight > minimum]
    heapq.heapify(queue)
    for _ in range(max(0, total - sum(seats))):
        _, k = heapq.heappop(queue)
        seats[k] += 1
        if seats[k] < weights[k]:
            heapq.heappush(queue, (-weights[k] / (2 * seats[k] + 1), k))
    return seats


def _how_many(amount: float | int, n: int, what: str) -> int:
    """A count as it stands, or a fraction of `n`, rounded up."""
    if isinstance(amount, bool) or amount < 0 or (isinstance(amount, float) and amount > 1):
        raise ValueError(f"{what} must be a fraction from 0 to 1 or a whole count, got {amount!r}")
    count = math.ceil(round(amount * n, 9)) if isinstance(amount, float) else int(amount)
    if count > n:
        raise ValueError(f"{what} asks for {count} of {n}: choose fewer")
    return count


def _strata(samples: pd.DataFrame, groups: pd.Series, stratify: Sequence[str]) -> pd.Series:
    """Stratum of every group: for `label` whether any of its images is positive, for other columns the first value."""
    strata = pd.Series("", index=pd.Index(sorted(groups.unique())))
    for column in stratify:
        if column not in samples:
            raise unknown_name("column to stratify by", column, list(samples.columns))
        by_group = samples[column].groupby(groups)
        values = by_group.max() if column == "label" else by_group.first()
        # str() of each, since a missing label is a stratum, too
        strata = strata + "|" + pd.Series([str(value) for value in values], index=values.index)
    return strata


def _draw(strata: pd.Series, counts: dict[str, int], generator: np.random.Generator, rest: str) -> dict[str, str]:
    """Give each group (index of `strata`) a split: `counts` groups each, stratified; the rest goes to `rest`."""
    if sum(counts.values()) >= len(strata):
        asked = " + ".join(f"{split} {count}" for split, count in counts.items())
        raise ValueError(f"{asked} leave none of {len(strata)} labelled patients (or rows) to train on: choose fewer")
    members = {name: list(generator.permutation(np.array(group.index))) for name, group in strata.groupby(strata)}
    chosen: dict[str, str] = {}
    for split, count in counts.items():
        seats = apportion([len(names) for names in members.values()], count)
        for names, n in zip(members.values(), seats, strict=True):
            chosen |= dict.fromkeys(names[:n], split)
            del names[:n]
    return chosen | {name: rest for names in members.values() for name in names}


@SPLITS.register("patient")
def split_by_patient(
    samples: pd.DataFrame,
    *,
    val: float | int,
    test: float | int,
    seed: int,
    stratify: Sequence[str] = ("label",),
) -> pd.Series:
    """Split by patient: the default, and the only way in which test images are new to the network.

    Parameters
    ----------
    samples : samples table; patients without any labelled image go to `pretext`
    val, test : fraction (float, rounded up) or number (int) of the labelled patients
    seed : of the draw; the result depends on it and on the patients' names, not on the order of rows
    stratify : columns whose proportions every split keeps

    Returns
    -------
    Series of str named split, index of `samples`: train, val, test or pretext
    """
    groups = groups_of(samples)
    labelled = samples["has_label"].astype(bool).groupby(groups).any()
    drawn = groups.map(labelled)
    strata = _strata(samples[drawn], groups[drawn], stratify)
    counts = {"test": _how_many(test, len(strata), "test"), "val": _how_many(val, len(strata), "val")}
    chosen = _draw(strata, counts, rng(seed, "split by patient"), "train")
    return groups.map(chosen).fillna("pretext").rename("split")


@SPLITS.register("published")
def split_published(
    samples: pd.DataFrame,
    *,
    val: float | int,
    seed: int,
    test: float | int | None = None,
    stratify: Sequence[str] = ("label",),
) -> pd.Series:
    """Take the published test set as test, and draw val from the rest by patient.

    In some sets the same patients stand on both sides (Kermany: 170 of them). Such a patient's other images are never
    val; they stay in train, where `overlap.keep_out` marks them and `check_no_patient_crosses` refuses them unmarked.
    `val` counts labelled patients of whom no image is in the published test set; a published val set joins train.
    `test` is there for the common signature and must stay None.
    """
    if "published_split" not in samples:
        raise KeyError("this set has no published split (column published_split): choose the split 'patient'")
    if test is not None:
        raise ValueError(f"the published split fixes its test set: leave test out, got {test!r}")
    is_test = samples["published_split"] == "test"
    groups = groups_of(samples)
    on_both_sides = ~is_test & groups.isin(set(groups[is_test]))
    rest = split_by_patient(samples[~is_test & ~on_both_sides], val=val, test=0, seed=seed, stratify=stratify)
    return rest.reindex(samples.index).mask(is_test, "test").fillna("train").rename("split")


@SPLITS.register("row")
def split_by_row(
    samples: pd.DataFrame,
    *,
    val: float | int,
    test: float | int,
    seed: int,
    stratify: Sequence[str] = ("label",),
) -> pd.Series:
    """Split rows regardless of patients, as the paper's counts suggest: leaks patients, for comparison only.

    The rule, class by class: of `test`, a fraction of the rows is rounded up; of `val`, a fraction of the rows that
    test leaves is rounded to the nearest whole (a half up). For RSNA's 30,227 label rows (``unit="label_row"``) and 0.1
    each this gives the paper's counts to the digit: 3,024 test rows (2,068 negative and 956 positive), and of the other
    27,203 rows 24,483 for training and 2,720 (1,860 + 860) for validation. That validation is rounded otherwise than
    test is our inference: rounded up, it would be 24,482 and 2,721.

    Parameters
    ----------
    samples : samples table, one row per label row; rows without a label go to `pretext`
    val, test : fraction (float), or number of rows (int), shared among the classes in proportion
    seed : of the draw; the result depends on it and on the rows' names, not on their order
    stratify : columns whose proportions every split keeps

    Returns
    -------
    Series of str named split, index of `samples`: train, val, test or pretext
    """
    labelled = samples[samples["has_label"].astype(bool)]
    strata = _strata(labelled, labelled["sample_id"], stratify)
    sizes = strata.value_counts().sort_index()
    tests = _per_class(test, list(sizes), "test", math.ceil)
    left = [n - taken for n, taken in zip(sizes, tests, strict=True)]
    vals = _per_class(val, left, "val", lambda share: math.floor(share + 0.5))
    if sum(tests) + sum(vals) >= len(strata):
        raise ValueError(
            f"test {sum(tests)} + val {sum(vals)} leave none of {len(strata)} labelled rows to train on: choose fewer"
        )
    generator = rng(seed, "split by row")
    chosen: dict[str, str] = {}
    for name, n_test, n_val in zip(sizes.index, tests, vals, strict=True):
        rows = generator.permutation(np.array(sorted(strata.index[strata == name]), dtype=object))
        parts = ["test"] * n_test + ["val"] * n_val
        chosen |= dict(zip(rows, parts + ["train"] * (len(rows) - len(parts)), strict=True))
    return samples["sample_id"].map(chosen).fillna("pretext").rename("split")


def _per_class(amount: float | int, sizes: list[int], what: str, rounded: Callable[[float], int]) -> list[int]:
    """How many of each class: a fraction of it, rounded, or a share of a whole number in proportion."""
    _how_many(amount, sum(sizes), what)  # refuses what is no fraction or count
    if isinstance(amount, float):
        return [rounded(round(amount * n, 9)) for n in sizes]
    return apportion(sizes, int(amount))


def labelled_subset(
    samples: pd.DataFrame,
    fraction: float | int,
    seed: int,
    *,
    minimum_per_class: int = 1,
    stratify: Sequence[str] = ("label",),
) -> list[str]:
    """Draw the few labelled images of train that one seed fine-tunes on (paper: 1 % of X-rays, 10 % of CT scans).

    Patients are taken whole, in an order that only the seed decides, until a class has its share of images; of the last
    patient no more than needed. A larger fraction of the same seed therefore contains the smaller one.

    Parameters
    ----------
    samples : with `split`; only labelled rows of train are drawn from, and none whose `kept_out` is true (see
        `overlap.keep_out`)
    fraction : of those rows (float, rounded up), or their number (int)
    seed : of the draw
    minimum_per_class : images of every stratum at least
    stratify : columns whose proportions are kept

    Returns
    -------
    sorted sample_ids

    Raises
    ------
    ValueError
        If a class has fewer images than the minimum, or train no labelled image at all.
    """
    train = samples[(samples["split"] == "train") & samples["has_label"].astype(bool) & ~_kept_out(samples)]
    if train.empty:
        raise ValueError("train holds no labelled image: nothing to draw a labelled subset from")
    count = _how_many(fraction, len(train), "fraction")
    strata = _strata(train, train["sample_id"], stratify)
    sizes = strata.value_counts().sort_index()
    count = max(count, minimum_per_class * len(sizes))
    try:
        seats = apportion(list(sizes), count, minimum_per_class)
    except ValueError as error:
        raise ValueError(f"labelled subset of {count} images, strata {dict(sizes)}: {error}") from error
    generator = rng(seed, "labelled subset")
    patients = sorted(train["patient_id"].unique())
    rank = dict(zip(generator.permutation(np.array(patients)), range(len(patients)), strict=True))
    within = dict(zip(sorted(train["sample_id"]), generator.permutation(len(train)), strict=True))
    order = pd.DataFrame(
        {
            "sample_id": train["sample_id"],
            "patient": train["patient_id"].map(rank),
            "image": train["sample_id"].map(within),
        }
    ).sort_values(["patient", "image"])
    stratum = order["sample_id"].map(strata)
    chosen = [order.loc[stratum == name, "sample_id"].head(n) for name, n in zip(sizes.index, seats, strict=True)]
    return sorted(pd.concat(chosen))


def pretext_pool(samples: pd.DataFrame, labelled: Collection[str], *, apart: bool = True) -> list[str]:
    """Images of one seed's pretext training: train without that seed's labelled subset, and the pretext split.

    Patients of val, test or external, and images whose content occurs there, are never part of it, whatever their own
    split; nor are images whose `kept_out` is true (see `overlap.keep_out`).

    Parameters
    ----------
    samples : with `split`
    labelled : sample_ids of that seed's labelled subset
    apart : keep the patients of val, test and external away. False takes the rows of train and pretext as they are,
        which is what a split of rows means: the pretext task then sees images of the test set.

    Returns
    -------
    sorted sample_ids
    """
    unknown = sorted(set(labelled) - set(samples["sample_id"]))
    if unknown:
        raise ValueError(f"{len(unknown)} labelled samples are not in the samples table, first {unknown[0]!r}")
    inside = samples["split"].isin(["train", "pretext"]) & ~samples["sample_id"].isin(set(labelled))
    if apart:
        groups = groups_of(samples)
        kept_away = set(groups[samples["split"].isin(EVALUATION_SPLITS)])
        inside &= ~groups.isin(kept_away) & ~_kept_out(samples)
    return sorted(samples.loc[inside, "sample_id"])


def _kept_out(samples: pd.DataFrame) -> pd.Series:
    """Whether a sample must not be learned from; false everywhere where nobody has looked."""
    if "kept_out" not in samples:
        return pd.Series(False, index=samples.index)
    return samples["kept_out"].fillna(False).astype(bool)


def check_no_patient_crosses(samples: pd.DataFrame) -> None:
    """Raise `PatientCrossesError` if a patient, or an image's content, is in more than one split."""
    for column, what in (("patient_id", "patients"), ("content_hash", "images with identical content")):
        if column not in samples:
            continue
        splits = samples.dropna(subset=[column]).groupby(column)["split"].unique()
        crossing = splits[splits.map(len) > 1]
        if len(crossing):
            shown = "; ".join(f"{name} in {' and '.join(sorted(where))}" for name, where in crossing.head(5).items())
            raise PatientCrossesError(
                f"{len(crossing)} {what} are in more than one split ({shown}{'; ...' if len(crossing) > 5 else ''}). "
                "Split by patient (split 'patient'), or leave them out (known_bad in the set's manifest)."
            )
