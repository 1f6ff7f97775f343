"""The plan: every cell with an estimate that follows the profile, and sums that are the sums of the lines."""

import re

import pytest

from ssrobust_lib import cli
from ssrobust_lib.config import load_profile
from ssrobust_lib.profile_sections import Training
from ssrobust_lib.running import plan
from ssrobust_lib.running.plan import plan_text, seconds, work
from ssrobust_lib.study import STEPS, Study


@pytest.fixture
def demo(tmp_path):
    return Study(load_profile("demo"), runs=tmp_path)


def with_sections(study, **sections):
    return Study(study.profile.model_copy(update=sections), runs=study.folder.parent)


def of_step(study, step, **chosen):
    return work(study, study.cells(step, **chosen)[0])


def test_the_command_prints_every_cell_and_computes_nothing(capsys):
    study = Study(load_profile("smoke"))
    finished = sum(map(study.finished, study.all_cells))
    assert cli.main(["plan", "smoke", "--cores", "2"]) == 0
    printed = capsys.readouterr().out
    for cell in study.all_cells:
        (line,) = [line for line in printed.splitlines() if line.startswith(f"{cell.id} ")]
        assert re.search(r" (finished|to do) +[\d.]+ (s|min|h) +[\d.]+ MB$", line)
    assert f"{len(study.all_cells)} cells, {finished} finished; about" in printed
    assert "left on 2 cores" in printed
    assert sum(map(study.finished, study.all_cells)) == finished


def test_every_step_has_an_estimate(demo):
    assert set(plan._WORK) == set(STEPS)
    for cell in demo.all_cells:
        todo = work(demo, cell)
        assert todo.seconds > 0
        assert todo.passes >= 0
        assert todo.megabytes > 0


def test_work_grows_with_what_there_is_to_do(demo):
    profile = demo.profile
    longer = {
        task: training.model_copy(update={"epochs": 2 * training.epochs}) for task, training in profile.finetune.items()
    }
    chosen = {"tasks": ["organs"]}
    passes = of_step(demo, "03_finetune", **chosen).passes
    assert of_step(with_sections(demo, finetune=longer), "03_finetune", **chosen).passes == pytest.approx(2 * passes)
    more = with_sections(demo, seeds=2 * profile.seeds)
    for step in ("04_clean_eval", "05_calibration", "05_corruption_eval", "06_kits_generalization"):
        assert of_step(more, step, **chosen).passes == pytest.approx(2 * of_step(demo, step, **chosen).passes)
    assert of_step(demo, "05_corruption_eval", **chosen).passes == 5 * of_step(demo, "04_clean_eval", **chosen).passes


def test_steps_are_bounded_as_the_training_bounds_them():
    training = Training(epochs=10, batch_size=4)
    assert plan._steps(9, training) == 30
    assert plan._steps(9, training.model_copy(update={"steps_per_epoch": 5})) == 50
    assert plan._steps(9, training.model_copy(update={"max_steps": 7})) == 7


def test_times_add_up_and_finished_cells_show_what_they_took(demo, monkeypatch):
    monkeypatch.setattr(plan, "_forward", lambda profile, task: 0.01)
    total = sum(seconds(demo, cell) for cell in demo.all_cells)
    assert f"0 finished; about {plan._time(total / 4)} left on 4 cores (1 per cell)" in plan_text(demo, cores=4)

    first = demo.all_cells[0]
    monkeypatch.setattr(Study, "finished", lambda self, cell: cell == first)
    monkeypatch.setattr(Study, "record", lambda self, cell: {"seconds": 34.4})
    text = plan_text(demo, cores=1)
    assert re.search(rf"^{re.escape(first.id)} +finished +34 s ", text, re.MULTILINE)
    assert f"1 finished; about {plan._time(total - seconds(demo, first))} left on 1 cores" in text


def test_cells_of_several_threads_share_the_cores(demo, monkeypatch):
    monkeypatch.setattr(plan, "_forward", lambda profile, task: 0.01)
    threaded = with_sections(demo, threads=4)
    total = sum(seconds(threaded, cell) for cell in threaded.all_cells)
    assert f"about {plan._time(total / 2)} left on 8 cores (4 per cell)" in plan_text(threaded, cores=8)
    assert f"about {plan._time(total)} left on 2 cores" in plan_text(threaded, cores=2)


@pytest.mark.parametrize(
    ("seconds", "words"), [(3.4, "3 s"), (99, "99 s"), (100, "2 min"), (5999, "100 min"), (9000, "2.5 h")]
)
def test_times_are_in_words(seconds, words):
    assert plan._time(seconds) == words


def test_a_forward_pass_is_timed_once_for_each_network_and_size(demo):
    plan._forward_seconds.cache_clear()
    one = seconds(demo, demo.cells("03_finetune", tasks=["organs"])[0])
    assert one > plan._START
    seconds(demo, demo.cells("02_pretext", tasks=["organs"])[0])
    assert plan._forward_seconds.cache_info().misses == 1
