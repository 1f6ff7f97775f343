"""The paper's counts come out of a split of RSNA's rows: on the published margins, and on the real table if there."""

import shutil

import numpy as np
import pytest
from real_images import needs_real_images

from ssrobust_lib.book import readings_splits
from ssrobust_lib.config import load_profile
from ssrobust_lib.splits.label_rows import (
    PAPER_ROWS,
    PUBLISHED_BOXES,
    PUBLISHED_ROWS,
    label_table,
    patient_balance,
    row_split_counts,
    row_split_table,
    stand_in,
)


@pytest.fixture(scope="module")
def made():
    table = stand_in()
    return table, row_split_counts(table, seed=5, draws=2)


def check_published(table, counts):
    """What holds for the real table and for the stand-in alike."""
    rows = table.rows
    assert len(rows) == PUBLISHED_ROWS == 30_227
    assert rows["sample_id"].is_unique and rows["patient_id"].nunique() == 26_684
    assert rows["label"].value_counts().to_dict() == {0: 20_672, 1: 9_555}
    boxes = rows[rows["label"] == 1].groupby("patient_id").size().value_counts().to_dict()
    assert boxes == {number: images for number, images in PUBLISHED_BOXES.items() if number}
    for part, n in PAPER_ROWS.items():
        assert (counts[part] == n).all()
    assert (counts["test"] + counts["train"] + counts["val"] == PUBLISHED_ROWS).all()
    assert patient_balance(table) == pytest.approx((6_012 / 26_684, 1 - 6_012 / 26_684))
    assert counts["prevalence"].to_numpy() == pytest.approx(956 / 3_024)
    assert counts["majority"].to_numpy() == pytest.approx(2_068 / 3_024)


def test_the_stand_in_has_the_published_margins_and_gives_the_papers_counts(made):
    check_published(*made)
    assert not made[0].real


@needs_real_images
def test_the_real_label_table_gives_the_papers_counts():
    table = label_table(load_profile("demo"))
    assert table.real
    check_published(table, row_split_counts(table, seed=5, draws=2))


def test_as_many_test_rows_leak_as_chance_says(made):
    _, counts = made
    # each of the 9,555 positive rows is in training with this share; a test row leaks if any other of its image is
    share = (9_555 - 956 - 860) / 9_554
    expected = sum(
        images * boxes * (1 - (1 - share) ** (boxes - 1)) for boxes, images in PUBLISHED_BOXES.items() if boxes > 1
    )
    expected *= 956 / 9_555
    assert np.allclose(counts["in_train"], expected, rtol=0.08)
    assert (counts["in_train_or_val"] >= counts["in_train"]).all()
    assert (counts["in_train"] >= counts["in_pool"]).all() and (counts["in_pool"] > counts["labelled"]).all()
    assert (counts["labelled"] < 30).all()


def test_the_real_table_is_found_beside_the_images_or_below_and_only_if_whole(tmp_path, monkeypatch):
    monkeypatch.setenv("SSROBUST_REAL_DATA", str(tmp_path))
    profile = load_profile("demo")
    assert not label_table(profile).real
    folder = tmp_path / "rsna"
    (folder / "full_labels").mkdir(parents=True)
    part = "patientId,x,y,width,height,Target\nA,,,,,0\nB,1,1,2,2,1\n"
    (folder / "stage_2_train_labels.csv").write_text(part)
    assert not label_table(profile).real
    rows = stand_in().rows
    whole = rows.rename(columns={"patient_id": "patientId", "label": "Target"})[["patientId", "Target"]]
    whole.to_csv(folder / "full_labels" / "stage_2_train_labels.csv", index=False)
    found = label_table(profile)
    assert found.real and found.rows["sample_id"].tolist() == rows["sample_id"].tolist()
    shutil.rmtree(folder)
    (folder / "as" / "unpacked").mkdir(parents=True)
    whole.to_csv(folder / "as" / "unpacked" / "stage_2_train_labels.csv", index=False)
    assert label_table(profile).real


def test_table_and_reading_say_the_counts_and_where_they_come_from(made):
    table, counts = made
    shown = row_split_table(table, counts).set_index("what")
    assert shown.loc["test", "rows"] == shown.loc["test", "paper"] == "3,024"
    assert shown.loc["training", "rows"] == "24,483" and shown.loc["validation", "rows"] == "2,720"
    text = readings_splits.reading_row_split(table, counts).data
    for word in ("stand-in", "3,024", "24,483", "2,720", "to the digit", "0.684", "0.775", "31.6 %", "22.5 %"):
        assert word in text
    assert "own label table" in readings_splits.reading_row_split(type(table)(table.rows, real=True), counts).data
    other = counts.assign(test=counts["test"] + 1)
    assert "not the paper's counts" in readings_splits.reading_row_split(table, other).data
