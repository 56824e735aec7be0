"""A real Slurm on this machine: one node, Debian's slurm-wlm and munge, stopped again by process id.

Nothing of the system is touched: keys, sockets, ports, state and configuration are the cluster's own, in one folder.
The node claims more cores and memory than the machine has, and two GPUs. The GPUs are only counted: what a job asks
for is granted, taken and refused as it would be, without a card. There is no accounting, as on many small clusters.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

DAEMONS = {"munged": "munge", "slurmctld": "slurm-wlm", "slurmd": "slurm-wlm"}
"""The programs, and the package that has them."""

CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.log
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
# no cgroups, no accounting: neither is there in a container
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
ReturnToService=2
# seconds: squeue remembers an ended job for a day; from SIGTERM to SIGKILL
MinJobAge=86400
KillWait=5
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=64000 Gres=gpu:a100:2 State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes={host} MaxTime=INFINITE State=UP
"""

PATIENCE = 600
"""Seconds after which a daemon or command hangs; a busy machine takes tens of them."""

SBATCH = """\
#!/bin/sh
# keeps the command line up to the job's own command, then submits
for argument; do
  case $argument in --wrap*) break ;; esac
  printf '%s ' "$argument"
done >> {folder}/requests.txt
echo >> {folder}/requests.txt
exec {real} "$@"
"""

SRUN = """\
#!/bin/sh
# Snakemake's executor takes every SLURM_ variable out of the environment of the inner srun. This cluster's
# configuration lies elsewhere than in /etc/slurm, so say again where.
SLURM_CONF={folder}/slurm.conf exec {real} "$@"
"""


def unavailable() -> str | None:
    """Why Slurm cannot be started here; None where it can."""
    missing = sorted({package for program, package in DAEMONS.items() if not _program(program)})
    if missing:
        return f"no real Slurm: {' and '.join(missing)} not installed (apt-get install slurm-wlm munge)"
    if os.getuid():
        return "no real Slurm: slurmd starts jobs as other users and so must be run by root"
    return None


@dataclass(frozen=True)
class Slurm:
    """A running cluster; commands see it by `environment`."""

    folder: Path
    environment: dict[str, str]

    def command(self, *arguments: str) -> str:
        """What a Slurm command prints."""
        done = subprocess.run(
            arguments, env=self.environment, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(arguments)}: {done.stderr}\n{self.logs()}")
        return done.stdout

    def jobs(self, *states: str) -> dict[str, str]:
        """The names that Snakemake gave to jobs, by Slurm's id; all jobs, or those in these states."""
        lines = self.command("squeue", "--noheader", "--format=%i|%T|%k", "--states=all").splitlines()
        found = [line.split("|") for line in lines]
        return {job: name for job, state, name in found if not states or state in states}

    def history(self) -> list[tuple[str, str, str]]:
        """(id, name, state) of every job, in the order of submission."""
        lines = self.command("squeue", "--noheader", "--format=%i|%k|%T", "--states=all", "--sort=i").splitlines()
        return [(job, name, state) for job, name, state in (line.split("|") for line in lines)]

    def requests(self) -> list[str]:
        """The command lines of sbatch so far, without the jobs' own commands."""
        file = self.folder / "requests.txt"
        return file.read_text().splitlines() if file.exists() else []

    def reach_time_limit(self, job: str) -> None:
        """Let the time of a job end soon: a time is refused that was "now" a second ago. Slurm looks at limits twice
        a minute."""
        self.command("scontrol", "update", f"JobId={job}", "EndTime=now+30")

    def cancel(self, job: str) -> None:
        """End a job as its user, or an operator, would."""
        self.command("scancel", job)

    def logs(self) -> str:
        """The last lines that each daemon wrote."""
        files = sorted((self.folder / "log").iterdir())
        return "\n".join(f"== {file.name}\n" + "\n".join(file.read_text().splitlines()[-15:]) for file in files)


