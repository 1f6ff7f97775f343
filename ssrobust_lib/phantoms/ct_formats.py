"""Phantom scans as files: NIfTI, MetaImage, NRRD and DICOM series, and mask pictures.

Enter: int16 HU or uint8 labels and where they lie. Leave: files as scanners and challenges write them. A file that
cannot be written raises OSError.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssrobust_lib.phantoms.ct import Grid


def write_nifti(path: Path, array: NDArray[Any], affine: NDArray[np.float64]) -> None:
    """Write an int16 or uint8 volume; `.gz` with the fastest compression."""
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(np.ascontiguousarray(array), affine)
    image.header.set_xyzt_units("mm")
    try:
        nibabel.save(image, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def write_itk(
    path: Path,
    array: NDArray[Any],
    spacing_mm: Sequence[float],
    origin_mm: Sequence[float],
    *,
    downwards: bool = False,
    compress: bool = False,
) -> None:
    """Write MetaImage (.mhd with .raw) or NRRD, as the suffix says.

    Parameters
    ----------
    array : (S, R, C), slices from the feet to the head, rows to the back, columns to the patient's left
    spacing_mm, origin_mm : voxel size and position of the first voxel, both (z, y, x); the world is ITK's, LPS
    downwards : store the slices from the head to the feet, and say so in the header
    compress : gzip the voxels (NRRD)
    """
    import SimpleITK

    spacing, origin = list(map(float, spacing_mm)), list(map(float, origin_mm))
    if downwards:
        origin[0] += (len(array) - 1) * spacing[0]
        array = array[::-1]
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(array))
    image.SetSpacing(spacing[::-1])
    image.SetOrigin(origin[::-1])
    if downwards:
        image.SetDirection((1, 0, 0, 0, 1, 0, 0, 0, -1))
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        SimpleITK.WriteImage(image, str(path), useCompression=compress)
    except RuntimeError as error:
        raise OSError(None, str(error), str(path)) from error


def write_dicom_series(
    folder: Path,
    hu: NDArray[np.int16],
    grid: Grid,
    names: Sequence[str],
    *,
    uid: int,
    patient_name: str,
    table_mm: float,
    own_series: bool = False,
) -> None:
    """Write one DICOM file per axial slice.

    Parameters
    ----------
    hu : int16 (S, R, C); stored as unsigned values 1024 above, with the intercept that takes them back
    names : file names, one per slice; their order is the series' instance numbers
    uid : decides the unique identifiers, as 2.25.<number>
    table_mm : height of the table's zero above the world's
    own_series : give every slice a series of its own, as some anonymisers do
    """
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

    folder.mkdir(parents=True, exist_ok=True)
    (step, row, column), (z, y, x) = grid.spacing_mm, grid.origin_mm
    for position, (plane, name) in enumerate(zip(hu, names, strict=True)):
        instance = sorted(names).index(name) + 1
        identifier = UID(f"2.25.{uid + 10 + instance}")
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, identifier
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, identifier
        data.StudyInstanceUID = UID(f"2.25.{uid}")
        data.SeriesInstanceUID = UID(f"2.25.{uid + 5000 + instance if own_series else uid + 1}")
        data.Modality, data.PatientName, data.PatientID = "CT", patient_name, patient_name
        data.SeriesNumber, data.InstanceNumber, data.PatientPosition = 1, instance, "FFS"
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.ImagePositionPatient = [f"{value:.4f}" for value in (x, y, z + table_mm + position * step)]
        data.SliceLocation = data.ImagePositionPatient[2]
        data.PixelSpacing = [f"{row:.6f}", f"{column:.6f}"]
        data.SliceThickness = f"{step:.6f}"
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.Rows, data.Columns = plane.shape
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
        data.RescaleIntercept, data.RescaleSlope, data.RescaleType = -1024, 1, "HU"
        data.PixelData = np.clip(plane.astype(np.int32) + 1024, 0, 4095).astype("<u2").tobytes()
        data["PixelData"].VR = "OW"
        data.save_as(folder / name, enforce_file_format=True)


def write_mask_pictures(folder: Path, masks: NDArray[np.bool_], names: Sequence[str]) -> None:
    """Write one 8-bit PNG per slice, 255 inside the mask: bool (S, R, C) and as many names."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for mask, name in zip(masks, names, strict=True):
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / name)
