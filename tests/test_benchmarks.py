"""What a benchmark leaves behind: one file per run, written whole, and a page that shows misses first."""

import json
import sys
import types

import numpy as np
import pytest

from benchmarks import bench_corruptions
from benchmarks.__main__ import main, measure, names
from ssrobust_lib import store
from ssrobust_lib.book import benchmark_results
from ssrobust_lib.book.benchmark_results import BenchmarkRun, keep_results, latest_results, results_text

ROWS = [
    {
        "name": "blur / cv2",
        "measured": "0.71",
        "goal": ">= 0.90",
        "met": False,
        "peer": "cv2",
        "images_per_second": 3801.5,
    },
    {"name": "brightness | copy", "measured": "2.10", "goal": "<= 3.00", "met": True},
    {"name": "gpu", "measured": "no GPU", "goal": ">= 0.60", "met": None},
]


def keep(folder, name="corruptions", rows=ROWS, started=1_800_000_000.0, **options):
    return keep_results(name, rows, started=started, seconds=12.34, folder=folder, **options)


def test_a_run_is_kept_with_all_that_it_was_measured_on(tmp_path):
    path = keep(tmp_path, packages=["pydicom", "no-such-package"])
    assert path.name == "corruptions-20270115T080000Z.json"
    kept = json.loads(path.read_text())
    assert kept["started"] == "2027-01-15T08:00:00Z" and kept["seconds"] == 12.3 and kept["commit"]
    assert set(kept["versions"]) == {"torch", "numpy", "pydicom", "no-such-package"}
    assert kept["versions"]["numpy"] == np.__version__ and kept["versions"]["no-such-package"] == "not installed"
    assert kept["machine"]["threads"] >= 1 and kept["machine"]["processor"]
    assert [row["met"] for row in kept["rows"]] == [False, True, None]
    assert kept["rows"][0]["images_per_second"] == 3801.5
    (read,), faults = latest_results(tmp_path)
    assert read == BenchmarkRun.model_validate(kept) and not faults


def test_numbers_of_numpy_are_kept_as_numbers(tmp_path):
    row = {"name": "a", "measured": "1", "goal": "<= 2", "met": np.float64(1) <= 2, "speed": np.float32(0.5)}
    assert json.loads(keep(tmp_path, rows=[row]).read_text())["rows"][0]["speed"] == 0.5


def test_two_runs_of_one_second_are_both_kept(tmp_path):
    assert keep(tmp_path) != keep(tmp_path)
    assert len(list(tmp_path.glob("*.json"))) == 2


@pytest.mark.parametrize("wrong", [{"met": "yes"}, {"measured": 3.0}, {"name": ""}])
def test_a_row_of_another_form_is_refused_and_nothing_is_written(tmp_path, wrong):
    with pytest.raises(ValueError, match=r"benchmark corruptions: .*rows are made of name, measured and goal"):
        keep(tmp_path, rows=[ROWS[1] | wrong])
    assert not list(tmp_path.iterdir())


