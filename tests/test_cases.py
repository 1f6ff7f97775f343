"""Cases that the book shows: the best, the median and the worst by the rule that the caption states."""

import numpy as np
import pandas as pd
import pytest
from figure_inputs import DATASET, STRUCTURES, texts
from hypothesis import given, settings
from hypothesis import strategies as st
from prediction_tables import classification, segmentation

from ssrobust_lib import figures
from ssrobust_lib.book import cases
from ssrobust_lib.cells import trained
from ssrobust_lib.evaluation.pairs import pair_scores
from ssrobust_lib.figures import XRayCase, signed
from ssrobust_lib.registry import UnknownNameError

differences = st.lists(st.integers(-3, 3), min_size=1, max_size=12)


@settings(deadline=None)
@given(differences, st.randoms())
def test_cases_are_the_ends_and_the_middle_of_the_order_whatever_order_they_come_in(values, random):
    table = pd.DataFrame({"name": [f"s{k:02d}" for k in range(len(values))], "difference": values})
    chosen = cases.choose_cases(table)
    shuffled = table.sample(frac=1, random_state=random.randrange(1000))
    assert cases.choose_cases(shuffled) == chosen
    ranked = sorted(zip(values, table["name"], strict=True))
    place = {words: ranked.index((dict(zip(table["name"], values, strict=True))[n], n)) for n, words in chosen.items()}
    if len(values) == 1:
        assert place == {"only": 0}
    else:
        assert (place["worst"], place["best"]) == (0, len(values) - 1)
        assert len(chosen) == min(3, len(values))
    if len(values) > 2:
        below, above = place["median"], len(values) - 1 - place["median"]
        assert above - below in (0, 1), "of an even number the lower of the two in the middle"


def test_equal_differences_are_ordered_by_name_and_nothing_chooses_nothing():
    table = pd.DataFrame({"name": ["c", "a", "b"], "difference": [0.0, 0.0, 0.0]})
    assert cases.choose_cases(table) == {"c": "best", "b": "median", "a": "worst"}
    assert cases.choose_cases(table.head(0)) == {}


def test_pairs_of_scans_are_means_of_dice_over_the_structures_that_the_label_holds():
    scans = segmentation(n=4, seeds=(0, 1), corruptions=("contrast",))
    scans.loc[(scans["structure"] == "spleen") & (scans["sample_id"] == "visceral-000"), "voxels_label"] = 0
    pairs = pair_scores(scans[scans["severity"] == 0], "jigsaw", "scratch").set_index("name")
    clean = scans[(scans["severity"] == 0) & (scans["voxels_label"] > 0)]
    expected = clean.groupby(["init", "seed", "sample_id"])["dice"].mean().groupby(["init", "sample_id"])
    for side, arm in (("arm", "jigsaw"), ("reference", "scratch")):
        assert pairs[side].to_dict() == pytest.approx(expected.mean()[arm].to_dict())
        assert pairs[f"{side}_low"].to_dict() == pytest.approx(expected.min()[arm].to_dict())
        assert pairs[f"{side}_high"].to_dict() == pytest.approx(expected.max()[arm].to_dict())
    assert pairs["difference"].to_numpy() == pytest.approx((pairs["arm"] - pairs["reference"]).to_numpy())
    assert (pairs["label"] == "").all()


def test_pairs_of_xrays_are_probabilities_of_the_label_and_every_corruption_weighs_the_same():
    xrays = classification(n=9, seeds=(0,), corruptions=("contrast", "brightness"))
    lone = xrays[~((xrays["corruption"] == "contrast") & (xrays["severity"] > 1)) & (xrays["severity"] > 0)]
    pairs = pair_scores(lone, "jigsaw", "scratch").set_index("name")
    own = lone[(lone["init"] == "jigsaw") & (lone["sample_id"] == "rsna-0001")]
    given_to_label = own["score"].where(own["label"] == 1, 1 - own["score"])
    of_corruption = given_to_label.groupby(own["corruption"]).mean()
    assert pairs.loc["rsna-0001", "arm"] == pytest.approx(of_corruption.mean(), rel=1e-6)
    assert set(pairs["label"]) == {"with the finding", "without the finding"}


