"""What a CT phantom is made of: a patient (all that is drawn once per person) and parts (shapes painted in order).

Enter: a random stream's name. Leaves: `Patient`, with the map between scanner and reference coordinates, and `Part`.
Reference coordinates: mm, x to the patient's left, y to the back, z to the head, origin in the first lumbar vertebra.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ssrobust_lib.phantoms.shapes import (
    Array,
    Points,
    Region,
    SmoothField,
    Vector,
    ellipsoid,
    ellipsoid_box,
    rotation,
    tube,
    tube_box,
)
from ssrobust_lib.seeds import rng

Value = float | Callable[[Region, Array], Array]
FIELD_LOW, FIELD_HIGH = (-470.0, -260.0, -330.0), (520.0, 260.0, 330.0)  # z, y, x: where random fields are defined, mm
WARP_MM = 4.5
SIDES = (("right", -1), ("left", 1))


@dataclass(frozen=True)
class Variation:
    """How one patient's organ differs from the reference: moved (mm), resized (factors) and turned."""

    offset: NDArray[np.float64]
    factor: NDArray[np.float64]
    turn: NDArray[np.float64]


@dataclass(frozen=True)
class Patient:
    """One person: everything random about the anatomy follows from `stream`, on whatever grid it is rendered.

    Attributes
    ----------
    stream : names the random stream, for instance (seed, "visceral", 3).
    female : sex. scale : size against the reference along x, y, z. fat_mm : subcutaneous fat in front, at the sides
    and at the back. visceral : intra-abdominal fat, 0 to 1. breath_mm : diaphragm below (-) or above its mean place.
    shift_mm, roll_deg : position on the table.
    """

    stream: tuple[int | str, ...]
    female: bool
    scale: tuple[float, float, float]
    fat_mm: tuple[float, float, float]
    visceral: float
    breath_mm: float
    shift_mm: tuple[float, float]
    roll_deg: float

    def rng(self, what: str) -> np.random.Generator:
        """Random stream of this patient for one purpose."""
        return rng(*self.stream, what)

    def vary(self, name: str, mm: float = 4.0, size: float = 0.09, degrees: float = 6.0) -> Variation:
        """Draw the variation of one organ (normal, cut at two standard deviations)."""
        draw = np.clip(self.rng("vary " + name).standard_normal(9), -2, 2)
        turn = rotation(*((axis, degrees * d) for axis, d in zip("xyz", draw[6:], strict=True)))
        return Variation(mm * draw[:3], np.exp(size * draw[3:6]), turn)

    @cached_property
    def warp(self) -> tuple[SmoothField, SmoothField, SmoothField]:
        """Displacement fields for x, y, z in units of WARP_MM."""
        generator = self.rng("warp")
        return tuple(SmoothField.draw(generator, FIELD_LOW, FIELD_HIGH, 75.0) for _ in range(3))  # type: ignore[return-value]

    @cached_property
    def fields(self) -> dict[str, SmoothField]:
        """Random fields: "rough" bends outlines, "texture" makes tissue uneven, "fine" makes it grainy."""
        generator = self.rng("fields")
        spacings = {"rough": 17.0, "texture": 11.0, "fine": 6.0}
        return {name: SmoothField.draw(generator, FIELD_LOW, FIELD_HIGH, mm) for name, mm in spacings.items()}

    def to_reference(self, z: Array, y: Array, x: Array) -> tuple[Array, Array, Array]:
        """Reference coordinates (x, y, z), each float32 (len(z), len(y), len(x)), of a grid in scanner mm."""
        c, s = (np.float32(f(np.radians(self.roll_deg))) for f in (np.cos, np.sin))
        dx, dy = x - np.float32(self.shift_mm[0]), y - np.float32(self.shift_mm[1])
        moved = [field.at(z, y, x) * np.float32(WARP_MM) for field in self.warp]
        moved[0] += (c * dx[None, :] - s * dy[:, None]) * np.float32(1 / self.scale[0])
        moved[1] += (s * dx[None, :] + c * dy[:, None]) * np.float32(1 / self.scale[1])
        moved[2] += z[:, None, None] * np.float32(1 / self.scale[2])
        return moved[0], moved[1], moved[2]

    def to_scanner(self, point: Vector) -> NDArray[np.float64]:
        """Scanner coordinates (x, y, z; mm) of a reference point (x, y, z): the inverse of `to_reference`."""
        target = np.asarray(point, float)
        c, s = np.cos(np.radians(self.roll_deg)), np.sin(np.radians(self.roll_deg))
        guess = np.zeros(3)
        for _ in range(12):  # a contraction: the warp's slope is far below 1
            bend = [WARP_MM * float(f.at(guess[2:], guess[1:2], guess[:1])[0, 0, 0]) for f in self.warp]
            u, v, w = (target - bend) * np.asarray(self.scale)
            guess = np.array([c * u + s * v + self.shift_mm[0], -s * u + c * v + self.shift_mm[1], w])
        return guess


