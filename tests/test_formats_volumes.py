"""NIfTI, MetaImage and NRRD: the voxels that nibabel and SimpleITK read, and nothing that a header should not get."""

import bz2
import gzip
import itertools
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from format_files import write_itk
from layouts import LPS, body, write_canonical, write_nifti

from ssrobust_lib.datasets import UnreadableImageError
from ssrobust_lib.datasets.formats import read_metaimage, read_metaimage_label, read_nifti, read_nifti_label

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


# --- MetaImage and NRRD as ITK reads them


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


# --- NIfTI


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("version", [1, 2])
def test_every_nifti_is_read_as_nibabel_reads_it(tmp_path: Path, dtype: str, order: str, version: int) -> None:
    import nibabel

    kind = nibabel.Nifti1Image if version == 1 else nibabel.Nifti2Image
    stored = (HU / 16 + (70 if dtype[0] == "u" else 0)).astype(dtype).transpose(2, 1, 0)
    header = kind.header_class(endianness=order)
    header.set_data_dtype(np.dtype(dtype))
    image = kind(stored, LPS, header, dtype=np.dtype(dtype))
    image.header.set_slope_inter(0.5, -7)
    nibabel.save(image, tmp_path / "a.nii.gz")
    expected = nibabel.load(tmp_path / "a.nii.gz").get_fdata().transpose(2, 1, 0)
    np.testing.assert_allclose(read_nifti(tmp_path / "a.nii.gz").hu, expected, rtol=1e-6)


@pytest.mark.parametrize("chunk", [1, 500, 700])
def test_scans_read_in_many_parts_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    from ssrobust_lib.datasets.formats import grids

    monkeypatch.setattr(grids, "CHUNK_BYTES", chunk)
    kits = np.array([[0, 0, -2.0, 0], [0, -2.0, 0, 0], [-3.0, 0, 0, 0], [0, 0, 0, 1]])
    for name, array, affine in (("a.nii.gz", HU.transpose(2, 1, 0), LPS), ("b.nii", HU[::-1], kits)):
        path = write_nifti(tmp_path / name, np.ascontiguousarray(array), affine)
        np.testing.assert_array_equal(read_nifti(path).hu, HU)
        np.testing.assert_array_equal(read_nifti_label(path, path), HU)


def test_a_file_is_known_by_its_content_not_by_its_name(tmp_path: Path) -> None:
    path = write_canonical(tmp_path / "a.nii.gz", HU)
    plain = write_canonical(tmp_path / "b.nii", HU)
    path.rename(tmp_path / "c.nii")
    plain.rename(tmp_path / "d.nii.gz")
    for name in ("c.nii", "d.nii.gz"):
        np.testing.assert_array_equal(read_nifti(tmp_path / name).hu, HU)
    write_itk(tmp_path / "e.mha", HU).rename(tmp_path / "e.nii.gz")
    with pytest.raises(UnreadableImageError, match="e.nii.gz: not readable as NIfTI; it looks like MetaImage"):
        read_nifti(tmp_path / "e.nii.gz")


def nifti_bytes(path: Path, changes: dict[int, bytes], array: np.ndarray = HU) -> bytes:
    """A plain NIfTI-1 file with some bytes of its header changed."""
    content = bytearray(write_canonical(path, array).read_bytes())
    for place, new in changes.items():
        content[place : place + len(new)] = new
    return bytes(content)


