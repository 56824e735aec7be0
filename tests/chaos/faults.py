"""The faults: each disturbs a project by the case's own random numbers, and says at which moment."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from chaos.project import (
    PATIENCE,
    RUNNERS,
    STAGES,
    Bases,
    Project,
    itm,
    job_of,
    kill,
    kill_group,
    kill_tree,
    lock,
    recover,
    said,
    small_disk,
    start,
    wait_for_step,
)

HOUR = 3_600_000_000_000
TEMPORARY = re.compile(r"(^|/)\.[^/]*\.(part|tmp)\b")
"""Files that were being written; the second kind is DVC's, which tries in the workspace what links it can make."""


@dataclass
class Case:
    """One fault to do."""

    fault: str
    runner: str
    stage: str
    seed: int
    random: Random = field(init=False)
    cleanup: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.random = Random(f"{self.fault} {self.runner} {self.stage} {self.seed}")

    @property
    def name(self) -> str:
        return f"{self.fault} - {self.runner} - {self.stage}"


class Skip(Exception):
    """This machine cannot do the fault; the text says why."""


@dataclass
class Row:
    """What came of a fault."""

    case: Case
    moment: str
    after: str
    equal: bool
    seconds: float


def disturb(case: Case, bases: Bases, folder: Path) -> Row:
    """Do one fault in a copy of the project, let the next run repair it, and compare with the undisturbed run."""
    began = time.monotonic()
    with case.cleanup:
        moment, after, project, expected = FAULTS[case.fault](case, bases, folder)
        results = {path: text for path, text in project.results().items() if not TEMPORARY.search(path)}
        equal = results == expected and project.dvc_status() == {}
    shutil.rmtree(folder, ignore_errors=True)
    return Row(case, moment, after, equal, time.monotonic() - began)


Outcome = tuple[str, str, Project, dict[str, str]]


def killed(case: Case, bases: Bases, folder: Path, victim: Callable[[subprocess.Popen, int], int], how=kill) -> Outcome:
    """Kill something while the stage is at a random step of its work, and run again."""
    project = bases.fresh(case.stage, folder)
    process = start(project, case.runner)
    wait_for_step(project, process, case.stage, 1)
    pid, what = wait_for_step(project, process, case.stage, case.random.randint(1, 2 * outputs(project, case.stage)))
    time.sleep(case.random.uniform(0, 0.1))
    how(victim(process, pid))
    process.wait(PATIENCE)
    orphan_gone(pid)
    return what, recover(project, case.runner), project, bases.results


def outputs(project: Project, stage: str) -> int:
    return len(json.loads(project.read("stub.json"))[stage.split("@")[0]]["outs"])


def orphan_gone(pid: int) -> None:
    """A stage whose runner is gone ends by itself."""
    import psutil

    try:
        psutil.Process(pid).wait(20)
    except psutil.NoSuchProcess:
        return


def stage_killed(case: Case, bases: Bases, folder: Path) -> Outcome:
    return killed(case, bases, folder, lambda process, pid: pid)


def runner_killed(case: Case, bases: Bases, folder: Path) -> Outcome:
    return killed(case, bases, folder, lambda process, pid: process.pid)


def both_killed(case: Case, bases: Bases, folder: Path) -> Outcome:
    return killed(case, bases, folder, lambda process, pid: process.pid, kill_tree)


def group_killed(case: Case, bases: Bases, folder: Path) -> Outcome:
    return killed(case, bases, folder, lambda process, pid: process.pid, kill_group)


def recorder_killed(case: Case, bases: Bases, folder: Path) -> Outcome:
    return killed(case, bases, folder, lambda process, pid: job_of(pid))


def killed_while_recorded(case: Case, bases: Bases, folder: Path) -> Outcome:
    """Kill all a moment after the stage's last step, when its results go to DVC's cache and to dvc.lock."""
    project = bases.fresh(case.stage, folder)
    process = start(project, case.runner)
    pid, _ = wait_for_step(project, process, case.stage, 1 + 2 * outputs(project, case.stage))
    orphan_gone(pid)
    delay = case.random.uniform(0, 0.5)
    time.sleep(delay)
    kill_tree(process.pid)
    process.wait(PATIENCE)
    return f"{delay:.2f} s after the stage ended", recover(project, case.runner), project, bases.results


