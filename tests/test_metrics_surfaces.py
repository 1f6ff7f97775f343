"""HD95 and surface Dice against closed forms, brute force and MONAI on whole volumes."""

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ssrobust_lib.torchvision_ops  # noqa: F401  (MONAI imports torchvision)
from ssrobust_lib.evaluation.surface_distances import SurfaceSettings, directed_distances, surfaces_of
from ssrobust_lib.evaluation.surface_distances import surface_scores as scores_of_surfaces

SPACING = (5.0, 0.8, 1.25)
STRUCTURES = {"one": ([1], [1]), "two": ([2], [2]), "both": ([1, 2], [1, 2])}


def surface_scores(label, predicted, structures, spacing, tolerance):
    """HD95 and surface Dice of two maps on one grid: float (structures, 2)."""
    ours = surfaces_of(predicted, [classes for classes, _ in structures.values()], spacing)
    theirs = surfaces_of(label, [values for _, values in structures.values()], spacing)
    return scores_of_surfaces(ours, theirs, tolerance)


def random_maps(seed: int, shape=(6, 14, 12)) -> tuple[np.ndarray, np.ndarray]:
    """Two label maps of blobs of the values 1 and 2 that resemble each other."""
    from scipy.ndimage import gaussian_filter

    generator = np.random.default_rng(seed)
    noise = gaussian_filter(generator.normal(size=(2, *shape)), (0, 1, 2, 2))
    noise[1] = 0.7 * noise[0] + 0.3 * noise[1]
    edges = np.quantile(noise, [0.75, 0.9])
    first, second = (np.digitize(part, edges).astype(np.uint8) for part in noise)
    return first, second


def brute_force(label: np.ndarray, predicted: np.ndarray, tolerance: float) -> tuple[float, float]:
    """The definitions, voxel by voxel."""

    def surface(mask: np.ndarray) -> np.ndarray:
        inside = np.pad(mask, 1)
        steps = [step for axis in range(3) for step in (np.roll(inside, 1, axis), np.roll(inside, -1, axis))]
        return np.argwhere(mask & ~np.logical_and.reduce(steps)[1:-1, 1:-1, 1:-1]) * np.array(SPACING)

    ours, theirs = surface(predicted), surface(label)
    distances = np.sqrt(((ours[:, None] - theirs[None]) ** 2).sum(axis=2))
    to_label, to_predicted = distances.min(axis=1), distances.min(axis=0)
    within = (to_label <= tolerance).sum() + (to_predicted <= tolerance).sum()
    return max(np.percentile(to_label, 95), np.percentile(to_predicted, 95)), within / (len(ours) + len(theirs))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), tolerance=st.sampled_from([0.81, 1.3, 5.2]))
def test_they_are_what_the_definitions_give(seed, tolerance):
    label, predicted = random_maps(seed)
    found = surface_scores(label, predicted, STRUCTURES, SPACING, tolerance)
    for (classes, values), scores in zip(STRUCTURES.values(), found, strict=True):
        ours, theirs = np.isin(predicted, classes), np.isin(label, values)
        if ours.any() and theirs.any():
            np.testing.assert_allclose(scores, brute_force(theirs, ours, tolerance), rtol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_the_box_about_a_structure_changes_nothing_against_monai_on_the_volume(seed):
    import torch
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice

    label, predicted = random_maps(seed, (7, 20, 20))
    predicted[:, :3] = 0
    label[0], predicted[-1, -4:, -4:] = 0, 1  # surfaces at the volume's border
    one_hot = [torch.from_numpy(np.stack([np.isin(m, v) for v in (1, 2, (1, 2))])[None]) for m in (predicted, label)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = {"include_background": True, "spacing": list(SPACING)}
        distance = compute_hausdorff_distance(*[m.float() for m in one_hot], percentile=95, **options)[0].numpy()
        dice = compute_surface_dice(*[m.float() for m in one_hot], class_thresholds=[2.0] * 3, **options)[0].numpy()
    found = surface_scores(label, predicted, STRUCTURES, SPACING, 2.0)
    np.testing.assert_allclose(found, np.stack([distance, dice], axis=1), rtol=1e-5)


def test_a_shift_is_its_length_in_mm():
    label = np.zeros((5, 16, 16), np.uint8)
    label[1:4, 4:8, 4:8] = 1
    for axis, mm in enumerate(SPACING):
        predicted = np.roll(label, 1, axis)
        of_one = surface_scores(label, predicted, {"one": ([1], [1])}, SPACING, mm)[0]
        assert of_one.tolist() == pytest.approx([mm, 1.0])
        assert surface_scores(label, predicted, {"one": ([1], [1])}, SPACING, 0.99 * mm)[0, 1] < 1
    assert surface_scores(label, label, {"one": ([1], [1])}, SPACING, 0.1)[0].tolist() == [0.0, 1.0]


def test_what_is_undefined_stays_undefined():
    empty, there = np.zeros((3, 6, 6), np.uint8), np.zeros((3, 6, 6), np.uint8)
    there[1, 2:4, 2:4] = 1
    structure = {"one": ([1], [1])}
    for label, predicted, dice in ((there, empty, 0.0), (empty, there, 0.0), (empty, empty, np.nan)):
        distance, found = surface_scores(label, predicted, structure, SPACING, 1.0)[0]
        assert np.isnan(distance)
        np.testing.assert_equal(found, dice)


def test_both_directions_count():
    """A prediction that holds the whole label and a far island is near seen from the label, not from itself."""
    label = np.zeros((3, 20, 20), np.uint8)
    label[1, 2:5, 2:5] = 1
    predicted = label.copy()
    predicted[1, 15:19, 15:19] = 1
    surfaces = [surfaces_of(each, [[1]], (1.0, 1.0, 1.0))[0] for each in (predicted, label)]
    to_label, to_predicted = directed_distances(*surfaces)
    assert to_predicted.max() == 0 and to_label.max() > 15
    distance, dice = surface_scores(label, predicted, {"one": ([1], [1])}, (1.0, 1.0, 1.0), 1.0)[0]
    assert distance > 15
    assert dice == pytest.approx(18 / (18 + 16))


def test_a_map_of_one_slice_is_refused():
    with pytest.raises(ValueError, match=r"expected a label map \(slices, H, W\), got the shape \(4, 4\)"):
        surfaces_of(np.zeros((4, 4), np.uint8), [[1]], SPACING)


@pytest.mark.parametrize("tolerance", [0.0, -1.0, float("nan")])
def test_a_tolerance_is_a_length(tolerance):
    with pytest.raises(ValueError, match="above 0"):
        SurfaceSettings((0,), tolerance)


def test_structures_do_not_disturb_each_other():
    label, predicted = random_maps(11)
    whole = surface_scores(label, predicted, STRUCTURES, SPACING, 2.0)
    for k, (name, parts) in enumerate(STRUCTURES.items()):
        np.testing.assert_array_equal(surface_scores(label, predicted, {name: parts}, SPACING, 2.0)[0], whole[k])
    for order in itertools.permutations(STRUCTURES):
        mixed = surface_scores(label, predicted, {name: STRUCTURES[name] for name in order}, SPACING, 2.0)
        np.testing.assert_array_equal(mixed, whole[[list(STRUCTURES).index(name) for name in order]])
