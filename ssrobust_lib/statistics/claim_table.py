"""The table of claims: every claim of the paper, judged on a run.

Enters: the comparisons table, the claims (`ssrobust_lib.statistics.paper.paper_claims`) and the profile's margins.
Leaves: one row per claim and arm with the verdict on the method and, beside it, the one on these networks, the numbers
behind them, the data they come from and the figures that show them.

Verdict on a claim of several comparisons: *does not hold* if one does not; *holds* if all hold and none is missing;
otherwise *undecided*. A claim on which no comparison of the run bears is *not tested*. The corrected p of such a claim
is the largest of its parts: the p-value of 'all of them' (an intersection-union test, Berger 1982), which needs no
further correction.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from ssrobust_lib.config import AA_ARM
from ssrobust_lib.statistics.claims import (
    ESTIMANDS,
    FAILS,
    HOLDS,
    NOT_TESTED,
    ONE_SEED,
    RULES_ABOUT_MEANS,
    UNDECIDED,
    Claim,
    bounds,
    estimand_of,
    judge,
    lacks_seeds,
    margin_of,
)
from ssrobust_lib.statistics.families import matches

#: Columns without a prefix are about the method; `reason` says why it is undecided where one seed is the reason.
#: `figures` and `links` are lists in one text, separated by '; ': names, and pages with anchors.
CLAIM_COLUMNS = (
    "claim", "arm", "section", "quote", "compares", "expected", "paper", "this_run", "interval", "p_holm",
    "p_equivalence", "verdict", "reason", "networks_interval", "networks_p_holm", "networks_verdict", "data_set",
    "mark", "note", "figures", "links",
)  # fmt: skip


def claim_parts(
    comparisons: pd.DataFrame, claims: Iterable[Claim], margins: Mapping[str, float], *, estimand: str = "method"
) -> pd.DataFrame:
    """Every comparison behind every claim, with its own verdict.

    Returns
    -------
    DataFrame : the rows of `comparisons`, once for each claim and arm that rests on them, with claim, judged (the arm
    in whose row of the table of claims it counts), part, rule, alpha, margin (NaN for rules about means) and verdict in
    front. A part that fixes its arm counts for every arm; for the A/A arm, that arm stands in for it.

    Raises
    ------
    UnknownNameError : a metric without a margin, or an estimand that does not exist.
    """
    estimand_of(estimand)
    head_columns = ["claim", "judged", "part", "rule", "alpha", "margin", "verdict"]
    arms, found = [str(arm) for arm in comparisons["arm"].unique()], []
    for claim in claims:
        for number, part in enumerate(claim.parts):
            of_part = comparisons[matches(comparisons, part.select) & (comparisons["reference"] == part.reference)]
            for arm in arms:
                compared = AA_ARM if arm == AA_ARM else part.arm or arm
                for row in of_part[of_part["arm"] == compared].to_dict("records"):
                    margin = np.nan if part.about_means() else margin_of(row["metric"], margins, row["role"])
                    verdict = judge(row, part, margin, estimand)
                    head = (claim.id, arm, number, part.rule, part.alpha, margin, verdict)
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


def _weakest(rows: Sequence[dict], estimand: str) -> dict:
    """Of several comparisons, the one that bears the claim out least: first by verdict, then by size."""

    def strength(row: dict) -> tuple[int, float]:
        difference = float(row["difference"])
        farthest = -float(np.max(np.abs(bounds(row, estimand))))
        signed = {"higher": difference, "lower": -difference}.get(row["rule"], farthest)
        return (FAILS, UNDECIDED, HOLDS).index(row["verdict"]), signed if np.isfinite(signed) else -np.inf

    return min(rows, key=strength)


def _interval_words(row: Mapping, estimand: str) -> str:
    low, high = bounds(row, estimand)
    return f"[{low:+.3f}, {high:+.3f}]" if np.isfinite([low, high]).all() else ""


def _interval_of_weakest(row: Mapping, estimand: str, described: Mapping | None) -> str:
    words = "" if row["rule"] in RULES_ABOUT_MEANS else _interval_words(row, estimand)
    elsewhere = described is not None and row["comparison"] != described["comparison"]
    return f"{_where(row)}: {words}" if words and elsewhere else words


def _measured_words(row: Mapping) -> str:
    if not np.isfinite(float(row["difference"])):
        return "not measured"
    return f"{row['mean_arm']:.3f} against {row['mean_reference']:.3f} ({row['difference']:+.3f})"


def _this_run(rows: Sequence[dict], row: Mapping) -> str:
    """What was measured, in words; of several comparisons how many hold, and the weakest."""
    if len(rows) == 1:
        plural = "s" if row["n_seeds"] != 1 else ""
        return f"{_measured_words(row)}, {row['n']} {row['unit']}s, {row['n_seeds']} seed{plural}"
    holding = sum(r["verdict"] == HOLDS for r in rows)
    if all(lacks_seeds(r, "method") for r in rows):
        return f"{len(rows)} comparisons with one seed; weakest: {_where(row)} {_measured_words(row)}"
    return f"{holding} of {len(rows)} hold; weakest: {_where(row)} {_measured_words(row)}"


def _notes(claim: Claim, rows: Sequence[dict], weakest: Mapping | None) -> str:
    """What a reader of the verdict on the method should know besides."""
    notes = [claim.untested] if claim.untested and not rows else []
    for number, part in enumerate(claim.parts):
        there = sum(row["part"] == number for row in rows)
        if there < part.rows and (rows or not claim.untested):
            notes.append(f"{there} of {part.rows} comparisons of part {number + 1} are in this run")
    for row in rows:
        name = "" if len(rows) == 1 else f"{_where(row)}: "
        directed = row["rule"] in ("higher", "lower")
        if row["verdict"] == HOLDS and directed:
            low, high = bounds(row, "method")
            if low <= 0 <= high:
                notes.append(f"{name}the interval {_interval_words(row, 'method')} includes 0")
            if (high if row["rule"] == "higher" else -low) < row["margin"]:
                notes.append(f"{name}significant, but smaller than the margin of {row['margin']:g}")
        if row is weakest and directed and row["verdict"] == UNDECIDED and np.isfinite(float(row["detectable"])):
            found = f"the smallest difference found four times in five is {row['detectable']:.3f}"
            notes.append(f"{name}{found}, the margin {row['margin']:g}")
        notes += [f"{name}{text}" for text in dict.fromkeys([row["method_note"], row["note"]]) if text]
    return "; ".join(notes)


def _pretext_mark(pretext: pd.DataFrame | None, arms: Sequence[str], tasks: Sequence[str]) -> str:
    """'pretext not learned (task: seeds)' where a pretext of these arms stayed at chance; empty otherwise."""
    if pretext is None:
        return ""
    missed = pretext[pretext["init"].isin(arms) & pretext["task"].isin(tasks) & ~pretext["learned"].astype(bool)]
    texts = []
    for task, rows in missed.groupby("task", sort=True, observed=True):
        seeds = sorted(set(rows["seed"]))
        texts.append(f"{task}: seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}")
    return f"pretext not learned ({'; '.join(texts)})" if texts else ""


def _largest(values: Iterable[float]) -> float:
    """Largest of the p-values; NaN if one of them is, or if there is none."""
    p_values = np.fromiter(values, dtype=float)
    return float(p_values.max()) if p_values.size else np.nan


def _judged(claim: Claim, rows: list[dict], estimand: str, described: Mapping | None) -> dict:
    """Verdict on a claim, with interval and p of the comparisons behind it.

    The interval is that of the weakest comparison, which it names where it is not the one described elsewhere in the
    row; a rule about means has none.
    """
    complete = all(sum(row["part"] == k for row in rows) >= part.rows for k, part in enumerate(claim.parts))
    verdict = _combine([row["verdict"] for row in rows], complete)
    column = ESTIMANDS[estimand].p
    judged = {
        "verdict": verdict,
        "p_holm": _largest(row[column] for row in rows if row["rule"] in ("higher", "lower")),
        "interval": _interval_of_weakest(_weakest(rows, estimand), estimand, described) if rows else "",
    }
    short = any(lacks_seeds(row, estimand) for row in rows if row["verdict"] == UNDECIDED)
    return judged | {"reason": ONE_SEED if verdict == UNDECIDED and short else ""}


def claim_table(
    comparisons: pd.DataFrame,
    claims: Sequence[Claim],
    margins: Mapping[str, float],
    pretext: pd.DataFrame | None = None,
    *,
    titles: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Judge every claim for every arm of the comparisons table; the A/A arm stands beside the others.

    Parameters
    ----------
    comparisons : as `ssrobust_lib.statistics.comparisons.compare_all` gives them, of one reference or several.
    margins : metric -> smallest difference that matters, fixed in the profile before the run.
    pretext : task, init, seed and bool `learned` (above chance on held-out images); rows of an arm that did not learn
        its pretext task carry a mark.
    titles : set -> words for it, such as 'phantoms in the RSNA layout'.

    Returns
    -------
    DataFrame with `CLAIM_COLUMNS`, in the order of the claims, arms in the order of the comparisons table.

    Raises
    ------
    ValueError : the pretext table lacks a column.
    UnknownNameError : a metric without a margin.
    """
    if pretext is not None and (lost := [c for c in ("task", "init", "seed", "learned") if c not in pretext.columns]):
        raise ValueError(f"pretext table: expected task, init, seed and learned; lacks {', '.join(lost)}")
    grouped: dict[str, dict[tuple[str, str], list[dict]]] = {}
    for estimand in ESTIMANDS:
        parts = claim_parts(comparisons, claims, margins, estimand=estimand)
        groups = parts.groupby(["claim", "judged"], sort=False)
        grouped[estimand] = {(str(k[0]), str(k[1])): rows.to_dict("records") for k, rows in groups}
    table = []
    for claim in claims:
        for arm in comparisons["arm"].unique():
            rows, of_networks = (grouped[estimand].get((claim.id, arm), []) for estimand in ("method", "networks"))
            weakest: dict | None
            if rows and all(lacks_seeds(row, "method") for row in rows):
                weakest = _weakest(of_networks, "networks")
            else:
                weakest = _weakest(rows, "method") if rows else None
            method = _judged(claim, rows, "method", weakest)
            networks = _judged(claim, of_networks, "networks", weakest)
            places = {(row["task"], row["set"]): None for row in rows}
            arms = [arm, *(part.arm for part in claim.parts), *(part.reference for part in claim.parts)]
            values = {
                "claim": claim.id, "arm": arm, "section": claim.section, "quote": claim.quote,
                "compares": claim.compares, "expected": claim.expected, "paper": claim.paper,
                "this_run": _this_run(rows, weakest) if weakest else "",
                "p_equivalence": _largest(row["equivalence_p"] for row in rows if row["rule"] == "similar"),
                "data_set": "; ".join(f"{task}: {(titles or {}).get(name, name)}" for task, name in places),
                "mark": _pretext_mark(pretext, [str(arm)] if arm == AA_ARM else arms, [task for task, _ in places]),
                "note": _notes(claim, rows, weakest),
                "figures": "; ".join(figure.name for figure in claim.figures),
                "links": "; ".join(f"{figure.page}#{figure.anchor}" for figure in claim.figures),
            }  # fmt: skip
            table.append(values | method | {f"networks_{name}": value for name, value in networks.items()})
    return pd.DataFrame(table, columns=list(CLAIM_COLUMNS))
