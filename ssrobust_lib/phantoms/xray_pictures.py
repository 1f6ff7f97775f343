"""Chest X-ray phantoms as pictures: the layouts of Kermany et al. 2018 (JPEG) and of NIH ChestX-ray14 (PNG and CSV).

Enter: a folder, a number of patients, an image size and a seed. Leave: files that the loaders of the real sets read.
Each set has patients of its own; some have several films, each with an exposure of its own. Stand-ins for the sets that
stand in for the X-rays of the paper's section 3.1.
"""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from ssrobust_lib.phantoms.sets import Options, Progress, Rows, build_set
from ssrobust_lib.phantoms.xray import SMALLEST, Film, Patient, category_of, draw_patient, render
from ssrobust_lib.phantoms.xray_detector import draw_exposure
from ssrobust_lib.phantoms.xray_findings import OPACITY
from ssrobust_lib.registry import unknown_name
from ssrobust_lib.seeds import derive_seed, rng

VERSION = 1  # of the files; a change makes old folders stale
LARGEST = 4096
JPEG_QUALITY = 92
KERMANY_PREVALENCE = 4273 / 5856
KERMANY_LAYOUTS = ("mendeley2", "mendeley3", "kaggle")
NIH_TABLE = "Data_Entry_2017_v2020.csv"
NIH_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
NIH_FOLDERS = 12
# what the text mining would have found in a report on each look-alike of pneumonia
NIH_FINDINGS = {
    "nodules": "Nodule",
    "mass": "Mass",
    "bands": "Atelectasis",
    "effusion": "Effusion",
    "congestion": "Edema",
    "scars": "Fibrosis",
    "granuloma": "Nodule",
    "cardiomegaly": "Cardiomegaly",
    "raised_dome": "Atelectasis",
}
TEST_EVERY = 9  # about the published share of test images (624 of 5,856)


def write_kermany_phantoms(
    root: Path | str,
    *,
    n_patients: int,
    size: int,
    seed: int,
    layout: str = "mendeley2",
    workers: int = 1,
    progress: Progress | None = None,
) -> Path:
    """Write a set as Kermany et al. 2018 is laid out: 73 % of the patients with pneumonia, every ninth for testing.

    Parameters
    ----------
    root : the set's folder; while it grows it is called `<root>.partial`.
    n_patients : patients, of whom three in ten have two films.
    size : pixels along an edge, 32 to 4096.
    seed : decides everything, with the patient's number and the size.
    layout : mendeley2 (`chest_xray/{train,test}`), mendeley3 (`CellData/chest_xray`, other file names) or kaggle
        (mendeley2 with two training patients of each class in `val`, everything once more in `chest_xray/chest_xray`,
        and the companions that macOS leaves).
    workers, progress : see sets.build_set.

    Returns
    -------
    The folder.

    Raises
    ------
    ValueError, UnknownNameError
        If a number is out of range or the layout is unknown.
    DirectoryTakenError, OSError
        As sets.build_set does.
    """
    if layout not in KERMANY_LAYOUTS:
        raise unknown_name("layout of Kermany's set", layout, list(KERMANY_LAYOUTS))
    options = _options("kermany", n_patients, size, seed) | {"layout": layout}
    return build_set(root, options, _kermany_patient, _kermany_whole, workers=workers, progress=progress)


def write_nih_phantoms(
    root: Path | str,
    *,
    n_patients: int,
    size: int,
    seed: int,
    folders: int = NIH_FOLDERS,
    workers: int = 1,
    progress: Progress | None = None,
) -> Path:
    """Write a set as NIH ChestX-ray14 is laid out: PNG files, the table of findings, and the lists of its split.

    Parameters
    ----------
    root : the set's folder; while it grows it is called `<root>.partial`.
    n_patients : patients, of whom three in ten have two films; every fifth is a test patient.
    size : pixels along an edge, 32 to 4096 (published: 1024).
    seed : decides everything, with the patient's number and the size.
    folders : 12 for `images_001/images/` to `images_012/images/` as the archives unpack one by one, 1 for `images/`.
    workers, progress : see sets.build_set.

    Returns
    -------
    The folder. Raises as `write_kermany_phantoms` does.
    """
    if folders not in (1, NIH_FOLDERS):
        raise ValueError(f"expected 1 or {NIH_FOLDERS} folders, got {folders}")
    options = _options("nih", n_patients, size, seed) | {"folders": folders}
    return build_set(root, options, _nih_patient, _nih_tables, workers=workers, progress=progress)


def _options(name: str, n_patients: int, size: int, seed: int) -> Options:
    if n_patients < 1:
        raise ValueError(f"expected n_patients of 1 or more, got {n_patients}")
    if not SMALLEST <= size <= LARGEST:
        raise ValueError(f"expected a size between {SMALLEST} and {LARGEST} pixels, got {size}")
    return {"set": name, "version": VERSION, "n_scans": n_patients, "size": size, "seed": derive_seed(seed, name)}


