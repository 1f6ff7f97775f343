"""Files to arrays: radiographs in [0, 1], CT scans in Hounsfield units, label maps in the scan's own voxels.

In: a path, or the files of one DICOM series. Out: an `XRay`, a `Volume` in canonical axes (slices from inferior to
superior, rows from anterior to posterior, columns from the patient's right to left), or an int16 label map in the same
axes. The formats are those of the sets in section 3.1 of the paper: DICOM, NIfTI, MetaImage, NRRD, PNG and JPEG.

A file is judged by its content, never by its name. Every way in which it can be wrong leaves as
`UnreadableImageError`, which names the file and the reason; what a header claims is compared with what the file can
hold before memory is taken for it.
"""

from ssrobust_lib.datasets.formats.dicom import age_in_years, read_dicom
from ssrobust_lib.datasets.formats.dicom_series import read_dicom_series
from ssrobust_lib.datasets.formats.masks import read_mask_pictures
from ssrobust_lib.datasets.formats.metaimage import read_metaimage, read_metaimage_label
from ssrobust_lib.datasets.formats.nifti import read_nifti, read_nifti_label
from ssrobust_lib.datasets.formats.pictures import read_picture

__all__ = [
    "age_in_years",
    "read_dicom",
    "read_dicom_series",
    "read_mask_pictures",
    "read_metaimage",
    "read_metaimage_label",
    "read_nifti",
    "read_nifti_label",
    "read_picture",
]
