"""Every set's loader keeps one contract; options reach it; real sets are listed in full where the reader has them."""

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from ct_layouts import CT_STRUCTURES
from real_images import REAL, needs_real_images

from ssrobust_lib.datasets import LOADERS, LayoutError, UnreadableImageError, Volume, XRay, index_samples, read_image
from ssrobust_lib.datasets.content_hash import content_hash
from ssrobust_lib.datasets.loader import SAMPLE_COLUMNS, renumber
from ssrobust_lib.datasets.manifest import load_manifest, locate, manifests
from ssrobust_lib.datasets.structures import VISCERAL_STRUCTURES
from ssrobust_lib.registry import UnknownNameError

NAMES = [structure.name for structure in VISCERAL_STRUCTURES]


@pytest.mark.parametrize("name", LOADERS.names())
def test_every_loader_keeps_the_contract(roots: dict[str, Path], name: str) -> None:
    loader = LOADERS[name]
    samples, left_out = loader.survey(roots[name], set_name="mine")
    assert loader.name == name
    assert tuple(samples.columns[: len(SAMPLE_COLUMNS)]) == SAMPLE_COLUMNS
    assert samples["sample_id"].is_unique and samples["sample_id"].is_monotonic_increasing
    assert samples["sample_id"].str.startswith("mine/").all() and samples["patient_id"].str.startswith("mine/").all()
    assert samples["label"].dtype == "Int8" and samples["has_label"].dtype == bool
    assert list(left_out.columns) == ["sample_id", "path", "reason"] and (left_out["reason"].str.len() > 10).all()
    for row in samples.to_dict("records"):
        image = loader.read_image(roots[name], row)
        if loader.kind == "xray":
            assert isinstance(image, XRay) and image.pixels.dtype == np.float32 and image.pixels.ndim == 2
            assert 0 <= image.pixels.min() < image.pixels.max() <= 1
        else:
            assert isinstance(image, Volume) and image.hu.dtype == np.float32 and image.hu.shape == (6, 40, 40)
            assert image.spacing_mm == pytest.approx((3, 2, 2))
            np.testing.assert_allclose(np.median(image.hu[:, 12:18, 10:18], axis=(1, 2)), 40, atol=2)
    with pytest.raises((LayoutError, UnknownNameError)):
        loader.survey(roots["rsna" if name != "rsna" else "lits"] / "nowhere")


