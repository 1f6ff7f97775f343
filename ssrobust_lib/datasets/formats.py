"""Files to arrays: DICOM and PNG or JPEG radiographs in [0, 1]; NIfTI and MetaImage CT scans in Hounsfield units.

In: one path. Out: an `XRay`, a `Volume` in canonical axes (slices from inferior to superior, rows from anterior to
posterior, columns from the patient's right to left), or an integer label array in the same axes. Every way in which a
file can be wrong leaves as `UnreadableImageError`, which names the file.
"""

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ssrobust_lib.datasets.loader import UnreadableImageError, Volume, XRay

# A header that claims more than this is taken for damaged before anything is allocated.
MAX_SIDE = 16_384  # pixels, radiograph
MAX_VOXELS = 2**30  # CT; a whole body of 512 x 512 x 2,000 has half of it
MAX_SPACING_MM = 50.0


@contextmanager
def _named(path: Path, form: str) -> Iterator[None]:
    """Turn whatever a decoder raises into an `UnreadableImageError` that names the file."""
    try:
        yield
    except UnreadableImageError as error:
        raise UnreadableImageError(f"{path.name}: {error}") from error
    except Exception as error:  # three libraries and their plug-ins: no common base class
        raise UnreadableImageError(f"{path.name}: not readable as {form} ({type(error).__name__}: {error})") from error


def _check_side(height: int, width: int) -> None:
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
        raise UnreadableImageError(f"the header claims {height} x {width} pixels; expected 1 to {MAX_SIDE} each way")


def _check_grid(shape: tuple[int, ...], spacing_mm: tuple[float, ...]) -> None:
    if len(shape) != 3 or min(shape) < 1:
        raise UnreadableImageError(f"expected three axes of voxels, the header says {shape}")
    if math.prod(shape) > MAX_VOXELS:
        raise UnreadableImageError(f"the header claims {shape} voxels, more than {MAX_VOXELS:,}: is it damaged?")
    if not all(np.isfinite(spacing_mm)) or min(spacing_mm) <= 0 or max(spacing_mm) > MAX_SPACING_MM:
        raise UnreadableImageError(f"the header claims voxels of {spacing_mm} mm; expected 0 to {MAX_SPACING_MM} mm")


def _check_radiograph(pixels: np.ndarray) -> np.ndarray:
    if pixels.min() == pixels.max():
        raise UnreadableImageError(f"all pixels have one value ({float(pixels.flat[0]):.3f}): an empty image")
    return pixels


def _check_hounsfield(hu: np.ndarray) -> None:
    """Raise for NaN, infinities, or a scan without any contrast; slice by slice, to stay small."""
    bad = sum(int(np.count_nonzero(~np.isfinite(plane))) for plane in hu)
    if bad:
        raise UnreadableImageError(f"{bad} voxels are NaN or infinite")
    first = hu.flat[0]
    if all((plane == first).all() for plane in hu):
        raise UnreadableImageError(f"all voxels have one value ({float(first):.1f} HU): an empty scan")


