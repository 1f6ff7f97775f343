"""Tables and readings of every metric, of drops and of corruption errors show what was handed in."""

import re

import numpy as np
import pandas as pd
import pytest

from ssrobust_lib import figures
from ssrobust_lib.book import readings_robustness
from ssrobust_lib.evaluation.condition_scores import COLUMNS
from ssrobust_lib.evaluation.corruption_error import corruption_errors

NAMES = {"pneumonia": "RSNA phantoms", "organs": "VISCERAL phantoms"}
VALUES = {"scratch": (0.8, 0.6), "jigsaw": (0.7, 0.65)}  # clean, corrupted


def rows_of(task, metric, structure="", values=VALUES, spread=0.02, direction=1):
    """One corruption at five severities, two seeds that differ by the spread."""
    rows = []
    for init, (clean, corrupted) in values.items():
        for seed in (0, 1):
            for severity in range(6):
                value = (corrupted if severity else clean) + spread * (seed - 0.5)
                start = clean + spread * (seed - 0.5)
                corruption = "shot_noise" if severity else "clean"
                rows.append(
                    (task, "home", metric, structure, corruption, severity, init, seed, value, start,
                     direction * (start - value), 10, "scan")
                )  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)


@pytest.fixture
def scores():
    parts = [rows_of("pneumonia", name) for name in ("accuracy", "balanced_accuracy")]
    parts.append(rows_of("pneumonia", "brier", values={"scratch": (0.2, 0.3), "jigsaw": (0.2, 0.25)}, direction=-1))
    parts += [rows_of("organs", "dice"), rows_of("organs", "dice", "liver"), rows_of("organs", "hd95_mm", "liver")]
    shares = {"scratch": (0.1, 0.3), "jigsaw": (0.1, 0.2)}
    for metric in ("flipped", "mirrored"):
        parts += [rows_of("organs", metric, name, shares) for name in ("", "liver")]
    for task in NAMES:
        parts.append(rows_of(task, "feature_distance", values={"scratch": (0, 0.9), "jigsaw": (0, 0.4)}, spread=0.0))
    return pd.concat(parts, ignore_index=True)


def cells(table):
    """Text of each row's cells, without tags."""
    rows = [row for row in table.html.split("<tr>") if "<td" in row]
    return [[re.sub("<[^>]+>", " ", cell).strip() for cell in re.findall("<td.*?</td>", row)] for row in rows]


def of_task(scores, task):
    return scores[scores["task"] == task]


def test_every_metric_has_a_row_with_mean_and_spread_and_says_where_less_is_better(scores):
    clean = of_task(scores, "pneumonia")
    table = figures.metric_table(clean[clean["severity"] == 0], "Clean", dataset="d")
    assert cells(table)[0] == ["Accuracy", "0.800 ± 0.014", "0.700 ± 0.014"]
    assert cells(table)[2][0] == "Brier score  lower is better"
    assert "2 seeds" in table.html and "Feature" not in table.html


def test_what_is_undefined_is_called_so(scores):
    clean = of_task(scores, "pneumonia")
    clean = clean[clean["severity"] == 0].assign(value=np.nan)
    assert {row[1] for row in cells(figures.metric_table(clean, "Clean", dataset="d"))} == {"undefined"}


def test_the_drop_stands_below_the_score(scores):
    table = figures.drop_table(of_task(scores, "pneumonia"), "Drop", dataset="d", metric="accuracy")
    assert cells(table) == [
        ["Clean", "0.800 ± 0.014", "0.700 ± 0.014"],
        ["Shot noise", "0.600 ± 0.014  drop +0.200", "0.650 ± 0.014  drop +0.050"],
    ]
    worse = figures.drop_table(of_task(scores, "pneumonia"), "Drop", dataset="d", metric="brier")
    assert "drop +0.100" in cells(worse)[1][1]  # an error that grows is a drop as well


