"""What a claim of the paper is, and the rules by which it is judged; they stand before the run.

Enters: one row of the comparisons table, the rule of a claim's part, and the margin (the smallest difference that
matters, fixed in the profile). Leaves: a verdict. `claim_table` applies them to a run. Covers the abstract, the
introduction, sections 2, 3.2, 3.3 and 3.4 and the conclusions.

Two estimands, one rule. *The method*: patients and seeds are random; what readers take from the paper, and the verdict
of this report. *These networks*: patients are random, the trained networks as they are; what the paper's tests are
about. With one seed nothing can be said about the method: its verdict is *undecided*, for that reason.

Verdict on one comparison, by the part's rule:
- higher: *holds* if the Holm-corrected p < alpha and the difference is positive. Otherwise *does not hold* if the whole
  95 % interval lies below +margin (a gain of that size is excluded), or the difference is significant the other way.
- lower: the mirror image.
- similar: *holds* if both one-sided tests of equivalence reject at alpha (Schuirmann 1987), that is, if the 90 %
  interval lies within +-margin; *does not hold* if the 95 % interval lies entirely outside. For these networks, whose
  bootstrap gives a 95 % interval only, that one has to lie within +-margin, which asks for more.
- level: *holds* if the mean of each arm lies within `tolerance` of `value`; *does not hold* otherwise.
- above: *holds* if the mean of each arm is greater than `value`; *does not hold* otherwise.
- reference above: the same of the mean of the reference alone.
- at most: *holds* if the mean of the arm, not of the reference, is not greater than `value`; *does not hold* otherwise.
Anything else is *undecided*. The last four describe means and test nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ssrobust_lib.config import REFERENCE_ARM
from ssrobust_lib.registry import unknown_name
from ssrobust_lib.statistics.families import SELECTABLE

HOLDS, FAILS, UNDECIDED, NOT_TESTED = "holds", "does not hold", "undecided", "not tested"
VERDICTS = (HOLDS, FAILS, UNDECIDED, NOT_TESTED)
ONE_SEED = "one seed"

#: Margins of metrics that a profile need not name: a twentieth of a structure's voxels, and a tenth of the distance
#: between two patients.
DEFAULT_MARGINS: Mapping[str, float] = {"flipped": 0.05, "feature_distance": 0.1}

USUAL_LEVEL = 0.05
RULES_ABOUT_MEANS = ("level", "above", "reference above", "at most")


@dataclass(frozen=True)
class Estimand:
    """What a verdict is about: its name in sentences, and the columns of its interval and corrected p."""

    words: str
    low: str
    high: str
    p: str


ESTIMANDS: Mapping[str, Estimand] = {
    "method": Estimand("the method", "method_ci_low", "method_ci_high", "method_p_holm"),
    "networks": Estimand("these networks", "ci_low", "ci_high", "p_holm"),
}


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Part(_Entry):
    """Comparisons that a claim rests on, and the rule for each of them.

    `arm` fixes the arm that is compared (a control arm); empty for the arm whose row of the table it is.
    `sides`: about one of an organ's two sides, which a set that labels both as one cannot show.
    """

    rule: Literal["higher", "lower", "similar", "level", "above", "reference above", "at most"]
    select: dict[str, str | list[str]]
    rows: int = Field(gt=0)
    arm: str = ""
    reference: str = REFERENCE_ARM
    alpha: float = Field(default=USUAL_LEVEL, gt=0, lt=1)
    value: float | None = None
    tolerance: float | None = Field(default=None, gt=0)
    sides: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> "Part":
        unknown = [column for column in self.select if column not in SELECTABLE]
        if unknown:
            raise ValueError(str(unknown_name("column of a selector", unknown[0], list(SELECTABLE))))
        if (self.rule in RULES_ABOUT_MEANS) != (self.value is not None) or (self.rule == "level") != (
            self.tolerance is not None
        ):
            about = ", ".join(RULES_ABOUT_MEANS)
            raise ValueError(f"the rules about means ({about}) need a value, 'level' a tolerance; others neither")
        return self

    def about_means(self) -> bool:
        """Whether the rule looks at means only, so that it has neither a margin nor a p-value."""
        return self.rule in RULES_ABOUT_MEANS


class Figure(_Entry):
    """Where the book shows it: its name, the page without its suffix, and the anchor of a heading on it."""

    name: str = Field(min_length=1)
    page: str = Field(pattern=r"^[a-z0-9_/]+$")
    anchor: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")


class Claim(_Entry):
    """One claim of the paper; see the head of `book/paper_claims.yaml` for the fields."""

    id: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    section: str
    quote: str
    compares: str
    expected: Literal["+", "-", "0", "level"]
    paper: str
    figures: tuple[Figure, ...] = ()
    parts: tuple[Part, ...] = ()
    untested: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> "Claim":
        if not self.parts and not self.untested:
            raise ValueError("expected parts, or else the reason why the claim is untested")
        if self.parts and not self.figures:
            raise ValueError("expected the figures that show what the parts compare")
        return self


def margin_of(metric: str, margins: Mapping[str, float], role: str = "home") -> float:
    """Smallest difference that matters for a metric.

    A gap has its own margin or that of its metric; at another centre a margin named 'external <metric>' goes first.
    Where the profile names none, `DEFAULT_MARGINS` may.
    """
    known = dict(DEFAULT_MARGINS) | dict(margins)
    names = (metric, metric.removesuffix(" gap"))
    for name in (*(f"external {name}" for name in names if role == "external"), *names):
        if name in known:
            return float(known[name])
    raise unknown_name("metric in the profile's margins", metric, sorted(known))


def estimand_of(name: str) -> Estimand:
    """The estimand of that name.

    Raises
    ------
    UnknownNameError : there is none.
    """
    if name not in ESTIMANDS:
        raise unknown_name("estimand", name, list(ESTIMANDS))
    return ESTIMANDS[name]


def bounds(row: Mapping, estimand: str) -> tuple[float, float]:
    """95 % interval of a comparison for an estimand, NaN where there is none."""
    of = estimand_of(estimand)
    return float(row[of.low]), float(row[of.high])


def lacks_seeds(row: Mapping, estimand: str) -> bool:
    """Whether the comparison says nothing about the estimand because it rests on a single seed."""
    return estimand == "method" and int(row["n_seeds"]) < 2


def judge(row: Mapping, part: Part, margin: float, estimand: str = "method") -> str:
    """Verdict on one comparison by the rules at the top of this module.

    Parameters
    ----------
    row : one row of the comparisons table.
    margin : positive, in the metric's unit; NaN for the rules about means.
    estimand : 'method' or 'networks'.

    Raises
    ------
    UnknownNameError : an estimand that does not exist.
    """
    of = estimand_of(estimand)
    if lacks_seeds(row, estimand):
        return UNDECIDED
    if part.about_means():
        return _judge_means(row, part)
    low, high = bounds(row, estimand)
    if part.rule == "similar":
        within = -margin < low and high < margin
        if float(row["equivalence_p"]) < part.alpha if estimand == "method" else within:  # NaN compares false
            return HOLDS
        return FAILS if low > margin or high < -margin else UNDECIDED
    sign = 1 if part.rule == "higher" else -1
    difference, best = sign * float(row["difference"]), high if sign == 1 else -low
    significant = float(row[of.p]) < part.alpha
    if significant and difference > 0:
        return HOLDS
    return FAILS if best < margin or (significant and difference < 0) else UNDECIDED


def _judge_means(row: Mapping, part: Part) -> str:
    one = {"at most": ["mean_arm"], "reference above": ["mean_reference"]}
    names = one.get(part.rule, ["mean_arm", "mean_reference"])
    means, value = np.array([row[name] for name in names], dtype=float), float(part.value or 0.0)
    if not np.isfinite(means).all():
        return UNDECIDED
    if part.rule == "level":
        fits = np.abs(means - value) <= float(part.tolerance or 0.0)
    else:
        fits = means <= value if part.rule == "at most" else means > value
    return HOLDS if fits.all() else FAILS