def commit_killed(case: Case, bases: Bases, folder: Path) -> Outcome:
    """Kill `dvc commit` after it stored some of the objects that the cache lacks."""
    project = bases.fresh(None, folder)
    cache = project.root / ".dvc/cache"
    whole = sum(1 for file in cache.rglob("*") if file.is_file())
    shutil.rmtree(cache)
    wanted = case.random.randint(1, whole - 1)
    process = subprocess.Popen(
        ["dvc", "commit", "-f", "-q"], cwd=project.root, env=project.environment, start_new_session=True
    )
    while process.poll() is None and (stored := sum(1 for file in cache.rglob("*") if file.is_file())) < wanted:
        time.sleep(0.005)
    kill_tree(process.pid)
    process.wait(PATIENCE)
    after = recover(project, case.runner)
    project.run("dvc", "commit", "-f", "-q")
    return f"{stored} of {whole} files stored", after, project, bases.results


def torn_lock_file(case: Case, bases: Bases, folder: Path) -> Outcome:
    """dvc.lock as a kill leaves it while DVC writes it: DVC empties it, and fills it again."""
    project = bases.fresh(case.stage, folder)
    content = (project.root / "dvc.lock").read_bytes()
    kept = case.random.randrange(1, len(content))
    (project.root / "dvc.lock").write_bytes(content[:kept])
    after = recover(project, case.runner)
    if project.dvc_status():  # Snakemake asks dvc.lock only for the inputs of what it runs
        project.repro()
        after += "; `dvc repro` then recorded the rest again"
    return f"{kept} of {len(content)} bytes left", after, project, bases.results


def torn_use_record(case: Case, bases: Bases, folder: Path) -> Outcome:
    project = bases.fresh(case.stage, folder)
    (project.root / ".dvc/tmp/rwlock").write_text('{"write": {"/some')
    return "torn in the first entry", recover(project, case.runner), project, bases.results


def stale_locks(case: Case, bases: Bases, folder: Path) -> Outcome:
    """What dead processes leave: DVC's lock and record of paths in use, Snakemake's locks."""
    project = bases.fresh(case.stage, folder)
    gone = subprocess.Popen(["true"])
    gone.wait()
    clean = str(project.root / "data/clean/captions.parquet")
    entry = {"pid": gone.pid, "cmd": "dvc repro"}
    (project.root / ".dvc/tmp/rwlock").write_text(json.dumps({"write": {clean: entry}, "read": {}}))
    (project.root / ".dvc/tmp/lock").write_text(f" {gone.pid}\n")
    locks = project.root / ".snakemake/locks"
    locks.mkdir(parents=True, exist_ok=True)
    (locks / "0.output.lock").write_text("report.md\n")
    return "locks of processes that are gone", recover(project, case.runner), project, bases.results


