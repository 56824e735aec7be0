"""Plant faults into a copy of the project, one at a time, and demand that the tests named beside each notice it.

python tests/mutants                    all faults of faults.yaml
python tests/mutants 12 metrics "GPU"   some of them: by number, or by a word of their file or description
python tests/mutants --markdown         the list as a table; nothing is run
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
PASSED, FAILED = 0, 1
PATIENCE = 900
"""Seconds after which tests are stopped: a fault may make them wait for ever."""


@dataclass(frozen=True)
class Fault:
    """One edit of one file, and the arguments of pytest whose tests notice it."""

    number: int
    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def planted_in(self, text: str) -> str:
        """The text of its file with the fault in it.

        Raises:
            ValueError: the place is not there, or there more than once.
        """
        if (count := text.count(self.old)) != 1:
            raise ValueError(f"{self.file} holds {self.old!r} {count} times, not once; mend tests/mutants/faults.yaml")
        return text.replace(self.old, self.new)


def read_faults() -> list[Fault]:
    """The faults of faults.yaml."""
    entries = YAML(typ="safe").load(Path(__file__).with_name("faults.yaml"))
    return [Fault(number, **{**each, "tests": tuple(each["tests"])}) for number, each in enumerate(entries, start=1)]


class Copy:
    """A copy of what git knows of a checkout, and of its new files, in which one fault after the other is planted."""

    def __init__(self, checkout: Path, folder: Path, name: str) -> None:
        self.root, temporary = folder / name, folder / f"{name}-temporary"
        temporary.mkdir()
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        for path in subprocess.run(listed, cwd=checkout, capture_output=True, text=True, check=True).stdout.split("\0"):
            if (checkout / path).is_file():
                (self.root / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(checkout / path, self.root / path)
        kept = {name: value for name, value in os.environ.items() if name != "ITM_MIRROR"}
        kept.pop("PYTHONDONTWRITEBYTECODE", None)
        self.environment = kept | {
            "PYTHONPATH": str(self.root / "src"),
            "PYTHONPYCACHEPREFIX": str(folder / "byte-code"),
            "HYPOTHESIS_STORAGE_DIRECTORY": str(folder / "hypothesis"),
            "TMPDIR": str(temporary),
            "OMP_NUM_THREADS": "1",
        }
        found = self._run("-c", "import itm; print(itm.__file__)").stdout.strip()
        if not Path(found).is_relative_to(self.root):
            raise SystemExit(f"the tests would import {found}, not the copy's code")

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command, options = [sys.executable, *arguments], {"capture_output": True, "text": True, "timeout": PATIENCE}
        return subprocess.run(command, cwd=self.root, env=self.environment, check=False, **options)

    def test(self, tests: tuple[str, ...]) -> tuple[int, str]:
        """The exit status of pytest, and the last lines that it wrote. The same examples of hypothesis every time."""
        fixed = ("-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0", "-m", "not long")
        try:
            done = self._run("-m", "pytest", *fixed, *tests)
        except subprocess.TimeoutExpired:
            return -1, f"stopped after {PATIENCE} s"
        return done.returncode, "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])

    @contextmanager
    def planted(self, fault: Fault) -> Iterator[None]:
        """Inside, the fault is in its file.

        Python knows byte code by the size and the time, in whole seconds, of its source: each fault has a time of its
        own, so that the byte code of no other one is taken for it, nor its own for the file as it was.
        """
        path = self.root / fault.file
        before, state = path.read_bytes(), path.stat()
        path.write_bytes(fault.planted_in(before.decode()).encode())
        os.utime(path, (state.st_atime, int(state.st_mtime) - fault.number))
        try:
            yield
        finally:
            path.write_bytes(before)
            os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def try_all(faults: list[Fault], checkout: Path, jobs: int) -> bool:
    """Whether all faults are noticed, by tests that pass without them; prints a line for each."""
    missed, unsound = 0, {}
    with tempfile.TemporaryDirectory(prefix="itm-mutants-") as folder, ThreadPoolExecutor(jobs) as pool:
        copies: SimpleQueue[Copy] = SimpleQueue()
        for number in range(jobs):
            copies.put(Copy(checkout, Path(folder), f"copy{number}"))

        def run(tests: tuple[str, ...], fault: Fault | None = None) -> tuple[int, str, float]:
            copy, start = copies.get(), time.monotonic()
            try:
                with copy.planted(fault) if fault else nullcontext():
                    return *copy.test(tests), time.monotonic() - start
            finally:
                copies.put(copy)

        sets = list(dict.fromkeys(fault.tests for fault in faults))
        for tests, (status, text, seconds) in zip(sets, pool.map(run, sets), strict=True):
            result = "passed" if status == PASSED else "FAILED"
            print(f"without a fault: {result} {seconds:5.1f} s  {' '.join(tests)}", flush=True)
            if status != PASSED:
                unsound[tests] = (status, text, seconds)
        sound = [fault for fault in faults if fault.tests not in unsound]
        outcomes = pool.map(run, [fault.tests for fault in sound], sound)
        for fault in faults:
            status, text, seconds = unsound.get(fault.tests) or next(outcomes)
            caught = status == FAILED and fault.tests not in unsound
            verdict = "caught" if caught else "NOT CAUGHT" if status == PASSED else f"STATUS {status}"
            print(f"{fault.number:4}  {verdict} {seconds:5.1f} s  {fault.file}: {fault.what}", flush=True)
            if not caught:
                missed += 1
                print(text, flush=True)
    print(f"{len(faults) - missed} of {len(faults)} faults are caught")
    return not missed


def as_table(faults: list[Fault]) -> str:
    """The list as a table in Markdown."""
    rows = [f"| {f.what} | `{f.file.removeprefix('src/itm/')}` | `{' '.join(f.tests)}` |" for f in faults]
    return "\n".join(["| fault | file | caught by |", "|---|---|---|", *rows])


def main() -> None:
    """Run the command line; status 1 when a fault is not caught."""
    parser = argparse.ArgumentParser(prog="python tests/mutants", description="Do the tests notice planted faults?")
    parser.add_argument("chosen", nargs="*", help="numbers, or words of a fault's file or description; all without")
    parser.add_argument("--jobs", type=int, default=2, help="copies that are tested side by side")
    parser.add_argument("--checkout", type=Path, default=ROOT, help="the project whose tests are tried")
    parser.add_argument("--markdown", action="store_true", help="print the list as a table and run nothing")
    options = parser.parse_args()
    faults, words = read_faults(), options.chosen
    if words:
        faults = [f for f in faults if any(str(f.number) == w or w in f"{f.file} {f.what}" for w in words)]
    if options.markdown:
        print(as_table(faults))
        return
    try:
        for fault in faults:
            fault.planted_in((options.checkout / fault.file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    sys.exit(not try_all(faults, options.checkout, options.jobs))


if __name__ == "__main__":
    main()
