"""Do phantoms have the intensities and the spectrum of real radiographs? Measures, and the ranges of real images.

Enters: images in [0, 1]. Leaves: intensity quantiles, the slope of the radial power spectrum, and how well the mean
brightness alone tells the classes apart. Used by notebook 01 and the tests; supports the stand-in for the data of the
paper's section 2.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

QUANTILES = (0.05, 0.25, 0.50, 0.75, 0.95)
QUANTILE_NAMES = ("q05", "q25", "q50", "q75", "q95")
MEASURES = (*QUANTILE_NAMES, "slope")
MEASURED_SIZE = 256  # pixels; larger images are reduced to this by averaging before they are measured
SLOPE_BAND = (4, 64)  # cycles per image

# 1st and 99th percentile, over the images of a set, of each measure. Sources: RSNA Pneumonia Detection Challenge
# stage 2 (240 DICOM files, 1024 px), NIH ChestX-ray14 (621 images at 256 px), Kermany et al. 2018 version 2 (every
# tenth of 5,840 images at 224 px, measured as they are). Recompute with `measure` and `reference_range`.
REAL_RANGES: dict[str, dict[str, tuple[float, float]]] = {
    "rsna": {
        "q05": (0.000, 0.405),
        "q25": (0.101, 0.613),
        "q50": (0.347, 0.762),
        "q75": (0.520, 0.864),
        "q95": (0.590, 0.950),
        "slope": (-3.458, -2.615),
    },
    "nih": {
        "q05": (0.000, 0.455),
        "q25": (0.064, 0.647),
        "q50": (0.338, 0.840),
        "q75": (0.530, 0.940),
        "q95": (0.683, 0.969),
        "slope": (-3.406, -2.616),
    },
    "kermany": {
        "q05": (0.000, 0.358),
        "q25": (0.097, 0.567),
        "q50": (0.288, 0.729),
        "q75": (0.442, 0.820),
        "q95": (0.564, 0.922),
        "slope": (-3.442, -2.731),
    },
}


def reduced(image: np.ndarray) -> np.ndarray:
    """Average a square image down to `MEASURED_SIZE` pixels; smaller images stay as they are.

    Raises
    ------
    ValueError
        If the image is not square and two-dimensional.
    """
    image = np.asarray(image, dtype=np.float32)
    if image.ndim != 2 or image.shape[0] != image.shape[1]:
        raise ValueError(f"image to measure: expected a square (N, N) array, got {image.shape}; crop or resize it")
    if image.shape[0] <= MEASURED_SIZE:
        return image
    from PIL import Image

    small = Image.fromarray(image).resize((MEASURED_SIZE, MEASURED_SIZE), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32)


def intensity_quantiles(image: np.ndarray) -> np.ndarray:
    """Quantiles `QUANTILES` of an image's pixels, float64 (5,)."""
    return np.quantile(np.asarray(image, dtype=np.float64), QUANTILES)


def spectrum_slope(image: np.ndarray) -> float:
    """Exponent of the radially averaged power spectrum: power ~ frequency^slope, about -3 for radiographs.

    A Hann window tapers the borders; ring means of |FFT|^2 between `SLOPE_BAND` cycles per image (at most a quarter of
    the edge) are fitted by least squares in log-log coordinates.

    Parameters
    ----------
    image : float (N, N), N at least 32.

    Raises
    ------
    ValueError
        If the image is too small, or constant (its spectrum has no slope).
    """
    image = np.asarray(image, dtype=np.float64)
    size = image.shape[0]
    if size < 32:
        raise ValueError(f"spectrum slope: expected an image of at least 32 pixels, got {size}; measure a larger one")
    if np.ptp(image) == 0:
        raise ValueError("spectrum slope: expected an image with contrast, got a constant one; leave it out")
    window = np.hanning(size)
    power = np.abs(np.fft.fft2((image - image.mean()) * window[:, None] * window[None, :])) ** 2
    frequency = np.fft.fftfreq(size, 1 / size)
    ring = np.rint(np.hypot(frequency[:, None], frequency[None, :])).astype(int).ravel()  # (N, N) -> (N * N,)
    mean_power = np.bincount(ring, power.ravel()) / np.bincount(ring)
    rings = np.arange(SLOPE_BAND[0], min(SLOPE_BAND[1], size // 4))
    return float(np.polyfit(np.log(rings), np.log(mean_power[rings] + 1e-12), 1)[0])


def measure(images: Sequence[np.ndarray]) -> np.ndarray:
    """All `MEASURES` of each image, float64 (n, 6), after reduction to the measuring size."""
    small = [reduced(image) for image in images]
    return np.stack([np.append(intensity_quantiles(image), spectrum_slope(image)) for image in small])


def reference_range(measures: np.ndarray, low: float = 0.01, high: float = 0.99) -> dict[str, tuple[float, float]]:
    """Range of each measure over a set of images: from the `low` to the `high` quantile of (n, 6) `measures`."""
    bounds = np.quantile(measures, (low, high), axis=0)  # (2, 6)
    return {name: (float(a), float(b)) for name, a, b in zip(MEASURES, *bounds, strict=True)}


def real_envelope() -> dict[str, tuple[float, float]]:
    """Range of each measure over all real sets: the lowest 1st and the highest 99th percentile."""
    sets = REAL_RANGES.values()
    return {name: (min(s[name][0] for s in sets), max(s[name][1] for s in sets)) for name in MEASURES}


def share_within(measures: np.ndarray, ranges: dict[str, tuple[float, float]]) -> dict[str, float]:
    """Share of the images whose measure lies within its range, per measure."""
    return {
        name: float(np.mean((measures[:, i] >= ranges[name][0]) & (measures[:, i] <= ranges[name][1])))
        for i, name in enumerate(MEASURES)
    }


def brightness_auroc(means: ArrayLike, labels: ArrayLike) -> float:
    """AUROC of a threshold on the mean intensity, in whichever direction separates better: from 0.5 to 1.

    Parameters
    ----------
    means : float (n,), mean intensity of each image. labels : bool or 0/1 (n,).

    Raises
    ------
    ValueError
        If one of the classes is absent or the lengths differ.
    """
    means, positive = np.asarray(means, dtype=np.float64), np.asarray(labels).astype(bool)
    if means.shape != positive.shape:
        raise ValueError(f"expected one label per mean, got {positive.shape} labels for {means.shape} means")
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if n_positive == 0 or n_negative == 0:
        raise ValueError(f"AUROC: expected both classes, got {n_positive} positive and {n_negative} negative images")
    order = np.sort(means)
    rank = (np.searchsorted(order, means, "left") + np.searchsorted(order, means, "right") + 1) / 2  # ties share a rank
    area = (rank[positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)
    return float(max(area, 1 - area))
