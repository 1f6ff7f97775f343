"""Bootstrap replicates of many pairs at once.

Enters: `Pair` objects. Leaves: for each the means of its differences in every resample of its units, seed by seed.
The paper gives no interval; these stand beside its tests (sections 3.2 to 3.4).
"""

from collections.abc import Sequence

import numpy as np

from ssrobust_lib.seeds import rng
from ssrobust_lib.statistics.bootstrap import resample_counts
from ssrobust_lib.statistics.paired_tests import FloatArray
from ssrobust_lib.statistics.pairing import Pair

_CHUNK_CELLS = 8_000_000  # resampling counts held at a time: 64 MB


def pair_replicates(pairs: Sequence[Pair], seed: int, n_bootstrap: int) -> list[FloatArray | None]:
    """Bootstrap means of each pair's differences by seed, (n_bootstrap, n_seeds) each; None with fewer than 2 units.

    Comparisons on the same units share their resamples, so one matrix product serves all of them.
    """
    groups: dict[tuple, list[int]] = {}
    for k, pair in enumerate(pairs):
        if pair.units.size >= 2 and pair.seeds:
            key = (pair.scores.task, pair.scores.set, pair.scores.unit, pair.strata is not None, pair.units.tobytes())
            groups.setdefault(key, []).append(k)
    results: list[FloatArray | None] = [None] * len(pairs)
    for (task, name, unit, stratified, _), members in groups.items():
        first = pairs[members[0]]
        n = first.units.size
        stacked = np.concatenate([pairs[k].differences for k in members])  # (all seeds of all members, units)
        generator = rng(seed, "bootstrap", task, name, unit, int(stratified))
        means, chunk = [], max(1, _CHUNK_CELLS // n)
        for start in range(0, n_bootstrap, chunk):
            counts = resample_counts(n, min(chunk, n_bootstrap - start), generator, first.strata)
            means.append(counts @ stacked.T / n)
        columns = np.concatenate(means)  # (n_bootstrap, all seeds of all members)
        ends = np.cumsum([len(pairs[k].seeds) for k in members])
        for k, part in zip(members, np.split(columns, ends[:-1], axis=1), strict=True):
            results[k] = part
    return results
