"""The client that talks to engines, against real unix sockets."""

from __future__ import annotations

import asyncio
import socket

import pytest
import uvloop

from xserve.http.upstream import Upstream, request_head, request_line
from xserve.http.wire import HIGH_WATER, MAX_HEAD, DiedError, MalformedError, Reply, UnreachableError

HEAD = request_head(request_line("POST", "/x"), 4, [])


async def ok(exchange):
    await exchange.reply(b'{"echo":"%b"}' % exchange.body)


async def read_all(reply: Reply) -> bytes:
    body = b""
    while piece := await reply.read():
        body += piece
    return body


async def test_request_arrives_as_written_and_the_reply_is_read_whole(start_engine):
    engine = await start_engine(ok)
    upstream = Upstream()
    head = request_head(request_line("POST", "/v1/x"), 4, [(b"x-request-id", b"7"), (b"x-evil", b"a\r\ninjected: yes")])
    reply = await upstream.send(engine.path, head, b"body")
    assert (reply.status, reply.header(b"content-type")) == (200, b"application/json")
    assert await read_all(reply) == b'{"echo":"body"}'
    assert engine.requests[0].head.startswith(b"POST /v1/x HTTP/1.1\r\nhost: engine\r\n")
    assert b"x-request-id: 7\r\n" in engine.requests[0].head
    assert b"injected" not in engine.requests[0].head
    upstream.close()


async def test_connections_are_reused_one_after_the_other_but_not_shared(start_engine):
    engine = await start_engine(ok)
    upstream = Upstream()
    for _ in range(3):
        await read_all(await upstream.send(engine.path, HEAD, b"abcd"))
    assert engine.connections == 1
    bodies = await asyncio.gather(*(upstream.fetch(engine.path, "POST", "/", b"%d" % n, timeout=9) for n in range(5)))
    assert [answer.body for answer in bodies] == [b'{"echo":"%d"}' % n for n in range(5)]
    assert engine.connections == 5
    upstream.close()


async def test_chunked_empty_and_close_delimited_bodies(start_engine):
    async def script(exchange):
        if exchange.body == b"chnk":
            await exchange.begin_stream()
            await exchange.chunk(b"ab")
            await exchange.chunk(b"cd")
            await exchange.end_stream()
        elif exchange.body == b"none":
            await exchange.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        else:
            await exchange.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nuntil the end")
            exchange.writer.close()

    engine = await start_engine(script)
    upstream = Upstream()
    assert await read_all(await upstream.send(engine.path, HEAD, b"chnk")) == b"abcd"
    assert await read_all(await upstream.send(engine.path, HEAD, b"none")) == b""
    assert await read_all(await upstream.send(engine.path, HEAD, b"till")) == b"until the end"
    upstream.close()


async def test_a_connection_closed_while_idle_costs_one_silent_retry(start_engine, until):
    """Even when the close has not been noticed yet as the request is written."""
    engine = await start_engine(ok)
    upstream = Upstream()
    await upstream.fetch(engine.path, "GET", "/", timeout=9)
    engine.hang_up()  # the event loop has had no chance to tell the pool
    assert (await upstream.fetch(engine.path, "GET", "/", timeout=9)).status == 200
    assert engine.connections == 2
    await until(lambda: upstream.idle(engine.path) == 1)
    upstream.close()


async def test_a_request_that_makes_the_engine_hang_up_is_sent_at_most_twice(start_engine):
    async def script(exchange):
        if exchange.body == b"kill":
            exchange.die()
        else:
            await ok(exchange)

    engine = await start_engine(script)
    upstream = Upstream()
    await read_all(await upstream.send(engine.path, HEAD, b"good"))
    with pytest.raises(DiedError, match="before it replied"):
        await upstream.send(engine.path, HEAD, b"kill")
    assert [exchange.body for exchange in engine.requests] == [b"good", b"kill", b"kill"]
    with pytest.raises(DiedError):
        await upstream.send(engine.path, HEAD, b"kill")
    assert len(engine.requests) == 4, "on a fresh connection there is no retry"