def films_of(patient: Patient, seed: int, size: int) -> Iterator[Film]:
    """Take one film of a patient, or, of three patients in ten, two with different exposures."""
    generator = rng(seed, "xray phantom", "films", patient.index)
    for number in range(1 + int(generator.random() < 0.3)):
        taken = patient if number == 0 else replace(patient, exposure=draw_exposure(generator, patient.anatomy))
        yield render(taken, seed, size)


def save_picture(path: Path, film: Film) -> None:
    """Write a film as 8-bit grey PNG or JPEG, as the suffix says."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.rint(np.clip(film.image, 0, 1) * 255).astype(np.uint8)
    quality = {} if path.suffix == ".png" else {"quality": JPEG_QUALITY}
    Image.fromarray(pixels).save(path, **quality)


def _kermany_patient(folder: Path, index: int, options: Options) -> Rows:
    """Write the films of one patient; return where they are."""
    seed, layout = int(options["seed"]), str(options["layout"])
    sick, rank = _class_of(index)
    patient = draw_patient(seed, _nth_patient(seed, sick, rank))
    split = "test" if index % TEST_EVERY == TEST_EVERY - 1 else "train"
    if layout == "kaggle" and split == "train" and rank < 2:
        split = "val"
    top = folder / ("CellData/chest_xray" if layout == "mendeley3" else "chest_xray")
    kind = ("normal", "bacteria", "virus")[sick * (1 + index % 3 // 2)]
    rows = []
    for number, film in enumerate(films_of(patient, seed, int(options["size"])), start=1):
        name = _kermany_name(layout, kind, index, number)
        path = top / split / ("PNEUMONIA" if sick else "NORMAL") / name
        save_picture(path, film)
        rows.append({"image": path.relative_to(folder).as_posix()})
    return rows


def _class_of(index: int) -> tuple[bool, int]:
    """Whether patient `index` is sick, and its rank among those of its class: any run has the published prevalence."""
    sick = np.floor(np.arange(1, index + 2) * KERMANY_PREVALENCE) > np.floor(np.arange(index + 1) * KERMANY_PREVALENCE)
    return bool(sick[-1]), int((sick[:-1] == sick[-1]).sum())


def _nth_patient(seed: int, sick: bool, rank: int) -> int:
    """Number of the phantom patient who is the `rank`-th (from 0) with, or without, pneumonia."""
    met, index = -1, -1
    while met < rank:
        index += 1
        met += (category_of(seed, index) == OPACITY) == sick
    return index


def _kermany_name(layout: str, kind: str, index: int, number: int) -> str:
    if layout == "mendeley3":
        return f"{kind.upper()}-{1_000_000 + 7 * index}-{number:04d}.jpeg"
    if kind == "normal":
        return f"{'NORMAL2-' if index % 2 else ''}IM-{index + 1:04d}-{number:04d}.jpeg"
    return f"person{index + 1}_{kind}_{2 * index + number}.jpeg"


def _kermany_whole(folder: Path, options: Options, rows: list[Rows]) -> None:
    if options["layout"] != "kaggle":
        return
    for path in (row["image"] for patient in rows for row in patient):
        copy = folder / "chest_xray" / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / path, copy)
    for name in ("chest_xray/.DS_Store", "chest_xray/__MACOSX/chest_xray/._train"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"\0\5\x16\7")


def _nih_patient(folder: Path, index: int, options: Options) -> Rows:
    """Write the films of one patient; return their rows of the table."""
    seed, size = int(options["seed"]), int(options["size"])
    patient = draw_patient(seed, index)
    findings = [NIH_FINDINGS[name] for name in patient.findings.lookalikes]
    findings += ["Pneumonia"] if patient.positive else []
    labels = "|".join(sorted(set(findings))) or "No Finding"
    part = index * int(options["folders"]) // int(options["n_scans"]) + 1
    where = "images" if options["folders"] == 1 else f"images_{part:03d}/images"
    rows = []
    for number, film in enumerate(films_of(patient, seed, size)):
        name = f"{index + 1:08d}_{number:03d}.png"
        save_picture(folder / where / name, film)
        spacing = f"{film.pixel_mm:.3f}"
        values = (name, labels, number, index + 1, patient.age, patient.sex, patient.view, size, size, spacing, spacing)
        rows.append({"image": name, "test": index % 5 == 4, "line": ",".join(map(str, values))})
    return rows


def _nih_tables(folder: Path, options: Options, rows: list[Rows]) -> None:
    films = [row for patient in rows for row in patient]
    (folder / NIH_TABLE).write_text("\n".join([NIH_HEADER, *(row["line"] for row in films)]) + "\n", encoding="utf-8")
    for name, test in (("train_val_list.txt", False), ("test_list.txt", True)):
        members = [row["image"] for row in films if row["test"] == test]
        (folder / name).write_text("\n".join(members) + "\n", encoding="utf-8")
