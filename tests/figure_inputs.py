"""What the tests of figures hand in, and the words that they find on a figure."""

import numpy as np
import pandas as pd
from prediction_tables import CORRUPTIONS

from ssrobust_lib import figures

DATASET = "phantoms, RSNA layout"
STRUCTURES = ["liver", "left_kidney", "aorta"]


def texts(figure):
    """All words on a figure, drawn once so that lazily made ones are there."""
    import matplotlib.text

    figure.draw_without_rendering()
    return [item.get_text() for item in figure.findobj(matplotlib.text.Text) if item.get_text()]


def training_curves():
    """Losses and scores of five epochs of two arms and two seeds; the score rises with the epoch and the seed."""
    rows = [
        (init, seed, epoch, 1 / epoch, 1.1 / epoch, 0.5 + 0.02 * epoch + 0.01 * seed)
        for init in ("scratch", "jigsaw")
        for seed in (0, 1)
        for epoch in range(1, 6)
    ]
    return pd.DataFrame(rows, columns=["init", "seed", "epoch", "train_loss", "val_loss", "val_score"])


def made_scores():
    """Scores of three arms and three seeds on clean images and at five severities of every corruption."""
    rng = np.random.default_rng(0)
    rows = [
        (init, seed, corruption, severity, rng.uniform(0.3, 0.9))
        for init in ("scratch", "scratch_aa", "jigsaw")
        for seed in (0, 1, 2)
        for corruption in ["clean", *CORRUPTIONS]
        for severity in ([0] if corruption == "clean" else range(1, 6))
    ]
    return pd.DataFrame(rows, columns=["init", "seed", "corruption", "severity", "score"])


