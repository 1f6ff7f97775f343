"""MetaImage and NRRD: the voxels that SimpleITK reads, the right way round, and nothing that a header must not get."""

import bz2
import gzip
import itertools
import zlib
from pathlib import Path

import numpy as np
import pytest
from format_files import write_itk
from layouts import body

from ssrobust_lib.datasets import UnreadableImageError
from ssrobust_lib.datasets.formats import read_metaimage, read_metaimage_label

HU = body((5, 12, 10))
DIRECTIONS = [
    tuple((np.diag(signs)[list(order)]).ravel())
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]


def read_by_itk(path: Path) -> tuple[np.ndarray, tuple[float, ...]]:
    import SimpleITK

    image = SimpleITK.DICOMOrient(SimpleITK.ReadImage(str(path)), "LPS")
    return SimpleITK.GetArrayFromImage(image), image.GetSpacing()[::-1]


@pytest.mark.parametrize("suffix", ["mha", "mhd", "nrrd", "nhdr"])
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8"])
def test_every_voxel_type_is_read_as_itk_reads_it(tmp_path: Path, suffix: str, compress: bool, dtype: str) -> None:
    stored = (HU / 16 + (70 if dtype[0] == "u" else 0)).astype(dtype)
    path = write_itk(tmp_path / f"a.{suffix}", stored, compress=compress)
    volume = read_metaimage(path)
    np.testing.assert_array_equal(volume.hu, stored.astype(np.float32))
    assert volume.spacing_mm == pytest.approx((3.0, 2.0, 1.5)) and volume.hu.dtype == np.float32


@pytest.mark.parametrize("suffix", ["mha", "nrrd"])
@pytest.mark.parametrize("direction", DIRECTIONS[::3])
def test_every_direction_is_turned_as_itk_turns_it(tmp_path: Path, suffix: str, direction: tuple[float, ...]) -> None:
    path = write_itk(tmp_path / f"a.{suffix}", HU, direction=direction)
    expected, spacing = read_by_itk(path)
    volume = read_metaimage(path)
    np.testing.assert_array_equal(volume.hu, expected)
    assert volume.spacing_mm == pytest.approx(spacing)


def test_an_oblique_grid_is_taken_for_its_nearest_straight_one(tmp_path: Path) -> None:
    turn = np.radians(12)
    direction = (np.cos(turn), np.sin(turn), 0, -np.sin(turn), np.cos(turn), 0, 0, 0, 1)
    for suffix in ("mha", "nrrd"):
        volume = read_metaimage(write_itk(tmp_path / f"a.{suffix}", HU, direction=direction))
        np.testing.assert_array_equal(volume.hu, HU)
        assert volume.spacing_mm == pytest.approx((3.0, 2.0, 1.5))


def write_nrrd(path: Path, data: bytes, **fields: str) -> Path:
    """Write an attached NRRD of HU's size; a field '' is left out."""
    header = {
        "type": "short",
        "dimension": "3",
        "sizes": "10 12 5",
        "spacings": "1.5 2 3",
        "encoding": "raw",
        "endian": "little",
    }
    header |= {name.replace("_", " "): value for name, value in fields.items()}
    lines = ["NRRD0004", "# a comment", "who:=a key of the writer's own"]
    lines += [f"{name}: {value}" for name, value in header.items() if value]
    path.write_bytes("\n".join([*lines, "", ""]).encode() + data)
    return path


VOXELS = HU.astype("<i2").tobytes()


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        (VOXELS, {}),
        (HU.astype(">i2").tobytes(), {"endian": "big"}),
        (gzip.compress(VOXELS), {"encoding": "gzip"}),
        (gzip.compress(b"12345" + VOXELS), {"encoding": "gz", "byte_skip": "5"}),
        (bz2.compress(VOXELS), {"encoding": "bzip2"}),
        (b"two\nlines\nxyz" + VOXELS, {"line_skip": "2", "byte_skip": "3"}),
        (b"anything at all" + VOXELS, {"byte_skip": "-1"}),
        (VOXELS, {"spacings": "", "space": "LPS", "space_directions": "(1.5,0,0) (0,2,0) (0,0,3)"}),
        (VOXELS, {"spacings": "", "space": "left-posterior-superior", "space_origin": "(1, -2, 3e1)"}),
    ],
)
def test_nrrd_headers_of_many_kinds(tmp_path: Path, data: bytes, fields: dict[str, str]) -> None:
    volume = read_metaimage(write_nrrd(tmp_path / "a.nrrd", data, **fields))
    np.testing.assert_array_equal(volume.hu, HU)
    if fields.get("space") != "left-posterior-superior":
        assert volume.spacing_mm == pytest.approx((3, 2, 1.5))


