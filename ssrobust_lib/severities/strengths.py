"""Strengths as a reader takes them: in millimetres where the images of a task have a scale (paper, section 2).

Enters: a study and its table of severities. Leaves: words, factors for an axis, and the published strengths to compare
with. Strengths of blur and resolution are fractions of the image's side, so that they mean the same at any size.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from ssrobust_lib.corruptions import CORRUPTIONS, PUBLISHED_STRENGTHS, PUBLISHED_TITLES

if TYPE_CHECKING:
    from ssrobust_lib.study import Study


def strongest_words(study: "Study", severities: pd.DataFrame) -> pd.DataFrame:
    """Rows of the highest severity with their strength in words: '25 photons at full intensity' (column `words`)."""
    data = study.profile.data
    last = severities[severities["severity"] == severities["severity"].max()]
    words = [
        CORRUPTIONS[row.corruption].describe(
            row.strength, side=data[row.task].image_size, pixel_mm=data[row.task].pixel_mm
        )
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
