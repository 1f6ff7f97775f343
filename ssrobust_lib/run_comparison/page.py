"""The comparison of two runs as a page: one HTML file with all its pictures inside, which can be mailed.

Enters: a `RunComparison`. Leaves: HTML text, in the look of the book. It needs no network and no script.
"""

import html
import re

import pandas as pd

from ssrobust_lib import figures as fig
from ssrobust_lib.config import AA_ARM, PROJECT
from ssrobust_lib.figures.run_changes import change_plot, run_curves
from ssrobust_lib.figures.tables import Markup, html_table, object_frame
from ssrobust_lib.run_comparison.changes import CHANGED, THE_SAME
from ssrobust_lib.run_comparison.comparison import RunComparison, counts, summary
from ssrobust_lib.run_comparison.conclusion_tables import (
    arm_tables,
    claim_table,
    error_table,
    metric_table,
    severity_table,
)
from ssrobust_lib.run_comparison.score_tables import (
    MAIN_METRICS,
    change_table,
    change_tables,
    data_words,
    download_link,
    set_words,
)
from ssrobust_lib.run_comparison.stored_run import names_of

_MOST_ROWS = 200  # of the details that are listed on the page; all of them are in the table to download
_READ = """
A row says how far a score moved from run A to run B and how far it moves by chance alone. Chance is both:
other patients and other seeds. Where both runs tested the same patients or scans, these enter paired; otherwise the
runs are two independent groups, and the row says so. The seeds of the runs are independent draws, unless the
trained networks are the same ones. 'Changed' means p &lt; 0.05 after the correction of Benjamini and Hochberg
over all rows of its task and kind (scores; details; differences between arms); intervals are 95 % and
uncorrected, so that one may leave out zero in a row that is within noise. 'Within noise' is no proof that
nothing changed: 'could have seen' is the smallest difference that would have been found in four of five cases.
'The same' means equal in every seed and patient, bit for bit."""
_STYLE = """
:root { color-scheme: light; }
html[data-theme] { --ssrobust-red: #c00000; } /* this page has light colours alone */
body { margin: 0; background: #fff; color: #1d2b33; font: 16px/1.6 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 58rem; margin: 0 auto; padding: 1rem; }
a { color: #00588c; }
a:focus-visible, summary:focus-visible, [tabindex]:focus-visible { outline: 3px solid #e69f00; outline-offset: 2px; }
nav ul { padding: 0; display: flex; flex-wrap: wrap; gap: 0.2rem 1.2rem; list-style: none; }
h1 { line-height: 1.25; } h2 { margin-top: 2.2rem; }
summary { cursor: pointer; }
"""


def page_html(comparison: RunComparison) -> str:
    """The whole page."""
    a, b = comparison.a, comparison.b
    title = f"{names_of(a, b)[0]} against {names_of(a, b)[1]}: two runs compared"
    sections = {
        "In short": _in_short(comparison),
        "Set-up": _set_up(comparison),
        "Scores": _scores(comparison),
        "Arms and claims": arm_tables(comparison) + claim_table(comparison),
        "Severities and corruption errors": severity_table(comparison)
        + error_table(comparison)
        + metric_table(comparison),
        "How to read this": f"<p>{_READ.strip()}</p>",
    }
    marks = {words: words.lower().replace(" ", "-") for words in sections}
    links = "".join(f'<li><a href="#{mark}">{html.escape(words)}</a></li>' for words, mark in marks.items())
    body = "".join(
        f'<section aria-labelledby="{marks[words]}"><h2 id="{marks[words]}">{html.escape(words)}</h2>{inside}</section>'
        for words, inside in sections.items()
    )
    style = (PROJECT / "book" / "_static" / "custom.css").read_text(encoding="utf-8") + _STYLE
    return (
        f'<!DOCTYPE html>\n<html lang="en" data-theme="light"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{html.escape(title)}</title>'
        f'<style>{style}</style></head><body><main><article class="bd-article"><h1>{html.escape(title)}</h1>'
        f'<nav aria-label="On this page"><ul>{links}</ul></nav>{body}</article></main></body></html>\n'
    )


