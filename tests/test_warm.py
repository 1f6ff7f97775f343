"""The warm process: jobs come back with their output and exit codes, and run on their own where there is none."""

import os
import signal
import subprocess
import sys

import pytest

from ssrobust_lib.config import PROJECT
from ssrobust_lib.running import warm

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="cells are forked on Linux alone")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(PROJECT)} | dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"
)
HAND_OVER = "import sys; from ssrobust_lib.running import warm; sys.exit(warm.hand_over({arguments}))"


def python(program, *arguments):
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False)


def serve(workflow, before="", modules="()"):
    """Run a workflow, a Python program, with a warm process that has run `before`: what was printed, the exit code."""
    warming = "import sys\nfrom ssrobust_lib import cli\nfrom ssrobust_lib.running import warm\n"
    warming += f"warm.MODULES = {modules}\n{before}\n"
    return python(warming + "sys.exit(warm.main(sys.argv[1:]))", sys.executable, "-c", workflow)


def test_a_job_has_its_own_folder_environment_and_streams(tmp_path):
    before = """
def run(arguments):
    import os
    print(arguments, os.getcwd(), os.environ["MARK"])
    return 41
cli.run = run
"""
    job = f"""
import os, sys
from ssrobust_lib.running import warm
os.chdir({str(tmp_path)!r})
os.environ["MARK"] = "of the job"
sys.exit(warm.hand_over(["run-cell", "this"]) + 1)
"""
    ran = serve(job, before)
    assert (ran.returncode, ran.stderr) == (42, "")
    assert ran.stdout == f"['run-cell', 'this'] {tmp_path} of the job\n"


def test_faults_are_told_as_they_are_without():
    ran = serve(HAND_OVER.format(arguments=["check-book", "nowhere"]))
    assert ran.returncode == 1 and ran.stderr.startswith("ssrobust: ") and "nowhere" in ran.stderr
    ran = serve(HAND_OVER.format(arguments=["no-such-command"]))
    assert ran.returncode == 2 and "invalid choice" in ran.stderr
    ran = serve(HAND_OVER.format(arguments=["plan"]), "def run(arguments): 1 / 0\ncli.run = run")
    assert ran.returncode == 1 and "ZeroDivisionError" in ran.stderr


def test_the_workflows_exit_code_is_handed_on():
    assert serve("raise SystemExit(7)").returncode == 7


def test_jobs_run_side_by_side():
    before = """
def run(arguments):
    import os, time
    open(f"{arguments[0]}/{os.getpid()}", "w").close()
    while len(os.listdir(arguments[0])) < 3:  # until all have begun
        time.sleep(0.01)
    return 1
cli.run = run
"""
    workflow = f"""
import subprocess, sys, tempfile
with tempfile.TemporaryDirectory() as folder:
    one = {HAND_OVER!r}.format(arguments=[folder])
    jobs = [subprocess.Popen([sys.executable, "-c", one]) for _ in range(3)]
    sys.exit(sum(job.wait() for job in jobs))
"""
    assert serve(workflow, before).returncode == 3


def test_a_kernel_is_forked_computes_and_ends():
    before = """
def run(arguments):
    import os
    from jupyter_client.manager import start_new_kernel
    manager, client = start_new_kernel()
    forked = manager.provisioner.process
    printed = []
    client.execute_interactive("import os; print(6 * 7, os.getppid())", output_hook=printed.append)
    text = "".join(message["content"].get("text", "") for message in printed)
    client.stop_channels()
    manager.shutdown_kernel()
    print(type(forked).__module__, text.strip() == f"42 {os.getpid()}", forked.poll() is not None)
    return 0
cli.run = run
"""
    ran = serve(HAND_OVER.format(arguments=[]), before)
    assert (ran.returncode, ran.stdout.strip()) == (0, "ssrobust_lib.running.warm True True"), ran.stderr


def test_a_stop_reaches_the_worker():
    """The workflow stops its job; the job's worker must end, with what it has to say."""
    before = """
def run(arguments):
    import time
    try:
        print("asleep", flush=True)
        time.sleep(100)
    except KeyboardInterrupt:
        return 130
    return 0
cli.run = run
"""
    workflow = f"""
import subprocess, sys
job = subprocess.Popen([sys.executable, "-c", {HAND_OVER.format(arguments=[])!r}], stdout=subprocess.PIPE, text=True)
assert job.stdout.readline() == "asleep\\n"
job.terminate()
sys.exit(job.wait())
"""
    ran = serve(workflow, before)
    assert ran.returncode == 130, ran.stderr


def test_signals_are_ignored_once_a_stop_has_come(monkeypatch):
    handlers = {}
    monkeypatch.setattr(signal, "signal", lambda number, handler: handlers.update({number: handler}))
    with pytest.raises(KeyboardInterrupt):
        warm._stop()
    assert handlers == {signal.SIGINT: signal.SIG_IGN, signal.SIGTERM: signal.SIG_IGN}


def test_without_a_warm_process_a_job_does_the_work_itself(tmp_path, monkeypatch):
    monkeypatch.delenv(warm.ADDRESS, raising=False)
    assert warm.hand_over(["plan", "smoke"]) is None
    monkeypatch.setenv(warm.ADDRESS, str(tmp_path / "gone"))
    assert warm.hand_over(["plan", "smoke"]) is None


def test_where_threads_run_nothing_is_forked():
    """What another thread holds at a fork is held for ever: then jobs run on their own, one that waits already too."""
    before = "import threading, time; threading.Thread(target=time.sleep, args=(5,), daemon=True).start()"
    workflow = (
        "import sys; from ssrobust_lib.running import warm; sys.exit(3 if warm.hand_over(['plan']) is None else 4)"
    )
    assert serve(workflow, before).returncode == 3


def test_where_something_is_missing_the_jobs_say_so_themselves():
    workflow = (
        "import sys; from ssrobust_lib.running import warm; sys.exit(3 if warm.hand_over(['plan']) is None else 4)"
    )
    assert serve(workflow, modules="('no_such_module',)").returncode == 3


def test_what_is_imported_beforehand_starts_no_thread():
    ran = python("from ssrobust_lib.running import warm; print(warm._ready())")
    assert ran.stdout.strip() == "True", ran.stderr
