"""The rules for one comparison, for both estimands, and claims that cannot be judged."""

import numpy as np
import pytest
from comparison_rows import single_row
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ssrobust_lib.registry import UnknownNameError
from ssrobust_lib.statistics.claims import DEFAULT_MARGINS, ESTIMANDS, VERDICTS, Claim, Part, judge, margin_of

MARGINS = {"accuracy": 0.03, "auroc": 0.03, "dice": 0.02, "missed": 0.05}
FIGURE = {"name": "Table 1", "page": "notebooks/04_clean_eval", "anchor": "table-1-pneumonia"}
SIZES = st.floats(-0.2, 0.2, allow_nan=False)


def part(rule="higher", **more):
    return Part(rule=rule, select={"metric": "dice"}, rows=1, **more)


@st.composite
def rows(draw):
    low, high = sorted((draw(SIZES), draw(SIZES)))
    method_low, method_high = sorted((draw(SIZES), draw(SIZES)))
    p, method_p, equivalence_p = (draw(st.floats(0, 1)) for _ in range(3))
    return single_row(low, high, p, method=(method_low, method_high, method_p), equivalence_p=equivalence_p)


@pytest.mark.parametrize("estimand", ESTIMANDS)
@pytest.mark.parametrize(
    ("rule", "low", "high", "p", "verdict"),
    [
        ("higher", 0.01, 0.05, 0.01, "holds"),
        ("higher", -0.01, 0.05, 0.20, "undecided"),
        ("higher", -0.02, 0.01, 0.70, "does not hold"),
        ("higher", 0.001, 0.01, 0.01, "holds"),  # significant first, the margin second
        ("higher", -0.05, 0.03, 0.01, "does not hold"),  # significant the other way
        ("higher", -0.05, 0.05, np.nan, "undecided"),
        ("lower", -0.05, -0.01, 0.01, "holds"),
        ("lower", -0.01, 0.05, 0.60, "does not hold"),
        ("lower", -0.05, 0.01, 0.20, "undecided"),
        ("similar", -0.01, 0.03, 0.50, "undecided"),
        ("similar", 0.03, 0.05, 0.001, "does not hold"),
        ("similar", -0.05, -0.03, 0.001, "does not hold"),
        ("similar", np.nan, np.nan, np.nan, "undecided"),
        ("higher", np.nan, np.nan, np.nan, "undecided"),
    ],
)
def test_rules_for_one_comparison(rule, low, high, p, verdict, estimand):
    assert judge(single_row(low, high, p), part(rule), 0.02, estimand) == verdict


def test_the_verdict_reads_the_columns_of_its_estimand():
    row = single_row(0.01, 0.05, 0.01, method=(-0.03, 0.09, 0.4))
    assert judge(row, part(), 0.02, "networks") == "holds"
    assert judge(row, part(), 0.02) == judge(row, part(), 0.02, "method") == "undecided"
    with pytest.raises(UnknownNameError, match="method, networks"):
        judge(row, part(), 0.02, "units")


@pytest.mark.parametrize("rule", ["higher", "lower", "similar", "level", "above", "at most"])
def test_one_seed_decides_nothing_about_the_method(rule):
    values = {"level": {"value": 0.5, "tolerance": 0.1}, "above": {"value": 0.4}, "at most": {"value": 0.6}}
    sign = -1 if rule == "lower" else 1
    one = single_row(0.01, 0.05, 0.001, n_seeds=1, equivalence_p=0.001, difference=sign * 0.03)
    assert judge(one, part(rule, **values.get(rule, {})), 0.06) == "undecided"
    assert judge(one, part(rule, **values.get(rule, {})), 0.06, "networks") == "holds"


def test_similar_is_a_test_of_equivalence_for_the_method_and_an_interval_for_these_networks():
    narrow = single_row(-0.01, 0.01, 0.5, equivalence_p=0.2)
    assert judge(narrow, part("similar"), 0.02) == "undecided"
    assert judge(narrow, part("similar"), 0.02, "networks") == "holds"
    wide = single_row(-0.03, 0.03, 0.5, equivalence_p=0.01)
    assert judge(wide, part("similar"), 0.02) == "holds"
    assert judge(wide, part("similar"), 0.02, "networks") == "undecided"
    assert judge(wide, part("similar", alpha=0.001), 0.02) == "undecided"


@given(rows(), st.floats(0.001, 0.1), st.sampled_from(sorted(ESTIMANDS)))
def test_lower_mirrors_higher(row, margin, estimand):
    mirrored = row | {"difference": -row["difference"]}
    for low, high in ((e.low, e.high) for e in ESTIMANDS.values()):
        mirrored |= {low: -row[high], high: -row[low]}
    assert judge(mirrored, part("lower"), margin, estimand) == judge(row, part("higher"), margin, estimand)
    assert judge(mirrored, part("similar"), margin, estimand) == judge(row, part("similar"), margin, estimand)


