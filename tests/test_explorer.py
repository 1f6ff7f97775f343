"""The explorer: its pixels and scores are those of the evaluation, its lists say what happened there."""

import dataclasses
import io

import numpy as np
import pytest
import torch
from PIL import Image

from ssrobust_lib import store
from ssrobust_lib.cells import trained
from ssrobust_lib.evaluation.inference import Condition, corrupted_images
from ssrobust_lib.evaluation.metrics import correct, dice
from ssrobust_lib.evaluation.voxel_counts import ScanCounter, structure_counts
from ssrobust_lib.explorer.finished_run import FinishedRun
from ssrobust_lib.explorer.page import explorer_text, shown_states
from ssrobust_lib.explorer.samples import EVERY, choose_samples, rules_for
from ssrobust_lib.explorer.sentences import caption
from ssrobust_lib.explorer.views import State, corrupted_pixels, look, richest_slice
from ssrobust_lib.figures import SlicePanels, XRayPanels
from ssrobust_lib.registry import UnknownNameError
from ssrobust_lib.study import Study

ARMS = ("scratch", "jigsaw")
XRAY = {"task": "pneumonia", "data_set": "rsna", "arms": ARMS, "corruption": "gaussian_noise"}
CT = {"task": "organs", "data_set": "visceral", "arms": ARMS, "corruption": "contrast"}


@pytest.fixture(scope="module")
def run(tiny_study):
    return FinishedRun(tiny_study)


def first(run, task, data_set):
    return next(iter(run.samples(task, data_set)))


def stored(run, task, data_set, corruption, severity, arm):
    table = run.predictions(task, data_set, corruption, severity)
    return table[(table["init"] == arm) & (table["seed"] == 0)]


