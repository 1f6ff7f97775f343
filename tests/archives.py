"""Archives for tests, and files as a manifest offers them."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

from ssrobust_lib.datasets.manifest import DownloadFile


def source(address: str, content: bytes | None, **fields: object) -> DownloadFile:
    """A manifest's file at an address of this machine, which the schema's https would refuse; None states no size."""
    known = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()} if content is not None else {}
    values = {
        "address": address,
        "name": "a.bin",
        "bytes": None,
        "md5": None,
        "sha256": None,
        "unpack": "none",
        "into": "",
    }
    return DownloadFile.model_construct(**{**values, **known, **fields})


def zip_of(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return path


def tar_of(path: Path, members: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path
