"""What is counted, and that nothing of a client's own words becomes the name of a time series."""

import threading

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from assistant.metrics import REMEMBERED, Metrics
from assistant.types import Caller, Finished
from tests.serve.conftest import PREFIX, TEXT, Listen, Serve, Served

BODY = {"text": TEXT, "start": len(PREFIX), "filename": "add.py"}


def samples(text: str) -> dict[str, float]:
    """Every sample as "name{label=value,...}"."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def finished(outcome: str = "answered", reason: str | None = None, language: str | None = "python") -> Finished:
    return Finished(
        outcome,  # type: ignore[arg-type]
        reason,
        language,
        Caller("vim"),
        queue_ms=20.0,
        total_ms=120.0,
        steps=3,
        passes=5,
        tokens=12,
        context_tokens=100,
        known_tokens=75,
        verdicts=("valid", "unchecked"),
        origins=("canvas", "repair"),
    )


def test_one_answer_in_numbers() -> None:
    metrics = Metrics()
    metrics.finished(finished())
    seen = samples(metrics.text().decode())
    expected = {
        "hone_completions_total{language=python,outcome=answered}": 1,
        "hone_queue_seconds_sum": 0.02,
        "hone_queue_seconds_bucket{le=0.025}": 1,
        "hone_queue_seconds_bucket{le=0.01}": 0,
        "hone_answer_seconds_sum": 0.12,
        "hone_steps_sum": 3,
        "hone_passes_total": 5,
        "hone_tokens_total": 12,
        "hone_tokens_per_second_sum": 120,
        "hone_context_tokens_total": 100,
        "hone_context_tokens_cached_total": 75,
        "hone_verdicts_total{verdict=valid}": 1,
        "hone_verdicts_total{verdict=unchecked}": 1,
        "hone_origins_total{origin=repair}": 1,
    }
    assert {name: seen.get(name) for name in expected} == pytest.approx(expected)


def test_empty_answers_by_reason_and_what_is_not_one() -> None:
    metrics = Metrics()
    for outcome, reason in (
        ("empty", "syntax"), ("empty", "syntax"), ("empty", "budget"), ("failed", None),
        ("cancelled", "cancelled"), ("superseded", "superseded"),
    ):  # fmt: skip
        metrics.finished(finished(outcome, reason))
    seen = samples(metrics.text().decode())
    assert seen["hone_empty_total{reason=syntax}"] == 2
    assert seen["hone_empty_total{reason=failed}"] == 1
    assert seen["hone_completions_total{language=python,outcome=superseded}"] == 1
    assert "hone_empty_total{reason=superseded}" not in seen
    assert metrics.empty_by_reason() == {"syntax": 2, "budget": 1, "failed": 1}


def test_only_the_last_empty_answers_are_remembered() -> None:
    metrics = Metrics()
    for number in range(REMEMBERED + 7):
        metrics.finished(finished("empty", f"reason {number}"))
    assert metrics.empty_by_reason() == {f"reason {number}": 1 for number in range(7, REMEMBERED + 7)}


def test_a_made_up_language_is_no_time_series() -> None:
    metrics = Metrics()
    for language in ("my secret", "python", None):
        metrics.finished(finished("empty", "syntax", language))
    text = metrics.text().decode()
    assert "secret" not in text
    seen = samples(text)
    assert all(seen[f"hone_completions_total{{language={name},outcome=empty}}"] for name in ("other", "python", "none"))


def test_it_counts_from_many_threads() -> None:
    metrics = Metrics()

    def work() -> None:
        for _ in range(200):
            metrics.finished(finished("empty", "syntax"))
            metrics.empty_by_reason()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert samples(metrics.text().decode())["hone_empty_total{reason=syntax}"] == 1600


def test_two_servers_in_one_process_count_for_themselves(serve: Serve) -> None:
    one, other = serve(), serve()
    one.post("/v1/hone/complete", json=BODY)
    assert samples(one.get("/metrics").text)["hone_tokens_total"] > 0
    assert samples(other.get("/metrics").text)["hone_tokens_total"] == 0


def test_a_server_shows_what_it_did(served: Served, listen: Listen) -> None:
    url = listen(served)
    for _ in range(3):
        assert httpx.post(f"{url}/v1/hone/complete", json=BODY).status_code == 200
    httpx.get(f"{url}/my/secret/path")
    httpx.get(f"{url}/health", headers={"host": "evil.example"})
    httpx.request("SECRET", f"{url}/health")
    answer = httpx.get(f"{url}/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    seen = samples(answer.text)
    expected = {
        "hone_requests_total{route=/v1/hone/complete,status=200}": 3,
        "hone_requests_total{route=unknown,status=404}": 1,
        "hone_requests_total{route=unknown,status=403}": 1,
        "hone_requests_total{route=/health,status=405}": 1,
        "hone_completions_total{language=python,outcome=answered}": 3,
        "hone_waiting": 0,
        "hone_running": 0,
        "hone_model_loaded": 1,
    }
    assert {name: seen.get(name) for name in expected} == expected
    assert seen["hone_context_tokens_cached_total"] > 0, "the second request knows the context of the first"
    assert seen["hone_batch_width"] >= 1
    assert "secret" not in answer.text.lower()
