"""The pages of a run's report: which executed notebook stands for which results."""

import hashlib
from pathlib import Path

from ssrobust_lib.config import PROJECT
from ssrobust_lib.fingerprint import PACKAGE, settings_key
from ssrobust_lib.running.notebook_parameters import NOTEBOOKS, OPTIONAL, SECTIONS
from ssrobust_lib.study import Study

LONG_PAGES = {"05_corruption_eval": 3, "01_data": 2, "04_clean_eval": 1}
"""Pages that take longest to draw, with the priority at which the workflow starts them."""


def reports(study: Study) -> dict[str, Path]:
    """Path of each notebook's read-only execution; its key changes with notebook, figures and results.

    A notebook of control arms and curves is among them where the run has any.
    """
    from ssrobust_lib.splits.label_rows import label_table_files

    tables = [(str(path), path.stat().st_size) for path in label_table_files(study.profile)]
    shown = [study.profile.model_dump(), [cell.key for cell in study.all_cells], _shown_by(), tables]
    names = [name for name in SECTIONS if name not in OPTIONAL or study.profile.controls or study.profile.curves]
    keys = {name: settings_key([_content(NOTEBOOKS / f"{name}.ipynb"), *shown]) for name in names}
    return {name: study.folder / "reports" / f"{name}-{key[:10]}.ipynb" for name, key in keys.items()}


def _shown_by() -> list[str]:
    """Content of every module that turns results into what a page shows, and of the paper's claims and numbers."""
    folders = ("figures", "book", "statistics", "splits", "evaluation")
    files = [path for folder in folders for path in sorted((PACKAGE / folder).glob("*.py"))]
    files += sorted((PROJECT / "book").glob("paper_*"))
    return [_content(path) for path in files]


def _content(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
