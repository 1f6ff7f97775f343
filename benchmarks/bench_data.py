"""Data: decoding into the cache, reading from it, the memory that a large set needs, and CT resampling.

``python -m benchmarks data`` runs every case, ``python -m benchmarks data:reading`` one of them. Peers and bounds are
measured in the same run, in turn:

- xrays: 1024 x 1024 JPEG DICOM to 256 x 256 in the cache, by two processes, against one process that loops over
  pydicom's ``pixel_array`` as installed and Pillow's ``resize`` (box) and writes an array; and, by one process,
  against decoding alone as that loop does it (and, for information, as Pillow's decoder does it, the fastest here).
  Images are RSNA's where ``SSROBUST_REAL_DATA`` holds them, else phantoms; each is decoded under several names.
- reading: random batches of 32 images of 256 x 256, against copying as many bytes that lie in one piece in memory.
- memory: the whole data cell of a study (tables, decoding, split, constants) with 240 and with 26,684 X-rays, small
  ones that differ in a few pixels: the largest resident set of the process and of a worker.
- ct: window and resampling of a 512 x 512 scan, growing (linear, `Resample`) and halving (means, `BinShrink`),
  against SimpleITK on one thread, since the cache decodes one scan per process.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

NAME = "data"
PEERS = ("pydicom", "pillow", "SimpleITK")
XRAYS = 192
SIZE = 256
FEW, MANY = 240, 26_684


def run(*chosen: str) -> list[dict[str, Any]]:
    """Run the chosen cases, or all.

    Raises
    ------
    ValueError
        A case is not known.
    RuntimeError
        A measured process failed; the message ends with what it printed.
    """
    unknown = [name for name in chosen if name not in CASES]
    if unknown:
        raise ValueError(f"unknown case {', '.join(unknown)}: expected one of {', '.join(CASES)}")
    with tempfile.TemporaryDirectory(dir=_scratch()) as place:
        return [row for name in chosen or CASES for row in CASES[name](Path(place))]


def _scratch() -> Path:
    """A folder on the disk where runs lie: the system's own for temporary files may be in memory."""
    from ssrobust_lib.config import PROJECT

    folder = PROJECT / "runs"
    folder.mkdir(exist_ok=True)
    return folder


def _row(what: str, measured: float, goal: str, digits: int = 2) -> dict[str, Any]:
    sign, bound = goal.split()
    met = measured >= float(bound) if sign == ">=" else measured <= float(bound)
    return {"name": what, "measured": f"{measured:.{digits}f}", "goal": goal, "met": met}


