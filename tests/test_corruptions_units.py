"""Units of the corruptions: what a strength means in mm, in words, and on another grid."""

import pytest
import torch
from corrupted_images import some_keys
from hypothesis import given
from hypothesis import strategies as st

from ssrobust_lib.corruptions import CORRUPTIONS, corrupt
from ssrobust_lib.corruptions.units import (
    blur_sigma_mm,
    blur_strength,
    kept_pixels,
    noise_at_side,
    resolution_mm,
    resolution_strength,
)

SIDES = st.integers(16, 2048)
PIXELS = st.floats(0.05, 5.0)


@given(strength=st.floats(1e-4, 1 / 16), side=SIDES, pixel_mm=PIXELS)
def test_a_blur_in_mm_converts_back(strength, side, pixel_mm):
    assert blur_strength(blur_sigma_mm(strength, side, pixel_mm), side, pixel_mm) == pytest.approx(strength)


@given(side=SIDES, pixel_mm=PIXELS, factor=st.integers(1, 8))
def test_the_same_body_on_another_grid_is_blurred_alike(side, pixel_mm, factor):
    assert blur_sigma_mm(0.02, side * factor, pixel_mm / factor) == pytest.approx(blur_sigma_mm(0.02, side, pixel_mm))


def test_large_pixels_in_mm():
    assert resolution_mm(0.75, 224, 1.5) == 6.0
    assert kept_pixels(224, resolution_strength(6.0, 1.5)) == 56
    assert resolution_strength(1.5, 1.5) == 0


@pytest.mark.parametrize(("name", "factor"), [("gaussian_noise", 2), ("gaussian_noise", 4), ("shot_noise", 4)])
def test_noise_averaged_to_a_coarser_grid_has_the_converted_strength(name, factor):
    fine, strength = torch.full((4, 1, 256, 256), 0.5), 0.1
    noisy = corrupt(name, fine, strength, some_keys(4))
    averaged = torch.nn.functional.avg_pool2d(noisy, factor)
    converted = noise_at_side(name, strength, from_side=256, to_side=256 // factor)
    coarse = corrupt(name, torch.full((4, 1, 256 // factor, 256 // factor), 0.5), converted, some_keys(4))
    n = averaged.numel()
    assert abs(averaged.var() / coarse.var() - 1) < 5 * (4 / n) ** 0.5
    assert abs(averaged.mean() - coarse.mean()) < 5 * (2 * averaged.var() / n) ** 0.5


def test_photons_per_pixel_scale_with_its_area():
    converted = noise_at_side("shot_noise", 60**-0.5, from_side=224, to_side=112)
    assert converted**-2 == pytest.approx(240)


@pytest.mark.parametrize("name", sorted(set(CORRUPTIONS.names()) - {"gaussian_noise", "shot_noise"}))
def test_no_other_strength_is_converted(name):
    with pytest.raises(ValueError, match="expected one of gaussian_noise, shot_noise"):
        noise_at_side(name, 0.1, from_side=224, to_side=112)


@pytest.mark.parametrize(
    ("name", "strength", "expected"),
    [
        ("gaussian_blur", 3 / 224, "sigma 6.86 pixels at 512 x 512 (4.8 mm)"),
        ("resolution", 0.75, "128 of 512 pixels (2.8 mm each) kept along a side, then enlarged again"),
        (
            "gaussian_noise",
            0.1,
            "standard deviation 0.1 of the intensity range, per pixel of 0.7 mm at 512 x 512",
        ),
        ("shot_noise", 0.5, "4 photons at full intensity, per pixel of 0.7 mm at 512 x 512"),
        ("contrast", 0.5, "50 % of the contrast removed"),
        ("brightness", 0.2, "0.2 of the intensity range added"),
    ],
)
def test_strengths_are_told_for_the_image_at_hand(name, strength, expected):
    assert CORRUPTIONS[name].describe(strength, side=512, pixel_mm=0.7) == expected


def test_without_a_pixel_size_no_mm_are_told():
    assert CORRUPTIONS["gaussian_blur"].describe(3 / 224, side=512) == "sigma 6.86 pixels at 512 x 512"
    assert CORRUPTIONS["impulse_noise"].describe(0.03, side=64).endswith("black or white, per pixel at 64 x 64")


@pytest.mark.parametrize("wrong", [{"side": 0}, {"side": -3}, {"side": 8, "pixel_mm": 0.0}, {"pixel_mm": float("nan")}])
def test_an_impossible_image_is_refused(wrong):
    with pytest.raises(ValueError, match="expected a number above 0"):
        CORRUPTIONS["gaussian_blur"].describe(0.01, **wrong)


def test_pixels_cannot_be_made_smaller():
    with pytest.raises(ValueError, match="at least the pixel's 1.5 mm, got 1"):
        resolution_strength(1.0, 1.5)
