"""A quick fork (tests/warm.py) does what a Python of its own does."""

import os
import select
import signal
import subprocess
import sys

import pytest
import warm

pytestmark = pytest.mark.slow

PROGRAMS = {
    "arguments": "import sys; print(sys.argv, sys.path[0] == sys.path[0]); print('é', file=sys.stderr)",
    "folder and environment": "import os; print(os.getcwd(), os.environ['WORD'], os.environ.get('HOME'))",
    "input": "import sys; print(sys.stdin.read()[::-1])",
    "path": "import sys; print([p for p in sys.path if p.endswith('elsewhere')])",
    "module main": "import __main__; x = 1; print(__main__.x, __name__)",
    "status": "import sys; sys.exit(3)",
    "message": "raise SystemExit('no')",
    "at exit": "import atexit; atexit.register(print, 'late'); print('early')",
    "threads": "import threading, time; threading.Timer(0.05, print, ['from a thread']).start(); print('first')",
    "binary": "import sys; sys.stdout.buffer.write(bytes(range(256)) * 1000)",
    "killed": "import os; print('before', flush=True); os.kill(os.getpid(), 9)",
}


def run(python, *arguments, **options):
    given = {"input": b"abc", "env": {**os.environ, "WORD": "w", "PYTHONPATH": "elsewhere"}, **options}
    done = subprocess.run([python, *arguments], capture_output=True, check=False, **given)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def python():
    return f"{warm.commands()}/python"


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_fork_does_what_a_process_does(python, program, tmp_path):
    given = ("-c", PROGRAMS[program], "one", "--two", "drei vier")
    assert run(python, *given, cwd=tmp_path) == run(sys.executable, *given, cwd=tmp_path)


def test_modules_and_files_are_run_as_main(python, tmp_path):
    (tmp_path / "program.py").write_text("import sys, other; print(__name__, sys.argv, other.x)\n")
    (tmp_path / "other.py").write_text("x = 5\n")
    for given in (["-m", "program", "-v"], ["program.py", "-v"]):
        assert run(python, *given, cwd=tmp_path) == run(sys.executable, *given, cwd=tmp_path)


def test_a_fault_has_its_traceback_and_status(python):
    status, _, said = run(python, "-c", "1 / 0")
    assert status == 1
    assert b"ZeroDivisionError" in said


def test_no_code_of_ours_is_there_before_the_programs_own(python, tmp_path):
    (tmp_path / "elsewhere/itm").mkdir(parents=True)
    (tmp_path / "elsewhere/itm/__init__.py").write_text("where = 'here'\n")
    assert run(python, "-c", "import itm; print(itm.where)", cwd=tmp_path)[1] == b"here\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_signals_reach_the_fork(python, number):
    # short naps: a signal that comes just before a sleep begins is seen when it ends
    program = "import os, time; print(os.getpid(), flush=True)\nfor _ in range(6_000): time.sleep(0.1)"
    process = subprocess.Popen([python, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    pid = int(process.stdout.readline())
    assert pid != process.pid
    watched = os.pidfd_open(pid)
    process.send_signal(number)
    process.wait()
    assert select.select([watched], [], [], 600)[0]  # readable when it has ended
