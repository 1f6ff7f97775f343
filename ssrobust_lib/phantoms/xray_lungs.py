"""Markings inside the lungs: branching vessels, fine interstitium, and thin lines drawn as curves.

Enters: an `Anatomy`, a pixel grid and a generator. Leaves: float32 maps (N, N) of mm of tissue. Part of the phantoms
that stand in for the RSNA set (paper, section 2).
"""

import numpy as np

from ssrobust_lib.phantoms.xray_anatomy import Anatomy
from ssrobust_lib.phantoms.xray_geometry import Plane, blurred

GENERATIONS = 5  # branchings of the vascular tree
ROOTS = 9  # vessels that leave each hilum


def deposit(plane: Plane, x: np.ndarray, y: np.ndarray, volume: np.ndarray, sigma: float) -> np.ndarray:
    """Spread point volumes over the detector.

    Parameters
    ----------
    x, y : float (n,), mm, patient frame. volume : float (n,), mm^3 at each point. sigma : mm, Gaussian spread.

    Returns
    -------
    float32 (N, N), mm: volume per area. Points outside the image are dropped.
    """
    size = plane.size
    row, column = (y - plane.y[0, 0]) / plane.pixel, (x - plane.x[0, 0]) / plane.pixel
    inside = (row >= 0) & (row < size - 1) & (column >= 0) & (column < size - 1)
    row, column, volume = row[inside], column[inside], volume[inside]
    top, left = row.astype(np.intp), column.astype(np.intp)
    down, right = row - top, column - left
    first = top * size + left
    total = np.zeros(size * size)
    for shift, weight in (
        (0, (1 - down) * (1 - right)),
        (1, (1 - down) * right),
        (size, down * (1 - right)),
        (size + 1, down * right),
    ):
        total += np.bincount(first + shift, volume * weight, minlength=size * size)
    image = (total / plane.pixel**2).astype(np.float32).reshape(size, size)  # (N*N,) -> (N, N)
    return blurred(image, sigma / plane.pixel) if sigma > 0.2 * plane.pixel else image


def curves(plane: Plane, courses: list[np.ndarray], radius: float, *, hollow: float = 0.0) -> np.ndarray:
    """Chord in mm through thin tubes along smooth curves near the given points.

    Parameters
    ----------
    courses : each float (n, 2), mm, corners (x, y) of a quadratic B-spline. radius : mm. hollow : relative radius of
    an empty core.
    """
    area = np.pi * radius**2 * (1 - hollow**2)
    pieces = []
    for points in courses:
        path = _spline(np.asarray(points, dtype=np.float64), plane.pixel)
        length = np.hypot(*np.diff(path, axis=0, append=path[-1:]).T)
        pieces.append(np.column_stack([path, length * area]))  # (m, 3)
    x, y, volume = np.concatenate(pieces).T
    return deposit(plane, x, y, volume, 0.5 * radius)


def _spline(points: np.ndarray, pixel: float) -> np.ndarray:
    """Quadratic B-spline of corners (n, 2) as a path (m, 2) with steps below a pixel, mm."""
    points = np.vstack([2 * points[0] - points[1], points, 2 * points[-1] - points[-2]])  # (n + 2, 2)
    steps = max(int(np.ceil(np.abs(np.diff(points, axis=0)).sum(axis=1).max() / (0.7 * pixel))), 2)
    t = np.linspace(0, 1, steps, endpoint=False)[:, None, None]  # (steps, 1, 1)
    a, b, c = points[None, :-2], points[None, 1:-1], points[None, 2:]  # (1, n, 2) each
    path = 0.5 * ((1 - t) ** 2 * a + (1 + 2 * t - 2 * t * t) * b + t * t * c)  # (steps, n, 2)
    return path.transpose(1, 0, 2).reshape(-1, 2)  # (steps, n, 2) -> (n, steps, 2) -> (n * steps, 2)


def vessels(anatomy: Anatomy, plane: Plane, generator: np.random.Generator) -> np.ndarray:
    """Mm of blood in the pulmonary vessels of both lungs: two trees, each branch thinner than its parent.

    Calibre falls by 2^(-1/3) at each branching (Murray's law); lower branches are wider than upper ones, as when
    standing.
    """
    roots = 2 * ROOTS
    side = np.repeat([-1.0, 1.0], ROOTS)  # (18,)
    fan = np.tile(np.linspace(-1.25, 1.45, ROOTS), 2) + generator.normal(0, 0.10, roots)  # radians below horizontal
    g = anatomy.scale
    x = side * 30 * g + 0.4 * anatomy.rotation
    y = np.full(roots, anatomy.hilum) + 12 * g * np.sin(fan)
    angle = fan
    radius = (2.5 + 0.7 * np.clip(fan, -1, 1)) * g * generator.lognormal(0, 0.15, roots)
    length = generator.normal(31, 6, roots) * g
    groups: dict[int, list[np.ndarray]] = {0: [], 1: [], 2: []}
    for generation in range(GENERATIONS):
        steps = max(int(np.ceil(np.max(length) / (0.9 * plane.pixel))), 3)
        t = (np.arange(steps) + 0.5)[None, :] / steps  # (1, steps)
        bend = generator.normal(0, 0.12, len(x))[:, None]
        heading = angle[:, None] + bend * t  # (n, steps)
        px = x[:, None] + side[:, None] * length[:, None] * t * np.cos(heading)
        py = y[:, None] + length[:, None] * t * np.sin(heading)
        volume = np.pi * radius[:, None] ** 2 * (length[:, None] / steps) * np.ones_like(t)
        points = np.stack([px, py, volume]).reshape(3, -1)  # (3, n, steps) -> (3, n * steps)
        groups[min(generation // 2, 2)].append(points)
        end = np.stack([px[:, -1], py[:, -1], heading[:, -1]])
        spread = generator.uniform(0.18, 0.5, len(x))
        x, y = np.tile(end[0], 2), np.tile(end[1], 2)
        angle = np.concatenate([end[2] - spread, end[2] + generator.uniform(0.05, 0.4, len(end[2]))])
        radius = np.tile(radius, 2) * 2 ** (-1 / 3) * generator.lognormal(0, 0.1, len(x))
        length = np.tile(length, 2) * generator.uniform(0.6, 0.92, len(x))
        side = np.tile(side, 2)
    total = plane.zeros()
    for group, sigma in ((0, 1.3), (1, 0.8), (2, 0.5)):
        px, py, volume = np.concatenate(groups[group], axis=1)
        total += deposit(plane, px, py, volume, sigma * g)
    return total
