"""The explorer in JupyterLab, opened in a headless browser and worked by keyboard: every state draws, none fails."""

import io
import itertools
import json

import numpy as np
import pytest
from PIL import Image
from tiny_profile import tiny_profile, write_profile

from ssrobust_lib.book.browser import BrowserError, find_chromium, open_window
from ssrobust_lib.explorer import recording
from ssrobust_lib.lab_server import has_lab

needs_browser = pytest.mark.skipif(find_chromium() is None, reason="no Chromium is installed")
needs_lab = pytest.mark.skipif(not has_lab(), reason="JupyterLab is not installed")


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


@pytest.fixture(scope="module")
def tiny(tiny_study, tmp_path_factory):
    """Path of the tiny profile, and the folder of its runs."""
    return str(write_profile(tmp_path_factory.mktemp("tiny"), tiny_profile())), tiny_study.folder.parent


def test_the_notebook_takes_profile_and_runs_as_they_are_given(tmp_path, tiny):
    profile, runs = tiny
    written = json.loads(recording.write_notebook(tmp_path, profile, runs).read_text())
    committed = json.loads(recording.NOTEBOOK.read_text())
    changed = [a["source"] for a, b in zip(written["cells"], committed["cells"], strict=True) if a != b]
    assert changed == [f"profile: str = {json.dumps(profile)}\nruns: str = {json.dumps(str(runs))}"]


@pytest.fixture(scope="module")
def recorded(tiny):
    """Every state, as the recording goes through them."""
    profile, runs = tiny
    with recording.open_explorer(profile, runs=runs) as window:
        return list(recording.record_states(window))


@needs_browser
@needs_lab
class TestRecording:
    def test_every_severity_of_both_tasks_is_drawn_and_differs_from_the_one_before(self, recorded):
        for task in ("pneumonia", "organs"):
            states = [picture for picture in recorded if picture.name.startswith(f"{task}_severity")]
            assert [picture.name[-1] for picture in states] == list("012345")
            for before, after in itertools.pairwise(states):
                one, other = pixels(before.png), pixels(after.png)
                height = min(len(one), len(other))
                moved = np.abs(one[:height] - other[:height]).max(axis=(1, 2))
                # below the controls: a slider's handle alone is no new picture
                assert moved[height // 2 :].max() > 30, f"{before.name} and {after.name} look the same"
            assert "Clean image" in states[0].caption
            assert "Gaussian noise, severity 5" in states[-1].caption

    def test_slices_rules_images_and_free_strengths_are_drawn(self, recorded):
        names = {picture.name for picture in recorded}
        assert "organs_slice" in names and "pneumonia_slice" not in names
        for task in ("pneumonia", "organs"):
            (free,) = (picture for picture in recorded if picture.name == f"{task}_stronger")
            assert "free strength" in free.caption and "was not evaluated" in free.caption
            assert {f"{task}_chosen", f"{task}_next_image"} <= names

    def test_a_picture_is_no_blank_page(self, recorded):
        for picture in recorded:
            shot = pixels(picture.png)
            assert shot.shape[1] > 900 and shot.shape[0] > 400
            assert len(np.unique(shot[..., 0])) > 50, picture.name

    def test_the_animation_holds_every_state(self, recorded):
        gif = Image.open(io.BytesIO(recording.animation([picture.png for picture in recorded])))
        assert gif.n_frames == len(recorded) and gif.size[0] == max(pixels(p.png).shape[1] for p in recorded)


@needs_browser
@needs_lab
def test_a_run_that_is_not_finished_stops_the_recording_with_the_command(tmp_path, tiny):
    unfinished = recording.open_explorer(tiny[0], runs=tmp_path)
    with pytest.raises(BrowserError, match=r"make study PROFILE=tiny"), unfinished:
        pytest.fail("an explorer without a run")


@needs_browser
def test_a_page_with_an_error_and_a_missing_control_are_told(tmp_path):
    page = tmp_path / "page.html"
    page.write_text('<div class="jp-Notebook"><p role="alert">no such run</p></div><script>undefined.x</script>')
    with open_window() as window:
        window.open(page)
        with pytest.raises(BrowserError, match=r"no such run; TypeError"):
            recording.check_page(window)
        with pytest.raises(BrowserError, match="the page has no .ssrobust-explorer"):
            window.picture(".ssrobust-explorer")
        with pytest.raises(BrowserError, match="waited 0 s in vain for a miracle"):
            window.wait_for("false", "a miracle", patience_s=0.1)
        with pytest.raises(BrowserError, match="a script failed: ReferenceError"):
            window.evaluate("nothing.at.all")
        page.write_text("<input value=1 type=range min=0 max=9>")
        window.open(page)
        window.evaluate("document.querySelector('input').focus()")
        window.press("ArrowRight", times=3)
        assert window.evaluate("document.querySelector('input').value") == "4"
        assert window.requests() == [] and window.script_errors() == []


def test_an_animation_needs_a_picture():
    with pytest.raises(ValueError, match="at least one picture"):
        recording.animation([])
