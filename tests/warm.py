"""Commands that start at once: forks of processes that have imported torch, DVC, Snakemake and the like.

Tests start hundreds of processes, and most of each are its imports. The folder `warm.commands()`, first on PATH, holds
`python`, `dvc`, `snakemake` and `itm`, which run in forks of such processes: with their own folder, environment,
output and exit status, and ended by the signals that end them. Only other people's packages are imported beforehand,
so a project's own code is always read from its own `src`. Tests of kills, of limits and of what a process is called
take the real commands.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import select
import shutil
import signal
import socket
import sys
from collections.abc import Sequence

MODULES = {"dvc": "dvc", "snakemake": "snakemake", "itm": "itm.cli"}
"""Commands beside `python`, and the modules that they run."""
BOTH = (
    "numpy", "pandas", "pandera.pandas", "pyarrow.parquet", "PIL.Image", "pydantic", "typer", "rich.progress", "jinja2",
    "httpx",
)  # fmt: skip
IMPORTED = {
    # a fork takes longer the more memory there is, and most of it is torch's
    "runners": (
        *BOTH, "hydra", "dvc.cli.parser", "dvc.repo.reproduce", "dvc.repo.status", "dvc.repo.stage",
        "dvc.repo.metrics", "dvc.repo.params", "dvc.repo.plots", "dvc.repo.artifacts", "dvc.repo.datasets",
        "dvc.stage.cache", "dvc.dvcfile", "dvc.data_cloud", "dvc_data.index", "dvc_data.hashfile.status", "networkx",
        "scmrepo.git", "zc.lockfile", "flufl.lock", "snakemake.cli", "snakemake.api", "snakemake.assets",
        "snakemake.benchmark", "snakemake.profiles", "snakemake.report.html_reporter",
        "snakemake_executor_plugin_slurm", "boto3", "smart_open",
    ),
    "stages": (
        *BOTH, "torch", "torch._inductor", "torchvision.transforms", "scipy.sparse", "scipy.stats",
        "sklearn.feature_extraction.text", "safetensors.torch", "imagehash", "simplejpeg", "matplotlib.figure",
    ),
}  # fmt: skip
"""What the processes have imported that are forked: one for runners and those that start them, one for all else."""
RUNNERS = ("dvc", "snakemake", "itm.cli", "itm.pipeline.run", "stub.")
"""How the modules begin that run in forks of the first."""
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
COMMAND = """#!{python} -SEs
import sys
sys.path.insert(0, {folder!r})
import warm
sys.exit(warm.ask({python!r}, sys.argv))
"""


@functools.cache
def commands() -> str:
    """The folder of the commands, for this process and those that it starts; gone when this process ends."""
    import subprocess
    import tempfile
    from pathlib import Path

    folder = Path(tempfile.mkdtemp(prefix="itm-warm-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    # they are not measured themselves, and end with this process, when the other end of their input closes
    environment = {name: value for name, value in os.environ.items() if name != "COVERAGE_PROCESS_START"}
    for kind in IMPORTED:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(folder / f"for-{kind}"))
            listening.listen(64)
            server = subprocess.Popen(
                [sys.executable, __file__, kind, str(listening.fileno())],
                env=environment | {"OMP_NUM_THREADS": "1"},
                stdin=subprocess.PIPE,
                pass_fds=[listening.fileno()],
            )
        atexit.register(server.communicate)  # which closes its input; waited for, its processor time is counted
    for name in ("python", *MODULES):
        text = COMMAND.format(python=sys.executable, folder=str(Path(__file__).parent))
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return str(folder)


def ask(python: str, arguments: Sequence[str]) -> int:
    """Run a command in a fork; returns its exit status. Options that a fork cannot take get a Python of their own."""
    module = MODULES.get(os.path.basename(arguments[0]))  # noqa: PTH119 (pathlib takes longer than all the rest)
    words = ["-m", module, *arguments[1:]] if module else list(arguments[1:])
    if not words or (words[0].startswith("-") and words[0] not in ("-m", "-c")):
        os.execv(python, [python, *words])
    kind = "runners" if words[0] == "-m" and words[1].startswith(RUNNERS) else "stages"
    place = os.getcwd()  # noqa: PTH109
    here = os.path.dirname(arguments[0])  # noqa: PTH120
    executable = os.path.join(here, "python")  # noqa: PTH118
    asked = {"words": words, "folder": place, "environment": dict(os.environ), "executable": executable}
    content = json.dumps(asked).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.path.join(here, f"for-{kind}"))  # noqa: PTH118
        socket.send_fds(connection, [len(content).to_bytes(8, "big")], [0, 1, 2])
        connection.sendall(content)
        answers = connection.makefile()
        pid = int(answers.readline())
        for number in PASSED_ON:
            signal.signal(number, lambda number, _: os.kill(pid, number))
        # a signal that comes just before a read begins would wait for its end: it wakes this one
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)
        while connection not in select.select([connection, woken], [], [])[0]:
            os.read(woken, 64)
        status = int(answers.readline())
    if status < 0:
        if status != -signal.SIGKILL:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


def serve(kind: str, listening: socket.socket) -> None:
    """Fork for each command that is asked for, until the input ends; a fork is killed with the process that asked."""
    import gc
    import importlib

    base = sys.path[1:]  # without the folder of this file
    for name in IMPORTED[kind]:
        importlib.import_module(name)
    assert "itm" not in sys.modules
    gc.freeze()  # else each fork would write to all these pages, and so copy them
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which workers of pytest leave ignored
    running: dict[int, tuple[int, socket.socket]] = {}
    while True:
        asking = [connection for _, connection in running.values()]
        for each in select.select([0, listening, *running, *asking], [], [])[0]:
            if each == 0:
                return
            if each is listening:
                connection, _ = listening.accept()
                pid = fork(connection, base)
                tell(connection, pid)
                running[os.pidfd_open(pid)] = pid, connection
            elif each in running:
                pid, connection = running.pop(each)
                tell(connection, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                os.close(each)
                connection.close()
            else:
                for pid in [pid for pid, connection in running.values() if connection is each]:
                    os.kill(pid, signal.SIGKILL)


def fork(connection: socket.socket, base: list[str]) -> int:
    """Start what is asked for; returns its process id."""
    length, descriptors, _, _ = socket.recv_fds(connection, 8, 3)
    asked = json.loads(connection.makefile("rb").read(int.from_bytes(length, "big")))
    pid = os.fork()
    if pid == 0:
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os._exit(run(asked, base))
    for descriptor in descriptors:  # else pipes would stay open
        os.close(descriptor)
    return pid


def tell(connection: socket.socket, number: int) -> None:
    """Send a number to the process that asked, if it is still there."""
    with contextlib.suppress(BrokenPipeError):
        connection.sendall(b"%d\n" % number)


def run(asked: dict, base: list[str]) -> int:
    """What a new Python would do with these words, in this process; returns the exit status."""
    import io
    import runpy
    import threading
    import traceback
    import types
    from pathlib import Path

    environment, words, folder = asked["environment"], asked["words"], asked["folder"]
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115
    for number, name, errors in ((1, "stdout", "strict"), (2, "stderr", "backslashreplace")):
        raw = open(number, "wb", closefd=False)  # noqa: SIM115
        stream = io.TextIOWrapper(raw, encoding="utf-8", errors=errors, line_buffering=os.isatty(number) or number == 2)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.executable = asked["executable"]
    sys.pycache_prefix = environment.get("PYTHONPYCACHEPREFIX")
    sys.dont_write_bytecode = bool(environment.get("PYTHONDONTWRITEBYTECODE"))
    given = [str(Path(each).absolute()) for each in environment.get("PYTHONPATH", "").split(os.pathsep) if each]
    sys.modules["__main__"] = types.ModuleType("__main__")
    if "COVERAGE_PROCESS_START" in environment:
        import coverage

        coverage.process_startup()
    status: object = 0
    try:
        if words[0] in ("-m", "-c"):
            sys.argv = [words[0], *words[2:]]
            sys.path[:] = [folder, *given, *base]
            if words[0] == "-m":
                runpy._run_module_as_main(words[1])
            else:
                exec(compile(words[1], "<string>", "exec"), sys.modules["__main__"].__dict__)
        else:
            sys.argv = list(words)
            sys.path[:] = [str(Path(words[0]).absolute().parent), *given, *base]
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as error:
        status = error.code
        if status is not None and not isinstance(status, int):
            print(status, file=sys.stderr)
            status = 1
    except BaseException:
        traceback.print_exc()
        status = 1
    with contextlib.suppress(BaseException):
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    return int(status or 0) & 0xFF


if __name__ == "__main__":
    serve(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))
