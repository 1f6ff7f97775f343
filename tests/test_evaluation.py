"""Evaluation with small networks whose output is known in closed form."""

import numpy as np
import pandas as pd
import pytest
import torch
from toy_evaluations import NORMALISE, SEED, STRUCTURES, MeanLogit, Thresholds, at, ct_cache, xray_cache

from ssrobust_lib.corruptions import CORRUPTIONS, corrupt, sample_keys
from ssrobust_lib.evaluation.calibration_scores import classification_score, segmentation_score
from ssrobust_lib.evaluation.engine import evaluate_classification, evaluate_segmentation
from ssrobust_lib.evaluation.inference import Condition, Runner, corrupted_images, predict_masks, predict_probabilities
from ssrobust_lib.evaluation.metrics import accuracy
from ssrobust_lib.evaluation.predictions import CLASSIFICATION_COLUMNS, SEGMENTATION_COLUMNS
from ssrobust_lib.evaluation.voxel_counts import structure_counts
from ssrobust_lib.preprocessing import Grid, to_scan_grid
from ssrobust_lib.registry import UnknownNameError
from ssrobust_lib.scan_voxels import labels_by_cell


def classify(cache, networks, rows=None, **options):
    given = {"corruption": "gaussian_noise", "strengths": {1: 0.05, 5: 0.3}, "study_seed": SEED} | options
    return evaluate_classification(
        networks, cache, np.arange(len(cache.rows)) if rows is None else rows, NORMALISE, **given
    ).predictions


def segment(cache, networks, rows=None, **options):
    given = {"corruption": "gaussian_noise", "strengths": {2: 0.1}, "study_seed": SEED, "structures": STRUCTURES}
    rows = np.arange(len(cache.rows)) if rows is None else rows
    return evaluate_segmentation(networks, cache, rows, NORMALISE, **(given | options)).predictions


