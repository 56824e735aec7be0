"""The package as people install it: each set of dependencies works alone, and a project is made from the wheel."""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]

# Run as `python -c`: hides every package that is not among those named, then runs the command line or a script.
ALONE = """
import json, sys
from importlib.machinery import PathFinder
hidden = frozenset(json.loads(sys.argv.pop(1)))
class Rest(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in hidden else PathFinder.find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Rest
script = sys.argv.pop(1)
if script:
    exec(script)
else:
    from itm.cli import main
    sys.argv[0] = "itm"
    main()
"""


@functools.cache
def with_all_they_need(*names):
    """The distributions that an installation of these requirements brings here, as canonical names."""
    found, waiting = set(), [Requirement(name) for name in names]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name == canonicalize_name(PROJECT["name"]):
            waiting += [Requirement(each) for extra in requirement.extras for each in EXTRAS[extra]]
            continue
        key = (name, *sorted(requirement.extras))
        if key in found:
            continue
        found.add(key)
        try:
            stated = requires(name) or []
        except PackageNotFoundError:  # for another platform
            continue
        for each in map(Requirement, stated):
            environments = [{"extra": extra} for extra in (*requirement.extras, "")]
            if each.marker is None or any(each.marker.evaluate(environment) for environment in environments):
                waiting.append(each)
    return {key[0] for key in found}


@functools.cache
def hidden(*extras):
    """The modules of this environment that an installation with these extras would not have."""
    there = with_all_they_need(*PROJECT["dependencies"], *(each for extra in extras for each in EXTRAS[extra]))
    modules = packages_distributions()
    beside = {
        name
        for name, packages in modules.items()
        if not any(canonicalize_name(package) in there for package in packages)
    }
    return json.dumps(sorted(beside - {"itm", "_virtualenv", "_distutils_hack", "pkg_resources", "setuptools"}))


def alone(extras, *words, script="", folder):
    """A command line, or a script, as in an environment of the core with these extras alone."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "COLUMNS": "120"}
    return subprocess.run(
        [sys.executable, "-c", ALONE, hidden(*extras), script, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


WORKS = [
    # extras, words, what is printed
    ((), "--help", "Image-text matching that knows degrees"),
    ((), "--version", "graded-itm"),
    ((), "presets", "fine-tuned"),
    ((), "methods", "ditm-order"),
    ((), "benchmarks", "hierarcaps"),
    ((), "data list", "Flickr8k"),
    ((), "evaluate --benchmark list", "eccv"),
    ((), "score --help", "Usage"),
    ((), "compare --help", "Usage"),
    (("train",), "plan smoke data=scenes", "train"),
]
LACKS = [
    # extras, words, the extra that is named
    ((), "preset scenes", "train"),
    ((), "index models/x --images photos --out y", "explore"),
    ((), "explore models/x --images photos", "explore"),
    ((), "doctor", "pipeline"),
    ((), "evaluate --benchmark hierarcaps --model open_clip:RN50", "open.clip"),
    ((), "evaluate --benchmark hierarcaps --model hf:x", "hub"),
    ((), "evaluate --benchmark hierarcaps --model st:x", "model"),
    ((), "new project", "train"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("extras", "words", "printed"), WORKS, ids=lambda each: str(each))
def test_what_a_set_is_for_works_with_it_alone(tmp_path, extras, words, printed):
    done = alone(extras, *words.split(), folder=tmp_path)
    assert (done.returncode, printed in done.stdout) == (0, True), done.stderr + done.stdout
    assert list(tmp_path.iterdir()) == []


def write_chains(folder):
    """HierarCaps with a thousand photos: a benchmark's own file."""
    folder.mkdir(parents=True)
    rows = [f"{row},a => a b => a b c => a b c {row},x/{row}.jpg" for row in range(1000)]
    (folder / "hierarcaps_test.csv").write_text("\n".join(["id,captions,image_url", *rows, ""]))


@pytest.mark.slow
def test_the_core_is_enough_for_embeddings_and_items(tmp_path):
    write_chains(tmp_path / "own")
    script = """
import itm, numpy as np
from itm.cli import main
class Lengths:
    def encode_text(self, texts):
        return np.array([[len(text) + 1.0, 1.0] for text in texts])
print(itm.evaluate(Lengths(), "hierarcaps", annotations="own", keep="kept").metrics)
for words in ("--items", "--embeddings kept/hierarcaps-texts.safetensors --trec trec"):
    sys.argv = ["itm", *f"evaluate --benchmark hierarcaps --annotations own {words}".split()]
    try:
        main()
    except SystemExit as done:
        print("status", done.code)
assert not {"torch", "pandas", "PIL"} & set(sys.modules)
"""
    done = alone((), script=script, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "{'hierarcaps': {'tau_d': 1.0}}" in done.stdout
    assert "hierarcaps,text,4," in done.stdout
    assert "no benchmark here has runs to write" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("extras", "words", "named"), LACKS, ids=lambda each: str(each))
