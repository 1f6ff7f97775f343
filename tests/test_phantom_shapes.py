"""Shapes of the CT phantoms: exact where theory says so, and the same on every grid."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssrobust_lib.phantoms import shapes


def straight_region(n: int = 24, step: float = 2.0) -> shapes.Region:
    axis = ((np.arange(n) - (n - 1) / 2) * step).astype(np.float32)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    return shapes.Region(x, y, z, (axis, axis, axis), (step, step, step))


def test_a_sphere_is_exact() -> None:
    region = straight_region()
    exact = np.sqrt((region.x - 3) ** 2 + region.y**2 + (region.z + 4) ** 2) - 11
    assert np.allclose(shapes.ellipsoid(region, (3, 0, -4), (11, 11, 11)), exact, atol=1e-3)


@settings(max_examples=15, deadline=None)
@given(st.tuples(*[st.floats(4, 15)] * 3), st.tuples(*[st.floats(-90, 90)] * 3))
def test_an_ellipsoid_has_its_volume_and_stays_in_its_box(radii: tuple[float, ...], angles: tuple[float, ...]) -> None:
    region = straight_region(40, 1.0)
    turn = shapes.rotation(*zip("xyz", angles, strict=True))
    assert np.allclose(turn @ turn.T, np.eye(3))
    inside = shapes.ellipsoid(region, (0, 0, 0), radii, turn) < 0
    assert inside.sum() == pytest.approx(4 / 3 * np.pi * np.prod(radii), rel=0.12)
    low, high = shapes.ellipsoid_box((0, 0, 0), radii, turn)
    for coordinate, lo, hi in zip((region.x, region.y, region.z), low, high, strict=True):
        assert coordinate[inside].min() >= lo - 1e-3 and coordinate[inside].max() <= hi + 1e-3


def test_a_straight_tube_is_a_capsule() -> None:
    region = straight_region()
    along = np.clip(region.z, -8, 8)
    exact = np.sqrt(region.x**2 + region.y**2 + (region.z - along) ** 2) - 5
    found = shapes.tube(region, [(0, 0, -8), (0, 0, 2), (0, 0, 8)], 5.0)
    near = exact < 0
    assert np.allclose(found[near], exact[near], atol=1e-4) and (found[~near] >= 0).all()


def test_an_oval_meets_its_axes_and_has_unit_slope_there() -> None:
    region = straight_region(81, 1.0)
    size = np.full(81, 1.0, np.float32)
    distance = shapes.oval(region, 30 * size, -10 * size, 22 * size)
    middle = 40
    assert distance[0, middle + 6, middle + 30] == pytest.approx(0, abs=0.02)
    assert distance[0, middle - 10, middle] == pytest.approx(0, abs=0.02)
    assert distance[0, middle + 6, middle + 33] == pytest.approx(3, rel=0.1)


def test_a_smooth_field_is_standard_and_the_same_on_every_grid() -> None:
    field = shapes.SmoothField.draw(np.random.default_rng(0), (0, 0, 0), (200, 200, 200), 8.0)
    axis = np.arange(0, 200, 4.0)
    values = field.at(axis, axis, axis)
    assert values.mean() == pytest.approx(0, abs=0.05) and values.std() == pytest.approx(1, abs=0.05)
    assert np.allclose(field.at(axis[5:9], axis[::2], axis[3:4]), values[5:9, ::2, 3:4], atol=1e-5)


def test_a_smooth_curve_passes_through_its_points() -> None:
    points = np.random.default_rng(1).normal(size=(5, 4))
    assert np.allclose(shapes.smooth_curve(points, 3)[::3], points)
