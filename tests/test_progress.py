"""Progress: a note per running cell that is whole at any time, and gone at the end."""

import json

import pytest

from ssrobust_lib import progress as module
from ssrobust_lib.progress import NOTES, progress, running


def test_a_note_says_what_is_done_and_goes_at_the_end(tmp_path):
    with progress("03_finetune/organs seed0", 4, tmp_path) as shown:
        shown(1, text="epoch 1")
        assert running(tmp_path) == [{"what": "03_finetune/organs seed0", "done": 1, "total": 4, "text": "epoch 1"}]
        shown(4)
        assert running(tmp_path)[0]["done"] == 4
    assert running(tmp_path) == []
    assert list((tmp_path / NOTES).iterdir()) == []


def test_the_note_goes_when_the_work_fails(tmp_path):
    with pytest.raises(ValueError, match="told"), progress("a", 2, tmp_path) as shown:
        shown(1)
        raise ValueError("told")
    assert running(tmp_path) == []


def test_the_total_may_become_known_later(tmp_path):
    with progress("a", 1, tmp_path) as shown:
        shown(3, 10)
        assert (shown.done, shown.total) == (3, 10)
        assert running(tmp_path)[0]["total"] == 10


def test_notes_are_written_once_a_second_and_at_the_end(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    with progress("a", 5, tmp_path) as shown:
        seen = []
        for done, at in ((1, 100.0), (2, 100.5), (3, 101.5), (4, 101.6), (5, 101.7)):
            now[0] = at
            shown(done)
            seen.append(running(tmp_path)[0]["done"])
    assert seen == [1, 1, 3, 3, 5]


def test_several_cells_are_listed_and_a_note_that_is_being_replaced_is_skipped(tmp_path):
    with progress("b", 1, tmp_path), progress("a/x", 1, tmp_path):
        for name in ("a_x", "b"):
            (tmp_path / NOTES / f"{name}.json").write_text(
                json.dumps({"what": name, "done": 0, "total": 1, "text": ""})
            )
        (tmp_path / NOTES / "half.json").write_text('{"what": ')
        assert [note["what"] for note in running(tmp_path)] == ["a_x", "b"]
    assert running(tmp_path / "no run yet") == []


def test_without_a_run_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with progress("a", 2) as shown:
        shown(2)
    assert list(tmp_path.iterdir()) == []
