"""Pretext cells: the encoder of a task's network trained on puzzles of its seed's unlabelled images (section 2).

A control arm may learn from the seed's labelled images instead (without their labels), a curve's point from a part of
the pool. Both take as many optimiser steps as the task takes on the whole pool, and start from the same weights: only
the images differ.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ssrobust_lib import store
from ssrobust_lib.cells import trained
from ssrobust_lib.cells.data import labelled_ids, pretext_ids
from ssrobust_lib.cells.resuming import Resuming
from ssrobust_lib.control_arms import POOL
from ssrobust_lib.devices import set_threads
from ssrobust_lib.progress import progress
from ssrobust_lib.seeds import derive_seed, rng
from ssrobust_lib.training.batches import steps_in_epoch
from ssrobust_lib.training.loop import TrainingSettings
from ssrobust_lib.training.pretraining import pretrain

if TYPE_CHECKING:
    from ssrobust_lib.study import Cell, Study

HELD_OUT = 400  # images of validation patients that measure the accuracy, at most
CONTENT = 0.05  # share of an image's pixels that must be brighter than black: a slice of air is no puzzle
BLACK = 0.01


def compute(study: "Study", cell: "Cell", folder: Path) -> None:
    """Write the encoder, the curves, the held-out accuracy against chance, and example puzzles."""
    profile, task, arm, seed = study.profile, cell.of["task"], cell.of["init"], cell.of["seed"]
    set_threads(profile.threads)
    pretext, network, task_name = profile.pretext_of(task, arm), profile.networks[task], str(profile.arm(arm).pretext)
    cache: Any = trained.open_images(study, task)
    samples = study.table(trained.data_cell(study, task), "samples")
    settings = TrainingSettings(**pretext.training.model_dump())
    train_rows = _rows_of(study, cell, cache, pretext_ids(profile, task, samples, seed))
    steps = steps_in_epoch(len(train_rows), settings.batch_size, settings.steps_per_epoch)
    if (other := other_images(study, cell, samples)) is not None:
        train_rows = _rows_of(study, cell, cache, other)
        settings = replace(settings, steps_per_epoch=steps)
    held_out = with_content(cache.images, np.flatnonzero((cache.rows["split"] == "val") & ~cache.rows["kept_out"]))
    held_out = _some(held_out, HELD_OUT, rng(profile.study_seed, "held-out puzzles", task))
    resuming = Resuming(folder)
    with progress(cell.id, 1, study.folder) as shown:
        result = pretrain(
            cache.images,
            train_rows,
            held_out,
            tuple(trained.constants(study, task)["normalise"]),
            network=network.name,
            network_options=network.options,
            pretext_task=task_name,
            options=pretext.options,
            settings=settings,
            seed=derive_seed(profile.study_seed, "pretext", task, task_name, seed),
            devices=profile.devices,
            on_epoch=resuming.keep,
            resume=resuming.state(),
            progress=shown,
        )
    of = {"task": task, "init": arm, "seed": seed}
    store.write_tensors(
        folder / "encoder.safetensors", result.tensors, {"network": network.name, "options": network.options}
    )
    store.write_table(folder / "curves.parquet", result.curves.assign(**of))
    measured = {"n_train": len(train_rows), "n": result.n, "correct": int(result.predictions["correct"].sum())}
    accuracy = {"accuracy": result.accuracy, "chance": result.chance, "p": result.p, "learned": result.learned}
    store.write_table(folder / "accuracy.parquet", pd.DataFrame([{**of, **measured, **accuracy}]))
    store.write_arrays(folder / "examples.npz", result.examples)
    resuming.forget()


def other_images(study: "Study", cell: "Cell", samples: pd.DataFrame) -> list[str] | None:
    """Samples that a cell learns from in place of its seed's whole pool; None where it is the pool."""
    profile, task, seed = study.profile, cell.of["task"], cell.of["seed"]
    if profile.arm(cell.of["init"]).pool == "labelled":
        return labelled_ids(profile, task, samples, seed)
    share = cell.settings.get(POOL)
    return None if share is None else pretext_ids(profile, task, samples, seed, share)


def _rows_of(study: "Study", cell: "Cell", cache: Any, sample_ids: list[str]) -> np.ndarray:
    """Positions of some samples' images that show something, no more of them than the profile asks for."""
    profile, task, arm = study.profile, cell.of["task"], cell.of["init"]
    rows = with_content(cache.images, np.flatnonzero(cache.rows["sample_id"].isin(set(sample_ids))))
    draw = rng(profile.study_seed, "pretext images", task, str(profile.arm(arm).pretext), cell.of["seed"])
    return _some(rows, profile.pretext_of(task, arm).images, draw)


def with_content(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Those of the images from which something can be learned without labels.

    A scan's field of view may reach beyond the patient; its slices of air have nothing to put in order.

    Parameters
    ----------
    images : float16 (N, H, W) in [0, 1], read in blocks
    rows : int (M,), positions in `images`

    Returns
    -------
    int (M',): the rows, in their order, of which more than 5 % of the pixels are brighter than black (0.01)
    """
    blocks = [rows[start : start + 256] for start in range(0, len(rows), 256)]
    share = [(np.asarray(images[block]) > BLACK).mean(axis=(1, 2)) for block in blocks]
    return rows[np.concatenate(share) > CONTENT] if blocks else rows


def _some(rows: np.ndarray, limit: int | None, generator: np.random.Generator) -> np.ndarray:
    """At most `limit` of the rows, in their order."""
    if limit is None or limit >= len(rows):
        return rows
    return np.sort(generator.choice(rows, limit, replace=False))