def read_dicom(path: Path) -> XRay:
    """Read a single-frame grey DICOM radiograph, compressed or not.

    MONOCHROME1 is inverted; values are divided by the largest that the stored bits can hold (after the sign bit is
    shifted out). The header's own conformity is not judged: RSNA's `PatientAge` ('48') is not a valid age string.

    Returns
    -------
    XRay with metadata view, sex ('' where the header has none) and age (years, NaN where it has none)

    Raises
    ------
    UnreadableImageError
        If the file is damaged, not grey, or has several frames.
    """
    import pydicom
    from pydicom.config import disable_value_validation
    from pydicom.uid import JPEGBaseline8Bit

    with _named(path, "DICOM"), disable_value_validation():
        dataset = pydicom.dcmread(path)
        _check_side(int(dataset.Rows), int(dataset.Columns))
        frames = int(dataset.get("NumberOfFrames", 1) or 1)
        if frames != 1 or int(dataset.SamplesPerPixel) != 1:
            raise UnreadableImageError(f"expected one grey frame, found {frames} of {dataset.SamplesPerPixel} channels")
        if dataset.file_meta.TransferSyntaxUID == JPEGBaseline8Bit:
            dataset.pixel_array_options(decoding_plugin="pillow")  # 2.6 times as fast as the default decoder
        stored = dataset.pixel_array
        bits = int(dataset.BitsStored)
        pixels = stored.astype(np.float32)
        if int(dataset.get("PixelRepresentation", 0)) == 1:
            pixels += 2.0 ** (bits - 1)
        pixels /= 2.0**bits - 1
        if dataset.PhotometricInterpretation == "MONOCHROME1":
            np.subtract(1.0, pixels, out=pixels)
        elif dataset.PhotometricInterpretation != "MONOCHROME2":
            raise UnreadableImageError(f"photometric interpretation {dataset.PhotometricInterpretation} is not grey")
        np.clip(pixels, 0.0, 1.0, out=pixels)
        metadata: dict[str, Any] = {
            "view": str(dataset.get("ViewPosition", "") or ""),
            "sex": str(dataset.get("PatientSex", "") or ""),
            "age": age_in_years(dataset.get("PatientAge", "")),
        }
        return XRay(_check_radiograph(pixels), metadata)


def age_in_years(text: object) -> float:
    """Age in years from '048Y', '006M', '48' or 48; NaN for anything else, and above 120 (RSNA holds a '155').

    >>> age_in_years("006M"), age_in_years("48")
    (0.5, 48.0)
    """
    match = re.fullmatch(r"\s*(\d{1,4})\s*([YMWD]?)\s*", str(text or ""))
    if not match:
        return math.nan
    years = int(match[1]) / {"": 1, "Y": 1, "M": 12, "W": 365.25 / 7, "D": 365.25}[match[2]]
    return years if years <= 120 else math.nan


def read_picture(path: Path) -> XRay:
    """Read a PNG or JPEG radiograph; colour becomes grey by the usual luma weights (ITU-R 601), alpha is dropped.

    Raises
    ------
    UnreadableImageError
        If the file is damaged, cut short, or absurdly large.
    """
    from PIL import Image

    with _named(path, "PNG or JPEG"), Image.open(path) as picture:
        _check_side(picture.height, picture.width)
        if picture.mode.startswith("I"):  # 16-bit grey
            pixels = np.asarray(picture).astype(np.float32) / 65_535.0
        else:
            picture.draft("L", picture.size)  # a JPEG is decoded to its brightness alone, which is the same and quicker
            pixels = np.asarray(picture.convert("L"), dtype=np.float32) / 255.0
        return XRay(_check_radiograph(pixels))


def _open_nifti(path: Path) -> tuple[Any, np.ndarray, tuple[int, ...]]:
    """Open without reading voxels: image, affine and shape (axes of length 1 behind the third are dropped)."""
    import nibabel

    image: Any = nibabel.load(path)
    shape = tuple(int(n) for n in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise UnreadableImageError("the affine is singular: the patient's axes cannot be told")
    _check_grid(shape, tuple(np.sqrt((affine[:3, :3] ** 2).sum(axis=0))))
    return image, affine, shape


def _canonical_axes(affine: np.ndarray) -> tuple[list[int], tuple[slice, ...]]:
    """Which array axis runs along (S, P, L), and the slices that turn each into increasing S, P, L.

    An oblique grid is taken for its nearest orthogonal one; it is turned and flipped, never resampled.
    """
    from nibabel.orientations import io_orientation

    # per array axis: the world axis (0 = right, 1 = anterior, 2 = superior) that it follows, and the sign along it
    world, sign = io_orientation(affine).T
    axes = [int(np.flatnonzero(world == axis)[0]) for axis in (2, 1, 0)]
    wanted = (1, -1, -1)
    return axes, tuple(slice(None, None, int(sign[axis]) * want) for axis, want in zip(axes, wanted, strict=True))


def _nifti_voxels(image: Any, affine: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, float, float]:
    """Stored voxels as a canonical view, and the slope and intercept that are still to be applied."""
    proxy = image.dataobj
    stored = np.asanyarray(proxy.get_unscaled()) if hasattr(proxy, "get_unscaled") else np.asanyarray(proxy)
    if stored.dtype.kind not in "iuf":
        raise UnreadableImageError(f"voxels of type {stored.dtype}; expected integers or floats")
    axes, turns = _canonical_axes(affine)
    return stored.reshape(shape).transpose(axes)[turns], getattr(proxy, "slope", 1.0), getattr(proxy, "inter", 0.0)


def read_nifti(path: Path) -> Volume:
    """Read a CT scan from NIfTI, of any orientation, with the header's slope and intercept applied.

    Raises
    ------
    UnreadableImageError
        If the file is damaged, its grid absurd, its affine singular, or voxels are NaN or infinite.
    """
    with _named(path, "NIfTI"):
        image, affine, shape = _open_nifti(path)
        stored, slope, intercept = _nifti_voxels(image, affine, shape)
        hu = np.empty(stored.shape, dtype=np.float32)
        for source, target in zip(stored, hu, strict=True):  # slice by slice: no second full-size float copy
            np.multiply(source, np.float32(slope), out=target, casting="unsafe")
            target += np.float32(intercept)
        _check_hounsfield(hu)
        axes, _ = _canonical_axes(affine)
        plane, row, column = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))[axes]
        return Volume(hu, (float(plane), float(row), float(column)))


