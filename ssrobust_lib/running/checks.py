"""Everything of a profile that can be checked before anything runs: names, options, folders, space on the disk."""

import dataclasses
import inspect
import shutil
from typing import TYPE_CHECKING

from ssrobust_lib.config import PROJECT, Profile, ProfileError
from ssrobust_lib.registry import unknown_name
from ssrobust_lib.sources import image_folder

if TYPE_CHECKING:
    import torch


def check_profile(profile: Profile) -> None:
    """Check names and options against the registries, and that every folder of real images is there.

    Raises
    ------
    ProfileError
        Names the field, what was expected, and what to do.
    ManifestError
        An unknown data set, or a folder that does not hold it.
    """
    for task in profile.tasks:
        for name in profile.sets(task):
            _check_set(profile, name, task)
        _check_listing(profile, task)
        _check_network(profile, task)
        for arm in profile.pretext_tasks:
            _check_pretext(profile, task, arm)
        _check_amounts(profile, task)
    if profile.leaks.seeds:
        from ssrobust_lib.cells.leak import check_leaks

        check_leaks(profile)
    _check_calibration(profile)
    _check_margins(profile)
    unused = [name for name in profile.phantoms if not any(name in profile.sets(task) for task in profile.tasks)]
    if unused:
        raise ProfileError(f"phantoms: {', '.join(unused)} is used by no task; remove it or name it in data")
    _check_space(profile)


def _check_set(profile: Profile, name: str, task: str) -> None:
    from ssrobust_lib.datasets import LOADERS
    from ssrobust_lib.datasets.manifest import load_manifest

    kind = LOADERS[load_manifest(name).loader].kind
    expected = "xray" if task == "pneumonia" else "ct"
    if kind != expected:
        raise ProfileError(f"data.{task}: {name} holds {kind} images; expected a set of {expected} images")
    if name in profile.phantoms:
        from ssrobust_lib.phantoms.writers import PHANTOM_WRITERS

        if name not in PHANTOM_WRITERS:
            raise ProfileError(f"phantoms: {unknown_name('phantom set', name, PHANTOM_WRITERS.names())}")
        known = inspect.signature(PHANTOM_WRITERS[name]).parameters
        options = [option for option in known if option not in ("root", "seed", "workers", "progress")]
        for option in profile.phantoms[name]:
            if option not in options:
                raise ProfileError(f"phantoms.{name}: {unknown_name('option', option, options)}")
    image_folder(profile, name)


def _check_listing(profile: Profile, task: str) -> None:
    """Choose and split from the sets' listings alone, so that what cannot be done is told before anything runs.

    Tables that contradict themselves and values of `where` that no image has are among it.
    """
    from ssrobust_lib.cells.data import split_from_listing

    split_from_listing(profile, task)


def _check_network(profile: Profile, task: str) -> None:
    import torch

    from ssrobust_lib.networks import build_network
    from ssrobust_lib.seeds import torch_rng

    network = profile.networks[task]
    try:
        built = build_network(network.name, 1, torch_rng("check"), **network.options)
    except (KeyError, TypeError, ValueError) as error:
        raise ProfileError(f"networks.{task}: {error}") from error
    try:
        with torch.inference_mode():
            built.eval()(_blank_image(profile, task))
    except (ValueError, RuntimeError) as error:
        raise ProfileError(f"data.{task}.image_size: {error}") from error


def _check_pretext(profile: Profile, task: str, arm: str) -> None:
    from ssrobust_lib.pretext import PRETEXT_TASKS
    from ssrobust_lib.seeds import torch_rng

    name = str(profile.arm(arm).pretext)
    if name not in PRETEXT_TASKS:
        known = ["scratch", "scratch_aa", *PRETEXT_TASKS.names()]
        raise ProfileError(f"arms: {unknown_name('arm', name, known)}")
    options_class = PRETEXT_TASKS[name].options_class
    known = [field.name for field in dataclasses.fields(options_class)]
    options = profile.pretext_of(task, arm).options
    for option in options:
        if option not in known:
            raise ProfileError(f"pretext.{task}.{name}.options: {unknown_name('option', option, known)}")
    try:
        chosen = options_class(**options)
    except (TypeError, ValueError) as error:
        raise ProfileError(f"pretext.{task}.{name}.options: {error}") from error
    try:
        PRETEXT_TASKS[name].make_batch(_blank_image(profile, task), chosen, torch_rng("check"))
    except ValueError as error:
        raise ProfileError(f"pretext.{task}.{name}: {error}") from error


def _check_amounts(profile: Profile, task: str) -> None:
    """More labels than there are to train on would be told only when the curve's networks are trained."""
    from ssrobust_lib.running.plan import train_patients

    there = train_patients(profile, task)
    too_many = [amount for amount in profile.curves.labels.get(task, ()) if type(amount) is int and amount > there]
    if too_many and task == "organs":
        raise ProfileError(f"curves.labels.{task}: {too_many[0]} scans asked for, {there} are left to train on")


def _blank_image(profile: Profile, task: str) -> "torch.Tensor":
    """One image in the size of the task's inputs, float32 (1, 1, H, W), to try what takes such images."""
    import torch

    side = profile.data[task].image_size
    return torch.zeros(1, 1, side, side)


def _check_calibration(profile: Profile) -> None:
    """Severities that come from a table or a file: known, readable, and about every corruption."""
    from ssrobust_lib.severities.files import given_strengths

    for task in profile.tasks:
        given_strengths(profile, task)


def _check_margins(profile: Profile) -> None:
    """A margin of a misspelt metric would be missed only once everything is computed."""
    from ssrobust_lib.evaluation.metrics import CLASSIFICATION_METRICS, SEGMENTATION_METRICS, SURFACE_METRICS

    metrics = [*CLASSIFICATION_METRICS.names(), *SEGMENTATION_METRICS.names(), *SURFACE_METRICS, "missed"]
    for name in profile.statistics.margins:
        if name.removeprefix("external ").removesuffix(" gap") not in metrics:
            known = [*metrics, *(f"external {metric}" for metric in metrics)]
            raise ProfileError(f"statistics.margins: {unknown_name('metric', name, known)}")


def _check_space(profile: Profile) -> None:
    from ssrobust_lib.running.plan import work
    from ssrobust_lib.study import Study

    study = Study(profile)
    needed = sum(work(study, cell).megabytes for cell in study.all_cells if not study.finished(cell))
    free = shutil.disk_usage(PROJECT).free / 1e6
    if needed > free:
        raise ProfileError(
            f"profile {profile.name!r} will write about {needed / 1000:.1f} GB, but {free / 1000:.1f} GB are "
            f"free in {PROJECT}: "
            "free some, or move the project"
        )
