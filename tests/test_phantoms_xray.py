"""Chest X-ray phantoms: what is drawn, how it is projected, how it is written, and whether it looks like the real."""

import dataclasses
import errno
import json
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from real_images import REAL, needs_real_images

from ssrobust_lib.phantoms import realism, xray_files
from ssrobust_lib.phantoms.xray import draw_patient, render
from ssrobust_lib.phantoms.xray_anatomy import project_thorax
from ssrobust_lib.phantoms.xray_findings import ABNORMAL, CLASSES, NORMAL, OPACITY, Findings
from ssrobust_lib.phantoms.xray_geometry import add_ellipsoid, add_rod, blurred, cloud, make_plane, outer_size, tilted
from ssrobust_lib.phantoms.xray_lungs import deposit
from ssrobust_lib.seeds import rng

SEED = 5


@pytest.fixture(scope="module")
def population():
    """160 patients and their films at 128 pixels."""
    patients = [draw_patient(SEED, k) for k in range(160)]
    return patients, [render(patient, SEED, 128) for patient in patients]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantoms") / "rsna"
    xray_files.write_rsna_phantoms(root, n_patients=24, size=96, seed=SEED)
    return root


# Geometry


def test_solids_have_their_volume():
    plane = make_plane(200, 1.0, (3.0, -5.0))
    ball, rod = plane.zeros(), plane.zeros()
    add_ellipsoid(ball, plane, (10.0, 4.0), (30.0, 20.0), 50.0, tilt=0.6)
    assert ball.sum() == pytest.approx(4 / 3 * np.pi * 30 * 20 * 25, rel=0.01)
    add_rod(rod, plane, (-60.0, -20.0), (50.0, 30.0), 8.0)
    length = np.hypot(110, 50)
    assert rod.sum() == pytest.approx(np.pi * 64 * length + 4 / 3 * np.pi * 512, rel=0.01)
    points = rng(0, "points").uniform(-60, 60, (2, 500))
    assert deposit(plane, *points, np.ones(500), 2.0).sum() == pytest.approx(500, rel=1e-3)


def test_wide_blur_keeps_a_constant_and_matches_a_narrow_one_done_twice():
    image = cloud(rng(1), make_plane(128, 3.0, (0, 0)), scale=60.0, power=4.0)
    assert blurred(np.full((100, 100), 0.3, np.float32), 20.0) == pytest.approx(0.3, abs=1e-5)
    twice = blurred(blurred(image, 2.9), 2.9)
    assert np.abs(blurred(image, 2.9 * 2**0.5) - twice)[20:-20, 20:-20].max() < 0.05 * image.std()


def test_tilt_of_nothing_is_a_crop_and_a_small_map_is_refused():
    image = cloud(rng(2), make_plane(68, 3.0, (0, 0)), scale=60.0, power=4.0)
    assert tilted(image, 0.0, 64) == pytest.approx(image[2:-2, 2:-2], abs=1e-5)
    with pytest.raises(ValueError, match="expected at least"):
        tilted(image, 0.3, 64)
    assert outer_size(100, 0.1) >= 100 * (np.cos(0.1) + np.sin(0.1))


def test_cloud_is_standard_and_the_same_at_every_size():
    fine, coarse = (cloud(rng(3), make_plane(n, 400 / n, (0, 0)), scale=60.0, power=6.0, modes=64) for n in (256, 64))
    assert abs(fine.mean()) < 1e-4
    assert np.mean([cloud(rng(k), make_plane(64, 6.0, (0, 0)), scale=20.0, power=5.0).std() for k in range(30)]) == (
        pytest.approx(1, abs=0.1)
    )
    reduced = fine.reshape(64, 4, 64, 4).mean(axis=(1, 3))
    assert np.corrcoef(reduced.ravel(), coarse.ravel())[0, 1] > 0.98


# Patients


def test_any_run_of_patients_has_the_prevalence_of_rsna():
    for first in (0, 300):
        counts = pd.Series([draw_patient(SEED, first + k).category for k in range(200)]).value_counts() / 200
        assert [counts[name] for name in CLASSES] == pytest.approx([0.225, 0.443, 0.332], abs=0.02)


