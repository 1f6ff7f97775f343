"""From attenuation to a displayed film: scatter, noise, logarithm, display curve, collimation and marker.

Enters: the optical depth of every ray. Leaves: float32 (N, N) in [0, 1], dense tissue bright (MONOCHROME2). Part of
the phantoms that stand in for the RSNA set (paper, section 2).
"""

from dataclasses import dataclass

import numpy as np

from ssrobust_lib.phantoms.xray_anatomy import Anatomy
from ssrobust_lib.phantoms.xray_geometry import blurred

# A letter as strokes of (x, y) corners in a box one unit high, y downwards.
_STROKES = {
    "L": (((0.0, 0.0), (0.0, 1.0), (0.55, 1.0)),),
    "R": (
        ((0.0, 1.0), (0.0, 0.0), (0.4, 0.0), (0.55, 0.12), (0.55, 0.38), (0.4, 0.5), (0.0, 0.5)),
        ((0.28, 0.5), (0.58, 1.0)),
    ),
}


@dataclass(frozen=True)
class Exposure:
    """How a film was taken and shown; nothing here knows the label.

    Attributes
    ----------
    field : mm, edge of the square film. angle : radians, tilt. centre : mm, the place
    in the patient that lies in the middle of the film.
    photons : quanta per mm^2 in the open beam. scatter : share of scattered light behind the body.
    dark, bright : display values of the 5th and 95th percentile inside the body. gamma : of the display curve.
    detail : gain of the detail enhancement. margins : share of the film cut off at left, right, top, bottom;
    slant : radians of the collimator. marker : "L", "R" or "". marker_place : relative (x, y). marker_size : share of
    the film. marker_value : display value. marker_angle : radians. plaque : marker on a dark plate.
    """

    field: float
    angle: float
    centre: tuple[float, float]
    photons: float
    scatter: float
    dark: float
    bright: float
    gamma: float
    detail: float
    margins: tuple[float, float, float, float]
    slant: float
    marker: str
    marker_place: tuple[float, float]
    marker_size: float
    marker_value: float
    marker_angle: float
    plaque: bool


def draw_exposure(generator: np.random.Generator, anatomy: Anatomy) -> Exposure:
    """Draw the technique: the field follows the body's size, bedside films are noisier, tilted and badly centred."""
    bedside = anatomy.frontal_tube
    field = float(np.clip(generator.normal(2.55 if bedside else 2.45, 0.14), 2.15, 3.1) * anatomy.half_width)
    margins = np.where(generator.random(4) < (0.18, 0.18, 0.14, 0.06), generator.uniform(0.01, 0.09, 4), 0.0)
    marker = str(generator.choice(["L", "R", ""], p=[0.55, 0.25, 0.20]))
    side = 1 if marker == "L" else -1
    lowest = 0.26 if generator.random() < 0.8 else 0.8
    place = (0.5 + side * generator.uniform(0.36, 0.45), generator.uniform(0.05, lowest))
    return Exposure(
        field=field,
        angle=float(np.clip(generator.normal(0, 0.045 if bedside else 0.018), -0.12, 0.12)),
        centre=(float(generator.normal(0, 11 if bedside else 5)), float(generator.normal(2 if bedside else 8, 13))),
        photons=float(generator.lognormal(10.8 if bedside else 11.4, 0.45)),
        scatter=float(generator.uniform(0.3, 0.75) if bedside else generator.uniform(0.12, 0.4)),
        dark=float(np.clip(generator.normal(0.31 if bedside else 0.24, 0.07), 0.09, 0.48)),
        bright=float(np.clip(generator.normal(0.84, 0.045), 0.72, 0.94)),
        gamma=float(generator.lognormal(-0.42, 0.14)),
        detail=float(generator.uniform(0.0, 0.4)),
        margins=(float(margins[0]), float(margins[1]), float(margins[2]), float(margins[3])),
        slant=float(generator.normal(0, 0.025)),
        marker=marker,
        marker_place=(float(place[0]), float(place[1])),
        marker_size=float(generator.uniform(0.025, 0.05)),
        marker_value=float(generator.uniform(0.85, 1.0)),
        marker_angle=float(generator.normal(0, 0.25)),
        plaque=bool(generator.random() < 0.2),
    )


