"""One exposure under two names is found, two patients are not: on made-up images, and on real ones if there."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_images import cropped, scan, scenes, small
from real_images import REAL, needs_real_images

from ssrobust_lib.datasets.near_duplicates import (
    THRESHOLDS,
    Selection,
    find_near_duplicate_scans,
    find_near_duplicates,
    work_side,
)
from ssrobust_lib.preprocessing import XRaySettings, preprocess_xray


def as_jpeg(image: np.ndarray, quality: int = 30) -> np.ndarray:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.rint(image * 255).astype(np.uint8)).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream), np.float32) / 255


COPIES = {
    "identical": lambda image: image,
    "half the size": lambda image: image.reshape(64, 2, 64, 2).mean(axis=(1, 3)),
    "jpeg": as_jpeg,
    "mirrored": lambda image: image[:, ::-1],
    "cropped": lambda image: cropped(image, 0.03, 0.03, 0.03, 0.03),
    "cropped unevenly": lambda image: cropped(image, 0.05, 0.01, 0.0, 0.04),
    "other contrast": lambda image: 0.2 + 0.5 * image,
}


@pytest.fixture(scope="module")
def originals():
    return scenes(60)


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_matched_with_its_original_and_with_nothing_else(originals, kind):
    chosen = [3, 17, 42]
    queries = small([COPIES[kind](originals[k]) for k in chosen])
    pairs = find_near_duplicates(queries, small(originals), [-1, -2, -3], np.arange(60))
    assert pairs[["query", "pool"]].to_numpy().tolist() == [[0, 3], [1, 17], [2, 42]]
    assert (pairs["correlation"] >= THRESHOLDS[64]).all()
    assert pairs["mirrored"].tolist() == [kind == "mirrored"] * 3


def test_different_images_are_no_pair(originals):
    pool = small(originals)
    assert find_near_duplicates(pool, pool, np.arange(60), np.arange(60)).empty


def test_images_of_one_group_are_not_compared(originals):
    pool = small(originals[:8])
    groups = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    queries = pool[[0, 2]]
    assert find_near_duplicates(queries, pool, [0, 1], groups).empty
    pairs = find_near_duplicates(queries, pool, [9, 1], groups)
    assert pairs[["query", "pool"]].to_numpy().tolist() == [[0, 0]]


@settings(max_examples=10, deadline=None)
@given(gain=st.floats(0.1, 1), offset=st.floats(0, 1))
def test_gain_and_offset_do_not_matter(gain, offset):
    images = small(scenes(4, seed=2))
    changed = (gain * images[:1] + offset * (1 - gain)).astype(np.float32)
    pairs = find_near_duplicates(changed, images, [-1], np.arange(4))
    assert pairs[["query", "pool"]].to_numpy().tolist() == [[0, 0]]
    assert pairs["correlation"].iloc[0] == pytest.approx(1, abs=1e-3)


def test_an_image_without_content_matches_nothing():
    flat = np.full((3, 64, 64), 0.4, np.float32)
    assert find_near_duplicates(flat[:1], flat, [-1], [0, 1, 2]).empty


def test_nothing_to_compare_gives_an_empty_table():
    none, some = np.empty((0, 64, 64), np.float32), np.zeros((2, 64, 64), np.float32)
    for queries, pool in ((none, some), (some, none)):
        pairs = find_near_duplicates(queries, pool, np.arange(len(queries)), np.arange(len(pool)))
        assert pairs.empty and list(pairs) == ["query", "pool", "correlation", "mirrored"]


def test_what_cannot_be_compared_is_refused():
    images = np.zeros((2, 64, 64), np.float32)
    with pytest.raises(ValueError, match="one group for each of 2 images"):
        find_near_duplicates(images, images, [0], [0, 1])
    with pytest.raises(ValueError, match="expected square images"):
        find_near_duplicates(images[:, :32], images, [0, 1], [0, 1])
    with pytest.raises(ValueError, match="images of one size"):
        find_near_duplicates(images, np.zeros((2, 48, 48), np.float32), [0, 1], [0, 1])
    with pytest.raises(ValueError, match="at least 32 pixels, got 31"):
        work_side(31)
    assert [work_side(side) for side in (32, 47, 48, 63, 64, 512)] == [32, 32, 48, 48, 64, 64]


def test_a_selection_reads_only_what_is_asked_for(originals):
    class Watched(np.ndarray):
        asked: list = []  # emptied below

        def __getitem__(self, key):
            type(self).asked.append(np.size(key))
            return np.asarray(self)[key]

    images = small(originals).view(Watched)
    Watched.asked = []
    chosen = Selection(images, np.array([42, 3]))
    assert chosen.shape == (2, 64, 64) and len(chosen) == 2 and not Watched.asked
    np.testing.assert_array_equal(chosen[0:1][0], small(originals)[42])
    assert Watched.asked == [1]
    pairs = find_near_duplicates(Selection(images, np.array([3])), chosen, [-1], [0, 1])
    assert pairs["pool"].tolist() == [1]


def test_a_scan_stored_anew_is_found_by_its_slices():
    scans = {f"s{k}": scan(24, k) for k in range(6)}
    between = (scans["s2"][1:] + scans["s2"][:-1]) / 2
    noise = np.random.default_rng(1).normal(0, 0.01, between[4:].shape)
    scans["copy"] = np.roll(between[4:] + noise, (1, 2), axis=(1, 2)).astype(np.float32)
    slices = np.concatenate(list(scans.values()))
    names = np.repeat(list(scans), [len(part) for part in scans.values()])
    groups = {name: k for k, name in enumerate(scans)}
    pool = [name for name in scans if name != "copy"]
    pairs = find_near_duplicate_scans(slices, names, ["copy", "s0"], pool, groups)
    assert pairs[["query", "pool"]].to_numpy().tolist() == [["copy", "s2"]]
    assert find_near_duplicate_scans(slices, names, ["copy"], pool, groups | {"copy": groups["s2"]}).empty
    assert find_near_duplicate_scans(slices, names, [], pool, groups).empty


@needs_real_images
@pytest.mark.slow
def test_rsna_and_nih_share_an_image_and_no_false_alarm_is_raised_on_either():
    from ssrobust_lib.datasets import LOADERS, index_samples
    from ssrobust_lib.datasets.manifest import load_manifest, locate

    images, names, patients = [], [], []
    for name in ("rsna", "nih"):
        manifest = load_manifest(name)
        root = locate(manifest, Path(REAL))
        samples, _ = index_samples(manifest, root)
        for _, row in samples.iterrows():
            pixels = LOADERS[name].read_image(root, row).pixels
            images.append(preprocess_xray(pixels, XRaySettings(64)).astype(np.float16))
            names.append(row["sample_id"])
            patients.append(row["patient_id"])
    groups = np.unique(patients, return_inverse=True)[1]
    pairs = find_near_duplicates(np.stack(images), np.stack(images), groups, groups)
    found = {tuple(sorted((names[a], names[b]))) for a, b in zip(pairs["query"], pairs["pool"], strict=True)}
    same_image = ("nih/00002658_002", "rsna/71d57bca-9142-4f4d-b35d-7c6d1da6ed6c")
    same_person = ("nih/00001543_003", "rsna/6f6eea6d-aeca-48ad-a730-ba52981111cd")
    assert same_image in found and found <= {same_image, same_person}
