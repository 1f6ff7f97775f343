"""Figures show what was handed in: heights, p values, panels, words, and notes on what is missing."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from figure_inputs import DATASET, STRUCTURES, texts, training_curves
from matplotlib.colors import to_hex, to_rgb
from prediction_tables import CORRUPTIONS

from ssrobust_lib import figures
from ssrobust_lib.figures import style, tidy
from ssrobust_lib.registry import UnknownNameError


@pytest.fixture(scope="module")
def scores():
    rng = np.random.default_rng(0)
    rows = [
        (init, seed, corruption, severity, rng.uniform(0.3, 0.9))
        for init in ("scratch", "jigsaw")
        for seed in (0, 1, 2)
        for corruption in ["clean", *CORRUPTIONS]
        for severity in ([0] if corruption == "clean" else range(1, 6))
    ]
    return pd.DataFrame(rows, columns=["init", "seed", "corruption", "severity", "score"])


@pytest.fixture(scope="module")
def comparisons():
    frame = pd.DataFrame({"condition": CORRUPTIONS, "p_holm": [0.2, 0.0002, 0.04, 0.00099, 0.001, 1.0, np.nan]})
    frame["p"] = frame["p_holm"] / 2
    frame["difference"] = [0.01, 0.1, 0.05, 0.2, -0.05, 0.0, np.nan]
    frame["ci_low"], frame["ci_high"] = frame["difference"] - 0.02, frame["difference"] + 0.02
    frame["note"] = ["", "", "", "", "", "", "no pair differs"]
    constants = {"family": "accuracy under corruption", "metric": "accuracy", "arm": "jigsaw", "reference": "scratch"}
    frame["method_ci_low"], frame["method_ci_high"] = frame["difference"] - 0.3, frame["difference"] + 0.3
    return frame.assign(**constants, n=40, n_seeds=3, unit="patient", method_p_holm=0.5)


@pytest.fixture(scope="module")
def curves():
    return training_curves()


def test_bars_are_as_high_as_the_severity_averaged_means(scores):
    axes = figures.corruption_bars(scores, metric="Accuracy", dataset=DATASET).axes[0]
    corrupted = scores[scores["severity"] > 0]
    expected = corrupted.groupby(["corruption", "init", "seed"])["score"].mean().groupby(["corruption", "init"]).mean()
    drawn = [bar.get_height() for bar in axes.patches]
    assert drawn == pytest.approx([expected[name, init] for name in CORRUPTIONS for init in ("scratch", "jigsaw")])


def test_p_below_a_thousandth_is_red_and_others_are_not(scores, comparisons):
    axes = figures.corruption_bars(scores, comparisons, metric="Accuracy", dataset=DATASET).axes[0]
    printed = {text.get_gid()[2:]: text for text in axes.texts}
    red = {name for name, text in printed.items() if to_hex(text.get_color()) == style.RED}
    assert red == {"shot_noise", "contrast"}
    assert printed["shot_noise"].get_text().split(" \u25bc")[0] == "p < 0.001"
    assert printed["brightness"].get_text().split(" \u25bc")[0] == "p = 0.0010"
    assert printed["resolution"].get_text() == "no test"


def test_uncorrected_p_is_printed_when_asked_for_and_named(scores, comparisons):
    figure = figures.corruption_bars(scores, comparisons, metric="Accuracy", dataset=DATASET, p_column="p")
    assert {"p = 0.020", "p = 0.020 \u25bc"} & set(texts(figure))
    assert "uncorrected" in figure.alt


def test_p_of_an_arm_that_scores_lower_is_marked(scores, comparisons):
    axes = figures.corruption_bars(scores, comparisons, metric="Accuracy", dataset=DATASET).axes[0]
    means = scores[scores["severity"] > 0].groupby(["corruption", "init"])["score"].mean().unstack()
    for text in axes.texts:
        name = text.get_gid()[2:]
        lower = means.loc[name, "jigsaw"] < means.loc[name, "scratch"] and text.get_text() != "no test"
        assert text.get_text().endswith("\u25bc") == lower


def test_bars_refuse_comparisons_of_several_metrics(scores, comparisons):
    with pytest.raises(ValueError, match="filter to one task"):
        figures.corruption_bars(scores, pd.concat([comparisons] * 2), metric="Accuracy", dataset=DATASET)


def test_missing_seed_and_missing_arm_are_named(scores):
    part = scores[~((scores["init"] == "jigsaw") & (scores["seed"] == 2))]
    figure = figures.corruption_bars(
        part, metric="Accuracy", dataset=DATASET, inits=["scratch", "scratch_aa", "jigsaw"]
    )
    assert "Self-supervised (jigsaw) (seed 2)" in figure.alt
    assert "A/A: normal training again (all seeds)" in figure.alt


def test_missing_runs_is_silent_when_nothing_is_missing(scores):
    assert tidy.missing_runs(scores, ["scratch", "jigsaw"]) is None
    assert "seeds 3, 4" in tidy.missing_runs(scores, ["jigsaw"], seeds=[0, 1, 2, 3, 4])


def test_clean_bars_show_our_means_and_the_papers_line(scores):
    clean = scores[scores["severity"] == 0]
    figure = figures.clean_bars({"Accuracy": clean}, {"Accuracy": {"jigsaw": 0.761}}, dataset=DATASET)
    (panel,) = [axes for axes in figure.axes if axes.get_title(loc="left") == "Accuracy"]
    heights = [bar.get_height() for bar in panel.patches]
    means = clean.groupby("init")["score"].mean()
    assert heights == pytest.approx([means["scratch"], means["jigsaw"]])
    assert any(np.allclose(line.get_ydata(), 0.761) for line in panel.lines)


def test_points_of_severity_curves_tell_value_interval_and_n(scores):
    counted = scores.assign(n=210, unit="patient")
    figure = figures.severity_curves(counted, metric="accuracy", dataset=DATASET)
    assert len(figure.marks) == 2 * 6 * len(CORRUPTIONS), "every arm at every severity of every panel"
    chosen = scores[(scores["init"] == "jigsaw") & (scores["corruption"] == "contrast") & (scores["severity"] == 2)]
    low, high = tidy.seed_interval(chosen["score"].to_numpy())
    said = f"Mean: {chosen['score'].mean():.3f}, 95 % interval over seeds {low:.3f} to {high:.3f}"
    (mark,) = [mark for mark in figure.marks if "(jigsaw), Contrast, severity 2" in mark.words]
    assert said.replace("-", "\N{MINUS SIGN}") in mark.words
    assert mark.words.endswith("n = 210 patients")
    assert (mark.x, mark.y) == (2, pytest.approx(chosen["score"].mean()))
    one = figures.severity_curves(scores[scores["seed"] == 0], metric="accuracy", dataset=DATASET)
    assert all("1 seed: no interval" in mark.words for mark in one.marks)


def test_severity_curves_have_one_panel_per_corruption(scores):
    figure = figures.severity_curves(scores, metric="accuracy", dataset=DATASET, floor=0.49)
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")]
    assert titles == [figures.corruption_title(name) for name in CORRUPTIONS]


def test_severity_lines_are_means_over_seeds_and_start_clean(scores):
    axes = figures.severity_curves(scores, metric="accuracy", dataset=DATASET).axes[0]
    rows = scores[(scores["init"] == "scratch") & scores["corruption"].isin(["clean", "gaussian_noise"])]
    assert axes.lines[0].get_ydata() == pytest.approx(rows.groupby("severity")["score"].mean().to_numpy())


def test_training_curves_draw_the_mean_of_the_seeds(curves):
    figure = figures.training_curves(curves, score_name="AUROC", dataset=DATASET, chance=0.5)
    score = figure.axes[1]
    mean = curves[curves["init"] == "jigsaw"].groupby("epoch")["val_score"].mean().to_numpy()
    assert any(np.allclose(line.get_ydata(), mean) for line in score.lines if len(line.get_ydata()) == 5)
    assert any(np.allclose(line.get_ydata(), 0.5) for line in score.lines)


def test_pretext_accuracy_marks_missing_seed_and_chance():
    solved = pd.DataFrame({"seed": [0, 1], "n_correct": [30, 45], "n": [50, 50]})
    words = texts(figures.pretext_accuracy(solved, chance=0.01, dataset=DATASET, seeds=[0, 1, 2]))
    assert {"30 of 50", "45 of 50", "missing", "chance 0.01"} <= set(words)


def test_wilson_interval_against_published_value_and_limits():
    assert tidy.wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)  # Newcombe 1998, table I
    assert tidy.wilson_interval(0, 20)[0] == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="0 <= correct <= n"):
        tidy.wilson_interval(3, 2)


def test_seed_interval_is_students():
    low, high = tidy.seed_interval(np.array([0.0, 1.0, 2.0]))
    assert (low, high) == pytest.approx((1 - 4.302653 / 3**0.5, 1 + 4.302653 / 3**0.5), abs=1e-5)
    assert tidy.seed_interval(np.array([0.1, 0.2])) is None


def test_structure_dice_means_and_absent_structure():
    rows = [("scratch", 0, f"s{k}", "liver", 0.6 + 0.1 * k) for k in range(3)]
    predictions = pd.DataFrame(rows, columns=["init", "seed", "sample_id", "structure", "dice"])
    figure = figures.structure_dice(predictions, dataset=DATASET, structures=STRUCTURES)
    assert [bar.get_width() for bar in figure.axes[0].patches] == pytest.approx([0.7])
    assert texts(figure).count("in no scan") == 2


def test_class_balance_counts():
    samples = pd.DataFrame(
        {"split": ["train"] * 4 + ["pretext"] * 2, "label": pd.array([0, 0, 0, 1, None, None], dtype="Int64")}
    )
    words = texts(figures.class_balance(samples, dataset=DATASET))
    assert "4, 25.0 % with" in words and "2" in words


def test_forest_rows_markers_and_notes(comparisons):
    figure = figures.forest_plot(comparisons, dataset=DATASET, margin=0.02, estimand="networks")
    axes = figure.axes[0]
    markers = {line.get_xdata()[0]: line for line in axes.lines if line.get_marker() == "s"}
    assert sorted(markers) == pytest.approx(sorted(comparisons["difference"].dropna()))
    assert to_hex(markers[0.01].get_markerfacecolor()) == "#ffffff"
    assert to_hex(markers[0.1].get_markerfacecolor()) != "#ffffff"
    words = texts(figure)
    assert "no pair differs" in words and "accuracy under corruption" in words
    assert "patient: n = 40" in figure.alt and "within 0.02" in figure.alt


def test_forest_of_each_estimand_has_its_interval_and_says_so(comparisons):
    figures_by = {
        name: figures.forest_plot(comparisons, dataset=DATASET, estimand=name) for name in ("method", "networks")
    }
    for name, width, words in (("method", 0.6, "other seeds"), ("networks", 0.04, "the networks as they are")):
        spans = [np.ptp(line.get_xdata()) for line in figures_by[name].axes[0].lines if line.get_linewidth() == 2.2]
        assert spans == pytest.approx([width] * 6) and words in figures_by[name].alt
    assert "p = 0.20" in texts(figures_by["networks"]) and "p = 0.20" not in texts(figures_by["method"])
    with pytest.raises(UnknownNameError, match="method, networks"):
        figures.forest_plot(comparisons, dataset=DATASET, estimand="patients")


def test_arms_differ_without_colour():
    styles = figures.arm_styles(["scratch", "jigsaw", "scratch_aa", "rotation", "context"])
    assert len({s.hatch for s in styles.values()}) == len({s.marker for s in styles.values()}) == len(styles)
    lightness = {name: np.dot(to_rgb(s.colour), (0.299, 0.587, 0.114)) for name, s in styles.items()}
    assert lightness["scratch"] - lightness["jigsaw"] > 0.25


def test_structure_colours_are_distinct_and_pairs_differ_in_lightness():
    from ssrobust_lib.figures.style import _STRUCTURE_COLOURS

    names = list(_STRUCTURE_COLOURS)
    colours = figures.structure_colours(names)
    assert colours.shape == (20, 3)
    apart = np.linalg.norm(colours[:, None] - colours[None], axis=2) + np.eye(20)
    assert apart.min() > 0.15
    assert figures.structure_colours(["brainstem", "tumour"]).shape == (2, 3)


def test_empty_tables_give_a_figure_that_says_so(scores, comparisons, curves):
    made = [
        figures.corruption_bars(scores[:0], metric="Dice", dataset=DATASET),
        figures.severity_curves(scores[:0], metric="Dice", dataset=DATASET),
        figures.training_curves(curves[:0], score_name="Dice", dataset=DATASET),
        figures.forest_plot(comparisons[:0], dataset=DATASET),
        figures.clean_bars({}, dataset=DATASET),
        figures.xray_sheet([], dataset=DATASET),
        figures.jigsaw_examples([], dataset=DATASET),
        figures.segmentation_cases([], structures=STRUCTURES, dataset=DATASET),
    ]
    for figure in made:
        assert any(text.startswith(("No ", "The ")) for text in texts(figure))
        assert DATASET in figure.alt


def test_missing_columns_are_listed(scores):
    with pytest.raises(ValueError, match="missing severity"):
        figures.corruption_bars(scores.drop(columns="severity"), metric="Dice", dataset=DATASET)


def test_a_figure_without_data_set_is_refused(scores):
    with pytest.raises(ValueError, match="name of the data set"):
        figures.corruption_bars(scores, metric="Accuracy", dataset=" ")


def test_figures_leave_settings_alone_and_give_equal_bytes(scores):
    before = dict(matplotlib.rcParams)
    first = figures.corruption_bars(scores, metric="Accuracy", dataset=DATASET).png()
    second = figures.corruption_bars(scores, metric="Accuracy", dataset=DATASET).png()
    assert dict(matplotlib.rcParams) == before
    assert first == second and first.startswith(b"\x89PNG")


def test_a_figure_shows_itself_with_alternative_text_and_a_caption_that_can_be_read(scores):
    figure = figures.corruption_bars(scores, metric="Accuracy", dataset="sets <of> phantoms", title="Under corruption")
    shown = figure._repr_mimebundle_()
    assert (
        shown["text/plain"].startswith("Under corruption Self-supervised")
        and "Data: sets <of> phantoms." in shown["text/plain"]
    )
    html = shown["text/html"]
    assert f'<img alt="Under corruption {figure.see}" src="data:image/png;base64,' in html
    assert "<figcaption" in html and "Data: sets &lt;of&gt; phantoms." in html
    with_caption, without = figure.png(), figure.png(caption=False)
    assert with_caption != without and with_caption == figure.png(), "the caption comes back"


def test_majority_and_unreached_floor_are_marked(scores):
    figure = figures.corruption_bars(
        scores, metric="Accuracy", dataset=DATASET, majority=0.775, unreached=["contrast", "shot_noise"]
    )
    axes = figure.axes[0]
    assert any(np.allclose(line.get_ydata(), 0.775) for line in axes.lines)
    starred = [label.get_text().replace("\n", " ") for label in axes.get_xticklabels() if "*" in label.get_text()]
    assert starred == ["Shot noise*", "Contrast*"] and "end of the range" in figure.caption
    assert any("more frequent answer (0.775)" in text for text in texts(figure))


def test_pyplot_does_not_know_the_figures(scores):
    import matplotlib.pyplot as plt

    figures.corruption_bars(scores, metric="Accuracy", dataset=DATASET)
    assert plt.get_fignums() == []


def test_heavy_libraries_are_not_imported():
    import subprocess
    import sys

    code = "import sys, ssrobust_lib.figures; print([m for m in ('torch', 'seaborn', 'scipy.stats', "
    code += "'matplotlib.pyplot', 'monai', 'torchvision') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
