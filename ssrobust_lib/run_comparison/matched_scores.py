"""The scores of two runs laid side by side: the same task, metric, structure and condition, on sets of the same role.

Enters: two stored runs with their predictions. Leaves: pairs of scores by network and unit, whether the units of a set
are the same patients in both runs, and which networks are the same ones.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ssrobust_lib.evaluation.unit_scores import CLEAN, UnitScores, unit_scores
from ssrobust_lib.run_comparison.set_up import same_network
from ssrobust_lib.run_comparison.stored_run import EVALUATIONS, RunComparisonError, StoredRun
from ssrobust_lib.statistics.paired_tests import FloatArray

ALL_CORRUPTIONS = "all corruptions"

Place = tuple[str, str, str, int | None]  # structure, scope, condition, severity


@dataclass(frozen=True)
class Score:
    """One metric of all arms at one place of one run: float64 (inits, seeds, units), NaN where there is none."""

    scores: UnitScores
    values: FloatArray

    def of(self, arm: str, seeds: tuple[int, ...]) -> FloatArray:
        """float64 (n_seeds, units)."""
        rows = [self.scores.seeds.index(seed) for seed in seeds]
        return self.values[self.scores.inits.index(arm)][rows]

    def seeds_of(self, arm: str) -> tuple[int, ...]:
        if arm not in self.scores.inits:
            return ()
        there = np.isfinite(self.values[self.scores.inits.index(arm)]).any(axis=1)
        return tuple(seed for seed, known in zip(self.scores.seeds, there, strict=True) if known)


Laid = tuple[Place, Score, Score, str]  # the last is a note


def scores_of(run: StoredRun) -> list[UnitScores]:
    """Scores of every network and unit of a run, from its predictions.

    Raises
    ------
    RunComparisonError
        A table of predictions is missing, lacks a column or holds what no evaluation of this study writes.
    """
    tables = [run.table(cell, "predictions") for cell in run.of_step(*EVALUATIONS)]
    try:
        return unit_scores(tables)
    except ValueError as error:
        raise RunComparisonError(f"the predictions of the run in {run.folder}: {error}. {run.remedy}") from None


def matched(
    a: StoredRun, b: StoredRun, of_a: list[UnitScores], of_b: list[UnitScores]
) -> Iterator[tuple[UnitScores, UnitScores]]:
    """Scores of both runs that belong together: the same task, metric and structure on sets of the same role."""
    place = {(s.task, s.set, s.metric, s.structure): s for s in of_b}
    for first in of_a:
        other = _counterpart(a, b, first.task, first.set, {s.set for s in of_b if s.task == first.task})
        second = place.get((first.task, other, first.metric, first.structure))
        if second is not None:
            yield first, second


def _counterpart(a: StoredRun, b: StoredRun, task: str, name: str, sets: set[str]) -> str:
    """The set of run B that a set of run A is compared with; empty where there is none.

    The task's own sets belong together, whatever they are called; sets of other centres by name, or as the only ones.
    """
    if name == a.home_sets.get(task):
        return b.home_sets.get(task, "")
    others = sets - {b.home_sets.get(task, "")}
    if name in others:
        return name
    only_one = len({cell.of["set"] for cell in a.of_step("06_kits_generalization") if cell.of["task"] == task}) == 1
    return next(iter(others)) if only_one and len(others) == 1 else ""


def places(first: UnitScores, second: UnitScores) -> Iterator[Laid]:
    """Conditions that both runs have, and the scores there; means are over what both have, and a note says so."""
    both = [condition for condition in first.conditions if condition in second.conditions]
    structure = first.structure

    def mean_of(scores: UnitScores, chosen: list[tuple[str, int]]) -> Score:
        """Every corruption with the same weight."""
        by_corruption = [
            scores.values[:, :, [scores.conditions.index(c) for c in chosen if c[0] == corruption]].mean(axis=2)
            for corruption in dict.fromkeys(name for name, _ in chosen)
        ]
        return Score(scores, np.mean(by_corruption, axis=0))

    def place(scope: str, name: str, severity: int | None, chosen: list[tuple[str, int]], note: str = "") -> Laid:
        return (structure, scope, name, severity), mean_of(first, chosen), mean_of(second, chosen), note

    if CLEAN in both:
        yield place("clean", "clean", 0, [CLEAN])
    corrupted = [condition for condition in both if condition != CLEAN]
    names = list(dict.fromkeys(name for name, _ in corrupted))
    for name in names:
        chosen = [condition for condition in corrupted if condition[0] == name]
        in_one = {condition for scores in (first, second) for condition in scores.conditions if condition[0] == name}
        shown = ", ".join(str(severity) for _, severity in chosen)
        yield place("corruption", name, None, chosen, "" if len(chosen) == len(in_one) else f"severities {shown} only")
        if not structure and first.metric != "missed":
            for condition in chosen:
                yield place("severity", *condition, [condition])
    if len(names) > 1 and not structure and first.metric != "missed":
        every = {name for scores in (first, second) for name, severity in scores.conditions if severity}
        note = "" if len(names) == len(every) else f"mean over the {len(names)} corruptions that both runs have"
        yield place(ALL_CORRUPTIONS, ALL_CORRUPTIONS, None, corrupted, note)


def why_apart(a: StoredRun, b: StoredRun, task: str, name_a: str, name_b: str) -> str:
    """Why images of equal names in both runs are not the same patients; empty where they are."""
    if name_a != name_b:
        return f"{name_a} against {name_b}"
    recipes = [phantoms_of(run, task, name_a) for run in (a, b)]
    return "" if recipes[0] == recipes[1] else "other phantoms"


def phantoms_of(run: StoredRun, task: str, label: str) -> str:
    """What the phantoms of a set are made from; empty where its images are real."""
    for cell in run.of_step("01_data"):
        if cell.of["task"] == task:
            data, recipes = cell.settings["data"], cell.settings.get("phantoms", {})
            for choice in (data, *data.get("external_sets", [])):
                if label in (choice.get("name"), choice["set"]) and choice["set"] in recipes:
                    return f"{choice['set']} {recipes[choice['set']]} {cell.settings['study_seed']}"
    return ""


def same_networks(a: StoredRun, b: StoredRun) -> frozenset[tuple[str, str, int]]:
    """(task, arm, seed) of the networks that are the same in both runs."""
    trainings = [
        {(cell.of["task"], cell.of["init"], cell.of["seed"]): cell for cell in run.of_step("03_finetune")}
        for run in (a, b)
    ]
    both = [key for key in trainings[0] if key in trainings[1]]
    return frozenset(key for key in both if same_network(trainings[0][key], trainings[1][key]))
