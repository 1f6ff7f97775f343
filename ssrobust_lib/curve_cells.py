"""Cells of the curves: networks trained on other numbers of images than the arms are, and their scores.

What enters: a study with its cells so far, and the profile's section ``curves``. What leaves: the further cells, and
the points of each curve, which the arms' own networks are part of: normal training is the pool of no image, the
pretrained arm the whole pool, and both stand at the profile's own label fraction. All curve networks of a seed take
their labelled images, pool, weights and batches from the same streams as the arms do.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ssrobust_lib.control_arms import LABELS, POOL
from ssrobust_lib.profile_fields import ALL
from ssrobust_lib.study import Cell

if TYPE_CHECKING:
    from ssrobust_lib.config import Profile
    from ssrobust_lib.study import Study

NONE = "none"


@dataclass(frozen=True)
class CurvePoint:
    """One network on a curve.

    Attributes
    ----------
    axis : 'labels' or 'pool'.
    arm, seed : of the network.
    amount : as the profile says it: a count, a fraction, 'all', or 'none' (the pool of normal training).
    network : the cell that fine-tuned it.
    pretext : the cell that made its encoder; None from random weights.
    """

    axis: str
    arm: str
    seed: int
    amount: int | float | str
    network: Cell
    pretext: Cell | None


def amount_names(profile: "Profile") -> list[str]:
    """Names of all amounts that cells are made for, such as 'labels-0.05', 'labels-all', 'pool-0.25'."""
    trained = [(LABELS, a) for task in profile.curves.labels for a in _trained_labels(profile, task)]
    trained += [(POOL, share) for shares in profile.curves.pool.values() for share in shares]
    return list(dict.fromkeys(_name(axis, amount) for axis, amount in trained))


def curve_cells(study: "Study", cells: Sequence[Cell]) -> list[Cell]:
    """Every cell of the curves, each after those it needs; `cells` are those of the rest of the study."""
    found: list[Cell] = []
    for task in study.profile.tasks:
        points = _points(study, cells, task)
        if not points:
            continue
        known = {cell.id for cell in cells}
        trained = [cell for point in points for cell in (point.pretext, point.network) if cell is not None]
        trained = list({cell.id: cell for cell in trained}.values())
        found += [cell for cell in trained if cell.id not in known]
        data, calibration = (_one(cells, step, task=task) for step in ("01_data", "05_calibration"))
        settings = {
            "study_seed": study.profile.study_seed,
            "batch_size": study.profile.evaluation.batch_size,
            "severities": list(study.profile.curves.severities),
            "points": [[p.axis, p.arm, p.seed, p.amount] for p in points],
            "threads": study.profile.threads,
        }
        for corruption in ("clean", *study.profile.corruptions):
            of = {"task": task, "corruption": corruption}
            found.append(Cell("08_curves", of, settings, (data, calibration, *trained)))
    return found


def curve_points(study: "Study", task: str) -> list[CurvePoint]:
    """Every network of a task's curves, the arms' own among them."""
    return _points(study, study.all_cells, task)


def _points(study: "Study", cells: Sequence[Cell], task: str) -> list[CurvePoint]:
    profile, curves = study.profile, study.profile.curves
    data, points = _one(cells, "01_data", task=task), []
    for seed in range(curves.seeds):
        for arm in curves.arms:
            network = _one(cells, "03_finetune", task=task, init=arm, seed=seed)
            pretrained = profile.arm(arm).pretext is not None
            pretext = _one(cells, "02_pretext", task=task, init=arm, seed=seed) if pretrained else None
            needed = [cell for cell in network.needs if cell.step == "02_pretext"]
            for amount in curves.labels.get(task, ()):
                own = _is_own(profile, task, amount)
                tuned = network if own else _tuned(network, LABELS, amount, (data, *needed))
                points.append(CurvePoint(LABELS, arm, seed, amount, tuned, pretext))
            shares = curves.pool.get(task, ())
            if pretext is None:
                points += [CurvePoint(POOL, arm, seed, NONE, network, None)] if shares and arm == "scratch" else []
                continue
            for share in shares:
                of = {**pretext.of, "amount": _name(POOL, share)}
                smaller = Cell("08_curve_pretext", of, pretext.settings | {POOL: share}, (data,))
                tuned = _tuned(network, POOL, share, (data, smaller))
                points.append(CurvePoint(POOL, arm, seed, share, tuned, smaller))
            points += [CurvePoint(POOL, arm, seed, ALL, network, pretext)] if shares else []
    return points


def _trained_labels(profile: "Profile", task: str) -> list[int | float | str]:
    """Amounts of labels at which the arms' own networks do not stand already."""
    return [amount for amount in profile.curves.labels[task] if not _is_own(profile, task, amount)]


def _is_own(profile: "Profile", task: str, amount: int | float | str) -> bool:
    """Whether an amount of labels is the one that the arms themselves are trained on."""
    return (1.0 if amount == ALL else amount if isinstance(amount, float) else None) == profile.data[
        task
    ].label_fraction


def _tuned(network: Cell, axis: str, amount: int | float | str, needs: tuple[Cell, ...]) -> Cell:
    """A fine-tuning as an arm's own, but for the number of images."""
    of = {**network.of, "amount": _name(axis, amount)}
    return replace(network, step="08_curve_finetune", of=of, settings=network.settings | {axis: amount}, needs=needs)


def _name(axis: str, amount: int | float | str) -> str:
    return f"{axis}-{amount}"


def _one(cells: Sequence[Cell], step: str, **of: Any) -> Cell:
    return next(cell for cell in cells if cell.step == step and cell.of == of)
