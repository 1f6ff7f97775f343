"""CT sets in their published layouts: which file belongs to which, what is left out and why, phantoms read back."""

import json
from pathlib import Path

import numpy as np
import pytest
from ct_layouts import (
    CT_WRITERS,
    label_map,
    write_cad_pe,
    write_chaos,
    write_exact09,
    write_kits19,
    write_scan,
    write_sliver07,
    write_visceral,
)
from layouts import body, write_canonical, write_decathlon

from ssrobust_lib.datasets import LOADERS, VISCERAL_STRUCTURES, LayoutError, UnreadableImageError, index_samples
from ssrobust_lib.datasets.manifest import load_manifest, locate, manifests
from ssrobust_lib.datasets.visceral import vote
from ssrobust_lib.phantoms.writers import PHANTOM_WRITERS
from ssrobust_lib.registry import UnknownNameError
from ssrobust_lib.splits.rules import check_no_patient_crosses, split_published

PRETEXT_SETS = ("cad_pe", "exact09", "lits", "luna16", "btcv", "chaos", "sliver07")  # the paper's seven
NAMES = [structure.name for structure in VISCERAL_STRUCTURES]


def rows_of(name: str, root: Path, **options: object) -> dict[str, dict]:
    samples = LOADERS[name].index(root, **options)
    return {row["sample_id"].removeprefix(f"{name}/"): row for row in samples.to_dict("records")}


# --- CHAOS


@pytest.mark.parametrize("patient", ["train_1", "train_21"])
def test_chaos_masks_follow_the_names_of_the_slices(tmp_path: Path, patient: str) -> None:
    row = rows_of("chaos", write_chaos(tmp_path))[patient]
    np.testing.assert_array_equal(LOADERS["chaos"].read_label(tmp_path, row, ["liver"]), label_map(1))
    assert len(LOADERS["chaos"].files(tmp_path, row)) == 12


def test_chaos_takes_ct_alone_and_tells_training_from_test(tmp_path: Path) -> None:
    rows = rows_of("chaos", write_chaos(tmp_path))
    assert {name: (row["has_label"], row["published_split"]) for name, row in rows.items()} == {
        "train_1": (True, "train"),
        "train_21": (True, "train"),
        "test_3": (False, "test"),
    }


def test_chaos_scans_with_a_mask_too_few_are_left_out(tmp_path: Path) -> None:
    write_chaos(tmp_path)
    row = rows_of("chaos", tmp_path)["train_1"]
    (tmp_path / "Train_Sets/CT/1/Ground/liver_GT_002.png").unlink()
    assert "5 mask pictures for 6 slices" in LOADERS["chaos"].survey(tmp_path)[1]["reason"].iloc[0]
    with pytest.raises(UnreadableImageError, match="5 mask pictures for 6 DICOM files"):
        LOADERS["chaos"].read_label(tmp_path, row, ["liver"])


# --- SLIVER07, CAD-PE, EXACT'09, LiTS, KiTS19


def test_sliver07_training_and_test_scans_of_one_number_are_two(tmp_path: Path) -> None:
    rows = rows_of("sliver07", write_sliver07(tmp_path))
    assert {name: row["has_label"] for name, row in rows.items()} == {"train_001": True, "test_001": False}
    assert [path.name for path in LOADERS["sliver07"].files(tmp_path, rows["train_001"])] == [
        "liver-seg001.mhd", "liver-seg001.raw", "liver-orig001.mhd", "liver-orig001.raw",
    ]  # fmt: skip


def test_sliver07_scans_and_labels_may_lie_side_by_side(tmp_path: Path) -> None:
    write_scan(tmp_path / "liver-orig002.mhd", body())
    write_scan(tmp_path / "liver-seg002.mhd", label_map(1))
    row = rows_of("sliver07", tmp_path)["train_002"]
    np.testing.assert_array_equal(LOADERS["sliver07"].read_label(tmp_path, row, ["liver"]), label_map(1))


@pytest.mark.parametrize("case", ["001", "e0032"])
def test_cad_pe_pairs_scans_with_their_reference_and_joins_the_emboli(tmp_path: Path, case: str) -> None:
    rows = rows_of("cad_pe", write_cad_pe(tmp_path))
    assert sorted(rows) == ["001", "007", "e0032"] and not rows["007"]["has_label"]
    emboli = LOADERS["cad_pe"].read_label(tmp_path, rows[case], ["embolus"])
    np.testing.assert_array_equal(emboli, label_map(3) > 0)


