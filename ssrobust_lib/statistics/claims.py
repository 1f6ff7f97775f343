"""The paper's claims, judged by rules that stand before the run.

Enters: the comparisons table, the claims (`ssrobust_lib.statistics.paper.paper_claims`) and the profile's margins.
Leaves: one row per claim and arm with the verdict, the numbers behind it and the data they come from.
Covers the claims of the abstract, sections 3.2, 3.3 and 3.4 and the conclusions.

Verdict on one comparison, by the part's rule (margin: the smallest difference that matters, per metric):
- higher: *holds* if the Holm-corrected p < alpha and the difference is positive. Otherwise *does not hold* if the whole
  interval lies below +margin (a gain of that size is excluded), or the difference is significant the other way.
- lower: the mirror image.
- similar: *holds* if the whole interval lies within +-margin; *does not hold* if it lies entirely outside.
- level: *holds* if the means of both arms lie within `tolerance` of `value`; *does not hold* otherwise.
Anything else is *undecided*.

Verdict on a claim of several comparisons: *does not hold* if one does not; *holds* if all hold and none is missing;
otherwise *undecided*. A claim on which no comparison of the run bears is *not tested*. The corrected p of such a claim
is the largest of its parts: the p-value of 'all of them'.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ssrobust_lib.registry import unknown_name
from ssrobust_lib.statistics.families import SELECTABLE, matches

HOLDS, FAILS, UNDECIDED, NOT_TESTED = "holds", "does not hold", "undecided", "not tested"
VERDICTS = (HOLDS, FAILS, UNDECIDED, NOT_TESTED)
CLAIM_COLUMNS = (
    "claim", "arm", "section", "quote", "compares", "expected", "paper", "this_run", "interval", "p_holm", "verdict",
    "data_set", "mark", "note",
)  # fmt: skip
INTERVALS = {"units": ("ci_low", "ci_high"), "seeds": ("method_ci_low", "method_ci_high")}


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Part(_Entry):
    """Comparisons that a claim rests on, and the rule for each of them."""

    rule: Literal["higher", "lower", "similar", "level"]
    select: dict[str, str | list[str]]
    rows: int = Field(gt=0)
    alpha: float = Field(default=0.05, gt=0, lt=1)
    value: float | None = None
    tolerance: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _consistent(self) -> "Part":
        unknown = [column for column in self.select if column not in SELECTABLE]
        if unknown:
            raise ValueError(str(unknown_name("column of a selector", unknown[0], list(SELECTABLE))))
        if (self.rule == "level") != (self.value is not None and self.tolerance is not None):
            raise ValueError("value and tolerance belong to the rule 'level', and it needs both")
        return self


class Claim(_Entry):
    """One claim of the paper; see the head of `book/paper_claims.yaml` for the fields."""

    id: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    section: str
    quote: str
    compares: str
    expected: Literal["+", "-", "0", "level"]
    paper: str
    parts: tuple[Part, ...] = ()
    untested: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> "Claim":
        if bool(self.parts) == bool(self.untested):
            raise ValueError("expected parts, or else the reason why the claim is untested")
        return self


def margin_of(metric: str, margins: Mapping[str, float], role: str = "home") -> float:
    """Smallest difference that matters for a metric.

    A gap has its own margin or that of its metric; at another centre a margin named 'external <metric>' goes first.
    """
    names = (metric, metric.removesuffix(" gap"))
    for name in (*(f"external {name}" for name in names if role == "external"), *names):
        if name in margins:
            return float(margins[name])
    raise unknown_name("metric in the profile's margins", metric, sorted(margins))


def _bounds(row: Mapping, interval: str) -> tuple[float, float]:
    """Interval of the asked kind; with a single seed there is none over seeds, and that over units stands in."""
    low, high = (float(row[column]) for column in INTERVALS[interval])
    return (low, high) if np.isfinite([low, high]).all() else (float(row["ci_low"]), float(row["ci_high"]))


def judge(row: Mapping, part: Part, margin: float, interval: str = "units") -> str:
    """Verdict on one comparison by the rules at the top of this module.

    Parameters
    ----------
    row : one row of the comparisons table.
    margin : positive, in the metric's unit.
    interval : 'units' or 'seeds', which interval meets the margin.
    """
    if part.rule == "level":
        means = np.array([row["mean_arm"], row["mean_reference"]], dtype=float)
        if not np.isfinite(means).all():
            return UNDECIDED
        return HOLDS if (np.abs(means - part.value) <= part.tolerance).all() else FAILS
    low, high = _bounds(row, interval)
    if part.rule == "similar":
        if -margin < low and high < margin:
            return HOLDS
        return FAILS if low > margin or high < -margin else UNDECIDED
    sign = 1 if part.rule == "higher" else -1
    difference, best = sign * float(row["difference"]), high if sign == 1 else -low
    significant = float(row["p_holm"]) < part.alpha  # NaN compares false
    if significant and difference > 0:
        return HOLDS
    return FAILS if best < margin or (significant and difference < 0) else UNDECIDED


def claim_parts(
    comparisons: pd.DataFrame, claims: Sequence[Claim], margins: Mapping[str, float], *, interval: str = "units"
) -> pd.DataFrame:
    """Every comparison behind every claim, with its own verdict.

    Returns
    -------
    DataFrame : the rows of `comparisons`, once for each claim that rests on them, with claim, part, rule, alpha, margin
    (NaN for 'level') and verdict in front.

    Raises
    ------
    UnknownNameError : a metric without a margin, or an interval that does not exist.
    """
    if interval not in INTERVALS:
        raise unknown_name("interval", interval, list(INTERVALS))
    head_columns = ["claim", "part", "rule", "alpha", "margin", "verdict"]
    found = []
    for claim in claims:
        for number, part in enumerate(claim.parts):
            rows = comparisons[matches(comparisons, part.select)]
            for row in rows.to_dict("records"):
                margin = np.nan if part.rule == "level" else margin_of(row["metric"], margins, row["role"])
                verdict = judge(row, part, margin, interval)
                head = (claim.id, number, part.rule, part.alpha, margin, verdict)
                found.append(dict(zip(head_columns, head, strict=True)) | row)
    return pd.DataFrame(found, columns=head_columns + list(comparisons.columns))


def _combine(verdicts: Sequence[str], complete: bool) -> str:
    if not verdicts:
        return NOT_TESTED
    if FAILS in verdicts:
        return FAILS
    return HOLDS if complete and set(verdicts) == {HOLDS} else UNDECIDED


def _where(row: Mapping) -> str:
    """Short name of a comparison among others: what tells it apart."""
    condition = "" if row["scope"] == "clean" else f", {row['condition']}"
    return f"{row['set']} {row['metric']}{condition}"


def _describe(rows: list[dict], interval: str) -> tuple[str, str]:
    """(this run, interval) in words; of several comparisons, the one that bears the claim out least."""

    def strength(row: dict) -> tuple[int, float]:
        """First the verdict, then the signed size in the claim's direction; what was not measured is weakest."""
        difference = float(row["difference"])
        farthest = -max(map(abs, _bounds(row, interval)))
        signed = {"higher": difference, "lower": -difference}.get(row["rule"], farthest)
        return (FAILS, UNDECIDED, HOLDS).index(row["verdict"]), signed if np.isfinite(signed) else -np.inf

    row = min(rows, key=strength)
    low, high = _bounds(row, interval)
    bounds = f"[{low:+.3f}, {high:+.3f}]" if np.isfinite([low, high]).all() else ""
    numbers = f"{row['mean_arm']:.3f} against {row['mean_reference']:.3f} ({row['difference']:+.3f})"
    if not np.isfinite(float(row["difference"])):
        numbers = "not measured"
    if len(rows) == 1:
        plural = "s" if row["n_seeds"] != 1 else ""
        return f"{numbers}, {row['n']} {row['unit']}s, {row['n_seeds']} seed{plural}", bounds
    holding = sum(r["verdict"] == HOLDS for r in rows)
    return f"{holding} of {len(rows)} hold; weakest: {_where(row)} {numbers}", bounds


