"""Tables say what was handed in, in words: scores, tests, claims, and notes on what is missing."""

import numpy as np
import pandas as pd
import pytest
from figure_inputs import DATASET, training_curves

from ssrobust_lib import figures
from ssrobust_lib.figures import style


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


def test_paper_table_says_over_what_its_deviations_are(scored):
    table = figures.paper_table(scored[scored["metric"] == "dice"], "Table 4", dataset=DATASET)
    assert "each scan&#x27;s score averaged over the networks of an arm" in table.html
    one = figures.paper_table(scored.assign(n_seeds=1), "Table", dataset=DATASET).html
    assert "± is the standard deviation over scans. " in one and "averaged" not in one


def test_paper_table_leaves_out_what_is_the_same_in_every_row(scored):
    table = figures.paper_table(scored[scored["metric"] == "dice"], "Table 4", dataset=DATASET)
    assert cells(table) == [["Normal training", "0.400 ± 0.200", "0.400 to 0.400", "0.486 ± 0.246"]]
    assert "n: 12 scans" in table.html and "Dice, left kidney." in table.html


@pytest.fixture
def compared():
    constants = {"task": "organs", "set": "visceral", "role": "home", "metric": "dice", "structure": "", "unit": "scan"}
    constants |= {"test": "Wilcoxon signed-rank, exact", "statistic": 3.0, "n": 12, "n_seeds": 3, "severity": None}
    constants |= {"reference": "scratch"}
    rows = [
        ("jigsaw", "corruption", "shot_noise", 0.5, 0.4, 0.1, 0.0002, 0.0014, ""),
        ("jigsaw", "clean", "clean", 0.8, 0.81, -0.01, 0.5, 1.0, "smallest attainable p"),
        ("jigsaw", "corruption", "gaussian_noise", np.nan, np.nan, np.nan, np.nan, np.nan, "<not> predicted"),
    ]
    columns = ["arm", "scope", "condition", "mean_arm", "mean_reference", "difference", "p", "p_holm", "note"]
    frame = pd.DataFrame(rows, columns=columns).assign(**constants)
    frame["ci_low"], frame["ci_high"] = frame["difference"] - 0.02, frame["difference"] + 0.02
    frame["method_ci_low"], frame["method_ci_high"] = frame["difference"] - 0.3, frame["difference"] + 0.3
    method = {"method_test": "Obuchowski-Rockette", "method_statistic": 1.5, "method_df": 2.1, "method_note": ""}
    method |= {"method_p": frame["p"] * 2, "method_p_holm": frame["p_holm"] / 2, "detectable": 0.04}
    sizes = {"family": "corruption", "family_tests": 14, "method_family_tests": 13}
    return frame.assign(**method, **sizes, equivalence_p=0.2, equivalence_margin=0.02)


def test_comparison_table_says_n_interval_unit_and_both_p(compared):
    paper = {("organs", "home", "dice", "shot_noise"): "higher"}
    marks = {("organs", "jigsaw"): "pretext not learned (seed 0)", ("pneumonia", "jigsaw"): "elsewhere"}
    table = figures.comparison_table(compared, "Tests", dataset=DATASET, paper=paper, marks=marks)
    clean, gaussian, shot = cells(table)
    assert clean[0].startswith("Dice") and "pretext not learned (seed 0)" in clean[0] and "elsewhere" not in table.html
    assert clean[1:4] == ["0.800", "0.810", "−0.010"]
    assert clean[4].startswith("[−0.310, +0.290]") and "Obuchowski-Rockette" in clean[4] and "0.040 would" in clean[4]
    assert clean[5].startswith("[−0.030, +0.010]") and "p 0.5" in clean[5] and "Holm 1" in clean[5]
    assert "smallest attainable p" in clean[5] and clean[6].split("  ") == ["12 scans", "3 seeds"]
    assert gaussian[0].startswith("Dice, Gaussian noise") and gaussian[3] == "not measured"
    assert "&lt;not&gt; predicted" in table.html
    assert shot[-1] == "higher" and clean[-1] == "–"
    assert shot[0].startswith("Dice, shot noise") and table.html.count(f"ssrobust-red,{style.RED}") == 2
    assert "The method: other patients and other seeds" in table.html and "paired by scans" in table.html


def test_comparison_table_names_families_margins_and_what_no_difference_could_be(compared):
    rows = cells(figures.comparison_table(compared, "Tests", dataset=DATASET))
    assert "Holm 1" in rows[0][5] and "family" not in rows[0][5] and "equivalence within ±0.02: p 0.2" in rows[0][4]
    one = figures.comparison_table(compared, "Tests", dataset=DATASET)
    assert "All of them in the family corruption of 14 tests." in one.html
    mixed = compared.assign(family=["clean", "corruption", "corruption"], detectable=1.2, method_statistic=55890.0)
    rows = cells(figures.comparison_table(mixed.assign(p_holm=3e-7), "Tests", dataset=DATASET))
    assert "Holm &lt; 0.0001, family corruption of 14 tests" in rows[0][5]
    assert "family corruption of 13 tests" in rows[0][4] and "statistic 55,890" in rows[0][4]
    assert "no possible difference would be found" in rows[0][4] and "1.2" not in rows[0][4]
    further = mixed.assign(metric="feature_distance")
    assert "a difference of 1.200" in figures.comparison_table(further, "Tests", dataset=DATASET).html


