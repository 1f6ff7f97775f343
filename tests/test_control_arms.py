"""Control arms and curves as a profile asks for them: what is wrong is named, and which cells there are."""

import pytest
from controls_profile import CONTROLS, CURVES, controls_profile
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_profile import tiny_profile, write_profile

from ssrobust_lib.config import ProfileError, load_profile
from ssrobust_lib.control_arms import Arm
from ssrobust_lib.curve_cells import amount_names, curve_points
from ssrobust_lib.running.checks import check_profile
from ssrobust_lib.running.plan import work
from ssrobust_lib.running.rehearsal import rehearsal
from ssrobust_lib.study import Study
from ssrobust_lib.training.loop import TrainingSettings

FAULTS = [
    ({"controls": {"scratch_long": {"as_long_as": "jigsaw"}}}, r"controls\.scratch_long: not among the arms"),
    ({"arms": ["scratch", "scratch_aa"]}, r"arms: expected a pretext task to compare with 'scratch'"),
    ({"arms": ["scratch", "jigsaw", "longer"]}, r"no settings for longer, .* described under controls"),
    (
        {"controls": CONTROLS | {"scratch_long": {}}},
        r"scratch_long: nothing is set, so it would repeat normal training",
    ),
    (
        {"controls": CONTROLS | {"scratch_long": {"pool": "labelled"}}},
        r"scratch_long: pool: .* name the task under pre",
    ),
    ({"controls": CONTROLS | {"scratch_long": {"as_long_as": "jigsw"}}}, r"unknown arm with a pretext task 'jigsw'"),
    (
        {"controls": CONTROLS | {"scratch_long": {"as_long_as": "jigsaw", "pretext": "jigsaw"}}},
        r"controls\.scratch_long: .* leave out pretext or as_long_as",
    ),
    ({"controls": CONTROLS | {"scratch_long": {"steps": 3}}}, r"controls\.scratch_long\.steps: unknown parameter"),
    (
        {"controls": CONTROLS | {"scratch_augmented": {"augmentation": {"shift": 1.0}}}},
        r"scratch_augmented\.augmentation\.shift: .*less than 1.*got 1\.0",
    ),
    ({"controls": {"scratch": {"as_long_as": "jigsaw"}}}, r"controls\.scratch: this name is taken by normal training"),
    ({"controls": CONTROLS | {"scratch_long": {"pretext": "rotation"}}}, r"no settings for rotation"),
    ({"curves": CURVES | {"arms": ["scratch", "rotation"]}}, r"curves\.arms: unknown arm 'rotation'"),
    ({"curves": CURVES | {"arms": ["jigsaw"]}}, r"curves\.arms: expected 'scratch' first"),
    ({"curves": CURVES | {"arms": ["scratch"]}}, r"curves\.arms: none of .* has a pretext task"),
    ({"curves": CURVES | {"seeds": 2}}, r"curves\.seeds: the run has 1 seeds, got 2"),
    ({"curves": CURVES | {"severities": []}}, r"curves\.severities: expected at least one"),
    ({"curves": CURVES | {"severities": [6]}}, r"curves\.severities\.0: .*less than or equal to 5"),
    ({"curves": CURVES | {"labels": {"knees": [1]}}}, r"curves\.labels: unknown task 'knees'"),
    ({"curves": CURVES | {"labels": {"organs": [1, 1]}}}, r"curves\.labels\.organs: expected each amount once"),
    ({"curves": CURVES | {"labels": {"organs": [1, 0.5]}}}, r"curves\.labels\.organs: expected counts or fractions"),
    ({"curves": CURVES | {"labels": {"organs": ["most"]}}}, r"labels\.organs\.0: expected the word 'all', .*'most'"),
    ({"curves": CURVES | {"pool": {"organs": [1.0]}}}, r"curves\.pool\.organs\.0: .*less than 1"),
]


@pytest.fixture
def study(tmp_path):
    return Study(load_profile(write_profile(tmp_path, controls_profile())), runs=tmp_path)


@pytest.mark.parametrize(("changed", "message"), FAULTS)
def test_faults_are_named(tmp_path, changed, message):
    sections = controls_profile(**changed)
    if len(changed.get("controls", CONTROLS)) == 1:  # what the other arms are is not the question
        sections["arms"] = ["scratch", "jigsaw"]
        sections["curves"] = {}
    if "arms" in changed:
        sections |= {"controls": {}, "curves": {}}
    with pytest.raises(ProfileError, match=message):
        load_profile(write_profile(tmp_path, sections))


def test_more_labelled_scans_than_there_are_is_told_before_anything_runs(tmp_path):
    sections = controls_profile(curves=CURVES | {"labels": {"organs": [1, 3]}})
    with pytest.raises(ProfileError, match=r"curves\.labels\.organs: 3 scans asked for, 2 are left to train on"):
        check_profile(load_profile(write_profile(tmp_path, sections)))


