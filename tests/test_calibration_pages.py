"""What notebook 05 shows of the severities: the curves, the table, and the sentences computed from both."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from ssrobust_lib import figures
from ssrobust_lib.book.readings_severities import reading_calibration, reading_paper_severities, reading_rule
from ssrobust_lib.corruptions import CORRUPTIONS
from ssrobust_lib.figures.calibration import square_root_ticks
from ssrobust_lib.profile_sections import Calibration
from ssrobust_lib.severities.calibration import REASONS
from ssrobust_lib.severities.strengths import published_levels, strongest_words
from ssrobust_lib.statistics.paper import paper_results

DATASET = "phantoms, RSNA layout"
NAMES = ["gaussian_noise", "contrast", "gaussian_blur"]


def severities(reasons, task="organs"):
    rows = [
        (task, name, level, 0.02 * level, CORRUPTIONS[name].unit, 0.9 - 0.08 * level, 0.49, reason != "range_end",
         reason, "the clean score is low" + ("; the end of the range" if reason == "range_end" else ""))
        for name, reason in reasons.items()
        for level in range(1, 6)
    ]  # fmt: skip
    columns = ["corruption", "severity", "strength", "unit", "score", "floor", "reached_floor", "reason", "note"]
    return pd.DataFrame(rows, columns=["task", *columns])


@pytest.fixture
def table():
    return severities({"gaussian_noise": "rule", "contrast": "range_end", "gaussian_blur": "rule"})


@pytest.fixture
def search(table):
    rows = [
        (task, name, strength, init, seed, score + 0.02 * seed + 0.05 * (init == "jigsaw"))
        for task, name in table[["task", "corruption"]].drop_duplicates().itertuples(index=False)
        for strength, score in ((0.0, 0.9), (0.02, 0.8), (0.06, 0.6), (0.1, 0.5), (0.5, 0.1))
        for init in ("scratch", "jigsaw")
        for seed in (0, 1)
    ]
    return pd.DataFrame(rows, columns=["task", "corruption", "strength", "init", "seed", "score"])


def draw(table, search, **options):
    return figures.calibration_curves(table, search, score_name="Dice", dataset=DATASET, **options)


def panels(figure):
    return {axes.get_title(loc="left"): axes for axes in figure.axes if axes.get_title(loc="left")}


def test_one_panel_per_corruption_with_a_line_per_arm_at_its_mean(table, search):
    shown = panels(draw(table, search))
    assert list(shown) == [figures.corruption_title(name) for name in NAMES]
    for name, axes in zip(NAMES, shown.values(), strict=True):
        for line, init in zip(axes.lines, ("scratch", "jigsaw"), strict=False):
            rows = search[(search["corruption"] == name) & (search["init"] == init)]
            means = rows.groupby("strength")["score"].mean()
            np.testing.assert_allclose(line.get_xydata(), np.c_[means.index, means])


def test_the_levels_stand_on_the_reference_score_with_their_numbers(table, search):
    for name, axes in zip(NAMES, panels(draw(table, search)).values(), strict=True):
        rows = table[table["corruption"] == name]
        (circles,) = [line for line in axes.lines if line.get_marker() == "o"]
        np.testing.assert_allclose(circles.get_xydata(), rows[["strength", "score"]].to_numpy())
        assert [text.get_text() for text in axes.texts][:5] == list("12345")


def test_only_the_corruption_that_misses_the_floor_says_so(table, search):
    shown = panels(draw(table, search))
    saying = [title for title, axes in shown.items() if "floor not reached" in [t.get_text() for t in axes.texts]]
    assert saying == ["Contrast"]


def test_a_unit_in_millimetres_scales_the_axis(table, search):
    axes = panels(draw(table, search, units={"gaussian_blur": (400.0, "sigma, mm")}))["Gaussian blur"]
    assert axes.get_xlabel() == "sigma, mm"
    (circles,) = [line for line in axes.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(circles.get_xdata(), 8.0 * np.arange(1, 6))


def test_published_levels_are_marked_and_those_beyond_the_axis_pointed_at(table, search):
    published = {"ImageNet-C": {"gaussian_noise": (0.08, 0.12, 0.7)}, "MedMNIST-C": {"gaussian_noise": (0.04, 0.08)}}
    figure = draw(table, search, published=published)
    axes = panels(figure)["Gaussian noise"]
    by_marker = {line.get_marker(): line.get_xdata().tolist() for line in axes.lines if line.get_marker() in "^D>"}
    assert by_marker == {"^": [0.08, 0.12], "D": [0.04, 0.08], ">": [0.5]}
    assert "levels of published tables" in figure.alt
    assert "published" not in draw(table, search).alt


def test_no_severity_gives_a_figure_that_says_so(table, search):
    figure = draw(table[:0], search[:0])
    assert "No severity has been calibrated yet." in [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize("end", [0.0007, 0.004, 0.0625, 0.3, 0.6, 1.0, 24.0])
def test_ticks_begin_at_zero_are_round_and_stand_apart(end):
    ticks = square_root_ticks(end)
    assert ticks[0] == 0 and ticks[-1] <= end < 2.6 * ticks[-1]
    assert 3 <= len(ticks) <= 6
    assert all(f"{tick:.0e}"[0] in "0125" for tick in ticks)
    assert np.diff(np.sqrt(ticks)).min() > 0.1 * np.sqrt(end)


def test_the_table_tells_what_is_particular_to_a_corruption(table):
    strongest = table[table["severity"] == 5].assign(words=["noisy", "flat", "blurred"])
    made = figures.severity_table(
        table, strongest, "Severities", dataset=DATASET, published={"ImageNet-C": {"contrast": (0.6, 0.7)}}
    )
    assert made.html.count("the end of the range") == 1, "what holds for all corruptions is not repeated"
    assert "the clean score is low" not in made.html
    for words in ("flat", "0.02, 0.04, 0.06, 0.08, 0.1", "0.82, 0.74, 0.66, 0.58, 0.50", "0.6, 0.7", "not reached"):
        assert words in made.html
    assert "Floor: 0.49" in made.html


def test_published_levels_cover_both_tasks_and_every_corruption():
    for task in ("pneumonia", "organs"):
        tables = published_levels(task)
        assert list(tables) == ["ImageNet-C", "MedMNIST-C"]
        assert all(set(table) == set(CORRUPTIONS) for table in tables.values())


def test_strengths_in_words_know_the_task_s_pixels():
    profile = SimpleNamespace(data={"organs": SimpleNamespace(image_size=512, pixel_mm=0.9)})
    rows = [("gaussian_blur", 0.01), ("resolution", 0.75)]
    severities = pd.DataFrame(rows, columns=["corruption", "strength"]).assign(task="organs", severity=5)
    blur, resolution = strongest_words(SimpleNamespace(profile=profile), severities)["words"]
    assert "4.61 mm" in blur and "3.6 mm" in resolution and "512" in blur


def test_the_reading_counts_and_gives_each_reason(table, search):
    text = reading_calibration(table, search).data
    for words in ("2 of 3 corruptions", f"Contrast: {REASONS['range_end']}", "12 strengths", "4 networks", "is low"):
        assert words in text
    assert "Gaussian" not in text
    every = dict(zip(CORRUPTIONS, REASONS, strict=False))
    every |= {"resolution": "no_score"}
    text = reading_calibration(severities(every), search).data
    for name, reason in every.items():
        said = reason not in ("rule", "given", "floor_lowered")
        assert (f"{figures.corruption_title(name)}: {REASONS[reason]}" in text) == said
    empty = reading_calibration(table[:0], search[:0]).data
    assert empty == ""


def test_the_rule_is_said_as_the_profile_has_it(table):
    rule = Calibration(reference="mean", steps="score", floor=0.6)
    assert "floor of 0.49 (lowered from 0.6, see below);" in reading_rule(rule, table).data
    text = reading_rule(rule, table.assign(floor=0.6)).data
    for words in ("the mean of all arms' score", "floor of 0.6;", "equal steps of score", "0.01", "5 %"):
        assert words in text
    given = severities({"contrast": "given"}).assign(note="strengths of ImageNet-C; at or below 0.49 at level 5")
    assert "those of ImageNet-C; nothing was searched" in reading_rule(rule, given).data


def test_the_papers_contradiction_comes_from_its_printed_numbers():
    results = paper_results()
    text = reading_paper_severities(results).data
    printed = results.set_index("id")["printed"]
    assert f"above {printed['text.floor']}" in text
    assert f"about {printed['fig4.impulse_noise.level']}" in text
    agreeing = results.assign(value=results["value"].where(results["id"] != "fig4.impulse_noise.level", 0.6))
    assert reading_paper_severities(agreeing).data == "The paper's scores under corruption agree with its rule."
