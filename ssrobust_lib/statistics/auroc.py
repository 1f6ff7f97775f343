"""AUROC by patient: placement values, pseudo-values and DeLong's paired test (Table 1's second column).

Enters: scores and labels of the images of one set, and whose images they are. Leaves: one value per patient whose mean
over patients is the AUROC, so that arms can be compared patient by patient as for any other metric.

Which test, and why not the one the paper names. An AUROC has no value per image. The placement of a positive image is
the share of negative images scored below it, that of a negative image the share of positive images scored above it
(ties count half); both average to the AUROC. A signed-rank test over placements takes them for independent, but each
is measured against the same images of the other class: with equally good arms (simulated, n = 60 to 1,000, 600
repeats) it called p < 0.05 in 36 to 72 % of the cases over all images and in 9 to 41 % over the positive ones alone;
DeLong's test in 4.5 to 6.3 %. Hence the p-value of the AUROC row is DeLong's (1988), with patients as clusters
(Obuchowski 1997); the signed-rank p over all placements is kept beside it as a row of its own.
"""

import numpy as np
import numpy.typing as npt

from ssrobust_lib.statistics.paired_tests import FloatArray, TestResult, finite_array, midranks

#: Fewer patients than this in a class and the normal approximation behind DeLong's test deserves a note.
FEW_PATIENTS = 10


def placements(scores: npt.ArrayLike, labels: npt.ArrayLike) -> FloatArray:
    """Placement value of every image in [0, 1]; their mean over either class is the AUROC (DeLong et al. 1988).

    Parameters
    ----------
    scores : float (n,), higher means more likely positive.
    labels : int (n,) of 0 and 1, both present.

    Raises
    ------
    ValueError : a class is missing, or a label is neither 0 nor 1.
    """
    values, classes = finite_array(scores, "scores", 1), np.asarray(labels)
    if classes.shape != values.shape or not np.isin(classes, (0, 1)).all():
        raise ValueError(f"expected one label, 0 or 1, for each of {values.size} scores, got {classes!r}")
    positive = classes == 1
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if n_positive == 0 or n_negative == 0:
        raise ValueError(f"AUROC needs both classes, got {n_positive} positive and {n_negative} negative images")
    overall, within = midranks(values), np.empty(values.size)
    within[positive], within[~positive] = midranks(values[positive]), midranks(values[~positive])
    others_below = overall - within  # images of the other class scored below, ties half
    return np.where(positive, others_below / n_negative, 1 - others_below / n_positive)


def auroc(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Area under the ROC curve: the share of (positive, negative) pairs in the right order, ties half."""
    return float(placements(scores, labels)[np.asarray(labels) == 1].mean())


def patient_pseudo_values(
    scores: npt.ArrayLike, labels: npt.ArrayLike, patients: npt.NDArray[np.int64], n_patients: int
) -> FloatArray:
    """One value per patient: AUROC plus that patient's influence on it.

    With N patients, m positive and n negative images and placements v, patient k has
    AUROC + N (sum over own positives of (v - AUROC)/m + sum over own negatives of (v - AUROC)/n).
    The mean over patients is the AUROC; the variance of the mean is DeLong's, Obuchowski's with several images each.

    Parameters
    ----------
    patients : int (n,) in [0, n_patients), whose image each is.

    Returns
    -------
    float64 (n_patients,) : not bounded by [0, 1]; NaN for a patient without images.
    """
    values, positive = placements(scores, labels), np.asarray(labels) == 1
    area = values[positive].mean()
    weights = np.where(positive, 1 / positive.sum(), 1 / (~positive).sum())
    images = np.bincount(patients, minlength=n_patients)
    influence = np.bincount(patients, weights=weights * (values - area), minlength=n_patients)
    return np.where(images > 0, area + (images > 0).sum() * influence, np.nan)


def delong(differences: npt.ArrayLike, strata: npt.NDArray[np.int64]) -> TestResult:
    """DeLong's test that two AUROCs of the same patients are equal, two-sided, from paired pseudo-values.

    z = mean / sqrt(sum over classes of the variance within the class), with n - 1 in each class as in DeLong et al.
    (1988) for one image per patient.

    Parameters
    ----------
    differences : float (n_patients,), differences of pseudo-values, arm minus reference.
    strata : int (n_patients,), class of each patient.
    """
    values = finite_array(differences, "differences", 1)
    name, variance, smallest = "DeLong, paired", 0.0, values.size
    for stratum in np.unique(strata):
        members = values[strata == stratum]
        smallest = min(smallest, members.size)
        if members.size > 1:
            variance += members.var(ddof=1) * members.size / values.size**2
    if smallest < 2:
        return TestResult(name, values.size, None, None, "a class has fewer than 2 patients")
    if variance <= 1e-24:
        return TestResult(name, values.size, None, None, "the arms order every pair alike: no variance")
    from scipy.special import ndtr

    z = float(values.mean() / np.sqrt(variance))
    note = f"{smallest} patients in the smaller class: rough" if smallest < FEW_PATIENTS else ""
    return TestResult(name, values.size, z, float(2 * ndtr(-abs(z))), note)
