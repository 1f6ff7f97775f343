"""Severities by the paper's rule: as strong as the performance on a validation set stays above 0.49 (section 3.3).

Enters: a function that gives the validation score at a strength, and the name of a corruption. Leaves: five strengths
with their scores, all scores measured on the way, and where the rule did not apply as it stands, the reason.

What the paper leaves open is a parameter (`ssrobust_lib.config.Calibration`) or decided here:

- Whose performance: `REFERENCES`. The weaker arm's by default, so that the rule holds for every arm.
- Which strength: level 5 is the strongest before the score first falls to the floor, found by a search that ends at a
  stated closeness in score and in strength (`severities.crossing`). Levels 1 to 4 are equal steps of strength below
  it, or the strengths at equal steps of score between clean and the floor, each found by the same search.
- Every case in which the rule cannot hold has a word in `REASONS` and a sentence in the note.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from ssrobust_lib.corruptions import CORRUPTIONS
from ssrobust_lib.registry import unknown_name
from ssrobust_lib.severities.crossing import Closeness
from ssrobust_lib.severities.search import LevelSearch, MeasuredScores, equal_steps, search_levels

PAPER_FLOOR = 0.49
PAPER_CLEAN_DICE = 0.900
CALIBRATION = "calibration"  # stands for the severity in random keys while strengths are compared
LEVELS = 5
CLOSENESS = Closeness(score=0.01, strength=0.05)

REFERENCES = {
    "weaker": "the weaker arm's",
    "scratch": "normal training's",
    "stronger": "the stronger arm's",
    "mean": "the mean of all arms'",
}
REASONS = {
    "rule": "the rule applies as it stands",
    "range_end": "the score never falls to the floor: level 5 is the end of the declared range",
    "weakest": "even the weakest strength tried scores at or below the floor",
    "not_monotone": "the score recovers at a strength beyond the floor: its first fall counts",
    "jump": "the score jumps over the floor, or over a step of score, at one strength",
    "floor_lowered": "the clean score is not above the floor, which is lowered in proportion",
    "no_score": "the clean score is 0: nothing can fall, and level 5 is the end of the declared range",
    "given": "the strengths were given, by a published table or a file: nothing was searched",
}


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
        Whether the score falls to the floor within the declared range; of given strengths, at one of them.
    refused : float or None
        The weakest strength found at or below the floor, next to level 5; None where there is none.
    reason : str
        A word of `REASONS`.
    note : str
        What the rule did not cover, in words; empty where it applied as it stands.
    rows : list of dict
        One per level: corruption, severity (1 to 5), strength, unit, score, floor, reached_floor, reason, note.
    evaluations : list of (strength, score)
        All that was measured, by rising strength, clean included: the curve of the search.
    """

    corruption: str
    clean_score: float
    floor: float
    reached_floor: bool
    refused: float | None
    reason: str
    note: str
    rows: list[dict[str, Any]]
    evaluations: list[tuple[float, float]]

    @property
    def strengths(self) -> dict[int, float]:
        """Strength of each severity."""
        return {row["severity"]: row["strength"] for row in self.rows}


def reference_score(scores: Mapping[tuple[str, int], float], reference: str = "weaker") -> float:
    """Score that the rule looks at: each arm's mean over its seeds first, then one number of these.

    Parameters
    ----------
    scores : {(init, seed): score}
    reference : str
        'weaker' takes the lowest arm, 'stronger' the highest, 'mean' the mean of the arms, 'scratch' normal training.

    Raises
    ------
    UnknownNameError
        For another reference.
    ValueError
        Where there is no score, or none of normal training where that is the reference.
    """
    if reference not in REFERENCES:
        raise unknown_name("reference", reference, list(REFERENCES))
    if not scores:
        raise ValueError("scores: expected at least one (init, seed), got none; are there trained networks?")
    by_init: dict[str, list[float]] = {}
    for (init, _), score in scores.items():
        by_init.setdefault(init, []).append(score)
    means = {init: fmean(values) for init, values in by_init.items()}
    if reference == "scratch":
        if "scratch" not in means:
            raise ValueError(f"scores: expected some of 'scratch', the reference, got {', '.join(means)}")
        return means["scratch"]
    of_arms = list(means.values())
    return {"weaker": min(of_arms), "stronger": max(of_arms), "mean": fmean(of_arms)}[reference]


