"""Paired tests of these networks against published examples, hand computation, SciPy and statsmodels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssrobust_lib.statistics.auroc import auroc, delong, patient_pseudo_values, placements
from ssrobust_lib.statistics.effect_sizes import cohens_dz, common_language, rank_biserial
from ssrobust_lib.statistics.paired_tests import (
    mcnemar,
    paired_t,
    rank_sum,
    signed_rank,
    smallest_signed_rank_p,
)

# Height differences of cross- and self-fertilised corn plants (Darwin 1876), the example of SciPy's documentation.
DARWIN = [6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75]


def test_signed_rank_of_darwins_plants():
    result = signed_rank(DARWIN)
    assert result.statistic == 24.0
    assert result.p == pytest.approx(0.041259765625)
    assert result.n == 15 and "exact" in result.test


def test_signed_rank_by_hand():
    # ranks 1, 2, 3, the smallest difference negative: W- = 1; sign patterns with a rank sum <= 1: 2 of 8 on each side
    result = signed_rank([-0.1, 0.2, 0.3])
    assert result.statistic == 1.0 and result.p == pytest.approx(0.5)


def test_ties_are_enumerated_exactly():
    from scipy.stats import PermutationMethod, wilcoxon

    differences = np.array([1, 1, 2, -2, 3, 3, 3, -1, 5, 5, 0, 0]) / 3
    expected = wilcoxon(np.round(differences[differences != 0], 12), method=PermutationMethod(n_resamples=2**12))
    assert signed_rank(differences).p == pytest.approx(expected.pvalue)


def test_rounding_errors_make_neither_ties_nor_differences():
    thirds = np.array([2 / 3 - 1 / 3, 1 / 3, 1 / 3, 0.1 + 0.2 - 0.3, 1 - 2 / 3])
    assert signed_rank(thirds).p == signed_rank([1, 1, 1, 0, 1]).p == pytest.approx(0.125)


def test_above_fifty_units_the_normal_approximation():
    from scipy.stats import wilcoxon

    smooth = np.random.default_rng(3).normal(0.1, 1, 80)
    for differences in (smooth, np.round(4 * smooth), np.r_[smooth, -smooth]):
        result = signed_rank(differences)
        assert result.p == pytest.approx(wilcoxon(differences, method="asymptotic").pvalue) and "normal" in result.test


def test_up_to_fifty_units_the_exact_distribution():
    from scipy.stats import wilcoxon

    for n in (5, 12, 49):
        differences = np.random.default_rng(n).normal(0.2, 1, n)
        assert signed_rank(differences).p == pytest.approx(wilcoxon(differences, method="exact").pvalue)


@pytest.mark.parametrize(
    ("differences", "why"), [([], "no unit"), ([0.0] * 4, "all 4"), ([0.0, 0.2], None), ([1.0], "one")]
)
def test_without_a_test_the_note_says_why(differences, why):
    result = signed_rank(differences)
    if why is None:
        assert result.p == 1.0
    else:
        assert result.p is None and result.statistic is None and why in result.note


@pytest.mark.parametrize("bad", [[np.nan, 1.0], [[1.0, 2.0]]])
def test_what_cannot_be_ranked_raises(bad):
    with pytest.raises(ValueError, match="differences: expected"):
        signed_rank(bad)


@settings(deadline=None)
@given(st.lists(st.integers(-6, 6), min_size=2, max_size=30))
def test_swapping_the_arms_changes_no_p(values):
    one, other = signed_rank(np.array(values) / 5), signed_rank(-np.array(values) / 5)
    assert one.p == other.p and one.statistic == other.statistic


def test_smallest_attainable_p():
    assert smallest_signed_rank_p(10) == pytest.approx(0.001953125)  # the paper's 0.002
    assert smallest_signed_rank_p(13) == pytest.approx(0.000244140625)  # and 0.0002
    assert smallest_signed_rank_p(0) == smallest_signed_rank_p(1) == 1.0
    assert signed_rank(np.arange(1, 8)).p == smallest_signed_rank_p(7)


def test_p_values_of_equal_arms_are_uniform():
    generator = np.random.default_rng(11)
    p = np.array([signed_rank(generator.normal(size=30)).p for _ in range(400)])
    for threshold in (0.05, 0.25, 0.5):
        three_sigma = 3 * np.sqrt(threshold * (1 - threshold) / p.size)
        assert abs(np.mean(p < threshold) - threshold) < three_sigma


def test_rank_sum_by_hand():
    # all of the first group below the second: 2 of the C(6, 3) = 20 arrangements are as extreme
    result = rank_sum([1, 2, 3], [4, 5, 6])
    assert result.statistic == 0 and result.p == pytest.approx(0.1)
    assert rank_sum([1.0], [2.0, 3.0]).p is None
    assert rank_sum([1.0, 1.0], [1.0, 1.0]).note == "all values are equal"


def test_placements_by_hand():
    # positives 0.9, 0.5 and negatives 0.5, 0.1: pairs won 1, 1, 1/2, 1 -> AUROC 3.5 / 4
    scores, labels = [0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0]
    np.testing.assert_allclose(placements(scores, labels), [1, 0.75, 0.75, 1])
    assert auroc(scores, labels) == 0.875
    with pytest.raises(ValueError, match="both classes"):
        placements([0.1, 0.2], [1, 1])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.booleans(), st.integers(0, 5)), min_size=4, max_size=40))
def test_auroc_is_the_share_of_ordered_pairs_and_the_mean_pseudo_value(images):
    scores, labels, patients = (np.array(column) for column in zip(*images, strict=True))
    labels = labels.astype(int)
    labels[:2] = 0, 1
    wins = np.sign(scores[labels == 1][:, None] - scores[labels == 0][None]) / 2 + 0.5
    assert auroc(scores, labels) == pytest.approx(wins.mean())
    pseudo = patient_pseudo_values(scores, labels, patients, 6)
    assert np.nanmean(pseudo) == pytest.approx(wins.mean())
    assert np.isnan(pseudo).sum() == 6 - np.unique(patients).size


def test_delong_by_its_formula():
    generator = np.random.default_rng(9)
    labels = (np.arange(90) < 30).astype(int)
    scores = labels * [[0.8], [1.2]] + generator.normal(size=(2, 90))
    placed = np.array([placements(s, labels) for s in scores])
    difference = placed[1] - placed[0]
    positive, negative = difference[labels == 1], difference[labels == 0]
    z = positive.mean() / np.sqrt(positive.var(ddof=1) / 30 + negative.var(ddof=1) / 60)
    pseudo = np.array([patient_pseudo_values(s, labels, np.arange(90), 90) for s in scores])
    result = delong(pseudo[1] - pseudo[0], labels)
    assert result.statistic == pytest.approx(z) and 0 < result.p < 1
    assert delong(np.zeros(90), labels).p is None


def test_delong_keeps_its_level_where_signed_ranks_over_placements_do_not():
    generator = np.random.default_rng(21)
    n, labels = 120, (np.arange(120) < 40).astype(int)
    rejected = np.zeros(2)
    for _ in range(200):
        shared = generator.normal(size=n)
        scores = labels + 0.8 * shared + 0.6 * generator.normal(size=(2, n))
        pseudo = np.array([patient_pseudo_values(s, labels, np.arange(n), n) for s in scores])
        rejected[0] += delong(pseudo[1] - pseudo[0], labels).p < 0.05
        rejected[1] += signed_rank(placements(scores[1], labels) - placements(scores[0], labels)).p < 0.05
    assert rejected[0] / 200 < 0.10
    assert rejected[1] / 200 > 0.20


def test_paired_t_is_scipys():
    from scipy.stats import ttest_1samp

    result = paired_t(DARWIN)
    assert (result.statistic, result.p) == pytest.approx((2.148, 0.0497), abs=1e-3)  # Fisher 1935, The Design, sec. 17
    assert result.p == pytest.approx(ttest_1samp(DARWIN, 0).pvalue)
    assert paired_t([1.0]).p is None and "equal" in paired_t([0.5, 0.5, 0.5]).note


def test_mcnemar_by_hand_and_by_statsmodels():
    from statsmodels.stats.contingency_tables import mcnemar as reference

    # 9 pairs only the arm has right and 2 only the reference: 2 (1 + 11 + 55) / 2^11, as exact2x2's vignette prints it
    arm = np.repeat([True, True, False, False], [21, 9, 2, 12])
    other = np.repeat([True, False, True, False], [21, 9, 2, 12])
    result = mcnemar(arm, other)
    assert result.p == pytest.approx(134 / 2048) and result.statistic == 2 and result.n == 44
    assert result.p == pytest.approx(reference([[21, 9], [2, 12]], exact=True).pvalue)
    assert mcnemar(other, arm).p == result.p and mcnemar(arm, arm).p is None
    with pytest.raises(ValueError, match="true and false"):
        mcnemar(arm.astype(float), other)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_agrees_with_statsmodels(only_arm, only_reference):
    from statsmodels.stats.contingency_tables import mcnemar as reference

    arm, other = (np.repeat([a, not a], [only_arm, only_reference]) for a in (True, False))
    if only_arm + only_reference == 0:
        assert "same units" in mcnemar(arm, other).note
    else:
        expected = reference([[0, only_arm], [only_reference, 0]], exact=True).pvalue
        assert mcnemar(arm, other).p == pytest.approx(expected)


def test_effect_sizes_by_hand():
    # ranks 1, 2, 3 of which the first is negative: (5 - 1) / 6; two of three ahead
    differences = [-0.1, 0.2, 0.3]
    assert rank_biserial(differences) == pytest.approx(4 / 6)
    assert common_language(differences) == pytest.approx(2 / 3) and common_language([0.0, 1.0]) == 0.75
    assert cohens_dz(DARWIN) == pytest.approx(paired_t(DARWIN).statistic / 15**0.5)
    assert rank_biserial([0.0, 0.0]) is None and cohens_dz([0.3, 0.3]) is None and common_language([]) is None


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-9, 9), min_size=1, max_size=30))
def test_effect_sizes_turn_with_the_arms(values):
    differences = np.array(values) / 7
    assert common_language(-differences) == pytest.approx(1 - common_language(differences))
    for measure in (rank_biserial, cohens_dz):
        there, back = measure(differences), measure(-differences)
        assert there is back is None or back == pytest.approx(-there)
    size = rank_biserial(differences)
    assert size is None or -1 <= size <= 1
