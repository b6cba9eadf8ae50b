"""The service under load: batches that gather, bounds, time-outs, and an end that answers what was taken."""

import json
import signal
import socket
import threading
import time

import pytest
from standin_service import StandIn, ask, ask_at_once, read_count, read_error, save_run, serving, wait_until
from tiny import LABELS

from helpers.deploy.service import Settings, start_service
from helpers.exceptions import SettingError

WORDS = [f"text{i}" + "x" * (i % 3) for i in range(40)]


def labels_of(answers: list) -> list[str]:
    assert [status for status, _, _ in answers] == [200] * len(answers)
    return [json.loads(body)["label"] for _, _, body in answers]


def hold(model: StandIn, url: str) -> tuple[list[threading.Thread], list]:
    """Let the model begin a batch of one text, "held", and not end it; return the client and where its answer goes."""
    model.go.clear()
    held = ask_at_once(url, ["held"])
    wait_until(lambda: model.batches[-1] == ["held"])
    return held


def test_what_waits_while_the_model_computes_is_the_next_batch():
    model = StandIn()
    with start_service(model) as service:
        (first,), held = hold(model, service.url)
        threads, answers = ask_at_once(service.url, WORDS)
        wait_until(lambda: json.loads(ask(service.url, path="/health")[2])["waiting"] == len(WORDS))
        assert read_count(service.url, "classifier_waiting_texts") == len(WORDS)
        model.go.set()
        for thread in [first, *threads]:
            thread.join()
        assert sorted(model.batches[-1]) == sorted(WORDS)  # all in one
        assert labels_of(held) == ["short"]
        assert labels_of(answers) == ["short" if len(word) <= 5 else "long" for word in WORDS]
        assert read_count(service.url, "classifier_batch_texts_count") == 2


def test_a_lone_text_waits_for_nobody():
    with start_service(StandIn()) as service:
        seconds = []
        for _ in range(20):
            start = time.perf_counter()
            assert ask(service.url, {"text": "a"})[0] == 200
            seconds.append(time.perf_counter() - start)
        assert read_count(service.url, "classifier_batch_texts_count") == 20
    assert min(seconds) < 0.1


def test_a_large_request_is_computed_in_parts_and_comes_back_in_order():
    model = StandIn()
    with start_service(model, Settings(port=0, batch_texts=8)) as service:
        texts = ["x" * (1 + i % 9) for i in range(100)]
        found = json.loads(ask(service.url, {"texts": texts})[2])["predictions"]
        assert [one["label"] for one in found] == ["short" if len(text) <= 5 else "long" for text in texts]
        assert [len(batch) for batch in model.batches[-13:]] == [8] * 12 + [4]


def test_a_full_queue_says_when_to_come_again():
    model = StandIn()
    with start_service(model, Settings(port=0, queue_texts=10, request_texts=10)) as service:
        (first,), _ = hold(model, service.url)
        threads, answers = ask_at_once(service.url, WORDS[:8])
        wait_until(lambda: json.loads(ask(service.url, path="/health")[2])["waiting"] == 8)
        found = ask(service.url, {"texts": ["a", "b", "c"]})
        seconds = int(found[1]["retry-after"])
        assert read_error(found) == (503, f"Too many texts are waiting: ask again in {seconds} s.") and seconds >= 1
        threads += ask_at_once(service.url, ["a"])[0]  # for two there is room
        model.go.set()
        for thread in [first, *threads]:
            thread.join()
        assert len(labels_of(answers)) == 8
        assert ask(service.url, {"texts": WORDS[:10]})[0] == 200
        assert read_count(service.url, 'classifier_requests_total{path="/predict",status="503"}') == 1


def test_who_waited_too_long_is_told_and_not_computed():
    model = StandIn()
    with start_service(model, Settings(port=0, timeout_seconds=0.3)) as service:
        (first,), held = hold(model, service.url)
        status, sentence = read_error(ask(service.url, {"text": "given up"}))
        assert (status, sentence) == (504, "No answer within 0.3 s: ask again later, or for fewer texts.")
        first.join()
        assert read_error(held[0])[0] == 504
        assert ask(service.url, path="/health")[0] == 200
        time.sleep(0.4)
        status, _, body = ask(service.url, path="/health")  # one batch for more than two time-outs: restart it
        assert (status, json.loads(body)["status"]) == (503, "stuck")
        model.go.set()
        wait_until(lambda: ask(service.url, path="/health")[0] == 200)
        assert ask(service.url, {"text": "later"})[0] == 200
        assert ["given up"] not in model.batches and model.batches[-1] == ["later"]


def test_the_end_answers_what_was_taken():
    model = StandIn(seconds=0.2)
    with start_service(model, Settings(port=0, batch_texts=8)) as service:
        threads, answers = ask_at_once(service.url, WORDS)
        wait_until(lambda: read_count(service.url, "classifier_waiting_texts") >= 24)
    for thread in threads:
        thread.join()
    assert len(labels_of(answers)) == len(WORDS)
    with pytest.raises(OSError):
        ask(service.url, path="/health")
    assert "model" not in [thread.name for thread in threading.enumerate()]


def test_an_idle_client_does_not_hold_up_the_end():
    with start_service(StandIn()) as service:
        idle = socket.create_connection(service.url.removeprefix("http://").split(":"))
        assert ask(service.url, {"text": "a"})[0] == 200
        start = time.monotonic()
    assert time.monotonic() - start < 5
    assert idle.recv(1) == b""
    idle.close()


def test_a_port_that_is_taken_is_named():
    with start_service(StandIn()) as service:
        port = int(service.url.rpartition(":")[2])
        second = start_service(StandIn(), Settings(port=port))
        with pytest.raises(SettingError, match=f"Port {port} is in use: stop what listens there, or choose another"):
            second.__enter__()
        assert ask(service.url, {"text": "a"})[0] == 200


# In a process of its own -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("service") / "emotions")


def test_the_command_serves_and_ends_with_status_0(run):
    with serving(run, "--log-requests", COURSE_API_KEY="sesame") as (process, url):
        assert url.startswith("http://127.0.0.1:")
        assert ask(url, {"text": "glad1"})[0] == 401
        assert json.loads(ask(url, {"text": "glad1"}, x_api_key="sesame")[2])["label"] in LABELS
        assert json.loads(ask(url, path="/health")[2])["model"] == "emotions"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "")
    assert "POST /predict 200" in err and "glad1" not in err and "sesame" not in err


def test_ctrl_c_is_an_end_and_no_error(run):
    with serving(run) as (process, _):
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60) == ("", "") and process.returncode == 0


def test_a_killed_service_starts_again_at_its_port_at_once(run):
    with serving(run) as (process, url):
        threads, answers = ask_at_once(url, ["glad1"])
        threads[0].join()
        idle = socket.create_connection(url.removeprefix("http://").split(":"))  # one that the kill breaks off
        process.kill()
        process.wait()
    with serving(run, "--port", url.rpartition(":")[2]) as (_, again):
        assert again == url
        assert ask(url, {"text": "glad1"})[2] == answers[0][2]
    idle.close()
