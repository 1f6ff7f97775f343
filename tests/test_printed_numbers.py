"""What the paper's printed numbers allow: against exact distributions, simulated data and closed forms."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_rel, wilcoxon

from ssrobust_lib.book import readings_paper
from ssrobust_lib.datasets.manifest import load_manifest
from ssrobust_lib.statistics.paired_tests import EXACT_UP_TO, smallest_signed_rank_p
from ssrobust_lib.statistics.paper import paper_results
from ssrobust_lib.statistics.printed_numbers import (
    FINDINGS,
    GAIN_COLUMNS,
    PRETEXT_SETS,
    disagreements,
    gain_table,
    overlap,
    pretext_scans,
    rounding_range,
    row_test_size,
    row_training_size,
)
from ssrobust_lib.statistics.printed_tests import (
    SIGNED_RANK_COLUMNS,
    T_TEST_COLUMNS,
    auroc_correlations,
    auroc_error,
    discordant_shares,
    fitting_sizes,
    needed_correlations,
    possible_rank_sums,
    signed_rank_p_values,
    signed_rank_table,
    smallest_n,
    t_test_table,
)


@pytest.fixture(scope="module")
def results():
    return paper_results()


def changed(results, name, **columns):
    """The results with other printed numbers in one row."""
    table = results.copy()
    at = table.index[table["id"] == name][0]
    for column, text in columns.items():
        table.at[at, f"printed{column}"] = text
        table.at[at, column.strip("_") or "value"] = float(text.lstrip("<").replace(",", ""))
    return table


@given(st.integers(0, 9999), st.integers(0, 4))
def test_a_printed_number_stands_for_all_that_rounds_to_it(units, digits):
    printed = f"{units / 10**digits:.{digits}f}"
    low, high = rounding_range(printed)
    assert high - low == pytest.approx(10.0**-digits) and low < float(printed) < high
    inside = low + 0.9 * (high - low)
    assert float(f"{inside:.{digits}f}") == pytest.approx(float(printed))


def test_bounds_thousands_and_missing_numbers():
    assert rounding_range("<0.001") == (0.0, 0.001) and rounding_range("3,024") == (3023.5, 3024.5)
    with pytest.raises(ValueError, match="empty"):
        rounding_range("")
    assert overlap((0, 1), (0.5, 2)) and not overlap((0, 1), (1, 2)) and not overlap((0.1 + 0.2, 1), (0, 0.3))


@pytest.mark.parametrize("n", [5, 10, 13, 22])
def test_signed_rank_p_values_are_those_of_scipy(n):
    p_values = signed_rank_p_values(n)
    assert p_values[0] == smallest_signed_rank_p(n) and p_values[-1] == 1.0 and (np.diff(p_values) >= 0).all()
    generator = np.random.default_rng(n)
    for _ in range(5):
        differences = generator.permutation(np.arange(1, n + 1)) * generator.choice([-1, 1], n)
        found = wilcoxon(differences, method="exact")
        assert p_values[int(found.statistic)] == pytest.approx(found.pvalue)


def test_numbers_without_an_exact_distribution_are_refused():
    for n in (0, EXACT_UP_TO + 1):
        with pytest.raises(ValueError, match=f"1 to {EXACT_UP_TO} units, got {n}"):
            signed_rank_p_values(n)


def test_approximation_joins_the_exact_rank_sums():
    exact, beyond = (possible_rank_sums(n, "0.002") for n in (EXACT_UP_TO, EXACT_UP_TO + 1))
    totals = [n * (n + 1) / 2 for n in (EXACT_UP_TO, EXACT_UP_TO + 1)]
    assert exact[0] / totals[0] == pytest.approx(beyond[0] / totals[1], abs=0.01)
    for lost in possible_rank_sums(440, "0.002"):
        ranks, remaining = list(range(440, 0, -1)), lost
        for k, rank in enumerate(ranks):
            if rank <= remaining:
                remaining, ranks[k] = remaining - rank, -rank
        assert f"{wilcoxon(ranks, method='asymptotic').pvalue:.3f}" == "0.002"


def test_fewest_pairs_of_the_printed_p_values(results):
    assert [smallest_n(p) for p in ("0.002", "0.0002", "<0.001")] == [10, 13, 11]
    assert possible_rank_sums(10, "0.003") is None and possible_rank_sums(11, "0.003") == (2, 2)
    for n in range(1, 10):
        assert possible_rank_sums(n, "0.002") is None
    table = signed_rank_table(results)
    assert tuple(table.columns) == SIGNED_RANK_COLUMNS
    assert set(table["source"]) == {"Table 1", "Table 2", "Table 4", "Figure 3", "Figure 4"}
    severities = table["unit"] == "severities"
    area = table["metric"] == "auroc"
    assert severities.any() and not table.loc[severities | area, "possible"].any()
    assert table.loc[~severities & ~area, "possible"].all() and (table["note"] != "").sum() == area.sum() == 1
    assert table.loc[area, "note"].item() == "an AUROC has no value per image"
    shown = readings_paper.signed_rank_html(results).html
    assert shown.count("an AUROC has no value per image") == 1 and "test images no p below" not in shown
    assert table.loc[severities, "rank_biserial_low"].isna().all()
    kidneys = table[table["unit"] == "kidneys, two to a scan"]["n"].item()
    assert kidneys == 2 * load_manifest("kits19").counts["labelled"]


@given(st.integers(5, 60), st.floats(-0.5, 0.95), st.integers(0, 2**32 - 1))
def test_the_needed_correlation_is_that_of_the_data(n, correlation, seed):
    """From the rounded mean, deviations and p of made-up data comes back a range that holds their correlation."""
    generator = np.random.default_rng(seed)
    first = generator.normal(0, 1, n)
    second = correlation * first + np.sqrt(1 - correlation**2) * generator.normal(0, 1, n) + 0.6
    p = ttest_rel(second, first).pvalue
    difference = second.mean() - first.mean()
    if difference <= 0.05 or not 0.0005 < p < 0.5:
        return
    spreads = [rounding_range(f"{values.std(ddof=1):.3f}") for values in (first, second)]
    about = (difference - 0.001, difference + 0.001)
    low, high = needed_correlations(n, f"{p:.4f}", about, spreads)
    assert low - 1e-6 <= np.corrcoef(first, second)[0, 1] <= high + 1e-6


def test_means_and_deviations_allow_few_scans_at_the_other_centre(results):
    table = t_test_table(results)
    assert tuple(table.columns) == T_TEST_COLUMNS
    table = table.set_index(["source", "unit"])
    assert table.loc[("Table 2", "scans"), "possible"] and not table.loc[("Table 4", "scans with labels"), "possible"]
    for source in ("Table 2", "Table 4"):
        fewest, most = fitting_sizes(results, source)
        rows = table.loc[source]
        assert (rows["n"].between(fewest, most) == rows["possible"]).all()
    none = changed(results, "table2.dice.jigsaw", _std="0.300")
    assert fitting_sizes(none, "Table 2") is None or fitting_sizes(none, "Table 2")[0] > 1000


def test_discordant_images_give_the_printed_p(results):
    shares, n = discordant_shares(results), 3024
    assert shares["least"] < shares["low"] < shares["high"] < shares["independent"] < shares["most"]
    for share, gain in ((shares["low"] * 1.02, 0.0211), (shares["high"] * 0.98, 0.0229)):
        images, more = round(share * n), round(gain * n)
        won = (images + more) // 2
        differences = np.concatenate([np.ones(won), -np.ones(images - won)])
        assert f"{wilcoxon(differences, method='asymptotic').pvalue:.4f}" == "0.0002"


def test_error_of_an_auroc():
    generator = np.random.default_rng(0)
    n_positive, n_negative = 60, 120
    positive, negative = generator.exponential(4, (3000, n_positive)), generator.exponential(1, (3000, n_negative))
    areas = np.array([(p[:, None] > q).mean() for p, q in zip(positive, negative, strict=True)])
    assert areas.mean() == pytest.approx(0.8, abs=0.01)  # exponential scores: 4 / (4 + 1)
    assert auroc_error(0.8, n_positive, n_negative) == pytest.approx(areas.std(), rel=0.05)


def test_aurocs_need_a_correlation_that_exists(results):
    low, high = auroc_correlations(results)
    assert 0 < low < high < 1
    smaller = auroc_correlations(changed(results, "table1.auroc.jigsaw", _p="0.0003"))
    assert smaller[0] > high  # a smaller p from the same gain takes arms that are more alike


def test_stated_gains_are_points(results):
    table = gain_table(results).set_index("gain")
    assert tuple(table.reset_index().columns) == GAIN_COLUMNS
    assert table["as_points"].all() and list(table.index[table["as_percent"]]) == ["text.dice.gain"]
    assert table.loc["text.auroc.gain", ["points", "percent"]].tolist() == pytest.approx([1.7, 100 * 0.017 / 0.804])
    assert (table["points_low"] < table["points"]).all() and (table["points"] < table["points_high"]).all()
    other = gain_table(changed(results, "text.kits.gain", **{"": "37.9"})).set_index("gain")
    assert not other.loc["text.kits.gain", "as_points"] and other.loc["text.kits.gain", "as_percent"]


def test_what_disagrees_would_agree_with_other_numbers(results):
    table = disagreements(results).set_index("what")
    assert not (table["finding"] == "agrees").any() and (row_test_size(), row_training_size()) == (3024, 24483)
    assert (
        table.at["test images", "finding"] == "counts another unit"
        and "24,483" in table.at["X-rays of the set", "beside"]
    )
    assert table.at["additional scans", "finding"] == "may be a part" and set(table["finding"]) < set(FINDINGS)
    assert table.at["accuracy, normal training and self-supervised", "finding"] == "fits, but weak"
    assert sum(pretext_scans().values()) == sum(load_manifest(name).counts["images"] for name in PRETEXT_SETS)
    for what, name, printed in (
        ("X-rays of the set", "text.rsna.images", "24,483"),
        ("test images", "text.rsna.test", "2,669"),
        ("accuracy, normal training and self-supervised", "table1.accuracy.scratch", "0.800"),
        ("labelled scans", "text.visceral.labelled", "7.4"),
        ("additional scans", "text.pretext.scans", str(sum(pretext_scans().values()))),
        ("lower bound of the performance", "fig4.impulse_noise.level", "0.5"),
        ("figure of the kidneys at another centre", "text.figure_reference", "4"),
    ):
        other = changed(results, name, **{"": printed})
        if name == "table1.accuracy.scratch":
            other = changed(other, "table1.accuracy.jigsaw", **{"": printed})
        other = disagreements(other).set_index("what")
        assert list(other.index[other["finding"] == "agrees"]) == [what]
    above = disagreements(changed(results, "text.pretext.scans", **{"": "99,999"})).set_index("what")
    assert above.at["additional scans", "finding"] == "does not fit"
    other = disagreements(changed(results, "text.rsna.test", **{"": "3,000"})).set_index("what")
    assert other.at["test images", "finding"] == "does not fit"


def test_the_reading_counts_checks_and_tells_contradictions_from_the_rest(results):
    text, table = readings_paper.reading_disagreements(results), disagreements(results)
    misfits = int((table["finding"] == "does not fit").sum())
    assert f"{len(results)} entries" in text and f"sets {len(table)} numbers beside" in text
    assert f"{misfits} do not fit" in text and "1 counts another unit" in text and misfits < len(table)


def test_correlations_are_shown_as_far_as_data_can_have_them(results):
    table, html = t_test_table(results), readings_paper.t_test_html(results).html
    shown = [f"{row.correlation_high:.2f}" for row in table.itertuples() if row.possible and row.correlation_high > 1]
    assert shown and not any(f"to {text}" in html for text in shown) and "to 1.00" in html
    unlikely = table[table["possible"] & ~table["likely"]]
    assert (unlikely["correlation_high"] < 0).all() and len(unlikely) == html.count(">unlikely<") == 1
    assert "it has to be below 0, which is unlikely" in readings_paper.reading_t_test(results)


def test_the_chapter_follows_the_numbers(results):
    text = readings_paper.chapter_text(results)
    for words in (
        "13 give it if",
        "## Points or percent?",
        "Some correlation fits with 6 to 96 pairs",
        "```{raw} html",
    ):
        assert words in text
    assert re.findall(r"\{([^}]*)\}", text.replace("2^{1-n}", "")).count("raw") == text.count("<table")
    assert set(re.findall(r"\{([^}]*)\}", text.replace("2^{1-n}", ""))) == {"raw", "cite:t"} and "nan" not in text
    other = readings_paper.reading_t_test(changed(results, "table4.dice.jigsaw", _p="0.03"))
    assert "6 to 96" not in other
    low = readings_paper.reading_images(changed(results, "table1.accuracy.jigsaw", _p="0.9"))
    assert "it is not possible" in low
    agreeing = changed(results, "text.rsna.test", **{"": "2,669"})
    assert "split of label rows" not in readings_paper.reading_disagreements(agreeing)
    far = readings_paper.reading_gains(changed(results, "text.auroc.gain", **{"": "1.2"}))
    assert "which rules it out" in far
