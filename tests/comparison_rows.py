"""A made-up table of comparisons with known effects, for the tests of claims: every row that a claim may select."""

import numpy as np
import pandas as pd
from prediction_tables import CORRUPTIONS

SAME_DATA = "jigsaw_same_data"


def single_row(low, high, p, *, difference=None, method=None, n_seeds=3, equivalence_p=np.nan, **more):
    """What a rule reads of a row: interval and p of these networks; `method` is (low, high, p), the same if None."""
    middle = (low + high) / 2 if difference is None else difference
    method_low, method_high, method_p = (low, high, p) if method is None else method
    row = {"difference": middle, "ci_low": low, "ci_high": high, "p_holm": p, "mean_arm": 0.5, "mean_reference": 0.5}
    row |= {"method_ci_low": method_low, "method_ci_high": method_high, "method_p_holm": method_p, "n_seeds": n_seeds}
    return row | {"equivalence_p": equivalence_p, "p": p} | more


def _places():
    """(task, set, role, metric, scope, condition) of every comparison of a complete run."""
    for task, name, score, clean in (
        ("pneumonia", "rsna", "accuracy", ("accuracy", "auroc")),
        ("organs", "visceral", "dice", ("dice", "missed", "flipped")),
    ):
        yield from ((task, name, "home", metric, "clean", "clean") for metric in clean)
        corrupted = [score, f"{score} gap", "feature_distance", *(m for m in clean if m in ("missed", "flipped"))]
        yield from ((task, name, "home", metric, "corruption", c) for metric in corrupted for c in CORRUPTIONS)
        overall = [score, f"{score} gap", "feature_distance"]
        yield from ((task, name, "home", metric, "all corruptions", "all corruptions") for metric in overall)
    yield from (("organs", "kits19", "external", m, "clean", "clean") for m in ("dice", "missed", "dice gap"))


def comparison_rows(arms=("jigsaw", "scratch_aa"), reference="scratch", effect=0.1, n_seeds=3):
    """Every comparison of `arms` with `reference`; all but the A/A arm are better by `effect`, in each metric's sense.

    An interval is 0.05 wide to each side, p is 0.0001 where it leaves out zero and 0.5 elsewhere.
    """
    rows = []
    for arm in arms:
        for task, name, role, metric, scope, condition in _places():
            better = -1 if metric in ("missed", "flipped", "feature_distance") else 1
            size = 0.0 if arm == "scratch_aa" else better * effect
            p = 0.0001 if abs(size) > 0.05 else 0.5
            place = {"task": task, "set": name, "role": role, "metric": metric, "scope": scope, "condition": condition}
            place |= {"arm": arm, "reference": reference, "structure": "", "severity": None, "n": 12}
            place |= {"unit": "patient" if task == "pneumonia" else "scan", "note": "", "method_note": ""}
            place |= {"family": f"{scope} {metric}", "test": "Wilcoxon signed-rank, normal approximation"}
            place["comparison"] = f"{task}/{name}/{metric}/{condition}/{arm} against {reference}"
            values = single_row(size - 0.05, size + 0.05, p, equivalence_p=0.9, n_seeds=n_seeds)
            values |= {"mean_arm": 0.5 + size, "mean_reference": 0.5, "detectable": 0.08}
            if n_seeds < 2:
                values |= {"method_ci_low": np.nan, "method_ci_high": np.nan, "method_p_holm": np.nan}
                values |= {"equivalence_p": np.nan, "detectable": np.nan, "method_note": "one seed"}
            rows.append(place | values)
    return pd.DataFrame(rows)


def with_controls(effect=0.1, same_data_effect=0.0):
    """The same with the control arm on the labelled images alone, and jigsaw against it."""
    tables = [
        comparison_rows(effect=effect),
        comparison_rows((SAME_DATA,), effect=same_data_effect),
        comparison_rows(("jigsaw",), SAME_DATA, effect=effect - same_data_effect),
    ]
    return pd.concat(tables, ignore_index=True)
