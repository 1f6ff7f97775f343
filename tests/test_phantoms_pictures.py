"""Phantoms in the layouts of Kermany, NIH, RSNA's test images and one's own: the loaders of the real sets read them."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ssrobust_lib.datasets import LOADERS, index_samples, structures_of
from ssrobust_lib.datasets.content_hash import content_hash
from ssrobust_lib.datasets.manifest import load_manifest, locate
from ssrobust_lib.phantoms.__main__ import main
from ssrobust_lib.phantoms.own_images import PARTS, write_own_scans, write_own_xrays
from ssrobust_lib.phantoms.sets import MARKER
from ssrobust_lib.phantoms.writers import PHANTOM_WRITERS
from ssrobust_lib.phantoms.xray_pictures import KERMANY_LAYOUTS, _class_of, write_kermany_phantoms, write_nih_phantoms
from ssrobust_lib.registry import UnknownNameError

SMALL = {"n_patients": 12, "size": 32, "seed": 3}
LAYOUTS = [("kermany", {"layout": layout}) for layout in KERMANY_LAYOUTS]
LAYOUTS += [("nih", {"folders": 1}), ("nih", {"folders": 12}), ("rsna_test", {}), ("rsna", {})]


def digests(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file() and path.name != MARKER)
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize(("name", "options"), LAYOUTS)
def test_the_loader_of_the_real_set_reads_every_layout(tmp_path: Path, name: str, options: dict[str, object]) -> None:
    manifest = load_manifest(name)
    root = PHANTOM_WRITERS[name](tmp_path / manifest.folder, **SMALL, **options)
    samples, left_out = index_samples(manifest, locate(manifest, tmp_path))
    assert left_out.empty and samples["patient_id"].nunique() == SMALL["n_patients"]
    contents = []
    for row in samples.to_dict("records"):
        pixels = LOADERS[name.removesuffix("_test")].read_image(root, row).pixels
        assert pixels.shape == (32, 32) and pixels.std() > 0.05
        contents.append(content_hash(pixels))
    assert len(set(contents)) == len(samples), "two films are the same"
    again = PHANTOM_WRITERS[name](tmp_path / "again", **SMALL, **options)
    assert digests(again) == digests(root)


def test_kermany_has_the_published_share_of_pneumonia_splits_and_several_films_of_a_patient(tmp_path: Path) -> None:
    root = write_kermany_phantoms(tmp_path, n_patients=60, size=32, seed=1)
    samples = LOADERS["kermany"].index(root)
    patients = samples.drop_duplicates("patient_id")
    assert patients["label"].mean() == pytest.approx(4273 / 5856, abs=1 / 60)
    assert set(samples["published_split"]) == {"train", "test"} and set(samples["kind"]) == {
        "normal",
        "bacteria",
        "virus",
    }
    assert len(samples) > len(patients) and samples.groupby("patient_id")["published_split"].nunique().max() == 1
    assert np.mean([_class_of(k)[0] for k in range(1000)]) == pytest.approx(4273 / 5856, abs=1e-3)


def test_kaggles_layout_has_a_small_val_folder_and_everything_twice(tmp_path: Path) -> None:
    root = write_kermany_phantoms(tmp_path, **SMALL, layout="kaggle")
    samples = LOADERS["kermany"].index(root)
    val = samples[samples["published_split"] == "val"].drop_duplicates("patient_id")
    assert val["label"].value_counts().to_dict() == {0: 2, 1: 2}
    assert len(list(root.glob("**/*.jpeg"))) == 2 * len(samples)


def test_nih_has_the_published_columns_findings_and_a_split_by_patient(tmp_path: Path) -> None:
    root = write_nih_phantoms(tmp_path, n_patients=40, size=32, seed=2)
    columns = list(pd.read_csv(root / "Data_Entry_2017_v2020.csv").columns)
    assert columns[:2] == ["Image Index", "Finding Labels"] and columns[-2:] == ["OriginalImagePixelSpacing[x", "y]"]
    samples = LOADERS["nih"].index(root)
    assert {0, 1} <= set(samples["label"].dropna()) and samples["label"].isna().any()
    assert samples.loc[samples["label"] == 1, "findings"].str.contains("Pneumonia").all()
    assert samples.groupby("patient_id")["published_split"].nunique().max() == 1
    assert set(samples["published_split"]) == {"train", "test"}
    assert samples["image"].str.extract(r"(images_\d+)/images")[0].nunique() == 12


def test_sets_of_one_seed_have_patients_of_their_own(tmp_path: Path) -> None:
    contents: list[str] = []
    for name in ("rsna", "rsna_test", "kermany", "nih"):
        root = PHANTOM_WRITERS[name](tmp_path / name, **SMALL)
        manifest = load_manifest(name)
        samples = index_samples(manifest, root)[0]
        loader = LOADERS[manifest.loader]
        contents += [
            content_hash(np.round(loader.read_image(root, row).pixels, 1)) for row in samples.to_dict("records")
        ]
    assert len(set(contents)) == len(contents)


@pytest.mark.parametrize("write", [write_kermany_phantoms, write_nih_phantoms, PHANTOM_WRITERS["rsna_test"]])
def test_impossible_numbers_are_refused(tmp_path: Path, write) -> None:
    for wrong, message in (({"n_patients": 0}, "n_patients of 1 or more"), ({"size": 8}, "a size between 32 and")):
        with pytest.raises(ValueError, match=message):
            write(tmp_path / "x", **{**SMALL, **wrong})


def test_unknown_layouts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="expected one of mendeley2, mendeley3, kaggle"):
        write_kermany_phantoms(tmp_path, **SMALL, layout="mendeley")
    with pytest.raises(ValueError, match="expected 1 or 12 folders"):
        write_nih_phantoms(tmp_path, **SMALL, folders=3)


def test_own_xrays_have_every_part_and_kind_of_file(tmp_path: Path) -> None:
    root = write_own_xrays(tmp_path, n_patients=20, size=32)
    table = pd.read_csv(root / "films.csv", keep_default_na=False)
    assert table["part"].tolist() == list(PARTS)
    assert set(table["file"].str.rsplit(".").str[-1]) == {"png", "jpg", "dcm"}
    assert (table["finding"] == "").equals(table["part"] == "unlabelled")
    options = {"columns": {"path": "file", "label": "finding", "patient": "person", "split": "part"}}
    samples, left_out = LOADERS["classification_csv"].survey(root, table="films.csv", positive="opacity", **options)
    assert left_out.empty and len(samples) == 20
    assert all(LOADERS["classification_csv"].read_image(root, row).pixels.std() > 0.05 for _, row in samples.iterrows())


def test_own_scans_are_a_decathlon_folder_with_two_scanners(tmp_path: Path) -> None:
    root = write_own_scans(tmp_path / "scans", n_scans=5, matrix=32)
    (tmp_path / "scans.yaml").write_text("loader: decathlon\nfolder: scans\n")
    manifest = load_manifest(tmp_path / "scans.yaml")
    assert structures_of(manifest, root) == ("liver", "spleen", "kidney")
    samples = index_samples(manifest, root)[0]
    labelled = samples[samples["has_label"]]
    assert labelled["scanner"].value_counts().to_dict() == {"A": 3, "B": 1}
    labels = LOADERS["decathlon"].read_label(root, labelled.iloc[0], ("liver", "spleen", "kidney"))
    assert set(np.unique(labels)) == {0, 1, 2, 3}


def test_the_command_says_where_they_are_and_spares_other_files(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    assert main(["scans", str(tmp_path / "mine")]) == 1
    assert "other files" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["films", str(tmp_path)])
