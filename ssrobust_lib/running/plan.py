"""What a run will take: its cells with estimated time and disk, before anything runs.

Times come from one timed batch of each network on this machine and the numbers of images that each cell passes; a
cell that is finished shows the time that it took. They are estimates: expect a factor of two.
"""

import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from ssrobust_lib.config import Profile
from ssrobust_lib.control_arms import LABELS
from ssrobust_lib.profile_fields import ALL
from ssrobust_lib.profile_sections import SetChoice
from ssrobust_lib.severities.files import measured_strengths
from ssrobust_lib.sources import image_folder
from ssrobust_lib.study import Cell, Study

_START = 2.0  # a notebook's start, seconds, from the warm process
_SURFACE = 1e-3  # comparing one structure's surfaces, seconds
_FEATURES = 256  # numbers that are kept of a clean image and a network, about
_BACKWARD = 3.0  # a training step costs this many forward passes
_PHANTOM_SECONDS = {
    "rsna": 0.045, "rsna_test": 0.045, "kermany": 0.06, "nih": 0.06, "visceral": 2.0, "kits19": 2.0, "luna16": 1.5,
    "lits": 1.5, "cad_pe": 1.5, "exact09": 1.5, "btcv": 1.5, "chaos": 1.5, "sliver07": 1.5,
}  # fmt: skip
_SCAN_MM = 600  # length of a scan whose slice count is not known yet


@dataclass(frozen=True)
class Work:
    """What a cell has to do: seconds outside networks, forward passes of one image, megabytes written."""

    seconds: float
    passes: float
    megabytes: float


def work(study: Study, cell: Cell) -> Work:
    """The work of one cell, from the profile alone."""
    return _WORK[cell.step](study.profile, cell)


def seconds(study: Study, cell: Cell) -> float:
    """Time of one cell on one process of this machine."""
    todo = work(study, cell)
    return todo.seconds + (todo.passes * _forward(study.profile, cell.of["task"]) if todo.passes else 0.0)


def _patients(profile: Profile, choice: SetChoice) -> int:
    """Patients of a set's part: as many as the profile writes phantoms of, or as lie in its folder."""
    options = profile.phantoms.get(choice.set, {})
    for name in ("n_patients", "n_scans"):
        if name in options:
            return int(options[name])
    samples = _found_in(choice.set, image_folder(profile, choice.set))
    for column, values in choice.where.items():
        samples = samples[samples[column].astype(str).isin(values)] if column in samples else samples
    return int(samples["patient_id"].nunique())


@cache
def _found_in(name: str, folder: Path) -> pd.DataFrame:
    """Samples of a real set that lie in its folder; lists files, opens none."""
    from ssrobust_lib.datasets import index_samples
    from ssrobust_lib.datasets.manifest import load_manifest

    return index_samples(load_manifest(name), folder)[0]


def _per_patient(profile: Profile, task: str) -> int:
    """Images of one patient: one X-ray, or the slices of a scan."""
    return 1 if task == "pneumonia" else round(_SCAN_MM / (profile.data[task].slice_mm or 5.0))


@cache
def _forward_seconds(network: str, options: str, size: int) -> float:
    """Seconds of one image through one network, forward, one thread."""
    import ast

    import torch

    from ssrobust_lib.networks import build_network
    from ssrobust_lib.seeds import torch_rng

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model = build_network(network, 1, torch_rng("plan"), **ast.literal_eval(options)).eval()
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.zeros(4 if size <= 256 else 1, 1, size, size).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        model(images)
        started = time.perf_counter()
        model(images)
        spent = (time.perf_counter() - started) / len(images)
    torch.set_num_threads(threads)
    return spent


def _forward(profile: Profile, task: str) -> float:
    network = profile.networks[task]
    return _forward_seconds(network.name, repr(network.options), profile.data[task].image_size)


