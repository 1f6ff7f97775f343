"""Arms and curves that take apart what the paper's comparison mixes (its sections 1 and 3.1), as sections of a profile.

Self-supervised training differs from normal training in three things at once: the puzzles, more images, more steps. A
control arm changes one of them alone. What enters: the profile's sections ``controls`` and ``curves``. What leaves:
`Arm`, of which every arm's network is trained, and `Curves`, the amounts of images along which two arms are compared.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from ssrobust_lib.profile_fields import ALL, AmountOrAll, PositiveInt, Section, Severity, Share
from ssrobust_lib.registry import unknown_name

if TYPE_CHECKING:
    from ssrobust_lib.config import Profile

LABELS, POOL = "labels", "pool"
AXES = (LABELS, POOL)


class Augmentation(Section):
    """Random movements of a training image: angle in degrees, shift and scale as shares of the image and of one.

    Each is drawn uniformly between minus and plus the value, for every image anew; the scale around one. No brightness,
    contrast, noise or blur: those are what the networks are tested with. Angle: nnU-Net's for elongated 2-D images
    (Isensee et al. 2021); shift and scale: the chest X-ray networks of Cohen et al. (2020). No mirror images, since
    left and right are structures of their own.
    """

    rotation_degrees: Annotated[float, Field(ge=0, le=180)] = 15.0
    shift: Annotated[float, Field(ge=0, lt=1)] = 0.15
    scale: Annotated[float, Field(ge=0, lt=1)] = 0.15


class Arm(Section):
    """How an arm's network is trained; with nothing set, it is normal training.

    `pretext`: the pretext task whose encoder it starts from; without one, from random weights. `pool`: the task learns
    from the seed's unlabelled images, or from its labelled ones alone (without their labels), with as many steps either
    way. `as_long_as`: an arm with a pretext task; this one's fine-tuning takes as many optimiser steps as that one's
    pretraining and fine-tuning together. `augmentation`: of the images it is fine-tuned on.
    """

    pretext: str | None = None
    pool: Literal["unlabelled", "labelled"] = "unlabelled"
    as_long_as: str | None = None
    augmentation: Augmentation | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Arm":
        if self == Arm.model_construct():
            raise ValueError("nothing is set, so it would repeat normal training: set pretext, as_long_as, ...")
        if self.pool == "labelled" and self.pretext is None:
            raise ValueError("pool: says what a pretext task learns from; name the task under pretext")
        return self


NORMAL_TRAINING = Arm.model_construct()


class Curves(Section):
    """Scores against the number of images: labelled ones (`labels`), or those of the pretext task (`pool`), by task.

    `labels`: counts (X-rays or scans), fractions of the training images, or the word ``all``; each amount holds the
    smaller ones. `pool`: shares of a seed's pretext pool, beside none and all of it, which are the arms themselves.
    `arms` are trained at every number of labels; those with a pretext task at every share of the pool. The first
    `seeds` seeds of the run are used. Networks are scored on clean images and under the run's corruptions at
    `severities`.
    """

    arms: tuple[str, ...] = ("scratch", "jigsaw")
    seeds: PositiveInt = 3
    labels: dict[str, tuple[AmountOrAll, ...]] = {}
    pool: dict[str, tuple[Share, ...]] = {}
    severities: tuple[Severity, ...] = (3,)

    def __bool__(self) -> bool:
        """Whether there is anything to compute."""
        return any(self.labels.values()) or any(self.pool.values())


def check_controls(profile: "Profile") -> None:
    """Raise ValueError where control arms do not fit the rest of a profile; names the arm and what is expected."""
    for name, arm in profile.controls.items():
        if name not in profile.arms:
            raise ValueError(f"controls.{name}: not among the arms {list(profile.arms)}; add it there or remove it")
        if profile.is_normal_training(name):
            raise ValueError(f"controls.{name}: this name is taken by normal training; choose another")
        other = profile.main_pretext_tasks
        if arm.as_long_as is not None and arm.as_long_as not in other:
            raise ValueError(
                f"controls.{name}.as_long_as: {unknown_name('arm with a pretext task', arm.as_long_as, other)}"
            )
        if arm.as_long_as is not None and arm.pretext is not None:
            raise ValueError(f"controls.{name}: as_long_as lengthens normal training; leave out pretext or as_long_as")


def check_curves(profile: "Profile") -> None:
    """Raise ValueError where curves do not fit the rest of a profile; names the field and what is expected."""
    curves = profile.curves
    for arm in curves.arms:
        if curves and arm not in profile.arms:
            raise ValueError(f"curves.arms: {unknown_name('arm', arm, list(profile.arms))}")
    if curves and curves.arms[:1] != ("scratch",):
        raise ValueError(
            f"curves.arms: expected 'scratch' first, with which the others are compared, got {list(curves.arms)}"
        )
    if curves and curves.seeds > profile.seeds:
        raise ValueError(f"curves.seeds: the run has {profile.seeds} seeds, got {curves.seeds}")
    if curves and not curves.severities:
        raise ValueError("curves.severities: expected at least one of 1 to 5")
    if any(curves.pool.values()) and not [arm for arm in curves.arms if profile.arm(arm).pretext]:
        raise ValueError(
            f"curves.arms: none of {list(curves.arms)} has a pretext task, whose pool could be made smaller"
        )
    for axis in AXES:
        for task, amounts in getattr(curves, axis).items():
            if task not in profile.data:
                raise ValueError(f"curves.{axis}: {unknown_name('task', task, profile.tasks)}")
            if len(set(map(repr, amounts))) != len(amounts):
                raise ValueError(f"curves.{axis}.{task}: expected each amount once, got {list(amounts)}")
            kinds = {type(amount) for amount in amounts if amount != ALL}
            if len(kinds) > 1:
                raise ValueError(f"curves.{axis}.{task}: expected counts or fractions, not both, got {list(amounts)}")
