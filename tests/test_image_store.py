"""Decoded images are shared, found again by content, and kept through kills; only what is new or changed is decoded."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from layouts import KERMANY, write_decathlon, write_pictures, write_rsna
from PIL import Image

from ssrobust_lib.datasets import LOADERS, image_store
from ssrobust_lib.datasets.cache import (
    CacheError,
    MissingImagesError,
    build_cache,
    open_cache,
    prepare_set,
    problems_of,
    restore_cache,
)
from ssrobust_lib.datasets.changed_files import changed_files
from ssrobust_lib.datasets.decoding import decode_sample
from ssrobust_lib.datasets.image_store import ImageStore, open_store
from ssrobust_lib.datasets.loader import Source
from ssrobust_lib.datasets.manifest import load_manifest
from ssrobust_lib.preprocessing import CTSettings, XRaySettings
from ssrobust_lib.scan_voxels import labels_by_cell

SMALL = XRaySettings(16)
SMALL_CT = CTSettings(size=16, pixel_mm=4.0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "kermany", KERMANY)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the images that have been decoded, in their order."""
    names: list[str] = []

    def watched(row, *rest):
        names.append(row["image"])
        return decode_sample(row, *rest)

    monkeypatch.setattr(image_store, "decode_sample", watched)
    return names


def ensure(root: Path, shared: Path, loader: str = "kermany", **options) -> tuple[ImageStore, list, dict]:
    source = Source(loader, root)
    store = open_store(shared, source, SMALL)
    return store, *store.ensure(LOADERS[loader].index(root), source, SMALL, **options)


def build(root: Path, folder: Path, **options) -> pd.DataFrame:
    samples = LOADERS["kermany"].index(root)
    shared = options.pop("shared", folder.parent / "shared")
    return build_cache(
        samples, folder, {"kermany": Source("kermany", root)}, SMALL, shared=shared, progress=False, **options
    )


def settle(root: Path) -> None:
    """Give all files a time of change that is long past, so that their stamps are believed."""
    for path in root.rglob("*"):
        os.utime(path, (1e9, 1e9))


def test_a_second_study_decodes_nothing_and_opens_no_file(tmp_path: Path, root: Path, decoded: list) -> None:
    settle(root)
    build(root, tmp_path / "one")
    assert len(decoded) == 5
    for path in root.rglob("*.jpeg"):  # what would be opened could not be read, and its stamp stays
        about = path.stat()
        path.write_bytes(bytes(about.st_size))
        os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    build(root, tmp_path / "two")
    assert len(decoded) == 5
    np.testing.assert_array_equal(open_cache(tmp_path / "one").images[:], open_cache(tmp_path / "two").images[:])


@pytest.mark.parametrize("old", [True, False])
def test_a_changed_file_of_the_same_size_is_decoded_anew_and_it_alone(
    tmp_path: Path, root: Path, decoded: list, old: bool
) -> None:
    changed = root / KERMANY[2]
    changed.write_bytes(changed.read_bytes() + bytes(4000))
    if old:
        settle(root)
    ensure(root, tmp_path)
    before = changed.stat()
    write_pictures(tmp_path / "other", [KERMANY[3]])
    content = (tmp_path / "other" / KERMANY[3]).read_bytes()
    changed.write_bytes(content + bytes(before.st_size - len(content)))
    assert changed.stat().st_size == before.st_size
    decoded.clear()
    store, contents, problems = ensure(root, tmp_path)
    assert decoded == [KERMANY[2]] and not problems and len(store) == 6 and None not in contents


def test_touched_copied_or_moved_files_are_the_same(tmp_path: Path, root: Path, decoded: list) -> None:
    _, before, _ = ensure(root, tmp_path / "shared")
    for path in root.rglob("*.jpeg"):
        os.utime(path)
    assert ensure(root, tmp_path / "shared")[1] == before
    root.rename(tmp_path / "elsewhere")
    assert ensure(tmp_path / "elsewhere", tmp_path / "shared")[1] == before
    assert len(decoded) == 5


def test_added_files_join_and_removed_ones_leave(tmp_path: Path, root: Path, decoded: list) -> None:
    build(root, tmp_path / "before")
    (root / KERMANY[0]).unlink()
    write_pictures(root, [KERMANY[0].replace("0115", "0999")])
    build(root, tmp_path / "after")
    assert decoded[5:] == [KERMANY[0].replace("0115", "0999")]
    after = open_cache(tmp_path / "after")
    assert len(after.images) == 5 and not after.rows["sample_id"].str.contains("IM-0115-0001").all()
    assert Path(KERMANY[0]).stem not in set(after.rows["sample_id"].str.removeprefix("kermany/"))


