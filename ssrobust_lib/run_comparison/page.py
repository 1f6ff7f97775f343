"""The comparison of two runs as a page: one HTML file with all its pictures inside, which can be mailed.

Enters: a `RunComparison`. Leaves: HTML text, in the look of the book. It needs no network and no script.
"""

import base64
import html
import re
from collections.abc import Mapping

import pandas as pd

from ssrobust_lib import figures as fig
from ssrobust_lib.config import AA_ARM, PROJECT
from ssrobust_lib.figures.run_changes import change_plot, run_curves
from ssrobust_lib.figures.tables import Markup, badge, html_table, object_frame, p_text, small
from ssrobust_lib.run_comparison.changes import CANNOT_BE_TOLD, CHANGED, THE_SAME, WITHIN_NOISE
from ssrobust_lib.run_comparison.comparison import RunComparison, counts, summary
from ssrobust_lib.run_comparison.matched_scores import ALL_CORRUPTIONS, phantoms_of
from ssrobust_lib.run_comparison.stored_run import StoredRun, names_of

TONES = {CHANGED: "bad", WITHIN_NOISE: "open", THE_SAME: "good", CANNOT_BE_TOLD: "open"}
_SHOWN = ("accuracy", "auroc", "dice")
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
        "Arms and claims": _arms(comparison) + _claims(comparison),
        "Severities and corruption errors": _severities(comparison) + _errors(comparison) + _metrics(comparison),
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
            "Data": "; ".join(f"{task}: {_set_words(run, task, name)}" for task, name in sorted(run.home_sets.items())),
        }
        for letter, run in (("A", comparison.a), ("B", comparison.b))
    ]
    table = html_table(object_frame(rows, list(rows[0])), "The runs", stacked=True)
    said = "".join(f"<li>{html.escape(text)}</li>" for text in summary(comparison))
    return f"{table.html}<ul>{said}</ul>{_aside(comparison)}"


def _set_words(run: StoredRun, task: str, name: str) -> str:
    return f"{name} phantoms" if phantoms_of(run, task, name) else name


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
    return shown + spent_on + _download(table, "set_up") + same.html


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
    frame = object_frame(rows, ["What", "A", "B", "Kind"])
    return html_table(frame, caption, stacked=True, note=note, fold=fold).html


def _scores(comparison: RunComparison) -> str:
    scores, details = comparison.part("scores"), comparison.part("details")
    parts = []
    for task, rows in scores.groupby("task", sort=False):
        words = _data_words(comparison, rows)
        drawn = rows[rows["metric"].isin(_SHOWN)]
        parts.append(change_plot(drawn, dataset=words, title=f"What changed: {task}").html())
        main = rows["metric"].isin(_SHOWN) & (rows["scope"] != "corruption") | (rows["verdict"] == CHANGED)
        parts.append(_change_table(rows[main], f"Scores of {task}", words))
        if not main.all():
            more = f"Further scores of {task}: {counts(rows[~main])}"
            parts.append(_change_table(rows[~main], more, words, fold=more))
    parts.append(_curve_figures(comparison))
    changed = details[details["verdict"] == CHANGED]
    caption = f"Single severities and structures: {counts(details)}"
    if len(changed):
        few = changed.head(_MOST_ROWS)
        note = f"The first {len(few)} of {len(changed)} that changed." if len(few) < len(changed) else None
        words = _data_words(comparison, few)
        parts.append(_change_table(few, caption, words, fold=f"{caption}; those that changed", note=note))
    else:
        parts.append(f"<p>{html.escape(caption)}.</p>")
    return "".join(parts) + _download(comparison.changes, "changes")


def _data_words(comparison: RunComparison, rows: pd.DataFrame) -> str:
    said = []
    for task, first, second in rows[["task", "set_a", "set_b"]].drop_duplicates().itertuples(index=False):
        of_a, of_b = _set_words(comparison.a, task, first), _set_words(comparison.b, task, second)
        said.append(of_a if of_a == of_b else f"{of_a} (A), {of_b} (B)")
    return "; ".join(said)


def _curve_figures(comparison: RunComparison) -> str:
    curves = comparison.sections.get("curves")
    if curves is None:
        return ""
    shown = curves[curves["init"] != AA_ARM]
    return "".join(
        run_curves(
            rows, metric=fig.metric_title(str(metric)), title=f"Both runs against severity: {task}",
            dataset=_data_words(comparison, comparison.changes.query("task == @task and role == 'home'")),
        ).html()
        for (task, metric), rows in shown.groupby(["task", "metric"], sort=False)
    )  # fmt: skip


