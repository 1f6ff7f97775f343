"""Made-up X-rays and scans, with structures of all sizes as real ones have."""

import numpy as np

from ssrobust_lib.preprocessing import XRaySettings, preprocess_xray


def scenes(n: int, side: int = 128, seed: int = 0) -> np.ndarray:
    """float32 (n, side, side) in [0, 1]: random structures of all sizes."""
    generator = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.rfftfreq(side), indexing="ij"))
    amplitude = 1 / np.maximum(frequency, 1 / side) ** 1.8  # as steep as a radiograph's
    noise = np.fft.irfft2(np.fft.rfft2(generator.normal(size=(n, side, side))) * amplitude, s=(side, side))
    low, high = noise.min(axis=(1, 2), keepdims=True), noise.max(axis=(1, 2), keepdims=True)
    return ((noise - low) / (high - low)).astype(np.float32)


def small(images, side: int = 64) -> np.ndarray:
    """X-rays as the cache holds them."""
    return np.stack([preprocess_xray(np.ascontiguousarray(image), XRaySettings(side)) for image in images])


def cropped(image: np.ndarray, left: float, right: float, top: float, bottom: float) -> np.ndarray:
    """An image without some fraction of each of its sides."""
    height, width = image.shape
    return image[
        round(top * height) : height - round(bottom * height), round(left * width) : width - round(right * width)
    ]


def scan(n_slices: int, seed: int) -> np.ndarray:
    """Slices that change gradually, as along a body."""
    generator, planes = np.random.default_rng(seed), scenes(4, 64, seed)
    weights = np.abs(np.sin(np.linspace(0, 3, n_slices)[:, None] + generator.uniform(0, 3, 4)))
    return np.einsum("nk,khw->nhw", weights / weights.sum(axis=1, keepdims=True), planes).astype(np.float32)