def disk_full(case: Case, bases: Bases, folder: Path) -> Outcome:
    """The stage's folder on a small file system without room; then some is made."""
    project = bases.fresh(case.stage, folder)
    place = project.root / Path(STAGES[case.stage]).parent
    mounted(case, place)
    with (place / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(b"x" * 4096)
    done = project.run(*RUNNERS[case.runner], ok=False)
    told(project, done, "the disk is full", "No space left")
    (place / "filler").unlink(missing_ok=True)
    return (
        "on its first write",
        "said that the disk is full; then " + recover(project, case.runner),
        project,
        bases.results,
    )


def read_only(case: Case, bases: Bases, folder: Path) -> Outcome:
    """The stage's folder on a file system that is mounted read-only; then writable."""
    project = bases.fresh(case.stage, folder)
    place = project.root / Path(STAGES[case.stage]).parent
    mounted(case, place)
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    done = project.run(*RUNNERS[case.runner], ok=False)
    subprocess.run(["mount", "-o", "remount,rw", str(place)], check=True)
    told(project, done, "read-only", "Read-only")
    after = "said that it is read-only; then " + recover(project, case.runner)
    return "on its first write", after, project, bases.results


def mounted(case: Case, place: Path) -> None:
    try:
        case.cleanup.enter_context(small_disk(place))
    except (PermissionError, FileNotFoundError) as error:
        raise Skip(str(error)) from None


def told(project: Project, done: subprocess.CompletedProcess[str], *words: str) -> None:
    """The run failed with a message that holds one of the words.

    No stage shows a traceback, and no runner but Snakemake, which has no message for a folder that it may not clear.
    """
    output = done.stdout + done.stderr + project.logs()
    assert done.returncode, output
    assert any(word in output for word in words), output
    cannot_clear = "remove_existing_output" in done.stdout + done.stderr
    assert "Traceback" not in (project.logs() if cannot_clear else output), output


def two_at_once(case: Case, bases: Bases, folder: Path) -> Outcome:
    """A second run while a stage of the first is at work; `runner` is "first+second"."""
    first, second = case.runner.split("+")
    project = bases.fresh(case.stage, folder)
    process = start(project, first)
    _, what = wait_for_step(project, process, case.stage, case.random.randint(1, outputs(project, case.stage)))
    done = project.run(*RUNNERS[second], ok=False)
    output = done.stdout + done.stderr
    assert "Traceback" not in output, output
    words = next(
        (
            words
            for words in ("at work in this folder", "is busy", "cannot be locked", "acquire lock")
            if words in output
        ),
        "",
    )
    assert done.returncode == 0 or words, output
    assert process.wait(PATIENCE) == 0, said(project)
    how = f"the second said: ... {words} ..." if words else "the second waited"
    return (
        what,
        f"{how}; the first ran to the end; the second, again: {recover(project, second)}",
        project,
        bases.results,
    )


def clock_back(case: Case, bases: Bases, folder: Path) -> Outcome:
    """All files are from the future; then code is edited, at a time before that of what was made from it."""
    project = bases.fresh(None, folder)
    later(project)
    project.append("src/itm/stages/score.py", "# a comment\n")
    after = recover(project, case.runner)
    assert project.ran() == ["score"], "the edit was not seen, or more than it"
    return "an hour back, then an edit of score's code", f"{after}: score and nothing else", project, bases.results


def clock_back_and_killed(case: Case, bases: Bases, folder: Path) -> Outcome:
    """All files are from the future, a parameter changes, and the run is killed between two stages."""
    project = bases.fresh(None, folder)
    project.set("score.minimum_document_frequency", 77)
    undisturbed = project.copy(folder.with_name(folder.name + "-undisturbed"))
    undisturbed.repro()
    expected = undisturbed.results()
    shutil.rmtree(undisturbed.root)
    later(project)
    process = start(project, case.runner)
    _, what = wait_for_step(project, process, case.stage, 1)
    kill_tree(process.pid)
    process.wait(PATIENCE)
    return f"an hour back; {what}", recover(project, case.runner), project, expected


def later(project: Project) -> None:
    for top in (
        "data",
        "models",
        "embeddings",
        "evaluations",
        "results",
        "report.md",
        "report.html",
        "src",
        "dvc.lock",
    ):
        for file in [project.root / top, *(project.root / top).rglob("*")]:
            if file.is_file():
                time_ = file.stat().st_mtime_ns + HOUR
                os.utime(file, ns=(time_, time_))


def an_output(project: Project, case: Case) -> tuple[str, str]:
    """One cached output of the case's stage, and its checksum."""
    kept = [out for out in lock(project)[case.stage]["outs"] if object_of(project, out["md5"]).exists()]
    out = case.random.choice([out for out in kept if not out["path"].startswith(("results/", "report"))] or kept)
    return out["path"], out["md5"]


def object_of(project: Project, checksum: str) -> Path:
    return project.root / ".dvc/cache/files/md5" / checksum[:2] / checksum[2:]


def flip(file: Path, position: float) -> None:
    """Change one byte; time, size and mode stay, as on a disk that rots."""
    state = file.stat()
    content = bytearray(file.read_bytes())
    content[int(position * len(content))] ^= 1
    file.chmod(0o644)
    file.write_bytes(content)
    file.chmod(state.st_mode)
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))


def damaged_object(case: Case, bases: Bases, folder: Path) -> Outcome:
    """A damaged object in the cache, whose output is missing here."""
    project = bases.fresh(None, folder)
    path, checksum = an_output(project, case)
    flip(object_of(project, checksum), case.random.random())
    (project.root / path).unlink()
    after = recover(project, case.runner)
    if project.results() != bases.results:
        how = "with the damaged file" if (project.root / path).exists() else "and did not need the file"
        after = f"{after}, {how}; {doctored(project, case.runner)}"
    return f"{path}", after, project, bases.results


def damaged_result(case: Case, bases: Bases, folder: Path) -> Outcome:
    """A damaged result in the workspace, whose time and size stayed."""
    project = bases.fresh(None, folder)
    path, _ = an_output(project, case)
    project.dvc_status()  # DVC has seen the whole file here
    flip(project.root / path, case.random.random())
    after = recover(project, case.runner)
    return path, f"{after}, with the damaged file; {doctored(project, case.runner)}", project, bases.results


def doctored(project: Project, runner: str) -> str:
    found = itm(project, "doctor", ok=False)
    assert found.returncode == 1, found.stdout
    itm(project, "doctor", "--repair")
    project.repro()
    if runner == "snakemake":
        itm(project, "sync")
        recover(project, runner)
    assert itm(project, "doctor").returncode == 0
    return "`itm doctor` named it; after `itm doctor --repair` and `dvc repro` it is whole"


