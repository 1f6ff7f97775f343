"""Profiles: what is there loads, what is wrong is named with file, line and field."""

import pytest
import yaml

from ssrobust_lib.config import PROFILES, ProfileError, load_profile


@pytest.fixture
def write(tmp_path):
    def write_profile(change):
        values = yaml.safe_load((PROFILES / "smoke.yaml").read_text())
        change(values)
        path = tmp_path / "own.yaml"
        path.write_text(yaml.safe_dump(values, sort_keys=False))
        return path

    return write_profile


@pytest.mark.parametrize("path", sorted(PROFILES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_profile_loads_under_its_file_name(path):
    assert load_profile(path.stem).name == path.stem


def test_unknown_profile_lists_the_known_ones():
    with pytest.raises(ProfileError, match=r"unknown profile 'dmeo'.*demo.*Did you mean 'demo'"):
        load_profile("dmeo")


def test_missing_file_is_named():
    with pytest.raises(ProfileError, match=r"nowhere\.yaml.*no such file"):
        load_profile("nowhere.yaml")


FAULTS = [
    (lambda v: v.update(epoch=3), r"own\.yaml:\d+: epoch: unknown parameter"),
    (lambda v: v.update(seeds="three"), r"own\.yaml:\d+: seeds: .*integer.*'three'"),
    (lambda v: v.update(seeds=0), r"seeds: .*greater than 0"),
    (lambda v: v["data"]["pneumonia"].update(label_fraction=1.5), r"data\.pneumonia\.label_fraction"),
    (lambda v: v["finetune"]["organs"].pop("epochs"), r"finetune\.organs\.epochs: Field required"),
    (lambda v: v["data"].update(knees=v["data"]["organs"]), r"unknown task 'knees'"),
    (lambda v: v.update(corruptions=["fog"]), r"unknown corruption 'fog'"),
    (lambda v: v.update(corruptions=[]), r"corruptions: expected at least one"),
    (lambda v: v.update(corruptions=["contrast", "contrast"]), r"corruptions: .* each once"),
    (lambda v: v.update(arms=["jigsaw"]), r"arms: .*'scratch'"),
    (lambda v: v.update(arms=["scratch", "scratch_aa"]), r"arms: expected a pretext task to compare with 'scratch'"),
    (lambda v: v.update(arms=["scratch", "rotation"]), r"pretext\.pneumonia: no settings for rotation"),
    (lambda v: v["data"]["organs"].pop("pixel_mm"), r"data\.organs: pixel_mm"),
    (lambda v: v["data"]["organs"].pop("test"), r"test: expected the number of test patients for the split patient"),
    (lambda v: v["data"]["organs"].update(split="published"), r"test: the split published fixes .* got 3"),
    (lambda v: v["evaluation"].update(tumour="no"), r"evaluation\.tumour: .*'both', 'counted' or 'apart'.*'no'"),
    (lambda v: v.update(name="../out"), r"name: "),
    (lambda v: v.update(name="cache"), r"runs/cache holds the decoded images of all runs: choose another name"),
    (lambda v: v.update(name="benchmarks"), r"runs/benchmarks holds what was benchmarked: choose another name"),
    (lambda v: v["data"]["organs"].update(on_unreadable="skip"), r"data\.organs\.on_unreadable: .*'report' or 'stop'"),
]


@pytest.mark.parametrize(("change", "message"), FAULTS)
def test_faults_are_named(write, change, message):
    with pytest.raises(ProfileError, match=message):
        load_profile(write(change))


def test_the_line_is_the_one_of_the_field(write):
    path = write(lambda v: v["finetune"]["organs"].update(epochs="many"))
    section = path.read_text().splitlines()
    with pytest.raises(ProfileError) as caught:
        load_profile(path)
    line = int(str(caught.value).split("own.yaml:")[1].split(":")[0])
    assert "epochs: many" in section[line - 1]


def test_not_yaml_and_not_a_mapping(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("a: [1,")
    with pytest.raises(ProfileError, match="not valid YAML"):
        load_profile(path)
    path.write_text("- 1")
    with pytest.raises(ProfileError, match="expected a mapping"):
        load_profile(path)


def test_sections_of_a_notebook_replace_those_of_the_file():
    longer = load_profile("smoke", finetune={task: {"epochs": 9, "batch_size": 4} for task in ("pneumonia", "organs")})
    assert longer.finetune["organs"].epochs == 9
    assert longer.pretext == load_profile("smoke").pretext


@pytest.mark.parametrize("wrong", [0, -3, 1.0, 1.5, 0.0, "some", True])
def test_sizes_of_parts_are_counts_or_fractions(write, wrong):
    path = write(lambda v: v["data"]["pneumonia"].update(test=0.1, validation=5))
    data = load_profile(path).data["pneumonia"]
    assert (data.test, data.validation) == (0.1, 5) and type(data.validation) is int
    path = write(lambda v: v["data"]["pneumonia"].update(test=wrong))
    with pytest.raises(ProfileError, match=rf"data.pneumonia.test: expected a whole count .* got {wrong!r}"):
        load_profile(path)
