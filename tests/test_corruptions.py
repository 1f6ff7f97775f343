"""Corruptions: identity, determinism by key, physical strength, range, agreement with the formulas of ImageNet-C."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssrobust_lib.corruptions import CORRUPTIONS, IMAGENET_C_STRENGTHS, corrupt, sample_keys
from ssrobust_lib.corruptions.noise import poisson_quantiles
from ssrobust_lib.corruptions.photometry import image_means
from ssrobust_lib.corruptions.sharpness import kept_pixels
from ssrobust_lib.corruptions.streams import LEVELS, normal_values, random_levels
from ssrobust_lib.registry import UnknownNameError

NAMES = CORRUPTIONS.names()
NOISES = ["gaussian_noise", "shot_noise", "impulse_noise"]
ALL_LEVELS = torch.arange(-LEVELS // 2, LEVELS // 2).to(torch.int16)


def smooth_images(n: int, height: int, width: int | None = None, seed: int = 0) -> torch.Tensor:
    """Images with structure at several sizes, in [0, 1]: float32 (n, 1, height, width)."""
    generator = torch.Generator().manual_seed(seed)
    size = (height, width or height)
    layers = [
        torch.nn.functional.interpolate(torch.rand(n, 1, side, side, generator=generator), size, mode="bilinear")
        for side in (3, 9, 27)
    ]
    images = layers[0] + 0.5 * layers[1] + 0.25 * layers[2]
    lowest, highest = images.aminmax()
    return (images - lowest) / (highest - lowest)


def some_keys(n: int, seed: int = 1) -> np.ndarray:
    return sample_keys(seed, [f"image-{i}" for i in range(n)], "gaussian_noise", 3)


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

    def test_an_empty_batch_stays_empty(self, name):
        out = corrupt(name, torch.empty(0, 1, 8, 8), CORRUPTIONS[name].strongest, np.empty(0, np.int64))
        assert out.shape == (0, 1, 8, 8)

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


class TestStreams:
    def test_splitmix64_reference_values(self):
        # first outputs of the published generator for seed 1234567 (Vigna's splitmix64.c)
        from ssrobust_lib.corruptions.streams import _GAMMA, _mix

        steps = torch.arange(1, 4, dtype=torch.int64) * _GAMMA + 1234567
        found = [value % 2**64 for value in _mix(steps).tolist()]
        assert found == [6457827717110365317, 3203168211198807973, 9817491932198370423]

    def test_levels_are_uniform_and_uncorrelated_between_pixels_and_neighbouring_keys(self):
        levels = random_levels(torch.arange(5, 7) * 1, 40_000).double() / (LEVELS / 2)  # uniform over [-1, 1)
        assert abs(levels.mean()) < 5 * (1 / 3 / 80_000) ** 0.5
        assert abs(levels.square().mean() - 1 / 3) < 5 * (4 / 45 / 80_000) ** 0.5
        for first, second in ((levels[0], levels[1]), (levels[0, :-1], levels[0, 1:]), (levels[0, :-4], levels[0, 4:])):
            assert abs((first * second).mean() * 3) < 5 / len(first) ** 0.5

    def test_a_longer_stream_starts_like_a_shorter_one(self):
        keys = torch.tensor([3, 2**62])
        assert torch.equal(random_levels(keys, 101)[:, :50], random_levels(keys, 50))

    def test_normal_values_follow_the_normal_law(self):
        from scipy.special import ndtr

        values = normal_values(ALL_LEVELS[None])[0].double()
        assert abs(values.mean()) < 1e-9 and abs(values.var(unbiased=False) - 1) < 1e-6
        assert (values.diff() > 0).all() and torch.equal(values, -values.flip(0))
        quantile = (np.arange(LEVELS) + 0.5) / LEVELS
        assert np.abs(ndtr(values.numpy()) - quantile).max() < 2**-16

    @pytest.mark.parametrize("mean", [0.0, 0.01, 0.7, 3.9, 4.1, 9.0, 60.0, 1000.0])
    def test_poisson_quantiles_are_those_of_the_poisson_law(self, mean):
        from scipy.special import pdtrik

        means = torch.full((1, LEVELS), mean)
        found = poisson_quantiles(means, ALL_LEVELS[None], highest_mean=1000.0)[0].double().numpy()
        quantile = (np.arange(LEVELS) + 0.5) / LEVELS
        exact = np.ceil(np.nan_to_num(pdtrik(quantile, max(mean, 1e-300)))).clip(0) if mean else np.zeros(LEVELS)
        exact[quantile <= np.exp(-mean)] = 0
        assert np.mean(found != exact) < 0.002
        assert abs(found.mean() - mean) < 1e-3 + 1e-5 * mean
        assert abs(found.var() - mean) < 3e-3 + 1e-4 * mean

    def test_few_photons_at_the_end_of_the_range_agree_with_the_general_case(self):
        means = torch.linspace(0, 1, LEVELS)[None]
        at_most_one = poisson_quantiles(means, ALL_LEVELS[None], highest_mean=1.0)
        assert torch.equal(at_most_one, poisson_quantiles(means, ALL_LEVELS[None], highest_mean=50.0))


class TestFormulas:
    def test_gaussian_noise_has_the_stated_standard_deviation(self):
        images = torch.full((20, 1, 64, 64), 0.5)
        noise = corrupt("gaussian_noise", images, 0.08, some_keys(20)) - images
        assert abs(noise.mean()) < 5 * 0.08 / noise.numel() ** 0.5
        assert abs(noise.std() / 0.08 - 1) < 0.01

    @pytest.mark.parametrize("photons", [1, 3, 60, 10_000])
    def test_shot_noise_has_poisson_mean_and_variance(self, photons):
        images = torch.full((20, 1, 64, 64), 0.3)
        out = corrupt("shot_noise", images, photons**-0.5, some_keys(20)).double()
        n, variance = out.numel(), 0.3 / photons
        if photons >= 60:  # nothing clipped
            assert abs(out.mean() - 0.3) < 5 * (variance / n) ** 0.5
            assert abs(out.var() / variance - 1) < 5 * (2.5 / n) ** 0.5
        # the chance of a count of zero survives clipping
        empty = np.exp(-0.3 * photons)
        assert abs((out == 0).double().mean() - empty) < 5 * (empty * (1 - empty) / n) ** 0.5 + 1e-9

    def test_shot_noise_counts_whole_photons(self):
        out = corrupt("shot_noise", smooth_images(2, 32), 12**-0.5, some_keys(2)) * 12
        assert torch.allclose(out, out.round(), atol=1e-5)

    @pytest.mark.parametrize("amount", [0.002, 0.09, 0.5])
    def test_impulse_noise_replaces_the_stated_fraction_by_black_and_white(self, amount):
        images = torch.full((20, 1, 64, 64), 0.5)
        out = corrupt("impulse_noise", images, amount, some_keys(20))
        n = out.numel()
        for value in (0, 1):
            assert abs((out == value).double().mean() - amount / 2) < 5 * (amount / 2 / n) ** 0.5 + 2e-5
        assert set(out.unique().tolist()) == {0.0, 0.5, 1.0}

    @given(amounts=st.tuples(st.floats(0.001, 0.5), st.floats(0.001, 0.5)))
    @settings(max_examples=15, deadline=None)
    def test_impulse_noise_of_a_lower_strength_is_part_of_a_higher_one(self, amounts):
        images = torch.full((2, 1, 32, 32), 0.5)
        weaker, stronger = (corrupt("impulse_noise", images, amount, some_keys(2)) for amount in sorted(amounts))
        changed = weaker != 0.5
        assert torch.equal(weaker[changed], stronger[changed])

    def test_gaussian_noise_of_one_key_keeps_its_pattern_at_every_strength(self):
        images = torch.full((2, 1, 32, 32), 0.5)
        weak, strong = (corrupt("gaussian_noise", images, std, some_keys(2)) - 0.5 for std in (0.01, 0.1))
        assert torch.allclose(weak * 10, strong, atol=1e-6)

    @pytest.mark.parametrize("name", NOISES)
    def test_other_keys_give_other_noise(self, name):
        images = smooth_images(1, 32).expand(2, -1, -1, -1).contiguous()
        out = corrupt(name, images, 0.5 * CORRUPTIONS[name].strongest, np.array([10, 11]))
        assert (out[0] != out[1]).double().mean() > 0.2

    @given(removed=st.floats(0.01, 0.98))
    @settings(max_examples=15, deadline=None)
    def test_contrast_shrinks_about_the_mean_of_the_image(self, removed):
        images = smooth_images(2, 24)
        out = corrupt("contrast", images, removed, some_keys(2)).double()
        mean = images.double().mean(dim=(1, 2, 3), keepdim=True)
        assert torch.allclose(out, (images.double() - mean) * (1 - removed) + mean, atol=1e-6)

    def test_image_means_are_exact(self):
        images = smooth_images(9, 50, 31)
        assert torch.allclose(image_means(images).double().flatten(), images.double().mean(dim=(1, 2, 3)), atol=1e-7)

    def test_brightness_adds_and_clips(self):
        images = torch.tensor([0.0, 0.2, 0.9]).view(1, 1, 1, 3)
        assert torch.allclose(corrupt("brightness", images, 0.3, some_keys(1)).flatten(), torch.tensor([0.3, 0.5, 1.0]))

    @pytest.mark.parametrize(
        ("height", "width", "sigma"), [(64, 64, 1.7), (40, 56, 3.0), (24, 24, 0.4), (30, 30, 1.875)]
    )
    def test_blur_is_scipys_gaussian_filter_with_repeated_border(self, height, width, sigma):
        from scipy.ndimage import gaussian_filter

        images = smooth_images(2, height, width)
        out = corrupt("gaussian_blur", images, sigma / max(height, width), some_keys(2))
        expected = gaussian_filter(images.double().numpy(), sigma, mode="nearest", truncate=4.0, axes=(2, 3))
        assert np.abs(out.numpy() - expected).max() < 2e-6

    def test_blur_means_the_same_at_any_size(self):
        small = smooth_images(2, 64)
        large = torch.nn.functional.interpolate(small, (128, 128), mode="bilinear")
        blurred = corrupt("gaussian_blur", large, 0.04, some_keys(2))
        reduced = torch.nn.functional.avg_pool2d(blurred, 2)
        assert (reduced - corrupt("gaussian_blur", small, 0.04, some_keys(2))).abs().max() < 0.02

    @pytest.mark.parametrize(("kept", "factor"), [(0.5, 2), (0.25, 4)])
    def test_resolution_is_pillows_box_down_and_up_again(self, kept, factor):
        from PIL import Image

        images = smooth_images(1, 64)
        small = Image.fromarray(images[0, 0].numpy()).resize((64 // factor, 64 // factor), Image.Resampling.BOX)
        expected = np.asarray(small.resize((64, 64), Image.Resampling.BOX))
        out = corrupt("resolution", images, 1 - kept, some_keys(1))[0, 0].numpy()
        assert np.abs(out - expected).max() < 1e-6

    @pytest.mark.parametrize("name", ["gaussian_blur", "resolution"])
    def test_constant_images_stay_constant_and_the_mean_is_kept_away_from_borders(self, name):
        images = torch.full((1, 1, 30, 30), 0.7)
        out = corrupt(name, images, 0.8 * CORRUPTIONS[name].strongest, some_keys(1))
        assert torch.allclose(out, images, atol=1e-6)

    def test_resolution_keeps_the_image_mean_and_at_least_one_pixel(self):
        images = smooth_images(3, 33)
        for strength in (0.1, 0.6, 0.9375):
            out = corrupt("resolution", images, strength, some_keys(3))
            assert torch.allclose(out.mean(dim=(1, 2, 3)), images.mean(dim=(1, 2, 3)), atol=1e-5)
        assert kept_pixels(4, 0.9375) == 1
        assert [kept_pixels(224, s) for s in IMAGENET_C_STRENGTHS["resolution"]] == [134, 112, 89, 67, 56]

    def test_strengths_are_described_in_physical_terms(self):
        assert CORRUPTIONS["shot_noise"].describe(60**-0.5) == "60 photons at full intensity"
        assert CORRUPTIONS["shot_noise"].describe(1.0) == "1 photon at full intensity"
        assert CORRUPTIONS["gaussian_blur"].describe(3 / 224) == "sigma 3 pixels at 224 x 224"
        assert CORRUPTIONS["resolution"].describe(0.75) == "56 of 224 pixels kept along a side, then enlarged again"
