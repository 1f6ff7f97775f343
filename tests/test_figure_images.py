"""Pictures on figures: which way up they are, what is painted on them, and what stands beside them."""

import numpy as np
import pytest
from figure_inputs import DATASET, STRUCTURES, texts
from prediction_tables import CORRUPTIONS

from ssrobust_lib import figures


def test_overlay_paints_only_structures_and_outlines_them():
    image = np.full((5, 5), 0.5)
    mask = np.zeros((5, 5), dtype=int)
    mask[1:4, 1:4] = 1
    painted = figures.overlay(image, mask, np.array([[1.0, 0.0, 0.0]]), alpha=0.4)
    assert painted[0, 0] == pytest.approx([0.5, 0.5, 0.5])
    assert painted[1, 1] == pytest.approx([1, 0, 0])  # outline
    assert painted[2, 2] == pytest.approx([0.7, 0.3, 0.3])  # 0.6 grey + 0.4 red
    with pytest.raises(ValueError, match="expected mask values 0 to 1"):
        figures.overlay(image, mask * 2, np.array([[1.0, 0.0, 0.0]]))


def test_ct_sheet_puts_superior_up_and_the_right_side_left():
    hu = np.full((6, 8, 10), -1000, dtype=np.float32)
    hu[5] = 1000  # most superior slice
    hu[:, :, 0] = 500  # the patient's right
    figure = figures.ct_sheet(hu, spacing_mm=(5, 1, 1), dataset=DATASET, levels=2)
    pictures = {axes.get_title().split(",")[0]: axes.images[0].get_array() for axes in figure.axes if axes.images}
    assert (pictures["coronal"][0] == 1).all() and (pictures["coronal"][1:, 1:] == 0).all()
    assert (pictures["coronal"][:, 0] == 1).all()
    assert "No label." in figure.alt


def test_ct_sheet_names_only_the_structures_that_are_there():
    mask = np.zeros((6, 8, 8), dtype=np.uint8)
    mask[2:4, 2:5, 2:5] = 2
    hu = np.zeros(mask.shape, dtype=np.float32)
    figure = figures.ct_sheet(hu, mask, spacing_mm=(3, 1, 1), structures=STRUCTURES, dataset=DATASET)
    words = texts(figure)
    assert "left kidney" in words and "liver" not in words


def test_xray_sheet_words_and_frames():
    images = [np.zeros((8, 8), dtype=np.float32)] * 3
    figure = figures.xray_sheet(images, labels=[0, 1, None], views=["PA", "AP", None], dataset=DATASET)
    assert {"no pneumonia, PA", "pneumonia, AP", "no label"} <= set(texts(figure))
    assert [len(axes.patches) for axes in figure.axes] == [1, 1, 0]
    with pytest.raises(ValueError, match="one entry of labels per image"):
        figures.xray_sheet(images, labels=[0], dataset=DATASET)


@pytest.mark.parametrize("per_line", [8, 4])
def test_corruption_examples_have_a_row_per_modality_and_eight_columns(per_line):
    rows = {row: {name: np.zeros((4, 4)) for name in ["clean", *CORRUPTIONS]} for row in ("CT", "X-ray")}
    figure = figures.corruption_examples(rows, dataset=DATASET, severity=3, per_line=per_line)
    assert len(figure.axes) == 16
    titles = [" ".join(axes.get_title().split()) for axes in figure.axes if axes.get_title()]
    assert titles == ["Original", *map(figures.corruption_title, CORRUPTIONS)]


def test_severity_strip_refuses_unknown_severity():
    with pytest.raises(ValueError, match="severities 0"):
        figures.severity_strip({"contrast": {6: np.zeros((4, 4))}}, dataset=DATASET)


@pytest.mark.parametrize("corrupted", [None, np.zeros((6, 6))])
def test_segmentation_cases_have_one_column_per_arm(corrupted):
    mask = np.zeros((6, 6), dtype=int)
    case = figures.Case("scan 1", np.zeros((6, 6)), mask, {"scratch": mask}, corrupted, {"scratch": 0.51})
    figure = figures.segmentation_cases([case], structures=STRUCTURES, dataset=DATASET, inits=["scratch", "jigsaw"])
    pictures = [axes for axes in figure.axes if axes.images]
    assert len(pictures) == 3 + (corrupted is not None)
    assert {"Dice 0.51", "no prediction"} <= set(texts(figure))
    assert "Missing: Self-supervised (jigsaw)." in figure.alt


def test_reassembling_with_the_truth_gives_the_image_back():
    rng = np.random.default_rng(1)
    image, cells = rng.random((12, 12)), rng.permutation(9)
    tiles = np.stack([image[4 * (c // 3) : 4 * (c // 3) + 4, 4 * (c % 3) : 4 * (c % 3) + 4] for c in cells])
    assert np.array_equal(figures.reassemble(tiles, cells, gap=0), image)
    with pytest.raises(ValueError, match="permutation"):
        figures.reassemble(tiles, np.zeros(9, dtype=int))


def test_jigsaw_examples_say_solved_and_failed():
    truth = np.arange(9)
    wrong = truth[[1, 0, *range(2, 9)]]
    puzzles = [figures.Puzzle(np.zeros((9, 4, 4)), truth, answer) for answer in (truth, wrong)]
    figure = figures.jigsaw_examples(puzzles, dataset=DATASET)
    assert {"solved", "failed: 7 of 9 tiles right"} <= set(texts(figure))
    assert sum(len(axes.patches) for axes in figure.axes) == 2  # the two wrong tiles


def test_method_figure_names_both_transfers_and_needs_a_source_for_examples():
    words = " ".join(texts(figures.method_figure()))
    for part in ("Pretext task", "all features", "encoder", "decoder", "from scratch", "permutation"):
        assert part in words
    with pytest.raises(ValueError, match="data set"):
        figures.method_figure(xray=np.zeros((9, 9)))
