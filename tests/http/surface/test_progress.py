"""How far a request is: which one is meant, what its engine says, and what is known after its end."""

from __future__ import annotations

import asyncio
import json

import httpx2
import pytest

from xserve.http.underway import REMEMBERED, Underway

PAINT = "/v1/images/generations"


@pytest.fixture
async def painting(surface, start_engine):
    """An image under way until `go_on` is set; `told` is what its engine says of it, None: nothing useful."""

    class Painting:
        go_on = asyncio.Event()
        begun = asyncio.Event()
        told: bytes | None = b'{"progress": 0.25}'
        asked: list[str] = []  # noqa: RUF012

        async def answer(self, exchange) -> None:
            line = exchange.head.split(b"\r\n")[0].decode()
            if line.startswith("GET"):
                self.asked.append(line)
                await (
                    exchange.reply(b"no such path", "404 Not Found") if self.told is None else exchange.reply(self.told)
                )
                return
            self.head = exchange.head
            self.begun.set()
            await self.go_on.wait()
            await exchange.reply(b'{"data": []}')

        async def begin(self, body: dict, **headers: str) -> asyncio.Task[httpx2.Response]:
            task = asyncio.create_task(surface.http.post(PAINT, json={"model": "pictures", **body}, headers=headers))
            await asyncio.wait_for(self.begun.wait(), 10)
            return task

        async def look(self, request_id: str) -> httpx2.Response:
            return await surface.http.get(f"/v1/requests/{request_id}/progress")

    made = Painting()
    surface.control.add_entry("pictures")
    surface.serve("pictures", (await start_engine(made.answer)).path)
    yield made
    made.go_on.set()


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"request_id": "mine"}, {}),
        ({"kwargs": json.dumps({"request_id": "mine"})}, {}),
        ({}, {"x-request-id": "mine"}),
        ({"request_id": "mine"}, {"x-request-id": "other"}),
    ],
)
async def test_a_request_is_known_by_the_id_that_its_client_gave(painting, body, headers):
    task = await painting.begin(body, **headers)
    answer = await painting.look("mine")
    assert answer.status_code == 200
    told = answer.json()
    assert told["progress"] == 0.25
    assert told["eta_seconds"] == pytest.approx(3 * told["elapsed_seconds"])
    assert painting.asked == ["GET /progress?request_id=mine HTTP/1.1"]
    assert b"x-request-id: mine\r\n" in painting.head
    assert (await painting.look("other")).status_code == 400
    painting.go_on.set()
    assert (await task).status_code == 200


async def test_who_asked_before_learns_that_it_is_done(painting):
    task = await painting.begin({"request_id": "mine"})
    await painting.look("mine")
    painting.go_on.set()
    await task
    done = [(await painting.look("mine")).json() for _ in range(2)]
    assert [(each["progress"], each["eta_seconds"]) for each in done] == [(1.0, 0.0)] * 2
    assert done[0]["elapsed_seconds"] == done[1]["elapsed_seconds"]


async def test_a_request_of_any_kind_can_be_asked_about(surface, start_engine):
    """By the id in its body; its engine need not be able to tell more than the gateway's clock."""
    begun = asyncio.Event()

    async def talk(exchange):
        if exchange.head.startswith(b"GET"):
            await exchange.reply(b"", "404 Not Found")
        else:
            begun.set()
            await exchange.until_client_closes()

    surface.serve("chat", (await start_engine(talk)).path)
    task = asyncio.create_task(
        surface.http.post("/v1/chat/completions", json={"model": "chat", "messages": [], "request_id": "mine"})
    )
    await asyncio.wait_for(begun.wait(), 10)
    assert (await surface.http.get("/v1/requests/mine/progress")).json()["progress"] == 0.0
    task.cancel()


async def test_nobody_asked_and_nothing_is_remembered(painting):
    task = await painting.begin({"request_id": "mine"})
    painting.go_on.set()
    await task
    answer = await painting.look("mine")
    assert answer.status_code == 400
    assert answer.json()["detail"] == "No request in flight has the id mine."


@pytest.mark.parametrize(
    ("told", "progress"),
    [
        (None, 0.0),
        (b"no json", 0.0),
        (b'{"progress": "much"}', 0.0),
        (b'{"progress": 7}', 1.0),
        (b'{"progress": -1}', 0.0),
    ],
)
async def test_an_engine_that_cannot_tell_is_no_error(painting, told, progress):
    painting.told = told
    await painting.begin({"request_id": "mine"})
    answer = (await painting.look("mine")).json()
    assert answer["progress"] == progress
    assert (answer["eta_seconds"] is None) is (progress == 0.0)


def test_a_failed_request_is_not_done():
    underway = Underway()
    errand = underway.begin("a", "/e")
    assert underway.find("a") is errand
    underway.end(errand, well=False)
    assert underway.find("a") is None


def test_of_two_with_one_id_the_later_is_found_whichever_ends_first():
    underway = Underway()
    first, second = underway.begin("a", "/1"), underway.begin("a", "/2")
    underway.end(first, well=True)
    assert underway.find("a") is second
    underway.end(second, well=True)
    assert underway.find("a") is second


def test_only_so_many_ends_are_remembered():
    underway = Underway()
    for number in range(REMEMBERED + 1):
        errand = underway.begin(str(number), "/e")
        underway.find(str(number))
        underway.end(errand, well=True)
    assert underway.find("0") is None
    assert underway.find(str(REMEMBERED)) is not None


async def test_an_id_with_odd_characters_is_quoted_for_the_engine(painting):
    await painting.begin({"request_id": "a b+c&d"})
    assert (await painting.look("a%20b+c&d")).json()["progress"] == 0.25
    assert painting.asked == ["GET /progress?request_id=a%20b%2Bc%26d HTTP/1.1"]
