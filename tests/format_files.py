"""Valid files of every format that is read, small ones, written for tests and as seeds of the fuzzer."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2.1"
RADIOGRAPH = "1.2.840.10008.5.1.4.1.1.1"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
EXPLICIT = "1.2.840.10008.1.2.1"
JPEG = "1.2.840.10008.1.2.4.50"
AXIAL = np.eye(3)  # rows: direction from column to column, from row to row, from slice to slice (left, posterior, up)


def bundled(name: str) -> Path:
    """One of the small real files that come with pydicom."""
    import pydicom

    return Path(pydicom.__file__).parent / "data" / "test_files" / name


def save_dicom(
    path: Path, pixels: np.ndarray, elements: dict[str, Any], *, syntax: str = EXPLICIT, bits: int | None = None
) -> Path:
    """Write grey pixels (rows, columns) or (frames, rows, columns) with any elements, in any syntax that has a writer.

    `elements` go over the ones made here; None leaves one out.
    """
    import pydicom
    from pydicom.config import disable_value_validation
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID, generate_uid

    with disable_value_validation():
        data = pydicom.Dataset()
        data.file_meta = pydicom.dataset.FileMetaDataset()
        data.SOPClassUID = elements.get("SOPClassUID", RADIOGRAPH)
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid(
            entropy_srcs=[path.parent.name, path.name]
        )
        native = EXPLICIT if UID(syntax).is_encapsulated else syntax
        data.file_meta.TransferSyntaxUID = native
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.Rows, data.Columns = pixels.shape[-2:]
        if pixels.ndim == 3:
            data.NumberOfFrames = len(pixels)
        data.BitsAllocated = 8 * pixels.itemsize
        data.BitsStored = bits or data.BitsAllocated
        data.HighBit = data.BitsStored - 1
        data.PixelRepresentation = int(pixels.dtype.kind == "i")
        for keyword, value in elements.items():
            if value is None:
                if keyword in data:
                    del data[keyword]
            else:
                setattr(data, keyword, value)
        order = ">" if syntax == "1.2.840.10008.1.2.2" else "<"
        data.PixelData = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
        data["PixelData"].VR = "OB" if pixels.itemsize == 1 else "OW"
        if syntax.startswith("1.2.840.10008.1.2.4.5"):  # JPEG, by Pillow
            data.PixelData = encapsulate([jpeg(frame) for frame in pixels.reshape(-1, *pixels.shape[-2:])])
            data.file_meta.TransferSyntaxUID = syntax
        elif native != syntax:
            data.compress(syntax, generate_instance_uid=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        data.save_as(path, enforce_file_format=True)
    return path


def jpeg(pixels: np.ndarray, quality: int = 95, **options: Any) -> bytes:
    from PIL import Image

    packed = io.BytesIO()
    Image.fromarray(pixels).save(packed, "JPEG", quality=quality, **options)
    return packed.getvalue()


def ct_elements(series: str = "1.2.3", spacing_mm: Sequence[float] = (3.0, 2.0, 1.5)) -> dict[str, Any]:
    """Elements that all slices of a series share; spacing of (slice, row, column)."""
    return {
        "SOPClassUID": CT_IMAGE,
        "Modality": "CT",
        "SeriesInstanceUID": series,
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "PixelSpacing": [spacing_mm[1], spacing_mm[2]],
        "SliceThickness": spacing_mm[0],
    }


def write_ct_series(
    folder: Path,
    stored: np.ndarray,
    *,
    directions: np.ndarray = AXIAL,
    spacing_mm: Sequence[float] = (3.0, 2.0, 1.5),
    syntax: str = EXPLICIT,
    elements: dict[str, Any] | None = None,
) -> list[Path]:
    """Write an array (slice, row, column) of HU, one file per slice, as `directions` lay it; files in slice order."""
    files = []
    step = directions[2] * spacing_mm[0]
    for k, plane in enumerate(stored):
        own = {
            "ImagePositionPatient": [float(value) for value in k * step + (-40, -60, 700)],
            "ImageOrientationPatient": [float(value) for value in directions[:2].ravel()],
            "InstanceNumber": k + 1,
        }
        pixels = (plane + 1024).astype(np.uint16)
        files.append(
            save_dicom(
                folder / f"i{k:04d}.dcm",
                pixels,
                {**ct_elements(spacing_mm=spacing_mm), **own, **(elements or {})},
                syntax=syntax,
            )
        )
    return files


def write_enhanced_ct(
    path: Path, stored: np.ndarray, *, spacing_mm: Sequence[float] = (3.0, 2.0, 1.5), order: Sequence[int] | None = None
) -> Path:
    """Write an axial array (slice, row, column) of HU as one enhanced CT file; `order` of its frames."""
    import pydicom

    def item(**values: Any) -> pydicom.Dataset:
        data = pydicom.Dataset()
        for keyword, value in values.items():
            setattr(data, keyword, value)
        return data

    order = list(range(len(stored))) if order is None else list(order)
    shared = item(
        PixelMeasuresSequence=[item(PixelSpacing=list(spacing_mm[1:]), SliceThickness=spacing_mm[0])],
        PlaneOrientationSequence=[item(ImageOrientationPatient=[1.0, 0, 0, 0, 1.0, 0])],
        PixelValueTransformationSequence=[item(RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU")],
    )
    frames = [
        item(PlanePositionSequence=[item(ImagePositionPatient=[-40.0, -60.0, 700.0 + k * spacing_mm[0]])])
        for k in order
    ]
    elements = {
        "SOPClassUID": ENHANCED_CT_IMAGE,
        "Modality": "CT",
        "SeriesInstanceUID": "1.2.3",
        "SharedFunctionalGroupsSequence": [shared],
        "PerFrameFunctionalGroupsSequence": frames,
    }
    return save_dicom(path, (stored[order] + 1024).astype(np.uint16), elements)


def write_itk(
    path: Path,
    stored: np.ndarray,
    *,
    compress: bool = False,
    direction: Sequence[float] = (),
    spacing_mm: Sequence[float] = (3.0, 2.0, 1.5),
    origin: Sequence[float] = (700.0, 30.0, -40.0),
) -> Path:
    """Write an array (slice, row, column) by SimpleITK in the format of the path's suffix; spacing and origin alike."""
    import SimpleITK

    image = SimpleITK.GetImageFromArray(stored)
    image.SetSpacing(spacing_mm[::-1])
    image.SetOrigin(origin[::-1])
    if direction:
        image.SetDirection([float(value) for value in direction])
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(image, str(path), compress)
    return path


def picture_bytes(pixels: np.ndarray, form: str, **options: Any) -> bytes:
    from PIL import Image

    packed = io.BytesIO()
    Image.fromarray(pixels).save(packed, form, **options)
    return packed.getvalue()
