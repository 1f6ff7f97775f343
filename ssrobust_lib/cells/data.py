"""Data cells: what a task trains and is tested on, split by patient and decoded once (paper, section 3.1)."""

import shutil
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ssrobust_lib import store
from ssrobust_lib.config import SHARED_IMAGES, Profile, ProfileError
from ssrobust_lib.datasets import LOADERS, Source, index_samples, structures_of
from ssrobust_lib.datasets.cache import build_cache, open_cache
from ssrobust_lib.datasets.left_out import sort_left_out
from ssrobust_lib.datasets.loader import PROBLEM_COLUMNS
from ssrobust_lib.datasets.manifest import load_manifest
from ssrobust_lib.datasets.stored_images import StoredImages
from ssrobust_lib.preprocessing import CTSettings, XRaySettings
from ssrobust_lib.profile_fields import ALL
from ssrobust_lib.profile_sections import SetChoice, TaskData
from ssrobust_lib.progress import progress
from ssrobust_lib.seeds import derive_seed
from ssrobust_lib.sources import image_folder, write_phantoms
from ssrobust_lib.splits.given import as_external, at_home
from ssrobust_lib.splits.overlap import keep_out, shared_images
from ssrobust_lib.splits.pools import part_of_pool
from ssrobust_lib.splits.rules import SPLITS, check_no_patient_crosses, labelled_subset, pretext_pool
from ssrobust_lib.splits.table import split_table

if TYPE_CHECKING:
    from ssrobust_lib.study import Cell, Study

# of the cache's rows what is of a slice, or is decided after it was made
OF_ROWS = ("slice", "labelled_voxels", "content_hash", "split", "kept_out", "label", "has_label")


def compute(study: "Study", cell: "Cell", folder: Path) -> None:
    """Write the samples table, the decoded images, what was left out, and the constants of the training images."""
    profile, task = study.profile, cell.of["task"]
    workers = profile.threads
    tables, left_out, sources = [], [], {}
    lacking: dict[str, dict[str, str]] = {}  # a set may serve as two parts, and lack a file once
    for choice, part in _choices(profile, task):
        root = _files(study, choice.set, workers)
        manifest = load_manifest(choice.set)
        by_row = part == "own" and profile.data[task].split == "row"
        samples, problems = index_samples(manifest, root, **(LOADERS[manifest.loader].row_options if by_row else {}))
        samples = _chosen(samples, choice).assign(set=choice.label)
        tables.append(_in_part(samples.assign(on_disk=samples["has_label"]), part))
        lacking |= {row["sample_id"]: row for row in sort_left_out(manifest, root, problems)[2]}
        left_out += [problems, _unused(samples, choice, profile.data[task])]
        sources[choice.label] = Source(manifest.loader, root, structures_of(manifest, root), manifest.name)
    samples = pd.concat(tables, ignore_index=True)
    with_labels = samples.pop("on_disk")  # also of the scans whose labels the study does not look at
    data = profile.data[task]
    cache_folder = folder / "cache"
    shutil.rmtree(cache_folder, ignore_errors=True)  # what an interrupted run left
    with progress(cell.id, len(samples), study.folder) as shown:
        shown(0, text="decoding")
        problems = build_cache(
            samples,
            cache_folder,
            sources,
            _settings(profile, task),
            shared=decoded_images(study),
            with_labels=with_labels,
            workers=workers,
            on_unreadable=data.on_unreadable,
            lacking=pd.DataFrame(lacking.values(), columns=list(PROBLEM_COLUMNS)),
            progress=shown,
        )
    cache = open_cache(cache_folder)
    check_readable(samples, cache.rows, problems)
    samples = with_headers(_split(profile, task, samples, cache.rows), cache.rows)
    samples = with_slice_distance(samples, cache.scans)
    shared = shared_images(samples, cache.images, cache.rows)
    samples = _kept_apart(profile, task, samples, shared)
    rows = cache.rows.drop(columns="split").merge(
        samples[["sample_id", "split", "kept_out"]], on="sample_id", how="left"
    )
    store.write_table(cache_folder / "rows.parquet", rows)
    store.write_table(folder / "samples.parquet", samples)
    # once each, also where a set serves as two parts
    told = pd.concat([*left_out, problems], ignore_index=True).astype(str).drop_duplicates(ignore_index=True)
    store.write_table(folder / "left_out.parquet", told)
    store.write_table(folder / "shared.parquet", shared)
    store.write_table(folder / "labelled.parquet", _labelled(profile, task, samples))
    uses = {seed: _uses(profile, task, samples, seed) for seed in range(profile.seeds)}
    store.write_table(folder / "splits.parquet", split_table(task, samples, uses))
    manifests = {choice.label: load_manifest(choice.set) for choice, _ in _choices(profile, task)}
    store.write_json(
        folder / "constants.json",
        {
            "normalise": training_constants(cache.images, rows, set(samples.loc[samples["kept_out"], "sample_id"])),
            "structures": list(sources[data.label].structures),
            "label_maps": {label: list(source.structures) for label, source in sources.items()},
            "merge": {label: manifest.merge for label, manifest in manifests.items()},
            "titles": {label: manifest.title for label, manifest in manifests.items()},
            "sets": {choice.label: choice.set for choice, _ in _choices(profile, task)},
            "roots": {label: str(source.root) for label, source in sources.items()},
        },
    )


