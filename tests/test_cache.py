"""The cache holds what preprocessing gives, in the samples' order, whatever the number of workers; damage is named."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from layouts import KERMANY, body, write_canonical, write_decathlon, write_pictures, write_rsna

from ssrobust_lib.datasets import LOADERS
from ssrobust_lib.datasets.cache import CacheError, build_cache, grid_of, open_cache
from ssrobust_lib.datasets.loader import Source
from ssrobust_lib.preprocessing import CTSettings, XRaySettings, preprocess_ct, preprocess_xray, to_scan_grid
from ssrobust_lib.registry import UnknownNameError

SMALL_CT = CTSettings(size=16, pixel_mm=4.0)
STRUCTURES = ("Cord", "Gland")


@pytest.fixture
def kermany(tmp_path: Path) -> tuple[pd.DataFrame, dict[str, Source]]:
    root = write_pictures(tmp_path / "kermany", KERMANY)
    return LOADERS["kermany"].index(root).assign(split="train"), {"kermany": Source("kermany", root)}


@pytest.fixture
def scans(tmp_path: Path) -> tuple[pd.DataFrame, dict[str, Source]]:
    root = write_decathlon(tmp_path / "ct", n_labelled=2, n_unlabelled=1)
    return LOADERS["decathlon"].index(root), {"decathlon": Source("decathlon", root, STRUCTURES)}


def test_xray_cache_holds_the_preprocessed_images_in_order(tmp_path: Path, kermany: tuple) -> None:
    samples, sources = kermany
    samples = samples.iloc[::-1].reset_index(drop=True)
    problems = build_cache(
        samples, tmp_path / "cache", sources, XRaySettings(16), shared=tmp_path / "shared", progress=False
    )
    cache = open_cache(tmp_path / "cache")
    assert problems.empty and cache.problems.empty and cache.masks is None and cache.scans is None
    assert cache.images.dtype == np.float16 and cache.images.shape == (5, 16, 16)
    assert cache.settings == XRaySettings(16)
    assert cache.rows["sample_id"].tolist() == samples["sample_id"].tolist()
    assert cache.rows["split"].eq("train").all() and cache.rows["published_split"].notna().all()
    assert cache.rows["label"].dtype == "Int8" and cache.rows["label"].tolist() == samples["label"].tolist()
    for position, row in enumerate(samples.to_dict("records")):
        image = LOADERS["kermany"].read_image(sources["kermany"].root, row)
        np.testing.assert_array_equal(
            cache.images[position], preprocess_xray(image.pixels, XRaySettings(16)).astype(np.float16)
        )


def test_several_sets_share_a_cache_and_headers_fill_in_what_the_tables_lack(tmp_path: Path, kermany: tuple) -> None:
    samples, sources = kermany
    root = write_rsna(tmp_path / "rsna")
    both = pd.concat([samples, LOADERS["rsna"].index(root)], ignore_index=True)
    build_cache(
        both,
        tmp_path / "cache",
        sources | {"rsna": Source("rsna", root)},
        XRaySettings(16),
        shared=tmp_path / "shared",
        progress=False,
    )
    rows = open_cache(tmp_path / "cache").rows
    assert rows["set"].value_counts().to_dict() == {"kermany": 5, "rsna": 4}
    assert rows.loc[rows["set"] == "rsna", ["view", "sex", "age"]].drop_duplicates().values.tolist() == [
        ["AP", "F", 48.0]
    ]


def test_ct_cache_holds_slices_labels_and_grids(tmp_path: Path, scans: tuple) -> None:
    samples, sources = scans
    build_cache(samples, tmp_path / "cache", sources, SMALL_CT, shared=tmp_path / "shared", progress=False)
    cache = open_cache(tmp_path / "cache")
    assert cache.images.shape == cache.masks.shape == (18, 16, 16) and cache.masks.dtype == np.uint8
    assert cache.structures == {"decathlon": STRUCTURES}
    assert cache.rows["slice"].tolist() == [*range(6)] * 3
    assert cache.scans["first_row"].tolist() == [0, 6, 12] and cache.scans["n_slices"].tolist() == [6, 6, 6]
    loader, root = LOADERS["decathlon"], sources["decathlon"].root
    for first, row in zip(cache.scans["first_row"], samples.to_dict("records"), strict=True):
        labels = loader.read_label(root, row, STRUCTURES) if row["has_label"] else None
        scan = preprocess_ct(loader.read_image(root, row), labels, SMALL_CT)
        np.testing.assert_array_equal(cache.images[first : first + 6], scan.images.astype(np.float16))
        expected = np.zeros((6, 16, 16)) if labels is None else scan.labels
        np.testing.assert_array_equal(cache.masks[first : first + 6], expected)
        counts = cache.rows["labelled_voxels"].iloc[first : first + 6]
        assert counts.tolist() == np.count_nonzero(expected, axis=(1, 2)).tolist()
        assert grid_of(cache, row["sample_id"]) == scan.grid
        assert to_scan_grid(cache.masks[first : first + 6], scan.grid).shape == (6, 40, 40)
    with pytest.raises(KeyError, match="no scan 'other'"):
        grid_of(cache, "other")


def test_scans_without_structures_need_no_masks(tmp_path: Path, scans: tuple) -> None:
    samples, sources = scans
    bare = {"decathlon": Source("decathlon", sources["decathlon"].root)}
    build_cache(samples, tmp_path / "cache", bare, SMALL_CT, shared=tmp_path / "shared", progress=False)
    assert open_cache(tmp_path / "cache").masks is None


@pytest.mark.parametrize("kind", ["kermany", "scans"])
def test_the_result_does_not_depend_on_the_number_of_workers(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    samples, sources = request.getfixturevalue(kind)
    chosen = XRaySettings(16) if kind == "kermany" else SMALL_CT
    caches = []
    for workers in (1, 2):
        shared = tmp_path / f"shared{workers}"
        build_cache(samples, tmp_path / str(workers), sources, chosen, shared=shared, workers=workers, progress=False)
        caches.append(open_cache(tmp_path / str(workers)))
    one, two = caches
    np.testing.assert_array_equal(one.images[:], two.images[:])
    pd.testing.assert_frame_equal(one.rows, two.rows)
    pd.testing.assert_frame_equal(one.problems, two.problems)
    if one.masks is not None:
        np.testing.assert_array_equal(one.masks[:], two.masks[:])
        pd.testing.assert_frame_equal(one.scans, two.scans)


def test_unreadable_samples_are_reported_by_name_and_left_out(tmp_path: Path) -> None:
    root = write_decathlon(tmp_path / "ct", n_labelled=6, n_unlabelled=0)
    (root / "imagesTr" / "case_0.nii.gz").write_bytes(b"damaged")
    nan = body().astype(np.float32)
    nan[0, 0, 0] = np.nan
    write_canonical(root / "imagesTr" / "case_1.nii.gz", nan)
    write_canonical(root / "labelsTr" / "case_2.nii.gz", np.full((6, 40, 40), 7, np.uint8))
    write_canonical(root / "labelsTr" / "case_3.nii.gz", np.zeros((5, 40, 40), np.uint8))
    (root / "labelsTr" / "case_4.nii.gz").write_bytes(b"")
    samples = LOADERS["decathlon"].index(root)
    sources = {"decathlon": Source("decathlon", root, STRUCTURES)}
    problems = build_cache(samples, tmp_path / "cache", sources, SMALL_CT, shared=tmp_path / "shared", progress=False)
    assert problems["sample_id"].tolist() == [f"decathlon/case_{k}" for k in range(5)]
    for reason, expected in zip(
        problems["reason"],
        ("not readable as NIfTI", "1 voxels are NaN", "values [7]", "its scan", "case_4"),
        strict=True,
    ):
        assert expected in reason
    cache = open_cache(tmp_path / "cache")
    assert cache.rows["sample_id"].unique().tolist() == ["decathlon/case_5"] and len(cache.images) == 6
    pd.testing.assert_frame_equal(cache.problems, problems, check_dtype=False)
    with pytest.raises(CacheError, match="decathlon/case_0 .*not readable"):
        build_cache(
            samples,
            tmp_path / "stopped",
            sources,
            SMALL_CT,
            shared=tmp_path / "shared",
            on_unreadable="stop",
            progress=False,
        )
    with pytest.raises(CacheError, match="no complete cache"):
        open_cache(tmp_path / "stopped")
    with pytest.raises(CacheError, match="none of 5 images could be read"):
        build_cache(samples.iloc[:5], tmp_path / "none", sources, SMALL_CT, shared=tmp_path / "shared", progress=False)


def test_misuse_is_refused(tmp_path: Path, kermany: tuple) -> None:
    samples, sources = kermany
    with pytest.raises(CacheError, match="no source for the sets kermany"):
        build_cache(samples, tmp_path / "a", {}, XRaySettings(16), shared=tmp_path / "shared", progress=False)
    with pytest.raises(CacheError, match="no samples"):
        build_cache(
            samples.iloc[:0], tmp_path / "a", sources, XRaySettings(16), shared=tmp_path / "shared", progress=False
        )
    with pytest.raises(CacheError, match="twice"):
        build_cache(
            pd.concat([samples, samples]),
            tmp_path / "a",
            sources,
            XRaySettings(16),
            shared=tmp_path / "shared",
            progress=False,
        )
    with pytest.raises(UnknownNameError, match="report, stop"):
        build_cache(
            samples,
            tmp_path / "a",
            sources,
            XRaySettings(16),
            shared=tmp_path / "shared",
            on_unreadable="skip",
            progress=False,
        )
    with pytest.raises(CacheError, match="settings are for others"):
        build_cache(samples, tmp_path / "b", sources, SMALL_CT, shared=tmp_path / "shared", progress=False)
    (tmp_path / "b" / "of another").touch()
    with pytest.raises(CacheError, match="is not empty"):
        build_cache(samples, tmp_path / "b", sources, XRaySettings(16), shared=tmp_path / "shared", progress=False)


def test_a_damaged_cache_is_refused(tmp_path: Path, kermany: tuple) -> None:
    samples, sources = kermany
    folder = tmp_path / "cache"
    build_cache(samples, folder, sources, XRaySettings(16), shared=tmp_path / "shared", progress=False)
    with pytest.raises(CacheError, match="no complete cache"):
        open_cache(tmp_path / "elsewhere")
    pd.read_parquet(folder / "rows.parquet").iloc[1:].to_parquet(folder / "rows.parquet")
    with pytest.raises(CacheError, match="5 images, 4 rows"):
        open_cache(folder)
    build_cache(samples, tmp_path / "other", sources, XRaySettings(16), shared=tmp_path / "shared", progress=False)
    (images,) = (tmp_path / "shared").glob("*/images.npy")
    images.write_bytes(images.read_bytes()[:600])
    with pytest.raises(CacheError, match=r"is damaged .*holds 0 images, expected at least 5"):
        open_cache(tmp_path / "other")
    (folder / "cache.json").write_text('{"format": 0}')
    with pytest.raises(CacheError, match="cache format 0, expected 2"):
        open_cache(folder)
