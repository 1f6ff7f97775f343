"""Decoding: each reader against the library that users would call, on the same files, in one process and one thread.

``python -m benchmarks decoding`` runs every case, ``python -m benchmarks decoding:radiograph`` one of them. A case is
timed file by file in turn, so that the machine's load falls on both alike; the figure is the ratio of median times.
Radiographs are phantoms of 1,024 pixels as RSNA publishes them; scans are 512 x 512 x 64 voxels with noise.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

NAME = "decoding"
ROUNDS = 9
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


def _row(name: str, ours: Callable[[], Any], peer: Callable[[], Any], goal: float = GOAL) -> dict[str, Any]:
    """Speed of `ours` over that of `peer`."""
    import numpy as np

    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS + 1):
        for call, kept in zip((ours, peer), times, strict=True):
            began = time.perf_counter()
            call()
            kept.append(time.perf_counter() - began)
    mine, theirs = (float(np.median(kept[1:])) for kept in times)
    return {
        "name": f"{name} ({mine * 1e3:.1f} ms)",
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

    def decoded_only() -> None:
        """What no reader can do without: the header, and the JPEG's pixels."""
        for path in files:
            data = pydicom.dcmread(path)
            frame = next(pydicom.encaps.generate_frames(data.PixelData, number_of_frames=1))
            np.asarray(Image.open(io.BytesIO(frame)))

    def by_pydicom() -> None:
        for path in files:
            np.asarray(pydicom.dcmread(path).pixel_array, dtype=np.float32)

    return [
        _row("4 radiographs to [0, 1], against pydicom", ours, by_pydicom, 1.5),
        _row("4 radiographs to [0, 1], against pydicom + Pillow, decode only", ours, decoded_only, BOUND),
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

    rows = []
    for name in ("scan.nii", "scan.nii.gz"):
        path = folder / name
        nibabel.save(nibabel.Nifti1Image(_scan().transpose(2, 1, 0), np.diag([-0.8, -0.8, 3.0, 1.0])), path)

        def by_nibabel(path: Path = path) -> Any:
            return np.ascontiguousarray(nibabel.load(path).get_fdata(dtype=np.float32).transpose(2, 1, 0))

        rows.append(_row(f"{name}, against nibabel", lambda path=path: read_nifti(path), by_nibabel))
    return rows


def _metaimage(folder: Path) -> list[dict[str, Any]]:
    import numpy as np
    import SimpleITK

    from ssrobust_lib.datasets.formats import read_metaimage

    def by_itk(path: Path) -> Any:
        image = SimpleITK.DICOMOrient(SimpleITK.ReadImage(str(path)), "LPS")
        return SimpleITK.GetArrayViewFromImage(image).astype(np.float32)

    rows = []
    for name, compress in (("scan.mhd", False), ("packed.mha", True), ("packed.nrrd", True)):
        path = folder / name
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(_scan()), str(path), compress)
        rows.append(
            _row(f"{name}, against SimpleITK", lambda path=path: read_metaimage(path), lambda path=path: by_itk(path))
        )
    return rows


CASES: dict[str, Callable[[Path], list[dict[str, Any]]]] = {
    "radiograph": _radiograph,
    "nifti": _nifti,
    "metaimage": _metaimage,
}
