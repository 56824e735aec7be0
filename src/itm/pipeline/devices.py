"""A GPU of its own for each training job, or the CPU.

Snakemake and DVC count GPUs at best; neither says which one a job may use. So every job takes an exclusive
lock on one file a GPU, held until it ends; the system frees it also when the job is killed. The files lie in
the machine's temporary folder, one set a user, so that several clones and `dvc exp run --queue` share them.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from itm.errors import TrainingError, nearest

_log = logging.getLogger(__name__)

REQUESTS = ("auto", "cpu", "cuda")
"""What params.yaml may ask for under `device`."""


@contextmanager
def device(requested: str, *, wait: float | None = None, poll: float = 1.0) -> Iterator[str]:
    """The name of the device to compute on, "cpu" or "cuda:<visible index>", reserved while the block runs.

    auto: a GPU where there is one, else the CPU. When all GPUs are taken the job waits for one, `wait` seconds
    at most (None: for ever), so that where a result was computed never depends on what else was running.

    Raises:
        TrainingError: cuda was asked for and there is none, or none became free in time.
    """
    if requested not in REQUESTS:
        raise TrainingError(
            f"device: '{requested}' is unknown; {nearest(requested, REQUESTS)}", reason="unknown-device"
        )
    gpus = [] if requested == "cpu" else visible_gpus()
    if not gpus:
        if requested == "cuda":
            raise TrainingError(
                "device: cuda was asked for, but this process sees no CUDA device; check the driver and "
                "CUDA_VISIBLE_DEVICES, or set `device: auto` or `device: cpu` in params.yaml",
                reason="no-device",
            )
        yield "cpu"
        return
    index, handle = _take(gpus, wait, poll)
    try:
        yield f"cuda:{index}"
    finally:
        os.close(handle)


def visible_gpus() -> list[str]:
    """An identity for each CUDA device that this process sees, the same in every process of the machine.

    A visible index is no identity: two jobs with CUDA_VISIBLE_DEVICES=0 and =1 both see index 0.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1"):
        return []
    import torch

    if not torch.cuda.is_available():
        return []
    visible = [entry.strip() for entry in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if entry.strip()]
    identities = []
    for index in range(torch.cuda.device_count()):
        uuid = getattr(torch.cuda.get_device_properties(index), "uuid", None)
        fallback = visible[index] if index < len(visible) else str(index)
        identities.append(str(uuid or fallback))
    return identities


def gpus_of_job(requested: str) -> int:
    """How many GPUs a scheduler on this machine should count for one training job: 1, or 0 where it uses the CPU.

    Looks at device files only; importing torch would cost every `snakemake` call seconds. The cluster profiles
    override it, because a login node says nothing of the compute nodes.
    """
    if requested == "cpu" or os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1"):
        return 0
    return int(requested == "cuda" or any(re.fullmatch(r"nvidia\d+|dxg", path.name) for path in Path("/dev").iterdir()))


def _take(gpus: Sequence[str], wait: float | None, poll: float) -> tuple[int, int]:
    """The visible index of a GPU that nobody holds, and the open lock file that holds it."""
    folder = _lock_folder()
    give_up = None if wait is None else time.monotonic() + wait
    told = False
    while True:
        for index, identity in enumerate(gpus):
            handle = os.open(folder / f"{re.sub(r'[^A-Za-z0-9.-]', '_', identity)}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
            else:
                return index, handle
        if give_up is not None and time.monotonic() >= give_up:
            raise TrainingError(
                f"device: all {len(gpus)} visible GPUs are taken by other jobs of this project after {wait:g} s; "
                "run fewer jobs at once (`--resources gpu=N`)",
                reason="no-free-device",
            )
        if not told:
            _log.info("all %d GPUs are taken; waiting for one", len(gpus))
            told = True
        time.sleep(poll)


def _lock_folder() -> Path:
    named = os.environ.get("ITM_DEVICE_LOCKS")
    folder = Path(named) if named else Path(tempfile.gettempdir()) / f"itm-devices-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise TrainingError(f"{folder}: not writable; name another folder in ITM_DEVICE_LOCKS", reason="device-locks")
    return folder