@pytest.mark.parametrize("name", LOADERS.names())
def test_a_sample_needs_no_other_files_than_its_own(roots: dict[str, Path], name: str, tmp_path: Path) -> None:
    """`files` names all that a sample is decoded from: with them and the set's tables, and no other, it reads the same.

    What it leaves out could change without the cache noticing.
    """
    loader, root = LOADERS[name], roots[name]
    known = [manifest.structures for manifest in manifests().values() if manifest.loader == name]
    structures = tuple(loader.label_map(root)) or (known[0] if known else ())
    for number, row in enumerate(loader.index(root).to_dict("records")):
        alone, files = tmp_path / str(number), loader.files(root, row)
        assert files and len(set(files)) == len(files)
        tables = [path for suffix in ("csv", "json") for path in root.glob(f"*.{suffix}")]
        for path in {*files, *tables}:
            (alone / path.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
            (alone / path.relative_to(root)).write_bytes(path.read_bytes())
        whole, part = loader.read_image(root, row), loader.read_image(alone, row)
        if isinstance(whole, XRay):
            np.testing.assert_array_equal(part.pixels, whole.pixels)
            continue
        np.testing.assert_array_equal(part.hu, whole.hu)
        if row["has_label"] and structures:
            labels = loader.read_label(root, row, structures)
            np.testing.assert_array_equal(loader.read_label(alone, row, structures), labels)


@pytest.mark.parametrize("name", LOADERS.names())
def test_label_maps_fit_their_scans_or_are_refused(roots: dict[str, Path], name: str) -> None:
    loader = LOADERS[name]
    own = {"visceral": NAMES, "kits19": ["kidney", "tumour"], "decathlon": ["Cord", "Gland"], **CT_STRUCTURES}
    structures = own.get(name, ["liver"])
    for row in loader.index(roots[name]).to_dict("records"):
        if loader.kind == "ct" and row["has_label"]:
            labels = loader.read_label(roots[name], row, structures)
            assert labels.shape == (6, 40, 40) and labels.dtype == np.uint8
            assert set(np.unique(labels)) == set(range(len(structures) + 1))
            with pytest.raises(UnknownNameError, match="unknown structure 'livr'"):
                loader.read_label(roots[name], row, ["livr"])
        else:
            with pytest.raises(UnreadableImageError, match="label map"):
                loader.read_label(roots[name], row, structures)


def test_importing_the_package_loads_no_decoder() -> None:
    heavy = "{'torch', 'pydicom', 'nibabel', 'SimpleITK', 'scipy', 'PIL', 'tqdm'}"
    code = f"import sys, ssrobust_lib.datasets, ssrobust_lib.datasets.cache; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"


def test_content_hash_tells_values_and_shapes_apart() -> None:
    zero = np.zeros((2, 3), np.float32)
    images = [zero, zero.T, zero + 1, zero + np.float32(1 / 255), zero - 1, zero + 0.3, zero - 1000, zero + 1e6]
    assert len({content_hash(image) for image in images}) == len(images)
    assert content_hash(zero.copy()) == content_hash(zero)


def test_renumber_follows_the_asked_order_and_refuses_unknown_values() -> None:
    labels = np.array([[0, 1, 3], [3, 3, 0]], np.int16)
    values = {"Cord": 1, "Gland": 3}
    np.testing.assert_array_equal(renumber(labels, values, ["Gland", "Cord"]), [[0, 2, 1], [1, 1, 0]])
    np.testing.assert_array_equal(renumber(labels, values, ["Gland"]), [[0, 0, 1], [1, 1, 0]])
    for wrong in (2, 9, -1):
        with pytest.raises(UnreadableImageError, match=rf"label values \[{wrong}\] in 1 voxels .*1 Cord, 3 Gland"):
            renumber(np.array([0, 1, wrong], np.int16), values, ["Cord"])
    with pytest.raises(ValueError, match="twice"):
        renumber(labels, values, ["Cord", "Cord"])


def test_options_of_a_manifest_reach_the_loader(roots: dict[str, Path]) -> None:
    manifest = load_manifest("rsna").model_copy(update={"loader_options": {"unit": "label_row"}})
    assert len(index_samples(manifest, roots["rsna"])[0]) == 6
    assert len(index_samples(manifest, roots["rsna"], unit="patient")[0]) == 4


# --- real images, where the reader has them


@needs_real_images
@pytest.mark.parametrize(
    ("name", "images", "labelled", "positive"),
    [("rsna", 240, 240, None), ("kermany", 5_840, 5_840, 4_265), ("nih", 621, 621, 192), ("openkbp", 261, 219, 0)],
)
def test_real_sets_are_listed_in_full_and_decoded(name: str, images: int, labelled: int, positive: int | None) -> None:
    manifest = manifests()[name]
    if not (Path(REAL) / manifest.folder).is_dir():
        pytest.skip(f"SSROBUST_REAL_DATA has no folder {manifest.folder}")
    root = locate(manifest, REAL)
    samples, left_out = index_samples(manifest, root)
    assert (len(samples), samples["has_label"].sum(), len(left_out)) == (images, labelled, 0)
    if positive is not None:
        assert (samples["label"] == 1).sum() == positive
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for row in samples.iloc[:: images // 4].to_dict("records"):
            image = read_image(manifest.loader, root, row)
            if isinstance(image, XRay):
                assert image.pixels.std() > 0.05
                continue
            assert -1100 <= image.hu.min() <= -900 and image.hu.max() > 500
            if row["has_label"]:
                labels = LOADERS[manifest.loader].read_label(root, row, manifest.structures)
                columns = [np.nonzero(labels == k)[2].mean() for k in (3, 4)]
                assert columns[0] < columns[1]  # column 0 is the patient's right


@needs_real_images
def test_real_kermany_patients_cross_the_published_split() -> None:
    samples = LOADERS["kermany"].index(locate(load_manifest("kermany"), REAL))
    sides = samples.groupby("patient_id")["published_split"].nunique()
    crossing = samples["patient_id"].isin(sides.index[sides > 1])
    assert (sides > 1).sum() == 170
    assert (crossing & (samples["published_split"] == "test")).sum() == 320
