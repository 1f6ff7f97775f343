"""One sample from its files to the arrays that the cache keeps: decoded, preprocessed, labelled and hashed.

In: a row of the samples table, where its set lies, the preprocessing. Out: images as float16, label maps as uint8 on
the same grid, the label map's voxels at the scan's own resolution, and what else a table will say of the sample
(paper, section 3.1). The code of this module and of all that it uses is part of every stored image's key.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ssrobust_lib.datasets.content_hash import content_hash
from ssrobust_lib.datasets.left_out import without_name
from ssrobust_lib.datasets.loader import LOADERS, Row, Source, UnreadableImageError, Volume, XRay
from ssrobust_lib.preprocessing import CTSettings, Grid, XRaySettings, preprocess_ct, preprocess_xray
from ssrobust_lib.scan_voxels import ScanLabels, labels_by_cell

Settings = XRaySettings | CTSettings


@dataclass(frozen=True)
class DecodedSample:
    """One X-ray or scan as it is stored.

    Attributes
    ----------
    images : float16 (n, size, size) in [0, 1]
    masks : uint8 (n, size, size), or None for a sample without a label map
    labelled : labelled voxels of each image
    content_hash : of the decoded pixels, see `content_hash`
    metadata : what only the file's header tells
    grid : where a scan's images lie in it
    scan_labels : the label map's voxels at the scan's own resolution, by cell of `grid`
    label_problem : why the label map, unlike the image, cannot be used; "" where it can or there is none
    """

    images: np.ndarray
    masks: np.ndarray | None
    labelled: tuple[int, ...]
    content_hash: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    grid: Grid | None = None
    scan_labels: ScanLabels | None = None
    label_problem: str = ""


def decode_sample(row: Row, source: Source, settings: Settings) -> DecodedSample:
    """Decode and preprocess one sample.

    Raises
    ------
    UnreadableImageError
        The image cannot be used. Whatever else a decoder raises comes through.
    """
    image = LOADERS[source.loader].read_image(source.root, row)
    if isinstance(image, XRay) and isinstance(settings, XRaySettings):
        return _xray(image, settings)
    if isinstance(image, Volume) and isinstance(settings, CTSettings):
        return _scan(image, row, source, settings)
    raise UnreadableImageError(f"the loader {source.loader} reads other images than the settings are for")


def label_of(row: Row, source: Source) -> np.ndarray:
    """A scan's label map; what is wrong with it names its own file, which is often called like the scan's.

    Raises
    ------
    UnreadableImageError
        The label map cannot be used.
    """
    try:
        return LOADERS[source.loader].read_label(source.root, row, source.structures)
    except UnreadableImageError as error:
        file = row.get("label_file")
        if not isinstance(file, str) or not file:
            raise
        raise UnreadableImageError(f"its label map {file}: {without_name(file, str(error))}") from error


def _xray(image: XRay, settings: XRaySettings) -> DecodedSample:
    lower, upper = image.pixels.min(), image.pixels.max()
    if not (lower >= 0 and upper <= 1):  # nor where one of them is NaN
        raise UnreadableImageError("pixels are NaN, infinite or outside [0, 1]")
    stored = preprocess_xray(image.pixels, settings)[None].astype(np.float16)
    return DecodedSample(stored, None, (0,), content_hash(image.pixels), image.metadata)


def _scan(image: Volume, row: Row, source: Source, settings: CTSettings) -> DecodedSample:
    labels, problem = None, ""
    if row["has_label"] and source.structures:
        try:
            labels = label_of(row, source)
        except UnreadableImageError as error:  # the scan may still serve where no label is asked for
            problem = str(error)
        if labels is not None and labels.shape != image.hu.shape:
            problem = f"the label map has {labels.shape} voxels, the scan {image.hu.shape}: they must be the same"
            labels = None
    scan = preprocess_ct(image, labels, settings)
    counts = (0,) * len(scan.images) if scan.labels is None else np.count_nonzero(scan.labels, axis=(1, 2)).tolist()
    return DecodedSample(
        scan.images.astype(np.float16),
        scan.labels,
        tuple(counts),
        content_hash(image.hu),
        grid=scan.grid,
        scan_labels=None if labels is None else labels_by_cell(labels, scan.grid),
        label_problem=problem,
    )
