"""Leak cells: networks of one seed trained in the four ways of `splits.leaks`, scored on the same test images.

Small on purpose: some of the task's own patients, at a small size, with short trainings. What they show is a
difference between ways; their scores are no result of the study.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ssrobust_lib import store
from ssrobust_lib.cells import trained
from ssrobust_lib.config import REFERENCE_ARM, Profile, ProfileError
from ssrobust_lib.datasets import LOADERS, index_samples
from ssrobust_lib.datasets.cache import Cache
from ssrobust_lib.datasets.manifest import load_manifest
from ssrobust_lib.devices import set_threads
from ssrobust_lib.evaluation.engine import evaluate_classification
from ssrobust_lib.evaluation.inference import CLEAN
from ssrobust_lib.networks import build_network
from ssrobust_lib.preprocessing import XRaySettings, preprocess_xray
from ssrobust_lib.progress import progress
from ssrobust_lib.seeds import derive_seed, rng, torch_rng
from ssrobust_lib.splits.leaks import WAYS, LeakDesign, design_leaks
from ssrobust_lib.training.finetuning import finetune
from ssrobust_lib.training.loop import TrainingSettings
from ssrobust_lib.training.pretraining import pretrain

if TYPE_CHECKING:
    from torch import nn

    from ssrobust_lib.study import Cell, Study

TASK = "pneumonia"


def compute(study: "Study", cell: "Cell", folder: Path) -> None:
    """Write ``predictions.parquet``, ``accuracy.parquet`` (of the pretext tasks) and ``design.parquet``."""
    profile, seed = study.profile, cell.of["seed"]
    set_threads(profile.threads)
    settings = profile.leaks
    rows = label_rows(study)
    try:
        design = design_leaks(
            rows,
            test=settings.test,
            validation=settings.validation,
            label_fraction=settings.label_fraction,
            split_seed=derive_seed(profile.study_seed, "leaks", "split"),
            seed=derive_seed(profile.study_seed, "leaks", seed),
        )
    except ValueError as error:  # too few patients for the four ways
        raise ProfileError(f"leaks: {error}") from error
    images: Any = _small_images(trained.open_images(study, TASK), design, settings.image_size)
    training = _Trainings(study, images, design, seed)
    networks: dict[tuple[str, int], nn.Module] = {}
    trainings = [(way, arm) for way in WAYS for arm in (REFERENCE_ARM, *profile.main_pretext_tasks)]
    with progress(cell.id, len(trainings), study.folder) as shown:
        for done, (way, arm) in enumerate(trainings, start=1):
            networks[f"{way}/{arm}", seed] = training.network(arm, way)
            shown(done)
    predictions = evaluate_classification(
        networks,
        images,
        np.flatnonzero(images.rows["sample_id"].isin(design.test)),
        training.normalise,
        corruption=CLEAN,
        strengths={0: 0.0},
        study_seed=profile.study_seed,
        batch_size=profile.evaluation.batch_size,
        device="auto",
    ).predictions
    parts = predictions["init"].str.split("/", n=1, expand=True)
    store.write_table(folder / "predictions.parquet", predictions.assign(way=parts[0], init=parts[1]))
    store.write_table(folder / "accuracy.parquet", pd.DataFrame(training.accuracies).assign(seed=seed))
    store.write_table(folder / "design.parquet", design_table(design).assign(seed=seed))


def check_leaks(profile: Profile) -> None:
    """Raise `ProfileError` where the task's set has no label table with several rows per image."""
    data = profile.data[TASK]
    if not LOADERS[load_manifest(data.set).loader].row_options:
        raise ProfileError(
            f"leaks: {data.label} has one label per image, so that nothing leaks by rows; expected a set whose label "
            "table has several rows per image (rsna). Take the section leaks out of the profile"
        )


def label_rows(study: "Study") -> pd.DataFrame:
    """Label rows of the first patients (in an order of the study's seed) that the data cell decoded.

    Returns
    -------
    DataFrame: sample_id (of the row), patient_id, image (sample_id in the cache), label

    Raises
    ------
    ProfileError
        The task's set has no label table with several rows per image.
    """
    profile, about = study.profile, trained.constants(study, TASK)
    label = profile.data[TASK].label
    check_leaks(profile)
    manifest = load_manifest(about["sets"][label])
    rows, _ = index_samples(manifest, Path(about["roots"][label]), **LOADERS[manifest.loader].row_options)
    decoded = trained.open_images(study, TASK).rows
    images = decoded[decoded["set"] == label].drop_duplicates("patient_id").set_index("patient_id")["sample_id"]
    rows = rows[rows["patient_id"].isin(images.index)]
    order = rng(profile.study_seed, "leaks", "patients").permutation(np.array(sorted(rows["patient_id"].unique())))
    rows = rows[rows["patient_id"].isin(set(order[: profile.leaks.patients]))]
    rows = rows.assign(image=rows["patient_id"].map(images), label=rows["label"].astype(int))
    return rows[["sample_id", "patient_id", "image", "label"]].reset_index(drop=True)


