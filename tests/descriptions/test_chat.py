"""The captioner `openai` against a local server that fails in every way."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from chat_server import ChatStub
from described import PLAIN, ask, content, journal_lines, picture

from itm.descriptions.asking import Hints, describe_by_asking
from itm.descriptions.chat import ChatServer
from itm.descriptions.journal import Journal
from itm.errors import ModelError

HERE = Path(__file__).parent
FAULTS = ["timeout", "429", "500", "cut"]


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_got_over_and_nothing_is_described_twice(fault, options):
    pictures = [picture(row) for row in range(5)]
    waits = {"timeout": 1.5, "concurrency": 5} if fault == "timeout" else {}
    with ChatStub([fault]) as stub:
        found, usage = ask(stub, options, pictures, **waits)
        assert all(count == 1 for count in stub.answered.values())
        assert set(stub.asked.values()) == {2}
    assert [one.image_id for one in found] == [one.image_id for one in pictures]
    assert [one.text for one in found] == [f"image {one.sha256[:8]}" for one in pictures]
    assert len(journal_lines()) == 5
    assert (usage.tokens_read, usage.tokens_written) == (500, 50)
    assert usage.cost == pytest.approx((500 + 2 * 50) / 1e6)


@pytest.mark.slow
def test_all_faults_in_a_row_are_got_over(options):
    with ChatStub(["429", "500", "cut", "503"]) as stub:
        found, _ = ask(stub, options, [picture(0), picture(1)], attempts=6)
        assert len(found) == 2
        assert set(stub.asked.values()) == {5}


def test_what_was_answered_is_not_asked_again(options):
    pictures = [picture(row) for row in range(4)]
    with ChatStub() as stub:
        ask(stub, options, pictures[:2])
        found, usage = ask(stub, options, pictures)
        assert set(stub.asked.values()) == {1}
    assert len(found) == 4
    assert usage.tokens_read == 400  # of all, whenever they were asked for


def test_copies_are_asked_about_once(options):
    copies = [picture(0), picture(1, "test", "i0")]
    parameters = options()
    with ChatStub() as stub:
        parameters = options(server=stub.address)
        server = ChatServer(parameters, lambda row: content("i0"), pause=0.01)
        found, _ = describe_by_asking(copies, server, parameters, Hints(), Path("journal"))
        assert sum(stub.asked.values()) == 1
    assert [one.text for one in found] == [f"image {copies[0].sha256[:8]}"] * 2


@pytest.mark.slow
def test_no_more_requests_at_a_time_than_allowed(options):
    three = threading.Barrier(3, timeout=600)

    def wait_for_more() -> None:
        three.wait()
        time.sleep(0.05)  # for a fourth, if there were one

    with ChatStub(before=wait_for_more) as stub:
        ask(stub, options, [picture(row) for row in range(12)], concurrency=3)
        assert stub.most == 3


def test_a_dead_server_stops_the_run_and_keeps_the_answers(options):
    pictures = [picture(row) for row in range(40)]
    with ChatStub() as stub:
        ask(stub, options, pictures[:3])
        address = stub.address
    with pytest.raises(ModelError, match="images in a row had no answer"):
        ask(type("Gone", (), {"address": address})(), options, pictures, attempts=2, concurrency=2)
    assert len(journal_lines()) == 3


@pytest.mark.parametrize(("status", "reason"), [("401", "HTTP 401 no 401"), ("404", "HTTP 404 no 404")])
def test_a_refused_key_or_model_stops_at_once(options, status, reason):
    with ChatStub([status] * 9) as stub:
        with pytest.raises(ModelError, match=reason):
            ask(stub, options, [picture(row) for row in range(40)])
        assert sum(stub.asked.values()) <= 6


def test_an_image_that_is_refused_is_an_error_or_a_gap(options):
    pictures = [picture(0)]
    with ChatStub(["400"] * 9) as stub:
        with pytest.raises(ModelError, match=r"1 of 1 descriptions are missing \(i0: HTTP 400 no 400\)"):
            ask(stub, options, pictures)
        assert ask(stub, options, pictures, missing="zero")[0] == []
        assert sum(stub.asked.values()) == 2  # once a run: asking again would not help


def test_images_that_are_left_are_counted_and_named(options):
    with ChatStub(["500"] * 2) as stub, pytest.raises(ModelError, match="2 of 2 descriptions are missing") as caught:
        ask(stub, options, [picture(0), picture(1)], attempts=2)
    assert "run again, only those missing" in str(caught.value)


def test_the_key_comes_from_the_environment(options, monkeypatch):
    monkeypatch.setenv("MY_API_KEY", "secret")
    with ChatStub() as stub:
        ask(stub, options, [picture(0)], api_key_variable="MY_API_KEY")
        assert stub.keys == {"Bearer secret"}
    assert "secret" not in "".join(journal_lines())
    monkeypatch.delenv("MY_API_KEY")
    with pytest.raises(ModelError, match="MY_API_KEY is not set"):
        ChatServer(options(api_key_variable="MY_API_KEY"), lambda row: b"")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_no_proxy_is_told_what_a_server_of_this_machine_is(options, monkeypatch, host):
    monkeypatch.setenv("MY_API_KEY", "secret")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with ChatStub() as proxy, ChatStub() as stub:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.address.removesuffix("/v1"))
        parameters = options(server=stub.address.replace("127.0.0.1", host), api_key_variable="MY_API_KEY")
        server = ChatServer(parameters, lambda row: content("i0"), pause=0.01)
        found, _ = describe_by_asking([picture(0)], server, parameters, Hints(), Path("journal"))
        assert (proxy.keys, stub.keys, len(found)) == (set(), {"Bearer secret"}, 1)


def test_another_prompt_asks_again_and_has_another_version(options):
    with ChatStub() as stub:
        first, _ = ask(stub, options, [picture(0)])
        second, _ = ask(stub, options, [picture(0)], prompt="Say more.")
        assert sum(stub.asked.values()) == 2
    assert first[0].prompt_id != second[0].prompt_id


def test_published_condition_shows_the_truth_in_training_only(options):
    pictures = [picture(0, "train"), picture(1, "test")]
    with ChatStub() as stub:
        found, _ = ask(
            stub,
            options,
            pictures,
            condition="paper",
            prompt="Say what is seen. Captions: {captions}",
            first_prompt="One caption.",
        )
        prompts = sorted(stub.prompts)
    of_test = f"image {pictures[1].sha256[:8]}"
    assert prompts == [
        "One caption.",
        "Say what is seen. Captions: a dog it runs",
        f"Say what is seen. Captions: {of_test}",
    ]
    assert [one.conditioned_on for one in found] == ["gt_caption", "generated_caption"]


def test_several_samples_are_several_descriptions(options):
    with ChatStub() as stub:
        found, _ = ask(stub, options, [picture(0)], per_image=3, temperature=0.7)
        assert sum(stub.asked.values()) == 3
    assert [one.desc_id for one in found] == [0, 1, 2]


PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from described import PLAIN, content, picture
from itm.config.describe import DescribeParameters
from itm.descriptions.asking import Hints, describe_by_asking
from itm.descriptions.chat import ChatServer
parameters = DescribeParameters.model_validate(PLAIN | {{"server": {address!r}, "timeout": 300.0}})
pictures = [picture(row) for row in range(30)]
server = ChatServer(parameters, lambda row: content(f"i{{row}}"), pause=0.01)
found, usage = describe_by_asking(pictures, server, parameters, Hints(), Path("journal"))
print(len(found), len({{one.image_id for one in found}}), usage.tokens_read)
"""