def test_a_file_that_is_gone_is_a_problem_by_name(tmp_path: Path, root: Path) -> None:
    samples = LOADERS["kermany"].index(root)
    (root / samples["image"][1]).unlink()
    source = Source("kermany", root)
    contents, problems = open_store(tmp_path, source, SMALL).ensure(samples, source, SMALL)
    assert [content is None for content in contents] == [False, True, False, False, False]
    assert Path(samples["image"][1]).name in problems[1] and "No such file" in problems[1]


def test_files_outside_the_sets_folder_are_decoded_and_their_changes_noticed(tmp_path: Path) -> None:
    root, images = tmp_path / "set", tmp_path / "elsewhere"
    root.mkdir(), images.mkdir()
    paths = [str(images / "0.png"), "../elsewhere/1.png"]
    for k, path in enumerate(paths):
        Image.fromarray(np.arange(k, 256 + k).astype(np.uint8).reshape(16, 16)).save(root / path)
    pd.DataFrame({"path": paths, "label": [0, 1]}).to_csv(root / "labels.csv", index=False)
    samples = LOADERS["classification_csv"].index(root)
    source = Source("classification_csv", root)
    build_cache(samples, tmp_path / "study", {"classification_csv": source}, SMALL, shared=tmp_path, progress=False)
    assert len(open_cache(tmp_path / "study").images) == 2
    assert changed_files(tmp_path / "study", {"classification_csv": root}) == []
    for path in paths:
        Image.fromarray(np.full((16, 16), 7, np.uint8)).save(root / path)
    changed = changed_files(tmp_path / "study", {"classification_csv": root})
    assert [name for _, name, _ in changed] == sorted(paths)


def test_rows_of_one_image_share_it(tmp_path: Path, decoded: list) -> None:
    root = write_rsna(tmp_path / "rsna")
    samples = LOADERS["rsna"].index(root, unit="label_row")
    source = Source("rsna", root)
    build_cache(samples, tmp_path / "cache", {"rsna": source}, SMALL, shared=tmp_path / "s", progress=False)
    cache = open_cache(tmp_path / "cache")
    assert len(cache.images) == len(samples) == 6 and len(decoded) == 4
    assert (cache.rows.groupby("patient_id")["content_hash"].nunique() == 1).all()


@pytest.mark.parametrize("changed", [{"size": 20}, {"structures": ("Cord",)}, {"code": "other"}])
def test_other_settings_structures_or_code_have_a_folder_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict
) -> None:
    source = Source("decathlon", tmp_path, ("Cord", "Gland"), "mine")
    first = open_store(tmp_path, source, SMALL_CT)
    assert first.folder.name.startswith("mine-") and open_store(tmp_path, source, SMALL_CT).folder == first.folder
    if "code" in changed:
        monkeypatch.setattr(image_store, "decoding_code", lambda loader: changed["code"])
    source = Source("decathlon", tmp_path, changed.get("structures", source.structures), "mine")
    assert open_store(tmp_path, source, CTSettings(changed.get("size", 16), 4.0)).folder != first.folder


def test_labels_that_a_study_must_not_see_are_hidden_and_those_that_cannot_be_read_cost_the_image_only_where_needed(
    tmp_path: Path, decoded: list
) -> None:
    root = write_decathlon(tmp_path / "ct", n_labelled=3, n_unlabelled=1)
    (root / "labelsTr" / "case_1.nii.gz").write_bytes(b"damaged")
    samples = LOADERS["decathlon"].index(root)
    sources = {"decathlon": Source("decathlon", root, ("Cord", "Gland"))}
    options = {"shared": tmp_path / "s", "progress": False}
    hidden = samples.assign(has_label=False)
    none = build_cache(hidden, tmp_path / "hidden", sources, SMALL_CT, with_labels=samples["has_label"], **options)
    problems = build_cache(samples, tmp_path / "shown", sources, SMALL_CT, **options)
    assert len(decoded) == 4 and none.empty and problems["sample_id"].tolist() == ["decathlon/case_1"]
    shown, blind = open_cache(tmp_path / "shown"), open_cache(tmp_path / "hidden")
    assert blind.masks is None and (blind.rows["labelled_voxels"] == 0).all() and len(blind.images) == 24
    assert blind.scan_truth("decathlon/case_0") is None and shown.scan_truth("decathlon/un_0") is None
    first = shown.rows["sample_id"] == "decathlon/case_0"
    assert shown.masks[first.to_numpy()].any()
    loader = LOADERS["decathlon"]
    labels = loader.read_label(root, samples.iloc[0], ("Cord", "Gland"))
    found, grid = shown.scan_truth("decathlon/case_0")
    expected = labels_by_cell(labels, grid)
    np.testing.assert_array_equal(found.cells, expected.cells)
    assert found.outside == expected.outside