class TestClassification:
    def test_clean_scores_are_the_closed_form(self):
        cache = xray_cache()
        table = classify(cache, {("scratch", 0): MeanLogit(2.0)}, corruption="clean", strengths={0: 0.0})
        means = cache.images.astype(np.float64).mean(axis=(1, 2))
        logits = 2 * at(means) / np.sqrt(1 + 1e-5)
        np.testing.assert_allclose(table["score"], 1 / (1 + np.exp(-logits)), atol=1e-5)
        assert table.columns.tolist() == list(CLASSIFICATION_COLUMNS)
        assert table["score"].dtype == np.float32 and table["label"].dtype == np.int8
        assert table["sample_id"].tolist() == cache.rows["sample_id"].tolist()

    def test_one_row_per_network_severity_and_image(self):
        networks = {("scratch", 0): MeanLogit(), ("jigsaw", 0): MeanLogit(2.0), ("jigsaw", 1): MeanLogit(3.0)}
        table = classify(xray_cache(), networks, rows=[7, 1, 4])
        assert len(table) == 3 * 2 * 3
        assert not table.duplicated(["init", "seed", "severity", "sample_id"]).any()
        assert table["sample_id"][:3].tolist() == ["x7", "x1", "x4"]
        assert list(table.groupby(["init", "seed"], sort=False).groups) == list(networks)

    @pytest.mark.parametrize("corruption", CORRUPTIONS.names())
    def test_all_networks_see_the_pixels_that_the_key_stands_for(self, corruption):
        cache, strength = xray_cache(4), CORRUPTIONS[corruption].strongest / 3
        networks = {("scratch", 0): MeanLogit(), ("jigsaw", 1): MeanLogit()}
        classify(cache, networks, corruption=corruption, strengths={3: strength})
        images = torch.from_numpy(cache.images.astype(np.float32))[:, None]
        expected = corrupt(corruption, images, strength, sample_keys(SEED, cache.rows["sample_id"], corruption, 3))
        for network in networks.values():
            ((seen, channels_last),) = network.seen
            torch.testing.assert_close(seen, at(expected))
            assert channels_last

    def test_batch_size_and_selection_do_not_change_a_score(self):
        cache = xray_cache()
        whole = classify(cache, {("scratch", 0): MeanLogit()})
        by_three = classify(cache, {("scratch", 0): MeanLogit()}, batch_size=3)
        pd.testing.assert_frame_equal(whole, by_three)
        some = classify(cache, {("scratch", 0): MeanLogit()}, rows=[8, 2])
        joined = some.merge(whole, on=["severity", "sample_id"], suffixes=("", "_whole"))
        assert len(joined) == 4
        np.testing.assert_array_equal(joined["score"], joined["score_whole"])

    def test_networks_get_their_mode_back_and_are_not_trained(self):
        training, evaluating = MeanLogit().train(), MeanLogit().eval()
        classify(xray_cache(), {("scratch", 0): training, ("jigsaw", 0): evaluating})
        assert training.training and not evaluating.training
        assert training.norm.running_mean.item() == 0

    def test_progress_counts_images_over_severities(self):
        told = []
        classify(xray_cache(), {("scratch", 0): MeanLogit()}, batch_size=4, progress=lambda *said: told.append(said))
        assert told == [(4, 20), (8, 20), (12, 20), (16, 20), (18, 20), (20, 20)]

    def test_unlabelled_images_are_scored_with_a_missing_label(self):
        cache = xray_cache()
        cache.rows.loc[2, "label"] = pd.NA
        table = classify(cache, {("scratch", 0): MeanLogit()})
        assert table["label"].isna().sum() == 2 and table["score"].notna().all()

    def test_bf16_is_near_float32(self):
        cache, network = xray_cache(), {("scratch", 0): MeanLogit()}
        found = classify(cache, network, precision="bf16")["score"]
        np.testing.assert_allclose(found, classify(cache, network)["score"], atol=0.02)

    def test_calibration_score_is_the_accuracy_under_the_calibration_keys(self):
        cache, network = xray_cache(), MeanLogit(5.0)
        found = classification_score(
            {("scratch", 3): network}, cache, np.arange(10), NORMALISE, corruption="gaussian_noise", strength=0.2,
            study_seed=SEED,
        )  # fmt: skip
        keys = sample_keys(SEED, cache.rows["sample_id"], "gaussian_noise", "calibration")
        images = corrupt("gaussian_noise", torch.from_numpy(cache.images.astype(np.float32))[:, None], 0.2, keys)
        scores = predict_probabilities(network, images, NORMALISE)
        assert found == {("scratch", 3): accuracy(cache.rows["label"].to_numpy(int), scores)}

    def test_calibration_needs_labels(self):
        with pytest.raises(ValueError, match="15 of 15 images have no label"):
            classification_score({("scratch", 0): MeanLogit()}, ct_cache(), np.arange(15), NORMALISE,
                                 corruption="contrast", strength=0.2, study_seed=SEED)  # fmt: skip


