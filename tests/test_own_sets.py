"""Sets of the user's own in a profile: manifests by path, splits that a table gives, and what a changed file does."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from layouts import write_canonical, write_decathlon
from own_sets import PARTS, own_folder, own_profile

from ssrobust_lib import sources
from ssrobust_lib.cli import main
from ssrobust_lib.config import ProfileError, load_profile
from ssrobust_lib.datasets import index_samples, structures_of
from ssrobust_lib.datasets.loader import LayoutError
from ssrobust_lib.datasets.manifest import DataFolderError, ManifestError, load_manifest, locate
from ssrobust_lib.running.checks import check_profile
from ssrobust_lib.splits.given import as_external, at_home, split_given
from ssrobust_lib.splits.rules import PatientCrossesError, check_no_patient_crosses, labelled_subset, pretext_pool
from ssrobust_lib.study import Study


def given_samples(parts: dict[str, int] = PARTS) -> pd.DataFrame:
    """Patients with two images each, every second one positive, in the given splits."""
    rows = [
        {"sample_id": f"s/{part}{k}-{n}", "patient_id": f"s/{part}{k}", "label": k % 2, "published_split": part}
        for part, patients in parts.items()
        for k in range(patients)
        for n in range(2)
    ]
    samples = pd.DataFrame(rows).assign(set="s", image="x")
    samples["has_label"] = samples["published_split"] != "unlabelled"
    samples["label"] = samples["label"].astype("Int8").where(samples["has_label"])
    return samples


# ---- the split that a set gives


def test_a_given_split_is_followed_to_the_image() -> None:
    samples = given_samples()
    samples = samples[at_home(samples)]
    split = split_given(samples, seed=1)
    expected = samples["published_split"].replace({"unlabelled": "pretext"})
    assert split.tolist() == expected.tolist()
    assert split.equals(split_given(samples.sample(frac=1, random_state=1), seed=2).reindex(split.index))
    samples["split"] = split
    check_no_patient_crosses(samples)
    labelled = labelled_subset(samples, 0.5, 1)
    pool = pretext_pool(samples, labelled)
    assert {name.split("/")[1][:5] for name in labelled} == {"train"}
    assert {name.split("/")[1][:5] for name in pool} == {"train", "unlab"}


def test_unlabelled_images_of_training_patients_stay_with_them() -> None:
    samples = given_samples({"train": 4, "val": 2, "test": 2})
    first = samples.index[0]
    samples.loc[first, ["published_split", "has_label"]] = ["unlabelled", False]
    assert split_given(samples, seed=1).loc[first] == "train"


@pytest.mark.parametrize(("missing", "count"), [("val", {"val": 3}), ("test", {"test": 3})])
def test_a_part_that_is_not_given_is_drawn_from_the_training_patients(missing: str, count: dict[str, int]) -> None:
    samples = given_samples({part: n for part, n in PARTS.items() if part not in (missing, "external")})
    samples["split"] = split_given(samples, seed=1, **count)
    drawn = samples[samples["split"] == missing]
    assert drawn["patient_id"].nunique() == 3 and set(drawn["published_split"]) == {"train"}
    check_no_patient_crosses(samples)
    assert not samples["split"].equals(split_given(samples, seed=5, **count))


@pytest.mark.parametrize(
    ("parts", "count", "message"),
    [
        (PARTS, {}, "12 images have the split 'external'"),
        ({"train": 3, "test": 3}, {}, r"no image the split val: say in the profile how many patients \(validation\)"),
        ({"train": 3, "val": 3}, {}, "no image the split test"),
        ({"train": 3, "val": 3, "test": 3}, {"val": 1}, "gives 6 images the split val: leave validation out"),
        ({"val": 3, "test": 3}, {}, "no image the split train"),
    ],
)
def test_a_given_split_that_cannot_be_followed_is_refused(parts, count, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split_given(given_samples(parts), seed=1, **count)


def test_a_set_without_a_split_cannot_be_followed() -> None:
    with pytest.raises(ValueError, match="choose the split 'patient'"):
        split_given(given_samples().drop(columns="published_split"), seed=1)


def test_images_given_as_external_are_the_other_centre_and_never_the_own() -> None:
    samples = given_samples()
    assert set(as_external(samples)["published_split"]) == {"external"}
    assert as_external(samples[at_home(samples)]).equals(samples[at_home(samples)])
    plain = samples.drop(columns="published_split")
    assert at_home(plain).all() and as_external(plain).equals(plain)


# ---- manifests of one's own


def test_a_manifest_of_ones_own_needs_little_more_than_its_loader(tmp_path: Path) -> None:
    manifest = load_manifest(own_folder(tmp_path / "xrays") / "ward.yaml")
    assert (manifest.name, manifest.title, manifest.kind, manifest.access) == ("ward", "ward", "xray", "own")
    assert locate(manifest, None) == tmp_path / "xrays"
    samples, left_out = index_samples(manifest, locate(manifest, None))
    assert len(samples) == sum(PARTS.values()) and left_out.empty
    assert samples["published_split"].value_counts().to_dict() == PARTS


def test_the_folder_of_an_own_manifest_is_beside_it_or_below_the_data_root_or_absolute(tmp_path: Path) -> None:
    own_folder(tmp_path / "here" / "images_here")
    file = tmp_path / "here" / "ward.yaml"
    file.write_text((tmp_path / "here" / "images_here" / "ward.yaml").read_text() + "folder: images_here\n")
    assert locate(load_manifest(file), None) == locate(load_manifest(file), tmp_path) == file.parent / "images_here"
    shutil.move(file.parent / "images_here", tmp_path / "images_here")
    assert locate(load_manifest(file), tmp_path) == tmp_path / "images_here"
    with pytest.raises(DataFolderError, match=r"ward: there is no folder .*here/images_here"):
        locate(load_manifest(file), None)
    file.write_text(file.read_text().replace("folder: ", f"folder: {tmp_path}/"))
    assert locate(load_manifest(file), None) == tmp_path / "images_here"


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        (
            "positive: opacity",
            "positiv: opacity",
            8,
            "field loader_options.positiv: unknown option 'positiv'.*positive",
        ),
        ("path: file", "pfad: file", 5, "field loader_options.columns.pfad: unknown role of a column 'pfad'"),
        ("loader: classification_csv", "loader: classification", 1, "field loader: unknown data-set loader"),
        ("table: list.csv", "table: /list.csv", 9, "field loader_options.table: .*the path of a CSV below"),
    ],
)
def test_a_fault_in_an_own_manifest_is_named_by_line_and_field(tmp_path, old, new, line, message) -> None:
    file = own_folder(tmp_path) / "ward.yaml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(ManifestError, match=message) as caught:
        load_manifest(file)
    assert f"ward.yaml: line {line}," in str(caught.value)


def test_an_own_manifest_is_called_like_its_file(tmp_path: Path) -> None:
    file = own_folder(tmp_path) / "ward.yaml"
    for name in ("My Ward", "röntgen"):
        with pytest.raises(ManifestError, match="field name: .*lower-case letters.*rename the file"):
            load_manifest(file.rename(tmp_path / f"{name}.yaml"))
        (tmp_path / f"{name}.yaml").rename(file)


def test_an_own_decathlon_folder_needs_no_label_map_in_its_manifest(tmp_path: Path) -> None:
    write_decathlon(tmp_path / "scans")
    file = tmp_path / "scans.yaml"
    file.write_text("loader: decathlon\nfolder: scans\n")
    manifest = load_manifest(file)
    assert manifest.kind == "ct" and structures_of(manifest, locate(manifest, None)) == ("Cord", "Gland")
    file.write_text("loader: decathlon\nfolder: scans\nlabels: {Gland: 3}\n")
    assert structures_of(load_manifest(file), tmp_path / "scans") == ("Gland",)


# ---- profiles


@pytest.fixture
def profile_file(tmp_path: Path) -> Path:
    own_folder(tmp_path / "xrays")
    return own_profile(tmp_path)


def test_a_profile_finds_its_manifest_from_its_own_folder(profile_file: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv(sources.REAL_DATA, raising=False)
    monkeypatch.chdir(os.sep)
    profile = load_profile(profile_file)
    data = profile.data["pneumonia"]
    assert data.set == str(tmp_path / "xrays" / "ward.yaml") and data.label == "ward"
    assert [choice.label for choice in data.external_sets] == ["elsewhere"]
    check_profile(profile)
    again = load_profile(profile_file, data=json.loads(profile.model_dump_json())["data"])
    assert again.data == profile.data, "a notebook's parameters name the same file"


def test_the_data_cell_follows_the_table(profile_file: Path, tmp_path: Path) -> None:
    study = Study(load_profile(profile_file), runs=tmp_path / "runs")
    cell = study.cells("01_data")[0]
    study.ensure(cell)
    samples = study.table(cell, "samples")
    assert samples.groupby("set")["split"].value_counts().to_dict() == {
        ("elsewhere", "external"): PARTS["external"],
        ("ward", "train"): PARTS["train"],
        ("ward", "val"): PARTS["val"],
        ("ward", "test"): PARTS["test"],
        ("ward", "pretext"): PARTS["unlabelled"],
    }
    written = samples["sample_id"].str.extract(r"images/([a-z]+)")[0].replace({"unlabelled": "pretext"})
    assert (written == samples["split"]).all()
    assert study.table(cell, "left_out").empty


def test_images_given_as_external_that_no_external_set_takes_are_reported(tmp_path: Path) -> None:
    own_folder(tmp_path / "xrays")
    study = Study(load_profile(own_profile(tmp_path, external_sets=[])), runs=tmp_path / "runs")
    cell = study.cells("01_data")[0]
    study.ensure(cell)
    left_out = study.table(cell, "left_out")
    assert len(left_out) == PARTS["external"] and left_out["reason"].str.contains("external_sets do not name").all()
    assert not study.table(cell, "samples")["sample_id"].str.contains("external").any()


def test_the_same_image_on_two_sides_of_a_given_split_is_refused(profile_file: Path, tmp_path: Path) -> None:
    shutil.copy(tmp_path / "xrays/images/train0.png", tmp_path / "xrays/images/test0.png")
    study = Study(load_profile(profile_file), runs=tmp_path / "runs")
    with pytest.raises(PatientCrossesError, match="1 images with identical content .* in test and train"):
        study.ensure(study.cells("01_data")[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: (root / "list.csv").unlink(), "nothing matches list.csv"),
        (
            lambda root: _replace(root / "list.csv", "images/train1.png,opacity", "images/train1.png,opacite"),
            "expected one",
        ),
        (lambda root: _replace(root / "list.csv", "test0,test", "train0,test"), "'train0' in train .* and test"),
        (lambda root: _replace(root / "list.csv", ",val\n", ",train\n"), r"say in the profile how many .*validation"),
        (lambda root: _replace(root / "ward.yaml", "split: part", "split: fold"), "no column 'fold' for the split"),
        (lambda root: (root / "ward.yaml").unlink(), "ward.yaml: cannot be read"),
    ],
)
def test_what_is_wrong_is_told_before_anything_runs(profile_file, tmp_path, capsys, change, message: str) -> None:
    change(tmp_path / "xrays")
    assert main(["study", str(profile_file)]) == 1
    told = capsys.readouterr().err
    assert told.startswith("ssrobust: ") and "Traceback" not in told and re.search(message, told)


def _replace(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"split": "patient"}, "data.pneumonia: validation: the split 'patient' needs a number of patients"),
        ({"external_sets": [{"set": "xrays/ward.yaml"}]}, "two sets are called 'ward': give one of them a name"),
    ],
)
def test_profiles_that_cannot_be_meant_are_refused(tmp_path: Path, data, message: str) -> None:
    own_folder(tmp_path / "xrays")
    with pytest.raises(ProfileError, match=message):
        load_profile(own_profile(tmp_path, **data))


def _key(profile_file: Path) -> str:
    sources._identity.cache_clear()
    return Study(load_profile(profile_file)).cells("01_data")[0].key


def test_another_label_of_the_same_length_makes_another_result_and_another_place_does_not(
    profile_file: Path, tmp_path: Path
) -> None:
    before = _key(profile_file)
    elsewhere = tmp_path / "moved"
    shutil.copytree(tmp_path / "xrays", elsewhere / "xrays")
    assert _key(Path(shutil.copy(profile_file, elsewhere))) == before
    _replace(
        tmp_path / "xrays" / "list.csv", "person,part\nimages/train0.png,clear", "person,part\nimages/train0.png,CLEAR"
    )
    assert _key(profile_file) != before
    _replace(elsewhere / "xrays" / "ward.yaml", "positive: opacity", "positive: clear")
    assert _key(elsewhere / profile_file.name) != before


def test_a_link_to_what_is_not_there_is_no_obstacle(profile_file: Path, tmp_path: Path) -> None:
    before = _key(profile_file)
    (tmp_path / "xrays" / "notes.csv").symlink_to(tmp_path / "not fetched")
    assert _key(profile_file) != before


def test_numbers_of_scans_come_from_the_table(profile_file: Path) -> None:
    from ssrobust_lib.running.plan import plan_text, work

    study = Study(load_profile(profile_file))
    text = plan_text(study, 2)
    assert "03_finetune/pneumonia-jigsaw" in text
    evaluation = study.cells("04_clean_eval")[0]
    networks = len(study.profile.arms) * study.profile.seeds
    assert work(study, evaluation).passes == PARTS["test"] * networks


def test_scans_of_ones_own_may_give_their_split_in_cases_csv(tmp_path: Path) -> None:
    root = write_decathlon(tmp_path / "scans", n_labelled=5, n_unlabelled=1)
    write_canonical(root / "imagesUn" / "more.nii.gz", np.roll(_scan(), 2, axis=2))
    parts = ["train", "train", "val", "test", "external"]
    (root / "cases.csv").write_text("case_id,split\n" + "".join(f"case_{k},{part}\n" for k, part in enumerate(parts)))
    (tmp_path / "scans.yaml").write_text("loader: decathlon\nfolder: scans\n")
    manifest = load_manifest(tmp_path / "scans.yaml")
    samples = index_samples(manifest, locate(manifest, None))[0].set_index("sample_id")
    home = samples[at_home(samples)].reset_index()
    split = split_given(home, seed=1, stratify=()).set_axis(home["sample_id"])
    assert split.to_dict() == {
        "scans/case_0": "train",
        "scans/case_1": "train",
        "scans/case_2": "val",
        "scans/case_3": "test",
        "scans/un_0": "pretext",
        "scans/more": "pretext",
    }


def _scan() -> np.ndarray:
    from layouts import body

    return body(seed=77)


def test_a_faulty_table_is_a_layout_error(tmp_path: Path) -> None:
    file = own_folder(tmp_path) / "ward.yaml"
    _replace(tmp_path / "list.csv", "finding", "befund")
    manifest = load_manifest(file)
    with pytest.raises(LayoutError, match="no column 'finding' for the label; its columns are file, befund"):
        index_samples(manifest, locate(manifest, None))


def test_an_image_that_changed_in_place_is_noticed_by_a_finished_study(tmp_path: Path) -> None:
    folder = own_folder(tmp_path / "xrays")
    image = folder / "images" / "train3.png"
    image.write_bytes(image.read_bytes() + bytes(4000))
    profile = load_profile(own_profile(tmp_path))

    def data_cell() -> str:
        return Study(profile, runs=tmp_path / "runs").cells("01_data")[0].key

    study = Study(profile, runs=tmp_path / "runs")
    study.ensure(study.cells("01_data"))
    before = data_cell()
    for path in folder.rglob("*.png"):
        os.utime(path)  # touched, as by a copy: the same images
    assert data_cell() == before
    size, other = image.stat().st_size, (folder / "images" / "train4.png").read_bytes()
    image.write_bytes(other + bytes(size - len(other)))
    assert image.stat().st_size == size
    after = data_cell()
    assert after != before and after == data_cell()
    image.unlink()
    sources._identity.cache_clear()
    assert data_cell() not in (before, after)