def test_findings_follow_the_class_and_nothing_else_does(population):
    patients, _ = population
    for patient in patients:
        assert bool(patient.findings.foci) == (patient.category == OPACITY) == patient.positive
        assert not (patient.category == NORMAL and patient.findings.lookalikes)
        assert not (patient.category == ABNORMAL and not patient.findings.lookalikes)
    many = [draw_patient(SEED, k) for k in range(2000)]
    positive = np.array([p.positive for p in many])
    for value in (
        [p.view == "AP" for p in many],
        [p.sex == "F" for p in many],
        [p.exposure.marker == "L" for p in many],
        [p.exposure.marker == "R" for p in many],
        [any(p.exposure.margins) for p in many],
        [p.exposure.dark > 0.3 for p in many],
    ):
        share = np.asarray(value, dtype=float)
        assert abs(share[positive].mean() - share[~positive].mean()) < 0.09  # 3.5 standard errors


def test_patients_vary_and_repeat():
    first, again, other = draw_patient(SEED, 3), draw_patient(SEED, 3), draw_patient(SEED, 4)
    assert first == again
    assert first.anatomy != other.anatomy
    assert draw_patient(SEED + 1, 3).anatomy != first.anatomy
    assert np.array_equal(render(first, SEED, 64).image, render(again, SEED, 64).image)


# Projection


def test_heart_lies_left_and_lungs_are_airy(population):
    patients, _ = population
    left_sided = []
    for patient in patients[:20]:
        a = patient.anatomy
        plane = make_plane(128, 3.4, (0.0, 0.0))
        thorax = project_thorax(a, plane)
        assert min(thorax.soft.min(), thorax.lung.min(), thorax.bone.min()) >= 0
        low = (plane.y[:, 0] > a.hilum + 20) & (plane.y[:, 0] < min(a.domes) - 5)
        heart = (thorax.chest - thorax.lung)[low]
        left_sided.append(heart[:, plane.x[0] > 12].sum() > heart[:, plane.x[0] < -12].sum())
        litres = thorax.lung.sum() * plane.pixel**2 / 1e6
        assert 1.5 < litres < 9.5
    assert sum(left_sided) >= 18


def test_same_anatomy_at_every_size():
    patient = draw_patient(SEED, next(k for k in range(50) if draw_patient(SEED, k).positive))
    small, large = render(patient, SEED, 128), render(patient, SEED, 512)
    reduced = large.image.reshape(128, 4, 128, 4).mean(axis=(1, 3))
    assert np.corrcoef(reduced.ravel(), small.image.ravel())[0, 1] > 0.98
    assert len(small.boxes) == len(large.boxes) > 0
    assert np.asarray(large.boxes) / 4 == pytest.approx(np.asarray(small.boxes), abs=6)
    assert small.pixel_mm == pytest.approx(4 * large.pixel_mm)


def test_pneumonia_brightens_its_box(population):
    patients, films = population
    gains = []
    for patient, film in zip(patients, films, strict=True):
        if not film.boxes:
            continue
        healthy = dataclasses.replace(patient, findings=Findings((), (), False))
        without = render(healthy, SEED, 128).image
        x, y, w, h = film.boxes[0]
        gains.append(float((film.image - without)[y : y + h, x : x + w].mean()))
    assert len(gains) > 20
    assert np.mean(np.array(gains) > 0) > 0.95 and np.mean(gains) > 0.02


def test_boxes_lie_on_the_film_and_belong_to_positives(population):
    patients, films = population
    for patient, film in zip(patients, films, strict=True):
        assert bool(film.boxes) == patient.positive
        for x, y, w, h in film.boxes:
            assert x >= 0 and y >= 0 and w > 0 and h > 0 and x + w <= 128 and y + h <= 128


@pytest.mark.parametrize("size", [8, 31])
def test_tiny_sizes_are_refused(size):
    with pytest.raises(ValueError, match="at least 32"):
        render(draw_patient(SEED, 0), SEED, size)


# Realism


