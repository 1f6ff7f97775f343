"""Training: schedule, batches, best epoch, resuming bit for bit, and what pretraining and fine-tuning feed the loop."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from ssrobust_lib.batches import epoch_batches, read_images, steps_in_epoch
from ssrobust_lib.devices import KERNEL_ENVIRONMENT, OneDevice, choose_device, choose_precision, has_bf16, launch
from ssrobust_lib.finetuning import finetune
from ssrobust_lib.networks import build_network
from ssrobust_lib.pretraining import pretrain, probability_by_guessing
from ssrobust_lib.registry import UnknownNameError
from ssrobust_lib.seeds import rng, torch_rng
from ssrobust_lib.training import TrainingError, TrainingSettings, fit
from ssrobust_lib.training_state import TrainingState, curve_row, is_better
from ssrobust_lib.transfer import encoder_tensors
from ssrobust_lib.validation import Validation, dice_of_scans

SIDE = 32
NORMALISE = (0.4, 0.2)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """float16 (24, 32, 32): noise on a slope, so that places differ; odd rows are brighter in one corner."""
    noise = rng("test images").random((24, SIDE, SIDE)) * 0.2
    slope = np.linspace(0, 0.5, SIDE)
    noise += slope[:, None] + 0.3 * slope[None, :]
    noise[1::2, :10, :10] += 0.3
    return noise.astype(np.float16)


LABELS = np.arange(24) % 2
TRAIN, VAL = np.arange(16), np.arange(16, 24)


def masks() -> np.ndarray:
    found = np.zeros((24, SIDE, SIDE), np.uint8)
    found[:, 4:12, 4:12] = 1
    found[::3, 20:28, 16:30] = 2
    return found


def tuned(images: np.ndarray, **changed):
    settings = changed.pop("settings", TrainingSettings(epochs=2, batch_size=6, precision="float32"))
    asked = {
        "kind": "classification",
        "network": "unet_classifier" if changed.pop("bad_network", False) else "cbr_small",
        "network_options": {},
        "n_outputs": 1,
        "settings": settings,
        "data_seed": 1,
        "weight_seed": 2,
        "device": "cpu",
    }
    targets = changed.pop("targets", LABELS)
    rows = changed.pop("rows", TRAIN)
    return finetune(images, targets, rows, VAL, NORMALISE, **(asked | changed))


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(tensor, two[name]) for name, tensor in one.items())


# schedule and batches


def test_learning_rate_falls_along_a_cosine_from_first_to_last_step() -> None:
    settings = TrainingSettings(epochs=1, batch_size=1)
    rates = [settings.learning_rate_at(step, 101) for step in range(101)]
    assert rates[0] == pytest.approx(1e-3)
    assert rates[-1] == pytest.approx(1e-6)
    assert rates[50] == pytest.approx((1e-3 + 1e-6) / 2)
    assert all(later < earlier for earlier, later in zip(rates, rates[1:], strict=False))
    assert settings.learning_rate_at(0, 1) == 1e-3


@pytest.mark.parametrize(
    "bad", [{"epochs": 0}, {"batch_size": 0}, {"max_steps": 0}, {"min_learning_rate": 1.0}, {"weight_decay": -1.0}]
)
def test_bad_settings_are_refused(bad: dict) -> None:
    with pytest.raises(ValueError, match="got"):
        TrainingSettings(**({"epochs": 1, "batch_size": 1} | bad))


@given(n=st.integers(1, 200), size=st.integers(1, 70))
def test_an_epoch_is_one_pass_in_even_batches(n: int, size: int) -> None:
    dealt = epoch_batches(np.arange(n) + 5, size, rng(n))
    assert sorted(np.concatenate(dealt)) == list(range(5, n + 5))
    lengths = {len(batch) for batch in dealt}
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1
    assert len(dealt) == steps_in_epoch(n, size)


@given(n=st.integers(1, 50), size=st.integers(1, 70), steps=st.integers(1, 20))
@hypothesis_settings(max_examples=50)
def test_asked_steps_are_full_batches_that_use_all_images_equally(n: int, size: int, steps: int) -> None:
    dealt = epoch_batches(np.arange(n), size, rng(n), steps_per_epoch=steps)
    assert [len(batch) for batch in dealt] == [min(size, n)] * steps
    uses = np.bincount(np.concatenate(dealt), minlength=n)
    assert uses.max() - uses.min() <= 1


def test_no_images_are_refused() -> None:
    with pytest.raises(ValueError, match="got none"):
        epoch_batches(np.array([], int), 4, rng(0))


def test_stored_images_come_out_normalised_and_unchanged(images: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", images)
    stored = np.load(tmp_path / "images.npy", mmap_mode="r")
    batch = read_images(stored, np.array([3, 0]), NORMALISE)
    assert batch.shape == (2, 1, SIDE, SIDE)
    assert batch.dtype == torch.float32
    expected = (images[[3, 0]].astype(np.float32) - np.float32(0.4)) / np.float32(0.2)
    assert np.allclose(batch[:, 0].numpy(), expected, rtol=0, atol=1e-6)
    whole = images.astype(np.float32)
    read_images(whole, np.array([0]), NORMALISE)
    assert np.array_equal(whole, images)


# the loop


def toy(seed: int = 0):
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 1))
    with torch.no_grad():
        network[1].weight.copy_(torch.randn(1, 4, generator=torch_rng(seed)))
        network[1].bias.zero_()
    return network


def toy_batches(epoch: int):
    x = torch.randn(3, 8, 1, 2, 2, generator=torch_rng("toy", epoch))
    return [(part, part.sum(dim=(1, 2, 3))[:, None]) for part in x]


def square(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (outputs - targets).square().mean()


def toy_fit(network: torch.nn.Module, settings: TrainingSettings, scores=None, **options):
    scores = iter(scores or [])

    def validate(model: torch.nn.Module) -> Validation:
        assert not model.training
        x, y = toy_batches(99)[0]
        loss = float(square(model(x), y))
        return Validation(loss, next(scores, -loss))

    fixed = {"steps_per_epoch": 3, "seed": 0, "fabric": OneDevice("cpu")}
    return fit(network, toy_batches, square, validate, settings, **fixed, **options)


def test_first_step_is_adams() -> None:
    network = toy()
    x, y = toy_batches(1)[0]
    expected = network[1].weight.detach().clone()
    gradient = torch.autograd.grad(square(network(x), y), network[1].weight)[0]
    toy_fit(network, TrainingSettings(epochs=1, batch_size=8, max_steps=1, precision="float32"))
    assert torch.allclose(network[1].weight, expected - 1e-3 * gradient.sign(), atol=1e-6)


def test_loss_falls_and_curves_are_complete() -> None:
    settings = TrainingSettings(epochs=20, batch_size=8, learning_rate=0.2, precision="float32")
    curves = toy_fit(toy(), settings).curves
    assert list(curves) == ["epoch", "step", "learning_rate", "train_loss", "val_loss", "val_score"]
    assert curves["epoch"].tolist() == list(range(1, 21))
    assert curves["step"].tolist() == list(range(3, 61, 3))
    assert curves["val_loss"].iloc[-1] < 0.05 * curves["val_loss"].iloc[0]
    assert curves["learning_rate"].iloc[-1] == pytest.approx(1e-6)


def test_max_steps_ends_in_the_middle_of_an_epoch() -> None:
    curves = toy_fit(toy(), TrainingSettings(epochs=9, batch_size=8, max_steps=4, precision="float32")).curves
    assert curves["step"].tolist() == [3, 4]
    assert curves["learning_rate"].iloc[-1] == pytest.approx(1e-6)


def test_network_ends_with_the_weights_of_the_best_epoch() -> None:
    settings = TrainingSettings(epochs=4, batch_size=8, precision="float32")
    seen: list[torch.Tensor] = []
    network = toy()
    result = toy_fit(
        network,
        settings,
        scores=[0.1, 0.7, 0.3, math.nan],
        on_epoch=lambda state: seen.append(state.network["1.weight"].clone()),
    )
    assert result.best_epoch == 2
    assert torch.equal(network[1].weight, seen[1])
    assert torch.equal(result.tensors["1.weight"], seen[1])
    assert not torch.equal(seen[1], seen[3])


def test_ties_go_to_the_lower_loss_then_to_the_earlier_epoch() -> None:
    def row(score: float, loss: float) -> dict[str, float]:
        return curve_row(1, 1, 0.1, 0.0, loss, score)

    assert is_better(row(0.5, 1.0), {})
    assert is_better(row(0.6, 2.0), row(0.5, 1.0))
    assert is_better(row(0.5, 0.9), row(0.5, 1.0))
    assert not is_better(row(0.5, 1.0), row(0.5, 1.0))
    assert not is_better(row(math.nan, 0.1), row(0.0, 1.0))
    assert is_better(row(math.nan, 0.1), row(math.nan, 1.0))


def test_a_loss_that_is_not_finite_stops_with_epoch_and_step() -> None:
    def poisoned(epoch: int):
        for number, (x, y) in enumerate(toy_batches(epoch)):
            yield (x * float("nan") if (epoch, number) == (2, 1) else x), y

    settings = TrainingSettings(epochs=3, batch_size=8, precision="float32")
    with pytest.raises(TrainingError, match="nan in epoch 2, step 2 .* learning rate"):
        fit(
            toy(),
            poisoned,
            square,
            lambda model: Validation(0.0, 0.0),
            settings,
            steps_per_epoch=3,
            seed=0,
            fabric=OneDevice("cpu"),
        )


def test_random_layers_are_seeded_and_the_global_state_is_left_alone() -> None:
    settings = TrainingSettings(epochs=2, batch_size=8, precision="float32")
    before = torch.random.get_rng_state()
    ends = []
    for _ in range(2):
        network = torch.nn.Sequential(torch.nn.Dropout(0.5), *toy())
        network[2].weight.data.copy_(toy()[1].weight)
        network[2].bias.data.zero_()
        state = torch.random.get_rng_state()
        ends.append(toy_fit(network, settings).tensors)
        assert torch.equal(state, torch.random.get_rng_state())
        torch.rand(7)  # another global state for the second run
    torch.random.set_rng_state(before)
    assert same(*ends)


def test_progress_counts_to_the_end() -> None:
    calls: list[tuple[int, int]] = []
    settings = TrainingSettings(epochs=2, batch_size=8, precision="float32")
    toy_fit(toy(), settings, progress=lambda done, total, text: calls.append((done, total)))
    assert calls == [(step, 6) for step in range(1, 7)]


@pytest.mark.parametrize("stop_after", [1, 2])
def test_a_killed_training_resumes_bit_for_bit_from_its_files(
    images: np.ndarray, tmp_path: Path, stop_after: int
) -> None:
    settings = TrainingSettings(epochs=3, batch_size=6, precision="float32")

    class Killed(Exception):
        pass

    def save_then_die(state: TrainingState) -> None:
        tensors, description = state.to_tensors()
        save_file(tensors, tmp_path / "state.safetensors")
        (tmp_path / "state.json").write_text(json.dumps(description))
        if state.epoch == stop_after:
            raise Killed

    whole = tuned(images, settings=settings)
    with pytest.raises(Killed):
        tuned(images, settings=settings, on_epoch=save_then_die)
    state = TrainingState.from_tensors(
        load_file(tmp_path / "state.safetensors"), json.loads((tmp_path / "state.json").read_text())
    )
    resumed = tuned(images, settings=settings, resume=state)
    assert same(whole.tensors, resumed.tensors)
    assert whole.curves.equals(resumed.curves)
    assert whole.best_epoch == resumed.best_epoch


def test_a_state_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="delete it to train from the start"):
        TrainingState.from_tensors({}, {"epoch": 1, "best_epoch": 1, "curves": ["loss"]})


# fine-tuning


def test_arms_share_head_and_batches_and_differ_in_the_encoder(images: np.ndarray) -> None:
    pretrained = encoder_tensors(build_network("cbr_small", 1, torch_rng("pretrained")))
    settings = TrainingSettings(epochs=1, batch_size=6, learning_rate=1e-12, min_learning_rate=0.0, precision="float32")
    scratch = tuned(images, settings=settings)
    jigsaw = tuned(images, settings=settings, init_tensors=pretrained)
    control = tuned(images, settings=settings, weight_seed=3)
    assert torch.allclose(scratch.tensors["head.weight"], jigsaw.tensors["head.weight"], atol=1e-6)
    assert not torch.allclose(scratch.tensors["head.weight"], control.tensors["head.weight"], atol=1e-6)
    first = "encoder.blocks.0.0.weight"
    assert torch.allclose(jigsaw.tensors[first], pretrained["blocks.0.0.weight"], atol=1e-6)
    assert not torch.allclose(scratch.tensors[first], jigsaw.tensors[first], atol=1e-3)
    assert set(scratch.transfer["status"]) == {"from scratch"}
    assert set(jigsaw.transfer["status"]) == {"transferred", "from scratch"}


def test_classification_learns_what_is_there_to_learn_and_repeats_itself(images: np.ndarray) -> None:
    settings = TrainingSettings(epochs=4, batch_size=8, steps_per_epoch=3, precision="float32")
    one, two = tuned(images, settings=settings), tuned(images, settings=settings)
    assert same(one.tensors, two.tensors)
    assert one.curves.equals(two.curves)
    assert one.curves["val_score"].max() == 1.0
    assert one.curves["train_loss"].iloc[-1] < one.curves["train_loss"].iloc[0]
    assert one.class_weights is None


def test_segmentation_learns_and_scores_each_scan(images: np.ndarray) -> None:
    result = tuned(
        images,
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


def test_rows_outside_the_labelled_subset_may_lack_a_label(images: np.ndarray) -> None:
    labels = LABELS.astype(float)
    labels[TRAIN[8:]] = np.nan
    tuned(images, targets=labels, rows=TRAIN[:8], settings=TrainingSettings(epochs=1, batch_size=8, max_steps=1))


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
def test_bad_input_is_refused(images: np.ndarray, changed: dict, message: str) -> None:
    with pytest.raises((ValueError, UnknownNameError), match=message):
        tuned(images, **changed)


# pretraining


def pretrained(images: np.ndarray, **changed):
    asked = {
        "network": "cbr_small",
        "network_options": {},
        "pretext_task": "jigsaw",
        "options": {"grid": 2, "permutations": 4, "hidden": 16, "per_tile_normalisation": False},
        "settings": TrainingSettings(epochs=3, batch_size=8, steps_per_epoch=5, precision="float32"),
        "seed": 5,
        "device": "cpu",
    }
    return pretrain(images, TRAIN, VAL, NORMALISE, **(asked | changed))


def test_pretraining_learns_repeats_itself_and_feeds_fine_tuning(images: np.ndarray) -> None:
    one, two = pretrained(images), pretrained(images)
    assert same(one.tensors, two.tensors)
    assert one.predictions.equals(two.predictions)
    assert one.n == len(one.predictions) == 8
    assert one.accuracy == one.predictions["correct"].mean()
    assert one.accuracy > one.chance == 0.25
    assert one.learned == (one.p < 0.001)
    assert one.examples.tiles.shape[:2] == (6, 4)
    result = tuned(images, init_tensors=one.tensors, settings=TrainingSettings(epochs=1, batch_size=8, max_steps=1))
    assert (result.transfer["status"] == "transferred").sum() == len(one.tensors)


def test_probability_by_guessing_is_the_binomial_tail() -> None:
    tail = sum(math.comb(20, k) * 0.1**k * 0.9 ** (20 - k) for k in range(5, 21))
    assert probability_by_guessing(5, 20, 0.1) == pytest.approx(tail)
    assert probability_by_guessing(0, 20, 0.1) == 1.0
    assert probability_by_guessing(20, 20, 0.1) == pytest.approx(1e-20)


def test_pretraining_refuses_images_smaller_than_the_tiles(images: np.ndarray) -> None:
    with pytest.raises(ValueError, match="larger images"):
        pretrained(images[:, :16, :16])


def test_pretraining_refuses_an_empty_pool(images: np.ndarray) -> None:
    with pytest.raises(ValueError, match="got 0 and 8"):
        pretrain(
            images,
            TRAIN[:0],
            VAL,
            NORMALISE,
            network="cbr_small",
            network_options={},
            pretext_task="jigsaw",
            options={},
            settings=TrainingSettings(epochs=1, batch_size=2),
            seed=0,
        )


# devices


def test_bf16_only_where_the_processor_has_it(tmp_path: Path) -> None:
    cpu = torch.device("cpu")
    for flags, expected in (("sse avx512f avx512_bf16", True), ("amx_bf16 amx_tile", True), ("sse avx512f", False)):
        (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags : {flags}\n")
        assert has_bf16(cpu, tmp_path / "cpuinfo") is expected
    assert has_bf16(cpu, tmp_path / "absent") is False
    assert choose_precision("bf16", cpu) == "bf16"
    with pytest.raises(UnknownNameError, match="float32"):
        choose_precision("float16", cpu)


def test_bf16_trains(images: np.ndarray) -> None:
    settings = TrainingSettings(epochs=1, batch_size=8, max_steps=1, precision="bf16")
    result = tuned(images, settings=settings)
    assert all(tensor.dtype != torch.bfloat16 for tensor in result.tensors.values())
    assert np.isfinite(result.curves["train_loss"]).all()


def test_devices_that_are_not_there_are_refused() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    if not torch.accelerator.is_available():
        with pytest.raises(ValueError, match="use 'auto' or 'cpu'"):
            choose_device("cuda")
    with pytest.raises(ValueError, match="devices=0"):
        launch(lambda fabric: None, devices=0)


def test_malloc_settings_are_text_for_an_environment() -> None:
    assert all(name.startswith("MALLOC_") and int(value) >= 0 for name, value in KERNEL_ENVIRONMENT.items())


@pytest.mark.slow
def test_two_processes_end_with_nearly_the_weights_of_one(tmp_path: Path) -> None:
    """Without batch statistics, gradients averaged over two halves of a batch are those of the whole batch."""

    def work(fabric):
        network = toy()
        settings = TrainingSettings(epochs=2, batch_size=8, precision="float32")
        return fit(
            network,
            toy_batches,
            square,
            lambda model: Validation(1.0, 0.0),
            settings,
            steps_per_epoch=3,
            seed=0,
            fabric=fabric,
        ).tensors

    one = launch(work, device="cpu")
    two = launch(work, device="cpu", devices=2)
    for name, tensor in one.items():
        assert torch.allclose(tensor, two[name], atol=1e-6)
