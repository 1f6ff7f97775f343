"""Unpacking: right archives give their files, malicious and damaged ones a reason and nothing on disk."""

import gzip
import stat
import struct
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from archives import tar_of, zip_of
from hypothesis import given, settings
from hypothesis import strategies as st

from ssrobust_lib.data_command import extraction as module
from ssrobust_lib.data_command.extraction import ArchiveError, Limits, extract, safe_name

FILES = {"set/train/a.png": b"a" * 1000, "set/b.csv": b"patient,label\n", "Grüße.txt": b""}
OUTSIDE = ["../evil.txt", "set/../../evil.txt", "/tmp/evil.txt", "C:evil.txt", "set\\..\\evil.txt", "a\nb.txt"]


def refused(archive: Path, kind: str, match: str, tmp_path: Path, **options: object) -> None:
    """The archive is refused with a reason that names it, and leaves nothing behind, neither inside nor outside."""
    before = sorted(path for path in tmp_path.rglob("*"))
    with pytest.raises(ArchiveError, match=match) as caught:
        extract(archive, kind, tmp_path / "out", **options)
    assert archive.name in str(caught.value)
    assert sorted(path for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("kind", "make"),
    [("zip", zip_of), ("tar", tar_of), ("tar", lambda path, members: tar_of(path, members, "w"))],
    ids=["zip", "tar.gz", "tar"],
)
def test_files_come_out_as_they_went_in(tmp_path, kind, make):
    seen: list[tuple[int, int]] = []
    archive = make(tmp_path / "archive", FILES)
    sizes = extract(archive, kind, tmp_path / "out", shown=lambda done, total: seen.append((done, total)))
    assert sizes == {name: len(content) for name, content in FILES.items()}
    assert {name: (tmp_path / "out" / name).read_bytes() for name in sizes} == FILES
    assert seen == sorted(seen) and seen[-1][0] <= archive.stat().st_size == seen[-1][1]


def test_a_gzip_file_gives_one_file(tmp_path):
    archive = tmp_path / "scan.nii.gz"
    archive.write_bytes(gzip.compress(b"voxels"))
    assert extract(archive, "gzip", tmp_path / "out") == {"scan.nii": 6}
    assert (tmp_path / "out" / "scan.nii").read_bytes() == b"voxels"