def calibrate(
    score_at: Callable[[float], float],
    corruption: str,
    *,
    clean_score: float | None = None,
    floor: float = PAPER_FLOOR,
    levels: int = LEVELS,
    steps: str = "strength",
    closeness: Closeness = CLOSENESS,
    resolution: float = 0.0,
) -> Calibration:
    """Find the strengths of the severities of one corruption.

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
    steps : str
        'strength': the levels are equal steps of strength. 'score': equal steps of score between the clean score and
        the floor (where that is not reached, the score at the end of the range).
    closeness : Closeness
        When a crossing counts as found.
    resolution : float
        Smallest step of the score, 1 / n for the accuracy over n images: no crossing is sought closer in score.

    Returns
    -------
    Calibration

    Raises
    ------
    UnknownNameError
        Where no corruption has that name, or `steps` is another word.
    ValueError
        Where a score is not in [0, 1], or there is no level.
    """
    kind = CORRUPTIONS[corruption]
    if levels < 1:
        raise ValueError(f"calibration of {corruption}: expected at least 1 level, got {levels}")
    if steps not in ("strength", "score"):
        raise unknown_name("kind of steps", steps, ["strength", "score"])
    close = Closeness(max(closeness.score, resolution), closeness.strength)
    measure = MeasuredScores(score_at, corruption, clean_score)
    clean = measure(0.0)
    if clean == 0:
        even = equal_steps(kind.strongest, levels)
        note = f"the clean score is 0 and cannot fall: level {levels} is the end of the range"
        return _calibration(measure, even, 0.0, True, None, "no_score", note)
    used = floor if clean > floor else clean * floor / PAPER_CLEAN_DICE
    found = search_levels(measure, used, levels, steps, close)
    cases = _exceptions(measure, found, used, levels)  # the most particular one first
    if clean <= floor:
        cases.append(("floor_lowered", _lowered_words(clean, floor)))
    sentences = [sentence for _, sentence in cases]
    if floor < clean < floor + close.score:
        sentences.append(f"clean score {clean:.3f} is barely above the floor: the severities are weak")
    if steps == "score" and not found.by_score:
        sentences.append("the score does not fall far enough: the levels are equal steps of strength")
    reason, reached = cases[0][0] if cases else "rule", found.last is not None
    refused = found.last.refused if found.last else None
    return _calibration(measure, found.strengths, used, reached, refused, reason, "; ".join(sentences))


def _exceptions(measured: MeasuredScores, found: LevelSearch, floor: float, levels: int) -> list[tuple[str, str]]:
    """Where a search does not bear out the rule: words of `REASONS` with a sentence, the most particular first."""
    cases, last = [], found.last
    if last is None:
        why = CORRUPTIONS[measured.corruption].why_strongest
        cases.append(("range_end", f"the score stays above {floor:.3g}: level {levels} is the end of the range, {why}"))
    elif last.admitted == 0:
        cases.append(
            ("weakest", f"even the weakest strength tried scores below {floor:.3g}: it is taken as level {levels}")
        )
    if last and any(strength > last.refused and score > floor for strength, score in measured.known.items()):
        cases.append(
            ("not_monotone", f"the score is not monotone: beyond level {levels} it recovers above {floor:.3g}")
        )
    if found.jumps:
        cases.append(("jump", "the score jumps at one strength: a step of score is wider than asked"))
    return cases


def measure_given(
    score_at: Callable[[float], float],
    corruption: str,
    strengths: tuple[float, ...],
    source: str,
    *,
    clean_score: float | None = None,
    floor: float = PAPER_FLOOR,
) -> Calibration:
    """Measure the scores at strengths that a published table or a file gives; nothing is searched.

    Parameters
    ----------
    strengths : float, rising, one per level
    source : where they come from, in words ('ImageNet-C'), for the note
    score_at, corruption, clean_score, floor : as in `calibrate`; the floor is compared with, and never lowered

    Returns
    -------
    Calibration with the reason 'given'.
    """
    measure = MeasuredScores(score_at, corruption, clean_score)
    measure(0.0)
    below = [level for level, strength in enumerate(strengths, start=1) if measure(strength) <= floor]
    notes = [f"strengths of {source}"]
    if below:
        levels = f"level{'' if len(below) == 1 else 's'} {', '.join(map(str, below))}"
        notes.append(f"at or below {floor:g} at {levels}")
    refused = strengths[below[0] - 1] if below else None
    return _calibration(measure, list(strengths), floor, bool(below), refused, "given", "; ".join(notes))


def _calibration(
    measured: MeasuredScores,
    strengths: list[float],
    floor: float,
    reached: bool,
    refused: float | None,
    reason: str,
    note: str,
) -> Calibration:
    kind = CORRUPTIONS[measured.corruption]
    rows: list[dict[str, Any]] = [
        {
            "corruption": kind.name,
            "severity": level,
            "strength": strength,
            "unit": kind.unit,
            "score": measured(strength),
            "floor": floor,
            "reached_floor": reached,
            "reason": reason,
            "note": note,
        }
        for level, strength in enumerate(strengths, start=1)
    ]
    evaluations = sorted(measured.known.items())
    return Calibration(kind.name, measured(0.0), floor, reached, refused, reason, note, rows, evaluations)


def _lowered_words(clean: float, floor: float) -> str:
    return (
        f"clean score {clean:.3f} is not above {floor:g}: floor lowered to {clean * floor / PAPER_CLEAN_DICE:.3f}, "
        f"the share of the clean score that {floor:g} is of the paper's {PAPER_CLEAN_DICE:g}"
    )
