"""`python -m ssrobust_lib.phantoms xrays|scans FOLDER`: images with which the examples of own data can be tried."""

import argparse
import sys
from pathlib import Path

from ssrobust_lib.phantoms.own_images import write_own_scans, write_own_xrays
from ssrobust_lib.phantoms.sets import DirectoryTakenError

WRITERS = {"xrays": write_own_xrays, "scans": write_own_scans}


def main(arguments: list[str] | None = None) -> int:
    """Write one of the examples; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m ssrobust_lib.phantoms", description=__doc__)
    parser.add_argument("what", choices=sorted(WRITERS))
    parser.add_argument("folder", type=Path)
    chosen = parser.parse_args(arguments)
    try:
        folder = WRITERS[chosen.what](chosen.folder)
    except (DirectoryTakenError, OSError) as error:
        print(f"ssrobust: {error}", file=sys.stderr)
        return 1
    print(f"phantoms of made-up patients: {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
