"""What a calibrator says of pairs, what it refuses, and what it writes."""

import json
import subprocess
import sys

import numpy as np
import pytest

from itm.errors import DataError, MetricError, ModelError, ProjectError
from itm.grading import Calibrator

LOW, HIGH = 0.0, 1.0


@pytest.fixture
def small():
    """Two similarities, two descriptivenesses: r(0) = -2 and -1, r(1) = 1 and 3; pi = 1/2 and 1/8."""
    return Calibrator(
        LOW, HIGH, np.array([1.0, 3.0]), np.array([[-2.0, -1.0], [1.0, 3.0]]), np.log([0.5, 0.125]), "m", "i"
    )


def cap(x):
    return (x - np.sqrt(x * x + 0.01)) / 2


def by_hand(calibrator, s, d):
    """One pair, by loops: log P straight between the nearest of five similarities and of the knots' descriptiveness."""
    places = np.linspace(calibrator.low, calibrator.high, 4 * (len(calibrator.ratio) - 1) + 1)
    known = np.linspace(calibrator.low, calibrator.high, len(calibrator.ratio))
    at_knots = []
    for knot in range(len(calibrator.knots)):
        r = [float(np.interp(place, known, calibrator.ratio[:, knot])) for place in places]
        at_knots.append(float(np.interp(s, places, [cap(one + calibrator.log_prior[knot]) for one in r])))
    return float(np.interp(d, calibrator.knots, at_knots))


def test_probability_and_grade_worked_by_hand(small):
    assert small.probability(1.0, 1.0) == pytest.approx(np.exp(cap(1 + np.log(0.5))))
    assert small.probability(0.0, 3.0) == pytest.approx(np.exp(cap(-1 + np.log(0.125))))
    both = [cap(1 + np.log(0.5)), cap(3 + np.log(0.125))]
    assert small.probability(1.0, 2.0) == pytest.approx(np.exp(np.mean(both)))  # straight in d, as a logarithm
    assert small.grade(1.0, 3.0, specificity=1.0) == pytest.approx(both[1] - np.log(0.125))
    assert small.prior([0.0, 1.0, 2.0, 3.0, 9.0]) == pytest.approx([0.5, 0.5, 0.25, 0.125, 0.125])


def test_equals_loops_over_pairs(world):
    calibrator, rng = world.calibrator, np.random.default_rng(1)
    s, d = rng.uniform(calibrator.low, calibrator.high, 50), rng.uniform(0, 6, 50)
    expected = [by_hand(calibrator, *pair) for pair in zip(s.tolist(), d.tolist(), strict=True)]
    assert calibrator.grade(s, d) == pytest.approx(expected, abs=1e-12)


def test_multiplicity_sums_probabilities(small):
    s = np.array([[0.2, 0.4], [0.9, 0.1], [0.5, 0.5]])
    found = small.multiplicity(s, [1.0, 3.0])
    assert found.expected == pytest.approx(small.probability(s, [1.0, 3.0]).sum(axis=0))
    assert found.prior == pytest.approx([1.5, 0.375])
    one = small.multiplicity(s[:, 0], 1.0)
    assert (one.expected, one.prior) == (pytest.approx(found.expected[0]), pytest.approx(1.5))


def test_shapes_and_types(small):
    found = small.probability(np.zeros((3, 2), dtype=np.float16), np.ones(2, dtype=np.int8))
    assert found.shape == (3, 2)
    assert found.dtype == small.grade(0, 1).dtype == small.prior(1).dtype == np.float64
    assert small.probability([], []).shape == (0,)


def test_it_rises_with_similarity_wherever_one_looks(world):
    calibrator = world.calibrator
    s = np.linspace(calibrator.low - 0.5, calibrator.high + 0.5, 5001)
    for d in (-9.0, 0.5, 2.2, 4.0, 99.0):
        for specificity in (0.0, 1.5):
            assert (np.diff(calibrator.grade(s, np.full(len(s), d), specificity)) > 0).all()
    extreme = calibrator.probability([-1e9, 1e9], [2.0, 2.0])
    assert 0 <= extreme[0] < 1e-6
    assert 0.9 < extreme[1] <= 1


