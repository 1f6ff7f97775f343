"""Figures and tables show what was handed in: heights, p values, panels, words, and notes on what is missing."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb

from ssrobust_lib import figures
from ssrobust_lib.figures import style, tidy

DATASET = "phantoms, RSNA layout"
CORRUPTIONS = [
    "gaussian_noise", "shot_noise", "impulse_noise", "contrast", "brightness", "gaussian_blur", "resolution",
]  # fmt: skip
STRUCTURES = ["liver", "left_kidney", "aorta"]


def texts(figure):
    """All words on a figure, drawn once so that lazily made ones are there."""
    import matplotlib.text

    figure.draw_without_rendering()
    return [item.get_text() for item in figure.findobj(matplotlib.text.Text) if item.get_text()]


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
    return frame.assign(**constants, n=40, n_seeds=3, unit="patient")


@pytest.fixture(scope="module")
def curves():
    rows = [
        (init, seed, epoch, 1 / epoch, 1.1 / epoch, 0.5 + 0.02 * epoch + 0.01 * seed)
        for init in ("scratch", "jigsaw")
        for seed in (0, 1)
        for epoch in range(1, 6)
    ]
    return pd.DataFrame(rows, columns=["init", "seed", "epoch", "train_loss", "val_loss", "val_score"])


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
    assert printed["shot_noise"].get_text() == "p < 0.001"
    assert printed["brightness"].get_text() == "p = 0.001"
    assert printed["resolution"].get_text() == "no test"


def test_uncorrected_p_is_printed_when_asked_for_and_named(scores, comparisons):
    figure = figures.corruption_bars(scores, comparisons, metric="Accuracy", dataset=DATASET, p_column="p")
    assert "p = 0.020" in texts(figure)
    assert "uncorrected" in figure.alt


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
    figure = figures.forest_plot(comparisons, dataset=DATASET, margin=0.02)
    axes = figure.axes[0]
    markers = {line.get_xdata()[0]: line for line in axes.lines if line.get_marker() == "s"}
    assert sorted(markers) == pytest.approx(sorted(comparisons["difference"].dropna()))
    assert to_hex(markers[0.01].get_markerfacecolor()) == "#ffffff"
    assert to_hex(markers[0.1].get_markerfacecolor()) != "#ffffff"
    words = texts(figure)
    assert "no pair differs" in words and "accuracy under corruption" in words
    assert "patient: n = 40" in figure.alt and "within 0.02" in figure.alt


def test_overlay_paints_only_structures_and_outlines_them():
    image = np.full((5, 5), 0.5)
    mask = np.zeros((5, 5), dtype=int)
    mask[1:4, 1:4] = 1
    painted = figures.overlay(image, mask, np.array([[1.0, 0.0, 0.0]]), alpha=0.4)
    assert painted[0, 0] == pytest.approx([0.5, 0.5, 0.5])
    assert painted[1, 1] == pytest.approx([1, 0, 0])  # outline
    assert painted[2, 2] == pytest.approx([0.7, 0.3, 0.3])  # 0.6 grey + 0.4 red
    with pytest.raises(ValueError, match="expected mask values 0 to 1"):
        figures.overlay(image, mask * 2, np.array([[1.0, 0.0, 0.0]]))


def test_ct_sheet_puts_superior_up_and_the_right_side_left():
    hu = np.full((6, 8, 10), -1000, dtype=np.float32)
    hu[5] = 1000  # most superior slice
    hu[:, :, 0] = 500  # the patient's right
    figure = figures.ct_sheet(hu, spacing_mm=(5, 1, 1), dataset=DATASET, levels=2)
    pictures = {axes.get_title().split(",")[0]: axes.images[0].get_array() for axes in figure.axes if axes.images}
    assert (pictures["coronal"][0] == 1).all() and (pictures["coronal"][1:, 1:] == 0).all()
    assert (pictures["coronal"][:, 0] == 1).all()
    assert "No label." in figure.alt


def test_ct_sheet_names_only_the_structures_that_are_there():
    mask = np.zeros((6, 8, 8), dtype=np.uint8)
    mask[2:4, 2:5, 2:5] = 2
    hu = np.zeros(mask.shape, dtype=np.float32)
    figure = figures.ct_sheet(hu, mask, spacing_mm=(3, 1, 1), structures=STRUCTURES, dataset=DATASET)
    words = texts(figure)
    assert "left kidney" in words and "liver" not in words


def test_xray_sheet_words_and_frames():
    images = [np.zeros((8, 8), dtype=np.float32)] * 3
    figure = figures.xray_sheet(images, labels=[0, 1, None], views=["PA", "AP", None], dataset=DATASET)
    assert {"no pneumonia, PA", "pneumonia, AP", "no label"} <= set(texts(figure))
    assert [len(axes.patches) for axes in figure.axes] == [1, 1, 0]
    with pytest.raises(ValueError, match="one entry of labels per image"):
        figures.xray_sheet(images, labels=[0], dataset=DATASET)


@pytest.mark.parametrize("per_line", [8, 4])
def test_corruption_examples_have_a_row_per_modality_and_eight_columns(per_line):
    rows = {row: {name: np.zeros((4, 4)) for name in ["clean", *CORRUPTIONS]} for row in ("CT", "X-ray")}
    figure = figures.corruption_examples(rows, dataset=DATASET, severity=3, per_line=per_line)
    assert len(figure.axes) == 16
    titles = [" ".join(axes.get_title().split()) for axes in figure.axes if axes.get_title()]
    assert titles == ["Original", *map(figures.corruption_title, CORRUPTIONS)]


def test_severity_strip_refuses_unknown_severity():
    with pytest.raises(ValueError, match="severities 0"):
        figures.severity_strip({"contrast": {6: np.zeros((4, 4))}}, dataset=DATASET)


@pytest.mark.parametrize("corrupted", [None, np.zeros((6, 6))])
def test_segmentation_cases_have_one_column_per_arm(corrupted):
    mask = np.zeros((6, 6), dtype=int)
    case = figures.Case("scan 1", np.zeros((6, 6)), mask, {"scratch": mask}, corrupted, {"scratch": 0.51})
    figure = figures.segmentation_cases([case], structures=STRUCTURES, dataset=DATASET, inits=["scratch", "jigsaw"])
    pictures = [axes for axes in figure.axes if axes.images]
    assert len(pictures) == 3 + (corrupted is not None)
    assert {"Dice 0.51", "no prediction"} <= set(texts(figure))
    assert "Missing: Self-supervised (jigsaw)." in figure.alt


def test_reassembling_with_the_truth_gives_the_image_back():
    rng = np.random.default_rng(1)
    image, cells = rng.random((12, 12)), rng.permutation(9)
    tiles = np.stack([image[4 * (c // 3) : 4 * (c // 3) + 4, 4 * (c % 3) : 4 * (c % 3) + 4] for c in cells])
    assert np.array_equal(figures.reassemble(tiles, cells, gap=0), image)
    with pytest.raises(ValueError, match="permutation"):
        figures.reassemble(tiles, np.zeros(9, dtype=int))


def test_jigsaw_examples_say_solved_and_failed():
    truth = np.arange(9)
    wrong = truth[[1, 0, *range(2, 9)]]
    puzzles = [figures.Puzzle(np.zeros((9, 4, 4)), truth, answer) for answer in (truth, wrong)]
    figure = figures.jigsaw_examples(puzzles, dataset=DATASET)
    assert {"solved", "failed: 7 of 9 tiles right"} <= set(texts(figure))
    assert sum(len(axes.patches) for axes in figure.axes) == 2  # the two wrong tiles


def test_method_figure_names_both_transfers_and_needs_a_source_for_examples():
    words = " ".join(texts(figures.method_figure()))
    for part in ("Pretext task", "all features", "encoder", "decoder", "from scratch", "permutation"):
        assert part in words
    with pytest.raises(ValueError, match="data set"):
        figures.method_figure(xray=np.zeros((9, 9)))


def test_table_escapes_scrolls_and_names_the_data_set():
    frame = pd.DataFrame({"name": ["<script>alert(1)</script>", "a & b"], "n": [1234, 5]})
    table = figures.html_table(frame, "Counts <b>", dataset=DATASET, note="x < y", headings={"n": "n <images>"})
    shown = table._repr_html_()
    assert "<script>" not in shown and "&lt;script&gt;" in shown and "a &amp; b" in shown
    assert "Counts &lt;b&gt;" in shown and "x &lt; y" in shown and "n &lt;images&gt;" in shown
    assert "1,234" in shown and DATASET in shown and "overflow-x:auto" in shown


def test_table_rejects_settings_of_unknown_columns_and_tones():
    frame = pd.DataFrame({"a": [1]})
    with pytest.raises(ValueError, match="headings"):
        figures.html_table(frame, "t", headings={"b": "B"})
    with pytest.raises(ValueError, match="good, bad, open"):
        figures.html_table(frame, "t", tones={"a": {"1": "red"}})


@pytest.fixture
def scored():
    """Two arms with accuracy and one structure's Dice, in the layout of the result tables."""
    rows = [
        ("jigsaw", "accuracy", "", 0.60, np.nan, 0.55, 0.65, 0.761, np.nan),
        ("scratch", "accuracy", "", 0.58, np.nan, 0.50, 0.66, 0.739, np.nan),
        ("scratch", "dice", "left_kidney", 0.40, 0.20, 0.40, 0.40, 0.486, 0.246),
    ]
    columns = ["init", "metric", "structure", "value", "std", "seed_min", "seed_max", "paper_value", "paper_std"]
    return pd.DataFrame(rows, columns=columns).assign(n=[40, 40, 12], unit=["patient", "patient", "scan"], n_seeds=3)