def half_metrics(case: Case, bases: Bases, folder: Path) -> Outcome:
    """A metrics file of which half is missing."""
    project = bases.fresh(None, folder)
    path = "results/runs/ditm/seed0/retrieval.json"
    (project.root / path).write_text(project.read(path)[: -case.random.randint(1, 8)])
    return path, recover(project, case.runner), project, bases.results


def left_behind(case: Case, bases: Bases, folder: Path) -> Outcome:
    """Files that killed processes were writing, in folders on which stages depend."""
    project = bases.fresh(case.stage, folder)
    gone = subprocess.Popen(["true"])
    gone.wait()
    places = ["data/raw/scenes/.scenes", "results/runs/ditm/seed0/.retrieval", "evaluations/.x", ".report"]
    for place in places:
        own = project.root / f"{place}.{gone.pid}-0123abcd.part.json"
        own.parent.mkdir(parents=True, exist_ok=True)
        for file in (own, own.with_name(".uEpM0vE-up_lsbep5CNchw.tmp")):  # the second as DVC names its own
            file.write_text("half")
    after = recover(project, case.runner)
    seen = [line[3:] for line in project.run("git", "status", "--porcelain", "--ignored=no").stdout.splitlines()]
    assert not any(TEMPORARY.search(path) for path in seen), seen
    return f"{2 * len(places)} temporary files", f"{after}; DVC and git do not see them", project, bases.results


FAULTS: dict[str, Callable[[Case, Bases, Path], Outcome]] = {
    "stage killed": stage_killed,
    "runner killed": runner_killed,
    "runner and stage killed": both_killed,
    "process group killed": group_killed,
    "Snakemake's job killed": recorder_killed,
    "killed while recorded": killed_while_recorded,
    "`dvc commit` killed": commit_killed,
    "dvc.lock torn": torn_lock_file,
    "DVC's record of paths in use torn": torn_use_record,
    "stale locks": stale_locks,
    "disk full": disk_full,
    "output folder read-only": read_only,
    "two runs at once": two_at_once,
    "clock back, code edited": clock_back,
    "clock back, run killed": clock_back_and_killed,
    "object in the cache damaged": damaged_object,
    "result damaged": damaged_result,
    "metrics file half written": half_metrics,
    "temporary files left": left_behind,
}
ONLY = {
    "Snakemake's job killed": ["snakemake"],
    "two runs at once": ["dvc+dvc", "dvc+snakemake", "snakemake+dvc", "snakemake+snakemake"],
}
SOME = {
    "`dvc commit` killed": ["all"],
    "disk full": ["features", "train@ditm-0", "encode@ditm-0"],
    "output folder read-only": ["features", "train@ditm-0", "encode@ditm-0"],
    "clock back, run killed": ["train@ditm-0", "encode@ditm-0"],
    "clock back, code edited": ["score"],
    "metrics file half written": ["evaluate@ditm-0-retrieval"],
    "object in the cache damaged": ["clean", "score", "features", "train@ditm-0", "encode@ditm-0"],
    "result damaged": ["clean", "score", "features", "train@ditm-0", "encode@ditm-0"],
    "two runs at once": ["clean", "features", "train@ditm-0", "encode@ditm-0"],
    "dvc.lock torn": ["features", "describe@ditm", "train@ditm-0", "encode@ditm-0", "report"],
}
OFTEN = ("stage killed", "runner killed", "runner and stage killed", "process group killed", "killed while recorded")


def plan(count: int, seed: int) -> list[Case]:
    """So many cases: each fault under each runner, then kills, with stages drawn so that each has its turn."""
    draw = Random(seed)
    pairs = [(fault, runner) for fault in FAULTS for runner in ONLY.get(fault, RUNNERS)]
    while len(pairs) < count:
        pairs.append((OFTEN[len(pairs) % len(OFTEN)], draw.choice(list(RUNNERS))))
    turns: dict[str, list[str]] = {}
    cases = []
    for position, (fault, runner) in enumerate(pairs[:count]):
        key = fault if fault in SOME else "kills"
        if not turns.get(key):
            turns[key] = draw.sample(SOME.get(fault, list(STAGES)), k=len(SOME.get(fault, STAGES)))
        cases.append(Case(fault, runner, turns[key].pop(), seed * 1000 + position))
    return cases


def table(rows: list[Row], skipped: dict[str, str]) -> str:
    """The rows as Markdown, and which faults this machine could not do."""
    lines = ["| fault | runner | stage | moment | the next run | equal |", "|---|---|---|---|---|---|"]
    for row in rows:
        case = row.case
        cells = [case.fault, case.runner, case.stage, row.moment, row.after, "yes" if row.equal else "**no**"]
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    return "\n".join([*lines, *(f"\nNot done: {name}: {why}." for name, why in skipped.items())]) + "\n"
