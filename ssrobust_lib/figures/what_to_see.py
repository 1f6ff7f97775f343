"""The first sentence of a figure's caption: what there is to see, computed from what is drawn.

Enters: the tables behind a figure. Leaves: one or two sentences; they state directions and sizes, never a verdict.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from .style import corruption_word, metric_title, order_arms, paper_label, structure_title

REFERENCE = "scratch"


def _signed(value: float) -> str:
    """'+0.021', with a true minus, and no sign on what rounds to zero."""
    text = f"{value:+.3f}"
    return text[1:] if float(text) == 0 else text.replace("-", "\u2212")


def _some(words: Sequence[str], most: int = 4) -> str:
    """'a, b and c'; what is beyond `most` is counted."""
    shown = list(words) if len(words) <= most else [*words[: most - 1], f"{len(words) - most + 1} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _other_arms(arms: Sequence[str]) -> list[str]:
    """Arms to set against normal training, its A/A arm left out."""
    return [arm for arm in arms if arm != REFERENCE and not arm.startswith("scratch_aa")] if REFERENCE in arms else []


def seen_in_bars(scores: pd.DataFrame, arms: Sequence[str]) -> str:
    """In how many corruptions each arm stands above normal training, and where most and least.

    Parameters
    ----------
    scores : init, corruption, score; of severities 1 to 5 and all seeds.
    """
    means = scores[scores["corruption"] != "clean"].groupby(["corruption", "init"])["score"].mean().unstack()
    lines = []
    for arm in [arm for arm in _other_arms(arms) if arm in means]:
        lead = (means[arm] - means[REFERENCE]).dropna()
        if lead.empty:
            continue
        ahead, best, worst = int((lead > 0).sum()), lead.idxmax(), lead.idxmin()
        extremes = f"from {_signed(lead[worst])} ({corruption_word(worst)}) to {_signed(lead[best])}"
        lines.append(
            f"{paper_label(arm)} stands above normal training in {ahead} of {len(lead)} corruptions; differences go "
            f"{extremes} ({corruption_word(best)})."
            if len(lead) > 1
            else f"{paper_label(arm)} minus normal training: {_signed(lead[best])}."
        )
    return " ".join(lines) or "Compare the bars of one corruption, and the dots, which are single networks."


def seen_in_clean_bars(panels: Mapping[str, pd.DataFrame], arms: Sequence[str]) -> str:
    """The difference of each arm to normal training beside the spread of normal training's own seeds."""
    lines = []
    for name, frame in panels.items():
        by_seed = frame.groupby(["init", "seed"])["score"].mean()
        if REFERENCE not in by_seed.index.get_level_values("init"):
            continue
        own = by_seed[REFERENCE]
        leads = [
            f"{paper_label(arm)} {_signed(by_seed[arm].mean() - own.mean())}"
            for arm in _other_arms(arms)
            if arm in by_seed.index.get_level_values("init")
        ]
        spread = f" (seeds of normal training alone differ by {np.ptp(own):.3f})" if len(own) > 1 else ""
        lines += [f"{name} against normal training: {_some(leads)}{spread}."] if leads else []
    return " ".join(lines) or "The number on each bar is its mean; the dots are single networks."


def seen_in_severities(scores: pd.DataFrame, arms: Sequence[str]) -> str:
    """Where the lines of two arms lie furthest apart."""
    rule = "A line that falls later belongs to the more robust arm."
    means = scores[scores["severity"] > 0].groupby(["corruption", "severity", "init"])["score"].mean().unstack()
    gaps = {
        (arm, *where): gap
        for arm in _other_arms(arms)
        if arm in means and REFERENCE in means
        for where, gap in (means[arm] - means[REFERENCE]).dropna().items()
    }
    if not gaps:
        return rule
    arm, corruption, severity = max(gaps, key=lambda key: abs(gaps[key]))
    gap = gaps[arm, corruption, severity]
    return (
        f"{rule} Furthest apart: {corruption_word(corruption)} at severity {severity}, {paper_label(arm)} minus normal "
        f"training {_signed(gap)}."
    )


