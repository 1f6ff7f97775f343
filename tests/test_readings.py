"""Sentences below tables: they say the numbers of the table, in words that fit them, and survive empty tables."""

import re

import numpy as np
import pandas as pd
import pytest

from ssrobust_lib.book import readings
from ssrobust_lib.statistics.paper import paper_results

NAMES = {"rsna": "phantoms", "kits19": "another scanner", "pneumonia": "phantoms", "organs": "scans"}


def comparison(**changed):
    """One row of the comparisons table."""
    row = {
        "task": "pneumonia", "set": "rsna", "role": "home", "metric": "accuracy", "structure": "",
        "scope": "clean", "severity": 0,
        "condition": "clean", "arm": "jigsaw", "n": 60, "n_seeds": 3, "unit": "patient", "mean_arm": 0.812,
        "mean_reference": 0.777, "difference": 0.035, "ci_low": -0.011, "ci_high": 0.081,
        "test": "Wilcoxon signed-rank", "p": 0.0123, "p_holm": 0.0246, "note": "", "method_ci_low": -0.211,
        "method_ci_high": 0.281, "method_test": "Obuchowski-Rockette", "method_p": 0.31, "method_p_holm": 0.62,
        "method_note": "",
    }  # fmt: skip
    return row | changed


def table(*rows):
    return pd.DataFrame(rows)


def holds(text, *words):
    """Each of the words stands in the text, not as part of a longer number or word."""
    for word in words:
        assert re.search(rf"(?<![\w.]){re.escape(word)}(?![\w]|\.\d)", text), f"{word!r} is not in: {text}"


def test_splits_are_counted_and_a_leak_is_shouted():
    samples = pd.DataFrame({"split": ["train"] * 1200 + ["test"]})
    clean = readings.reading_splits(samples, 0, 0).data
    holds(clean, "1,200 images", "1 image")
    assert "**No patient" in clean
    for patients, contents, words in ((1, 2, ("1 patient", "2 images")), (2, 0, ("2 patients",)), (0, 1, ("1 image",))):
        leak = readings.reading_splits(samples, patients, contents).data
        holds(leak.split("**")[1], *words, "more than one part")
        assert "No patient" not in leak


def test_files_left_out_are_counted_by_reason():
    none = readings.reading_left_out(table().reindex(columns=["sample_id", "path", "reason"]), "organs", "scans").data
    assert "nothing is left out" in none
    left_out = pd.DataFrame({"sample_id": list("abc"), "path": list("xyz"), "reason": ["torn", "torn", "empty"]})
    shown = readings.reading_left_out(left_out, "organs", "scans")._repr_html_()
    for word in ("3 files", "torn", "empty"):
        assert word in shown


def test_comparison_stands_beside_that_of_normal_training_with_itself_and_a_constant_answer():
    same = table(comparison(arm="scratch_aa", difference=-0.072), comparison(arm="scratch_aa", metric="auroc"))
    said = readings.reading_comparisons(table(comparison()), NAMES, same=same, majority=0.79).data
    holds(said, "Normal training against itself (A/A): \u22120.072.")
    holds(said, "Normal training is right less often than who always gives the more frequent answer (0.790)")
    both = readings.reading_comparisons(table(comparison()), NAMES, same=same[:0], majority=0.9).data
    holds(both, "Both are right less often")
    assert "itself" not in both
    assert "less often" not in readings.reading_comparisons(table(comparison()), NAMES, majority=0.5).data
    assert "less often" not in readings.reading_comparisons(table(comparison(metric="auroc")), NAMES, majority=0.9).data


def test_trainings_that_stop_at_their_last_epoch_are_counted_by_arm():
    rows = [
        (arm, seed, epoch, score)
        for arm, seed, scores in (("scratch", 0, (0.5, 0.6)), ("scratch", 1, (0.6, 0.5)), ("jigsaw", 0, (0.6, 0.5)))
        for epoch, score in enumerate(scores, start=1)
    ]
    curves = pd.DataFrame(rows, columns=["init", "seed", "epoch", "val_score"])
    said = readings.reading_best_epochs(curves).data
    assert said == "The best epoch is the last one: Normal training 1 of 2 and Self-supervised (jigsaw) 0 of 1."
    assert readings.reading_best_epochs(curves[curves["init"] == "jigsaw"]).data == "No best epoch is the last one."


def test_comparison_says_means_difference_interval_n_unit_and_p():
    text = readings.reading_comparisons(table(comparison()), NAMES).data
    holds(text, "0.812", "0.777", "0.035", "0.011", "0.081", "60 patients", "3 seeds", "95 % interval")
    holds(text, "p = 0.012", "p = 0.025", "Wilcoxon signed-rank", "phantoms", "Self-supervised", "normal training")
    method, networks = text.split("The method:")[1].split("These networks:")
    holds(method, "0.211", "0.281", "p = 0.31", "p = 0.62", "Obuchowski-Rockette")
    holds(networks, "0.011", "0.081", "p = 0.012")


