"""The seven corruptions against other libraries, the generator and a copy of the memory.

``python -m benchmarks corruptions`` runs both cases; ``corruptions:cpu`` takes 64 x 1 x 224 x 224 float32 at severity 3
of ImageNet-C on two threads, ``corruptions:gpu`` 256 x 1 x 1024 x 1024 with the fused kernels. Implementations take
turns, back and forth, so that the machine's load falls on all alike, each after a pause, in which the threads of the
one before come to rest (OpenMP's keep a core busy for a while). A ratio is the median over the turns, its spread their
quartiles; where it lies near its goal, more turns follow. Where one call takes long, 8 images are timed. Ours is called
as the study does it, without looking for values outside [0, 1] (no other library looks); the same with that look is in
the table. The random-number bound is the time to draw one number per pixel with the same generator, compiled: a
standard-normal number for Gaussian and shot noise, whose values are made from one, a 32-bit word for impulse noise. The
first two against a mere word, which no pixel value can be made from without more work, are in the table, too.

Peers: ``uv pip install --no-deps imagecorruptions==1.1.2 medmnistc==0.1.0`` and the extra `bench`. One that is missing
is said to be so, and no goal that needs it is judged.
"""

import math
import os
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from benchmarks import corruption_peers as peers

NAME = "corruptions"
TURNS, MORE_TURNS = 9, 40
THREADS = min(2, os.cpu_count() or 1)
OURS, CHECKED, COPY = "ours", "ours, with the look at the range", "copy"
WORDS, NORMALS = "random words", "random normal numbers"
_NUMBERS = {"gaussian_noise": NORMALS, "shot_noise": NORMALS, "impulse_noise": WORDS}
_LONG_SECONDS = 0.5
_PAUSE_SECONDS = 0.01
_NEAR = 1.5  # a ratio whose quartiles come nearer to its goal than by this factor is measured in more turns
_FEW_IMAGES = 8
_GPU_GOALS = {"brightness": 0.6, "contrast": 0.6, "gaussian_noise": 0.3, "impulse_noise": 0.3}

_EACH, _TOGETHER = {"imagecorruptions": 5.0, "medmnistc": 2.0}, {"imagecorruptions": 20.0, "medmnistc": 5.0}
_BEST, _BEST_TOGETHER = 0.9, 1.5
_MOST_NUMBERS = 1.5
_MOST_COPIES = {"brightness": 3.0, "contrast": 3.0, "resolution": 20.0}

Seconds = dict[str, dict[str, list[float]]]  # corruption -> who -> seconds per image of each turn


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


def _row(what: str, measured: float | Sequence[float] | None, sign: str, bound: float, **more: Any) -> dict[str, Any]:
    """A row with a goal; of the ratios of several turns their median and quartiles, of None no verdict."""
    if measured is None:
        return {"name": what, "measured": "not measured", "goal": f"{sign} {bound:g}", "met": None, **more}
    if not isinstance(measured, float):
        more |= {"spread": _spread(measured, "{:.2f}"), "turns": len(measured)}
        measured = statistics.median(measured)
    met = measured >= bound if sign == ">=" else measured <= bound
    return {"name": what, "measured": f"{measured:.2f}", "goal": f"{sign} {bound:g}", "met": met, **more}


def _spread(values: Sequence[float], form: str) -> str:
    low, _, high = statistics.quantiles(values, n=4)
    return f"{form.format(low)} to {form.format(high)}"


def _on_the_cpu() -> list[dict[str, Any]]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        seconds, versions = _measured()
    finally:
        torch.set_num_threads(threads)
    return [*_goals(seconds, versions), *_table(seconds, versions)]


