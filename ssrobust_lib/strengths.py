"""Strengths as a reader takes them: in millimetres where the images of a task have a scale (paper, section 2).

Enters: a study and its table of severities. Leaves: words, factors for an axis, and the published strengths to compare
with. Strengths of blur and resolution are fractions of the image's side, so that they mean the same at any size.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from ssrobust_lib.corruptions import CORRUPTIONS, PUBLISHED_STRENGTHS, PUBLISHED_TITLES
from ssrobust_lib.corruptions.sharpness import kept_pixels

if TYPE_CHECKING:
    from ssrobust_lib.study import Study


def strength_in_words(corruption: str, strength: float, image_size: int, pixel_mm: float | None) -> str:
    """A strength in words.

    Parameters
    ----------
    corruption : name in `CORRUPTIONS`
    strength : in its unit
    image_size : pixels along a side of the network's input
    pixel_mm : width of its pixels, mm; None where they have no known width (X-rays)

    Examples
    --------
    >>> strength_in_words("gaussian_blur", 0.02, 48, 8.0)
    'sigma 4.48 pixels at 224 x 224, here 7.68 mm'
    >>> strength_in_words("resolution", 0.5, 48, 8.0)
    '112 of 224 pixels kept along a side, then enlarged again, here pixels of 16 mm'
    """
    words = CORRUPTIONS[corruption].describe(strength)
    if pixel_mm is None:
        return words
    if corruption == "gaussian_blur":
        return f"{words}, here {strength * image_size * pixel_mm:.3g} mm"
    if corruption == "resolution":
        return f"{words}, here pixels of {pixel_mm * image_size / kept_pixels(image_size, strength):.3g} mm"
    return words


def strongest_words(study: "Study", severities: pd.DataFrame) -> pd.DataFrame:
    """Rows of the highest severity with their strength in words: '25 photons at full intensity' (column `words`)."""
    data = study.profile.data
    last = severities[severities["severity"] == severities["severity"].max()]
    words = [
        strength_in_words(row.corruption, row.strength, data[row.task].image_size, data[row.task].pixel_mm)
        for row in last.itertuples()
    ]
    return last.assign(words=words)


def axis_units(study: "Study", task: str) -> Mapping[str, tuple[float, str]]:
    """Corruptions that an axis shows in mm: name -> (factor, unit); empty where pixels have no known width."""
    data = study.profile.data[task]
    return {} if data.pixel_mm is None else {"gaussian_blur": (data.image_size * data.pixel_mm, "sigma, mm")}


def published_levels(task: str) -> Mapping[str, Mapping[str, Sequence[float]]]:
    """Published strengths of a task's severities: title of the table -> corruption -> five strengths."""
    return {PUBLISHED_TITLES[name]: tables[task] for name, tables in PUBLISHED_STRENGTHS.items()}