def test_exact09_folders_without_slices_are_left_out(tmp_path: Path) -> None:
    samples, left_out = LOADERS["exact09"].survey(write_exact09(tmp_path))
    assert samples["published_split"].tolist() == ["train", "test"]
    assert left_out[["sample_id", "reason"]].values.tolist() == [["exact09/CASE22", "the folder holds no DICOM slice"]]
    np.testing.assert_allclose(LOADERS["exact09"].read_image(tmp_path, samples.iloc[0]).hu, body(), atol=1)


def test_lits_labels_are_found_beside_the_volumes_or_elsewhere(tmp_path: Path) -> None:
    write_canonical(tmp_path / "scans" / "volume-7.nii", body())
    write_canonical(tmp_path / "labels" / "segmentation-7.nii", label_map(2))
    write_canonical(tmp_path / "test-volume-7.nii", body())
    rows = rows_of("lits", tmp_path)
    assert {name: row["has_label"] for name, row in rows.items()} == {"volume-7": True, "test-volume-7": False}
    labels = LOADERS["lits"].read_label(tmp_path, rows["volume-7"], ["tumour", "liver"])
    np.testing.assert_array_equal(labels, np.array([0, 2, 1])[label_map(2)])


def test_kits19_cases_are_found_wherever_the_repository_was_cloned(tmp_path: Path) -> None:
    write_canonical(tmp_path / "kits19-master" / "data" / "case_00003" / "imaging.nii.gz", body())
    (tmp_path / "case_notes").mkdir()
    assert list(rows_of("kits19", tmp_path)) == ["case_00003"]


def test_kits19_tells_sex_and_age_where_its_table_does_and_stays_silent_elsewhere(tmp_path: Path) -> None:
    write_kits19(tmp_path)
    assert {row["sex"] for row in rows_of("kits19", tmp_path).values()} == {""}
    table = tmp_path / "data" / "kits.json"
    table.write_text(
        '[{"case_id": "case_00000", "gender": "male", "age_at_nephrectomy": 49},'
        ' {"case_id": "case_00001", "captured_pixel_width": 0.9, "gender": null}]'
    )
    rows = rows_of("kits19", tmp_path)
    assert (rows["case_00000"]["sex"], rows["case_00000"]["age"]) == ("male", 49.0)
    assert rows["case_00001"]["sex"] == "" and np.isnan(rows["case_00001"]["age"])
    table.write_text("not a list of cases")
    with pytest.raises(LayoutError, match=r"kits\.json: expected a JSON list of cases with a case_id each"):
        rows_of("kits19", tmp_path)


def test_kits19_slices_from_above_are_turned_and_the_bad_case_is_left_out(tmp_path: Path) -> None:
    write_kits19(tmp_path / "kits19")
    (tmp_path / "kits19" / "data" / "case_00001").rename(tmp_path / "kits19" / "data" / "case_00015")
    manifest = load_manifest("kits19")
    root = locate(manifest, tmp_path)
    samples, left_out = index_samples(manifest, root)
    assert samples["sample_id"].tolist() == ["kits19/case_00000"]
    assert left_out["reason"].str.contains("mislabelled|missing").all() and len(left_out) == 2
    labels = LOADERS["kits19"].read_label(root, samples.iloc[0], manifest.structures)
    assert np.unique(np.nonzero(labels)[0]).tolist() == [5] and (labels == 2).sum() == 1
    assert LOADERS["kits19"].read_image(root, samples.iloc[0]).hu[5, 30, 25] > 150  # the dense part is above


# --- VISCERAL


def write_corpora(root: Path) -> Path:
    """Patient 1 in both corpora, patient 2 in the silver one, patient 3 in the gold one; each with all structures."""
    for corpus, patients in (("Anatomy3_Silver_Corpus", (1, 2)), ("Anatomy3-trainingset", (1, 3))):
        for patient in patients:
            volume = f"1000010{patient}_1_CTce_ThAb"
            write_canonical(root / corpus / "Volumes" / f"{volume}.nii.gz", body(seed=patient))
            for k, structure in enumerate(VISCERAL_STRUCTURES):
                mask = np.zeros((6, 40, 40), np.uint8)
                mask[1 if "Silver" in corpus else 4, 5:15, k + 5] = 1
                name = f"{volume}_{structure.radlex_id}_4.nii.gz"
                write_canonical(root / corpus / "Segmentations" / name, mask)
    return root