def every_figure():
    """Name -> function that draws one figure of each kind, from made-up numbers."""
    scores, words = made_scores(), {"dataset": DATASET}
    clean, rng = scores[scores["severity"] == 0], np.random.default_rng(1)
    mask = np.zeros((8, 10, 10), dtype=int)
    mask[2:5, 3:7, 3:7] = 1
    hu = rng.normal(0, 200, mask.shape).astype(np.float32)
    case = figures.Case("Largest\ngain", rng.random((6, 6)), mask[3, :6, :6], {"scratch": mask[3, :6, :6]}, None)
    both = {"scratch": case.truth, "jigsaw": case.truth}
    scored = figures.Case(case.title, case.image, case.truth, both, case.image, {"scratch": 0.4, "jigsaw": 0.6})
    truth = np.arange(9)
    puzzles = [figures.Puzzle(rng.random((9, 4, 4)), truth, truth[[1, 0, *range(2, 9)]])]
    solved = pd.DataFrame({"seed": [0, 1], "n_correct": [30, 45], "n": [50, 50]})
    levels = pd.DataFrame(
        [(name, level, 0.1 * level, "standard deviation", 0.9 - 0.08 * level, 0.49, name != "contrast")
         for name in CORRUPTIONS for level in range(1, 6)],
        columns=["corruption", "severity", "strength", "unit", "score", "floor", "reached_floor"],
    )  # fmt: skip
    search = levels.assign(init="scratch", seed=0)[["corruption", "strength", "init", "seed", "score"]]
    samples = pd.DataFrame(
        {"split": ["train"] * 4 + ["test"] * 2, "label": pd.array([0, 0, 0, 1, 0, 1], dtype="Int64")}
    )
    compared = pd.DataFrame({"condition": CORRUPTIONS, "p_holm": 0.04, "difference": 0.03, "note": ""})
    compared = compared.assign(ci_low=0.01, ci_high=0.05, family="corruption", metric="dice", arm="jigsaw")
    compared = compared.assign(reference="scratch", n=12, n_seeds=3, unit="scan", method_p_holm=0.2)
    compared = compared.assign(method_ci_low=-0.02, method_ci_high=0.08)
    leaked = [
        (metric, way, init, seed, 0.6 + 0.05 * (way == "row"))
        for metric in ("accuracy", "auroc")
        for way in ("patient", "pretext leak", "label leak", "row")
        for init in ("scratch", "jigsaw")
        for seed in (0, 1)
    ]
    leaks = pd.DataFrame(leaked, columns=["metric", "way", "init", "seed", "value"])
    amounts = pd.DataFrame(
        [
            ("pneumonia", "labels", "accuracy", condition, init, amount, n, 0.7, 0.68, 0.72, 3)
            for condition in ("clean", "all corruptions")
            for init in ("scratch", "jigsaw")
            for amount, n in (("0.01", 30), ("0.1", 300))
        ],
        columns=["task", "axis", "metric", "condition", "init", "amount", "n_images", "mean", "low", "high", "n_seeds"],
    )
    gains = pd.DataFrame(
        {"task": "pneumonia", "role": "home", "metric": "accuracy", "scope": "clean", "arm": "jigsaw", "p": 0.04,
         "reference": ["scratch", "scratch_long"], "difference": 0.02, "low": -0.01, "high": 0.05}
    )  # fmt: skip
    pairs = pd.DataFrame(
        {
            "name": ["a", "b"],
            "arm": [0.5, 0.7],
            "reference": [0.4, 0.6],
            "difference": [0.1, 0.1],
            "label": ["without the finding", "with the finding"],
            "n_seeds": 3,
        }
    )
    ranges = {f"{side}_{end}": pairs[side] for side in ("arm", "reference") for end in ("low", "high")}
    pairs = pairs.assign(**ranges)
    groups = compared.head(1).assign(
        mean_arm=0.6,
        mean_reference=0.57,
        attribute="sex",
        group="female",
        scope="clean",
        role="home",
        set="rsna",
        task="pneumonia",
    )
    powers = pd.DataFrame(
        {"metric": "accuracy", "size": "3 seeds x 210 patients", "difference": [0.0, 0.05], "studies": [2000, 500],
         "method": [0.05, 0.4], "networks": [0.3, 0.8], "test": "Wilcoxon signed-rank, patients"}
    )  # fmt: skip
    xray = figures.XRayCase("best (+0.10)", rng.random((8, 8)), 1, {"scratch": np.array([0.4, 0.6])}, None)
    dice = clean.rename(columns={"score": "dice"}).assign(sample_id="s1", structure="liver")
    picture = rng.random((8, 8))
    return {
        "corruption_bars": lambda: figures.corruption_bars(scores, metric="Accuracy", **words),
        "clean_bars": lambda: figures.clean_bars({"Accuracy": clean}, **words),
        "severity_curves": lambda: figures.severity_curves(scores, metric="accuracy", **words),
        "severity_curves, unbounded": lambda: figures.severity_curves(
            scores, metric="distance", bounded=False, **words
        ),
        "training_curves": lambda: figures.training_curves(training_curves(), score_name="AUROC", **words),
        "pretext_accuracy": lambda: figures.pretext_accuracy(solved, chance=0.01, **words),
        "structure_dice": lambda: figures.structure_dice(dice, **words),
        "class_balance": lambda: figures.class_balance(samples, **words),
        "calibration_curves": lambda: figures.calibration_curves(levels, search, score_name="accuracy", **words),
        "amount_curves": lambda: figures.amount_curves(
            amounts, metric="Accuracy", title="Labels", severities="severity 3", **words
        ),
        "arm_differences": lambda: figures.arm_differences(gains, title="Gains", **words),
        "pair_scatter": lambda: figures.pair_scatter(
            pairs, arms=("jigsaw", "scratch"), score="Dice", unit="scan", title="Scans", **words
        ),
        "subgroup_differences": lambda: figures.subgroup_differences(groups, metric="Dice", title="Groups", **words),
        "power_curves": lambda: figures.power_curves(powers, title="Power", **words),
        "xray_cases": lambda: figures.xray_cases([xray], **words),
        "forest_plot": lambda: figures.forest_plot(compared, **words),
        "leak_bars": lambda: figures.leak_bars(leaks, **words),
        "method_figure": figures.method_figure,
        "xray_sheet": lambda: figures.xray_sheet([picture] * 3, labels=[0, 1, None], **words),
        "ct_sheet": lambda: figures.ct_sheet(hu, mask, spacing_mm=(5, 1, 1), structures=["liver"], **words),
        "corruption_examples": lambda: figures.corruption_examples(
            {"CT": dict.fromkeys(["clean", *CORRUPTIONS], picture)}, severity=3, **words
        ),
        "severity_strip": lambda: figures.severity_strip({"contrast": dict.fromkeys(range(6), picture)}, **words),
        "segmentation_cases": lambda: figures.segmentation_cases([scored], structures=["liver"], **words),
        "segmentation_cases, unscored": lambda: figures.segmentation_cases([case], structures=["liver"], **words),
        "jigsaw_examples": lambda: figures.jigsaw_examples(puzzles, **words),
    }
