"""What a reader of a claim's verdict should know besides.

Enters: the comparisons behind a claim, with their verdicts on the method, and every network's scores. Leaves: notes.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ssrobust_lib.config import AA_ARM, REFERENCE_ARM
from ssrobust_lib.statistics.claim_evidence import DIRECTED, interval_words, where
from ssrobust_lib.statistics.claims import HOLDS, UNDECIDED, Claim, bounds
from ssrobust_lib.statistics.scales import largest_difference

#: Networks are called few where no more than half of them make up this share of what is missed.
MOST = 0.9


def notes_on(
    claim: Claim, arm: str, rows: Sequence[dict], weakest: Mapping | None, seed_scores: pd.DataFrame | None = None
) -> str:
    """Notes on a claim, judged for an arm, in one text.

    Parameters
    ----------
    rows : its comparisons, with verdicts on the method.
    weakest : the one that the table of claims describes.
    seed_scores : every network's scores (`result_tables.seed_scores`), for claims about missed structures.
    """
    notes = [_why_no_rows(claim, arm)] if not rows else []
    for number, part in enumerate(claim.parts):
        there = sum(row["part"] == number for row in rows)
        if there < part.rows and (rows or not claim.untested):
            notes.append(f"{there} of {part.rows} comparisons of part {number + 1} are in this run")
    for row in rows:
        name = "" if len(rows) == 1 else f"{where(row)}: "
        notes += [name + text for text in _of_row(row, row is weakest) if text]
    missed = {row["comparison"]: row for row in rows if row["metric"] == "missed"}.values()
    if seed_scores is not None:
        notes += [
            text for row in missed for init in (row["arm"], row["reference"]) for text in _few(seed_scores, row, init)
        ]
    return "; ".join(dict.fromkeys(filter(None, notes)))


def _why_no_rows(claim: Claim, arm: str) -> str:
    controls = sorted({part.arm for part in claim.parts if part.arm})
    if arm == AA_ARM and controls:
        return f"about the control arm {', '.join(controls)}, for which normal training again cannot stand in"
    return claim.untested


def _of_row(row: Mapping, is_weakest: bool) -> list[str]:
    notes, directed = [], row["rule"] in DIRECTED
    if row["verdict"] == HOLDS and directed:
        low, high = bounds(row, "method")
        if low <= 0 <= high:
            notes.append(f"the interval {interval_words(row, 'method')} includes 0")
        if (high if row["rule"] == "higher" else -low) < row["margin"]:
            notes.append(f"significant, but smaller than the margin of {row['margin']:g}")
    detectable = float(row["detectable"])
    if is_weakest and directed and row["verdict"] == UNDECIDED and np.isfinite(detectable):
        found = f"the smallest difference found four times in five is {detectable:.3f}"
        if detectable > largest_difference(row["metric"]):
            found = "no possible difference would be found four times in five"
        notes.append(f"{found}, the margin {row['margin']:g}")
    return [*notes, *dict.fromkeys([row["method_note"], row["note"]])]


def _few(seed_scores: pd.DataFrame, row: Mapping, init: str) -> list[str]:
    """Says so where few networks make up most of what an arm misses."""
    same = seed_scores["init"] == init
    for column in ("task", "set", "metric", "structure", "scope", "condition"):
        same &= seed_scores[column] == row[column]
    of_network = seed_scores[same].sort_values("seed")
    shares = of_network["value"].to_numpy(np.float64)
    if shares.size < 2 or not shares.sum() > 0:
        return []
    made_up = np.cumsum(np.sort(shares)[::-1]) / shares.sum()
    few = int(np.argmax(made_up >= MOST)) + 1
    if few > shares.size / 2:
        return []
    whose = "normal training" if init == REFERENCE_ARM else "the arm"
    by_network = ", ".join(f"{100 * share:.0f} %" for share in shares)
    verb = "makes" if few == 1 else "make"
    return [
        f"of what {whose} misses, {few} of {shares.size} networks {verb} up {100 * made_up[few - 1]:.0f} % "
        f"(missed by network: {by_network}, over {of_network['n'].iloc[0]} {row['unit']}s each)"
    ]