def read_nifti_label(path: Path, scan: Path) -> np.ndarray:
    """Read a label map that belongs to a NIfTI scan.

    Parameters
    ----------
    path, scan : the label's file, and the scan's (only its header is read)

    Returns
    -------
    int16 (slice, row, column), canonical axes

    Raises
    ------
    UnreadableImageError
        If values are not whole numbers, or the label lies on another grid than the scan (other shape, or a corner more
        than a voxel away).
    """
    with _named(path, "NIfTI label"):
        image, affine, shape = _open_nifti(path)
        _, scan_affine, scan_shape = _open_nifti(scan)
        if shape != scan_shape:
            raise UnreadableImageError(f"the label has {shape} voxels, its scan {scan.name} has {scan_shape}")
        corners = np.array([[0, 0, 0, 1], [*(np.array(shape) - 1), 1]], dtype=np.float64)
        apart = np.abs((corners @ (affine - scan_affine).T)[:, :3]).max()
        if apart > np.sqrt((scan_affine[:3, :3] ** 2).sum(axis=0)).max():
            raise UnreadableImageError(f"the label's grid lies up to {apart:.1f} mm away from its scan's, {scan.name}")
        stored, slope, intercept = _nifti_voxels(image, affine, shape)
        values = stored if (slope, intercept) == (1.0, 0.0) else stored * slope + intercept
        labels = np.empty(values.shape, dtype=np.int16)
        for source, target in zip(values, labels, strict=True):
            # the comparison also refuses NaN and what int16 cannot hold
            np.copyto(target, np.nan_to_num(source), casting="unsafe")
            if not np.array_equal(target, source):
                raise UnreadableImageError("the label holds values that are not whole numbers")
        return labels


def read_metaimage(path: Path) -> Volume:
    """Read a CT scan from MetaImage (.mhd + .raw or .zraw, .mha) or NRRD, of any orientation.

    Raises
    ------
    UnreadableImageError
        If the file or its .raw is missing or damaged, its grid absurd, or voxels are NaN or infinite.
    """
    import SimpleITK

    with _named(path, "MetaImage"):
        if not path.is_file():
            raise UnreadableImageError("no such file")
        reader = SimpleITK.ImageFileReader()
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        _check_grid(tuple(reader.GetSize()), tuple(reader.GetSpacing()))
        # ITK's world axes point to the patient's left, posterior and superior: canonical axes but for their order
        image = SimpleITK.DICOMOrient(reader.Execute(), "LPS")
        hu = SimpleITK.GetArrayViewFromImage(image).astype(np.float32)  # (slice, row, column)
        _check_hounsfield(hu)
        column, row, plane = image.GetSpacing()
        return Volume(hu, (plane, row, column))