def design_table(design: LeakDesign) -> pd.DataFrame:
    """One row per image: whether it is tested on, whether it leaks, and what each way learns from it."""
    learned = {name for way in WAYS for name in (*design.labelled[way], *design.pool[way])}
    names = sorted({*design.test, *design.val, *learned})
    table = pd.DataFrame({"sample_id": names})
    table["part"] = table["sample_id"].map({**dict.fromkeys(design.val, "val"), **dict.fromkeys(design.test, "test")})
    table["part"] = table["part"].fillna("train")
    table["leaked"] = table["sample_id"].isin(design.leaked)
    for way in WAYS:
        use = {**dict.fromkeys(design.labelled[way], "labelled"), **dict.fromkeys(design.pool[way], "pretext")}
        table[way] = table["sample_id"].map(use).fillna("")
    return table


@dataclass(frozen=True)
class _SmallImages:
    """Images in memory, float16 (N, side, side) in [0, 1], and one row of the table for each."""

    images: np.ndarray
    rows: pd.DataFrame


def _small_images(cache: Cache, design: LeakDesign, side: int) -> _SmallImages:
    """The design's images in memory, reduced to a side in pixels."""
    wanted = set(design_table(design)["sample_id"])
    chosen = np.flatnonzero(cache.rows["sample_id"].isin(wanted) & ~cache.rows["sample_id"].duplicated())
    settings = XRaySettings(size=side)
    small = [preprocess_xray(cache.images[k].astype(np.float32), settings).astype(np.float16) for k in chosen]
    return _SmallImages(np.stack(small), cache.rows.iloc[chosen].reset_index(drop=True))


class _Trainings:
    """Trains the networks of one seed; a training that two ways have in common is done once."""

    def __init__(self, study: "Study", images: _SmallImages, design: LeakDesign, seed: int) -> None:
        self.profile, self.images, self.design, self.seed = study.profile, images, design, seed
        self.normalise: tuple[float, float] = tuple(trained.constants(study, TASK)["normalise"])
        self.accuracies: list[dict[str, Any]] = []
        self._labels = images.rows["label"].fillna(-1).to_numpy(np.int64)
        self._val = self._rows(design.val)
        self._encoders: dict[tuple[str, tuple[str, ...]], dict[str, Any]] = {}
        self._networks: dict[tuple[Any, ...], nn.Module] = {}

    def network(self, arm: str, way: str) -> "nn.Module":
        """The fine-tuned network of an arm in one of the ways."""
        labelled = self.design.labelled[way]
        key = (arm, labelled, None if arm == REFERENCE_ARM else self.design.pool[way])
        if key not in self._networks:
            self._networks[key] = self._finetuned(labelled, None if arm == REFERENCE_ARM else self._encoder(arm, way))
        return self._networks[key]

    def _finetuned(self, labelled: tuple[str, ...], encoder: dict[str, Any] | None) -> "nn.Module":
        network = self.profile.networks[TASK]
        result = finetune(
            self.images.images,
            self._labels,
            self._rows(labelled),
            self._val,
            self.normalise,
            kind="classification",
            network=network.name,
            network_options=network.options,
            n_outputs=1,
            settings=TrainingSettings(**self.profile.leaks.finetune.model_dump()),
            data_seed=derive_seed(self.profile.study_seed, "leaks", "batches", self.seed),
            weight_seed=derive_seed(self.profile.study_seed, "leaks", "weights", self.seed),
            init_tensors=encoder,
            devices=self.profile.devices,
        )
        built = build_network(network.name, 1, torch_rng(0), **network.options)
        built.load_state_dict(result.tensors)
        return built.eval()

    def _encoder(self, arm: str, way: str) -> dict[str, Any]:
        pool = self.design.pool[way]
        if (arm, pool) not in self._encoders:
            network = self.profile.networks[TASK]
            result = pretrain(
                self.images.images,
                self._rows(pool),
                self._val,
                self.normalise,
                network=network.name,
                network_options=network.options,
                pretext_task=arm,
                options=self.profile.pretext[TASK][arm].options,
                settings=TrainingSettings(**self.profile.leaks.pretext.model_dump()),
                seed=derive_seed(self.profile.study_seed, "leaks", "pretext", arm, self.seed),
                devices=self.profile.devices,
            )
            self._encoders[arm, pool] = result.tensors
            measured = {"accuracy": result.accuracy, "chance": result.chance, "n": result.n, "learned": result.learned}
            self.accuracies.append({"way": way, "init": arm, "n_pool": len(pool), **measured})
        return self._encoders[arm, pool]

    def _rows(self, names: tuple[str, ...]) -> np.ndarray:
        """Positions of images in the order of their names: batches are drawn by position (see `LeakDesign`)."""
        return pd.Index(self.images.rows["sample_id"]).get_indexer(list(names)).astype(np.int64)
