"""A profile tried out before its images are there: every notebook, two steps of each training, full image size.

Enters: any profile. Leaves: a profile `<name>-rehearsal` in which a handful of phantoms, laid out and as large as the
published images, stands for every set that has a phantom writer. Networks, image size, batch sizes and pretext tasks
stay as they are, so that a rehearsal finds what would fail or not fit into memory; only lengths and counts shrink. Sets
without a writer stay real. What a rehearsal measures means nothing.
"""

import inspect
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from ssrobust_lib.config import PROJECT, Profile
from ssrobust_lib.phantoms.writers import PHANTOM_WRITERS
from ssrobust_lib.profile_fields import ALL
from ssrobust_lib.profile_sections import SetChoice, TaskData

STEPS = 2  # of every training
# patients or scans: (validation, test, of each external set)
XRAY_COUNTS = (6, 8, 8)
CT_COUNTS = (1, 2, 2)
# The network sees one slice of each scan, the mean of all: a 512-pixel U-Net is slow without a GPU.
SLICE_MM = 1000.0
# Images as large as published, slices far apart: VISCERAL's close enough to meet the smallest of the twenty structures,
# or its scans would count as incomplete; the others' as far as the loaders believe once the
# writers have varied them.
PUBLISHED_SIZE: dict[str, dict[str, Any]] = {
    "rsna": {"size": 1024},
    "rsna_test": {"size": 1024},
    "kermany": {"size": 1024},
    "nih": {"size": 1024},
    "visceral": {"pixel_mm": 0.9, "slice_mm": 25.0, "matrix": 512},
    "kits19": {"pixel_mm": 0.85, "slice_mm": 40.0, "matrix": 512},
    "luna16": {"pixel_mm": 0.75, "slice_mm": 40.0, "matrix": 512},
    "lits": {"pixel_mm": 0.8, "slice_mm": 40.0, "matrix": 512},
    "cad_pe": {"pixel_mm": 0.75, "slice_mm": 40.0, "matrix": 512},
    "exact09": {"pixel_mm": 0.75, "slice_mm": 40.0, "matrix": 512},
    "btcv": {"pixel_mm": 0.8, "slice_mm": 40.0, "matrix": 512},
    "chaos": {"pixel_mm": 0.75, "slice_mm": 40.0, "matrix": 512},
    "sliver07": {"pixel_mm": 0.8, "slice_mm": 40.0, "matrix": 512},
}
# Option of a set's writer that says how many of its scans are the published test set.
PUBLISHED_TEST = {"visceral": "gold"}


def rehearsal(profile: Profile) -> Profile:
    """Derive the rehearsal of a profile.

    Parameters
    ----------
    profile : Profile
        Any profile, of phantoms or of real images.

    Returns
    -------
    Profile named `<name>-rehearsal`, with one seed and one thread.
    """
    values = profile.model_dump(mode="json", exclude_unset=True)
    phantoms: dict[str, dict[str, Any]] = {}
    for task in profile.tasks:
        values["data"][task], wanted = _data(profile, task)
        for name, options in wanted.items():
            key = _count_option(name)
            phantoms[name] = {**options, key: max(options[key], phantoms.get(name, options)[key])}
        values["finetune"][task] = _short(values["finetune"][task])
        for arm in values["pretext"][task].values():
            arm["training"] = _short(arm["training"])
            arm.pop("images", None)
    values.update(
        name=f"{profile.name}-rehearsal",
        title=f"rehearsal of {profile.name}: {STEPS} steps of every training on a few images of full size",
        seeds=1,
        threads=1,
        devices=1,
        phantoms=phantoms,
    )
    if profile.curves:
        values["curves"]["seeds"] = 1
        values["curves"]["labels"] = {task: [ALL] for task in profile.curves.labels}  # there is a handful of patients
        values["curves"]["pool"] = {task: list(shares[:1]) for task, shares in profile.curves.pool.items()}
    values.pop("leaks", None)  # among so few patients nothing leaks
    values.setdefault("calibration", {}).update(closeness={"score": 0.5, "strength": 0.5}, images={})  # few strengths
    values["statistics"]["bootstrap"] = min(profile.statistics.bootstrap, 200)
    return Profile.model_validate_json(json.dumps(values))  # through JSON, where lists are allowed for tuples


