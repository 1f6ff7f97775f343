"""The search for a crossing against curves whose crossing is known."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssrobust_lib.severities.crossing import Bracket, Closeness, first_bracket, narrow

CLOSE = Closeness(score=0.01, strength=0.05)


class Curve:
    """A score by strength that measures each strength once and counts how many it was asked for."""

    def __init__(self, score):
        self.score, self.known = score, {}

    def __call__(self, strength):
        if strength not in self.known:
            self.known[strength] = self.score(strength)
        return self.known[strength]


def found(curve, level, close=CLOSE, weakest=1 / 4096):
    """Bracket over the range 0 to 1, narrowed."""
    curve(0.0), curve(1.0)
    return narrow(curve, first_bracket(curve.known, level), level, close, weakest)


@pytest.mark.parametrize("crossing", [0.001, 0.02, 0.3, 0.9])
@pytest.mark.parametrize("steepness", [1, 2, 8])
def test_a_known_crossing_lies_between_both_ends(crossing, steepness):
    curve = Curve(lambda s: 1 / (1 + (s / crossing) ** steepness))
    bracket = found(curve, 0.5)
    assert bracket.admitted < crossing <= bracket.refused * (1 + 1e-12)
    assert bracket.refused - bracket.admitted <= CLOSE.strength * bracket.refused
    assert 0 < curve(bracket.admitted) - 0.5 <= CLOSE.score
    assert not bracket.jump
    assert len(curve.known) <= 14


@given(
    crossing=st.floats(0.0005, 0.99), steepness=st.floats(0.3, 20), level=st.floats(0.05, 0.9),
    score=st.floats(0.002, 0.1), strength=st.floats(0.01, 0.3), steps=st.sampled_from([0, 20, 100]),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_both_tolerances_hold_whatever_falling_curve(crossing, steepness, level, score, strength, steps):
    half = crossing / (1 / level - 1) ** (1 / steepness)  # where 1 / (1 + (s / half) ** steepness) meets the level

    def falling(s):
        value = 1 / (1 + (s / half) ** steepness)
        return math.ceil(value * steps) / steps if steps else value

    close = Closeness(max(score, 1 / steps if steps else 0), strength)
    curve = Curve(falling)
    if curve(1.0) > level:
        assert first_bracket({0.0: 1.0, **curve.known}, level) is None
        return
    bracket = found(curve, level, close)
    assert curve(bracket.admitted) > level >= curve(bracket.refused)
    if bracket.admitted == 0:
        assert bracket.refused <= 1 / 4096
        return
    assert bracket.refused - bracket.admitted <= strength * bracket.refused * (1 + 1e-9)
    assert curve(bracket.admitted) - level <= close.score or bracket.jump
    bisections = math.log2(4096 / (strength / 16)) + 2
    assert len(curve.known) <= 3 * bisections


def test_a_jump_is_closed_in_on_and_said():
    curve = Curve(lambda s: 0.9 if s < 0.05 else 0.2)
    bracket = found(curve, 0.49)
    assert bracket.jump
    assert bracket.admitted < 0.05 <= bracket.refused
    assert bracket.refused - bracket.admitted <= CLOSE.strength * bracket.refused / 16


def test_a_plateau_just_above_the_level_is_left_at_its_end():
    curve = Curve(lambda s: 0.9 if s < 0.01 else 0.495 if s < 0.4 else 0.1)
    bracket = found(curve, 0.49)
    assert 0.4 * (1 - CLOSE.strength) <= bracket.admitted < 0.4 <= bracket.refused


def test_nothing_admitted_where_the_weakest_strength_is_refused():
    curve = Curve(lambda s: 0.9 if s == 0 else 0.1)
    assert found(curve, 0.49, weakest=0.001) == Bracket(0.0, 0.001)


def test_the_first_fall_among_the_known_scores_counts():
    known = {0.0: 0.9, 0.1: 0.8, 0.2: 0.3, 0.3: 0.7, 0.4: 0.2}
    assert first_bracket(known, 0.49) == Bracket(0.1, 0.2)
    assert first_bracket(known, 0.1) is None
    with pytest.raises(ValueError, match=r"above 0\.95 at strength 0, got 0\.9"):
        first_bracket(known, 0.95)
    with pytest.raises(ValueError, match="at strength 0, got None"):
        first_bracket({0.1: 0.9}, 0.5)
