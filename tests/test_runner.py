"""The command line and the runner: faults in one line, one run at a time, and a killed run that goes on."""

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest
import yaml
from tiny_profile import profile_of_xrays, tiny_profile, write_profile

from ssrobust_lib import cli, store
from ssrobust_lib import study as study_module
from ssrobust_lib.config import PROFILES, PROJECT, load_profile
from ssrobust_lib.running import runner
from ssrobust_lib.sources import REAL_DATA
from ssrobust_lib.study import Study


@pytest.fixture(autouse=True)
def kept_signal():
    """The command line takes SIGTERM; the test's process gets it back."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Runs lie in the test's own folder."""
    monkeypatch.setattr(study_module, "PROJECT", tmp_path)
    return tmp_path / "runs"


@pytest.fixture
def told(capsys):
    """Run a command in this process; give its exit code and what it said of its error."""

    def run(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        said = capsys.readouterr().err
        assert "Traceback" not in said
        return code, said

    return run


def changed(**sections):
    return tiny_profile(name="tiny-faulty", **sections)


def with_data(task, **values):
    data = tiny_profile()["data"]
    return changed(data=data | {task: data[task] | values})


TASKS = ("pneumonia", "organs")
JIGSAW = tiny_profile()["pretext"]["organs"]["jigsaw"]

# ---- faults of the user's making -----------------------------------------------------------------------------------

FAULTS = {
    "unknown parameter": (changed(epoch=3), [r"tiny-faulty.yaml", "epoch: unknown parameter", "remove it or correct"]),
    "wrong type": (changed(seeds="three"), ["seeds", "integer", "got 'three'"]),
    "unknown corruption": (changed(corruptions=["fog"]), ["corruptions", "unknown corruption 'fog'", "gaussian_noise"]),
    "unknown arm": (
        changed(arms=["scratch", "jigsow"], pretext=dict.fromkeys(TASKS, {"jigsow": JIGSAW})),
        ["unknown arm 'jigsow'", "Did you mean 'jigsaw'?"],
    ),
    "unknown network": (
        changed(networks=tiny_profile()["networks"] | {"pneumonia": {"name": "cbr_tall"}}),
        ["networks.pneumonia", "'cbr_tall'", "cbr_small"],
    ),
    "unknown network option": (
        changed(networks=tiny_profile()["networks"] | {"organs": {"name": "unet", "options": {"filters": 4}}}),
        ["networks.organs", "'filters'", "base_filters"],
    ),
    "unknown pretext option": (
        changed(pretext=dict.fromkeys(TASKS, {"jigsaw": JIGSAW | {"options": {"tiles": 3}}})),
        ["pretext.pneumonia.jigsaw.options", "unknown option 'tiles'", "permutations"],
    ),
    "bad value of a pretext option": (
        changed(pretext=dict.fromkeys(TASKS, {"jigsaw": JIGSAW | {"options": {"grid": 7}}})),
        ["pretext.pneumonia.jigsaw.options", "grid=7", "2 or 3"],
    ),
    "images too small for the puzzle": (
        with_data("pneumonia", image_size=16), ["pretext.pneumonia.jigsaw", "16 x 16", "use larger images"],
    ),
    "images that the network refuses": (
        with_data("organs", image_size=40), ["data.organs.image_size", "divisible by 16", "40 x 40"],
    ),
    "a search without an end": (
        changed(calibration={"closeness": {"strength": 0}}),
        ["calibration.closeness.strength", "greater than 0", "got 0"],
    ),
    "unknown reference": (
        changed(calibration={"reference": "weakest"}),
        ["calibration.reference", "'weaker', 'scratch'", "got 'weakest'"],
    ),
    "unknown severities": (
        changed(calibration={"severities": "imagenet_d"}),
        ["calibration.severities", "'imagenet_d'", "Did you mean 'imagenet_c'?", "A path of a file ends in .json"],
    ),
    "severities of a file that is not there": (
        changed(calibration={"severities": {"organs": "elsewhere/calibration.json"}}),
        ["calibration.severities", "elsewhere/calibration.json: no such file"],
    ),
    "severities of an unknown task": (
        changed(calibration={"severities": {"organ": "imagenet_c"}}),
        ["calibration", "unknown task 'organ'", "Did you mean 'organs'?"],
    ),
    "unknown set": (with_data("pneumonia", set="rnsa"), ["unknown data set 'rnsa'", "Did you mean 'rsna'?"]),
    "a set of another kind": (
        with_data("pneumonia", set="visceral"), ["data.pneumonia", "visceral holds ct images", "a set of xray"],
    ),
    "unknown phantom option": (
        changed(phantoms=tiny_profile()["phantoms"] | {"rsna": {"n_patiens": 5}}),
        ["phantoms.rsna", "unknown option 'n_patiens'", "Did you mean 'n_patients'?"],
    ),
    "phantoms that nobody uses": (
        changed(phantoms=tiny_profile()["phantoms"] | {"lits": {"n_scans": 1}}),
        ["phantoms: lits is used by no task", "remove it or name it in data"],
    ),
}  # fmt: skip


# `plan` meets every fault; the other commands one that loading a profile finds and one that checking it finds
WHERE_TOLD = [("plan", fault) for fault in FAULTS] + [
    (command, fault)
    for command in ("study", "book", "rehearse")
    for fault in ("unknown parameter", "images that the network refuses")
]


@pytest.mark.parametrize(("command", "fault"), WHERE_TOLD)
def test_a_fault_of_the_profile_is_told_before_anything_runs(fault, command, told, elsewhere, tmp_path):
    sections, words = FAULTS[fault]
    code, said = told(command, write_profile(tmp_path, sections))
    assert code == 1
    assert said.startswith("ssrobust: ")
    for word in words:
        assert word in said, said
    assert not elsewhere.exists(), "something ran"


def test_an_unknown_profile_and_a_missing_file(told):
    known = ", ".join(sorted(path.stem for path in PROFILES.glob("*.yaml")))
    hint = "Did you mean 'demo'? A path ends in .yaml."
    assert told("plan", "dmeo") == (1, f"ssrobust: unknown profile 'dmeo': expected one of {known}. {hint}\n")
    code, said = told("study", "nowhere/own.yaml")
    assert code == 1
    assert "nowhere/own.yaml" in said
    assert "no such file" in said


def real_profile(folder, **sections):
    """A profile that reads real images."""
    return write_profile(folder, changed(phantoms={}, **sections))


def test_no_folder_of_real_images_is_named(told, tmp_path, monkeypatch):
    monkeypatch.delenv(REAL_DATA, raising=False)
    code, said = told("plan", real_profile(tmp_path))
    assert code == 1
    for word in ("tiny-faulty", "rsna", REAL_DATA, "data_root", f"export {REAL_DATA}="):
        assert word in said


@pytest.mark.parametrize("state", ["missing", "empty", "other layout"])
def test_a_folder_of_real_images_that_does_not_hold_the_set(state, told, tmp_path, monkeypatch):
    monkeypatch.delenv(REAL_DATA, raising=False)
    root = tmp_path / "images"
    if state != "missing":
        (root / "rsna").mkdir(parents=True)
    if state == "other layout":
        (root / "rsna" / "image.txt").write_text("no radiograph")
    code, said = told("plan", real_profile(tmp_path, data_root=str(root)))
    assert code == 1
    assert str(root) in said
    assert len(said.splitlines()) < 12
    expected = {"missing": "rsna", "empty": "empty", "other layout": "stage_2_train_images"}[state]
    assert expected in said, said


def test_an_unknown_cell_says_how_to_list_them(told, elsewhere, tmp_path):
    path = write_profile(tmp_path, tiny_profile())
    code, said = told("run-cell", "--profile", path, "03_finetune/none-0")
    assert code == 1
    assert "'03_finetune/none-0'" in said
    assert "ssrobust plan tiny" in said


def test_our_own_faults_keep_their_traceback(monkeypatch):
    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "_checked", broken)
    with pytest.raises(ZeroDivisionError):
        cli.main(["plan", "smoke"])