def seen_in_training(curves: pd.DataFrame, arms: Sequence[str]) -> str:
    """When the mean validation score of each arm was best."""
    last = int(curves["epoch"].max())
    said = []
    for arm in arms:
        means = curves[curves["init"] == arm].groupby("epoch")["val_score"].mean().dropna()
        if len(means):
            said.append(f"{paper_label(arm)} {means.max():.3f} at epoch {means.idxmax()}")
    best = f"Best mean validation score: {_some(said, 6)}, of {last}. " if said else ""
    return best + _learned_by_heart(curves, arms)


def _learned_by_heart(curves: pd.DataFrame, arms: Sequence[str]) -> str:
    """Whose validation loss rises again, while the training loss keeps falling."""
    risen = []
    for arm in arms:
        losses = curves[curves["init"] == arm].groupby("epoch")[["train_loss", "val_loss"]].mean().dropna()
        if len(losses) < 2:
            continue
        lowest = losses["val_loss"].idxmin()
        rises = losses["val_loss"].iloc[-1] > 1.05 * losses["val_loss"].min()
        if rises and losses["train_loss"].iloc[-1] < losses.loc[lowest, "train_loss"]:
            risen.append(f"{paper_label(arm)} from epoch {lowest}")
    if not risen:
        return "No validation loss rises again while the training loss keeps falling."
    return (
        f"The validation loss rises again while the training loss keeps falling: {_some(risen, 6)}. Such a network "
        "learns its images by heart."
    )


def seen_in_puzzles_solved(above: int, n: int, chance: float) -> str:
    """How many seeds' intervals lie above chance."""
    return f"The interval of {above} of {n} seeds lies wholly above guessing ({chance:.3g})."


def seen_in_structures(means: pd.Series, arms: Sequence[str]) -> str:
    """Which structures are segmented best and worst, and for how many an arm is ahead.

    Parameters
    ----------
    means : mean Dice by (structure, init).
    """
    by_structure = means.groupby("structure").mean().sort_values()
    hardest = [structure_title(str(name)) for name in by_structure.index[by_structure < by_structure.iloc[0] + 0.005]]
    words = f"Easiest: {structure_title(str(by_structure.index[-1]))} ({by_structure.iloc[-1]:.2f}); hardest: "
    words += f"{_some(hardest)} ({by_structure.iloc[0]:.2f})."
    table = means.unstack()
    for arm in [arm for arm in _other_arms(arms) if arm in table and REFERENCE in table]:
        lead = (table[arm] - table[REFERENCE]).dropna()
        equal = int((lead.abs() < 0.0005).sum())
        words += f" {paper_label(arm)} is ahead of normal training in {int((lead >= 0.0005).sum())} of {len(lead)}"
        words += f" ({equal} alike)." if equal else "."
    return words


def seen_in_balance(shares: Sequence[float]) -> str:
    """Whether the labelled parts hold the finding equally often; shares in percent."""
    if not shares:
        return "No part has labels of the finding."
    low, high = min(shares), max(shares)
    span = f"{low:.1f} %" if len(shares) == 1 else f"{low:.1f} to {high:.1f} %"
    return f"The finding is in {span} of the labelled images of a part: parts that are alike have like shares."


def seen_in_calibration(levels: pd.DataFrame) -> str:
    """For which corruptions the strongest severity brings the score down to the floor."""
    reached = levels.groupby("corruption", sort=False)["reached_floor"].last().astype(bool)
    missed = [corruption_word(str(name)) for name in reached.index[~reached]]
    rest = f"; not for {_some(missed)}, up to the end of the range that is searched" if missed else ""
    met = f"{int(reached.sum())} of {len(reached)} corruptions"
    return f"Severity 5 stands where the score meets the floor for {met}{rest}."


def seen_in_forest(comparisons: pd.DataFrame) -> str:
    """How many intervals leave out zero, and on which side. Columns difference, ci_low, ci_high."""
    known = comparisons.dropna(subset=["difference", "ci_low", "ci_high"])
    above, below = int((known["ci_low"] > 0).sum()), int((known["ci_high"] < 0).sum())
    return (
        f"Of {len(known)} differences with an interval, {above} lie wholly to the right of zero, {below} wholly to the "
        "left; all others are too uncertain for a direction."
    )