def decoded_images(study: "Study") -> Path:
    """The folder of decoded images that all runs share."""
    return study.folder.parent / SHARED_IMAGES


def labelled_ids(
    profile: Profile, task: str, samples: pd.DataFrame, seed: int, amount: int | float | str | None = None
) -> list[str]:
    """The labelled subset that one seed fine-tunes on, shared by all arms; of another `amount` for a curve's point.

    A larger amount of the same seed holds the smaller one; 'all' is every labelled image of the training part.
    """
    draw = derive_seed(profile.study_seed, "labelled subset", task, seed)
    wanted = profile.data[task].label_fraction if amount is None else 1.0 if amount == ALL else amount
    try:
        return labelled_subset(samples, float(wanted) if isinstance(wanted, float) else int(wanted), draw)
    except ValueError as error:
        raise ProfileError(f"{f'data.{task}' if amount is None else f'curves.labels.{task}'}: {error}") from error


def pretext_ids(profile: Profile, task: str, samples: pd.DataFrame, seed: int, share: float | None = None) -> list[str]:
    """The unlabelled images that one seed's pretext task learns from; a `share` of them for a curve's point."""
    pool = _uses(profile, task, samples, seed)[1]
    if share is None:
        return pool
    return part_of_pool(samples, pool, share, derive_seed(profile.study_seed, "part of the pool", task, seed))


def _uses(profile: Profile, task: str, samples: pd.DataFrame, seed: int) -> tuple[list[str], list[str]]:
    """Labelled subset and pretext pool of one seed; a split of rows leaks into the pool, as its name says."""
    labelled = labelled_ids(profile, task, samples, seed)
    return labelled, pretext_pool(samples, labelled, apart=profile.data[task].split != "row")


def training_constants(
    images: np.ndarray | StoredImages, rows: pd.DataFrame, kept_out: Collection[str] = ()
) -> tuple[float, float]:
    """Mean and standard deviation over all pixels of the training split, for the affine map before every network.

    Parameters
    ----------
    images : float16 (N, H, W) in [0, 1], read in blocks
    rows : one row per image, with `sample_id` and `split`
    kept_out : samples of the training split that nothing may learn from, these two numbers included
    """
    chosen = np.flatnonzero(((rows["split"] == "train") & ~rows["sample_id"].isin(set(kept_out))).to_numpy())
    total = squares = 0.0
    for start in range(0, len(chosen), 256):
        block = images[chosen[start : start + 256]].astype(np.float64)
        total += block.sum()
        squares += np.square(block).sum()
        if isinstance(images, StoredImages):
            images.release()
    n = len(chosen) * images.shape[1] * images.shape[2]
    mean = total / n
    return float(mean), float(max(squares / n - mean**2, 1e-12) ** 0.5)