def test_a_labelled_and_an_unlabelled_study_of_one_set_in_either_order(tmp_path: Path) -> None:
    """The last stored scan has no label: its masks are a hole at the file's end, and read as zeros."""
    root = write_decathlon(tmp_path / "ct", n_labelled=1, n_unlabelled=1)
    samples = LOADERS["decathlon"].index(root).sort_values("has_label", ascending=False, ignore_index=True)
    sources = {"decathlon": Source("decathlon", root, ("Cord", "Gland"))}
    build_cache(samples, tmp_path / "c", sources, SMALL_CT, shared=tmp_path / "s", progress=False)
    masks = open_cache(tmp_path / "c").masks
    assert masks[:6].any() and not masks[6:].any() and len(masks) == 12


def test_arrays_are_ordinary_npy_files(tmp_path: Path) -> None:
    root = write_decathlon(tmp_path / "ct")
    samples = LOADERS["decathlon"].index(root)
    sources = {"decathlon": Source("decathlon", root, ("Cord", "Gland"))}
    build_cache(samples, tmp_path / "c", sources, SMALL_CT, shared=tmp_path / "s", progress=False)
    (folder,) = (tmp_path / "s").iterdir()
    cache = open_cache(tmp_path / "c")
    np.testing.assert_array_equal(np.load(folder / "images.npy", mmap_mode="r"), cache.images[:])
    np.testing.assert_array_equal(np.load(folder / "masks.npy"), cache.masks[:])
    assert np.load(folder / "scan_labels.npy").dtype.names == ("cell", "label", "voxels")


# ---- kills and company ---------------------------------------------------------------------------------------------


def test_an_interrupted_build_keeps_what_it_has_decoded(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, decoded: list
) -> None:
    monkeypatch.setattr(image_store, "XRAYS_PER_TASK", 2)
    watched = image_store.decode_sample

    def stop_at_fifth(*arguments):
        if len(decoded) == 4:
            raise KeyboardInterrupt
        return watched(*arguments)

    monkeypatch.setattr(image_store, "decode_sample", stop_at_fifth)
    with pytest.raises(KeyboardInterrupt):
        build(root, tmp_path / "one")
    monkeypatch.setattr(image_store, "decode_sample", watched)
    build(root, tmp_path / "two")
    assert len(decoded) == 5 and len(set(decoded)) == 5


def test_a_line_that_a_killed_process_left_half_written_is_passed_over(tmp_path: Path, root: Path) -> None:
    store, before, _ = ensure(root, tmp_path)
    journal = store.folder / "entries.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:3]) + lines[3][:40])
    store, after, _ = ensure(root, tmp_path)
    assert after == before and all(json.loads(line) for line in journal.read_text().splitlines())
    assert len({store.entry(content)["first"] for content in after}) == 5


CHILD = """
import sys, time
from pathlib import Path
from ssrobust_lib.datasets import LOADERS, image_store
from ssrobust_lib.datasets.changed_files import changed_files
from ssrobust_lib.datasets.decoding import decode_sample
from ssrobust_lib.datasets.loader import Source
from ssrobust_lib.preprocessing import XRaySettings

def slow(row, *rest):
    time.sleep(0.1)
    with open(sys.argv[3], "a") as log:
        log.write(row["image"] + "\\n")
    return decode_sample(row, *rest)

image_store.decode_sample, image_store.CHECKPOINT_SECONDS, image_store.XRAYS_PER_TASK = slow, 0.0, 1
source = Source("kermany", Path(sys.argv[1]))
images = image_store.open_store(Path(sys.argv[2]), source, XRaySettings(16))
contents, problems = images.ensure(LOADERS["kermany"].index(source.root), source, XRaySettings(16))
assert None not in contents and not problems and len(images) == 5
"""


