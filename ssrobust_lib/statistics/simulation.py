"""Simulated studies: scores of two arms whose truth is known, correlated as in a real study.

Enters: a model of one task (`XrayModel`, `ScanModel`: variance components), sizes and a generator. Leaves: scores of
many studies at once, and the true difference between the arms. On these `benchmarks.bench_statistics` counts how often
each test of `ssrobust_lib.statistics` is wrong. Not in the paper.

The model. Network s of arm a gives patient i the score

    z[a, s, i] = y_i (delta + b[a, s]) + t_0 + t[a, s] + u_i + c[a, i] + g[s, i] + e[a, s, i],   y_i = +1 or -1,

with b how well the network tells the classes apart, t where it sets its threshold, u how hard the patient is for all, c
for the method, g for all networks of a seed (they share the labelled images), e for this network; the variances of the
last four add up to 1. A scan's Dice is the logistic function of the same sum without classes, with c and e from
Student's t (6 degrees of freedom) and with networks that failed to train (`failed`, `depth`).

Two nulls. `"networks"`: the networks of one arm are those of the other, in another order: b and t agree, so these
networks are equal on other patients. `"method"`: b and t of every network are drawn anew: the methods are equal, these
networks are not.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from ssrobust_lib.registry import unknown_name
from ssrobust_lib.statistics.paired_tests import FloatArray

Null = Literal["networks", "method"]
NULLS: tuple[Null, ...] = ("networks", "method")
TAIL = 6  # degrees of freedom of Student's t for scans
_TAIL_SCALE = ((TAIL - 2) / TAIL) ** 0.5


@dataclass(frozen=True)
class XrayModel:
    """Variance components of X-ray scores, in units of the spread within a class.

    Attributes
    ----------
    prevalence : share of positive patients.
    delta, threshold : mean distance of a class from the middle, and mean shift of both (delta and t_0 above).
    skill, shift : standard deviations of b and t over networks of one arm, given the seed.
    patient, arm, seed : variances of u, c and g; that of e is what is left of 1.
    """

    prevalence: float
    delta: float
    threshold: float
    skill: float
    shift: float
    patient: float
    arm: float
    seed: float

    @property
    def rest(self) -> float:
        return 1 - self.patient - self.arm - self.seed


@dataclass(frozen=True)
class ScanModel:
    """Variance components of a scan's logit Dice.

    Attributes
    ----------
    level : mean logit of Dice.
    network : standard deviation of b over networks of one arm, given the seed, of those that trained well.
    failed, depth : share of the networks that failed, and by how many logits.
    patient, arm, seed, rest : variances of u, c, g and e.
    """

    level: float
    network: float
    failed: float
    depth: float
    patient: float
    arm: float
    seed: float
    rest: float


def with_seed_share(model: XrayModel | ScanModel, factor: float) -> XrayModel | ScanModel:
    """The same model with the spread between networks multiplied by `factor`; failures too."""
    if isinstance(model, XrayModel):
        return replace(model, skill=factor * model.skill, shift=factor * model.shift)
    return replace(model, network=factor * model.network, depth=factor * model.depth)


def _between_networks(draw: FloatArray, null: Null) -> FloatArray:
    """Network effects (studies, 2, seeds) of `draw`; under 'networks' the second arm has those of the first.

    In another order, so that pairs of one seed differ while the arms agree.
    """
    if null not in NULLS:
        raise unknown_name("null hypothesis", null, list(NULLS))
    if null == "networks":
        draw[:, 1] = np.roll(draw[:, 0], 1, axis=-1)
    return draw


def _unit_effects(shape: tuple[int, int, int], variances: tuple[float, float, float, float], draw) -> FloatArray:
    """u + c + g + e as float64 (studies, 2, seeds, units)."""
    studies, seeds, units = shape
    patient, arm, seed, rest = np.sqrt(np.clip(variances, 0, None))
    total = rest * draw((studies, 2, seeds, units))
    total += seed * draw((studies, 1, seeds, units))
    total += arm * draw((studies, 2, 1, units))
    total += patient * draw((studies, 1, 1, units))
    return total


def simulate_xrays(
    model: XrayModel,
    *,
    studies: int,
    seeds: int,
    patients: int,
    null: Null,
    gain: float = 0.0,
    generator: np.random.Generator,
) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Scores of two arms' networks on the same patients, and the labels.

    Parameters
    ----------
    gain : added to delta of the second arm (0: the null holds).

    Returns
    -------
    float64 (studies, 2, seeds, patients), positive above 0, and int64 (patients,) of 0 and 1.
    """
    labels = (np.arange(patients) < round(model.prevalence * patients)).astype(np.int64)
    sign = 2.0 * labels - 1
    skill = _between_networks(model.skill * generator.normal(size=(studies, 2, seeds)), null)
    skill += gain * np.array([0.0, 1.0])[:, None]
    shift = _between_networks(model.shift * generator.normal(size=(studies, 2, seeds)), null)
    variances = (model.patient, model.arm, model.seed, model.rest)
    scores = _unit_effects((studies, seeds, patients), variances, lambda size: generator.standard_normal(size))
    scores += (model.delta + skill)[..., None] * sign + (model.threshold + shift)[..., None]
    return scores, labels


