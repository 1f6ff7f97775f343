"""Images that the notebooks show: of the right set, chosen by their rule, in the form that the figures take."""

import numpy as np
import pytest
from tiny_cells import TASKS

from ssrobust_lib import store
from ssrobust_lib.book import examples
from ssrobust_lib.cells import trained
from ssrobust_lib.study import Study


def test_phantoms_are_called_phantoms_wherever_they_are_named(tiny_study):
    titles = examples.set_titles(tiny_study)
    assert set(titles) == {"rsna", "visceral", "kits19"}
    assert all(title.startswith("phantoms in the layout of ") for title in titles.values())
    assert titles["visceral"] == examples.data_set_name(tiny_study, "organs")
    real = tiny_study.profile.model_copy(update={"phantoms": {}})
    without = Study(tiny_study.profile, runs=tiny_study.folder.parent)
    without.all_cells  # noqa: B018  the graph is that of the phantoms, only the words are of real images
    without.profile = real
    assert examples.data_set_name(without, "organs") == titles["visceral"].removeprefix("phantoms in the layout of ")


def test_the_mark_names_the_arm_and_its_seeds_that_have_not_learned(tiny_study, monkeypatch):
    accuracy = tiny_study.table(tiny_study.cells("02_pretext"), "accuracy")
    for learned in ([True, True], [True, False], [False, False]):
        told = accuracy.assign(learned=learned)
        monkeypatch.setattr(Study, "table", lambda self, cells, name, told=told: told)
        mark = examples.pretext_mark(tiny_study).data
        for row in told.itertuples():
            assert (f"{row.task}, seed {row.seed}" in mark) == (not row.learned)
            assert bool(examples.arm_marks(tiny_study, row.task)) == (not row.learned)
        assert ("not learned" in mark) == (not all(learned))


def test_xrays_come_as_the_loader_reads_them_half_of_them_positive(tiny_study):
    shown = examples.example_xrays(tiny_study, n=6)
    assert shown.labels.count(1) == shown.labels.count(0) == 3
    assert len(shown.images) == len(shown.views) == 6
    for image in shown.images:
        assert image.shape == (32, 32)
        assert image.dtype == np.float32
        assert 0 <= image.min() < image.max() <= 1


@pytest.mark.parametrize(("label", "labelled"), [(None, True), ("kits19", True), ("luna16", False)])
def test_scans_come_in_hounsfield_units_with_their_masks_where_they_have_some(tiny_study, label, labelled):
    samples = tiny_study.table(trained.data_cell(tiny_study, "organs"), "samples")
    of_set = samples[samples["set"] == (label or "visceral")]["sample_id"].str.split("/").str[-1]
    scans = examples.example_scans(tiny_study, label)
    assert scans
    assert len({scan.sample_id for scan in scans}) == len(scans)
    for scan in scans:
        assert scan.sample_id in set(of_set)
        assert scan.hu.ndim == 3
        assert scan.hu.min() < -500 < 0 < scan.hu.max()
        assert (scan.mask is not None) == labelled
        if labelled:
            assert scan.mask.shape == scan.hu.shape
            assert 0 < scan.mask.max() <= len(scan.structures)


@pytest.mark.parametrize("task", TASKS)
def test_puzzles_are_solved_ones_first_three_of_each_at_most(tiny_study, task):
    puzzles = examples.example_puzzles(tiny_study, task, "jigsaw")
    cell = tiny_study.cells("02_pretext", tasks=[task])[0]
    stored = store.read_arrays(tiny_study.folder_of(cell) / "examples.npz")
    solved = int((stored["truth"] == stored["predicted"]).all(axis=1).sum())
    assert [puzzle.solved for puzzle in puzzles].count(True) == min(solved, 3)
    assert [puzzle.solved for puzzle in puzzles].count(False) == min(len(stored["truth"]) - solved, 3)
    assert [puzzle.solved for puzzle in puzzles] == sorted((puzzle.solved for puzzle in puzzles), reverse=True)


def test_corrupted_examples_are_the_same_test_image_at_the_calibrated_strengths(tiny_study):
    at_three = examples.corruption_examples(tiny_study, severity=3)
    assert list(at_three) == ["CT", "X-ray"]
    for task, word in (("organs", "CT"), ("pneumonia", "X-ray")):
        strip = examples.severity_examples(tiny_study, task)
        words = examples.strength_words(tiny_study, task)
        assert list(at_three[word]) == ["clean", *tiny_study.profile.corruptions]
        for corruption in tiny_study.profile.corruptions:
            assert list(strip[corruption]) == [0, 1, 2, 3, 4, 5]
            assert list(words[corruption]) == [1, 2, 3, 4, 5]
            strengths = trained.strengths_of(tiny_study, task, corruption)
            assert [float(word) for word in words[corruption].values()] == pytest.approx(
                list(strengths.values()), rel=0.06
            )
            np.testing.assert_array_equal(strip[corruption][3], at_three[word][corruption])
            np.testing.assert_array_equal(strip[corruption][0], at_three[word]["clean"])
            assert not np.array_equal(strip[corruption][5], strip[corruption][0])
