"""The test of the method: against published multi-reader results, other implementations, and what must not matter."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from van_dyke import LABELS, RATINGS

from ssrobust_lib.statistics.auroc import auroc, patient_pseudo_values
from ssrobust_lib.statistics.crossed import (
    HILLIS,
    Block,
    blocks_of,
    crossed_test,
    detectable_difference,
    equivalence_p,
)


def drawn(seeds=4, units=15, seed=0, spread=0.1):
    generator = np.random.default_rng(seed)
    return 0.05 + spread * generator.normal(size=(seeds, 1)) + 0.2 * generator.normal(size=(seeds, units))


def test_van_dyke_auroc_is_what_mrmcaov_prints():
    # MRMCaov 0.3, mrmc(empirical_auc(truth, rating), treatment, reader, case, data = VanDyke, cov = DeLong)
    assert [round(auroc(r, LABELS), 7) for r in RATINGS[0]] == [0.9196457, 0.8587762, 0.9038647, 0.9731079, 0.8297907]
    pseudo = np.array([[patient_pseudo_values(r, LABELS, np.arange(114), 114) for r in arm] for arm in RATINGS])
    result = crossed_test(blocks_of(pseudo[0] - pseudo[1], LABELS), degrees_of_freedom=HILLIS)
    assert result.estimate == pytest.approx(-0.04380032, abs=5e-9)
    assert result.standard_error == pytest.approx(0.0206825, abs=5e-8)
    assert result.df == pytest.approx(15.06611, abs=5e-6) and result.statistic == pytest.approx(-2.117747, abs=5e-7)
    assert result.p == pytest.approx(0.05123303, abs=5e-9)
    assert (result.low, result.high) == pytest.approx((-0.0878671960, 0.0002665519), abs=5e-11)


def test_van_dyke_sensitivity_is_what_mrmcaov_prints():
    # mrmc(binary_sens(truth, rating >= 3), treatment, reader, case, data = VanDyke), jackknife covariances
    found = (RATINGS[:, :, LABELS == 1] >= 3).astype(float)
    result = crossed_test(blocks_of(found[0] - found[1]), degrees_of_freedom=HILLIS)
    assert result.standard_error == pytest.approx(0.03780451, abs=5e-9)
    assert result.df == pytest.approx(15.71732, abs=5e-6) and result.p == pytest.approx(0.02008822, abs=5e-9)
    assert (result.low, result.high) == pytest.approx((-0.1780371, -0.0175185), abs=5e-8)


def test_of_means_it_is_the_two_way_analysis_of_variance():
    import pandas as pd
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    generator = np.random.default_rng(3)
    values = generator.normal(size=(4, 1)) + generator.normal(size=(1, 9)) + generator.normal(size=(4, 9))
    table = pd.DataFrame({"y": values.ravel(), "s": np.repeat(range(4), 9), "u": np.tile(range(9), 4)})
    squares = anova_lm(ols("y ~ C(s) + C(u)", table).fit())["mean_sq"]
    seed, unit, rest = squares["C(s)"], squares["C(u)"], squares["Residual"]
    variance = (seed + unit - rest) / 36
    df = (seed + unit - rest) ** 2 / (seed**2 / 3 + unit**2 / 8 + rest**2 / 24)
    result = crossed_test(blocks_of(values))
    assert (result.standard_error**2, result.df) == pytest.approx((variance, df))
    assert result.statistic == pytest.approx(values.mean() / variance**0.5)


def test_the_error_is_that_of_a_mixed_model():
    import pandas as pd
    from statsmodels.regression.mixed_linear_model import MixedLM

    generator = np.random.default_rng(8)
    values = 0.3 * generator.normal(size=(6, 1)) + 0.4 * generator.normal(size=(1, 25)) + generator.normal(size=(6, 25))
    table = pd.DataFrame({"s": np.repeat(range(6), 25), "u": np.tile(range(25), 6), "all": 1})
    parts = {"s": "0 + C(s)", "u": "0 + C(u)"}
    model = MixedLM.from_formula("y ~ 1", table.assign(y=values.ravel()), groups="all", vc_formula=parts)
    fit = model.fit(reml=True, method="powell")
    assert crossed_test(blocks_of(values)).standard_error == pytest.approx(fit.bse["Intercept"], rel=1e-3)


def test_without_covariance_it_is_the_t_test_over_seeds():
    from scipy.stats import ttest_1samp

    pair = np.array([[1.0, -1.0], [-1.0, 1.0]])  # what one seed gains on a unit, the other loses
    values = np.array([0.1, 0.4])[:, None] + np.tile(pair, 3)
    result = crossed_test(blocks_of(values))
    expected = ttest_1samp(values.mean(axis=1), 0)
    assert (result.p, result.df) == pytest.approx((expected.pvalue, 1))


def test_two_centres_add_their_variances():
    home, away = drawn(seed=1, spread=0.3), drawn(seed=2, spread=0.3, units=40) + 0.2
    gap = crossed_test([Block(1.0, away), Block(-1.0, home)])
    assert gap.estimate == pytest.approx(away.mean() - home.mean())
    theta = away.mean(axis=1) - home.mean(axis=1)
    assert gap.standard_error**2 >= theta.var(ddof=1) / 4 - 1e-15
    swapped = crossed_test([Block(1.0, home), Block(-1.0, away)])
    assert swapped.p == pytest.approx(gap.p) and swapped.low == pytest.approx(-gap.high)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 6), st.integers(2, 30), st.integers(0, 10_000), st.floats(0, 3), st.floats(-5, 5))
def test_what_must_not_change_it_does_not(seeds, units, seed, spread, factor):
    values = drawn(seeds, units, seed, spread)
    result = crossed_test(blocks_of(values))
    generator = np.random.default_rng(seed)
    shuffled = values[generator.permutation(seeds)][:, generator.permutation(units)]
    assert crossed_test(blocks_of(shuffled)).p == pytest.approx(result.p, rel=1e-6, abs=1e-12)
    assert crossed_test(blocks_of(-values)).p == pytest.approx(result.p, rel=1e-9)
    assert 0 <= result.p <= 1 and result.low <= result.estimate <= result.high
    assert (result.p < 0.05) == (result.low > 0 or result.high < 0)
    assert result.df >= min(seeds, units) - 1 - 1e-9
    if abs(factor) > 1e-3:
        scaled = crossed_test(blocks_of(factor * values))
        assert scaled.p == pytest.approx(result.p, rel=1e-6, abs=1e-12)


def test_why_there_is_no_result():
    one = crossed_test(blocks_of(drawn(seeds=1)))
    assert one.p is None and one.low is None and "1 seed" in one.note
    assert "group of 1 unit" in crossed_test(blocks_of(drawn(units=1))).note
    classes = np.array([0] * 14 + [1])
    assert "group of 1 unit" in crossed_test(blocks_of(drawn(), classes)).note
    same = crossed_test(blocks_of(np.full((3, 5), 0.25)))
    assert same.p is None and same.estimate == 0.25 and "+0.25, on every unit" in same.note
    with pytest.raises(ValueError, match="same seeds"):
        crossed_test([Block(1.0, drawn(3)), Block(-1.0, drawn(4))])
    with pytest.raises(ValueError, match="at least one block"):
        crossed_test([])
    with pytest.raises(ValueError, match="'Hillis'"):
        crossed_test(blocks_of(drawn()), degrees_of_freedom="Kenward")
    with pytest.raises(ValueError, match="one stratum for each of 15"):
        blocks_of(drawn(), np.zeros(3, dtype=np.int64))
    with pytest.raises(ValueError, match="finite values"):
        blocks_of([[np.nan, 1.0]])


def test_equivalence_is_that_of_statsmodels():
    from statsmodels.stats.weightstats import ttost_paired

    values = np.random.default_rng(4).normal(0.01, 0.05, 30)
    error = values.std(ddof=1) / 30**0.5
    expected = ttost_paired(values, np.zeros(30), -0.03, 0.03)[0]
    assert equivalence_p(values.mean(), error, 29, 0.03) == pytest.approx(expected)
    assert equivalence_p(0.0, error, 29, 10.0) < 1e-10 and equivalence_p(0.05, error, 29, 0.03) > 0.5
    with pytest.raises(ValueError, match="margin above 0"):
        equivalence_p(0.0, 1.0, 3, 0.0)


@pytest.mark.parametrize("df", [2, 4, 11, 60])
def test_detectable_difference_has_the_power_it_promises(df):
    from scipy.stats import nct, t

    size = detectable_difference(0.02, df)
    critical = t.ppf(0.975, df)
    power = nct.sf(critical, df, size / 0.02) + nct.cdf(-critical, df, size / 0.02)
    assert power == pytest.approx(0.8, abs=1e-3)


def test_detectable_difference_of_a_normal_test():
    assert detectable_difference(1.0, np.inf) == pytest.approx(1.959964 + 0.841621, abs=1e-5)
    assert detectable_difference(1.0, 1e5) == pytest.approx(detectable_difference(1.0, np.inf), abs=1e-3)