def _seconds(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    began = clock()
    work()
    return clock() - began


# ---- X-rays into the cache -----------------------------------------------------------------------------------------


def _layout(root: Path, files: Iterable[bytes]) -> Path:
    """Write a set in RSNA's layout, every fourth image positive."""
    images = root / "stage_2_train_images"
    images.mkdir(parents=True)
    lines = ["patientId,x,y,width,height,Target"]
    for number, content in enumerate(files):
        name = f"{number:08d}-0000-4000-8000-000000000000"
        (images / f"{name}.dcm").write_bytes(content)
        lines.append(f"{name},1,1,5,5,1" if number % 4 == 0 else f"{name},,,,,0")
    (root / "stage_2_train_labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def _phantoms(folder: Path, n: int, size: int) -> list[Path]:
    from ssrobust_lib.phantoms.xray_files import write_rsna_phantoms

    write_rsna_phantoms(folder / f"phantoms-{size}", n_patients=n, size=size, seed=0, workers=2)
    return sorted((folder / f"phantoms-{size}" / "stage_2_train_images").glob("*.dcm"))


def _full_size(folder: Path) -> Path:
    """A set of full-size images: a few files under many names."""
    from ssrobust_lib.sources import REAL_DATA

    real = Path(os.environ.get(REAL_DATA, "")) / "rsna" / "stage_2_train_images"
    originals = sorted(real.glob("*.dcm"))[:24] if real.is_dir() else _phantoms(folder, 12, 1024)
    contents = [path.read_bytes() for path in originals]
    return _layout(folder / "full-size", (contents[number % len(contents)] for number in range(XRAYS)))


def _distinct(folder: Path, n: int) -> Path:
    """A set of n small images that differ in their first pixels, where each has its number."""
    import io

    import pydicom
    from pydicom.uid import generate_uid

    dataset = pydicom.dcmread(_phantoms(folder / str(n), 1, 128)[0])
    dataset.decompress(generate_instance_uid=False)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["benchmark"])
    written = io.BytesIO()
    dataset.save_as(written, enforce_file_format=True)
    content, pixels = written.getvalue(), dataset.PixelData
    place = content.rindex(pixels)
    numbers = (bytes(number // 100**digit % 100 for digit in range(4)) for number in range(n))
    return _layout(folder / f"distinct-{n}", (content[:place] + digits + content[place + 4 :] for digits in numbers))


def _xrays(place: Path) -> list[dict[str, Any]]:
    from ssrobust_lib.datasets.cache import prepare_set
    from ssrobust_lib.datasets.manifest import load_manifest
    from ssrobust_lib.preprocessing import XRaySettings

    root = _full_size(place)
    files = sorted((root / "stage_2_train_images").glob("*.dcm"))
    settings, manifest = XRaySettings(SIZE), load_manifest("rsna")

    def cached(workers: int) -> float:
        """Images per second, without what a pool of processes takes to start, with the last write to the disk.

        One process is timed by its processor's time, as the bounds per core are: other work then does not count.
        """
        clock = time.process_time if workers == 1 else time.perf_counter
        shared = Path(tempfile.mkdtemp(dir=place))
        reports: list[tuple[float, int]] = []

        def told(done: int, total: int) -> None:
            reports.append((clock(), done))

        prepare_set(manifest, root, settings, workers=workers, progress=told, shared=shared)
        ended = clock()
        began, done = reports[workers]  # by then every process has handed back its first images
        return (XRAYS - done) / (ended - began)

    loop, decode, fastest, one, two = [], [], [], [], []
    for _ in range(3):  # in turn, so that the machine's load falls on all alike
        some = files[: XRAYS // 4]
        loop.append(len(some) / _seconds(lambda some=some: _plain_loop(some, place / "plain.npy")))  # type: ignore[misc]
        decode.append(len(some) / _seconds(lambda some=some: [_decoded(path) for path in some], time.process_time))  # type: ignore[misc]
        fastest.append(len(files) / _seconds(lambda: [_decoded(path, "pillow") for path in files], time.process_time))
        one.append(cached(1))
        two.append(cached(2))
    rates = {name: statistics.median(values) for name, values in (("loop", loop), ("one", one), ("two", two))}
    shown = f"{rates['two']:.0f} against {rates['loop']:.0f} images/s"
    beside = f"{rates['one'] / statistics.median(fastest):.2f} of Pillow's decoder alone"
    return [
        _row(f"X-rays, 2 processes / plain loop ({shown})", rates["two"] / rates["loop"], ">= 1.5"),
        _row(
            f"X-rays, per core / decoding in that loop ({beside})", rates["one"] / statistics.median(decode), ">= 0.9"
        ),
    ]


def _decoded(path: Path, plugin: str = "") -> np.ndarray:
    import pydicom

    dataset = pydicom.dcmread(path)
    if plugin:
        dataset.pixel_array_options(decoding_plugin=plugin)
    return dataset.pixel_array


def _plain_loop(files: list[Path], target: Path) -> None:
    """What one would write: decode, resize, keep as float16."""
    from PIL import Image

    images = np.empty((len(files), SIZE, SIZE), np.float16)
    for image, path in zip(images, files, strict=True):
        picture = Image.fromarray(_decoded(path)).resize((SIZE, SIZE), Image.Resampling.BOX)
        image[...] = np.asarray(picture, np.float32) / 255
    np.save(target, images)


# ---- reading -------------------------------------------------------------------------------------------------------


def _reading(place: Path) -> list[dict[str, Any]]:
    from ssrobust_lib.datasets import image_files
    from ssrobust_lib.datasets.stored_images import StoredImages

    n, batch = 2048, 32
    generator = np.random.default_rng(0)
    folder = place / "reading"
    folder.mkdir()
    image_files.create_files(folder, SIZE, with_labels=False)
    pixels = generator.integers(0, 2**15, (n, SIZE, SIZE), np.uint16).view(np.float16)
    image_files.write_at(folder / image_files.IMAGES, 0, pixels, SIZE)
    images = StoredImages([folder / image_files.IMAGES], np.zeros(n), np.arange(n), SIZE)
    copies, gathers = [], []
    for _ in range(5):
        order = generator.permutation(n).reshape(-1, batch)
        copies.append(_seconds(lambda: [pixels[first : first + batch].copy() for first in range(0, n, batch)]))
        gathers.append(_seconds(lambda order=order: [images[rows] for rows in order]))  # type: ignore[misc]
    gigabytes = pixels.nbytes / statistics.median(gathers[1:]) / 1e9
    ratio = statistics.median(copies[1:]) / statistics.median(gathers[1:])
    return [_row(f"random batches / copying in memory ({gigabytes:.1f} GB/s)", ratio, ">= 0.90")]


# ---- memory --------------------------------------------------------------------------------------------------------

_CELL = """
import json, resource, sys, time
from pathlib import Path
from ssrobust_lib.config import load_profile
from ssrobust_lib.profile_sections import TaskData
from ssrobust_lib.study import Study

root, runs, n = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
data = TaskData(set="rsna", validation=n // 10, test=n // 9, label_fraction=0.01, image_size=64)
profile = load_profile("paper").model_copy(
    update={"name": f"bench-{n}", "data_root": str(root), "data": {"pneumonia": data}, "threads": 2}
)
study = Study(profile, runs=runs)
began = time.perf_counter()
study.ensure(study.cells("01_data"))
seconds = time.perf_counter() - began
peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps({"seconds": seconds, "megabytes": [peak / 1024 for peak in peaks]}))
"""


def _memory(place: Path) -> list[dict[str, Any]]:
    found = {}
    for n in (FEW, MANY):
        root = _distinct(place, n)
        (place / f"root-{n}").mkdir()
        (place / f"root-{n}" / "rsna").symlink_to(root)
        command = [sys.executable, "-c", _CELL, str(place / f"root-{n}"), str(place / "runs"), str(n)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the data cell of {n} X-rays failed:\n{done.stderr[-2000:]}")
        found[n] = json.loads(done.stdout.splitlines()[-1])
    more = [many - few for few, many in zip(found[FEW]["megabytes"], found[MANY]["megabytes"], strict=True)]
    words = f"{found[FEW]['megabytes'][0]:.0f} to {found[MANY]['megabytes'][0]:.0f} MB, {found[MANY]['seconds']:.0f} s"
    return [
        _row(f"data cell, MB more for {MANY:,} X-rays ({words})", more[0], "<= 200", 0),
        _row("data cell, MB more of a worker", more[1], "<= 200", 0),
    ]


# ---- CT ------------------------------------------------------------------------------------------------------------


def _ct(place: Path) -> list[dict[str, Any]]:
    import SimpleITK

    from ssrobust_lib.preprocessing import DEFAULT_WINDOW_HU, Grid, resample_ct, window

    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    n = 48
    hu = np.random.default_rng(0).integers(-1000, 1000, (n, 512, 512)).astype(np.float32)
    step = 0.8
    grow = Grid((-0.1, 40.0, 40.0), (step, step, step), (n, 512, 512), (60, 512, 512), (2.0, 0.6, 0.6))
    halve = Grid((0.0, 0.5, 0.5), (1.0, 2.0, 2.0), (n, 512, 512), (n, 256, 256), (2.5, 1.5, 1.5))

    def windowed() -> Any:
        return SimpleITK.GetImageFromArray(window(hu, DEFAULT_WINDOW_HU))

    def linear() -> np.ndarray:
        size, spacing, origin = ([*values][::-1] for values in (grow.shape_out, grow.step, grow.origin))
        found = SimpleITK.Resample(windowed(), size, SimpleITK.Transform(), SimpleITK.sitkLinear, origin, spacing)
        return SimpleITK.GetArrayFromImage(found)

    def means() -> np.ndarray:
        return SimpleITK.GetArrayFromImage(SimpleITK.BinShrink(windowed(), [2, 2, 1]))

    rows = []
    for what, grid, peer in (("growing, Resample", grow, linear), ("halving, BinShrink", halve, means)):
        if not np.allclose(resample_ct(hu, grid, DEFAULT_WINDOW_HU), peer(), atol=1e-4):
            raise RuntimeError(f"{what}: the two do not compute the same")
        ours, theirs = [], []
        for _ in range(5):
            ours.append(_seconds(lambda grid=grid: resample_ct(hu, grid, DEFAULT_WINDOW_HU)))  # type: ignore[misc]
            theirs.append(_seconds(peer))
        seconds = statistics.median(ours)
        rows.append(
            _row(f"CT / SimpleITK: {what} ({n / seconds:.0f} slices/s)", seconds / statistics.median(theirs), "<= 1")
        )
    return rows


CASES: dict[str, Callable[[Path], list[dict[str, Any]]]] = {
    "xrays": _xrays,
    "reading": _reading,
    "memory": _memory,
    "ct": _ct,
}


if __name__ == "__main__":
    sys.exit("run `python -m benchmarks data` or, for one case, `python -m benchmarks data:reading`")
