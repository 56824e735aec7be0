import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from itm.metrics.scorer import in_threads, threads


@pytest.mark.parametrize("count", ["1", "2"])
def test_outcomes_come_in_order_and_few_tasks_are_begun_ahead(monkeypatch, count):
    monkeypatch.setenv("OMP_NUM_THREADS", count)
    begun, lock = [], threading.Lock()

    def work(task):
        with lock:
            begun.append(task)
        return task

    for number, outcome in enumerate(in_threads(work, range(50))):
        assert outcome == number
        assert len(begun) <= number + 2 * threads() + 1
    assert sorted(begun) == list(range(50))


def test_an_error_in_a_thread_is_an_error_here(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with pytest.raises(ZeroDivisionError):
        list(in_threads(lambda task: 1 // task, [1, 0, 1]))


def test_the_number_of_threads_is_bounded(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert threads() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "1000")
    assert 1 <= threads() <= 8
    monkeypatch.setenv("OMP_NUM_THREADS", "4,2")  # not a number: the machine decides
    assert threads() >= 1


def test_metrics_need_numpy_only():
    code = (
        "import sys, itm.metrics; heavy = ('scipy', 'pydantic', 'pyarrow', 'pandas', 'torch', 'sklearn', 'typer');"
        "print([name for name in heavy if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
