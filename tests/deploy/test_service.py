"""What the service answers, and what it says to requests that it cannot answer."""

import json
import logging
import re
import socket

import numpy as np
import pytest
from standin_service import StandIn, ask, read_count, read_error
from tiny import FP32, LABELS, build_model, make_tokenizer, toy_texts

from helpers.deploy.predictor import Predictor
from helpers.deploy.service import Settings, make_app, start_service
from helpers.deploy.service.messages import RequestError, read_texts
from helpers.deploy.service.page import PAGE, describe_policy
from helpers.deploy.service.server import open_port
from helpers.deploy.service.settings import read_api_key
from helpers.exceptions import SettingError
from helpers.models.pretrained import load_classifier


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return str(build_model("bert", tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def predictor(backbone):
    return Predictor(load_classifier(backbone, LABELS), make_tokenizer(), {"max_length": 16}, device=FP32)


@pytest.fixture(scope="module")
def url(predictor):
    with start_service(predictor, name="tiny") as service:
        yield service.url


@pytest.fixture(scope="module")
def standin():
    with start_service(StandIn()) as service:
        yield service.url


def scores_of(answer: dict) -> list[float]:
    return [answer["scores"][label] for label in LABELS]


def test_an_answer_waits_for_no_acknowledgement():
    with open_port(Settings(port=0)) as port:
        port.listen()
        with socket.create_connection(port.getsockname()), port.accept()[0] as accepted:
            assert accepted.proto == socket.IPPROTO_TCP  # by which asyncio knows for which ones to set TCP_NODELAY


def test_a_text_gets_the_predictor_s_answer(url, predictor):
    status, headers, body = ask(url, {"text": "glad1 word3 glad2"})
    expected, found = predictor.predict_one("glad1 word3 glad2"), json.loads(body)
    assert (status, headers["content-type"]) == (200, "application/json")
    assert found == {
        "label": expected.label,
        "labels": [expected.label],
        "confidence": pytest.approx(expected.confidence, abs=1e-6),
        "scores": pytest.approx(expected.probabilities, abs=1e-6),
        "truncated": False,
    }
    assert list(found["scores"]) == list(expected.probabilities)  # the likeliest first


def test_several_texts_get_their_answers_in_their_order(url, predictor):
    texts, _ = toy_texts(150)  # more than one batch
    status, _, body = ask(url, {"texts": texts})
    found = json.loads(body)["predictions"]
    assert status == 200 and [one["label"] for one in found] == [p.label for p in predictor.predict(texts)]
    expected = predictor.predict_probabilities(texts)
    np.testing.assert_allclose([scores_of(one) for one in found], expected, atol=1e-5)
    assert [one["truncated"] for one in found] == predictor.predict_with_cut(texts)[1].tolist()
    assert len({str(scores_of(one)) for one in found}) > 100


@pytest.mark.parametrize("text", ["😀 " * 3, "אבג", "\0", "a\u0301\u200d", "glad1 " * 3000, '"\\u0000 \\', "字"])
def test_any_text_is_answered(url, text):
    status, _, body = ask(url, {"text": text})
    assert status == 200 and sum(scores_of(json.loads(body))) == pytest.approx(1, abs=1e-5)


def test_several_labels_per_text(backbone):
    classifier = load_classifier(backbone, LABELS, multilabel=True)
    for threshold, labels in [(0.0, LABELS), (0.999, [])]:
        several = Predictor(classifier, make_tokenizer(), {"thresholds": [threshold] * 3}, device=FP32)
        with start_service(several) as service:
            found = json.loads(ask(service.url, {"text": "glad1"})[2])
            assert json.loads(ask(service.url, path="/labels")[2])["multilabel"] is True
        assert found["labels"] == labels and found["label"] == (",".join(labels) or "none")


# What cannot be answered -----------------------------------------------------------------------------------------------

SEND = 'send {"text": "…"} or {"texts": ["…", "…"]}.'
WRONG = {
    b"": (400, "The body is not JSON"),
    b"{": (400, "The body is not JSON (line 1 column 1)"),
    b"text=hello": (400, "The body is not JSON (line 1 column 2)"),
    b"\xff\xfe": (400, "The body is not JSON"),
    b'{"text": "\xe9"}': (400, "The body is not JSON"),
    b'{"text": "\\ud800"}': (400, "The body is not JSON"),  # half a character
    b'{"text": NaN}': (400, "The body is not JSON"),
    b"[" * 100_000: (400, "The body is not JSON"),
    b'{"text":' * 100_000: (400, "The body is not JSON"),
    b"1" * 100_000: (400, ""),
    b"{}": (400, SEND),
    b"null": (400, SEND),
    b'["a"]': (400, SEND),
    b'{"Text": "a"}': (400, SEND),
    b'{"text": "a", "model": "b"}': (422, f"The key 'model' is unknown: {SEND}"),
    b'{"text": "a", "texts": ["b"]}': (422, f"The body holds both a text and texts: {SEND}"),
    b'{"text": ""}': (422, "The text is empty: give some words."),
    b'{"text": " \\n\\u2003"}': (422, "The text is empty: give some words."),
    b'{"text": null}': (422, "The text is no text: put it into quotation marks."),
    b'{"text": 1e999}': (422, "The text is no text"),
    b'{"text": ["a"]}': (422, "The text is no text"),
    b'{"texts": "a"}': (422, 'The value of "texts" is no list, or an empty one: give a list of texts.'),
    b'{"texts": []}': (422, 'The value of "texts" is no list'),
    b'{"texts": ["a", 7, "c"]}': (422, "Text 2 of 3 is no text: put it into quotation marks."),
    b'{"texts": ["a", " "]}': (422, "Text 2 of 2 is empty: give some words."),
    json.dumps({"texts": ["a"] * 257}).encode(): (422, "These are 257 texts: send at most 256 at a time."),
    json.dumps({"text": "a" * 20_001}).encode(): (422, "The text has 20,001 characters: send at most 20,000."),
    b" " * (2**20 + 1): (413, "The body is larger than 1,048,576 bytes: send fewer texts at a time."),
}


@pytest.mark.parametrize("body", WRONG, ids=lambda body: repr(body[:30])[2:-1])
def test_a_bad_request_is_refused_in_a_sentence(standin, body):
    status, sentence = read_error(ask(standin, body))
    assert status == WRONG[body][0] and WRONG[body][1] in sentence


def test_a_refused_request_never_reaches_the_model():
    model = StandIn()
    with start_service(model) as service:
        before = len(model.batches)
        for body in WRONG:
            ask(service.url, body)
        assert len(model.batches) == before
        assert read_count(service.url, "classifier_texts_total") == 0


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonp"])
def test_what_is_not_called_json_is_refused(standin, kind):
    status, sentence = read_error(ask(standin, {"text": "a"}, content_type=kind))
    assert status == 415 and "Content-Type: application/json" in sentence


def test_json_may_name_its_encoding(standin):
    assert ask(standin, {"text": "a"}, content_type="Application/JSON; charset=utf-8")[0] == 200


def test_other_addresses_and_methods(standin):
    status, sentence = read_error(ask(standin, path="/nothing/of/the/kind?text=secret"))
    assert (status, "secret" in sentence) == (404, False) and "'/nothing/of/the/kind'" in sentence
    status, headers, _ = found = ask(standin, path="/predict")
    assert read_error(found) == (405, "'/predict' does not take GET: use POST.") and headers["allow"] == "POST"
    assert ask(standin, {"text": "a"}, path="/predict/")[0] == 404


@pytest.mark.parametrize("text, status", [("bad luck", 422), ("fails", 500)])
def test_a_text_that_fails_says_so_and_spares_its_neighbours(text, status, caplog):
    model = StandIn()
    with start_service(model) as service, caplog.at_level(logging.INFO):
        assert read_error(ask(service.url, {"texts": ["fine", text]}))[0] == status
        assert ask(service.url, {"text": "fine"})[0] == 200
        assert model.batches[-4:-1] == [["fine", text], ["fine"], [text]]
    assert (status == 500) == ("ValueError" in caplog.text)
    assert text not in caplog.text


def test_nothing_that_is_no_number_is_sent():
    class Broken(StandIn):
        def predict(self, texts):
            return [type(p)(**vars(p) | {"confidence": float("nan")}) for p in super().predict(texts)]

    with start_service(Broken()) as service:
        assert read_error(ask(service.url, {"text": "a"}))[0] == 500


# Beside predictions ----------------------------------------------------------------------------------------------------


def test_health_and_labels(url):
    health = json.loads(ask(url, path="/health")[2])
    assert 0 <= health.pop("uptime_seconds") < 600
    assert health == {"status": "ok", "model": "tiny", "waiting": 0}
    assert json.loads(ask(url, path="/labels")[2]) == {"labels": LABELS, "multilabel": False, "max_length": 16}


def test_metrics_count_requests_and_what_the_model_said():
    with start_service(StandIn()) as service:
        ask(service.url, {"texts": ["a", "bb", "much longer", "x" * 101]})
        ask(service.url, {"text": ""})
        ask(service.url, path="/else")
        for name, value in {
            'classifier_requests_total{path="/predict",status="200"}': 1,
            'classifier_requests_total{path="/predict",status="422"}': 1,
            'classifier_requests_total{path="other",status="404"}': 1,
            'classifier_request_seconds_count{path="/predict"}': 2,
            "classifier_texts_total": 4,
            "classifier_batch_texts_sum": 4,
            "classifier_model_seconds_count": 1,
            'classifier_predictions_total{label="short"}': 2,
            'classifier_predictions_total{label="long"}': 2,
            "classifier_confidence_count": 4,
            "classifier_confidence_sum": 3,
            "classifier_text_characters_sum": 1 + 2 + 11 + 101,
            "classifier_truncated_total": 1,
            "classifier_waiting_texts": 0,
        }.items():
            assert read_count(service.url, name) == value, name
    with start_service(StandIn()) as service:
        assert read_count(service.url, "classifier_texts_total") == 0  # of another service


def test_a_key_is_asked_for_where_there_is_one():
    with start_service(StandIn(), Settings(port=0, api_key="sésame")) as service:
        for path, body in [("/predict", {"text": "a"}), ("/labels", None), ("/metrics", None)]:
            for wrong in [
                {},
                {"x_api_key": "s"},
                {"x_api_key": ""},
                {"authorization": "Bearer"},
                {"authorization": "x"},
            ]:
                found = ask(service.url, body, path, **wrong)
                assert read_error(found)[0] == 401 and found[1]["www-authenticate"] == "Bearer"
            for right in [{"x_api_key": "sésame".encode()}, {"authorization": "Bearer sésame".encode()}]:
                assert ask(service.url, body, path, **right)[0] == 200
        assert [ask(service.url, path=path)[0] for path in ("/health", "/", "/openapi.json")] == [200] * 3


def test_an_empty_key_is_refused_and_none_is_none(monkeypatch):
    monkeypatch.delenv("COURSE_API_KEY", raising=False)
    assert read_api_key() is None
    monkeypatch.setenv("COURSE_API_KEY", " \n")
    with pytest.raises(SettingError, match="COURSE_API_KEY is set but empty"):
        read_api_key()
    monkeypatch.setenv("COURSE_API_KEY", "key\n")
    assert read_api_key() == "key"
    assert "key" not in repr(Settings(api_key="key")).replace("api_key", "")


def test_pages_from_elsewhere_may_ask_only_if_told_so(standin):
    origin = {"origin": "https://page.example"}
    asked = {**origin, "access_control_request_method": "POST", "access_control_request_headers": "content-type"}
    assert "access-control-allow-origin" not in ask(standin, {"text": "a"}, **origin)[1]
    assert ask(standin, method="OPTIONS", **asked)[0] == 405
    with start_service(StandIn(), Settings(port=0, origins=("https://page.example",))) as service:
        assert ask(service.url, {"text": "a"}, **origin)[1]["access-control-allow-origin"] == "https://page.example"
        assert ask(service.url, method="OPTIONS", **asked)[0] == 200
        other = ask(service.url, {"text": "a"}, origin="https://other.example")[1]
        assert "access-control-allow-origin" not in other


def test_a_line_per_request_holds_no_text(caplog):
    with caplog.at_level(logging.INFO):
        for wanted in (False, True):
            with start_service(StandIn(), Settings(port=0, log_requests=wanted)) as service:
                ask(service.url, {"text": "secret words"}, path="/predict?text=secret")
                ask(service.url, path="/secret")
            assert len([r for r in caplog.records if r.name == "course.service"]) == (2 if wanted else 0)
    assert re.search(r"POST /predict 200 [\d.]+ ms", caplog.text) and "GET other 404" in caplog.text
    assert "secret" not in caplog.text


def test_the_page_asks_nobody_else(standin):
    status, headers, body = ask(standin, path="/")
    assert status == 200 and body.decode() == PAGE
    assert not re.findall(r"""(?:src|href|action)=["']?(?:https?:)?//|@import|url\(|https?://""", PAGE)
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy and "unsafe" not in policy
    assert policy != describe_policy(PAGE.replace('"use strict"', '"use strict "'))
    assert not re.findall(r"\son\w+=|\sstyle=|innerHTML|document\.write|eval\(", PAGE)  # what the policy would block


def test_the_description_has_examples_that_work():
    app = make_app(StandIn())
    described = app.openapi()
    app.state.batcher.close()
    predict = described["paths"]["/predict"]["post"]
    for schema in predict["requestBody"]["content"]["application/json"]["schema"]["anyOf"]:
        texts, single = read_texts(json.dumps(schema["example"]).encode(), Settings())
        assert single == ("text" in schema["example"]) and texts
    assert set(predict["responses"]) == {"200", "400", "401", "408", "413", "415", "422", "500", "503", "504"}
    assert set(described["paths"]) == {"/predict", "/health", "/labels", "/metrics"}


@pytest.mark.parametrize(
    "wrong, sentence",
    [
        ({"port": 70_000}, "port=70000: it must lie between 0 "),
        ({"queue_texts": 0}, "queue_texts=0: it must be a whole number of at least 1."),
        ({"queue_texts": 9}, "queue_texts=9 is less than a request may bring"),
        ({"timeout_seconds": float("nan")}, "timeout_seconds=nan: it must be a number of seconds above 0."),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong, sentence):
    with pytest.raises(SettingError, match=re.escape(sentence)):
        Settings(**wrong)


def test_a_body_within_the_limits_is_read():
    assert read_texts(b'{"texts": ["a", "b"]}', Settings(request_texts=2)) == (["a", "b"], False)
    with pytest.raises(RequestError, match="at most 1 at a time"):
        read_texts(b'{"texts": ["a", "b"]}', Settings(request_texts=1))
