"""Map a function over tasks in several processes: results in order, few in flight, so that memory stays flat.

In: a function that can be imported by name, its tasks, a number of workers. Out: an iterator over results in task
order.
"""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def ordered_map(function: Callable[[Task], Result], tasks: Iterable[Task], workers: int) -> Iterator[Result]:
    """Yield `function(task)` for each task, in order; at most two results per worker wait to be taken.

    Parameters
    ----------
    function : importable by name; tasks and results are pickled between processes
    workers : processes; 0 or 1 works in this process

    Raises
    ------
    RuntimeError
        If a worker process dies, usually for want of memory. What `function` itself raises is passed on.
    """
    if workers <= 1:
        yield from map(function, tasks)
        return
    # spawned, not forked: the parent may hold torch's threads, whose locks a fork would copy
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_end_with_parent)
    waiting: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(function, task))
            if len(waiting) >= 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise RuntimeError(
            f"one of {workers} worker processes died, usually for want of memory: try again with fewer workers"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _end_with_parent() -> None:
    """Let a worker end when the process that started it is killed, instead of waiting for work for ever."""
    threading.Thread(target=_wait_and_end, daemon=True).start()


def _wait_and_end() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
