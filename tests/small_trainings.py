"""Fine-tuning and pretraining on a few small images: fast enough for a test, and with something to learn."""

import numpy as np
import torch

from ssrobust_lib.seeds import rng
from ssrobust_lib.training.finetuning import finetune
from ssrobust_lib.training.loop import TrainingSettings
from ssrobust_lib.training.pretraining import pretrain

SIDE = 32
NORMALISE = (0.4, 0.2)
LABELS = np.arange(24) % 2
TRAIN, VAL = np.arange(16), np.arange(16, 24)


def _images() -> np.ndarray:
    """float16 (24, 32, 32): noise on a slope, so that places differ; odd rows are brighter in one corner."""
    noise = rng("test images").random((24, SIDE, SIDE)) * 0.2
    slope = np.linspace(0, 0.5, SIDE)
    noise += slope[:, None] + 0.3 * slope[None, :]
    noise[1::2, :10, :10] += 0.3
    return noise.astype(np.float16)


IMAGES = _images()


def masks() -> np.ndarray:
    """uint8 (24, 32, 32): structure 1 on every image, structure 2 on every third."""
    found = np.zeros((24, SIDE, SIDE), np.uint8)
    found[:, 4:12, 4:12] = 1
    found[::3, 20:28, 16:30] = 2
    return found


def tuned(**changed):
    """Fine-tune CBR-Small on 16 of the images, validate on 8; `changed` arguments take the place of those below."""
    settings = changed.pop("settings", TrainingSettings(epochs=2, batch_size=6, precision="float32"))
    asked = {
        "kind": "classification",
        "network": "unet_classifier" if changed.pop("bad_network", False) else "cbr_small",
        "network_options": {},
        "n_outputs": 1,
        "settings": settings,
        "data_seed": 1,
        "weight_seed": 2,
        "device": "cpu",
    }
    targets = changed.pop("targets", LABELS)
    rows = changed.pop("rows", TRAIN)
    return finetune(IMAGES, targets, rows, VAL, NORMALISE, **(asked | changed))


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    """Whether two sets of weights are equal, bit for bit."""
    return one.keys() == two.keys() and all(torch.equal(tensor, two[name]) for name, tensor in one.items())


def pretrained(images: np.ndarray = IMAGES, **changed):
    """Pretrain CBR-Small on jigsaws of 2 x 2, in the same parts; `changed` arguments take the place of those below."""
    asked = {
        "network": "cbr_small",
        "network_options": {},
        "pretext_task": "jigsaw",
        "options": {"grid": 2, "permutations": 4, "hidden": 16, "per_tile_normalisation": False},
        "settings": TrainingSettings(epochs=3, batch_size=8, steps_per_epoch=5, precision="float32"),
        "seed": 5,
        "device": "cpu",
    }
    return pretrain(images, TRAIN, VAL, NORMALISE, **(asked | changed))