def test_one_of_a_kind_is_singular_and_a_structure_is_spelled_out():
    row = comparison(n=1, n_seeds=1, unit="scan", structure="left_kidney", metric="dice", set="kits19", role="external")
    holds(readings.reading_comparisons(table(row), NAMES).data, "1 scan", "1 seed", "left kidney", "another scanner")


def test_what_was_not_measured_or_not_tested_says_why():
    unmeasured = comparison(difference=np.nan, note="no positive image")
    untested = comparison(p=np.nan, p_holm=np.nan, note="fewer than 6 units", method_p=np.nan, method_note="1 seed")
    first, second = readings.reading_comparisons(table(unmeasured, untested), NAMES).data.splitlines()
    holds(first, "not measured", "no positive image")
    holds(second, "0.812", "fewer than 6 units")
    holds(second, "no test: 1 seed")
    assert "p =" not in second
    assert "nan" not in f"{first} {second}"


def accuracy(*learned):
    values = [0.51 if one else 0.02 for one in learned]
    return pd.DataFrame(
        {"task": "pneumonia", "init": "jigsaw", "accuracy": values, "chance": 0.02, "n": 40, "learned": list(learned)}
    )


def test_pretext_counts_seeds_and_marks_the_arm_that_has_not_learned():
    whole = readings.reading_pretext(accuracy(True, True), NAMES).data
    holds(whole, "0.51", "0.02", "40 X-rays", "2 of 2 seeds")
    assert "not learned" not in whole
    part = readings.reading_pretext(accuracy(True, False), NAMES).data
    holds(part, "0.02 to 0.51", "1 of 2 seeds", "pretext not learned")
    holds(readings.reading_pretext(accuracy(False), NAMES).data, "0 of 1 seed", "pretext not learned")


def test_transfer_counts_tensors_and_numbers_of_one_seed():
    rows = [("encoder.a", 1000, "transferred"), ("head", 250, "from scratch")]
    transfer = pd.DataFrame(
        [
            {"task": "organs", "init": "jigsaw", "seed": seed, "tensor": name, "parameters": count, "status": status}
            for seed in (0, 1)
            for name, count, status in rows
        ]
    )
    holds(readings.reading_transfer(transfer).data, "1 of 2 tensors", "1,000 of 1,250")
    nothing = readings.reading_transfer(transfer.assign(status="from scratch")).data
    assert " of " not in nothing


def test_corruptions_name_where_the_arm_is_ahead_and_what_the_paper_says():
    rows = [
        comparison(condition="contrast", difference=0.1, p=0.0001, p_holm=0.0003, method_p_holm=0.04),
        comparison(condition="brightness", difference=-0.1, p=0.0002, p_holm=0.2),
        comparison(condition="gaussian_noise", difference=np.nan, p=np.nan, p_holm=np.nan, method_p_holm=np.nan),
    ]
    printed = paper_results()
    text = readings.reading_corruptions(table(*rows), printed, NAMES).data
    holds(
        text,
        "1 of 3 corruptions (contrast)",
        "the paper tests them (p < 0.001): for it in contrast, against it in brightness",
    )
    holds(text, "Differences of the method (p < 0.05 after Holm's correction): for it in contrast; of these networks")
    holds(text, "these networks (p < 0.05 after Holm's correction): for it in contrast. The paper")
    theirs = printed[(printed["source"] == "Figure 3") & (printed["direction"] == "+")]
    holds(text, f"{len(theirs)} of 7")
    nowhere = comparison(condition="contrast", difference=-0.1, p=0.5, p_holm=0.5)
    holds(
        readings.reading_corruptions(table(nowhere), printed, NAMES).data,
        "0 of 1 corruption (none)",
        "correction): none; of",
    )
    guess = {"pneumonia": 0.8, "organs": None}
    holds(
        readings.reading_corruptions(table(nowhere), printed, NAMES, guess).data,
        "1 of the 2 accuracies of both arms lies",
    )
    holds(
        readings.reading_corruptions(table(nowhere), printed, NAMES, {"pneumonia": 0.9}).data,
        "All 2 accuracies",
        "0.900",
    )
    assert "accuracies" not in readings.reading_corruptions(table(nowhere), printed, NAMES, {"pneumonia": 0.5}).data


def test_the_papers_own_words_are_its_values_and_its_p():
    said = readings.paper_says(paper_results())
    printed = paper_results().query("source == 'Table 1'")
    for metric, rows in printed.groupby("metric"):
        text = said["pneumonia", "home", metric, "clean"]
        higher, lower = rows.set_index("arm").loc[["jigsaw", "scratch"], "printed"]
        holds(text, f"{higher} against {lower}")
    directions = {words.split(",")[0] for key, words in said.items() if key[3] != "clean"}
    assert directions <= {"higher", "lower"}


