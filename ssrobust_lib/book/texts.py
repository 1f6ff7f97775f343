"""Texts of the book that depend on the run: on which images it was computed, and with which parameters.

What enters: a profile. What leaves: Markdown for the `generated` argument of `book.build_book`. The reader is
told first whether the numbers come from phantoms, from other real images, or from the paper's own data (section 3.1).
"""

from collections.abc import Mapping
from pathlib import Path

from numpy import format_float_positional

from ssrobust_lib.config import Profile
from ssrobust_lib.profile_paths import is_severity_file
from ssrobust_lib.profile_sections import CALIBRATED, Training
from ssrobust_lib.statistics.claims import DEFAULT_MARGINS

PAPER_SETS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "pneumonia": {"own": ("rsna",), "external": ()},
    "organs": {"own": ("visceral",), "external": ("kits19",)},
}
"""Data sets on which the paper trains and tests (section 3.1) and to which it moves (section 3.4), by task."""

_TUMOURS = {"both": "scored with the organ and without", "counted": "scored as organ", "apart": "scored as background"}
ENOUGH_SEEDS = 5
"""Fewer repetitions than this do not separate two methods from chance; see the book's decisions."""


def banner(profile: Profile) -> str:
    """Write the box that says what the numbers were computed on.

    Returns
    -------
    str
        A Markdown admonition: a warning for phantoms and for other images than the paper's, a note for the paper's own.
    """
    kind, title, text = _origin(profile)
    repetitions = f"Run `{profile.name}` ({profile.title}), {_count(profile.seeds, 'seed')} per arm."
    if profile.seeds < ENOUGH_SEEDS:
        repetitions += " With so few, chance can outweigh the difference between two methods."
    return f":::{{admonition}} {title}\n:class: {kind} data-banner\n{text}\n\n{repetitions}\n:::\n"


def page_note(profile: Profile) -> str:
    """Write the same in one line, for the head of every page that shows results."""
    kind, title, _ = _origin(profile)
    line = f"Run `{profile.name}`, {_count(profile.seeds, 'seed')} per arm."
    return f":::{{admonition}} {title}\n:class: {kind} data-banner\n{line}\n:::\n"


def _origin(profile: Profile) -> tuple[str, str, str]:
    """Kind of box, title and text on where the images of a run come from."""
    from ssrobust_lib.datasets.manifest import load_manifest

    sets = dict.fromkeys(name for task in profile.tasks for name in profile.sets(task))
    titles = "; ".join(load_manifest(name).title for name in sets)
    if all(name in profile.phantoms for name in sets):
        return (
            "warning",
            "Computed on embedded phantoms, not on the paper's data",
            "The images are computer-made phantoms in the file layouts of the real data sets. The numbers show that "
            "every step works. They are no evidence about patients, and neither confirm nor contradict the paper.",
        )
    if any(name in profile.phantoms for name in sets):
        phantoms = ", ".join(name for name in sets if name in profile.phantoms)
        text = f"Phantoms stand in for {phantoms}. Images: {titles}. Phantoms are no evidence about patients."
        return "warning", "Computed in part on embedded phantoms", text
    if _on_the_papers_sets(profile):
        text = f"Images: {titles}. Where the paper leaves a choice open, ours is in [](decisions)."
        return "note", "Computed on the paper's data sets", text
    text = f"Images: {titles}. A result here is a result on these images; the paper used others."
    return "warning", "Computed on real images, but not on the paper's", text


