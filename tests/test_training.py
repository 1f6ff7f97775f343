"""The training loop: schedule, first step, best epoch, seeded layers, and what stops it."""

import math
from pathlib import Path

import pytest
import torch
from small_trainings import same

from ssrobust_lib.devices import OneDevice, launch
from ssrobust_lib.seeds import torch_rng
from ssrobust_lib.training.loop import TrainingError, TrainingSettings, fit
from ssrobust_lib.training.state import curve_row, is_better
from ssrobust_lib.training.validation import Validation


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
