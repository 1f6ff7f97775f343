"""Interval and p of a claim are those of one comparison; what a run cannot test is not judged."""

import numpy as np
import pandas as pd
import pytest
from comparison_rows import comparison_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from test_claim_table import MARGINS, claim_of

from ssrobust_lib.statistics.claim_evidence import least, one_sided_p
from ssrobust_lib.statistics.claim_table import claim_table
from ssrobust_lib.statistics.claims import Part
from ssrobust_lib.statistics.multiplicity import holm
from ssrobust_lib.statistics.paired_tests import smallest_signed_rank_p
from ssrobust_lib.statistics.paper import paper_claims
from ssrobust_lib.statistics.testability import Setting, smallest_holm

CLEAN = {"role": "home", "scope": "clean", "metric": ["accuracy", "auroc", "dice"], "structure": ""}
THREE = claim_of(Part(rule="higher", rows=3, select=CLEAN))


@pytest.fixture
def comparisons():
    return comparison_rows()


def by_id(table, claim, **options):
    claims = [claim] if not isinstance(claim, str) else [c for c in paper_claims() if c.id == claim]
    found = claim_table(table, claims, MARGINS, **options)
    return found[found["arm"] == "jigsaw"].iloc[0]


def with_row(comparisons, metric, difference, half, p):
    """The table with other numbers, of both estimands, in the clean rows of one metric."""
    rows, at = comparisons.copy(), (comparisons["metric"] == metric) & (comparisons["scope"] == "clean")
    for side in ("", "method_"):
        rows.loc[at, [f"{side}ci_low", f"{side}ci_high"]] = [difference - half, difference + half]
        rows.loc[at, f"{side}p_holm"] = p
    rows.loc[at, "difference"] = difference
    return rows


def test_interval_and_p_are_those_of_one_comparison(comparisons):
    rows = with_row(with_row(comparisons, "auroc", 0.01, 0.10, 0.9), "dice", -0.04, 0.01, 0.0004)
    line = by_id(rows, THREE)
    assert "visceral dice" in line["this_run"]  # significant the wrong way: 1 - p / 2 is larger than 0.9 / 2
    assert line["interval"] == "[-0.050, -0.030]" and line["p_holm"] == 0.0004
    assert line["verdict"] == "does not hold" and line["reason"] == ""
    assert (line["networks_interval"], line["networks_p_holm"]) == ("[-0.050, -0.030]", 0.0004)


def test_a_verdict_due_to_another_comparison_names_it(comparisons):
    rows = with_row(with_row(comparisons, "auroc", 0.0, 0.3, 0.8), "dice", 0.004, 0.01, 0.3)
    line = by_id(rows, THREE)
    assert (line["interval"], line["p_holm"]) == ("[-0.300, +0.300]", 0.8) and "rsna auroc" in line["this_run"]
    assert line["verdict"] == "does not hold"  # Dice excludes its margin of 0.02, although its p is smaller
    assert line["reason"] == "because of visceral dice: [-0.006, +0.014]" == line["networks_reason"]


def test_means_that_fail_are_named_beside_the_test_that_does_not(comparisons):
    missed = {
        "task": "organs",
        "role": "home",
        "scope": "corruption",
        "metric": "missed",
        "condition": "gaussian_noise",
    }
    parts = [Part(rule="lower", rows=1, select=missed), Part(rule="reference above", value=0.5, rows=1, select=missed)]
    line = by_id(comparisons, claim_of(*parts, expected="-"))
    assert line["verdict"] == "does not hold" and line["interval"] == "[-0.150, -0.050]"
    assert line["reason"].endswith("0.400 against 0.500 (-0.100), asked for more than 0.5 in the latter")
    more = comparisons.assign(mean_reference=0.51)
    assert by_id(more, claim_of(*parts, expected="-"))["verdict"] == "holds"


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["higher", "lower"]), st.floats(-1, 1), st.floats(0, 1)), min_size=1, max_size=6)
)
def test_the_least_has_the_p_of_the_intersection_union_test(drawn):
    rows = [
        {"rule": rule, "difference": d, "method_p_holm": p, "method_ci_low": d - 1, "method_ci_high": d + 1}
        for rule, d, p in drawn
    ]
    found = least(rows, "method")
    expected = [p / 2 if (d > 0 if rule == "higher" else d < 0) else 1 - p / 2 for rule, d, p in drawn]
    assert one_sided_p(found, "method") == max(expected)


def test_a_comparison_without_a_p_bears_a_claim_out_least(comparisons):
    line = by_id(with_row(comparisons, "auroc", 0.0, 0.0, np.nan), THREE)
    assert np.isnan(line["p_holm"]) and "rsna auroc" in line["this_run"]


def test_equivalence_of_these_networks_is_ordered_by_the_interval(comparisons):
    similar = claim_of(Part(rule="similar", rows=3, select=CLEAN), expected="0")
    rows = with_row(
        with_row(with_row(comparisons, "accuracy", 0.0, 0.01, 1), "auroc", 0.0, 0.02, 1), "dice", 0, 0.05, 1
    )
    line = by_id(rows, similar)
    assert line["networks_interval"].endswith("[-0.050, +0.050]") and np.isnan(line["networks_p_holm"])


