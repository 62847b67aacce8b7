"""The hot path, from a real client socket to a real engine socket."""

from __future__ import annotations

import asyncio
import json

import openai
import pytest

from xserve.http.proxy import Proxy, ProxyLimits
from xserve.http.relay import GATHER
from xserve.http.traffic import Unavailable

PATH = "/v1/chat/completions"
COMPLETION = json.dumps({
    "id": "c", "object": "chat.completion", "created": 0, "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Paris"}, "finish_reason": "stop"}],
}).encode()  # fmt: skip
CHUNK = b'data: {"id":"c","object":"chat.completion.chunk","created":0,"model":"m","choices":[]}\n\n'


async def ok(exchange):
    await exchange.reply(COMPLETION)


async def hang(exchange):
    await exchange.until_client_closes()


async def connect(port: int, body: bytes, extra: str = ""):
    """Send a request by hand; returns the open connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST {PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{extra}"
    writer.write(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
    return reader, writer


async def post(port: int, body: bytes, extra: str = "") -> tuple[int, bytes, bytes]:
    """(status, head, body as sent on the wire) of one request on a connection of its own."""
    reader, writer = await connect(port, body, extra + "connection: close\r\n")
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    head, _, content = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head, content


def ask(**members) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": "?"}], **members}).encode()


# what goes through


async def test_an_unchanged_request_reaches_the_engine_byte_for_byte(gateway, start_engine):
    engine = await start_engine(ok)
    front = await gateway(engine)
    body = b'{ "messages":[{"role":"user","content":"\\u00e9"}],  "model" : "m" , "n":1.0 }'
    extra = "authorization: Bearer s3cret\r\ncookie: a=b\r\nx-forwarded-for: 1.2.3.4\r\nx-request-id: my-id\r\n"
    status, head, content = await post(front.port, body, extra + "accept: */*\r\n")
    assert (status, content) == (200, COMPLETION)
    assert b"x-request-id: my-id" in head
    seen = engine.requests[0]
    assert seen.body == body
    assert seen.head.decode().split("\r\n") == [
        f"POST {PATH} HTTP/1.1",
        "host: engine",
        "content-type: application/json",
        "accept: */*",
        "x-request-id: my-id",
        f"content-length: {len(body)}",
        "",
        "",
    ]


async def test_the_engines_private_headers_stay_inside(gateway, start_engine):
    async def script(exchange):
        await exchange.reply(b"{}", extra="set-cookie: a=b\r\nserver: secret/1\r\naccess-control-allow-origin: *\r\n")

    _, head, _ = await post((await gateway(await start_engine(script))).port, ask())
    for private in (b"set-cookie", b"secret", b"access-control"):
        assert private not in head


async def test_an_alias_and_defaults_are_spliced(gateway, start_engine):
    engine = await start_engine(ok)
    front = await gateway(engine, aliases=("gpt",), request_defaults={"stop": ["<|end|>"]})
    await post(front.port, ask(model="gpt", seed=7))
    sent = json.loads(engine.requests[0].body)
    assert (sent["model"], sent["stop"], sent["seed"]) == ("m", ["<|end|>"], 7)


async def test_defaults_are_for_llms_only(gateway, listen, start_engine):
    engine = await start_engine(ok)
    front = await gateway(engine, model_type="embedding", request_defaults={"stop": ["x"]})
    route = Proxy(front.traffic, front.upstream).route("/v1/embeddings", "embedding", "LLM")
    await post((await listen(route)).port, ask())
    assert engine.requests[0].body == ask()


async def test_the_openai_client_completes_and_streams(gateway, start_engine):
    async def script(exchange):
        if not json.loads(exchange.body).get("stream"):
            await ok(exchange)
            return
        await exchange.begin_stream()
        for _ in range(3):
            await exchange.chunk(CHUNK)
        await exchange.chunk(b"data: [DONE]\n\n")
        await exchange.end_stream()

    front = await gateway(await start_engine(script))
    async with front.client() as client:
        messages = [{"role": "user", "content": "The capital of France?"}]
        answer = await client.chat.completions.create(model="m", messages=messages)
        assert answer.choices[0].message.content == "Paris"
        stream = await client.chat.completions.create(model="m", messages=messages, stream=True)
        assert len([chunk async for chunk in stream]) == 3
    assert front.outcomes() == {"2xx": 2}
    assert front.busy() == 0


async def test_events_are_passed_on_as_they_come_even_if_cut_in_odd_places(gateway, start_engine):
    go_on = asyncio.Event()

    async def script(exchange):
        await exchange.begin_stream()
        await exchange.chunk(CHUNK + CHUNK[:20])
        await go_on.wait()
        await exchange.chunk(CHUNK[20:] + b"data: [DO")
        await exchange.chunk(b"NE]\r\n\r")
        await exchange.chunk(b"\n: no end")
        await exchange.end_stream()

    reader, writer = await connect((await gateway(await start_engine(script))).port, ask(stream=True))
    await reader.readuntil(b"\r\n\r\n")
    first = await asyncio.wait_for(reader.readuntil(CHUNK), 10)
    assert CHUNK[:20] not in first.partition(CHUNK)[2]
    go_on.set()
    rest = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 10)
    assert b"data: [DONE]\r\n\r\n" in rest
    assert b": no end" in rest
    writer.close()


@pytest.mark.parametrize("size", [0, 1, GATHER, GATHER + 1, 5 * GATHER])
@pytest.mark.parametrize("chunked", [False, True])
async def test_bodies_of_any_size_arrive_whole(gateway, start_engine, size, chunked):
    content = bytes(range(256)) * (size // 256 + 1)

    async def script(exchange):
        if chunked:
            await exchange.begin_stream("application/octet-stream")
            for at in range(0, size, 100_000):
                await exchange.chunk(content[at : min(size, at + 100_000)])
            await exchange.end_stream()
        else:
            await exchange.reply(content[:size], kind="audio/mpeg")

    status, head, body = await post((await gateway(await start_engine(script))).port, ask())
    if b"transfer-encoding: chunked" in head:
        assert chunked, "a length that the engine gave is passed on"
        body = unchunk(body)
    assert (status, body == content[:size]) == (200, True)


def unchunk(data: bytes) -> bytes:
    body = b""
    while True:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            return body
        body, data = body + data[:length], data[length + 2 :]


async def test_a_stream_that_is_no_event_stream_is_not_held_back(gateway, start_engine):
    async def script(exchange):
        await exchange.begin_stream("audio/mpeg")
        await exchange.chunk(b"first sound")
        await exchange.until_client_closes()

    reader, writer = await connect((await gateway(await start_engine(script))).port, ask(stream=True))
    await asyncio.wait_for(reader.readuntil(b"first sound"), 10)
    writer.close()


# what is refused


async def test_refusals_are_readable_by_the_openai_client(gateway, start_engine):
    front = await gateway(await start_engine(ok), request_limit=0)
    async with front.client() as client:
        with pytest.raises(openai.NotFoundError) as unknown:
            await client.chat.completions.create(model="nobody", messages=[])
        assert unknown.value.message.startswith("Error code: 404")
        assert unknown.value.body["message"].startswith("Model not found in the model list, uid: nobody")
        assert (unknown.value.code, unknown.value.param, unknown.value.body["source"]) == (
            "model_not_found", "model", "xserve",
        )  # fmt: skip
        with pytest.raises(openai.RateLimitError, match="Rate limit reached"):
            await client.chat.completions.create(model="m", messages=[])
        front.publish()
        front.traffic.explain("m", Unavailable.loading("0 of 2 shards"))
        with pytest.raises(openai.InternalServerError, match="Model is loading, please retry later") as loading:
            await client.chat.completions.create(model="m", messages=[])
        assert loading.value.response.headers["retry-after"] == "30"
    assert front.outcomes() == {"4xx": 1, "5xx": 1}


@pytest.mark.parametrize("body", [b"{", b"{}", b'{"model":1}', b"[1]"])
async def test_a_body_at_fault_is_400_in_both_dialects(gateway, start_engine, body):
    engine = await start_engine(ok)
    status, _, content = await post((await gateway(engine)).port, body)
    answer = json.loads(content)
    assert (status, engine.requests) == (400, [])
    assert answer["detail"] == answer["error"]["message"]
    assert answer["error"]["type"] == "invalid_request_error"


async def test_a_model_of_another_type_is_named_as_what_it_is(gateway, start_engine):
    front = await gateway(await start_engine(ok), model_type="embedding")
    status, _, content = await post(front.port, ask())
    assert status == 400
    assert "m is of type embedding" in json.loads(content)["detail"]


async def test_a_body_without_end_is_413_by_counting(gateway, start_engine):
    """The answer comes while the client still sends, and it can be read."""
    front = await gateway(await start_engine(ok), limits=ProxyLimits(body_bytes=100_000))
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(
        b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    for _ in range(30):
        writer.write(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
        await writer.drain()
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    assert answer.startswith(b"HTTP/1.1 413")
    writer.close()


async def test_an_announced_body_that_is_too_long_is_413_at_once(gateway, start_engine):
    front = await gateway(await start_engine(ok), limits=ProxyLimits(body_bytes=10))
    status, _, content = await post(front.port, ask())
    assert (status, json.loads(content)["error"]["code"]) == (413, "body_too_large")


# the client leaves


@pytest.mark.parametrize("size", [1, 1_000_000])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_before_the_first_byte_cancels_the_engine(
    gateway, start_engine, until, stream, size
):
    engine = await start_engine(hang)
    front = await gateway(engine)
    _, writer = await connect(front.port, ask(stream=stream, user="x" * size))
    await asyncio.wait_for(engine.asked.wait(), 10)
    writer.close()
    await asyncio.wait_for(engine.abandoned.wait(), 10)
    await until(lambda: front.busy() == 0)
    assert front.outcomes() == {"gone": 1}


@pytest.mark.parametrize("kind", ["text/event-stream", "application/json"])
async def test_a_client_that_leaves_in_mid_reply_cancels_the_engine(gateway, start_engine, until, kind):
    async def script(exchange):
        await exchange.begin_stream(kind)
        await exchange.chunk(CHUNK)
        await exchange.until_client_closes()

    engine = await start_engine(script)
    front = await gateway(engine)
    reader, writer = await connect(front.port, ask(stream=kind != "application/json"))
    if kind != "application/json":
        await reader.readuntil(CHUNK)
    else:
        await asyncio.wait_for(engine.asked.wait(), 10)
    writer.close()
    await asyncio.wait_for(engine.abandoned.wait(), 10)
    await until(lambda: front.busy() == 0)
    assert front.outcomes() == {"gone": 1}


@pytest.mark.parametrize("sent", [0, 1])
async def test_another_server_tells_of_a_departure_by_receive(gateway, start_engine, sent):
    """Without the listener's extension, as ASGI has it: `receive()` is waited for beside the work."""

    async def script(exchange):
        await exchange.begin_stream()
        for _ in range(sent):
            await exchange.chunk(CHUNK)
        await exchange.until_client_closes()

    engine = await start_engine(script)
    front = await gateway(engine)
    body = ask(stream=True)
    messages = []

    async def receive():
        if not messages:
            messages.append("body")
            return {"type": "http.request", "body": body, "more_body": False}
        await engine.asked.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        pass

    scope = {"type": "http", "method": "POST", "path": PATH, "headers": [(b"content-type", b"application/json")]}
    await asyncio.wait_for(front.route(scope, receive, send), 10)
    await asyncio.wait_for(engine.abandoned.wait(), 10)
    assert front.outcomes() == {"gone": 1}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_server_that_reports_the_end_as_a_departure_does_not_turn_success_into_one(
    gateway, start_engine, stream
):
    """As ASGI has it: after the last byte `receive()` says disconnect."""

    async def script(exchange):
        if stream:
            await exchange.begin_stream()
            await exchange.chunk(CHUNK)
            await exchange.end_stream()
        else:
            await ok(exchange)

    front = await gateway(await start_engine(script))
    ended = asyncio.Event()
    messages = []

    async def receive():
        if messages:
            await ended.wait()
            return {"type": "http.disconnect"}
        messages.append("body")
        return {"type": "http.request", "body": ask(stream=stream), "more_body": False}

    async def send(message):
        if message["type"] == "http.response.body" and not message.get("more_body"):
            ended.set()
            for _ in range(5):  # the watcher gets its turns
                await asyncio.sleep(0)

    scope = {"type": "http", "method": "POST", "path": PATH, "headers": []}
    await asyncio.wait_for(front.route(scope, receive, send), 10)
    assert front.outcomes() == {"2xx": 1}


