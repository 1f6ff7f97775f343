"""The table of splits: complete, free of labels, and enough to train on the same patients again."""

import io

import pandas as pd
import pytest
from sample_tables import make_samples

from ssrobust_lib.splits.rules import labelled_subset, pretext_pool, split_by_patient
from ssrobust_lib.splits.table import COLUMNS, columns_text, seeds_of, split_table, to_csv, used_by


@pytest.fixture
def samples():
    table = make_samples(80)
    return table.assign(split=split_by_patient(table, val=0.1, test=0.2, seed=3), kept_out=False)


def uses_of(samples, seeds=(0, 1)):
    uses = {}
    for seed in seeds:
        labelled = labelled_subset(samples, 0.1, seed)
        uses[seed] = (labelled, pretext_pool(samples, labelled))
    return uses


def test_every_sample_has_a_row_and_every_seed_a_column(samples):
    table = split_table("pneumonia", samples, uses_of(samples))
    assert sorted(table["sample_id"]) == sorted(samples["sample_id"])
    assert table["sample_id"].is_unique and seeds_of(table) == [0, 1]
    assert set(table["seed_0"]) == {"labelled", "pretext", ""}
    scored = table["split"].isin(["val", "test"])
    assert (table.loc[scored, ["seed_0", "seed_1"]] == "").all(axis=None)


def test_neither_label_nor_path_is_in_it_and_every_column_is_described(samples):
    table = split_table("pneumonia", samples, uses_of(samples))
    assert [name if not name.startswith("seed_") else "seed_<n>" for name in table][:7] == list(COLUMNS)
    assert not {"label", "image", "has_label"} & set(table)
    for name in COLUMNS:
        assert f"`{name}`" in columns_text()


def test_what_is_read_back_from_the_csv_is_what_was_learned_from(samples):
    uses = uses_of(samples)
    text = to_csv([split_table("pneumonia", samples, uses), split_table("organs", samples, uses)])
    again = pd.read_csv(io.StringIO(text), keep_default_na=False)
    assert len(again) == 2 * len(samples) and "\r" not in text
    for seed, (labelled, pool) in uses.items():
        assert used_by(again[again["task"] == "organs"], seed) == (sorted(labelled), sorted(pool))
    assert again["kept_out"].unique().tolist() == [False]
    with pytest.raises(KeyError, match="no seed 7; it has 0, 1"):
        used_by(again, 7)


def test_a_subset_that_does_not_fit_is_refused(samples):
    one = samples["sample_id"].iloc[0]
    with pytest.raises(ValueError, match="seed 4: 1 samples are not in the table, first 'nobody'"):
        split_table("pneumonia", samples, {4: (["nobody"], [])})
    with pytest.raises(ValueError, match="labelled and in the pool"):
        split_table("pneumonia", samples, {4: ([one], [one])})
