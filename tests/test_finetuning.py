"""Fine-tuning: what the arms share, what is learned, each scan's score, and going on after a kill, bit for bit."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from small_trainings import LABELS, TRAIN, masks, same, tuned

from ssrobust_lib.networks import build_network
from ssrobust_lib.registry import UnknownNameError
from ssrobust_lib.seeds import torch_rng
from ssrobust_lib.training.loop import TrainingSettings
from ssrobust_lib.training.state import TrainingState
from ssrobust_lib.training.transfer import encoder_tensors
from ssrobust_lib.training.validation import dice_of_scans


@pytest.mark.parametrize("stop_after", [1, 2])
def test_a_killed_training_resumes_bit_for_bit_from_its_files(tmp_path: Path, stop_after: int) -> None:
    settings = TrainingSettings(epochs=3, batch_size=6, precision="float32")

    class Killed(Exception):
        pass

    def save_then_die(state: TrainingState) -> None:
        tensors, description = state.to_tensors()
        save_file(tensors, tmp_path / "state.safetensors")
        (tmp_path / "state.json").write_text(json.dumps(description))
        if state.epoch == stop_after:
            raise Killed

    whole = tuned(settings=settings)
    with pytest.raises(Killed):
        tuned(settings=settings, on_epoch=save_then_die)
    state = TrainingState.from_tensors(
        load_file(tmp_path / "state.safetensors"), json.loads((tmp_path / "state.json").read_text())
    )
    resumed = tuned(settings=settings, resume=state)
    assert same(whole.tensors, resumed.tensors)
    assert whole.curves.equals(resumed.curves)
    assert whole.best_epoch == resumed.best_epoch


def test_a_state_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="delete it to train from the start"):
        TrainingState.from_tensors({}, {"epoch": 1, "best_epoch": 1, "curves": ["loss"]})


def test_arms_share_head_and_batches_and_differ_in_the_encoder() -> None:
    pretrained = encoder_tensors(build_network("cbr_small", 1, torch_rng("pretrained")))
    settings = TrainingSettings(epochs=1, batch_size=6, learning_rate=1e-12, min_learning_rate=0.0, precision="float32")
    scratch = tuned(settings=settings)
    jigsaw = tuned(settings=settings, init_tensors=pretrained)
    control = tuned(settings=settings, weight_seed=3)
    assert torch.allclose(scratch.tensors["head.weight"], jigsaw.tensors["head.weight"], atol=1e-6)
    assert not torch.allclose(scratch.tensors["head.weight"], control.tensors["head.weight"], atol=1e-6)
    first = "encoder.blocks.0.0.weight"
    assert torch.allclose(jigsaw.tensors[first], pretrained["blocks.0.0.weight"], atol=1e-6)
    assert not torch.allclose(scratch.tensors[first], jigsaw.tensors[first], atol=1e-3)
    assert set(scratch.transfer["status"]) == {"from scratch"}
    assert set(jigsaw.transfer["status"]) == {"transferred", "from scratch"}


def test_classification_learns_what_is_there_to_learn_and_repeats_itself() -> None:
    settings = TrainingSettings(epochs=4, batch_size=8, steps_per_epoch=3, precision="float32")
    one, two = tuned(settings=settings), tuned(settings=settings)
    assert same(one.tensors, two.tensors)
    assert one.curves.equals(two.curves)
    assert one.curves["val_score"].max() == 1.0
    assert one.curves["train_loss"].iloc[-1] < one.curves["train_loss"].iloc[0]
    assert one.class_weights is None


def test_segmentation_learns_and_scores_each_scan() -> None:
    result = tuned(
        kind="segmentation",
        network="unet",
        network_options={"base_filters": 4},
        n_outputs=4,
        targets=masks(),
        val_scans=np.repeat(["a", "b"], 4),
        settings=TrainingSettings(epochs=3, batch_size=8, steps_per_epoch=6, learning_rate=1e-2, precision="float32"),
    )
    assert result.class_weights.shape == (4,)
    assert result.class_weights[3] == 0
    assert result.curves["val_loss"].iloc[-1] < result.curves["val_loss"].iloc[0]
    assert result.curves["val_score"].iloc[-1] > 0.3


def test_dice_of_scans_by_hand() -> None:
    # scan 0: structure 1 half found, structure 2 in neither; scan 1: structure 1 missed, 2 found where it is not
    overlap = np.array([[9, 2, 0], [9, 0, 0]])
    labelled = np.array([[9, 4, 0], [9, 5, 0]])
    predicted = np.array([[9, 4, 0], [9, 0, 3]])
    assert dice_of_scans(np.stack([overlap, labelled, predicted])) == pytest.approx((0.5 + 0.0) / 2)
    assert math.isnan(dice_of_scans(np.zeros((3, 2, 3), int)))


def test_rows_outside_the_labelled_subset_may_lack_a_label() -> None:
    labels = LABELS.astype(float)
    labels[TRAIN[8:]] = np.nan
    tuned(targets=labels, rows=TRAIN[:8], settings=TrainingSettings(epochs=1, batch_size=8, max_steps=1))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"targets": LABELS * 2}, "labels 0 and 1, got"),
        ({"n_outputs": 2}, "one output"),
        ({"rows": np.array([], int)}, "got 0 and 8"),
        ({"kind": "segmentation", "n_outputs": 1, "targets": masks()}, "at least one structure"),
        ({"kind": "segmentation", "n_outputs": 2, "targets": masks()}, "label 2, but the labels of 2 classes"),
        ({"kind": "segmentation", "n_outputs": 3, "targets": masks(), "val_scans": [1]}, "one scan per"),
        ({"kind": "regression"}, "classification, segmentation"),
        ({"bad_network": True}, "cbr_small"),
    ],
)
def test_bad_input_is_refused(changed: dict, message: str) -> None:
    with pytest.raises((ValueError, UnknownNameError), match=message):
        tuned(**changed)


def test_bf16_trains() -> None:
    settings = TrainingSettings(epochs=1, batch_size=8, max_steps=1, precision="bf16")
    result = tuned(settings=settings)
    assert all(tensor.dtype != torch.bfloat16 for tensor in result.tensors.values())
    assert np.isfinite(result.curves["train_loss"]).all()
