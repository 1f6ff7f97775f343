"""Corrections of p-values within one family of tests.

Enters: p-values, NaN where there is no test. Leaves: as many corrected ones. The paper corrects for nothing.
Holm's holds the chance of any false alarm in the family, Benjamini and Hochberg's the share of false ones among the
alarms.
"""

import numpy as np
import numpy.typing as npt

from ssrobust_lib.statistics.paired_tests import FloatArray


def _p_values(p_values: npt.ArrayLike) -> FloatArray:
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or np.any((p < 0) | (p > 1)):
        raise ValueError(f"expected p-values in [0, 1] in one dimension, got shape {p.shape} with values {p.tolist()}")
    return p


def holm(p_values: npt.ArrayLike) -> FloatArray:
    """Holm's step-down correction within one family; NaN (no test) stays NaN and does not count as a test.

    The k-th smallest of m p-values (k from 0) is multiplied by m - k, then no corrected value may be below an earlier
    one, and none above 1 (Holm 1979). Equal to `statsmodels` `multipletests(method="holm")`, which a test checks; that
    one collects all garbage of the process at each call, which here took longer than all tests together.

    Raises
    ------
    ValueError : values outside [0, 1], or more than one dimension.
    """
    p = _p_values(p_values)
    corrected = np.full(p.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    factors = np.arange(order.size, 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return corrected


def benjamini_hochberg(p_values: npt.ArrayLike) -> FloatArray:
    """Benjamini and Hochberg's (1995) correction within one family, by SciPy; NaN stays NaN and is not counted.

    The k-th smallest of m p-values (k from 1) is multiplied by m / k, then none may be above a later one.

    Raises
    ------
    ValueError : values outside [0, 1], or more than one dimension.
    """
    from scipy.stats import false_discovery_control

    p = _p_values(p_values)
    corrected, tested = np.full(p.shape, np.nan), ~np.isnan(p)
    if tested.any():
        corrected[tested] = false_discovery_control(p[tested], method="bh")
    return corrected