@pytest.mark.slow
def test_killed_and_started_again(tmp_path):
    program = [sys.executable, "-c", ""]
    answers = threading.Semaphore(0)
    with ChatStub(before=answers.acquire) as stub:
        program[2] = PROGRAM.format(here=str(HERE), address=stub.address)
        kept = 0
        for _ in range(2):
            before = kept
            running = subprocess.Popen(program, cwd=tmp_path)
            answers.release(6 + PLAIN["concurrency"])  # of the second: as many may go to those of the first
            while len(journal_lines()) < before + 6:
                assert running.poll() is None
                time.sleep(0.01)
            os.kill(running.pid, signal.SIGKILL)
            running.wait()
            kept = len(journal_lines())
            assert before < kept < 30
        answers.release(100)
        done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=True)
        answered = stub.answered
    assert done.stdout.split() == ["30", "30", "3000"]
    lines = journal_lines()
    assert len(lines) == 30
    # nothing that reached the journal was asked for again: at most what was on its way at each of the two kills
    assert sum(answered.values()) <= 30 + 2 * PLAIN["concurrency"]


def test_a_line_cut_by_a_kill_is_dropped_and_others_stay(tmp_path):
    path = tmp_path / "j.jsonl"
    with Journal(path) as journal:
        journal.add("a", {"text": "one\u2028line"})
        journal.add("a", {"text": "another"})
    with path.open("ab") as file:
        file.write(b'{"key": "b", "te')
    with Journal(path) as journal:
        assert (len(journal), journal.get("a"), journal.get("b")) == (1, {"text": "one\u2028line"}, None)
        journal.add("b", {"text": "two"})
    with Journal(path) as journal:
        assert journal.get("b") == {"text": "two"}


JOURNAL_LINES = [
    "rubbish",
    "",
    "3",
    "null",
    "[1]",
    "[" * 200_000,
    '{"text": "no key"}',
    '{"key": "b"}',
    '{"key": "b", "text": 3}',
    '{"key": "b", "text": "a dog", "tokens_read": "9"}',
]


def test_a_damaged_line_in_the_middle_is_told(tmp_path):
    from itm.errors import DataError

    path = tmp_path / "j.jsonl"
    for line in JOURNAL_LINES:
        path.write_text(f'{{"key": "a", "text": "a dog"}}\n{line}\n')
        with pytest.raises(DataError, match="line 2 is damaged"), Journal(path):
            pass