def run_table(profile: Profile) -> str:
    """Write the table of the run's parameters, one column per task, as Markdown."""
    tasks = profile.tasks
    rows = [
        ("images", [_images(profile, task) for task in tasks]),
        ("unlabelled images besides", [_names(profile.data[task].pretext_sets) for task in tasks]),
        ("another centre", [_names(profile.data[task].external_sets) for task in tasks]),
        ("patients for validation, test", [_held_out(profile, task) for task in tasks]),
        ("labelled share of training", [f"{100 * profile.data[task].label_fraction:g} %" for task in tasks]),
        ("image size", [f"{profile.data[t].image_size} × {profile.data[t].image_size}" for t in tasks]),
        ("pixel, slice, window", [_geometry(profile, task) for task in tasks]),
        ("network", [_network(profile, task) for task in tasks]),
    ]
    for arm in profile.pretext_tasks:
        chosen = [profile.pretext_of(task, arm) for task in tasks]
        rows.append((f"pretext `{arm}`", [", ".join([*_options(c.options), _training(c.training)]) for c in chosen]))
    rows.append(("fine-tuning", [_training(profile.finetune[task]) for task in tasks]))
    known = dict(DEFAULT_MARGINS) | dict(profile.statistics.margins)
    known = dict(DEFAULT_MARGINS) | dict(profile.statistics.margins)
    margins = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in known.items())
    table = [f"| | {' | '.join(tasks)} |", "|---|" + "---|" * len(tasks)]
    table += [f"| {name} | {' | '.join(cells)} |" for name, cells in rows]
    shared = (
        f"For every task: arms {_code(profile.arms)}; {_count(profile.seeds, 'seed')}, "
        f"study seed {profile.study_seed}; corruptions {_code(profile.corruptions)}; {_severities(profile)}; "
        f"tumours on another centre's images {_TUMOURS[profile.evaluation.tumour]}; "
        f"evaluation in {profile.evaluation.precision}{_surfaces(profile)}; "
        f"{profile.statistics.bootstrap:,} bootstrap samples; margins: {margins}. Profile `{profile.name}`."
    )
    return "\n".join([*table, "", shared, ""])


def _surfaces(profile: Profile) -> str:
    """For which severities surfaces are compared, where a run has scans."""
    surface = profile.evaluation.surface
    if "organs" not in profile.tasks or not surface.severities:
        return ""
    severities = ", ".join("clean" if severity == 0 else str(severity) for severity in surface.severities)
    return f", HD95 and surface Dice within {surface.tolerance_mm:g} mm at severities {severities}"


def _on_the_papers_sets(profile: Profile) -> bool:
    return all(
        profile.data[task].set in PAPER_SETS[task]["own"]
        and all(choice.set in PAPER_SETS[task]["external"] for choice in profile.data[task].external_sets)
        for task in profile.tasks
    )


def _images(profile: Profile, task: str) -> str:
    data = profile.data[task]
    phantoms = " (phantoms)" if data.set in profile.phantoms else ""
    return f"`{data.label}`{phantoms}, {data.split} split"


def _held_out(profile: Profile, task: str) -> str:
    """Patients for validation and test; where the set says itself who they are: 'as given'."""
    data = profile.data[task]
    return f"{data.validation or 'as given'}, {data.test or 'as given'}"


def _geometry(profile: Profile, task: str) -> str:
    data = profile.data[task]
    if data.pixel_mm is None or data.slice_mm is None or data.window_hu is None:
        return "–"
    low, high = data.window_hu
    window = f"{low:g} to {high:g} HU".replace("-", "\u2212")
    return f"{data.pixel_mm:g} mm, {data.slice_mm:g} mm, {window}"


def _training(training: Training) -> str:
    first, last = (format_float_positional(r, trim="-") for r in (training.learning_rate, training.min_learning_rate))
    rates = f"learning rate {first} to {last}"
    return f"{_count(training.epochs, 'epoch')}, batches of {training.batch_size}, {rates}"


def _network(profile: Profile, task: str) -> str:
    network = profile.networks[task]
    return ", ".join([f"`{network.name}`", *_options(network.options)])


def _severities(profile: Profile) -> str:
    """Where the severities come from, such as 'calibrated (floor 0.49, reference weaker, equal steps of strength)'."""
    rule = profile.calibration
    chosen = {task: rule.severities_of(task) for task in profile.tasks}
    files = {task: f"`{Path(source).name}`" if is_severity_file(source) else source for task, source in chosen.items()}
    said = set(files.values())
    sources = said.pop() if len(said) == 1 else ", ".join(f"{source} ({task})" for task, source in files.items())
    how = f"floor {rule.floor:g}, reference {rule.reference}, equal steps of {rule.steps}"
    return f"severities {sources}" + (f" ({how})" if CALIBRATED in chosen.values() else "")


def _options(options: Mapping[str, object]) -> list[str]:
    return [f"{name.replace('_', ' ')} {value}" for name, value in options.items()]


def _names(choices: tuple) -> str:
    return ", ".join(f"`{choice.label}`" for choice in choices) or "–"


def _code(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
