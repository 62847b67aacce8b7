"""Images as links: when a reply is changed, into what, and what happens where that cannot be done."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx2
import pytest

from xserve.http.gallery import Gallery, GalleryLimits
from xserve.http.links import Links

PATH = "/v1/images/generations"
PNG = b"\x89PNG\r\n\x1a\n and so on"
PACKED = base64.b64encode(PNG).decode()
REPLY = {"created": 7, "data": [{"b64_json": PACKED, "revised_prompt": "x"}, {"b64_json": PACKED}], "usage": {"n": 1}}


@pytest.fixture
async def painter(gateway, start_engine):
    """Ask a gateway whose engine gives one reply: (status, answer as the client reads it, gateway)."""

    async def start(reply: Any = REPLY, kind: str = "application/json", body: Any = None, **headers: str):
        content = reply if isinstance(reply, bytes) else json.dumps(reply).encode()

        async def paint(exchange):
            await exchange.reply(content, kind=kind)

        front = await gateway(await start_engine(paint), path=PATH, serves="image", links=True)
        async with httpx2.AsyncClient(trust_env=False, verify=False) as http:
            answer = await http.post(
                f"http://127.0.0.1:{front.port}{PATH}", json={"model": "m", **(body or {})}, headers=headers
            )
        return answer, front

    return start


@pytest.mark.parametrize("body", [{}, {"response_format": "url"}, {"response_format": None}])
async def test_a_client_gets_urls_unless_it_says_otherwise(painter, body):
    answer, front = await painter(body=body)
    first, second = answer.json()["data"]
    assert answer.json() == {
        "created": 7,
        "data": [
            {"b64_json": None, "revised_prompt": "x", "url": first["url"]},
            {"b64_json": None, "url": second["url"]},
        ],
        "usage": {"n": 1},
    }
    for item in (first, second):
        base, _, name = item["url"].rpartition("/")
        assert base == f"http://127.0.0.1:{front.port}/v1/images/files"
        assert await front.proxy.gallery.find(name) == (PNG, "image/png")


async def test_the_images_themselves_are_passed_on_byte_for_byte(painter):
    reply = b'{ "data" : [{"b64_json": "not looked at"}] }'
    answer, front = await painter(reply, body={"response_format": "b64_json"})
    assert answer.content == reply
    assert front.proxy.gallery._sizes == {}


async def test_the_url_has_the_name_by_which_the_client_came(painter):
    answer, _ = await painter(host="localhost:1234")
    assert answer.json()["data"][0]["url"].startswith("http://localhost:1234/v1/images/files/")


@pytest.mark.parametrize("host", [[], [(b"host", b"a b")], [(b"host", b'x"><script>')], [(b"host", b"x/../y")]])
async def test_without_a_proper_host_the_url_is_a_path(host):
    links = Links(Gallery())
    change = links.change({"headers": host, "scheme": "http"}, None, b"{}")
    assert json.loads(await change(json.dumps(REPLY).encode()))["data"][0]["url"].startswith("/v1/images/files/")


async def test_a_stream_is_passed_on_as_it_comes(painter):
    events = f'data: {{"b64_json": "{PACKED}"}}\n\n'.encode()
    answer, _ = await painter(events, "text/event-stream")
    assert answer.content == events


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (b"no json", "not JSON"),
        (b"[]", "no list of images"),
        ({"created": 1}, "no list of images"),
        ({"data": ["x"]}, "no list of images"),
        ({"data": [{"b64_json": "%"}]}, "not base64"),
        ({"data": [{"b64_json": 7}]}, "not base64"),
    ],
)
async def test_a_reply_without_images_is_the_engines_fault(painter, reply, sentence):
    answer, front = await painter(reply)
    assert answer.status_code == 502
    assert sentence in answer.json()["detail"]
    assert answer.json()["error"]["source"] == "engine"
    assert front.outcomes() == {"5xx": 1}


async def test_an_image_without_content_is_left_alone(painter):
    answer, _ = await painter({"data": [{"url": "x", "b64_json": None}]})
    assert answer.json() == {"data": [{"url": "x", "b64_json": None}]}


async def test_without_room_the_client_is_told_of_the_other_way(gateway, start_engine):
    async def paint(exchange):
        await exchange.reply(json.dumps(REPLY).encode())

    front = await gateway(await start_engine(paint), path=PATH, serves="image", links=True)
    front.proxy.gallery.limits = GalleryLimits(bytes=3)
    async with httpx2.AsyncClient(trust_env=False, verify=False) as http:
        answer = await http.post(f"http://127.0.0.1:{front.port}{PATH}", json={"model": "m"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (507, "response_format")
    assert "response_format: b64_json" in answer.json()["detail"]


async def test_an_engine_that_dies_in_the_middle_is_a_clean_error(gateway, start_engine):
    async def die(exchange):
        await exchange.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{")
        exchange.die()

    front = await gateway(await start_engine(die), path=PATH, serves="image", links=True)
    async with httpx2.AsyncClient(trust_env=False, verify=False) as http:
        answer = await http.post(f"http://127.0.0.1:{front.port}{PATH}", json={"model": "m"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "engine_died")


async def test_a_reply_beyond_all_measure_is_refused(painter, monkeypatch):
    monkeypatch.setattr("xserve.http.relay.MAX_CHANGED", 1000)
    answer, _ = await painter({"data": [{"b64_json": PACKED * 100}]})
    assert answer.status_code == 502
    assert "longer than 1000 bytes" in answer.json()["detail"]