def _notes(claim: Claim, rows: list[dict], interval: str) -> str:
    notes = [claim.untested] if claim.untested else []
    for number, part in enumerate(claim.parts):
        there = sum(row["part"] == number for row in rows)
        if there < part.rows:
            notes.append(f"{there} of {part.rows} comparisons of part {number + 1} are in this run")
    single = len(rows) == 1
    for row in rows:
        name = "" if single else f"{_where(row)}: "
        if row["verdict"] == HOLDS and row["rule"] in ("higher", "lower"):
            for words, columns in (("", ("ci_low", "ci_high")), ("over seeds ", INTERVALS["seeds"])):
                low, high = (float(row[column]) for column in columns)
                if low <= 0 <= high:
                    notes.append(f"{name}{words}the interval [{low:+.3f}, {high:+.3f}] includes 0")
            low, high = _bounds(row, interval)
            if (high if row["rule"] == "higher" else -low) < row["margin"]:
                notes.append(f"{name}significant, but smaller than the margin of {row['margin']:g}")
        if row["note"]:
            notes.append(f"{name}{row['note']}")
    return "; ".join(notes)


def _pretext_mark(pretext: pd.DataFrame | None, arm: str, tasks: Sequence[str]) -> str:
    """'pretext not learned (task: seeds)' where a pretext of this arm stayed at chance; empty otherwise."""
    if pretext is None:
        return ""
    missed = pretext[(pretext["init"] == arm) & pretext["task"].isin(tasks) & ~pretext["learned"].astype(bool)]
    texts = []
    for task, rows in missed.groupby("task", sort=True, observed=True):
        seeds = sorted(rows["seed"])
        texts.append(f"{task}: seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}")
    return f"pretext not learned ({'; '.join(texts)})" if texts else ""