def draw_patient(*stream: int | str) -> Patient:
    """Draw a person of the random stream `stream`."""
    generator = rng(*stream, "patient")
    female = bool(generator.random() < 0.5)
    size = generator.normal(0.96 if female else 1.02, 0.035)
    height, breadth, depth = np.clip(size + generator.normal(0, [0.035, 0.035, 0.04]), 0.86, 1.13)
    weight = float(generator.beta(2.0, 2.6))  # 0 lean .. 1 obese
    front = 6 + 34 * weight * generator.uniform(0.7, 1.3)
    side = 6 + (28 if female else 18) * weight * generator.uniform(0.7, 1.3)
    back = 8 + 20 * weight * generator.uniform(0.7, 1.3)
    return Patient(
        stream=stream,
        female=female,
        scale=(float(breadth * (1 + 0.08 * weight)), float(depth * (1 + 0.12 * weight)), float(height)),
        fat_mm=(float(front), float(side), float(back)),
        visceral=float(np.clip(weight + generator.normal(0 if female else 0.12, 0.15), 0.05, 1)),
        breath_mm=float(np.clip(generator.normal(0, 9), -16, 16)),
        shift_mm=(float(generator.normal(0, 7)), float(generator.normal(0, 7))),
        roll_deg=float(generator.normal(0, 2.0)),
    )


@dataclass(frozen=True)
class Part:
    """One shape to paint over what is there.

    Attributes
    ----------
    distance : Region -> signed distance float32 (S, R, C), mm, negative inside.
    value : HU, or a function of (region, distance).
    low, high : corners (x, y, z) of a box that holds the shape, reference mm.
    label : value in the label map; 0 erases what was there, None leaves it.
    name : of a structure that only some sets label (ct_anatomy.FURTHER_LABELS), '' for all else.
    """

    distance: Callable[[Region], Array]
    value: Value
    low: Vector
    high: Vector
    label: int | None = 0
    name: str = ""


def uneven(hu: float, texture: float = 5.0, fine: float = 0.0) -> Value:
    """HU with smooth unevenness of the given standard deviations (HU)."""

    def value(region: Region, distance: Array) -> Array:
        out = np.float32(hu) + np.float32(texture) * region.fields["texture"]
        return out + np.float32(fine) * region.fields["fine"] if fine else out

    return value


def bone(marrow: float, cortical: float, shell_mm: float = 2.6) -> Value:
    """HU of a bone: a dense shell, spongy and uneven inside."""

    def value(region: Region, distance: Array) -> Array:
        inside = np.float32(marrow) * (1 + np.float32(0.16) * region.fields["fine"])
        return inside + (np.float32(cortical) - inside) * np.clip(1 + distance * np.float32(1 / shell_mm), 0, 1)

    return value


def ball(
    centre: Vector,
    radii: float | Vector,
    value: Value,
    label: int | None = 0,
    *,
    turn: NDArray[np.float64] | None = None,
    rough: float = 0.0,
    change: Variation | None = None,
) -> Part:
    """Ellipsoidal part; `rough` mm of uneven outline; `change` moves, resizes and turns it."""
    middle, half = np.asarray(centre, float), np.broadcast_to(np.asarray(radii, float), (3,))
    if change is not None:
        middle, half = middle + change.offset, half * change.factor
        turn = change.turn if turn is None else change.turn @ turn
    low, high = ellipsoid_box(middle, half, turn)

    def distance(region: Region) -> Array:
        out = ellipsoid(region, middle, half, turn)
        return out + np.float32(rough) * region.fields["rough"] if rough else out

    return Part(distance, value, low - 2 * rough, high + 2 * rough, label)


def pipe(points: Points, radii: float | Vector, value: Value, label: int | None = 0, *, rough: float = 0.0) -> Part:
    """Tubular part along points (N, 3) with radii (N,)."""
    low, high = tube_box(points, radii)

    def distance(region: Region) -> Array:
        out = tube(region, points, radii)
        return out + np.float32(rough) * region.fields["rough"] if rough else out

    return Part(distance, value, low - 2 * rough, high + 2 * rough, label)


def inside(part: Part, field: str, margin_mm: float) -> Part:
    """The same part without what comes closer than margin_mm to the edge of an envelope field (or lies outside it)."""

    def distance(region: Region) -> Array:
        return np.maximum(part.distance(region), region.fields[field] + np.float32(margin_mm))

    return replace(part, distance=distance)
