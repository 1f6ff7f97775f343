"""One point per patient or scan: how well each of two arms did on it, averaged over the seeds that both have.

Enters: predictions of one set, under any conditions. Leaves: one row per patient (X-rays) or scan (CT), for scatter
plots and for choosing cases by a rule (Fig. 5 and Table 3 of the paper).

The score of a scan is the mean Dice over the structures that its label holds. The score of an X-ray is the probability
given to its label, p where the finding is there and 1 - p where it is not: of a patient's only image it is above 0.5
exactly where the call at 0.5 is right (a tie aside), and unlike the call it tells how far off a network was.
"""

from collections.abc import Collection

import pandas as pd

from ssrobust_lib.evaluation.unit_scores import ALTERNATIVE_STRUCTURES
from ssrobust_lib.registry import unknown_name

COLUMNS = (
    "name", "label", "arm", "reference", "difference", "arm_low", "arm_high", "reference_low", "reference_high",
    "n_seeds",
)  # fmt: skip


def seed_values(predictions: pd.DataFrame, *, alternatives: Collection[str] = ALTERNATIVE_STRUCTURES) -> pd.DataFrame:
    """Score of every network on every patient or scan.

    Parameters
    ----------
    predictions : of one set; over several conditions it is the mean over the severities of each corruption and then
        over the corruptions, clean images counting as one of them.
    alternatives : structures that stay out of the mean over structures.

    Returns
    -------
    DataFrame with init, seed, name (patient_id of X-rays, sample_id of scans) and value in [0, 1].
    """
    xrays = "score" in predictions
    if xrays:
        rows = predictions[predictions["label"].notna()]
        score, positive = rows["score"].astype("float64"), rows["label"].astype("int64") == 1
        rows = rows.assign(value=score.where(positive, 1 - score), name=rows["patient_id"])
    else:
        counted = (predictions["voxels_label"] > 0) & ~predictions["structure"].isin(list(alternatives))
        rows = predictions[counted]
        rows = rows.assign(value=rows["dice"].astype("float64"), name=rows["sample_id"])
    keys = ["init", "seed", "name"]
    for kept in (["corruption", "severity"], ["corruption"], []):
        rows = rows.groupby([*keys, *kept], sort=True, observed=True)["value"].mean().reset_index()
    return rows


def pair_scores(
    predictions: pd.DataFrame,
    arm: str,
    reference: str,
    *,
    alternatives: Collection[str] = ALTERNATIVE_STRUCTURES,
) -> pd.DataFrame:
    """Pair two arms patient by patient or scan by scan.

    Parameters
    ----------
    predictions, alternatives : as in `seed_values`.

    Returns
    -------
    DataFrame with `COLUMNS`, sorted by name: `label` 'with the finding', 'without the finding', 'some images with the
    finding', or '' of scans; `arm` and `reference` the means over the `n_seeds` seeds that both have, `_low` and
    `_high` their smallest and largest seed; `difference` arm less reference. A unit that a network lacks is left out.

    Raises
    ------
    UnknownNameError
        An arm without predictions.
    """
    known = sorted(map(str, predictions["init"].unique()))
    for name in (arm, reference):
        if name not in known:
            raise unknown_name("arm in the predictions", name, known)
    values = seed_values(predictions, alternatives=alternatives)
    cubes = {
        a: values[values["init"] == a].pivot(index="name", columns="seed", values="value") for a in (arm, reference)
    }
    seeds = sorted(set(cubes[arm].columns) & set(cubes[reference].columns))
    both = {name: cube[seeds].dropna() for name, cube in cubes.items()}
    names = both[arm].index.intersection(both[reference].index).sort_values()
    table = pd.DataFrame({"name": names, "label": _labels(predictions, names)})
    for column, name in (("arm", arm), ("reference", reference)):
        cube = both[name].loc[names]
        table[column] = cube.mean(axis=1).to_numpy()
        table[f"{column}_low"], table[f"{column}_high"] = cube.min(axis=1).to_numpy(), cube.max(axis=1).to_numpy()
    return table.assign(difference=table["arm"] - table["reference"], n_seeds=len(seeds))[list(COLUMNS)]


def _labels(predictions: pd.DataFrame, names: pd.Index) -> list[str]:
    if "label" not in predictions:
        return [""] * len(names)
    share = predictions.groupby("patient_id")["label"].mean()
    words = {0.0: "without the finding", 1.0: "with the finding"}
    return [words.get(float(share[name]), "some images with the finding") for name in names]
