"""The four ways differ in the leaked images alone, and the effects are those that were put in."""

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssrobust_lib import figures as fig
from ssrobust_lib.book import readings_splits
from ssrobust_lib.splits.leaks import (
    EFFECT_COLUMNS,
    SAME_TEST,
    WAYS,
    LeakDesignError,
    design_leaks,
    leak_effects,
    leak_scores,
)
from ssrobust_lib.statistics.multiplicity import holm

CHOICE = {"test": 0.2, "validation": 0.1, "label_fraction": 0.5}


def label_rows(n_patients: int = 300, seed: int = 0) -> pd.DataFrame:
    """A third of the patients positive, with one to three boxes each."""
    generator = np.random.default_rng(seed)
    rows = [
        {"sample_id": f"p{k:03d}#{n}", "patient_id": f"p{k:03d}", "image": f"p{k:03d}", "label": int(k % 3 == 0)}
        for k in range(n_patients)
        for n in range(generator.integers(1, 4) if k % 3 == 0 else 1)
    ]
    return pd.DataFrame(rows)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), fraction=st.floats(0.1, 0.9))
def test_ways_are_equal_but_for_the_leaked_images(seed: int, fraction: float) -> None:
    rows = label_rows()
    labels = rows.groupby("image")["label"].max()
    chosen = CHOICE | {"label_fraction": fraction}
    design = design_leaks(rows, **chosen, split_seed=4, seed=seed)
    test, leaked = set(design.test), set(design.leaked)
    assert leaked and leaked <= test and not test & set(design.val)
    assert (labels[list(leaked)] == 1).all()
    for part in (design.labelled, design.pool):
        assert list(part) == list(WAYS)
        assert len({len(names) for names in part.values()}) == 1
        assert all(len(set(names)) == len(names) for names in part.values())
        positives = {way: labels[list(names)].sum() for way, names in part.items()}
        assert len(set(positives.values())) == 1
        first = part["patient"]
        for names in part.values():  # who differs takes another's place
            changed = [(a, b) for a, b in zip(first, names, strict=True) if a != b]
            assert all(a not in test and b in leaked for a, b in changed)
    for way in WAYS:
        assert not set(design.labelled[way]) & set(design.pool[way])
        assert not set(design.val) & {*design.labelled[way], *design.pool[way]}
        assert bool(test & set(design.labelled[way])) == (
            way in ("label leak", "row") and fraction * len(leaked) >= 0.5
        )
        assert not (test & set(design.pool[way])) or way in ("pretext leak", "row")
    assert test & set(design.pool["row"])
    assert len(test & set(design.labelled["row"])) == round(fraction * len(leaked))


def test_the_test_set_is_that_of_the_split_and_the_subset_that_of_the_seed() -> None:
    first, again, other, elsewhere = (
        design_leaks(label_rows(), **CHOICE, split_seed=split, seed=seed)
        for split, seed in ((1, 1), (1, 1), (1, 2), (2, 1))
    )
    assert asdict(first) == asdict(again)
    assert first.test == other.test and first.labelled != other.labelled
    assert first.test != elsewhere.test


def test_a_set_in_which_nothing_leaks_is_refused() -> None:
    single = label_rows().drop_duplicates("image")
    with pytest.raises(LeakDesignError, match="second row in training: expected a set with several label rows"):
        design_leaks(single, **CHOICE, split_seed=1, seed=1)
    with pytest.raises(LeakDesignError, match="choose more patients or a smaller test fraction"):
        design_leaks(label_rows(), **(CHOICE | {"test": 0.6}), split_seed=1, seed=1)


def predictions(change=None, n: int = 80, seeds: int = 3) -> pd.DataFrame:
    """Scores of both arms, the same in every way, but for what `change(way, arm, scores, labels)` makes of them."""
    tables = []
    for seed in range(seeds):
        generator = np.random.default_rng(seed)
        labels = np.arange(n) % 4 == 0
        for arm in ("scratch", "jigsaw"):
            base = np.clip(0.35 + 0.2 * labels + generator.normal(0, 0.2, n), 0, 1)
            for way in WAYS:
                scores = change(way, arm, base.copy(), labels) if change else base
                names = [f"i{k:02d}" for k in range(n)]
                tables.append(
                    pd.DataFrame({"way": way, "init": arm, "seed": seed, "sample_id": names, "patient_id": names})
                    .assign(label=labels.astype(int), score=scores, task="pneumonia", set="rsna")
                    .assign(corruption="clean", severity=0)
                )
    return pd.concat(tables, ignore_index=True)


def recalled(way, arm, scores, labels):
    """The label leak makes the self-supervised arm call every positive image positive."""
    return np.where(labels & (way in ("label leak", "row")) & (arm == "jigsaw"), 0.99, scores)