@pytest.mark.parametrize("severity", [0, 1, 3, 5])
@pytest.mark.parametrize(
    ("start", "corruption"), [(XRAY, "gaussian_noise"), (XRAY, "contrast"), (CT, "gaussian_noise")]
)
def test_pixels_are_those_of_the_evaluation(run, start, corruption, severity):
    task, data_set = start["task"], start["data_set"]
    cache = run.images(task)
    positions = trained.positions(cache, split="test", data_set=data_set)
    name = corruption if severity else "clean"
    condition = Condition(name, run.strength(task, corruption, severity), severity, run.study.profile.study_seed)
    evaluated = corrupted_images(cache, positions, condition, by_slice=task == "organs")  # as one batch
    rows = cache.rows.iloc[positions]
    for k in (0, len(positions) // 2, len(positions) - 1):
        state = State(
            **start | {"corruption": corruption},
            sample_id=rows["sample_id"].iloc[k],
            severity=severity,
            slice_index=int(rows["slice"].iloc[k]),
        )
        assert torch.equal(corrupted_pixels(run, state)[0], evaluated[k])


@pytest.mark.parametrize("severity", [0, 2, 5])
def test_scores_of_x_rays_are_the_stored_ones(run, severity):
    for sample in list(run.samples("pneumonia", "rsna"))[:4]:
        view = look(run, State(**XRAY, sample_id=sample, severity=severity))
        for arm in ARMS:
            table = stored(run, "pneumonia", "rsna", "gaussian_noise", severity, arm).set_index("sample_id")
            assert view.scores[arm] == pytest.approx(float(table.loc[sample, "score"]), abs=1e-5)
            assert view.label == table.loc[sample, "label"]
            right = correct(np.array([view.label]), np.array([view.scores[arm]]))[0]
            assert view.verdict(arm) == ("right" if right else "wrong")


@pytest.mark.parametrize("severity", [0, 4])
def test_predictions_of_all_slices_give_the_stored_dice_of_the_scan(run, severity):
    scan = first(run, "organs", "visceral")
    truth, grid = run.images("organs").scan_truth(scan)
    counter = ScanCounter(truth, grid, torch.device("cpu"))
    structures = run.structures("visceral")
    n_classes = len(structures) + 1
    joint = {arm: counter.unseen(n_classes) for arm in ARMS}
    for index in range(len(run.rows_of("organs", "visceral", scan))):
        view = look(run, State(**CT, sample_id=scan, severity=severity, slice_index=index))
        for arm in ARMS:
            predicted = torch.from_numpy(view.predicted[arm].astype(np.int64))[None]
            joint[arm] = joint[arm] + counter.count(index, predicted, n_classes)
    for arm in ARMS:
        expected = stored(run, "organs", "visceral", "contrast", severity, arm)
        expected = expected[expected["sample_id"] == scan].set_index("structure")["dice"]
        label, predicted, overlap = structure_counts(joint[arm], structures)[:, :3].T
        values = dice(label, predicted, overlap)
        np.testing.assert_allclose(values, expected[list(structures)], equal_nan=True)
        assert view.scan_dice[arm] == pytest.approx(values[label > 0].mean())


def test_a_free_strength_of_zero_is_clean_and_its_pattern_only_grows(run):
    start = XRAY | {"sample_id": first(run, "pneumonia", "rsna")}
    clean = look(run, State(**start, severity=0))
    assert np.array_equal(look(run, State(**start, strength=0.0)).corrupted, clean.clean)
    weak, strong = (look(run, State(**start, strength=s)).corrupted - clean.clean for s in (0.001, 0.002))
    inside = (clean.clean > 0.02) & (clean.clean < 0.98)
    np.testing.assert_allclose(strong[inside], 2 * weak[inside], atol=1e-6)


def test_dice_of_a_slice_is_that_of_its_pixels(run):
    scan = first(run, "organs", "visceral")
    view = look(run, State(**CT, sample_id=scan, severity=1, slice_index=richest_slice(run, "visceral", scan)))
    scores = []
    for value in range(1, len(view.structures) + 1):
        label, found = view.truth == value, view.predicted["jigsaw"] == value
        if label.any():
            scores.append(2 * (label & found).sum() / (label.sum() + found.sum()))
    assert scores and view.slice_dice["jigsaw"] == pytest.approx(np.mean(scores))


def test_another_centre_is_shown_with_its_merged_structures_and_what_was_stored(run):
    (own, other) = run.sets("organs")
    assert (own, other) == ("visceral", "kits19")
    scan = first(run, "organs", other)
    start = CT | {"data_set": other, "sample_id": scan, "slice_index": richest_slice(run, other, scan)}
    clean, corrupted = (look(run, State(**start, severity=severity)) for severity in (0, 5))
    assert clean.structures == ("kidney",) and set(np.unique(clean.truth)) <= {0, 1}
    assert set(clean.scan_dice) == set(ARMS) and corrupted.scan_dice == {}
    assert not np.array_equal(clean.corrupted, corrupted.corrupted)


def wrong(**changed):
    return changed


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        (wrong(sample_id="nobody"), UnknownNameError, "unknown image 'nobody'"),
        (wrong(data_set="nowhere"), UnknownNameError, "unknown set 'nowhere'"),
        (wrong(task="teeth"), UnknownNameError, "unknown task 'teeth'"),
        (wrong(arms=("rotation",)), UnknownNameError, "unknown arm 'rotation'"),
        (wrong(seed=7), UnknownNameError, "unknown seed '7'"),
        (wrong(corruption="rain"), UnknownNameError, "unknown corruption 'rain'"),
        (wrong(severity=6), ValueError, r"severity: expected 0 \(clean\) to 5, got 6"),
        (wrong(severity=-1), ValueError, r"severity: expected 0 \(clean\) to 5, got -1"),
        (wrong(strength=99.0), ValueError, "strength of gaussian_noise: expected 0 to"),
    ],
)
def test_a_state_that_cannot_be_is_refused_by_name(run, changed, error, message):
    state = State(**XRAY, sample_id=first(run, "pneumonia", "rsna"))
    with pytest.raises(error, match=message):
        look(run, dataclasses.replace(state, **changed))


def test_a_slice_beyond_the_scan_is_refused(run):
    scan = first(run, "organs", "visceral")
    n = len(run.rows_of("organs", "visceral", scan))
    with pytest.raises(ValueError, match=f"expected 0 to {n - 1}, got {n}"):
        look(run, State(**CT, sample_id=scan, slice_index=n))


def test_rules_choose_what_they_say(run):
    state = State(**XRAY, sample_id=first(run, "pneumonia", "rsna"), severity=2)
    tables = [stored(run, "pneumonia", "rsna", "gaussian_noise", 2, arm).set_index("sample_id") for arm in ARMS]
    labels = tables[0]["label"]
    right = [correct(labels.to_numpy(), table["score"].to_numpy()) for table in tables]
    names = labels.index.to_numpy()
    expected = {
        "xray_first_right": names[right[0] & ~right[1]],
        "xray_second_right": names[~right[0] & right[1]],
        "xray_both_wrong": names[~right[0] & ~right[1]],
        "xray_changed": names,
        EVERY: names,
    }
    assert set(rules_for("pneumonia", ARMS)) == set(expected)
    for rule, chosen in expected.items():
        assert sorted(sample.sample_id for sample in choose_samples(run, state, rule)) == sorted(chosen), rule
    clean = [stored(run, "pneumonia", "rsna", "clean", 0, arm).set_index("sample_id")["score"] for arm in ARMS]
    moved = sum((t["score"] - c).abs() for t, c in zip(tables, clean, strict=True)) / 2
    order = [sample.sample_id for sample in choose_samples(run, state, "xray_changed")]
    assert list(moved[order]) == sorted(moved, reverse=True)


