"""What two runs conclude, as tables of the page: arms, claims, severities, corruption errors, further metrics.

Enters: a `RunComparison`. Leaves: HTML, empty where a section could not be compared (the page says why).
"""

import html

import pandas as pd

from ssrobust_lib import figures as fig
from ssrobust_lib.figures.tables import Markup, badge, html_table, object_frame, small
from ssrobust_lib.run_comparison.comparison import RunComparison
from ssrobust_lib.run_comparison.score_tables import change_tables, data_words, download_link, where


def arm_tables(comparison: RunComparison) -> str:
    """How far the arms are apart in either run, and comparisons that the runs' own tests judge differently."""
    rows, verdicts = comparison.part("arms"), comparison.sections.get("arm_verdicts")
    shown = "".join(
        change_tables(part, f"How far the arms are apart: {task}", data_words(comparison, part))
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
    if not flips:
        return f"{shown}<p>The runs' own tests judge no comparison of the arms differently.</p>"
    kind = "the method" if (verdicts["p_column"] == "method_p_holm").all() else "these networks"
    return shown + html_table(
        object_frame(flips, ["Comparison", "Arm", "Run A", "Run B"]),
        f"Comparisons that the runs' own tests judge differently: {len(flips)}", stacked=True,
        note=f"Of each run alone, for {kind}, Holm-corrected. A flip is no change by itself: whether an arm's lead "
        "changed is in the table above.",
    ).html  # fmt: skip


def claim_table(comparison: RunComparison) -> str:
    """Claims of the paper whose verdict differs between the runs."""
    claims = comparison.sections.get("claims")
    if claims is None:
        return ""
    rows = [
        {
            "Claim": row["quote"],
            "Arm": fig.paper_label(row["arm"]),
            "A": Markup(_verdict(row["verdict_a"]) + small(fig.in_words(row["this_run_a"]))),
            "B": Markup(_verdict(row["verdict_b"]) + small(fig.in_words(row["this_run_b"]))),
        }
        for row in claims[claims["flipped"]].to_dict("records")
    ]
    if not rows:
        return f"<p>No verdict on the paper's claims differs (of {len(claims)}).</p>" + download_link(claims, "claims")
    caption = f"Claims of the paper whose verdict differs: {len(rows)} of {len(claims)}"
    table = html_table(object_frame(rows, ["Claim", "Arm", "A", "B"]), caption, stacked=True)
    return table.html + download_link(claims, "claims")


def _verdict(word: str) -> str:
    return badge(word, fig.VERDICT_TONES[word])


def severity_table(comparison: RunComparison) -> str:
    """The strengths that either run found for its severities."""
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
    frame = object_frame(rows, list(rows[0]))
    return html_table(frame, "Strengths of the severities", stacked=True, note=note).html + download_link(
        table, "severities"
    )


def _numbers_of(values: pd.Series) -> str:
    return ", ".join(f"{value:.3g}" for value in values)


def error_table(comparison: RunComparison) -> str:
    """Mean corruption errors of every arm in either run."""
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


def metric_table(comparison: RunComparison) -> str:
    """Every metric in either run, behind a button."""
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
    ).html + download_link(table, "metrics")  # fmt: skip


def _or_undefined(value: float, std: float) -> str:
    return fig.mean_std(value, std) if pd.notna(value) else "undefined"
