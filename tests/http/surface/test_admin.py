"""The routes of our own: status, plan, wait, reload, events, logs, engines."""

from __future__ import annotations

import asyncio
import json

import pytest

from xserve.core.views import EventView
from xserve.http.following import event_bytes, with_pauses


def event(number: int, message: str = "it happened") -> EventView:
    return EventView(id=number, time=1.5, kind="state", model="chat", message=message)


async def test_status_shows_everything(surface) -> None:
    shown = (await surface.http.get("/xserve/v1/status")).json()
    assert [model["uid"] for model in shown["models"]] == ["chat"]
    assert shown["models"][0]["instances"][0]["state"] == "ready"


@pytest.mark.parametrize("name", ["chat", "gpt-3.5-turbo"])
async def test_one_model_by_either_name(surface, name: str) -> None:
    assert (await surface.http.get(f"/xserve/v1/models/{name}")).json()["uid"] == "chat"


async def test_an_unknown_model_is_404_in_both_clients_words(surface) -> None:
    answer = await surface.http.get("/xserve/v1/models/nobody")
    assert answer.status_code == 404
    assert answer.json()["detail"].startswith("Model not found in the model list, uid: nobody")
    assert answer.json()["error"]["code"] == "model_not_found"


async def test_reload_tells_the_outcome(surface) -> None:
    answer = await surface.http.post("/xserve/v1/reload")
    assert answer.json() == {"changed": True, "actions": [], "problems": [], "waiting": []}


@pytest.mark.parametrize("body", [b"", b"{}", b'{"candidates": []}'])
async def test_a_plan_needs_no_candidates(surface, body: bytes) -> None:
    answer = await surface.http.post("/xserve/v1/plan", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 200
    assert surface.control.calls == [("plan", [])]


async def test_a_plan_gets_its_candidates(surface) -> None:
    await surface.http.post("/xserve/v1/plan", json={"candidates": [{"path": "/c/a.yaml", "text": "x: ✓"}]})
    ((_, (candidate,)),) = surface.control.calls
    assert (candidate.path, candidate.text) == ("/c/a.yaml", "x: ✓")


async def test_a_faulty_candidate_is_named(surface) -> None:
    answer = await surface.http.post("/xserve/v1/plan", json={"candidates": [{"path": "/c/a.yaml"}]})
    assert answer.status_code == 400
    assert answer.json()["detail"] == "Invalid input. Please specify the `candidates.0.text` field."


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("", ([], None, 600.0)),
        ("?model=a&model=b&timeout=2.5&generation=g", (["a", "b"], "g", 2.5)),
        ("?timeout=0&unknown=1", ([], None, 0.0)),
    ],
)
async def test_wait_asks_for_what_the_query_says(surface, query: str, asked) -> None:
    answer = await surface.http.get(f"/xserve/v1/wait{query}")
    assert answer.json()["outcome"] == "done"
    assert surface.control.calls == [("wait", asked)]


@pytest.mark.parametrize("timeout", ["-1", "nan", "inf", "soon", "86401"])
async def test_wait_refuses_a_timeout_that_is_none(surface, timeout: str) -> None:
    answer = await surface.http.get(f"/xserve/v1/wait?timeout={timeout}")
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "timeout"


async def test_waiting_ends_when_the_client_leaves(surface) -> None:
    client = asyncio.create_task(surface.http.get("/xserve/v1/wait?model=never"))
    async with asyncio.timeout(10):
        await surface.control.waiting.wait()
        client.cancel()
        await surface.control.abandoned.wait()


async def test_kept_events_are_a_list(surface) -> None:
    surface.control.happened = [event(1), event(2)]
    shown = (await surface.http.get("/xserve/v1/events?after=1")).json()
    assert shown == {"events": [event(2).model_dump()]}


@pytest.mark.parametrize("after", ["-1", "x"])
async def test_events_after_nothing_sensible_is_400(surface, after: str) -> None:
    assert (await surface.http.get(f"/xserve/v1/events?after={after}")).status_code == 400


async def test_followed_events_come_as_they_happen_and_end_with_the_daemon(surface) -> None:
    surface.control.happened = [event(1)]
    async with surface.http.stream("GET", "/xserve/v1/events?follow=true") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        lines = answer.aiter_lines()
        assert await block(lines) == ["id: 1", "event: state", f"data: {event(1).model_dump_json()}"]
        await surface.control.news.put(event(2, "line\nbreak"))
        number, _, data = await block(lines)
        assert number == "id: 2"
        assert json.loads(data.removeprefix("data: "))["message"] == "line\nbreak"
        await surface.control.news.put(None)
        assert [line async for line in lines] == []


