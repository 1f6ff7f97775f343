"""`python -m benchmarks [NAME]`: run benchmarks and print one line per goal.

Each module ``bench_<name>.py`` offers ``run()``, which returns rows with name, measured, goal (a text that starts with
<= or >=) and met. Ratios are measured within one run, against a named peer or a stated bound.
"""

import importlib
import pkgutil
import sys
from pathlib import Path


def names() -> list[str]:
    found = [module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)])]
    return sorted(name.removeprefix("bench_") for name in found if name.startswith("bench_"))


def main(arguments: list[str]) -> int:
    chosen = arguments or names()
    unknown = [name for name in chosen if name not in names()]
    if unknown:
        print(f"unknown benchmark {', '.join(unknown)}: expected one of {', '.join(names())}", file=sys.stderr)
        return 2
    for name in chosen:
        for row in importlib.import_module(f"benchmarks.bench_{name}").run():
            print(
                f"{name:12s} {row['name']:52s} {row['measured']:>12s}  {row['goal']:>10s}  "
                f"{'met' if row['met'] else 'missed'}"
            )
    return 0


sys.exit(main(sys.argv[1:]))
