"""Corruptions: the contract that each keeps, and what is refused at their entrance."""

import numpy as np
import pytest
import torch
from corrupted_images import NOISES, smooth_images, some_keys

from ssrobust_lib.corruptions import CORRUPTIONS, IMAGENET_C_STRENGTHS, corrupt, sample_keys
from ssrobust_lib.registry import UnknownNameError

NAMES = CORRUPTIONS.names()


def damage(name: str, images: torch.Tensor, strength: float) -> float:
    return (corrupt(name, images, strength, some_keys(len(images))) - images).square().mean().item()


def test_the_seven_corruptions_of_the_paper_are_there_in_its_order():
    assert [*NOISES, "contrast", "brightness", "gaussian_blur", "resolution"] == NAMES


@pytest.mark.parametrize("name", NAMES)
class TestEveryCorruption:
    def test_zero_strength_is_the_identity_in_a_new_tensor(self, name):
        images = smooth_images(2, 16)
        out = corrupt(name, images, 0, some_keys(2))
        assert torch.equal(out, images)
        assert out.data_ptr() != images.data_ptr()

    @pytest.mark.parametrize("share", [0.001, 0.3, 1.0])
    def test_shape_type_range_and_untouched_input(self, name, share):
        images = smooth_images(3, 20, 28)
        before = images.clone()
        out = corrupt(name, images, share * CORRUPTIONS[name].strongest, some_keys(3))
        assert out.shape == images.shape and out.dtype == torch.float32 and out.device == images.device
        assert out.min() >= 0 and out.max() <= 1
        assert torch.equal(images, before)

    @pytest.mark.parametrize("value", [0.0, 1.0])
    def test_black_and_white_images_stay_finite_and_in_range(self, name, value):
        images = torch.full((2, 1, 12, 12), value)
        out = corrupt(name, images, CORRUPTIONS[name].strongest, some_keys(2))
        assert torch.isfinite(out).all() and out.min() >= 0 and out.max() <= 1

    def test_more_strength_does_more_damage(self, name):
        images = smooth_images(6, 64)
        strongest = CORRUPTIONS[name].strongest
        found = [damage(name, images, strongest * k / 8) for k in range(9)]
        assert found[0] == 0
        assert all(weaker < stronger for weaker, stronger in zip(found, found[1:], strict=False))

    @pytest.mark.parametrize("side", [15, 32, 65])
    def test_pixels_do_not_depend_on_batch_size_or_order(self, name, side):
        images, keys = smooth_images(11, side), some_keys(11)
        strength = 0.6 * CORRUPTIONS[name].strongest
        together = corrupt(name, images, strength, keys)
        alone = torch.cat([corrupt(name, images[i : i + 1], strength, keys[i : i + 1]) for i in range(11)])
        order = np.random.default_rng(3).permutation(11)
        shuffled = corrupt(name, images[order], strength, keys[order])
        in_parts = torch.cat([corrupt(name, images[p], strength, keys[p]) for p in (slice(0, 4), slice(4, 11))])
        assert torch.equal(together, alone)
        assert torch.equal(together[order], shuffled)
        assert torch.equal(together, in_parts)

    def test_pixels_do_not_depend_on_the_number_of_threads(self, name):
        images, keys = smooth_images(3, 150), some_keys(3)
        strength, threads = 0.5 * CORRUPTIONS[name].strongest, torch.get_num_threads()
        found = []
        try:
            for n in (1, 2):
                torch.set_num_threads(n)
                found.append(corrupt(name, images, strength, keys))
        finally:
            torch.set_num_threads(threads)
        assert torch.equal(*found)

    def test_memory_layout_of_the_input_does_not_matter(self, name):
        images = smooth_images(4, 24)
        strided = smooth_images(4, 24).transpose(2, 3).contiguous().transpose(2, 3)
        assert not strided.is_contiguous()
        strength = 0.5 * CORRUPTIONS[name].strongest
        assert torch.equal(
            corrupt(name, images, strength, some_keys(4)), corrupt(name, strided, strength, some_keys(4))
        )

    def test_an_empty_batch_is_refused(self, name):
        with pytest.raises(ValueError, match="at least one image, got an empty batch"):
            corrupt(name, torch.empty(0, 1, 8, 8), CORRUPTIONS[name].strongest, np.empty(0, np.int64))

    def test_clean_images_need_no_check_of_their_values(self, name):
        images, strength = smooth_images(2, 24), 0.5 * CORRUPTIONS[name].strongest
        unchecked = corrupt(name, images, strength, some_keys(2), check=False)
        assert torch.equal(unchecked, corrupt(name, images, strength, some_keys(2)))

    def test_imagenet_c_strengths_rise_within_the_declared_range(self, name):
        strengths = IMAGENET_C_STRENGTHS[name]
        assert len(strengths) == 5 and list(strengths) == sorted(strengths)
        assert strengths[0] > 0 and strengths[-1] < CORRUPTIONS[name].strongest

    def test_every_strength_is_described_differently(self, name):
        said = [CORRUPTIONS[name].describe(strength) for strength in (0.0, *IMAGENET_C_STRENGTHS[name])]
        assert len(set(said)) == 6

    @pytest.mark.parametrize("strength", [-0.1, 1.5, float("nan"), float("inf")])
    def test_a_strength_outside_the_range_is_refused(self, name, strength):
        with pytest.raises(ValueError, match=f"strength of {name}: expected 0 to"):
            corrupt(name, smooth_images(1, 8), strength, some_keys(1))


