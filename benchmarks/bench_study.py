"""The whole study, from nothing to its book: wall time, and the largest memory of any of its processes.

``python -m benchmarks study`` runs every case, ``python -m benchmarks study:smoke`` one of them. Each runs in a folder
of its own (``runs/bench-<profile>/``), removed before and after, so that nothing is found ready and no other run is
touched. Memory is the larger of what the cells recorded and of what a sampler saw twice a second in each process. The
case `real` needs ``SSROBUST_REAL_DATA``.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAME = "study"
SAMPLE_SECONDS = 0.5
MEMORY_GIB = 3.0


@dataclass(frozen=True)
class Case:
    """A command of `ssrobust`, the profile that it takes, and the seconds that it may take."""

    command: str
    profile: str
    seconds: int


CASES = {
    "smoke": Case("book", "smoke", 180),
    "demo": Case("book", "demo", 1500),
    "rehearsal": Case("rehearse", "paper", 900),
    "real": Case("book", "real", 5400),
}


def run(*chosen: str) -> list[dict[str, Any]]:
    """Run the chosen cases, or all; `real` is among all only where there are real images.

    Raises
    ------
    ValueError
        A case is not known.
    RuntimeError
        A run failed; the message ends with what it printed.
    """
    from ssrobust_lib.sources import REAL_DATA

    unknown = [name for name in chosen if name not in CASES]
    if unknown:
        raise ValueError(f"unknown case {', '.join(unknown)}: expected one of {', '.join(CASES)}")
    names = chosen or [name for name in CASES if name != "real" or os.environ.get(REAL_DATA)]
    return [row for name in names for row in _rows(name, CASES[name])]


def _rows(name: str, case: Case) -> list[dict[str, Any]]:
    seconds, memory = _measured(case)
    return [
        {
            "name": f"{name}: seconds from nothing to the book",
            "measured": f"{seconds:.0f}",
            "goal": f"<= {case.seconds}",
            "met": seconds <= case.seconds,
        },
        {
            "name": f"{name}: GiB of its largest process",
            "measured": f"{memory:.2f}",
            "goal": f"<= {MEMORY_GIB:.0f}",
            "met": memory <= MEMORY_GIB,
        },
    ]


def _measured(case: Case) -> tuple[float, float]:
    """Seconds, and GiB of the largest process, of one run from nothing."""
    import yaml

    from ssrobust_lib.config import PROJECT, profile_path

    values = yaml.safe_load(profile_path(case.profile).read_text(encoding="utf-8"))
    values["name"] = f"bench-{case.profile}"
    suffix = "-rehearsal" if case.command == "rehearse" else ""
    folder = PROJECT / "runs" / f"{values['name']}{suffix}"
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as place:
        profile = Path(place) / "profile.yaml"
        profile.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
        try:
            seconds, sampled = _watched([sys.executable, "-m", "ssrobust_lib", case.command, str(profile)], PROJECT)
            records = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("cells/*/*/cell.json")]
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return seconds, max(sampled, *(record["peak_memory_bytes"] for record in records)) / 2**30


def _watched(command: list[str], where: Path) -> tuple[float, int]:
    """Run a command; return its seconds and the largest resident set, in bytes, of it or a process below it."""
    import psutil

    with tempfile.TemporaryFile("w+") as printed:
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=where, stdout=printed, stderr=subprocess.STDOUT)
        largest = 0
        try:
            root = psutil.Process(process.pid)
            while process.poll() is None:
                for one in [root, *_below(root)]:
                    try:
                        largest = max(largest, one.memory_info().rss)
                    except psutil.Error:  # ended meanwhile
                        continue
                time.sleep(SAMPLE_SECONDS)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        seconds = time.perf_counter() - began
        if process.returncode:
            printed.seek(0)
            raise RuntimeError(f"{' '.join(command)} failed:\n{printed.read()[-2000:]}")
    return seconds, largest


def _below(root: Any) -> list[Any]:
    import psutil

    try:
        return root.children(recursive=True)
    except psutil.Error:
        return []


if __name__ == "__main__":
    sys.exit("run `python -m benchmarks study` or, for one case, `python -m benchmarks study:smoke`")
