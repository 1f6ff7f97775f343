"""What notebook 01 says of the images, and the sentences that read results: counts, balance, leaks."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from ssrobust_lib.book import data_report, readings
from ssrobust_lib.statistics.paper import paper_results


def samples_of(n_train: int = 300, n_test: int = 8) -> pd.DataFrame:
    """One image per patient; all of training and three of the test images positive, in the study's small label type."""
    split = ["train"] * n_train + ["test"] * n_test
    label = [1] * n_train + [1, 1, 1] + [0] * (n_test - 3)
    names = [f"p{k}" for k in range(len(split))]
    frame = pd.DataFrame({"sample_id": names, "patient_id": names, "set": "rsna", "split": split, "has_label": True})
    return frame.assign(label=pd.array(label, dtype="Int8"), content_hash=names)


def test_counts_do_not_overflow_the_labels_small_type():
    counts = data_report.split_counts(samples_of(), {"rsna": "RSNA phantoms"})
    assert counts["positive"].tolist() == [300, 3]
    assert counts["positive_share"].tolist() == [1.0, 0.375]
    assert counts["part"].tolist() == ["training", "test"] and set(counts["set"]) == {"RSNA phantoms"}


def test_sets_without_classes_have_no_column_of_positives():
    scans = samples_of().assign(label=pd.NA)
    assert "positive" not in data_report.split_counts(scans)


def test_majority_is_the_better_constant_answer_mean_over_patients():
    samples = samples_of()
    assert data_report.majority_accuracy(samples) == pytest.approx(5 / 8)
    assert data_report.majority_accuracy(samples, "train") == 1
    assert np.isnan(data_report.majority_accuracy(samples, "external"))
    more = samples[samples["sample_id"] == "p300"]  # a patient with many images counts once
    assert data_report.majority_accuracy(pd.concat([samples, *[more] * 9])) == pytest.approx(5 / 8)


def test_scan_kinds_count_by_part_and_say_nothing_where_nothing_is_stated():
    scans = samples_of(4, 4).assign(contrast=[True, False] * 4, field_of_view=["ThAb", "wb"] * 4)
    kinds = data_report.scan_kinds(scans)
    assert kinds["scans"].tolist() == [2, 2, 2, 2] and kinds["part"].tolist()[:2] == ["training"] * 2
    assert set(kinds["field_of_view"]) == {"thorax and abdomen", "whole body"}
    assert data_report.scan_kinds(samples_of()).empty


def test_a_patient_and_a_content_in_two_parts_are_counted_and_told():
    samples = samples_of(5, 5)
    assert data_report.crossing_patients(samples) == data_report.shared_contents(samples) == 0
    assert "No patient and no image is in two parts" in readings.reading_splits(samples, 0, 0).data
    samples.loc[samples.index[-1], ["patient_id", "content_hash"]] = ["p0", "p0"]
    crossing, contents = data_report.crossing_patients(samples), data_report.shared_contents(samples)
    assert (crossing, contents) == (1, 1)
    assert data_report.shared_patients(samples).loc[0, "test"] == 1
    assert "1 patient and 1 image in more than one part" in readings.reading_splits(samples, crossing, contents).data


def test_what_is_kept_out_or_learned_from_twice_is_no_leak():
    samples = samples_of(5, 5)
    samples.loc[samples.index[-1], ["patient_id", "content_hash"]] = ["p0", "p0"]
    kept = samples.assign(kept_out=(samples["patient_id"] == "p0") & (samples["split"] == "train"))
    assert data_report.crossing_patients(kept) == data_report.shared_contents(kept) == 0
    assert data_report.shared_patients(kept).loc[0, "test"] == 0
    twice = samples.assign(split=["train"] * 9 + ["pretext"])
    assert data_report.crossing_patients(twice) == data_report.shared_contents(twice) == 0