async def test_a_cancelled_request_stays_cancelled(gateway, start_engine):
    """The server's own cancelling, at its end, is not taken for the client's departure."""
    engine = await start_engine(hang)
    front = await gateway(engine)
    messages = []

    async def receive():
        if messages:
            await asyncio.Event().wait()
        messages.append("body")
        return {"type": "http.request", "body": ask(), "more_body": False}

    scope = {"type": "http", "method": "POST", "path": PATH, "headers": []}
    task = asyncio.create_task(front.route(scope, receive, None))
    await asyncio.wait_for(engine.asked.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(engine.abandoned.wait(), 10)


async def test_a_client_that_leaves_while_it_waits_for_a_connection_is_forgotten(gateway, folder, until):
    """The engine's accept queue is full: nothing has been sent to it yet."""
    import socket

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "full"))
        listening.listen(0)
        filler = [socket.socket(socket.AF_UNIX) for _ in range(1)]
        filler[0].connect(str(folder / "full"))

        class Full:
            path = str(folder / "full")

        front = await gateway(Full)
        _, writer = await connect(front.port, ask())
        await until(lambda: front.busy() == 1)
        writer.close()
        await until(lambda: front.busy() == 0)
        assert front.outcomes() == {"gone": 1}
        for each in filler:
            each.close()


