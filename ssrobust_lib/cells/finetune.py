"""Fine-tuning cells: a task's network trained on its seed's few labels, from scratch or an encoder (section 3.1).

A control arm may be trained for more steps or with augmentation, a curve's point on another number of labels; labelled
images, batches and initial weights come from the streams that all arms of a seed share.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ssrobust_lib import store
from ssrobust_lib.cells import trained
from ssrobust_lib.cells.data import labelled_ids
from ssrobust_lib.cells.resuming import Resuming
from ssrobust_lib.config import AA_ARM
from ssrobust_lib.control_arms import LABELS
from ssrobust_lib.devices import set_threads
from ssrobust_lib.progress import progress
from ssrobust_lib.seeds import derive_seed
from ssrobust_lib.training.augmentation import Movements
from ssrobust_lib.training.batches import steps_in_epoch
from ssrobust_lib.training.finetuning import finetune
from ssrobust_lib.training.loop import TrainingSettings

if TYPE_CHECKING:
    from ssrobust_lib.study import Cell, Study


def compute(study: "Study", cell: "Cell", folder: Path) -> None:
    """Write the network, the curves and the report of transferred tensors."""
    profile, task, arm, seed = study.profile, cell.of["task"], cell.of["init"], cell.of["seed"]
    set_threads(profile.threads)
    network = profile.networks[task]
    cache: Any = trained.open_images(study, task)
    samples = study.table(trained.data_cell(study, task), "samples")
    train_rows = np.flatnonzero(
        cache.rows["sample_id"].isin(set(labelled_ids(profile, task, samples, seed, cell.settings.get(LABELS))))
    )
    about = trained.constants(study, task)
    val_rows = trained.positions(cache, split="val")
    classification = task == "pneumonia"
    pretext = pretext_needed(cell)
    how = profile.arm(arm)
    settings = TrainingSettings(**profile.finetune[task].model_dump())
    if how.as_long_as is not None:
        steps = steps_in_epoch(len(train_rows), settings.batch_size, settings.steps_per_epoch)
        settings = settings.lengthened(steps, int(study.table(pretext, "curves")["step"].max()))
    # the A/A arm differs from scratch by its initial weights alone
    weights = "other weights" if arm == AA_ARM else "weights"
    n_outputs = 1 if classification else len(about["structures"]) + 1
    resuming = Resuming(folder)
    with progress(cell.id, 1, study.folder) as shown:
        result = finetune(
            cache.images,
            cache.rows["label"].fillna(-1).to_numpy(np.int64) if classification else cache.masks,
            train_rows,
            val_rows,
            tuple(about["normalise"]),
            kind="classification" if classification else "segmentation",
            network=network.name,
            network_options=network.options,
            n_outputs=n_outputs,
            settings=settings,
            data_seed=derive_seed(profile.study_seed, "batches", task, seed),
            weight_seed=derive_seed(profile.study_seed, weights, task, seed),
            init_tensors=study.tensors(pretext[0], "encoder") if how.pretext else None,
            movements=Movements(**how.augmentation.model_dump()) if how.augmentation else None,
            val_scans=None if classification else cache.rows["sample_id"].to_numpy()[val_rows],
            devices=profile.devices,
            on_epoch=resuming.keep,
            resume=resuming.state(),
            progress=shown,
        )
    of = {"task": task, "init": arm, "seed": seed}
    configuration = {"network": network.name, "n_outputs": n_outputs, "options": network.options}
    store.write_tensors(folder / "model.safetensors", result.tensors, configuration)
    store.write_table(folder / "curves.parquet", result.curves.assign(**of))
    transfer = result.transfer.assign(**of)
    transfer["shape"] = transfer["shape"].astype(str)
    store.write_table(folder / "transfer.parquet", transfer)
    resuming.forget()


def pretext_needed(cell: "Cell") -> "list[Cell]":
    """The pretraining that a fine-tuning starts from, or that it is as long as."""
    return [need for need in cell.needs if need.step in ("02_pretext", "08_curve_pretext")]