def write_rehearsal(profile: Profile, runs: Path | None = None) -> Path:
    """Write a profile's rehearsal into its run's folder, ``runs/<name>-rehearsal/profile.yaml``; return the file."""
    derived = rehearsal(profile)
    path = (runs or PROJECT / "runs") / derived.name / "profile.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(derived.model_dump(mode="json", exclude_unset=True), sort_keys=False)
    path.write_text(f"# Made by `ssrobust rehearse {profile.name}`.\n{text}", encoding="utf-8")
    return path


def _data(profile: Profile, task: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The task's data section with small counts, and the phantoms that it needs."""
    data = profile.data[task]
    xray = task == "pneumonia"
    validation, test, external = XRAY_COUNTS if xray else CT_COUNTS
    tune, learn = profile.finetune[task].batch_size, _pretext_batch(profile, task)
    parts = {section: list(_once(getattr(data, section), data)) for section in ("pretext_sets", "external_sets")}
    others = parts["pretext_sets"]
    # full batches, so that a rehearsal needs the memory of the real training
    train = tune + (1 if others else learn)
    counts = {"pretext_sets": -(-learn // max(1, len(others))), "external_sets": external}
    values = data.model_dump(mode="json", exclude_unset=True)
    phantom = data.set in PHANTOM_WRITERS
    published = data.split == "published" and (data.set in PUBLISHED_TEST or not phantom)
    if data.split != "given" or phantom:  # a set that gives its own split stays as it is
        values |= {"validation": validation} if published else {"validation": validation, "test": test}
        if data.split in ("published", "given") and not published:  # the phantoms of this set come without one
            values["split"] = "patient"
    if not xray:
        values["slice_mm"] = SLICE_MM
    phantoms: dict[str, dict[str, Any]] = {}
    if data.set in PHANTOM_WRITERS:
        values["label_fraction"] = tune / train
        values.pop("where", None)
        phantoms[data.set] = _phantoms(data.set, train + validation + test)
        if published:
            phantoms[data.set][PUBLISHED_TEST[data.set]] = test
    for section, choices in parts.items():
        found = [choice.set for choice in choices if choice.set in PHANTOM_WRITERS]
        phantoms |= {name: _phantoms(name, counts[section]) for name in found}
        values[section] = [_whole(choice) for choice in choices]
    return values, phantoms


def _once(choices: Iterable[SetChoice], data: TaskData) -> Iterable[SetChoice]:
    """Choices without a second part of one phantom set: parts are told by metadata that phantoms do not have."""
    met = {data.set}
    for choice in choices:
        if choice.set not in PHANTOM_WRITERS or choice.set not in met:
            met.add(choice.set)
            yield choice


def _whole(choice: SetChoice) -> dict[str, Any]:
    values = choice.model_dump(mode="json", exclude_unset=True)
    if choice.set in PHANTOM_WRITERS:
        values.pop("where", None)
    return values


def _phantoms(data_set: str, count: int) -> dict[str, Any]:
    return {_count_option(data_set): count, **PUBLISHED_SIZE[data_set]}


def _count_option(data_set: str) -> str:
    return "n_patients" if "n_patients" in inspect.signature(PHANTOM_WRITERS[data_set]).parameters else "n_scans"


def _pretext_batch(profile: Profile, task: str) -> int:
    return max((profile.pretext_of(task, arm).training.batch_size for arm in profile.pretext_tasks), default=1)


def _short(training: dict[str, Any]) -> dict[str, Any]:
    return {**training, "epochs": 1, "steps_per_epoch": STEPS, "max_steps": STEPS}