def test_an_arm_says_how_it_is_trained(study):
    profile = study.profile
    assert profile.pretext_tasks == ["jigsaw", "jigsaw_same_data"]
    assert profile.main_pretext_tasks == ["jigsaw"]
    assert profile.main_arms == ["scratch", "jigsaw"]
    assert profile.arm("jigsaw") == Arm(pretext="jigsaw")
    assert profile.arm("scratch") == profile.arm("scratch_aa")
    assert profile.arm("scratch").pretext is None
    assert profile.arm("jigsaw_same_data").pool == "labelled"
    assert profile.pretext_of("organs", "jigsaw_same_data") == profile.pretext["organs"]["jigsaw"]


def test_every_cell_comes_after_those_it_needs_and_none_twice(study):
    seen = set()
    for cell in study.all_cells:
        assert {need.id for need in cell.needs} <= seen
        assert cell.id not in seen
        seen.add(cell.id)
    assert {cell.of["init"] for cell in study.cells("02_pretext")} == {"jigsaw", "jigsaw_same_data"}
    long = study.cells("03_finetune", tasks=["organs"], arms=["scratch_long"])[0]
    assert [need.of.get("init") for need in long.needs] == [None, "jigsaw"]


def test_controls_and_curves_change_no_cell_of_the_arms_that_were_there(study, tmp_path):
    plain = Study(load_profile(write_profile(tmp_path, tiny_profile(name="tiny-controls"))), runs=tmp_path)
    steps = ("01_data", "02_pretext", "03_finetune")
    before = {cell.id for step in steps for cell in plain.cells(step)}
    assert before < {cell.id for step in steps for cell in study.cells(step)}
    assert not [cell for cell in plain.all_cells if cell.step.startswith("08_")]
    shorter = study.profile.curves.model_copy(update={"labels": {}})
    fewer = Study(study.profile.model_copy(update={"curves": shorter}), runs=tmp_path)
    ours = {cell.id for cell in study.all_cells if not cell.step.startswith("08_")}
    assert ours == {cell.id for cell in fewer.all_cells if not cell.step.startswith("08_")}
    assert {cell.of["amount"] for cell in fewer.cells("08_curve_finetune")} == {"pool-0.5"}


def test_the_arms_own_networks_stand_on_the_curves(study):
    assert amount_names(study.profile) == ["labels-0.5", "labels-all", "labels-1", "pool-0.5"]
    own = {(c.of["task"], c.of["init"]): c for c in study.cells("03_finetune")}
    points = {(p.axis, p.arm, p.amount): p for p in curve_points(study, "pneumonia")}
    assert set(points) == {("labels", arm, amount) for arm in ("scratch", "jigsaw") for amount in (0.3, 0.5, "all")} | {
        ("pool", "scratch", "none"),
        ("pool", "jigsaw", 0.5),
        ("pool", "jigsaw", "all"),
    }
    for arm, place in (("scratch", ("pool", "scratch", "none")), ("jigsaw", ("pool", "jigsaw", "all"))):
        assert points["labels", arm, 0.3].network.id == points[place].network.id == own["pneumonia", arm].id
    encoder = own["pneumonia", "jigsaw"].needs[1]
    for amount in (0.5, "all"):
        more = points["labels", "jigsaw", amount]
        assert more.network.step == "08_curve_finetune"
        assert more.pretext.id == more.network.needs[1].id == encoder.id
    assert points["pool", "jigsaw", 0.5].pretext.step == "08_curve_pretext"


def test_work_of_control_arms_follows_what_they_do(study):
    def passes(step, **chosen):
        return work(study, study.cells(step, tasks=["pneumonia"], **chosen)[0]).passes

    same = passes("02_pretext", arms=["jigsaw"])
    assert passes("02_pretext", arms=["jigsaw_same_data"]) == passes("08_curve_pretext") == same
    scratch = passes("03_finetune", arms=["scratch"])
    assert passes("03_finetune", arms=["scratch_augmented"]) == scratch < passes("03_finetune", arms=["scratch_long"])
    for cell in study.all_cells:
        assert work(study, cell).seconds > 0


def test_a_rehearsal_keeps_the_controls_and_a_point_of_every_curve(study):
    derived = rehearsal(study.profile)
    assert derived.controls == study.profile.controls
    assert derived.curves.labels == {"pneumonia": ("all",), "organs": ("all",)}
    assert derived.curves.pool == study.profile.curves.pool
    assert {cell.step for cell in Study(derived).all_cells} == {cell.step for cell in study.all_cells}


@settings(max_examples=50, deadline=None)
@given(
    epochs=st.integers(1, 40),
    per_epoch=st.integers(1, 200),
    further=st.integers(1, 5000),
    most=st.none() | st.integers(1, 4000),
)
def test_a_lengthened_training_has_as_many_steps_as_both_and_no_more_epochs(epochs, per_epoch, further, most):
    training = TrainingSettings(epochs, 4, steps_per_epoch=per_epoch, max_steps=most)
    longer = training.lengthened(per_epoch, further)
    assert longer.total_steps(longer.steps_per_epoch) == training.total_steps(per_epoch) + further
    assert -(-longer.max_steps // longer.steps_per_epoch) <= epochs
    assert (longer.batch_size, longer.learning_rate) == (training.batch_size, training.learning_rate)
