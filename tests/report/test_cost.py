"""The cost of a similarity stands in both pages where a method looks at pairs, and nowhere else."""

from dataclasses import replace

import pytest

from itm.report.page import build_page
from itm.report.render import to_html, to_markdown
from itm.report.results import collect
from itm.report.training import Cost, costs

DOT = {"similarity": "dot", "width": 128}
PAIRWISE = {"similarity": "pairwise", "width": 128, "multiply_adds_a_pair": 34138, "scored_pairs": 50000}
SHORT = PAIRWISE | {"shortlist": {"candidates": 50, "recall": {"i2t": 0.9, "t2i": 0.95}}}


def results_of(space, **protocols):
    parameters = space.changed()
    found = collect(space.runs, space.evaluations, parameters.methods, parameters.seeds, parameters.benchmarks)
    changed = {key: value | protocols.get(key[0], {}) for key, value in found.protocols.items()}
    return replace(found, protocols=changed)


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        (PAIRWISE, Cost("ditm", "pairwise", "34,138", "all pairs")),
        (
            SHORT,
            Cost("ditm", "pairwise", "34,138", "the best 50 stand-ins; an answer among them: i2t 90.0 %, t2i 95.0 %"),
        ),
    ],
)
def test_a_row_a_method(finished, protocol, expected):
    assert costs(results_of(finished, clip=DOT, ditm=protocol)) == [Cost("clip", "dot", "128", "all pairs"), expected]


def test_nothing_where_all_score_by_inner_product(finished):
    assert costs(results_of(finished, clip=DOT, ditm=DOT)) == []


@pytest.mark.slow
def test_both_pages_show_it(finished, monkeypatch):
    monkeypatch.setattr("itm.report.compare.SAMPLES", 50)
    parameters = finished.changed()
    for protocol, shown in ((SHORT, True), (DOT, False)):
        results = results_of(finished, clip=DOT, ditm=protocol)
        page = build_page(results, parameters, finished.clean, finished.scored, finished.root)
        for text in (to_html(page), to_markdown(page)):
            assert ("What a similarity costs" in text) == shown
            assert ("34,138" in text) == shown
