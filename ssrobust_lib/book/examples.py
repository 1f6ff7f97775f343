"""Images that the notebooks show, chosen by a stated rule and never by hand.

Enters: a study whose cells are finished. Leaves: arrays in the form that `ssrobust_lib.figures` takes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
from IPython.display import Markdown

from ssrobust_lib import store
from ssrobust_lib.cells import trained

if TYPE_CHECKING:
    from ssrobust_lib.figures import Puzzle
    from ssrobust_lib.study import Study


def data_set_name(study: "Study", task: str, label: str | None = None) -> str:
    """Words for a data set, saying first whether its images are phantoms.

    Returns
    -------
    'phantoms in the layout of RSNA ...' or the set's title.
    """
    about = trained.constants(study, task)
    label = label or study.profile.data[task].label
    title = about["titles"][label]
    part = "" if label == about["sets"][label] else f", {label}"
    return f"phantoms in the layout of {title}" if about["sets"][label] in study.profile.phantoms else f"{title}{part}"


def set_titles(study: "Study") -> dict[str, str]:
    """Words for every set that is evaluated, by its label."""
    names: dict[str, str] = {}
    for task in study.profile.tasks:
        data = study.profile.data[task]
        labels = [data.label, *(choice.label for choice in data.external_sets)]
        names |= {label: data_set_name(study, task, label) for label in labels}
    return names


def short_names(study: "Study") -> dict[str, str]:
    """One or two words for every set of the run, by its label: 'KiTS19 phantoms', 'Kermany', 'OpenKBP (openkbp_b)'."""
    names: dict[str, str] = {}
    for task in study.profile.tasks:
        about = trained.constants(study, task)
        for label, name in about["sets"].items():
            first = about["titles"][label].replace(",", " ").split()[0]
            word = first if sum(letter.isupper() for letter in first) > 1 else name.capitalize()
            part = "" if label == name else f" ({label})"
            names[label] = f"{word} phantoms" if name in study.profile.phantoms else f"{word}{part}"
    return names


def arm_marks(study: "Study", task: str | None = None) -> dict[str, str]:
    """Words beside the name of each arm whose pretext task was not learned above chance at every seed."""
    accuracy = study.table(study.cells("02_pretext"), "accuracy")
    lost = accuracy[~accuracy["learned"] & (accuracy["task"] == task if task else True)]
    marks = {}
    for arm, rows in lost.groupby("init", sort=False):
        where = [f"{row.task}, seed {row.seed}" if task is None else f"seed {row.seed}" for row in rows.itertuples()]
        marks[str(arm)] = f"pretext not learned ({'; '.join(where)})"
    return marks


def task_marks(study: "Study") -> dict[tuple[str, str], str]:
    """The marks of `arm_marks` by (task, arm), for tables that hold several tasks."""
    tasks = study.profile.tasks
    return {(task, arm): words for task in tasks for arm, words in arm_marks(study, task).items()}


def pretext_mark(study: "Study", task: str | None = None) -> Markdown:
    """The same marks as a line of text, for below a figure; empty where all pretext tasks were learned."""
    from ssrobust_lib.figures import paper_label

    marks = [f"{paper_label(arm)}: {words}" for arm, words in arm_marks(study, task).items()]
    said = f"**{'; '.join(marks)}.** These networks start from an encoder no better than chance."
    return Markdown(said if marks else "<!-- every pretext task was learned -->")


@dataclass(frozen=True)
class XRays:
    """Example radiographs: pixels float32 (H, W) in [0, 1] each, labels 0, 1 or None, views."""

    images: list[np.ndarray]
    labels: list[int | None]
    views: list[str | None]


@dataclass(frozen=True)
class Scan:
    """One CT scan as its loader reads it, with its label map (or None) and the names of its values."""

    sample_id: str
    hu: np.ndarray
    mask: np.ndarray | None
    spacing_mm: tuple[float, float, float]
    structures: list[str]


def example_xrays(study: "Study", label: str | None = None, n: int = 12) -> XRays:
    """Radiographs of a set at full resolution: the first of the table, as many positive as negative where labelled."""
    from ssrobust_lib.datasets import LOADERS, XRay
    from ssrobust_lib.datasets.manifest import load_manifest

    about, samples = trained.constants(study, "pneumonia"), _samples(study, "pneumonia", label)
    label = label or study.profile.data["pneumonia"].label
    samples = samples[samples["split"].isin(["train", "external"])]
    by_class = [samples[samples["label"] == value].head(n // 2) for value in (0, 1)]
    chosen = pd.concat(by_class).sort_index() if all(map(len, by_class)) else samples.head(n)
    loader = LOADERS[load_manifest(about["sets"][label]).loader]
    read = [cast(XRay, loader.read_image(Path(about["roots"][label]), row)) for _, row in chosen.iterrows()]
    labels = [None if pd.isna(value) else int(value) for value in chosen["label"]]
    return XRays([image.pixels for image in read], labels, [image.metadata.get("view") for image in read])


def example_scans(study: "Study", label: str | None = None, n: int = 2) -> list[Scan]:
    """Scans of a set: the first of each kind (contrast agent, field of view), labelled ones before others.

    Returns
    -------
    At most `n` scans, one where the set states no kind.
    """
    from ssrobust_lib.datasets import LOADERS, Volume
    from ssrobust_lib.datasets.manifest import load_manifest

    about, samples = trained.constants(study, "organs"), _samples(study, "organs", label)
    label = label or study.profile.data["organs"].label
    samples = samples.sort_values("has_label", ascending=False, kind="stable")
    kind = samples.reindex(columns=["contrast", "field_of_view"]).astype(object).map(str).agg(", ".join, axis=1)
    chosen = samples[~kind.duplicated()].head(n)
    loader, root = LOADERS[load_manifest(about["sets"][label]).loader], Path(about["roots"][label])
    structures, scans = list(about["label_maps"][label]), []
    for _, row in chosen.iterrows():
        volume = cast(Volume, loader.read_image(root, row))
        mask = loader.read_label(root, row, structures) if row["has_label"] else None
        scans.append(Scan(row["sample_id"].split("/")[-1], volume.hu, mask, volume.spacing_mm, structures))
    return scans


def _samples(study: "Study", task: str, label: str | None) -> pd.DataFrame:
    samples = study.table(trained.data_cell(study, task), "samples")
    return samples[samples["set"] == (label or study.profile.data[task].label)]


def example_puzzles(study: "Study", task: str, pretext_task: str, seed: int = 0) -> "list[Puzzle]":
    """The example puzzles of one pretext network: the first solved and the first failed ones, three of each at most."""
    from ssrobust_lib.figures import Puzzle

    cell = study.cells("02_pretext", tasks=[task], pretext_tasks=[pretext_task], seeds=[seed])[0]
    stored = store.read_arrays(study.folder_of(cell) / "examples.npz")
    puzzles = [Puzzle(*parts) for parts in zip(stored["tiles"], stored["truth"], stored["predicted"], strict=True)]
    solved = [puzzle for puzzle in puzzles if puzzle.solved][:3]
    failed = [puzzle for puzzle in puzzles if not puzzle.solved][:3]
    return [
        Puzzle(p.tiles, p.truth, p.predicted, f"{word} {k}")
        for word, group in (("solved", solved), ("failed", failed))
        for k, p in enumerate(group, start=1)
    ]


def corruption_examples(study: "Study", severity: int = 3) -> dict[str, dict[str, np.ndarray]]:
    """One test image of each task, clean and under every corruption at one severity.

    Returns
    -------
    {'CT': {'clean': (H, W), 'gaussian_noise': ...}, 'X-ray': {...}}, float32 in [0, 1]
    """
    rows = {"organs": "CT", "pneumonia": "X-ray"}
    return {word: _corrupted(study, task, severity) for task, word in rows.items() if task in study.profile.tasks}


def _corrupted(study: "Study", task: str, severity: int) -> dict[str, np.ndarray]:
    cache = trained.open_images(study, task)
    position = representative(cache, trained.positions(cache, split="test"))
    shown = {"clean": np.asarray(cache.images[position], np.float32)}
    for corruption in study.profile.corruptions:
        strength = trained.strengths_of(study, task, corruption)[severity]
        shown[corruption] = condition_images(study, task, cache, [position], corruption, strength, severity)[
            0, 0
        ].numpy()
    return shown


def severity_examples(study: "Study", task: str) -> dict[str, dict[int, np.ndarray]]:
    """The same test image at severities 0 to 5 of every corruption: corruption -> severity -> (H, W)."""
    cache = trained.open_images(study, task)
    position = representative(cache, trained.positions(cache, split="test"))
    clean = np.asarray(cache.images[position], np.float32)
    shown: dict[str, dict[int, np.ndarray]] = {}
    for corruption in study.profile.corruptions:
        levels = trained.strengths_of(study, task, corruption).items()
        images = {
            s: condition_images(study, task, cache, [position], corruption, c, s)[0, 0].numpy() for s, c in levels
        }
        shown[corruption] = {0: clean} | images
    return shown


def strength_words(study: "Study", task: str) -> dict[str, dict[int, str]]:
    """Strength of each severity as a number: corruption -> severity -> '0.12'."""
    strengths = {name: trained.strengths_of(study, task, name) for name in study.profile.corruptions}
    return {name: {s: f"{c:.2g}" for s, c in levels.items()} for name, levels in strengths.items()}


def strength_units(study: "Study") -> dict[str, str]:
    """The unit of each corruption's strength, in words."""
    from ssrobust_lib.corruptions import CORRUPTIONS

    return {name: CORRUPTIONS[name].unit for name in study.profile.corruptions}


