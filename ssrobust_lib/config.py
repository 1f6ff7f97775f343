"""Profiles: every parameter of a run, read from one YAML file and checked before anything runs.

A profile is a name (a file in ``profiles/``) or a path to a file of the user's own. Its sections carry the names of
the notebooks' parameters (``data``, ``networks``, ``pretext``, ...), so that papermill injects them whole.
What leaves this module is an immutable `Profile`; what is wrong is said with file, line, field, expected and got.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from ssrobust_lib.control_arms import NORMAL_TRAINING, Arm, Curves, check_controls, check_curves
from ssrobust_lib.profile_fields import Amount, PositiveFloat, PositiveInt
from ssrobust_lib.profile_fields import Section as _Section
from ssrobust_lib.profile_paths import anchor_paths, is_manifest_file
from ssrobust_lib.registry import unknown_name

PROJECT = Path(__file__).resolve().parent.parent
PROFILES = PROJECT / "profiles"
SHARED_IMAGES = "cache"  # below runs/: decoded images, which no profile may take for its own folder
BENCHMARK_RESULTS = "benchmarks"  # below runs/ as well
COMPARISONS = "compare"  # and this
TASKS = ("pneumonia", "organs")
CORRUPTION_NAMES = (
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "contrast",
    "brightness",
    "gaussian_blur",
    "resolution",
)
REFERENCE_ARM = "scratch"
AA_ARM = "scratch_aa"
CALIBRATED = "calibrated"  # severities found by the search, not taken from elsewhere


class ProfileError(ValueError):
    """A profile that cannot be used; the message names the file, the field and what was expected."""


class SetChoice(_Section):
    """One data set in one part of the study, optionally a part of it chosen by metadata, under a name of its own.

    `set` is a name in ``data_manifests/``, or the path of a manifest of one's own (it ends in .yaml), relative to the
    profile's folder.
    """

    set: Annotated[str, Field(min_length=1)]
    where: dict[str, list[str]] = {}
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")] | None = None

    @property
    def label(self) -> str:
        """The name under which its samples appear in every table."""
        return self.name or set_name(self.set)


def set_name(chosen: str) -> str:
    """Name of a chosen set: itself, or a manifest file's name without its ending."""
    return Path(chosen).stem if is_manifest_file(chosen) else chosen


class TaskData(SetChoice):
    """What a task trains and is tested on. `pixel_mm`, `slice_mm`, `window_hu` are for CT.

    `validation` and `test` are counts or fractions of the labelled patients; of the rows of the label table where
    `split` is ``row``, and `validation` is then a fraction of what test leaves. The split ``published`` takes the
    set's own test images (VISCERAL: the gold corpus) and no number of them. With ``given``, the set says itself who is
    trained on, validated on and tested on, and `validation` and `test` are stated for a part that it does not give.

    `near_duplicates`: what is done with images of the training part and the pretext sets that show what an image of
    validation, test or another centre shows; `keep_out` lets nothing learn from them or from their patients, `report`
    only lists them (equal pixels, and patients on both sides of a published split, are kept out in any case).
    `on_unreadable`: what becomes of a run when images are missing or cannot be read; it goes on without them and lists
    them (`report`), or stops with the list once it knows all of them (`stop`).
    """

    split: Literal["patient", "published", "row", "given"] = "patient"
    validation: Amount | None = None
    test: Amount | None = None
    near_duplicates: Literal["keep_out", "report"] = "keep_out"
    label_fraction: Annotated[float, Field(gt=0, le=1)]
    pretext_sets: tuple[SetChoice, ...] = ()
    external_sets: tuple[SetChoice, ...] = ()
    image_size: PositiveInt
    pixel_mm: PositiveFloat | None = None
    slice_mm: PositiveFloat | None = None
    window_hu: tuple[float, float] | None = None
    on_unreadable: Literal["report", "stop"] = "report"

    @model_validator(mode="after")
    def _numbers_fit_the_split(self) -> "TaskData":
        if self.split == "given":
            return self
        if self.validation is None:
            raise ValueError(f"validation: the split {self.split!r} needs a number of patients")
        if self.split == "published" and self.test is not None:
            raise ValueError(f"test: the split published fixes the test set: leave the number out, got {self.test}")
        if self.split != "published" and self.test is None:
            raise ValueError(f"test: expected the number of test patients for the split {self.split}")
        return self


class Network(_Section):
    name: str
    options: dict[str, Any] = {}