def _choices(profile: Profile, task: str) -> list[tuple[SetChoice, str]]:
    data = profile.data[task]
    others = [(choice, "pretext") for choice in data.pretext_sets] + [
        (choice, "external") for choice in data.external_sets
    ]
    return [(data, "own"), *others]


def _files(study: "Study", name: str, workers: int) -> Path:
    """Folder of a set's files; phantoms are written first."""
    if name not in study.profile.phantoms:
        return image_folder(study.profile, name)
    folder = image_folder(study.profile, name, runs=study.folder.parent)
    with store.exclusive(folder):
        return write_phantoms(study.profile, name, folder, workers=workers)


def _chosen(samples: pd.DataFrame, choice: SetChoice) -> pd.DataFrame:
    for column, values in choice.where.items():
        if column not in samples:
            raise ProfileError(
                f"where: {choice.set} has no column {column!r}; it has {', '.join(map(str, samples.columns))}"
            )
        there = samples[column].astype(str)
        samples = samples[there.isin(values)]
        if samples.empty:
            found = ", ".join(map(repr, there.value_counts().index[:6]))
            raise ProfileError(f"where: no image of {choice.set} has {column} in {values}; it has {found}")
    return samples.reset_index(drop=True)


def _in_part(samples: pd.DataFrame, part: str) -> pd.DataFrame:
    """Samples of a further set as its part of the study takes them; the task's own set is split later."""
    if part == "pretext":  # its labels, if it has any, are not looked at
        return samples.assign(split="pretext", has_label=False, label=pd.array([pd.NA] * len(samples), dtype="Int8"))
    if part == "external":
        samples = as_external(samples)
        return samples[samples["has_label"]].assign(split="external").reset_index(drop=True)
    return samples[at_home(samples)].assign(split=pd.NA).reset_index(drop=True)


def _unused(samples: pd.DataFrame, choice: SetChoice, data: TaskData) -> pd.DataFrame:
    """Samples that a set gives as external, where the profile names no external set in which they would be tested."""
    away = samples[~at_home(samples)]
    if choice is not data or any(external.set == choice.set for external in data.external_sets):
        away = away.head(0)
    reason = "given as external, but the profile's external_sets do not name this set"
    return pd.DataFrame({"sample_id": away["sample_id"], "path": away["image"], "reason": reason})


def check_readable(samples: pd.DataFrame, rows: pd.DataFrame, problems: pd.DataFrame) -> None:
    """Raise if a set has no readable image at all: one is left out and listed, a whole set means a wrong folder."""
    for label in samples["set"].unique():
        if not (rows["set"] == label).any():
            ours = problems[problems["sample_id"].isin(samples.loc[samples["set"] == label, "sample_id"])]
            raise ProfileError(
                f"{label}: none of its {(samples['set'] == label).sum()} images could be read; "
                f"the first: {ours.iloc[0]['sample_id']} ({ours.iloc[0]['path']}): {ours.iloc[0]['reason']}"
            )


