"""Files from the future get a time before now, in their order."""

import os
from pathlib import Path
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as some

from itm.pipeline.sync import settle

SECOND = 1_000_000_000
NOW = 1_800_000_000 * SECOND


def project(folder: Path, times: list[int]) -> tuple[SimpleNamespace, list[Path]]:
    """A pipeline of one job whose inputs have these times."""
    files = [folder / str(number) for number in range(len(times))]
    for file, found in zip(files, times, strict=True):
        file.touch()
        os.utime(file, ns=(found, found))
    job = SimpleNamespace(inputs=[file.name for file in files], outputs=["missing"])
    return SimpleNamespace(jobs={"job": job}), files


def test_an_hour_ahead(tmp_path: Path) -> None:
    old, new = NOW + 3600 * SECOND, NOW + 3601 * SECOND
    pipeline, files = project(tmp_path, [new, NOW - SECOND, old, old])
    assert settle(pipeline, tmp_path, NOW) == 3
    times = [file.stat().st_mtime_ns for file in files]
    assert times[1] == NOW - SECOND
    assert NOW - SECOND < times[2] == times[3] < times[0] <= NOW
    assert settle(pipeline, tmp_path, NOW) == 0


def test_clocks_that_differ_by_less_than_a_second_are_left_alone(tmp_path: Path) -> None:
    pipeline, files = project(tmp_path, [NOW + SECOND, NOW])
    assert settle(pipeline, tmp_path, NOW) == 0
    assert files[0].stat().st_mtime_ns == NOW + SECOND


@given(some.lists(some.integers(-3 * SECOND, 5 * SECOND), max_size=8))
def test_the_order_of_all_files_stays_and_none_is_late(tmp_path_factory, ahead: list[int]) -> None:
    folder = tmp_path_factory.mktemp("times")
    pipeline, files = project(folder, [NOW + each for each in ahead])
    settle(pipeline, folder, NOW)
    times = [file.stat().st_mtime_ns for file in files]
    assert [[one < other for other in times] for one in times] == [[one < other for other in ahead] for one in ahead]
    assert all(each <= NOW + SECOND + len(times) for each in times)
