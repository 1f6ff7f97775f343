"""Families of tests, declared before the run: within each, Holm's correction holds the chance of any false alarm.

Enters: the comparisons table with raw p-values of both estimands. Leaves: the same with `family`, and for each estimand
the p-values after Holm's correction and after Benjamini and Hochberg's.
The paper corrects for nothing; its Tables 1 and 2 are three tests, its Figs. 3 and 4 fourteen (7 corruptions, 2 tasks).
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from ssrobust_lib.registry import unknown_name
from ssrobust_lib.statistics.multiplicity import benjamini_hochberg, holm
from ssrobust_lib.statistics.paired_tests import smallest_signed_rank_p

Selector = Mapping[str, str | Sequence[str]]
Families = Mapping[str, Sequence[Selector]]

SELECTABLE = ("task", "set", "role", "metric", "structure", "scope", "condition", "severity", "arm")
UNDECLARED = "undeclared"
AA_PREFIX = "A/A: "
#: Column of the uncorrected p-values of each estimand: these networks, the method.
ESTIMANDS = ("p", "method_p")
#: Columns of how many tests a row's p was corrected with, its own among them.
SIZES = {"p": "family_tests", "method_p": "method_family_tests"}
CORRECTIONS = {"holm": holm, "bh": benjamini_hochberg}

_SCORES, _GAPS = ("accuracy", "dice"), ("accuracy gap", "dice gap")
#: A row belongs to the first family with a selector that fits it. Arms share a family: with three pretext tasks the
#: clean family has nine tests. The A/A arm's rows form families of their own, of the same make. Each severity is a
#: family like that of the means over severities: fourteen tests with one pretext task.
DEFAULT_FAMILIES: Families = {
    "clean": ({"role": "home", "scope": "clean", "structure": "", "metric": (*_SCORES, "auroc")},),
    "corruption": ({"role": "home", "scope": "corruption", "structure": "", "metric": _SCORES},),
    "overall": ({"role": "home", "scope": "all corruptions", "structure": "", "metric": _SCORES},),
    "generalization": ({"role": "external", "scope": "clean", "structure": "", "metric": (*_SCORES, "auroc")},),
    "gap": (
        {"role": "home", "scope": "all corruptions", "metric": _GAPS},
        {"role": "external", "scope": "clean", "metric": _GAPS},
    ),
    "gap by corruption": ({"metric": _GAPS},),
    **{f"severity {k}": ({"scope": "severity", "severity": str(k)},) for k in range(1, 6)},
    "missed": ({"metric": "missed"},),
    "flipped": ({"metric": "flipped"},),
    "features overall": ({"metric": "feature_distance", "scope": "all corruptions"},),
    "features": ({"metric": "feature_distance"},),
    "placements": ({"metric": "auroc placements"},),
    "structures": ({"metric": "dice"},),
    "other sets": ({"role": "external"},),
}


def matches(table: pd.DataFrame, selector: Selector) -> np.ndarray:
    """Which rows a selector fits: bool (n,). Each named column must hold the value, or one of the values.

    Raises
    ------
    UnknownNameError : the selector names a column that cannot be selected by.
    """
    fits = np.ones(len(table), dtype=bool)
    for column, wanted in selector.items():
        if column not in SELECTABLE:
            raise unknown_name("column of a selector", column, list(SELECTABLE))
        values = [wanted] if isinstance(wanted, str) else list(wanted)
        fits &= table[column].astype("string").isin(values).to_numpy(dtype=bool)
    return fits


def correct_families(
    comparisons: pd.DataFrame, families: Families = DEFAULT_FAMILIES, aa_arms: Collection[str] = ()
) -> pd.DataFrame:
    """Fill `family`, the corrected p-values and with how many tests.

    A row in no family is 'undeclared' and uncorrected, with a note. Where even the smallest p-value that n units can
    give would not pass 0.05 after Holm, the note says so.
    """
    table = comparisons.reset_index(drop=True)
    family = pd.Series(UNDECLARED, index=table.index, dtype=object)
    free = np.ones(len(table), dtype=bool)
    for name, selectors in families.items():
        for selector in selectors:
            fits = free & matches(table, selector)
            family[fits] = name
            free &= ~fits
    aa = table["arm"].isin(list(aa_arms))
    family[aa] = AA_PREFIX + family[aa]
    corrected = {(p, kind): pd.Series(np.nan, index=table.index) for p in ESTIMANDS for kind in CORRECTIONS}
    notes = table["note"].tolist()
    for name, rows in family.groupby(family).groups.items():
        if str(name).removeprefix(AA_PREFIX) == UNDECLARED:
            notes = [_join(note, "in no declared family") if k in rows else note for k, note in enumerate(notes)]
            continue
        for (p, kind), values in corrected.items():
            values[rows] = CORRECTIONS[kind](table.loc[rows, p].to_numpy(np.float64))
        n_tests = int(table.loc[rows, "p"].notna().sum())
        for k in rows:
            smallest = smallest_signed_rank_p(int(table.at[k, "n"]))
            if str(table.at[k, "test"]).startswith("Wilcoxon signed-rank") and smallest * n_tests > 0.05:
                n = table.at[k, "n"]
                tests = "1 test" if n_tests == 1 else f"{n_tests} tests"
                text = f"smallest attainable p with {n} units is {smallest:.2g}, {tests} in the family"
                notes[k] = _join(notes[k], text)
    columns = {f"{p}_{kind}": values for (p, kind), values in corrected.items()}
    for p, name in SIZES.items():
        columns[name] = table[p].notna().groupby(family).transform("sum").astype(np.int64)
    return table.assign(family=family.astype(str), note=notes, **columns)


def _join(note: str, more: str) -> str:
    return f"{note}; {more}" if note else more