def test_realism_of_phantoms_is_measured_on_their_files(tmp_path, monkeypatch):
    from ssrobust_lib.datasets import LOADERS
    from ssrobust_lib.phantoms.realism import MEASURES
    from ssrobust_lib.phantoms.xray_files import write_rsna_phantoms

    write_rsna_phantoms(tmp_path, n_patients=12, size=64, seed=3)
    samples = LOADERS["rsna"].index(tmp_path).assign(set="rsna")
    about = {"sets": {"rsna": "rsna"}, "roots": {"rsna": str(tmp_path)}}
    monkeypatch.setattr(data_report.trained, "constants", lambda study, task: about)
    monkeypatch.setattr(data_report.trained, "data_cell", lambda study, task: None)
    data = SimpleNamespace(set="rsna", label="rsna")
    profile = SimpleNamespace(tasks=("pneumonia",), data={"pneumonia": data}, phantoms={"rsna": {}})
    study = SimpleNamespace(profile=profile, table=lambda cell, name: samples)
    measures, auroc = data_report.phantom_realism(study)
    assert len(measures) == len(MEASURES) and 0.5 <= auroc <= 1
    assert (measures["real_low"] < measures["real_high"]).all() and measures["within_share"].between(0, 1).all()
    ranges = data_report.realism_ranges(measures)
    assert ranges["real"].iloc[0] == f"{measures['real_low'].iloc[0]:.2f} to {measures['real_high'].iloc[0]:.2f}"
    said = readings.reading_realism(measures, auroc).data
    assert f"at least {100 * measures['within_share'].min():.0f} % of the phantoms" in said
    assert f"AUROC {auroc:.2f}" in said and "the bound of 0.65" in said
    profile.phantoms = {}
    empty, none = data_report.phantom_realism(study)
    assert empty.empty and np.isnan(none) and "are real" in readings.reading_realism(empty, none).data


def test_the_papers_words_for_a_comparison():
    said = readings.paper_says(paper_results())
    assert said["pneumonia", "home", "accuracy", "clean"] == "0.761 against 0.739, p = 0.0002"
    assert said["organs", "external", "dice", "clean"] == "0.670 against 0.486, p = 0.0002"
    assert said["organs", "home", "dice", "impulse_noise"] == "lower"
    assert said["pneumonia", "home", "accuracy", "resolution"] == "higher, p < 0.001"
    assert len(said) == 4 + 14


def test_a_comparison_in_a_sentence_has_n_interval_unit_test_and_both_p():
    row = {"task": "organs", "set": "kits19", "role": "external", "metric": "dice", "structure": "", "arm": "jigsaw"}
    row |= {"difference": -0.02, "mean_arm": 0.5, "mean_reference": 0.52, "ci_low": -0.05, "ci_high": 0.01, "n": 14}
    row |= {"n_seeds": 3, "unit": "scan", "test": "Wilcoxon signed-rank, exact", "p": 0.03, "p_holm": 0.06, "note": ""}
    row |= {"method_ci_low": -0.3, "method_ci_high": 0.2, "method_test": "Obuchowski-Rockette", "method_p": 0.5}
    row |= {"method_p_holm": 0.7, "method_note": ""}
    said = readings.reading_comparisons(pd.DataFrame([row]), {"kits19": "KiTS19 phantoms"}).data
    for words in ("KiTS19 phantoms", "difference −0.020", "[−0.050, +0.010]", "over 14 scans", "3 seeds", "p = 0.030"):
        assert words in said
    assert "Wilcoxon signed-rank, exact" in said and "Holm-corrected p = 0.060" in said
    untested = pd.DataFrame([row | {"p": np.nan, "note": "all 14 differences are zero"}])
    assert "no test: all 14 differences are zero" in readings.reading_comparisons(untested, {}).data


def test_the_aa_arm_is_read_with_the_claims_it_would_bear_out():
    comparisons = pd.DataFrame({"p": [0.01, 0.2, np.nan], "p_holm": [0.02, 0.4, np.nan]})
    comparisons = comparisons.assign(method_p=np.nan, method_p_holm=np.nan, difference=0.1, structure="", role="home")
    comparisons = comparisons.assign(metric=["accuracy", "dice", "dice"], condition="shot_noise", scope="corruption")
    same = pd.DataFrame({"verdict": ["holds", "holds", "undecided"], "expected": ["+", "0", "-"]})
    same["networks_verdict"] = same["verdict"]
    said = readings.reading_aa(comparisons, same).data
    assert "1 of 2 comparisons have p < 0.05 before correction, 1 after it" in said
    assert "The smallest belongs to Accuracy, shot noise: p = 0.010, a difference of +0.100" in said
    assert "Of the claims that one arm is ahead, 1 would *hold* about the method" in said
    assert "no A/A arm" in readings.reading_aa(comparisons[:0], same).data