def _data(profile: Profile, cell: Cell) -> Work:
    task = cell.of["task"]
    data, seconds, images = profile.data[task], 0.0, 0
    for choice in (data, *data.pretext_sets, *data.external_sets):
        name, n = choice.set, _patients(profile, choice)
        images += n * _per_patient(profile, task)
        seconds += n * (_PHANTOM_SECONDS.get(name, 0.0) if name in profile.phantoms else 0.0)
        seconds += n * (0.02 if task == "pneumonia" else 1.0)
    return Work(_START + seconds, 0, images * data.image_size**2 * (2 if task == "pneumonia" else 3) / 1e6)


def _steps(images: int, training: Any) -> int:
    per_epoch = training.steps_per_epoch or -(-images // training.batch_size)
    return min(training.epochs * per_epoch, training.max_steps or 10**12)


def _held_out(profile: Profile, task: str, part: Literal["validation", "test"]) -> int:
    """Patients of a part: as many as the profile says (a count or a fraction), or as the set's own split has."""
    data = profile.data[task]
    amount = data.validation if part == "validation" else data.test
    if amount is not None:
        return round(amount * _patients(profile, data)) if isinstance(amount, float) else amount
    if data.set in profile.phantoms:
        return int(profile.phantoms[data.set].get("gold", 0))
    given = {**data.where, "published_split": ["val" if part == "validation" else "test"]}
    return _patients(profile, SetChoice(set=data.set, where=given))


def train_patients(profile: Profile, task: str) -> int:
    """Patients that are neither validated nor tested on, of a task's own set."""
    held_out = _held_out(profile, task, "validation") + _held_out(profile, task, "test")
    return max(1, _patients(profile, profile.data[task]) - held_out)


def _leaks(profile: Profile, cell: Cell) -> Work:
    """Two pretext trainings and four fine-tunings of each pretext arm, two fine-tunings from scratch."""
    leaks, arms = profile.leaks, len(profile.main_pretext_tasks)
    patients = min(leaks.patients, _patients(profile, profile.data["pneumonia"]))
    images = round(patients * (1 - leaks.test) * (1 - leaks.validation))
    labelled = round(images * leaks.label_fraction)
    passes = 2 * arms * _steps(images - labelled, leaks.pretext) * leaks.pretext.batch_size
    passes += (2 + 4 * arms) * _steps(labelled, leaks.finetune) * leaks.finetune.batch_size
    smaller = (leaks.image_size / profile.data["pneumonia"].image_size) ** 2  # seconds are those of a full image
    return Work(_START, passes * _BACKWARD * smaller, 0.2)


def _network_megabytes(profile: Profile, task: str) -> float:
    width = profile.networks[task].options.get("base_filters", 32)
    return 8.5 if task == "pneumonia" else 31 * (width / 32) ** 2


def _pretext(profile: Profile, cell: Cell) -> Work:
    """A control arm's pretraining, and that of a part of the pool, takes as many steps as that of the whole."""
    task = cell.of["task"]
    passes = _pretext_steps(profile, task, cell.of["init"])
    passes *= profile.pretext_of(task, cell.of["init"]).training.batch_size
    return Work(_START, passes * _BACKWARD, _network_megabytes(profile, task))


def _pretext_steps(profile: Profile, task: str, arm: str) -> int:
    pretext = profile.pretext_of(task, arm)
    extra = sum(_patients(profile, choice) for choice in profile.data[task].pretext_sets)
    images = (train_patients(profile, task) + extra) * _per_patient(profile, task)
    return _steps(min(images, pretext.images or images), pretext.training)


def _finetune(profile: Profile, cell: Cell) -> Work:
    task = cell.of["task"]
    data, training = profile.data[task], profile.finetune[task]
    there, amount = train_patients(profile, task), cell.settings.get(LABELS, data.label_fraction)
    patients = there if amount == ALL else amount if isinstance(amount, int) else max(2, round(there * amount))
    how, steps = profile.arm(cell.of["init"]), _steps(patients * _per_patient(profile, task), training)
    steps += _pretext_steps(profile, task, how.as_long_as) if how.as_long_as else 0
    epochs = min(training.epochs, steps)
    validation = _held_out(profile, task, "validation") * _per_patient(profile, task)
    passes = steps * training.batch_size * _BACKWARD + epochs * validation
    return Work(_START, passes, 2 * _network_megabytes(profile, task))


def _evaluation(profile: Profile, cell: Cell) -> Work:
    task = cell.of["task"]
    networks = len(profile.arms) * profile.seeds
    conditions = 5 if "corruption" in cell.of else 1
    own = cell.of["set"] == profile.data[task].label
    choice = profile.data[task] if own else _choice_of(profile, task, cell.of["set"])
    patients = max(_held_out(profile, task, "test") if own else _patients(profile, choice), 1)
    passes = patients * _per_patient(profile, task) * networks * conditions
    rows = patients * networks * conditions * (1 if task == "pneumonia" else 20)
    compared = set(profile.evaluation.surface.severities) & (set(range(1, 6)) if "corruption" in cell.of else {0})
    surfaces = 0 if task == "pneumonia" else patients * networks * len(compared) * 20
    kept = patients * _per_patient(profile, task) * networks * _FEATURES if own and "corruption" not in cell.of else 0
    return Work(_START + surfaces * _SURFACE, passes, rows * 2e-5 + kept * 4e-6)


def _choice_of(profile: Profile, task: str, label: str) -> SetChoice:
    return next(choice for choice in profile.data[task].external_sets if choice.label == label)


def _calibration(profile: Profile, cell: Cell) -> Work:
    task = cell.of["task"]
    images = profile.calibration.images.get(task, _held_out(profile, task, "validation") * _per_patient(profile, task))
    networks = len(profile.main_arms) * profile.seeds
    passes = images * networks * measured_strengths(profile.calibration, task) * len(profile.corruptions)
    return Work(_START, passes, 0.1)


def _curves(profile: Profile, cell: Cell) -> Work:
    task = cell.of["task"]
    networks = len({need.id for need in cell.needs if need.step in ("03_finetune", "08_curve_finetune")})
    conditions = len(profile.curves.severities) if cell.of["corruption"] != "clean" else 1
    passes = max(_held_out(profile, task, "test"), 1) * _per_patient(profile, task) * networks * conditions
    return Work(_START, passes, 0.1)


def _statistics(profile: Profile, cell: Cell) -> Work:
    return Work(_START + 10 * len(profile.tasks), 0, 1.0)


_WORK = {
    "01_data": _data,
    "01_leaks": _leaks,
    "02_pretext": _pretext,
    "03_finetune": _finetune,
    "04_clean_eval": _evaluation,
    "05_calibration": _calibration,
    "05_corruption_eval": _evaluation,
    "06_kits_generalization": _evaluation,
    "07_stats": _statistics,
    "08_curve_pretext": _pretext,
    "08_curve_finetune": _finetune,
    "08_curves": _curves,
}


def plan_text(study: Study, cores: int) -> str:
    """The table that `ssrobust plan` prints: each cell, its state, time and disk, and the sums."""
    lines = [f"{study.profile.name}: {study.profile.title}", f"{'cell':58s} {'state':9s} {'time':>9s} {'disk':>9s}"]
    left = disk = 0.0
    for cell in study.all_cells:
        done, megabytes = study.finished(cell), work(study, cell).megabytes
        taken = study.record(cell)["seconds"] if done else seconds(study, cell)
        left += 0 if done else taken
        disk += megabytes
        state = "finished" if done else "to do"
        lines.append(f"{cell.id:58s} {state:9s} {_time(taken):>9s} {megabytes:6.1f} MB")
    parallel = max(1, cores // study.profile.threads)
    lines.append(
        f"{len(study.all_cells)} cells, {sum(map(study.finished, study.all_cells))} finished; about "
        f"{_time(left / parallel)} "
        f"left on {cores} cores ({study.profile.threads} per cell), {disk / 1000:.2f} GB of results in {study.folder}"
    )
    return "\n".join(lines)


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
