"""Images shared by a learning and an evaluation part: found across sets, told apart by kind, kept out by policy."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from made_up_images import cropped, scan, scenes, small

from ssrobust_lib.book import data_report, readings_splits
from ssrobust_lib.cells import data as data_cell
from ssrobust_lib.config import ProfileError
from ssrobust_lib.profile_sections import TaskData
from ssrobust_lib.splits.overlap import COLUMNS, keep_out, shared_images
from ssrobust_lib.splits.rules import labelled_subset, pretext_pool

XRAYS = TaskData(set="rsna", validation=1, test=1, label_fraction=0.5, image_size=64)


def table(splits, sets=None, patients=None, hashes=None):
    names = [f"i{k}" for k in range(len(splits))]
    return pd.DataFrame(
        {
            "sample_id": names,
            "patient_id": patients or names,
            "set": sets or ["a"] * len(splits),
            "split": splits,
            "has_label": True,
            "label": pd.array([k % 2 for k in range(len(splits))], dtype="Int8"),
            "content_hash": hashes or names,
        }
    )


@pytest.fixture
def xrays():
    """i1 (train) is i6 (test) cropped; i4 (pretext, another set) has i7's pixels; i2 is of the patient of i1."""
    originals = scenes(8, seed=4)
    originals[4] = originals[7]
    images = small(originals)
    images[1] = small([cropped(originals[6], 0.03, 0.02, 0.03, 0.03)])[0]
    splits = ["train", "train", "train", "train", "pretext", "val", "test", "external"]
    sets = ["a", "a", "a", "a", "b", "a", "a", "c"]
    hashes = [f"i{k}" for k in range(7)] + ["i4"]
    patients = ["p0", "p1", "p1", "p3", "p4", "p5", "p6", "p7"]
    samples = table(splits, sets, patients, hashes)
    return samples, images.astype(np.float16), pd.DataFrame({"sample_id": samples["sample_id"], "slice": 0})


def test_equal_pixels_and_near_copies_are_found_across_parts_and_sets(xrays):
    shared = shared_images(*xrays)
    assert list(shared) == list(COLUMNS)
    assert shared[["sample_id", "evaluated_id", "kind"]].to_numpy().tolist() == [
        ["i4", "i7", "identical"],
        ["i1", "i6", "near-duplicate"],
    ]
    assert shared[["split", "evaluated_split"]].to_numpy().tolist() == [["pretext", "external"], ["train", "test"]]
    assert shared[["set", "evaluated_set"]].to_numpy().tolist() == [["b", "c"], ["a", "a"]]


def test_the_answer_does_not_depend_on_which_part_is_the_larger(xrays):
    samples, images, rows = xrays
    more = samples.assign(split=["train", "train", *["test"] * 6])
    shared = shared_images(more, images, rows)
    assert ["i1", "i6"] in shared[["sample_id", "evaluated_id"]].to_numpy().tolist()
    assert set(shared["split"]) == {"train"}


def test_what_is_shared_is_learned_from_by_nobody_and_neither_are_its_patients_other_images(xrays):
    samples, images, rows = xrays
    samples["kept_out"] = keep_out(samples, shared_images(samples, images, rows))
    assert samples.loc[samples["kept_out"], "sample_id"].tolist() == ["i1", "i2", "i4"]
    labelled = labelled_subset(samples, 1.0, seed=1, minimum_per_class=1)
    assert labelled == ["i0", "i3"]
    assert pretext_pool(samples, []) == ["i0", "i3"]
    assert pretext_pool(samples.drop(columns="kept_out"), []) == ["i0", "i1", "i2", "i3"]  # i4 by its pixels


def test_images_of_one_patient_are_not_compared(xrays):
    samples, images, rows = xrays
    samples.loc[6, "patient_id"] = "p1"
    assert shared_images(samples, images, rows)["kind"].tolist() == ["identical"]


def test_images_too_small_to_tell_are_compared_by_their_pixels_alone(xrays):
    samples, images, rows = xrays
    assert shared_images(samples, images[:, ::4, ::4], rows)["kind"].tolist() == ["identical"]


