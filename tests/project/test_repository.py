"""What the repository must not hold, and what its frame must."""

import hashlib
import re
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]


def tracked_files():
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def texts():
    for file in tracked_files():
        try:
            yield file.relative_to(ROOT), file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def test_no_registry_host_and_no_path_of_a_machine():
    hosts = "|".join([r"pypi\.(org|python)", r"files\.pythonhosted", r"conda\.anaconda\.org", r"--(extra-)?index-url"])
    forbidden = re.compile(rf"{hosts}|/home/[a-z]|/Users/[A-Za-z]|/root/|(?<![.\w])/work/")
    found = [f"{file}: {hit[0]}" for file, text in texts() for hit in [forbidden.search(text)] if hit]
    assert [line for line in found if not line.startswith("tests/project/test_repository.py")] == []


def test_no_photo_archive_or_weight_is_tracked():
    suffixes = {".jpg", ".jpeg", ".zip", ".tar", ".gz", ".safetensors", ".pt", ".npz", ".parquet"}
    found = [str(file.relative_to(ROOT)) for file in tracked_files() if file.suffix in suffixes]
    # small inputs and outputs of the authors' code: numbers, no trained weights
    assert [file for file in found if not file.startswith("tests/methods/reference/numbers/")] == []


def test_large_files_are_only_those_known():
    large = {str(file.relative_to(ROOT)) for file in tracked_files() if file.stat().st_size > 300_000}
    assert large <= {"requirements.lock", "report.html", "dvc.lock"}


@pytest.mark.parametrize("tool", ["ruff-check", "ruff-format", "snakefmt", "lint-imports", "mypy", "lint-workflow"])
def test_the_commit_hooks_run_the_checks_of_make_lint(tool):
    hooks = {
        hook["id"]: hook["entry"]
        for repository in YAML(typ="safe").load(ROOT / ".pre-commit-config.yaml")["repos"]
        for hook in repository["hooks"]
    }
    program = " ".join(hooks[tool].split()[:2]).removeprefix(".venv/bin/")
    makefile = (ROOT / "Makefile").read_text()
    assert program.split(" -")[0] in makefile


def test_dvc_does_not_compose_conf_by_itself():
    assert "hydra" not in (ROOT / ".dvc" / "config").read_text()


def test_the_licence_is_the_one_that_the_metadata_names():
    licence = (ROOT / "LICENSE").read_text()
    assert "Apache License" in licence
    assert "END OF TERMS AND CONDITIONS" in licence
    assert 'license = "Apache-2.0"' in (ROOT / "pyproject.toml").read_text()


def test_the_citation_names_the_papers_and_the_data_sets():
    citation = YAML(typ="safe").load(ROOT / "CITATION.cff")
    assert {"cff-version", "title", "message", "authors", "references"} <= set(citation)
    urls = " ".join(reference.get("url", "") for reference in citation["references"])
    for number in ("2505.09997", "2507.08590", "2507.09256", "2407.08521"):
        assert f"arxiv.org/abs/{number}" in urls
    titles = " ".join(reference["title"] for reference in citation["references"])
    for words in ("Enhanced Semantic Similarity", "Ranking Task", "Crisscrossed Captions", "Common Objects in Context"):
        assert words in titles
    for reference in citation["references"]:
        assert {"type", "title", "authors", "year"} <= set(reference)


@pytest.mark.slow
def test_a_clone_with_windows_line_ends_has_the_same_bytes(tmp_path):
    """Stages and `itm verify` go by checksums; params.yaml is written here, as a command on such a machine would."""
    windows = ["-c", "core.autocrlf=true", "-c", "core.eol=crlf"]
    clone = tmp_path / "clone"
    subprocess.run(["git", *windows, "clone", "-q", "--no-local", "--depth=1", f"file://{ROOT}", clone], check=True)

    def git(*words):
        return subprocess.run(["git", *windows, *words], cwd=clone, capture_output=True, check=True).stdout

    (clone / "params.yaml").write_bytes((clone / "params.yaml").read_bytes())
    assert git("status", "--porcelain") == b""
    entries = [entry.split(b"\t") for entry in git("ls-tree", "-r", "-z", "HEAD").split(b"\0") if entry]
    assert len(entries) > 400
    changed = []
    for facts, name in entries:
        content = (clone / name.decode()).read_bytes()
        stored = hashlib.sha1(b"blob %d\0%s" % (len(content), content)).hexdigest()
        changed += [name] * (stored != facts.split()[2].decode())
    assert changed == []
