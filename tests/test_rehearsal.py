"""Rehearsals: what of a profile stays, what shrinks, and that every part of the study is still there."""

import math

import pytest

from ssrobust_lib.config import PROFILES, load_profile
from ssrobust_lib.datasets import index_samples, read_image
from ssrobust_lib.datasets.manifest import load_manifest
from ssrobust_lib.phantoms.writers import PHANTOM_WRITERS
from ssrobust_lib.running.checks import check_profile
from ssrobust_lib.running.plan import work
from ssrobust_lib.running.rehearsal import PUBLISHED_SIZE, STEPS, rehearsal, write_rehearsal
from ssrobust_lib.study import Study

NAMES = sorted(path.stem for path in PROFILES.glob("*.yaml"))


@pytest.fixture(params=NAMES)
def pair(request):
    profile = load_profile(request.param)
    return profile, rehearsal(profile)


def _trainings(profile):
    for task in profile.tasks:
        yield profile.finetune[task]
        yield from (profile.pretext_of(task, arm).training for arm in profile.pretext_tasks)


def test_what_decides_memory_and_code_paths_stays(pair):
    profile, derived = pair
    assert derived.networks == profile.networks
    assert derived.arms == profile.arms
    assert derived.corruptions == profile.corruptions
    assert derived.evaluation == profile.evaluation
    for task in profile.tasks:
        before, after = profile.data[task], derived.data[task]
        kept = ("set", "label", "image_size", "pixel_mm", "window_hu")
        assert [getattr(after, field) for field in kept] == [getattr(before, field) for field in kept]
        options = [[p.pretext_of(task, arm).options for arm in p.pretext_tasks] for p in pair]
        assert options[0] == options[1]
    assert [t.batch_size for t in _trainings(derived)] == [t.batch_size for t in _trainings(profile)]
    assert [t.learning_rate for t in _trainings(derived)] == [t.learning_rate for t in _trainings(profile)]


def test_every_training_has_two_steps_and_every_count_is_small(pair):
    profile, derived = pair
    assert derived.name == f"{profile.name}-rehearsal"
    assert (derived.seeds, derived.threads, derived.devices) == (1, 1, 1)
    for training in _trainings(derived):
        assert (training.epochs, training.steps_per_epoch, training.max_steps) == (1, STEPS, STEPS)
    assert all(data.validation + (data.test or 2) <= 14 for data in derived.data.values())
    assert derived.statistics.bootstrap <= 200
    assert derived.statistics.margins == profile.statistics.margins


def test_phantoms_stand_for_every_set_that_has_them(pair):
    profile, derived = pair
    named = {name for task in profile.tasks for name in profile.sets(task)}
    assert set(derived.phantoms) == named & set(PHANTOM_WRITERS.names())
    for name, options in derived.phantoms.items():
        assert PUBLISHED_SIZE[name].items() <= options.items()


def test_every_writer_has_a_published_size():
    assert set(PUBLISHED_SIZE) == set(PHANTOM_WRITERS.names())


@pytest.mark.parametrize("name", sorted(name for name, size in PUBLISHED_SIZE.items() if "matrix" in size))
def test_loaders_read_slices_so_far_apart(tmp_path, name):
    size = PUBLISHED_SIZE[name]
    coarse = {**size, "pixel_mm": 4 * size["pixel_mm"], "matrix": size["matrix"] // 4}
    root = PHANTOM_WRITERS[name](tmp_path / name, n_scans=3, seed=1, **coarse)
    manifest = load_manifest(name)
    samples, left_out = index_samples(manifest, root)
    assert len(samples) == 3 and left_out.empty
    for row in samples.to_dict("records"):
        assert read_image(manifest.loader, root, row).hu.std() > 100


def test_batches_are_full(pair):
    profile, derived = pair
    for task in derived.tasks:
        data = derived.data[task]
        if data.set not in derived.phantoms:
            continue
        scans = {name: options.get("n_scans", options.get("n_patients")) for name, options in derived.phantoms.items()}
        train = scans[data.set] - data.validation - (data.test or derived.phantoms[data.set]["gold"])
        labelled = math.ceil(round(train * data.label_fraction, 9))
        pool = train - labelled + sum(scans[choice.set] for choice in data.pretext_sets)
        assert labelled == derived.finetune[task].batch_size
        assert pool >= max(derived.pretext_of(task, arm).training.batch_size for arm in derived.pretext_tasks)


def test_parts_of_a_set_chosen_by_metadata_appear_once():
    profile = load_profile("paper")
    gold = {"set": "visceral", "where": {"corpus": ["gold"]}, "name": "visceral_gold"}
    organs = profile.data["organs"].model_dump(mode="json", exclude_unset=True)
    organs |= {"split": "patient", "test": 22, "where": {"corpus": ["silver"]}}
    organs["external_sets"] = [gold, *organs["external_sets"]]
    data = {**profile.model_dump(mode="json", exclude_unset=True)["data"], "organs": organs}
    derived = rehearsal(load_profile("paper", data=data))
    assert derived.data["organs"].where == {} and derived.data["organs"].test == 2
    assert [choice.set for choice in derived.data["organs"].external_sets] == ["kits19"]


def test_sets_without_phantoms_stay_real():
    derived = rehearsal(load_profile("real"))
    assert derived.data["organs"].where == load_profile("real").data["organs"].where
    assert derived.data["organs"].external_sets == load_profile("real").data["organs"].external_sets
    assert set(derived.phantoms) == {"kermany", "rsna"}


def test_the_file_is_a_profile_that_passes_every_check(tmp_path):
    path = write_rehearsal(load_profile("paper"), tmp_path)
    assert path == tmp_path / "paper-rehearsal" / "profile.yaml"
    derived = load_profile(path)
    assert derived == rehearsal(load_profile("paper"))
    check_profile(derived)
    study = Study(derived, runs=tmp_path)
    steps = {cell.step for cell in Study(load_profile("demo")).all_cells} - {"01_leaks"}  # too few patients to leak
    assert {cell.step for cell in study.all_cells} == steps
    assert sum(work(study, cell).megabytes for cell in study.all_cells) < 1000


def test_a_published_split_stays_where_the_phantoms_have_one():
    derived = rehearsal(load_profile("paper"))
    organs = derived.data["organs"]
    assert (organs.split, organs.test, derived.phantoms["visceral"]["gold"]) == ("published", None, 2)
    assert {choice.set for choice in organs.pretext_sets} == {
        "cad_pe", "exact09", "lits", "luna16", "btcv", "chaos", "sliver07",
    }  # fmt: skip
