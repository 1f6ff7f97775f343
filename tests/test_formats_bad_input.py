"""What can lie at a path in place of an image: each reader names it and the reason, and returns at once."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from format_files import picture_bytes, save_dicom, write_itk
from layouts import body, write_canonical, xray

from ssrobust_lib.datasets import UnreadableImageError
from ssrobust_lib.datasets.formats import read_dicom, read_dicom_series, read_metaimage, read_nifti, read_picture
from ssrobust_lib.datasets.formats.files import looks_like, printable

READERS: dict[str, Callable[[Path], Any]] = {
    "dicom": read_dicom,
    "series": lambda path: read_dicom_series([path]),
    "nifti": read_nifti,
    "metaimage": read_metaimage,
    "picture": read_picture,
}
RANDOM = np.random.default_rng(0).bytes(5000)
CONTENTS = {
    "empty": (b"", "the file is empty"),
    "zeros": (bytes(5000), "a file of zeros"),
    "encrypted": (RANDOM, "encrypted or compressed"),
    "openssl": (b"Salted__" + RANDOM, "encrypted with OpenSSL"),
    "web page": (b"<!DOCTYPE html><html><body>Please log in</body></html>", "a web page"),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
    "zip": (b"PK\x03\x04" + bytes(100), "a ZIP archive"),
    "pdf": (b"%PDF-1.4 " + bytes(100), "PDF"),
    "text": (b"patient,label\n1,0\n" * 30, "not readable|header"),
    "one byte": (b"\0", "zeros|not readable|header"),
    "tiff": (b"II*\0" + bytes(300), "TIFF"),
}


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("reader", READERS)
def test_other_content_is_named(tmp_path: Path, reader: str, content: str) -> None:
    data, reason = CONTENTS[content]
    path = tmp_path / "scan_7.xyz"
    path.write_bytes(data)
    with pytest.raises(UnreadableImageError, match=f"scan_7.xyz: .*({reason})"):
        READERS[reader](path)


@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_plain_file_is_never_opened(tmp_path: Path, reader: str) -> None:
    """A named pipe would wait for ever, a device would never end."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, reason in {
        "pipe": "a device",
        "folder": "a folder",
        "link": "a device",
        "loop": "cannot be opened|no such file",
        "none": "no such file",
    }.items():
        with pytest.raises(UnreadableImageError, match=f"{name}: .*({reason})"):
            READERS[reader](tmp_path / name)


def valid_files(folder: Path) -> dict[str, Path]:
    (folder / "film.png").write_bytes(picture_bytes(xray(), "PNG"))
    return {
        "dicom": save_dicom(folder / "film.dcm", xray(), {"Modality": "CR"}),
        "nifti": write_canonical(folder / "scan.nii.gz", body()),
        "metaimage": write_itk(folder / "scan.mha", body()),
        "picture": folder / "film.png",
    }


def test_every_format_is_refused_by_the_readers_of_the_others(tmp_path: Path) -> None:
    files = valid_files(tmp_path)
    for form, path in files.items():
        for reader, read in READERS.items():
            if reader == form:
                read(path)
                continue
            with pytest.raises(UnreadableImageError, match=path.name):
                read(path)
    with pytest.raises(UnreadableImageError, match="film.dcm: not readable as PNG or JPEG; it looks like DICOM"):
        read_picture(files["dicom"])
    with pytest.raises(UnreadableImageError, match="film.png: not readable as DICOM; it looks like PNG"):
        read_dicom(files["picture"])


@pytest.mark.parametrize("name", ["Müller_腹部.{}", "with space.{}", "-rf.{}", "a'b\"c.{}", "café\u0301.{}"])
def test_names_of_any_script_are_read(tmp_path: Path, name: str) -> None:
    for form, path in valid_files(tmp_path).items():
        other = path.rename(tmp_path / name.format(path.suffix.lstrip(".")))
        READERS[form](other)
        other.write_bytes(b"damaged")
        with pytest.raises(UnreadableImageError) as caught:
            READERS[form](other)
        assert str(caught.value).startswith(other.name)


def test_a_name_of_broken_bytes_makes_a_reason_that_can_be_stored(tmp_path: Path) -> None:
    name = os.fsdecode(b"film\xff\n.png")
    (tmp_path / name).write_bytes(b"damaged")
    with pytest.raises(UnreadableImageError) as caught:
        read_picture(tmp_path / name)
    assert str(caught.value).startswith("film? .png: ")
    str(caught.value).encode("utf-8")
    (tmp_path / name).write_bytes(picture_bytes(xray(), "PNG"))
    assert read_picture(tmp_path / name).pixels.shape == (32, 32)


def test_reasons_are_one_short_line(tmp_path: Path) -> None:
    assert printable("a\nb\x00\udc80" + "c" * 1000, 20) == "a b ?" + "c" * 12 + "..."
    assert looks_like(gzip.compress(b"x")) == "a gzip file" and looks_like(b"") == "" and looks_like(b"abc") == ""
    assert looks_like(b"abcdefgh" * 200) == ""


@pytest.mark.parametrize("read", [read_dicom, read_picture, read_nifti, read_metaimage])
def test_damaged_and_missing_files_are_named(tmp_path: Path, read: object) -> None:
    path = tmp_path / {read_nifti: "bad.nii.gz", read_metaimage: "bad.mhd"}.get(read, "bad.png")
    with pytest.raises(UnreadableImageError, match=r"bad\."):
        read(path)
    path.write_bytes(b"not an image at all" * 40)
    with pytest.raises(UnreadableImageError, match=r"bad\."):
        read(path)
