"""Results come in order, failures come through, and no worker outlives a parent that was killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ssrobust_lib.datasets.parallel import ordered_map


def square(n: int) -> int:
    if n < 0:
        raise ValueError(f"expected 0 or more, got {n}")
    return n * n


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order_and_errors_come_through(workers: int) -> None:
    assert list(ordered_map(square, range(20), workers)) == [n * n for n in range(20)]
    with pytest.raises(ValueError, match="expected 0 or more, got -1"):
        list(ordered_map(square, [1, -1, 2], workers))


CHILD = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from test_parallel import say_and_wait
from ssrobust_lib.datasets.parallel import ordered_map

if __name__ == "__main__":
    list(ordered_map(say_and_wait, [sys.argv[2]] * 2, 2))
"""


def say_and_wait(folder: str) -> None:
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(600)


def test_workers_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    pids = tmp_path / "pids"
    pids.mkdir()
    child = subprocess.Popen([sys.executable, str(script), str(Path(__file__).parent), str(pids)])
    while len(list(pids.iterdir())) < 2:
        assert child.poll() is None
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    deadline = time.monotonic() + 120
    for worker in (int(path.name) for path in pids.iterdir()):
        while _alive(worker):
            assert time.monotonic() < deadline, "a worker goes on without its parent"
            time.sleep(0.05)


def _alive(pid: int) -> bool:
    """Whether a process runs; one that ended and that nobody has waited for does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