def test_what_is_written_is_read_and_is_small(world, tmp_path):
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    world.calibrator.save(first)
    found = Calibrator.load(first, model="a model", idf="an idf")
    found.save(second)
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size < 10_000
    s, d = world.s[:20, :20], world.d[:20]
    assert (found.probability(s, d) == world.calibrator.probability(s, d)).all()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"model": "other"}, "fitted for the model 'a model', not for 'other'.*fit one for it"),
        ({"idf": "other"}, "fitted for the idf table 'an idf', not for 'other'"),
    ],
)
def test_another_models_is_refused(world, tmp_path, names, message):
    world.calibrator.save(tmp_path / "grade.json")
    with pytest.raises(ModelError, match=message):
        Calibrator.load(tmp_path / "grade.json", **names)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda stored: stored.update(itm_grade=2), "not a calibrator of version 1 .found: 2."),
        (lambda stored: stored.pop("itm_grade"), "not a calibrator of version 1 .found: None."),
        (lambda stored: stored.pop("log_prior"), "damaged .'log_prior'.; `itm grade fit` writes one"),
        (lambda stored: stored["log_prior"].pop(), "no fit"),
        (lambda stored: stored["log_prior"].__setitem__(0, 0.5), "a prior is above 1"),
        (lambda stored: stored["log_prior"].__setitem__(0, float("nan")), "not finite"),
        (lambda stored: stored["log_ratio"][0].reverse(), "must rise"),
        (lambda stored: stored["log_ratio"][0].pop(), "damaged .*inhomogeneous"),
        (lambda stored: stored.update(similarity=[1.0]), "damaged .*unpack"),
        (lambda stored: stored.update(similarity=[2.0, 1.0]), "low >= high"),
    ],
)
def test_a_damaged_file_is_refused(world, tmp_path, change, message):
    path = tmp_path / "grade.json"
    world.calibrator.save(path)
    stored = json.loads(path.read_text())
    change(stored)
    path.write_text(json.dumps(stored))
    with pytest.raises(DataError, match=message) as caught:
        Calibrator.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", ["", "[]", "7", "{"])
def test_what_is_no_calibrator_is_refused(tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(DataError, match=r"x\.json"):
        Calibrator.load(tmp_path / "x.json")
    with pytest.raises(DataError, match="no such file; `itm grade fit` writes one"):
        Calibrator.load(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: c.probability([0.1, np.nan], 1.0), "1 of 2 similarities are NaN or infinite"),
        (lambda c: c.probability(0.1, [np.inf]), "1 of 1 values of descriptiveness are NaN or infinite"),
        (
            lambda c: c.probability(np.zeros((2, 3)), np.zeros(2)),
            r"shape \(2, 3\) do not fit .* expected one d",
        ),
        (lambda c: c.probability("much", 1.0), "must be numbers"),
        (lambda c: c.grade(0.1, 1.0, np.nan), "the specificity is nan"),
        (lambda c: c.multiplicity(np.zeros((2, 3)), 1.0), r"expected \[images\] and one"),
        (lambda c: c.multiplicity(0.5, 1.0), r"expected \[images\] and one"),
        (lambda c: c.multiplicity([], 1.0), r"expected \[images\] and one"),
        (lambda c: c.prior(np.nan), "1 of 1 values of descriptiveness"),
    ],
)
def test_bad_input_is_refused(small, call, message):
    with pytest.raises(MetricError, match=message) as caught:
        call(small)
    assert isinstance(caught.value, ProjectError)


def test_it_is_light_to_import():
    code = "import sys, itm.grading; print(*{'torch', 'scipy', 'sklearn', 'pyarrow', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
