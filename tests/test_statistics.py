"""Paired tests, intervals and Holm against published examples, hand computation and SciPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssrobust_lib.statistics.auroc import auroc, delong, patient_pseudo_values, placements
from ssrobust_lib.statistics.paired_tests import (
    bca_interval,
    hierarchical_bootstrap,
    holm,
    mean_difference,
    paired_bootstrap,
    rank_sum,
    resample_counts,
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

    differences = np.random.default_rng(3).normal(0.1, 1, 80)
    result = signed_rank(differences)
    assert result.p == pytest.approx(wilcoxon(differences, method="asymptotic").pvalue) and "normal" in result.test


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


def test_holm_by_hand():
    # sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1 = 0.02, 0.03, 0.06, 0.04 -> made monotone: 0.06 for the last
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
@settings(max_examples=20, deadline=None)
def test_holm_agrees_with_statsmodels(p_values):
    from statsmodels.stats.multitest import multipletests

    np.testing.assert_allclose(holm(p_values), multipletests(p_values, method="holm")[1])


def test_holm_leaves_out_what_was_not_tested():
    corrected = holm([0.02, np.nan, 0.03])
    np.testing.assert_allclose(corrected[[0, 2]], [0.04, 0.04])
    assert np.isnan(corrected[1]) and holm([np.nan]).shape == (1,)
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        holm([1.2])


def test_mean_difference():
    assert mean_difference([0.5, 1.0], [0.25, 0.5]) == 0.375
    with pytest.raises(ValueError, match="equally long"):
        mean_difference([1.0], [1.0, 2.0])


def test_resample_counts_keep_strata():
    strata = np.array([0, 1, 0, 1, 1])
    counts = resample_counts(5, 200, np.random.default_rng(0), strata)
    assert (counts[:, strata == 0].sum(axis=1) == 2).all() and (counts[:, strata == 1].sum(axis=1) == 3).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(5), abs=0.2)


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_bootstrap_agrees_with_scipy(method):
    from scipy.stats import bootstrap

    differences = np.random.default_rng(5).exponential(size=60) - 0.8
    ours = paired_bootstrap(differences, generator=np.random.default_rng(1), n_resamples=20_000, method=method)
    theirs = bootstrap(
        (differences,), np.mean, n_resamples=20_000, method="BCa" if method == "bca" else method,
        rng=np.random.default_rng(2),
    ).confidence_interval  # fmt: skip
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_bootstrap_cover_is_near_nominal():
    generator, hits = np.random.default_rng(7), 0
    for _ in range(200):
        interval = paired_bootstrap(generator.normal(0.3, 1, 50), generator=generator, n_resamples=500)
        hits += interval.low <= 0.3 <= interval.high
    assert 0.88 <= hits / 200 <= 0.99


def test_bootstrap_is_the_same_for_the_same_generator():
    first, second, third = (
        paired_bootstrap(DARWIN, generator=np.random.default_rng(seed), n_resamples=300) for seed in (4, 4, 5)
    )
    assert first == second and first != third


def test_bootstrap_without_an_interval():
    generator = np.random.default_rng(0)
    assert paired_bootstrap([0.3], generator=generator).low is None
    assert paired_bootstrap([0.3] * 4, generator=generator, method="bca", n_resamples=50).low is None
    assert bca_interval(np.array([2.0, 3.0]), np.array([0.0, 1.0])) is None
    with pytest.raises(ValueError, match="'percentile' or 'bca'"):
        paired_bootstrap([0.1, 0.2], generator=generator, method="t")
    with pytest.raises(ValueError, match="level"):
        paired_bootstrap([0.1, 0.2], generator=generator, level=95)


def test_hierarchical_bootstrap_holds_the_spread_over_seeds():
    generator = np.random.default_rng(2)
    seed_effects = np.array([-0.2, 0.0, 0.1, 0.3])
    differences = seed_effects[:, None] + generator.normal(0, 0.05, (4, 80))
    units = paired_bootstrap(differences.mean(axis=0), generator=generator)
    both = hierarchical_bootstrap(differences, generator=generator)
    assert both.high - both.low > 10 * (units.high - units.low)
    assert both.high - both.low == pytest.approx(4 * seed_effects.std() / 2, rel=0.25)  # 4 standard errors
    assert hierarchical_bootstrap(differences[:1], generator=generator).low is None


def test_without_spread_over_seeds_both_bootstraps_agree():
    same = np.tile(np.asarray(DARWIN, float), (3, 1))
    units = paired_bootstrap(same[0], generator=np.random.default_rng(1))
    both = hierarchical_bootstrap(same, generator=np.random.default_rng(1))
    assert (both.low, both.high) == pytest.approx((units.low, units.high))


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


def test_linearised_interval_of_the_auroc_agrees_with_recomputing_it():
    generator = np.random.default_rng(4)
    labels = (np.arange(60) < 20).astype(int)
    scores = labels * [[0.7], [1.3]] + generator.normal(size=(2, 60))
    pseudo = np.array([patient_pseudo_values(s, labels, np.arange(60), 60) for s in scores])
    linear = paired_bootstrap(pseudo[1] - pseudo[0], generator=generator, strata=labels)
    exact = []
    for _ in range(1000):
        drawn = np.concatenate([generator.choice(np.flatnonzero(labels == c), (labels == c).sum()) for c in (0, 1)])
        exact.append(auroc(scores[1][drawn], labels[drawn]) - auroc(scores[0][drawn], labels[drawn]))
    assert (linear.low, linear.high) == pytest.approx(tuple(np.quantile(exact, [0.025, 0.975])), abs=0.03)