def test_pairs_take_the_seeds_and_units_that_both_arms_have_and_refuse_an_unknown_arm():
    scans = segmentation(n=5, seeds=(0, 1, 2), corruptions=())
    part = scans[~((scans["init"] == "jigsaw") & (scans["seed"] == 2))]
    part = part[~((part["init"] == "scratch") & (part["seed"] == 0) & (part["sample_id"] == "visceral-003"))]
    pairs = pair_scores(part, "jigsaw", "scratch")
    assert (pairs["n_seeds"] == 2).all()
    assert "visceral-003" not in set(pairs["name"])
    assert len(pairs) == 4
    with pytest.raises(UnknownNameError, match="unknown arm in the predictions 'jigsaww'"):
        pair_scores(part, "jigsaww", "scratch")


def shown_predictions(study, step, task, **chosen):
    return study.table(study.cells(step, tasks=[task], **chosen), "predictions")


def check_scans(found, structures, predictions, study):
    assert [case.title.split()[0] for case in found] == (
        ["best", "median", "worst"] if len(found) > 2 else ["best", "worst"]
    )
    counted = predictions[predictions["voxels_label"] > 0]
    mean = counted.groupby(["init", "seed", "sample_id"])["dice"].mean()
    gains = (mean["jigsaw"] - mean["scratch"]).groupby("sample_id").mean()
    assert f"{abs(gains.max()):.3f}" in found[0].title
    assert f"{abs(gains.min()):.3f}" in found[-1].title
    for case in found:
        assert set(case.predictions) == set(case.dice) == {"scratch", "jigsaw"}
        assert case.truth.shape == case.image.shape == case.predictions["jigsaw"].shape
        assert case.truth.max() <= len(structures)
        assert all(np.isclose(mean[arm], case.dice[arm]).any() for arm in case.dice)
        if study.profile.seeds > 1:
            assert case.title.endswith(f"shown {signed(case.dice['jigsaw'] - case.dice['scratch'])}"), "that seed's own"


def test_scans_under_noise_are_chosen_by_the_gain_on_that_condition(tiny_study):
    predictions = shown_predictions(tiny_study, "05_corruption_eval", "organs", corruptions=["gaussian_noise"])
    found, structures = cases.corrupted_cases(tiny_study), cases.case_structures(tiny_study)
    assert len(structures) == 20
    assert all(case.corrupted is not None for case in found)
    check_scans(found, structures, predictions[predictions["severity"] == 3], tiny_study)


def test_scans_of_another_centre_show_merged_structures(tiny_study):
    predictions = shown_predictions(tiny_study, "06_kits_generalization", "organs")
    found, structures = cases.external_cases(tiny_study, "kits19"), cases.case_structures(tiny_study, "kits19")
    assert structures == ["kidney"]
    assert all(case.corrupted is None for case in found)
    assert any(case.truth.max() == 1 for case in found)
    check_scans(found, structures, predictions[predictions["structure"] == "kidney"], tiny_study)


def test_xrays_are_chosen_by_the_same_rule_and_show_the_image_that_was_scored(tiny_study):
    found = cases.xray_cases(tiny_study)
    assert [case.title.split()[0] for case in found] == ["best", "median", "worst"]
    rows = shown_predictions(tiny_study, "05_corruption_eval", "pneumonia", corruptions=["gaussian_noise"])
    pairs = pair_scores(rows[rows["severity"] == 3], "jigsaw", "scratch").sort_values(["difference", "name"])
    assert f"{abs(pairs['difference'].iloc[-1]):.3f}" in found[0].title
    cache = trained.open_images(tiny_study, "pneumonia")
    best = rows[(rows["severity"] == 3) & (rows["patient_id"] == pairs["name"].iloc[-1])]
    position = np.flatnonzero(cache.rows["patient_id"] == pairs["name"].iloc[-1])[0]
    np.testing.assert_array_equal(found[0].image, np.asarray(cache.images[position], np.float32))
    assert found[0].corrupted.shape == found[0].image.shape
    assert not np.array_equal(found[0].corrupted, found[0].image)
    for arm, values in found[0].probabilities.items():
        np.testing.assert_array_equal(values, best.loc[best["init"] == arm, "score"].to_numpy(np.float64))
    assert found[0].label == best["label"].iloc[0]


