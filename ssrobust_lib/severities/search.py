"""The strengths of a corruption's severities: the search for the floor, and for equal steps of score (section 3.3).

Enters: a function that gives the validation score at a strength, the floor, how the levels are to lie. Leaves: their
strengths, and the crossing of the floor. What becomes of them, and of the cases in which there is none, is decided in
`ssrobust_lib.severities.calibration`; a single crossing is found by `ssrobust_lib.severities.crossing`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ssrobust_lib.corruptions import CORRUPTIONS
from ssrobust_lib.severities.crossing import Bracket, Closeness, first_bracket, narrow

_WEAKEST = 1 / 4096  # of the declared range: the weakest strength that is tried


class MeasuredScores:
    """Scores by strength, each measured once and checked."""

    def __init__(self, score_at: Callable[[float], float], corruption: str, clean_score: float | None) -> None:
        self._score_at, self.corruption = score_at, corruption
        self.known: dict[float, float] = {}
        if clean_score is not None:
            self.known[0.0] = self._checked(clean_score, 0.0)

    def __call__(self, strength: float) -> float:
        if strength not in self.known:
            self.known[strength] = self._checked(self._score_at(strength), strength)
        return self.known[strength]

    def _checked(self, value: float, strength: float) -> float:
        value = float(value)
        if not 0 <= value <= 1:
            raise ValueError(
                f"score of {self.corruption} at strength {strength:g}: expected 0 to 1, got {value}; "
                "does the validation set have labels, and did every network train?"
            )
        return value


@dataclass(frozen=True)
class LevelSearch:
    """What a search has found.

    Attributes
    ----------
    strengths : list of float
        One per level, rising.
    last : Bracket or None
        The crossing of the floor; None where the score stays above it up to the end of the declared range.
    by_score : bool
        Whether the levels lie at equal steps of score.
    jumps : bool
        Whether the score falls by more than asked at one strength, over the floor or over several steps of score.
    """

    strengths: list[float]
    last: Bracket | None
    by_score: bool
    jumps: bool


def search_levels(measure: MeasuredScores, floor: float, levels: int, steps: str, close: Closeness) -> LevelSearch:
    """Find the strengths of the levels.

    The end of the declared range is measured first. Where it scores at or below the floor, the first crossing is
    narrowed. The levels are measured; where one of them scores at or below the floor as well, the curve crosses the
    floor before, and that crossing is narrowed in turn.

    Parameters
    ----------
    measure : scores by strength
    floor : below the score at strength 0
    levels : how many, at least 1
    steps : 'strength' or 'score'
    close : when a crossing counts as found
    """
    strongest = CORRUPTIONS[measure.corruption].strongest
    weakest = _WEAKEST * strongest

    def crossing(level: float) -> Bracket | None:
        found = first_bracket(measure.known, level)
        return found and narrow(measure, found, level, close, weakest)

    clean, end = measure(0.0), measure(strongest)
    by_score = steps == "score" and end < clean
    while True:
        n_known = len(measure.known)
        last = crossing(floor)
        if last and last.admitted == 0:  # the rule has no answer: nothing more is sought
            return LevelSearch(equal_steps(last.refused, levels), last, False, False)
        top, jumps = (last.admitted, last.jump) if last else (strongest, False)
        strengths = equal_steps(top, levels)
        if by_score:
            bottom = floor if last else end
            brackets = [crossing(clean - k / levels * (clean - bottom)) for k in range(1, levels)]
            strengths, uneven = _parted([bracket.admitted if bracket else top for bracket in brackets], top)
            jumps |= uneven
        for strength in strengths:
            measure(strength)
        if len(measure.known) == n_known:  # nothing that was measured last has moved a crossing
            return LevelSearch(strengths, last, by_score, jumps)


def equal_steps(top: float, levels: int) -> list[float]:
    """Strengths of levels that part the way from 0 to `top` evenly, `top` last."""
    return [top * k / levels for k in range(1, levels)] + [top]


def _parted(strengths: list[float], top: float) -> tuple[list[float], bool]:
    """Rising strengths from those at which the score passes its steps, `top` last; and whether any fell together.

    Where the score jumps over several steps at one strength, that strength is the last of them, and the others part
    the way to it evenly.
    """
    kept = [(0, 0.0)]
    for level, strength in enumerate(strengths, start=1):
        following = strengths[level] if level < len(strengths) else top
        if kept[-1][1] < strength < following:
            kept.append((level, strength))
    kept.append((len(strengths) + 1, top))
    levels, values = zip(*kept, strict=True)
    parted = np.interp(range(1, len(strengths) + 2), levels, values)
    return [float(strength) for strength in parted], len(kept) < len(strengths) + 2