class TestSegmentation:
    def test_a_perfect_network_has_dice_one_and_counts_whole_scans(self):
        cache = ct_cache()
        perfect = Thresholds(at(0.5), at(0.8))
        table = segment(cache, {("scratch", 0): perfect}, corruption="clean", strengths={0: 0.0}, batch_size=2)
        assert table["sample_id"].tolist() == ["s0"] * 3 + ["s1"] * 3 + ["s2"] * 3
        assert table["structure"].tolist() == list(STRUCTURES) * 3
        for value, name in enumerate(("low", "high"), start=1):
            part = table[table["structure"] == name]
            voxels = [(cache.masks[cache.rows["sample_id"] == scan] == value).sum() for scan in ("s0", "s1", "s2")]
            assert part["voxels_label"].tolist() == part["voxels_overlap"].tolist() == voxels
            assert (part["dice"] == 1).all()
        assert table.loc[table["structure"] == "absent", "dice"].isna().all()
        assert table.columns.tolist() == list(SEGMENTATION_COLUMNS)

    def test_counts_agree_with_counting_the_predicted_masks(self):
        cache, network = ct_cache(), Thresholds(at(0.45), at(0.9))
        table = segment(cache, {("jigsaw", 2): network}, batch_size=4)
        condition = Condition("gaussian_noise", 0.1, 2, SEED)
        images = corrupted_images(cache, np.arange(15), condition, by_slice=True)
        predicted = predict_masks(network, images, NORMALISE)
        assert predicted.dtype == np.uint8 and predicted.shape == cache.masks.shape
        for _, row in table.iterrows():
            of_scan = (cache.rows["sample_id"] == row["sample_id"]).to_numpy()
            classes, values = STRUCTURES[row["structure"]]
            label, found = np.isin(cache.masks[of_scan], values), np.isin(predicted[of_scan], classes)
            counts = (label.sum(), found.sum(), (label & found).sum())
            assert (row["voxels_label"], row["voxels_predicted"], row["voxels_overlap"]) == counts

    def test_a_scan_is_scored_on_its_own_voxels(self):
        """Twelve pixels of the network stand for nineteen of the scan, three slices for five; a border stays unseen."""
        generator = np.random.default_rng(3)
        grid = Grid((0.3, 2.1, 0.9), (1.6, 1.3, 1.5), (5, 19, 20), (3, 12, 12), (1.6, 1.3, 1.5))
        labels = generator.integers(0, 3, grid.shape_in).astype(np.uint8)
        cache, network = ct_cache(n_scans=1, n_slices=3), Thresholds(at(0.45), at(0.9))
        cache.truth["s0"] = (labels_by_cell(labels, grid), grid)
        predicted = to_scan_grid(predict_masks(network, torch.from_numpy(cache.images.astype(np.float32))[:, None],
                                               NORMALISE), grid)  # fmt: skip
        for batch_size in (1, 2, 16):
            table = segment(cache, {("scratch", 0): network}, corruption="clean", strengths={0: 0.0},
                            batch_size=batch_size).set_index("structure")  # fmt: skip
            for name, (classes, values) in STRUCTURES.items():
                label, found = np.isin(labels, values), np.isin(predicted, classes)
                counts = (label.sum(), found.sum(), (label & found).sum())
                assert tuple(table.loc[name, ["voxels_label", "voxels_predicted", "voxels_overlap"]]) == counts
        with pytest.raises(ValueError, match="expected all 3 slices of s0 in their order, got 2"):
            segment(cache, {("scratch", 0): network}, rows=[0, 2])

    def test_slices_have_noise_of_their_own_whatever_the_batch(self):
        cache = ct_cache()
        cache.images[:] = 0.5
        condition = Condition("gaussian_noise", 0.1, 2, SEED)
        images = corrupted_images(cache, np.arange(15), condition, by_slice=True)
        assert len({image.numpy().tobytes() for image in images}) == 15
        assert torch.equal(images[[9]], corrupted_images(cache, np.array([9]), condition, by_slice=True))

    def test_order_and_batch_of_slices_do_not_change_a_count(self):
        cache, network = ct_cache(), {("scratch", 0): Thresholds(at(0.45), at(0.9))}
        whole = segment(cache, network)
        interleaved = segment(cache, network, rows=np.arange(15).reshape(3, 5).T.flatten(), batch_size=2)
        pd.testing.assert_frame_equal(whole, interleaved)

    def test_classes_and_label_values_are_merged(self):
        cache = ct_cache()
        table = segment(cache, {("scratch", 0): Thresholds(at(0.5), at(0.8))}, corruption="clean", strengths={0: 0.0},
                        structures={"both": ([1, 2], [1, 2]), "without": ([1, 2], [1])})  # fmt: skip
        both, without = (table[table["structure"] == name] for name in ("both", "without"))
        assert (both["dice"] == 1).all()
        assert (both["voxels_label"] == [(m > 0).sum() for m in np.split(cache.masks, 3)]).all()
        assert (without["voxels_predicted"].to_numpy() == both["voxels_predicted"].to_numpy()).all()
        assert (without["voxels_overlap"] == without["voxels_label"]).all() and (without["dice"] < 1).all()

    def test_a_class_that_the_network_lacks_is_never_predicted(self):
        joint = np.zeros((256, 2), np.int64)
        joint[7] = (3, 4)
        counts = structure_counts(joint, {"seven": ([5], [7]), "one": ([1], [7])})
        assert counts.tolist() == [[7, 0, 0, 4, -1], [7, 4, 4, 0, -1]]

    def test_calibration_score_is_the_mean_over_scans(self):
        cache, network = ct_cache(), {("scratch", 0): Thresholds(at(0.45), at(0.9))}
        found = segmentation_score(network, cache, np.arange(15), NORMALISE, structures=STRUCTURES,
                                   corruption="contrast", strength=0.2, study_seed=SEED)  # fmt: skip
        table = segment(cache, network, corruption="contrast", strengths={1: 0.2})
        per_scan = table[table["voxels_label"] > 0].groupby("sample_id")["dice"].mean()
        assert found == {("scratch", 0): pytest.approx(per_scan.mean())}

    def test_progress_counts_slices(self):
        told = []
        segment(ct_cache(), {("scratch", 0): Thresholds(0, 1)}, batch_size=4, progress=lambda *said: told.append(said))
        assert told == [(4, 15), (5, 15), (9, 15), (10, 15), (14, 15), (15, 15)]

    @pytest.mark.parametrize(
        "structures", [{}, {"x": ([], [1])}, {"x": ([1], [])}, {"x": ([0], [1])}, {"x": ([1], [256])}]
    )
    def test_structures_without_foreground_are_refused(self, structures):
        with pytest.raises(ValueError, match="structure"):
            segment(ct_cache(), {("scratch", 0): Thresholds(0, 1)}, structures=structures)

    def test_a_cache_without_masks_is_refused(self):
        with pytest.raises(ValueError, match="no masks"):
            segment(xray_cache(), {("scratch", 0): Thresholds(0, 1)})


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"strengths": {0: 0.1}}, "severities 1 to 5"),
            ({"strengths": {6: 0.1}}, "severities 1 to 5"),
            ({"strengths": {}}, "severities 1 to 5"),
            ({"strengths": {1: 0.7}}, "expected 0 to 0.5"),
            ({"corruption": "clean"}, "clean images have severity 0"),
            ({"rows": []}, "integers of shape"),
            ({"rows": [0, 10]}, r"positions in 0..9, got 0..10"),
            ({"rows": [-1]}, r"got -1..-1"),
            ({"rows": np.zeros(10, bool)}, "np.flatnonzero"),
            ({"batch_size": 0}, "at least 1, got 0"),
        ],
    )
    def test_wrong_conditions_are_named(self, options, message):
        with pytest.raises(ValueError, match=message):
            classify(xray_cache(), {("scratch", 0): MeanLogit()}, **options)

    def test_unknown_corruption_and_no_networks(self):
        with pytest.raises(UnknownNameError, match="gaussian_blur"):
            classify(xray_cache(), {("scratch", 0): MeanLogit()}, corruption="blur")
        with pytest.raises(ValueError, match="at least one"):
            classify(xray_cache(), {})

    def test_a_network_of_the_other_task_is_refused(self):
        with pytest.raises(ValueError, match="one logit per image"):
            classify(xray_cache(), {("scratch", 0): Thresholds(0, 1)})
        with pytest.raises(ValueError, match="a logit per class and pixel"):
            segment(ct_cache(), {("scratch", 0): MeanLogit()})

    def test_a_spread_of_zero_is_refused(self):
        with pytest.raises(ValueError, match="std above 0"):
            predict_probabilities(MeanLogit(), torch.zeros(1, 1, 4, 4), (0.5, 0.0))

    def test_a_device_that_is_not_there_is_refused(self):
        if torch.accelerator.is_available():
            pytest.skip("this machine has an accelerator")
        with pytest.raises(ValueError, match="no accelerator"):
            Runner("cuda")