class Training(_Section):
    """Settings of one training: Adam, learning rate cosine annealed from the first to the second value."""

    epochs: PositiveInt
    batch_size: PositiveInt
    steps_per_epoch: PositiveInt | None = None
    max_steps: PositiveInt | None = None
    learning_rate: PositiveFloat = 1e-3
    min_learning_rate: Annotated[float, Field(ge=0)] = 1e-6


class Pretext(_Section):
    """One pretext task: its own options, its training, and how many held-out images measure its accuracy."""

    options: dict[str, Any] = {}
    training: Training
    images: PositiveInt | None = None


class Closeness(_Section):
    """How close the search for a severity comes: to the floor in score, and as a share of the strength.

    In score no closer than the validation set can tell: one image of n moves the accuracy by 1 / n.
    """

    score: Annotated[float, Field(gt=0, lt=1)] = 0.01
    strength: Annotated[float, Field(gt=0, lt=1)] = 0.05


class Calibration(_Section):
    """The paper's rule (section 3.3): five severities, the worst kept above `floor` on validation images.

    `reference` says whose score that is: of the `weaker` arm, of the `stronger`, of normal training (`scratch`), or the
    `mean` of the arms. `steps`: levels 1 to 4 are equal steps of strength below level 5, or equal steps of score.
    `closeness` ends the search. `images`, by task: how many validation images are scored (whole scans of CT).

    `severities` is ``calibrated``, or takes strengths from elsewhere and only measures the scores there: a published
    table by name (``imagenet_c``, ``medmnist_c``), or the path of a `calibration.json` that another study has written,
    relative to the profile's folder. One word for all tasks, or one for each: ``{pneumonia: ...}``.
    """

    floor: Annotated[float, Field(gt=0, lt=1)] = 0.49
    reference: Literal["weaker", "scratch", "stronger", "mean"] = "weaker"
    steps: Literal["strength", "score"] = "strength"
    severities: str | dict[str, str] = CALIBRATED
    closeness: Closeness = Closeness()
    images: dict[str, PositiveInt] = {}

    @model_validator(mode="after")
    def _tasks_are_known(self) -> "Calibration":
        of_tasks = self.severities if isinstance(self.severities, dict) else {}
        for field, tasks in (("images", self.images), ("severities", of_tasks)):
            for task in tasks:
                if task not in TASKS:
                    raise ValueError(f"{field}: {unknown_name('task', task, list(TASKS))}")
        return self

    def severities_of(self, task: str) -> str:
        """What `severities` says of a task."""
        return self.severities if isinstance(self.severities, str) else self.severities.get(task, CALIBRATED)


class Surface(_Section):
    """For which severities (0: clean) HD95 and surface Dice are taken, and the tolerance of the latter in mm."""

    severities: tuple[Annotated[int, Field(ge=0, le=5)], ...] = (0, 3)
    tolerance_mm: PositiveFloat = 3.0


class Evaluation(_Section):
    """How test images are scored.

    `tumour` says what a tumour's voxels are where another centre's set marks them (KiTS19): with `both`, an organ is
    scored with them and, in a row of its own, without; `counted` scores them as organ alone, `apart` as background.
    `precision` of the networks: `auto` takes bfloat16 where the processor has it and where, on the first images, it
    changes at most the share `largest_change` of the decisions; `bf16` takes it in any case.
    """

    batch_size: PositiveInt = 64
    tumour: Literal["both", "counted", "apart"] = "both"
    precision: Literal["auto", "float32", "bf16"] = "float32"
    largest_change: Annotated[float, Field(ge=0, lt=1)] = 0.001
    surface: Surface = Surface()


class Leaks(_Section):
    """What leaks of a split of rows do, on a part of the X-rays (see `splits.leaks`); no seeds, no such cells.

    `patients` of the task's own set are used, at `image_size` pixels; `test` and `validation` are fractions of their
    label rows, `label_fraction` one of the training images. The pretext tasks take their options from `pretext`.
    """

    seeds: Annotated[int, Field(ge=0)] = 0
    patients: PositiveInt = 900
    test: Annotated[float, Field(gt=0, lt=1)] = 0.2
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1
    label_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.5
    image_size: PositiveInt = 32
    pretext: Training = Training(epochs=4, batch_size=32)
    finetune: Training = Training(epochs=5, batch_size=16)


class Statistics(_Section):
    """`margins`: the smallest difference that matters, per metric, fixed before the run."""

    bootstrap: PositiveInt = 2000
    margins: dict[str, PositiveFloat]


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
