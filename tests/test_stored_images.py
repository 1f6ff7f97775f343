"""Stored images: several files are one array, which is indexed as an array is and leaves the files alone."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssrobust_lib.datasets import image_files
from ssrobust_lib.datasets.stored_images import NOWHERE, StoredImages


@pytest.fixture(scope="module")
def two_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], np.ndarray]:
    """Two files of 4 and 3 images of 8 x 8, and all of them as an array with one of zeros at the end."""
    pixels = np.random.default_rng(0).random((8, 8, 8)).astype(np.float16)
    pixels[7] = 0
    paths = []
    for number, part in enumerate((pixels[:4], pixels[4:7])):
        folder = tmp_path_factory.mktemp(f"set{number}")
        image_files.create_files(folder, 8, with_labels=False)
        image_files.write_at(folder / "images.npy", 0, part, 8)
        paths.append(folder / "images.npy")
    return paths, pixels


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_indexing_is_that_of_an_array(two_files: tuple, data: st.DataObject) -> None:
    paths, pixels = two_files
    order = np.array(data.draw(st.permutations(range(8))))[: data.draw(st.integers(1, 8))]
    file = np.array([0] * 4 + [1] * 3 + [NOWHERE])[order]
    images = StoredImages(paths, file, np.array([0, 1, 2, 3, 0, 1, 2, 0])[order], 8)
    expected = pixels[order]
    n = len(order)
    assert images.shape == expected.shape and len(images) == n and images.dtype == np.float16
    rows = np.array(data.draw(st.lists(st.integers(-n, n - 1), max_size=12)), dtype=int)
    for key in (rows, slice(*sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n))))), rows % 2 == 0):
        if isinstance(key, np.ndarray) and key.dtype.kind == "b":
            key = np.resize(key, n) if key.size else np.zeros(n, bool)
        np.testing.assert_array_equal(images[key], expected[key])
    np.testing.assert_array_equal(images[n - 1], expected[n - 1])
    np.testing.assert_array_equal(images[:, 2:5], expected[:, 2:5])
    np.testing.assert_array_equal(np.asarray(pickle.loads(pickle.dumps(images))), expected)


def test_images_that_a_file_does_not_hold_are_refused(two_files: tuple) -> None:
    with pytest.raises(ValueError, match="holds 4 images, expected at least 5"):
        StoredImages(two_files[0][:1], np.zeros(1), np.array([4]), 8)


def test_reading_gives_arrays_that_may_be_written_and_leave_the_file_alone(two_files: tuple) -> None:
    paths, pixels = two_files
    images = StoredImages(paths[:1], np.zeros(4), np.arange(4), 8)
    images[np.array([0, 1])][:] = 1
    images[0][:] = 1
    images.release()
    np.testing.assert_array_equal(images[:], pixels[:4])
