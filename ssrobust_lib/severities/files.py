"""Severities that come from elsewhere, and the file that carries them from one study to another.

Enters: what a profile says under `calibration.severities`, or a finished calibration. Leaves: strengths by corruption
with the words for where they come from, or ``calibration.json``: strengths with units, the rule and its parameters,
networks, validation images and versions behind them (paper, section 3.3).

A file of someone else's needs `format`, `task`, and for each corruption `unit` and five `strengths`; what else it says
is kept as provenance.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ssrobust_lib.config import Profile, ProfileError
from ssrobust_lib.profile_paths import is_severity_file
from ssrobust_lib.profile_sections import CALIBRATED, TASKS, Calibration
from ssrobust_lib.registry import unknown_name

FORMAT = "ssrobust-severities-1"
FILE = "calibration.json"


class Levels(BaseModel):
    """Strengths of one corruption's severities 1 to 5; scores and reasons of the study they come from may follow."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    unit: str
    strengths: Annotated[list[float], Field(min_length=5, max_length=5)]


class SeverityFile(BaseModel):
    """What a file of severities must say."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    format: Literal["ssrobust-severities-1"]
    task: str
    corruptions: Annotated[dict[str, Levels], Field(min_length=1)]


@dataclass(frozen=True)
class GivenStrengths:
    """Strengths that nobody searches here.

    Attributes
    ----------
    source : where they come from, in words
    strengths : {corruption: five strengths, rising}
    content : of the file, as read; empty for a published table
    """

    source: str
    strengths: Mapping[str, tuple[float, ...]]
    content: Mapping[str, Any]


def given_strengths(profile: Profile, task: str) -> GivenStrengths | None:
    """Strengths that a profile takes from elsewhere for a task, checked; None where it calibrates.

    Raises
    ------
    ProfileError
        An unknown table; a file that is missing, is not JSON, or is not as stated (with file and field); a corruption
        of the profile of which table or file says nothing.
    """
    from ssrobust_lib.corruptions import PUBLISHED_STRENGTHS, PUBLISHED_TITLES

    chosen = profile.calibration.severities_of(task)
    if chosen == CALIBRATED:
        return None
    if is_severity_file(chosen):
        file = read_severities(Path(chosen), task)
        strengths = {name: tuple(levels.strengths) for name, levels in file.corruptions.items()}
        given = GivenStrengths(f"the file {Path(chosen).name}", strengths, file.model_dump())
    elif chosen in PUBLISHED_STRENGTHS:
        given = GivenStrengths(PUBLISHED_TITLES[chosen], PUBLISHED_STRENGTHS[chosen].get(task, {}), {})
    else:
        known = [CALIBRATED, *PUBLISHED_STRENGTHS]
        hint = f"{unknown_name('severities', chosen, known)} A path of a file ends in .json."
        raise ProfileError(f"calibration.severities: {hint}")
    silent = [name for name in profile.corruptions if name not in given.strengths]
    if silent:
        raise ProfileError(
            f"calibration.severities: {given.source} says nothing about {', '.join(silent)} for the task {task}: "
            "leave them out of corruptions, or choose other severities"
        )
    return given


def measured_strengths(rule: Calibration, task: str) -> int:
    """Strengths of one corruption that a calibration measures: its levels, and of a search what it usually takes."""
    if rule.severities_of(task) != CALIBRATED:
        return 5
    return 20 if rule.steps == "score" else 10


def read_severities(path: Path, task: str) -> SeverityFile:
    """Read a file of severities for a task.

    Raises
    ------
    ProfileError
        With file and field, what was expected and what came.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProfileError(f"calibration.severities: {path}: no such file (a calibration writes {FILE})") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ProfileError(f"{path}: expected a file of severities in JSON, which it is not: {error}") from None
    try:
        file = SeverityFile.model_validate(content)
    except ValidationError as error:
        faults = [
            f"{path}: {'.'.join(map(str, fault['loc'])) or 'file'}: {fault['msg']}, got {_short(fault['input'])}"
            for fault in error.errors()
        ]
        raise ProfileError("\n".join(faults)) from None
    faults = list(_faults(file, task))
    if faults:
        raise ProfileError("\n".join(f"{path}: {fault}" for fault in faults))
    return file


def _faults(file: SeverityFile, task: str) -> list[str]:
    """What a file of the right form says wrongly, field by field."""
    from ssrobust_lib.corruptions import CORRUPTIONS

    faults = []
    if file.task not in TASKS:
        faults.append(f"task: {unknown_name('task', file.task, list(TASKS))}")
    elif file.task != task:
        faults.append(
            f"task: expected {task!r}, got {file.task!r}: a file is about one task; name one for each, "
            "severities: {pneumonia: ..., organs: ...}"
        )
    for name, levels in file.corruptions.items():
        field = f"corruptions.{name}"
        if name not in CORRUPTIONS:
            faults.append(f"{field}: {unknown_name('corruption', name, CORRUPTIONS.names())}")
            continue
        kind, strengths = CORRUPTIONS[name], levels.strengths
        if levels.unit != kind.unit:
            faults.append(f"{field}.unit: expected {kind.unit!r}, got {levels.unit!r}; convert the strengths")
        if not all(0 < strength <= kind.strongest for strength in strengths):
            faults.append(f"{field}.strengths: expected above 0 and up to {kind.strongest:g}, got {strengths}")
        elif not all(weaker < stronger for weaker, stronger in zip(strengths, strengths[1:], strict=False)):
            faults.append(f"{field}.strengths: expected each above the one before, got {strengths}")
    return faults


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
