"""Calibration against score curves whose crossing is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssrobust_lib.corruptions import CORRUPTIONS
from ssrobust_lib.registry import UnknownNameError
from ssrobust_lib.severities.calibration import (
    CLOSENESS,
    PAPER_FLOOR,
    REASONS,
    REFERENCES,
    calibrate,
    measure_given,
    reference_score,
)
from ssrobust_lib.severities.crossing import Closeness

STRONGEST = CORRUPTIONS["gaussian_noise"].strongest


class Curve:
    """A score by strength that counts how often it is asked."""

    def __init__(self, score):
        self.score, self.asked = score, []

    def __call__(self, strength):
        self.asked.append(strength)
        return self.score(strength)


def sigmoid_curve(half, steepness=2.0, top=0.9, bottom=0.1):
    """Score that falls from `top` to `bottom`, half way at the strength `half`."""
    return Curve(lambda s: bottom + (top - bottom) / (1 + (s / half) ** steepness))


def crossing_of(half, level, steepness=2.0, top=0.9, bottom=0.1):
    return half * ((top - bottom) / (level - bottom) - 1) ** (1 / steepness)


def levels_of(found, column):
    return np.array([row[column] for row in found.rows])


@pytest.mark.parametrize("name", CORRUPTIONS.names())
def test_level_five_is_the_strongest_above_the_floor_for_every_corruption(name):
    strongest = CORRUPTIONS[name].strongest
    found = calibrate(sigmoid_curve(strongest / 10), name)
    last, crossing = found.rows[-1], crossing_of(strongest / 10, PAPER_FLOOR)
    assert (found.reached_floor, found.reason, found.note) == (True, "rule", "")
    assert PAPER_FLOOR < last["score"] <= PAPER_FLOOR + CLOSENESS.score
    assert (1 - CLOSENESS.strength) * crossing < last["strength"] < crossing <= found.refused
    assert {row["unit"] for row in found.rows} == {CORRUPTIONS[name].unit}


def test_levels_are_equal_steps_of_strength_with_their_own_scores():
    curve = sigmoid_curve(0.1)
    found = calibrate(curve, "gaussian_noise")
    assert [row["severity"] for row in found.rows] == [1, 2, 3, 4, 5]
    strengths = levels_of(found, "strength")
    np.testing.assert_allclose(strengths, strengths[-1] * np.arange(1, 6) / 5)
    assert list(levels_of(found, "score")) == [curve.score(s) for s in strengths]
    assert found.strengths == dict(zip(range(1, 6), strengths, strict=True))
    assert set(found.rows[0]) == {
        "corruption", "severity", "strength", "unit", "score", "floor", "reached_floor", "reason", "note"
    }  # fmt: skip


def test_levels_are_equal_steps_of_score_where_asked():
    half, close = 0.05, Closeness(0.002, 0.01)
    found = calibrate(sigmoid_curve(half), "gaussian_noise", steps="score", closeness=close)
    wanted = 0.9 - np.arange(1, 6) / 5 * (0.9 - PAPER_FLOOR)
    scores = levels_of(found, "score")
    assert ((scores > wanted) & (scores <= wanted + close.score)).all()
    crossings = [crossing_of(half, level) for level in wanted]
    np.testing.assert_allclose(levels_of(found, "strength"), crossings, rtol=2 * close.strength)
    assert found.reason == "rule"


def test_steps_of_score_that_the_curve_jumps_over_part_the_way_to_the_jump():
    found = calibrate(Curve(lambda s: 0.9 if s < 0.2 else 0.1), "gaussian_noise", steps="score")
    strengths = levels_of(found, "strength")
    np.testing.assert_allclose(strengths, strengths[-1] * np.arange(1, 6) / 5)
    assert 0.199 < strengths[-1] < 0.2
    assert found.reason == "jump"
    assert "wider than asked" in found.note


def test_steps_of_score_go_to_the_end_of_the_range_where_the_floor_is_not_reached():
    found = calibrate(Curve(lambda s: 0.9 - 0.4 * s), "gaussian_noise", steps="score", closeness=Closeness(0.002, 0.01))
    np.testing.assert_allclose(levels_of(found, "score"), 0.9 - 0.04 * np.arange(1, 6), atol=0.002)
    assert found.reason == "range_end"
    rising = calibrate(Curve(lambda s: 0.6 + 0.2 * s), "gaussian_noise", steps="score")
    np.testing.assert_allclose(levels_of(rising, "strength"), STRONGEST * np.arange(1, 6) / 5)
    assert "does not fall far enough: the levels are equal steps of strength" in rising.note


@given(
    half=st.floats(1e-4, 0.5), steepness=st.floats(0.5, 12), top=st.floats(0.3, 1), bottom=st.floats(0, 0.25),
    steps=st.sampled_from(["strength", "score"]), images=st.sampled_from([0, 40, 300]),
)  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_the_rule_holds_for_every_falling_curve(half, steepness, top, bottom, steps, images):
    smooth = sigmoid_curve(half, steepness, top, bottom).score
    curve = Curve((lambda s: np.ceil(smooth(s) * images) / images) if images else smooth)
    found = calibrate(curve, "gaussian_noise", steps=steps, resolution=1 / images if images else 0)
    assert len(curve.asked) == len(set(curve.asked)) == len(found.evaluations)
    assert len(curve.asked) <= (40 if steps == "strength" else 120)
    strengths, scores = levels_of(found, "strength"), levels_of(found, "score")
    assert (np.diff([0, *strengths]) > 0).all()
    assert strengths[-1] <= STRONGEST
    assert (np.diff([found.clean_score, *scores]) <= 0).all()
    assert found.reason in REASONS
    if not found.reached_floor:
        assert strengths[-1] == STRONGEST and found.refused is None and scores[-1] > found.floor
    elif found.reason != "weakest":
        assert found.rows[-1]["score"] > found.floor >= curve.score(found.refused)
        assert found.refused - strengths[-1] <= CLOSENESS.strength * found.refused * (1 + 1e-9)
        assert scores[-1] <= found.floor + max(CLOSENESS.score, 1 / images if images else 0) or "jumps" in found.note


@given(st.lists(st.floats(0, 1), min_size=4, max_size=12), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_no_level_lies_below_the_floor_however_wild_the_curve(heights, shift):
    """A piecewise linear curve through any heights: the five levels keep above the floor, or a reason says why not."""
    places = np.linspace(0, STRONGEST, len(heights))
    curve = Curve(lambda s: float(np.interp(s, places, [0.8, *heights[1:]])))
    found = calibrate(curve, "gaussian_noise", floor=0.3 + shift / 20)
    assert found.reason == "weakest" or (levels_of(found, "score") > found.floor).all()
    assert len(curve.asked) == len(set(curve.asked)) < 200


def test_the_search_takes_few_measurements():
    counts = []
    for half in (0.003, 0.01, 0.03, 0.1, 0.3):
        curve = sigmoid_curve(half)
        calibrate(curve, "gaussian_noise", clean_score=curve.score(0.0))
        assert 0.0 not in curve.asked
        counts.append(len(curve.asked))
    assert max(counts) <= 13


def test_the_same_curve_gives_the_same_severities():
    first, second = (calibrate(sigmoid_curve(0.07), "gaussian_noise", steps="score") for _ in range(2))
    assert first == second


@pytest.mark.parametrize("plateau", [0.0, 0.485])
def test_a_sudden_fall_is_found_as_well(plateau):
    found = calibrate(Curve(lambda s: 0.9 if s < 0.05 else plateau), "gaussian_noise")
    assert 0.049 < found.rows[-1]["strength"] < 0.05 <= found.refused
    assert found.reason == "jump"


def test_a_score_that_never_reaches_the_floor_gives_the_end_of_the_range():
    curve = Curve(lambda s: max(0.775, 0.9 - s))
    found = calibrate(curve, "gaussian_noise")
    assert (found.reached_floor, found.reason, found.refused) == (False, "range_end", None)
    assert found.rows[-1]["strength"] == STRONGEST
    assert "the score stays above 0.49: level 5 is the end of the range" in found.note
    assert len(curve.asked) == 6, "clean and the five levels tell it"


def test_a_clean_score_below_the_floor_lowers_the_floor_in_proportion():
    found = calibrate(sigmoid_curve(0.1, top=0.36, bottom=0.0), "gaussian_noise")
    assert found.floor == pytest.approx(0.36 * 0.49 / 0.9)
    assert found.rows[-1]["floor"] == found.floor
    assert found.floor < found.rows[-1]["score"] <= found.floor + CLOSENESS.score
    assert found.reason == "floor_lowered"
    assert "clean score 0.360 is not above 0.49: floor lowered to 0.196" in found.note


def test_a_clean_score_of_zero_leaves_nothing_to_find():
    found = calibrate(Curve(lambda s: 0.0), "gaussian_noise")
    assert (found.reason, found.floor, found.rows[-1]["strength"]) == ("no_score", 0.0, STRONGEST)
    assert "the clean score is 0" in found.note


def test_a_clean_score_barely_above_the_floor_is_said():
    assert "barely above the floor" in calibrate(sigmoid_curve(0.1, top=0.495), "gaussian_noise").note


def test_the_first_crossing_counts_where_the_score_recovers():
    def recovering(strength):
        return 0.9 if strength < 0.02 else 0.3 if strength < 0.2 else 0.8

    found = calibrate(Curve(recovering), "gaussian_noise")
    assert found.reached_floor
    assert found.reason == "not_monotone"
    assert 0.019 < found.rows[-1]["strength"] < 0.02
    assert "not monotone: beyond level 5 it recovers above 0.49" in found.note


def test_a_dip_between_levels_moves_level_five_below_it():
    found = calibrate(Curve(lambda s: 0.3 if 0.25 < s < 0.35 else 0.8), "gaussian_noise")
    assert found.reason == "not_monotone"
    assert 0.245 < found.rows[-1]["strength"] <= 0.25
    assert (levels_of(found, "score") == 0.8).all()


def test_a_network_that_any_damage_breaks_gets_the_weakest_strength_with_a_reason():
    found = calibrate(Curve(lambda s: 0.9 if s == 0 else 0.1), "gaussian_noise")
    assert found.reason == "weakest"
    assert found.rows[-1]["strength"] == STRONGEST / 4096
    assert (np.diff([0, *levels_of(found, "strength")]) > 0).all()
    assert "even the weakest strength tried scores below 0.49" in found.note


def test_given_strengths_are_measured_and_not_searched():
    curve = sigmoid_curve(0.1)
    given_ = (0.02, 0.05, 0.1, 0.15, 0.2)
    found = measure_given(curve, "gaussian_noise", given_, "ImageNet-C")
    assert sorted(curve.asked) == [0.0, *given_]
    assert tuple(levels_of(found, "strength")) == given_
    assert [row["score"] for row in found.rows] == [curve.score(s) for s in given_]
    assert (found.reason, found.reached_floor, found.refused) == ("given", True, 0.15)
    assert found.note == "strengths of ImageNet-C; at or below 0.49 at levels 4, 5"
    mild = measure_given(curve, "gaussian_noise", (0.01, 0.02, 0.03, 0.04, 0.05), "a file", clean_score=0.9)
    assert (mild.reached_floor, mild.note) == (False, "strengths of a file")


@pytest.mark.parametrize("value", [float("nan"), -0.1, 1.1])
def test_a_score_outside_zero_to_one_is_refused(value):
    for run in (
        lambda score: calibrate(score, "gaussian_noise"),
        lambda score: measure_given(score, "gaussian_noise", (0.1, 0.2, 0.3, 0.4, 0.5), "a file"),
    ):
        with pytest.raises(ValueError, match="score of gaussian_noise at strength"):
            run(lambda strength: value)


def test_no_level_and_unknown_words_are_refused():
    with pytest.raises(ValueError, match="at least 1 level, got 0"):
        calibrate(sigmoid_curve(0.1), "gaussian_noise", levels=0)
    with pytest.raises(UnknownNameError, match="shot_noise"):
        calibrate(sigmoid_curve(0.1), "shot")
    with pytest.raises(UnknownNameError, match="unknown kind of steps 'scores': expected one of strength, score"):
        calibrate(sigmoid_curve(0.1), "gaussian_noise", steps="scores")


def test_references_are_taken_of_the_arms_means_over_seeds():
    scores = {("scratch", 0): 0.9, ("scratch", 1): 0.5, ("jigsaw", 0): 0.6, ("jigsaw", 1): 0.7, ("rotation", 0): 0.2}
    expected = {"weaker": 0.2, "scratch": 0.7, "stronger": 0.7, "mean": (0.7 + 0.65 + 0.2) / 3}
    assert set(expected) == set(REFERENCES)
    for reference, value in expected.items():
        assert reference_score(scores, reference) == pytest.approx(value)
    with pytest.raises(UnknownNameError, match="unknown reference 'weakest'"):
        reference_score(scores, "weakest")
    with pytest.raises(ValueError, match="at least one"):
        reference_score({})
    with pytest.raises(ValueError, match="expected some of 'scratch', the reference, got jigsaw"):
        reference_score({("jigsaw", 0): 0.5}, "scratch")
