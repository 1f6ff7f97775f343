"""A fuzzer of the readers: valid files of every format, damaged at random, must be read or refused with a reason.

``python tests/fuzz.py COUNT [SEED]`` damages COUNT files in a process of its own, started again where a decoder
kills it, and prints what went wrong. File number k depends on (SEED, k) alone, so that a finding can be made again
with ``damaged(seeds, SEED, k)``. `test_formats_fuzz.py` runs a few hundred by default and thousands with ``-m slow``.

A reader may hand back an image (finite numbers of its range, of the size that it says) or raise `UnreadableImageError`
with the file's name. Anything else is a finding: another exception, a crash, more than `SECONDS` for one file, or a
memory error under a limit of `MEMORY_BYTES`.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from format_files import bundled, jpeg, picture_bytes, save_dicom, write_ct_series, write_enhanced_ct, write_itk
from layouts import body, write_canonical, xray

from ssrobust_lib.datasets import UnreadableImageError
from ssrobust_lib.datasets.formats import (
    read_dicom,
    read_dicom_series,
    read_mask_pictures,
    read_metaimage,
    read_metaimage_label,
    read_nifti,
    read_nifti_label,
    read_picture,
)
from ssrobust_lib.datasets.loader import Volume, XRay

SECONDS = 10.0
MEMORY_BYTES = 6 * 2**30
SHAPE = (4, 40, 40)
SYNTAXES = {
    "explicit": "1.2.840.10008.1.2.1",
    "implicit": "1.2.840.10008.1.2",
    "big endian": "1.2.840.10008.1.2.2",
    "rle": "1.2.840.10008.1.2.5",
    "jpeg": "1.2.840.10008.1.2.4.50",
    "jpeg 2000": "1.2.840.10008.1.2.4.90",
}
# real headers, of files that come with pydicom; their modality is read as what each reader expects
BUNDLED = {
    "deflated": "image_dfl.dcm",
    "jpeg-ls 8": "JPEGLSNearLossless_08.dcm",
    "jpeg-ls 16": "JPEGLSNearLossless_16.dcm",
}
NUMBERS = (0, 1, 2, 7, 8, 127, 128, 255, 256, 32_767, 32_768, 65_535, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)
WORDS = ("-1", "0", "1e300", "nan", "inf", "99999999999999", "65536", "1 1", "", "LIST", "../x", "/dev/zero", "é\udcff")


@dataclass(frozen=True)
class Seed:
    """A valid file: its name and content, the files beside it, and how it is read."""

    name: str
    content: bytes
    read: Callable[[Path], Any]
    beside: dict[str, bytes] = field(default_factory=dict)


def make_seeds(folder: Path) -> list[Seed]:
    """Write one valid file of each kind, and take their bytes."""
    hu, label = body(SHAPE), (body(SHAPE) > 100).astype(np.uint8)
    found = []

    def add(path: Path, read: Callable[[Path], Any], *beside: Path) -> None:
        found.append(Seed(path.name, path.read_bytes(), read, {other.name: other.read_bytes() for other in beside}))

    deep = xray(side=40).astype(np.uint16) * 16
    for name, syntax in SYNTAXES.items():
        pixels = xray(side=40) if name in ("jpeg", "rle") else deep
        elements = {"WindowCenter": 2000, "WindowWidth": 3000} if name == "implicit" else {}
        add(save_dicom(folder / f"{name}.dcm", pixels, {"Modality": "DX", **elements}, syntax=syntax), read_dicom)
    for name, file in BUNDLED.items():
        (folder / f"{name}.dcm").write_bytes(bundled(file).read_bytes())
        add(folder / f"{name}.dcm", read_dicom)
    lossless = folder / "lossless.dcm"
    write_lossless(lossless, deep)
    add(lossless, read_dicom)
    for name, syntax in (("slices", SYNTAXES["explicit"]), ("packed", SYNTAXES["jpeg 2000"])):
        slices = write_ct_series(folder / name, hu, syntax=syntax)
        add(slices[1], read_series_of, slices[0], *slices[2:])
    add(write_enhanced_ct(folder / "enhanced.dcm", hu), read_series_of)
    for name in ("a.nii", "a.nii.gz"):
        scan = write_canonical(folder / name, hu)
        add(scan, read_nifti)
        add(write_canonical(folder / f"label_{name}", label), partial(read_label_of, read_nifti_label, scan.name), scan)
    for suffix in ("mha", "nrrd"):
        for compress in (False, True):
            scan = write_itk(folder / f"a{int(compress)}.{suffix}", hu, compress=compress)
            add(scan, read_metaimage)
        path = write_itk(folder / f"label.{suffix}", label, compress=True)
        add(path, partial(read_label_of, read_metaimage_label, scan.name), scan)
    for suffix, data in (("mhd", "raw"), ("nhdr", "raw")):
        path = write_itk(folder / suffix / f"a.{suffix}", hu)
        add(path, read_metaimage, path.with_suffix(f".{data}"))
    pictures = {
        "grey.png": picture_bytes(xray(), "PNG"),
        "deep.png": picture_bytes(deep, "PNG"),
        "colour.png": picture_bytes(np.stack([xray()] * 3, -1), "PNG"),
        "grey.jpeg": jpeg(xray()),
        "progressive.jpeg": jpeg(xray(), progressive=True),
        "colour.jpeg": jpeg(np.stack([xray()] * 3, -1)),
    }
    found += [Seed(name, content, read_picture) for name, content in pictures.items()]
    found.append(Seed("mask.png", picture_bytes(label[0] * 255, "PNG"), read_mask_of))
    return found


def write_lossless(path: Path, pixels: np.ndarray) -> None:
    import SimpleITK

    writer = SimpleITK.ImageFileWriter()
    writer.SetFileName(str(path))
    writer.SetUseCompression(True)
    writer.SetCompressor("JPEG")
    writer.Execute(SimpleITK.GetImageFromArray(pixels))


def read_series_of(path: Path) -> Volume:
    return read_dicom_series(sorted(path.parent.iterdir()))


def read_label_of(read: Callable[[Path, Path], np.ndarray], scan: str, path: Path) -> np.ndarray:
    return read(path, path.parent / scan)


def read_mask_of(path: Path) -> np.ndarray:
    return read_mask_pictures([path], Volume(np.zeros((1, *SHAPE[1:]), np.float32), (1.0, 1.0, 1.0)))


# --- damage


def damaged(seeds: list[Seed], seed: int, number: int) -> tuple[Seed, bytes]:
    """File `number` of a run: the seed that it comes from, and its damaged content."""
    random = np.random.default_rng([seed, number])
    chosen = seeds[number % len(seeds)]
    content = bytearray(chosen.content)
    for _ in range(int(random.integers(1, 4))):
        damage = DAMAGES[int(random.integers(len(DAMAGES)))]
        damage(content, random, seeds)
    return chosen, bytes(content)


def _place(content: bytearray, random: np.random.Generator) -> int:
    """Somewhere in the file, more often near its start, where headers are."""
    reach = int(random.choice([64, 400, 1500, len(content)]))
    return int(random.integers(max(1, min(reach, len(content)))))


def flip_bits(content: bytearray, random: np.random.Generator, seeds: list[Seed]) -> None:
    for _ in range(int(random.integers(1, 9))):
        if content:
            content[_place(content, random)] ^= 1 << int(random.integers(8))


def write_number(content: bytearray, random: np.random.Generator, seeds: list[Seed]) -> None:
    """An edge case of some width and byte order, at an even place as often as not."""
    value, width = int(random.choice(len(NUMBERS))), int(random.choice([1, 2, 4, 8]))
    place = _place(content, random) & (~1 if random.random() < 0.7 else ~0)
    packed = (NUMBERS[value] % 2 ** (8 * width)).to_bytes(width, "little" if random.random() < 0.5 else "big")
    content[place : place + width] = packed


def write_float(content: bytearray, random: np.random.Generator, seeds: list[Seed]) -> None:
    value = float(random.choice([np.nan, np.inf, -1e30, 1e-30, 0.0, 3e38]))
    place = _place(content, random) & ~3
    content[place : place + 4] = np.float32(value).tobytes()


def cut_off(content: bytearray, random: np.random.Generator, seeds: list[Seed]) -> None:
    del content[_place(content, random) :]


def cut_out(content: bytearray, random: np.random.Generator, seeds: list[Seed]) -> None:
    place = _place(content, random)
    del content[place : place + int(random.integers(1, 64))]


def repeat(content: bytearray, random: np.random.Generator, seeds: list[Seed]) -> None:
    place = _place(content, random)
    part = bytes(content[place : place + int(random.integers(1, 200))])
    content[place:place] = part * int(random.choice([1, 2, 50]))


def put_in(content: bytearray, random: np.random.Generator, seeds: list[Seed]) -> None:
    new = random.bytes(int(random.integers(1, 64))) if random.random() < 0.5 else bytes(int(random.integers(1, 64)))
    place = _place(content, random)
    content[place:place] = new


def splice(content: bytearray, random: np.random.Generator, seeds: list[Seed]) -> None:
    """The end of another file."""
    other = seeds[int(random.integers(len(seeds)))].content
    content[_place(content, random) :] = other[int(random.integers(len(other))) :]


def change_word(content: bytearray, random: np.random.Generator, seeds: list[Seed]) -> None:
    """Another value for a number written as text."""
    numbers = [(start, end) for start, end in _numbers_in(bytes(content[:4096]))]
    if numbers:
        start, end = numbers[int(random.integers(len(numbers)))]
        content[start:end] = WORDS[int(random.integers(len(WORDS)))].encode("utf-8", "surrogateescape")


def _numbers_in(text: bytes) -> Iterator[tuple[int, int]]:
    import re

    for match in re.finditer(rb"[-+]?\d+(?:\.\d+)?", text):
        yield match.span()


DAMAGES = (flip_bits, write_number, write_float, cut_off, cut_out, repeat, put_in, splice, change_word, write_number)


# --- judging


def judge(seed: Seed, content: bytes, folder: Path) -> str:
    """Write a damaged file, read it, and say what is wrong with the outcome; '' for nothing.

    The outcome of a file that is refused, or read, is right; `seed.name` must stand in the reason.
    """
    for old in folder.iterdir():
        old.unlink()
    for name, beside in seed.beside.items():
        (folder / name).write_bytes(beside)
    path = folder / seed.name
    path.write_bytes(content)
    began = time.perf_counter()
    try:
        result = seed.read(path)
    except UnreadableImageError as error:
        text = str(error)
        wrong = "" if path.name in text or folder.name in text else f"the reason does not name the file: {text}"
        wrong = wrong or ("" if "MemoryError" not in text else text)
        wrong = wrong or ("" if text.isprintable() and len(text) < 1000 else f"a reason of no printable line: {text!r}")
    except BaseException as error:
        wrong = f"{type(error).__name__}: {error}"
    else:
        wrong = _wrong_result(result)
    seconds = time.perf_counter() - began
    return wrong or ("" if seconds <= SECONDS else f"took {seconds:.1f} seconds")


def _wrong_result(result: Any) -> str:
    if isinstance(result, XRay):
        array, low, high = result.pixels, 0.0, 1.0
        if any(not text.isprintable() for text in result.metadata.values() if isinstance(text, str)):
            return f"metadata {result.metadata}"
    elif isinstance(result, Volume):
        array, low, high = result.hu, -1e5, 1e5
        if not all(0 < size <= 50 for size in result.spacing_mm):
            return f"spacing {result.spacing_mm}"
    else:
        return "" if result.dtype == np.int16 and result.ndim == 3 else f"labels {result.dtype} {result.shape}"
    if array.dtype != np.float32 or not np.isfinite(array).all() or array.min() < low or array.max() > high:
        return f"values {array.dtype} from {array.min()} to {array.max()}"
    return ""


def run_in_process(count: int, seed: int, *, start: int = 0, report: Callable[[str], None] | None = None) -> list[str]:
    """Damage and judge files `start` to `count - 1` here; what is wrong, with the number of the file.

    `report` is told the number of each file before it is read.
    """
    findings = []
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "seeds").mkdir()
        (Path(place) / "read").mkdir()
        seeds = make_seeds(Path(place) / "seeds")
        for number in range(start, count):
            if report:
                report(json.dumps({"number": number}))
            chosen, content = damaged(seeds, seed, number)
            wrong = judge(chosen, content, Path(place) / "read")
            if wrong:
                findings.append(f"{number} ({chosen.name}): {wrong}")
                if report:
                    report(json.dumps({"finding": findings[-1]}))
    return findings


def run_guarded(count: int, seed: int) -> list[str]:
    """As `run_in_process`, in a process with a memory limit that is started again when a file kills or stops it."""
    findings: list[str] = []
    start = 0
    while start < count:
        with tempfile.TemporaryFile("w+") as printed:
            command = [sys.executable, "-X", "faulthandler", __file__, "--child", str(count), str(seed), str(start)]
            child = subprocess.Popen(command, stdout=printed, stderr=subprocess.PIPE, text=True)
            _, complaints = child.communicate()
            printed.seek(0)
            lines = [json.loads(line) for line in printed if line.startswith("{")]
        findings += [line["finding"] for line in lines if "finding" in line]
        if child.returncode == 0:
            return findings
        numbers = [line["number"] for line in lines if "number" in line]
        if not numbers:
            raise RuntimeError(f"the fuzzer does not start: {complaints[-2000:]}")
        findings.append(f"{numbers[-1]}: the process ended with {child.returncode}: {complaints[-600:]}")
        start = numbers[-1] + 1
    return findings


def _child(count: int, seed: int, start: int) -> None:
    import faulthandler

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))

    def report(line: str) -> None:
        print(line, flush=True)
        faulthandler.dump_traceback_later(4 * SECONDS, exit=True)  # a decoder that never returns ends the process

    run_in_process(count, seed, start=start, report=report)
    faulthandler.cancel_dump_traceback_later()


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--child"]:
        _child(*(int(argument) for argument in arguments[1:]))
        return 0
    count, seed = int(arguments[0]), int(arguments[1]) if len(arguments) > 1 else 0
    began = time.perf_counter()
    findings = run_guarded(count, seed)
    print(*findings, sep="\n")
    print(f"{count:,} damaged files, {len(findings)} findings, {time.perf_counter() - began:.0f} s (seed {seed})")
    return int(bool(findings))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
