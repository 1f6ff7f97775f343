"""The split that a set brings along: who is trained on, validated on and tested on is said by its own table (the paper,
section 3.1, splits at random; a reader's hospital may have fixed its test set long ago).

In: the samples table with a column published_split (train, val, test, unlabelled or external). Out: the `split` column.
A part that the set does not give is drawn from its training patients, as `splits.split_by_patient` draws.
"""

from collections.abc import Sequence

import pandas as pd

from ssrobust_lib.splits.rules import SPLITS, split_by_patient

GIVEN = ("train", "val", "test", "unlabelled")
EXTERNAL = "external"
_FIELDS = {"val": "validation", "test": "test"}


def at_home(samples: pd.DataFrame) -> pd.Series:
    """Whether a sample is of its set's own centre: bool, index of `samples`; False where it is given as external."""
    if "published_split" not in samples:
        return pd.Series(True, index=samples.index)
    return samples["published_split"] != EXTERNAL


def as_external(samples: pd.DataFrame) -> pd.DataFrame:
    """The samples that serve as another centre's: those given as external; all of a set that gives none."""
    away = ~at_home(samples)
    return samples[away] if away.any() else samples


@SPLITS.register("given")
def split_given(
    samples: pd.DataFrame,
    *,
    seed: int,
    val: float | int | None = None,
    test: float | int | None = None,
    stratify: Sequence[str] = ("label",),
) -> pd.Series:
    """Follow the set's own split.

    Parameters
    ----------
    samples : samples table with published_split. Unlabelled images, and those without label and split, join train
        where their patient is trained on, and are for the pretext task alone elsewhere
    seed, stratify : for a part that is drawn
    val, test : fraction or number of the training patients; only for a part that the set does not give

    Returns
    -------
    Series of str named split, index of `samples`: train, val, test or pretext

    Raises
    ------
    ValueError
        If the set gives no split or an unknown one, a part is both given and asked for, or neither.
    """
    if "published_split" not in samples:
        raise ValueError("this set gives no split (column published_split): choose the split 'patient'")
    given = samples["published_split"].fillna("").astype(str)
    given = given.mask((given == "") & ~samples["has_label"].astype(bool), "unlabelled")
    unknown = sorted(set(given) - set(GIVEN))
    if unknown:
        found = ", ".join(repr(name) for name in unknown)
        raise ValueError(f"{int(given.isin(unknown).sum())} images have the split {found}: expected one of {GIVEN}")
    if not (given == "train").any():
        raise ValueError("this set gives no image the split train: nothing is left to learn from")
    for part, count in (("val", val), ("test", test)):
        there, field = int((given == part).sum()), _FIELDS[part]
        if there and count is not None:
            raise ValueError(f"the set gives {there} images the split {part}: leave {field} out of the profile")
        if not there and count is None:
            raise ValueError(f"the set gives no image the split {part}: say in the profile how many patients ({field})")
    fixed = given.isin(["val", "test"])
    drawn = split_by_patient(samples[~fixed], val=val or 0, test=test or 0, seed=seed, stratify=stratify)
    return drawn.reindex(samples.index).where(~fixed, given).rename("split")
