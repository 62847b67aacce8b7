"""Uploads on their way: what reaches the engine, what is refused, and what a departure does."""

from __future__ import annotations

import asyncio
import json

import pytest

from xserve.http.proxy import ProxyLimits

PATH = "/v1/audio/transcriptions"
SOUND = bytes(range(256)) * 2000  # half a megabyte; every byte there is
KIND = "multipart/form-data; boundary=edge"


def form(**fields: str | bytes) -> bytes:
    """An upload; bytes are a file."""
    body = b""
    for name, value in fields.items():
        file = b'; filename="a.wav"' if isinstance(value, bytes) else b""
        content = value if isinstance(value, bytes) else value.encode()
        body += b'--edge\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n' % (name.encode(), file, content)
    return body + b"--edge--\r\n"


async def connect(port: int, body: bytes, length: int | None = None, kind: str = KIND):
    """Send the head and a body, perhaps only the beginning of one; returns the open connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST {PATH} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: {kind}\r\n"
    writer.write(head.encode() + b"content-length: %d\r\n\r\n" % (len(body) if length is None else length) + body)
    await writer.drain()
    return reader, writer


async def upload(port: int, body: bytes, kind: str = KIND) -> tuple[int, bytes]:
    """(status, body) of the answer."""
    reader, writer = await connect(port, body, kind=kind)
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    head, _, content = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), content


async def hear(exchange):
    await exchange.reply(b'{"text": "one"}')


async def test_an_upload_reaches_the_engine_byte_for_byte(gateway, start_engine):
    engine = await start_engine(hear)
    front = await gateway(engine, path=PATH, serves="audio")
    body = form(file=SOUND, model="m", language="en")
    assert await upload(front.port, body) == (200, b'{"text": "one"}')
    seen = engine.requests[0]
    assert seen.body == body
    assert f"content-type: {KIND}" in seen.head.decode().split("\r\n")


@pytest.mark.parametrize("alias", ["w", "a-name-that-is-longer", "模型"])
async def test_an_alias_changes_nothing_but_the_models_name(gateway, start_engine, alias):
    engine = await start_engine(hear)
    front = await gateway(engine, path=PATH, serves="audio", aliases=(alias,))
    assert (await upload(front.port, form(file=SOUND, model=alias, language="en")))[0] == 200
    assert engine.requests[0].body == form(file=SOUND, model="m", language="en")
    assert f"content-length: {len(engine.requests[0].body)}".encode() in engine.requests[0].head


@pytest.mark.parametrize(
    ("body", "kind", "status", "sentence"),
    [
        (form(file=SOUND), KIND, 400, "must be there: the name of a model"),
        (form(file=SOUND, model="nobody"), KIND, 404, "uid: nobody"),
        (form(file=SOUND, model="m")[:-9], KIND, 400, "ends before its closing boundary"),
        (form(file=SOUND, model="m"), "multipart/form-data", 400, "names no boundary"),
        (form(model="m"), "multipart/mixed; boundary=edge", 415, "Content-Type"),
    ],
)
async def test_an_upload_that_cannot_be_routed_is_refused(gateway, start_engine, body, kind, status, sentence):
    engine = await start_engine(hear)
    front = await gateway(engine, path=PATH, serves="audio")
    answered, content = await upload(front.port, body, kind)
    assert answered == status
    assert sentence in json.loads(content)["detail"]
    assert engine.requests == []


async def test_a_model_of_another_type_does_not_get_it(gateway, start_engine):
    front = await gateway(await start_engine(hear), path=PATH, serves="audio", model_type="image")
    status, content = await upload(front.port, form(file=SOUND, model="m"))
    assert (status, json.loads(content)["error"]["code"]) == (400, "wrong_model_type")


async def test_an_upload_beyond_the_limit_is_refused(gateway, start_engine):
    front = await gateway(await start_engine(hear), path=PATH, serves="audio", limits=ProxyLimits(body_bytes=100_000))
    reader, writer = await connect(front.port, form(model="m")[:20], length=100_001)
    assert b" 413 " in await asyncio.wait_for(reader.readline(), 10)
    writer.close()


async def test_a_client_that_leaves_in_the_middle_of_its_upload_is_forgotten(gateway, start_engine, until):
    engine = await start_engine(hear)
    front = await gateway(engine, path=PATH, serves="audio")
    body = form(file=SOUND, model="m")
    _, writer = await connect(front.port, body[: len(body) // 2], length=len(body))
    await until(lambda: len(front.listener._state.tasks) == 1)
    writer.transport.abort()
    await until(lambda: not front.listener._state.tasks)
    assert (engine.requests, front.busy(), front.outcomes()) == ([], 0, {})


async def test_a_client_that_leaves_after_its_upload_cancels_the_work(gateway, start_engine, until):
    async def listen_for_ever(exchange):
        await exchange.until_client_closes()

    engine = await start_engine(listen_for_ever)
    front = await gateway(engine, path=PATH, serves="audio")
    _, writer = await connect(front.port, form(file=SOUND, model="m"))
    await asyncio.wait_for(engine.asked.wait(), 10)
    writer.transport.abort()
    await asyncio.wait_for(engine.abandoned.wait(), 10)
    await until(lambda: front.outcomes() == {"gone": 1})
    assert front.busy() == 0


async def test_an_adapter_that_is_asked_by_its_name_keeps_it(gateway, start_engine):
    engine = await start_engine(hear)
    front = await gateway(engine, path=PATH, serves="audio", adapters={"legal": {}})
    body = form(model="legal", file=SOUND)
    assert (await upload(front.port, body))[0] == 200
    assert engine.requests[0].body == body


async def test_an_adapter_that_needs_members_cannot_be_had_by_a_form(gateway, start_engine):
    front = await gateway(await start_engine(hear), path=PATH, serves="audio", adapters={"legal": {"lora": [1]}})
    status, content = await upload(front.port, form(model="legal", file=SOUND))
    assert status == 400
    assert "legal cannot be asked for in a form" in json.loads(content)["detail"]