def test_the_space_of_nrrd_turns_the_scan(tmp_path: Path) -> None:
    directions = {"spacings": "", "space_directions": "(1,0,0) (0,1,0) (0,0,1)"}
    ras = read_metaimage(write_nrrd(tmp_path / "a.nrrd", VOXELS, space="right-anterior-superior", **directions))
    np.testing.assert_array_equal(ras.hu, HU[:, ::-1, ::-1])
    las = read_metaimage(write_nrrd(tmp_path / "b.nrrd", VOXELS, space="LAS", **directions))
    np.testing.assert_array_equal(las.hu, HU[:, ::-1])


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"sizes": "10 12 5 1"}, "sizes is"),
        ({"sizes": "10 12 -5"}, "three axes of voxels"),
        ({"sizes": "10 12 5.5"}, "whole numbers"),
        ({"sizes": "1000000 1000000 1000000"}, "claims"),
        ({"sizes": "10 12 1e300"}, "whole numbers"),
        ({"sizes": "10 12 50"}, "12,000 bytes.* cut short"),
        ({"sizes": ""}, "no sizes"),
        ({"dimension": "4"}, "the header says 4"),
        ({"type": "block"}, "'block'; expected one of signed char"),
        ({"encoding": "hex"}, "'hex'; expected one of raw, gzip"),
        ({"endian": "middle"}, "'middle'"),
        ({"spacings": "1 1 nan"}, "spacings is"),
        ({"spacings": "1 1 0"}, "voxels of"),
        ({"space": "scanner-xyz"}, "'scanner-xyz'"),
        ({"space": "left-left-superior"}, "left-left"),
        ({"space_directions": "none (1,0,0) (0,1,0)"}, "space directions is"),
        ({"space_directions": "(1,0,0) (1,0,0) (0,1,0)"}, "singular"),
        ({"byte_skip": "-2"}, "skips"),
        ({"line_skip": "9"}, "has no 9 lines"),
        ({"data_file": "../secret.raw"}, r"points to '../secret.raw'"),
        ({"data_file": "/etc/passwd"}, "points to '/etc/passwd'"),
        ({"data_file": "LIST"}, "several files"),
        ({"data_file": "%03d.raw 1 5 1"}, "several files"),
        ({"data_file": "there_is_none.raw"}, "data file there_is_none.raw: no such file"),
        ({"data_file": "sub"}, "data file sub: a folder"),
    ],
)
def test_nrrd_headers_that_are_wrong_are_named(tmp_path: Path, fields: dict[str, str], reason: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path.parent / "secret.raw").write_bytes(VOXELS)
    with pytest.raises(UnreadableImageError, match=f"a.nrrd: .*{reason}"):
        read_metaimage(write_nrrd(tmp_path / "a.nrrd", VOXELS, **fields))


def write_mha(path: Path, data: bytes, **fields: str) -> Path:
    header = {
        "ObjectType": "Image",
        "NDims": "3",
        "DimSize": "10 12 5",
        "ElementSpacing": "1.5 2 3",
        "ElementType": "MET_SHORT",
        **fields,
    }
    name = header.pop("ElementDataFile", "LOCAL")
    lines = [f"{key} = {value}" for key, value in header.items() if value]
    path.write_bytes("\n".join([*lines, f"ElementDataFile = {name}", ""]).encode() + data)
    return path


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        (VOXELS, {}),
        (HU.astype(">i2").tobytes(), {"BinaryDataByteOrderMSB": "True"}),
        (HU.astype(">i2").tobytes(), {"ElementByteOrderMSB": "True"}),
        (zlib.compress(VOXELS), {"CompressedData": "True", "CompressedDataSize": "77"}),
        (b"header of another kind" + VOXELS, {"HeaderSize": "-1"}),
        (b"1234567" + VOXELS, {"HeaderSize": "7"}),
        (VOXELS, {"Position": "1 2 3", "CenterOfRotation": "0 0 0", "AnatomicalOrientation": "RAI"}),
    ],
)
def test_metaimage_headers_of_many_kinds(tmp_path: Path, data: bytes, fields: dict[str, str]) -> None:
    volume = read_metaimage(write_mha(tmp_path / "a.mha", data, **fields))
    np.testing.assert_array_equal(volume.hu, HU)
    assert volume.spacing_mm == pytest.approx((3, 2, 1.5))


