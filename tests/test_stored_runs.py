"""Finding a run by its records: older results beside newer ones, copies without images, and what is missing."""

import shutil

import pytest
from stored_runs import scans, write_cell, write_run, xrays

from ssrobust_lib.run_comparison.stored_run import RunComparisonError, names_of, open_run

LATER = "2026-11-24T04:00:00+0000"


def few_xrays(random):
    return xrays(random).query("severity < 2")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("made") / "one", [few_xrays(0)])


@pytest.fixture
def folder(made, tmp_path):
    """The folder of all runs, with one called 'one'."""
    shutil.copytree(made, tmp_path / "one")
    return tmp_path


def test_a_run_is_found_by_name_by_path_and_by_its_profile(folder):
    by_name, by_path = open_run("one", runs=folder), open_run(str(folder / "one"))
    assert by_name.cells == by_path.cells and by_name.name == "one"
    assert by_name.home_sets == {"pneumonia": "rsna"}
    assert by_name.arms == ["scratch", "jigsaw", "scratch_aa"]
    assert by_name.statistics.step == "07_stats" and len(by_name.of_step("03_finetune")) == 9


def test_the_latest_statistics_say_which_of_two_results_count(folder):
    write_run(folder / "one", [few_xrays(3)], key="bbbbbbbbbb", finished=LATER)
    run = open_run("one", runs=folder)
    assert {cell.id[-10:] for cell in run.cells} == {"bbbbbbbbbb"}
    assert len(run.older) == len(run.cells) and all(name.endswith("aaaaaaaaaa") for name in run.older)


def test_later_in_another_time_zone_is_later(folder):
    write_run(folder / "one", [few_xrays(3)], key="bbbbbbbbbb", finished="2026-11-23T01:00:00-0400")
    assert open_run("one", runs=folder).statistics.id.endswith("bbbbbbbbbb")


def test_cells_that_are_being_computed_do_not_count(folder):
    write_cell(folder / "one", "07_stats/.all-cccccccccc.partial", {}, {}, [], finished=LATER)
    assert open_run("one", runs=folder).statistics.id == "07_stats/all-aaaaaaaaaa"


def test_names_that_are_equal_are_told_apart(folder, tmp_path):
    write_run(tmp_path / "copy" / "one", [few_xrays(0)], commit="fedcba987654")
    write_run(tmp_path / "other" / "one", [few_xrays(0)], key="bbbbbbbbbb")
    first, commit, key = (open_run(str(p)) for p in (folder / "one", tmp_path / "copy/one", tmp_path / "other/one"))
    assert names_of(first, commit) == ("one-0123456789ab", "one-fedcba987654")
    assert names_of(first, key) == ("one-aaaaaaaaaa", "one-bbbbbbbbbb")
    assert names_of(first, first) == ("one-1", "one-2")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ome", "unknown run 'ome': expected one of one. Did you mean 'one'"),
        ("nowhere/at/all", "no such folder; expected the folder of a run"),
        ("missing.yaml", "no such file"),
    ],
)
def test_a_run_that_is_not_there(folder, name, words):
    with pytest.raises(RunComparisonError, match=words):
        open_run(name, runs=folder)


def test_a_folder_without_runs_and_one_that_is_no_run(tmp_path):
    with pytest.raises(RunComparisonError, match="holds none"):
        open_run("demo", runs=tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunComparisonError, match="expected a folder `cells` in it"):
        open_run("empty", runs=tmp_path)


def test_an_unfinished_run_says_what_is_finished_and_what_is_missing(folder):
    shutil.rmtree(folder / "one" / "cells" / "07_stats")
    with pytest.raises(RunComparisonError, match=r"no 07_stats \(finished: 1 of 01_data, 9 of 03_finetune"):
        open_run("one", runs=folder)
    (folder / "one").rename(folder / "smoke")  # a profile of the project: its cells are known
    with pytest.raises(RunComparisonError, match=r"missing by the profile and the code of now: 01_data/pneumonia-"):
        open_run("smoke", runs=folder)


def test_a_run_copied_in_part_names_the_cell_that_is_missing(folder):
    shutil.rmtree(next((folder / "one" / "cells" / "04_clean_eval").iterdir()))
    with pytest.raises(RunComparisonError, match="made from 04_clean_eval/pneumonia-rsna-aaaaaaaaaa, which is not"):
        open_run("one", runs=folder)


@pytest.mark.parametrize(("content", "words"), [("{", "cannot be read"), ("{}", "lacks of, settings, needs")])
def test_a_damaged_record_is_named(folder, content, words):
    path = next((folder / "one" / "cells" / "01_data").iterdir()) / "cell.json"
    path.write_text(content)
    with pytest.raises(RunComparisonError, match=words) as raised:
        open_run("one", runs=folder)
    assert str(path) in str(raised.value)


def test_a_set_of_another_centre_is_no_home(tmp_path):
    tables = [scans(1), scans(2, n=6, corruptions=(), name="kits19")]
    run = open_run(str(write_run(tmp_path / "two", tables)))
    assert run.home_sets == {"organs": "visceral"}
    assert "organs on visceral" in run.contents