def test_slope_of_a_known_spectrum():
    # The cloud's power per mode falls as 1 / f^3 beyond its scale, so the ring mean does too.
    plane = make_plane(256, 1.0, (0, 0))
    slopes = [realism.spectrum_slope(cloud(rng(k), plane, scale=2000.0, power=3.0)) for k in range(8)]
    assert np.mean(slopes) == pytest.approx(-3.0, abs=0.15)


def test_brightness_auroc_knows_both_directions_ties_and_bad_input():
    assert realism.brightness_auroc([0, 1, 2, 3], [0, 0, 1, 1]) == 1
    assert realism.brightness_auroc([0, 1, 2, 3], [1, 1, 0, 0]) == 1
    assert realism.brightness_auroc([5, 5, 5, 5], [1, 0, 0, 1]) == 0.5
    with pytest.raises(ValueError, match="both classes"):
        realism.brightness_auroc([1, 2], [1, 1])
    with pytest.raises(ValueError, match="one label per mean"):
        realism.brightness_auroc([1, 2], [1])


def test_measures_refuse_what_they_cannot_measure():
    with pytest.raises(ValueError, match="square"):
        realism.measure([np.zeros((20, 30))])
    with pytest.raises(ValueError, match="contrast"):
        realism.spectrum_slope(np.ones((64, 64)))
    with pytest.raises(ValueError, match="at least 32"):
        realism.spectrum_slope(np.ones((16, 16)))


def test_phantoms_lie_within_the_range_of_real_images():
    measures = realism.measure([render(draw_patient(SEED, k), SEED, 256).image for k in range(60)])
    within = realism.share_within(measures, realism.real_envelope())
    assert all(share >= 0.95 for share in within.values()), within
    for name, middle in zip(realism.MEASURES, np.median(measures, axis=0), strict=True):
        low, high = realism.REAL_RANGES["rsna"][name]
        assert low <= middle <= high


def test_mean_brightness_does_not_tell_pneumonia():
    patients = [draw_patient(SEED, k) for k in range(500)]
    means = [render(patient, SEED, 32).image.mean() for patient in patients]
    assert realism.brightness_auroc(means, [p.positive for p in patients]) < 0.65


@needs_real_images
@pytest.mark.slow
def test_recorded_ranges_are_those_of_the_real_images():
    from PIL import Image

    sets = {
        "rsna": sorted(Path(REAL, "rsna").glob("stage_2_train_images/*.dcm")),
        "nih": sorted(Path(REAL, "nih").glob("images/*.png")),
        "kermany": sorted(Path(REAL, "kermany").glob("chest_xray/*/*/*.jpeg"))[::10],
    }
    if not any(sets.values()):
        pytest.skip(f"no X-ray set in {REAL}")
    for name, files in sets.items():
        if len(files) != {"rsna": 240, "nih": 621, "kermany": 584}[name]:
            continue  # another selection of the set has other percentiles
        images = []
        for file in files:
            if file.suffix == ".dcm":
                from ssrobust_lib.datasets.formats import read_dicom

                images.append(realism.reduced(read_dicom(file).pixels))
            else:
                images.append(np.asarray(Image.open(file).convert("L"), dtype=np.float32) / 255)
        found = realism.reference_range(realism.measure(images))
        for measure, bounds in found.items():
            assert bounds == pytest.approx(realism.REAL_RANGES[name][measure], abs=0.01), (name, measure)


# Files


def test_layout_and_tables_are_those_of_rsna(written):
    labels = pd.read_csv(written / xray_files.LABELS)
    classes = pd.read_csv(written / xray_files.CLASSES)
    assert list(labels) == ["patientId", "x", "y", "width", "height", "Target"]
    assert list(classes) == ["patientId", "class"] and set(classes["class"]) <= set(CLASSES)
    assert (labels["patientId"] == classes["patientId"]).all()
    files = {path.stem for path in (written / xray_files.IMAGES).iterdir()}
    assert files == set(labels["patientId"]) and len(files) == 24
    assert all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", f) for f in files)
    positive = labels["Target"] == 1
    assert labels.loc[positive, "width"].notna().all() and labels.loc[~positive, "width"].isna().all()
    assert not labels.loc[~positive, "patientId"].duplicated().any()
    assert (positive == (classes["class"] == OPACITY)).all()
    assert labels[positive].groupby("patientId").size().max() > 1


