"""Liveness, readiness, the figures, and what happens when something goes wrong inside."""

from __future__ import annotations

import logging

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from xserve.core.reasons import Reason
from xserve.core.refused import Kind, Refused
from xserve.core.views import FailureView, ProblemView
from xserve.http.app import Translator
from xserve.http.call import Parts
from xserve.http.gallery import Gallery
from xserve.http.scrape import Reading, Source, merge, metrics_page
from xserve.http.underway import Underway
from xserve.http.upstream import Upstream

ENGINE_TEXT = b"""# HELP tokens_total Tokens.
# TYPE tokens_total counter
tokens_total{kind="a",model="theirs"} 4
# TYPE latency histogram
latency_bucket{le="1"} 1
latency_bucket{le="+Inf"} 2
latency_sum 3
latency_count 2
"""


async def test_livez_tells_whether_the_loop_turns(surface) -> None:
    assert (await surface.http.get("/livez")).json() == {"status": "alive"}
    surface.control.is_turning = False
    answer = await surface.http.get("/livez")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "stuck")


async def test_readyz_tells_whether_the_daemon_accepts(surface) -> None:
    assert (await surface.http.get("/readyz")).json() == {"status": "ready"}
    surface.control.is_accepting = False
    for path in ("/readyz", "/readyz?model=chat"):
        assert (await surface.http.get(path)).status_code == 503


@pytest.mark.parametrize("name", ["chat", "gpt-3.5-turbo"])
async def test_readyz_of_a_model_is_whether_it_can_answer(surface, name: str) -> None:
    assert (await surface.http.get(f"/readyz?model={name}")).status_code == 200
    surface.load("chat", Reason.LOADING, "weights are being read")
    answer = await surface.http.get(f"/readyz?model={name}")
    assert answer.status_code == 503
    assert answer.json()["detail"] == "Model is loading, please retry later: weights are being read"
    assert answer.headers["retry-after"] == "30"


@pytest.mark.parametrize("reason", [Reason.GAVE_UP, Reason.BAD_OPTIONS, Reason.NO_ENGINE])
async def test_readyz_of_a_model_that_somebody_must_mend_says_why_and_not_to_come_back(surface, reason) -> None:
    surface.load("chat", reason, "something is wrong")
    answer = await surface.http.get("/readyz?model=chat")
    assert (answer.status_code, answer.json()["detail"]) == (503, "The model chat cannot serve: something is wrong")
    assert "retry-after" not in answer.headers


async def test_readyz_of_an_unknown_model_is_404_and_names_no_other(surface) -> None:
    answer = await surface.http.get("/readyz?model=nobody")
    assert answer.status_code == 404
    assert "chat" not in answer.text


async def test_metrics_carry_our_figures(surface) -> None:
    families = await scraped(surface)
    assert families["xserve_models"]["", ("state", "ready")] == 1
    assert families["xserve_replicas"]["", ("model", "chat"), ("state", "ready")] == 1
    assert families["xserve_failures_in_a_row"]["", ("model", "chat")] == 0
    assert families["xserve_build_info"]["", ("version", "1.2.3")] == 1
    assert families["xserve_registrations"][("",)] == 6
    assert families["xserve_files_rejected"][("",)] == 0
    assert "process_resident_memory_bytes" in families


async def test_metrics_carry_the_traffic(surface, start_engine) -> None:
    async def answer(exchange) -> None:
        await exchange.reply(b"{}")

    surface.serve("chat", (await start_engine(answer)).path)
    await surface.http.post("/v1/completions", json={"model": "gpt-3.5-turbo", "prompt": ""})
    families = await scraped(surface)
    assert families["xserve_requests"]["_total", ("model", "chat"), ("outcome", "2xx")] == 1


async def test_engines_figures_get_model_and_replica(surface, start_engine) -> None:
    async def answer(exchange) -> None:
        assert exchange.head.startswith(b"GET /metrics ")
        await exchange.reply(ENGINE_TEXT, kind="text/plain")

    engine = await start_engine(answer)
    surface.control.add_entry("other", model="tiny")
    surface.serve("chat", engine.path)
    surface.serve("other", engine.path)
    families = await scraped(surface)
    theirs = (("exported_model", "theirs"), ("kind", "a"))
    for uid in ("chat", "other"):
        mine = (("model", uid), ("replica", f"{uid}-0"))
        assert families["tokens"][("_total", *theirs, *mine)] == 4
        assert families["latency"][("_bucket", ("le", "+Inf"), *mine)] == 2
    page = (await surface.http.get("/metrics")).text
    assert page.count("# TYPE tokens_total counter") == page.count("# TYPE latency histogram") == 1


async def test_an_engine_that_hangs_costs_only_its_own_figures(surface, start_engine, control) -> None:
    async def hang(exchange) -> None:
        await exchange.until_client_closes()

    async def answer(exchange) -> None:
        await exchange.reply(b"up 1\n", kind="text/plain")

    surface.control.add_entry("other", model="tiny")
    slow = await start_engine(hang)
    surface.serve("chat", slow.path)
    surface.serve("other", (await start_engine(answer)).path)
    upstream = Upstream()
    registry, metrics = CollectorRegistry(), {"llama_cpp": "/metrics"}
    parts = Parts(control, surface.traffic, upstream, registry, metrics, bytes, Underway(), Gallery())
    page = (await metrics_page(parts, deadline=0.5)).decode()
    upstream.close()
    assert "# chat chat-0: no answer within 0.5 seconds\n" in page
    assert 'up{model="other",replica="other-0"} 1.0\n' in page
    await slow.abandoned.wait()


