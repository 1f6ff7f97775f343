"""Pretraining: it learns, repeats itself, feeds fine-tuning, and says how easily one could guess."""

import math

import pytest
from small_trainings import IMAGES, NORMALISE, TRAIN, VAL, pretrained, same, tuned

from ssrobust_lib.training.loop import TrainingSettings
from ssrobust_lib.training.pretraining import pretrain, probability_by_guessing


def test_pretraining_learns_repeats_itself_and_feeds_fine_tuning() -> None:
    one, two = pretrained(), pretrained()
    assert same(one.tensors, two.tensors)
    assert one.predictions.equals(two.predictions)
    assert one.n == len(one.predictions) == 8
    assert one.accuracy == one.predictions["correct"].mean()
    assert one.accuracy > one.chance == 0.25
    assert one.learned == (one.p < 0.001)
    assert one.examples.tiles.shape[:2] == (6, 4)
    result = tuned(init_tensors=one.tensors, settings=TrainingSettings(epochs=1, batch_size=8, max_steps=1))
    assert (result.transfer["status"] == "transferred").sum() == len(one.tensors)


def test_probability_by_guessing_is_the_binomial_tail() -> None:
    tail = sum(math.comb(20, k) * 0.1**k * 0.9 ** (20 - k) for k in range(5, 21))
    assert probability_by_guessing(5, 20, 0.1) == pytest.approx(tail)
    assert probability_by_guessing(0, 20, 0.1) == 1.0
    assert probability_by_guessing(20, 20, 0.1) == pytest.approx(1e-20)


def test_pretraining_refuses_images_smaller_than_the_tiles() -> None:
    with pytest.raises(ValueError, match="larger images"):
        pretrained(IMAGES[:, :16, :16])


def test_pretraining_refuses_an_empty_pool() -> None:
    with pytest.raises(ValueError, match="got 0 and 8"):
        pretrain(
            IMAGES,
            TRAIN[:0],
            VAL,
            NORMALISE,
            network="cbr_small",
            network_options={},
            pretext_task="jigsaw",
            options={},
            settings=TrainingSettings(epochs=1, batch_size=2),
            seed=0,
        )
