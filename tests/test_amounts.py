"""Curves over numbers of images: intervals and tests over seeds, pools within pools, and what is read from them."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ssrobust_lib import figures as fig
from ssrobust_lib.book.readings_controls import reading_curves, reading_effects, reading_gains
from ssrobust_lib.splits.pools import part_of_pool
from ssrobust_lib.statistics.amounts import curve_differences, curve_points, network_scores

NAMES = {"pneumonia": "phantoms, RSNA layout"}


def curve_scores(gain=0.0, seeds=4, axis="labels", noise=0.01, amounts=(("0.01", 30), ("0.1", 300), ("all", 3000))):
    """Scores of two arms on clean images and under two corruptions, `gain` apart."""
    draw = np.random.default_rng(3)
    rows = []
    for seed in range(seeds):
        points = [("jigsaw", *amount) for amount in amounts]
        points += [("scratch", *a) for a in amounts] if axis == "labels" else [("scratch", "none", 0)]
        for init, amount, n in points:
            level = 0.7 + 0.02 * np.log10(n + 1) * (axis == "labels") + gain * (init == "jigsaw")
            for corruption, severity in (("clean", 0), ("contrast", 2), ("contrast", 3), ("resolution", 3)):
                value = level - 0.05 * severity * (corruption == "contrast") + noise * draw.normal()
                rows.append(("pneumonia", axis, init, seed, amount, n, corruption, severity, "accuracy", value, 50))
    names = ["task", "axis", "init", "seed", "amount", "n_images", "corruption", "severity", "metric", "value", "n"]
    return pd.DataFrame(rows, columns=names)


def test_corruptions_count_alike_however_many_severities_they_have():
    scores = curve_scores(noise=0)
    networks = network_scores(scores).set_index(["init", "seed", "amount", "condition"])["value"]
    level = 0.7 + 0.02 * np.log10(31)
    assert networks["scratch", 0, "0.01", "clean"] == pytest.approx(level)
    assert networks["scratch", 0, "0.01", "all corruptions"] == pytest.approx(((level - 0.125) + level) / 2)


def test_intervals_are_student_over_seeds_and_in_the_order_of_the_amounts():
    networks = network_scores(curve_scores())
    points = curve_points(networks)
    row = points[(points["init"] == "jigsaw") & (points["condition"] == "clean")]
    assert row["n_images"].tolist() == [30, 300, 3000]
    one = networks[(networks["init"] == "jigsaw") & (networks["condition"] == "clean") & (networks["amount"] == "0.1")]
    expected = stats.t.interval(0.95, 3, one["value"].mean(), stats.sem(one["value"]))
    assert row.iloc[1][["low", "high"]].tolist() == pytest.approx(expected)


def test_differences_are_paired_by_seed_and_corrected_by_curve():
    networks = network_scores(curve_scores(gain=0.05))
    found = curve_differences(networks)
    assert len(found) == 2 * 3
    wide = networks[networks["condition"] == "clean"].pivot(index="seed", columns=["init", "amount"], values="value")
    row = found[(found["condition"] == "clean") & (found["amount"] == "0.1")].iloc[0]
    expected = stats.ttest_rel(wide["jigsaw", "0.1"], wide["scratch", "0.1"])
    assert row["p"] == pytest.approx(expected.pvalue)
    assert [row["low"], row["high"]] == pytest.approx(list(expected.confidence_interval(0.95)))
    assert row["difference"] == pytest.approx((wide["jigsaw", "0.1"] - wide["scratch", "0.1"]).mean())
    assert (found["p_holm"] >= found["p"]).all()


def test_a_pool_is_compared_with_no_pool_and_its_whole_with_its_smallest_part():
    networks = network_scores(curve_scores(axis="pool", amounts=(("0.1", 300), ("0.5", 1500), ("all", 3000))))
    found = curve_differences(networks)
    clean = found[found["condition"] == "clean"]
    assert clean[["amount", "against"]].values.tolist() == [
        ["0.1", "scratch"],
        ["0.5", "scratch"],
        ["all", "scratch"],
        ["all", "0.1"],
    ]
    assert clean["difference"].iloc[3] == pytest.approx(clean["difference"].iloc[2] - clean["difference"].iloc[0])


@pytest.mark.parametrize(("seeds", "noise", "note"), [(2, 0.01, "2 of at least 3 seeds"), (4, 0.0, "same amount")])
def test_what_cannot_be_tested_is_empty_and_says_why(seeds, noise, note):
    found = curve_differences(network_scores(curve_scores(seeds=seeds, noise=noise)))
    assert found["p"].isna().all()
    assert found["p_holm"].isna().all()
    assert found["note"].str.contains(note).all()
    said = str(reading_curves(found, NAMES).data)
    assert "cannot be told" in said
    assert note in said


def test_readings_say_where_curves_differ_and_that_they_do_not():
    apart = str(reading_curves(curve_differences(network_scores(curve_scores(gain=0.1))), NAMES).data)
    assert "lies above at 3 of 3 numbers of labels" in apart
    assert "do not differ" not in apart
    scores = curve_scores(noise=0)
    turns = (scores["init"] == "jigsaw") * (-1.0) ** scores["seed"]  # up in one seed, down in the next
    scores["value"] += 0.01 * turns
    alike = str(reading_curves(curve_differences(network_scores(scores)), NAMES).data)
    assert alike.count("do not differ** at any of 3 numbers of labels beyond what 4 seeds tell") == 2
    pool = network_scores(curve_scores(axis="pool", gain=-0.2))
    said = str(reading_curves(curve_differences(pool), NAMES).data)
    assert "below at 3 of 3 sizes of the pool" in said
    assert "no gain from more images is seen" in said
    assert str(reading_curves(pd.DataFrame(columns=curve_differences(pool).columns), NAMES).data).startswith("This run")


def gains(difference=0.05, p=0.01):
    """Comparisons of the jigsaw with three references."""
    rows = [
        {"task": "pneumonia", "role": "home", "metric": "accuracy", "scope": scope, "arm": "jigsaw"}
        | {"reference": reference, "difference": change, "p": chance}
        | {"low": change - 0.03, "high": change + 0.03}
        for scope in ("clean", "all corruptions")
        for reference, change, chance in (
            ("scratch", difference, p),
            ("scratch_long", 0.001, 0.9),
            ("jigsaw_same_data", -0.04, 0.02),
        )
    ]
    return pd.DataFrame(rows)


def test_a_gain_is_named_beside_every_arm_it_is_left_beside():
    said = str(reading_gains(gains()).data)
    assert (
        said.count("a gain is left beside Normal training; it does worse than Self-supervised (jigsaw, same data)") == 2
    )
    assert "against Normal training (long) +0.001" in said
    none = str(reading_gains(gains(p=0.2)).data)
    assert none.count("no gain is left beside any of them") == 2


def test_figures_and_tables_show_every_point():
    scores = network_scores(curve_scores())
    points, differences = curve_points(scores), curve_differences(scores)
    words = {"metric": "Accuracy", "dataset": "phantoms", "title": "Labels", "severities": "severity 3"}
    figure = fig.amount_curves(points, **words)
    figure.png()
    ticks = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    assert ticks == ["30\n1 %", "300\n10 %", "3,000\nall"]
    assert "95 % interval over seeds" in figure.caption
    with pytest.raises(ValueError, match="expected one metric, got several"):
        fig.amount_curves(pd.concat([points, points.assign(metric="auroc")]), **words)
    table = fig.amount_table(points, differences, "Numbers", dataset="phantoms")
    assert table.html.count("<tr>") == 1 + 6
    for value in points["mean"]:
        assert f"{value:.3f}" in table.html
    pool = curve_points(network_scores(curve_scores(axis="pool")))
    fig.amount_curves(pool, **words).png()
    fig.amount_curves(points.head(0), **words).png()


def test_the_figure_of_differences_shows_every_other_arm_and_says_what_is_missing():
    figure = fig.arm_differences(gains(), dataset="phantoms", title="Gains")
    figure.png()
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == ["Normal training", "Puzzles (same data)", "Normal (long)"]
    assert "Self-supervised (jigsaw) minus the arm named at the left" in figure.caption
    lacking = gains().assign(difference=np.nan)
    drawn = fig.arm_differences(lacking, dataset="phantoms", title="Gains")
    assert [text.get_text() for text in drawn.axes[0].texts] == ["not measured"] * 3
    assert "no control arm" in fig.arm_differences(gains().head(0), dataset="x", title="y").axes[0].texts[0].get_text()
    with pytest.raises(ValueError, match="expected one arm or one reference, got jigsaw against scratch"):
        fig.arm_differences(pd.concat([gains(), gains().assign(arm="rotation")]), dataset="x", title="y")


def test_arms_against_normal_training_stand_in_one_figure_and_are_read():
    swapped = gains().rename(columns={"arm": "reference", "reference": "arm"})
    swapped = swapped.assign(reference="scratch", arm=swapped["arm"].replace("scratch", "jigsaw"))
    figure = fig.arm_differences(swapped, dataset="phantoms", title="Arms")
    assert "the arm named at the left minus Normal training" in figure.caption
    said = str(reading_effects(swapped).data)
    assert said.count("better: Self-supervised (jigsaw); worse: Self-supervised (jigsaw, same data)") == 2
    assert "no arm differs from normal training" in str(reading_effects(swapped.assign(p=0.5)).data)
    untested = swapped.assign(p=np.nan)
    assert str(reading_effects(untested).data).count("**not tested**") == 2
    assert str(reading_gains(gains(p=0.5).assign(p=np.nan)).data).count("**not tested**") == 2


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=12),
    shares=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)),
    seed=st.integers(0, 99),
)
def test_a_larger_part_of_a_pool_holds_the_smaller_one(sizes, shares, seed):
    rows = [(f"p{p}i{k}", f"p{p}") for p, size in enumerate(sizes) for k in range(size)]
    samples = pd.DataFrame(rows, columns=["sample_id", "patient_id"])
    pool = samples["sample_id"].tolist()
    small, large = (part_of_pool(samples, pool, share, seed) for share in sorted(shares))
    assert set(small) <= set(large) <= set(pool)
    assert len(large) == np.ceil(round(max(shares) * len(pool), 9))
    assert part_of_pool(samples.sample(frac=1, random_state=seed), pool[::-1], min(shares), seed) == small
    taken = samples[samples["sample_id"].isin(small)].groupby("patient_id").size()
    whole = samples.groupby("patient_id").size()
    assert (taken < whole[taken.index]).sum() <= 1, "more than one patient was cut"


def test_what_is_no_share_or_no_pool_is_refused():
    samples = pd.DataFrame({"sample_id": ["a"], "patient_id": ["a"]})
    with pytest.raises(ValueError, match=r"share of the pool above 0 and up to 1, got 0"):
        part_of_pool(samples, ["a"], 0, 1)
    with pytest.raises(ValueError, match="1 of the pool's 2 samples are in the samples table"):
        part_of_pool(samples, ["a", "b"], 0.5, 1)
