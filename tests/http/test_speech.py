"""Sound on its way to the client: heard while it is made, and an error where nothing was."""

from __future__ import annotations

import asyncio

import httpx2
import pytest

PATH = "/v1/audio/speech"
ASK = {"model": "m", "input": "one two"}


@pytest.fixture
async def http():
    async with httpx2.AsyncClient(trust_env=False, verify=False, timeout=20) as client:
        yield client


async def test_sound_is_passed_on_while_it_is_made(gateway, start_engine, http):
    """Also where the client does not say `stream`, which OpenAI's cannot."""
    go_on = asyncio.Event()

    async def speak(exchange):
        await exchange.begin_stream("audio/mpeg")
        await exchange.chunk(b"one")
        await go_on.wait()
        await exchange.chunk(b"two")
        await exchange.end_stream()

    front = await gateway(await start_engine(speak), path=PATH, serves="audio")
    async with http.stream("POST", f"http://127.0.0.1:{front.port}{PATH}", json=ASK) as answer:
        assert answer.headers["content-type"] == "audio/mpeg"
        pieces = answer.aiter_raw()
        assert await anext(pieces) == b"one"
        go_on.set()
        assert await anext(pieces) == b"two"
        assert [piece async for piece in pieces] == []


async def test_sound_of_known_length_arrives_with_it(gateway, start_engine, http):
    async def speak(exchange):
        await exchange.reply(b"whole", kind="audio/wav")

    front = await gateway(await start_engine(speak), path=PATH, serves="audio")
    answer = await http.post(f"http://127.0.0.1:{front.port}{PATH}", json=ASK)
    assert (answer.content, answer.headers["content-length"]) == (b"whole", "5")


async def test_an_engine_that_dies_before_the_first_sound_is_a_clean_error(gateway, start_engine, http):
    async def die(exchange):
        await exchange.begin_stream("audio/mpeg")
        exchange.die()

    front = await gateway(await start_engine(die), path=PATH, serves="audio")
    answer = await http.post(f"http://127.0.0.1:{front.port}{PATH}", json=ASK)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "engine_died")


async def test_an_engine_that_dies_later_leaves_the_answer_unfinished(gateway, start_engine, http):
    async def die(exchange):
        await exchange.begin_stream("audio/mpeg")
        await exchange.chunk(b"one")
        exchange.die()

    front = await gateway(await start_engine(die), path=PATH, serves="audio")
    with pytest.raises(httpx2.RemoteProtocolError):
        await http.post(f"http://127.0.0.1:{front.port}{PATH}", json=ASK)
    assert front.outcomes() == {"5xx": 1}


async def test_no_sound_at_all_is_an_empty_answer(gateway, start_engine, http):
    async def say_nothing(exchange):
        await exchange.begin_stream("audio/mpeg")
        await exchange.end_stream()

    front = await gateway(await start_engine(say_nothing), path=PATH, serves="audio")
    answer = await http.post(f"http://127.0.0.1:{front.port}{PATH}", json=ASK)
    assert (answer.status_code, answer.content) == (200, b"")