def test_a_command_that_lacks_a_package_names_the_extra(tmp_path, extras, words, named):
    if words in ("doctor", "preset scenes"):
        shutil.copytree(ROOT / "conf", tmp_path / "conf")
        shutil.copy(ROOT / "dvc.yaml", tmp_path)
        shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "photos").mkdir()
    write_chains(tmp_path / "data/raw")
    done = alone(extras, *words.split(), folder=tmp_path)
    assert done.returncode == 1
    assert re.fullmatch(
        rf"itm: this needs the package \S+, which is not installed: pip install 'graded-itm\[{named}\]'\n", done.stderr
    ), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("extra", "modules"),
    [
        ("model", "itm.model"),
        ("explore", "itm.model, itm.index.gallery, itm.index.graph, itm.explore.app, itm.explore.start"),
        ("train", "itm.training.loop, itm.data.clean.run, itm.text.tables, itm.encode, itm.report.page, itm.features"),
        ("open_clip", "itm.towers.open_clip_model, open_clip, itm.adapters"),
        ("hub", "itm.adapters, transformers"),
    ],
)
def test_what_an_extra_is_for_can_be_imported_with_it_alone(tmp_path, extra, modules):
    done = alone((extra,), script=f"import {modules}", folder=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_core_is_enough_for_metrics_and_descriptiveness(tmp_path):
    script = """
import itm, itm.metrics
from itm.errors import InstallError
from itm.text.descriptiveness import descriptiveness
assert not {"torch", "pandas", "PIL"} & set(sys.modules)
try:
    itm.load("models/none")
except InstallError as error:
    print(error)
"""
    done = alone((), script=script, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "pip install 'graded-itm[model]'" in done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built, and unpacked as pip would."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, check=True)
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder / "site")
    return built, folder / "site"


@pytest.mark.slow
@pytest.mark.xdist_group("wheel")
def test_the_wheel_holds_a_whole_project_and_says_what_it_needs(wheel):
    built, site = wheel
    names = zipfile.ZipFile(built).namelist()
    assert "itm/py.typed" in names
    tracked = subprocess.run(
        ["git", "ls-files", "conf", "workflow", "data", "src", ".dvc", "dvc.yaml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    there = {"data/README.md"}
    missing = [name for name in tracked if name not in there and not _in_wheel(name, names)]
    assert missing == []
    assert [name for name in names if "__pycache__" in name or name.startswith(("tests", "results"))] == []
    metadata = (next(site.glob("*.dist-info")) / "METADATA").read_text()
    for extra in EXTRAS:
        assert f"Provides-Extra: {extra.replace('_', '-')}" in metadata


def _in_wheel(name, names):
    return (name.removeprefix("src/") if name.startswith("src/") else f"itm/project/{name}") in names


@pytest.mark.slow
@pytest.mark.xdist_group("wheel")
def test_a_project_made_from_the_wheel_is_one_for_both_runners(wheel, tmp_path):
    _, site = wheel
    environment = {**os.environ, "PYTHONPATH": str(site), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def run(*words, folder=tmp_path):
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    itm = (sys.executable, "-m", "itm.cli")
    assert "dvc repro" in run(*itm, "new", "mine", "--preset", "smoke data=scenes")
    mine = tmp_path / "mine"
    assert run("git", "status", "--porcelain", folder=mine).count("??") > 3
    assert "valid" in run(*itm, "check", folder=mine)
    del environment["PYTHONPATH"]  # a stage takes the project's own code
    run("dvc", "repro", "--quiet", "download", folder=mine)
    assert (mine / "data/raw/scenes").is_dir()
    assert "Nothing to be done" not in run("snakemake", "-n", folder=mine)
    again = subprocess.run([*itm, "new", "mine"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert "not an empty folder" in again.stderr


# what the core is tested with elsewhere: a lowest and a highest set on the Pythons that people have
PYTHONS = [("3.11", "lowest-direct"), ("3.12", "highest"), ("3.13", "highest")]
BY_THE_CORE = ["counts", "descriptiveness", "expected_fit", "normalisation", "tokens", "validity", "stream"]


@pytest.mark.long
@pytest.mark.parametrize(("number", "resolution"), PYTHONS)
def test_the_core_passes_its_tests_in_an_environment_of_its_own(wheel, tmp_path, number, resolution):
    """Installs from the package index; the tests of metrics and texts, without anything that the core lacks."""
    built, _ = wheel
    uv = shutil.which("uv") or shutil.which("uv", path=ROOT / ".tools/bin")
    interpreter = next(Path.home().glob(f".pyenv/versions/{number}.*/bin/python"), shutil.which(f"python{number}"))
    if uv is None or interpreter is None:
        pytest.skip(f"no {'uv' if uv is None else f'Python {number}'} on this machine")
    python = tmp_path / "venv/bin/python"

    def run(*words):
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    tools = ("pytest>=8", "hypothesis>=6.100", "scikit-learn>=1.7")
    install = (uv, "pip", "install", "--quiet", "--python", python)
    run(uv, "venv", "--quiet", "--python", interpreter, tmp_path / "venv")
    run(*install, "--resolution", resolution, "-r", ROOT / "pyproject.toml", *tools)
    run(*install, "--no-deps", built)
    assert "flickr8k" in run(python.with_name("itm"), "presets")
    for room, files in (("metrics", [""]), ("text", [f"test_{name}.py" for name in BY_THE_CORE])):
        tests = ROOT / "tests" / room
        options = ("-q", "-p", "no:cacheprovider", "-c", os.devnull, "--import-mode=importlib", "--confcutdir", tests)
        assert "passed" in run(python, "-m", "pytest", *options, *(tests / file for file in files))