def test_a_scan_in_two_sets_is_found():
    scans = [scan(20, seed) for seed in range(5)]
    scans.append(np.roll(scans[1][3:], (1, 1), axis=(1, 2)))
    samples = table(["pretext"] * 4 + ["test"] * 2)
    names = np.repeat(samples["sample_id"], [len(part) for part in scans])
    rows = pd.DataFrame({"sample_id": names.to_numpy()})
    shared = shared_images(samples, np.concatenate(scans).astype(np.float16), rows)
    assert shared[["sample_id", "evaluated_id", "kind"]].to_numpy().tolist() == [["i1", "i5", "near-duplicate"]]


def test_constants_of_training_do_not_look_at_what_is_kept_out():
    images = np.stack([np.full((4, 4), value, np.float16) for value in (0.25, 0.75, 1.0, 0.0)])
    rows = pd.DataFrame({"sample_id": ["a", "b", "copy", "t"], "split": ["train", "train", "train", "test"]})
    assert data_cell.training_constants(images, rows, {"copy"}) == pytest.approx((0.5, 0.25))
    assert data_cell.training_constants(images, rows)[0] == pytest.approx(2 / 3)


@pytest.mark.parametrize("policy", ["keep_out", "report"])
def test_a_patient_on_both_sides_of_a_published_split_is_learned_from_under_no_policy(xrays, policy):
    samples, images, rows = xrays
    samples.loc[6, "patient_id"] = "p0"  # tested, and i0 is in training
    data = XRAYS.model_copy(update={"split": "published", "near_duplicates": policy})
    profile = SimpleNamespace(data={"pneumonia": data})
    marked = data_cell._kept_apart(profile, "pneumonia", samples, shared_images(samples, images, rows))
    alike = {"keep_out": ["i0", "i1", "i2", "i4"], "report": ["i0", "i4"]}[policy]  # i4 has the pixels of i7
    assert marked.loc[marked["kept_out"], "sample_id"].tolist() == alike


def test_nothing_to_compare_gives_an_empty_table():
    samples = table(["train", "train"])
    shared = shared_images(samples, small(scenes(2)), samples[["sample_id"]])
    assert shared.empty and list(shared) == list(COLUMNS)
    assert not keep_out(samples, shared).any()


def test_nothing_is_chosen_by_an_image_that_is_tested(xrays):
    """i5 (val) shows what i6 (test) shows: severities would be fitted to a test image."""
    samples, images, rows = xrays
    images[5] = images[1]
    shared = shared_images(samples, images, rows)
    assert ["i5", "i6"] in shared[["sample_id", "evaluated_id"]].to_numpy().tolist()
    assert not ((shared["split"] == "val") & (shared["evaluated_split"] == "val")).any()
    assert keep_out(samples, shared).tolist() == [False, True, True, False, True, True, False, False]
    on_both_sides = samples.assign(patient_id=samples["patient_id"].replace("p5", "p7"))  # p7 is external
    # i4 has the pixels of i7
    assert keep_out(on_both_sides, shared.head(0)).tolist() == [*[False] * 4, True, True, False, False]
    profile = SimpleNamespace(data={"pneumonia": XRAYS})
    with pytest.raises(ProfileError, match="every validation image is of a patient who is tested"):
        data_cell._kept_apart(profile, "pneumonia", samples, shared)


def test_the_reading_says_what_was_found_and_what_was_done(xrays):
    samples, images, rows = xrays
    shared = shared_images(samples, images, rows)
    samples["kept_out"] = keep_out(samples, shared)
    text = readings_splits.reading_shared(shared, samples, XRAYS, "pneumonia").data
    assert "1 sample learned or chosen from is identical" in text and "3 samples of these patients are kept out" in text
    reported = readings_splits.reading_shared(shared, samples.assign(kept_out=False), XRAYS, "pneumonia").data
    assert "only to report" in reported and "kept out" not in reported
    by_row = XRAYS.model_copy(update={"split": "row"})
    assert "what a split of rows does" in readings_splits.reading_shared(shared, samples, by_row, "pneumonia").data
    none = readings_splits.reading_shared(shared.head(0), samples, XRAYS, "pneumonia").data
    assert "No image that is learned from" in none and "0.80" in none
    tiny = XRAYS.model_copy(update={"image_size": 24})
    assert "too small" in readings_splits.reading_shared(shared.head(0), samples, tiny, "pneumonia").data
    shown = data_report.shared_pairs(shared, {"a": "A", "b": "B", "c": "C"})
    assert shown["in"].tolist() == ["B, pretext task only", "A, training"]
    assert shown["evaluated_in"].tolist() == ["C, other centre", "A, test"]