def with_headers(samples: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Add what only the images' own headers tell (view, sex, age): a listing opens no image.

    Parameters
    ----------
    samples : the samples table; where it says something itself, that stays
    rows : the cache's rows, one or more for every sample, which hold it
    """
    first = rows.drop_duplicates("sample_id").set_index("sample_id")
    told = {name: samples["sample_id"].map(first[name]) for name in first if name not in OF_ROWS}
    new = {name: values for name, values in told.items() if name not in samples}
    silent = {
        n: samples[n].where(samples[n].notna(), told[n]) for n in samples if n in told and samples[n].isna().any()
    }
    return samples.assign(**silent, **new)


def with_slice_distance(samples: pd.DataFrame, scans: pd.DataFrame | None) -> pd.DataFrame:
    """Add `slice_mm`, the distance of a CT scan's own slices, from the scans of the cache; X-rays have none."""
    if scans is None:
        return samples
    of_scan = {scan.sample_id: float(scan.spacing_mm[0] / scan.step[0]) for scan in scans.itertuples()}
    return samples.assign(slice_mm=samples["sample_id"].map(of_scan))


def _split(profile: Profile, task: str, samples: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Give every readable sample its split; images of identical content stay together, as patients do."""
    first = rows.drop_duplicates("sample_id").set_index("sample_id")
    samples = samples[samples["sample_id"].isin(first.index)].reset_index(drop=True)
    samples["content_hash"] = samples["sample_id"].map(first["content_hash"])
    own = samples["split"].isna()
    samples.loc[own, "split"] = split_own(profile, task, samples[own])
    return samples


def split_own(profile: Profile, task: str, samples: pd.DataFrame) -> pd.Series:
    """The split of a task's own samples as the profile asks for it; a split that cannot be made is a `ProfileError`."""
    data = profile.data[task]
    options: dict[str, Any] = {"val": data.validation, "seed": derive_seed(profile.study_seed, "split", task)}
    if data.split != "published":
        options["test"] = data.test
    if task == "organs":
        options["stratify"] = ()
    try:
        return SPLITS[data.split](samples, **options)
    except (ValueError, KeyError) as error:
        raise ProfileError(f"data.{task}: {error.args[0] if error.args else error}") from error


def split_from_listing(profile: Profile, task: str) -> None:
    """Choose, and split the task's own set, from the listings of the real sets alone; no image is opened.

    Raises
    ------
    LayoutError, PatientCrossesError, ProfileError
        As the task's cell would, which comes to know of unreadable and equal images as well.
    """
    try:
        _settings(profile, task)
    except ValueError as error:
        raise ProfileError(f"data.{task}: {error}") from error
    for choice, part in _choices(profile, task):
        if choice.set in profile.phantoms:  # not written yet
            continue
        manifest = load_manifest(choice.set)
        by_row = part == "own" and profile.data[task].split == "row"
        options = LOADERS[manifest.loader].row_options if by_row else {}
        listed = index_samples(manifest, image_folder(profile, choice.set), **options)[0]
        samples = _in_part(_chosen(listed, choice), part)
        if part != "own":
            continue
        samples = samples.assign(split=split_own(profile, task, samples))
        if profile.data[task].split == "given":
            check_no_patient_crosses(samples)


def _kept_apart(profile: Profile, task: str, samples: pd.DataFrame, shared: pd.DataFrame) -> pd.DataFrame:
    """Mark what must not be learned from, by the profile's policy, and make sure that nobody is on both sides."""
    data = profile.data[task]
    if data.split == "given":  # who fixed a split is told where it contradicts itself, and nothing is mended silently
        check_no_patient_crosses(samples[samples["set"] == data.label])
    if data.split == "row":  # leaks on purpose
        return samples.assign(kept_out=False)
    # patients on both sides of a published split are no matter of likeness: nothing learns from them in any case
    away = keep_out(samples, shared if data.near_duplicates == "keep_out" else shared.head(0))
    samples = samples.assign(kept_out=away)
    chosen_by = samples["split"] == "val"
    if (away | ~chosen_by).all():
        raise ProfileError(
            f"data.{task}: every validation image is of a patient who is tested, or like one that is: nothing is left "
            "to choose severities by; give the set another split"
        )
    if data.near_duplicates == "keep_out":
        sides = samples["split"].replace("pretext", "train")  # to learn twice from one image is no leak
        check_no_patient_crosses(samples.assign(split=sides)[~away])
    return samples


def _settings(profile: Profile, task: str) -> XRaySettings | CTSettings:
    data = profile.data[task]
    if task == "pneumonia":
        return XRaySettings(size=data.image_size)
    assert data.pixel_mm is not None and data.window_hu is not None  # the profile's check has seen to it
    return CTSettings(size=data.image_size, pixel_mm=data.pixel_mm, slice_mm=data.slice_mm, window_hu=data.window_hu)


def _labelled(profile: Profile, task: str, samples: pd.DataFrame) -> pd.DataFrame:
    """Each seed's labelled subset: one row per seed and sample."""
    rows = [
        {"task": task, "seed": seed, "sample_id": sample_id}
        for seed in range(profile.seeds)
        for sample_id in labelled_ids(profile, task, samples, seed)
    ]
    return pd.DataFrame(rows)