@pytest.mark.parametrize(
    ("status", "body", "comment"),
    [
        ("404 Not Found", b"", "status 404"),
        ("200 OK", b'x{a="} 1\n', "its figures cannot be read"),
        ("200 OK", b"x one\n", "its figures cannot be read"),
    ],
)
async def test_an_engine_without_proper_figures_is_a_comment(surface, start_engine, status, body, comment) -> None:
    async def answer(exchange) -> None:
        await exchange.reply(body, status=status)

    surface.serve("chat", (await start_engine(answer)).path)
    answer = await surface.http.get("/metrics")
    assert answer.status_code == 200
    assert f"# chat chat-0: {comment}" in answer.text
    assert list(text_string_to_metric_families(answer.text))


async def test_an_engine_that_is_gone_is_a_comment(surface) -> None:
    surface.serve("chat", "/nowhere.sock")
    assert "# chat chat-0: The engine cannot be reached" in (await surface.http.get("/metrics")).text


def test_where_types_disagree_the_first_stays_and_a_comment_tells() -> None:
    readings = [
        Reading(Source("a", "a-0", "", ""), "# TYPE x counter\nx_total 1\n# TYPE y gauge\ny 1\n"),
        Reading(Source("b", "b-0", "", ""), "# TYPE x gauge\nx 2\n# TYPE y gauge\ny 2\n"),
    ]
    page = merge([], readings).decode()
    assert "x left out: it is a gauge here and a counter elsewhere" in page
    assert page.count("# TYPE y gauge") == 1
    assert 'y{model="b",replica="b-0"} 2.0' in page
    assert 'x{model="b"' not in page


def test_a_comment_stays_within_its_line() -> None:
    page = merge([], [Reading(Source("a", "a-0", "", ""), trouble="one\nevil_metric 1")]).decode()
    assert page == "# a a-0: one\\nevil_metric 1\n"


async def test_what_nobody_foresaw_is_logged_and_told_by_id_only(surface, caplog) -> None:
    surface.control.refuses = RuntimeError("secret detail")
    answer = await surface.http.post("/xserve/v1/reload", headers={"x-request-id": "abc"})
    assert answer.status_code == 500
    assert answer.json()["detail"] == "xserve failed here; its log knows more (request abc)."
    assert answer.json()["error"]["code"] == "internal_error"
    record = next(each for each in caplog.records if each.levelno == logging.ERROR)
    assert "abc" in record.getMessage()
    assert "secret detail" in str(record.exc_info)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (Kind.INVALID, 400),
        (Kind.UNKNOWN, 404),
        (Kind.EXISTS, 400),
        (Kind.OWNED, 409),
        (Kind.BUSY, 503),
        (Kind.FAILED, 503),
        (Kind.CANCELLED, 499),
        (Kind.NO_SPACE, 507),
    ],
)
async def test_a_refused_call_has_the_status_of_its_kind(surface, kind: Kind, status: int) -> None:
    surface.control.refuses = Refused(kind, "because", "field")
    answer = await surface.http.post("/xserve/v1/reload")
    assert answer.status_code == status
    assert answer.json()["detail"] == "because"
    assert answer.json()["error"]["param"] == "field"
    assert ("retry-after" in answer.headers) == (kind is Kind.BUSY)


def test_every_kind_of_refusal_has_a_case() -> None:
    cases = test_a_refused_call_has_the_status_of_its_kind.pytestmark[0].args[1]
    assert {kind for kind, _ in cases} == set(Kind)


async def test_failures_in_a_row_are_counted(surface, monkeypatch: pytest.MonkeyPatch) -> None:
    failure = FailureView(reason="Crashed", message="", failures=3, seconds_ago=1.0, retry_in=None, log_tail=[])
    views = [view.model_copy(update={"failure": failure}) for view in surface.control.status().models]
    monkeypatch.setattr(surface.control, "_views", lambda: views)
    assert (await scraped(surface))["xserve_failures_in_a_row"]["", ("model", "chat")] == 3


async def test_an_answer_that_has_begun_is_not_followed_by_another() -> None:
    sent = []

    async def send(message) -> None:
        sent.append(message)

    async def break_off(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        await Translator(break_off)({"type": "http"}, None, send)
    assert [message["type"] for message in sent] == ["http.response.start"]


async def test_rejected_files_are_counted_once_and_warnings_not_at_all(surface, monkeypatch) -> None:
    def problem(path: str, severity: str) -> ProblemView:
        return ProblemView(path=path, line=1, column=1, field="", message="", severity=severity, text="")

    problems = [problem("a", "error"), problem("a", "error"), problem("b", "warning")]
    status = surface.control.status().model_copy(update={"problems": problems})
    monkeypatch.setattr(surface.control, "status", lambda: status)
    assert (await scraped(surface))["xserve_files_rejected"][("",)] == 1


async def scraped(surface) -> dict[str, dict[tuple[object, ...], float]]:
    """The families of the page: name -> (suffix, *labels) -> value."""
    answer = await surface.http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        family.name: {
            (sample.name[len(family.name) :], *sorted(sample.labels.items())): sample.value for sample in family.samples
        }
        for family in text_string_to_metric_families(answer.text)
    }