@pytest.mark.parametrize(
    ("query", "header", "first"), [("", "1", 2), ("&after=2", "1", 3), ("", "x", 1), ("", "9" * 30, 1)]
)
async def test_a_stream_goes_on_where_the_client_left_off(surface, query: str, header: str, first: int) -> None:
    surface.control.happened = [event(1), event(2), event(3)]
    path, headers = f"/xserve/v1/events?follow=true{query}", {"last-event-id": header}
    async with surface.http.stream("GET", path, headers=headers) as answer:
        assert (await block(answer.aiter_lines()))[0] == f"id: {first}"


async def test_the_source_of_events_is_left_when_the_client_leaves(surface) -> None:
    surface.control.happened = [event(1)]
    async with surface.http.stream("GET", "/xserve/v1/events?follow=true") as answer:
        await block(answer.aiter_lines())
    async with asyncio.timeout(10):
        await surface.control.abandoned.wait()


async def test_silence_is_filled_with_comments_and_no_event_is_lost() -> None:
    release = asyncio.Event()

    async def source():
        yield event(1)
        await release.wait()
        yield event(2)

    sent = []
    async for piece in event_bytes(source(), quiet=0.001):
        sent.append(piece)
        if piece.startswith(b":"):
            assert piece.endswith(b"\n\n")
            release.set()
    assert [piece for piece in sent if not piece.startswith(b":")] == [
        b"id: %d\nevent: state\ndata: %b\n\n" % (number, event(number).model_dump_json().encode()) for number in (1, 2)
    ]
    assert any(piece.startswith(b":") for piece in sent)


async def test_a_source_that_fails_ends_the_stream_with_its_error() -> None:
    async def source():
        yield 1
        raise OSError("gone")

    stream = with_pauses(source(), 10)
    assert await anext(stream) == 1
    with pytest.raises(OSError, match="gone"):
        await anext(stream)


async def test_the_log_is_text(surface) -> None:
    answer = await surface.http.get("/xserve/v1/models/gpt-3.5-turbo/log?lines=2")
    assert answer.text == "zweite ✓\nthird\n"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert (await surface.http.get("/xserve/v1/models/chat/log?lines=0")).text == ""


async def test_a_followed_log_goes_on_until_the_instance_ends(surface) -> None:
    async with surface.http.stream("GET", "/xserve/v1/models/chat/log?follow=true&lines=1") as answer:
        lines = answer.aiter_lines()
        assert await anext(lines) == "third"
        await surface.control.news.put("fourth")
        assert await anext(lines) == "fourth"
        await surface.control.news.put("")
        assert [line async for line in lines] == []


@pytest.mark.parametrize("follow", ["", "?follow=true"])
async def test_the_log_of_nobody_is_404(surface, follow: str) -> None:
    answer = await surface.http.get(f"/xserve/v1/models/nobody/log{follow}")
    assert answer.status_code == 404
    assert "nothing has run" in answer.json()["detail"]


async def test_engines_by_themselves_and_asked_about_a_model(surface) -> None:
    shown = (await surface.http.get("/xserve/v1/engines")).json()
    assert [engine["name"] for engine in shown["engines"]] == ["llama_cpp", "vllm"]
    assert shown["verdicts"] == []
    asked = (await surface.http.get("/xserve/v1/engines?model=tiny&type=LLM")).json()
    assert {(each["engine"], each["able"]) for each in asked["verdicts"]} == {("llama_cpp", True), ("vllm", False)}


@pytest.mark.parametrize("query", ["model=nobody", "model=tiny&type=embedding"])
async def test_engines_for_an_unknown_registration_is_404(surface, query: str) -> None:
    assert (await surface.http.get(f"/xserve/v1/engines?{query}")).status_code == 404


@pytest.mark.parametrize("path", ["/xserve/v1/reload", "/v1/models"])
async def test_a_page_of_a_stranger_changes_nothing(surface, path: str) -> None:
    answer = await surface.http.post(path, headers={"origin": "https://evil.example"})
    assert answer.status_code == 403
    answer = await surface.http.post(path, content="{}", headers={"content-type": "text/plain"})
    assert answer.status_code == 415
    answer = await surface.http.get("/v1/models", headers={"host": "evil.example"})
    assert answer.status_code == 421
    assert surface.control.calls == []


async def block(lines) -> list[str]:
    """The lines of one event."""
    found = []
    async with asyncio.timeout(10):
        while line := await anext(lines):
            found.append(line)
    return found
