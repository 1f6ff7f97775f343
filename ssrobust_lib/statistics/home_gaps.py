"""The change from the home set to another centre's: the same score, over the same structures, of two groups of units.

Enters: the clean pairs of every set, and the prediction tables. Leaves: for every arm and every other centre's set the
two pairs whose differences are compared (section 3.4 of the paper, which sets Dice of all organs at home against Dice
of the kidneys elsewhere: two scores that differ on one and the same network).

Dice of a whole set is a mean over the structures that it labels. At home it is therefore taken over those of the other
set alone, merged as they are there (`evaluation.merged_structures`); a structure that cannot be formed at home is left
out on both sides, and the note says so. The units of the two sets have nothing to do with each other: seeds are paired,
patients or scans are not.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import pandas as pd

from ssrobust_lib.evaluation.merged_structures import merge_structures
from ssrobust_lib.evaluation.unit_scores import CLEAN, UnitScores, segmentation_scores
from ssrobust_lib.statistics.paired_tests import FloatArray
from ssrobust_lib.statistics.pairing import Pair, pairs_of
from ssrobust_lib.statistics.replicates import pair_replicates


class HomeGap(NamedTuple):
    """One arm at another centre and at home.

    Attributes
    ----------
    away : the pair there, its metric named '<metric> gap'.
    home : the pair at home, with the same seeds; None where home has no such score.
    replicates : float64 (n_bootstrap, n_seeds), bootstrap means of the difference of the two; None with too few units.
    note : over what, of how many units; or why there is none.
    """

    away: Pair
    home: Pair | None
    replicates: FloatArray | None
    note: str


def home_gaps(
    pairs: Sequence[Pair],
    tables: Sequence[pd.DataFrame],
    *,
    seed: int,
    n_bootstrap: int,
    alternatives: Collection[str],
    parts: Mapping[str, Mapping[str, Sequence[str]]],
) -> list[HomeGap]:
    """Pair every clean comparison at another centre with the one at home that has the same arm and score.

    Parameters
    ----------
    pairs : all pairs of a run.
    tables : its prediction tables.
    seed, n_bootstrap : of the resampling; the two sets have streams of their own, so that the difference of their
        replicates is a bootstrap of two groups.
    alternatives : structures that stay out of the mean over structures.
    parts : another centre's set -> its structures -> the home set's structures that each is made of.
    """
    clean = [p for p in pairs if p.scope == "clean" and p.scores.structure == "" and p.metric in ("accuracy", "dice")]
    homes = {(p.scores.task, p.metric, p.arm): p for p in clean if p.role == "home"}
    common: dict[tuple[str, str], tuple[UnitScores | None, UnitScores | None, str]] = {}
    aways: list[Pair] = []
    at_home: list[Pair | None] = []
    notes: list[str] = []
    for away in (p for p in clean if p.role == "external"):
        home, note = homes.get((away.scores.task, away.metric, away.arm)), ""
        if home is None:
            continue
        if away.metric == "dice":
            place = (away.scores.task, away.scores.set)
            if place not in common:
                common[place] = _common_scores(home, away, tables, alternatives, parts.get(away.scores.set))
            scores_home, scores_away, note = common[place]
            home = _clean_pair(scores_home, home) if scores_home else None
            away = _clean_pair(scores_away, away) if scores_away else away
        aways.append(away)
        at_home.append(home)
        notes.append(note)
    both = [
        (away, None) if home is None else _same_seeds(away, home) for away, home in zip(aways, at_home, strict=True)
    ]
    there = pair_replicates([away for away, _ in both], seed, n_bootstrap)
    here = iter(pair_replicates([home for _, home in both if home is not None], seed, n_bootstrap))
    return [
        _gap(away, home, of_away, next(here) if home is not None else None, note)
        for (away, home), of_away, note in zip(both, there, notes, strict=True)
    ]


def _gap(away: Pair, home: Pair | None, there: FloatArray | None, here: FloatArray | None, note: str) -> HomeGap:
    gap = replace(away, metric=f"{away.metric} gap")
    if home is None:
        return HomeGap(gap, None, None, note)
    if not (away.seeds and away.units.size and home.units.size):
        return HomeGap(gap, None, None, f"{note}; no unit has a score in both arms on both sets".removeprefix("; "))
    units = f"{away.units.size} units of {away.scores.set} against {home.units.size} of {home.scores.set}, not paired"
    replicates = None if there is None or here is None else there - here
    return HomeGap(gap, home, replicates, f"{units}; {note}" if note else units)


def _clean_pair(scores: UnitScores, like: Pair) -> Pair:
    return pairs_of(scores, like.role, [like.arm], like.reference)[0]


def _same_seeds(away: Pair, home: Pair) -> tuple[Pair, Pair]:
    """Both pairs on the seeds that both have."""
    seeds = [seed for seed in away.seeds if seed in home.seeds]

    def kept(pair: Pair) -> Pair:
        at = [pair.seeds.index(seed) for seed in seeds]
        return replace(
            pair, seeds=tuple(seeds), arm_values=pair.arm_values[at], reference_values=pair.reference_values[at]
        )

    return kept(away), kept(home)


def _common_scores(
    home: Pair,
    away: Pair,
    tables: Sequence[pd.DataFrame],
    alternatives: Collection[str],
    parts: Mapping[str, Sequence[str]] | None,
) -> tuple[UnitScores | None, UnitScores | None, str]:
    """Dice at home and away over the structures that both have, and a note on them; None where there are none."""
    of_home, of_away = (_clean_rows(tables, pair) for pair in (home, away))
    names = [str(name) for name in of_away.loc[of_away["voxels_label"] > 0, "structure"].unique()]
    main = [name for name in names if name not in alternatives] or names
    wanted = {name: list((parts or {}).get(name, [name])) for name in main}
    merged, refused = merge_structures(of_home, wanted)
    lost = [f"{name} cannot be scored on {home.scores.set}: {reason}" for name, reason in refused.items()]
    if merged is None or not (merged["voxels_label"] > 0).any():
        reasons = "; ".join(lost) or f"no scan of {home.scores.set} holds {', '.join(main)}"
        return None, None, f"no change from the home set: {reasons}"
    kept = [name for name in main if name not in refused]
    of_both = [
        next(score for score in segmentation_scores(rows, ()) if score.metric == "dice" and score.structure == "")
        for rows in (merged, of_away[of_away["structure"].isin(kept)])
    ]
    note = f"Dice of {', '.join(kept)} on both sides"
    return of_both[0], of_both[1], "; ".join([note, *(f"left out: {text}" for text in lost)])


def _clean_rows(tables: Sequence[pd.DataFrame], pair: Pair) -> pd.DataFrame:
    """Predictions of the pair's set on clean images."""
    found = []
    for table in tables:
        if "structure" in table.columns:
            here = (table["task"] == pair.scores.task) & (table["set"] == pair.scores.set)
            found.append(table[here & (table["corruption"] == CLEAN[0])])
    return pd.concat(found, ignore_index=True)
