"""The store: a cell's results are there whole or not at all."""

import errno
import multiprocessing
import threading
import time

import numpy as np
import pandas as pd
import pytest
import torch

from ssrobust_lib import store


def test_a_finished_cell_holds_its_record(tmp_path):
    folder = tmp_path / "02_pretext" / "cell-1"
    with store.writing(folder, {"cell": "cell-1"}) as aside:
        assert not store.finished(folder)
        (aside / "x").write_text("1")
    record = store.read_json(folder / store.RECORD)
    assert store.finished(folder)
    assert record["cell"] == "cell-1"
    assert record["peak_memory_bytes"] > 1e6
    assert record["versions"]["torch"].startswith("2.")


def test_an_interrupted_cell_leaves_no_result_but_keeps_what_it_had(tmp_path):
    folder = tmp_path / "cell-1"
    with pytest.raises(KeyboardInterrupt), store.writing(folder, {}) as aside:
        (aside / "epoch").write_text("3")
        raise KeyboardInterrupt
    assert not folder.exists()
    with store.writing(folder, {}) as aside:
        assert (aside / "epoch").read_text() == "3"
    assert store.finished(folder)


def test_a_folder_made_beforehand_is_no_obstacle(tmp_path):
    (tmp_path / "cell").mkdir()
    with store.writing(tmp_path / "cell", {}):
        pass
    assert store.finished(tmp_path / "cell")


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "no space left"), (errno.EACCES, "cannot be written")])
def test_a_full_or_closed_disk_is_told(tmp_path, number, words):
    with pytest.raises(store.StoreError, match=words), store.writing(tmp_path / "cell", {}):
        raise OSError(number, "told by the system")
    assert not store.finished(tmp_path / "cell")


def test_tables_and_tensors_come_back_as_written(tmp_path):
    table = pd.DataFrame({"sample_id": ["a", "b"], "score": np.float32([0.25, 0.5])})
    store.write_table(tmp_path / "t.parquet", table)
    pd.testing.assert_frame_equal(store.read_table(tmp_path / "t.parquet"), table)
    tensors = {"w": torch.arange(6.0).reshape(2, 3).T}
    store.write_tensors(tmp_path / "w.safetensors", tensors, {"network": "x"})
    assert torch.equal(store.read_tensors(tmp_path / "w.safetensors")["w"], tensors["w"])
    assert store.read_json(tmp_path / "w.json") == {"network": "x"}


@pytest.mark.parametrize("read", [store.read_table, store.read_tensors])
def test_a_missing_file_is_named(tmp_path, read):
    with pytest.raises(store.StoreError, match=r"gone\.x is missing"):
        read(tmp_path / "gone.x")


def _hold(folder, entered, leave):
    with store.exclusive(folder):
        entered.set()
        leave.wait(10)


def test_one_process_at_a_time_and_a_dead_one_holds_nothing(tmp_path):
    context = multiprocessing.get_context("spawn")
    entered, leave = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path / "cell", entered, leave))
    other.start()
    assert entered.wait(30)
    other.kill()
    other.join()
    with store.exclusive(tmp_path / "cell"):
        pass


def test_who_waited_keeps_a_third_one_out(tmp_path):
    inside, most, entered = [], [], threading.Event()

    def work():
        with store.exclusive(tmp_path / "cell"):
            inside.append(1)
            entered.set()
            time.sleep(0.05)
            most.append(len(inside))
            inside.pop()

    for _ in range(5):
        entered.clear()
        first, second = threading.Thread(target=work), threading.Thread(target=work)
        first.start()
        assert entered.wait(10)
        second.start()  # waits for the first
        first.join()
        work()  # comes when the first has gone
        second.join()
    assert max(most) == 1 and len(most) == 15
    assert not list(tmp_path.iterdir())
