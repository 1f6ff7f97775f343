"""Distances between clean and corrupted features, and where the features come from."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssrobust_lib.evaluation.feature_distances import CleanFeatures, cosines, mean_distance, relative_distances
from ssrobust_lib.evaluation.inference import Runner
from ssrobust_lib.networks import NETWORKS, build_network
from ssrobust_lib.seeds import torch_rng


@pytest.mark.parametrize("name", NETWORKS.names())
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_features_are_those_of_the_encoder_without_a_second_pass(name, precision):
    network = build_network(name, 3, torch_rng(name)).eval()
    images = torch.rand(2, 1, 32, 32, generator=torch_rng("images"))
    runner, calls = Runner("cpu", precision), []
    with runner.ready({("scratch", 0): network}, features=True):
        network.encoder.register_forward_hook(lambda *_: calls.append(1))
        runner.logits(network, images)
        found = runner.features()
        assert len(calls) == 1
        assert runner.features() is None, "features of an older pass"
        with torch.inference_mode():
            expected = network.encoder.features(images).numpy()
    assert found.shape == (2, network.encoder.out_channels) and found.dtype == np.float32
    # those of the encoder in float32; bf16 keeps 8 bits of each value
    tolerance = 0 if precision == "float32" else 0.05 * np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
    runner.logits(network, images)
    assert runner.features() is None, "features outlived the evaluation"


def test_a_distance_is_in_units_of_the_distance_between_patients():
    clean = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 5.0]], np.float32)
    scale, pairs = mean_distance(clean, np.arange(3))
    assert (scale, pairs) == (pytest.approx((5 + 5 + np.sqrt(10)) / 3), 3)
    moved = relative_distances(clean + np.array([[0, 2.0]], np.float32), clean, 4.0)
    assert moved.tolist() == [0.5] * 3
    assert relative_distances(clean, clean, scale).tolist() == [0.0] * 3


def test_images_of_one_patient_are_no_pair():
    features = np.array([[0.0], [1.0], [10.0]])
    assert mean_distance(features, np.array([0, 0, 1])) == (9.5, 2)
    scale, pairs = mean_distance(features, np.zeros(3, int))
    assert np.isnan(scale) and pairs == 0
    assert np.isnan(relative_distances(features, features, scale)).all()


@settings(max_examples=20, deadline=None)
@given(n=st.integers(2, 40), block=st.integers(1, 12), seed=st.integers(0, 99))
def test_blocks_give_what_all_pairs_give(n, block, seed):
    from scipy.spatial.distance import pdist

    from ssrobust_lib.evaluation import feature_distances

    features = np.random.default_rng(seed).normal(size=(n, 5)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feature_distances, "_BLOCK", block)
        scale, pairs = mean_distance(features, np.arange(n))
    assert pairs == n * (n - 1) // 2
    assert scale == pytest.approx(pdist(features.astype(np.float64)).mean())


def test_cosines_are_of_the_angle_and_undefined_for_nothing():
    a = np.array([[1.0, 0.0], [1.0, 1.0], [2.0, 0.0], [0.0, 0.0]])
    b = np.array([[0.0, 3.0], [2.0, 2.0], [-1.0, 0.0], [1.0, 0.0]])
    np.testing.assert_allclose(cosines(a, b), [0, 1, -1, np.nan], atol=1e-12)


def test_clean_features_of_other_networks_or_images_are_refused():
    features = CleanFeatures(np.zeros((2, 5, 3), np.float32), np.ones(2))
    features.check(2, 5)
    for n_networks, n_images in ((3, 5), (2, 4)):
        with pytest.raises(ValueError, match="evaluate the clean images with the same networks"):
            features.check(n_networks, n_images)
