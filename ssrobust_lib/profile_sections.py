"""The sections of a profile: what each field means, and between which limits.

Enters: one section of a profile's YAML file, as read. Leaves: an immutable model, or what is wrong with it. `config`
puts the sections together and checks them against each other.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ssrobust_lib.profile_fields import Amount, PositiveFloat, PositiveInt
from ssrobust_lib.profile_fields import Section as _Section
from ssrobust_lib.profile_paths import is_manifest_file
from ssrobust_lib.registry import unknown_name

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
CALIBRATED = "calibrated"  # severities found by the search, not taken from elsewhere


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
