"""Resampling is exact where a closed form exists; the grid maps out and back; the body is in the middle."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssrobust_lib.datasets import Volume
from ssrobust_lib.preprocessing import (
    DEFAULT_WINDOW_HU,
    CTSettings,
    Grid,
    XRaySettings,
    axis_weights,
    body_centre,
    preprocess_ct,
    preprocess_xray,
    resample_ct,
    take_nearest,
    to_scan_grid,
    window,
)


def phantom(
    shape: tuple[int, int, int] = (9, 60, 80), spacing_mm: tuple[float, float, float] = (5.0, 2.0, 2.0)
) -> Volume:
    """A box of soft tissue off the centre, and a thin table behind it."""
    hu = np.full(shape, -1000.0, np.float32)
    hu[:, 5:35, 30:70] = 40.0
    hu[:, 50:53, :] = 300.0
    return Volume(hu, (5.0, 2.0, 2.0))


def test_shrinking_by_a_whole_factor_is_the_mean_of_blocks() -> None:
    image = np.random.default_rng(0).random((64, 96), dtype=np.float32)
    expected = image.reshape(16, 4, 16, 6).mean(axis=(1, 3))
    np.testing.assert_allclose(preprocess_xray(image, XRaySettings(16)), expected, atol=1e-6)


def test_the_same_size_is_the_identity_and_the_input_stays_untouched() -> None:
    image = np.random.default_rng(0).random((32, 32), dtype=np.float32)
    before = image.copy()
    np.testing.assert_array_equal(preprocess_xray(image, XRaySettings(32)), image)
    preprocess_xray(image, XRaySettings(20))
    np.testing.assert_array_equal(image, before)


@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 90), width=st.integers(1, 90), size=st.integers(8, 60), seed=st.integers(0, 9))
def test_xrays_of_any_size_become_square_and_keep_a_constant(height: int, width: int, size: int, seed: int) -> None:
    constant = preprocess_xray(np.full((height, width), 0.3, np.float32), XRaySettings(size))
    assert constant.shape == (size, size) and constant.dtype == np.float32
    np.testing.assert_allclose(constant, 0.3, atol=1e-5)
    image = np.random.default_rng(seed).random((height, width), dtype=np.float32)
    resampled = preprocess_xray(image, XRaySettings(size))
    assert image.min() - 1e-5 <= resampled.min() and resampled.max() <= image.max() + 1e-5


@settings(max_examples=40, deadline=None)
@given(n_in=st.integers(2, 80), n_out=st.integers(1, 80))
def test_shrinking_keeps_the_mean_and_growing_keeps_a_line(n_in: int, n_out: int) -> None:
    step = n_in / n_out
    line = np.linspace(0, 1, n_in)
    weights = axis_weights(n_in, n_out, step / 2 - 0.5, step, True)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)
    if step >= 1:
        values = np.random.default_rng(n_in).random(n_in)
        assert (weights @ values).mean() == pytest.approx(values.mean(), abs=1e-5)
    else:
        centres = (step / 2 - 0.5 + step * np.arange(n_out)).clip(0, n_in - 1)
        np.testing.assert_allclose(weights @ line, centres / (n_in - 1), atol=1e-5)


def test_outside_the_input_counts_as_zero_unless_replicated() -> None:
    ones = np.ones(4)
    np.testing.assert_allclose(axis_weights(4, 8, -2.0, 1.0) @ ones, [0, 0, 1, 1, 1, 1, 0, 0])
    np.testing.assert_allclose(axis_weights(4, 3, -0.5, 2.0) @ ones, [0.5, 1, 0.5])
    np.testing.assert_allclose(axis_weights(4, 4, -0.25, 0.5) @ np.array([1.0, 2, 3, 4]), [1, 1.25, 1.75, 2.25])


@pytest.mark.parametrize("edges", [DEFAULT_WINDOW_HU, (-160.0, 240.0)])
def test_window_maps_its_edges_and_clips_beyond(edges: tuple[float, float]) -> None:
    lower, upper = edges
    hu = np.array([lower - 500, lower, (lower + upper) / 2, upper, upper + 2000], np.float32)
    np.testing.assert_allclose(window(hu, edges), [0, 0, 0.5, 1, 1], atol=1e-6)


def test_the_default_window_parts_lung_fat_liver_and_bone() -> None:
    values = window(np.array([-850.0, -100, 60, 400], np.float32), DEFAULT_WINDOW_HU)
    assert (np.diff(values) > 0.1).all()


def test_the_body_is_found_without_the_table() -> None:
    assert body_centre(phantom().hu, (5.0, 2.0, 2.0)) == pytest.approx((19.5, 49.5), abs=2)
    assert body_centre(np.full((2, 11, 21), -1000.0, np.float32), (1, 1, 1)) == (5, 10)


def test_ct_has_the_asked_grid_with_the_body_in_the_middle() -> None:
    volume = phantom()
    scan = preprocess_ct(volume, None, CTSettings(size=32, pixel_mm=4.0, slice_mm=10.0))
    assert scan.images.shape == scan.grid.shape_out == (4, 32, 32) and scan.labels is None
    assert scan.grid.spacing_mm == pytest.approx((45 / 4, 4, 4))
    assert scan.images.min() >= 0 and scan.images.max() <= 1
    rows, columns = np.nonzero(scan.images[1] > 0.5)
    assert (columns.min() + columns.max()) / 2 == pytest.approx(15.5, abs=1)
    tissue = np.isclose(scan.images, (40 + 500) / 1000, atol=1e-5)
    assert tissue.sum() * np.prod(scan.grid.spacing_mm) == pytest.approx(45 * 60 * 80, rel=0.15)


def test_own_slices_are_kept_without_slice_mm() -> None:
    volume = phantom()
    scan = preprocess_ct(volume, None, CTSettings(size=100, pixel_mm=2.0))
    assert scan.images.shape == (9, 100, 100) and scan.grid.step == (1.0, 1.0, 1.0)
    first = [round(edge) for edge in scan.grid.origin]
    assert tuple(first) == scan.grid.origin  # nothing is shifted by a part of a voxel
    cut = np.zeros((9, 100, 100), np.float32)
    rows, columns = scan.grid.nearest(1) >= 0, scan.grid.nearest(2) >= 0
    cut[np.ix_(range(9), rows, columns)] = window(volume.hu, DEFAULT_WINDOW_HU)[
        :, scan.grid.nearest(1)[rows][:, None], scan.grid.nearest(2)[columns]
    ]
    np.testing.assert_allclose(scan.images, cut, atol=1e-6)


def test_labels_follow_the_image_and_map_back() -> None:
    volume = phantom()
    labels = np.zeros(volume.hu.shape, np.uint8)
    labels[2:7, 10:30, 35:65] = 3
    scan = preprocess_ct(volume, labels, CTSettings(size=64, pixel_mm=3.0, slice_mm=7.0))
    assert scan.labels.dtype == np.uint8 and set(np.unique(scan.labels)) == {0, 3}
    back = to_scan_grid(scan.labels, scan.grid)
    assert back.shape == labels.shape
    overlap = 2 * ((back == 3) & (labels == 3)).sum() / ((back == 3).sum() + (labels == 3).sum())
    assert overlap > 0.85


def test_mapping_back_undoes_a_grid_that_only_cuts_or_refines() -> None:
    volume = phantom()
    labels = np.zeros(volume.hu.shape, np.uint8)
    labels[1:8, 6:34, 32:68] = np.random.default_rng(1).integers(1, 5, (7, 28, 36))
    for settings_ in (CTSettings(64, 2.0), CTSettings(128, 1.0), CTSettings(128, 1.0, 2.5)):
        scan = preprocess_ct(volume, labels, settings_)
        np.testing.assert_array_equal(to_scan_grid(scan.labels, scan.grid), labels)
        np.testing.assert_array_equal(take_nearest(labels, scan.grid), scan.labels)


def sitk_resampled(array: np.ndarray, grid: Grid, interpolator: str) -> np.ndarray:
    """The same grid laid over the same voxels by SimpleITK; outside lies 0."""
    import SimpleITK

    image = SimpleITK.GetImageFromArray(array)
    size, spacing, origin = ([*values][::-1] for values in (grid.shape_out, grid.step, grid.origin))
    resampled = SimpleITK.Resample(
        image, [int(n) for n in size], SimpleITK.Transform(), getattr(SimpleITK, interpolator), origin, spacing
    )
    return SimpleITK.GetArrayFromImage(resampled)


@pytest.mark.parametrize("slice_mm", [None, 2.0, 5.0])
def test_growing_is_simpleitks_linear_interpolation(slice_mm: float | None) -> None:
    volume = phantom()
    noisy = Volume(volume.hu + np.random.default_rng(0).normal(0, 200, volume.hu.shape).astype(np.float32), (5, 2, 2))
    scan = preprocess_ct(noisy, None, CTSettings(size=100, pixel_mm=1.3, slice_mm=slice_mm))
    expected = sitk_resampled(window(noisy.hu, DEFAULT_WINDOW_HU), scan.grid, "sitkLinear")
    # within one voxel outside the scan ours falls to 0 linearly, SimpleITK's at once
    inside = np.ix_(*(scan.grid.nearest(axis) >= 0 for axis in range(3)))
    assert expected[inside].size > 0.4 * expected.size
    np.testing.assert_allclose(scan.images[inside], expected[inside], atol=2e-5)


def test_shrinking_by_whole_factors_is_simpleitks_mean_of_bins() -> None:
    import SimpleITK

    hu = np.random.default_rng(0).normal(0, 300, (8, 64, 48)).astype(np.float32)
    grid = Grid((0.5, 1.0, 0.5), (2.0, 3.0, 2.0), (8, 64, 48), (4, 21, 24), (2.0, 3.0, 2.0))
    binned = SimpleITK.BinShrink(SimpleITK.GetImageFromArray(window(hu, DEFAULT_WINDOW_HU)[:, :63]), [2, 3, 2])
    found = resample_ct(hu, grid, DEFAULT_WINDOW_HU)
    np.testing.assert_allclose(found, SimpleITK.GetArrayFromImage(binned), atol=1e-6)


def test_shrinking_by_a_fraction_is_the_mean_of_the_covered_area() -> None:
    """Five thirds of a voxel: as if each voxel were three, and five of those were averaged."""
    image = np.random.default_rng(0).random((40, 60), dtype=np.float32)
    fine = image.astype(np.float64).repeat(24, axis=0).repeat(24, axis=1)  # 960 x 1440
    expected = fine.reshape(24, 40, 24, 60).mean(axis=(1, 3))
    np.testing.assert_allclose(preprocess_xray(image, XRaySettings(24)), expected, atol=1e-6)


def test_labels_are_simpleitks_nearest_neighbours() -> None:
    volume = phantom()
    labels = np.random.default_rng(0).integers(0, 9, volume.hu.shape).astype(np.uint8)
    scan = preprocess_ct(volume, labels, CTSettings(size=77, pixel_mm=1.7, slice_mm=4.1))
    np.testing.assert_array_equal(scan.labels, sitk_resampled(labels, scan.grid, "sitkNearestNeighbor"))


def test_wrong_shapes_and_settings_are_refused() -> None:
    volume = phantom()
    with pytest.raises(ValueError, match=r"\(2, 3, 4\) voxels, the scan \(9, 60, 80\)"):
        preprocess_ct(volume, np.zeros((2, 3, 4), np.uint8), CTSettings(32, 4.0))
    with pytest.raises(ValueError, match="expected a label map of shape"):
        to_scan_grid(np.zeros((1, 2, 3), np.uint8), preprocess_ct(volume, None, CTSettings(32, 4.0)).grid)
    for wrong in (0, 2.5, True, 5000):
        with pytest.raises(ValueError, match="whole number of pixels"):
            XRaySettings(wrong)
    with pytest.raises(ValueError, match="positive"):
        CTSettings(32, -1.0)
    with pytest.raises(ValueError, match="positive"):
        CTSettings(32, 1.0, 0.0)
    with pytest.raises(ValueError, match="lower < upper"):
        CTSettings(32, 1.0, window_hu=(100, -100))
