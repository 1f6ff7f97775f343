"""`ssrobust compare RUN_A RUN_B`: the comparison as text in the terminal and as a page, with its tables as CSV.

Enters: two names or paths of runs. Leaves: text, and a folder with the tables and `index.html`, which is whole in
itself.
"""

from pathlib import Path

import pandas as pd

from ssrobust_lib.config import COMPARISONS, PROJECT
from ssrobust_lib.figures import order_arms, order_corruptions, paper_label, signed
from ssrobust_lib.figures.result_tables import interval_text
from ssrobust_lib.run_comparison.changes import CHANGED
from ssrobust_lib.run_comparison.comparison import RunComparison, compare, summary
from ssrobust_lib.run_comparison.page import page_html
from ssrobust_lib.run_comparison.score_tables import score_text, to_csv, where
from ssrobust_lib.run_comparison.stored_run import names_of, open_run

_LONGEST = 48


def compare_runs(run_a: str, run_b: str, *, out: Path | None = None, runs: Path | None = None) -> tuple[str, Path]:
    """Compare two runs.

    Parameters
    ----------
    run_a, run_b : a profile's name, or the path of a run's folder (`stored_run.open_run`).
    out : folder to write into; by default ``runs/compare/<a>-<b>/``.
    runs : folder of all runs; that of the project where not given.

    Returns
    -------
    str, Path : the text for the terminal, and the page.

    Raises
    ------
    RunComparisonError
        A run is missing, unfinished or of another version, or the two have nothing in common.
    """
    runs = runs or PROJECT / "runs"
    a, b = open_run(run_a, runs=runs), open_run(run_b, runs=runs)
    comparison = compare(a, b)
    folder = out or runs / COMPARISONS / "-".join(names_of(a, b))
    folder.mkdir(parents=True, exist_ok=True)
    tables = {"changes": comparison.changes, "set_up": comparison.set_up, "tables": comparison.tables}
    for name, table in (tables | comparison.sections).items():
        (folder / f"{name}.csv").write_text(to_csv(table), encoding="utf-8")
    page = folder / "index.html"
    page.write_text(page_html(comparison), encoding="utf-8")
    return text(comparison), page


def text(comparison: RunComparison) -> str:
    """What the terminal shows: the runs, what differs, the main scores, and what to make of them."""
    lines = []
    for letter, run in (("A", comparison.a), ("B", comparison.b)):
        finished = run.statistics.record.get("finished", "unknown")
        lines.append(f"{letter}  {run.name}, commit {', '.join(run.commits)}, finished {finished}, {run.folder}")
        if run.older:
            lines.append(f"   of several results of a cell, those of {run.statistics.id}; {len(run.older)} left aside")
    differs = comparison.set_up[comparison.set_up["differs"] & (comparison.set_up["section"] != "machine and time")]
    if len(differs):
        lines += ["", "what differs in the set-up"]
        lines += _columns([("", "A", "B"), *differs[["what", "a", "b"]].itertuples(index=False, name=None)])
    lines += ["", "what changed in the scores (B less A; p of the method, corrected over the rows)"]
    shown = _shown(comparison)
    head = ("score", "arm", "A", "B", "B less A", "95 % interval", "p", "verdict")
    lines += _columns([head, *(_line(row) for row in shown.to_dict("records"))])
    left = len(comparison.part("scores")) + len(comparison.part("arms")) - len(shown)
    lines += [f"{left} further scores and {len(comparison.part('details'))} at single severities are on the page"]
    lines += ["", *summary(comparison)]
    lines += [f"not compared, {section.replace('_', ' ')}: {why}" for section, why in comparison.left_out.items()]
    return "\n".join(lines)


def _shown(comparison: RunComparison) -> pd.DataFrame:
    """Clean, all corruptions and another centre, and whatever changed; Dice of missed structures only if it did."""
    rows = comparison.changes[comparison.changes["part"] != "details"]
    main = (rows["scope"] != "corruption") & (rows["metric"] != "missed") | (rows["verdict"] == CHANGED)
    rank = {name: turn for turn, name in enumerate(order_corruptions(rows["condition"]))}
    arms = {name: turn for turn, name in enumerate(order_arms(rows["arm"]))}
    keys = rows[main].assign(at=rows["condition"].map(rank), turn=rows["arm"].map(arms), away=rows["role"] != "home")
    return rows.loc[
        keys.sort_values(["part", "task", "away", "metric", "at", "turn"], ascending=[False, *[True] * 5]).index
    ]


def _line(row: dict) -> tuple[str, ...]:
    lead = f", less {paper_label(row['reference'])}" if row["reference"] else ""
    p = "" if pd.isna(row["method_p_bh"]) else f"{row['method_p_bh']:.2g}"
    return (
        f"{row['task']}: {where(row)}", paper_label(row["arm"]) + lead, score_text(row, "value_a"),
        score_text(row, "value_b"), signed(row["difference"]) if pd.notna(row["difference"]) else "–",
        interval_text(row["method_ci_low"], row["method_ci_high"]), p,
        row["verdict"] + (f" ({row['note']})" if row["note"] else ""),
    )  # fmt: skip


def _columns(rows: list[tuple[str, ...]]) -> list[str]:
    """Rows of text in columns; the last one is as long as it is."""
    texts = [[_short(str(cell)) for cell in row[:-1]] + [str(row[-1])] for row in rows]
    widths = [max(len(row[k]) for row in texts) for k in range(len(rows[0]) - 1)]
    return ["  " + "  ".join([*map(str.ljust, row, widths), row[-1]]).rstrip() for row in texts]


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
