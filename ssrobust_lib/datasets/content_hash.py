"""Images that are the same pixel by pixel under two names: found by content, so that a split can keep them together.

In: the samples table and where the sets lie. Out: the `content_hash` column that `splits` groups by. (Kermany holds 32
images that repeat another one.)
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ssrobust_lib.datasets.loader import LOADERS, Source, UnreadableImageError, XRay
from ssrobust_lib.datasets.parallel import ordered_map

_BLOCK = 2**16  # values that a processor's cache holds with all that is made of them


def content_hash(image: np.ndarray) -> str:
    """SHA-256 of an image's shape and values, its first 32 hexadecimal digits.

    Values that came from 8 bits (k / 255) or are whole numbers of 16 bits (HU) are hashed as such: the same
    distinction in a quarter or half of the bytes. Hashing would else take longer than decoding a JPEG.

    Parameters
    ----------
    image : float32, an X-ray's pixels in [0, 1] or a scan's HU
    """
    values = np.ascontiguousarray(image, dtype=np.float32)
    for dtype, scale in ((np.dtype("|u1"), 255), (np.dtype("<i2"), 1)):
        digest = _digest_as(values, dtype, np.float32(scale))
        if digest is not None:
            return digest
    digest_of_all = hashlib.sha256(f"{values.shape}{values.dtype.str}".encode())
    digest_of_all.update(values.data.cast("B"))
    return digest_of_all.hexdigest()[:32]


def _digest_as(values: np.ndarray, dtype: np.dtype, scale: np.float32) -> str | None:
    """Digest of `values * scale` as whole numbers of a type, None where they are not; in blocks that stay in cache."""
    digest = hashlib.sha256(f"{values.shape}{dtype.str}".encode())
    flat = values.reshape(-1)
    with np.errstate(invalid="ignore"):  # a value that the type cannot hold does not come back equal
        for start in range(0, flat.size, _BLOCK):
            part = flat[start : start + _BLOCK]
            whole = np.rint(part * scale).astype(dtype)
            if not np.array_equal(whole / scale, part):
                return None
            digest.update(whole.data.cast("B"))
    return digest.hexdigest()[:32]


def _hash_chunk(task: tuple[list[dict[str, Any]], dict[str, Source]]) -> list[str | None]:
    rows, sources = task
    hashes: list[str | None] = []
    for row in rows:
        source = sources[row["set"]]
        try:
            image = LOADERS[source.loader].read_image(source.root, row)
        except UnreadableImageError:
            hashes.append(None)
            continue
        hashes.append(content_hash(image.pixels if isinstance(image, XRay) else image.hu))
    return hashes


def content_hashes(
    samples: pd.DataFrame, sources: Mapping[str, Source], *, workers: int = 1, progress: bool = True
) -> pd.Series:
    """Decode every image and hash it, to split by content before anything is cached.

    Parameters
    ----------
    samples : samples table
    sources : set -> where it lies
    workers : processes

    Returns
    -------
    Series of str named content_hash, index of `samples`; None for an image that cannot be read
    """
    from tqdm.auto import tqdm

    rows = samples[["sample_id", "set", "image"]].to_dict("records")
    chunks = [(rows[start : start + 32], dict(sources)) for start in range(0, len(rows), 32)]
    hashes: list[str | None] = []
    with tqdm(total=len(rows), desc="content", unit="image", disable=not progress) as bar:
        for chunk in ordered_map(_hash_chunk, chunks, workers):
            hashes += chunk
            bar.update(len(chunk))
    return pd.Series(hashes, index=samples.index, name="content_hash", dtype=object)


def pixel_duplicates(samples: pd.DataFrame) -> pd.DataFrame:
    """Rows whose content occurs more than once, equal ones beside each other; needs a `content_hash` column."""
    repeated = samples["content_hash"].notna() & samples["content_hash"].duplicated(keep=False)
    return samples[repeated].sort_values(["content_hash", "sample_id"], ignore_index=True)