def test_metaimage_slope_and_offset_are_applied(tmp_path: Path) -> None:
    fields = {"ElementToIntensityFunctionSlope": "2", "ElementToIntensityFunctionOffset": "-1024"}
    np.testing.assert_array_equal(read_metaimage(write_mha(tmp_path / "a.mha", VOXELS, **fields)).hu, 2 * HU - 1024)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"DimSize": "10 12"}, "DimSize is"),
        ({"DimSize": "100000 100000 100000"}, "claims"),
        ({"DimSize": "10 12 0"}, "three axes"),
        ({"DimSize": ""}, "no DimSize"),
        ({"NDims": "2"}, "the header says 2"),
        ({"ElementType": "MET_STRING"}, "'MET_STRING'; expected one of MET_CHAR"),
        ({"ElementNumberOfChannels": "3"}, "several values"),
        ({"ElementSpacing": "1 -1 inf"}, "ElementSpacing is"),
        ({"TransformMatrix": "0 0 0 0 0 0 0 0 0"}, "voxels of"),
        ({"TransformMatrix": "1 0 0 1 0 0 0 0 1"}, "singular"),
        ({"Offset": "1e300 0 0"}, "affine"),
        ({"BinaryData": "False"}, "as text"),
        ({"ObjectType": "Tube"}, "'Tube'"),
        ({"HeaderSize": "-7"}, "HeaderSize is -7"),
        ({"HeaderSize": "10000000000"}, "cut short"),
        ({"CompressedData": "True"}, "error"),
        ({"ElementDataFile": "../secret.raw"}, "in its own folder"),
        ({"ElementDataFile": "..\\\\secret.raw"}, "in its own folder"),
        ({"ElementDataFile": "C:\\\\secret.raw"}, "in its own folder"),
        ({"ElementDataFile": "/dev/zero"}, "in its own folder"),
        ({"ElementDataFile": "LIST"}, "several files"),
        ({"ElementDataFile": "%03d.raw 1 5 1"}, "several files"),
        ({"ElementDataFile": "none.raw"}, "data file none.raw: no such file"),
    ],
)
def test_metaimage_headers_that_are_wrong_are_named(tmp_path: Path, fields: dict[str, str], reason: str) -> None:
    (tmp_path.parent / "secret.raw").write_bytes(VOXELS)
    with pytest.raises(UnreadableImageError, match=f"a.mha: .*{reason}"):
        read_metaimage(write_mha(tmp_path / "a.mha", VOXELS, **fields))


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("suffix", ["mha", "nrrd", "mhd"])
def test_voxels_cut_short_or_changed_are_noticed(tmp_path: Path, suffix: str, compress: bool) -> None:
    path = write_itk(tmp_path / f"a.{suffix}", HU, compress=compress)
    data = next((p for p in tmp_path.iterdir() if p.suffix in (".raw", ".zraw")), path)
    whole = data.read_bytes()
    for cut in (1, 30, 300):
        data.write_bytes(whole[:-cut])
        with pytest.raises(UnreadableImageError, match=f"a.{suffix}"):
            read_metaimage(path)
    if compress:  # the checksum is behind the last voxel
        data.write_bytes(whole[:-6] + bytes([whole[-6] ^ 1]) + whole[-5:])
        with pytest.raises(UnreadableImageError, match=f"a.{suffix}"):
            read_metaimage(path)
        return
    data.write_bytes(whole + bytes(2**20 + 1))
    with pytest.raises(UnreadableImageError, match=f"a.{suffix}: more than 1,048,576 bytes follow"):
        read_metaimage(path)


def test_text_headers_without_an_end_or_with_a_field_twice_are_left(tmp_path: Path) -> None:
    for begin in (b"NRRD0004\n", b"ObjectType = Image\n"):
        for rest in (
            b"x" * 2**20,
            b"a: b\n" * 5000,
            b"#\n" * 5000,
            b"NDims = 3\nNDims = 3\n",
            b"type: int\ntype: int\n",
        ):
            (tmp_path / "a.mhd").write_bytes(begin + rest)
            with pytest.raises(UnreadableImageError, match="a.mhd"):
                read_metaimage(tmp_path / "a.mhd")


@pytest.mark.parametrize("suffix", ["mha", "mhd", "nrrd"])
def test_labels_lie_on_their_scans_grid(tmp_path: Path, suffix: str) -> None:
    direction = (-1, 0, 0, 0, 1, 0, 0, 0, -1)
    scan = write_itk(tmp_path / f"scan.{suffix}", HU, direction=direction)
    label = (HU > 100).astype(np.uint8) * 3
    path = write_itk(tmp_path / f"label.{suffix}", label, direction=direction, compress=True)
    labels = read_metaimage_label(path, scan)
    assert labels.dtype == np.int16
    np.testing.assert_array_equal(labels, label[::-1, :, ::-1])
    with pytest.raises(UnreadableImageError, match=r"label.* has \(10, 12, 4\) voxels, its scan"):
        read_metaimage_label(write_itk(tmp_path / f"label.{suffix}", label[1:], direction=direction), scan)
    with pytest.raises(UnreadableImageError, match=r"label.* mm away from its scan's"):
        read_metaimage_label(write_itk(tmp_path / f"label.{suffix}", label), scan)
    with pytest.raises(UnreadableImageError, match="whole numbers"):
        read_metaimage_label(write_itk(path, label + np.float32(0.5), direction=direction), scan)


def test_metaimage_of_any_direction_becomes_canonical(tmp_path: Path) -> None:
    import SimpleITK

    canonical = body((4, 12, 10))
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(canonical[::-1, ::-1]))
    image.SetSpacing((2.0, 1.5, 3.0))
    image.SetDirection((1, 0, 0, 0, -1, 0, 0, 0, -1))
    SimpleITK.WriteImage(image, tmp_path / "a.mhd")
    volume = read_metaimage(tmp_path / "a.mhd")
    np.testing.assert_array_equal(volume.hu, canonical)
    assert volume.spacing_mm == pytest.approx((3.0, 1.5, 2.0))
    (tmp_path / "a.raw").unlink()
    with pytest.raises(UnreadableImageError, match="a.mhd"):
        read_metaimage(tmp_path / "a.mhd")
