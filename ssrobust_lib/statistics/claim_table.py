"""The table of claims: every claim of the paper, judged on a run.

Enters: the comparisons table, the claims (`ssrobust_lib.statistics.paper.paper_claims`) and the profile's margins.
Leaves: one row per claim and arm with the verdict on the method and, beside it, the one on these networks, the numbers
behind them, the data they come from and the figures that show them.

Verdict on a claim of several comparisons: *does not hold* if one does not; *holds* if all hold and none is missing;
otherwise *undecided*. A claim on which no comparison of the run bears is *not tested*, and so is one whose outcome the
run's setting fixes beforehand (`testability`). Interval and p beside the verdict are those of one comparison, the one
that bears the claim out least (`claim_evidence`).
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from ssrobust_lib.config import AA_ARM
from ssrobust_lib.statistics.claim_evidence import DIRECTED, grounds, least, measured_words, named_interval, where
from ssrobust_lib.statistics.claim_notes import notes_on
from ssrobust_lib.statistics.claims import (
    ESTIMANDS,
    FAILS,
    HOLDS,
    NOT_TESTED,
    ONE_SEED,
    UNDECIDED,
    USUAL_LEVEL,
    Claim,
    estimand_of,
    judge,
    lacks_seeds,
    margin_of,
)
from ssrobust_lib.statistics.families import matches
from ssrobust_lib.statistics.testability import Setting, smallest_holm, why_untestable

#: Columns without a prefix are about the method; `reason` says what a verdict is due to where interval and p do not.
#: `figures` and `links` are lists in one text, separated by '; ': names, and pages with anchors.
CLAIM_COLUMNS = (
    "claim", "arm", "section", "quote", "compares", "expected", "paper", "this_run", "interval", "p_holm",
    "p_equivalence", "verdict", "reason", "networks_interval", "networks_p_holm", "networks_verdict",
    "networks_reason", "data_set", "mark", "note", "figures", "links",
)  # fmt: skip


def claim_parts(
    comparisons: pd.DataFrame, claims: Iterable[Claim], margins: Mapping[str, float], *, estimand: str = "method"
) -> pd.DataFrame:
    """Every comparison behind every claim, with its own verdict.

    Returns
    -------
    DataFrame : the rows of `comparisons`, once for each claim and arm that rests on them, with claim, judged (the arm
    in whose row of the table of claims it counts), part, rule, alpha, value and tolerance (NaN where the rule has
    none), margin (NaN for rules about means) and verdict in front. A part that fixes its arm counts for every arm but
    the A/A arm, which cannot stand in for a control arm: a claim about one has no rows for it.

    Raises
    ------
    UnknownNameError : a metric without a margin, or an estimand that does not exist.
    """
    estimand_of(estimand)
    head_columns = ["claim", "judged", "part", "rule", "alpha", "value", "tolerance", "margin", "verdict"]
    arms, found = [str(arm) for arm in comparisons["arm"].unique()], []
    for claim in claims:
        for number, part in enumerate(claim.parts):
            of_part = comparisons[matches(comparisons, part.select) & (comparisons["reference"] == part.reference)]
            for arm in arms:
                if arm == AA_ARM and any(other.arm for other in claim.parts):
                    continue
                for row in of_part[of_part["arm"] == (part.arm or arm)].to_dict("records"):
                    margin = np.nan if part.about_means() else margin_of(row["metric"], margins, row["role"])
                    verdict = judge(row, part, margin, estimand)
                    numbers = [np.nan if of is None else of for of in (part.value, part.tolerance)]
                    head = (claim.id, arm, number, part.rule, part.alpha, *numbers, margin, verdict)
                    found.append(dict(zip(head_columns, head, strict=True)) | row)
    return pd.DataFrame(found, columns=head_columns + list(comparisons.columns))


def _combine(verdicts: Sequence[str], complete: bool) -> str:
    if not verdicts:
        return NOT_TESTED
    if FAILS in verdicts:
        return FAILS
    return HOLDS if complete and set(verdicts) == {HOLDS} else UNDECIDED


def _this_run(rows: Sequence[dict], row: Mapping) -> str:
    """What was measured, in words; of several comparisons how many hold, and the weakest."""
    if len(rows) == 1:
        plural = "s" if row["n_seeds"] != 1 else ""
        return f"{measured_words(row)}, {row['n']} {row['unit']}s, {row['n_seeds']} seed{plural}"
    holding = sum(r["verdict"] == HOLDS for r in rows)
    if all(lacks_seeds(r, "method") for r in rows):
        return f"{len(rows)} comparisons with one seed; weakest: {where(row)} {measured_words(row)}"
    return f"{holding} of {len(rows)} hold; weakest: {where(row)} {measured_words(row)}"


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


def _judged(claim: Claim, rows: list[dict], estimand: str, described: Mapping | None, untestable: str) -> dict:
    """Verdict on a claim, with interval and p of the one comparison that bears it out least (`claim_evidence`).

    The interval names its comparison where it is not the one described elsewhere in the row; a rule about means has
    none. `reason` says what the verdict is due to where the numbers beside it do not.
    """
    if not rows or untestable:
        nothing = {"p_holm": np.nan, "p_equivalence": np.nan, "interval": ""}
        return nothing | {"verdict": NOT_TESTED, "reason": untestable}
    complete = all(sum(row["part"] == k for row in rows) >= part.rows for k, part in enumerate(claim.parts))
    verdict, shown = _combine([row["verdict"] for row in rows], complete), least(rows, estimand)
    short = any(lacks_seeds(row, estimand) for row in rows if row["verdict"] == UNDECIDED)
    reason = ONE_SEED if verdict == UNDECIDED and short else grounds(rows, shown, estimand)
    return {
        "verdict": verdict,
        "p_holm": float(shown[ESTIMANDS[estimand].p]) if shown["rule"] in DIRECTED else np.nan,
        "p_equivalence": float(shown["equivalence_p"]) if shown["rule"] == "similar" else np.nan,
        "interval": named_interval(shown, estimand, described),
        "reason": reason,
    }


def _compares(claim: Claim) -> str:
    """What is compared, and the level of p where it is not the usual one."""
    levels = sorted({part.alpha for part in claim.parts if part.rule in DIRECTED and part.alpha != USUAL_LEVEL})
    return "; ".join([claim.compares, *(f"at the level {level:g}" for level in levels)])


def claim_table(
    comparisons: pd.DataFrame,
    claims: Sequence[Claim],
    margins: Mapping[str, float],
    pretext: pd.DataFrame | None = None,
    *,
    titles: Mapping[str, str] | None = None,
    setting: Setting | None = None,
    seed_scores: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Judge every claim for every arm of the comparisons table; the A/A arm stands beside the others.

    Parameters
    ----------
    comparisons : as `ssrobust_lib.statistics.comparisons.compare_all` gives them, of one reference or several.
    margins : metric -> smallest difference that matters, fixed in the profile before the run.
    pretext : task, init, seed and bool `learned` (above chance on held-out images); rows of an arm that did not learn
        its pretext task carry a mark.
    titles : set -> words for it, such as 'phantoms in the RSNA layout'.
    setting : what the run fixed beforehand; without it no claim is found untestable for its floors or merged sides.
    seed_scores : every network's scores (`result_tables.seed_scores`); where few networks make up most of the missed
        structures, the note says so.

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
    comparisons = comparisons.reset_index(drop=True)
    comparisons = comparisons.assign(smallest_holm=smallest_holm(comparisons))
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
                weakest = least(of_networks, "networks")
            else:
                weakest = least(rows, "method") if rows else None
            method, networks = (
                _judged(
                    claim, of, estimand, weakest,
                    why_untestable(claim, of, comparisons, setting or Setting(), estimand),
                )
                for estimand, of in (("method", rows), ("networks", of_networks))
            )  # fmt: skip
            places = {(row["task"], row["set"]): None for row in rows}
            arms = [arm, *(part.arm for part in claim.parts), *(part.reference for part in claim.parts)]
            values = {
                "claim": claim.id, "arm": arm, "section": claim.section, "quote": claim.quote,
                "compares": _compares(claim), "expected": claim.expected, "paper": claim.paper,
                "this_run": _this_run(rows, weakest) if weakest else "",
                "data_set": "; ".join(f"{task}: {(titles or {}).get(name, name)}" for task, name in places),
                "mark": _pretext_mark(pretext, [str(arm)] if arm == AA_ARM else arms, [task for task, _ in places]),
                "note": notes_on(claim, str(arm), rows, weakest, seed_scores),
                "figures": "; ".join(figure.name for figure in claim.figures),
                "links": "; ".join(f"{figure.page}#{figure.anchor}" for figure in claim.figures),
            }  # fmt: skip
            table.append(values | method | {f"networks_{name}": value for name, value in networks.items()})
    return pd.DataFrame(table, columns=list(CLAIM_COLUMNS))
