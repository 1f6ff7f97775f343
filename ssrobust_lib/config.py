"""Profiles: every parameter of a run, read from one YAML file and checked before anything runs.

A profile is a name (a file in ``profiles/``) or a path to a file of the user's own. Its sections carry the names of
the notebooks' parameters (``data``, ``networks``, ``pretext``, ...), so that papermill injects them whole.
What leaves this module is an immutable `Profile`; what is wrong is said with file, line, field, expected and got.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError, model_validator

from ssrobust_lib.control_arms import NORMAL_TRAINING, Arm, Curves, check_controls, check_curves
from ssrobust_lib.profile_fields import PositiveInt
from ssrobust_lib.profile_fields import Section as _Section
from ssrobust_lib.profile_paths import anchor_paths
from ssrobust_lib.profile_sections import (
    CORRUPTION_NAMES,
    TASKS,
    Calibration,
    Evaluation,
    Leaks,
    Network,
    Pretext,
    Statistics,
    TaskData,
    Training,
)
from ssrobust_lib.registry import unknown_name

PROJECT = Path(__file__).resolve().parent.parent
PROFILES = PROJECT / "profiles"
SHARED_IMAGES = "cache"  # below runs/: decoded images, which no profile may take for its own folder
BENCHMARK_RESULTS = "benchmarks"  # below runs/ as well
COMPARISONS = "compare"  # and this
REFERENCE_ARM = "scratch"
AA_ARM = "scratch_aa"


class ProfileError(ValueError):
    """A profile that cannot be used; the message names the file, the field and what was expected."""


class Profile(_Section):
    """One run of the study, whole."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    title: str
    study_seed: int
    seeds: PositiveInt
    arms: tuple[str, ...]
    threads: PositiveInt = 1
    devices: PositiveInt = 1
    corruptions: tuple[str, ...] = CORRUPTION_NAMES
    data_root: str | None = None
    phantoms: dict[str, dict[str, Any]] = {}
    data: dict[str, TaskData]
    networks: dict[str, Network]
    pretext: dict[str, dict[str, Pretext]]
    finetune: dict[str, Training]
    calibration: Calibration = Calibration()
    evaluation: Evaluation = Evaluation()
    leaks: Leaks = Leaks()
    statistics: Statistics
    controls: dict[str, Arm] = {}
    curves: Curves = Curves()

    @model_validator(mode="after")
    def _consistent(self) -> "Profile":
        if self.name == SHARED_IMAGES:
            raise ValueError(f"name: runs/{SHARED_IMAGES} holds the decoded images of all runs: choose another name")
        if self.name == BENCHMARK_RESULTS:
            raise ValueError(f"name: runs/{BENCHMARK_RESULTS} holds what was benchmarked: choose another name")
        if self.name == COMPARISONS:
            raise ValueError(f"name: runs/{COMPARISONS} holds comparisons of runs: choose another name")
        if not self.data:
            raise ValueError("data: expected at least one task (pneumonia, organs)")
        for section in ("data", "networks", "pretext", "finetune"):
            for task in getattr(self, section):
                if task not in TASKS:
                    raise ValueError(f"{section}: {unknown_name('task', task, list(TASKS))}")
            missing = [task for task in self.data if task not in getattr(self, section)]
            if missing:
                raise ValueError(f"{section}: nothing is said about {', '.join(missing)}, which data lists")
        for corruption in self.corruptions:
            if corruption not in CORRUPTION_NAMES:
                raise ValueError(f"corruptions: {unknown_name('corruption', corruption, list(CORRUPTION_NAMES))}")
        if not self.corruptions or len(set(self.corruptions)) != len(self.corruptions):
            raise ValueError(f"corruptions: expected at least one and each once, got {list(self.corruptions)}")
        if REFERENCE_ARM not in self.arms or len(set(self.arms)) != len(self.arms):
            raise ValueError(f"arms: expected distinct names with {REFERENCE_ARM!r} among them, got {list(self.arms)}")
        check_controls(self)
        if not self.main_pretext_tasks:
            raise ValueError(f"arms: expected a pretext task to compare with {REFERENCE_ARM!r}, got {list(self.arms)}")
        for task in self.data:
            wanted = dict.fromkeys(str(self.arm(arm).pretext) for arm in self.pretext_tasks)
            unset = [name for name in wanted if name not in self.pretext[task]]
            if unset:
                raise ValueError(
                    f"pretext.{task}: no settings for {', '.join(unset)}, which arms lists "
                    "(what is no pretext task is described under controls)"
                )
        check_curves(self)
        for task, data in self.data.items():
            names = [choice.label for choice in (data, *data.pretext_sets, *data.external_sets)]
            twice = [name for name in names if names.count(name) > 1]
            if twice:
                raise ValueError(f"data.{task}: two sets are called {twice[0]!r}: give one of them a name of its own")
        if self.leaks.seeds and "pneumonia" not in self.data:
            raise ValueError("leaks: asks for the task pneumonia, which data does not list; remove the section")
        if "organs" in self.data:
            data = self.data["organs"]
            if data.pixel_mm is None or data.slice_mm is None or data.window_hu is None:
                raise ValueError("data.organs: pixel_mm, slice_mm and window_hu are needed for CT")
        return self

    @property
    def tasks(self) -> list[str]:
        """Tasks in the paper's order."""
        return [task for task in TASKS if task in self.data]

    @property
    def pretext_tasks(self) -> list[str]:
        """Arms that start from a pretext task, those of them that are controls included."""
        return [arm for arm in self.arms if self.arm(arm).pretext is not None]

    @property
    def main_arms(self) -> list[str]:
        """Arms that the paper's question is about: no control arm, and no repetition of normal training."""
        return [arm for arm in self.arms if arm != AA_ARM and arm not in self.controls]

    @property
    def main_pretext_tasks(self) -> list[str]:
        """Pretext tasks that are arms under their own names."""
        return [arm for arm in self.pretext_tasks if arm not in self.controls]

    def arm(self, name: str) -> Arm:
        """How the networks of an arm are trained; a name that is no control's is that of a pretext task."""
        if self.is_normal_training(name):
            return NORMAL_TRAINING
        return self.controls.get(name) or Arm(pretext=name)

    def is_normal_training(self, arm: str) -> bool:
        """Whether an arm is the paper's normal training, or its repetition with other weights."""
        return arm in (REFERENCE_ARM, AA_ARM)

    def pretext_of(self, task: str, arm: str) -> Pretext:
        """Settings of the pretext task that an arm starts from."""
        return self.pretext[task][str(self.arm(arm).pretext)]

    def sets(self, task: str) -> list[str]:
        """Names of the sets that a task reads: first its own, then pretext and external ones."""
        data = self.data[task]
        return list(dict.fromkeys([data.set, *(s.set for s in (*data.pretext_sets, *data.external_sets))]))