async def test_a_client_that_leaves_behind_a_pipelined_request_cancels_the_engine(gateway, start_engine, until):
    engine = await start_engine(hang)
    front = await gateway(engine)
    _, writer = await connect(front.port, ask())
    await asyncio.wait_for(engine.asked.wait(), 10)
    head = f"POST {PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: "
    writer.write(head.encode() + b"%d\r\n\r\n" % len(ask()) + ask())
    (connection,) = front.listener._state.connections
    await until(lambda: len(connection.pipeline) == 1)
    writer.close()
    await asyncio.wait_for(engine.abandoned.wait(), 10)
    await until(lambda: front.busy() == 0)


async def test_a_client_that_reads_nothing_holds_the_engine_back(gateway, start_engine, until):
    sent = 0

    async def script(exchange):
        nonlocal sent
        await exchange.begin_stream()
        for _ in range(2000):
            await exchange.chunk(CHUNK * 200)
            sent += len(CHUNK) * 200

    engine = await start_engine(script)
    front = await gateway(engine)
    _, writer = await connect(front.port, ask(stream=True))
    writer.transport.pause_reading()
    await until(lambda: bool(engine.requests) and engine.requests[0].writer.transport.get_write_buffer_size() > 65536)
    assert sent < 16_000_000, "of 35 MB"
    writer.transport.abort()
    await until(lambda: front.busy() == 0)


