"""What several test files share: one finished study, computed once for all of them, and a tiny set of every layout."""

from pathlib import Path

import pytest
from all_layouts import WRITERS
from tiny_profile import tiny_profile, write_profile

from ssrobust_lib.config import load_profile
from ssrobust_lib.datasets import LOADERS
from ssrobust_lib.study import Study


@pytest.fixture(scope="session")
def tiny_study(tmp_path_factory):
    """A finished study of both tasks; read it, never write into it.

    Workers of one pytest run share its folder: the study's own locks let each cell be computed once.
    """
    folder = tmp_path_factory.getbasetemp()
    if folder.name.startswith("popen-"):  # a worker of pytest-xdist; the folder above is that of the whole run
        folder = folder.parent
    runs = folder / "tiny_runs"
    runs.mkdir(exist_ok=True)
    study = Study(load_profile(write_profile(tmp_path_factory.mktemp("profile"), tiny_profile())), runs=runs)
    study.ensure(study.all_cells)
    return study


@pytest.fixture(scope="session")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of tiny sets, one in each loader's layout; read them, never write into them."""
    return {name: WRITERS[name](tmp_path_factory.mktemp(name)) for name in LOADERS}
