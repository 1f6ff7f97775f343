"""Jigsaw: the set of orders, the cutting of tiles, shortcuts that are closed, and the contract of all pretext tasks."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssrobust_lib.networks import build_network
from ssrobust_lib.pretext import PRETEXT_TASKS
from ssrobust_lib.pretext.jigsaw import (
    JigsawOptions,
    build,
    cut_tiles,
    example_puzzles,
    make_batch,
    normalise_tiles,
    orders_of,
    tile_size,
)
from ssrobust_lib.pretext.permutations import all_permutations, mean_hamming_distance, permutation_set
from ssrobust_lib.seeds import torch_rng

WHOLE = JigsawOptions(crop_fraction=1.0, tile_fraction=1.0, per_tile_normalisation=False, permutations=24)


def images(count: int = 4, side: int = 60, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 1, side, side, generator=torch_rng(seed))


# the set of orders


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_all_permutations_are_listed_once_in_order(n: int) -> None:
    orders = all_permutations(n)
    assert orders.shape == (math.factorial(n), n)
    assert (np.sort(orders, axis=1) == np.arange(n)).all()
    assert [tuple(row) for row in orders] == sorted({tuple(row) for row in orders})


def test_greedy_choice_equals_the_textbook_algorithm() -> None:
    chosen = permutation_set(4, 10, seed=3).astype(int)
    candidates = all_permutations(4).astype(int)
    for size in range(1, 10):
        distance = (candidates[:, None] != chosen[None, :size]).sum(axis=(1, 2))
        taken = (candidates[:, None] == chosen[None, :size]).all(axis=2).any(axis=1)
        best = distance[~taken].max()
        assert (chosen[size] != chosen[:size]).sum() == best


def test_set_is_distinct_seeded_and_extends_smaller_ones() -> None:
    orders = permutation_set(9, 60, seed=0)
    assert orders.dtype == np.uint8
    assert (np.sort(orders, axis=1) == np.arange(9)).all()
    assert len(np.unique(orders, axis=0)) == 60
    assert np.array_equal(orders[:20], permutation_set(9, 20, seed=0))
    assert not np.array_equal(orders, permutation_set(9, 60, seed=1))
    with pytest.raises(ValueError, match="read-only"):
        orders[0, 0] = 1


def test_set_is_farther_apart_than_random_orders() -> None:
    generator = np.random.default_rng(0)
    random = np.stack([generator.permutation(9) for _ in range(100)])
    assert mean_hamming_distance(permutation_set(9, 100, seed=0)) > mean_hamming_distance(random)


def test_nine_orders_can_differ_everywhere() -> None:
    assert mean_hamming_distance(permutation_set(9, 9, seed=0)) == 9.0


def test_mean_hamming_distance_is_the_mean_over_pairs() -> None:
    orders = permutation_set(5, 12, seed=1)
    pairs = [(orders[i] != orders[j]).sum() for i in range(12) for j in range(i)]
    assert mean_hamming_distance(orders) == pytest.approx(np.mean(pairs))


@pytest.mark.parametrize(("tiles", "count"), [(9, 1), (4, 25), (16, 10), (1, 1)])
def test_impossible_sets_are_refused(tiles: int, count: int) -> None:
    with pytest.raises(ValueError, match="2 to"):
        permutation_set(tiles, count, seed=0)


# cutting


def test_without_gaps_the_tiles_make_up_the_image() -> None:
    x = images(2)
    tiles = cut_tiles(x, WHOLE, torch_rng(0))
    assert tiles.shape == (2, 9, 1, 20, 20)
    together = tiles.reshape(2, 3, 3, 20, 20).permute(0, 1, 3, 2, 4).reshape(2, 1, 60, 60)
    assert torch.equal(together, x)


def test_targets_name_the_order_that_was_applied() -> None:
    x = images(16)
    shuffled, targets = make_batch(x, WHOLE, torch_rng(1))
    ordered = cut_tiles(x, WHOLE, torch_rng(2))
    orders = torch.from_numpy(orders_of(WHOLE).astype(np.int64))
    for puzzle, truth, target in zip(shuffled, ordered, targets, strict=True):
        assert torch.equal(puzzle, truth[orders[target]])


@given(height=st.integers(40, 90), width=st.integers(40, 90), grid=st.sampled_from([2, 3]), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_each_tile_comes_whole_from_its_own_cell(height: int, width: int, grid: int, seed: int) -> None:
    options = JigsawOptions(grid=grid, permutations=20, border_fraction=0.05, per_tile_normalisation=False)
    cell, tile = tile_size(height, width, options)
    where = torch.arange(height * width, dtype=torch.float32).reshape(1, 1, height, width)
    tiles = cut_tiles(where, options, torch_rng(seed))[0, :, 0]
    row, column = tiles.div(width, rounding_mode="floor"), tiles % width
    assert row.min() >= round(0.05 * height)
    assert column.min() >= round(0.05 * width)
    assert row.max() < height - round(0.05 * height)
    assert column.max() < width - round(0.05 * width)
    assert ((row.amax(dim=(1, 2)) - row.amin(dim=(1, 2))) == tile[0] - 1).all()
    assert ((column.amax(dim=(1, 2)) - column.amin(dim=(1, 2))) == tile[1] - 1).all()
    for (axis, starts), side, length in zip(
        ((0, row.amin(dim=(1, 2))), (1, column.amin(dim=(1, 2)))), cell, tile, strict=True
    ):
        cells = starts.reshape(grid, grid).movedim(axis, 0)  # (cell along the axis, the other axis)
        first = cells[0].min()
        for number in range(grid):
            # the puzzle's place is at most the slack of one cell before its first tile
            assert cells[number].min() >= first + number * side - (side - length)
            assert cells[number].max() <= first + number * side + (side - length)


def test_neighbouring_tiles_are_apart_at_random() -> None:
    where = torch.arange(96.0).expand(200, 1, 96, 96)
    tiles = cut_tiles(where, JigsawOptions(), torch_rng(0))
    gaps = tiles[:, 1, 0, 0, 0] - tiles[:, 0, 0, 0, -1] - 1
    cell, tile = tile_size(96, 96, JigsawOptions())
    slack = cell[1] - tile[1]
    assert set(gaps.tolist()) == set(range(2 * slack + 1))
    assert len(set(tiles[:, 0, 0, 0, 0].tolist())) > slack + 1  # the whole puzzle moves too


def test_targets_are_uniform() -> None:
    options = JigsawOptions(permutations=10)
    _, targets = make_batch(images(1, 32).expand(2000, 1, 32, 32), options, torch_rng(7))
    counts = torch.bincount(targets, minlength=10).double()
    assert float(((counts - 200) ** 2 / 200).sum()) < 27.9  # chi-squared with 9 degrees of freedom, p = 0.001


def test_every_tile_has_its_own_mean_and_deviation_and_air_stays_finite() -> None:
    tiles, _ = make_batch(images(3), JigsawOptions(), torch_rng(0))
    assert torch.allclose(tiles.mean(dim=(2, 3, 4)), torch.zeros(3, 9), atol=1e-5)
    assert torch.allclose(tiles.std(dim=(2, 3, 4), correction=0), torch.ones(3, 9), atol=1e-4)
    assert torch.equal(normalise_tiles(torch.full((1, 9, 1, 8, 8), 0.25)), torch.zeros(1, 9, 1, 8, 8))


def test_rounding_noise_of_air_is_not_blown_up() -> None:
    air = torch.full((1, 1, 1, 16, 16), 0.25)
    air[..., ::2] += 2.0**-13  # half a step of float16 there
    assert normalise_tiles(air).abs().max() < 0.1


@pytest.mark.parametrize("side", [16, 24])
def test_images_smaller_than_the_tiles_are_refused_with_the_reason(side: int) -> None:
    with pytest.raises(ValueError, match=f"{side} x {side} pixels give 3 x 3 jigsaw tiles .* larger images"):
        make_batch(images(1, side), JigsawOptions(), torch_rng(0))


@pytest.mark.parametrize(
    "bad",
    [
        {"grid": 4},
        {"permutations": 1},
        {"grid": 2, "permutations": 25},
        {"crop_fraction": 0.0},
        {"tile_fraction": 1.2},
        {"border_fraction": 0.5},
        {"hidden": 0},
    ],
)
def test_bad_options_are_refused(bad: dict) -> None:
    with pytest.raises(ValueError, match=r"got|orders"):
        JigsawOptions(**bad)


# network and examples


def test_one_trunk_sees_all_tiles() -> None:
    options = JigsawOptions(permutations=8)
    network = build(build_network("cbr_small", 1, torch_rng(0)).encoder, options, torch_rng(1)).eval()
    tiles, _ = make_batch(images(2), options, torch_rng(2))
    with torch.inference_mode():
        alone = torch.stack([network.encoder.features(tiles[:, place]) for place in range(9)], dim=1)
        expected = network.head(alone.flatten(1))
        assert torch.allclose(network(tiles), expected, atol=1e-5)


def test_building_the_task_keeps_the_encoder() -> None:
    encoder = build_network("cbr_small", 1, torch_rng(0)).encoder
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    network = build(encoder, JigsawOptions(), torch_rng(1))
    assert network.encoder is encoder
    assert all(torch.equal(before[name], tensor) for name, tensor in encoder.state_dict().items())
    assert all(torch.isfinite(parameter).all() for parameter in network.parameters())


def test_examples_show_the_tiles_in_image_scale_with_truth_and_answer() -> None:
    network = build(build_network("cbr_small", 1, torch_rng(0)).encoder, WHOLE, torch_rng(1))
    x = images(3)
    shown = example_puzzles(network, x, (0.5, 0.25), WHOLE, torch_rng(2))
    ordered = cut_tiles(x, WHOLE, torch_rng(2))[:, :, 0].numpy()
    for tiles, truth, whole in zip(shown.tiles, shown.truth, ordered, strict=True):
        assert np.array_equal(tiles, whole[truth])
    assert (np.sort(shown.predicted, axis=1) == np.arange(9)).all()


# the contract of every pretext task


@pytest.fixture(params=PRETEXT_TASKS.names())
def task(request: pytest.FixtureRequest):
    return PRETEXT_TASKS[request.param]


def test_contract_batches_are_seeded_and_leave_the_images_alone(task) -> None:
    options, x = task.options_class(), images(6, 64)
    before = x.clone()
    inputs, targets = task.make_batch(x, options, torch_rng(0))
    again, same_targets = task.make_batch(x, options, torch_rng(0))
    others, _ = task.make_batch(x, options, torch_rng(1))
    assert torch.equal(inputs, again)
    assert torch.equal(targets, same_targets)
    assert not torch.equal(inputs, others)
    assert torch.equal(x, before)
    assert inputs.dtype == torch.float32
    assert targets.dtype == torch.int64
    assert targets.shape == (6,)


def test_contract_network_answers_and_trains_the_encoder(task) -> None:
    options = task.options_class()
    encoder = build_network("unet", 2, torch_rng(0), base_filters=4).encoder
    network = task.build(encoder, options, torch_rng(1))
    inputs, targets = task.make_batch(images(4, 64), options, torch_rng(2))
    outputs = network(inputs)
    assert outputs.shape == (4, round(1 / task.chance(options)))
    assert 0 <= task.accuracy(outputs, targets) <= 1
    task.loss(outputs, targets).backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_contract_perfect_answers_have_accuracy_one(task) -> None:
    options = task.options_class()
    targets = torch.arange(4) % round(1 / task.chance(options))
    outputs = torch.nn.functional.one_hot(targets, round(1 / task.chance(options))).float() * 30
    assert task.accuracy(outputs, targets) == 1.0
    assert float(task.loss(outputs, targets)) < 1e-6
