"""Shapes as approximate signed distances in mm, and smooth random fields: the drawing tools of the CT phantoms.

Enter: voxel centres in the reference anatomy's coordinates (x to the patient's left, y to the back, z to the head) and
the sizes of a shape. Leaves: float32 arrays of signed distance, negative inside. Nothing here knows anatomy. The
phantoms stand in for the scans of section 3.1 of the paper where those cannot be had.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]  # float32 wherever a whole volume is meant
Vector = Sequence[float] | NDArray[np.floating]
Points = Sequence[Sequence[float]] | NDArray[np.floating] | Sequence[NDArray[np.floating]]
Box = tuple[NDArray[np.float64], NDArray[np.float64]]
FAR = np.float32(999.0)


@dataclass(frozen=True)
class Region:
    """A box of voxels with the reference coordinates of their centres.

    Attributes
    ----------
    x, y, z : float32 (S, R, C), mm; warped, so that no axis need be straight.
    axes : three float32 vectors (S,), (R,), (C,): the same without the warp (z, y, x), for cutting out boxes.
    pad : three floats (z, y, x), mm: by how much a box is enlarged when cut out (warp and half a voxel).
    fields : further float32 arrays (S, R, C) by name, cut along.
    """

    x: Array
    y: Array
    z: Array
    axes: tuple[Array, Array, Array]
    pad: tuple[float, float, float]
    fields: dict[str, Array] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.x.shape

    def crop(self, low: Vector, high: Vector) -> "tuple[tuple[slice, slice, slice], Region] | None":
        """Cut out the voxels that a shape between the corners low and high (x, y, z; mm) can touch; None if none."""
        cut = []
        for axis, pad, lo, hi in zip(self.axes, self.pad, tuple(low)[::-1], tuple(high)[::-1], strict=True):
            start, stop = np.searchsorted(axis, (lo - pad, hi + pad))
            if start >= stop:
                return None
            cut.append(slice(int(start), int(stop)))
        where = (cut[0], cut[1], cut[2])
        axes = (self.axes[0][cut[0]], self.axes[1][cut[1]], self.axes[2][cut[2]])
        fields = {name: values[where] for name, values in self.fields.items()}
        return where, Region(self.x[where], self.y[where], self.z[where], axes, self.pad, fields)


def rotation(*turns: tuple[str, float]) -> NDArray[np.float64]:
    """Rotation matrix (3, 3) of turns ("x" | "y" | "z", degrees) applied one after another."""
    total = np.eye(3)
    for axis, degrees in turns:
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
        turn = np.eye(3)
        turn[i, i], turn[i, j], turn[j, i], turn[j, j] = c, -s, s, c
        total = turn @ total
    return total


def ellipsoid(region: Region, centre: Vector, radii: Vector, turn: NDArray[np.float64] | None = None) -> Array:
    """Signed distance to an ellipsoid, first order: k (k - 1) / |grad| with k the scaled radius (exact for a sphere).

    centre, radii : (3,) x, y, z in mm, radii along the columns of `turn` (3, 3; identity if None).
    """
    offset = [
        coordinate - np.float32(c)
        for coordinate, c in zip((region.x, region.y, region.z), np.asarray(centre, float), strict=True)
    ]
    if turn is not None:
        t = np.asarray(turn, np.float32)
        offset = [t[0, i] * offset[0] + t[1, i] * offset[1] + t[2, i] * offset[2] for i in range(3)]
    scaled = np.full(region.shape, 1e-6, np.float32)
    slope = np.full(region.shape, 1e-9, np.float32)
    for part, radius in zip(offset, np.asarray(radii, float), strict=True):
        square = part * np.float32(1 / radius)
        square *= square
        scaled += square
        slope += square * np.float32(1 / radius**2)
    k = np.sqrt(scaled)
    return k * (k - 1) / np.sqrt(slope)


def ellipsoid_box(centre: Vector, radii: Vector, turn: NDArray[np.float64] | None = None) -> Box:
    """Corners (low, high) of the box around a turned ellipsoid."""
    turn = np.eye(3) if turn is None else turn
    half = np.sqrt(((np.asarray(turn) * np.asarray(radii, float)) ** 2).sum(axis=1))
    return np.asarray(centre, float) - half, np.asarray(centre, float) + half


def tube(region: Region, points: Points, radii: float | Vector) -> Array:
    """Signed distance to a chain of round cones through points (N, 3) with radii (N,), mm; FAR away from the chain."""
    nodes = np.asarray(points, np.float32)
    widths = np.broadcast_to(np.asarray(radii, np.float32), (len(nodes),))
    out = np.full(region.shape, FAR, np.float32)
    for a, b, ra, rb in zip(nodes[:-1], nodes[1:], widths[:-1], widths[1:], strict=True):
        widest = max(ra, rb)
        found = region.crop(np.minimum(a, b) - widest, np.maximum(a, b) + widest)
        if found is None:
            continue
        where, sub = found
        along = b - a
        dx, dy, dz = sub.x - a[0], sub.y - a[1], sub.z - a[2]
        t = dx * along[0]
        t += dy * along[1]
        t += dz * along[2]
        t *= np.float32(1 / max(float(along @ along), 1e-6))
        np.clip(t, 0, 1, out=t)
        dx -= t * along[0]
        dy -= t * along[1]
        dz -= t * along[2]
        distance = np.sqrt(dx * dx + dy * dy + dz * dz)
        distance -= ra + t * (rb - ra)
        np.minimum(out[where], distance, out=out[where])
    return out


def tube_box(points: Points, radii: float | Vector) -> Box:
    """Corners (low, high) of the box around a tube."""
    nodes = np.asarray(points, float)
    return nodes.min(axis=0) - np.max(radii), nodes.max(axis=0) + np.max(radii)


def smooth_curve(points: Points, steps: int) -> NDArray[np.float64]:
    """Points (N, D) refined to ((N - 1) * steps + 1, D) along a Catmull-Rom spline; columns may include a radius."""
    nodes = np.asarray(points, float)
    padded = np.vstack([2 * nodes[0] - nodes[1], nodes, 2 * nodes[-1] - nodes[-2]])
    t = (np.arange(steps) / steps)[:, None]
    pieces = []
    for p0, p1, p2, p3 in zip(padded[:-3], padded[1:-2], padded[2:-1], padded[3:], strict=True):
        pieces.append(
            0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
        )
    return np.vstack([*pieces, nodes[-1:]])


def oval(region: Region, half_width: Array, front: Array, back: Array) -> Array:
    """Signed distance in the axial plane to a rounded-off oval (exponent 2.5) whose size changes with z.

    half_width, front, back : float32 (S,), mm; front and back are y coordinates. Mid-line at x = 0.
    """
    a = half_width[:, None, None]
    b = (back - front)[:, None, None] / 2
    u = np.abs(region.x) / a
    v = np.abs(region.y - (back + front)[:, None, None] / 2) / b
    u15, v15 = u * np.sqrt(u), v * np.sqrt(v)
    total = u * u15 + v * v15 + np.float32(1e-6)
    k = total ** np.float32(0.4)
    slope = np.sqrt((u15 / a) ** 2 + (v15 / b) ** 2) * k / total + np.float32(1e-6)  # |grad k|, k**(1-2.5) = k / total
    return (k - 1) / slope


def union(a: Array, b: Array, blend: float) -> Array:
    """Smooth minimum of two distances: shapes within `blend` mm of each other melt together (polynomial kernel)."""
    h = np.maximum(np.float32(blend) - np.abs(a - b), 0)
    return np.minimum(a, b) - h * h * np.float32(0.25 / blend)


def intersection(a: Array, b: Array, blend: float) -> Array:
    """Smooth maximum of two distances: the common part, its edge rounded over `blend` mm."""
    return -union(-a, -b, blend)


@dataclass(frozen=True)
class SmoothField:
    """Random field of unit standard deviation: a cubic B-spline on a lattice of independent normal numbers.

    The lattice lies in mm, so the field is the same on every grid of voxels.
    """

    lattice: Array
    origin: tuple[float, float, float]
    spacing: float

    @classmethod
    def draw(cls, generator: np.random.Generator, low: Vector, high: Vector, spacing: float) -> "SmoothField":
        """Draw a field that covers the box from low to high (z, y, x; mm); features are about 2 `spacing` wide."""
        low, high = np.asarray(low, float), np.asarray(high, float)
        shape = np.ceil((high - low) / spacing).astype(int) + 4
        # Variance of a cubic B-spline of unit normals, averaged over position: (151/315) per axis.
        lattice = generator.standard_normal(tuple(shape), np.float32) * np.float32((315 / 151) ** 1.5)
        origin = low - 1.5 * spacing
        return cls(lattice, (float(origin[0]), float(origin[1]), float(origin[2])), spacing)

    def at(self, z: NDArray[np.floating], y: NDArray[np.floating], x: NDArray[np.floating]) -> Array:
        """Values float32 (len(z), len(y), len(x)) on a grid of vectors in mm; edge values go on outside."""
        out = self.lattice
        for axis, (values, origin) in enumerate(zip((z, y, x), self.origin, strict=True)):
            weights = self._weights(np.asarray(values, float), origin, self.lattice.shape[axis])
            out = np.moveaxis(np.tensordot(weights, out, axes=(1, axis)), 0, axis)
        return np.ascontiguousarray(out)

    def _weights(self, values: NDArray[np.float64], origin: float, n: int) -> Array:
        position = np.clip((values - origin) / self.spacing, 1, n - 2.001)
        distance = np.abs(position[:, None] - np.arange(n)[None, :])
        near = 2 / 3 - distance**2 + distance**3 / 2
        far = np.maximum(2 - distance, 0) ** 3 / 6
        return np.where(distance < 1, near, far).astype(np.float32)
