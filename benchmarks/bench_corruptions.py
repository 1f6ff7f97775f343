"""The seven corruptions against other libraries, the generator and a copy of the memory.

``python -m benchmarks corruptions`` runs both cases; ``corruptions:cpu`` takes 64 x 1 x 224 x 224 float32 at severity 3
of ImageNet-C on two threads, ``corruptions:gpu`` 256 x 1 x 1024 x 1024 with the fused kernels. Implementations take
turns, so that the machine's load falls on all alike; times are medians. Where one call takes long, 8 images are timed.
Ours is called as the study does it, without looking for values outside [0, 1] (no other library looks); the same with
that look is in the table. The random-number bound is one 32-bit word per pixel from the same generator, compiled.

Peers: ``uv pip install --no-deps imagecorruptions==1.1.2 medmnistc==0.1.0`` and the extra `bench`. One that is missing
is said to be so, and no goal that needs it is met.
"""

import math
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks import corruption_peers as peers

NAME = "corruptions"
REPEATS = 9
THREADS = 2
OURS, CHECKED, COPY, WORDS = "ours", "ours, with the look at the range", "copy", "random words"
_NOISES = ("gaussian_noise", "shot_noise", "impulse_noise")
_LONG_SECONDS = 0.5
_FEW_IMAGES = 8
_GPU_GOALS = {"brightness": 0.6, "contrast": 0.6, "gaussian_noise": 0.3, "impulse_noise": 0.3}

Rates = dict[str, dict[str, float]]  # corruption -> who -> images per second


def run(*chosen: str) -> list[dict[str, Any]]:
    """Run the chosen cases, or both.

    Raises
    ------
    ValueError
        A case is not known.
    """
    unknown = [name for name in chosen if name not in CASES]
    if unknown:
        raise ValueError(f"unknown case {', '.join(unknown)}: expected one of {', '.join(CASES)}")
    return [row for name in chosen or CASES for row in CASES[name]()]


def _row(what: str, measured: float | None, sign: str, bound: float, **more: Any) -> dict[str, Any]:
    met = measured is not None and (measured >= bound if sign == ">=" else measured <= bound)
    text = "not measured" if measured is None else f"{measured:.2f}"
    return {"name": what, "measured": text, "goal": f"{sign} {bound:g}", "met": met, **more}


def _on_the_cpu() -> list[dict[str, Any]]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(min(THREADS, os.cpu_count() or 1))
    try:
        rates, versions = _measured()
    finally:
        torch.set_num_threads(threads)
    return [*_goals(rates, versions), *_table(rates, versions)]


