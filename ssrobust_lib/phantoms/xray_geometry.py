"""Closed-form building blocks of a projected body: grids in mm, chords through ellipsoids and tubes, random clouds.

Enters: a pixel grid. Leaves: float32 maps (N, N), mostly the length in mm that a ray spends inside a solid. The X-ray
phantoms stand in for the RSNA images of the paper's section 2 (data sets); every solid is a formula, so an image of
any size shows the same anatomy.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

CLOUD_MODES = 256  # spatial frequencies of a random cloud: the same at every image size


@dataclass(frozen=True)
class Plane:
    """The image plane in the patient's frame: upright, so that every map is a sum over rows and columns.

    Attributes
    ----------
    x : float32 (1, N), mm; grows to the image's right (the patient's left), 0 mid-thorax.
    y : float32 (N, 1), mm; grows downwards.
    pixel : float, mm per pixel.
    """

    x: np.ndarray
    y: np.ndarray
    pixel: float

    @property
    def size(self) -> int:
        """Pixels along an edge."""
        return self.x.shape[1]

    @property
    def field(self) -> float:
        """Edge length in mm."""
        return self.size * self.pixel

    @property
    def side(self) -> np.ndarray:
        """float32 (1, N): -1 over the patient's right half, +1 over the left."""
        return np.where(self.x < 0, np.float32(-1), np.float32(1))

    def zeros(self) -> np.ndarray:
        """An empty map, float32 (N, N)."""
        return np.zeros((self.size, self.size), dtype=np.float32)

    def window(self, x: tuple[float, float], y: tuple[float, float]) -> tuple[slice, slice]:
        """Rows and columns that hold a rectangle given in mm; empty slices where it lies outside."""
        return self._range(y, self.y[0, 0]), self._range(x, self.x[0, 0])

    def _range(self, ends: tuple[float, float], first: float) -> slice:
        start, stop = (int(np.floor((end - first) / self.pixel)) for end in ends)
        return slice(min(max(start, 0), self.size), min(max(stop + 2, 0), self.size))


def make_plane(size: int, pixel: float, centre: tuple[float, float]) -> Plane:
    """Grid of `size` x `size` pixel centres; `centre` is where the middle of the grid lies in the patient, mm."""
    places = ((np.arange(size) - (size - 1) / 2) * pixel).astype(np.float32)
    return Plane(places[None, :] + np.float32(centre[0]), places[:, None] + np.float32(centre[1]), pixel)


def half_circle(q: np.ndarray) -> np.ndarray:
    """Relative chord sqrt(1 - q) of a sphere where q < 1 is the squared relative distance from its axis; else 0."""
    return np.sqrt(np.clip(1 - q, 0, None))


def ellipse(
    plane: Plane, centre: tuple[float, float], axes: tuple[float, float], tilt: float = 0.0, mirror: bool = False
) -> np.ndarray:
    """Squared relative distance q (N, N) from an ellipse's centre: q = 1 on its edge.

    Parameters
    ----------
    centre, axes : mm. tilt : radians, clockwise on the screen. mirror : one ellipse on each side of the midline.
    """
    x = (np.abs(plane.x) if mirror else plane.x) - np.float32(centre[0])
    return _quadratic(x, plane.y - np.float32(centre[1]), axes, tilt)


def _quadratic(x: np.ndarray, y: np.ndarray, axes: tuple[float, float], tilt: float) -> np.ndarray:
    """The quadratic form of an ellipse at offsets (1, n) and (m, 1): its mixed term comes from the tilt."""
    cos, sin = float(np.cos(tilt)), float(np.sin(tilt))
    p, q = axes[0] ** -2, axes[1] ** -2
    form = np.float32(cos * cos * p + sin * sin * q) * (x * x) + np.float32(sin * sin * p + cos * cos * q) * (y * y)
    return form + (np.float32(2 * cos * sin * (p - q)) * x) * y if tilt else form


def add_ellipsoid(
    total: np.ndarray,
    plane: Plane,
    centre: tuple[float, float],
    axes: tuple[float, float],
    depth: float,
    tilt: float = 0.0,
) -> None:
    """Add the chord through an ellipsoid of full depth `depth` mm to a map, touching only its own window."""
    reach = max(axes)
    window = plane.window((centre[0] - reach, centre[0] + reach), (centre[1] - reach, centre[1] + reach))
    x, y = plane.x[:, window[1]] - np.float32(centre[0]), plane.y[window[0]] - np.float32(centre[1])
    total[window] += np.float32(depth) * half_circle(_quadratic(x, y, axes, tilt))