# the engine fails


@pytest.mark.parametrize("stream", [False, True])
async def test_death_before_the_reply_is_a_clean_502(gateway, start_engine, stream):
    async def script(exchange):
        exchange.die()

    engine = await start_engine(script)
    other = await start_engine(ok)
    front = await gateway(engine, other)
    front.traffic.drain("m-1")
    status, _, content = await post(front.port, ask(stream=stream))
    answer = json.loads(content)["error"]
    assert (status, answer["code"], answer["source"]) == (502, "engine_died", "engine")
    assert front.outcomes() == {"5xx": 1}
    assert len(engine.requests) == 1


async def test_a_request_that_an_engine_has_seen_goes_to_no_other(gateway, start_engine):
    async def script(exchange):
        exchange.die()

    engines = [await start_engine(script), await start_engine(script)]
    status, _, _ = await post((await gateway(*engines)).port, ask())
    assert status == 502
    assert sum(len(engine.requests) for engine in engines) == 1


async def test_a_replica_that_cannot_be_reached_is_passed_over(gateway, start_engine):
    gone, alive = await start_engine(ok), await start_engine(ok)
    front = await gateway(gone, alive)
    await gone.stop()
    statuses = [(await post(front.port, ask()))[0] for _ in range(4)]
    assert statuses == [200] * 4
    assert len(alive.requests) == 4
    assert front.busy() == 0


async def test_no_replica_within_reach_is_503_with_a_time_to_come_back(gateway, start_engine):
    gone = await start_engine(ok)
    front = await gateway(gone)
    await gone.stop()
    status, head, content = await post(front.port, ask())
    assert (status, json.loads(content)["error"]["code"]) == (503, "engine_unreachable")
    assert b"retry-after: 2" in head


async def test_death_in_mid_stream_is_an_error_event_and_a_proper_end(gateway, start_engine):
    """No half event comes before it: clients parse each event as JSON."""

    async def script(exchange):
        await exchange.begin_stream()
        await exchange.chunk(CHUNK + CHUNK[:30])
        exchange.writer.close()

    front = await gateway(await start_engine(script))
    _, _, content = await post(front.port, ask(stream=True))
    events = [event for event in unchunk(content).split(b"\n\n") if event]
    assert events[0] == CHUNK.strip()
    error = json.loads(events[1].removeprefix(b"data: "))["error"]
    assert (len(events), error["code"], error["source"]) == (2, "engine_died", "engine")
    assert front.outcomes() == {"5xx": 1}


