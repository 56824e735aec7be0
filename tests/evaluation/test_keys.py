"""Keys of metrics: one spelling in what is read, printed and asked for."""

import math

import pytest

from itm.errors import ConfigError, DataError
from itm.evaluation.keys import chosen_keys, flat_metrics, metric_lines

KNOWN = ["retrieval/i2t/r1", "retrieval/i2t/r10", "retrieval/t2i/r1", "retrieval/rsum", "cxc/sits/spearman"]


def test_nested_metrics_by_hand() -> None:
    found = flat_metrics({"cxc": {"i2t": {"r1": 1, "answerable": {"r1": None}}, "none": {}}, "rsum": 2.5})
    assert list(found) == ["cxc/i2t/r1", "cxc/i2t/answerable/r1", "rsum"]
    assert math.isnan(found.pop("cxc/i2t/answerable/r1"))
    assert found == {"cxc/i2t/r1": 1, "rsum": 2.5}
    assert flat_metrics({}) == {}
    assert metric_lines({}) == []
    with pytest.raises(DataError, match="i2t/r1: expected a number, found str"):
        flat_metrics({"i2t": {"r1": "high"}})


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], []),
        (["*"], KNOWN),
        (["retrieval/rsum", "retrieval"], [KNOWN[3], *KNOWN[:3]]),
        (["retrieval/*/r1"], [KNOWN[0], KNOWN[2]]),
        (["retrieval/i2t/r1"], [KNOWN[0]]),  # not r10
        (["cxc/sits"], [KNOWN[4]]),
    ],
)
def test_keys_that_names_stand_for(names: list[str], expected: list[str]) -> None:
    assert chosen_keys(names, KNOWN) == expected


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("retrieval.i2t.r1", "no metric 'retrieval.i2t.r1'; did you mean 'retrieval/i2t/r1'?"),
        ("retrieval.*.r1", "did you mean 'retrieval/*/r1'?"),
        ("cxc.sits", "did you mean 'cxc/sits'?"),
        ("retreival.rsum", "did you mean 'retrieval/rsum'?"),
        ("x", "no metric 'x'; there are retrieval/i2t/r1, retrieval/i2t/r10, retrieval/t2i/r1 and 2 more"),
        ("", "no metric ''; there are"),
        ("retrieval/", "did you mean"),
    ],
)
def test_other_spellings_are_told_the_right_one(name: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        chosen_keys(["*", name], KNOWN)
    assert message in str(caught.value)
