"""Training: what the study's loop costs beyond the bare step of the same network on a batch that lies ready.

Run ``python benchmarks/bench_training.py``; the goal is a ratio of at most 1.10 for each network. The bare step is
forward, loss, backward and Adam alone. The loop reads float16 images from a memory map, gathers, converts and cuts
them, anneals the rate, checks the loss and counts. The two are timed step by step in turn, in the same process, so that
the machine's load falls on both alike.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ssrobust_lib.devices import KERNEL_ENVIRONMENT

NAME = "training"
GOAL = 1.10
STEPS = 25
WARM_UP = 3


def run() -> list[dict[str, Any]]:
    """Measure every case: list of name, measured (ratio of median times), goal, met, and images per second.

    Training needs the malloc settings of `KERNEL_ENVIRONMENT` to be fast; ``python benchmarks/bench_training.py`` sets
    them and starts anew. The ratio holds with and without them.
    """
    import numpy as np
    import torch

    from ssrobust_lib.networks import build_network
    from ssrobust_lib.pretext import PRETEXT_TASKS
    from ssrobust_lib.seeds import rng, torch_rng
    from ssrobust_lib.training.batches import read_images, read_masks
    from ssrobust_lib.training.losses import binary_cross_entropy, segmentation_loss

    jigsaw = PRETEXT_TASKS["jigsaw"]
    options = jigsaw.options_class()
    random = rng("training benchmark")
    pixels = random.random((256, 64, 64), np.float32).astype(np.float16)
    labels = torch.from_numpy(random.integers(0, 2, 256))
    drawn_masks = random.integers(0, 21, (256, 64, 64), np.uint8)
    weights = torch.ones(21)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "images.npy", pixels)
        np.save(Path(folder) / "masks.npy", drawn_masks)
        images = np.load(Path(folder) / "images.npy", mmap_mode="r")
        masks = np.load(Path(folder) / "masks.npy", mmap_mode="r")

        def inputs(rows: Any) -> torch.Tensor:
            return read_images(images, rows, (0.5, 0.25))

        def puzzles(rows: Any) -> Any:
            return jigsaw.make_batch(inputs(rows), options, torch_rng(0))

        def classifier() -> Any:
            return build_network("cbr_small", 1, torch_rng(0))

        cases: list[tuple[str, int, Callable[[], Any], Callable[[Any], Any], Callable[..., Any]]] = [
            (
                "CBR-Small, 64 px, batch 32",
                32,
                classifier,
                lambda rows: (inputs(rows), labels[rows]),
                binary_cross_entropy,
            ),
            (
                "jigsaw, CBR-Small, 64 px, batch 32",
                32,
                lambda: jigsaw.build(classifier().encoder, options, torch_rng(1)),
                puzzles,
                jigsaw.loss,
            ),
            (
                "U-Net base 16, 64 px, batch 8",
                8,
                lambda: build_network("unet", 21, torch_rng(0), base_filters=16),
                lambda rows: (inputs(rows), read_masks(masks, rows)),
                lambda logits, truth: segmentation_loss(logits, truth, weights),
            ),
        ]
        for name, size, build, make, loss in cases:
            loop, bare = _seconds(build, make, loss, size)
            results.append(
                {
                    "name": f"loop / bare step: {name}",
                    "measured": f"{loop / bare:.3f}",
                    "goal": f"<= {GOAL:.2f}",
                    "met": loop / bare <= GOAL,
                    "images_per_second": round(size / loop, 1),
                }
            )
    return results


def _seconds(build: Any, make: Any, loss: Any, size: int) -> tuple[float, float]:
    """Median seconds of a step of the loop and of a bare step; after each step of the loop follows a bare one."""
    import numpy as np
    import torch

    from ssrobust_lib.training.loop import TrainingSettings, fit
    from ssrobust_lib.training.validation import Validation

    network = build().to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    batch, targets = make(np.arange(size))
    loops: list[float] = []
    bares: list[float] = []
    began = time.perf_counter()

    def bare_step(done: int, total: int, text: str) -> None:
        nonlocal began
        ended = time.perf_counter()
        optimizer.zero_grad()
        loss(network(batch), targets).backward()
        optimizer.step()
        loops.append(ended - began)
        began = time.perf_counter()
        bares.append(began - ended)

    fit(
        build(),
        lambda epoch: (make((np.arange(size) * 7 + 13 * step) % 256) for step in range(STEPS)),
        loss,
        lambda network: Validation(0.0, 0.0),
        TrainingSettings(epochs=1, batch_size=size, precision="float32"),
        steps_per_epoch=STEPS,
        seed=0,
        progress=bare_step,
    )
    return float(np.median(loops[WARM_UP:])), float(np.median(bares[WARM_UP:]))


def main() -> None:
    """Print one line per goal: name, measured, goal, met or missed."""
    if any(os.environ.get(name) != value for name, value in KERNEL_ENVIRONMENT.items()):
        # malloc reads its settings when a process starts
        environment = {"OMP_NUM_THREADS": "1", **os.environ, **KERNEL_ENVIRONMENT}
        os.execve(sys.executable, [sys.executable, *sys.argv], environment)
    from ssrobust_lib.devices import set_threads

    set_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    for result in run():
        verdict = "met" if result["met"] else "missed"
        print(f"{result['name']}, {result['measured']}, {result['goal']}, {verdict}", end="")
        print(f"  ({result['images_per_second']} images/s)")


if __name__ == "__main__":
    main()
