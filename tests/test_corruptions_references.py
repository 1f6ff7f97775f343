"""Corruptions against references, at the published strengths of ImageNet-C and of MedMNIST-C's X-rays and CT.

Noises against their exact distributions (mean, variance, Kolmogorov-Smirnov or chi-square); the rest pixel by pixel
against SciPy, scikit-image, OpenCV, Pillow and torchvision.
"""

import numpy as np
import pytest
import torch
from corrupted_images import smooth_images, some_keys

from ssrobust_lib.corruptions import IMAGENET_C_STRENGTHS, corrupt
from ssrobust_lib.corruptions.units import kept_pixels

N_IMAGES, SIDE = 16, 128
N = N_IMAGES * SIDE**2
# beside ImageNet-C's: MedMNIST-C's for PneumoniaMNIST and OrganAMNIST (registry of medmnistc 0.1.0)
GAUSSIAN = (*IMAGENET_C_STRENGTHS["gaussian_noise"], 0.04, 0.05, 0.06, 0.07, 0.16, 0.2)
PHOTONS = (60, 25, 12, 5, 3, 300, 200, 150, 100, 80, 50, 15)
AMOUNTS = (*IMAGENET_C_STRENGTHS["impulse_noise"], 0.005, 0.01, 0.013, 0.017, 0.02, 0.05, 0.08)


def noisy(name: str, grey: float, strength: float) -> np.ndarray:
    """Pixels of images of one grey value after a noise: float64 (N,)."""
    images = torch.full((N_IMAGES, 1, SIDE, SIDE), grey)
    return corrupt(name, images, strength, some_keys(N_IMAGES)).double().numpy().ravel()


@pytest.mark.parametrize("grey", [0.0, 0.1, 0.5, 0.93])
@pytest.mark.parametrize("strength", GAUSSIAN)
def test_gaussian_noise_follows_the_clipped_normal_law(strength, grey):
    from scipy.stats import kstwobign, norm

    found = np.sort(noisy("gaussian_noise", grey, strength))
    law = norm(float(np.float32(grey)), float(np.float32(strength)))
    # the law jumps at 0 and 1, where it is clipped: its function is compared at both sides of every value in between
    inside = (found > 0) & (found < 1)
    rank = np.arange(1, N + 1) / N
    distance = max(
        np.abs(rank - law.cdf(found))[inside].max(),
        np.abs(rank - 1 / N - law.cdf(found))[inside].max(),
        abs((found <= 0).mean() - law.cdf(0)),
        abs((found >= 1).mean() - law.sf(1)),
    )
    assert kstwobign.sf(distance * N**0.5) > 1e-4
    grid = np.linspace(0, 1, 20_001)
    mean = 1 - np.trapezoid(law.cdf(grid), grid)  # of a variable in [0, 1]
    square = 1 - np.trapezoid(2 * grid * law.cdf(grid), grid)
    variance = square - mean**2
    assert abs(found.mean() - mean) < 5 * (variance / N) ** 0.5 + 1e-6
    assert abs(found.var() / variance - 1) < 5 * (10 / N) ** 0.5