def test_visceral_corpora_are_the_published_split_and_a_patient_of_both_is_tested_on(tmp_path: Path) -> None:
    samples, left_out = LOADERS["visceral"].survey(write_corpora(tmp_path))
    found = samples[["sample_id", "corpus", "published_split"]].values.tolist()
    assert found == [
        ["visceral/10000101_1_CTce_ThAb", "gold", "test"],
        ["visceral/10000102_1_CTce_ThAb", "silver", "train"],
        ["visceral/10000103_1_CTce_ThAb", "gold", "test"],
    ]
    assert "gold corpus, too" in left_out["reason"].iloc[0] and "Silver" in left_out["path"].iloc[0]
    labels = LOADERS["visceral"].read_label(tmp_path, samples.iloc[0], NAMES)
    assert np.unique(np.nonzero(labels)[0]).tolist() == [4], "the gold corpus's own masks are read"
    assert len(LOADERS["visceral"].files(tmp_path, samples.iloc[0])) == 21


def test_visceral_corpora_of_other_names_are_told_by_an_option(tmp_path: Path) -> None:
    made = write_corpora(tmp_path / "made")
    (made / "Anatomy3_Silver_Corpus").rename(made / "SC")
    (made / "Anatomy3-trainingset").rename(made / "GC")
    with pytest.raises(LayoutError, match="1 names occur twice"):
        LOADERS["visceral"].survey(made)
    rows = rows_of("visceral", made, corpora={"silver": ["sc"], "gold": ["gc"]})
    assert {row["corpus"] for row in rows.values()} == {"silver", "gold"}


def test_visceral_without_corpora_has_no_published_split(tmp_path: Path) -> None:
    write_corpora(tmp_path / "made")
    (tmp_path / "made" / "Anatomy3-trainingset").rename(tmp_path / "scans")
    samples = LOADERS["visceral"].index(tmp_path / "scans")
    assert set(samples["corpus"]) == {"not stated"} and "published_split" not in samples
    with pytest.raises(KeyError, match="no published split"):
        split_published(samples, val=1, seed=0)


def test_visceral_takes_complete_scans_and_reports_the_rest(roots: dict[str, Path]) -> None:
    samples, left_out = LOADERS["visceral"].survey(roots["visceral"])
    assert samples["sample_id"].tolist() == ["visceral/10000100_1_CTce_ThAb"]
    row = samples.iloc[0]
    assert (row["patient_id"], row["corpus"], row["contrast"], row["field_of_view"]) == (
        "visceral/10000100",
        "silver",
        True,
        "ThAb",
    )
    assert left_out["reason"].tolist() == [f"19 of 20 structures have no mask: {', '.join(NAMES[1:])}"]
    every = LOADERS["visceral"].index(roots["visceral"], incomplete="unlabelled")
    assert every["has_label"].tolist() == [True, False]


def test_visceral_tells_psoas_sides_from_geometry_and_lets_small_structures_win(tmp_path: Path) -> None:
    write_visceral(tmp_path)
    masks = tmp_path / "silver" / "masks"
    for number, columns in ((32248, slice(30, 34)), (32249, slice(4, 8)), (58, slice(0, 40))):
        mask = np.zeros((6, 40, 40), np.uint8)
        mask[4, 20:30, columns] = 1
        write_canonical(masks / f"10000100_1_CTce_ThAb_{number}_1.nii.gz", mask)
    row = LOADERS["visceral"].index(tmp_path).iloc[0]
    labels = LOADERS["visceral"].read_label(tmp_path, row, ["liver", "right_psoas", "left_psoas"])
    assert (labels[4, 20:30, 4:8] == 2).all() and (labels[4, 20:30, 30:34] == 3).all()
    assert (labels == 1).sum() == 10 * 32
    one = LOADERS["visceral"].read_label(tmp_path, row, ["left_psoas"])
    assert set(np.nonzero(one)[2]) == set(range(30, 34))


def test_annotators_vote() -> None:
    masks = [np.array(mask, bool) for mask in ([1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 0, 0], [1, 0, 1, 0])]
    np.testing.assert_array_equal(vote(masks[:1]), masks[0])
    np.testing.assert_array_equal(vote(masks[:2]), masks[0])
    np.testing.assert_array_equal(vote(masks[:3]), [1, 1, 0, 0])
    np.testing.assert_array_equal(vote(masks), [1, 0, 0, 0])  # half is not more than half


@pytest.fixture(scope="module")
def gold_phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = {"n_scans": 5, "gold": 2, "pixel_mm": 6.0, "slice_mm": 16.0, "matrix": 72, "seed": 5}
    return PHANTOM_WRITERS["visceral"](tmp_path_factory.mktemp("gold") / "visceral", **options)


