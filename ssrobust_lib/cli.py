"""The command line: `ssrobust study|plan|book|rehearse|compare|explore|data|check-book`, and what a workflow calls."""

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import Any

from ssrobust_lib.data_command.arguments import add_data_command


def main(arguments: list[str] | None = None) -> int:
    """Run one command, a cell or report in the run's warm process if there is one; its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    signal.signal(signal.SIGTERM, _stop)
    if arguments[:1] in (["run-cell"], ["run-report"]):
        from ssrobust_lib.running.warm import hand_over

        code = hand_over(arguments)
        if code is not None:
            return code
    return run(arguments)


def run(arguments: list[str]) -> int:
    """Run one command here; what the user can mend is told in one line, without a traceback."""
    chosen = _read(arguments)
    try:
        return chosen.run(chosen) or 0
    except KeyboardInterrupt:
        print("ssrobust: stopped; what is finished is kept, the same command goes on from here", file=sys.stderr)
        return 130
    except Exception as error:
        if not _expected(error):
            raise
        print(f"ssrobust: {error}", file=sys.stderr)
        return 1


def _read(arguments: list[str]) -> argparse.Namespace:
    """Parse what stands before ``--``; what follows is for Snakemake."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    parser = _parser()
    chosen = parser.parse_args(arguments[:end])
    chosen.snakemake = arguments[end + 1 :]
    if chosen.snakemake and chosen.run not in (_study, _book):
        parser.error(f"only study and book hand options to Snakemake, got {' '.join(chosen.snakemake)} after --")
    return chosen


def _stop(*_: Any) -> None:
    raise KeyboardInterrupt


def _expected(error: Exception) -> bool:
    """Errors of the user's making or of the machine; everything else is a fault of ours and keeps its traceback."""
    from ssrobust_lib.book.browser import BrowserError
    from ssrobust_lib.book.build import BookError
    from ssrobust_lib.book.single_file import SingleFileError
    from ssrobust_lib.config import ProfileError
    from ssrobust_lib.data_command import DataCommandError
    from ssrobust_lib.datasets.cache import CacheError
    from ssrobust_lib.datasets.loader import LayoutError
    from ssrobust_lib.datasets.manifest import ManifestError
    from ssrobust_lib.lab_server import LabError
    from ssrobust_lib.registry import UnknownNameError
    from ssrobust_lib.run_comparison.stored_run import RunComparisonError
    from ssrobust_lib.running.notebook_parameters import ParameterError
    from ssrobust_lib.running.runner import RunError
    from ssrobust_lib.splits.rules import PatientCrossesError
    from ssrobust_lib.store import StoreError

    of_the_run = (ParameterError, UnknownNameError, RunError, RunComparisonError, StoreError, BookError, OSError)
    of_the_lab = (BrowserError, LabError, SingleFileError)
    of_the_data = (ProfileError, ManifestError, LayoutError, PatientCrossesError, DataCommandError, CacheError)
    return isinstance(error, (*of_the_run, *of_the_lab, *of_the_data))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ssrobust", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Any, about: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=about, description=about)
        added.set_defaults(run=run)
        return added

    for name, run, about in (
        ("plan", _plan, "print the cells of a run with estimated time and disk; computes nothing"),
        ("study", _study, "compute what is missing of a run; stop it with Ctrl-C, the same command goes on"),
        ("book", _book, "compute what is missing of a run and render its book"),
        ("rehearse", _rehearse, "try a run out, to its book: two steps of every training on a few full-size phantoms"),
    ):
        added = command(name, run, about)
        added.add_argument("profile", help="name in profiles/ or path of a YAML file")
        added.add_argument("--cores", type=int, default=os.cpu_count(), help="processor cores to use (default: all)")
        if name in ("book", "rehearse"):
            added.add_argument("--pdf", action="store_true", help="write the report as PDF, too (needs Chromium)")
        if name != "plan":
            added.epilog = "What follows -- is handed to Snakemake (--until, --profile workflow/profiles/slurm, ...)."
    compare = command(
        "compare", _compare, "compare two finished runs: what differs, what changed in the results, within noise or not"
    )
    for letter in ("a", "b"):
        compare.add_argument(f"run_{letter}", metavar=f"RUN_{letter.upper()}", help="name in runs/, or a run's folder")
    compare.add_argument("--out", type=Path, metavar="FOLDER", help="write the page there (default: runs/compare/A-B)")
    explore = command(
        "explore", _explore, "open JupyterLab on single images of a finished run, what each arm says of them"
    )
    explore.add_argument("profile", nargs="?", default="demo", help="name in profiles/ or path of a YAML file")
    explore.add_argument(
        "--record", type=Path, metavar="FOLDER", help="record its states in a headless browser instead"
    )
    add_data_command(commands)
    check = command(
        "check-book",
        _check_book,
        "look for dead links, errors, external requests, barriers to readers in a rendered book",
    )
    check.add_argument("html", type=Path, help="folder of the rendered book; the report in one file is taken beside it")
    check.add_argument("--external", action="store_true", help="fetch the external links, too")
    check.add_argument(
        "--json", type=Path, metavar="FILE", help="write what was found, and all external links, as JSON"
    )
    for name, run, about, what in (
        ("run-cell", _run_cell, "compute one cell (used by the workflow)", "cell"),
        ("run-report", _run_report, "execute one notebook read-only (used by the workflow)", "notebook"),
    ):
        added = command(name, run, about)
        added.add_argument("--profile", required=True)
        added.add_argument(what)
    command("sync-notebooks", _sync, "write the demo profile's values into the notebooks' parameter cells")
    return parser