def where(row: Mapping) -> str:
    """What a row is about, in words: 'Dice of the liver, Gaussian noise, severity 3, another centre'."""
    words = fig.metric_title(row["metric"], row["role"])
    words += f" of {fig.structure_title(row['structure'])}" if row["structure"] else ""
    words += f", {fig.corruption_word(row['condition'])}"
    words += f", severity {row['severity']}" if row["scope"] == "severity" else ""
    return words + (", another centre" if row["role"] == "external" else "")


def score_text(row: Mapping, column: str) -> str:
    """A score, or with its sign the difference of an arm from its reference; a dash where there is none."""
    return fig.signed(row[column]) if row["reference"] and pd.notna(row[column]) else fig.mean_std(row[column])


def _change_table(
    rows: pd.DataFrame, caption: str, dataset: str, *, fold: str | None = None, note: str | None = None
) -> str:
    columns = ["Score", "Arm", "A", "B", "B less A", "p", "Verdict", "Could have seen", "n"]
    shown = []
    for row in _in_order(rows).to_dict("records"):
        arm = fig.paper_label(row["arm"]) + (f" less {fig.paper_label(row['reference'])}" if row["reference"] else "")
        cells = (
            where(row), arm, score_text(row, "value_a"), score_text(row, "value_b"),
            _with_interval(row["difference"], row["method_ci_low"], row["method_ci_high"]), p_text(row["method_p_bh"]),
            Markup(badge(row["verdict"], TONES[row["verdict"]]) + small(row["note"])), fig.mean_std(row["detectable"]),
            _numbers(row),
        )  # fmt: skip
        shown.append(dict(zip(columns, cells, strict=True)))
    words = ["p: of the method, corrected over the rows."]
    if len({str(row["n"]) for row in shown}) == 1:
        words.append(f"n: {shown[0]['n']}.")
        columns.remove("n")
    else:
        words.append("n: units and seeds of A and of B.")
    words += [note] if note else []
    frame = object_frame(shown, columns)
    return html_table(frame, caption, dataset=dataset, stacked=True, fold=fold, note=" ".join(words)).html


def _in_order(rows: pd.DataFrame) -> pd.DataFrame:
    """Own set first; by metric, then clean, the corruptions in the paper's order and all of them; arms as drawn."""
    conditions = [name for name in fig.order_corruptions(rows["condition"]) if name != ALL_CORRUPTIONS]
    rank = {name: turn for turn, name in enumerate([*conditions, ALL_CORRUPTIONS])}
    arms = {name: turn for turn, name in enumerate(fig.order_arms(rows["arm"]))}
    keys = rows.assign(_away=rows["role"] != "home", _at=rows["condition"].map(rank), _arm=rows["arm"].map(arms))
    return rows.loc[keys.sort_values(["_away", "metric", "structure", "_at", "severity", "_arm"], kind="stable").index]


def _with_interval(difference: float, low: float, high: float) -> Markup:
    if pd.isna(difference):
        return Markup("–")
    bounds = fig.interval_text(low, high).replace(" ", "\u00a0")
    return Markup(html.escape(fig.signed(difference)) + small(bounds))


def _numbers(row: Mapping) -> str:
    paired = row["n_common"] == row["n_a"] == row["n_b"]
    units = fig.counted(row["n_a"], row["unit"]) if paired else f"{row['n_a']:,} and {row['n_b']:,} {row['unit']}s"
    how = "paired" if paired else f"{row['n_common']:,} in both" if row["n_common"] else "two groups"
    seeds = f"{row['seeds_a']} and {row['seeds_b']} seeds"
    return f"{units}, {how}; " + (f"{row['seeds_a']} seeds, the same networks" if row["same_networks"] else seeds)


def _arms(comparison: RunComparison) -> str:
    rows, verdicts = comparison.part("arms"), comparison.sections.get("arm_verdicts")
    shown = "".join(
        _change_table(part, f"How far the arms are apart: {task}", _data_words(comparison, part))
        for task, part in rows.groupby("task", sort=False)
    )
    if verdicts is None:
        return shown
    main = verdicts[(verdicts["structure"] == "") & (verdicts["scope"] != "severity") & verdicts["flipped"]]
    flips = [
        {
            "Comparison": f"{row['task']}: {where(row)}",
            "Arm": fig.paper_label(row["arm"]),
            **{
                f"Run {run}": Markup(
                    html.escape(f"{row[f'verdict_{of}']} ({fig.signed(row[f'difference_{of}'])})")
                    + small(fig.format_p(row[f"p_{of}"]))
                )
                for run, of in (("A", "a"), ("B", "b"))
            },
        }
        for row in main.to_dict("records")
    ]
    kind = "the method" if (verdicts["p_column"] == "method_p_holm").all() else "these networks"
    return shown + html_table(
        object_frame(flips, ["Comparison", "Arm", "Run A", "Run B"]),
        f"Comparisons that the runs' own tests judge differently: {len(flips)}", stacked=True,
        note=f"Of each run alone, for {kind}, Holm-corrected. A flip is no change by itself: whether an arm's lead "
        "changed is in the table above.",
    ).html  # fmt: skip