class TestEntrance:
    @pytest.mark.parametrize(
        ("images", "error", "message"),
        [
            (torch.zeros(1, 1, 4, 4, dtype=torch.float64), TypeError, "float32, got torch.float64"),
            (np.zeros((1, 1, 4, 4), np.float32), TypeError, "got ndarray"),
            (torch.zeros(1, 4, 4), ValueError, r"shape \(B, 1, H, W\)"),
            (torch.zeros(1, 3, 4, 4), ValueError, r"got \(1, 3, 4, 4\)"),
            (torch.zeros(1, 1, 0, 4), ValueError, "at least one pixel"),
            (torch.full((1, 1, 4, 4), -1000.0), ValueError, "windowed image"),
            (torch.full((1, 1, 4, 4), 1.001), ValueError, "got 1.001 to 1.001"),
            (torch.tensor([0.5, float("nan")]).view(1, 1, 1, 2), ValueError, "got NaN"),
            (torch.tensor([0.5, float("inf")]).view(1, 1, 1, 2), ValueError, "got 0.5 to inf"),
        ],
    )
    def test_images(self, images, error, message):
        with pytest.raises(error, match=message):
            corrupt("contrast", images, 0.5, np.zeros(1, np.int64))

    @pytest.mark.parametrize(
        ("keys", "error"), [(np.zeros(3, np.int64), ValueError), (np.zeros(2), TypeError), ([1, 2], TypeError)]
    )
    def test_keys(self, keys, error):
        with pytest.raises(error, match="keys: expected"):
            corrupt("gaussian_noise", smooth_images(2, 4), 0.5, keys)

    def test_without_the_check_of_values_shapes_are_still_checked(self):
        with pytest.raises(ValueError, match=r"shape \(B, 1, H, W\)"):
            corrupt("contrast", torch.zeros(1, 3, 4, 4), 0.5, np.zeros(1, np.int64), check=False)

    @pytest.mark.parametrize("place", [0, 70_000, 2 * 200 * 200 - 1])
    @pytest.mark.parametrize("value", [float("nan"), -1e-6, 1.0000002])
    def test_one_wrong_pixel_among_many_is_found(self, place, value):
        images = smooth_images(2, 200)
        images.view(-1)[place] = value
        with pytest.raises(ValueError, match=r"in \[0, 1\], got"):
            corrupt("brightness", images, 0.5, some_keys(2))

    @pytest.mark.parametrize("strength", ["0.5", None, True])
    def test_a_strength_that_is_no_number_is_refused(self, strength):
        with pytest.raises(TypeError, match="expected a number"):
            corrupt("brightness", smooth_images(1, 4), strength, some_keys(1))

    def test_unknown_name_lists_the_known_ones(self):
        with pytest.raises(UnknownNameError, match="gaussian_noise.*Did you mean 'gaussian_noise'"):
            corrupt("gausian_noise", smooth_images(1, 4), 0.5, some_keys(1))


class TestKeys:
    def test_each_part_of_the_key_matters(self):
        base = (1, ["a", "b"], "contrast", 2)
        variants = [base, (2, *base[1:]), (1, ["a", "c"], "contrast", 2), (1, ["a", "b"], "resolution", 2),
                    (1, ["a", "b"], "contrast", 3), (1, ["a", "b"], "contrast", "calibration")]  # fmt: skip
        assert len({int(sample_keys(*variant)[1]) for variant in variants}) == len(variants)
        assert np.array_equal(sample_keys(*base), sample_keys(*base))

    def test_keys_are_int64_not_negative_and_do_not_depend_on_their_neighbours(self):
        ids = [f"scan-{i}" for i in range(50)]
        keys = sample_keys(7, ids, "shot_noise", 1)
        assert keys.dtype == np.int64 and (keys >= 0).all() and len(set(keys)) == 50
        assert np.array_equal(sample_keys(7, ids[20:30], "shot_noise", 1), keys[20:30])

    def test_a_slice_adds_its_index(self):
        whole = sample_keys(7, ["scan"] * 4, "shot_noise", 1, slices=[0, 1, 2, 3])
        assert np.array_equal(np.diff(whole), [1, 1, 1])
        assert sample_keys(7, ["scan"], "shot_noise", 1, slices=[2])[0] == whole[2]

    @pytest.mark.parametrize("slices", [[0, 1, 2], [-1, 0]])
    def test_wrong_slices_are_refused(self, slices):
        with pytest.raises(ValueError, match="slices: expected one index from 0 per sample"):
            sample_keys(7, ["a", "b"], "shot_noise", 1, slices=slices)
