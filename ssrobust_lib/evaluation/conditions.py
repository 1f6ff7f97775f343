"""What an evaluation is asked for, checked before any work: which rows of a cache, which severities of a corruption.

Enters: rows, a corruption's name and its strengths by severity. Leaves: positions as an array, a `Condition` for each
severity.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from ssrobust_lib.corruptions import CORRUPTIONS
from ssrobust_lib.evaluation.inference import CLEAN, Condition, ImageCache

HIGHEST_SEVERITY = 5

Positions = Sequence[int] | np.ndarray


def checked_positions(rows: Positions, cache: ImageCache) -> np.ndarray:
    """Take rows of a cache as an integer array (n,), n > 0, or raise ValueError that says what is wrong with them."""
    positions = np.asarray(rows)
    n = len(cache.rows)
    if positions.ndim != 1 or len(positions) == 0 or not np.issubdtype(positions.dtype, np.integer):
        raise ValueError(
            f"rows: expected positions in the cache, integers of shape (n,) with n > 0, got {positions.dtype} "
            f"{positions.shape}; np.flatnonzero turns a selection into positions"
        )
    if positions.min() < 0 or positions.max() >= n:
        raise ValueError(f"rows: expected positions in 0..{n - 1}, got {positions.min()}..{positions.max()}")
    return positions


def conditions_of(corruption: str, strengths: Mapping[int, float], study_seed: int) -> dict[int, Condition]:
    """Give each severity of a corruption its condition.

    Raises
    ------
    UnknownNameError
        Where the corruption is not known.
    ValueError
        Where a severity is not 1 to 5 (0 for 'clean'), or a strength lies outside the corruption's range.
    """
    if corruption == CLEAN:
        if dict(strengths) != {0: 0.0}:
            raise ValueError(f"clean images have severity 0 and strength 0: expected {{0: 0.0}}, got {dict(strengths)}")
    else:
        strongest = CORRUPTIONS[corruption].strongest
        wrong = [severity for severity in strengths if severity not in range(1, HIGHEST_SEVERITY + 1)]
        if wrong or not strengths:
            raise ValueError(
                f"strengths of {corruption}: expected severities 1 to {HIGHEST_SEVERITY} (0 is 'clean'), "
                f"got {list(strengths)}"
            )
        beyond = {severity: value for severity, value in strengths.items() if not 0 <= value <= strongest}
        if beyond:
            raise ValueError(f"strengths of {corruption}: expected 0 to {strongest:g}, got {beyond}; calibrate again")
    return {
        int(severity): Condition(corruption, float(strength), int(severity), study_seed)
        for severity, strength in strengths.items()
    }
