"""Networks: sizes of the paper, an encoder of its own, reproducible weights; every registered one is tested."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssrobust_lib.networks import NETWORKS, build_network, initialise
from ssrobust_lib.registry import UnknownNameError
from ssrobust_lib.seeds import torch_rng

SMALL = {"unet": {"base_filters": 4}}


def build(name: str, n_outputs: int = 3, seed: int = 0) -> torch.nn.Module:
    return build_network(name, n_outputs, torch_rng(seed), **SMALL.get(name, {}))


def parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_cbr_small_has_the_published_size() -> None:
    assert parameters(build_network("cbr_small", 1, torch_rng(0))) == 2_110_177


def test_unet_has_the_size_of_the_earlier_work() -> None:
    assert parameters(build_network("unet", 21, torch_rng(0))) == 7_763_125


def test_unet_width_follows_base_filters() -> None:
    narrow = build_network("unet", 2, torch_rng(0), base_filters=8)
    assert narrow.encoder.out_channels == 128
    assert narrow.head.weight.shape == (2, 8, 1, 1)


@pytest.mark.parametrize("name", NETWORKS.names())
def test_same_generator_same_weights_other_generator_other_weights(name: str) -> None:
    one, two, other = build(name), build(name), build(name, seed=1)
    for (tensor_name, tensor), again in zip(one.state_dict().items(), two.state_dict().values(), strict=True):
        assert torch.equal(tensor, again), tensor_name
        assert torch.isfinite(tensor).all(), tensor_name
    weights = [name for name, parameter in one.named_parameters() if parameter.ndim > 1]
    assert all(not torch.equal(one.state_dict()[name], other.state_dict()[name]) for name in weights)


@pytest.mark.parametrize("name", NETWORKS.names())
def test_building_leaves_the_global_random_state_alone(name: str) -> None:
    before = torch.random.get_rng_state()
    build(name)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("name", NETWORKS.names())
def test_outputs_and_features_have_the_promised_shape(name: str) -> None:
    network = build(name).eval()
    x = torch.rand(2, 1, 32, 48, generator=torch_rng(2))
    with torch.inference_mode():
        logits, features = network(x), network.encoder.features(x)
    assert logits.shape in {(2, 3), (2, 3, 32, 48)}
    assert features.shape == (2, network.encoder.out_channels)


@pytest.mark.parametrize("name", NETWORKS.names())
@pytest.mark.parametrize("side", [8, 15, 20])
def test_encoder_takes_tiles_of_any_size(name: str, side: int) -> None:
    encoder = build(name).encoder.eval()
    with torch.inference_mode():
        features = encoder.features(torch.rand(3, 1, side, side, generator=torch_rng(3)))
    assert features.shape == (3, encoder.out_channels)
    assert torch.isfinite(features).all()


@pytest.mark.parametrize("name", NETWORKS.names())
def test_every_parameter_gets_a_gradient(name: str) -> None:
    network = build(name)
    network(torch.rand(2, 1, 32, 32, generator=torch_rng(4))).square().mean().backward()
    without = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert without == []


def test_pooling_before_relu_equals_relu_before_pooling() -> None:
    encoder = build("cbr_small").encoder.eval()
    x = torch.rand(2, 1, 24, 24, generator=torch_rng(5))
    convolution, norm, pool, relu = encoder.blocks[0]
    with torch.inference_mode():
        assert torch.equal(encoder.blocks[0](x), pool(relu(norm(convolution(x)))))


@given(height=st.integers(16, 70), width=st.integers(16, 70))
@settings(max_examples=15, deadline=None)
def test_unet_refuses_exactly_the_sides_that_it_cannot_join_again(height: int, width: int) -> None:
    network = build("unet").eval()
    x = torch.zeros(1, 1, height, width)
    if height % 16 or width % 16:
        with pytest.raises(ValueError, match=f"divisible by 16, got {height} x {width}"):
            network(x)
    else:
        with torch.inference_mode():
            assert network(x).shape == (1, 3, height, width)


def test_a_bad_name_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="cbr_small, .*unet"):
        build_network("resnet", 1, torch_rng(0))
    with pytest.raises(UnknownNameError, match="base_filters"):
        build_network("unet", 2, torch_rng(0), base_filter=8)
    with pytest.raises(ValueError, match="n_outputs=0"):
        build_network("unet", 0, torch_rng(0))
    with pytest.raises(ValueError, match="base_filters"):
        build_network("unet", 2, torch_rng(0), base_filters=0)


def test_initial_weights_are_uniform_within_the_documented_bound() -> None:
    weight = build_network("cbr_small", 1, torch_rng(0)).encoder.blocks[1][0].weight
    bound = (32 * 7 * 7) ** -0.5
    assert weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)


def test_a_layer_without_a_rule_is_named() -> None:
    with pytest.raises(TypeError, match="Embedding"):
        initialise(torch.nn.Sequential(torch.nn.Embedding(2, 2)), torch_rng(0))
