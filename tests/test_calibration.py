"""Calibration against score curves whose crossing is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssrobust_lib.calibration import PAPER_FLOOR, calibrate, weaker_arm_score
from ssrobust_lib.corruptions import CORRUPTIONS
from ssrobust_lib.registry import UnknownNameError

STRONGEST = CORRUPTIONS["gaussian_noise"].strongest


class Curve:
    """A score by strength that counts how often it is asked."""

    def __init__(self, score, clean=0.9):
        self.score, self.clean, self.asked = score, clean, []

    def __call__(self, strength):
        self.asked.append(strength)
        return self.score(strength)


def sigmoid_curve(half, steepness=2.0, top=0.9, bottom=0.1):
    """Score that falls from `top` to `bottom`, half way at the strength `half`."""
    return Curve(lambda s: bottom + (top - bottom) / (1 + (s / half) ** steepness))


@pytest.mark.parametrize("name", CORRUPTIONS.names())
def test_level_five_is_just_above_the_floor_for_every_corruption(name):
    strongest = CORRUPTIONS[name].strongest
    found = calibrate(sigmoid_curve(strongest / 10), name, max_evaluations=16)
    last = found.rows[-1]
    assert found.reached_floor and found.note == ""
    assert PAPER_FLOOR < last["score"] < PAPER_FLOOR + 0.02
    crossing = strongest / 10 * (0.8 / (PAPER_FLOOR - 0.1) - 1) ** 0.5
    assert 0.9 * crossing < last["strength"] <= crossing
    assert {row["unit"] for row in found.rows} == {CORRUPTIONS[name].unit}


def test_levels_are_equal_steps_with_their_own_scores():
    curve = sigmoid_curve(0.1)
    found = calibrate(curve, "gaussian_noise")
    assert [row["severity"] for row in found.rows] == [1, 2, 3, 4, 5]
    strengths = np.array([row["strength"] for row in found.rows])
    np.testing.assert_allclose(strengths, strengths[-1] * np.arange(1, 6) / 5)
    assert [row["score"] for row in found.rows] == [curve.score(s) for s in strengths]
    assert found.strengths == dict(zip(range(1, 6), strengths, strict=True))
    assert set(found.rows[0]) == {
        "corruption", "severity", "strength", "unit", "score", "floor", "reached_floor", "note"
    }  # fmt: skip


@given(
    half=st.floats(1e-4, 0.5), steepness=st.floats(0.5, 12), top=st.floats(0.55, 1), bottom=st.floats(0, 0.45),
    budget=st.integers(9, 20),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_the_rule_holds_whatever_the_curve(half, steepness, top, bottom, budget):
    curve = sigmoid_curve(half, steepness, top, bottom)
    found = calibrate(curve, "gaussian_noise", max_evaluations=budget)
    assert len(curve.asked) == len(set(curve.asked)) <= budget
    assert sorted(curve.asked) == [strength for strength, _ in found.evaluations]
    last = found.rows[-1]
    assert 0 < last["strength"] <= STRONGEST
    assert last["score"] > PAPER_FLOOR or "even the weakest strength" in last["note"]
    if not found.reached_floor:
        assert last["strength"] == STRONGEST
    scores = [row["score"] for row in found.rows]
    assert scores == sorted(scores, reverse=True)


def test_few_evaluations_find_the_crossing():
    for half in (0.003, 0.03, 0.3):
        curve = sigmoid_curve(half)
        found = calibrate(curve, "gaussian_noise", clean_score=curve.score(0.0))
        assert len(curve.asked) <= 10
        assert 0.0 not in curve.asked
        crossing = half * (0.8 / (PAPER_FLOOR - 0.1) - 1) ** 0.5
        assert 0.85 * crossing < min(found.rows[-1]["strength"], crossing) <= min(crossing, STRONGEST)


@pytest.mark.parametrize("plateau", [0.0, 0.485])
def test_a_sudden_fall_is_found_as_well(plateau):
    found = calibrate(Curve(lambda s: 0.9 if s < 0.05 else plateau), "gaussian_noise", max_evaluations=17)
    assert 0.045 < found.rows[-1]["strength"] < 0.05


def test_a_score_that_never_reaches_the_floor_gives_the_end_of_the_range():
    found = calibrate(Curve(lambda s: max(0.775, 0.9 - s)), "gaussian_noise")
    assert not found.reached_floor
    assert found.rows[-1]["strength"] == STRONGEST
    assert "the score stays above 0.49: level 5 is the end of the range" in found.note


def test_a_clean_score_below_the_floor_lowers_the_floor_in_proportion():
    found = calibrate(sigmoid_curve(0.1, top=0.36, bottom=0.0), "gaussian_noise", max_evaluations=16)
    assert found.floor == pytest.approx(0.36 * 0.49 / 0.9)
    assert found.rows[-1]["floor"] == found.floor
    assert found.floor < found.rows[-1]["score"] < found.floor + 0.02
    assert "clean score 0.360 is not above 0.49: floor lowered to 0.196" in found.note


def test_a_clean_score_barely_above_the_floor_is_said():
    assert "barely above the floor" in calibrate(sigmoid_curve(0.1, top=0.5), "gaussian_noise").note


def test_the_first_crossing_counts_where_the_score_recovers():
    def recovering(strength):
        return 0.9 if strength < 0.02 else 0.3 if strength < 0.2 else 0.8

    found = calibrate(Curve(recovering), "gaussian_noise", max_evaluations=20)
    assert found.reached_floor
    assert 0.015 < found.rows[-1]["strength"] < 0.02


def test_a_dip_between_levels_is_noted():
    def dipping(strength):
        return 0.3 if 0.25 < strength < 0.35 else 0.8

    found = calibrate(Curve(dipping), "gaussian_noise")
    assert "not monotone: at or below the floor at level 3" in found.note


def test_a_network_that_any_damage_breaks_gets_the_weakest_strength_with_a_note():
    found = calibrate(Curve(lambda s: 0.9 if s == 0 else 0.1), "gaussian_noise")
    assert found.rows[-1]["strength"] > 0
    assert "even the weakest strength tried scores below 0.49" in found.note


@pytest.mark.parametrize("value", [float("nan"), -0.1, 1.1])
def test_a_score_outside_zero_to_one_is_refused(value):
    with pytest.raises(ValueError, match="score of gaussian_noise at strength"):
        calibrate(lambda strength: value, "gaussian_noise")


def test_too_few_evaluations_and_unknown_names_are_refused():
    with pytest.raises(ValueError, match="9 evaluations for 5 levels, got levels=5, max_evaluations=8"):
        calibrate(sigmoid_curve(0.1), "gaussian_noise", max_evaluations=8)
    with pytest.raises(UnknownNameError, match="shot_noise"):
        calibrate(sigmoid_curve(0.1), "shot")


def test_the_weaker_arm_is_that_with_the_lower_mean_over_seeds():
    scores = {("scratch", 0): 0.9, ("scratch", 1): 0.5, ("jigsaw", 0): 0.6, ("jigsaw", 1): 0.7}
    assert weaker_arm_score(scores) == pytest.approx(0.65)
    with pytest.raises(ValueError, match="at least one"):
        weaker_arm_score({})
