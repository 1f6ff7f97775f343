"""Corruptions: agreement with their formulas, on closed forms and against SciPy and Pillow."""

import numpy as np
import pytest
import torch
from corrupted_images import NOISES, smooth_images, some_keys
from hypothesis import given, settings
from hypothesis import strategies as st

from ssrobust_lib.corruptions import CORRUPTIONS, IMAGENET_C_STRENGTHS, corrupt
from ssrobust_lib.corruptions.photometry import image_means
from ssrobust_lib.corruptions.units import kept_pixels


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
