"""Effect sizes of paired differences: how large, in units that do not depend on n.

Enters: differences of two arms, one value per unit. Leaves: numbers, or None where they do not exist. The paper states
none; they stand beside its tests (sections 3.2 to 3.4).
"""

import numpy as np
import numpy.typing as npt

from ssrobust_lib.statistics.paired_tests import TIE_DECIMALS, finite_array, midranks


def rank_biserial(differences: npt.ArrayLike) -> float | None:
    """Matched-pairs rank-biserial correlation in [-1, 1]: (W+ - W-) / (W+ + W-) (Kerby 2014, zeros dropped).

    None if no difference is left after the zeros.
    """
    values = np.round(finite_array(differences, "differences", 1), TIE_DECIMALS)
    values = values[values != 0]
    if values.size == 0:
        return None
    ranks = midranks(np.abs(values))
    return float(np.sum(np.sign(values) * ranks) / ranks.sum())


def cohens_dz(differences: npt.ArrayLike) -> float | None:
    """Cohen's d_z: mean difference over the standard deviation of the differences; None without spread."""
    values = finite_array(differences, "differences", 1)
    if values.size < 2 or values.std(ddof=1) <= 10.0**-TIE_DECIMALS:
        return None
    return float(values.mean() / values.std(ddof=1))


def common_language(differences: npt.ArrayLike) -> float | None:
    """Share of the units on which the arm is ahead, ties half (McGraw & Wong 1992, paired); None without units."""
    values = np.round(finite_array(differences, "differences", 1), TIE_DECIMALS)
    return float(np.mean(np.sign(values)) / 2 + 0.5) if values.size else None