def test_captions_state_the_rule():
    words = cases.rule_words("scans")
    assert all(word in words for word in ("best", "median", "worst", "ties by name", "seed whose own gain", "Dice"))
    assert "seed whose" not in cases.rule_words("X-rays")
    assert "probability given to the label" in cases.rule_words("X-rays")
    image = np.zeros((8, 8))
    scan = figures.Case("best (+0.10)", image, image.astype(int), {"scratch": image.astype(int)})
    assert (
        "ties by name" in figures.segmentation_cases([scan], structures=STRUCTURES, dataset=DATASET, note=words).caption
    )
    xray = XRayCase("best (+0.10)", image, 1, {"scratch": np.array([0.25, 0.75]), "jigsaw": np.array([0.9])}, image)
    figure = figures.xray_cases([xray], dataset=DATASET, note=words)
    assert "ties by name" in figure.caption
    said = texts(figure)
    assert {"Image", "Corrupted image", "Label: pneumonia", "best (+0.10)"} <= set(said)
    assert "Normal training: 0.50" in said
    assert [bar.get_width() for bar in figure.axes[-1].patches] == pytest.approx([0.5, 0.9])
    clean = figures.xray_cases([XRayCase("t", image, 0, {"scratch": np.array([0.2])})], dataset=DATASET)
    assert "Corrupted image" not in texts(clean)
    assert "No case to show." in texts(figures.xray_cases([], dataset=DATASET))


def scatter(pairs, **changed):
    words = {"arms": ("jigsaw", "scratch"), "score": "Dice", "unit": "scan", "dataset": DATASET, "title": "Scans"}
    return figures.pair_scatter(pairs, **(words | changed))


def test_every_scan_is_a_point_with_its_name_and_both_scores():
    pairs = pair_scores(segmentation(n=6, seeds=(0, 1), corruptions=()), "jigsaw", "scratch")
    figure = scatter(pairs)
    drawn = np.concatenate([points.get_offsets() for points in figure.axes[0].collections])
    expected = pairs.sort_values("reference")[["reference", "arm"]].to_numpy()
    np.testing.assert_allclose(drawn[np.argsort(drawn[:, 0])], expected)
    first = pairs.sort_values("difference").iloc[-1]
    words = figure.marks[0].words
    assert first["name"] in words
    assert f"{first['arm']:.3f}" in words
    assert f"{first['reference']:.3f}" in words
    assert f"{int((pairs['difference'] > 0).sum())} of 6 scans" in figure.caption
    assert "No scan was scored" in "".join(texts(scatter(pairs.head(0))))


@settings(max_examples=20, deadline=None)
@given(st.integers(401, 700), st.integers(0, 5))
def test_many_points_share_marks_and_none_is_lost(n, random):
    generator = np.random.default_rng(random)
    pairs = pd.DataFrame({"name": [f"p{k}" for k in range(n)], "n_seeds": 3})
    pairs["label"] = np.where(generator.random(n) < 0.3, "with the finding", "without the finding")
    for side in ("arm", "reference"):
        pairs[side] = generator.beta(0.3, 0.3, n)
    table = figures.points._counted(pairs, ("jigsaw", "scratch"), "patient")
    assert table["n"].sum() == n
    assert table.groupby("label")["n"].sum().to_dict() == pairs["label"].value_counts().to_dict()
    for side in ("arm", "reference"):
        assert np.average(table[side], weights=table["n"]) == pytest.approx(pairs[side].mean())


def test_the_caption_says_where_points_are_shared():
    n = 450
    table = pd.DataFrame({"name": [f"p{k}" for k in range(n)], "n_seeds": 3, "label": "with the finding"})
    table = table.assign(arm=np.linspace(0, 1, n), reference=0.5).assign(difference=lambda t: t["arm"] - t["reference"])
    figure = scatter(table, unit="patient", threshold=0.5)
    assert len(figure.marks) <= 40
    assert "More than 400 patients" in figure.caption
    assert "patients, with the finding" in figure.marks[0].words
