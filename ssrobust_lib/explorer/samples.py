"""Images chosen by what happened to them in the evaluation: wrong in one arm only, most changed, most gained.

Enters: a finished run, a state and the name of a rule. Leaves: samples with a few words each, best fitting ones first.
Rules read the stored predictions of the state's corruption and severity; nothing is computed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ssrobust_lib.evaluation.inference import CLEAN
from ssrobust_lib.evaluation.metrics import THRESHOLD, dice_per_scan
from ssrobust_lib.explorer.finished_run import CT, FinishedRun
from ssrobust_lib.explorer.views import State
from ssrobust_lib.registry import unknown_name

EVERY = "all"


@dataclass(frozen=True)
class Sample:
    """An image or scan, and what is told of it in a list of choices."""

    sample_id: str
    words: str


@dataclass(frozen=True)
class Rule:
    """A way of choosing samples.

    Attributes
    ----------
    words : in a list of choices; {first} and {second} stand for the arms
    kind : 'xray' or 'ct'
    arms : how many arms it needs
    choose : (table by sample with a column per arm, table of clean images) -> values of the chosen ones, float by
        sample, in the order of showing
    """

    words: str
    kind: str
    arms: int
    choose: Callable[[pd.DataFrame, pd.DataFrame], pd.Series]


def _apart(right: tuple[bool, ...]) -> Callable[[pd.DataFrame, pd.DataFrame], pd.Series]:
    """Images on which the arms are right or wrong as stated, the most distant scores first."""

    def choose(now: pd.DataFrame, clean: pd.DataFrame) -> pd.Series:
        arms = [column for column in now.columns if column != "label"]
        decided = (now[arms] >= THRESHOLD).eq(now["label"].astype(bool), axis=0)
        fits = (decided == list(right)).all(axis=1)
        spread = now[arms].max(axis=1) - now[arms].min(axis=1)
        return spread[fits].sort_values(ascending=False, kind="stable")

    return choose


def _changed(now: pd.DataFrame, clean: pd.DataFrame) -> pd.Series:
    """All images, those first whose score moved furthest from the clean one, mean of the arms."""
    arms = [column for column in now.columns if column != "label"]
    return (now[arms] - clean.loc[now.index, arms]).abs().mean(axis=1).sort_values(ascending=False, kind="stable")


def _gained(sign: int) -> Callable[[pd.DataFrame, pd.DataFrame], pd.Series]:
    """All scans by what the second arm's Dice is above the first one's, largest or smallest first."""

    def choose(now: pd.DataFrame, clean: pd.DataFrame) -> pd.Series:
        first, second = (column for column in now.columns if column != "label")
        return (now[second] - now[first]).sort_values(ascending=sign < 0, kind="stable")

    return choose


RULES: dict[str, Rule] = {
    "xray_first_right": Rule("right: {first}, wrong: {second}", "xray", 2, _apart((True, False))),
    "xray_second_right": Rule("right: {second}, wrong: {first}", "xray", 2, _apart((False, True))),
    "xray_both_wrong": Rule("wrong in both arms", "xray", 2, _apart((False, False))),
    "xray_changed": Rule("score most changed from clean", "xray", 1, _changed),
    "ct_gained": Rule("Dice of {second} most above {first}", "ct", 2, _gained(1)),
    "ct_lost": Rule("Dice of {second} most below {first}", "ct", 2, _gained(-1)),
    "ct_changed": Rule("Dice most changed from clean", "ct", 1, _changed),
}


def rules_for(task: str, arms: tuple[str, ...]) -> dict[str, str]:
    """Names of the rules that fit a task and its arms, with their words; 'all' first."""
    from ssrobust_lib.figures import paper_label

    kind = "ct" if task == CT else "xray"
    labels = {"first": paper_label(arms[0]), "second": paper_label(arms[-1])}
    fitting = {name: rule for name, rule in RULES.items() if rule.kind == kind and rule.arms <= len(arms)}
    return {EVERY: "all, in the order of the set"} | {n: rule.words.format(**labels) for n, rule in fitting.items()}


def choose_samples(run: FinishedRun, state: State, rule: str = EVERY) -> list[Sample]:
    """List the samples of the state's set by a rule, from what was stored at the state's corruption and severity.

    Returns
    -------
    samples, possibly none; with the rule 'all', those of the set in its order.

    Raises
    ------
    UnknownNameError
        No such rule for the task and the number of arms.
    LookupError
        Nothing was stored for the state: a free strength, or a corrupted image of another centre.
    """
    known = rules_for(state.task, state.arms)
    if rule not in known:
        raise unknown_name("rule", rule, list(known))
    if rule == EVERY:
        rows = run.images(state.task).rows
        every = run.samples(state.task, state.data_set).items()
        return [Sample(name, _label_word(rows["label"].iloc[int(at[0])], state.task)) for name, at in every]
    if state.strength is not None:
        raise LookupError("nothing is stored for a free strength: choose a severity, or all images")
    now = _by_sample(run, state, state.corruption, state.severity)
    clean = _by_sample(run, state, CLEAN, 0)
    if now is None or clean is None:
        raise LookupError("images of another centre were evaluated clean only: choose severity 0, or all images")
    signed = "+" if rule in ("ct_gained", "ct_lost") else ""
    labels = now["label"] if "label" in now else pd.Series(np.nan, index=now.index)
    values = RULES[rule].choose(now, clean)
    told = {name: [_label_word(labels[name], state.task), f"{value:{signed}.2f}"] for name, value in values.items()}
    return [Sample(str(name), ", ".join(word for word in words if word)) for name, words in told.items()]


def _by_sample(run: FinishedRun, state: State, corruption: str, severity: int) -> pd.DataFrame | None:
    """Stored score (X-ray) or mean Dice (CT) of each arm by sample, with the label of X-rays; None if not evaluated."""
    stored = run.predictions(state.task, state.data_set, corruption, severity)
    if stored is None:
        return None
    stored = stored[(stored["seed"] == state.seed) & stored["init"].isin(state.arms)]
    value = "score"
    if state.task == CT:
        counted = ["init", "sample_id", "structure", "dice", "voxels_label", "voxels_predicted", "voxels_overlap"]
        stored = stored.loc[stored["structure"].isin(run.structures(state.data_set)), counted]
        stored, value = dice_per_scan(stored), "dice"
    table = stored.pivot(index="sample_id", columns="init", values=value)[list(state.arms)]
    table = table.reindex(list(dict.fromkeys(stored["sample_id"])))  # in the order of the set
    if state.task != CT:
        table["label"] = stored.drop_duplicates("sample_id").set_index("sample_id")["label"].astype(float)
    return table


def _label_word(label: Any, task: str) -> str:
    from ssrobust_lib.figures.panels import label_word

    return "" if task == CT else label_word(None if pd.isna(label) else int(label))
