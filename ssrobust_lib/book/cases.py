"""Cases that the book shows, chosen by a rule and never by hand (Fig. 5 and Table 3 of the paper, and X-rays alike).

Enters: a study whose cells are finished. Leaves: the median, the best and the worst case of a condition, with the
image, the reference and what both arms make of it, in the form that `ssrobust_lib.figures` takes.

The rule: scans (or X-rays) are ordered by the difference between the arms, first pretext arm less normal training,
each averaged over the seeds; ties by name. The first is the worst, the last the best, the one in the middle the median
(of an even number the lower). A score is that of `evaluation.pairs`: mean Dice, or the probability given to the label.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ssrobust_lib.book.examples import condition_images, representative
from ssrobust_lib.cells import trained
from ssrobust_lib.config import AA_ARM
from ssrobust_lib.evaluation.pairs import pair_scores, seed_values

if TYPE_CHECKING:
    from ssrobust_lib.figures import Case, XRayCase
    from ssrobust_lib.study import Study

RULE = (
    "Chosen by a rule: of all {units} under this condition the one with the largest gain of self-supervision (best), "
    "the median, and the smallest (worst); gain: difference of the {score}, seeds averaged; ties by name."
)
_SCORES = {"scans": "mean Dice of the scan", "X-rays": "probability given to the label"}
_SHOWN_SEED = " Predictions are those of the seed whose own gain (shown) is nearest to that mean."


@dataclass(frozen=True)
class _Chosen:
    """One case: `name` of the scan or X-ray, `words` ('best'), `difference` over the seeds, the `seed` to show, and
    that seed's own difference."""

    name: str
    words: str
    difference: float
    seed: int
    of_seed: float


def rule_words(units: str) -> str:
    """The rule as a sentence for a caption; `units` is 'scans' or 'X-rays'."""
    return RULE.format(units=units, score=_SCORES[units]) + (_SHOWN_SEED if units == "scans" else "")