def test_a_disk_that_fails_leaves_no_half_file(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.os, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        keep(tmp_path)
    assert latest_results(tmp_path) == ([], [])


def test_the_latest_of_each_counts_whatever_the_order_of_writing(tmp_path):
    for started, measured in ((1_800_000_500.0, "new"), (1_800_000_000.0, "old")):
        keep(tmp_path, rows=[ROWS[1] | {"measured": measured}], started=started)
    keep(tmp_path, "study:smoke", started=1_700_000_000.0)
    runs, faults = latest_results(tmp_path)
    assert [(run.name, run.rows[0].measured) for run in runs] == [("corruptions", "new"), ("study:smoke", "0.71")]
    assert not faults


def test_the_page_names_misses_first_and_hides_nothing(tmp_path):
    keep(tmp_path, packages=["pydicom"])
    (tmp_path / "broken-20260101T000000Z.json").write_text('{"format": 1')
    (tmp_path / "older-20260101T000000Z.json").write_text('{"format": 0}')
    text = results_text(tmp_path)
    first, missed = text.splitlines()[0], text.splitlines()[2]
    assert first.startswith("**1 of 2 goals were missed:** 1 further figures")
    assert missed == r"- corruptions: blur / cv2: 0.71, goal &gt;= 0.90"
    table = text[text.index("<table") : text.index("</table>")]
    assert table.count("<tr>") == 1 + len(ROWS)
    for words in ("missed", "not judged", "images per second", "3,80", "no GPU"):
        assert words in table, words
    assert "2027-01-15 at 08:00 UTC" in text and "pydicom 3" in text
    assert "broken-20260101T000000Z.json" in text and "older-20260101T000000Z.json" in text


def test_rows_of_power_are_drawn_and_kept_as_numbers(tmp_path):
    points = [
        {"metric": "Dice", "size": "3 seeds x 12 scans", "difference": truth, "studies": 500}
        | {"method": rate, "networks": 0.9, "test": "Wilcoxon signed-rank, scans"}
        for truth, rate in ((0.0, 0.05), (0.071, 0.43))
    ]
    rows = [{"name": f"power {k}", "measured": "", "met": None, "power": point} for k, point in enumerate(points)]
    keep(tmp_path, rows=rows, name="statistics")
    text = results_text(tmp_path)
    assert "Power of the tests" in text and "<figure" in text
    table = text[text.index("<table") : text.index("</table>")]
    assert "{" not in table, "points stand in the figure and in the CSV, not as code in the table"
    [run] = latest_results(tmp_path)[0]
    assert [row.model_extra["power"] for row in run.rows] == points


def test_the_page_says_when_all_goals_are_met_and_when_nothing_was_run(tmp_path):
    assert "No results lay in `runs/benchmarks`" in results_text(tmp_path)
    keep(tmp_path, rows=ROWS[1:2])
    assert results_text(tmp_path).startswith("**The only goal was met.**\n")


def test_results_lie_beside_the_runs():
    assert benchmark_results.results_folder().parts[-2:] == ("runs", "benchmarks")


def test_a_benchmark_is_run_printed_and_kept(tmp_path, monkeypatch, capsys):
    module = types.ModuleType("benchmarks.bench_trial")
    module.PEERS = ("pydicom",)
    module.run = lambda *cases: ({"name": case, "measured": "1.0", "goal": "<= 2.0", "met": True} for case in cases)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    path = measure("trial:one:two", tmp_path)
    assert [row.name for row in latest_results(tmp_path)[0][0].rows] == ["one", "two"]
    assert path.name.startswith("trial.one.two-")
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == ["met", "met"]


def test_a_benchmark_that_fails_half_way_leaves_nothing(tmp_path, monkeypatch):
    def run():
        yield ROWS[0]
        raise RuntimeError("the peer crashed")

    module = types.ModuleType("benchmarks.bench_trial")
    module.run = run
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with pytest.raises(RuntimeError, match="the peer crashed"):
        measure("trial", tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_unknown_benchmark_is_named_with_the_known_ones(capsys):
    assert main(["speed"]) == 2
    assert f"unknown benchmark speed: expected one of {', '.join(names())}" in capsys.readouterr().err


def test_corruptions_take_more_turns_where_a_ratio_is_near_its_goal_and_state_the_spread(monkeypatch):
    monkeypatch.setattr(bench_corruptions, "_PAUSE_SECONDS", 0)
    clock = iter(range(10**6))  # every look at the clock is one second later: all ways are equally fast
    monkeypatch.setattr(bench_corruptions.time, "perf_counter", lambda: float(next(clock)))
    ways = {bench_corruptions.OURS: len, "near": len, "far": len}
    taken = bench_corruptions._timed(ways, [0] * 64, {"near": 0.9, "far": 0.1})
    few, many = bench_corruptions.TURNS, bench_corruptions.TURNS + bench_corruptions.MORE_TURNS
    assert {who: len(values) for who, values in taken.items()} == {"ours": many, "near": many, "far": few}
    row = bench_corruptions._row("a", bench_corruptions._ratios(taken, "near"), ">=", 0.9)
    assert (row["measured"], row["met"], row["spread"], row["turns"]) == ("1.00", True, "1.00 to 1.00", many)
    assert bench_corruptions._row("a", None, "<=", 2)["met"] is None


def test_rows_without_a_goal_are_not_judged(capsys, monkeypatch, tmp_path):
    versions = dict.fromkeys(bench_corruptions.peers.EVERYONE, "1")
    rows = bench_corruptions._table({"contrast": {"ours": [0.5, 0.25], "MONAI": [0.5, 0.5]}}, versions)
    assert [(row["measured"], row["goal"], row["met"]) for row in rows] == [("3/s", "", None), ("2/s", "", None)]
    module = types.ModuleType("benchmarks.bench_trial")
    module.run = lambda: rows
    monkeypatch.setitem(sys.modules, module.__name__, module)
    measure("trial", tmp_path)
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == ["3/s", "2/s"]


def test_threads_that_a_benchmark_sets_itself_are_those_on_record(tmp_path):
    for threads, words in ((1, "1 thread)"), (3, "3 threads)")):
        folder = tmp_path / str(threads)
        assert json.loads(keep(folder, threads=threads).read_text())["machine"]["threads"] == threads
        assert words in results_text(folder)