def test_the_gold_corpus_tests_and_the_silver_corpus_trains(gold_phantoms: Path) -> None:
    samples = LOADERS["visceral"].index(gold_phantoms)
    split = split_published(samples, val=1, seed=3, stratify=())
    assert split[samples["corpus"] == "gold"].eq("test").all()
    assert sorted(split[samples["corpus"] == "silver"]) == ["train", "train", "val"]
    check_no_patient_crosses(samples.assign(split=split))


def test_annotators_and_swapped_psoas_numbers_of_the_gold_phantoms_are_resolved(gold_phantoms: Path) -> None:
    from ssrobust_lib.phantoms import ct, ct_scans
    from ssrobust_lib.phantoms.sets import MARKER

    row = rows_of("visceral", gold_phantoms)["10000104_1_CTce_ThAb"]
    options = json.loads((gold_phantoms / MARKER).read_text())
    _, patient, grid, _ = ct_scans.draw_scan(4, options, ct_scans.THORAX_ABDOMEN)
    expected = ct.render(patient, grid, ct.SOFT_KERNEL, "portal")[1]
    masks = {path.name.split("_")[4]: 0 for path in (gold_phantoms / "gold_corpus").rglob("10000104*_*_*_*_*_*.nii.gz")}
    for path in (gold_phantoms / "gold_corpus").rglob("10000104*_*_*_*_*_*.nii.gz"):
        masks[path.name.split("_")[4]] += 1
    assert (masks["58"], masks["86"], masks["170"]) == (3, 2, 1)
    np.testing.assert_array_equal(LOADERS["visceral"].read_label(gold_phantoms, row, NAMES), expected)


# --- Decathlon folders


def test_decathlon_test_scans_are_unlabelled_and_a_missing_one_is_named(tmp_path: Path) -> None:
    write_decathlon(tmp_path)
    write_canonical(tmp_path / "imagesTs" / "case_9.nii.gz", body())
    (tmp_path / "imagesUn" / "._un_0.nii.gz").write_bytes(b"Mac")
    index = json.loads((tmp_path / "dataset.json").read_text())
    index |= {"modality": {"0": "CT"}, "test": ["./imagesTs/case_9.nii.gz", "./imagesTs/case_10.nii.gz"]}
    (tmp_path / "dataset.json").write_text(json.dumps(index))
    samples, left_out = LOADERS["decathlon"].survey(tmp_path)
    assert samples["sample_id"].tolist() == [f"decathlon/{name}" for name in ("case_0", "case_1", "case_9", "un_0")]
    assert samples["has_label"].tolist() == [True, True, False, False]
    assert left_out["reason"].tolist() == ["in dataset.json, but imagesTs/case_10.nii.gz is not there"]


def test_decathlon_folders_of_other_modalities_or_several_channels_are_refused(tmp_path: Path) -> None:
    write_decathlon(tmp_path)
    index = json.loads((tmp_path / "dataset.json").read_text())
    for channels in ({"0": "MRI"}, {"0": "CT", "1": "PET"}):
        (tmp_path / "dataset.json").write_text(json.dumps(index | {"modality": channels}))
        with pytest.raises(LayoutError, match=f"expected images of one channel, CT.*{list(channels.values())[-1]}"):
            LOADERS["decathlon"].survey(tmp_path)


@pytest.mark.parametrize("path", ["../elsewhere/case_0.nii.gz", "/etc/passwd"])
def test_decathlon_entries_that_leave_the_folder_are_refused(tmp_path: Path, path: str) -> None:
    write_decathlon(tmp_path)
    index = json.loads((tmp_path / "dataset.json").read_text())
    index["training"][0]["image"] = path
    (tmp_path / "dataset.json").write_text(json.dumps(index))
    with pytest.raises(LayoutError, match="lies outside the folder"):
        LOADERS["decathlon"].survey(tmp_path)


def test_a_folder_in_nnunet_form_is_read(tmp_path: Path) -> None:
    write_canonical(tmp_path / "imagesTr" / "liver_1_0000.nii.gz", body())
    write_canonical(tmp_path / "labelsTr" / "liver_1.nii.gz", label_map(2))
    index = {"channel_names": {"0": "CT"}, "file_ending": ".nii.gz", "numTraining": 1}
    index |= {"labels": {"background": 0, "liver": 1, "tumour": 2}}
    (tmp_path / "dataset.json").write_text(json.dumps(index))
    row = rows_of("decathlon", tmp_path)["liver_1"]
    labels = LOADERS["decathlon"].read_label(tmp_path, row, ["liver", "tumour"])
    np.testing.assert_array_equal(labels, label_map(2))


