"""`python -m benchmarks [NAME ...]`: run benchmarks, print one line per goal, keep the results for the book.

Each module ``bench_<name>.py`` offers ``run()``, which returns rows with name, measured (a text), goal (a text that
starts with <= or >=, or empty) and met (true, false, or None where there is no goal or nothing could be measured);
further fields (peer, version, images_per_second, ...) are kept. Ratios are measured within one run, against a named
peer or a stated bound. A module with several cases takes their names: ``python -m benchmarks study:smoke``. The
distributions that a module names in ``PEERS`` have their versions stated.

When a benchmark is through, its rows are written to ``runs/benchmarks/<name>-<UTC time>.json`` with date, commit,
versions, processor and threads (`book.benchmark_results` states the form); the book shows the latest of each.
"""

import importlib
import os
import pkgutil
import sys
import time
from pathlib import Path

from ssrobust_lib.book.benchmark_results import VERDICTS, keep_results
from ssrobust_lib.devices import KERNEL_ENVIRONMENT


def names() -> list[str]:
    found = [module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)])]
    return sorted(name.removeprefix("bench_") for name in found if name.startswith("bench_"))


def main(arguments: list[str]) -> int:
    chosen = arguments or names()
    unknown = [choice for choice in chosen if choice.split(":")[0] not in names()]
    if unknown:
        print(f"unknown benchmark {', '.join(unknown)}: expected one of {', '.join(names())}", file=sys.stderr)
        return 2
    if any(os.environ.get(name) != value for name, value in KERNEL_ENVIRONMENT.items()):
        # malloc reads its settings when a process starts
        environment = {"OMP_NUM_THREADS": "1", **os.environ, **KERNEL_ENVIRONMENT}
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks", *arguments], environment)
    print(f"{'benchmark':10s} {'what':56s} {'measured':>10s} {'goal':>10s}")
    for choice in chosen:
        measure(choice)
    return 0


def measure(choice: str, folder: Path | None = None) -> Path:
    """Run one benchmark, print its rows and keep them; return the file."""
    name, *cases = choice.split(":")
    module = importlib.import_module(f"benchmarks.bench_{name}")
    started, began = time.time(), time.perf_counter()
    rows = []
    for row in module.run(*cases):
        verdict = VERDICTS[row["met"]] if row["goal"] else ""
        print(f"{name:10s} {row['name']:56s} {row['measured']:>10s} {row['goal']:>10s}  {verdict}".rstrip(), flush=True)
        rows.append(row)
    seconds = time.perf_counter() - began
    about = {"packages": getattr(module, "PEERS", ()), "threads": getattr(module, "THREADS", None)}
    return keep_results(choice, rows, started=started, seconds=seconds, folder=folder, **about)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