@given(rows(), st.floats(0.001, 0.1), st.floats(0.001, 0.1), st.sampled_from(["higher", "similar"]))
def test_a_wider_margin_never_turns_a_verdict_around(row, margin, more, rule):
    """A claim of a gain can only come to fail, one of similarity only to hold: the margin is what is ruled out."""
    order = {"higher": ("holds", "undecided", "does not hold"), "similar": ("does not hold", "undecided", "holds")}
    for estimand in ESTIMANDS:
        before, after = (judge(row, part(rule), m, estimand) for m in (margin, margin + more))
        assert order[rule].index(before) <= order[rule].index(after)


@given(rows(), st.floats(0.001, 0.1), st.sampled_from(["higher", "lower", "similar"]))
def test_every_row_gets_one_of_the_verdicts_and_missing_numbers_none_that_is_decided(row, margin, rule):
    for estimand, of in ESTIMANDS.items():
        assert judge(row, part(rule), margin, estimand) in VERDICTS[:3]
        empty = row | {of.low: np.nan, of.high: np.nan, of.p: np.nan, "equivalence_p": np.nan}
        assert judge(empty, part(rule), margin, estimand) == "undecided"


@given(rows(), st.floats(0.001, 0.1))
def test_better_and_worse_never_hold_both(row, margin):
    for estimand in ESTIMANDS:
        verdicts = [judge(row, part(rule), margin, estimand) for rule in ("higher", "lower")]
        assert verdicts != ["holds", "holds"]


def test_rules_about_means():
    def row(arm, reference):
        return single_row(0, 0, 1, mean_arm=arm, mean_reference=reference)

    near = part("level", value=0.1, tolerance=0.05)
    assert judge(row(0.12, 0.06), near, np.nan) == "holds"
    assert judge(row(0.12, 0.30), near, np.nan) == "does not hold"
    assert judge(row(np.nan, 0.1), near, np.nan) == "undecided"
    above = part("above", value=0.49)
    assert [judge(row(*pair), above, np.nan) for pair in ((0.5, 0.6), (0.5, 0.49))] == ["holds", "does not hold"]
    most = part("at most", value=0.01)
    assert [judge(row(*pair), most, np.nan) for pair in ((0.01, 0.6), (0.02, 0.0))] == ["holds", "does not hold"]


def test_alpha_belongs_to_the_part():
    assert judge(single_row(0.01, 0.05, 0.01), part(alpha=0.001), 0.02) == "undecided"


def test_margins():
    assert margin_of("dice gap", MARGINS) == 0.02 and margin_of("dice gap", MARGINS | {"dice gap": 0.1}) == 0.1
    elsewhere = MARGINS | {"external dice": 0.05}
    assert margin_of("dice", elsewhere) == 0.02 and margin_of("dice", elsewhere, "external") == 0.05
    assert margin_of("accuracy", elsewhere, "external") == 0.03
    for name, margin in DEFAULT_MARGINS.items():
        assert margin_of(name, MARGINS) == margin and margin_of(name, MARGINS | {name: 0.3}) == 0.3
    with pytest.raises(UnknownNameError, match="accuracy, auroc, dice"):
        margin_of("hd95", MARGINS)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("parts", ({"rule": "higher", "rows": 1, "select": {"metrik": "dice"}},)),
        ("parts", ({"rule": "better", "rows": 1, "select": {}},)),
        ("parts", ({"rule": "level", "rows": 1, "select": {}},)),
        ("parts", ({"rule": "above", "rows": 1, "select": {}},)),
        ("parts", ({"rule": "above", "rows": 1, "select": {}, "value": 0.5, "tolerance": 0.1},)),
        ("parts", ({"rule": "higher", "rows": 1, "select": {}, "value": 0.5},)),
        ("parts", ()),
        ("figures", ()),
        ("figures", (FIGURE | {"anchor": "Table 1"},)),
        ("figures", (FIGURE | {"page": "../elsewhere.html"},)),
        ("expected", "?"),
        ("id", "Two Words"),
    ],
)
def test_a_claim_that_cannot_be_judged_is_refused(field, value):
    good = {"id": "a", "section": "s", "quote": "q", "compares": "c", "expected": "+", "paper": "", "parts": (part(),)}
    good |= {"figures": (FIGURE,)}
    Claim.model_validate(good)
    with pytest.raises(ValidationError):
        Claim.model_validate(good | {field: value})
