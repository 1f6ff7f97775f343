"""Metrics against closed forms, pair counting, scikit-learn, torchmetrics and MONAI."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ssrobust_lib.torchvision_ops  # noqa: F401  (torchmetrics and MONAI import torchvision)
from ssrobust_lib.evaluation.metrics import (
    CALIBRATION_BINS,
    CLASSIFICATION_METRICS,
    LOWER_IS_BETTER,
    SEGMENTATION_METRICS,
    accuracy,
    auroc,
    auroc_components,
    average_precision,
    balanced_accuracy,
    brier,
    correct,
    dice,
    dice_per_scan,
    expected_calibration_error,
)

REFERENCE_SIZES = [(40, 0.5), (300, 0.1), (300, 0.9)]


def tied_scores(n: int, share: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and scores with many ties, none at the threshold."""
    generator = np.random.default_rng(seed)
    labels = (generator.random(n) < share).astype(np.int8)
    scores = np.round(np.clip(0.3 * labels + generator.random(n) * 0.7, 0, 1), 1) * 0.98 + 0.005
    return labels, scores.astype(np.float32)


@pytest.mark.parametrize("name", CLASSIFICATION_METRICS.names())
class TestEveryClassificationMetric:
    def test_perfect_and_inverted_scores(self, name):
        """Certain and right has the best value there is; certain and wrong the worst (precision's is not 0)."""
        labels = np.array([0, 1, 0, 1, 1])
        metric, best = CLASSIFICATION_METRICS[name], 0 if name in LOWER_IS_BETTER else 1
        assert metric(labels, labels.astype(float)) == best
        # precision never falls below what the ties at 0 leave: three of five images are positive
        assert metric(labels, 1.0 - labels) == pytest.approx(0.6 if name == "average_precision" else 1 - best)

    def test_order_of_images_does_not_matter(self, name):
        labels, scores = tied_scores(60, 0.4)
        order = np.random.default_rng(1).permutation(60)
        metric = CLASSIFICATION_METRICS[name]
        assert metric(labels[order], scores[order]) == pytest.approx(metric(labels, scores), abs=1e-12)

    def test_no_images_give_nan(self, name):
        assert np.isnan(CLASSIFICATION_METRICS[name](np.array([], int), np.array([])))

    @pytest.mark.parametrize(
        ("labels", "scores", "message"),
        [
            ([0, 1], [0.2], "one length"),
            ([[0, 1]], [[0.2, 0.3]], r"shape \(N,\)"),
            ([0, 2], [0.2, 0.3], "expected 0 and 1, got 0, 2"),
            ([0, 1], [0.2, float("nan")], "1 of 2 are NaN"),
        ],
    )
    def test_wrong_input_is_named(self, name, labels, scores, message):
        with pytest.raises(ValueError, match=message):
            CLASSIFICATION_METRICS[name](np.array(labels), np.array(scores))


@pytest.mark.parametrize(("n", "share"), REFERENCE_SIZES)
def test_classification_metrics_agree_with_scikit_learn(n, share):
    reference = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    from sklearn.calibration import calibration_curve

    labels, scores = tied_scores(n, share)
    decided = scores >= 0.5
    assert accuracy(labels, scores) == pytest.approx(reference.accuracy_score(labels, decided), abs=1e-12)
    assert balanced_accuracy(labels, scores) == pytest.approx(
        reference.balanced_accuracy_score(labels, decided), abs=1e-12
    )
    assert auroc(labels, scores) == pytest.approx(reference.roc_auc_score(labels, scores), abs=1e-12)
    assert average_precision(labels, scores) == pytest.approx(
        reference.average_precision_score(labels, scores), abs=1e-12
    )
    assert brier(labels, scores) == pytest.approx(reference.brier_score_loss(labels, scores), abs=1e-7)
    shares, means = calibration_curve(labels, scores, n_bins=CALIBRATION_BINS)
    filled = np.histogram(scores, bins=CALIBRATION_BINS, range=(0, 1))[0]
    expected = np.sum(np.abs(shares - means) * filled[filled > 0]) / n
    assert expected_calibration_error(labels, scores) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(("n", "share"), REFERENCE_SIZES)
def test_classification_metrics_agree_with_torchmetrics(n, share):
    import torch
    from torchmetrics.functional.classification import (
        binary_accuracy,
        binary_auroc,
        binary_average_precision,
        binary_calibration_error,
        binary_recall,
        binary_specificity,
    )

    labels, scores = tied_scores(n, share)
    target, predicted = torch.from_numpy(labels).long(), torch.from_numpy(scores)
    assert accuracy(labels, scores) == pytest.approx(binary_accuracy(predicted, target).item(), abs=1e-6)
    assert auroc(labels, scores) == pytest.approx(binary_auroc(predicted, target).item(), abs=1e-6)
    both = (binary_recall(predicted, target) + binary_specificity(predicted, target)) / 2
    assert balanced_accuracy(labels, scores) == pytest.approx(both.item(), abs=1e-6)
    assert average_precision(labels, scores) == pytest.approx(
        binary_average_precision(predicted, target).item(), abs=1e-6
    )
    calibration = binary_calibration_error(predicted, target, n_bins=CALIBRATION_BINS)
    assert expected_calibration_error(labels, scores) == pytest.approx(calibration.item(), abs=1e-6)


