"""The explorer's controls without a browser: each change draws once, and controls that depend on others follow them."""

import re

import ipywidgets
import pytest

from ssrobust_lib.explorer.samples import EVERY
from ssrobust_lib.explorer.views import SliceView, XRayView
from ssrobust_lib.explorer.widgets import FIGURE, Explorer, explore

XRAY_FIRST = {
    "task": "pneumonia",
    "second": "jigsaw",
    "scale": "severity",
    "choose": EVERY,
    "corruption": "gaussian_noise",
    "severity": 0,
}


@pytest.fixture(scope="module")
def opened(tiny_study):
    return Explorer(tiny_study)


@pytest.fixture
def explorer(opened):
    """The explorer at its first X-ray, clean."""
    for name, value in XRAY_FIRST.items():
        opened.controls[name].value = value
    opened.controls["image"].value = opened.controls["image"].options[0][1]
    return opened


def listed(explorer):
    return [sample for _, sample in explorer.controls["image"].options]


def figure(explorer):
    return next(c.value for c in explorer.box.children if FIGURE in str(getattr(c, "value", "")))


def test_it_opens_on_a_clean_image_with_a_name_beside_every_control(explorer):
    assert isinstance(explorer.view, XRayView) and explorer.view.strength == 0
    for control in explorer.controls.values():
        assert control.description and control.disabled in (True, False)
    assert len({control.description for control in explorer.controls.values()}) == len(explorer.controls)
    html = figure(explorer)
    alt = re.search(r'<img alt="([^"]+)"', html)[1]
    assert "Clean image" in alt and "Normal training" in alt
    assert 'aria-live="polite"' in html


@pytest.mark.parametrize(
    ("control", "value"),
    [("severity", 3), ("corruption", "contrast"), ("image", 2), ("task", "organs"), ("second", "scratch_aa")],
)
def test_each_change_draws_once_and_draws_something_else(explorer, control, value):
    explorer.controls["severity"].value = 1
    before, drawn = figure(explorer), explorer.drawings
    chosen = explorer.controls[control].options[value][1] if control == "image" else value
    explorer.controls[control].value = chosen
    assert explorer.drawings == drawn + 1
    assert figure(explorer) != before and f'data-drawing="{drawn + 1}"' in figure(explorer)


def test_the_view_is_that_of_the_controls(explorer):
    explorer.controls["severity"].value = 4
    explorer.controls["corruption"].value = "contrast"
    state = explorer.view.state
    assert (state.severity, state.corruption, state.strength) == (4, "contrast", None)
    assert state == explorer.state()
    assert state.arms == ("scratch", "jigsaw")
    explorer.controls["second"].value = "scratch"
    assert explorer.view.state.arms == ("scratch",) and set(explorer.view.scores) == {"scratch"}


def test_a_task_brings_its_sets_images_rules_and_slices(explorer):
    slices = explorer.controls["slice"]
    assert slices.layout.display == "none"
    explorer.controls["task"].value = "organs"
    assert isinstance(explorer.view, SliceView)
    assert explorer.controls["set"].options == ("visceral", "kits19")
    assert slices.layout.display == "" and slices.max == explorer.view.n_slices
    assert slices.value == explorer.view.state.slice_index + 1
    assert {rule for _, rule in explorer.controls["choose"].options} == {EVERY, "ct_gained", "ct_lost", "ct_changed"}
    explorer.controls["slice"].value = 1
    assert explorer.view.state.slice_index == 0
    explorer.controls["severity"].value = 2
    assert explorer.view.state.slice_index == 0, "a slice stays while its scan is shown"
    explorer.controls["set"].value = "kits19"
    assert explorer.view.structures == ("kidney",)
    assert explorer.view.state.sample_id in listed(explorer)


def test_a_rule_lists_what_fits_and_the_shown_image_stays_while_severities_change(explorer):
    explorer.controls["choose"].value = "xray_changed"
    explorer.controls["severity"].value = 5
    explorer.controls["choose"].value = "xray_both_wrong"
    fitting = listed(explorer)
    shown = explorer.view.state.sample_id
    explorer.controls["severity"].value = 0
    assert explorer.view.state.sample_id == shown
    assert shown in listed(explorer)
    if fitting[0] not in [s for w, s in explorer.controls["image"].options if "does not fit" not in w]:
        assert "does not fit" in explorer.controls["image"].options[0][0]


def test_a_free_strength_takes_the_corruptions_range_and_says_that_nothing_is_stored(explorer):
    from ssrobust_lib.corruptions import CORRUPTIONS

    controls = explorer.controls
    assert controls["strength"].disabled and not controls["severity"].disabled
    controls["choose"].value = "xray_changed"
    controls["scale"].value = "free"
    assert not controls["strength"].disabled and controls["severity"].disabled
    for name in ("contrast", "gaussian_noise"):
        controls["corruption"].value = name
        assert controls["strength"].max == CORRUPTIONS[name].strongest
    controls["strength"].value = CORRUPTIONS["gaussian_noise"].strongest
    assert explorer.view.strength == controls["strength"].value
    notes = [child.value for child in explorer.box.children if isinstance(child, ipywidgets.HTML)]
    assert any("Nothing is stored for a free strength" in note for note in notes)
    assert len(listed(explorer)) == 14


def test_a_run_that_is_not_finished_shows_which_command_finishes_it(tmp_path):
    shown = explore("smoke", runs=str(tmp_path))
    assert "make study PROFILE=smoke" in shown.value and 'role="alert"' in shown.value
