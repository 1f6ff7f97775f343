"""Chest X-ray phantoms as files: the layout of the RSNA Pneumonia Detection Challenge, stage 2.

Enter: a folder, a number of patients, an image size and a seed. Leave: `stage_2_train_images/<patientId>.dcm` (8-bit
JPEG Baseline), `stage_2_train_labels.csv` (one row per box; a patient without boxes has one row) and
`stage_2_detailed_class_info.csv` (a class per label row). Stands in for the X-ray set of the paper's section 3.1.
"""

import csv
from io import BytesIO, StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np

from ssrobust_lib.phantoms.sets import Options, Progress, Rows, build_set
from ssrobust_lib.phantoms.xray import SMALLEST, Film, Patient, draw_patient, render
from ssrobust_lib.seeds import derive_seed

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

VERSION = 1  # of the anatomy and the files; a change of either makes old folders stale
IMAGES = "stage_2_train_images"
TEST_IMAGES = "stage_2_test_images"
LABELS = "stage_2_train_labels.csv"
CLASSES = "stage_2_detailed_class_info.csv"
SUBMISSION = "stage_2_sample_submission.csv"
LABEL_COLUMNS = ("patientId", "x", "y", "width", "height", "Target")
LARGEST = 4096
JPEG_QUALITY = 92


def write_rsna_phantoms(
    root: Path | str,
    *,
    n_patients: int,
    size: int,
    seed: int,
    workers: int = 1,
    progress: Progress | None = None,
) -> Path:
    """Write a set as RSNA stage 2 lays it out, one radiograph per patient, 22.5 % of them with pneumonia.

    Patient k's image depends on (seed, k, size) alone: a larger set begins with the patients of a smaller one.

    Parameters
    ----------
    root : the set's folder; while it grows it is called `<root>.partial`.
    n_patients : radiographs.
    size : pixels along an edge, 32 to 4096 (published: 1024).
    seed : decides everything, with the patient's number and the size.
    workers, progress : see sets.build_set.

    Returns
    -------
    The folder.

    Raises
    ------
    ValueError
        If a number is out of range.
    DirectoryTakenError, OSError
        As sets.build_set does: the folder holds other files, or a file cannot be written.
    """
    options = _options("rsna", n_patients, size, seed)
    return build_set(root, options, _write_patient, _write_tables, workers=workers, progress=progress)


def write_rsna_test_phantoms(
    root: Path | str,
    *,
    n_patients: int,
    size: int,
    seed: int,
    workers: int = 1,
    progress: Progress | None = None,
) -> Path:
    """Write the unlabelled images of RSNA's stage-2 test set, of other patients than those of `write_rsna_phantoms`.

    `stage_2_test_images/<patientId>.dcm` and `stage_2_sample_submission.csv`. Parameters and errors as there.
    """
    options = _options("rsna_test", n_patients, size, derive_seed(seed, "rsna_test"))
    return build_set(root, options, _write_test_patient, _write_submission, workers=workers, progress=progress)


def _options(name: str, n_patients: int, size: int, seed: int) -> Options:
    if n_patients < 1:
        raise ValueError(f"expected n_patients of 1 or more, got {n_patients}")
    if not SMALLEST <= size <= LARGEST:
        raise ValueError(f"expected a size between {SMALLEST} and {LARGEST} pixels, got {size}")
    return {"set": name, "version": VERSION, "n_scans": n_patients, "size": size, "seed": seed}


def patient_id(seed: int, index: int) -> str:
    """Identifier in the form of the published ones: a random-looking UUID that the seed and the number decide."""
    high, low = derive_seed(seed, "xray phantom", "id", index, 0), derive_seed(seed, "xray phantom", "id", index, 1)
    return str(UUID(int=(high << 64) | low, version=4))


def _write_patient(folder: Path, index: int, options: Options) -> Rows:
    """Write one radiograph; return its label rows, each with the patient's class."""
    name, patient, film = _write_film(folder / IMAGES, index, options)
    target = int(patient.positive)
    boxes: list[tuple[Any, ...]] = [tuple(float(v) for v in box) for box in film.boxes] or [("", "", "", "")]
    return [{**dict(zip(LABEL_COLUMNS, (name, *box, target), strict=True)), "class": patient.category} for box in boxes]


def _write_test_patient(folder: Path, index: int, options: Options) -> Rows:
    name, _, _ = _write_film(folder / TEST_IMAGES, index, options)
    return [{"patientId": name}]


def _write_film(folder: Path, index: int, options: Options) -> tuple[str, Patient, Film]:
    """Write one radiograph as DICOM; return its patientId, who is on it, and the film."""
    seed, size = int(options["seed"]), int(options["size"])
    patient = draw_patient(seed, index)
    film = render(patient, seed, size)
    name = patient_id(seed, index)
    folder.mkdir(exist_ok=True)
    buffer = BytesIO()
    dicom_of(patient, film, name).save_as(buffer, enforce_file_format=True)
    (folder / f"{name}.dcm").write_bytes(buffer.getvalue())
    return name, patient, film


def _write_submission(folder: Path, options: Options, rows: list[Rows]) -> None:
    """Write the sample submission, which names every test image with an arbitrary box."""
    names = sorted(row["patientId"] for patient in rows for row in patient)
    lines = ["patientId,PredictionString", *(f"{name},0.5 0 0 100 100" for name in names)]
    (folder / SUBMISSION).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_tables(folder: Path, options: Options, rows: list[Rows]) -> None:
    """Write the label table and the table of classes, patients in the order of their identifiers as published."""
    ordered = [row for patient in sorted(rows, key=lambda r: r[0]["patientId"]) for row in patient]
    for file, columns in ((LABELS, LABEL_COLUMNS), (CLASSES, ("patientId", "class"))):
        text = StringIO()
        table = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerows(ordered)
        (folder / file).write_text(text.getvalue(), encoding="utf-8")


def dicom_of(patient: Patient, film: Film, name: str) -> "FileDataset":
    """A radiograph as a DICOM secondary capture with the tags of the published files, pixels as JPEG Baseline.

    Like the published ones, PatientAge holds the bare number of years, which the standard does not allow.
    """
    from PIL import Image
    from pydicom import config
    from pydicom.dataelem import DataElement
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID, JPEGBaseline8Bit, SecondaryCaptureImageStorage

    jpeg = BytesIO()
    pixels = np.rint(np.clip(film.image, 0, 1) * 255).astype(np.uint8)
    Image.fromarray(pixels).save(jpeg, format="JPEG", quality=JPEG_QUALITY)
    uid = UID(f"2.25.{UUID(name).int}")
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SecondaryCaptureImageStorage, uid
    meta.TransferSyntaxUID = JPEGBaseline8Bit
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = SecondaryCaptureImageStorage, uid
    data.Modality, data.ConversionType = "CR", "WSD"
    data.PatientName = data.PatientID = name
    data.PatientSex = patient.sex
    data.add(DataElement(0x00101010, "AS", str(patient.age), validation_mode=config.IGNORE))
    data.BodyPartExamined, data.ViewPosition = "CHEST", patient.view
    data.SeriesNumber, data.InstanceNumber, data.PatientOrientation = "1", "1", ""
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = pixels.shape
    data.PixelSpacing = [f"{film.pixel_mm:.4f}"] * 2
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation = 7, 0
    data.LossyImageCompression, data.LossyImageCompressionMethod = "01", "ISO_10918_1"
    data.PixelData = encapsulate([jpeg.getvalue()])
    data["PixelData"].VR = "OB"
    return data
