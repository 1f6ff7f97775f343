"""Splits keep patients together, subsets keep proportions, and nothing of the test side reaches training."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_tables import make_samples

from ssrobust_lib.registry import UnknownNameError
from ssrobust_lib.splits.overlap import keep_out
from ssrobust_lib.splits.rules import (
    SPLITS,
    PatientCrossesError,
    apportion,
    check_no_patient_crosses,
    groups_of,
    labelled_subset,
    pretext_pool,
    split_by_patient,
    split_by_row,
    split_published,
)


@given(
    weights=st.lists(st.integers(1, 60), min_size=1, max_size=6),
    share=st.floats(0, 1),
    minimum=st.integers(0, 1),
)
def test_apportion_gives_out_exactly_the_total_in_proportion(weights: list[int], share: float, minimum: int) -> None:
    total = max(round(share * sum(weights)), minimum * len(weights))
    seats = apportion(weights, total, minimum)
    assert sum(seats) == total
    assert all(minimum <= seat <= weight for seat, weight in zip(seats, weights, strict=True))
    if total < sum(weights):
        more = apportion(weights, total + 1, minimum)
        assert all(after >= before for before, after in zip(seats, more, strict=True))


def test_apportion_is_exact_where_proportions_are_whole() -> None:
    assert apportion([20, 30, 50], 10) == [2, 3, 5]
    with pytest.raises(ValueError, match="cannot draw 5"):
        apportion([2, 2], 5)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), val=st.floats(0.05, 0.3), test=st.floats(0.05, 0.3))
def test_split_by_patient_keeps_patients_whole_and_counts(seed: int, val: float, test: float) -> None:
    samples = make_samples()
    samples["split"] = split_by_patient(samples, val=val, test=test, seed=seed)
    check_no_patient_crosses(samples)
    patients = samples.groupby("split")["patient_id"].nunique()
    assert patients["test"] == int(np.ceil(round(test * 60, 9)))
    assert patients["val"] == int(np.ceil(round(val * 60, 9)))
    positive = samples[samples["label"] == 1].groupby("split")["patient_id"].nunique()
    assert abs(positive["test"] - patients["test"] / 3) <= 1


def test_a_split_that_leaves_nobody_to_train_on_is_refused() -> None:
    with pytest.raises(ValueError, match=r"test 50 \+ val 10 leave none of 60 labelled patients"):
        split_by_patient(make_samples(), val=10, test=50, seed=0)


def test_split_depends_on_the_seed_and_not_on_the_order_of_rows() -> None:
    samples = make_samples()
    first = split_by_patient(samples, val=6, test=12, seed=1)
    shuffled = samples.sample(frac=1, random_state=5)
    again = split_by_patient(shuffled, val=6, test=12, seed=1)
    pd.testing.assert_series_equal(first, again.reindex(first.index))
    assert not first.equals(split_by_patient(samples, val=6, test=12, seed=2))


def test_patients_without_labels_go_to_pretext_and_those_with_some_stay_together() -> None:
    samples = make_samples()
    samples.loc[samples["patient_id"].isin(["s/1", "s/2"]), "has_label"] = False
    several = samples["patient_id"].value_counts().index[0]
    samples.loc[samples.index[samples["patient_id"] == several][0], "has_label"] = False
    samples["split"] = split_by_patient(samples, val=0.2, test=0.2, seed=3)
    check_no_patient_crosses(samples)
    assert set(samples.loc[samples["split"] == "pretext", "patient_id"]) == {"s/1", "s/2"}


def test_scans_without_image_labels_are_split_without_strata_and_by_a_named_column() -> None:
    scans = make_samples(40, most_images=1).assign(label=pd.NA, scanner=["A", "B"] * 20).astype({"label": "Int8"})
    assert (split_by_patient(scans, val=0.1, test=0.2, seed=1) == "test").sum() == 8
    split = split_by_patient(scans, val=0.1, test=0.2, seed=1, stratify=("scanner",))
    assert scans.loc[split == "test", "scanner"].value_counts().to_dict() == {"A": 4, "B": 4}
    with pytest.raises(UnknownNameError, match="column to stratify by 'scaner'"):
        split_by_patient(scans, val=0.1, test=0.2, seed=1, stratify=("scaner",))


def test_identical_content_joins_patients() -> None:
    samples = make_samples(30)
    samples["content_hash"] = [f"h{n}" for n in range(len(samples))]
    first = {patient: samples.index[samples["patient_id"] == patient][0] for patient in ("s/4", "s/5", "s/6")}
    samples.loc[first["s/4"], "content_hash"] = samples.loc[first["s/5"], "content_hash"]
    samples.loc[samples.index[samples["patient_id"] == "s/5"][-1], "content_hash"] = "shared"
    samples.loc[first["s/6"], "content_hash"] = "shared"
    samples.loc[samples.index[0], "content_hash"] = None
    linked = groups_of(samples)[list(first.values())]
    if samples.loc[first["s/5"], "content_hash"] == "shared":  # s/5 has one image: only s/5 and s/6 are linked
        assert linked.iloc[1] == linked.iloc[2]
    else:
        assert linked.nunique() == 1
    for seed in range(8):
        samples["split"] = split_by_patient(samples, val=0.3, test=0.3, seed=seed)
        check_no_patient_crosses(samples)


def test_check_names_who_crosses() -> None:
    samples = make_samples(5).assign(split="train")
    samples.loc[samples.index[-1], ["patient_id", "split"]] = ["s/0", "test"]
    with pytest.raises(PatientCrossesError, match=r"1 patients .*s/0 in test and train"):
        check_no_patient_crosses(samples)
    samples = make_samples(5).assign(split="train", content_hash=None)
    ends = [samples.index[0], samples.index[-1]]
    samples.loc[ends, "content_hash"] = "same"
    samples.loc[samples["patient_id"] == "s/4", "split"] = "test"
    with pytest.raises(PatientCrossesError, match="1 images with identical content .*same in test and train"):
        check_no_patient_crosses(samples)


def test_published_split_keeps_the_test_set_and_may_cross() -> None:
    samples = make_samples(most_images=3)
    samples["published_split"] = np.where(np.arange(len(samples)) % 2 == 0, "test", "train")
    samples["split"] = split_published(samples, val=0.1, seed=1)
    assert set(samples.index[samples["split"] == "test"]) == set(samples.index[samples["published_split"] == "test"])
    with pytest.raises(PatientCrossesError):
        check_no_patient_crosses(samples)
    check_no_patient_crosses(samples[samples["split"].isin(["val", "test"])])
    nothing_shared = pd.DataFrame({"sample_id": []})
    check_no_patient_crosses(samples[~keep_out(samples, nothing_shared)])
    pool = set(pretext_pool(samples, labelled_subset(samples, 0.2, 1)))
    kept_away = set(samples.loc[samples["split"].isin(["test", "val"]), "patient_id"])
    assert pool and not kept_away & set(samples.loc[samples["sample_id"].isin(pool), "patient_id"])
    with pytest.raises(KeyError, match="published_split"):
        split_published(make_samples(), val=0.1, seed=1)
    with pytest.raises(ValueError, match="leave test out"):
        split_published(samples, val=0.1, test=0.1, seed=1)


def test_row_split_of_the_rsna_label_table_reproduces_the_papers_counts() -> None:
    # 20,672 negative rows of as many patients; 9,555 boxes of 6,012
    negative = pd.DataFrame({"patient_id": [f"n{k}" for k in range(20_672)], "label": 0})
    boxes = pd.DataFrame({"patient_id": [f"p{k % 6_012}" for k in range(9_555)], "label": 1})
    rows = pd.concat([negative, boxes], ignore_index=True).assign(has_label=True)
    rows["sample_id"] = [f"r{k}" for k in range(len(rows))]
    rows["split"] = split_by_row(rows, val=0.1, test=0.1, seed=1)
    assert rows["split"].value_counts().to_dict() == {"train": 24_483, "test": 3_024, "val": 2_720}
    assert rows.loc[rows["split"] == "test", "label"].mean() == pytest.approx(0.316, abs=1e-3)
    with pytest.raises(PatientCrossesError):
        check_no_patient_crosses(rows)


@settings(max_examples=30, deadline=None)
@given(negative=st.integers(5, 400), positive=st.integers(5, 400), test=st.floats(0.05, 0.4), val=st.floats(0.05, 0.4))
def test_row_split_rounds_class_by_class_as_stated(negative: int, positive: int, test: float, val: float) -> None:
    sizes = {0: negative, 1: positive}
    rows = pd.DataFrame({"label": [0] * negative + [1] * positive}).assign(has_label=True)
    rows["sample_id"] = rows["patient_id"] = [f"r{k}" for k in range(len(rows))]
    split = split_by_row(rows, val=val, test=test, seed=3)
    for label, n in sizes.items():
        of_class = split[rows["label"] == label].value_counts()
        n_test = int(np.ceil(round(test * n, 9)))
        assert of_class["test"] == n_test
        assert of_class.get("val", 0) == int(np.floor(round(val * (n - n_test), 9) + 0.5))


def test_row_split_takes_counts_and_refuses_to_leave_nothing_to_train_on() -> None:
    samples = make_samples(40)
    split = split_by_row(samples, val=7, test=12, seed=1)
    assert split.value_counts()[["val", "test"]].to_dict() == {"val": 7, "test": 12}
    shuffled = samples.sample(frac=1, random_state=2)
    pd.testing.assert_series_equal(split_by_row(shuffled, val=7, test=12, seed=1).reindex(split.index), split)
    assert not split.equals(split_by_row(samples, val=7, test=12, seed=2))
    with pytest.raises(ValueError, match="leave none of"):
        split_by_row(samples, val=len(samples) - 12, test=12, seed=1)


def test_the_pool_of_a_split_of_rows_holds_test_patients_and_that_of_any_other_does_not() -> None:
    samples = make_samples(60)
    samples["split"] = split_by_row(samples, val=0.1, test=0.2, seed=5)
    labelled = labelled_subset(samples, 0.1, 1)
    test_patients = set(samples.loc[samples["split"] == "test", "patient_id"])
    patient = samples.set_index("sample_id")["patient_id"]
    leaking = pretext_pool(samples, labelled, apart=False)
    assert test_patients & set(patient[leaking])
    assert set(leaking) == set(samples.loc[samples["split"] == "train", "sample_id"]) - set(labelled)
    assert not test_patients & set(patient[pretext_pool(samples, labelled)])


def test_nothing_learns_from_what_is_kept_out(split_samples: pd.DataFrame) -> None:
    train = split_samples[split_samples["split"] == "train"]
    away = set(train["sample_id"].head(20))
    samples = split_samples.assign(kept_out=split_samples["sample_id"].isin(away))
    everything = labelled_subset(samples, 1.0, 1)
    assert set(everything) == set(train["sample_id"]) - away
    assert not away & set(pretext_pool(samples, []))


@pytest.fixture
def split_samples() -> pd.DataFrame:
    samples = make_samples(200)
    samples["split"] = split_by_patient(samples, val=0.1, test=0.2, seed=7)
    samples.loc[samples["patient_id"] == samples.loc[samples["split"] == "train", "patient_id"].iloc[0], "split"] = (
        "pretext"
    )
    return samples


def test_labelled_subset_has_the_share_of_each_class_and_grows_with_the_fraction(split_samples: pd.DataFrame) -> None:
    train = split_samples[split_samples["split"] == "train"]
    labels = split_samples.set_index("sample_id")["label"]
    smaller: set[str] = set()
    for fraction in (0.01, 0.05, 0.1, 0.5, 1.0):
        subset = labelled_subset(split_samples, fraction, seed=4)
        assert subset == sorted(set(subset))
        assert len(subset) == max(2, int(np.ceil(round(fraction * len(train), 9))))
        assert smaller <= set(subset) <= set(train["sample_id"])
        assert abs(labels[subset].sum() - train["label"].mean() * len(subset)) <= 1
        smaller = set(subset)
    assert labelled_subset(split_samples, 0.1, 4) != labelled_subset(split_samples, 0.1, 5)
    shuffled = split_samples.sample(frac=1, random_state=1)
    assert labelled_subset(shuffled, 0.1, 4) == labelled_subset(split_samples, 0.1, 4)


def test_labelled_subset_takes_patients_whole_but_for_the_last_of_each_class(split_samples: pd.DataFrame) -> None:
    subset = set(labelled_subset(split_samples, 0.3, seed=2))
    train = split_samples[split_samples["split"] == "train"]
    taken = train["sample_id"].isin(subset).groupby(train["patient_id"]).mean()
    assert (taken.between(0, 1, inclusive="neither")).sum() <= 2


def test_labelled_subset_keeps_the_minimum_or_says_that_it_cannot(split_samples: pd.DataFrame) -> None:
    labels = split_samples.set_index("sample_id")["label"]
    assert labels[labelled_subset(split_samples, 4, 1, minimum_per_class=2)].value_counts().to_dict() == {0: 2, 1: 2}
    with pytest.raises(ValueError, match="labelled subset of"):
        labelled_subset(split_samples, 0.1, 1, minimum_per_class=10_000)
    with pytest.raises(ValueError, match="train holds no labelled image"):
        labelled_subset(split_samples.assign(has_label=False), 0.1, 1)
    for wrong in (1.5, -1, True):
        with pytest.raises(ValueError, match="fraction"):
            labelled_subset(split_samples, wrong, 1)


def test_ten_percent_of_the_papers_silver_corpus_are_eight_scans() -> None:
    scans = make_samples(74, most_images=1).assign(label=pd.NA, split="train").astype({"label": "Int8"})
    assert len(labelled_subset(scans, 0.1, 1)) == 8


def test_pretext_pool_is_train_without_the_labelled_and_the_pretext_set(split_samples: pd.DataFrame) -> None:
    subset = labelled_subset(split_samples, 0.1, seed=1)
    pool = pretext_pool(split_samples, subset)
    inside = split_samples["split"].isin(["train", "pretext"])
    assert set(pool) == set(split_samples.loc[inside, "sample_id"]) - set(subset)
    with pytest.raises(ValueError, match="'nobody'"):
        pretext_pool(split_samples, ["nobody"])


@pytest.mark.parametrize("split", ["val", "test", "external"])
def test_pretext_pool_holds_nobody_of_an_evaluation_split(split_samples: pd.DataFrame, split: str) -> None:
    samples = split_samples.assign(content_hash=[f"h{n}" for n in range(len(split_samples))])
    train = samples.index[samples["split"] == "train"]
    samples.loc[train[0], "split"] = split  # the patient's other images stay in train
    samples.loc[train[-1], "content_hash"] = samples.loc[train[0], "content_hash"]
    pool = set(pretext_pool(samples, []))
    away = samples["patient_id"].isin(samples.loc[[train[0], train[-1]], "patient_id"])
    assert not pool & set(samples.loc[away, "sample_id"])


def test_split_names() -> None:
    import ssrobust_lib.splits.given  # noqa: F401 (register)

    assert SPLITS.names() == ["patient", "published", "row", "given"]
    with pytest.raises(UnknownNameError):
        SPLITS["patients"]
