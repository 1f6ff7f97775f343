"""An evaluation cell that is killed, at any of several moments, ends with the bytes of an undisturbed one; so do cells
that are computed at the same time by several processes."""

import json
import shutil
import subprocess
import sys

import pytest
from tiny_profile import tiny_profile, write_profile

from ssrobust_lib.config import PROJECT
from ssrobust_lib.study import Study

# A process that imports once and forks a child for each attempt: the child kills itself with SIGKILL, once as many
# pieces are on the disk as it is told, or at the moment that is named.
ATTEMPTS = """
import json, os, signal, sys
from pathlib import Path

from ssrobust_lib import store
from ssrobust_lib.cells import evaluate, pieces
from ssrobust_lib.config import load_profile
from ssrobust_lib.study import Study

profile, runs, orders = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
study = Study(load_profile(profile), runs=runs)
pieces._SECONDS = 0.0

def die(*ignored):
    os.kill(os.getpid(), signal.SIGKILL)

def attempt(cell, moment):
    if isinstance(moment, int):
        write = pieces.KeptPieces._write
        def counted(self):
            write(self)
            if len(self._files) == moment:
                die()
        pieces.KeptPieces._write = counted
    elif moment == "half a file of pieces":
        def half(path, arrays):
            path.write_bytes(b"PK")
            die()
        store.write_arrays = half
    elif moment == "before the table":
        store.write_table = die
    elif moment == "before the record":
        store.write_json = die
    study.ensure(cell)

for together in orders:  # [[cell, moment], ...] at the same time
    children = []
    for name, moment in together:
        cell = study.cell(name)
        child = os.fork()
        if child == 0:
            try:
                attempt(cell, moment)
                os._exit(0)
            finally:
                os._exit(1)
        children.append(child)
    print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]), flush=True)
"""
RESULTS = ("predictions.parquet", "features.npy", "feature_scales.parquet")
KILLED, FINISHED = -9, 0


@pytest.fixture
def unfinished(tiny_study, tmp_path):
    """A copy of the finished study whose evaluations are left out, and a function that attempts to compute them."""
    study = Study(tiny_study.profile, runs=tmp_path)
    shutil.copytree(tiny_study.folder, study.folder)
    shutil.copytree(tiny_study.folder.parent / "cache", tmp_path / "cache")
    for step in ("04_clean_eval", "05_corruption_eval", "07_stats"):
        for cell in study.cells(step):
            shutil.rmtree(study.folder_of(cell))

    def attempt(*orders):
        path = write_profile(tmp_path, tiny_profile())
        command = [sys.executable, "-c", ATTEMPTS, str(path), str(tmp_path), json.dumps(orders)]
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return study, attempt


def results(study, cell):
    folder = study.folder_of(cell)
    assert {path.name for path in folder.iterdir()} <= {*RESULTS, "evaluation.json", "cell.json"}
    return {name: (folder / name).read_bytes() for name in RESULTS if (folder / name).is_file()}


def test_killed_evaluations_end_with_the_same_bytes(unfinished, tiny_study):
    study, attempt = unfinished
    clean = {task: study.cells("04_clean_eval", tasks=[task])[0] for task in ("pneumonia", "organs")}
    corrupted = {task: study.cells("05_corruption_eval", tasks=[task])[0] for task in ("pneumonia", "organs")}
    orders = []
    for task in ("pneumonia", "organs"):
        # two test scans: a piece each; fourteen X-rays: one batch
        moments = ["half a file of pieces", 1, "before the table", "before the record", "never"]
        orders += [[[clean[task].id, moment]] for moment in moments]
        moments = [1, "half a file of pieces", 2, 3, "before the table", "never"]
        orders += [[[corrupted[task].id, moment]] for moment in moments]
    codes = [code for (code,) in attempt(*orders)]
    for ((_, moment),), code in zip(orders, codes, strict=True):
        assert code == (FINISHED if moment == "never" else KILLED)
    for cell in (*clean.values(), *corrupted.values()):
        assert study.finished(cell)
        assert results(study, cell) == results(tiny_study, cell)


def test_cells_computed_by_several_processes_are_the_same(unfinished, tiny_study):
    study, attempt = unfinished
    clean = study.cells("04_clean_eval")
    corrupted = study.cells("05_corruption_eval")
    # the last two wait for each other's clean cell, and both ask for the same corruption
    twice = [[corrupted[0].id, "never"], *([cell.id, "never"] for cell in corrupted)]
    assert attempt(twice) == [[FINISHED] * len(twice)]
    for cell in (*clean, *corrupted):
        assert results(study, cell) == results(tiny_study, cell)