def choose_cases(pairs: pd.DataFrame) -> dict[str, str]:
    """Name of the case -> 'best', 'median' or 'worst', in that order.

    Parameters
    ----------
    pairs : name, difference. Two have no median; one alone is the 'only' one.
    """
    order = pairs.sort_values(["difference", "name"], kind="stable")["name"].tolist()
    if len(order) < 2:
        return dict.fromkeys(order, "only")
    ranks = {"best": len(order) - 1, "median": (len(order) - 1) // 2, "worst": 0}
    if len(order) == 2:
        del ranks["median"]
    return {order[rank]: words for words, rank in ranks.items()}


def corrupted_cases(study: "Study", corruption: str = "gaussian_noise", severity: int = 3) -> "list[Case]":
    """The best, the median and the worst scan under a corruption; of each the slice with most structures in it."""
    cell = study.cells("05_corruption_eval", tasks=["organs"], corruptions=[corruption])[0]
    predictions = study.table(cell, "predictions")
    return _cases(study, predictions[predictions["severity"] == severity], corruption, severity, None)


def external_cases(study: "Study", label: str) -> "list[Case]":
    """The best, the median and the worst scan of another centre."""
    cell = study.cells("06_kits_generalization", tasks=["organs"], sets=[label])[0]
    structures = trained.external_structures(study, "organs", label)
    return _cases(study, study.table(cell, "predictions"), "clean", 0, structures)


def xray_cases(study: "Study", corruption: str = "gaussian_noise", severity: int = 3) -> "list[XRayCase]":
    """The best, the median and the worst X-ray under a corruption."""
    cell = study.cells("05_corruption_eval", tasks=["pneumonia"], corruptions=[corruption])[0]
    predictions = study.table(cell, "predictions")
    return _xrays(study, predictions[predictions["severity"] == severity], corruption, severity)


def external_xray_cases(study: "Study", label: str) -> "list[XRayCase]":
    """The best, the median and the worst X-ray of another centre."""
    cell = study.cells("06_kits_generalization", tasks=["pneumonia"], sets=[label])[0]
    return _xrays(study, study.table(cell, "predictions"), "clean", 0)


def case_structures(study: "Study", label: str | None = None) -> list[str]:
    """Names behind the mask values of `corrupted_cases` (no label) or `external_cases`."""
    if label is None:
        return list(trained.own_structures(study, "organs"))
    return [name for name in trained.external_structures(study, "organs", label) if "_without_" not in name]


def shown_arms(study: "Study") -> list[str]:
    """Normal training and the first pretext arm, as far as the run has them."""
    return [arm for arm in study.profile.arms if arm != AA_ARM][:2]


def _choose(study: "Study", predictions: pd.DataFrame) -> list[_Chosen]:
    arms = shown_arms(study)
    other_readings = [name for name in predictions.get("structure", pd.Series()).unique() if "_without_" in name]
    values = seed_values(predictions, alternatives=other_readings).set_index(["init", "seed", "name"])["value"]
    if len(arms) > 1:
        pairs = pair_scores(predictions, arms[1], arms[0], alternatives=other_readings)
        differences = (values[arms[1]] - values[arms[0]]).dropna()
    else:  # nothing to compare with: by the score itself
        differences = values[arms[0]]
        pairs = differences.groupby("name").mean().rename("difference").reset_index()
    means = pairs.set_index("name")["difference"]
    chosen = []
    for name, words in choose_cases(pairs).items():
        of_seed = differences.xs(name, level="name").sort_index()
        seed = int((of_seed - means[name]).abs().idxmin())
        chosen.append(_Chosen(name, words, float(means[name]), seed, float(of_seed[seed])))
    return chosen


def _title(study: "Study", chosen: _Chosen) -> str:
    from ssrobust_lib.figures import signed

    number = signed(chosen.difference) if len(shown_arms(study)) > 1 else f"{chosen.difference:.3f}"
    return f"{chosen.words} ({number})"


def _title_of_seed(study: "Study", chosen: _Chosen) -> str:
    """The title where one seed's predictions are shown: with several seeds also that seed's own difference."""
    from ssrobust_lib.figures import signed

    title = _title(study, chosen)
    if len(shown_arms(study)) < 2 or study.profile.seeds < 2:
        return title
    return f"{title}\nshown {signed(chosen.of_seed)}"


def _cases(
    study: "Study", predictions: pd.DataFrame, corruption: str, severity: int, merged: Mapping[str, Any] | None
) -> "list[Case]":
    from ssrobust_lib.evaluation.inference import predict_masks
    from ssrobust_lib.figures import Case

    counted = predictions[~predictions["structure"].str.contains("_without_") & (predictions["voxels_label"] > 0)]
    dice = counted.groupby(["init", "seed", "sample_id"])["dice"].mean()
    cache: Any = trained.open_images(study, "organs")
    normalise = tuple(trained.constants(study, "organs")["normalise"])
    strength = 0.0 if corruption == "clean" else trained.strengths_of(study, "organs", corruption)[severity]
    cases = []
    for chosen in _choose(study, predictions):
        position = representative(cache, np.flatnonzero(cache.rows["sample_id"] == chosen.name))
        images = condition_images(study, "organs", cache, [position], corruption, strength, severity)
        cells = study.cells("03_finetune", tasks=["organs"], arms=shown_arms(study), seeds=[chosen.seed])
        networks = {cell.of["init"]: trained.load_network(study, cell) for cell in cells}
        found = {arm: predict_masks(network, images, normalise)[0] for arm, network in networks.items()}
        truth = np.asarray(cache.masks[position])
        if merged is not None:
            truth = merge_values(truth, merged, 1)
            found = {arm: merge_values(mask, merged, 0) for arm, mask in found.items()}
        case = Case(
            title=_title_of_seed(study, chosen),
            image=np.asarray(cache.images[position], np.float32),
            truth=truth,
            predictions=found,
            corrupted=None if corruption == "clean" else images[0, 0].numpy(),
            dice={arm: float(dice[arm, chosen.seed, chosen.name]) for arm in found},
        )
        cases.append(case)
    return cases


def _xrays(study: "Study", predictions: pd.DataFrame, corruption: str, severity: int) -> "list[XRayCase]":
    from ssrobust_lib.figures import XRayCase

    predictions = predictions.assign(patient_id=predictions["sample_id"])  # image by image: one of them is shown
    scores = predictions.set_index(["sample_id", "init", "seed"]).sort_index()
    cache: Any = trained.open_images(study, "pneumonia")
    strength = 0.0 if corruption == "clean" else trained.strengths_of(study, "pneumonia", corruption)[severity]
    cases = []
    for chosen in _choose(study, predictions):
        position = int(np.flatnonzero(cache.rows["sample_id"] == chosen.name)[0])
        images = condition_images(study, "pneumonia", cache, [position], corruption, strength, severity)
        of_image = scores.loc[chosen.name]
        case = XRayCase(
            title=_title(study, chosen),
            image=np.asarray(cache.images[position], np.float32),
            label=int(of_image["label"].iloc[0]),
            probabilities={arm: of_image.loc[arm, "score"].to_numpy(np.float64) for arm in shown_arms(study)},
            corrupted=None if corruption == "clean" else images[0, 0].numpy(),
        )
        cases.append(case)
    return cases


def merge_values(mask: np.ndarray, structures: Mapping[str, Any], side: int) -> np.ndarray:
    """Mask with value = position of the structure in `structures` + 1, of the mask's shape and type.

    Parameters
    ----------
    mask : uint8 (H, W)
    structures : name -> (classes of the networks, label values); those scored without tumour are left out
    side : 0 where the mask holds classes of a network, 1 where it holds label values
    """
    names = [name for name in structures if "_without_" not in name]
    merged = np.zeros(256, dtype=mask.dtype)  # value -> position of its structure
    for k, name in enumerate(names, start=1):
        merged[list(structures[name][side])] = k
    return merged[mask]
