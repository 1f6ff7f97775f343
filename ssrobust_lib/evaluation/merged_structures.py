"""Scores of a set's structures as another set labels them: right and left kidney as one kidney.

Enters: predictions of the networks' own set, and which of its structures each structure of another centre's set is made
of. Leaves: the same predictions with those structures in their place, so that both sets are scored on the same ones
(section 3.4 of the paper, which sets Dice over all organs against Dice of the kidneys).

The parts of a structure share no voxel, neither in the label nor in the prediction, so their voxels add up. The overlap
of the whole also holds voxels that one part lost to the other. The tables know that number for a structure and its
mirror image (`voxels_mirrored`), which is what the sides of an organ are to each other; of other parts it is not known,
and a structure that is made of them cannot be formed.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ssrobust_lib.evaluation.mirror_images import mirror_images

MIRRORED = "voxels_mirrored"
_COUNTS = ("voxels_label", "voxels_predicted", "voxels_overlap")
_KEYS = ["init", "seed", "corruption", "severity", "sample_id"]


def merge_structures(
    rows: pd.DataFrame, parts: Mapping[str, Sequence[str]]
) -> tuple[pd.DataFrame | None, dict[str, str]]:
    """Form structures from those that were scored.

    Parameters
    ----------
    rows : predictions of one set, in the study's layout; `voxels_mirrored` is needed where sides are merged.
    parts : structure to be formed -> the scored structures that it is made of.

    Returns
    -------
    The rows of the structures that can be formed (None if there is none), with task, init, seed, set, corruption,
    severity, sample_id, patient_id, structure, dice and voxel counts; and why each of the others cannot.
    """
    formed, refused = [], {}
    for name, of in parts.items():
        part = rows[rows["structure"].isin(list(of))]
        reason = _why_not(rows, part, of)
        if reason:
            refused[name] = reason
        elif len(of) == 1:
            formed.append(part.assign(structure=name))
        else:
            formed.append(_sum(part).assign(structure=name))
    if not formed:
        return None, refused
    columns = [*_KEYS, "task", "set", "patient_id", "structure", "dice", *_COUNTS]
    return pd.concat([table[columns] for table in formed], ignore_index=True), refused


def _why_not(rows: pd.DataFrame, part: pd.DataFrame, of: Sequence[str]) -> str:
    """Why a structure cannot be formed; empty if it can."""
    known = set(part["structure"])
    if lacking := [name for name in of if name not in known]:
        return f"{', '.join(lacking)} not scored"
    if len(of) == 1:
        return ""
    mirrors = mirror_images(of)
    if len(of) != 2 or len(mirrors) != 2:
        return f"voxels that {' and '.join(of)} lost to each other were not counted"
    unknown = MIRRORED not in rows or part.loc[part["voxels_label"] > 0, MIRRORED].isna().any()
    return f"no {MIRRORED} of {' and '.join(of)}" if unknown else ""


def _sum(part: pd.DataFrame) -> pd.DataFrame:
    """The parts of each scan, network and condition as one structure; Dice is NaN where the label holds neither."""
    overlap = part["voxels_overlap"].astype("int64") + part[MIRRORED].fillna(0).astype("int64")
    grouped = part.assign(voxels_overlap=overlap).groupby(_KEYS, sort=False, observed=True)
    merged = grouped[list(_COUNTS)].sum().join(grouped[["task", "set", "patient_id"]].first()).reset_index()
    size = (merged["voxels_label"] + merged["voxels_predicted"]).to_numpy(np.float64)
    overlaps = merged["voxels_overlap"].to_numpy(np.float64)
    labelled = merged["voxels_label"].to_numpy() > 0
    dice = np.divide(2 * overlaps, size, out=np.full(size.shape, np.nan), where=labelled)
    return merged.assign(dice=dice)
