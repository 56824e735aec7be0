"""A few threads for numpy work that is split into blocks; the order of results, and so every figure, stays.

Each thread multiplies, compares and counts its own blocks. The matrix products inside are held to one thread
where threadpoolctl is installed: threads of its own would wait for each other, and burn time while they do.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")
_MOST = 8


def threads() -> int:
    """How many threads block-wise work uses: the process's cores, at most 8, at most OMP_NUM_THREADS."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(cores, _MOST, int(asked) if asked.isdigit() and int(asked) else cores))


def in_threads(work: Callable[[Task], Outcome], tasks: Iterable[Task]) -> Iterator[Outcome]:
    """The outcomes in the order of the tasks, with no more than two tasks a thread begun and not yet taken.

    >>> list(in_threads(lambda n: n * n, range(5)))
    [0, 1, 4, 9, 16]
    """
    workers = threads()
    if workers == 1:
        yield from map(work, tasks)
        return
    with _single_threaded_products(), ThreadPoolExecutor(workers) as pool:
        begun: deque[Future[Outcome]] = deque()
        for task in tasks:
            begun.append(pool.submit(work, task))
            if len(begun) >= 2 * workers:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()


def _single_threaded_products() -> AbstractContextManager[object]:
    try:
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
    except ImportError:
        return nullcontext()
    limits: AbstractContextManager[object] = threadpool_limits(1, user_api="blas")
    return limits