def expose(depth: np.ndarray, pixel: float, exposure: Exposure, generator: np.random.Generator) -> np.ndarray:
    """Form the film.

    Transmission exp(-depth) plus scatter (a wide blur of it), Gaussian approximation of the quantum noise, logarithm,
    detail enhancement, and a display curve fixed by two percentiles of the body.

    Parameters
    ----------
    depth : float32 (N, N), sum of attenuation x length; below 0.15 is air outside the body. pixel : mm.

    Returns
    -------
    float32 (N, N) in [0, 1]
    """
    primary = np.exp(-depth)
    behind = blurred(np.minimum(primary, np.float32(0.2)), 26.0 / pixel)
    signal = primary + np.float32(exposure.scatter) * behind
    draws = generator.standard_normal(depth.shape, dtype=np.float32)
    film = -np.log(signal) + draws / np.sqrt(np.maximum(np.float32(exposure.photons * pixel**2) * signal, 4))
    film += np.float32(exposure.detail) * (film - blurred(film, 9.0 / pixel))
    film = blurred(film, 0.35 / pixel) if pixel < 1 else film
    low, high = np.percentile(film[depth > 0.15][::5], (5, 95)).astype(np.float32)
    value = (film - low) / max(high - low, np.float32(1e-3))
    value = np.where(value > 0, np.maximum(value, 1e-6) ** np.float32(exposure.gamma), value)
    shown = _shoulder(np.float32(exposure.dark) + np.float32(exposure.bright - exposure.dark) * value)
    return _mark(_collimate(shown, exposure), exposure).astype(np.float32, copy=False)


def _shoulder(value: np.ndarray) -> np.ndarray:
    """Clip softly: linear in the middle, bending to 0 and 1 outside [0.08, 0.90]."""
    top = 0.90 + 0.10 * np.tanh((value - 0.90) / 0.10)
    bottom = 0.08 + 0.08 * np.tanh((value - 0.08) / 0.08)
    return np.where(value > 0.90, top, np.where(value < 0.08, bottom, value))


def _collimate(shown: np.ndarray, exposure: Exposure) -> np.ndarray:
    """Black outside the beam's rectangle."""
    left, right, top, bottom = exposure.margins
    if not any(exposure.margins):
        return shown
    size = shown.shape[0]
    centres = (np.arange(size, dtype=np.float32) + 0.5) / size
    u = centres[None, :] + np.float32(exposure.slant) * (centres[:, None] - 0.5)  # (N, N)
    v = centres[:, None] - np.float32(exposure.slant) * (centres[None, :] - 0.5)
    shut = ((u < left) & (left > 0)) | ((u > 1 - right) & (right > 0)) | ((v < top) & (top > 0))
    shut |= (v > 1 - bottom) & (bottom > 0)
    return np.where(shut, np.float32(0.015), shown)


def _mark(shown: np.ndarray, exposure: Exposure) -> np.ndarray:
    """Burn in the side marker."""
    if not exposure.marker:
        return shown
    size, s = shown.shape[0], exposure.marker_size
    half = 1.4 * s
    x0, y0 = exposure.marker_place
    rows = slice(max(int((y0 - half) * size), 0), min(int((y0 + half) * size) + 1, size))
    columns = slice(max(int((x0 - half) * size), 0), min(int((x0 + half) * size) + 1, size))
    v = ((np.arange(rows.start, rows.stop) + 0.5) / size - y0)[:, None] / s
    u = ((np.arange(columns.start, columns.stop) + 0.5) / size - x0)[None, :] / s
    cos, sin = np.cos(exposure.marker_angle), np.sin(exposure.marker_angle)
    u, v = cos * u + sin * v + 0.28, cos * v - sin * u + 0.5  # letter's own box
    distance = np.full(u.shape, np.inf)
    for stroke in _STROKES[exposure.marker]:
        for (ax, ay), (bx, by) in zip(stroke[:-1], stroke[1:], strict=True):
            dx, dy = bx - ax, by - ay
            t = np.clip(((u - ax) * dx + (v - ay) * dy) / (dx * dx + dy * dy), 0, 1)
            distance = np.minimum(distance, np.hypot(u - ax - t * dx, v - ay - t * dy))
    softness = 1 / (s * size)  # a pixel, in letter units
    ink = np.clip((0.075 - distance) / softness + 0.5, 0, 1)
    patch = shown[rows, columns]
    if exposure.plaque:
        plate = np.clip((0.85 - np.hypot(u - 0.28, v - 0.5)) / softness + 0.5, 0, 1)
        patch = patch + plate * (0.06 - patch)
    shown = shown.copy()
    shown[rows, columns] = patch + ink * (exposure.marker_value - patch)
    return np.clip(shown, 0, 1)