def read_dicom_series(files: Sequence[Path]) -> Volume:
    """Read the slices of one CT series, sorted by position; axial or not, from any scanner.

    Raises
    ------
    UnreadableImageError
        If a slice is damaged, of another grid or orientation than the others, or one is missing.
    """
    import pydicom

    if not files:
        raise UnreadableImageError("a DICOM series without slices")
    slices = []
    for path in files:
        with _named(path, "DICOM"):
            dataset = pydicom.dcmread(path)
            across = np.array(dataset.ImageOrientationPatient, dtype=np.float64)
            place = np.array(dataset.ImagePositionPatient, dtype=np.float64)
            hu = dataset.pixel_array.astype(np.float32)
            hu *= float(dataset.get("RescaleSlope", 1))
            hu += float(dataset.get("RescaleIntercept", 0))
            slices.append((across, place, tuple(map(float, dataset.PixelSpacing)), hu))
    with _named(Path(files[0]).parent, "a DICOM series"):
        across, origin, spacing, first = slices[0]
        normal = np.cross(across[:3], across[3:])
        for other, _, other_spacing, hu in slices:
            if not np.allclose(other, across, atol=1e-3) or hu.shape != first.shape or other_spacing != spacing:
                raise UnreadableImageError("slices of different orientation, size or spacing")
        places = np.array([place @ normal for _, place, _, _ in slices])
        order = np.argsort(places)
        steps = np.diff(places[order])
        if len(steps) and (steps.min() <= 0 or steps.max() > 1.5 * np.median(steps)):
            raise UnreadableImageError("two slices at one place, or a gap between slices")
        step = float(np.median(steps)) if len(steps) else 1.0
        hu = np.stack([slices[k][3] for k in order])
        _check_hounsfield(hu)
        affine = np.eye(4)
        affine[:3, 0], affine[:3, 1], affine[:3, 2] = normal * step, across[3:] * spacing[0], across[:3] * spacing[1]
        affine[:2] *= -1  # DICOM's world is LPS
        axes, turns = _canonical_axes(affine)
        sizes = (step, spacing[0], spacing[1])
        plane, row, column = (sizes[axis] for axis in axes)
        return Volume(np.ascontiguousarray(hu.transpose(axes)[turns]), (plane, row, column))


def read_metaimage_label(path: Path, scan: Path) -> np.ndarray:
    """Read a label map in MetaImage or NRRD that belongs to such a scan; int16 (slice, row, column), canonical axes."""
    import SimpleITK

    with _named(path, "MetaImage label"):
        readers = []
        for file in (path, scan):
            if not file.is_file():
                raise UnreadableImageError("no such file")
            reader = SimpleITK.ImageFileReader()
            reader.SetFileName(str(file))
            reader.ReadImageInformation()
            readers.append(reader)
        label, image = readers
        if label.GetSize() != image.GetSize():
            sizes = f"{label.GetSize()} voxels, its scan {scan.name} {image.GetSize()}"
            raise UnreadableImageError(f"the label has {sizes}")
        if not np.allclose(label.GetDirection(), image.GetDirection(), atol=1e-3) or not np.allclose(
            label.GetOrigin(), image.GetOrigin(), atol=max(image.GetSpacing())
        ):
            raise UnreadableImageError(f"the label's grid is not that of its scan {scan.name}")
        stored = SimpleITK.GetArrayFromImage(SimpleITK.DICOMOrient(label.Execute(), "LPS"))
        labels = stored.astype(np.int16)
        if not np.array_equal(labels, stored):
            raise UnreadableImageError("the label holds values that are not whole numbers")
        return labels


def read_mask_pictures(files: Sequence[Path], like: Volume) -> np.ndarray:
    """Read one picture per slice, in the order of the slices of `like`; int16 (slice, row, column)."""
    from PIL import Image

    if len(files) != len(like.hu):
        raise UnreadableImageError(f"{len(files)} mask pictures for {len(like.hu)} slices")
    labels = np.empty(like.hu.shape, dtype=np.int16)
    for path, target in zip(files, labels, strict=True):
        with _named(path, "a mask picture"), Image.open(path) as picture:
            mask = np.asarray(picture.convert("L"))
            if mask.shape != target.shape:
                raise UnreadableImageError(f"{mask.shape} pixels; expected {target.shape}")
            target[...] = mask
    return labels