def test_decathlon_reads_metadata_and_both_forms_of_labels(tmp_path: Path) -> None:
    write_decathlon(tmp_path)
    index = json.loads((tmp_path / "dataset.json").read_text())
    samples = LOADERS["decathlon"].index(tmp_path)
    assert samples["scanner_group"].tolist()[:2] == ["A", "B"] and samples["has_label"].tolist() == [True, True, False]
    first = LOADERS["decathlon"].read_label(tmp_path, samples.iloc[1], ["Gland", "Cord"])
    index["labels"] = {"background": 0, "Gland": 3, "Cord": 1}
    (tmp_path / "dataset.json").write_text(json.dumps(index))
    np.testing.assert_array_equal(LOADERS["decathlon"].read_label(tmp_path, samples.iloc[1], ["Gland", "Cord"]), first)
    (tmp_path / "labelsTr" / "case_0.nii.gz").unlink()
    assert "labelsTr/case_0.nii.gz is not there" in LOADERS["decathlon"].survey(tmp_path)[1]["reason"].iloc[0]
    (tmp_path / "dataset.json").write_text("{}")
    with pytest.raises(LayoutError, match="no entry 'labels'"):
        LOADERS["decathlon"].index(tmp_path)


# --- every set


@pytest.mark.parametrize("name", sorted(CT_WRITERS))
def test_files_of_a_row_are_those_that_it_is_read_from(tmp_path: Path, name: str) -> None:
    root = CT_WRITERS[name](tmp_path)
    loader = LOADERS[name]
    for row in loader.index(root).to_dict("records"):
        files = loader.files(root, row)
        assert files and all(path.is_file() for path in files) and len(set(files)) == len(files)
        last = files[-1]
        content = last.read_bytes()
        last.write_bytes(content[: len(content) // 2])
        with pytest.raises(UnreadableImageError):
            loader.read_image(root, row)
            loader.read_label(root, row, list(load_manifest(name).labels))
        last.write_bytes(content)


@pytest.mark.parametrize("name", [name for name in PHANTOM_WRITERS if load_manifest(name).kind == "ct"])
def test_phantoms_have_the_layout_of_the_manifest_and_its_labels(tmp_path: Path, name: str) -> None:
    manifest = load_manifest(name)
    options = {"n_scans": 3, "pixel_mm": 8.0, "slice_mm": 20.0, "matrix": 54, "seed": 8}
    PHANTOM_WRITERS[name](tmp_path / manifest.folder, **options)
    root = locate(manifest, tmp_path)
    samples, left_out = index_samples(manifest, root)
    assert len(samples) == 3 and left_out.empty
    found = set()
    for row in samples.to_dict("records"):
        hu = LOADERS[name].read_image(root, row).hu
        assert hu.shape[1:] == (54, 54) and -1024 <= hu.min() < -950 and 200 < hu.max() <= 3071
        if row["has_label"] and manifest.labels:
            labels = LOADERS[name].read_label(root, row, manifest.structures)
            assert labels.shape == hu.shape
            found |= {manifest.structures[value - 1] for value in np.unique(labels) if value}
    if manifest.labels:
        assert found == set(manifest.labels)
    elif "labelled" in manifest.counts:
        assert not samples["has_label"].any() and manifest.counts["labelled"] == 0


def test_the_papers_seven_pretext_sets_have_manifest_loader_and_phantoms() -> None:
    profile = load_profile_pretext_sets("paper")
    assert sorted(profile) == sorted(PRETEXT_SETS)
    for name in PRETEXT_SETS:
        manifest = manifests()[name]
        assert manifest.loader == name and name in PHANTOM_WRITERS
        assert manifest.layout.verified.startswith("no"), "none of these has been read from its real files"


def load_profile_pretext_sets(name: str) -> list[str]:
    from ssrobust_lib.config import load_profile

    return [choice.set for choice in load_profile(name).data["organs"].pretext_sets]


def test_challenges_have_no_more_phantoms_than_published_cases(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sliver07: expected patient numbers below 20"):
        PHANTOM_WRITERS["sliver07"](tmp_path / "s", n_scans=1, first_patient=21, pixel_mm=12, slice_mm=40, matrix=32)


def test_unknown_ways_with_incomplete_scans_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unlabelled"):
        LOADERS["visceral"].index(write_corpora(tmp_path), incomplete="keep")