def test_options_before_the_dashes_are_ours_and_those_behind_are_snakemakes(capsys):
    chosen = cli._read(["study", "smoke", "--cores", "3", "--", "--until", "01_data", "--cores", "7"])
    assert (chosen.profile, chosen.cores) == ("smoke", 3)
    assert chosen.snakemake == ["--until", "01_data", "--cores", "7"]
    assert cli._read(["book", "smoke"]).snakemake == []
    for wrong in (["study", "smoke", "--coers", "3"], ["plan", "smoke", "--", "--until", "x"]):
        with pytest.raises(SystemExit) as ended:
            cli._read(wrong)
        assert ended.value.code == 2
        assert wrong[-1] in capsys.readouterr().err


# ---- the disk ------------------------------------------------------------------------------------------------------


def test_a_full_disk_while_weights_are_written_is_an_error_of_the_disk(tmp_path, monkeypatch):
    import safetensors.torch
    import torch

    def full(*_, **__):
        raise safetensors.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(store.StoreError, match="no space left"), store.writing(tmp_path / "cell", {}) as folder:
        store.write_tensors(folder / "model.safetensors", {"w": torch.zeros(3)})


def test_a_notebook_that_cannot_be_written_is_reported_with_the_name_of_the_cell(elsewhere, tmp_path, monkeypatch):
    import papermill

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(papermill, "execute_notebook", full)
    monkeypatch.delenv("SSROBUST_CELL", raising=False)
    path = write_profile(tmp_path, tiny_profile())
    cell = Study(load_profile(path)).all_cells[0]
    with pytest.raises(runner.RunError, match=rf"^{cell.id}: .*No space left on device"):
        runner.run_cell(str(path), cell.id)


