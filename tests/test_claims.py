"""Verdicts by the stated rules, one comparison and several, and the table of claims."""

import numpy as np
import pandas as pd
import pytest
from prediction_tables import ARMS, classification, segmentation
from pydantic import ValidationError

from ssrobust_lib.registry import UnknownNameError
from ssrobust_lib.statistics.claims import (
    CLAIM_COLUMNS,
    VERDICTS,
    Claim,
    Part,
    claim_parts,
    claim_table,
    judge,
    margin_of,
)
from ssrobust_lib.statistics.comparisons import compare_all
from ssrobust_lib.statistics.paper import paper_claims

MARGINS = {"accuracy": 0.03, "auroc": 0.03, "dice": 0.02, "missed": 0.05}


def row(low, high, p, *, difference=None, seeds=(np.nan, np.nan), **more):
    middle = (low + high) / 2 if difference is None else difference
    base = {"difference": middle, "ci_low": low, "ci_high": high, "p_holm": p, "mean_arm": 0.5, "mean_reference": 0.5}
    return base | {"method_ci_low": seeds[0], "method_ci_high": seeds[1]} | more


def part(rule="higher", **more):
    return Part(rule=rule, select={"metric": "dice"}, rows=1, **more)


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
        ("similar", -0.01, 0.01, 0.50, "holds"),
        ("similar", 0.001, 0.015, 0.001, "holds"),
        ("similar", -0.01, 0.03, 0.50, "undecided"),
        ("similar", 0.03, 0.05, 0.001, "does not hold"),
        ("similar", -0.05, -0.03, 0.001, "does not hold"),
        ("similar", np.nan, np.nan, np.nan, "undecided"),
        ("higher", np.nan, np.nan, np.nan, "undecided"),
    ],
)
def test_rules_for_one_comparison(rule, low, high, p, verdict):
    assert judge(row(low, high, p), part(rule), margin=0.02) == verdict


def test_lower_mirrors_higher():
    generator = np.random.default_rng(0)
    for _ in range(200):
        low, high = np.sort(generator.normal(0, 0.03, 2))
        p = generator.random() / 5
        mirrored = judge(row(-high, -low, p), part("lower"), 0.02)
        assert judge(row(low, high, p), part("higher"), 0.02) == mirrored


def test_level_needs_both_arms_near_the_value():
    near = part("level", value=0.1, tolerance=0.05)
    assert judge(row(0, 0, 1, mean_arm=0.12, mean_reference=0.06), near, np.nan) == "holds"
    assert judge(row(0, 0, 1, mean_arm=0.12, mean_reference=0.30), near, np.nan) == "does not hold"
    assert judge(row(0, 0, 1, mean_arm=np.nan), near, np.nan) == "undecided"


def test_interval_over_seeds_on_request():
    wide = row(-0.01, 0.01, 0.9, seeds=(-0.03, 0.04))
    assert judge(wide, part("similar"), 0.02) == "holds"
    assert judge(wide, part("similar"), 0.02, "seeds") == "undecided"
    assert judge(row(-0.01, 0.01, 0.9), part("similar"), 0.02, "seeds") == "holds"  # one seed: none over seeds


def test_alpha_belongs_to_the_part():
    assert judge(row(0.01, 0.05, 0.01), part(alpha=0.001), 0.02) == "undecided"


def test_margins():
    assert margin_of("dice gap", MARGINS) == 0.02 and margin_of("dice gap", MARGINS | {"dice gap": 0.1}) == 0.1
    elsewhere = MARGINS | {"external dice": 0.05}
    assert margin_of("dice", elsewhere) == 0.02 and margin_of("dice", elsewhere, "external") == 0.05
    assert margin_of("accuracy", elsewhere, "external") == 0.03
    with pytest.raises(UnknownNameError, match="accuracy, auroc, dice, missed"):
        margin_of("hd95", MARGINS)


@pytest.fixture(scope="module")
def comparisons():
    rows = [
        classification(n=150, gain=0.8),
        segmentation(gain=0.005, corrupted_gain=0.08),
        segmentation(gain=0.2, corruptions=(), name="kits19", structures=("kidney",), random=6),
    ]
    return compare_all(rows, arms=ARMS, seed=1, n_bootstrap=500)


@pytest.fixture(scope="module")
def judged(comparisons):
    return claim_table(comparisons, paper_claims(), MARGINS).set_index(["claim", "arm"])


def test_every_claim_stands_for_every_arm(comparisons, judged):
    assert tuple(judged.reset_index().columns) == CLAIM_COLUMNS
    assert len(judged) == 2 * len(paper_claims()) and judged.index.is_unique
    assert set(judged["verdict"]) <= set(VERDICTS)


def test_a_complete_run_tests_every_claim_that_has_parts(comparisons):
    for claim in paper_claims():
        found = claim_parts(comparisons, [claim], MARGINS)
        counts = found.groupby(["arm", "part"]).size()
        for arm in ("jigsaw", "scratch_aa"):
            for number, expected in enumerate(claim.parts):
                assert counts[arm, number] == expected.rows, claim.id


