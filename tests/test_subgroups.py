"""Groups of patients: who is in which, and what both arms score there."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prediction_tables import classification, segmentation

from ssrobust_lib import figures
from ssrobust_lib.book import readings_groups
from ssrobust_lib.evaluation.subgroups import ATTRIBUTES, SMALLEST_GROUP, UNKNOWN, subgroups
from ssrobust_lib.statistics.subgroups import COLUMNS, subgroup_scores

CORRUPTIONS = ("gaussian_noise", "contrast")
HOME = {"pneumonia": "rsna", "organs": "visceral"}


def groups_of(table, attribute):
    rows = subgroups(table)
    return rows[rows["attribute"] == attribute].set_index("sample_id")["group"].to_dict()


def people(**columns):
    n = len(next(iter(columns.values())))
    return pd.DataFrame({"sample_id": [f"s{k}" for k in range(n)], **columns})


def test_views_and_sexes_are_told_apart_however_they_are_written():
    table = people(view=["AP", "pa", " PA ", "", None], sex=["F", "male", "M", "O", ""])
    assert list(groups_of(table, "view").values()) == ["AP", "PA", "PA", UNKNOWN, UNKNOWN]
    assert groups_of(table, "sex") == {"s0": "female", "s3": "other", "s1": "male", "s2": "male", "s4": UNKNOWN}


def test_ages_are_decades_where_three_are_large_enough_and_halves_elsewhere():
    ages = [*[25.0] * 5, *[38.0] * 5, *[40.0] * 5, 71.0, np.nan]
    decades = groups_of(people(age=ages), "age")
    assert sorted(set(decades.values()) - {UNKNOWN}) == [f"{k}0 to {k}9 years" for k in (2, 3, 4, 7)]
    assert list(decades.values())[-1] == UNKNOWN, "unknown comes last"
    halves = groups_of(people(age=[30.0, 40.0, 50.0, np.nan]), "age")
    assert halves == {"s0": "up to 40 years", "s1": "up to 40 years", "s2": "above 40 years", "s3": UNKNOWN}


def test_scanner_protocol_and_slices_come_from_the_columns_that_sets_have():
    table = people(
        scanner_group=["A", "B", None], contrast=[True, False, None], field_of_view=["ThAb", "wb", None],
        slice_mm=[1.0, 3.0, 5.0],
    )  # fmt: skip
    assert list(groups_of(table, "scanner").values()) == ["A", "B", UNKNOWN]
    assert set(groups_of(table, "protocol").values()) == {
        "contrast agent, thorax and abdomen", "no contrast agent, whole body", UNKNOWN,
    }  # fmt: skip
    assert list(groups_of(table, "slice distance").values()) == ["up to 3 mm", "up to 3 mm", "above 3 mm"]


def test_what_is_not_stated_or_the_same_for_all_makes_no_groups():
    assert subgroups(people(view=["AP", "AP"], sex=["", None], age=[np.nan, np.nan])).empty
    assert subgroups(people(other=[1, 2])).empty
    with pytest.raises(ValueError, match="s0 stands in the table twice"):
        subgroups(pd.concat([people(view=["AP"])] * 2))


values = st.lists(
    st.tuples(
        st.sampled_from(["AP", "PA", "", None]),
        st.sampled_from(["F", "M", "", "x", None]),
        st.one_of(st.none(), st.floats(0, 119)),
        st.sampled_from(["A", "B", None]),
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=40, deadline=None)
@given(values)
def test_every_attribute_that_has_groups_puts_each_sample_in_exactly_one(rows):
    table = pd.DataFrame(rows, columns=["view", "sex", "age", "scanner"]).assign(
        sample_id=[f"s{k}" for k in range(len(rows))]
    )
    found = subgroups(table.astype({"age": float}))
    for attribute, members in found.groupby("attribute"):
        assert attribute in ATTRIBUTES
        assert sorted(members["sample_id"]) == sorted(table["sample_id"])
        assert members["group"].nunique() > 1
        assert (members["group"] != "").all()


@pytest.fixture(scope="module")
def xrays():
    return classification(n=80, seeds=(0, 1, 2), corruptions=CORRUPTIONS, gain=0.5)


@pytest.fixture(scope="module")
def patients(xrays):
    ids = sorted(xrays["sample_id"].unique())
    view = ["AP" if k % 2 else "PA" for k in range(len(ids))]
    return pd.DataFrame({"sample_id": ids, "view": view, "sex": ["F"] * 77 + ["M"] * 3})


@pytest.fixture(scope="module")
def scores(xrays, patients):
    return subgroup_scores([xrays], patients, arms=["jigsaw", "scratch_aa"], home=HOME)


def test_scores_of_a_group_are_those_of_its_patients_alone(xrays, patients, scores):
    assert list(scores.columns) == list(COLUMNS)
    right = xrays.assign(right=(xrays["score"] >= 0.5) == (xrays["label"] == 1))
    members = patients.loc[patients["view"] == "AP", "sample_id"]
    own = right[right["sample_id"].isin(members) & (right["init"] == "jigsaw")]
    row = scores.query("attribute == 'view' and group == 'AP' and arm == 'jigsaw' and metric == 'accuracy'")
    row = row.set_index("scope")
    assert (row["n"] == len(members)).all()
    assert (row["n_seeds"] == 3).all()
    clean, corrupted = own[own["severity"] == 0]["right"].mean(), own[own["severity"] > 0]["right"].mean()
    assert row.loc["clean", "mean_arm"] == pytest.approx(clean)
    assert row.loc["all corruptions", "mean_arm"] == pytest.approx(corrupted)
    assert row.loc["drop", "mean_arm"] == pytest.approx(clean - corrupted)
    labels = own.drop_duplicates("sample_id")["label"]
    assert row.loc["clean", "positive"] == pytest.approx(labels.mean())


def test_groups_of_an_attribute_add_up_to_everybody(scores):
    rows = scores.query("metric == 'accuracy' and arm == 'jigsaw' and scope == 'clean'")
    whole, parts = rows[rows["attribute"] == ""].iloc[0], rows[rows["attribute"] == "view"]
    assert parts["n"].sum() == whole["n"]
    assert np.average(parts["difference"], weights=parts["n"]) == pytest.approx(whole["difference"])


def test_intervals_hold_the_difference_and_a_group_that_is_too_small_has_no_number(scores):
    measured = scores[scores["difference"].notna()]
    for low, high in (("ci_low", "ci_high"), ("method_ci_low", "method_ci_high")):
        known = measured.dropna(subset=[low])
        assert len(known)
        assert (known[low] <= known["difference"]).all()
        assert (known["difference"] <= known[high]).all()
    small = scores.query("attribute == 'sex' and group == 'male'")
    assert len(small)
    assert (small["n"] < SMALLEST_GROUP).all()
    assert small[["mean_arm", "difference", "ci_low", "method_ci_low"]].isna().all(axis=None)
    assert small["note"].str.startswith("too small: fewer than 5 patients").all()


def test_a_group_of_one_class_has_no_auroc_and_says_so(xrays):
    positive = sorted(xrays.loc[xrays["label"] == 1, "sample_id"].unique())
    samples = pd.DataFrame({"sample_id": sorted(xrays["sample_id"].unique())})
    samples["view"] = np.where(samples["sample_id"].isin(positive), "AP", "PA")
    table = subgroup_scores([xrays], samples, arms=["jigsaw"], home=HOME).query("attribute == 'view'")
    auroc = table[table["metric"] == "auroc"]
    assert auroc["difference"].isna().all()
    assert auroc["note"].str.contains("every image has label").all()
    assert table.loc[table["metric"] == "accuracy", "difference"].notna().all()


def test_one_seed_has_no_interval_of_the_method_and_equal_arms_have_none_at_all(xrays, patients):
    one = subgroup_scores([xrays[xrays["seed"] == 0]], patients, arms=["jigsaw"], home=HOME)
    whole = one[one["attribute"] == ""]
    assert whole["method_ci_low"].isna().all()
    assert whole["ci_low"].notna().all()
    twin = xrays[xrays["init"] == "scratch"]
    same = subgroup_scores([pd.concat([twin, twin.assign(init="jigsaw")])], patients, arms=["jigsaw"], home=HOME)
    same = same[same["note"] == "no interval: the difference is the same on every unit"]
    assert (same["difference"] == 0).all()
    assert len(same)
    assert same["ci_low"].isna().all()


def test_organs_are_groups_of_the_scans_that_hold_them():
    scans = segmentation(n=12, seeds=(0, 1), corruptions=CORRUPTIONS, gain=0.05)
    scans.loc[(scans["structure"] == "spleen") & (scans["sample_id"] > "visceral-007"), "voxels_label"] = 0
    samples = pd.DataFrame({"sample_id": sorted(scans["sample_id"].unique()), "scanner": ["A"] * 6 + ["B"] * 6})
    table = subgroup_scores([scans], samples, arms=["jigsaw"], home=HOME)
    organs = table.query("attribute == 'organ' and scope == 'clean'").set_index("group")
    assert organs["n"].to_dict() == {"liver": 12, "spleen": 8}
    expected = scans.query("structure == 'liver' and severity == 0").groupby("init")["dice"].mean()
    assert organs.loc["liver", "difference"] == pytest.approx(expected["jigsaw"] - expected["scratch"])
    assert set(table.query("attribute == 'scanner'")["group"]) == {"A", "B"}
    assert set(table["metric"]) == {"dice"}
    assert table["positive"].isna().all()


def test_figure_and_table_show_every_group_its_n_and_that_they_are_exploratory(scores):
    rows = scores.query("metric == 'accuracy' and arm == 'jigsaw'")
    figure = figures.subgroup_differences(rows, dataset="phantoms", metric="Accuracy", title="Groups")
    names = [label.get_text().replace("\n", " ") for label in figure.axes[0].get_yticklabels()]
    assert "view: AP (n = 40)" in names
    assert "sex: male (n = 3)" in names
    assert "too small" in [text.get_text() for text in figure.axes[0].texts]
    assert "Exploratory" in figure.caption
    assert "of the method" in figure.caption
    assert len(figure.marks) == 2 * (len(names) - 1), "one per scope and group that is large enough"
    for scope in ("clean", "all corruptions"):
        html = figures.subgroup_table(rows, "Groups", dataset="phantoms", scope=scope).html
        assert "view: PA" in html
        assert "too small" in html
        assert "Exploratory" in html
        assert ("drop " in html) == (scope != "clean")


def test_the_figure_of_one_seed_says_whose_intervals_it_shows(xrays, patients):
    rows = subgroup_scores([xrays[xrays["seed"] == 0]], patients, arms=["jigsaw"], home=HOME)
    figure = figures.subgroup_differences(
        rows[rows["metric"] == "accuracy"], dataset="phantoms", metric="Accuracy", title="Groups", scopes=("clean",)
    )
    assert "these networks" in figure.caption
    assert "No group" in "".join(
        text.get_text()
        for axes in figures.subgroup_differences(rows.head(0), dataset="p", metric="A", title="G").axes
        for text in axes.texts
    )


def test_a_finished_study_knows_its_patients_and_scores_their_groups(tiny_study):
    xrays = tiny_study.table(tiny_study.cells("01_data", tasks=["pneumonia"]), "samples")
    assert set(xrays["view"]) == {"AP", "PA"}
    assert set(xrays["sex"]) == {"F", "M"}
    assert xrays["age"].between(12, 92).all()
    scans = tiny_study.table(tiny_study.cells("01_data", tasks=["organs"]), "samples")
    kits = scans[scans["set"] == "kits19"]
    assert set(kits["sex"]) <= {"female", "male"}
    assert kits["age"].isna().all(), "kits.json of phantoms states no age, and nobody makes one up"
    assert scans.loc[scans["set"] == "visceral", "slice_mm"].to_numpy() == pytest.approx(24.0, rel=1e-3)
    table = tiny_study.table(tiny_study.cells("07_stats"), "subgroups")
    assert set(table.loc[table["set"] == "rsna", "attribute"]) >= {"", "view"}
    names = {"pneumonia": "phantoms", "organs": "scans"}
    for scope in ("clean", "all corruptions"):
        text = readings_groups.reading_groups(table[table["arm"] == "jigsaw"], names, scope).data
        assert "(phantoms): " in text
        assert "nan" not in text


def test_readings_count_the_groups_that_they_speak_of(scores):
    rows = scores[scores["arm"] == "jigsaw"]
    text = readings_groups.reading_groups(rows, {"pneumonia": "The set"}).data
    assert text.startswith("- *pneumonia* (The set): 4 groups by view, sex. 1 of them is too small to be scored.")
    clean = rows.query("metric == 'accuracy' and scope == 'clean' and attribute in ('view', 'sex')").dropna(
        subset=["difference"]
    )
    assert f"ahead in {(clean['difference'] > 0).sum()} of 3" in text
    assert "states nothing that tells its patients apart" in readings_groups.reading_groups(rows, {"organs": "X"}).data