async def test_the_openai_client_raises_the_error_of_a_broken_stream(gateway, start_engine):
    async def script(exchange):
        await exchange.begin_stream()
        await exchange.chunk(CHUNK)
        exchange.die()

    front = await gateway(await start_engine(script))
    async with front.client() as client:
        stream = await client.chat.completions.create(model="m", messages=[], stream=True)
        with pytest.raises(openai.APIError, match="closed the connection in the middle"):
            async for _ in stream:
                pass


async def test_death_in_a_short_reply_is_a_clean_502(gateway, start_engine):
    async def script(exchange):
        await exchange.write(b"HTTP/1.1 200 OK\r\ncontent-length: 500000\r\n\r\n" + b"x" * 400_000)
        exchange.writer.close()

    status, _, content = await post((await gateway(await start_engine(script))).port, ask())
    assert (status, json.loads(content)["error"]["code"]) == (502, "engine_died")


@pytest.mark.parametrize("framing", ["content-length: 9000000", "transfer-encoding: chunked"])
async def test_death_in_a_long_reply_cannot_be_taken_for_its_end(gateway, start_engine, framing):
    async def script(exchange):
        await exchange.write(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n".encode())
        piece = b"x" * (3 * GATHER)
        await (exchange.chunk(piece) if "chunked" in framing else exchange.write(piece))
        exchange.writer.close()

    front = await gateway(await start_engine(script))
    status, head, content = await post(front.port, ask())
    assert status == 200
    if b"content-length" in head:
        assert len(content) < 9_000_000
    else:
        assert not content.endswith(b"0\r\n\r\n")
    assert front.outcomes() == {"5xx": 1}


async def test_a_reply_that_is_not_http_is_502_and_says_so(gateway, start_engine):
    async def script(exchange):
        await exchange.write(b"I am a teapot\r\n\r\n")

    status, _, content = await post((await gateway(await start_engine(script))).port, ask())
    answer = json.loads(content)["error"]
    assert (status, answer["code"]) == (502, "engine_malformed")
    assert "not valid HTTP" in answer["message"]


async def test_an_engine_that_does_not_begin_in_time_is_504_and_cancelled(gateway, start_engine):
    engine = await start_engine(hang)
    front = await gateway(engine, limits=ProxyLimits(first_byte_seconds=0.05))
    status, _, content = await post(front.port, ask())
    assert (status, json.loads(content)["error"]["code"]) == (504, "engine_timeout")
    await asyncio.wait_for(engine.abandoned.wait(), 10)


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        ("400 Bad Request", b'{"error":{"message":"too long","type":"t","code":"c","param":"p"}}', "too long"),
        ("400 Bad Request", b'{"error":{"message":"too long","code":400}}', "too long"),
        ("422 Unprocessable", b'{"detail":"too long"}', "too long"),
        ("400 Bad Request", b'{"error":"too long"}', "too long"),
        ("400 Bad Request", b"too long\n", "too long"),
        ("404 Not Found", b"", "The engine gave no reason."),
        ("501 Not Implemented", b'{"message":"no logit_bias"}', "no logit_bias"),
    ],
)
async def test_an_engines_error_is_put_into_the_one_envelope(gateway, start_engine, status, body, message):
    async def script(exchange):
        await exchange.reply(body, status=status)

    got, _, content = await post((await gateway(await start_engine(script))).port, ask())
    answer = json.loads(content)
    assert got == int(status.split()[0])
    assert (answer["detail"], answer["error"]["message"], answer["error"]["source"]) == (message, message, "engine")


async def test_what_an_engine_says_about_its_own_fault_is_not_shown_to_strangers(gateway, start_engine, caplog):
    async def script(exchange):
        await exchange.reply(b'{"error":{"message":"at 0x7f00dead"}}', status="500 Internal Server Error")

    front = await gateway(await start_engine(script))
    _, _, content = await post(front.port, ask(), "x-request-id: req-7\r\n")
    assert b"0x7f00dead" not in content
    assert "req-7" in json.loads(content)["detail"]
    assert "0x7f00dead" in caplog.text


async def test_draining_ends_with_the_last_request(gateway, start_engine):
    go_on = asyncio.Event()

    async def script(exchange):
        await go_on.wait()
        await ok(exchange)

    engine = await start_engine(script)
    front = await gateway(engine)
    task = asyncio.create_task(post(front.port, ask()))
    await asyncio.wait_for(engine.asked.wait(), 10)
    front.traffic.drain("m-0")
    assert front.drained == []
    go_on.set()
    assert (await task)[0] == 200
    assert front.drained == ["m-0"]
