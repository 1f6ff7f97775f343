"""From a finished run to its book: the generated texts, the summary figures, the executed notebooks, then rendering."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssrobust_lib.book.answers import answer_text
from ssrobust_lib.book.benchmark_results import results_text
from ssrobust_lib.book.build import PAGE_NOTE, SPLITS_FILE, build_book
from ssrobust_lib.book.citing import citation_text
from ssrobust_lib.book.inspection import SINGLE_FILE
from ssrobust_lib.book.judged_claims import judged_claims
from ssrobust_lib.book.pages import reports
from ssrobust_lib.book.pdf import Pdf, write_pdf
from ssrobust_lib.book.provenance import provenance_text
from ssrobust_lib.book.readings_paper import chapter_text
from ssrobust_lib.book.single_file import SingleFile, write_single_file
from ssrobust_lib.book.texts import banner, page_note, run_table
from ssrobust_lib.config import PROJECT
from ssrobust_lib.explorer.page import explorer_text
from ssrobust_lib.figures.column_words import columns_text
from ssrobust_lib.splits.table import columns_text as split_columns_text
from ssrobust_lib.splits.table import to_csv

if TYPE_CHECKING:
    from ssrobust_lib.study import Study

METRICS = {"pneumonia": ("accuracy", "summary_classification"), "organs": ("dice", "summary_segmentation")}


def publish_book(study: "Study") -> Path:
    """Render the book of a finished run into ``runs/<profile>/book``; return its index page."""
    return build_book(
        PROJECT / "book",
        reports(study),
        study.folder / "book",
        generated=generated_texts(study) | summary_figures(study),
        profile=study.profile.name,
    )


def publish_single_file(study: "Study") -> SingleFile:
    """Write the rendered book as one file, ``runs/<profile>/report.html``."""
    return write_single_file(study.folder / "book", study.folder / SINGLE_FILE, title_facts(study))


def publish_pdf(study: "Study") -> Pdf:
    """Print the single file as ``runs/<profile>/report.pdf``; BrowserError where no Chromium is installed."""
    return write_pdf(study.folder / SINGLE_FILE, study.folder / "report.pdf")


def title_facts(study: "Study") -> dict[str, str]:
    """What a title page says of a run: its name, its images, and when and from which code it was computed."""
    from ssrobust_lib import __version__
    from ssrobust_lib.book import examples

    profile, records = study.profile, [study.record(cell) for cell in study.all_cells]
    commits = dict.fromkeys(str(record["commit"]) for record in records)
    facts = {
        "Run": f"{profile.name} ({profile.title})",
        "Images": "; ".join(examples.set_titles(study).values()),
        "Networks per arm": f"{profile.seeds}, each from another seed",
        "Computed": max(str(record["finished"]) for record in records)[:10],
        "Software": f"ssrobust {__version__}, commit {', '.join(commits)}",
        "Paper": "Navarro et al. 2021, Evaluating the Robustness of Self-Supervised Learning in Medical Imaging",
    }
    return {name: value for name, value in facts.items() if value}


def summary_figures(study: "Study") -> dict[str, str]:
    """The two bar charts of the start page as Markdown, by file name."""
    from ssrobust_lib import figures as fig
    from ssrobust_lib.book import data_report, examples

    cells = study.cells("07_stats")
    scores, comparisons = study.table(cells, "seed_scores"), study.table(cells, "comparisons")
    texts = {}
    for task, (metric, name) in METRICS.items():
        own = (scores["task"] == task) & (scores["role"] == "home") & (scores["metric"] == metric)
        tested = comparisons[
            (comparisons["task"] == task)
            & (comparisons["role"] == "home")
            & (comparisons["scope"] == "corruption")
            & (comparisons["metric"] == metric)
            & (comparisons["structure"] == "")
            & comparisons["arm"].isin(study.profile.main_pretext_tasks)
        ]
        title = {"pneumonia": "Pneumonia under corruption", "organs": "Organs under corruption"}[task]
        rows = fig.score_rows(scores[own & (scores["structure"] == "")])
        there = task in study.profile.tasks
        dataset = examples.data_set_name(study, task) if there else "not in this run"
        majority = None
        if there and metric == "accuracy":
            samples = study.table(study.cells("01_data", tasks=[task]), "samples")
            majority = data_report.majority_accuracy(samples)
        words: dict[str, Any] = {"metric": fig.metric_title(metric), "dataset": dataset, "title": title}
        unreached = examples.unreached_floors(study, task) if there else []
        figure = fig.corruption_bars(rows, tested, majority=majority, unreached=unreached, **words)
        texts[f"{name}.md"] = f"```{{raw}} html\n{figure.html()}\n```\n"
    return texts


def generated_texts(study: "Study") -> dict[str, str]:
    """Texts that the prose includes: on which images, the verdicts, the run's parameters, states of the explorer."""
    return {
        "banner.md": banner(study.profile),
        PAGE_NOTE: page_note(study.profile),
        "claim_table.md": _claims(study),
        SPLITS_FILE: _splits(study),
        "split_columns.md": split_columns_text() + "\n",
        "run_table.md": run_table(study.profile),
        "explorer.md": explorer_text(study),
        "paper_numbers.md": chapter_text(),
        "benchmarks.md": results_text(),
        "answers.md": _answers(study),
        "provenance.md": provenance_text(study),
        "citation.md": citation_text(study),
        "columns.md": columns_text(),
    }


def _splits(study: "Study") -> str:
    """Who is in which part, all tasks in one CSV."""
    return to_csv([study.table(study.cells("01_data", tasks=[task]), "splits") for task in study.profile.tasks])


def _claims(study: "Study") -> str:
    from ssrobust_lib import figures as fig
    from ssrobust_lib.book import data_report, examples, readings
    from ssrobust_lib.config import AA_ARM

    claims = judged_claims(study)
    ours = claims[claims["arm"].isin(study.profile.main_pretext_tasks)]
    names, dataset = examples.short_names(study), "; ".join(examples.set_titles(study).values())
    same = claims[claims["arm"] == AA_ARM]
    counts = f"{readings.reading_claims(ours).data}\n{readings.reading_aa_claims(same, AA_ARM).data}".strip()
    parts = [counts, str(examples.pretext_mark(study).data)]
    for arm, rows in ours.groupby("arm", sort=False):
        caption = f"The paper's claims: {fig.paper_label(str(arm))} against normal training"
        words: dict[str, Any] = {"dataset": dataset, "same": same, "names": names, "root": ""}
        words |= {"notes": False, "note": data_report.majority_note(study)}
        main = rows["section"].str.startswith("3") & (rows["verdict"] != "not tested")
        shown = [fig.verdict_table(rows[main], caption, **words)]
        if not main.all():
            further = fig.counted(int((~main).sum()), "further claim")
            button = f"{further}: abstract, introduction, method, conclusions, and what is not tested"
            shown.append(fig.verdict_table(rows[~main], f"{caption}, continued", fold=button, **words))
        parts += [f"```{{raw}} html\n{table.html}\n```" for table in shown]
    return "\n\n".join(part for part in parts if part) + "\n"


def _answers(study: "Study") -> str:
    """The answer of each task for every arm, and which arm did not learn its puzzles."""
    from ssrobust_lib.book import examples

    comparisons = study.table(study.cells("07_stats"), "comparisons")
    metrics, names = {task: metric for task, (metric, _) in METRICS.items()}, examples.short_names(study)
    said = [answer_text(comparisons, metrics, arm, names) for arm in study.profile.main_pretext_tasks]
    return "\n".join([*said, str(examples.pretext_mark(study).data)]).strip() + "\n"