def _batch(n: int, side: int) -> Any:
    """Smooth grey images whose values are those of bytes, as a radiograph's: float32 (n, 1, side, side)."""
    import torch

    coarse = torch.rand(n, 1, side // 8, side // 8, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp_(0, 1)
    return (smooth * 255).round_().div_(255).contiguous()


def _measured() -> tuple[Seconds, dict[str, str]]:
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
    seconds: Seconds = {}
    for name in CORRUPTIONS:
        strength = IMAGENET_C_STRENGTHS[name][2]

        def ours(images: Any, name: str = name, strength: float = strength, check: bool = False) -> Any:
            return corrupt(name, images, strength, keys[: len(images)], check=check)

        ways: dict[str, Callable[[Any], Any]] = {
            OURS: ours,
            CHECKED: lambda images, ours=ours: ours(images, check=True),
            COPY: lambda images: copied[: len(images)].copy_(images),
        }
        if name in _NUMBERS and kernels is not None:
            ways[WORDS] = lambda images: kernels.draw_words(keys[: len(images)], images[0].numel())
            ways[NORMALS] = lambda images: kernels.draw_normals(keys[: len(images)], images[0].numel())
        ways |= {who: work[name] for who, work in there.items() if name in work}
        seconds[name] = _timed(ways, batch, _bounds(name))
    return seconds, versions


def _bounds(name: str) -> dict[str, float]:
    """How many times as fast as each other way ours is to be at least."""
    bounds = {**dict.fromkeys(peers.LIBRARIES, _BEST), **_EACH}
    if name in _NUMBERS:
        bounds[_NUMBERS[name]] = 1 / _MOST_NUMBERS
    if name in _MOST_COPIES:
        bounds[COPY] = 1 / _MOST_COPIES[name]
    return bounds


def _timed(ways: dict[str, Callable[[Any], Any]], batch: Any, bounds: dict[str, float]) -> dict[str, list[float]]:
    """Seconds per image of each way, one of each turn; the ways near their bounds take more turns than the others."""
    images = {}
    for who, work in ways.items():
        work(batch[:_FEW_IMAGES])  # compiles, imports, fills caches
        began = time.perf_counter()
        work(batch[:_FEW_IMAGES])
        long = (time.perf_counter() - began) * len(batch) / _FEW_IMAGES > _LONG_SECONDS
        images[who] = batch[:_FEW_IMAGES] if long else batch
        work(images[who])
    seconds: dict[str, list[float]] = {who: [] for who in ways}

    def take_turns(names: list[str], n: int) -> None:
        for turn in range(n):
            for who in names if turn % 2 else names[::-1]:
                time.sleep(_PAUSE_SECONDS)
                began = time.perf_counter()
                ways[who](images[who])
                seconds[who].append((time.perf_counter() - began) / len(images[who]))

    take_turns(list(ways), TURNS)
    near = []
    for who, bound in bounds.items():
        if who in ways:
            low, _, high = statistics.quantiles(_ratios(seconds, who), n=4)
            near += [who] if low < bound * _NEAR and high > bound / _NEAR else []
    if near:
        take_turns([OURS, *near], MORE_TURNS)
    return seconds


def _ratios(seconds: dict[str, list[float]], who: str) -> list[float]:
    """How many times as fast as another ours is, in each turn that both took."""
    return [other / ours for other, ours in zip(seconds[who], seconds[OURS], strict=False)]


def _goals(seconds: Seconds, versions: dict[str, str]) -> list[dict[str, Any]]:
    rows = []
    for who, each in _EACH.items():
        found = {name: _ratios(taken, who) if who in taken else None for name, taken in seconds.items()}
        title = f"{who} {versions[who]}"
        rows += [
            _row(f"{name}: speed / {title}", ratios, ">=", each, peer=who, version=versions[who])
            for name, ratios in found.items()
        ]
        rows.append(_row(f"geometric mean / {title}", _geometric_mean(found.values()), ">=", _TOGETHER[who], peer=who))
    missing = [who for who in peers.LIBRARIES if versions[who] == "not installed"]
    best: dict[str, list[float] | None] = {}
    for name, taken in seconds.items():
        known = {who: statistics.median(taken[who]) for who in (*peers.LIBRARIES, *peers.BENCHMARKS) if who in taken}
        who = min(known, key=lambda who: known[who]) if known else "none"
        best[name] = _ratios(taken, who) if known and not missing else None
        title = f"{name}: speed / best other library"
        said = f" (not installed: {', '.join(missing)})" if missing else f" ({who})"
        rows.append(_row(title + said, best[name], ">=", _BEST, peer=who, version=versions.get(who, "")))
    rows.append(_row("geometric mean / best other library", _geometric_mean(best.values()), ">=", _BEST_TOGETHER))
    for name, number in _NUMBERS.items():
        for who in dict.fromkeys((number, WORDS)):
            times = [1 / ratio for ratio in _ratios(seconds[name], who)] if who in seconds[name] else None
            rows.append(_row(f"{name}: time / one {who[:-1]} per pixel", times, "<=", _MOST_NUMBERS))
    for name, most in _MOST_COPIES.items():
        times = [1 / ratio for ratio in _ratios(seconds[name], COPY)]
        rows.append(_row(f"{name}: time / copy", times, "<=", most))
    return rows


def _geometric_mean(all_ratios: Iterable[Sequence[float] | None]) -> float | None:
    """Of the medians; None where one is missing."""
    logarithms = []
    for ratios in all_ratios:
        if ratios is None:
            return None
        logarithms.append(math.log(statistics.median(ratios)))
    return math.exp(statistics.fmean(logarithms))


def _table(seconds: Seconds, versions: dict[str, str]) -> list[dict[str, Any]]:
    """Every rate measured, and who was not: rows without a goal."""
    rows = []
    for name, taken in seconds.items():
        rates = {who: [1 / value for value in values] for who, values in taken.items()}
        medians = {who: statistics.median(values) for who, values in rates.items()}
        for who in sorted(medians, key=lambda who: -medians[who]):
            title = f"{name}: {who} {versions.get(who, '')}".strip()
            values = {"peer": who, "version": versions.get(who, ""), "images_per_second": medians[who]}
            values |= {"spread": _spread(rates[who], "{:,.0f}"), "turns": len(rates[who])}
            rows.append({"name": title, "measured": f"{medians[who]:,.0f}/s", "goal": "", "met": None, **values})
    for who, found in versions.items():
        if found == "not installed":
            rows.append({"name": f"{who}: not installed", "measured": "-", "goal": "", "met": None, "peer": who})
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
    for turn in range(TURNS + 1):
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
            rows.append({"name": title, "measured": f"{share:.2f}", "goal": "", "met": None})
    return rows


CASES = {"cpu": _on_the_cpu, "gpu": _on_the_gpu}
