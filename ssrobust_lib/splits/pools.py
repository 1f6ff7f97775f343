"""Parts of a pretext pool: how much a pretext task gains from more unlabelled images.

In: the samples table, a pool of it (`rules.pretext_pool`), a share. Out: the sample_ids of that part. A larger share of
the same seed holds the smaller one, so that a curve over shares adds images and exchanges none.
"""

import math
from collections.abc import Collection

import numpy as np
import pandas as pd

from ssrobust_lib.seeds import rng


def part_of_pool(samples: pd.DataFrame, pool: Collection[str], share: float, seed: int) -> list[str]:
    """Draw a share of a pool's samples, patient after patient in an order that only the seed decides.

    Of the last patient no more samples are taken than needed, in the order of their names.

    Parameters
    ----------
    samples : with `sample_id`, `patient_id`
    pool : sample_ids
    share : of the pool's samples, in (0, 1]; rounded up to whole samples
    seed : of the draw

    Returns
    -------
    sorted sample_ids

    Raises
    ------
    ValueError
        If the share is not in (0, 1], or the pool is empty or not part of the samples.
    """
    if not 0 < share <= 1:
        raise ValueError(f"expected a share of the pool above 0 and up to 1, got {share!r}")
    members = samples.loc[samples["sample_id"].isin(set(pool)), ["sample_id", "patient_id"]]
    if not len(members) or len(members) != len(set(pool)):
        raise ValueError(
            f"{len(members)} of the pool's {len(set(pool))} samples are in the samples table: expected all"
        )
    patients = sorted(members["patient_id"].unique())
    rank = dict(zip(rng(seed, "part of the pool").permutation(np.array(patients)), range(len(patients)), strict=True))
    order = members.assign(rank=members["patient_id"].map(rank)).sort_values(["rank", "sample_id"])
    return sorted(order["sample_id"].head(math.ceil(round(share * len(order), 9))))
