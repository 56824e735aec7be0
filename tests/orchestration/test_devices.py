"""The device picker: one job a GPU, locks that die with their holder, messages instead of tracebacks."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from itm.errors import TrainingError
from itm.pipeline import devices
from itm.pipeline.devices import device, gpus_of_job


@pytest.fixture(autouse=True)
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ITM_DEVICE_LOCKS", str(tmp_path / "locks"))
    return tmp_path / "locks"


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A machine with two GPUs."""
    found = ["GPU-aaaa", "GPU-bbbb"]
    monkeypatch.setattr(devices, "visible_gpus", lambda: found)
    return found


@pytest.fixture
def no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "visible_gpus", list)


@pytest.mark.usefixtures("no_gpus")
def test_without_a_gpu_auto_is_the_cpu_and_cuda_stops() -> None:
    with device("auto") as name:
        assert name == "cpu"
    with (
        pytest.raises(TrainingError, match="cuda was asked for, but this process sees no CUDA device") as stopped,
        device("cuda"),
    ):
        pass
    assert stopped.value.reason == "no-device"


@pytest.mark.usefixtures("gpus")
def test_cpu_is_the_cpu_also_beside_a_gpu(locks: Path) -> None:
    with device("cpu") as name:
        assert name == "cpu"
    assert not locks.exists()


@pytest.mark.usefixtures("gpus")
def test_each_job_gets_a_gpu_of_its_own_and_a_freed_one_is_used_again() -> None:
    with device("auto") as first:
        with device("cuda") as second:
            assert {first, second} == {"cuda:0", "cuda:1"}
        with device("cuda") as third:
            assert third == second


@pytest.mark.usefixtures("gpus")
def test_a_job_waits_for_a_gpu() -> None:
    got: list[str] = []

    def job() -> None:
        with device("auto", poll=0.01) as name:
            got.append(name)

    with device("auto"):
        with device("auto") as second:
            waiting = threading.Thread(target=job)
            waiting.start()
            time.sleep(0.1)
            assert got == []
        waiting.join(600)
        assert got == [second]


@pytest.mark.usefixtures("gpus")
def test_waiting_ends_with_a_message() -> None:
    with device("auto"), device("auto"):
        with (
            pytest.raises(TrainingError, match="all 2 visible GPUs are taken") as stopped,
            device("auto", wait=0.05, poll=0.01),
        ):
            pass
        assert stopped.value.reason == "no-free-device"


@pytest.mark.usefixtures("gpus")
def test_the_lock_of_a_killed_job_is_free(locks: Path) -> None:
    code = (
        "import time; from itm.pipeline import devices\n"
        "devices.visible_gpus = lambda: ['GPU-aaaa']\n"
        "with devices.device('auto') as name: print(name, flush=True); time.sleep(3600)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "cuda:0\n"
    with device("auto") as name:
        assert name == "cuda:1"  # the first is held by another process
    holder.kill()
    holder.wait()
    with device("auto") as name:
        assert name == "cuda:0"


def test_the_same_gpu_under_another_index_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """With CUDA_VISIBLE_DEVICES=1 a job sees the machine's second GPU as its cuda:0."""
    monkeypatch.setattr(devices, "visible_gpus", lambda: ["GPU-aaaa", "GPU-bbbb"])
    with device("auto"), device("auto"):
        monkeypatch.setattr(devices, "visible_gpus", lambda: ["GPU-bbbb"])
        with pytest.raises(TrainingError, match="taken"), device("auto", wait=0):
            pass


def test_an_unknown_request_is_refused() -> None:
    with pytest.raises(TrainingError, match="device: 'x' is unknown; known: auto, cpu, cuda"), device("x"):
        pass


def test_what_a_scheduler_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpus_of_job("cpu") == 0
    assert gpus_of_job("cuda") == 1
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus_of_job("auto") == 0


def test_planning_does_not_import_torch() -> None:
    code = "import sys; from itm.pipeline import start; start.gpus = start; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.gpu
def test_a_real_gpu_is_found_and_used() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    with device("cuda") as name:
        assert float(torch.ones(2, device=name).sum()) == 2
        assert len(set(devices.visible_gpus())) == torch.cuda.device_count()