def cells(table):
    """Text of each row's cells, without tags."""
    import re

    rows = [row for row in table.html.split("<tr>") if "<td" in row]
    return [[re.sub("<[^>]+>", " ", cell).strip() for cell in re.findall("<td.*?</td>", row)] for row in rows]


def test_paper_stands_beside_ours_in_words_with_majority_and_marks(scored):
    marks = {"jigsaw": "pretext not learned (seed 1)"}
    rows = cells(figures.paper_table(scored, "Table", dataset=DATASET, marks=marks, majority=0.775))
    assert rows[0] == ["Accuracy", "Normal training", "0.580", "0.500 to 0.660", "0.739", "40 patients"]
    assert rows[1][1] == "Self-supervised (jigsaw)  pretext not learned (seed 1)"
    assert rows[2][1:3] == ["Always the more frequent answer", "0.775"] and rows[2][4] == "–"
    assert rows[3][0] == "Dice, left kidney" and rows[3][2] == "0.400 ± 0.200" and rows[3][4] == "0.486 ± 0.246"


def test_paper_table_leaves_out_what_is_the_same_in_every_row(scored):
    table = figures.paper_table(scored[scored["metric"] == "dice"], "Table 4", dataset=DATASET)
    assert cells(table) == [["Normal training", "0.400 ± 0.200", "0.400 to 0.400", "0.486 ± 0.246"]]
    assert "n: 12 scans" in table.html and "Dice, left kidney." in table.html