def test_a_level_below_the_floor_of_the_severities_is_not_tested(comparisons):
    free = by_id(comparisons, "impulse-noise-collapse")
    assert free["verdict"] == "does not hold"
    for floor, verdict in ((0.49, "not tested"), (0.12, "does not hold")):
        line = by_id(comparisons, "impulse-noise-collapse", setting=Setting({("organs", "impulse_noise"): floor}))
        assert line["verdict"] == line["networks_verdict"] == verdict
        assert ("0.1 cannot occur" in line["reason"]) == (verdict == "not tested")
    other = Setting({("organs", "shot_noise"): 0.49})
    assert by_id(comparisons, "impulse-noise-collapse", setting=other)["verdict"] == "does not hold"


def test_a_floor_that_clean_images_miss_is_not_tested(comparisons):
    low = comparisons.copy()
    low.loc[(low["metric"] == "dice") & (low["scope"] != "clean"), ["mean_arm", "mean_reference"]] = 0.3
    line = by_id(low, "performance-above-the-floor")
    assert line["verdict"] == "does not hold"  # clean Dice was 0.6 and 0.5, so that it could have held
    low.loc[(low["metric"] == "dice") & (low["scope"] == "clean"), "mean_reference"] = 0.42
    line = by_id(low, "performance-above-the-floor")
    assert line["verdict"] == line["networks_verdict"] == "not tested"
    assert line["reason"] == "dice on clean visceral is 0.420, not above 0.49 without any corruption"


def test_a_level_that_n_cannot_reach_is_not_tested_of_these_networks(comparisons):
    rows = comparisons.assign(family="corruption", test="Wilcoxon signed-rank, exact", n=12)
    rows = rows[(rows["scope"] == "corruption") & rows["metric"].isin(["accuracy", "dice"])]
    rows.loc[rows["metric"] == "accuracy", "test"] = "Wilcoxon signed-rank, normal approximation"
    rows = rows[rows["arm"] == "jigsaw"]
    line = by_id(rows, "segmentation-significance")
    assert line["networks_verdict"] == "not tested" and line["verdict"] == "holds"  # a t-test has no smallest p
    assert f"{7 * smallest_signed_rank_p(12):.2g}" in line["networks_reason"] and "12 scans" in line["networks_reason"]
    assert np.isnan(line["networks_p_holm"]) and line["networks_interval"] == ""
    assert "at the level 0.001" in line["compares"]
    assert by_id(rows.assign(n=20), "segmentation-significance")["networks_verdict"] == "holds"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(3, 15), min_size=1, max_size=6), st.integers(0, 2**32 - 1))
def test_no_corrected_p_is_smaller_than_the_smallest(sizes, seed):
    generator = np.random.default_rng(seed)
    smallest = np.array([smallest_signed_rank_p(n) for n in sizes])
    p = np.minimum(1, smallest * generator.choice([1, 2, 5, 100], len(sizes)))  # values that a test of n can give
    table = pd.DataFrame({"test": "Wilcoxon signed-rank, exact", "n": sizes, "family": "a", "reference": "b", "p": p})
    assert (holm(p) >= smallest_holm(table).to_numpy() * (1 - 1e-12)).all()
    best = table.assign(p=smallest)  # reached where every test gives its smallest p
    assert holm(best["p"]).max() == pytest.approx(smallest_holm(best).max())


def test_a_missing_side_needs_a_set_that_labels_the_sides(comparisons):
    apart, merged = Setting(), Setting(merged={"kits19": ["kidney"]})
    assert by_id(comparisons, "other-centre-missed", setting=apart)["verdict"] == "holds"
    line = by_id(comparisons, "other-centre-missed", setting=merged)
    assert line["verdict"] == "not tested" and "on kits19 both sides are labelled as one (kidney)" in line["reason"]
    assert by_id(comparisons, "other-centre-dice", setting=merged)["verdict"] == "holds"


def test_notes_say_when_few_networks_miss_most(comparisons):
    place = {"task": "organs", "set": "kits19", "metric": "missed", "structure": "", "scope": "clean"}
    place |= {"condition": "clean", "n": 14}
    scores = [place | {"init": "scratch", "seed": seed, "value": value} for seed, value in enumerate((0.0, 0.0, 1.0))]
    scores += [place | {"init": "jigsaw", "seed": seed, "value": 0.3} for seed in range(3)]
    note = by_id(comparisons, "other-centre-missed", seed_scores=pd.DataFrame(scores))["note"]
    assert "of what normal training misses, 1 of 3 networks makes up 100 %" in note and "0 %, 0 %, 100 %" in note
    assert "of what the arm misses" not in note


def test_a_change_from_the_home_set_has_words_of_its_own(comparisons):
    line = by_id(with_row(comparisons, "dice gap", 0.0, 0.2, 0.9), "generalizability-confirmed")
    assert "weakest: kits19 dice gap to home" in line["this_run"]
    at_home = by_id(comparisons, "demonstrated-for-two-tasks")
    assert "dice gap to home" not in at_home["this_run"] + at_home["interval"]