def ramp(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Smooth step from 0 at `low` to 1 at `high` (cubic)."""
    t = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    return t * t * (3 - 2 * t)


def add_rod(
    total: np.ndarray,
    plane: Plane,
    start: tuple[float, float],
    end: tuple[float, float],
    radius: float,
    *,
    amount: float = 1.0,
    marrow: float = 0.0,
) -> None:
    """Add the chord through a straight rod with round ends to a map, touching only its own window.

    Parameters
    ----------
    start, end, radius : mm. amount : factor on the chord. marrow : relative radius of a lighter core (see `shell`).
    """
    window = plane.window(
        (min(start[0], end[0]) - radius, max(start[0], end[0]) + radius),
        (min(start[1], end[1]) - radius, max(start[1], end[1]) + radius),
    )
    dx, dy = np.float32(end[0] - start[0]), np.float32(end[1] - start[1])
    rx, ry = plane.x[:, window[1]] - np.float32(start[0]), plane.y[window[0]] - np.float32(start[1])
    t = np.clip((rx * dx + ry * dy) / (dx * dx + dy * dy), 0, 1)
    u, v = rx - t * dx, ry - t * dy
    distance = np.sqrt(u * u + v * v)
    total[window] += np.float32(amount) * (shell(distance, radius, marrow) if marrow else tube(distance, radius))


def tube(distance: np.ndarray, radius: ArrayLike) -> np.ndarray:
    """Chord in mm through a cylinder of the given radius at a distance from its axis."""
    return 2 * np.sqrt(np.clip(np.square(radius, dtype=np.float32) - distance * distance, 0, None))


def shell(distance: np.ndarray, radius: ArrayLike, marrow: float = 0.72) -> np.ndarray:
    """Chord in mm through the bone of a tube: a cortex around a core that is `marrow` of the radius wide.

    The core still holds 40 % of the mineral, so a rib's borders are brighter than its middle.
    """
    radius = np.asarray(radius, dtype=np.float32)
    return tube(distance, radius) - np.float32(0.6) * tube(distance, radius * np.float32(marrow))


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur with sigma in pixels, nearest borders; wide ones are computed on a coarser grid."""
    from scipy.ndimage import gaussian_filter

    step = 1
    while sigma / step > 3:
        step *= 2
    if step == 1:
        return gaussian_filter(image, sigma, mode="nearest", truncate=3)
    size = image.shape[0]
    coarse_size = -(-size // step)
    spare = coarse_size * step - size
    padded = np.pad(image, (0, spare), mode="edge") if spare else image
    blocks = padded.reshape(coarse_size, step, coarse_size, step)  # (M, M) -> (M / step, step, M / step, step)
    coarse = blocks.mean(axis=3).mean(axis=1)  # (M / step, M / step)
    narrower = np.sqrt(sigma**2 - step**2 / 4) / step  # the means and the interpolation below blur too
    coarse = gaussian_filter(coarse, narrower, mode="nearest", truncate=3)
    return _enlarged(_enlarged(coarse, step).T, step).T[:size, :size]


def _enlarged(image: np.ndarray, step: int) -> np.ndarray:
    """Linear interpolation of rows: (n, m) -> (n * step, m), edge rows held."""
    place = (np.arange(image.shape[0] * step) + 0.5) / step - 0.5
    low = np.clip(np.floor(place).astype(int), 0, image.shape[0] - 1)
    high = np.minimum(low + 1, image.shape[0] - 1)
    weight = np.clip(place - low, 0, 1).astype(np.float32)[:, None]
    return image[low] * (1 - weight) + image[high] * weight


def tilted(image: np.ndarray, angle: float, size: int) -> np.ndarray:
    """Turn a map about its centre and keep the inner `size` x `size` pixels (bicubic).

    Raises
    ------
    ValueError
        If the map is too small to fill the turned square.
    """
    from PIL import Image

    if image.shape[0] < outer_size(size, angle):
        raise ValueError(f"map to tilt: expected at least {outer_size(size, angle)} pixels, got {image.shape[0]}")
    cos, sin = np.cos(angle), np.sin(angle)
    middle, half = image.shape[0] / 2, size / 2
    coefficients = (cos, sin, middle - half * (cos + sin), -sin, cos, middle - half * (cos - sin))
    turned = Image.fromarray(image).transform(
        (size, size), Image.Transform.AFFINE, coefficients, resample=Image.Resampling.BICUBIC
    )
    return np.array(turned)


def outer_size(size: int, angle: float) -> int:
    """Pixels along the edge of a square that holds a `size` x `size` square turned by `angle` about its centre."""
    return int(np.ceil(size * (abs(np.cos(angle)) + abs(np.sin(angle)))))


def cloud(
    generator: np.random.Generator, plane: Plane, *, scale: float, power: float, modes: int = CLOUD_MODES
) -> np.ndarray:
    """Random field of zero mean and about unit variance whose spectrum falls as 1/frequency^power beyond 1/scale.

    The same draws make the same field at any image size (finer modes than the grid holds are dropped).

    Parameters
    ----------
    scale : mm, the size of its largest structures. power : exponent of the power spectrum. modes : frequencies kept
    along an axis (few suffice for a smooth field).

    Returns
    -------
    float32 (N, N)
    """
    from scipy.fft import irfft2

    size, half = plane.size, modes // 2
    draws = generator.standard_normal((2, modes, half), dtype=np.float32)  # rows: frequencies 0..half-1, -half..-1
    rows = np.fft.fftfreq(modes, 1 / modes).astype(np.float32)
    square = rows[:, None] ** 2 + np.arange(half, dtype=np.float32)[None, :] ** 2  # (cycles per image)^2
    amplitude = (1 + square * np.float32((scale / plane.field) ** 2)) ** np.float32(-power / 4)
    amplitude[0, 0] = 0
    energy = amplitude * amplitude
    amplitude /= np.sqrt(4 * energy.sum() - 3 * energy[:, 0].sum())  # the first column has no mirror image
    turn = np.float32(np.pi / size) * rows  # pixel centres lie half a pixel from the border, whatever the size
    spectrum = (draws[0] + 1j * draws[1]) * amplitude * np.exp(1j * turn)[:, None] * np.exp(1j * np.abs(turn[:half]))
    kept = min(half, (size + 1) // 2)
    padded = np.zeros((size, size // 2 + 1), dtype=np.complex64)
    padded[:kept, :kept] = spectrum[:kept, :kept]
    padded[size - kept + 1 :, :kept] = spectrum[modes - kept + 1 :, :kept]
    return irfft2(padded, s=(size, size), norm="forward").astype(np.float32, copy=False)