def profile_path(name_or_path: str | Path) -> Path:
    """Find a profile's file: an existing path, or a name in ``profiles/``.

    Raises
    ------
    ProfileError
        Neither a file nor a known name; lists the known ones.
    """
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        if path.is_file():
            return path.resolve()
        raise ProfileError(f"profile {str(path)!r}: no such file (expected a YAML file; see profiles/demo.yaml)")
    known = sorted(p.stem for p in PROFILES.glob("*.yaml"))
    if str(name_or_path) not in known:
        raise ProfileError(str(unknown_name("profile", str(name_or_path), known)) + " A path ends in .yaml.")
    return PROFILES / f"{name_or_path}.yaml"


def load_profile(name_or_path: str | Path, **replaced: Any) -> Profile:
    """Read and check a profile; `replaced` sections (a notebook's parameters) take the place of the file's.

    Raises
    ------
    ProfileError
        With file, line, field, expected and got for each fault.
    """
    path = profile_path(name_or_path)
    text = path.read_text(encoding="utf-8")
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ProfileError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise ProfileError(f"{path}: expected a mapping of sections, got {type(values).__name__}")
    values.update(replaced)
    anchor_paths(values, path.parent)
    try:
        # through JSON, where lists are allowed for tuples but nothing else is converted
        return Profile.model_validate_json(json.dumps(values))
    except ValidationError as error:
        raise ProfileError("\n".join(_fault(path, text, fault) for fault in error.errors())) from None


def _fault(path: Path, text: str, fault: Any) -> str:
    field = ".".join(str(part) for part in fault["loc"]) or "profile"
    line = _line_of(text, fault["loc"])
    where = f"{path}:{line}" if line else str(path)
    if fault["type"] == "extra_forbidden":
        return f"{where}: {field}: unknown parameter; remove it or correct its name"
    got = "" if fault["type"] in ("missing", "value_error") else f", got {fault['input']!r}"
    return f"{where}: {field}: {fault['msg'].removeprefix('Value error, ')}{got}"


def _line_of(text: str, location: tuple[Any, ...]) -> int | None:
    """Line (from 1) of the deepest part of `location` that the YAML text holds."""
    node, line = yaml.compose(text), None
    for part in location:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == str(part)]
            if not found:
                break
            line, node = found[0][0].start_mark.line + 1, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line
