"""Who the patients are, as groups: by view, sex, age, scanner, protocol and slice distance (beside the paper, which
looks at all patients of sections 3.2 to 3.4 together).

Enters: the samples table of one set, or of those samples of it that were evaluated. Leaves: one row per sample and
attribute with the name of its group. A sample whose value is not stated is in the group 'unknown' of its own.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from ssrobust_lib.registry import Registry

UNKNOWN = "unknown"
SMALLEST_GROUP = 5
"""Patients or scans below which a group is shown as too small, with its number and nothing else."""

SCANNER_COLUMNS = ("scanner_group", "scanner", "manufacturer", "centre", "center", "site", "hospital")
"""Columns that say where an image was taken; of several the first counts."""

_SEXES = {"f": "female", "female": "female", "w": "female", "m": "male", "male": "male", "o": "other", "other": "other"}
_FIELDS = {"ThAb": "thorax and abdomen", "wb": "whole body"}
_YEARS = 10
_DECADES = 3

Grouping = Callable[[pd.DataFrame], "pd.Series[str] | None"]
ATTRIBUTES: Registry[Grouping] = Registry("attribute of a patient")
"""Attribute -> function from samples to the group of each (same index), None where the table lacks its column."""


def subgroups(samples: pd.DataFrame) -> pd.DataFrame:
    """Put samples into the groups of every attribute that tells some of them apart.

    Parameters
    ----------
    samples : `sample_id` and any of the columns view, sex, age (years), contrast, field_of_view, slice_mm (mm), and
        `SCANNER_COLUMNS`.

    Returns
    -------
    DataFrame with sample_id, attribute and group, in the order of the attributes and then of the groups ('unknown'
    last). An attribute that is stated for no sample, or in which all samples agree, has no rows.

    Raises
    ------
    ValueError
        If a sample stands in the table twice.
    """
    repeated = samples.loc[samples["sample_id"].duplicated(), "sample_id"]
    if len(repeated):
        raise ValueError(f"the sample {repeated.iloc[0]} stands in the table twice: expected one row per sample")
    parts = []
    for attribute in ATTRIBUTES:
        groups = ATTRIBUTES[attribute](samples)
        if groups is None or groups.nunique() < 2:
            continue
        rows = pd.DataFrame({"sample_id": samples["sample_id"], "attribute": attribute, "group": groups})
        order = groups.map({name: k for k, name in enumerate(_in_order(groups.unique()))})
        parts.append(rows.assign(order=order).sort_values(["order", "sample_id"]).drop(columns="order"))
    empty = pd.DataFrame({"sample_id": [], "attribute": [], "group": []}, dtype=object)
    return pd.concat(parts, ignore_index=True) if parts else empty


def _in_order(groups: np.ndarray) -> list[str]:
    """Names by the first number in them, then by letter; 'unknown' last."""

    def place(name: str) -> tuple[bool, float, bool, str]:
        numbers = pd.Series([name]).str.extract(r"(\d+(?:\.\d+)?)")[0].astype(float)
        return name == UNKNOWN, 0.0 if numbers.isna()[0] else float(numbers[0]), name.startswith("above"), name

    return sorted(map(str, groups), key=place)


def _words(values: pd.Series) -> pd.Series:
    """Stripped text; '' where a value is missing."""
    return values.astype(object).where(values.notna(), "").astype(str).str.strip()


def _stated(words: pd.Series) -> pd.Series:
    return words.where(words != "", UNKNOWN)


@ATTRIBUTES.register("view")
def group_by_view(samples: pd.DataFrame) -> "pd.Series[str] | None":
    """View position in capitals (DICOM's ViewPosition): PA, taken standing, or AP, mostly at the bedside."""
    return _stated(_words(samples["view"]).str.upper()) if "view" in samples else None


@ATTRIBUTES.register("sex")
def group_by_sex(samples: pd.DataFrame) -> "pd.Series[str] | None":
    """Female, male or other, as the set states it; anything that is none of these is unknown."""
    return _words(samples["sex"]).str.lower().map(_SEXES).fillna(UNKNOWN) if "sex" in samples else None


@ATTRIBUTES.register("age")
def group_by_age(samples: pd.DataFrame) -> "pd.Series[str] | None":
    """Decades of age, or halves.

    Decades ('40 to 49 years') where at least three of them hold `SMALLEST_GROUP` samples; else two halves, up to the
    median of the known ages and above it.
    """
    if "age" not in samples:
        return None
    age = pd.to_numeric(samples["age"], errors="coerce").astype(float)
    decade = np.floor(age / _YEARS)
    if (decade.value_counts() >= SMALLEST_GROUP).sum() >= _DECADES:
        words = decade.map(lambda k: f"{k * _YEARS:.0f} to {k * _YEARS + _YEARS - 1:.0f} years", na_action="ignore")
        return words.astype(object).where(age.notna(), UNKNOWN)
    return halves(age, "years")


@ATTRIBUTES.register("scanner")
def group_by_scanner(samples: pd.DataFrame) -> "pd.Series[str] | None":
    """Scanner, centre or group of scanners, as the set names it."""
    column = next((name for name in SCANNER_COLUMNS if name in samples), None)
    return None if column is None else _stated(_words(samples[column]))


@ATTRIBUTES.register("protocol")
def group_by_protocol(samples: pd.DataFrame) -> "pd.Series[str] | None":
    """Contrast agent and field of view of CT (VISCERAL's CTce_ThAb and CT_wb)."""
    if not {"contrast", "field_of_view"} <= set(samples):
        return None
    field = _words(samples["field_of_view"])
    agent = samples["contrast"].map({True: "contrast agent", False: "no contrast agent"})
    return (agent + ", " + field.map(_FIELDS).fillna(field)).where(agent.notna() & (field != ""), UNKNOWN)


@ATTRIBUTES.register("slice distance")
def group_by_slice_distance(samples: pd.DataFrame) -> "pd.Series[str] | None":
    """Distance of the scan's own slices: two halves, up to the median and above it."""
    return halves(pd.to_numeric(samples["slice_mm"]).round(2), "mm") if "slice_mm" in samples else None


def halves(values: "pd.Series[float]", unit: str) -> "pd.Series[str]":
    """'up to 52 years' or 'above 52 years' for each value, by the median of those that are known; else 'unknown'."""
    median = float(values.median())
    at = f"{median:g} {unit}"
    return pd.Series(
        np.where(values.isna(), UNKNOWN, np.where(values <= median, f"up to {at}", f"above {at}")), index=values.index
    )
