"""What is printed where there is no terminal, a narrow one, or one of another encoding; markup in data."""

from __future__ import annotations

import io
import os
import pty
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from itm import cli
from itm.console import console, table

TASKS = ("the-first-of-two-very-long-names-of-tasks", "übersetzt [/red] :smile: \x1b[31m")


def ranks(path: Path, hits: int) -> Path:
    rows = [(task, str(query), float(query >= hits) * 99) for task in TASKS for query in range(8)]
    task, query, value = zip(*rows, strict=True)
    columns = {"task": task, "query_id": query, "group_id": query, "value": value}
    pq.write_table(pa.table(columns | {"benchmark": ["own"] * len(rows), "metric": ["rank"] * len(rows)}), path)
    return path


def printed(monkeypatch: pytest.MonkeyPatch, encoding: str, *words: object) -> str:
    """What `itm` writes to a pipe of an encoding."""
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "argv", ["itm", *map(str, words)])
    monkeypatch.setenv("COLUMNS", "40")
    with pytest.raises(SystemExit, match=r"^(0|None)$"):
        cli.main()
    out.flush()
    return out.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_a_pipe_has_whole_names_in_any_encoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    files = ranks(tmp_path / "a – б.parquet", 2), ranks(tmp_path / "b.parquet", 5)
    text = printed(monkeypatch, encoding, "compare", *files, "--samples", 20)
    first = {"ascii": r"\xfcbersetzt", "cp1252": "übersetzt", "utf-8": "übersetzt"}[encoding]
    for task in (TASKS[0], rf"{first} [/red] :smile: \x1b[31m"):
        for k in (1, 5, 10):
            (line,) = (line for line in text.splitlines() if f"own/{task}/r{k} " in line)
            assert "0.2500" in line
    assert ("б" in text) == (encoding == "utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize(
    "words", [("evaluate", "--benchmark", "list"), ("plan", "scenes-smoke"), ("presets",), ("data", "list"), ("runs",)]
)
def test_no_table_needs_an_encoding(monkeypatch: pytest.MonkeyPatch, encoding: str, words: tuple[str, ...]) -> None:
    assert len(printed(monkeypatch, encoding, *words)) > 200


def test_a_narrow_terminal_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setenv("COLUMNS", "20")
        console().print(table(("metric", "A"), [(f"retrieval/images/r{k}", "0.25") for k in (1, 5, 10)], right=(1,)))
        terminal.flush()
        text = os.read(ours, 4096).decode()
    os.close(ours)
    names = "".join(line.split()[0] for line in text.replace("0.25", "").splitlines()[1:] if line.strip())
    assert names == "".join(f"retrieval/images/r{k}" for k in (1, 5, 10))
