"""What leaks of a split of rows do: one set of test images, four ways to choose what the networks learn from.

In: the label rows of a set in which an image may have several (RSNA: one per box). Out: for each way the labelled
images and the pretext pool; and, from the networks' predictions, how accuracy, AUROC and the comparison of the arms
change. Concerns the paper's section 3.1, whose counts are those of a split of rows.

The design. A split of rows puts some images into test and training at once: the *leaked* ones. All ways share its test
and validation images and have labelled subsets and pools of one size; as many images of other patients with pneumonia
(only their images have several rows, so only they leak) take the place of the leaked ones where a way does not let
them in. Ways differ in nothing else, arms share batches and first weights, so a difference is the leak's, or chance of
training: the seeds show how large that is.

- ``patient``: no test image is learned from, as in a split by patient.
- ``pretext leak``: leaked images are in the pretext pool, without their labels.
- ``label leak``: a share of the leaked images, that of labels in training, is among the labelled ones.
- ``row``: both, which is the split of rows as it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

from ssrobust_lib.config import REFERENCE_ARM
from ssrobust_lib.evaluation.unit_scores import DECISION_THRESHOLD, UnitScores, unit_scores
from ssrobust_lib.seeds import rng
from ssrobust_lib.splits.rules import labelled_subset, split_by_row
from ssrobust_lib.statistics.auroc import delong
from ssrobust_lib.statistics.bootstrap import percentile_interval, resample_counts
from ssrobust_lib.statistics.multiplicity import holm
from ssrobust_lib.statistics.paired_tests import signed_rank

WAYS = ("patient", "pretext leak", "label leak", "row")
CLEAN_WAY = "patient"
EFFECT_COLUMNS = (
    "kind", "metric", "way", "init", "mean", "mean_reference", "difference", "ci_low", "ci_high", "seed_low",
    "seed_high", "n", "n_seeds", "test", "p", "p_holm",
)  # fmt: skip
"""`kind` says what is compared: 'leak' (an arm in this way against itself by patient), 'arms' (a pretext arm against
normal training in this way), 'change' (that difference in this way against the one by patient). `ci_low`, `ci_high`:
95 %, over patients; `seed_low`, `seed_high`: smallest and largest difference of a seed; `p_holm` is corrected over all
rows of kind leak and change."""


class LeakDesignError(ValueError):
    """A set, or a number of patients, with which the four ways cannot be made equal in size."""


@dataclass(frozen=True)
class LeakDesign:
    """Who is learned from in each way; names are those of `images`, none twice in a list.

    Images that take each other's place stand at the same position of a list in every way, so that trainings whose
    batches are drawn by position differ in these images alone.

    Attributes
    ----------
    test, val : images that score every way.
    leaked : those of `test` that the split of rows puts into training as well.
    labelled, pool : way -> images of the labelled subset and of the pretext pool.
    """

    test: tuple[str, ...]
    val: tuple[str, ...]
    leaked: tuple[str, ...]
    labelled: Mapping[str, tuple[str, ...]]
    pool: Mapping[str, tuple[str, ...]]


def design_leaks(
    rows: pd.DataFrame, *, test: float, validation: float, label_fraction: float, split_seed: int, seed: int
) -> LeakDesign:
    """Choose the images of each way.

    Parameters
    ----------
    rows : label rows: sample_id (unique), patient_id, image (several rows may share one), label 0 or 1.
    test, validation : fractions as `split_by_row` takes them.
    label_fraction : share of the training images that are labelled, and of the leaked ones in ``label leak``.
    split_seed : of the split of rows, one for all seeds.
    seed : of the labelled subset and of the images that take the leaked ones' place.

    Raises
    ------
    LeakDesignError
        No image leaks, or too few other images with pneumonia are left to take the leaked ones' place.
    """
    split = split_by_row(rows.assign(has_label=True), val=validation, test=test, seed=split_seed)
    inside = {part: set(rows.loc[split == part, "image"]) for part in ("train", "val", "test")}
    leaked = sorted(inside["test"] & inside["train"])
    if not leaked:
        raise LeakDesignError(
            f"none of {len(inside['test'])} test images has a second row in training: expected a set with several "
            "label rows per image (RSNA), or more patients"
        )
    labels = rows.groupby("image")["label"].max()
    others = sorted(inside["train"] - inside["test"] - inside["val"])
    generator = rng(seed, "leak design")
    positive = [name for name in others if labels[name] == 1]
    if len(positive) <= len(leaked):
        raise LeakDesignError(
            f"{len(leaked)} images leak, and {len(positive)} others with pneumonia are in training: expected more than "
            "leak, to take their place; choose more patients or a smaller test fraction"
        )
    spare = list(generator.permutation(np.array(positive, dtype=object))[: len(leaked)])
    turn = generator.permutation(len(leaked))
    n_leaked_labels = round(label_fraction * len(leaked))
    with_label = [leaked[k] for k in turn[:n_leaked_labels]]
    without = [leaked[k] for k in turn[n_leaked_labels:]]
    spare_with_label, spare_without = spare[:n_leaked_labels], spare[n_leaked_labels:]
    base = sorted(set(others) - set(spare))
    table = pd.DataFrame({"sample_id": base, "patient_id": base, "split": "train", "has_label": True})
    table["label"] = labels[base].to_numpy()
    chosen = labelled_subset(table, label_fraction, seed)
    rest = sorted(set(base) - set(chosen))
    fills = {
        "patient": (spare_with_label, spare_without),
        "pretext leak": (spare_with_label, without),
        "label leak": (with_label, spare_without),
        "row": (with_label, without),
    }
    return LeakDesign(
        tuple(sorted(inside["test"])),
        tuple(sorted(inside["val"] - inside["test"])),
        tuple(leaked),
        {way: (*chosen, *first) for way, (first, _) in fills.items()},
        {way: (*rest, *second) for way, (_, second) in fills.items()},
    )


def leak_scores(predictions: pd.DataFrame, leaked: Sequence[str]) -> pd.DataFrame:
    """Score of every network: one row per way, arm, seed and metric.

    Parameters
    ----------
    predictions : way, init, seed, sample_id, patient_id, label, score, and the other columns of a prediction table.
    leaked : sample_ids of the leaked images.

    Returns
    -------
    DataFrame: metric, way, init, seed, value, n. Metrics: accuracy and auroc over patients; 'leaked found', the share
    of the leaked images (all have pneumonia) that are called positive; 'others found', that of the other test images
    with pneumonia.
    """
    found = []
    for scores in _unit_scores(predictions):
        for name, seed in product(scores.inits, scores.seeds):
            values = scores.values[scores.inits.index(name), scores.seeds.index(seed), 0]
            way, init = _parts(name)
            found.append((scores.metric, way, init, seed, float(values.mean()), values.size))
    positive = predictions[predictions["label"] == 1]
    leaks = positive["sample_id"].isin(set(leaked))
    for metric, part in (("leaked found", positive[leaks]), ("others found", positive[~leaks])):
        called = (part["score"] >= DECISION_THRESHOLD).astype(float)
        groups = called.groupby([part["way"], part["init"], part["seed"]])
        found += [(metric, *key, float(values.mean()), len(values)) for key, values in groups]
    table = pd.DataFrame(found, columns=["metric", "way", "init", "seed", "value", "n"])
    order = table.assign(place=table["way"].map(WAYS.index)).sort_values(["metric", "place", "init", "seed"])
    return table.loc[order.index].reset_index(drop=True)


SAME_TEST = ["metric", "difference", "ci_low", "ci_high", "seed_low", "seed_high", "p"]
"""Columns in which two effects agree that are the same difference of the same networks."""


def leak_effects(predictions: pd.DataFrame, *, seed: int, n_bootstrap: int = 2000) -> pd.DataFrame:
    """What each leak does to each arm, to the comparison of the arms, and to its outcome.

    Parameters
    ----------
    predictions : as for `leak_scores`; every arm in every way, on the same patients.
    seed : of the bootstrap over patients.
    n_bootstrap : resamples.

    Returns
    -------
    DataFrame with `EFFECT_COLUMNS`. Accuracy is tested by signed ranks, AUROC by DeLong's test, paired by patient.
    """
    rows = []
    for scores in _unit_scores(predictions):
        mean = {_parts(name): scores.values[k, :, 0] for k, name in enumerate(scores.inits)}  # (seeds, patients)
        arms = sorted({init for _, init in mean}, key=lambda init: (init != REFERENCE_ARM, init))
        counts = resample_counts(
            len(scores.units), n_bootstrap, rng(seed, "leaks", scores.metric), scores.strata
        )  # (resamples, patients)
        for way in WAYS:
            for init in arms:
                here, by_patient = mean[way, init], mean[CLEAN_WAY, init]
                if way != CLEAN_WAY:
                    rows.append(_effect("leak", scores, way, init, here, by_patient, counts))
                if init == REFERENCE_ARM:
                    continue
                arms_here = mean[way, init] - mean[way, REFERENCE_ARM]
                arms_by_patient = by_patient - mean[CLEAN_WAY, REFERENCE_ARM]
                rows.append(_effect("arms", scores, way, init, here, mean[way, REFERENCE_ARM], counts))
                if way != CLEAN_WAY:
                    rows.append(_effect("change", scores, way, init, arms_here, arms_by_patient, counts))
    table = pd.DataFrame(rows, columns=list(EFFECT_COLUMNS))
    family = table[table["kind"].isin(["leak", "change"])]
    # normal training has no pretext task: some rows are about the same networks, and are one test
    distinct = family.drop_duplicates(SAME_TEST)
    corrected = pd.Series(holm(distinct["p"].to_numpy(np.float64)), index=pd.MultiIndex.from_frame(distinct[SAME_TEST]))
    table.loc[family.index, "p_holm"] = corrected.reindex(pd.MultiIndex.from_frame(family[SAME_TEST])).to_numpy()
    return table


def _effect(
    kind: str, scores: UnitScores, way: str, init: str, values: np.ndarray, reference: np.ndarray, counts: np.ndarray
) -> tuple:
    """One row; `values` and `reference` are float64 (seeds, patients), `counts` (resamples, patients)."""
    by_seed = (values - reference).mean(axis=1)
    differences = (values - reference).mean(axis=0)
    if scores.metric == "auroc" and scores.strata is not None:
        test = delong(differences, scores.strata)
    else:
        test = signed_rank(differences)
    low, high = percentile_interval(counts @ differences / differences.size)
    p = np.nan if test.p is None else float(test.p)
    means = (float(values.mean()), float(reference.mean()), float(differences.mean()))
    seeds = (float(by_seed.min()), float(by_seed.max()), differences.size, len(by_seed))
    return (kind, scores.metric, way, init, *means, low, high, *seeds, test.test, p, np.nan)


def _unit_scores(predictions: pd.DataFrame) -> list[UnitScores]:
    """Accuracy and AUROC per patient, the initialisations named '<way>/<arm>'."""
    named = predictions.assign(init=predictions["way"] + "/" + predictions["init"])
    return [scores for scores in unit_scores([named]) if not scores.note]


def _parts(name: str) -> tuple[str, str]:
    way, init = name.split("/", 1)
    return way, init
