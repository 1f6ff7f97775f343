"""Sets of phantoms are whole or absent: left alone where they are there, and gone on with after a kill."""

from pathlib import Path

import pytest

from ssrobust_lib.phantoms.sets import DirectoryTakenError, build_set


def count_scans(folder: Path, index: int, options: dict) -> list[dict]:
    if options.get("fail_at") == index and not (folder / "mended").exists():
        raise RuntimeError("killed")
    (folder / f"{index}.txt").write_text(str(options["seed"]))
    with (folder / "log").open("a") as log:
        log.write(f"{index} ")
    return [{"index": index}]


def sum_up(folder: Path, options: dict, rows: list[list[dict]]) -> None:
    (folder / "table").write_text(" ".join(str(row["index"]) for scan in rows for row in scan))


def test_a_whole_set_is_left_alone_and_other_parameters_replace_it(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []

    def build(seed: int) -> Path:
        options = {"n_scans": 3, "seed": seed}
        return build_set(
            tmp_path / "s", options, count_scans, sum_up, workers=1, progress=lambda done, n: calls.append((done, n))
        )

    root = build(1)
    assert (root / "table").read_text() == "0 1 2" and calls == [(1, 3), (2, 3), (3, 3)]
    build(1)
    assert len(calls) == 3 and (root / "log").read_text() == "0 1 2 "
    build(2)
    assert (root / "0.txt").read_text() == "2" and [path.name for path in tmp_path.iterdir()] == ["s"]


def test_a_killed_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    options = {"n_scans": 3, "seed": 1, "fail_at": 1}
    with pytest.raises(RuntimeError, match="killed"):
        build_set(tmp_path / "s", options, count_scans, sum_up, workers=1, progress=None)
    assert not (tmp_path / "s").exists()
    (tmp_path / "s.partial" / "mended").touch()
    root = build_set(tmp_path / "s", options, count_scans, sum_up, workers=1, progress=None)
    assert (root / "log").read_text() == "0 1 2 "


def test_files_of_others_are_never_touched(tmp_path: Path) -> None:
    (tmp_path / "real.nii").write_text("precious")
    with pytest.raises(DirectoryTakenError, match="other files"):
        build_set(tmp_path, {"n_scans": 1, "seed": 1}, count_scans, sum_up, workers=1, progress=None)
    assert (tmp_path / "real.nii").read_text() == "precious"