async def test_an_engine_that_is_gone_after_a_reused_connection_died_counts_as_died(start_engine):
    """The request may have killed it, so nobody may take this for 'never sent'."""
    engine = await start_engine(ok)
    upstream = Upstream()
    await upstream.fetch(engine.path, "GET", "/", timeout=9)
    await engine.stop()
    with pytest.raises(DiedError, match="ended before it replied"):
        await upstream.send(engine.path, HEAD, b"abcd")
    with pytest.raises(UnreachableError, match="cannot be reached: No such file"):
        await upstream.send(engine.path, HEAD, b"abcd")


async def test_no_retry_once_a_byte_has_come(start_engine):
    async def script(exchange):
        if exchange.body == b"kill":
            await exchange.write(b"HTTP/1.1 2")
            exchange.die()
        else:
            await ok(exchange)

    engine = await start_engine(script)
    upstream = Upstream()
    await read_all(await upstream.send(engine.path, HEAD, b"good"))
    with pytest.raises(DiedError):
        await upstream.send(engine.path, HEAD, b"kill")
    assert len(engine.requests) == 2


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * (2 * MAX_HEAD),
    ],
)
async def test_what_is_not_http_is_malformed_and_closes_the_connection(start_engine, garbage):
    async def script(exchange):
        await exchange.write(garbage)
        await exchange.until_client_closes()

    engine = await start_engine(script)
    with pytest.raises(MalformedError):
        await read_all(await Upstream().send(engine.path, HEAD, b"abcd"))
    await asyncio.wait_for(engine.abandoned.wait(), 10)


async def test_bytes_that_nobody_asked_for_cost_the_connection_not_the_reply(start_engine, until):
    async def script(exchange):
        await exchange.write(
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"
        )

    engine = await start_engine(script)
    upstream = Upstream()
    for _ in range(2):
        assert await read_all(await upstream.send(engine.path, HEAD, b"abcd")) == b"ok"
    assert engine.connections == 2
    await until(lambda: upstream.idle(engine.path) == 0)


async def test_death_in_the_middle_is_told_after_the_good_bytes(start_engine):
    async def script(exchange):
        await exchange.begin_stream()
        await exchange.chunk(b"good")
        exchange.writer.close()

    engine = await start_engine(script)
    reply = await Upstream().send(engine.path, HEAD, b"abcd")
    assert await reply.read() == b"good"
    with pytest.raises(DiedError, match="in the middle"):
        await reply.read()


async def test_a_body_shorter_than_announced_is_a_death(start_engine):
    async def script(exchange):
        await exchange.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfive!")
        exchange.writer.close()

    engine = await start_engine(script)
    with pytest.raises(DiedError):
        await read_all(await Upstream().send(engine.path, HEAD, b"abcd"))


@pytest.mark.parametrize("begun", [False, True])
async def test_cancelling_closes_the_connection_at_once(start_engine, begun):
    async def script(exchange):
        if begun:
            await exchange.begin_stream()
        await exchange.until_client_closes()

    engine = await start_engine(script)
    upstream = Upstream()

    async def ask():
        reply = await upstream.send(engine.path, HEAD, b"abcd")
        try:
            await reply.read()
        finally:
            reply.close()

    task = asyncio.create_task(ask())
    await asyncio.wait_for(engine.asked.wait(), 10)
    task.cancel()
    await asyncio.wait_for(engine.abandoned.wait(), 10)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert upstream.idle(engine.path) == 0


async def test_an_engine_is_not_read_from_while_nobody_reads_the_reply(start_engine, until):
    """Memory stays bounded: the engine's own writes come to a standstill."""
    written = 0
    piece = b"x" * 16384

    async def script(exchange):
        nonlocal written
        await exchange.begin_stream()
        for _ in range(1000):
            await exchange.chunk(piece)
            written += len(piece)
        await exchange.end_stream()

    engine = await start_engine(script)
    upstream = Upstream()
    reply = await upstream.send(engine.path, HEAD, b"abcd")
    engine_writes = engine.requests[0].writer.transport
    await until(lambda: reply._connection._paused and engine_writes.get_write_buffer_size() >= len(piece))
    assert written < 4_000_000, "of 16 MB"
    assert reply._size < HIGH_WATER + 512 * 1024
    assert len(await read_all(reply)) == 1000 * len(piece)
    assert upstream.idle(engine.path) == 1, "afterwards the connection is as good as before"
    upstream.close()


