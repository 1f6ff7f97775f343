"""The study as a graph: the cells of design, their order, their keys."""

import pytest

from ssrobust_lib.config import load_profile
from ssrobust_lib.registry import UnknownNameError
from ssrobust_lib.store import StoreError
from ssrobust_lib.study import Study


@pytest.fixture
def study(tmp_path):
    return Study(load_profile("demo"), runs=tmp_path)


def test_each_step_has_the_cells_of_the_design(study):
    profile = study.profile
    arms, seeds = len(profile.arms), profile.seeds
    count = {step: len(study.cells(step)) for step in ("01_data", "02_pretext", "03_finetune", "05_calibration")}
    assert count == {"01_data": 2, "02_pretext": 2 * seeds, "03_finetune": 2 * arms * seeds, "05_calibration": 2}
    assert len(study.cells("04_clean_eval")) == 2
    assert len(study.cells("05_corruption_eval")) == 2 * 7
    assert [cell.of["set"] for cell in study.cells("06_kits_generalization")] == ["kits19"]
    assert len(study.cells("07_stats")) == 1
    assert [cell.of for cell in study.cells("01_leaks")] == [
        {"task": "pneumonia", "seed": seed} for seed in range(profile.leaks.seeds)
    ]


def test_a_profile_without_leaks_has_no_such_cells():
    profile = load_profile("demo")
    without = Study(profile.model_copy(update={"leaks": type(profile.leaks)()}))
    assert without.cells("01_leaks") == []


def test_other_leaks_retrain_the_leak_cells_alone():
    profile = load_profile("demo")
    longer = profile.leaks.model_copy(update={"label_fraction": 0.4})
    before, after = _keys(profile), _keys(profile.model_copy(update={"leaks": longer}))
    assert {step for step, name in before if before[step, name] != after[step, name]} == {"01_leaks"}


def test_every_cell_comes_after_those_it_needs(study):
    seen = set()
    for cell in study.all_cells:
        assert {need.id for need in cell.needs} <= seen
        assert cell.id not in seen
        seen.add(cell.id)


def test_choosing_cells(study):
    chosen = study.cells("03_finetune", tasks=["organs"], arms=["jigsaw"], seeds=[1])
    assert [cell.of for cell in chosen] == [{"task": "organs", "init": "jigsaw", "seed": 1}]
    assert study.cell(chosen[0].id) == chosen[0]
    with pytest.raises(UnknownNameError, match="unknown step"):
        study.cells("08_more")
    with pytest.raises(StoreError, match="has no cell"):
        study.cell("03_finetune/none")


def _keys(profile):
    return {(cell.step, cell.name): cell.key for cell in Study(profile).all_cells}


def test_a_changed_parameter_changes_the_cells_it_shapes_and_those_that_need_them():
    profile = load_profile("demo")
    longer = profile.finetune["organs"].model_copy(update={"epochs": 99})
    changed = profile.model_copy(update={"finetune": {**profile.finetune, "organs": longer}})
    before, after = _keys(profile), _keys(changed)
    different = {name for name in before if before[name] != after[name]}
    for step, name in before:
        trained_or_later = step in (
            "03_finetune",
            "04_clean_eval",
            "05_calibration",
            "05_corruption_eval",
            "06_kits_generalization",
        )
        expected = step == "07_stats" or (trained_or_later and name.startswith("organs"))
        assert ((step, name) in different) == expected, (step, name)


def test_the_study_seed_changes_everything():
    profile = load_profile("demo")
    before, after = _keys(profile), _keys(profile.model_copy(update={"study_seed": 1}))
    assert not set(before.values()) & set(after.values())


def test_more_bootstrap_draws_recompute_the_statistics_alone():
    profile = load_profile("demo")
    more = profile.statistics.model_copy(update={"bootstrap": 17})
    before, after = _keys(profile), _keys(profile.model_copy(update={"statistics": more}))
    assert {step for step, name in before if before[step, name] != after[step, name]} == {"07_stats"}


def test_a_reading_computes_nothing(tmp_path):
    study = Study(load_profile("demo"), read_only=True, runs=tmp_path)
    with pytest.raises(StoreError, match="not computed yet.*make book PROFILE=demo"):
        study.ensure(study.cells("01_data"))
    assert not list(tmp_path.rglob("*.parquet"))
