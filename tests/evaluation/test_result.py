import json

import numpy as np
import pytest

from itm.evaluation.result import Result, id_hash, rounded, write_result


def test_what_is_not_a_number_becomes_null_with_a_warning():
    with pytest.warns(UserWarning, match=r"sts/spearman is not defined"):
        assert rounded({"sts": {"spearman": float("nan")}}, 4) == {"sts": {"spearman": None}}


def test_equal_results_give_equal_bytes(tmp_path):
    result = Result({"r1": 1 / 3, "nothing": -1e-9}, {"rank": np.arange(3)}, {"b": 1, "a": 2})
    for name in ("one", "two"):
        write_result(result, tmp_path / f"{name}.json", tmp_path / f"{name}.npz", 4)
    assert (tmp_path / "one.json").read_text() == '{\n  "nothing": 0.0,\n  "r1": 0.3333\n}\n'
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    with np.load(tmp_path / "one.npz") as stored:
        assert json.loads(str(stored["protocol"])) == {"a": 2, "b": 1}
        assert stored["rank"].tolist() == [0, 1, 2]


def test_the_hash_tells_another_order():
    assert id_hash(np.array([1, 2])) != id_hash(np.array([2, 1]))
    assert len(id_hash(np.array(["a"]))) == 12
