"""Files damaged at random are read or refused with a reason; `fuzz.py` says what counts as wrong."""

from pathlib import Path

import fuzz
import numpy as np
import pytest

from ssrobust_lib.datasets import UnreadableImageError, Volume


def test_the_seeds_themselves_are_read(tmp_path: Path) -> None:
    (tmp_path / "seeds").mkdir()
    (tmp_path / "read").mkdir()
    seeds = fuzz.make_seeds(tmp_path / "seeds")
    assert len({seed.name for seed in seeds}) > 20
    for seed in seeds:
        for name, beside in {**seed.beside, seed.name: seed.content}.items():
            (tmp_path / "read" / name).write_bytes(beside)
        result = seed.read(tmp_path / "read" / seed.name)
        assert fuzz._wrong_result(result) == ""
        for path in (tmp_path / "read").iterdir():
            path.unlink()


def test_damage_is_repeatable_and_differs_from_file_to_file(tmp_path: Path) -> None:
    seeds = fuzz.make_seeds(tmp_path)
    assert fuzz.damaged(seeds, 1, 5) == fuzz.damaged(seeds, 1, 5)
    assert fuzz.damaged(seeds, 1, 5)[1] != fuzz.damaged(seeds, 2, 5)[1]
    changed = [content != seed.content for seed, content in (fuzz.damaged(seeds, 0, k) for k in range(100))]
    assert np.mean(changed) > 0.9


def test_planted_faults_of_a_reader_are_found(tmp_path: Path) -> None:
    def refuses(text: str) -> None:
        raise UnreadableImageError(text)

    hu = np.zeros((2, 3, 4), np.float32)
    outcomes = {
        "ZeroDivisionError": lambda path: 1 / 0,
        "does not name the file": lambda path: refuses("it is damaged"),
        "MemoryError": lambda path: refuses(f"{path.name}: MemoryError"),
        "no printable line": lambda path: refuses(f"{path.name}: two\nlines"),
        "float64": lambda path: Volume(hu.astype(np.float64), (1.0, 1.0, 1.0)),
        "nan": lambda path: Volume(hu + np.float32(np.nan), (1.0, 1.0, 1.0)),
        "spacing": lambda path: Volume(hu, (1.0, 0.0, 1.0)),
        "labels int64": lambda path: hu.astype(np.int64),
    }
    for wrong, read in outcomes.items():
        assert wrong in fuzz.judge(fuzz.Seed("a.nii", b"", read), b"content", tmp_path)
    assert fuzz.judge(fuzz.Seed("a.nii", b"", lambda path: refuses(f"{path.name}: cut short")), b"", tmp_path) == ""


def test_files_damaged_at_random_are_read_or_refused() -> None:
    assert fuzz.run_in_process(400, seed=0) == []


@pytest.mark.slow
def test_thousands_of_files_damaged_at_random_are_read_or_refused() -> None:
    assert fuzz.run_guarded(10_000, seed=1) == []
