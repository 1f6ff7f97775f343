"""Figures whose marks say what they stand for: in the right places, in the page's SVG, and under pointer and keys."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from figure_inputs import DATASET
from hypothesis import given, settings
from hypothesis import strategies as st

from ssrobust_lib.book.browser import find_chromium, open_window
from ssrobust_lib.book.drawings import inline_drawings, inline_svg
from ssrobust_lib.config import PROJECT
from ssrobust_lib.figures.canvas import finish, new_figure, styled
from ssrobust_lib.figures.hovering import drawing, note_marks

SVG = "{http://www.w3.org/2000/svg}"


@styled
def two_panels(xs=(0.0, 0.5, 1.0), ys=(1.0, -2.0, 4.0), words=("first", "second <&> 'x'", "third\nline")):
    figure = new_figure(3.0)
    for axes in figure.subplots(1, 2):
        axes.plot(xs, ys, marker="o", linestyle="none", gid="points")
        note_marks(axes, xs, ys, words)
    return finish(figure, "A title", DATASET, ["A note."])


def circles(svg):
    root = ElementTree.fromstring(svg)
    return list(root.iter(f"{SVG}circle"))


def drawn_markers(svg):
    """Where matplotlib itself put the markers: every `use` element within a group of markers."""
    root = ElementTree.fromstring(svg)
    groups = [group for group in root.iter(f"{SVG}g") if group.get("id") == "points"]
    uses = [use for group in groups for use in group.iter(f"{SVG}use")]
    return [(float(use.get("x")), float(use.get("y"))) for use in uses]


def test_each_circle_lies_on_the_marker_that_matplotlib_drew_and_has_its_words():
    svg = drawing(two_panels())
    found = circles(svg)
    places = [(float(circle.get("cx")), float(circle.get("cy"))) for circle in found]
    assert len(places) == 6
    np.testing.assert_allclose(places, drawn_markers(svg), atol=0.02)
    assert [circle.find(f"{SVG}title").text for circle in found][:3] == ["first", "second <&> 'x'", "third\nline"]


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=1, max_size=6, unique=True))
def test_circles_lie_on_their_markers_whatever_the_data(points):
    xs, ys = zip(*points, strict=True)
    svg = drawing(two_panels(xs, ys, ["w"] * len(xs)))
    places = [(float(circle.get("cx")), float(circle.get("cy"))) for circle in circles(svg)]
    np.testing.assert_allclose(places, drawn_markers(svg), atol=0.02)


def test_a_drawing_is_the_same_each_time_holds_no_date_and_leaves_the_figure_as_it_was():
    figure = two_panels()
    before = figure.png()
    assert drawing(figure) == drawing(figure) == drawing(two_panels())
    assert figure.png() == before
    assert "metadata" not in drawing(figure)
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", drawing(figure)), "nothing to fetch"


def test_marks_need_a_place_and_words_each():
    figure = two_panels()
    with pytest.raises(ValueError, match="one text for each point"):
        note_marks(figure.axes[0], [1, 2], [1, 2], ["one"])
    with pytest.raises(ValueError, match="finite places"):
        note_marks(figure.axes[0], [1], [np.nan], ["one"])


def test_a_figure_with_marks_is_a_drawing_and_one_without_is_pixels():
    assert 'src="data:image/svg+xml;base64,' in two_panels().html()

    @styled
    def plain():
        figure = new_figure(2.0)
        figure.subplots().plot([0, 1])
        return finish(figure, "A title", DATASET)

    assert 'src="data:image/png;base64,' in plain().html()


def test_drawings_in_a_page_are_named_by_their_alternative_text_and_keep_their_ids_apart(tmp_path):
    same = two_panels().html()
    (tmp_path / "sub").mkdir()
    page = tmp_path / "sub" / "page.html"
    page.write_text(f"<html><body>{same}{two_panels(ys=(1, 2, 3)).html()}</body></html>")
    assert inline_drawings(tmp_path) == 2
    text = page.read_text()
    assert 'src="data:image' not in text
    assert text.count('role="img" aria-label="A title') == 2
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids)), "an id occurs twice in a page"
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    assert used
    assert used <= set(ids)
    assert '<style type="text/css">*{' not in text, "a style sheet that reaches beyond its drawing"
    assert inline_drawings(tmp_path) == 0


def test_a_text_that_is_no_drawing_is_refused():
    with pytest.raises(ValueError, match="expected an SVG document"):
        inline_svg("<p>", "alt")


@pytest.mark.skipif(find_chromium() is None, reason="no Chromium installed: looks at a figure in a page")
def test_the_script_shows_words_under_pointer_finger_and_arrow_keys(tmp_path):
    script = (PROJECT / "book" / "_static" / "hover.js").read_text(encoding="utf-8")
    style = (PROJECT / "book" / "_static" / "custom.css").read_text(encoding="utf-8")
    page = tmp_path / "page.html"
    head = f'<!DOCTYPE html><html lang="en"><head><title>t</title><style>{style}</style></head>'
    body = (
        f'<body class="bd-article"><a href="#x">a link</a>{two_panels().html()}<script>{script}</script></body></html>'
    )
    page.write_text(head + body, encoding="utf-8")
    inline_drawings(tmp_path)
    tip = "document.querySelector('.ssrobust-tip')"
    with open_window() as window:
        window.resize(390, 800)
        window.open(page)
        assert window.evaluate(f"{tip}.hidden")
        window.evaluate("document.querySelector('a').focus()")
        window.press("Tab")
        assert window.evaluate(f"{tip}.textContent") == "first"
        window.press("ArrowRight")
        assert window.evaluate(f"{tip}.textContent") == "second <&> 'x'"
        window.press("End")
        assert window.evaluate(f"{tip}.textContent") == "third\nline"
        window.press("Tab")
        assert window.evaluate(f"{tip}.hidden"), "one stop for the tabulator per figure"
        for kind, event in (("mouse", "pointermove"), ("touch", "pointerup")):
            at = "document.querySelectorAll('.ssrobust-marks circle')[1].getBoundingClientRect()"
            where = f"{{clientX: {at}.x + 4, clientY: {at}.y + 9, pointerType: '{kind}', bubbles: true}}"
            window.evaluate(f"document.querySelector('svg').dispatchEvent(new PointerEvent('{event}', {where})), 0")
            assert not window.evaluate(f"{tip}.hidden")
            assert window.evaluate(f"{tip}.textContent") == "second <&> 'x'"
            box = window.evaluate(f"(b => [b.left, b.right])({tip}.getBoundingClientRect())")
            assert 0 <= box[0] <= box[1] <= 390, "the words stay within a phone's width"
            away = "document.querySelector('a').dispatchEvent(new PointerEvent('pointerdown', {bubbles: true})), 0"
            window.evaluate(away)
            assert window.evaluate(f"{tip}.hidden")
        assert window.script_errors() == []
        assert window.requests() == []