def claim_table(
    comparisons: pd.DataFrame,
    claims: Sequence[Claim],
    margins: Mapping[str, float],
    pretext: pd.DataFrame | None = None,
    *,
    interval: str = "units",
    titles: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Judge every claim for every arm of the comparisons table; the A/A arm stands beside the others.

    Parameters
    ----------
    comparisons : as `ssrobust_lib.statistics.comparisons.compare_all` gives them.
    margins : metric -> smallest difference that matters, fixed in the profile before the run.
    pretext : task, init, seed and bool `learned` (above chance on held-out images); rows of an arm that did not learn
        its pretext task carry a mark.
    interval : 'units' (these networks, other patients) or 'seeds' (other seeds too) meets the margin.
    titles : set -> words for it, such as 'phantoms in the RSNA layout'.

    Returns
    -------
    DataFrame with `CLAIM_COLUMNS`, in the order of the claims, arms in the order of the comparisons table.

    Raises
    ------
    ValueError : the pretext table lacks a column.
    UnknownNameError : a metric without a margin, or an interval that does not exist.
    """
    if pretext is not None and (lost := [c for c in ("task", "init", "seed", "learned") if c not in pretext.columns]):
        raise ValueError(f"pretext table: expected task, init, seed and learned; lacks {', '.join(lost)}")
    parts = claim_parts(comparisons, claims, margins, interval=interval)
    records = {key: rows.to_dict("records") for key, rows in parts.groupby(["claim", "arm"], sort=False)}
    table = []
    for claim in claims:
        for arm in comparisons["arm"].unique():
            rows = records.get((claim.id, arm), [])
            complete = all(sum(row["part"] == k for row in rows) >= p.rows for k, p in enumerate(claim.parts))
            this_run, bounds = _describe(rows, interval) if rows else ("", "")
            p_values = np.array([row["p_holm"] for row in rows if row["rule"] in ("higher", "lower")], dtype=float)
            places = {(row["task"], row["set"]): None for row in rows}
            verdict = _combine([row["verdict"] for row in rows], complete)
            p_all = p_values.max() if p_values.size else np.nan
            data_set = "; ".join(f"{task}: {(titles or {}).get(name, name)}" for task, name in places)
            mark = _pretext_mark(pretext, arm, [task for task, _ in places])
            values = (
                claim.id, arm, claim.section, claim.quote, claim.compares, claim.expected, claim.paper,
                this_run, bounds, p_all, verdict, data_set, mark, _notes(claim, rows, interval),
            )  # fmt: skip
            table.append(dict(zip(CLAIM_COLUMNS, values, strict=True)))
    return pd.DataFrame(table, columns=list(CLAIM_COLUMNS))
