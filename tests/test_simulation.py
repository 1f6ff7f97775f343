"""Simulated studies: their truth in closed form, what makes each null hold, and components found again."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmarks.simulated_tests import PRIMARY, dice_rates, in_batches
from ssrobust_lib.registry import UnknownNameError
from ssrobust_lib.statistics import simulation as sim
from ssrobust_lib.statistics.variance_components import components_of_run, scan_components, xray_components

XRAY = sim.XrayModel(0.3, 0.8, -0.4, skill=0.15, shift=0.5, patient=0.3, arm=0.05, seed=0.4)
SCAN = sim.ScanModel(0.3, 0.3, 0.0, 0.0, patient=0.1, arm=0.01, seed=0.04, rest=0.03)


def test_true_gains_are_what_many_studies_average_to():
    generator = np.random.default_rng(0)
    options = {"studies": 1500, "seeds": 2, "null": "method", "gain": 0.5, "generator": generator}
    scores, labels = sim.simulate_xrays(XRAY, patients=60, **options)
    right = ((scores > 0) == (labels == 1)).mean(axis=(0, 2, 3))
    assert right[1] - right[0] == pytest.approx(sim.true_accuracy_gain(XRAY, 0.5), abs=0.01)
    positive, negative = scores[..., labels == 1], scores[..., labels == 0]
    areas = (positive[..., :, None] > negative[..., None, :]).mean(axis=(0, 2, 3, 4))
    assert areas[1] - areas[0] == pytest.approx(sim.true_auroc_gain(XRAY, 0.5), abs=0.01)
    dice = sim.simulate_scans(SCAN, scans=40, **options).mean(axis=(0, 2, 3))
    truth = sim.true_dice_gain(SCAN, 0.5, generator=generator, draws=200_000)
    assert dice[1] - dice[0] == pytest.approx(truth, abs=0.01)
    assert sim.true_accuracy_gain(XRAY, 0.0) == sim.true_auroc_gain(XRAY, 0.0) == 0


def test_networks_that_are_equal_are_equal_as_a_set_and_not_seed_by_seed():
    only_networks = replace(XRAY, patient=0.0, arm=0.0, seed=0.0, shift=3.0)
    scores, _ = sim.simulate_xrays(
        only_networks, studies=4, seeds=3, patients=4000, null="networks", generator=np.random.default_rng(1)
    )
    levels = scores.mean(axis=3)  # (studies, arms, seeds)
    np.testing.assert_allclose(np.sort(levels[:, 0]), np.sort(levels[:, 1]), atol=0.1)
    assert np.abs(levels[:, 0] - levels[:, 1]).max() > 1
    methods, _ = sim.simulate_xrays(
        only_networks, studies=4, seeds=3, patients=4000, null="method", generator=np.random.default_rng(1)
    )
    assert np.abs(np.sort(methods.mean(axis=3)[:, 0]) - np.sort(methods.mean(axis=3)[:, 1])).max() > 1
    with pytest.raises(UnknownNameError, match="networks, method"):
        sim.simulate_scans(SCAN, studies=1, seeds=2, scans=3, null="both", generator=np.random.default_rng(1))


def xray_rows(model, seeds=8, patients=1500):
    scores, labels = sim.simulate_xrays(
        model, studies=1, seeds=seeds, patients=patients, null="method", generator=np.random.default_rng(5)
    )
    axes = {"init": ["jigsaw", "scratch"], "seed": range(seeds), "sample_id": [f"p{k}" for k in range(patients)]}
    table = pd.MultiIndex.from_product(axes.values(), names=axes.keys()).to_frame(index=False)
    return table.assign(score=1 / (1 + np.exp(-3 * scores.ravel())), label=np.tile(labels, 2 * seeds))


def scan_rows(model, seeds=8, scans=400):
    dice = sim.simulate_scans(
        model, studies=1, seeds=seeds, scans=scans, null="method", generator=np.random.default_rng(6)
    )
    axes = {"init": ["jigsaw", "scratch"], "seed": range(seeds), "sample_id": [f"s{k}" for k in range(scans)]}
    table = pd.MultiIndex.from_product(axes.values(), names=axes.keys()).to_frame(index=False)
    return table.assign(dice=dice.ravel(), voxels_label=10)


def test_components_are_found_again():
    found = vars(xray_components(xray_rows(XRAY)))
    for name in ("prevalence", "delta", "patient", "arm", "seed"):
        assert found[name] == pytest.approx(getattr(XRAY, name), abs=0.1), name
    assert found["skill"] == pytest.approx(XRAY.skill, rel=0.5) and found["shift"] == pytest.approx(XRAY.shift, rel=0.5)
    found = vars(scan_components(scan_rows(SCAN)))
    for name in ("patient", "arm", "seed", "rest"):
        assert found[name] == pytest.approx(getattr(SCAN, name), abs=0.02), name
    assert found["network"] == pytest.approx(SCAN.network, rel=0.5) and found["failed"] == 0


def test_failed_networks_are_counted_apart():
    rows = scan_rows(replace(SCAN, network=0.05))
    lost = (rows["init"] == "jigsaw") & (rows["seed"] == 3)
    rows.loc[lost, "dice"] = rows.loc[lost, "dice"] ** 4
    found = scan_components(rows)
    assert found.failed == pytest.approx(1 / 16) and found.depth > 1 and found.network < 0.1


def test_components_of_a_run_are_medians_over_its_conditions(tmp_path):
    from ssrobust_lib import store

    for k, delta in enumerate((0.5, 0.8, 1.4)):
        folder = tmp_path / "cells" / "05_corruption_eval" / f"cell-{k}"
        folder.mkdir(parents=True)
        rows = xray_rows(replace(XRAY, delta=delta), seeds=3, patients=300)
        store.write_table(folder / "predictions.parquet", rows.assign(task="pneumonia", set="rsna", severity=3))
    model = components_of_run(tmp_path)["pneumonia", "rsna"]
    assert model.delta == pytest.approx(0.8, abs=0.15)
    with pytest.raises(FileNotFoundError, match="run the study first"):
        components_of_run(tmp_path / "cells")
    with pytest.raises(ValueError, match="two arms and two seeds"):
        xray_components(xray_rows(XRAY, seeds=1, patients=20))


def test_the_primary_test_keeps_its_level_where_the_papers_does_not():
    generator = np.random.default_rng(11)

    def measure(count):
        dice = sim.simulate_scans(SCAN, studies=count, seeds=4, scans=12, null="method", generator=generator)
        return dice_rates(dice, 0.0, generator, every=False)

    rates = in_batches(400, 150, measure)
    assert rates[PRIMARY] < 0.10 and rates["covers"] == pytest.approx(1 - rates[PRIMARY])
    assert rates["Wilcoxon signed-rank, scans"] > 0.3
