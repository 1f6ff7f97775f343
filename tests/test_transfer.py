"""Transfer: the encoder moves whole, everything else stays, and weights that do not fit are named one by one."""

import pytest
import torch

from ssrobust_lib.networks import NETWORKS, build_network
from ssrobust_lib.seeds import torch_rng
from ssrobust_lib.training.transfer import TransferError, encoder_tensors, transfer_encoder, transfer_report

SMALL = {"unet": {"base_filters": 4}}


def build(name: str, seed: int, **options: int) -> torch.nn.Module:
    return build_network(name, 2, torch_rng(seed), **(options or SMALL.get(name, {})))


@pytest.mark.parametrize("name", NETWORKS.names())
def test_encoder_is_transferred_and_the_rest_stays(name: str) -> None:
    source, network = build(name, 0), build(name, 1)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    report = transfer_encoder(network, encoder_tensors(source)).set_index("tensor")
    assert list(report.index) == list(before)
    for key, tensor in network.state_dict().items():
        belongs = key.startswith("encoder.")
        assert torch.equal(tensor, (source.state_dict() if belongs else before)[key])
        assert report.loc[key, "status"] == ("transferred" if belongs else "from scratch")
    assert report["parameters"].sum() == sum(tensor.numel() for tensor in before.values())


def test_batch_statistics_are_transferred_too() -> None:
    source, network = build("cbr_small", 0), build("cbr_small", 1)
    source.train()(torch.rand(4, 1, 16, 16, generator=torch_rng(2)))
    transfer_encoder(network, encoder_tensors(source))
    assert torch.equal(network.encoder.blocks[0][1].running_mean, source.encoder.blocks[0][1].running_mean)
    assert network.encoder.blocks[0][1].running_mean.abs().sum() > 0


def test_decoder_and_head_of_the_unet_are_from_scratch() -> None:
    report = transfer_encoder(build("unet", 1), encoder_tensors(build("unet", 0)))
    scratch = report.loc[report["status"] == "from scratch", "tensor"]
    assert {name.split(".")[0] for name in scratch} == {"decoder", "head"}
    assert set(transfer_report(build("unet", 0), transferred=False)["status"]) == {"from scratch"}


def test_copies_do_not_follow_the_network() -> None:
    network = build("cbr_small", 0)
    kept = encoder_tensors(network)
    name, parameter = next(iter(network.encoder.named_parameters()))
    with torch.no_grad():
        parameter.add_(1)
    assert not torch.equal(kept[name], parameter)
    assert all(tensor.is_contiguous() for tensor in kept.values())


def test_another_width_is_refused_tensor_by_tensor_and_nothing_changes() -> None:
    network = build("unet", 1)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    with pytest.raises(TransferError) as caught:
        transfer_encoder(network, encoder_tensors(build("unet", 0, base_filters=8)))
    message = str(caught.value)
    assert "levels.0.0.weight: the network expects (4, 1, 3, 3), the weights hold (8, 1, 3, 3)" in message
    shaped = [name for name in network.encoder.state_dict() if "num_batches" not in name]
    assert message.count("the network expects") == len(shaped)
    assert all(torch.equal(before[key], tensor) for key, tensor in network.state_dict().items())


def test_missing_unknown_and_infinite_tensors_are_named() -> None:
    network = build("cbr_small", 0)
    tensors = encoder_tensors(network)
    del tensors["blocks.1.0.weight"]
    tensors["blocks.9.0.weight"] = torch.zeros(2)
    tensors["blocks.2.1.running_var"][3] = float("nan")
    with pytest.raises(TransferError) as caught:
        transfer_encoder(network, tensors)
    message = str(caught.value)
    assert "blocks.1.0.weight: the network expects (64, 32, 7, 7), the weights lack it" in message
    assert "blocks.9.0.weight: the weights hold (2,), the network has no such tensor" in message
    assert "blocks.2.1.running_var: the weights hold values that are not finite" in message
