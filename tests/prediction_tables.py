"""Small made-up prediction tables for the tests of statistics: scores drawn with a known effect, no network."""

import numpy as np
import pandas as pd

CORRUPTIONS = (
    "gaussian_noise", "shot_noise", "impulse_noise", "contrast", "brightness", "gaussian_blur", "resolution",
)  # fmt: skip
ARMS = ("scratch", "jigsaw", "scratch_aa")


def conditions(corruptions):
    return [("clean", 0)] + [(corruption, severity) for corruption in corruptions for severity in range(1, 6)]


def classification(n=60, seeds=(0, 1), arms=ARMS, gain=0.0, corruptions=CORRUPTIONS, name="rsna", random=0):
    """Predictions on `n` patients with one image each; `gain` shifts the scores of 'jigsaw' to the right side."""
    generator = np.random.default_rng(random)
    labels = (np.arange(n) % 3 == 0).astype(np.int8)
    shared, ids = generator.normal(size=n), [f"{name}-{k:04d}" for k in range(n)]
    tables = []
    for arm in arms:
        for seed in seeds:
            for corruption, severity in conditions(corruptions):
                distance = 1 - 0.1 * severity + (gain if arm == "jigsaw" else 0)
                logit = (2 * labels - 1) * distance + 0.7 * shared + 0.7 * generator.normal(size=n)
                score = (1 / (1 + np.exp(-logit))).astype(np.float32)
                table = pd.DataFrame({"sample_id": ids, "patient_id": ids, "label": labels, "score": score})
                key = {"task": "pneumonia", "init": arm, "seed": seed, "set": name}
                tables.append(table.assign(**key, corruption=corruption, severity=severity))
    return pd.concat(tables, ignore_index=True)


def segmentation(
    n=12, seeds=(0, 1), arms=ARMS, gain=0.0, corruptions=CORRUPTIONS, name="visceral", random=1,
    structures=("liver", "spleen"), corrupted_gain=None,
):  # fmt: skip
    """Predictions on `n` scans; Dice of 'jigsaw' is higher by `gain` (by `corrupted_gain` under corruption)."""
    generator = np.random.default_rng(random)
    cells = conditions(corruptions)
    axes = {"init": arms, "seed": seeds, "cell": range(len(cells)), "scan": range(n), "structure": structures}
    table = pd.MultiIndex.from_product(axes.values(), names=axes.keys()).to_frame(index=False)
    table["corruption"] = [cells[k][0] for k in table["cell"]]
    table["severity"] = [cells[k][1] for k in table["cell"]]
    gains = np.where(table["severity"] == 0, gain, gain if corrupted_gain is None else corrupted_gain)
    scan_level = generator.normal(0, 0.03, n)[table["scan"]]
    dice = 0.7 - 0.04 * table["severity"] + gains * (table["init"] == "jigsaw") + scan_level
    table["dice"] = (dice + generator.normal(0, 0.02, len(table))).clip(0, 1)
    table["sample_id"] = [f"{name}-{k:03d}" for k in table["scan"]]
    return table.drop(columns=["cell", "scan"]).assign(
        task="organs", set=name, patient_id=table["sample_id"], voxels_label=100, voxels_predicted=100,
        voxels_overlap=np.rint(100 * table["dice"]).astype(int),
    )  # fmt: skip
