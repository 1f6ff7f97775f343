"""Work in parts on several threads: as many as torch uses, each a stretch of the same row of units.

Enters: a function (first, last) that releases Python's lock while it works, and the number of units. Leaves: what each
part returned. Parts write to places of their own, so results do not depend on the number of threads. The threads are
made at first use, live with the process, and are made anew in a forked one.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

_pools: dict[int, ThreadPoolExecutor] = {}  # by number of threads beside the caller's


def run_in_parts(work: Callable[[int, int], Any], n_units: int, *, at_least: int = 1) -> list[Any]:
    """Call work(first, last) over 0 .. n_units in up to `torch.get_num_threads()` parts of `at_least` units each.

    Parameters
    ----------
    work : callable (first, last) -> result
    n_units : int, at least 1
    at_least : int
        Fewest units that are worth a thread of their own.
    """
    n_parts = max(1, min(torch.get_num_threads(), n_units // at_least))
    if n_parts == 1:
        return [work(0, n_units)]
    edges = [n_units * part // n_parts for part in range(n_parts + 1)]
    if n_parts - 1 not in _pools:
        _pools[n_parts - 1] = ThreadPoolExecutor(n_parts - 1, thread_name_prefix="corruptions")
    pool = _pools[n_parts - 1]
    others = [pool.submit(work, first, last) for first, last in zip(edges[:-2], edges[1:-1], strict=True)]
    own = work(edges[-2], edges[-1])
    return [*(other.result() for other in others), own]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.clear)  # threads do not survive a fork