@pytest.mark.parametrize("grey", [0.02, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("photons", PHOTONS)
def test_shot_noise_follows_the_clipped_poisson_law(photons, grey):
    from scipy.stats import chisquare, poisson

    counts = np.rint(noisy("shot_noise", grey, photons**-0.5) * photons).astype(int)
    law = poisson(float(np.float32(grey)) * photons)
    expected = np.append(law.pmf(np.arange(photons)), law.sf(photons - 1)) * N  # all above are clipped to white
    observed = np.bincount(counts, minlength=photons + 1)
    rare = expected < 10
    observed, expected = (np.append(values[~rare], values[rare].sum()) for values in (observed, expected))
    keep = expected > 0.5
    assert observed[~keep].sum() <= 10
    observed, expected = observed[keep], expected[keep]
    if len(observed) > 1:
        assert chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 1e-4
    values = np.minimum(np.arange(4 * photons + 50) / photons, 1)
    chances = law.pmf(np.arange(4 * photons + 50))
    mean = (values * chances).sum()
    variance = (values**2 * chances).sum() - mean**2
    assert abs(counts.mean() / photons - mean) < 5 * (variance / N) ** 0.5 + 1e-5
    assert abs(counts.var() / photons**2 / variance - 1) < 0.03


@pytest.mark.parametrize("amount", AMOUNTS)
def test_impulse_noise_replaces_pixels_by_the_binomial_law(amount):
    from scipy.stats import binomtest

    found = noisy("impulse_noise", 0.5, amount)
    for value in (0, 1):
        assert binomtest(int((found == value).sum()), N, amount / 2).pvalue > 1e-4
    changed = (found != 0.5).reshape(N_IMAGES, SIDE, SIDE)
    neighbours = (changed[:, 1:] & changed[:, :-1]).mean()
    n_pairs = N_IMAGES * (SIDE - 1) * SIDE
    assert abs(neighbours - amount**2) < 5 * (amount**2 / n_pairs) ** 0.5


@pytest.mark.parametrize("severity", range(5))
class TestPixels:
    def test_brightness_is_an_offset_clipped(self, severity):
        images, strength = smooth_images(3, 60), IMAGENET_C_STRENGTHS["brightness"][severity]
        expected = np.clip(images.numpy().astype(np.float64) + strength, 0, 1)
        assert np.abs(corrupt("brightness", images, strength, some_keys(3)).numpy() - expected).max() < 1e-7

    def test_contrast_is_imagenet_cs(self, severity):
        images, strength = smooth_images(3, 60), IMAGENET_C_STRENGTHS["contrast"][severity]
        pixels = images.numpy().astype(np.float64)
        mean = pixels.mean(axis=(2, 3), keepdims=True)
        expected = np.clip((pixels - mean) * (1 - strength) + mean, 0, 1)
        assert np.abs(corrupt("contrast", images, strength, some_keys(3)).numpy() - expected).max() < 2e-7

    def test_contrast_is_torchvisions(self, severity):
        import ssrobust_lib.torchvision_ops  # noqa: F401, I001
        from torchvision.transforms.v2.functional import adjust_contrast

        images, strength = smooth_images(3, 60), IMAGENET_C_STRENGTHS["contrast"][severity]
        out = corrupt("contrast", images, strength, some_keys(3))
        assert (out - adjust_contrast(images, 1 - strength)).abs().max() < 1e-6

    def test_blur_is_scikit_images(self, severity):
        filters = pytest.importorskip("skimage.filters", reason="scikit-image is not installed")
        images, strength = smooth_images(2, 224), IMAGENET_C_STRENGTHS["gaussian_blur"][severity]
        out = corrupt("gaussian_blur", images, strength, some_keys(2)).numpy()
        for image, blurred in zip(images.numpy()[:, 0], out[:, 0], strict=True):
            expected = filters.gaussian(image.astype(np.float64), sigma=224 * strength, mode="nearest", truncate=4)
            assert np.abs(blurred - expected).max() < 1e-6

    def test_resolution_goes_down_as_opencvs_area_resize(self, severity):
        cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
        images, strength = smooth_images(2, 224), IMAGENET_C_STRENGTHS["resolution"][severity]
        kept = kept_pixels(224, strength)
        out = corrupt("resolution", images, strength, some_keys(2)).numpy()
        for image, coarse in zip(images.numpy()[:, 0], out[:, 0], strict=True):
            small = cv2.resize(image, (kept, kept), interpolation=cv2.INTER_AREA)
            back = cv2.resize(coarse, (kept, kept), interpolation=cv2.INTER_AREA)
            # a pixel between two large ones takes its share of both, so the way back mixes neighbours
            tolerance = 1e-6 if 224 % kept == 0 else np.abs(np.diff(small)).max()
            assert np.abs(back - small).max() < tolerance
            assert abs(coarse.mean() - small.mean()) < 1e-5

    def test_resolution_differs_from_imagenet_cs_by_less_than_a_step_between_neighbours(self, severity):
        from PIL import Image

        images, strength = smooth_images(1, 224), IMAGENET_C_STRENGTHS["resolution"][severity]
        kept = kept_pixels(224, strength)
        small = Image.fromarray(images[0, 0].numpy()).resize((kept, kept), Image.Resampling.BOX)
        published = np.asarray(small.resize((224, 224), Image.Resampling.BOX))
        out = corrupt("resolution", images, strength, some_keys(1))[0, 0].numpy()
        difference = np.abs(out - published)
        if 224 % kept == 0:
            assert difference.max() < 1e-6
        steps = [np.abs(np.diff(np.asarray(small), axis=axis)).max() for axis in (0, 1)]
        assert difference.max() < sum(steps)
        assert difference.mean() < 0.25 * sum(steps)
