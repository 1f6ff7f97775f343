"""CT phantoms: anatomy is complete and on its side, and what is written is read back."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssrobust_lib.datasets import LOADERS, VISCERAL_STRUCTURES
from ssrobust_lib.phantoms import ct, ct_challenges, ct_files, ct_scans
from ssrobust_lib.phantoms.ct_anatomy import EMBOLUS, FURTHER_LABELS, KIDNEY_TUMOUR, LABELS, LIVER_TUMOUR, build_parts
from ssrobust_lib.phantoms.ct_parts import draw_patient
from ssrobust_lib.phantoms.ct_thorax import draw_nodules
from ssrobust_lib.phantoms.sets import MARKER
from ssrobust_lib.registry import UnknownNameError

TINY = {"pixel_mm": 11.0, "slice_mm": 30.0, "matrix": 40, "seed": 5}


@pytest.fixture(scope="module")
def scans() -> dict[int, tuple[ct.Grid, np.ndarray, np.ndarray]]:
    """Complete scans of three patients on the default coarse grid; even ones with contrast agent."""
    out = {}
    for k in range(3):
        patient = draw_patient(21, "test", k)
        grid = ct.grid_over(patient, ct_scans.THORAX_ABDOMEN, pixel_mm=4.5, slice_mm=9.0, matrix=96)
        out[k] = (grid, *ct.render(patient, grid, ct.SOFT_KERNEL, "none" if k % 2 else "portal"))
    return out


def mean_hu(scan: tuple[ct.Grid, np.ndarray, np.ndarray], name: str) -> float:
    return float(np.median(scan[1][scan[2] == LABELS[name]]))


# Patients and rendering


@settings(max_examples=10, deadline=None)
@given(st.tuples(st.floats(-120, 120), st.floats(-80, 60), st.floats(-250, 300)), st.integers(0, 50))
def test_scanner_and_reference_coordinates_are_inverse(point: tuple[float, float, float], k: int) -> None:
    patient = draw_patient(1, "test", k)
    x, y, z = patient.to_scanner(point)
    back = patient.to_reference(*(np.array([v], np.float32) for v in (z, y, x)))
    assert np.allclose([float(v.item()) for v in back], point, atol=0.05)


def test_every_structure_is_in_every_complete_scan(scans: dict) -> None:
    for k, (grid, _, labels) in scans.items():
        count = np.bincount(labels.ravel(), minlength=21)
        assert len(count) == 21
        litre = count * np.prod(grid.spacing_mm) * 1e-6
        assert (count[1:] >= 12).all(), (k, dict(zip(LABELS, count[1:], strict=True)))
        for name, low, high in (
            ("liver", 0.7, 2.8),
            ("spleen", 0.03, 0.5),
            ("left_lung", 1, 5),
            ("right_kidney", 0.07, 0.4),
        ):
            assert low < litre[LABELS[name]] < high, (k, name)


def test_paired_structures_lie_on_their_sides(scans: dict) -> None:
    for _, _, labels in scans.values():
        for name in (structure.name for structure in VISCERAL_STRUCTURES if structure.name.startswith("right_")):
            right, left = (np.mean(np.nonzero(labels == LABELS[n])[2]) for n in (name, name.replace("right", "left")))
            assert right < left, name
        heights = [
            np.mean(np.nonzero(labels == LABELS[n])[0]) for n in ("urinary_bladder", "liver", "left_lung", "thyroid")
        ]
        assert heights == sorted(heights)
        depth = [np.mean(np.nonzero(labels == LABELS[n])[1]) for n in ("sternum", "aorta", "first_lumbar_vertebra")]
        assert depth == sorted(depth)


def test_attenuation_is_that_of_tissue(scans: dict) -> None:
    for k, scan in scans.items():
        contrast = k % 2 == 0
        ranges = {
            "left_lung": (-920, -740), "trachea": (-1010, -700), "left_psoas": (20, 90),
            "first_lumbar_vertebra": (120, 520),
            "liver": (65, 150) if contrast else (15, 85), "spleen": (80, 170) if contrast else (25, 70),
            "aorta": (130, 290) if contrast else (15, 60), "left_kidney": (110, 260) if contrast else (5, 55),
            "urinary_bladder": (-15, 45),
        }  # fmt: skip
        for name, (low, high) in ranges.items():
            assert low < mean_hu(scan, name) < high, (k, name, mean_hu(scan, name))


def test_a_scan_follows_from_its_stream_alone() -> None:
    grid = ct.grid_over(draw_patient(1, "a", 0), (-40, 60), pixel_mm=9, slice_mm=12, matrix=48)
    first, again, other_set, other = (
        ct.render(draw_patient(*stream), grid, ct.SHARP_KERNEL, "none")[0]
        for stream in ((1, "a", 0), (1, "a", 0), (1, "b", 0), (1, "a", 1))
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other_set) and not np.array_equal(first, other)


def test_slabs_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    patient = draw_patient(2, "slabs", 0)
    grid = ct.grid_over(patient, (-30, 60), pixel_mm=8, slice_mm=14, matrix=52)
    hu, labels = ct.render(patient, grid, ct.SOFT_KERNEL, "portal")
    monkeypatch.setattr(ct, "SLAB_VOXELS", 2 * 52 * 52)
    hu_slabs, labels_slabs = ct.render(patient, grid, ct.SOFT_KERNEL, "portal")
    assert np.array_equal(labels, labels_slabs)
    assert np.mean(np.abs(hu.astype(int) - hu_slabs) > 1) < 0.002


def test_anatomy_is_the_same_on_a_finer_grid() -> None:
    patient = draw_patient(3, "grids", 0)
    liver = []
    for step, matrix in ((8.0, 52), (4.0, 104)):
        grid = ct.grid_over(patient, (-60, 140), pixel_mm=step, slice_mm=step, matrix=matrix)
        labels = ct.render(patient, grid, ct.SOFT_KERNEL, "none")[1]
        liver.append((labels == LABELS["liver"]).sum() * step**3)
    assert liver[0] == pytest.approx(liver[1], rel=0.06)


def test_coverage_of_a_half_space() -> None:
    distance = np.array([-3, -1, 0, 1, 3], np.float32)[None, None, :] * np.ones((1, 2, 1), np.float32)
    assert np.allclose(ct.coverage(distance, (2.0, 4.0, 4.0))[0, 0], [1, 0.75, 0.5, 0.25, 0])
    across = (np.arange(5, dtype=np.float32) * 6 - 12)[:, None, None]
    assert np.allclose(ct.coverage(across, (6.0, 2.0, 2.0))[:, 0, 0], [1, 1, 0.5, 0, 0])


@pytest.mark.parametrize("shape", [(32, 32), (31, 33), (64, 40)])
def test_filtered_noise_keeps_unit_variance(shape: tuple[int, int]) -> None:
    white = np.random.default_rng(0).standard_normal((300, *shape))
    noise = np.fft.irfft2(np.fft.rfft2(white) * ct.noise_filter(shape, 1.0, 4.0), s=shape)
    assert noise.std() == pytest.approx(1, rel=0.02)
    beside = np.mean(noise[:, :, 1:] * noise[:, :, :-1])
    assert beside > 0.3  # grain wider than a pixel


def test_a_nodule_is_where_its_annotation_says() -> None:
    found = 0
    for k in range(12):
        patient = draw_patient(9, "nodules", k)
        for nodule in draw_nodules(patient)[:1]:
            x, y, z = patient.to_scanner(nodule.centre)
            grid = ct.Grid((5, 9, 9), (1.0, 1.0, 1.0), (z - 2, y - 4, x - 4))
            hu, _ = ct.render(patient, grid, ct.LUNG_KERNEL, "none", ("lung_nodule",))
            assert hu[2, 3:6, 3:6].mean() > -350, (k, nodule)
            found += 1
        if found == 2:
            return
    pytest.fail("no patient had a nodule")


def test_unknown_names_and_impossible_grids_are_refused() -> None:
    patient = draw_patient(1, "a", 0)
    with pytest.raises(UnknownNameError, match="portal"):
        build_parts(patient, "portall")
    with pytest.raises(UnknownNameError, match="kidney_tumour"):
        build_parts(patient, "none", ("kidney",))
    with pytest.raises(ValueError, match="positive"):
        ct.grid_over(patient, (0, 10), pixel_mm=0, slice_mm=1, matrix=4)
    grid = ct.grid_over(patient, (0, 10), pixel_mm=5, slice_mm=5, matrix=4)
    with pytest.raises(ValueError, match="curved"):
        ct.table_image(patient, grid, "round")


# Files


def test_visceral_layout_is_read_back(tmp_path: Path) -> None:
    root = ct_files.write_visceral_phantoms(
        tmp_path / "v", n_scans=3, incomplete=1, pixel_mm=6, slice_mm=16, matrix=72, seed=5
    )
    names = {path.name for path in root.rglob("*_CT*.nii.gz")}
    assert {"10000100_1_CTce_ThAb.nii.gz", "10000101_1_CT_wb.nii.gz"} <= names
    for stem in ("10000100_1_CTce_ThAb", "10000101_1_CT_wb"):
        ids = {int(name.split("_")[4]) for name in names if name.startswith(stem + "_")}
        assert ids == {structure.radlex_id for structure in VISCERAL_STRUCTURES}
    assert not any(name.startswith("10000102") and "_237_" in name for name in names)
    loader = LOADERS["visceral"]
    row = next(r for r in loader.index(root).to_dict("records") if "10000100" in r["sample_id"])
    labels = loader.read_label(root, row, [structure.name for structure in VISCERAL_STRUCTURES])
    volume = loader.read_image(root, row)
    patient = draw_patient(5, "visceral", 0)
    _, _, grid, _ = ct_scans.draw_scan(0, json.loads((root / MARKER).read_text()), ct_scans.THORAX_ABDOMEN)
    hu, expected = ct.render(patient, grid, ct.SOFT_KERNEL, "portal")
    assert np.array_equal(labels, expected) and np.array_equal(volume.hu, hu)
    assert np.allclose(volume.spacing_mm, grid.spacing_mm, rtol=1e-5)


def test_kits19_layout_has_the_published_axes(tmp_path: Path) -> None:
    import nibabel

    root = ct_files.write_kits19_phantoms(
        tmp_path / "k", n_scans=1, first_patient=3, pixel_mm=7, slice_mm=12, matrix=60, seed=5
    )
    image = nibabel.load(root / "data" / "case_00003" / "imaging.nii.gz")
    assert nibabel.aff2axcodes(image.affine) == ("I", "P", "L") and image.shape[1:] == (60, 60)
    assert [case["case_id"] for case in json.loads((root / "data" / "kits.json").read_text())] == ["case_00003"]
    loader = LOADERS["kits19"]
    row = loader.index(root).to_dict("records")[0]
    labels = loader.read_label(root, row, ["kidney", "tumour"])
    assert set(np.unique(labels)) == {0, 1, 2}
    lungs = loader.read_image(root, row).hu < -700
    assert lungs[-1, 20:40, 15:45].mean() > lungs[0, 20:40, 15:45].mean()  # the head's end is last


def test_luna16_and_lits_layouts_are_read_back(tmp_path: Path) -> None:
    luna = ct_files.write_luna16_phantoms(tmp_path / "luna", n_scans=1, **TINY)
    assert sorted(path.name for path in luna.glob("subset*")) == sorted(f"subset{i}" for i in range(10))
    assert (luna / "annotations.csv").read_text().startswith("seriesuid,coordX,coordY,coordZ,diameter_mm\n")
    row = LOADERS["luna16"].index(luna).to_dict("records")[0]
    assert LOADERS["luna16"].read_image(luna, row).hu.shape[1:] == (40, 40)
    lits = ct_files.write_lits_phantoms(tmp_path / "lits", n_scans=2, **TINY)
    assert sorted(path.name for path in lits.glob("*.nii")) == [
        "segmentation-0.nii", "segmentation-1.nii", "volume-0.nii", "volume-1.nii",
    ]  # fmt: skip
    for row in LOADERS["lits"].index(lits).to_dict("records"):
        bones = np.nonzero(LOADERS["lits"].read_image(lits, row).hu > 250)
        assert np.mean(bones[1]) > 20, "the spine lies at the back, whichever way the rows are stored"


def test_lesions_have_labels_of_their_own() -> None:
    patient = draw_patient(5, "lits", 1)
    labels = set()
    for k in range(4):
        patient = draw_patient(5, "lesions", k)
        grid = ct.grid_over(patient, (-110, 130), pixel_mm=6, slice_mm=8, matrix=60)
        labels |= set(
            np.unique(ct.render(patient, grid, ct.SOFT_KERNEL, "portal", ("kidney_tumour", "liver_tumour"))[1])
        )
    assert {KIDNEY_TUMOUR, LIVER_TUMOUR} <= labels


def test_emboli_are_dark_in_bright_pulmonary_arteries() -> None:
    for k in range(3):
        patient = draw_patient(5, "emboli", k)
        grid = ct.grid_over(patient, (165, 225), pixel_mm=2.5, slice_mm=4, matrix=160)
        hu, labels = ct.render(patient, grid, ct.SOFT_KERNEL, "pulmonary", ("pulmonary_embolus",))
        embolus = labels == EMBOLUS
        assert embolus.sum() >= 5 and np.median(hu[embolus]) < 140
        assert np.percentile(hu, 99.5) > 180, "contrast agent in the arteries"


def test_further_structures_are_labelled_where_asked_and_change_nothing_else() -> None:
    patient = draw_patient(5, "further", 0)
    grid = ct.grid_over(patient, ct_scans.LIVER, pixel_mm=6, slice_mm=10, matrix=64)
    hu, labels = ct.render(patient, grid, ct.SOFT_KERNEL, "portal")
    hu_too, labels_too = ct.render(patient, grid, ct.SOFT_KERNEL, "portal", further=True)
    assert np.array_equal(hu, hu_too) and labels.max() <= len(LABELS)
    assert set(FURTHER_LABELS.values()) <= set(np.unique(labels_too))
    same = labels_too <= len(LABELS)
    assert np.array_equal(labels[same], labels_too[same])


def test_dicom_phantoms_hold_the_rendered_scan_whatever_the_order_of_names(tmp_path: Path) -> None:
    root = ct_challenges.write_chaos_phantoms(tmp_path / "chaos", n_scans=3, **TINY)
    options = json.loads((root / MARKER).read_text())
    rows = {row["sample_id"]: row for row in LOADERS["chaos"].index(root).to_dict("records")}
    for index, name in ((0, "chaos/train_1"), (2, "chaos/train_2")):  # named from the head down, and upwards
        _, patient, grid, _ = ct_scans.draw_scan(index, options, ct_scans.LIVER)
        hu, labels = ct.render(patient, grid, ct.SHARP_KERNEL, "portal")
        volume = LOADERS["chaos"].read_image(root, rows[name])
        assert np.array_equal(volume.hu, hu)
        assert np.allclose(volume.spacing_mm, grid.spacing_mm, rtol=1e-4)
        liver = LOADERS["chaos"].read_label(root, rows[name], ["liver"])
        assert np.array_equal(liver == 1, labels == LABELS["liver"])


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nibabel

    def full(image: object, path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(nibabel, "save", full)
    with pytest.raises(OSError, match="volume-0.nii") as caught:
        ct_files.write_lits_phantoms(tmp_path / "lits", n_scans=1, **TINY)
    assert caught.value.errno == errno.ENOSPC and not (tmp_path / "lits").exists()


def test_impossible_sets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="incomplete"):
        ct_files.write_visceral_phantoms(tmp_path / "v", n_scans=1, incomplete=2)
    with pytest.raises(ValueError, match="n_scans"):
        ct_files.write_kits19_phantoms(tmp_path / "k", n_scans=0)
    with pytest.raises(ValueError, match="matrix"):
        ct_files.write_lits_phantoms(tmp_path / "l", n_scans=1, matrix=0)