def test_folders_and_the_folder_itself_are_no_files(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in (".", "./set", "./set/empty"):
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE
            archive.addfile(info)
        archive.addfile(tarfile.TarInfo("./set/a"))
    assert extract(tmp_path / "a.tar", "tar", tmp_path / "out") == {"set/a": 0}


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize(("kind", "make"), [("zip", zip_of), ("tar", tar_of)], ids=["zip", "tar"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path, kind, make, name):
    refused(make(tmp_path / "archive", {"good": b"x", name: b"evil"}), kind, "refused", tmp_path)


@given(st.lists(st.sampled_from(["..", ".", "", "a", "ö", "~", "c:"]), max_size=6), st.sampled_from(["/", "\\"]))
@settings(max_examples=200, deadline=None)
def test_a_name_is_refused_or_stays_inside(parts, slash):
    try:
        path = safe_name(slash.join(parts))
    except ArchiveError:
        return
    inside = Path("/folder").joinpath(path)
    assert Path("/folder") in Path(*[part for part in inside.parts if part != "."]).resolve().parents


@pytest.mark.parametrize("name", ["", "a/" * 40 + "b", "x" * 300, "nul\0.txt", "\udce4.txt"])
def test_names_that_no_file_system_takes_are_refused(name):
    with pytest.raises(ArchiveError, match="refused"):
        safe_name(name)


@pytest.mark.parametrize("kind", ["SYMTYPE", "LNKTYPE", "CHRTYPE", "BLKTYPE", "FIFOTYPE"])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = getattr(tarfile, kind), "/etc/passwd"
        archive.addfile(info)
    refused(tmp_path / "a.tar", "tar", "'link' is a link, a device", tmp_path)


def test_a_file_through_a_link_of_the_same_archive_is_refused(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        link = tarfile.TarInfo("set")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        archive.addfile(link)
        archive.addfile(tarfile.TarInfo("set/evil"))
    refused(tmp_path / "a.tar", "tar", "is a link", tmp_path)


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_in_a_zip_are_refused(tmp_path, mode):
    info = zipfile.ZipInfo("link")
    info.external_attr = (mode | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    refused(tmp_path / "a.zip", "zip", "'link' is a link or a device", tmp_path)


@pytest.mark.parametrize(("kind", "make"), [("zip", zip_of), ("tar", tar_of)], ids=["zip", "tar"])
def test_a_bomb_is_stopped(tmp_path, kind, make):
    archive = make(tmp_path / "archive", {"bomb": bytes(40 * 2**20)})
    assert archive.stat().st_size < 2**20
    refused(archive, kind, "times as much: a bomb", tmp_path, limits=Limits(free_bytes=2**20))


def test_a_gzip_bomb_is_stopped(tmp_path):
    archive = tmp_path / "bomb.nii.gz"
    archive.write_bytes(gzip.compress(bytes(40 * 2**20)))
    refused(archive, "gzip", "a bomb", tmp_path, limits=Limits(free_bytes=2**20))


def test_a_small_archive_may_shrink_well(tmp_path):
    archive = zip_of(tmp_path / "labels.zip", {"label.nii": bytes(8 * 2**20)})
    assert extract(archive, "zip", tmp_path / "out") == {"label.nii": 8 * 2**20}


def test_a_zip_whose_table_lies_about_sizes_is_stopped(tmp_path):
    archive = zip_of(tmp_path / "a.zip", {"bomb": bytes(40 * 2**20)})
    data = bytearray(archive.read_bytes())
    for mark, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):  # uncompressed size in table and local header
        struct.pack_into("<I", data, data.rindex(mark) + offset, 10)
    archive.write_bytes(data)
    refused(archive, "zip", "Bad CRC|a bomb|not readable", tmp_path)


@pytest.mark.parametrize(("kind", "make"), [("zip", zip_of), ("tar", tar_of)], ids=["zip", "tar"])
def test_numbers_of_files_and_bytes_are_limited(tmp_path, kind, make):
    archive = make(tmp_path / "archive", {f"{k}": b"x" for k in range(20)})
    refused(archive, kind, "more than 10 files", tmp_path, limits=Limits(files=10))
    refused(archive, kind, "unpacks to more than|claims", tmp_path, limits=Limits(n_bytes=10))


@pytest.mark.parametrize(("kind", "make"), [("zip", zip_of), ("tar", tar_of)], ids=["zip", "tar"])
def test_two_files_of_one_name_and_a_file_that_is_a_folder_are_refused(tmp_path, kind, make):
    archive = make(tmp_path / "archive", {"a": b"x", "a/b": b"y"})
    refused(archive, kind, "a file and as a folder", tmp_path)
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as twice, pytest.warns(UserWarning, match="Duplicate"):
        twice.writestr("a", b"1")
        twice.writestr("a", b"2")
    refused(tmp_path / "twice.zip", "zip", "twice", tmp_path)


def test_an_encrypted_zip_says_so(tmp_path):
    archive = zip_of(tmp_path / "a.zip", {"a": b"x"})
    data = bytearray(archive.read_bytes())
    for mark, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):  # general purpose flags
        data[data.index(mark) + offset] |= 1
    archive.write_bytes(data)
    refused(archive, "zip", "is encrypted", tmp_path)


def test_a_zip_compressed_otherwise_says_what_to_do(tmp_path):
    archive = zip_of(tmp_path / "a.zip", {"a": b"x"})
    data = bytearray(archive.read_bytes())
    for mark, offset in ((b"PK\x01\x02", 10), (b"PK\x03\x04", 8)):  # method
        data[data.index(mark) + offset] = 9
    archive.write_bytes(data)
    refused(archive, "zip", r"Deflate64, which is not read here; unpack .*a\.zip yourself, with 7-Zip", tmp_path)


@pytest.mark.parametrize("kind", ["zip", "tar", "gzip"])
@pytest.mark.parametrize("content", [b"", b"<html>", b"PK\x03\x04" + bytes(100), b"\x1f\x8b" + bytes(100)])
def test_what_is_no_archive_is_refused(tmp_path, kind, content):
    archive = tmp_path / "a.gz"
    archive.write_bytes(content)
    refused(archive, kind, "a.gz", tmp_path)


@pytest.mark.parametrize(
    ("kind", "make"),
    [("zip", zip_of), ("tar", tar_of), ("tar", lambda path, members: tar_of(path, members, "w"))],
    ids=["zip", "tar.gz", "tar"],
)
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_a_truncated_archive_is_refused(tmp_path, kind, make, share):
    import random

    members = {f"set/{k}": random.Random(k).randbytes(40_000) for k in range(5)}
    archive = make(tmp_path / "archive", members)
    archive.write_bytes(archive.read_bytes()[: int(share * archive.stat().st_size)])
    refused(archive, kind, "archive", tmp_path)


def test_a_tar_that_ends_between_two_members_is_refused(tmp_path):
    archive = tar_of(tmp_path / "a.tar", {"a": bytes(512), "b": bytes(512)}, "w")
    archive.write_bytes(archive.read_bytes()[:1024])  # header and content of the first member
    refused(archive, "tar", "without the mark of an end after 1 files", tmp_path)


def test_a_damaged_header_within_a_tar_is_not_taken_for_its_end(tmp_path):
    archive = tar_of(tmp_path / "a.tar", {"a": bytes(512), "b": bytes(512)}, "w")
    data = bytearray(archive.read_bytes())
    data[1024 + 148 : 1024 + 156] = b"0000000\0"  # checksum of the second header
    archive.write_bytes(data)
    refused(archive, "tar", "without the mark of an end", tmp_path)


def test_a_header_that_claims_all_memory_is_refused(tmp_path):
    """A pax header of 200 MB would be read at once, before any member is seen."""
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 200 * 2**20
    with gzip.open(tmp_path / "a.tar.gz", "wb", 1) as archive:
        archive.write(header.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(200):
            archive.write(bytes(2**20))
    refused(tmp_path / "a.tar.gz", "tar", "a header is longer than", tmp_path, limits=Limits(ratio=1e9))


def test_flipped_bits_never_escape(tmp_path):
    """Mutated archives: an error with a reason, or files whose checksums the format has vouched for."""
    import random

    generator = random.Random(0)
    for kind, make in (("zip", zip_of), ("tar", tar_of), ("tar", lambda p, m: tar_of(p, m, "w"))):
        clean = make(tmp_path / "archive", FILES).read_bytes()
        for turn in range(60):
            data = bytearray(clean)
            for _ in range(generator.randint(1, 4)):
                data[generator.randrange(len(data))] = generator.randrange(256)
            (tmp_path / "archive").write_bytes(data)
            out = tmp_path / "out" / str(turn)
            try:
                extract(tmp_path / "archive", kind, out)
            except ArchiveError:
                assert not out.exists()
                continue
            assert all(out in path.parents and not path.is_symlink() for path in out.rglob("*"))
        assert {path.name for path in tmp_path.iterdir()} <= {"archive", "out"}
        module.shutil.rmtree(tmp_path / "out", ignore_errors=True)


def test_an_interrupted_extraction_leaves_nothing(tmp_path):
    archive = zip_of(tmp_path / "a.zip", FILES)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(archive, "zip", tmp_path / "out", shown=interrupt)
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_noticed_before_unpacking(tmp_path, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: SimpleNamespace(free=module.RESERVE + 10))
    refused(zip_of(tmp_path / "a.zip", FILES), "zip", "unpacking needs", tmp_path)