# ---- one run at a time ---------------------------------------------------------------------------------------------


def test_a_second_run_of_the_same_profile_is_refused(told, elsewhere, tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(runner, "_snakemake", lambda *arguments: started.append(arguments))
    path = write_profile(tmp_path, tiny_profile())
    folder = elsewhere / "tiny"
    folder.mkdir(parents=True)
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, said = told("study", path)
        assert code == 1
        assert "another process is running 'tiny'" in said
        assert "wait for it or stop it first" in said
        assert not started
    assert told("study", path, "--cores", "2", "--", "--dry-run")[0] == 0
    (study, location, cores, extra, _) = started[0]
    assert (location, cores, extra) == (str(path), 2, ["--dry-run"])


def test_the_cells_that_failed_are_told_once_each_and_the_log_is_named(tmp_path):
    log = tmp_path / "run.log"
    log.write_text("rule x\nssrobust: 01_data/a: no image\nssrobust: 01_data/a: no image\nssrobust: 02/b: other\n")
    assert runner._failures(log) == f"01_data/a: no image\n02/b: other\n(log: {log})"
    log.write_text("\n".join(f"line {k}" for k in range(40)))
    assert "line 39" in runner._failures(log)
    assert "line 10" not in runner._failures(log)


# ---- killed and resumed --------------------------------------------------------------------------------------------


@pytest.fixture
def small():
    """A run of one task in the project's own runs/, removed afterwards."""
    whole = profile_of_xrays(name=f"test-killed-{os.getpid()}", arms=["scratch", "jigsaw"], corruptions=["contrast"])
    runs = PROJECT / "runs"
    folder = runs / whole["name"]
    folder.mkdir(parents=True)
    path = write_profile(folder, whole)
    yield SimpleNamespace(path=path, study=Study(load_profile(path)), folder=folder)
    shutil.rmtree(folder)


def start(small, target):
    """Start `ssrobust study` for one cell and what it needs."""
    command = [sys.executable, "-m", "ssrobust_lib", "study", str(small.path), "--cores", "2", "--"]
    wanted = str(small.study.folder_of(target) / store.RECORD)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with open(small.folder / "said.txt", "w") as said:
        return subprocess.Popen([*command, wanted], cwd=PROJECT, env=environment, stdout=said, stderr=said)


def kill(process):
    """Kill a run with everything that it started, as a power cut would."""
    whole = [process, *psutil.Process(process.pid).children(recursive=True)]
    for one in whole:
        os.kill(one.pid, signal.SIGKILL)
    process.wait()
    psutil.wait_procs(whole[1:], timeout=10)


def contents(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_a_killed_run_goes_on_where_it_stopped(small):
    data, tuned = small.study.cells("01_data")[0], small.study.cells("03_finetune")[0]
    process = start(small, tuned)
    in_the_making = small.study.folder_of(tuned).with_name(f".{small.study.folder_of(tuned).name}.partial")
    while not in_the_making.exists() and process.poll() is None:
        time.sleep(0.05)
    assert process.poll() is None, (small.folder / "said.txt").read_text()
    kill(process)
    assert small.study.finished(data)
    assert not small.study.finished(tuned)
    before = contents(small.study.folder_of(data))

    process = start(small, tuned)
    assert process.wait() == 0, (small.folder / "said.txt").read_text()
    assert small.study.finished(tuned)
    assert contents(small.study.folder_of(data)) == before
    assert not in_the_making.exists()
    assert small.study.table(tuned, "curves")["epoch"].tolist() == [1, 2]
    executed = small.folder / "notebooks" / f"{tuned.id}.ipynb"
    parameters = yaml.safe_load(executed.read_text())["metadata"]["papermill"]["parameters"]
    assert parameters["tasks"] == ["pneumonia"]
    assert parameters["seeds"] == [0]
