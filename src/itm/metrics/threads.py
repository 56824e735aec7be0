"""A few threads for numpy work that is split into blocks; the order of results, and so every figure, stays."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
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

    numpy lets other threads run while it multiplies, compares and counts.

    >>> list(in_threads(lambda n: n * n, range(5)))
    [0, 1, 4, 9, 16]
    """
    workers = threads()
    if workers == 1:
        yield from map(work, tasks)
        return
    with ThreadPoolExecutor(workers) as pool:
        begun: deque[Future[Outcome]] = deque()
        for task in tasks:
            begun.append(pool.submit(work, task))
            if len(begun) >= 2 * workers:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