def test_no_leak_no_effect() -> None:
    effects = leak_effects(predictions(), seed=1, n_bootstrap=50)
    assert list(effects) == list(EFFECT_COLUMNS)
    without = effects[effects["kind"] != "arms"]
    assert np.allclose(without["difference"], 0) and np.allclose(without[["ci_low", "ci_high"]], 0)
    assert effects.groupby(["kind", "metric"]).size().to_dict() == {
        ("arms", "accuracy"): 4, ("arms", "auroc"): 4, ("change", "accuracy"): 3, ("change", "auroc"): 3,
        ("leak", "accuracy"): 6, ("leak", "auroc"): 6,
    }  # fmt: skip


def test_an_effect_is_found_where_it_is_and_with_its_size() -> None:
    changed = predictions(recalled)
    effects = leak_effects(changed, seed=1, n_bootstrap=200).set_index(["kind", "metric", "way", "init"])
    scores = leak_scores(changed, [f"i{k:02d}" for k in range(0, 40, 4)])
    mean = scores.groupby(["metric", "way", "init"])["value"].mean()
    for metric in ("accuracy", "auroc"):
        gained = mean[metric, "label leak", "jigsaw"] - mean[metric, "patient", "jigsaw"]
        row = effects.loc[("leak", metric, "label leak", "jigsaw")]
        assert gained > 0.05 and row["difference"] == pytest.approx(gained)
        assert row["ci_low"] > 0 and row["seed_low"] > 0 and row["p_holm"] < 0.05
        assert row["n"] == 80 and row["n_seeds"] == 3
        assert effects.loc[("change", metric, "label leak", "jigsaw"), "difference"] == pytest.approx(gained)
        assert effects.loc[("leak", metric, "label leak", "scratch"), "difference"] == 0
        arms = effects.loc[("arms", metric, "row", "jigsaw")]
        assert arms["difference"] == pytest.approx(mean[metric, "row", "jigsaw"] - mean[metric, "row", "scratch"])
    assert mean["leaked found", "row", "jigsaw"] == 1
    assert mean["others found", "pretext leak", "jigsaw"] < 1
    counts = scores.groupby("metric")["n"].first()
    assert counts[["leaked found", "others found"]].tolist() == [10, 10]


def test_the_same_difference_of_the_same_networks_is_one_test() -> None:
    """The label leak alone touches normal training as both leaks do: the rows are equal, and are corrected as one."""

    def both(way, arm, scores, labels):
        changed = recalled(way, "jigsaw", scores, labels)
        return np.clip(changed + 0.05 * (way == "row") * (arm == "jigsaw"), 0, 1)

    effects = leak_effects(predictions(both), seed=1, n_bootstrap=100)
    family = effects[effects["kind"].isin(["leak", "change"]) & effects["p"].notna()]
    distinct = family.drop_duplicates(SAME_TEST)
    assert 0 < len(distinct) < len(family)
    np.testing.assert_allclose(distinct["p_holm"], holm(distinct["p"].to_numpy()))
    same = effects.set_index(["kind", "metric", "way", "init"])
    for metric in ("accuracy", "auroc"):
        label, row = (same.loc[("leak", metric, way, "scratch"), "p_holm"] for way in ("label leak", "row"))
        assert label == row


def test_the_caption_counts_a_pretext_leak_for_arms_with_a_pretext_task_alone() -> None:
    def pretext(way, arm, scores, labels):
        return np.where(labels & (way == "pretext leak") & (arm == "jigsaw"), 0.99, scores)

    scores = leak_scores(predictions(pretext), ["i00"])
    means = scores[scores["metric"] == "accuracy"].groupby(["way", "init"])["value"].mean()
    gained = means["pretext leak", "jigsaw"] - means["patient", "jigsaw"]
    assert gained > 0.05
    assert f"{gained:+.3f}" in fig.leak_bars(scores, dataset="phantoms").see


def test_the_reading_tells_an_effect_from_none() -> None:
    design = pd.DataFrame({"sample_id": [f"i{k:02d}" for k in range(80)], "part": "test"})
    design["leaked"] = design.index % 8 == 0
    leaked = design.loc[design["leaked"], "sample_id"]
    for change, verdict in ((recalled, "are significant"), (None, "None of")):
        changed = predictions(change)
        effects, scores = leak_effects(changed, seed=1, n_bootstrap=100), leak_scores(changed, leaked)
        text = readings_splits.reading_leaks(effects, scores, design, "phantoms").data
        assert verdict in text and "10 images of 80" in text and "phantoms" in text and "nan" not in text
        assert "test images in the pretext pool" in text
        table = fig.leak_table(effects, "Every difference", dataset="phantoms").html
        assert "by row (both)" in table and "nan" not in table.lower()


def test_the_figure_shows_every_way_and_says_when_there_is_none() -> None:
    scores = leak_scores(predictions(), ["i00", "i04"])
    figure = fig.leak_bars(scores, dataset="phantoms")
    assert "phantoms" in figure.caption and "3 seeds" in figure.caption
    assert figure.png()[:4] == b"\x89PNG"
    assert "One seed" in fig.leak_bars(scores[scores["seed"] == 0], dataset="phantoms").caption
    assert fig.leak_bars(scores.head(0), dataset="phantoms").png()[:4] == b"\x89PNG"
