"""NIfTI: the voxels that nibabel reads, the right way round, and nothing that a header must not get."""

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
from ssrobust_lib.datasets.formats import read_nifti, read_nifti_label

HU = body((5, 12, 10))


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


@pytest.mark.parametrize(
    ("order", "signs"),
    list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))[::3],
)
def test_nifti_of_any_orientation_becomes_canonical(
    tmp_path: Path, order: tuple[int, ...], signs: tuple[int, ...]
) -> None:
    canonical = body((4, 12, 10))
    spacing = np.array([3.0, 1.5, 2.0])
    stored = canonical.transpose(order)[tuple(slice(None, None, sign) for sign in signs)]
    world, towards = (2, 1, 0), (1, -1, -1)  # canonical axes run to S, P and L; the world of NIfTI is R, A, S
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for axis, (source, sign) in enumerate(zip(order, signs, strict=True)):
        affine[world[source], axis] = towards[source] * sign * spacing[source]
    volume = read_nifti(write_nifti(tmp_path / "a.nii.gz", np.ascontiguousarray(stored), affine))
    np.testing.assert_array_equal(volume.hu, canonical)
    assert volume.spacing_mm == pytest.approx(tuple(spacing))


def test_nifti_slope_is_applied_and_a_fourth_axis_of_one_dropped(tmp_path: Path) -> None:
    stored = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    write_nifti(tmp_path / "a.nii", stored[..., None], slope=2.0)
    assert read_nifti(tmp_path / "a.nii").hu.max() == 46
    with pytest.raises(UnreadableImageError, match="three axes"):
        read_nifti(write_nifti(tmp_path / "b.nii", np.stack([stored, stored], -1)))


def test_absurd_nifti_headers_and_voxels_are_refused(tmp_path: Path) -> None:
    import nibabel

    huge = nibabel.Nifti1Header()
    huge.set_data_dtype(np.int16)
    huge.set_data_shape((32_000, 32_000, 32_000))
    (tmp_path / "huge.nii").write_bytes(huge.binaryblock + bytes(4096))
    with pytest.raises(UnreadableImageError, match="claims"):
        read_nifti(tmp_path / "huge.nii")
    scan = body().astype(np.float32)
    scan[3, 4, 5] = np.nan
    with pytest.raises(UnreadableImageError, match=r"nan.nii: 1 voxels are NaN"):
        read_nifti(write_nifti(tmp_path / "nan.nii", scan))
    with pytest.raises(UnreadableImageError, match="one value"):
        read_nifti(write_nifti(tmp_path / "flat.nii", np.full((3, 4, 5), -1000, np.int16)))
    with pytest.raises(UnreadableImageError, match="mm"):
        read_nifti(write_nifti(tmp_path / "metres.nii", body(), np.diag([-900.0, -900.0, 900.0, 1])))


def test_a_label_on_another_grid_or_without_whole_numbers_is_refused(tmp_path: Path) -> None:
    scan = write_canonical(tmp_path / "scan.nii", body())
    label = np.zeros((6, 40, 40), np.uint8)
    with pytest.raises(UnreadableImageError, match=r"has \(40, 40, 5\) voxels, its scan"):
        read_nifti_label(write_canonical(tmp_path / "short.nii", label[1:]), scan)
    flipped = np.diag([2.0, -2.0, 3.0, 1.0])
    with pytest.raises(UnreadableImageError, match="mm away"):
        read_nifti_label(write_nifti(tmp_path / "flipped.nii", label.transpose(2, 1, 0), flipped), scan)
    for value in (0.5, np.nan, 1e9):
        with pytest.raises(UnreadableImageError, match="whole numbers"):
            read_nifti_label(write_canonical(tmp_path / "half.nii", label + np.float32(value)), scan)
    np.testing.assert_array_equal(read_nifti_label(write_canonical(tmp_path / "f.nii", label + np.float32(2)), scan), 2)