@pytest.fixture
def compared():
    constants = {"task": "organs", "set": "visceral", "role": "home", "metric": "dice", "structure": "", "unit": "scan"}
    constants |= {"test": "Wilcoxon signed-rank, exact", "statistic": 3.0, "n": 12, "n_seeds": 3, "severity": None}
    rows = [
        ("jigsaw", "corruption", "shot_noise", 0.5, 0.4, 0.1, 0.0002, 0.0014, ""),
        ("jigsaw", "clean", "clean", 0.8, 0.81, -0.01, 0.5, 1.0, "smallest attainable p"),
        ("jigsaw", "corruption", "gaussian_noise", np.nan, np.nan, np.nan, np.nan, np.nan, "<not> predicted"),
    ]
    columns = ["arm", "scope", "condition", "mean_arm", "mean_reference", "difference", "p", "p_holm", "note"]
    frame = pd.DataFrame(rows, columns=columns).assign(**constants)
    frame["ci_low"], frame["ci_high"] = frame["difference"] - 0.02, frame["difference"] + 0.02
    return frame.assign(ci_low_seeds=frame["difference"] - 0.3, ci_high_seeds=frame["difference"] + 0.3)


def test_comparison_table_says_n_interval_unit_and_both_p(compared):
    paper = {("organs", "home", "dice", "shot_noise"): "higher"}
    marks = {("organs", "jigsaw"): "pretext not learned (seed 0)", ("pneumonia", "jigsaw"): "elsewhere"}
    table = figures.comparison_table(compared, "Tests", dataset=DATASET, paper=paper, marks=marks)
    clean, gaussian, shot = cells(table)
    assert clean[0].startswith("Dice") and "pretext not learned (seed 0)" in clean[0] and "elsewhere" not in table.html
    assert clean[1:3] == ["0.800", "0.810"] and clean[3].startswith("−0.010")
    assert "[−0.030, +0.010]" in clean[3] and "with seeds [−0.310, +0.290]" in clean[3]
    assert clean[4].split("  ") == ["12 scans", "3 seeds"]
    assert clean[5].startswith("0.5") and "Holm 1" in clean[5] and "smallest attainable p" in clean[5]
    assert gaussian[0].startswith("Dice, Gaussian noise") and gaussian[3] == "not measured"
    assert "&lt;not&gt; predicted" in table.html
    assert shot[-1] == "higher" and clean[-1] == "–"
    assert shot[0].startswith("Dice, shot noise") and table.html.count(f"color:{style.RED}") == 1
    assert "scans, seeds averaged first" in table.html


def test_comparison_table_of_nothing_and_without_the_paper(compared):
    assert "none" in figures.comparison_table(compared[:0], "Tests", dataset=DATASET).html
    assert "Paper" not in figures.comparison_table(compared, "Tests", dataset=DATASET).html
    assert "<details><summary>3 tests" in figures.comparison_table(compared, "T", dataset=DATASET, fold="3 tests").html


