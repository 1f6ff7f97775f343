"""Calibration cells: what they leave, resumed after a kill, with severities from elsewhere, and for another study."""

import json

import numpy as np
import pandas as pd
import pytest
from tiny_profile import tiny_profile, write_profile

from ssrobust_lib import store
from ssrobust_lib.cells import calibrate, trained
from ssrobust_lib.config import load_profile
from ssrobust_lib.corruptions import CORRUPTIONS, PUBLISHED_STRENGTHS
from ssrobust_lib.severities.calibration import REASONS, reference_score
from ssrobust_lib.study import Study

TASKS = ("pneumonia", "organs")


class Killed(Exception):
    """What a test lets happen in the middle of a search."""


def cell_of(study, task):
    return study.cells("05_calibration", tasks=[task])[0]


def severities_of(study, task):
    return study.table(cell_of(study, task), "severities")


def artefact(study, task):
    return store.read_json(study.folder_of(cell_of(study, task)) / "calibration.json")


def with_calibration(study, tmp_path, **section):
    """The same study with another calibration section; what stands before the calibration is found as it is."""
    sections = tiny_profile()
    sections["calibration"] = sections["calibration"] | section
    return Study(load_profile(write_profile(tmp_path, sections)), runs=study.folder.parent)


def computed(study, task, folder):
    """Tables of a calibration computed into a folder of its own."""
    folder.mkdir(exist_ok=True)
    calibrate.compute(study, cell_of(study, task), folder)
    return {name: store.read_table(folder / f"{name}.parquet") for name in ("severities", "search")}


@pytest.mark.parametrize("task", TASKS)
def test_the_search_holds_every_score_of_every_network_and_bears_out_the_severities(tiny_study, task):
    search = tiny_study.table(cell_of(tiny_study, task), "search")
    assert list(search) == ["task", "corruption", "strength", "init", "seed", "score"]
    place = ["corruption", "strength"]
    networks = {(init, seed) for init in ("scratch", "jigsaw") for seed in tiny_study.seeds}
    scores = {key: rows.set_index(["init", "seed"])["score"].to_dict() for key, rows in search.groupby(place)}
    assert all(set(of_networks) == networks for of_networks in scores.values())
    for row in severities_of(tiny_study, task).itertuples():
        assert row.score == reference_score(scores[row.corruption, row.strength], "weaker")
        assert row.reason in REASONS
        assert (row.corruption, 0.0) in scores


@pytest.mark.parametrize("task", TASKS)
def test_the_artefact_says_what_it_was_made_of(tiny_study, task):
    made, table = artefact(tiny_study, task), severities_of(tiny_study, task)
    for corruption, rows in table.groupby("corruption"):
        levels = made["corruptions"][corruption]
        assert levels["strengths"] == rows["strength"].tolist()
        assert levels["scores"] == rows["score"].tolist()
        assert levels["unit"] == CORRUPTIONS[corruption].unit
        if levels["reason"] in ("rule", "floor_lowered", "not_monotone"):
            assert levels["strengths"][-1] < levels["refused"]
    cells = [network["cell"] for network in made["networks"]]
    assert cells == [c.id for c in tiny_study.cells("03_finetune", tasks=[task], arms=["scratch", "jigsaw"])]
    cache = trained.open_images(tiny_study, task)
    chosen = calibrate.calibration_images(tiny_study, cache, task)
    validation = made["validation"]
    assert validation["images"] == len(chosen) and validation["phantoms"]
    assert validation["sha256"] == calibrate.content_of(cache, chosen)
    assert validation["sha256"] != calibrate.content_of(cache, chosen[:-1])
    assert validation["sha256"] != calibrate.content_of(cache, chosen[::-1])
    assert made["rule"]["reference"] == "weaker"
    assert made["random_key"] == {"severity": "calibration", "study_seed": tiny_study.profile.study_seed}
    assert {"torch", "python", "commit"} <= set(made["made_with"])


def test_a_killed_search_measures_nothing_twice_and_ends_with_the_same_bytes(tiny_study, tmp_path, monkeypatch):
    measured, real = [], calibrate.classification_score

    def counting(*args, corruption, strength, **options):
        if len(measured) in (3, 11):
            measured.append(None)
            raise Killed
        measured.append((corruption, strength))
        return real(*args, corruption=corruption, strength=strength, **options)

    monkeypatch.setattr(calibrate, "classification_score", counting)
    for _ in range(2):
        with pytest.raises(Killed):
            computed(tiny_study, "pneumonia", tmp_path)
        assert (tmp_path / "measured.json").is_file()
    computed(tiny_study, "pneumonia", tmp_path)
    done = [one for one in measured if one]
    assert len(done) == len(set(done))
    finished = tiny_study.folder_of(cell_of(tiny_study, "pneumonia"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "calibration.json",
        "search.parquet",
        "severities.parquet",
    ]
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (finished / path.name).read_bytes()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("table", PUBLISHED_STRENGTHS)
def test_published_strengths_are_measured_on_validation_images(tiny_study, tmp_path, table, task):
    study = with_calibration(tiny_study, tmp_path, severities=table)
    tables = computed(study, task, tmp_path / "cell")
    for corruption, rows in tables["severities"].groupby("corruption"):
        assert tuple(rows["strength"]) == PUBLISHED_STRENGTHS[table][task][corruption]
        assert set(rows["reason"]) == {"given"}
    counts = tables["search"].groupby("corruption")["strength"].nunique()
    assert set(counts) == {6}, "clean and five levels, nothing searched"


@pytest.mark.parametrize("task", TASKS)
def test_another_study_takes_severities_from_the_file(tiny_study, tmp_path, task):
    path = tmp_path / "theirs.json"
    path.write_text(json.dumps(artefact(tiny_study, task)))
    study = with_calibration(tiny_study, tmp_path, severities={task: "theirs.json"})
    found = computed(study, task, tmp_path / "cell")["severities"]
    same = ["task", "corruption", "severity", "strength", "unit", "score"]
    pd.testing.assert_frame_equal(found[same], severities_of(tiny_study, task)[same])
    assert found["note"].str.startswith("strengths of the file theirs.json").all()
    kept = store.read_json(tmp_path / "cell" / "calibration.json")["rule"]["severities"]
    assert kept == artefact(tiny_study, task), "where they come from stays on record"


def test_a_result_depends_on_what_the_file_says_and_not_on_where_it_lies(tiny_study, tmp_path):
    content = artefact(tiny_study, "organs")
    keys = []
    for name, made in (("a.json", content), ("b.json", content), ("c.json", content | {"study": "another"})):
        (tmp_path / name).write_text(json.dumps(made))
        study = with_calibration(tiny_study, tmp_path, severities={"organs": name})
        keys.append(cell_of(study, "organs").key)
    assert keys[0] == keys[1] != keys[2]
    assert keys[0] != cell_of(tiny_study, "organs").key


def test_the_reference_and_the_steps_of_the_profile_are_used(tiny_study, tmp_path):
    study = with_calibration(tiny_study, tmp_path, reference="scratch", steps="score")
    tables = computed(study, "organs", tmp_path / "cell")
    scratch = (
        tables["search"][tables["search"]["init"] == "scratch"].groupby(["corruption", "strength"])["score"].mean()
    )
    for row in tables["severities"].itertuples():
        assert row.score == pytest.approx(scratch[row.corruption, row.strength], rel=1e-12)
    made = store.read_json(tmp_path / "cell" / "calibration.json")
    assert {network["init"] for network in made["networks"]} == {"scratch"}
    for _, rows in tables["severities"].groupby("corruption"):
        assert (np.diff([0, *rows["strength"]]) > 0).all()