def test_missed_structures_are_percentages_of_scans():
    row = comparison(metric="missed", set="kits19", unit="scan", n=8, mean_arm=0.12, mean_reference=0.5)
    text = readings.reading_missed(table(row | {"structure": "right_kidney"}), NAMES, "kidney").data
    holds(text, "right kidney", "another scanner", "50 %", "12 %", "8 scans", "3 seeds", "p = 0.012")
    holds(readings.reading_missed(table(row), NAMES, "kidney").data, "kidney")
    assert "kidney" not in readings.reading_missed(table(row), NAMES, "").data


def test_claims_are_counted_by_verdict():
    from ssrobust_lib.figures import VERDICT_TONES

    claims = pd.DataFrame({"arm": "jigsaw", "verdict": ["holds", "undecided", "undecided"], "reason": ""})
    claims["networks_verdict"] = ["holds", "holds", "does not hold"]
    said = readings.reading_claims(claims).data
    holds(said, "of 3 claims", "about the method 1 *holds* and 2 are *undecided*")
    holds(said, "these networks 2 *hold* and 1 *does not hold*")
    assert "One seed" not in said
    holds(readings.reading_claims(claims.assign(reason="one seed")).data, "One seed says nothing about the method")
    holds(readings.reading_claims(claims.assign(networks_verdict=claims["verdict"])).data, "networks the same")
    for verdict in VERDICT_TONES:
        one = pd.DataFrame({"arm": ["jigsaw"], "verdict": [verdict], "networks_verdict": [verdict], "reason": [""]})
        said = readings.reading_claims(one).data
        holds(said, "of 1 claim")
        assert f"*{verdict}*" in said


def test_aa_claims_counts_what_holds_for_normal_training_against_itself():
    same = pd.DataFrame(
        {
            "expected": ["+", "-", "=", "+", "+"],
            "verdict": ["holds", "does not hold", "holds", "not tested", "undecided"],
            "networks_verdict": ["holds", "does not hold", "holds", "not tested", "holds"],
        }
    )
    assert readings.aa_count(same) == (1, 2, 3)
    said = readings.reading_aa_claims(same, "scratch_aa").data
    assert "1 of 3 claims" in said and "2 about these networks" in said
    assert readings.reading_aa_claims(same[:0], "scratch_aa").data == ""


def test_aa_counts_false_alarms_before_and_after_correction():
    nothing = {"method_p": np.nan, "method_p_holm": np.nan}
    rows = [
        comparison(p=0.01, p_holm=0.2, method_p=0.03, method_p_holm=0.06),
        comparison(p=0.02, p_holm=0.04, **nothing),
        comparison(p=np.nan, p_holm=np.nan, **nothing),
    ]
    claims = pd.DataFrame({"verdict": ["undecided", "holds", "undecided"], "expected": ["+", "=", "+"]})
    claims["networks_verdict"] = ["holds", "holds", "undecided"]
    text = readings.reading_aa(table(*rows), claims).data
    holds(text, "these networks, 2 of 2 comparisons", "1 after", "belongs to Accuracy: p = 0.010", "0 would *hold*")
    holds(text, "the method, 1 of 1 comparison", "0 after", "p = 0.030", "1 about these networks")
    assert "no A/A arm" in readings.reading_aa(table(rows[-1]), claims).data


def test_the_more_frequent_answer_is_a_percentage():
    holds(readings.reading_balance(0.775, "RSNA").data, "78 %", "0.775", "RSNA")


def test_realism_compares_brightness_with_its_bound():
    measures = pd.DataFrame({"within_share": [0.97, 0.88]})
    below, above = (readings.reading_realism(measures, auroc).data for auroc in (0.61, 0.7))
    holds(below, "88 %", "0.61")
    assert "not below" not in below
    holds(above, "0.70", "not below")


def test_what_a_run_does_not_have_is_said():
    assert readings.reading_absent([], "outer set").data == "This run has no outer set."
    assert readings.reading_absent(["x"], "outer set").data.startswith("<!--")  # shows nothing


OF_CLAIMS = ["networks_verdict", "verdict", "expected"]
EMPTY = pd.DataFrame(
    columns=list(dict.fromkeys([*comparison(), *OF_CLAIMS, "init", "seed", "status", "learned", "severity"]))
)
ON_EMPTY = {
    "comparisons": (lambda: readings.reading_comparisons(EMPTY, {}), "No comparison was made."),
    "missed": (lambda: readings.reading_missed(EMPTY, {}, ""), "No structure was scored."),
    "aa": (lambda: readings.reading_aa(EMPTY, EMPTY), "This run has no A/A arm."),
    "corruptions": (lambda: readings.reading_corruptions(EMPTY, paper_results(), {}), ""),
    "claims": (lambda: readings.reading_claims(EMPTY), ""),
    "pretext": (lambda: readings.reading_pretext(EMPTY, {}), ""),
    "realism": (lambda: readings.reading_realism(EMPTY, 0.5), "The X-rays of this run are real."),
}


@pytest.mark.parametrize("name", ON_EMPTY)
def test_an_empty_table_is_no_error(name):
    read, words = ON_EMPTY[name]
    assert read().data == words
