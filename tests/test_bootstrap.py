"""Bootstrap intervals and corrections for many tests: against SciPy, statsmodels, hand computation and their cover."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssrobust_lib.statistics.auroc import auroc, patient_pseudo_values
from ssrobust_lib.statistics.bootstrap import (
    bca_interval,
    hierarchical_replicates,
    percentile_interval,
    resample_counts,
)
from ssrobust_lib.statistics.multiplicity import benjamini_hochberg, holm


def replicates(differences, random=1, n=2000, strata=None):
    """Means of resampled units: (n,) of differences by unit, (n, seeds) of differences by seed and unit."""
    differences = np.asarray(differences, dtype=float)
    counts = resample_counts(differences.shape[-1], n, np.random.default_rng(random), strata)
    return counts @ differences.T / differences.shape[-1]


def test_resample_counts_keep_strata():
    strata = np.array([0, 1, 0, 1, 1])
    counts = resample_counts(5, 200, np.random.default_rng(0), strata)
    assert (counts[:, strata == 0].sum(axis=1) == 2).all() and (counts[:, strata == 1].sum(axis=1) == 3).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(5), abs=0.2)


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_bootstrap_agrees_with_scipy(method):
    from scipy.stats import bootstrap

    differences = np.random.default_rng(5).exponential(size=60) - 0.8
    drawn = replicates(differences, n=20_000)
    ours = bca_interval(drawn, differences) if method == "bca" else percentile_interval(drawn)
    theirs = bootstrap(
        (differences,), np.mean, n_resamples=20_000, method="BCa" if method == "bca" else method,
        rng=np.random.default_rng(2),
    ).confidence_interval  # fmt: skip
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_bootstrap_cover_is_near_nominal():
    generator, hits = np.random.default_rng(7), 0
    for k in range(200):
        low, high = percentile_interval(replicates(generator.normal(0.3, 1, 50), random=k, n=500))
        hits += low <= 0.3 <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_bca_is_undefined_without_spread_or_with_all_replicates_on_one_side():
    assert bca_interval(replicates([0.3] * 4, n=50), np.full(4, 0.3)) is None
    assert bca_interval(np.array([2.0, 3.0]), np.array([0.0, 1.0])) is None


def test_redrawn_seeds_hold_the_spread_over_seeds():
    generator = np.random.default_rng(2)
    seed_effects = np.array([-0.2, 0.0, 0.1, 0.3])
    by_seed = replicates(seed_effects[:, None] + generator.normal(0, 0.05, (4, 80)))
    units, both = (
        np.ptp(percentile_interval(r)) for r in (by_seed.mean(axis=1), hierarchical_replicates(by_seed, generator))
    )
    assert both > 10 * units
    assert both == pytest.approx(4 * seed_effects.std() / 2, rel=0.25)  # 4 standard errors


def test_without_spread_over_seeds_redrawing_them_changes_nothing():
    by_seed = replicates(np.tile(np.random.default_rng(0).normal(size=30), (3, 1)))
    both = hierarchical_replicates(by_seed, np.random.default_rng(1))
    np.testing.assert_allclose(both, by_seed[:, 0])


def test_linearised_interval_of_the_auroc_agrees_with_recomputing_it():
    generator = np.random.default_rng(4)
    labels = (np.arange(60) < 20).astype(int)
    scores = labels * [[0.7], [1.3]] + generator.normal(size=(2, 60))
    pseudo = np.array([patient_pseudo_values(s, labels, np.arange(60), 60) for s in scores])
    linear = percentile_interval(replicates(pseudo[1] - pseudo[0], strata=labels))
    exact = []
    for _ in range(1000):
        drawn = np.concatenate([generator.choice(np.flatnonzero(labels == c), (labels == c).sum()) for c in (0, 1)])
        exact.append(auroc(scores[1][drawn], labels[drawn]) - auroc(scores[0][drawn], labels[drawn]))
    assert linear == pytest.approx(tuple(np.quantile(exact, [0.025, 0.975])), abs=0.03)


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


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_benjamini_hochberg_agrees_with_statsmodels_and_is_never_above_holm(p_values):
    from statsmodels.stats.multitest import multipletests

    corrected = benjamini_hochberg(p_values)
    np.testing.assert_allclose(corrected, multipletests(p_values, method="fdr_bh")[1])
    assert (corrected <= holm(p_values) + 1e-12).all() and (corrected >= np.array(p_values) - 1e-12).all()


def test_benjamini_hochberg_leaves_out_what_was_not_tested():
    np.testing.assert_allclose(benjamini_hochberg([0.01, np.nan, 0.04]), [0.02, np.nan, 0.04])
    assert np.isnan(benjamini_hochberg([np.nan])).all()
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        benjamini_hochberg([1.2])
