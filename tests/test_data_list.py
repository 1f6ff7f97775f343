"""`ssrobust data list`, `show` and `prepare`: what a user sees of sets that are there, in part, or not at all."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from layouts import KERMANY, write_decathlon, write_nih, write_pictures, write_rsna
from PIL import Image

from ssrobust_lib import cli
from ssrobust_lib.config import load_profile
from ssrobust_lib.data_command import contact_sheet
from ssrobust_lib.data_command.contact_sheet import ShowError, show_set
from ssrobust_lib.data_command.inventory import inventory, inventory_text
from ssrobust_lib.data_command.prepare import PrepareError, settings_for
from ssrobust_lib.datasets.manifest import load_manifest, manifests
from ssrobust_lib.figures.scans import scan_planes
from ssrobust_lib.preprocessing import CTSettings, XRaySettings

OPENKBP = {"labels": {"Cord": 1, "Gland": 3}, "merge": {}, "counts": {"images": 3, "labelled": 2}}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """rsna in part, kermany laid out otherwise, an empty folder for nih."""
    write_rsna(tmp_path / "rsna")
    write_pictures(tmp_path / "kermany", ["pictures/a.png"])
    (tmp_path / "nih").mkdir()
    return tmp_path


def test_every_set_has_its_state(data):
    entries = {entry.name: entry for entry in inventory(manifests(), data)}
    assert set(entries) == set(manifests())
    states = {name: entries[name].state for name in ("rsna", "kermany", "nih", "visceral")}
    assert states == {"rsna": "part", "kermany": "other", "nih": "missing", "visceral": "missing"}
    assert entries["rsna"].problem.startswith("4 of 26,684 images") and entries["rsna"].found["images"] == 4
    assert "nothing matches **/train/NORMAL" in entries["kermany"].problem
    assert entries["nih"].problem == "the folder is empty"


def test_a_set_with_all_its_images_is_here(tmp_path):
    write_decathlon(tmp_path / "openkbp")
    manifest = load_manifest("openkbp").model_copy(update=OPENKBP)
    (entry,) = inventory({"openkbp": manifest}, tmp_path)
    assert (entry.state, entry.problem, entry.recorded) == ("here", "", False)
    (tmp_path / "openkbp.sha256").touch()
    assert inventory({"openkbp": manifest}, tmp_path)[0].recorded
    (tmp_path / "openkbp" / "imagesTr" / "case_0.nii.gz").unlink()
    assert inventory({"openkbp": manifest}, tmp_path)[0].state == "part"


def test_a_set_whose_table_is_broken_does_not_hide_the_others(data):
    (data / "rsna" / "stage_2_train_labels.csv").write_text("nothing\n1\n")
    entries = {entry.name: entry for entry in inventory(manifests(), data)}
    assert entries["rsna"].state == "other" and "has no column" in entries["rsna"].problem


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_list_fits_the_terminal_and_says_how_to_get_what_lacks(data, width):
    text = inventory_text(inventory(manifests(), data), data, width)
    assert max(len(line) for line in text.splitlines() if "/" not in line) <= width
    for manifest in manifests().values():
        assert f"  {manifest.name} " in text
        assert " ".join(manifest.get.rstrip(".").split()) in " ".join(text.split())


def test_what_can_be_fetched_says_so(tmp_path):
    file = {"address": "https://example.org/a.zip", "name": "a.zip", "unpack": "zip"}
    content = load_manifest("kermany").model_dump() | {"access": "open", "files": [file], "get": "look for it."}
    manifest = type(load_manifest("kermany")).model_validate(content)
    entries = inventory({"kermany": manifest}, tmp_path)
    assert entries[0].fetchable and "look for it; or: ssrobust data fetch kermany" in inventory_text(entries, tmp_path)


def test_the_command_prints_json(data, capsys):
    assert cli.run(["data", "list", "rsna", "nih", "--json", "--root", str(data)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["data_root"] == str(data)
    assert [(entry["name"], entry["state"]) for entry in printed["sets"]] == [("rsna", "part"), ("nih", "missing")]
    wanted = {"licence", "terms", "access", "get", "version", "citation", "verified", "found", "published", "folder"}
    assert wanted <= set(printed["sets"][0])


def test_the_list_needs_no_data_folder(monkeypatch, capsys):
    monkeypatch.delenv("SSROBUST_REAL_DATA", raising=False)
    assert cli.run(["data", "list"]) == 0
    said = capsys.readouterr().out
    assert "none named" in said and "export SSROBUST_REAL_DATA" in said and "visceral" in said


@pytest.mark.parametrize("command", ["check", "fetch", "show", "prepare"])
def test_the_other_commands_say_how_to_name_a_data_folder(command, monkeypatch, capsys):
    monkeypatch.delenv("SSROBUST_REAL_DATA", raising=False)
    assert cli.run(["data", command, "rsna"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("ssrobust: no data folder is named: expected --root") and error.count("\n") == 1


@pytest.mark.parametrize("command", ["list", "check", "fetch", "show", "prepare"])
def test_a_misspelt_set_lists_the_known_ones(command, capsys):
    assert cli.run(["data", command, "rsma"]) == 1
    assert "Did you mean 'rsna'?" in capsys.readouterr().err


def test_the_environment_names_the_data_folder_and_the_option_wins(data, tmp_path_factory, monkeypatch, capsys):
    monkeypatch.setenv("SSROBUST_REAL_DATA", str(data))
    cli.run(["data", "list", "rsna"])
    assert "4 of 26,684" in capsys.readouterr().out
    cli.run(["data", "list", "rsna", "--root", str(tmp_path_factory.mktemp("empty"))])
    assert "missing" in capsys.readouterr().out


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def test_a_contact_sheet_of_xrays_is_written(data, tmp_path, capsys):
    target = tmp_path / "new" / "sheet.png"
    assert cli.run(["data", "show", "rsna", "--root", str(data), "--to", str(target)]) == 0
    assert f"4 images of rsna: {target}" in capsys.readouterr().out
    assert min(size_of(target)) > 300


@pytest.mark.parametrize(
    ("options", "labels", "classes"),
    [
        ({}, "01", ("negative", "positive")),
        ({"positive": "implant"}, ["plain", "implant"], ("not implant", "implant")),
        ({"positive": "implant", "negative": "plain"}, ["plain", "implant"], ("plain", "implant")),
        ({"positive": ["a", "b"], "negative": ["c", "d"]}, "ca", ("negative", "positive")),
    ],
)
def test_labels_of_ones_own_are_called_as_the_manifest_calls_them(tmp_path, monkeypatch, options, labels, classes):
    from ssrobust_lib import figures

    write_pictures(tmp_path, ["a.png", "b.png"])
    (tmp_path / "labels.csv").write_text(f"path,label\na.png,{labels[0]}\nb.png,{labels[1]}\n")
    (tmp_path / "own.yaml").write_text(json.dumps({"loader": "classification_csv", "loader_options": options}))
    asked = []
    draw = figures.xray_sheet
    monkeypatch.setattr(figures, "xray_sheet", lambda *a, **k: asked.append(k) or draw(*a, **k))
    show_set(load_manifest(tmp_path / "own.yaml"), None, target=tmp_path / "sheet.png")
    assert asked[0]["classes"] == classes


def test_a_contact_sheet_of_scans_shows_their_structures(tmp_path):
    write_decathlon(tmp_path / "openkbp")
    manifest = load_manifest("openkbp").model_copy(update=OPENKBP)
    shown = show_set(manifest, tmp_path, target=tmp_path / "with.png")
    assert shown.samples[-1] == "openkbp/un_0"  # labelled ones come first
    assert len(shown.samples) == 3 and shown.skipped == {}
    write_decathlon(tmp_path / "none", n_labelled=0, n_unlabelled=3)
    (tmp_path / "none" / "cases.csv").unlink()
    layout = manifest.layout.model_copy(update={"files": ("dataset.json",)})
    unlabelled = manifest.model_copy(update={"folder": "none", "layout": layout})
    show_set(unlabelled, tmp_path, target=tmp_path / "without.png")
    coloured = []
    for name in ("with", "without"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            pixels = np.asarray(picture.convert("RGB")).astype(int)
        coloured.append(np.count_nonzero(np.ptp(pixels, axis=2) > 60))
    assert coloured[0] > coloured[1] + 500


def test_images_without_label_or_view_are_shown(tmp_path):
    write_nih(tmp_path / "nih")
    shown = show_set(load_manifest("nih"), tmp_path, target=tmp_path / "a.png")
    assert sorted(shown.samples) == ["nih/00000001_000", "nih/00000002_000", "nih/00000002_001"]
    assert shown.samples[-1] == "nih/00000002_001"  # the one without a label
    assert min(size_of(tmp_path / "a.png")) > 300


def test_the_same_seed_shows_the_same_images(data):
    manifest = load_manifest("rsna")
    drawn = [show_set(manifest, data, n=2, seed=seed, target=data / "a.png").samples for seed in (1, 1, 2, 3, 4)]
    assert drawn[0] == drawn[1] and len({tuple(names) for names in drawn}) > 1


def test_unreadable_images_are_passed_over_and_named(data, capsys):
    (data / "rsna" / "stage_2_train_images" / "p0.dcm").write_bytes(b"")
    assert cli.run(["data", "show", "rsna", "--root", str(data), "--to", str(data / "a.png")]) == 0
    said = capsys.readouterr().out
    assert "passed over: stage_2_train_images/p0.dcm: " in said and "3 images of rsna" in said


def test_a_set_that_cannot_be_shown_says_why(data):
    for path in (data / "rsna" / "stage_2_train_images").iterdir():
        path.write_bytes(b"")
    with pytest.raises(ShowError, match="none of 4 images can be read; the first, stage_2_train_images/p"):
        show_set(load_manifest("rsna"), data, target=data / "a.png")
    with pytest.raises(ShowError, match="expected one image or more, got 0"):
        show_set(load_manifest("rsna"), data, n=0)


def test_sheets_go_where_git_does_not_look():
    assert contact_sheet.default_path("rsna").parts[-3:] == ("runs", "data", "rsna.png")


def test_planes_pass_through_the_labels():
    hu = np.zeros((20, 8, 8), np.float32)
    mask = np.zeros((20, 8, 8), np.uint8)
    mask[10:16, 5, 2] = 1
    axial, coronal = (planes := scan_planes(hu, mask, (3.0, 1.0, 2.0)))[:-1], planes[-1]
    assert [plane.name for plane in axial] == ["slice 14", "slice 12", "slice 11"] and coronal.name == "row 5"
    assert all(plane.mask is not None and plane.mask.any() for plane in planes)
    assert coronal.aspect == 1.5 and axial[0].aspect == 0.5
    assert np.flatnonzero(coronal.mask.any(axis=1)).tolist() == list(range(4, 10))  # superior is up


def test_planes_of_a_scan_without_labels_are_spread_over_it():
    planes = scan_planes(np.zeros((30, 8, 8), np.float32), None, (1.0, 1.0, 1.0))
    assert [plane.name for plane in planes] == ["slice 24", "slice 14", "slice 5", "row 4"]
    with pytest.raises(ValueError, match="expected a mask of the scan's shape"):
        scan_planes(np.zeros((3, 8, 8)), np.zeros((2, 8, 8)), (1, 1, 1))


def test_preprocessing_follows_the_profile_and_single_values_win():
    profile = load_profile("paper")
    assert settings_for("xray", profile) == XRaySettings(size=profile.data["pneumonia"].image_size)
    organs = profile.data["organs"]
    expected = CTSettings(organs.image_size, organs.pixel_mm, organs.slice_mm, organs.window_hu)
    assert settings_for("ct", profile) == expected
    own = settings_for("ct", profile, size=64, pixel_mm=4.0, window_hu=(-100.0, 300.0))
    assert own == CTSettings(64, 4.0, organs.slice_mm, (-100.0, 300.0))


def test_preprocessing_that_is_lacking_or_does_not_fit_is_refused():
    profile = load_profile("paper")
    xrays = profile.model_copy(update={"data": {"pneumonia": profile.data["pneumonia"]}})
    with pytest.raises(PrepareError, match="has no task organs.*--size, --pixel-mm and --window"):
        settings_for("ct", xrays, size=64)
    assert settings_for("ct", xrays, size=64, pixel_mm=2.0, window_hu=(0.0, 1.0)).slice_mm is None
    with pytest.raises(PrepareError, match="are for CT"):
        settings_for("xray", profile, pixel_mm=2.0)
    for zero in ({"size": 0}, {"pixel_mm": 0.0}, {"slice_mm": 0.0}):  # not the profile's values in their place
        with pytest.raises(PrepareError, match="got 0"):
            settings_for("ct", profile, **zero)
    with pytest.raises(PrepareError, match="lower < upper"):
        settings_for("ct", profile, window_hu=(300.0, -100.0))


def test_prepare_hands_the_located_set_to_the_cache(data, monkeypatch, capsys):
    from ssrobust_lib.datasets import cache

    asked = []

    def prepare_set(manifest, root, settings, *, workers, progress):
        asked.append((manifest.name, root, settings, workers))
        return root / "cache"

    problems = pd.DataFrame([{"sample_id": "rsna/p0", "path": "p0.dcm", "reason": "is empty"}])
    monkeypatch.setattr(cache, "prepare_set", prepare_set, raising=False)
    monkeypatch.setattr(cache, "problems_of", lambda folder: problems, raising=False)
    assert cli.run(["data", "prepare", "rsna", "--root", str(data), "--size", "32", "--workers", "3"]) == 0
    assert asked == [("rsna", data / "rsna", XRaySettings(32), 3)]
    said = capsys.readouterr().out
    assert "rsna: 32 x 32 pixels\n" in said
    assert "left out: p0.dcm: is empty" in said
    assert f"rsna is prepared (missing or not decoded, and left out: 1): {data}" in said


def test_images_of_ones_own_are_listed_checked_and_shown_by_the_path_of_their_manifest(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("SSROBUST_REAL_DATA", raising=False)
    write_pictures(tmp_path, ["images/a.png", "images/ß b.png"])
    (tmp_path / "labels.csv").write_text("path,label\nimages/a.png,0\nimages/ß b.png,1\nimages/c.png,1\n", "utf-8")
    manifest = tmp_path / "mine.yaml"
    manifest.write_text("kind: xray\nloader: classification_csv\nloader_options: {table: labels.csv}\n")
    assert cli.run(["data", "list", str(manifest)]) == 0
    said = capsys.readouterr().out
    assert "1 of its images lack something; first images/c.png" in said and "How to get" not in said
    assert cli.run(["data", "check", str(manifest), "--workers", "1"]) == 1
    assert "images/c.png: in labels.csv (line 4), but there is no such file" in capsys.readouterr().out
    assert cli.run(["data", "show", str(manifest), "--to", str(tmp_path / "a.png")]) == 0
    assert "2 images of mine" in capsys.readouterr().out
    assert cli.run(["data", "fetch", str(manifest)]) == 1
    assert "mine holds images of your own: there is nothing to fetch" in capsys.readouterr().err


def test_kermany_is_listed_from_a_folder_in_its_layout(tmp_path):
    write_pictures(tmp_path / "kermany", KERMANY)
    (entry,) = inventory({"kermany": load_manifest("kermany")}, tmp_path)
    assert entry.state == "part" and entry.problem.startswith("5 of 5,856 images")