def _in_short(comparison: RunComparison) -> str:
    rows = [
        {
            "Run": letter,
            "Name": run.name,
            "Commit": ", ".join(run.commits),
            "Statistics of": str(run.statistics.record.get("finished", "unknown")).replace("T", " "),
            "Data": "; ".join(f"{task}: {set_words(run, task, name)}" for task, name in sorted(run.home_sets.items())),
        }
        for letter, run in (("A", comparison.a), ("B", comparison.b))
    ]
    table = html_table(object_frame(rows, list(rows[0])), "The runs", stacked=True)
    said = "".join(f"<li>{html.escape(text)}</li>" for text in summary(comparison))
    return f"{table.html}<ul>{said}</ul>{_aside(comparison)}"


def _aside(comparison: RunComparison) -> str:
    """Which results of several were taken, and what could not be compared."""
    said = []
    for name, run in (("A", comparison.a), ("B", comparison.b)):
        if run.older:
            said.append(
                f"Run {name} holds {fig.counted(len(run.older), 'further result')} of the same cells, made with other "
                f"settings or code; those of {run.statistics.id}, the latest statistics, are compared."
            )
    said += [f"Not compared ({section.replace('_', ' ')}): {why}" for section, why in comparison.left_out.items()]
    return "".join(f"<p>{_with_code(text)}</p>" for text in said)


def _with_code(text: str) -> str:
    """Escape a text; what stands between backticks is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


def _set_up(comparison: RunComparison) -> str:
    table = comparison.set_up
    spent = table["section"] == "machine and time"
    equal = int((~table["differs"] & ~spent).sum())
    note = f"Versions, parameters and data that are the same in both runs: {equal}."
    shown = _differing(table[~spent], "What differs", note=note)
    spent_on = _differing(table[spent], "Machine and time", fold="Machine and time")
    alike = comparison.tables.rename(columns={"only_a": "only in A", "only_b": "only in B", "tables": "in both"})
    same = html_table(alike, "Tables that are the same, bit for bit", note="In both: tables that both runs have.")
    return shown + spent_on + download_link(table, "set_up") + same.html


def _differing(table: pd.DataFrame, caption: str, *, note: str | None = None, fold: str | None = None) -> str:
    rows = [
        {
            "What": Markup(f"<code>{html.escape(row['what'])}</code>"),
            "A": row["a"],
            "B": row["b"],
            "Kind": row["section"],
        }
        for row in table[table["differs"]].to_dict("records")
    ]
    if not rows:
        return f"<p>{caption}: nothing. {note or ''}</p>"
    frame = object_frame(rows, ["What", "A", "B", "Kind"])
    return html_table(frame, caption, stacked=True, note=note, fold=fold).html


def _scores(comparison: RunComparison) -> str:
    scores, details = comparison.part("scores"), comparison.part("details")
    parts = []
    for task, rows in scores.groupby("task", sort=False):
        words = data_words(comparison, rows)
        if (rows["verdict"] != THE_SAME).any():
            drawn = rows[rows["metric"].isin(MAIN_METRICS)]
            parts.append(_scrollable(change_plot(drawn, dataset=words, title=f"What changed: {task}").html()))
        parts.append(change_tables(rows, f"Scores of {task}", words))
    parts.append(_curve_figures(comparison))
    changed = details[details["verdict"] == CHANGED]
    caption = f"Single severities and structures: {counts(details)}"
    if len(changed):
        few = changed.head(_MOST_ROWS)
        note = f"The first {len(few)} of {len(changed)} that changed." if len(few) < len(changed) else None
        words = data_words(comparison, few)
        parts.append(change_table(few, caption, words, fold=f"{caption}; those that changed", note=note))
    else:
        parts.append(f"<p>{html.escape(caption)}.</p>")
    return "".join(parts) + download_link(comparison.changes, "changes")


def _scrollable(figure: str) -> str:
    """A figure whose box, wider than a phone, the keyboard reaches: here no link around the picture does that."""
    return figure.replace('<div class="ssrobust-picture"', '<div class="ssrobust-picture" tabindex="0"')


def _curve_figures(comparison: RunComparison) -> str:
    curves = comparison.sections.get("curves")
    if curves is None:
        return ""
    shown = curves[curves["init"] != AA_ARM]
    return "".join(
        _scrollable(
            run_curves(
                rows, metric=fig.metric_title(str(metric)), title=f"Both runs against severity: {task}",
                dataset=data_words(comparison, comparison.changes.query("task == @task and role == 'home'")),
            ).html()
        )
        for (task, metric), rows in shown.groupby(["task", "metric"], sort=False)
    )  # fmt: skip