def test_comparison_table_says_what_is_not_paired_and_where_interval_and_p_part(compared):
    table = figures.comparison_table(compared, "Tests", dataset=DATASET)
    assert "not paired" not in table.html and "leaves out 0" not in table.html
    part = compared.assign(ci_low=0.01, ci_high=0.03, p=[0.2, 0.01, np.nan])
    assert "In 1 row the interval of these networks leaves out 0" in _words_below(part)
    away = compared.assign(role="external", metric=["dice gap", "dice", "dice"])
    assert "paired by scans; a change from the home set compares two groups of scans" in _words_below(away)
    alone = _words_below(away[:1])
    assert "paired by" not in alone and "which are not paired" in alone
    assert "Dice, change from the home set" in figures.comparison_table(away, "Tests", dataset=DATASET).html
    arms = pd.concat([compared, compared.assign(arm="scratch_aa")])
    table = figures.comparison_table(arms, "Tests", dataset=DATASET)
    assert ">This arm<" in table.html and ">Arm<" not in table.html


def _words_below(rows):
    return figures.comparison_table(rows, "Tests", dataset=DATASET).html


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


def test_best_epochs_are_those_of_the_best_validation_score():
    curves = training_curves()
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


def test_verdict_stands_beside_the_claim_and_that_of_the_aa_arm():
    claim = {"claim": "a", "section": "3.2", "quote": "better <here>", "compares": "accuracy", "paper": "p = 0.002"}
    claim |= {"this_run": "rsna accuracy -0.1", "interval": "", "p_holm": np.nan, "verdict": "undecided"}
    claim |= {"reason": "one seed", "p_equivalence": np.nan, "networks_interval": "rsna accuracy: [-0.2, +0.1]"}
    claim |= {"networks_reason": "because of rsna dice gap to home: [-0.2, -0.1]"}
    claim |= {"networks_p_holm": 0.04, "networks_verdict": "does not hold", "figures": "Table 1; Figure <5>"}
    claim |= {"links": "notebooks/04_clean_eval#table-1; notebooks/05#fig", "note": "few scans"}
    claims = pd.DataFrame([claim | {"mark": "pretext not learned"}])
    same = claims.assign(verdict="undecided", networks_verdict="holds")
    words = {"dataset": DATASET, "same": same, "names": {"rsna": "RSNA phantoms"}}
    table = figures.verdict_table(claims, "Claims", **words)
    (row,) = cells(table)
    assert "better &lt;here&gt;" in row[0] and "Section 3.2: p = 0.002" in row[0] and "Tested: accuracy" in row[0]
    assert "RSNA phantoms accuracy −0.1" in row[1] and "pretext not learned" in row[1] and "few scans" in row[1]
    assert "Figure &lt;5&gt;" in row[1]
    assert '<a href="../notebooks/04_clean_eval.html#table-1">Table 1</a>' in table.html
    assert row[2].split()[:3] == ["undecided", "one", "seed"] and "A/A: undecided" in row[2] and "[" not in row[2]
    assert row[3].startswith("does not hold") and "p (Holm) 0.04" in row[3]
    assert "RSNA phantoms accuracy: [−0.2, +0.1]" in row[3]
    assert "because of RSNA phantoms Dice, change from the home set: [−0.2, −0.1]" in row[3]
    tiny = figures.verdict_table(claims.assign(networks_p_holm=1.7e-8), "Claims", **words)
    assert "p (Holm) &lt; 0.0001" in tiny.html and "e-08" not in tiny.html
    assert "A/A: holds" in row[3]
    plain = figures.verdict_table(claims, "Claims", notes=False, root="", **(words | {"same": same[:0]}))
    assert "few scans" not in plain.html and "A/A" not in plain.html
    assert 'href="notebooks/05#' not in plain.html and 'href="notebooks/05.html#fig"' in plain.html


@pytest.mark.parametrize(
    ("p", "text"),
    [(0.0002, "p < 0.001"), (0.001, "p = 0.0010"), (0.0123, "p = 0.012"), (0.5, "p = 0.50"), (float("nan"), "no test")],
)
def test_format_p(p, text):
    assert figures.format_p(p) == text


def test_format_p_rejects_impossible_values():
    with pytest.raises(ValueError, match="expected a p value"):
        figures.format_p(1.5)


def test_effect_sizes_and_further_tests_name_their_question(compared):
    places = compared.assign(comparison=["noise", "clean", "none"])
    keys = ["comparison", "estimand", "kind", "name", "unit", "n", "estimate", "low", "high", "statistic", "p", "note"]
    rows = [
        ("clean", "these networks", "effect size", "Cohen's d_z", "scan", 12, -0.25, *[np.nan] * 4, ""),
        (
            "clean",
            "the method",
            "interval",
            "hierarchical bootstrap",
            "seed and scan",
            12,
            0,
            -0.1,
            0.2,
            np.nan,
            np.nan,
            "",
        ),
        ("clean", "these networks", "test", "McNemar, exact", "scan", 12, *[np.nan] * 5, "several <images>"),
    ]
    further = pd.DataFrame(rows, columns=keys)
    clean, gaussian, shot = cells(figures.effect_table(places, further, "Effects", dataset=DATASET))
    assert clean[1:4] == ["–", "−0.25", "–"] and clean[4:] == ["0.20", "0.040"] and shot[2] == gaussian[2] == "–"
    table = figures.further_table(places, further, "Further", dataset=DATASET)
    interval, test = cells(table)
    assert interval[1] == "the method" and interval[3:] == ["3 seeds, 12 scans", "[−0.100, +0.200]", "–"]
    assert test[1] == "these networks" and "several &lt;images&gt;" in table.html