def start(root: Path, shared: Path, log: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", CHILD, str(root), str(shared), str(log)], stderr=subprocess.PIPE)


def test_two_processes_build_one_set_without_doubling_the_work(tmp_path: Path, root: Path) -> None:
    both = [start(root, tmp_path / "shared", tmp_path / "log") for _ in range(2)]
    for process in both:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said.decode()
    assert sorted((tmp_path / "log").read_text().split()) == sorted(KERMANY)
    store, contents, _ = ensure(root, tmp_path / "shared")
    assert len(store) == 5
    build(root, tmp_path / "cache", shared=tmp_path / "shared")
    build(root, tmp_path / "alone", shared=tmp_path / "new")
    np.testing.assert_array_equal(open_cache(tmp_path / "cache").images[:], open_cache(tmp_path / "alone").images[:])


def test_a_killed_build_goes_on_where_it_was(tmp_path: Path, root: Path) -> None:
    settle(root)
    log = tmp_path / "log"
    process = start(root, tmp_path / "shared", log)
    while not log.is_file() or len(log.read_text().split()) < 3:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(log.read_text().split())
    process = start(root, tmp_path / "shared", log)
    assert process.wait(timeout=60) == 0
    again = len(log.read_text().split()) - 5
    assert done >= 3 and again <= 1, "more than the image in work was decoded twice"
    build(root, tmp_path / "cache", shared=tmp_path / "shared")
    build(root, tmp_path / "alone", shared=tmp_path / "new")
    np.testing.assert_array_equal(open_cache(tmp_path / "cache").images[:], open_cache(tmp_path / "alone").images[:])


# ---- what cannot be read -------------------------------------------------------------------------------------------


def test_policies_for_what_cannot_be_read(tmp_path: Path, root: Path, decoded: list) -> None:
    for name in KERMANY[:2]:
        (root / name).write_bytes(b"damaged")
    with pytest.raises(
        CacheError, match=r"2 of 5 images are missing or cannot be read, and on_unreadable is stop: .*NORMAL2-IM-0115"
    ):
        build(root, tmp_path / "stopped", on_unreadable="stop")
    decoded.clear()
    problems = build(root, tmp_path / "reported")
    assert len(problems) == 2 and problems["reason"].str.contains("not readable").all()
    assert sorted(decoded) == sorted(KERMANY[:2]), "what the stopped run had decoded is kept; the rest is tried again"
    assert len(open_cache(tmp_path / "reported").images) == 3


def test_preparing_a_set_is_what_studies_find(tmp_path: Path, root: Path, decoded: list) -> None:
    (root / KERMANY[4]).write_bytes(b"damaged")
    told: list[tuple[int, int]] = []
    folder = prepare_set(
        load_manifest("kermany"), root, SMALL, progress=lambda done, n: told.append((done, n)), shared=tmp_path / "s"
    )
    assert told[0] == (0, 5) and told[-1] == (5, 5)
    assert folder.parent == tmp_path / "s" and folder.name.startswith("kermany-")
    assert problems_of(folder)["path"].tolist() == [KERMANY[4]]
    decoded.clear()
    samples = LOADERS["kermany"].index(root)
    source = Source("kermany", root, (), "kermany")
    build_cache(samples, tmp_path / "c", {"kermany": source}, SMALL, shared=tmp_path / "s", progress=False)
    assert decoded == [KERMANY[4]]


# ---- a shared folder that is gone ----------------------------------------------------------------------------------


def test_lost_images_are_decoded_again_as_long_as_the_files_are_the_same(tmp_path: Path, decoded: list) -> None:
    root = write_decathlon(tmp_path / "ct", n_labelled=2, n_unlabelled=1)
    samples = LOADERS["decathlon"].index(root)
    sources = {"decathlon": Source("decathlon", root, ("Cord", "Gland"))}
    options = {"shared": tmp_path / "s", "progress": False}
    build_cache(samples.iloc[::-1], tmp_path / "other", sources, SMALL_CT, **options)
    build_cache(samples, tmp_path / "c", sources, SMALL_CT, **options)
    before = open_cache(tmp_path / "c")
    images, masks, truth = before.images[:], before.masks[:], before.scan_truth("decathlon/case_1")
    shutil.rmtree(tmp_path / "s")
    with pytest.raises(MissingImagesError, match="no longer in"):
        open_cache(tmp_path / "c")
    restore_cache(tmp_path / "c")
    after = open_cache(tmp_path / "c")
    np.testing.assert_array_equal(after.images[:], images)
    np.testing.assert_array_equal(after.masks[:], masks)
    np.testing.assert_array_equal(after.scan_truth("decathlon/case_1")[0].cells, truth[0].cells)
    shutil.rmtree(tmp_path / "s")
    shutil.copy(root / "imagesTr" / "case_0.nii.gz", root / "imagesTr" / "case_1.nii.gz")
    with pytest.raises(CacheError, match=r"cannot be decoded again: 1 differ, the first decathlon/case_1: its file"):
        restore_cache(tmp_path / "c")


def test_runs_that_were_moved_with_their_images_are_found(tmp_path: Path, root: Path) -> None:
    build(root, tmp_path / "runs" / "a" / "cache", shared=tmp_path / "runs" / "shared")
    images = open_cache(tmp_path / "runs" / "a" / "cache").images[:]
    (tmp_path / "runs").rename(tmp_path / "archive")
    np.testing.assert_array_equal(open_cache(tmp_path / "archive" / "a" / "cache").images[:], images)