def simulate_scans(
    model: ScanModel,
    *,
    studies: int,
    seeds: int,
    scans: int,
    null: Null,
    gain: float = 0.0,
    generator: np.random.Generator,
) -> FloatArray:
    """Dice of two arms' networks on the same scans: float64 (studies, 2, seeds, scans) in (0, 1); `gain` in logits."""

    def draw(size: tuple[int, ...]) -> FloatArray:
        return _TAIL_SCALE * generator.standard_t(TAIL, size)

    failed = generator.random((studies, 2, seeds)) < model.failed
    network = model.network * generator.normal(size=(studies, 2, seeds)) - model.depth * failed
    network = _between_networks(network, null) + gain * np.array([0.0, 1.0])[:, None]
    logits = _unit_effects((studies, seeds, scans), (model.patient, model.arm, model.seed, model.rest), draw)
    logits += (model.level + network)[..., None]
    return 1 / (1 + np.exp(-logits))


def true_accuracy_gain(model: XrayModel, gain: float) -> float:
    """Accuracy of the method that has `gain` less that of the one without, over patients and seeds (closed form).

    A network is right about a positive patient with probability Phi(delta + b + t_0 + t), about a negative one with
    Phi(delta + b - t_0 - t); b and t are normal, so their mean is Phi of the mean over sqrt(1 + variances).
    """
    from scipy.special import ndtr

    spread = (1 + model.skill**2 + model.shift**2) ** 0.5
    deltas = np.array([model.delta, model.delta + gain])
    right = model.prevalence * ndtr((deltas + model.threshold) / spread)
    right += (1 - model.prevalence) * ndtr((deltas - model.threshold) / spread)
    return float(right[1] - right[0])


def true_auroc_gain(model: XrayModel, gain: float) -> float:
    """AUROC of the method that has `gain` less that of the one without: Phi(2 (delta + b) / sqrt 2), over seeds."""
    from scipy.special import ndtr

    deltas = np.array([model.delta, model.delta + gain])
    areas = ndtr(2 * deltas / (2 + 4 * model.skill**2) ** 0.5)
    return float(areas[1] - areas[0])


def true_dice_gain(model: ScanModel, gain: float, *, generator: np.random.Generator, draws: int = 500_000) -> float:
    """Mean Dice of the method that has `gain` less that of the one without, by simulation of single scans."""
    variances = np.sqrt([model.patient, model.arm, model.seed, model.rest])
    logits = _TAIL_SCALE * variances @ generator.standard_t(TAIL, (4, draws))
    logits += model.level + model.network * generator.normal(size=draws)
    logits -= model.depth * (generator.random(draws) < model.failed)
    return float(np.mean(1 / (1 + np.exp(-logits - gain)) - 1 / (1 + np.exp(-logits))))