def seen_in_leaks(scores: pd.DataFrame, words: Mapping[str, str]) -> str:
    """By how much each leak raises or lowers each score, mean of the arms that it touches.

    Parameters
    ----------
    scores : metric, way, init, value; the way 'patient' has no leak.
    words : way -> words.
    """
    # a pretext leak cannot touch an arm without a pretext task
    touched = scores[(scores["way"] != "pretext leak") | (scores["init"] != REFERENCE)]
    means = touched.groupby(["metric", "way"])["value"].mean()
    lines = []
    for metric in [name for name in ("accuracy", "auroc") if (name, "patient") in means.index]:
        changes = [
            f"{words[way].replace(chr(10), ' ')} {_signed(means[metric, way] - _without_leak(touched, metric, way))}"
            for way in words
            if way != "patient" and (metric, way) in means.index
        ]
        lines += [f"{metric_title(metric)} against the split by patient: {_some(changes)}."] if changes else []
    return " ".join(lines) or "Compare each way with the split by patient, which has no leak."


def _without_leak(touched: pd.DataFrame, metric: str, way: str) -> float:
    """Mean score of the arms that a leak touches, without it."""
    arms = touched.loc[(touched["metric"] == metric) & (touched["way"] == way), "init"].unique()
    rows = touched[(touched["metric"] == metric) & (touched["way"] == "patient") & touched["init"].isin(arms)]
    return float(rows["value"].mean())


def seen_in_cases(cases: Sequence[tuple[str, Mapping[str, float]]]) -> str:
    """In which case the arms' Dice lie furthest apart; (title, arm -> Dice) of each."""
    gaps = {title: max(dice.values()) - min(dice.values()) for title, dice in cases if len(dice) > 1}
    rule = "Compare each prediction with the truth on the left: organs that vanish, grow, or change colour."
    if not gaps:
        return rule
    title = max(gaps, key=lambda name: gaps[name])
    if gaps[title] < 0.005:
        return f"{rule} In none of these cases does the Dice of the arms differ."
    dice = dict(cases)[title]
    said = [f"{paper_label(arm)} {dice[arm]:.2f}" for arm in order_arms(dice)]
    return f"{rule} The arms differ most in the case \u201c{title.splitlines()[0]}\u201d: Dice {_some(said)}."


def seen_in_xrays(cases: Sequence[tuple[int, Mapping[str, float]]]) -> str:
    """In how many cases each arm's call is right; (label, arm -> mean probability of the finding) of each."""
    rule = "A bar beyond the dashed line calls the finding."
    arms = order_arms([arm for arm in cases[0][1] if all(arm in values for _, values in cases)])
    right = {arm: sum((values[arm] >= 0.5) == bool(label) for label, values in cases) for arm in arms}
    said = [f"{paper_label(arm)} {right[arm]}" for arm in arms]
    return f"{rule} Calls that are right, of {len(cases)}: {_some(said)}." if said else rule


def seen_in_probabilities(scores: Sequence[Mapping[str, float]]) -> str:
    """At which severity each arm's answer changes; one mapping arm -> probability per severity, clean first."""
    said = []
    for arm in scores[0]:
        answers = [state[arm] >= 0.5 for state in scores]
        turned = [level for level, answer in enumerate(answers) if answer != answers[0]]
        said.append(f"{paper_label(arm)} " + (f"changes its answer at severity {turned[0]}" if turned else "keeps it"))
    return f"From left to right: {_some(said)}."


def seen_in_slices(dice: Sequence[Mapping[str, float]]) -> str:
    """Dice of each arm on the clean slice and at the strongest severity; one mapping arm -> Dice per severity."""
    ends = {arm: (dice[0][arm], dice[-1][arm]) for arm in dice[0]}
    said = [f"{paper_label(arm)} from {a:.2f} to {b:.2f}" for arm, (a, b) in ends.items() if not np.isnan(a + b)]
    if not said:
        return "Compare each prediction with the outlines above it."
    return f"Dice of this slice, clean to severity {len(dice) - 1}: {_some(said)}."