@contextmanager
def running() -> Iterator[Slurm]:
    """A cluster whose node is idle; at the end its jobs are cancelled and its daemons stopped.

    Raises:
        RuntimeError: a daemon ended, or the node was not idle in time; with the ends of their logs.
    """
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # short: a socket's path has 107 characters at most
    slurm = _configure(folder)
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        munge = folder / "munge"
        options = [f"--{name}={munge / name}" for name in ("key-file", "socket", "pid-file", "log-file", "seed-file")]
        # --force: it would rather not run as root, nor below a folder that others may not enter
        _start(slurm, daemons, "munged", "--foreground", "--force", *options)
        _wait(slurm, daemons, lambda: (munge / "socket").exists())
        for name in ("slurmctld", "slurmd"):
            _start(slurm, daemons, name, "-D", "-f", str(folder / "slurm.conf"))
        _wait(slurm, daemons, lambda: _node_state(slurm) == "idle")
        yield slurm
    finally:
        if len(daemons) == len(DAEMONS) and all(daemon.poll() is None for daemon in daemons):
            _cancel_all(slurm)
        for daemon in reversed(daemons):
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _configure(folder: Path) -> Slurm:
    for name in ("state", "spool", "log", "munge", "bin"):
        (folder / name).mkdir()
    key = folder / "munge/key-file"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    host = socket.gethostname().split(".")[0]
    controller_port, node_port = _free_ports(2)
    (folder / "slurm.conf").write_text(
        CONFIGURATION.format(host=host, folder=folder, controller_port=controller_port, node_port=node_port)
    )
    # plain files where devices are expected: slurmd says so in its log, and counts them
    for name in ("gpu0", "gpu1"):
        (folder / name).touch()
    (folder / "gres.conf").write_text(f"AutoDetect=off\nNodeName={host} Name=gpu Type=a100 File={folder}/gpu[0-1]\n")
    for name, script in {"sbatch": SBATCH, "srun": SRUN}.items():
        wrapper = folder / "bin" / name
        wrapper.write_text(script.format(folder=folder, real=_program(name)))
        wrapper.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not re.match(r"(SLURM|SBATCH|SRUN)_", name)}
    path = f"{folder}/bin{os.pathsep}{os.environ['PATH']}"
    return Slurm(folder, {**kept, "SLURM_CONF": str(folder / "slurm.conf"), "PATH": path})


def _start(slurm: Slurm, daemons: list[subprocess.Popen[bytes]], name: str, *options: str) -> None:
    with (slurm.folder / "log" / f"{name}.out").open("wb") as out:
        daemons.append(subprocess.Popen([str(_program(name)), *options], env=slurm.environment, stdout=out, stderr=out))


def _wait(slurm: Slurm, daemons: list[subprocess.Popen[bytes]], ready) -> None:
    end = time.monotonic() + PATIENCE
    while not ready():
        if time.monotonic() > end or any(daemon.poll() is not None for daemon in daemons):
            raise RuntimeError(f"Slurm did not start\n{slurm.logs()}")
        time.sleep(0.1)


def _node_state(slurm: Slurm) -> str:
    command = ["sinfo", "--noheader", "--partition=cpu", "--format=%T"]
    done = subprocess.run(command, env=slurm.environment, capture_output=True, text=True, check=False, timeout=PATIENCE)
    return done.stdout.strip()  # nothing while the controller does not answer yet


def _cancel_all(slurm: Slurm) -> None:
    active = ("PENDING", "RUNNING", "COMPLETING")
    end = time.monotonic() + PATIENCE
    while (jobs := slurm.jobs(*active)) and time.monotonic() < end:
        slurm.command("scancel", *jobs)
        time.sleep(0.5)


def _program(name: str) -> str | None:
    """Where a program is; daemons lie in folders that not everybody's PATH has."""
    return shutil.which(
        name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
    )


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [found.getsockname()[1] for found in sockets]
    for found in sockets:
        found.close()
    return ports