def _batch(n: int, side: int) -> Any:
    """Smooth grey images whose values are those of bytes, as a radiograph's: float32 (n, 1, side, side)."""
    import torch

    coarse = torch.rand(n, 1, side // 8, side // 8, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp_(0, 1)
    return (smooth * 255).round_().div_(255).contiguous()


def _measured() -> tuple[Rates, dict[str, str]]:
    import torch

    from ssrobust_lib.corruptions import CORRUPTIONS, IMAGENET_C_STRENGTHS, corrupt, sample_keys
    from ssrobust_lib.corruptions.implementations import compiled_kernels

    batch = _batch(64, 224)
    keys = torch.from_numpy(sample_keys(0, [str(i) for i in range(len(batch))], "benchmark", 3))
    there, versions = {}, {}
    for who, (package, make) in peers.EVERYONE.items():
        versions[who] = peers.version(package)
        if versions[who] != "not installed":
            there[who] = make()
    copied = torch.empty_like(batch)
    kernels = compiled_kernels()
    rates: Rates = {}
    for name in CORRUPTIONS:
        strength = IMAGENET_C_STRENGTHS[name][2]

        def ours(images: Any, name: str = name, strength: float = strength, check: bool = False) -> Any:
            return corrupt(name, images, strength, keys[: len(images)], check=check)

        ways: dict[str, Callable[[Any], Any]] = {
            OURS: ours,
            CHECKED: lambda images, ours=ours: ours(images, check=True),
            COPY: lambda images: copied[: len(images)].copy_(images),
        }
        if name in _NOISES and kernels is not None:
            ways[WORDS] = lambda images: kernels.draw_words(keys[: len(images)], images[0].numel())
        ways |= {who: work[name] for who, work in there.items() if name in work}
        rates[name] = _rates(ways, batch)
    return rates, versions


def _rates(ways: dict[str, Callable[[Any], Any]], batch: Any) -> dict[str, float]:
    """Images per second of each way, taken in turn."""
    images = {}
    for who, work in ways.items():
        work(batch[:_FEW_IMAGES])  # compiles, imports, fills caches
        began = time.perf_counter()
        work(batch[:_FEW_IMAGES])
        long = (time.perf_counter() - began) * len(batch) / _FEW_IMAGES > _LONG_SECONDS
        images[who] = batch[:_FEW_IMAGES] if long else batch
    seconds: dict[str, list[float]] = {who: [] for who in ways}
    for turn in range(REPEATS + 1):
        for who, work in ways.items():
            began = time.perf_counter()
            work(images[who])
            if turn:
                seconds[who].append(time.perf_counter() - began)
    return {who: len(images[who]) / statistics.median(values) for who, values in seconds.items()}


def _goals(rates: Rates, versions: dict[str, str]) -> list[dict[str, Any]]:
    rows = []
    for who, each, together in (("imagecorruptions", 5, 20), ("medmnistc", 2, 5)):
        found = {name: rate[OURS] / rate[who] if who in rate else None for name, rate in rates.items()}
        title = f"{who} {versions[who]}"
        rows += [
            _row(f"{name}: speed / {title}", ratio, ">=", each, peer=who, version=versions[who])
            for name, ratio in found.items()
        ]
        rows.append(_row(f"geometric mean / {title}", _geometric_mean(found.values()), ">=", together, peer=who))
    missing = [who for who in peers.LIBRARIES if versions[who] == "not installed"]
    best: dict[str, float | None] = {}
    for name, rate in rates.items():
        known = {who: rate[who] for who in (*peers.LIBRARIES, *peers.BENCHMARKS) if who in rate}
        who = max(known, key=lambda who: known[who]) if known else "none"
        best[name] = rate[OURS] / known[who] if known and not missing else None
        title = f"{name}: speed / best other library"
        said = f" (not installed: {', '.join(missing)})" if missing else f" ({who})"
        rows.append(_row(title + said, best[name], ">=", 0.9, peer=who, version=versions.get(who, "")))
    rows.append(_row("geometric mean / best other library", _geometric_mean(best.values()), ">=", 1.5))
    for name in _NOISES:
        bound = rates[name].get(WORDS)
        ratio = bound / rates[name][OURS] if bound else None
        rows.append(_row(f"{name}: time / one random word per pixel", ratio, "<=", 1.5))
    for name, most in (("brightness", 3), ("contrast", 3), ("resolution", 20)):
        rows.append(_row(f"{name}: time / copy", rates[name][COPY] / rates[name][OURS], "<=", most))
    return rows


def _geometric_mean(ratios: Any) -> float | None:
    known = list(ratios)
    return None if None in known else math.exp(statistics.fmean(math.log(ratio) for ratio in known))


def _table(rates: Rates, versions: dict[str, str]) -> list[dict[str, Any]]:
    """Every rate measured, and who was not: rows without a goal."""
    rows = []
    for name, rate in rates.items():
        for who in sorted(rate, key=lambda who: -rate[who]):
            title = f"{name}: {who} {versions.get(who, '')}".strip()
            values = {"peer": who, "version": versions.get(who, ""), "images_per_second": rate[who]}
            rows.append({"name": title, "measured": f"{rate[who]:,.0f}/s", "goal": "-", "met": True, **values})
    for who, found in versions.items():
        if found == "not installed":
            rows.append({"name": f"{who}: not installed", "measured": "-", "goal": "-", "met": False, "peer": who})
    return rows


def _on_the_gpu() -> list[dict[str, Any]]:
    import torch

    from ssrobust_lib.corruptions import CORRUPTIONS, IMAGENET_C_STRENGTHS, corrupt, sample_keys
    from ssrobust_lib.corruptions.implementations import fused_kernels

    if not torch.cuda.is_available() or fused_kernels() is None:
        why = "Triton not installed" if torch.cuda.is_available() else "no GPU"
        return [_row(f"GPU, {name}: share of copy ({why})", None, ">=", goal) for name, goal in _GPU_GOALS.items()]
    device = torch.device("cuda")
    images = _batch(256, 1024).to(device)
    keys = torch.from_numpy(sample_keys(0, [str(i) for i in range(len(images))], "benchmark", 3)).to(device)
    copied = torch.empty_like(images)
    ways: dict[str, Callable[[], Any]] = {COPY: lambda: copied.copy_(images)}
    for name in CORRUPTIONS:
        ways[name] = lambda name=name: corrupt(name, images, IMAGENET_C_STRENGTHS[name][2], keys, check=False)
    milliseconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(REPEATS + 1):
        for name, work in ways.items():
            began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            began.record()
            work()
            ended.record()
            torch.cuda.synchronize()
            if turn:
                milliseconds[name].append(began.elapsed_time(ended))
    medians = {name: statistics.median(values) for name, values in milliseconds.items()}
    moved = 2 * images.numel() * images.element_size() / 1e6  # MB read and written
    rows = []
    for name, median in medians.items():
        title = f"GPU, {name}: share of copy ({moved / median:,.0f} GB/s, {torch.cuda.get_device_name()})"
        share = medians[COPY] / median
        if name in _GPU_GOALS:
            rows.append(_row(title, share, ">=", _GPU_GOALS[name]))
        else:
            rows.append({"name": title, "measured": f"{share:.2f}", "goal": "-", "met": True})
    return rows


CASES = {"cpu": _on_the_cpu, "gpu": _on_the_gpu}
