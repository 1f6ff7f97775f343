"""Corruptions of volumes: slices as images of their own, or three dimensions in mm."""

import numpy as np
import pytest
import torch
from corrupted_images import smooth_images

from ssrobust_lib.corruptions import CORRUPTIONS, corrupt, sample_keys
from ssrobust_lib.corruptions.volumes import corrupt_volume
from ssrobust_lib.registry import UnknownNameError

NAMES = CORRUPTIONS.names()
KEYS = sample_keys(1, ["scan-0", "scan-1"], "noise", 3)


def smooth_volumes(depth: int = 6, height: int = 20, width: int = 28) -> torch.Tensor:
    return smooth_images(2 * depth, height, width).view(2, 1, depth, height, width)


@pytest.mark.parametrize("name", NAMES)
class TestEveryCorruption:
    def test_slices_are_what_the_study_shows(self, name):
        volumes, strength = smooth_volumes(), 0.4 * CORRUPTIONS[name].strongest
        out = corrupt_volume(name, volumes, strength, KEYS)
        keys = sample_keys(1, ["scan-1"] * 3, "noise", 3, slices=[2, 3, 4])
        part = corrupt(name, volumes[1, 0, 2:5, None], strength, keys)
        assert torch.equal(out[1, 0, 2:5, None], part)

    @pytest.mark.parametrize("mode", ["slices", "volume"])
    def test_shape_range_and_untouched_input(self, name, mode):
        volumes = smooth_volumes()
        before = volumes.clone()
        out = corrupt_volume(name, volumes, CORRUPTIONS[name].strongest, KEYS, mode=mode, spacing_mm=(3, 1, 1))
        assert out.shape == volumes.shape and out.min() >= 0 and out.max() <= 1
        assert torch.equal(volumes, before) and not torch.equal(out, volumes)

    @pytest.mark.parametrize("mode", ["slices", "volume"])
    def test_zero_strength_is_the_identity_in_a_new_tensor(self, name, mode):
        volumes = smooth_volumes()
        out = corrupt_volume(name, volumes, 0, KEYS, mode=mode, spacing_mm=(1, 1, 1))
        assert torch.equal(out, volumes) and out.data_ptr() != volumes.data_ptr()

    @pytest.mark.parametrize("mode", ["slices", "volume"])
    def test_a_volume_does_not_depend_on_its_batch(self, name, mode):
        volumes, strength = smooth_volumes(), 0.4 * CORRUPTIONS[name].strongest
        together = corrupt_volume(name, volumes, strength, KEYS, mode=mode, spacing_mm=(2, 1, 1))
        alone = corrupt_volume(name, volumes[1:], strength, KEYS[1:], mode=mode, spacing_mm=(2, 1, 1))
        assert torch.equal(together[1:], alone)


def test_contrast_in_three_dimensions_shrinks_about_the_volumes_mean():
    volumes = smooth_volumes().double()
    out = corrupt_volume("contrast", volumes.float(), 0.5, KEYS, mode="volume").double()
    mean = volumes.mean(dim=(1, 2, 3, 4), keepdim=True)
    assert torch.allclose(out, (volumes - mean) * 0.5 + mean, atol=1e-6)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 0.8, 0.8), (1.5, 0.7, 1.1)])
def test_blur_in_three_dimensions_is_scipys_with_one_width_in_mm(spacing):
    from scipy.ndimage import gaussian_filter

    volumes = smooth_volumes()
    strength = 0.04
    sigma_mm = strength * max(20 * spacing[1], 28 * spacing[2])
    out = corrupt_volume("gaussian_blur", volumes, strength, KEYS, mode="volume", spacing_mm=spacing)
    sigma = [sigma_mm / step for step in spacing]
    expected = gaussian_filter(volumes.double().numpy(), sigma, mode="nearest", truncate=4.0, axes=(2, 3, 4))
    assert np.abs(out.numpy() - expected).max() < 2e-6


def test_resolution_in_three_dimensions_makes_cubes():
    volumes = torch.rand(2, 1, 8, 16, 16, generator=torch.Generator().manual_seed(0))
    out = corrupt_volume("resolution", volumes, 0.75, KEYS, mode="volume", spacing_mm=(2, 1, 1))
    # 16 mm to 4 large pixels of 4 mm: two slices of 2 mm, four rows and columns of 1 mm
    small = torch.nn.functional.avg_pool3d(volumes, (2, 4, 4))
    expected = small.repeat_interleave(2, 2).repeat_interleave(4, 3).repeat_interleave(4, 4)
    assert (out - expected).abs().max() < 1e-6


def test_an_axis_that_is_coarser_already_stays():
    volumes = torch.rand(2, 1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    out = corrupt_volume("resolution", volumes, 0.5, KEYS, mode="volume", spacing_mm=(5, 1, 1))
    flat = corrupt("resolution", volumes.reshape(8, 1, 16, 16), 0.5, np.zeros(8, np.int64)).view(volumes.shape)
    assert (out - flat).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"name": "blur"}, UnknownNameError, "unknown corruption 'blur'"),
        ({"mode": "3d"}, UnknownNameError, "unknown mode '3d'"),
        ({"volumes": torch.zeros(2, 3, 8, 8)}, ValueError, r"shape \(B, 1, D, H, W\)"),
        ({"volumes": torch.zeros(0, 1, 2, 8, 8)}, ValueError, "at least one voxel"),
        ({"volumes": torch.zeros(2, 1, 2, 8, 8).double()}, TypeError, "float32"),
        ({"volumes": torch.full((2, 1, 2, 8, 8), 40.0)}, ValueError, "windowed"),
        ({"keys": KEYS[:1]}, ValueError, "one per image"),
        ({"strength": 1.0}, ValueError, "strength of gaussian_blur"),
        ({"spacing_mm": None}, ValueError, "three distances above 0"),
        ({"spacing_mm": (1.0, 0.0, 1.0)}, ValueError, "three distances above 0"),
    ],
)
def test_wrong_input_is_refused(change, error, message):
    given = {
        "name": "gaussian_blur", "volumes": torch.zeros(2, 1, 2, 8, 8), "strength": 0.01, "keys": KEYS,
        "mode": "volume", "spacing_mm": (1, 1, 1), **change,
    }  # fmt: skip
    with pytest.raises(error, match=message):
        corrupt_volume(**given)
