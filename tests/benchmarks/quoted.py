"""Commands that pages quote, and what is wrong with them, told without running them."""

import io
import re
import shlex
import sys
from contextlib import redirect_stderr
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from itm import cli
from itm.config.presets import compose
from itm.errors import ProjectError

ROOT = Path(__file__).parents[2]
OURS = re.compile(r"(?:\w+=\S* )*(?:chrt -r \d+ )?(?:python (?:benchmarks/|-m tests)|itm |pytest |make |\.ci/run)")
WITH_VALUE = ("-m", "-k", "-n", "--dist")
"""Options of pytest that the next word belongs to."""


def quoted(text: str) -> list[str]:
    """Commands of ours in a page: lines of its untagged code blocks, and code spans."""
    fence = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
    lines = [line.strip() for tag, block in fence.findall(text) if not tag for line in block.splitlines()]
    return [each for each in [*lines, *re.findall(r"`([^`]+)`", fence.sub("", text))] if OURS.match(each)]


def fault(command: str) -> str:
    """Why a command would be refused; "" for a right one, and for programs that are not ours."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="&|;")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word.strip("&|;"):
            words.append(word)
        elif found := _fault(words):
            return found
        else:
            words = []
    return ""


def _fault(words: list[str]) -> str:
    while words and (re.match(r"\w+=", words[0]) or words[0] in ("chrt", "-r", "1")):
        words = words[1:]
    checks = {"python": _python, "itm": _itm, "pytest": _pytest, "make": _make, ".ci/run": _steps}
    return checks[words[0]](words[1:]) if words and words[0] in checks else ""


def _python(words: list[str]) -> str:
    if words[0] == "-m":
        place = ROOT / words[1].replace(".", "/")
        return "" if (place / "__main__.py").is_file() else f"no module {words[1]}"
    script = ROOT / words[0]
    if not script.is_file():
        return f"no script {words[0]}"
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            _module(script).parser().parse_args(words[1:])
    except SystemExit:
        return said.getvalue().splitlines()[-1]
    return ""


@cache
def _module(script: Path):
    """A script of benchmarks/, whose modules import each other by name."""
    if str(script.parent) not in sys.path:
        sys.path.append(str(script.parent))
    spec = spec_from_file_location(f"quoted_{script.stem}", script)
    module = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _itm(words: list[str]) -> str:
    if words[0] not in {command.name for command in cli.app.registered_commands}:
        return f"no command itm {words[0]}"
    if words[0] == "preset":
        try:
            compose(words[1], [word for word in words[2:] if not word.startswith("-")], root=ROOT)
        except ProjectError as error:
            return str(error)
    return ""


def _pytest(words: list[str]) -> str:
    paths = [word for before, word in zip(["", *words], words, strict=False) if before not in WITH_VALUE]
    paths = [word.split("::")[0] for word in paths if not word.startswith("-")]
    return ", ".join(f"no tests {path}" for path in paths if not (ROOT / path).exists())


def _make(words: list[str]) -> str:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    return ", ".join(f"no target {word}" for word in words if "=" not in word and word not in targets)


def _steps(words: list[str]) -> str:
    steps = re.findall(r"known: ([a-z ]+)", (ROOT / ".ci/run").read_text())[0].split()
    return ", ".join(f"no step {word}" for word in words if word not in steps)
