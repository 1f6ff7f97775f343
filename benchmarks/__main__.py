"""`python -m benchmarks [NAME ...]`: run benchmarks and print one line per goal.

Each module ``bench_<name>.py`` offers ``run()``, which returns rows with name, measured (a text), goal (a text that
starts with <= or >=) and met. Ratios are measured within one run, against a named peer or a stated bound. A module with
several cases takes their names: ``python -m benchmarks study:smoke``.
"""

import importlib
import os
import pkgutil
import sys
from pathlib import Path

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
        name, *cases = choice.split(":")
        for row in importlib.import_module(f"benchmarks.bench_{name}").run(*cases):
            verdict = "met" if row["met"] else "missed"
            print(f"{name:10s} {row['name']:56s} {row['measured']:>10s} {row['goal']:>10s}  {verdict}", flush=True)
    return 0


sys.exit(main(sys.argv[1:]))
