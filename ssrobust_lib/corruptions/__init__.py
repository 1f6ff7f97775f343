"""The seven image corruptions of the study (paper, section 2, 'Image Corruptions').

Enters: images float32 (B, 1, H, W) in [0, 1], a strength in a physical unit, one int64 key per image.
Leaves: corrupted images of the same shape, type, range and device; the input stays as it was.

Every corruption is filed in `CORRUPTIONS`. Its strength is zero for the identity and grows with the damage. Its random
stream belongs to the image: it is a function of the image's key alone, whatever the batch, the order or the arm. On a
CPU the pixels are the same bit for bit; on a GPU those of shot noise, blur and resolution may differ by its rounding.

To add a corruption, write one function in one file of this package, put `corruption(...)` above it, and import the file
below.
"""

from ssrobust_lib.corruptions import noise, photometry, sharpness
from ssrobust_lib.corruptions.interface import CORRUPTIONS, Corruption, corrupt, corruption
from ssrobust_lib.corruptions.published_strengths import IMAGENET_C_STRENGTHS, PUBLISHED_STRENGTHS, PUBLISHED_TITLES
from ssrobust_lib.corruptions.streams import sample_keys

__all__ = [
    "CORRUPTIONS",
    "IMAGENET_C_STRENGTHS",
    "PUBLISHED_STRENGTHS",
    "PUBLISHED_TITLES",
    "Corruption",
    "corrupt",
    "corruption",
    "noise",
    "photometry",
    "sample_keys",
    "sharpness",
]
