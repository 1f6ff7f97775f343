"""Where a score falls to a level as a strength grows: bracket the crossing, then narrow the bracket.

Enters: scores known at some strengths, a function that measures further ones, a level. Leaves: the strongest strength
found above the level and the weakest found at or below it, as close as the tolerance asks. It serves the calibration of
severities (paper, section 3.3), where one measurement is a pass of the validation images through every network.

The search is regula falsi in its Illinois spirit (Dowell and Jarratt 1971): a straight line between the ends of the
bracket proposes the next strength, and where the same end moved twice the bracket is halved instead, so that no shape
of the curve can slow it down for long. Strengths are compared on the scale of their square root: halving a bracket that
starts at zero then divides by 4, and strengths of a hundredth or a thousandth of the range are soon found. Next to an
end the search steps as far as the tolerance, no closer: if the crossing lies between, the search is over.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_STEEP = 16  # a bracket this many times narrower than asked ends the search where the score jumps over the level
_FARTHEST = 16  # from zero, the strength is divided by this at most


@dataclass(frozen=True)
class Closeness:
    """When a crossing counts as found.

    Attributes
    ----------
    score : float in (0, 1)
        The admitted strength scores at most this above the level.
    strength : float in (0, 1)
        The refused strength is at most this share above the admitted one (share of the refused one).
    """

    score: float
    strength: float


@dataclass(frozen=True)
class Bracket:
    """A crossing between two strengths.

    Attributes
    ----------
    admitted : float
        Scores above the level, as every known weaker strength does.
    refused : float
        Scores at or below the level.
    jump : bool
        The score falls over the level within a bracket so narrow that its tolerance is given up.
    """

    admitted: float
    refused: float
    jump: bool = False


def first_bracket(known: Mapping[float, float], level: float) -> Bracket | None:
    """Neighbours among the known strengths between which the score first falls to the level; None where it never does.

    Parameters
    ----------
    known : {strength: score}, with strength 0
    level : float; the score at strength 0 lies above it

    Raises
    ------
    ValueError
        Where strength 0 is not known or does not score above the level.
    """
    if not known.get(0.0, -math.inf) > level:
        raise ValueError(f"expected a score above {level:g} at strength 0, got {known.get(0.0)}")
    admitted = 0.0
    for strength in sorted(known):
        if known[strength] <= level:
            return Bracket(admitted, strength)
        admitted = strength
    return None


def narrow(
    score: Callable[[float], float], bracket: Bracket, level: float, closeness: Closeness, weakest: float
) -> Bracket:
    """Narrow a bracket until the crossing is found.

    Parameters
    ----------
    score : callable (strength) -> score; asked for the bracket's ends and for every strength tried
    bracket : from `first_bracket`
    level : float
    closeness : both of its tolerances hold at the end, except where the score jumps
    weakest : float
        The weakest strength that is tried.

    Returns
    -------
    Bracket, with `admitted` 0 where even the weakest strength is refused.
    """
    admitted, refused = bracket.admitted, bracket.refused
    moved: bool | None = None
    halve = False
    while admitted > 0 or refused > weakest:
        step = closeness.strength * refused
        near = score(admitted) - level <= closeness.score
        if refused - admitted <= step and (near or refused - admitted <= step / _STEEP):
            return Bracket(admitted, refused, jump=not near)
        share = 0.5 if halve else _on_a_line(score(admitted), score(refused), level + closeness.score / 2)
        strength = _between(admitted, refused, share, step, weakest)
        above = score(strength) > level
        admitted, refused = (strength, refused) if above else (admitted, strength)
        halve = above == moved and not halve
        moved = above
    return Bracket(admitted, refused)


def _on_a_line(upper: float, lower: float, aim: float) -> float:
    """Share of the way from the upper to the lower score at which a straight line meets `aim`."""
    return min(max((upper - aim) / (upper - lower), 0.0), 1.0)


def _between(admitted: float, refused: float, share: float, step: float, weakest: float) -> float:
    """Strength at a share of the bracket on the square-root scale, a step away from its ends where it is wide."""
    low, high = math.sqrt(admitted), math.sqrt(refused)
    if admitted == 0:
        return max(min((share * high) ** 2, refused - step), refused / _FARTHEST, weakest)
    width = min(0.95 * step, (refused - admitted) / 2)
    return min(max((low + share * (high - low)) ** 2, admitted + width), refused - width)