def unreached_floors(study: "Study", task: str) -> list[str]:
    """Corruptions whose severity 5 is the end of their range, since the score never came down to the floor."""
    table = study.table(study.cells("05_calibration", tasks=[task]), "severities")
    return sorted(table.loc[~table["reached_floor"].astype(bool), "corruption"].unique())


def representative(cache: Any, positions: np.ndarray) -> int:
    """The slice with most structures in it, of CT; the first positive image, of X-rays; else the first."""
    if cache.masks is not None:
        counts = [len(np.unique(cache.masks[p])) for p in positions]
        return int(positions[int(np.argmax(counts))])
    positive = positions[(cache.rows["label"].iloc[positions] == 1).to_numpy(bool)]
    return int((positive if len(positive) else positions)[0])


def condition_images(
    study: "Study", task: str, cache: Any, positions: Sequence[int], corruption: str, strength: float, severity: int
) -> Any:
    """Images of a cache as the evaluation passes them to the networks: float32 tensor (N, 1, H, W) in [0, 1]."""
    from ssrobust_lib.evaluation.inference import Condition, corrupted_images

    condition = Condition(corruption, strength, severity, study.profile.study_seed)
    return corrupted_images(cache, np.asarray(positions), condition, by_slice=task == "organs")


def main_structure(study: "Study", label: str) -> str:
    """Name of the one structure that another centre's mean Dice is about; empty where there are several."""
    names = list(trained.external_structures(study, "organs", label))
    main = [name for name in names if "_without_" not in name]
    if len(main) != 1:
        return ""
    other = [name for name in names if "_without_" in name]
    return other[0].replace("_without_", "_with_") if other else main[0]