def test_scans_are_ranked_by_what_an_arm_gained(run):
    state = State(**CT, sample_id=first(run, "organs", "visceral"), severity=3)
    gains = {}
    for sample in run.samples("organs", "visceral"):
        dice = look(run, dataclasses.replace(state, sample_id=sample)).scan_dice
        gains[sample] = dice["jigsaw"] - dice["scratch"]
    most = [sample.sample_id for sample in choose_samples(run, state, "ct_gained")]
    assert most == sorted(gains, key=lambda sample: -gains[sample])
    assert [s.sample_id for s in choose_samples(run, state, "ct_lost")] == sorted(gains, key=gains.get)
    words = choose_samples(run, state, "ct_gained")[0].words
    assert words == f"{gains[most[0]]:+.2f}"


def test_rules_say_where_nothing_was_stored_and_which_there_are(run):
    state = State(**XRAY, sample_id=first(run, "pneumonia", "rsna"), strength=0.1)
    with pytest.raises(LookupError, match="nothing is stored for a free strength"):
        choose_samples(run, state, "xray_changed")
    other = State(**CT | {"data_set": "kits19"}, sample_id=first(run, "organs", "kits19"), severity=2)
    with pytest.raises(LookupError, match="evaluated clean only"):
        choose_samples(run, other, "ct_gained")
    with pytest.raises(UnknownNameError, match="unknown rule 'ct_gained'"):
        choose_samples(run, state, "ct_gained")
    assert set(rules_for("pneumonia", ("scratch",))) == {EVERY, "xray_changed"}


def test_a_run_that_is_not_finished_says_what_to_do(tiny_study, tmp_path):
    with pytest.raises(store.StoreError, match=r"the run 'tiny' is not finished: .*make study PROFILE=tiny"):
        FinishedRun(Study(tiny_study.profile, read_only=True, runs=tmp_path))


def decoded(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_panels_are_used_again_and_show_the_newest_view(run):
    start = XRAY | {"sample_id": first(run, "pneumonia", "rsna")}
    clean, noisy = (look(run, State(**start, severity=severity)) for severity in (0, 5))
    panels = XRayPanels(ARMS)
    panels.show(clean)
    before = panels.png()
    panels.show(noisy)
    assert np.abs(decoded(panels.png()) - decoded(before)).max() > 50
    panels.show(clean)
    assert panels.png() == before


def test_panels_of_slices_paint_each_arms_prediction(run):
    scan = first(run, "organs", "visceral")
    view = look(run, State(**CT, sample_id=scan, severity=1, slice_index=richest_slice(run, "visceral", scan)))
    panels = SlicePanels(ARMS, view.structures)
    panels.show(view)
    before = panels.png()
    panels.show(dataclasses.replace(view, predicted=view.predicted | {"jigsaw": view.truth}))
    after = panels.png()
    changed = np.flatnonzero(np.abs(decoded(after) - decoded(before)).max(axis=(0, 2)))
    assert len(changed) and changed.min() > 0.74 * decoded(after).shape[1], "only the last panel may change"
    with pytest.raises(ValueError, match="panels of .* cannot show kidney"):
        panels.show(dataclasses.replace(view, structures=("kidney",)))


def test_captions_say_what_is_seen(run):
    sample = first(run, "pneumonia", "rsna")
    view = look(run, State(**XRAY, sample_id=sample, severity=3))
    words = caption(view)
    assert words.startswith(f"{sample}, label: ") and "Gaussian noise, severity 3: " in words
    for arm, label in zip(ARMS, ("Normal training", "Self-supervised (jigsaw)"), strict=True):
        assert f"{label}: {view.scores[arm]:.2f}, {view.verdict(arm)}; clean {view.clean_scores[arm]:.2f}." in words
    scan = first(run, "organs", "visceral")
    view = look(run, State(**CT, sample_id=scan, severity=0, slice_index=0))
    assert f"{scan}, slice 1 of {view.n_slices}. Clean image." in caption(view)
    assert f"scan {view.scan_dice['scratch']:.2f}" in caption(view)


def test_the_books_strips_show_the_most_changed_image_from_clean_to_severity_5(run, tiny_study):
    states = shown_states(run, "pneumonia")
    assert [state.severity for state in states] == list(range(6))
    assert {state.arms for state in states} == {ARMS}
    most = choose_samples(run, dataclasses.replace(states[3]), "xray_changed")[0].sample_id
    assert {state.sample_id for state in states} == {most}
    text = explorer_text(tiny_study)
    assert text.startswith(":::{admonition}") and "phantoms" in text.splitlines()[0], "no word that these are phantoms"
    assert "Networks of seed 0, the first of the run." in text and "First seed" not in text
    assert text.count("<img alt=") == 2 and text.count("```") == 4
    assert "## An X-ray" in text and "## A CT slice" in text and most in text