def test_known_effects_give_known_verdicts(judged):
    expected = {
        "superior-robustness-and-generalizability": "holds",
        "classification-robust-to-all-corruptions": "holds",
        "segmentation-superior-under-corruption": "holds",
        "other-centre-dice": "holds",
        "clean-accuracy": "holds",
        "impulse-noise-exception": "does not hold",
        "impulse-noise-collapse": "does not hold",
        "marginal-differences": "does not hold",
        "owed-to-more-images": "not tested",
    }
    for claim, verdict in expected.items():
        assert judged.loc[(claim, "jigsaw"), "verdict"] == verdict, claim
    better = judged.xs("scratch_aa", level="arm").drop(index=["moderately-low-clean-improvement"])
    assert not ((better["verdict"] == "holds") & (better["expected"] == "+")).any()


def test_numbers_of_a_single_comparison(comparisons, judged):
    line = judged.loc[("other-centre-dice", "jigsaw")]
    source = comparisons[comparisons["comparison"] == "organs/kits19/dice/clean/jigsaw"].iloc[0]
    assert line["this_run"].startswith(f"{source['mean_arm']:.3f} against {source['mean_reference']:.3f}")
    assert line["this_run"].endswith("12 scans, 2 seeds") and line["data_set"] == "organs: kits19"
    assert line["p_holm"] == source["p_holm"] and f"{source['ci_low']:+.3f}" in line["interval"]
    assert line["paper"] == "0.670 ± 0.209 against 0.486 ± 0.246, p = 0.0002"


def test_conjunction(comparisons):
    select = {"task": "organs", "scope": "corruption", "metric": "dice", "structure": "", "arm": "jigsaw"}
    text = {"section": "3.3", "quote": "q", "compares": "c", "expected": "+", "paper": ""}
    seven = Claim(id="seven", parts=(Part(rule="higher", rows=7, select=select),), **text)
    rows = comparisons.copy()

    def verdict(table, claim=seven):
        found = claim_table(table, [claim], MARGINS)
        return found[found["arm"] == "jigsaw"].iloc[0]

    assert verdict(rows)["verdict"] == "holds" and "7 of 7 hold" in verdict(rows)["this_run"]
    blur = (rows["condition"] == "gaussian_blur") & (rows["metric"] == "dice") & (rows["scope"] == "corruption")
    undecided = rows.copy()
    undecided.loc[blur, "p_holm"] = 0.5
    assert verdict(undecided)["verdict"] == "undecided" and verdict(undecided)["p_holm"] == 0.5
    failed = undecided.copy()
    failed.loc[blur, "ci_high"] = 0.001
    assert verdict(failed)["verdict"] == "does not hold" and "gaussian_blur" in verdict(failed)["this_run"]
    fewer = verdict(rows[~blur])
    assert fewer["verdict"] == "undecided" and "6 of 7 comparisons" in fewer["note"]
    assert verdict(rows[rows["task"] != "organs"])["verdict"] == "not tested"


def test_notes_say_where_p_and_intervals_disagree(comparisons):
    rows = comparisons[comparisons["comparison"] == "organs/visceral/dice/clean/jigsaw"].copy()
    rows[["difference", "p_holm", "ci_low", "ci_high"]] = [0.004, 0.01, 0.001, 0.008]
    rows[["method_ci_low", "method_ci_high"]] = [-0.01, 0.02]
    claim = next(c for c in paper_claims() if c.id == "clean-dice")
    line = claim_table(rows, [claim], MARGINS).iloc[0]
    assert line["verdict"] == "holds"
    assert "over seeds the interval [-0.010, +0.020] includes 0" in line["note"]
    assert "smaller than the margin of 0.02" in line["note"]


def test_an_unlearned_pretext_marks_its_arm_only(comparisons):
    pretext = pd.DataFrame(
        {
            "task": ["organs", "organs", "pneumonia"],
            "init": "jigsaw",
            "seed": [0, 1, 0],
            "learned": [False, False, True],
        }
    )
    marked = claim_table(comparisons, paper_claims(), MARGINS, pretext).set_index(["claim", "arm"])["mark"]
    assert marked["clean-dice", "jigsaw"] == "pretext not learned (organs: seeds 0, 1)"
    assert marked["clean-dice", "scratch_aa"] == "" and marked["clean-accuracy", "jigsaw"] == ""
    with pytest.raises(ValueError, match="lacks learned"):
        claim_table(comparisons, paper_claims(), MARGINS, pretext.drop(columns="learned"))


def test_titles_replace_set_names(comparisons):
    titled = claim_table(comparisons, paper_claims(), MARGINS, titles={"kits19": "phantoms"})
    assert "organs: phantoms" in set(titled["data_set"])


def test_unknown_intervals_raise(comparisons):
    with pytest.raises(UnknownNameError, match="units, seeds"):
        claim_table(comparisons, paper_claims(), MARGINS, interval="patients")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("parts", ({"rule": "higher", "rows": 1, "select": {"metrik": "dice"}},)),
        ("parts", ({"rule": "better", "rows": 1, "select": {}},)),
        ("parts", ({"rule": "level", "rows": 1, "select": {}},)),
        ("parts", ()),
        ("expected", "?"),
        ("id", "Two Words"),
    ],
)
def test_a_claim_that_cannot_be_judged_is_refused(field, value):
    good = {"id": "a", "section": "s", "quote": "q", "compares": "c", "expected": "+", "paper": "", "parts": (part(),)}
    with pytest.raises(ValidationError):
        Claim.model_validate(good | {field: value})
