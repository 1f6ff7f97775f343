"""Arms can be told apart by every reader: with colour-blind eyes, in a grey print, and on a phone."""

import inspect
import io
import itertools
import math
import re

import numpy as np
import pytest
from figure_inputs import DATASET, every_figure, training_curves
from matplotlib.colors import to_rgb
from PIL import Image

from ssrobust_lib import figures
from ssrobust_lib.book.browser import find_chromium, open_window
from ssrobust_lib.config import PROJECT
from ssrobust_lib.figures import canvas

STUDY_ARMS = ("scratch", "scratch_aa", "jigsaw")
ARMS = (*STUDY_ARMS, "b", "c", "d", "e", "f")
CSS = PROJECT / "book" / "_static" / "custom.css"


@pytest.fixture(scope="module")
def seen():
    """CIELAB (8, 3) of the arms' colours, as seen by normal, green-blind and red-blind eyes."""
    colour = pytest.importorskip("colour", reason="colour-science is not installed")
    linear = colour.models.eotf_sRGB(np.array([to_rgb(style.colour) for style in figures.arm_styles(ARMS).values()]))
    to_xyz = np.array(colour.RGB_COLOURSPACES["sRGB"].matrix_RGB_to_XYZ)
    kinds = {"normal": np.eye(3)}
    for deficiency in ("Deuteranomaly", "Protanomaly"):  # at its full severity of 1 the -anopia
        kinds[deficiency] = colour.blindness.matrix_cvd_Machado2009(deficiency, 1)
    return {kind: colour.XYZ_to_Lab(np.clip(linear @ matrix.T, 0, 1) @ to_xyz.T) for kind, matrix in kinds.items()}


def test_all_arms_differ_to_normal_and_to_colour_blind_eyes(seen):
    import colour

    for kind, lab in seen.items():
        for (a, one), (b, other) in itertools.combinations(zip(ARMS, lab, strict=True), 2):
            apart = float(colour.delta_E(one, other, method="CIE 2000"))
            assert apart > 15, f"{a} and {b} look alike to {kind} eyes: {apart:.1f}"


def test_the_simulation_finds_two_colours_that_red_blind_eyes_confuse():
    colour = pytest.importorskip("colour", reason="colour-science is not installed")
    pair = colour.models.eotf_sRGB(np.array([to_rgb("#e69f00"), to_rgb("#b5a900")]))
    matrix = colour.blindness.matrix_cvd_Machado2009("Protanomaly", 1)
    to_xyz = np.array(colour.RGB_COLOURSPACES["sRGB"].matrix_RGB_to_XYZ)
    one, other = colour.XYZ_to_Lab(np.clip(pair @ matrix.T, 0, 1) @ to_xyz.T)
    assert colour.delta_E(one, other, method="CIE 2000") < 5


def test_the_studys_own_arms_differ_in_grey(seen):
    lightness = dict(zip(ARMS, seen["normal"][:, 0], strict=True))
    for a, b in itertools.combinations(STUDY_ARMS, 2):
        assert abs(lightness[a] - lightness[b]) > 15, f"{a} and {b} print alike in grey"
    assert all(light < 85 for light in lightness.values()), "a bar fades into the paper"


LIVE = {"explored_xrays", "explored_slices"}  # drawn at once by widgets, not part of the book


def test_every_function_that_draws_is_among_those_that_are_tried():
    drawing = {
        name
        for name in figures.__all__
        if inspect.isfunction(function := getattr(figures, name))
        and inspect.signature(function).return_annotation is figures.StudyFigure
    }
    assert drawing - LIVE == {name.split(",")[0] for name in every_figure()}


@pytest.mark.parametrize("name", sorted(every_figure()))
def test_every_figure_says_what_to_see_and_on_what(name):
    figure = every_figure()[name]()
    assert len(figure.see.split()) > 5 and figure.see.endswith((".", "?")), figure.see
    assert figure.caption.startswith(figure.see) and "Data: " in figure.caption
    assert "nan" not in figure.caption.lower().split()


def test_a_validation_loss_that_rises_again_is_said_to():
    curves = training_curves()  # losses fall together
    said = figures.training_curves(curves, score_name="AUROC", dataset=DATASET).see
    assert "No validation loss rises again" in said
    late = (curves["init"] == "jigsaw") & (curves["epoch"] > 2)
    risen = curves.assign(val_loss=curves["val_loss"].where(~late, curves["epoch"]))
    said = figures.training_curves(risen, score_name="AUROC", dataset=DATASET).see
    assert "keeps falling: Self-supervised (jigsaw) from epoch 2" in said
    assert "Normal training from" not in said


@pytest.mark.parametrize("name", sorted(every_figure()))
def test_letters_of_every_figure_can_be_read_on_a_phone(name):
    figure = every_figure()[name]()
    png = figure.png(caption=False)
    width, inches = canvas.least_width(figure, png), int.from_bytes(png[16:20], "big") / figures.style.DPI
    letters = canvas.smallest_letters(figure) / 72 / inches * width
    assert letters >= canvas.LEAST_LETTERS
    assert width < 500, "a phone would show little more than half of it at a time"
    [shown] = re.findall(r"--least-width:(\d+)px", figure.html(downloads=False))
    assert int(shown) == pytest.approx(width, rel=0.01), (
        "a second layout of the same figure may differ by a pixel or two"
    )


@pytest.mark.skipif(find_chromium() is None, reason="no Chromium is installed")
def test_a_phone_scrolls_the_picture_and_not_the_page(tmp_path):
    figure = figures.method_figure()
    page = tmp_path / "page.html"
    head = f'<meta name="viewport" content="width=device-width"><style>{CSS.read_text()}</style>'
    body = f'<article class="bd-article">{figure.html(downloads=False)}</article>'
    page.write_text(f"<!doctype html><html><head>{head}</head><body>{body}</body></html>")
    least = canvas.least_width(figure, figure.png(caption=False))
    with open_window() as window:
        window.open(page)
        assert window.look(390).width == 390
        assert window.evaluate("document.querySelector('img').clientWidth") == pytest.approx(least, abs=1)
        hint = "getComputedStyle(document.querySelector('figcaption'), '::before').content"
        assert ("scrolls sideways" in window.evaluate(hint)) == (least > canvas.PHONE)
        window.look(1280)
        assert window.evaluate(hint) == "none"
        assert window.look(1280).width == 1280
        assert window.evaluate("document.querySelector('img').clientWidth") > 700


def test_least_width_follows_the_smallest_letters():
    figure = canvas.new_figure(2.0)
    axes = figure.subplots()
    axes.text(0.5, 0.5, "small", fontsize=6)
    canvas.finish(figure, "Title", DATASET)
    png = figure.png(caption=False)
    with_pixels = Image.open(io.BytesIO(png))
    inches = with_pixels.width / figures.style.DPI
    assert canvas.smallest_letters(figure) == 6
    assert canvas.least_width(figure, png) == math.ceil(9 * 72 / 6 * inches)