def _claims(comparison: RunComparison) -> str:
    claims = comparison.sections.get("claims")
    if claims is None:
        return ""
    rows = [
        {
            "Claim": row["quote"],
            "Arm": fig.paper_label(row["arm"]),
            "A": Markup(_verdict(row["verdict_a"]) + small(row["this_run_a"])),
            "B": Markup(_verdict(row["verdict_b"]) + small(row["this_run_b"])),
        }
        for row in claims[claims["flipped"]].to_dict("records")
    ]
    caption = f"Claims of the paper whose verdict differs: {len(rows)} of {len(claims)}"
    table = html_table(object_frame(rows, ["Claim", "Arm", "A", "B"]), caption, stacked=True)
    return table.html + _download(claims, "claims")


def _verdict(word: str) -> str:
    return badge(word, fig.VERDICT_TONES[word])


def _severities(comparison: RunComparison) -> str:
    table = comparison.sections.get("severities")
    if table is None:
        return ""
    rows = []
    for (task, corruption), levels in table.groupby(["task", "corruption"], sort=False):
        levels = levels.sort_values("severity")
        units = levels[["unit_a", "unit_b"]].iloc[0]
        rows.append(
            {
                "Task": task,
                "Corruption": fig.corruption_title(str(corruption)),
                "A, severity 1 to 5": _numbers_of(levels["strength_a"]),
                "B, severity 1 to 5": _numbers_of(levels["strength_b"]),
                "B over A at 5": fig.mean_std(levels["ratio"].iloc[-1], digits=2),
                "Unit": units["unit_a"] if units.nunique() == 1 else f"{units['unit_a']} (A), {units['unit_b']} (B)",
            }
        )
    note = "Where strengths differ, a score under that corruption was measured on other images in A than in B."
    frame = object_frame(rows, list(rows[0]) if rows else ["Task"])
    return html_table(frame, "Strengths of the severities", stacked=True, note=note).html + _download(
        table, "severities"
    )


def _numbers_of(values: pd.Series) -> str:
    return ", ".join(f"{value:.3g}" for value in values)


def _errors(comparison: RunComparison) -> str:
    table = comparison.sections.get("corruption_errors")
    if table is None:
        return ""
    rows = [
        {
            "Task": row["task"],
            "Arm": fig.paper_label(row["arm"]),
            **{
                f"{words} {run}": fig.mean_std(row[f"{name}_{of}"], row[f"{name}_std_{of}"])
                if pd.notna(row[f"{name}_{of}"])
                else Markup("undefined" + small(row[f"note_{of}"]))
                for name, words in (("ce", "mCE"), ("relative_ce", "Relative mCE"))
                for run, of in (("A", "a"), ("B", "b"))
            },
        }
        for row in table.to_dict("records")
    ]
    note = "Against the normal training of the same run, which is 1; ± over seeds."
    return html_table(object_frame(rows, list(rows[0])), "Mean corruption error", stacked=True, note=note).html


def _metrics(comparison: RunComparison) -> str:
    table = comparison.sections.get("metrics")
    if table is None:
        return ""
    rows = [
        {
            "Score": f"{row['task']}: {fig.metric_title(row['metric'])}, {fig.corruption_word(row['condition'])}",
            "Arm": fig.paper_label(row["arm"]),
            "A": _or_undefined(row["value_a"], row["std_a"]),
            "B": _or_undefined(row["value_b"], row["std_b"]),
        }
        for row in table.to_dict("records")
    ]
    return html_table(
        object_frame(rows, ["Score", "Arm", "A", "B"]), "Every metric, clean and over all corruptions", stacked=True,
        fold="Every metric in both runs", note="Means over seeds ± standard deviation over seeds; no test.",
    ).html + _download(table, "metrics")  # fmt: skip


def _or_undefined(value: float, std: float) -> str:
    return fig.mean_std(value, std) if pd.notna(value) else "undefined"


def _download(table: pd.DataFrame, name: str) -> str:
    """A link that saves a table, which is inside the page, as CSV."""
    content = base64.b64encode(to_csv(table).encode()).decode("ascii")
    words = html.escape(name.replace("_", " "))
    return f'<p><a download="{name}.csv" href="data:text/csv;base64,{content}">Save the table {words} as CSV</a></p>'


def to_csv(table: pd.DataFrame) -> str:
    """A table as CSV; floats with 10 digits, empty where there is no value (`note` says why)."""
    return table.to_csv(index=False, float_format="%.10g")
