"""The name of what an image shows, to the pixel: equal for an image that is stored twice under two names.

In: decoded pixels. Out: the column `content_hash`, by which `splits` keep such images together and `overlap` finds them
across sets. (Kermany holds 32 images that repeat another one.)
"""

import hashlib

import numpy as np

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
