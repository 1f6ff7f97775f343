"""Why samples are left out of a run before any image is opened, told apart: on purpose, or because files are not there.

In: a manifest, the set's folder, and what its loader leaves out. Out: the same rows in three parts.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from ssrobust_lib.datasets.loader import LOADERS

if TYPE_CHECKING:
    from ssrobust_lib.datasets.manifest import Manifest

Rows = list[dict[str, str]]


def sort_left_out(manifest: "Manifest", root: Path, left_out: pd.DataFrame) -> tuple[Rows, Rows, Rows]:
    """Tell apart why samples are left out of a run.

    Parameters
    ----------
    root : the set's folder
    left_out : sample_id, path, reason (see `index_samples`)

    Returns
    -------
    known_bad : the manifest says so
    by_rule : the image is there, and the loader's rule passes it over
    lacking : something of it is not there
    """
    bad = {f"{manifest.name}/{case.sample}" for case in manifest.known_bad}
    selects = LOADERS[manifest.loader].leaves_out_by_rule
    parts: tuple[Rows, ...] = ([], [], [])
    for row in left_out[["sample_id", "path", "reason"]].astype(str).to_dict("records"):
        ruled = selects and (root / row["path"]).exists()
        parts[0 if row["sample_id"] in bad else 1 if ruled else 2].append({str(key): row[key] for key in row})
    return parts[0], parts[1], parts[2]


def without_name(path: str, reason: str) -> str:
    """A reader's reason without the file's name before it, for a line that begins with the path.

    >>> without_name("images/a.png", "a.png: an empty file")
    'an empty file'
    """
    return reason.removeprefix(f"{Path(path).name}: ")