def test_loader_of_the_real_set_reads_them(written):
    from ssrobust_lib.datasets import LOADERS

    loader = LOADERS["rsna"]
    index = loader.index(written)
    assert len(index) == 24 and index["label"].sum() == sum(draw_patient(SEED, k).positive for k in range(24))
    by_id = {xray_files.patient_id(SEED, k): k for k in range(24)}
    for _, row in index.head(4).iterrows():
        pixels = loader.read_image(written, row).pixels
        drawn = render(draw_patient(SEED, by_id[Path(row["image"]).stem]), SEED, 96).image
        assert pixels.shape == (96, 96) and pixels.dtype == np.float32
        assert np.abs(pixels - drawn).mean() < 0.01  # what JPEG takes away


def test_tags_are_those_of_the_published_files(written):
    from pydicom import dcmread

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = dcmread(next((written / xray_files.IMAGES).iterdir()))
        assert data.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.50"
        assert data.PatientAge.isdigit() and data.PatientSex in "FM" and data.ViewPosition in ("AP", "PA")
        assert (data.Rows, data.Columns, data.BitsStored, data.SamplesPerPixel) == (96, 96, 8, 1)
        assert data.PhotometricInterpretation == "MONOCHROME2" and data.Modality == "CR"


def test_writing_warns_of_nothing(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        xray_files.write_rsna_phantoms(tmp_path / "set", n_patients=1, size=64, seed=1)


def test_a_patient_does_not_depend_on_the_set_and_a_whole_set_is_left_alone(written, tmp_path):
    root = tmp_path / "set"
    seen = []
    xray_files.write_rsna_phantoms(root, n_patients=3, size=96, seed=SEED, progress=lambda d, n: seen.append((d, n)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    for file in (root / xray_files.IMAGES).iterdir():
        assert file.read_bytes() == (written / xray_files.IMAGES / file.name).read_bytes()
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    xray_files.write_rsna_phantoms(root, n_patients=3, size=96, seed=SEED, progress=lambda d, n: seen.append((d, n)))
    assert len(seen) == 3 and before == {path: path.stat().st_mtime_ns for path in root.rglob("*")}


def test_other_parameters_are_never_mistaken_for_the_asked_ones(tmp_path):
    root = tmp_path / "set"
    xray_files.write_rsna_phantoms(root, n_patients=2, size=64, seed=1)
    xray_files.write_rsna_phantoms(root, n_patients=2, size=64, seed=2)
    assert {f.stem for f in (root / xray_files.IMAGES).iterdir()} == {xray_files.patient_id(2, k) for k in range(2)}
    assert json.loads((root / "phantoms.json").read_text())["seed"] == 2


def test_a_killed_run_leaves_no_set_and_the_next_one_goes_on(tmp_path):
    root, done = tmp_path / "set", []

    def stop(count, _total):
        done.append(count)
        if count == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        xray_files.write_rsna_phantoms(root, n_patients=4, size=64, seed=1, progress=stop)
    assert not root.exists()
    done.clear()
    xray_files.write_rsna_phantoms(root, n_patients=4, size=64, seed=1, progress=lambda d, n: done.append(d))
    assert done == [3, 4] and len(list((root / xray_files.IMAGES).iterdir())) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_real_data_are_never_overwritten(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="set"):
        xray_files.write_rsna_phantoms(tmp_path / "set", n_patients=1, size=64, seed=1)
    assert (tmp_path / "set" / "mine.txt").read_text() == "keep"


def test_a_full_disk_is_reported_with_the_path(tmp_path, monkeypatch):
    def full(self, data):
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"(?s)space.*set\.partial"):
        xray_files.write_rsna_phantoms(tmp_path / "set", n_patients=1, size=64, seed=1)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(("wrong", "says"), [({"n_patients": 0}, "n_patients"), ({"size": 16}, "size")])
def test_impossible_sets_are_refused(tmp_path, wrong, says):
    with pytest.raises(ValueError, match=says):
        xray_files.write_rsna_phantoms(tmp_path / "set", **{"n_patients": 2, "size": 64, "seed": 1, **wrong})
