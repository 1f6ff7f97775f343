"""Severities by the paper's rule: as strong as the performance on a validation set stays above 0.49 (section 3.3).

Enters: a function that gives the validation score at a strength, and the name of a corruption. Leaves: five strengths,
equal steps from clean to the strongest admitted one, with the scores measured on the way.

What the paper leaves open is decided here, and written in the table's notes where it comes into play:

- Whose performance: the weaker arm's, so that the rule holds for every arm: the lowest, over the arms, of the mean over
  the seeds (`weaker_arm_score`). No arm is favoured, and severities are the same for all of them.
- Which strength: level 5 is the strongest that keeps the score above the floor, levels 1 to 4 are equal steps below it.
- Where the floor is never reached (a classifier that falls back on the more frequent class stays above it at any
  strength): level 5 is the end of the corruption's declared range.
- Where the clean score is itself at or below the floor (a small network): the floor becomes the same share of the clean
  score as 0.49 is of the paper's clean Dice of 0.900.
- Where the score is not monotone: the first crossing counts, as far as a scan in steps of a factor of 4 can see.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ssrobust_lib.corruptions import CORRUPTIONS

PAPER_FLOOR = 0.49
PAPER_CLEAN_DICE = 0.900
CALIBRATION = "calibration"  # stands for the severity in random keys while strengths are compared

_SCAN = (1 / 64, 1 / 16, 1 / 4, 1.0)  # of the declared range
_WEAKEST = 1 / 1024
_CLOSE = 1.02  # ratio of two strengths that count as the same


@dataclass(frozen=True)
class Calibration:
    """Severities of one corruption, and the search that found them.

    Attributes
    ----------
    corruption : str
    clean_score : float
    floor : float
        The floor that was used.
    reached_floor : bool
        Whether the score falls to the floor within the declared range.
    note : str
        What the rule did not cover, empty where it applied as it stands.
    rows : list of dict
        One per level: corruption, severity (1 to 5), strength, unit, score, floor, reached_floor, note.
    evaluations : list of (strength, score)
        All that was measured, by rising strength, clean included: the curve of the search.
    """

    corruption: str
    clean_score: float
    floor: float
    reached_floor: bool
    note: str
    rows: list[dict[str, Any]]
    evaluations: list[tuple[float, float]]

    @property
    def strengths(self) -> dict[int, float]:
        """Strength of each severity."""
        return {row["severity"]: row["strength"] for row in self.rows}


def weaker_arm_score(scores: Mapping[tuple[str, int], float]) -> float:
    """Lowest, over the arms, of the mean over the seeds.

    Parameters
    ----------
    scores : {(init, seed): score}

    Raises
    ------
    ValueError
        Where there is no score.
    """
    if not scores:
        raise ValueError("scores: expected at least one (init, seed), got none; are there trained networks?")
    by_init: dict[str, list[float]] = {}
    for (init, _), score in scores.items():
        by_init.setdefault(init, []).append(score)
    return float(min(np.mean(values) for values in by_init.values()))


def calibrate(
    score_at: Callable[[float], float],
    corruption: str,
    *,
    clean_score: float | None = None,
    floor: float = PAPER_FLOOR,
    levels: int = 5,
    tolerance: float = 0.02,
    max_evaluations: int = 10,
) -> Calibration:
    """Find the strengths of the severities of one corruption.

    The search scans the declared range upward in steps of a factor of 4 until the score falls to the floor, then
    divides the bracket on a logarithmic scale, where a straight line between its ends meets the floor.

    Parameters
    ----------
    score_at : callable (strength) -> float
        Validation score at a strength, in [0, 1], higher is better. Use the same random keys at every strength
        (`sample_keys` with the word 'calibration' for the severity): the score then falls smoothly.
    corruption : str
        Name in `CORRUPTIONS`; sets unit and range.
    clean_score : float, optional
        Score at strength 0, where it is known already: it is the same for all corruptions.
    floor : float
        The paper's lower bound of the performance.
    levels : int
        Number of severities.
    tolerance : float
        The search ends once the admitted strength scores less than this above the floor.
    max_evaluations : int
        Upper bound of calls of `score_at`, `levels` - 1 of them kept for the scores of the lower levels. At least
        `levels` + 4.

    Returns
    -------
    Calibration

    Raises
    ------
    UnknownNameError
        Where no corruption has that name.
    ValueError
        Where a score is not in [0, 1], or `max_evaluations` does not suffice for the scan and the levels.
    """
    kind = CORRUPTIONS[corruption]
    least = len(_SCAN) + levels  # clean, the scan, the levels below the last
    if levels < 1 or max_evaluations < least:
        raise ValueError(
            f"calibration of {corruption}: expected at least 1 level and {least} evaluations for {levels} levels, "
            f"got levels={levels}, max_evaluations={max_evaluations}"
        )
    known: dict[float, float] = {}
    if clean_score is not None:
        known[0.0] = _checked_score(clean_score, corruption, 0.0)
    most_known = max_evaluations + len(known) - (levels - 1)  # when the search ends

    def score(strength: float) -> float:
        if strength not in known:
            known[strength] = _checked_score(score_at(strength), corruption, strength)
        return known[strength]

    notes = []
    clean = score(0.0)
    if clean <= floor:
        lowered = clean * floor / PAPER_CLEAN_DICE
        notes.append(
            f"clean score {clean:.3f} is not above {floor:g}: floor lowered to {lowered:.3f}, the share of the clean "
            f"score that {floor:g} is of the paper's {PAPER_CLEAN_DICE:g}"
        )
        floor = lowered
    elif clean - floor < tolerance:
        notes.append(f"clean score {clean:.3f} is barely above the floor: the severities are weak")

    admitted, refused = 0.0, None
    for share in _SCAN:
        strength = share * kind.strongest
        if score(strength) <= floor:
            refused = strength
            break
        admitted = strength
    reached = refused is not None
    if refused is None:
        notes.append(f"the score stays above {floor:.3g}: level {levels} is the end of the range, {kind.why_strongest}")
    else:
        admitted, refused = _bracketed(score, known, admitted, refused, floor, tolerance, most_known)
        if admitted == 0.0:
            admitted = refused
            notes.append(f"even the weakest strength tried scores below {floor:.3g}: it is taken as level {levels}")

    strengths = {level: admitted * level / levels for level in range(1, levels)} | {levels: admitted}
    dips = [level for level, strength in strengths.items() if level < levels and score(strength) <= floor]
    if dips and admitted != refused:
        notes.append(f"the score is not monotone: at or below the floor at level {', '.join(map(str, dips))}")
    note = "; ".join(notes)
    rows: list[dict[str, Any]] = [
        {
            "corruption": corruption,
            "severity": level,
            "strength": strength,
            "unit": kind.unit,
            "score": score(strength),
            "floor": floor,
            "reached_floor": reached,
            "note": note,
        }
        for level, strength in strengths.items()
    ]
    return Calibration(corruption, clean, floor, reached, note, rows, sorted(known.items()))


def _bracketed(
    score: Callable[[float], float],
    known: Mapping[float, float],
    admitted: float,
    refused: float,
    floor: float,
    tolerance: float,
    most_known: int,
) -> tuple[float, float]:
    """Narrow [admitted, refused] around the crossing until it is close, or `most_known` strengths are known."""
    weakest = _WEAKEST * refused
    moved, halve = None, False
    while len(known) < most_known:
        if admitted > 0 and (known[admitted] - floor < tolerance or refused / admitted < _CLOSE):
            break
        lower, share = max(admitted, weakest), 0.5
        if admitted > 0 and not halve:  # aim half the tolerance above the floor
            share = (known[admitted] - floor - tolerance / 2) / (known[admitted] - known[refused])
        middle = float(lower * (refused / lower) ** share)
        above = score(middle) > floor
        if above:
            admitted = middle
        else:
            refused = middle
        # a straight line that moves the same end twice follows a bend badly: halve the bracket next
        halve = above == moved and not halve
        moved = above
    return admitted, refused


def _checked_score(value: float, corruption: str, strength: float) -> float:
    value = float(value)
    if not 0 <= value <= 1:
        raise ValueError(
            f"score of {corruption} at strength {strength:g}: expected 0 to 1, got {value}; "
            "does the validation set have labels, and did every network train?"
        )
    return value
