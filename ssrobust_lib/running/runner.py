"""Running: one cell or report through papermill, or the whole study through Snakemake with progress.

Enters a profile; leaves finished cells and executed notebooks under ``runs/<profile>/``.
"""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ssrobust_lib.book.pages import reports
from ssrobust_lib.config import PROJECT, Profile, load_profile, profile_path
from ssrobust_lib.progress import NOTES, running
from ssrobust_lib.running.notebook_parameters import NOTEBOOKS, cell_parameters, check_parameters, report_parameters
from ssrobust_lib.study import Study

SNAKEFILE = PROJECT / "workflow" / "Snakefile"


class RunError(RuntimeError):
    """A run that stopped; says which cell, why, where its notebook lies, and how to go on."""


def run_cell(location: str, cell_id: str) -> None:
    """Compute one cell by executing its notebook with the cell's parameters."""
    profile = load_profile(location)
    study = Study(profile)
    cell = study.cell(cell_id)
    if study.finished(cell):
        return
    notebook = NOTEBOOKS / f"{cell.notebook}.ipynb"
    values = cell_parameters(profile, cell, str(profile_path(location)))
    executed = study.folder / "notebooks" / f"{cell.id}.ipynb"
    executed.parent.mkdir(parents=True, exist_ok=True)
    _execute(_computing_part(notebook, executed), executed, values, profile, what=cell.id)
    if not study.finished(cell):
        raise RunError(f"{cell.id}: the notebook ran through but left no result; see {executed}")


def _computing_part(notebook: Path, executed: Path) -> Path:
    """Copy of a notebook without the cells tagged ``report``, which read a whole run; lies beside the executed one."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    content["cells"] = [cell for cell in content["cells"] if "report" not in cell["metadata"].get("tags", [])]
    part = executed.with_name(f".{executed.name}")
    part.write_text(json.dumps(content), encoding="utf-8")
    return part


def run_report(location: str, notebook: str) -> Path:
    """Execute a notebook over the whole run, read-only: the page that the book shows."""
    profile = load_profile(location)
    study = Study(profile, read_only=True)
    values = report_parameters(profile, notebook, str(profile_path(location))) | {"read_only": True}
    path = reports(study)[notebook]
    aside = path.with_name(f".{path.name}.partial")
    _execute(NOTEBOOKS / f"{notebook}.ipynb", aside, values, profile, what=f"report {notebook}")
    os.replace(aside, path)
    return path


def _execute(notebook: Path, executed: Path, values: dict[str, Any], profile: Profile, *, what: str) -> None:
    check_parameters(notebook, values)
    os.environ.update(_kernel_environment(profile))
    import papermill
    from papermill.exceptions import PapermillExecutionError

    executed.parent.mkdir(parents=True, exist_ok=True)
    try:
        papermill.execute_notebook(
            str(notebook),
            str(executed),
            parameters=values,
            kernel_name="python3",
            cwd=str(NOTEBOOKS),
            progress_bar=False,
            log_output=False,
        )
    except PapermillExecutionError as error:
        raise RunError(f"{what}: {error.ename}: {error.evalue}\n  the notebook as far as it came: {executed}") from None
    except OSError as error:  # such as a full disk
        raise RunError(f"{what}: its notebook {executed} cannot be executed or written: {error}") from error


def _kernel_environment(profile: Profile) -> dict[str, str]:
    """Settings that malloc and the numeric libraries read when a process starts; kernels inherit them."""
    from ssrobust_lib.devices import KERNEL_ENVIRONMENT

    libraries = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return KERNEL_ENVIRONMENT | dict.fromkeys(libraries, str(profile.threads))


def run_study(location: str, *, cores: int | None = None, extra: list[str] | None = None) -> Study:
    """Run every cell that is not finished, then the reports; show progress; go on where an earlier run stopped.

    Raises
    ------
    RunError
        Another process runs the same profile, or a cell failed. Finished cells are kept.
    """
    study = Study(load_profile(location))
    study.folder.mkdir(parents=True, exist_ok=True)
    with open(study.folder / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunError(f"another process is running {study.profile.name!r}: wait for it or stop it first") from None
        _snakemake(study, location, cores or os.cpu_count() or 1, extra or [], lock.fileno())
    return study


def _snakemake(study: Study, location: str, cores: int, extra: list[str], lock: int) -> None:
    shutil.rmtree(study.folder / NOTES, ignore_errors=True)
    logs = study.folder / "logs"
    logs.mkdir(exist_ok=True)
    log = logs / time.strftime("%Y-%m-%d_%H-%M-%S.log")
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), "--directory", str(study.folder)]
    command += [
        "--config",
        f"profile={profile_path(location)}",
        "--cores",
        str(cores),
        "--nolock",
        "--rerun-incomplete",
    ]
    command += ["--rerun-triggers", "mtime", "--keep-going", "--latency-wait", "10", *extra]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), **_kernel_environment(study.profile)}
    if not any(option in " ".join(extra) for option in ("--executor", "--profile")):  # jobs run on this machine
        command = [sys.executable, "-m", "ssrobust_lib.running.warm", *command]
    with open(log, "w") as output:
        # the workflow holds the run's lock too, so that a run whose watcher was killed is not started twice
        options: dict[str, Any] = {"env": environment, "start_new_session": True, "pass_fds": (lock,)}
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, **options)
        try:
            _watch(study, process)
        except KeyboardInterrupt:
            os.killpg(process.pid, signal.SIGINT)
            process.wait()
            raise RunError("stopped; finished cells are kept, the same command goes on from here") from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()
    if process.returncode:
        raise RunError(f"{_failures(log)}\nfinished cells are kept: mend the cause and run the same command again")


def _watch(study: Study, process: "subprocess.Popen[bytes]") -> None:
    from tqdm import tqdm

    waiting = {cell.id: study.folder_of(cell) / "cell.json" for cell in study.all_cells}
    waiting |= {f"report/{name}": path for name, path in reports(study).items()}
    every = 0.5 if sys.stderr.isatty() else 30.0
    bar = tqdm(total=len(waiting), desc=study.profile.name, unit="cell", dynamic_ncols=True, mininterval=every)
    while True:
        ended = process.poll() is not None
        for name in [name for name, path in waiting.items() if path.exists()]:
            del waiting[name]
            bar.update()
        bar.set_postfix_str(
            "; ".join(f"{n['what']} {n['done']}/{n['total']} {n['text']}".strip() for n in running(study.folder)),
            refresh=False,
        )
        bar.update(0)
        if ended:
            break
        time.sleep(0.5)
    bar.close()


def _failures(log: Path) -> str:
    """The error lines of the cells that failed, from what they printed into the log, or into their Slurm jobs' logs."""
    lines = log.read_text(errors="replace").splitlines()
    jobs = [Path(name) for name in re.findall(r"\(log: (\S+/slurm_logs/\S+)\)", "\n".join(lines))]
    printed = [line for job in jobs if job.is_file() for line in job.read_text(errors="replace").splitlines()]
    marked = [line.removeprefix("ssrobust: ") for line in (*lines, *printed) if line.startswith("ssrobust: ")]
    told = list(dict.fromkeys(marked)) or ["the workflow stopped; its last words:", *lines[-15:]]
    return "\n".join([*told, f"(log: {log})"])
