"""Paths in a profile: the user's own manifests and files of severities, relative to the profile's folder.

Enters: a profile's values as YAML gives them. Leaves: the same with absolute paths. Faults are left for later.
"""

from pathlib import Path
from typing import Any


def is_manifest_file(chosen: str) -> bool:
    """Whether a chosen set is a manifest file of the user's own rather than a name in ``data_manifests/``."""
    return Path(chosen).suffix in (".yaml", ".yml")


def is_severity_file(chosen: str) -> bool:
    """Whether severities are those of a file rather than calibrated or of a published table."""
    return Path(chosen).suffix == ".json"


def anchor_paths(values: dict[str, Any], folder: Path) -> None:
    """Make the paths in a profile absolute.

    Parameters
    ----------
    values : the profile as YAML gives it; changed in place
    folder : of the profile
    """
    _anchor_manifests(values.get("data"), folder)
    _anchor_severities(values.get("calibration"), folder)


def _anchor_manifests(data: Any, folder: Path) -> None:
    for task in data.values() if isinstance(data, dict) else ():
        if not isinstance(task, dict):
            continue
        others = [task.get(section) for section in ("pretext_sets", "external_sets")]
        for choice in (task, *(choice for part in others if isinstance(part, list | tuple) for choice in part)):
            chosen = choice.get("set") if isinstance(choice, dict) else None
            if isinstance(chosen, str) and is_manifest_file(chosen):
                choice["set"] = _absolute(chosen, folder)


def _anchor_severities(calibration: Any, folder: Path) -> None:
    chosen = calibration.get("severities") if isinstance(calibration, dict) else None
    if isinstance(chosen, dict):
        calibration["severities"] = {task: _anchored(of_task, folder) for task, of_task in chosen.items()}
    elif chosen is not None:
        calibration["severities"] = _anchored(chosen, folder)


def _anchored(chosen: Any, folder: Path) -> Any:
    return _absolute(chosen, folder) if isinstance(chosen, str) and is_severity_file(chosen) else chosen


def _absolute(path: str, folder: Path) -> str:
    return str((folder / Path(path).expanduser()).resolve())
