"""What several test files share: one finished study, computed once for all of them, and a tiny set of every layout."""

import os

import pytest

# A worker of the suite has one core. Threads of the numeric libraries would wait for one another by spinning: on a
# busy machine a training with two threads took six times the processor's time that it takes with one. The libraries
# read these when they are first imported, so everything else is imported where it is used.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")


@pytest.fixture(scope="session")
def tiny_study(tmp_path_factory):
    """A finished study of both tasks; read it, never write into it.

    Workers of one pytest run share its folder: the study's own locks let each cell be computed once.
    """
    from tiny_profile import tiny_profile, write_profile

    from ssrobust_lib.config import load_profile
    from ssrobust_lib.study import Study

    folder = tmp_path_factory.getbasetemp()
    if folder.name.startswith("popen-"):  # a worker of pytest-xdist; the folder above is that of the whole run
        folder = folder.parent
    runs = folder / "tiny_runs"
    runs.mkdir(exist_ok=True)
    study = Study(load_profile(write_profile(tmp_path_factory.mktemp("profile"), tiny_profile())), runs=runs)
    study.ensure(study.all_cells)
    return study


@pytest.fixture(scope="session")
def roots(tmp_path_factory):
    """Folders of tiny sets, one in each loader's layout; read them, never write into them."""
    from all_layouts import WRITERS

    from ssrobust_lib.datasets import LOADERS

    return {name: WRITERS[name](tmp_path_factory.mktemp(name)) for name in LOADERS}
