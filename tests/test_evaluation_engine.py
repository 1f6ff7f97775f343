"""What the evaluation stores and how often it works: one read, one corruption, features, surfaces, pieces,
precision."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal
from tiny_profile import tiny_profile, write_profile
from torch import nn
from toy_evaluations import NORMALISE, SEED, STRUCTURES, MeanLogit, Thresholds, at, ct_cache, xray_cache

from ssrobust_lib.cells import pieces as kept_pieces
from ssrobust_lib.cells.pieces import KeptPieces
from ssrobust_lib.config import ProfileError, load_profile
from ssrobust_lib.evaluation import inference, precision
from ssrobust_lib.evaluation.engine import evaluate_classification, evaluate_segmentation
from ssrobust_lib.evaluation.feature_distances import CleanFeatures, mean_distance
from ssrobust_lib.evaluation.mirror_images import mirror_images
from ssrobust_lib.evaluation.surface_distances import SurfaceSettings, surface_scores, surfaces_of
from ssrobust_lib.evaluation.voxel_counts import structure_counts
from ssrobust_lib.networks import build_network
from ssrobust_lib.preprocessing import Grid
from ssrobust_lib.registry import UnknownNameError
from ssrobust_lib.scan_voxels import labels_by_cell
from ssrobust_lib.seeds import torch_rng

ARMS = [(arm, seed) for arm in ("scratch", "jigsaw") for seed in range(3)]


def classify(cache, networks, **options):
    given = {"corruption": "gaussian_noise", "strengths": {1: 0.05, 3: 0.1, 5: 0.3}, "study_seed": SEED} | options
    return evaluate_classification(networks, cache, np.arange(len(cache.rows)), NORMALISE, **given)


def segment(cache, networks, **options):
    given = {"corruption": "gaussian_noise", "strengths": {2: 0.1, 4: 0.2}, "study_seed": SEED} | options
    structures = given.pop("structures", STRUCTURES)
    return evaluate_segmentation(
        networks, cache, np.arange(len(cache.rows)), NORMALISE, structures=structures, **given
    )  # fmt: skip


def small_networks(task):
    if task == "xray":
        return {name: build_network("cbr_small", 1, torch_rng(*name)) for name in ARMS[:2]}
    return {name: build_network("unet", 4, torch_rng(*name), base_filters=4) for name in ARMS[:2]}


EVALUATIONS = {
    "xray": lambda **options: classify(xray_cache(10, 16), small_networks("xray"), **options),
    "ct": lambda **options: segment(ct_cache(3, 5, 16), small_networks("ct"), **options),
}

# ---- how often -----------------------------------------------------------------------------------------------------


class CountedReads(np.ndarray):
    """Images that note which of them were read."""

    def __getitem__(self, key):
        if isinstance(key, np.ndarray):
            self.read.extend(key.tolist())
        return np.asarray(super().__getitem__(key))


@pytest.mark.parametrize(("evaluate", "cache", "network"), [
    (classify, xray_cache, MeanLogit), (segment, ct_cache, lambda: Thresholds(at(0.5), at(0.8))),
])  # fmt: skip
def test_an_image_is_read_once_and_corrupted_once_for_all_networks(evaluate, cache, network, monkeypatch):
    cache, corrupted = cache(), []
    images = cache.images.view(CountedReads)
    images.read = []
    cache.images = images
    original = inference.corrupt

    def count(name, batch, strength, keys, **options):
        corrupted.extend((strength, key) for key in np.asarray(keys).tolist())
        return original(name, batch, strength, keys, **options)

    monkeypatch.setattr(inference, "corrupt", count)
    strengths = {1: 0.05, 3: 0.1, 5: 0.3}
    evaluate(cache, {name: network() for name in ARMS}, strengths=strengths, batch_size=4)
    assert sorted(images.read) == list(range(len(cache.rows)))
    assert len(corrupted) == len(set(corrupted)) == len(strengths) * len(cache.rows)


def test_pages_are_given_back_while_images_stream(monkeypatch):
    class Mapped(np.ndarray):
        def release(self):
            released.append(len(released))

    released = []
    cache = xray_cache()
    cache.images = cache.images.view(Mapped)
    classify(cache, {("scratch", 0): MeanLogit()}, batch_size=4)
    assert len(released) == 3, "pages are let go after each batch"


@pytest.mark.parametrize("name", EVALUATIONS)
def test_the_batch_size_changes_a_score_by_rounding_alone(name):
    """Corrupted pixels are the same; a convolution sums in another order for another number of images."""
    one, other = (EVALUATIONS[name](batch_size=size).predictions for size in (4, 5))
    if name == "xray":
        np.testing.assert_allclose(one["score"], other["score"], atol=1e-5)
    else:
        changed = (one["voxels_predicted"] - other["voxels_predicted"]).abs().sum()
        assert changed <= 1e-3 * one["voxels_predicted"].sum()
    assert_frame_equal(one, EVALUATIONS[name](batch_size=4).predictions, check_exact=True)


# ---- features ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVALUATIONS)
def test_features_move_with_the_corruption_and_not_without(name):
    n = 10 if name == "xray" else 15
    kept = np.full((2, n, 256 if name == "xray" else 64), np.nan, np.float32)
    clean = EVALUATIONS[name](corruption="clean", strengths={0: 0.0}, keep_features=kept, batch_size=4).predictions
    assert np.isfinite(kept).all(), "features of an image were not kept"
    assert (clean["feature_distance"] == 0).all()
    np.testing.assert_allclose(clean["feature_cosine"], 1, atol=1e-6)
    scales = np.array([mean_distance(values, np.arange(n))[0] for values in kept])
    features = CleanFeatures(kept, scales)
    strengths = {1: 0.0, 2: 0.02, 5: 0.3}
    table = EVALUATIONS[name](strengths=strengths, clean_features=features, batch_size=4).predictions
    by_severity = table.groupby("severity")["feature_distance"].mean()
    assert by_severity[1] == 0, "the identity moved the features"
    assert 0 < by_severity[2] < by_severity[5]
    np.testing.assert_allclose(table.loc[table["severity"] == 1, "feature_cosine"], 1, atol=1e-6)


def test_the_distance_of_a_scan_is_the_mean_over_its_slices():
    kept = np.zeros((2, 15, 64), np.float32)
    EVALUATIONS["ct"](corruption="clean", strengths={0: 0.0}, keep_features=kept)
    noisy = np.zeros_like(kept)
    options = {"strengths": {5: 0.3}, "keep_features": noisy}
    table = EVALUATIONS["ct"](clean_features=CleanFeatures(kept, np.array([2.0, 3.0])), **options).predictions
    moved = np.linalg.norm(noisy - kept, axis=2) / np.array([[2.0], [3.0]])  # (networks, slices)
    expected = moved.reshape(2, 3, 5).mean(axis=2)
    found = table[table["structure"] == "low"]["feature_distance"].to_numpy().reshape(2, 3)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert (table.groupby(["seed", "sample_id"])["feature_distance"].nunique() == 1).all()


def test_without_clean_features_or_an_encoder_distances_are_missing():
    for table in (EVALUATIONS["xray"]().predictions, classify(xray_cache(), {("scratch", 0): MeanLogit()}).predictions):
        assert table[["feature_distance", "feature_cosine"]].isna().all(axis=None)
    with pytest.raises(ValueError, match=r"expected shape \(2, 10, C\) and 2 scales"):
        EVALUATIONS["xray"](clean_features=CleanFeatures(np.zeros((2, 9, 256)), np.ones(2)))


# ---- flipped, mirrored, surfaces -----------------------------------------------------------------------------------


def test_swapped_organs_are_all_flipped_and_all_mirrored():
    structures = {"right_kidney": ([1], [1]), "left_kidney": ([2], [2]), "liver": ([3], [3])}
    swapped = np.zeros((256, 4), np.int64)
    swapped[1, 2], swapped[2, 1], swapped[3, 0] = 10, 20, 30  # the liver is not found at all
    label, predicted, overlap, flipped, mirrored = structure_counts(swapped, structures).T
    assert (flipped / label).tolist() == [1, 1, 0]
    assert mirrored.tolist() == [10, 20, -1]
    assert overlap.tolist() == [0, 0, 0] and predicted.tolist() == [20, 10, 0]
    perfect = np.zeros((256, 4), np.int64)
    perfect[[1, 2, 3], [1, 2, 3]] = 5
    assert structure_counts(perfect, structures)[:, 3:].tolist() == [[0, 0], [0, 0], [0, -1]]


def test_merged_sides_are_not_flipped_among_each_other_and_have_no_mirror():
    joint = np.zeros((256, 4), np.int64)
    joint[1] = (1, 2, 3, 4)  # a kidney's voxels as background, right kidney, left kidney, liver
    merged = {"kidney": ([1, 2], [1])}
    assert structure_counts(joint, merged).tolist() == [[10, 5, 5, 4, -1]]


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (["right_lung", "left_lung", "liver"], {"right_lung": "left_lung", "left_lung": "right_lung"}),
        (["kidney_left", "kidney_right"], {"kidney_left": "kidney_right", "kidney_right": "kidney_left"}),
        (["right_lung", "left_kidney", "bright_spot", "left"], {}),
    ],
)
def test_mirror_images_are_found_by_their_names(names, pairs):
    assert mirror_images(names) == pairs


def with_grids(cache, spacing=(3.0, 2.0, 2.0)):
    """The same scans, known at their own resolution: twice the slices."""
    for scan, rows in cache.rows.groupby("sample_id").indices.items():
        masks = cache.masks[rows]
        n, height, width = masks.shape
        grid = Grid((0.5, 0, 0), (2.0, 1.0, 1.0), (2 * n, height, width), (n, height, width), spacing)
        cache.truth[scan] = (labels_by_cell(np.repeat(masks, 2, axis=0), grid), grid)
    return cache


def test_surfaces_are_compared_at_the_chosen_severities_on_the_grid_of_the_network():
    cache, network = with_grids(ct_cache()), Thresholds(at(0.45), at(0.9))
    options = {"strengths": {2: 0.1, 4: 0.2}, "surfaces": SurfaceSettings((0, 4), 2.0), "batch_size": 2}
    found = segment(cache, {("scratch", 0): network, ("jigsaw", 0): Thresholds(9, 9)}, **options)
    table = found.predictions
    assert table.loc[table["severity"] == 2, ["hd95_mm", "surface_dice"]].isna().all(axis=None)
    assert found.surface_seconds > 0
    condition = inference.Condition("gaussian_noise", 0.2, 4, SEED)
    images = inference.corrupted_images(cache, np.arange(15), condition, by_slice=True)
    predicted = inference.predict_masks(network, images, NORMALISE)
    for k, scan in enumerate(("s0", "s1", "s2")):
        slices = slice(5 * k, 5 * k + 5)
        maps = zip((predicted[slices], cache.masks[slices]), zip(*STRUCTURES.values(), strict=True), strict=True)
        expected = surface_scores(*[surfaces_of(each, members, (3.0, 2.0, 2.0)) for each, members in maps], 2.0)
        of_scan = table[(table["sample_id"] == scan) & (table["severity"] == 4)].set_index(["init", "structure"])
        ours = of_scan.loc["scratch"].loc[list(STRUCTURES), ["hd95_mm", "surface_dice"]]
        np.testing.assert_array_equal(ours.to_numpy(), expected)
        nothing = of_scan.loc["jigsaw"].loc[["low", "high"], ["hd95_mm", "surface_dice"]]
        assert nothing["hd95_mm"].isna().all() and (nothing["surface_dice"] == 0).all()


def test_a_cache_that_knows_no_voxel_size_has_no_distances_in_mm():
    table = segment(ct_cache(), {("scratch", 0): Thresholds(0, 1)}, surfaces=SurfaceSettings((2,), 1.0)).predictions
    assert table[["hd95_mm", "surface_dice"]].isna().all(axis=None)


def test_mirrored_voxels_are_missing_where_there_is_no_mirror_image():
    structures = {"right_lung": ([1], [2]), "left_lung": ([2], [1]), "liver": ([3], [9])}
    found = segment(ct_cache(), {("scratch", 0): Thresholds(at(0.5), at(0.8))}, structures=structures,
                    corruption="clean", strengths={0: 0.0}).predictions  # fmt: skip
    of = found.set_index("structure")
    assert found["voxels_mirrored"].dtype == pd.Int64Dtype() and of.loc["liver", "voxels_mirrored"].isna().all()
    for side in ("right_lung", "left_lung"):
        assert (of.loc[side, "voxels_mirrored"] == of.loc[side, "voxels_label"]).all()
        assert (of.loc[side, "voxels_flipped"] == of.loc[side, "voxels_label"]).all()


# ---- pieces --------------------------------------------------------------------------------------------------------


class Stopped(Exception):
    """Ends an evaluation where the test wants it."""


@pytest.mark.parametrize("name", EVALUATIONS)
@pytest.mark.parametrize("after", [1, 4, 5])
def test_an_evaluation_goes_on_behind_the_pieces_that_it_finds(name, after, tmp_path, monkeypatch):
    monkeypatch.setattr(kept_pieces, "_SECONDS", 0.0)
    whole = EVALUATIONS[name](batch_size=4)

    class Interrupted(KeptPieces):
        def __setitem__(self, piece, arrays):
            super().__setitem__(piece, arrays)
            if len(self) == after:
                raise Stopped

    with pytest.raises(Stopped):
        EVALUATIONS[name](batch_size=4, pieces=Interrupted(tmp_path))
    again, told, fresh = KeptPieces(tmp_path), [], []
    assert len(again) == after
    original = KeptPieces.__setitem__
    monkeypatch.setattr(
        KeptPieces, "__setitem__", lambda self, *piece: (fresh.append(piece[0]), original(self, *piece))
    )
    resumed = EVALUATIONS[name](batch_size=4, pieces=again, progress=lambda *said: told.append(said))
    assert_frame_equal(resumed.predictions, whole.predictions, check_exact=True)
    assert len(fresh) == len(again) - after, "a piece was evaluated twice"
    assert told[-1][0] == told[-1][1]
    again.forget()
    assert not list(tmp_path.iterdir())


def test_a_file_of_pieces_that_was_not_finished_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr(kept_pieces, "_SECONDS", 0.0)
    KeptPieces(tmp_path)["1/0"] = {"scores": np.arange(3.0)}
    (tmp_path / ".pieces-000001.partial.npz").write_bytes(b"half")
    found = KeptPieces(tmp_path)
    assert list(found) == ["1/0"] and found["1/0"]["scores"].tolist() == [0, 1, 2]
    found["1/4"] = {"scores": np.arange(2.0)}
    assert list(KeptPieces(tmp_path)) == ["1/0", "1/4"]


# ---- precision -----------------------------------------------------------------------------------------------------


class Rounded(nn.Module):
    """A logit a little above 0 for a share of the images: computing in bfloat16 turns these negative."""

    def __init__(self, share):
        super().__init__()
        self.share = share

    def forward(self, x):
        turned = torch.arange(len(x)) < round(self.share * len(x))
        negative = torch.is_autocast_enabled("cpu") & turned
        return torch.where(negative, -0.01, 0.01)[:, None]


@pytest.mark.parametrize(
    ("asked", "processor", "share", "used", "measured"),
    [
        ("auto", True, 0.0, "bf16", True),
        ("auto", True, 0.1, "bf16", True),
        ("auto", True, 0.2, "float32", True),
        ("auto", False, 0.0, "float32", False),
        ("float32", True, 0.0, "float32", False),
        ("bf16", False, 0.2, "bf16", True),
    ],
)
def test_bf16_only_where_it_changes_hardly_a_decision(asked, processor, share, used, measured, monkeypatch):
    monkeypatch.setattr(precision, "has_bf16", lambda device: processor)
    found = classify(xray_cache(10), {("scratch", 0): Rounded(share)}, precision=asked, largest_change=0.1)
    assert found.precision.used == used
    assert found.precision.share == (pytest.approx(share) if measured else None)
    assert found.precision.decisions == (30 if measured else None), "ten images at three severities"
    assert (found.predictions["score"] < 0.5).mean() == pytest.approx(share if used == "bf16" else 0)


def test_pixels_decide_for_scans(monkeypatch):
    monkeypatch.setattr(precision, "has_bf16", lambda device: True)
    cache, networks = ct_cache(3, 5, 16), {name: nn.Conv2d(1, 4, 3, padding=1) for name in ARMS[:2]}
    chosen = [segment(cache, networks, precision="auto", largest_change=bound).precision for bound in (0.0, 0.5)]
    assert chosen[0].decisions == 2 * 2 * 15 * 16 * 16
    assert chosen[0].changed > 0 and [each.used for each in chosen] == ["float32", "bf16"]
    assert replace(chosen[0], used="bf16", bound=0.5) == chosen[1]


@pytest.mark.parametrize(
    ("evaluation", "message"),
    [
        ({"precision": "fp16"}, "evaluation.precision: Input should be 'auto', 'float32' or 'bf16', got 'fp16'"),
        ({"largest_change": 1.0}, "evaluation.largest_change"),
        ({"surface": {"severities": [6]}}, r"evaluation.surface.severities.0: .*less than or equal to 5, got 6"),
        ({"surface": {"tolerance_mm": 0}}, "evaluation.surface.tolerance_mm: .*greater than 0"),
        ({"surface": {"tolerance": 3}}, "evaluation.surface.tolerance: unknown parameter"),
    ],
)
def test_settings_of_a_profile_that_cannot_be_are_named(evaluation, message, tmp_path):
    with pytest.raises(ProfileError, match=message):
        load_profile(write_profile(tmp_path, tiny_profile(evaluation=evaluation)))


def test_an_unknown_precision_is_named():
    with pytest.raises(UnknownNameError, match="float32"):
        classify(xray_cache(), {("scratch", 0): MeanLogit()}, precision="fp16")