def _checked(location: str) -> Any:
    from ssrobust_lib.config import load_profile
    from ssrobust_lib.running.checks import check_profile

    profile = load_profile(location)
    check_profile(profile)
    return profile


def _plan(chosen: argparse.Namespace) -> None:
    from ssrobust_lib.running.plan import plan_text
    from ssrobust_lib.study import Study

    print(plan_text(Study(_checked(chosen.profile)), chosen.cores))


def _study(chosen: argparse.Namespace) -> None:
    from ssrobust_lib.running.runner import run_study

    _checked(chosen.profile)
    study = run_study(chosen.profile, cores=chosen.cores, extra=chosen.snakemake)
    print(f"results: {study.folder}")


def _book(chosen: argparse.Namespace) -> None:
    from ssrobust_lib.book.browser import require_chromium
    from ssrobust_lib.book.publish import publish_book, publish_pdf, publish_single_file
    from ssrobust_lib.running.runner import run_study

    _checked(chosen.profile)
    if chosen.pdf:
        require_chromium()  # now, not after the computing
    study = run_study(chosen.profile, cores=chosen.cores, extra=chosen.snakemake)
    index = publish_book(study)
    print(f"the report is ready: {index.as_uri()}")
    single = publish_single_file(study)
    print(f"in one file, to mail: {single.path.as_uri()} ({single.size / 1024**2:.1f} MB)")
    if chosen.pdf:
        pdf = publish_pdf(study)
        print(f"as PDF: {pdf.path.as_uri()} ({pdf.size / 1024**2:.1f} MB)")


def _rehearse(chosen: argparse.Namespace) -> None:
    from ssrobust_lib.config import load_profile
    from ssrobust_lib.running.rehearsal import write_rehearsal

    chosen.profile = str(write_rehearsal(load_profile(chosen.profile)))
    _book(chosen)


def _compare(chosen: argparse.Namespace) -> None:
    from ssrobust_lib.run_comparison.command import compare_runs

    text, page = compare_runs(chosen.run_a, chosen.run_b, out=chosen.out)
    print(f"{text}\npage: {page.resolve().as_uri()}")


def _explore(chosen: argparse.Namespace) -> None:
    from ssrobust_lib.explorer.recording import record, write_notebook
    from ssrobust_lib.explorer.widgets import finished_study

    study = finished_study(chosen.profile)
    if chosen.record is None:
        from ssrobust_lib.devices import KERNEL_ENVIRONMENT

        notebook = write_notebook(study.folder, chosen.profile)
        os.environ.update(KERNEL_ENVIRONMENT)
        os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", str(notebook)])
    for path in record(chosen.profile, chosen.record):
        print(path)


def _check_book(chosen: argparse.Namespace) -> int:
    from ssrobust_lib.book.checks import book_folder
    from ssrobust_lib.book.inspection import SINGLE_FILE, inspect_book

    beside = book_folder(chosen.html).parent / SINGLE_FILE
    report = inspect_book(chosen.html, single_file=beside, external=chosen.external)
    if chosen.json is not None:
        chosen.json.write_text(report.json(), encoding="utf-8")
    print(report.text())
    return 1 if report.problems else 0


def _run_cell(chosen: argparse.Namespace) -> None:
    from ssrobust_lib.running.runner import run_cell

    run_cell(chosen.profile, chosen.cell)


def _run_report(chosen: argparse.Namespace) -> None:
    from ssrobust_lib.running.runner import run_report

    run_report(chosen.profile, chosen.notebook)


def _sync(chosen: argparse.Namespace) -> None:
    from ssrobust_lib.running.notebook_parameters import sync_notebooks

    for name in sync_notebooks():
        print(f"updated {name}")
