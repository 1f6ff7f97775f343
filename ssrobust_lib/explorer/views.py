"""From a state to what is seen in it: the corrupted image, and what two networks say of it (paper, 3.2 to 3.4).

Enters: a finished run and a state. Leaves: an `XRayView` or a `SliceView`, which figures draw and sentences describe.

The pixels are those of the evaluation: the random stream of an image depends on study seed, sample, corruption and
severity alone. A strength chosen freely has no severity; its stream is that of the calibration, under which the pattern
stays and only grows.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ssrobust_lib.book.cases import merge_values
from ssrobust_lib.evaluation.inference import CLEAN, Condition, corrupted_images, predict_masks, predict_probabilities
from ssrobust_lib.evaluation.metrics import THRESHOLD, dice, dice_per_scan
from ssrobust_lib.explorer.finished_run import CT, FinishedRun
from ssrobust_lib.severities.calibration import CALIBRATION

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class State:
    """What is looked at.

    Attributes
    ----------
    task : 'pneumonia' or 'organs'
    data_set : label of an evaluated set
    sample_id : an evaluated X-ray or scan of it
    arms : one or two initialisations, in the order of drawing
    corruption : name in `CORRUPTIONS`
    severity : 0 (clean) to 5; of no effect where a strength is given
    strength : any strength in the corruption's declared range, in its unit, or None for that of the severity
    seed : repetition of the training
    slice_index : slice of a scan, 0 the most inferior; of no effect on X-rays
    """

    task: str
    data_set: str
    sample_id: str
    arms: tuple[str, ...]
    corruption: str
    severity: int = 0
    strength: float | None = None
    seed: int = 0
    slice_index: int = 0


@dataclass(frozen=True)
class XRayView:
    """A radiograph in one state.

    Attributes
    ----------
    strength : of the corruption, in its unit; 0 for clean
    clean, corrupted : float32 (H, W) in [0, 1]
    label : 0, 1, or None
    scores : arm -> probability of the positive class for the corrupted image, computed now
    clean_scores : arm -> probability for the clean image, as the evaluation stored it
    """

    state: State
    strength: float
    clean: np.ndarray
    corrupted: np.ndarray
    label: int | None
    scores: dict[str, float]
    clean_scores: dict[str, float]

    def verdict(self, arm: str) -> str:
        """'right' or 'wrong' at the threshold of 0.5; empty without a label."""
        if self.label is None:
            return ""
        return "right" if (self.scores[arm] >= THRESHOLD) == bool(self.label) else "wrong"


@dataclass(frozen=True)
class SliceView:
    """A slice of a scan in one state.

    Attributes
    ----------
    strength : of the corruption, in its unit; 0 for clean
    clean, corrupted : float32 (H, W) in [0, 1]
    truth : integer (H, W), value = position of the structure + 1
    predicted : arm -> mask in the same values, of the corrupted slice, computed now
    structures : names behind the values
    slice_dice : arm -> mean Dice over the structures labelled in this slice, on its pixels; NaN where none is
    scan_dice : arm -> mean Dice over the scan's structures as the evaluation stored it; empty where there is none
    n_slices : of the scan
    """

    state: State
    strength: float
    clean: np.ndarray
    corrupted: np.ndarray
    truth: np.ndarray
    predicted: dict[str, np.ndarray]
    structures: tuple[str, ...]
    slice_dice: dict[str, float]
    scan_dice: dict[str, float]
    n_slices: int


def look(run: FinishedRun, state: State) -> XRayView | SliceView:
    """Corrupt the image of a state, show it to the networks, and collect what is seen.

    Raises
    ------
    UnknownNameError
        A task, set, sample, arm, seed or corruption that the run does not have; lists those that it has.
    ValueError
        A severity, strength or slice out of range.
    """
    position = position_of(run, state)
    condition = condition_of(run, state)
    images = corrupted_pixels(run, state)
    cache: Any = run.images(state.task)
    clean = np.asarray(cache.images[position], np.float32)
    seen: dict[str, Any] = {
        "state": state,
        "strength": condition.strength,
        "clean": clean,
        "corrupted": images[0, 0].numpy(),
    }
    networks = {arm: run.network(state.task, arm, state.seed) for arm in state.arms}
    normalise = run.normalise(state.task)
    if state.task != CT:
        label = cache.rows["label"].iloc[position]
        scores = {arm: float(predict_probabilities(net, images, normalise)[0]) for arm, net in networks.items()}
        known = None if pd.isna(label) else int(label)
        return XRayView(**seen, label=known, scores=scores, clean_scores=_clean_scores(run, state))
    structures = run.structures(state.data_set)
    if cache.masks is None:
        raise ValueError(f"the images of {state.task} have no label maps: nothing can be compared")
    truth = merge_values(np.asarray(cache.masks[position]), structures, 1)
    found = {arm: predict_masks(net, images, normalise)[0] for arm, net in networks.items()}
    predicted = {arm: merge_values(mask, structures, 0) for arm, mask in found.items()}
    return SliceView(
        **seen,
        truth=truth,
        predicted=predicted,
        structures=tuple(structures),
        slice_dice={arm: _slice_dice(truth, mask, len(structures)) for arm, mask in predicted.items()},
        scan_dice=_scan_dice(run, state),
        n_slices=len(run.rows_of(state.task, state.data_set, state.sample_id)),
    )


def condition_of(run: FinishedRun, state: State) -> Condition:
    """What is done to the image: as in the evaluation at a severity, as in the calibration at a free strength."""
    seed = run.study.profile.study_seed
    of_severity = run.strength(state.task, state.corruption, state.severity)
    if state.strength is not None:
        return Condition(state.corruption, float(state.strength), CALIBRATION, seed)
    if state.severity == 0:
        return Condition(CLEAN, 0.0, 0, seed)
    return Condition(state.corruption, of_severity, state.severity, seed)


def position_of(run: FinishedRun, state: State) -> int:
    """Row of the shown image in the cache."""
    rows = run.rows_of(state.task, state.data_set, state.sample_id)
    index = state.slice_index if state.task == CT else 0
    if index not in range(len(rows)):
        raise ValueError(f"slice of {state.sample_id}: expected 0 to {len(rows) - 1}, got {index}")
    return int(rows[index])


def corrupted_pixels(run: FinishedRun, state: State) -> "torch.Tensor":
    """The shown image after its corruption: float32 (1, 1, H, W) in [0, 1]."""
    positions = np.array([position_of(run, state)])
    return corrupted_images(run.images(state.task), positions, condition_of(run, state), by_slice=state.task == CT)


def richest_slice(run: FinishedRun, data_set: str, sample_id: str) -> int:
    """The slice of a scan with most structures in it, the lowest of them where several have as many."""
    masks, rows = run.images(CT).masks, run.rows_of(CT, data_set, sample_id)
    if masks is None:
        return len(rows) // 2
    return int(np.argmax([len(np.unique(masks[int(row)])) for row in rows]))


def _clean_scores(run: FinishedRun, state: State) -> dict[str, float]:
    """Stored probability of each arm for the clean image."""
    stored = run.predictions(state.task, state.data_set, CLEAN, 0)
    if stored is None:
        return {}
    of_image = stored[(stored["sample_id"] == state.sample_id) & (stored["seed"] == state.seed)]
    scores = of_image.set_index("init")["score"]
    return {arm: float(scores[arm]) for arm in state.arms}


def _scan_dice(run: FinishedRun, state: State) -> dict[str, float]:
    """Stored mean Dice of the scan for each arm, over the structures that its label has."""
    if state.strength is not None:
        return {}
    stored = run.predictions(state.task, state.data_set, state.corruption, state.severity)
    if stored is None:
        return {}
    chosen = (stored["sample_id"] == state.sample_id) & (stored["seed"] == state.seed)
    counted = ["init", "structure", "dice", "voxels_label", "voxels_predicted", "voxels_overlap"]
    of_scan = dice_per_scan(stored.loc[chosen & stored["structure"].isin(run.structures(state.data_set)), counted])
    scores = of_scan.set_index("init")["dice"]
    return {arm: float(scores[arm]) for arm in state.arms if arm in scores}


def _slice_dice(truth: np.ndarray, predicted: np.ndarray, n_structures: int) -> float:
    """Mean Dice of one slice over the structures that are labelled in it; NaN where none is."""
    label = np.bincount(truth.ravel(), minlength=n_structures + 1)[1:]
    found = np.bincount(predicted.ravel(), minlength=n_structures + 1)[1:]
    overlap = np.bincount(truth[truth == predicted], minlength=n_structures + 1)[1:]
    scores = dice(label, found, overlap)[label > 0]
    return float(scores.mean()) if len(scores) else float("nan")
