"""Decoding: each reader against a plain loop of the library that users would call, in one process and one thread.

``python -m benchmarks decoding`` runs every case, ``python -m benchmarks decoding:radiograph`` one of them. A case is
timed call by call in turn, in seconds of the processor; the figure is the ratio of median times.
Radiographs are phantoms of 1,024 pixels as RSNA publishes them; scans are 512 x 512 x 64 voxels with noise.

A peer does the reader's work but its checks: from the same file to float32, pixels in [0, 1] or voxels in canonical
axes, in one piece of memory. What a figure in brackets compares with does less, or has other means:

- Pillow's decoder alone ends with 8 bits; the way to float32 takes any reader a fifth of its time.
- nibabel maps a plain file into memory, which saves a copy. Here files are read: a process is killed when a file that
  it has mapped shrinks or its disk fails, and a reader has to name the file instead. The peer reads, too.
- SimpleITK brings zlib-ng, which inflates faster than the zlib that Python has. The peer inflates by Python's, all at
  once, which no reader can that refuses a file before it has grown beyond its header's claim.

The goal is 0.9 where the peer is such a bound, what no reader built on the same decoder can do without, and 1 where it
is a library's own way of reading. What the cache owes to a loop over pydicom's decoder is measured in ``bench_data``.
"""

import tempfile
import time
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

NAME = "decoding"
PEERS = ("pydicom", "pillow", "nibabel", "SimpleITK")
ROUNDS = 15
GOAL = 1.0
BOUND = 0.9


def run(*chosen: str) -> list[dict[str, Any]]:
    """Run the chosen cases, or all; rows with name, measured (ratio of speeds), goal, met.

    Raises
    ------
    ValueError
        A case is not known.
    """
    unknown = [name for name in chosen if name not in CASES]
    if unknown:
        raise ValueError(f"unknown case {', '.join(unknown)}: expected one of {', '.join(CASES)}")
    with tempfile.TemporaryDirectory() as place:
        return [row for name in chosen or CASES for row in CASES[name](Path(place))]


def _row(
    name: str,
    ours: Callable[[], Any],
    peer: Callable[[], Any],
    goal: float = GOAL,
    beside: tuple[str, Callable[[], Any]] | None = None,
) -> dict[str, Any]:
    """Speed of `ours` over that of `peer`; in brackets what it is over that of another, which has no goal."""
    import numpy as np

    calls = [ours, peer] + ([beside[1]] if beside else [])
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(ROUNDS + 1):
        for call, kept in zip(calls, times, strict=True):
            began = time.process_time()
            call()
            kept.append(time.process_time() - began)
    mine, theirs, *others = (float(np.median(kept[1:])) for kept in times)
    also = f"; {others[0] / mine:.2f} of {beside[0]}" if beside else ""
    return {
        "name": f"{name} ({mine * 1e3:.1f} ms{also})",
        "measured": f"{theirs / mine:.2f}",
        "goal": f">= {goal:.2f}",
        "met": theirs / mine >= goal,
    }


def _radiograph(folder: Path) -> list[dict[str, Any]]:
    import io

    import numpy as np
    import pydicom
    from PIL import Image

    from ssrobust_lib.datasets.formats import read_dicom
    from ssrobust_lib.phantoms.xray_files import IMAGES, write_rsna_phantoms

    files = sorted((write_rsna_phantoms(folder / "rsna", n_patients=4, size=1024, seed=0) / IMAGES).glob("*.dcm"))

    def ours() -> None:
        for path in files:
            read_dicom(path)

    def decoded(path: Path) -> Any:
        """The header, and the JPEG's pixels as they are stored."""
        data = pydicom.dcmread(path)
        frame = next(pydicom.encaps.generate_frames(data.PixelData, number_of_frames=1))
        return np.asarray(Image.open(io.BytesIO(frame)))

    def decoded_only() -> None:
        for path in files:
            decoded(path)

    def by_pillow() -> None:
        for path in files:
            np.divide(decoded(path), np.float32(255), dtype=np.float32)

    def by_pydicom() -> None:
        for path in files:
            np.divide(pydicom.dcmread(path).pixel_array, np.float32(255), dtype=np.float32)

    return [
        _row("4 radiographs / pydicom", ours, by_pydicom, 1.5),
        _row("4 radiographs / pydicom + Pillow", ours, by_pillow, BOUND, ("decoding alone", decoded_only)),
    ]


def _scan() -> Any:
    import numpy as np

    ramp = np.linspace(-1000, 800, 512, dtype=np.float32)
    noise = np.random.default_rng(0).normal(0, 12, (64, 512, 512)).astype(np.float32)
    return (ramp[:, None] * 0.5 + ramp[None, :] * 0.5 + noise).astype(np.int16)


def _nifti(folder: Path) -> list[dict[str, Any]]:
    import nibabel
    import numpy as np

    from ssrobust_lib.datasets.formats import read_nifti

    def by_nibabel(path: Path, mmap: bool) -> Any:
        return np.ascontiguousarray(nibabel.load(path, mmap=mmap).get_fdata(dtype=np.float32).transpose(2, 1, 0))

    rows = []
    for name in ("scan.nii", "scan.nii.gz"):
        path = folder / name
        nibabel.save(nibabel.Nifti1Image(_scan().transpose(2, 1, 0), np.diag([-0.8, -0.8, 3.0, 1.0])), path)
        mapped = ("nibabel, mapped", partial(by_nibabel, path, True)) if name == "scan.nii" else None
        peer = partial(by_nibabel, path, False)
        rows.append(_row(f"{name} / nibabel", partial(read_nifti, path), peer, beside=mapped))
    return rows


def _metaimage(folder: Path) -> list[dict[str, Any]]:
    import numpy as np
    import SimpleITK

    from ssrobust_lib.datasets.formats import read_metaimage

    def by_itk(path: Path) -> Any:
        image = SimpleITK.DICOMOrient(SimpleITK.ReadImage(str(path)), "LPS")
        return SimpleITK.GetArrayViewFromImage(image).astype(np.float32)

    def by_zlib(path: Path, header_ends: bytes) -> Any:
        content = path.read_bytes()
        start = content.index(header_ends) + len(header_ends)
        voxels = zlib.decompress(memoryview(content)[start:], wbits=32 + zlib.MAX_WBITS)  # zlib's header, or gzip's
        return np.frombuffer(voxels, np.int16).reshape(64, 512, 512).astype(np.float32)

    rows = []
    for name, header_ends in (("scan.mhd", b""), ("packed.mha", b"LOCAL\n"), ("packed.nrrd", b"\n\n")):
        path = folder / name
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(_scan()), str(path), bool(header_ends))
        ours, itk = partial(read_metaimage, path), partial(by_itk, path)
        if header_ends:
            peer = partial(by_zlib, path, header_ends)
            rows.append(_row(f"{name} / zlib + NumPy", ours, peer, BOUND, ("SimpleITK", itk)))
        else:
            rows.append(_row(f"{name} / SimpleITK", ours, itk))
    return rows


CASES: dict[str, Callable[[Path], list[dict[str, Any]]]] = {
    "radiograph": _radiograph,
    "nifti": _nifti,
    "metaimage": _metaimage,
}