async def test_idle_connections_are_closed_before_the_engine_would(start_engine, until):
    engine = await start_engine(ok)
    upstream = Upstream(idle_seconds=0.05)
    await upstream.fetch(engine.path, "GET", "/", timeout=9)
    assert upstream.idle(engine.path) == 1
    await until(lambda: upstream.idle(engine.path) == 0)


async def test_forgetting_an_engine_closes_its_idle_connections(start_engine, until):
    engine = await start_engine(ok)
    upstream = Upstream()
    await upstream.fetch(engine.path, "GET", "/", timeout=9)
    upstream.forget(engine.path)
    assert upstream.idle(engine.path) == 0
    upstream.close()


async def test_connections_to_one_engine_are_limited_and_a_closed_one_makes_room(start_engine, until):
    async def script(exchange):
        await exchange.until_client_closes()

    engine = await start_engine(script)
    upstream = Upstream(max_connections=1)
    task = asyncio.create_task(upstream.send(engine.path, HEAD, b"abcd"))
    await asyncio.wait_for(engine.asked.wait(), 10)
    with pytest.raises(UnreachableError, match="already has 1 connections"):
        await upstream.send(engine.path, HEAD, b"abcd")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.wait_for(engine.abandoned.wait(), 10)
    again = asyncio.create_task(upstream.send(engine.path, HEAD, b"abcd"))
    await until(lambda: len(engine.requests) == 2)
    again.cancel()
    await asyncio.gather(again, return_exceptions=True)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("turns", range(6))
def test_an_asker_that_leaves_while_it_connects_frees_one_place_and_not_two(folder, new_loop, turns):
    """Loops differ in whether they tell of a connection that was made in the moment of the departure."""
    path = str(folder / "engine")

    async def silent(reader, writer):
        await reader.read()
        writer.close()

    async def scenario():
        server = await asyncio.start_unix_server(silent, path)
        upstream = Upstream(max_connections=2)
        staying = asyncio.create_task(upstream.send(path, HEAD))
        leaving = asyncio.create_task(upstream.send(path, HEAD))
        for _ in range(turns):  # of the loop: the departure falls into each step of connecting
            await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait({leaving})
        second = await until_placed(upstream)
        with pytest.raises(UnreachableError, match="already has 2 connections"):
            await upstream.send(path, HEAD)
        for task in (staying, second):
            task.cancel()
        await asyncio.wait({staying, second})
        server.close()

    async def until_placed(upstream):
        """A request that got the place which the one that left had."""
        while True:
            asking = asyncio.create_task(upstream.send(path, HEAD))
            await asyncio.wait({asking}, timeout=0.01)
            if not asking.done():
                return asking
            assert isinstance(asking.exception(), UnreachableError)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(asyncio.wait_for(scenario(), 20))


async def test_a_full_accept_queue_is_waited_for(folder):
    """Small servers listen with a backlog of five; a burst must not fail on that."""
    path = str(folder / "slow")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(0)
        listening.setblocking(False)
        upstream = Upstream()
        tasks = [asyncio.create_task(upstream.fetch(path, "GET", "/", timeout=20)) for _ in range(4)]
        for _ in range(4):
            connection, _ = await asyncio.get_running_loop().sock_accept(listening)
            connection.setblocking(False)
            await asyncio.get_running_loop().sock_recv(connection, 1000)
            await asyncio.get_running_loop().sock_sendall(connection, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            connection.close()
        assert [(await task).status for task in tasks] == [200] * 4


async def test_fetch_keeps_to_its_limits(start_engine):
    async def script(exchange):
        if exchange.body == b"slow":
            await exchange.until_client_closes()
        else:
            await exchange.reply(b"x" * 1000)

    engine = await start_engine(script)
    upstream = Upstream()
    with pytest.raises(MalformedError, match="longer than 999 bytes"):
        await upstream.fetch(engine.path, "POST", "/", b"long", timeout=9, limit=999)
    with pytest.raises(TimeoutError):
        await upstream.fetch(engine.path, "POST", "/", b"slow", timeout=0.05)
    await asyncio.wait_for(engine.abandoned.wait(), 10)