def test_corruption_error_by_hand_and_undefined_where_normal_training_loses_nothing(scores):
    errors = corruption_errors(scores)
    table = cells(figures.corruption_error_table(errors[errors["task"] == "pneumonia"], "CE", dataset="d"))
    # errors 0.4 and 0.35 (mean over the seeds), degradations 0.2 and 0.05
    assert table[0][2].startswith("0.875 ±") and table[0][2].endswith("relative 0.250 ± 0.000")
    assert table[1][0] == "all: mCE" and table[0][1].startswith("1.000 ±")
    still = scores.assign(value=scores["clean"])
    table = figures.corruption_error_table(corruption_errors(still), "CE", dataset="d")
    assert cells(table)[0][1].endswith("relative undefined")
    spread = errors.assign(relative_ce=np.where(errors["seed"] == 0, 9.0, -7.0))
    uncertain = cells(figures.corruption_error_table(spread[spread["task"] == "pneumonia"], "Errors", dataset="d"))
    assert all(cell.endswith("relative uncertain") for cell in uncertain[0][1:])


def test_a_structure_has_both_arms_in_a_cell_and_shares_in_percent(scores):
    clean = of_task(scores, "organs")
    table = figures.structure_table(
        clean[clean["severity"] == 0], "Structures", dataset="d", arms=("scratch", "jigsaw")
    )
    assert cells(table) == [["liver", "0.80 | 0.70", "0.8 | 0.7", "10 | 10", "10 | 10"]]
    confusion = figures.confusion_table(of_task(scores, "organs"), "Confusion", dataset="d")
    assert cells(confusion)[1] == ["Shot noise", "30.0 %  left for right 30.0 %", "20.0 %  left for right 20.0 %"]


def test_readings_name_who_errs_less_and_whose_features_move_less(scores):
    text = readings_robustness.reading_corruption_errors(corruption_errors(scores), NAMES).data
    assert "Self-supervised (jigsaw): mCE 0.875 (seeds" in text and "1 of 1 corruption (shot noise)" in text
    text = readings_robustness.reading_features(scores, NAMES).data
    assert "move by 0.40 of the distance between two patients, those of normal training by 0.90" in text
    assert "Rank correlation of distance and drop: 0.9" in text or "Rank correlation of distance and drop: 1.0" in text
    text = readings_robustness.reading_confusion(scores).data
    assert "10.0 % of a structure's voxels go to another structure on clean scans and 30.0 % on corrupted ones" in text


def test_corruptions_are_named_where_accuracy_and_its_balanced_error_disagree(scores):
    errors = corruption_errors(scores)
    assert "other way" not in readings_robustness.reading_corruption_errors(errors, NAMES, scores).data
    worse = (scores["metric"] == "accuracy") & (scores["init"] == "jigsaw") & (scores["severity"] > 0)
    turned = scores.assign(value=np.where(worse, scores["value"] - 0.4, scores["value"]))
    said = readings_robustness.reading_corruption_errors(errors, NAMES, turned).data
    assert "By accuracy it is the other way round under shot noise" in said


def test_seeds_that_overlap_are_said_to(scores):
    apart = readings_robustness.reading_corruption_errors(corruption_errors(scores), NAMES).data
    assert "overlap" not in apart
    near = scores.assign(value=np.where(scores["init"] == "jigsaw", scores["value"] - 0.045, scores["value"]))
    assert "which overlap" in readings_robustness.reading_corruption_errors(corruption_errors(near), NAMES).data


def test_runs_without_corruption_or_ct_say_so(scores):
    clean = scores[scores["severity"] == 0]
    assert "no corrupted image" in readings_robustness.reading_features(clean, NAMES).data
    assert "no corrupted image" in readings_robustness.reading_corruption_errors(corruption_errors(clean), NAMES).data
    assert "no CT" in readings_robustness.reading_confusion(of_task(scores, "pneumonia")).data


def test_axes_of_an_unbounded_measure_are_each_panels_own(scores):
    moved = scores[(scores["metric"] == "feature_distance") & (scores["task"] == "organs")]
    moved = moved.rename(columns={"value": "score"})
    more = moved[moved["severity"] > 0].assign(corruption="contrast")
    both = pd.concat([moved, more.assign(score=10 * more["score"])])
    figure = figures.severity_curves(both, metric="distance", dataset="d", bounded=False)
    tops = sorted(axes.get_ylim()[1] for axes in figure.axes if axes.get_title(loc="left") or axes.get_title())
    assert tops == pytest.approx([0.945, 9.45])
