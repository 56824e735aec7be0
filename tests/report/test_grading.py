"""The section on the grade: its curves, its diagram, its example, and pages without any of them."""

import json
import re

import numpy as np
import pytest

from itm.data.files import read_npz, write_npz
from itm.evaluation.result import read_per_query
from itm.report.chance import chance_levels
from itm.report.grading import example, frontier_series, grade_part, reliability_series
from itm.report.page import build_page
from itm.report.render import to_html
from itm.report.results import collect

BENCHMARKS = ["retrieval", "false_negatives", "grading"]


def collected(space, benchmarks=BENCHMARKS):
    return collect(space.runs, space.evaluations, ["clip", "ditm"], [0, 1], benchmarks)


def runs(results):
    return {name: [results.arrays(name, seed, "grading") for seed in results.seeds] for name in results.methods}


def page_of(space, monkeypatch, **keys):
    monkeypatch.setattr("itm.report.compare.SAMPLES", 100)
    parameters = space.changed(**keys)
    found = collect(space.runs, space.evaluations, parameters.methods, parameters.seeds, parameters.benchmarks)
    return build_page(found, parameters, space.clean, space.scored, space.root)


def test_the_frontier_is_the_mean_over_seeds_and_the_similarity_a_point_beside_it(finished):
    results = collected(finished)
    found = {line.name: line for line in frontier_series(runs(results), results)}
    assert list(found) == ["clip", "ditm", "clip, similarity", "ditm, similarity"]
    both = [
        read_npz(finished.evaluations / f"ditm/seed{seed}/grading.npz", "", ["frontier_order", "frontier_map_at_r"])
        for seed in (0, 1)
    ]
    assert found["ditm"].x == pytest.approx((both[0]["frontier_order"] + both[1]["frontier_order"]) / 2)
    assert found["ditm"].y == pytest.approx((both[0]["frontier_map_at_r"] + both[1]["frontier_map_at_r"]) / 2)
    assert len(found["ditm"].x) == 16
    plain = [json.loads((finished.runs / f"clip/seed{seed}/false_negatives.json").read_text()) for seed in (0, 1)]
    assert found["clip, similarity"].y == [pytest.approx(np.mean([each["i2t"]["map_at_r"] for each in plain]))]
    assert found["clip, similarity"].x == [pytest.approx(np.mean([each["order"]["level"] for each in plain]))]
    alone = collected(finished, ["grading"])
    assert [line.name for line in frontier_series(runs(alone), alone)] == ["clip", "ditm"]


def test_the_diagram_shows_what_was_stated_and_what_came_true(finished):
    clip, ditm, stated = reliability_series(runs(collected(finished)))
    assert (clip.name, ditm.name, stated.x, stated.y) == ("clip", "ditm", [0, 1], [0, 1])
    bins = read_npz(finished.evaluations / "clip/seed0/grading.npz", "", ["reliability"])["reliability"]
    assert list(zip(clip.x, clip.y, strict=True)) == [tuple(row) for row in bins[:, :2].tolist()]
    judged = {"a": [{"crowdflower_reliability": np.array([[0.2, 0.1, 3.0]])}], "b": [{}]}
    assert next((line.name, line.x, line.y) for line in reliability_series(judged)) == ("a", [0.2], [0.1])
    assert reliability_series({"b": [{}]}) == []


def test_the_example_is_the_middling_photo_with_the_captions_that_come_first(finished, monkeypatch):
    page = page_of(finished, monkeypatch)
    arrays = read_npz(finished.evaluations / "ditm/seed0/grading.npz", "")
    quality = arrays["specificity_0_map_at_r"]
    image, lists = example(arrays, page.data)
    assert (quality < quality[image]).sum() <= len(quality) // 2 <= (quality <= quality[image]).sum()
    assert (page.grade.image, page.grade.lists, page.grade.method) == (image, lists, "ditm")
    true, most = lists.values()
    texts = [page.data.captions.texts[row] for row in arrays["specificity_1_top"][image].tolist()]
    assert [page.data.captions.texts[told.row] for told in most] == list(dict.fromkeys(texts))  # each once
    chances = [told.probability for told in true]
    assert chances == sorted(chances, reverse=True)
    assert {told.kind for told in true} <= {"labelled", "true", "false"}
    html = to_html(page)
    section = html[html.index('<h2 id="grading">') : html.index('<h2 id="changes">')]
    assert section.count("<figure") == 2
    for told in true:
        assert re.search(rf"<span>{100 * told.probability:.0f}&nbsp;%</span> <bdi>", section)
    assert "What says most (specificity 1)" in section


def test_without_the_benchmark_or_without_grades_there_is_a_page_all_the_same(workspace, monkeypatch):
    data = page_of(workspace, monkeypatch).data
    assert grade_part(collected(workspace, ["retrieval"]), data, "ditm") is None
    for method in ("clip", "ditm"):
        for seed in (0, 1):
            path = workspace.evaluations / method / f"seed{seed}" / "grading.npz"
            arrays = read_npz(path, "")
            kept = ("protocol", "image_ids", "caption_ids", "owners", "half_truth_similarity")
            write_npz(path, {name: arrays[name] for name in kept if name in arrays})
            metrics = {"monotonicity": {"similarity": {"rising": 0.5, "pearson": 0.5}}}
            (workspace.runs / method / f"seed{seed}" / "grading.json").write_text(json.dumps(metrics))
    page = page_of(workspace, monkeypatch)
    assert (page.grade.frontier, page.grade.reliability, page.grade.lists) == ("", "", {})
    assert "One photo, and what" not in to_html(page)


def test_chance_is_that_of_the_other_benchmarks(finished):
    levels = chance_levels(collected(finished), finished.parameters, finished.clean, finished.scored)
    found = levels["grading"]
    for name in ("specificity_0", "specificity_05", "specificity_1"):
        assert found[f"{name}/map_at_r"] == levels["false_negatives"]["i2t/map_at_r"]
        assert found[f"{name}/rsum"] == pytest.approx(levels["retrieval"]["rsum"])
        assert found[f"{name}/order"] == 0
    assert found["probability/average_precision"] == levels["false_negatives"]["threshold/average_precision"]


def test_figures_of_single_images_are_compared_under_the_names_of_the_metrics(finished):
    found = read_per_query(finished.evaluations / "clip")
    metrics = [json.loads((finished.runs / f"clip/seed{seed}/grading.json").read_text()) for seed in (0, 1)]
    for at in ("specificity_0", "specificity_05", "specificity_1"):
        for key in ("map_at_r", "order"):
            mean = np.mean([each[at][key] for each in metrics])
            assert found[f"grading/{at}/{key}"].values.mean() == pytest.approx(mean, abs=1e-4)
    mean = np.mean([each["probability"]["set_f1"] for each in metrics])
    assert found["grading/probability/set_f1"].values.mean() == pytest.approx(mean, abs=1e-4)