def test_names_of_the_code_become_words():
    words = figures.in_words(
        "0 of 4 hold; weakest: visceral dice, gaussian_noise -0.2", {"visceral": "VISCERAL phantoms"}
    )
    assert words == "0 of 4 hold; weakest: VISCERAL phantoms Dice, Gaussian noise −0.2"
    assert figures.in_words("signed-rank, 2021-22") == "signed-rank, 2021-22"
    assert figures.metric_title("accuracy gap") == "Accuracy, change from clean images"
    assert figures.interval_text(np.nan, 0.1) == ""
    assert figures.counted(1, "seed") == "1 seed" and figures.counted(1200, "patient") == "1,200 patients"


def test_best_epochs_are_those_of_the_best_validation_score(curves):
    rows = cells(
        figures.best_epochs(curves.assign(val_score=-curves["epoch"]), "Best", dataset=DATASET, score_name="Dice")
    )
    assert [row[1] for row in rows] == ["1 of 5, 1 of 5"] * 2


def test_transfer_table_sums_parts():
    names = ["encoder.levels.0.weight", "encoder.levels.0.bias", "head.weight"]
    status = ["transferred", "transferred", "from scratch"]
    rows = cells(
        figures.transfer_table(
            pd.DataFrame({"tensor": names, "status": status, "parameters": [8, 2, 3]}), "Tensors", dataset=DATASET
        )
    )
    assert rows == [["encoder.levels.0", "from the pretext task", "2", "10"], ["head.weight", "from scratch", "1", "3"]]


def test_score_rows_keep_single_severities_and_refuse_a_mixture():
    table = pd.DataFrame(
        {"scope": ["clean", "severity", "corruption"], "condition": ["clean", "contrast", "contrast"],
         "severity": pd.array([0, 2, None], dtype="Int64"), "value": [0.9, 0.8, 0.7]}
    )  # fmt: skip
    table = table.assign(task="organs", set="visceral", metric="dice", structure="", init="scratch", seed=0)
    rows = figures.score_rows(table)
    assert rows["score"].tolist() == [0.9, 0.8] and rows["severity"].tolist() == [0, 2]
    with pytest.raises(ValueError, match="one metric"):
        figures.score_rows(pd.concat([table, table.assign(metric="hd95")]))


def test_forest_takes_the_interval_over_seeds_when_asked(comparisons):
    wide = comparisons.assign(
        ci_low_seeds=comparisons["difference"] - 0.3, ci_high_seeds=comparisons["difference"] + 0.3
    )
    figure = figures.forest_plot(wide, dataset=DATASET, interval="seeds")
    spans = [np.ptp(line.get_xdata()) for line in figure.axes[0].lines if line.get_linewidth() == 2.2]
    assert spans == pytest.approx([0.6] * 6)
    with pytest.raises(ValueError, match="units, seeds"):
        figures.forest_plot(wide, dataset=DATASET, interval="patients")


def test_verdict_stands_beside_the_claim_and_that_of_the_aa_arm():
    claim = {"claim": "a", "section": "3.2", "quote": "better <here>", "compares": "accuracy", "paper": "p = 0.002"}
    claim |= {"this_run": "rsna accuracy -0.1", "interval": "[-0.2, +0.1]", "p_holm": 0.04, "verdict": "undecided"}
    claims = pd.DataFrame([claim | {"mark": "pretext not learned", "note": "few scans"}])
    words = {"dataset": DATASET, "same": {"a": "holds"}, "names": {"rsna": "RSNA phantoms"}}
    table = figures.verdict_table(claims, "Claims", **words)
    (row,) = cells(table)
    assert "better &lt;here&gt;" in row[0] and "Section 3.2: p = 0.002" in row[0] and "Tested: accuracy" in row[0]
    assert "RSNA phantoms accuracy −0.1" in row[1] and "[−0.2, +0.1]" in row[1] and "p (Holm) 0.04" in row[1]
    assert "pretext not learned" in row[1] and "few scans" in row[1]
    assert row[2].startswith("undecided") and "A/A: holds" in row[2]
    assert "few scans" not in figures.verdict_table(claims, "Claims", notes=False, **words).html


@pytest.mark.parametrize(
    ("p", "text"),
    [(0.0002, "p < 0.001"), (0.001, "p = 0.001"), (0.0123, "p = 0.012"), (0.5, "p = 0.50"), (float("nan"), "no test")],
)
def test_format_p(p, text):
    assert figures.format_p(p) == text


def test_format_p_rejects_impossible_values():
    with pytest.raises(ValueError, match="expected a p value"):
        figures.format_p(1.5)


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
    assert shown["text/plain"].startswith("Under corruption Data: sets <of> phantoms.")
    html = shown["text/html"]
    assert '<img alt="Under corruption" src="data:image/png;base64,' in html
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