VOX_OFFSET, DIMENSIONS, DATATYPE, SLOPE, SROW = 108, 40, 70, 112, 280


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({DIMENSIONS: struct.pack("<4h", 3, 32767, 32767, 32767)}, "claims"),
        ({DIMENSIONS: struct.pack("<4h", 3, 10, 12, 9000)}, "2,160,352 bytes, .* cut short"),
        ({DIMENSIONS: struct.pack("<4h", 3, 10, 12, -5)}, "three axes"),
        ({DIMENSIONS: struct.pack("<8h", 7, 10, 12, 5, 1, 1, 3, 1)}, "three axes"),
        ({DIMENSIONS: struct.pack("<4h", 2, 10, 12, 5)}, "three axes"),
        ({DATATYPE: struct.pack("<2h", 128, 24)}, "voxels of type"),
        ({DATATYPE: struct.pack("<2h", 32, 64)}, "complex64"),
        ({DATATYPE: struct.pack("<2h", 1536, 128)}, "float128|code 1536"),
        ({DATATYPE: struct.pack("<2h", 999, 16)}, "code 999"),
        ({VOX_OFFSET: struct.pack("<f", 3e38)}, "the voxels at byte 3e"),
        ({VOX_OFFSET: struct.pack("<f", float("nan"))}, "the voxels at byte nan"),
        ({VOX_OFFSET: struct.pack("<f", 16)}, "the voxels at byte 16"),
        ({VOX_OFFSET: struct.pack("<f", -400)}, "the voxels at byte -400"),
        ({SLOPE: struct.pack("<2f", 1e30, 0)}, "no Hounsfield units"),
        ({SROW: struct.pack("<f", float("nan"))}, "affine"),
        ({SROW: struct.pack("<4f", 0, 0, 0, 0)}, "voxels of"),
        ({344: b"ni1\0"}, "pair of files"),
        ({344: b"\0\0\0\0"}, "Analyze"),
        ({0: b"\x5d\x01\0\0"}, "does not begin with a NIfTI header"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_nifti_headers_that_are_wrong_are_named(
    tmp_path: Path, changes: dict[int, bytes], reason: str, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "a.nii"
    path.write_bytes(pack(nifti_bytes(tmp_path / "whole.nii", changes)))
    if pack is gzip.compress and "cut short" in reason:  # a gzip file of this size could hold half a megabyte
        reason = "2,160,352 bytes, and the file can hold at most .* cut short"
    with pytest.raises(UnreadableImageError, match=f"a.nii: .*({reason})"):
        read_nifti(path)


def test_a_gzip_bomb_is_left_behind_its_voxels_and_one_within_them_takes_no_memory(tmp_path: Path) -> None:
    content = nifti_bytes(tmp_path / "whole.nii", {})
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    with (tmp_path / "behind.nii.gz").open("wb") as file:  # 96 MiB of zeros behind the scan
        file.write(packer.compress(content))
        for _ in range(96):
            file.write(packer.compress(bytes(2**20)))
        file.write(packer.flush())
    within = nifti_bytes(tmp_path / "whole.nii", {DIMENSIONS: struct.pack("<4h", 3, 4096, 4096, 60)})
    (tmp_path / "within.nii.gz").write_bytes(gzip.compress(within + bytes(2**22)))
    tracemalloc.start()
    with pytest.raises(UnreadableImageError, match="behind.nii.gz: more than 1,048,576 bytes follow"):
        read_nifti(tmp_path / "behind.nii.gz")
    with pytest.raises(UnreadableImageError, match="within.nii.gz: .*claims .*2,013,266,272 bytes, and .* at most"):
        read_nifti(tmp_path / "within.nii.gz")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 48 * 2**20


def test_a_gzip_file_whose_checksum_is_wrong_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(nifti_bytes(tmp_path / "whole.nii", {}))
    for place in (-5, -1, len(whole) // 2):
        content = bytearray(whole)
        content[place] ^= 1
        (tmp_path / "a.nii.gz").write_bytes(content)
        with pytest.raises(UnreadableImageError, match="a.nii.gz"):
            read_nifti(tmp_path / "a.nii.gz")


def test_a_gzip_file_of_several_members_is_read_to_its_end(tmp_path: Path) -> None:
    plain = nifti_bytes(tmp_path / "whole.nii", {})
    expected = read_nifti(tmp_path / "whole.nii").hu
    members = (
        gzip.compress(plain[:100]) + gzip.compress(b"") + gzip.compress(plain[100:500]) + gzip.compress(plain[500:])
    )
    for padding in (b"", bytes(20), bytes(2**19)):
        (tmp_path / "a.nii.gz").write_bytes(members + padding)
        np.testing.assert_array_equal(read_nifti(tmp_path / "a.nii.gz").hu, expected)
    for damaged in (members + b"no gzip member", members[:-9], members[:200]):
        (tmp_path / "a.nii.gz").write_bytes(damaged)
        with pytest.raises(UnreadableImageError, match="a.nii.gz: not readable as NIfTI"):
            read_nifti(tmp_path / "a.nii.gz")


def test_a_late_voxel_beyond_all_hounsfield_units_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nibabel

    from ssrobust_lib.datasets.formats import grids

    monkeypatch.setattr(grids, "CHUNK_BYTES", 1)
    for dtype, value, scale in (("i4", 2**20, 1), ("i2", 2**14, 8), ("u2", 2**16 - 1, 1.6)):
        stored = (HU - HU.min()).astype(dtype)
        stored[-1, -1, -1] = value
        image = nibabel.Nifti1Image(stored.transpose(2, 1, 0), LPS)
        image.header.set_slope_inter(scale, 0)
        nibabel.save(image, tmp_path / "a.nii")
        with pytest.raises(UnreadableImageError, match="a.nii: values from .* are no Hounsfield units"):
            read_nifti(tmp_path / "a.nii")


def test_voxels_that_no_ct_has_are_refused(tmp_path: Path) -> None:
    for value, reason in ((np.nan, "1 voxels are NaN"), (-np.inf, "NaN or infinite"), (3e7, "no Hounsfield units")):
        scan = HU.astype(np.float32)
        scan[2, 3, 4] = value
        with pytest.raises(UnreadableImageError, match=f"a.nii: .*{reason}"):
            read_nifti(write_canonical(tmp_path / "a.nii", scan))


def test_labels_of_any_type_become_whole_numbers(tmp_path: Path) -> None:
    scan = write_canonical(tmp_path / "scan.nii", HU)
    label = (HU > 100).astype(np.int16) * 3
    for dtype in ("u1", "i2", "i4", "i8", "f4", "f8"):
        path = write_canonical(tmp_path / "label.nii.gz", label.astype(dtype)) if dtype != "i8" else None
        if path is None:
            import nibabel

            nibabel.save(
                nibabel.Nifti1Image(label.astype("i8").transpose(2, 1, 0), np.diag([-2.0, -2.0, 3.0, 1.0]), dtype="i8"),
                path := tmp_path / "label.nii.gz",
            )
        np.testing.assert_array_equal(read_nifti_label(path, scan), label)
    path = write_nifti(tmp_path / "half.nii", label.transpose(2, 1, 0) * 2, slope=0.5)
    np.testing.assert_array_equal(read_nifti_label(path, scan), label)
    for wrong in (label + 0.25, label + 40_000.0, np.where(label > 0, np.nan, 0)):
        with pytest.raises(UnreadableImageError, match="wrong.nii: the label holds .* whole numbers"):
            read_nifti_label(write_canonical(tmp_path / "wrong.nii", wrong.astype(np.float32)), scan)
