"""Runs as they lie on the disk, made from tables of predictions: no image, no network, a known truth."""

import json
from pathlib import Path

import pandas as pd
from prediction_tables import classification, segmentation

from ssrobust_lib import store
from ssrobust_lib.config import REFERENCE_ARM
from ssrobust_lib.evaluation.corruption_error import COLUMNS as ERROR_COLUMNS
from ssrobust_lib.statistics.comparisons import compare_all
from ssrobust_lib.statistics.result_tables import seed_scores

CORRUPTIONS = ("gaussian_noise", "contrast")
MARGINS = {"accuracy": 0.03, "auroc": 0.03, "dice": 0.02, "external dice": 0.05, "missed": 0.05}
RECORD = {
    "commit": "0123456789ab", "finished": "2026-11-23T04:00:00+0000", "seconds": 1.5, "peak_memory_bytes": 5 * 10**8,
    "machine": "Linux x86_64, 2 cores", "versions": {"python": "3.11.7", "torch": "2.13.0"},
}  # fmt: skip


def write_cell(folder: Path, cell: str, of: dict, settings: dict, needs: list[str], **record) -> Path:
    """One finished cell without tables; the record's further entries take the place of `RECORD`'s."""
    path = folder / "cells" / cell
    path.mkdir(parents=True)
    entries = RECORD | {"cell": cell, "of": of, "settings": settings, "needs": needs} | record
    (path / store.RECORD).write_text(json.dumps(entries))
    return path


def write_run(
    folder: Path, predictions: list[pd.DataFrame], *, key: str = "aaaaaaaaaa", epochs: int = 2, **record
) -> Path:
    """A finished run of the tasks and networks that the tables of predictions hold, first the tasks' own sets.

    Parameters
    ----------
    key : of every cell; trainings of equal keys are the same networks.
    epochs : of the fine-tuning, a parameter that can differ.
    """
    homes: dict[str, str] = {}
    evaluations, learned = [], []
    for table in predictions:
        task, name = table["task"].iloc[0], table["set"].iloc[0]
        if task not in homes:
            homes[task] = name
            learned += _write_trainings(folder, table, task, key, epochs, record)
        at_home = homes[task] == name
        for corruption, rows in table.groupby("corruption", sort=False):
            step = (
                "05_corruption_eval"
                if corruption != "clean"
                else "04_clean_eval"
                if at_home
                else "06_kits_generalization"
            )
            of = {"task": task, "set": name} | ({"corruption": corruption} if corruption != "clean" else {})
            cell = f"{step}/{'-'.join(of.values())}-{key}"
            path = write_cell(folder, cell, of, {"threads": 1}, learned, **record)
            store.write_table(path / "predictions.parquet", rows.reset_index(drop=True))
            evaluations.append(cell)
    settings = {"study_seed": 7, "statistics": {"bootstrap": 50, "margins": MARGINS}}
    calibrations = [cell for cell in learned if cell.startswith("05")]
    path = write_cell(folder, f"07_stats/all-{key}", {}, settings, [*calibrations, *evaluations], **record)
    arms = sorted({arm for table in predictions for arm in table["init"]} - {REFERENCE_ARM})
    compared = compare_all(predictions, arms=arms, seed=7, n_bootstrap=50, home=homes)
    store.write_table(path / "comparisons.parquet", compared)
    store.write_table(path / "seed_scores.parquet", seed_scores(predictions, home=homes))
    store.write_table(path / "corruption_errors.parquet", _errors(homes, arms))
    return folder


def _write_trainings(folder: Path, table: pd.DataFrame, task: str, key: str, epochs: int, record: dict) -> list[str]:
    name = table["set"].iloc[0]
    data = {"study_seed": 7, "data": {"set": name, "name": None, "image_size": 32}, "phantoms": {name: {"n": 3}}}
    cells = [f"01_data/{task}-{key}", f"05_calibration/{task}-{key}"]
    path = write_cell(folder, cells[0], {"task": task}, data, [], **record)
    samples = table[["sample_id", "patient_id", "set"]].drop_duplicates().assign(split="test")
    store.write_table(path / "samples.parquet", samples)
    path = write_cell(folder, cells[1], {"task": task}, {"floor": 0.49}, [cells[0]], **record)
    store.write_table(path / "severities.parquet", _severities(task, 0.1 if key == "aaaaaaaaaa" else 0.2))
    for init, seed in table[["init", "seed"]].drop_duplicates().itertuples(index=False):
        cells.append(f"03_finetune/{task}-{init}-seed{seed}-{key}")
        of = {"task": task, "init": init, "seed": int(seed)}
        write_cell(folder, cells[-1], of, {"finetune": {"epochs": epochs}, "study_seed": 7}, cells[:1], **record)
    return cells


def _severities(task: str, step: float) -> pd.DataFrame:
    rows = [
        (task, corruption, severity, step * severity, "fraction", 0.9 - 0.1 * severity, True, "")
        for corruption in CORRUPTIONS
        for severity in range(1, 6)
    ]
    columns = ["task", "corruption", "severity", "strength", "unit", "score", "reached_floor", "note"]
    return pd.DataFrame(rows, columns=columns)


def _errors(homes: dict[str, str], arms: list[str]) -> pd.DataFrame:
    undefined = {"relative_ce": float("nan"), "relative_ce_of_defined": float("nan"), "n_relative_defined": 0}
    common = undefined | {
        "metric": "error",
        "corruption": "all corruptions",
        "n_defined": 2,
        "n": 2,
        "note": "undefined",
    }
    rows = [
        common | {"task": task, "set": name, "init": arm, "seed": seed, "ce": 1.0 + seed / 10, "ce_of_defined": 1.0}
        for task, name in homes.items()
        for arm in [REFERENCE_ARM, *arms]
        for seed in (0, 1)
    ]
    return pd.DataFrame(rows)[list(ERROR_COLUMNS)]


def xrays(random: int, gain: float = 0.0, **options) -> pd.DataFrame:
    """Predictions on X-rays under two corruptions; `gain` goes to jigsaw."""
    return classification(n=40, seeds=(0, 1, 2), corruptions=CORRUPTIONS, random=random, gain=gain, **options)


def scans(random: int, gain: float = 0.0, shift: float = 0.0, **options) -> pd.DataFrame:
    """Predictions on scans; `shift` goes to every arm, `gain` to jigsaw."""
    options = {"n": 10, "seeds": (0, 1, 2), "corruptions": CORRUPTIONS, "name": "visceral"} | options
    table = segmentation(random=random, gain=gain, **options)
    return table.assign(dice=(table["dice"] + shift).clip(0, 1))