def test_calibration_error_and_brier_by_hand():
    labels, scores = np.array([1, 0, 1, 1]), np.array([0.9, 0.9, 0.1, 1.0])
    # bins of 0.9 (two images, half of them positive), 0.1 (one, positive) and 1.0, which shares the last bin with none
    assert expected_calibration_error(labels, scores) == pytest.approx((2 * 0.4 + 0.9 + 0.0) / 4)
    assert brier(labels, scores) == pytest.approx((0.01 + 0.81 + 0.81 + 0.0) / 4)
    with pytest.raises(ValueError, match="expected probabilities, got -1 to 2"):
        expected_calibration_error(np.array([0, 1]), np.array([-1.0, 2.0]))


def test_a_score_at_the_threshold_counts_as_positive():
    assert correct(np.array([1, 0]), np.array([0.5, 0.5])).tolist() == [True, False]


def test_the_majority_answer_has_half_the_balanced_accuracy():
    labels = np.array([0] * 9 + [1])
    assert accuracy(labels, np.full(10, 0.1)) == 0.9
    assert balanced_accuracy(labels, np.full(10, 0.1)) == 0.5
    assert auroc(labels, np.full(10, 0.1)) == 0.5


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_alone_has_no_auroc_and_no_balanced_accuracy(label):
    labels, scores = np.full(4, label), np.linspace(0.1, 0.9, 4)
    assert np.isnan([auroc(labels, scores), balanced_accuracy(labels, scores), average_precision(labels, scores)]).all()
    assert np.isnan(auroc_components(labels, scores)).all()


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=30))
@settings(max_examples=60, deadline=None)
def test_auroc_and_its_components_count_pairs(pairs):
    labels = np.array([positive for positive, _ in pairs], dtype=int)
    scores = np.array([score / 5 for _, score in pairs])
    positive, negative = scores[labels == 1], scores[labels == 0]
    if len(positive) == 0 or len(negative) == 0:
        return
    wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)  # (positive, negative)
    assert auroc(labels, scores) == pytest.approx(wins.mean(), abs=1e-12)
    components = auroc_components(labels, scores)
    np.testing.assert_allclose(components[labels == 1], wins.mean(axis=1), atol=1e-12)
    np.testing.assert_allclose(components[labels == 0], wins.mean(axis=0), atol=1e-12)


class TestDice:
    def test_the_definition_at_its_edges(self):
        label, predicted, overlap = [10, 0, 10, 0, 10, 10], [10, 0, 0, 7, 10, 30], [10, 0, 0, 0, 5, 10]
        found = SEGMENTATION_METRICS["dice"](label, predicted, overlap)
        np.testing.assert_array_equal(found, [1, np.nan, 0, 0, 0.5, 0.5])

    @pytest.mark.parametrize("counts", [(5, 5, 6), (5, 2, 3), (2, 5, 3), (5, 5, -1)])
    def test_impossible_counts_are_refused(self, counts):
        with pytest.raises(ValueError, match="expected 0 <= overlap"):
            dice(*counts)

    def test_agrees_with_monai_on_a_volume(self):
        import torch
        from monai.metrics import compute_dice

        generator = torch.Generator().manual_seed(0)
        label = torch.randint(0, 4, (1, 6, 12, 12), generator=generator)
        predicted = torch.where(torch.rand(label.shape, generator=generator) < 0.6, label, label.flip(1))
        predicted[predicted == 3] = 0  # one structure missed
        one_hot = [torch.stack([(mask == k) for k in (1, 2, 3)], dim=1).float() for mask in (predicted, label)]
        expected = compute_dice(*one_hot)[0].numpy()
        counts = [[int((label == k).sum()), int((predicted == k).sum()), int(((label == k) & (predicted == k)).sum())]
                  for k in (1, 2, 3)]  # fmt: skip
        np.testing.assert_allclose(dice(*np.transpose(counts)), expected, atol=1e-6)
        assert expected[2] == 0

    def test_a_scan_averages_the_structures_of_its_label(self):
        table = pd.DataFrame(
            [("s1", 0, "liver", 10, 10, 8), ("s1", 0, "spleen", 10, 0, 0), ("s1", 0, "bladder", 0, 5, 0),
             ("s1", 1, "liver", 10, 10, 10), ("s2", 0, "liver", 0, 0, 0)],
            columns=["sample_id", "seed", "structure", "voxels_label", "voxels_predicted", "voxels_overlap"],
        )  # fmt: skip
        table["dice"] = dice(table["voxels_label"], table["voxels_predicted"], table["voxels_overlap"])
        found = dice_per_scan(table.assign(hd95_mm=[1.0, np.nan, np.nan, 2.0, np.nan]))
        assert found.sort_values("seed").to_dict("records") == [
            {"sample_id": "s1", "seed": 0, "dice": 0.4, "n_structures": 2},
            {"sample_id": "s1", "seed": 1, "dice": 1.0, "n_structures": 1},
        ]
