"""From a finished run to its book: the generated texts, the summary figures, the executed notebooks, then rendering."""

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from ssrobust_lib.book import build_book
from ssrobust_lib.book_texts import banner, run_table
from ssrobust_lib.config import PROJECT
from ssrobust_lib.report import reports

if TYPE_CHECKING:
    from ssrobust_lib.study import Study

METRICS = {"pneumonia": ("accuracy", "summary_classification"), "organs": ("dice", "summary_segmentation")}


def publish_book(study: "Study") -> Path:
    """Render the book of a finished run into ``runs/<profile>/book``; return its index page."""
    figures = study.folder / "figures"
    figures.mkdir(exist_ok=True)
    write_summary_figures(study, figures)
    return build_book(
        PROJECT / "book",
        reports(study),
        study.folder / "book",
        figures=figures,
        generated=generated_texts(study),
        profile=study.profile.name,
    )


def write_summary_figures(study: "Study", folder: Path) -> None:
    """The two bar charts of the index page, as PNG and SVG."""
    from ssrobust_lib import examples
    from ssrobust_lib import figures as fig

    cells = study.cells("07_stats")
    scores, comparisons = study.table(cells, "seed_scores"), study.table(cells, "comparisons")
    for task, (metric, name) in METRICS.items():
        own = (scores["task"] == task) & (scores["role"] == "home") & (scores["metric"] == metric)
        tested = comparisons[
            (comparisons["task"] == task)
            & (comparisons["role"] == "home")
            & (comparisons["scope"] == "corruption")
            & (comparisons["metric"] == metric)
            & (comparisons["structure"] == "")
            & comparisons["arm"].isin(study.profile.pretext_tasks)
        ]
        title = {"pneumonia": "Pneumonia under corruption", "organs": "Organs under corruption"}[task]
        rows = fig.score_rows(scores[own & (scores["structure"] == "")])
        dataset = examples.data_set_name(study, task) if task in study.profile.tasks else "not in this run"
        figure = fig.corruption_bars(rows, tested, metric=metric.capitalize(), dataset=dataset, title=title)
        (folder / f"{name}.png").write_bytes(figure.png())
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


def generated_texts(study: "Study") -> dict[str, str]:
    """Texts that the prose includes: on which images, the verdicts, the run's parameters."""
    return {"banner.md": banner(study.profile), "claim_table.md": _claims(study), "run_table.md": _run(study)}


def _claims(study: "Study") -> str:
    from ssrobust_lib import examples, readings
    from ssrobust_lib import figures as fig
    from ssrobust_lib.claims import claim_table
    from ssrobust_lib.paper import paper_claims

    comparisons = study.table(study.cells("07_stats"), "comparisons")
    pretext = study.table(study.cells("02_pretext"), "accuracy")
    titles = examples.set_titles(study)
    margins = study.profile.statistics.margins
    claims = claim_table(comparisons, paper_claims(), margins, pretext, titles=titles)
    claims = claims[claims["arm"].isin(study.profile.pretext_tasks)]
    columns = {"quote": "The paper says", "paper": "Paper", "this_run": "This run", "verdict": "Verdict"}
    shown = fig.verdict_table(
        claims, "Claims of the paper", dataset="; ".join(titles.values()), columns=columns, tones=fig.VERDICT_TONES
    )
    mark = str(examples.pretext_mark(study).data)
    return f"{readings.reading_claims(claims).data}\n\n{mark}\n\n```{{raw}} html\n{shown.html}\n```\n"


def _run(study: "Study") -> str:
    """The run's parameters, and what it took."""
    from ssrobust_lib import figures as fig

    records = [study.record(cell) for cell in study.all_cells]
    last = records[-1]
    facts = {
        "time of all cells": f"{sum(record['seconds'] for record in records) / 60:.1f} min, added up",
        "largest memory of a process": f"{max(record['peak_memory_bytes'] for record in records) / 2**30:.2f} GiB",
        "machine": last["machine"],
        "versions": ", ".join(f"{name} {version}" for name, version in last["versions"].items()),
        "commit": last["commit"],
    }
    table = pd.DataFrame([(name, str(value)) for name, value in facts.items()], columns=["what", "value"])
    shown = fig.html_table(table, "What this run took", headings={"what": "", "value": ""})
    return f"{run_table(study.profile)}\n```{{raw}} html\n{shown.html}\n```\n"
