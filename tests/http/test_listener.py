"""The listener against raw sockets: limits, deadlines, sockets, stopping. None of these clients is polite."""

from __future__ import annotations

import asyncio
import os
import socket
import stat

import pytest

from xserve.http.departure import EXTENSION
from xserve.http.listener import Listener
from xserve.http.protocol import MAX_PIPELINED, ConnectionLimits, GuardedProtocol, JoinedWriter
from xserve.http.sockets import BindError, bind_tcp, bind_unix

GET = b"GET /x HTTP/1.1\r\nhost: localhost\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n"
QUICK = ConnectionLimits(head_seconds=0.1, body_seconds=0.1, idle_seconds=1, stalled_seconds=0.1)


async def answer(send, body: bytes) -> None:
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class App:
    """Reads the body, answers with the name of the listener; notes how each request ended."""

    def __init__(self) -> None:
        self.ends: list[str] = []
        self.begun = asyncio.Event()
        self.hold: asyncio.Event | None = None

    async def __call__(self, scope, receive, send):
        self.begun.set()
        try:
            await self._serve(scope, receive, send)
        except asyncio.CancelledError:
            self.ends.append("cancelled")
            raise

    async def _serve(self, scope, receive, send):
        while (message := await receive())["type"] == "http.request" and message["more_body"]:
            pass
        self.ends.append(message["type"])
        if message["type"] == "http.disconnect":
            return
        if self.hold is not None:
            await self.hold.wait()
        await answer(send, scope["state"]["listener"].encode())


async def everything(port: int, *pieces: bytes) -> bytes:
    """What the server says until it closes; the pieces are sent first."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
    try:
        return await asyncio.wait_for(reader.read(), 20)
    finally:
        writer.close()


async def trickle(port: int, start: bytes, piece: bytes) -> bytes:
    """What the server says to one that sends a piece every ten milliseconds and never ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(start)
    reading = asyncio.create_task(reader.read())
    async with asyncio.timeout(20):
        while not reading.done():
            writer.write(piece)
            await asyncio.wait([reading], timeout=0.01)
    writer.close()
    return reading.result()


async def test_a_request_is_answered_and_marked_with_its_listener(listen):
    app = App()
    listener = await listen(app)
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    for _ in range(2):  # on one connection
        writer.write(GET)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\ndate: ")
        assert await reader.readexactly(3) == b"tcp"
    writer.close()
    assert listener.address == f"127.0.0.1:{listener.port}"


async def test_a_head_does_not_wait_for_a_body_that_is_late(listen):
    go_on = asyncio.Event()

    async def late(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await go_on.wait()
        await send({"type": "http.response.body", "body": b"late"})

    reader, writer = await asyncio.open_connection("127.0.0.1", (await listen(late)).port)
    writer.write(GET)
    await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    go_on.set()
    await asyncio.wait_for(reader.readuntil(b"late"), 10)
    writer.close()


async def test_a_head_without_a_body_is_sent_before_the_connection_is_closed(listen):
    async def breaks_off(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    assert (await everything((await listen(breaks_off)).port, GET)).endswith(b"transfer-encoding: chunked\r\n\r\n")


async def test_a_head_for_a_client_that_has_left_is_dropped():
    """uvloop raises on a write to a closed connection."""

    class Closed:
        def write(self, data):
            raise RuntimeError("the handler is closed")

        def is_closing(self):
            return True

    problems = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: problems.append(context))
    JoinedWriter(asyncio.get_running_loop(), Closed()).write(b"head")
    await asyncio.sleep(0)
    assert problems == []


# deadlines


async def test_a_connection_that_never_sends_is_closed(listen):
    assert b"408" in await everything((await listen(App(), QUICK)).port)


async def test_an_idle_connection_is_closed_after_its_last_answer(listen):
    assert (await everything((await listen(App(), QUICK)).port, GET)).endswith(b"tcp")


async def test_a_trickled_head_is_closed(listen):
    app = App()
    said = await trickle((await listen(app, QUICK)).port, b"GET / HTTP/1.1\r\nx: ", b"y")
    assert said.startswith(b"HTTP/1.1 408")
    assert app.ends == []


async def test_a_trickled_head_is_closed_on_a_used_connection_too(listen):
    said = await trickle((await listen(App(), QUICK)).port, GET + b"GET / HTTP/1.1\r\nx: ", b"y")
    assert said.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 408" in said


async def test_a_trickled_body_is_closed_and_the_application_learns_of_it(listen, until):
    app = App()
    said = await trickle((await listen(app, QUICK)).port, POST, b"z")
    assert said.startswith(b"HTTP/1.1 408")
    assert said.count(b"HTTP/1.1") == 1
    await until(lambda: app.ends == ["http.disconnect"])


async def test_a_body_that_stands_still_is_closed(listen):
    assert (await everything((await listen(App(), QUICK)).port, POST)).startswith(b"HTTP/1.1 408")


async def test_a_slow_body_that_keeps_the_least_pace_is_let_through(listen):
    """It takes several deadlines, but none of them finds it too slow."""
    limits = ConnectionLimits(body_seconds=0.2, body_floor=500)
    reader, writer = await asyncio.open_connection("127.0.0.1", (await listen(App(), limits)).port)
    writer.write(POST.replace(b"100000", b"50000"))
    for _ in range(50):
        writer.write(b"z" * 1000)
        await asyncio.sleep(0.01)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_an_application_that_is_slow_to_read_is_not_blamed_on_the_client(listen, until, monkeypatch):
    checks = 0
    rearm = GuardedProtocol._rearm

    def counted(self):
        nonlocal checks
        checks += self.flow.read_paused
        rearm(self)

    monkeypatch.setattr(GuardedProtocol, "_rearm", counted)
    reading = asyncio.Event()

    async def slow(scope, receive, send):
        await reading.wait()
        while (await receive())["more_body"]:
            pass
        await answer(send, b"thanks")

    limits = ConnectionLimits(body_seconds=0.02, body_floor=1_000_000)
    reader, writer = await asyncio.open_connection("127.0.0.1", (await listen(slow, limits)).port)
    writer.write(POST + b"z" * 99_999)  # uvicorn stops reading at 64 kB
    await until(lambda: checks >= 3)
    writer.write(b"z")
    reading.set()
    await asyncio.wait_for(reader.readuntil(b"thanks"), 10)
    writer.close()


async def test_a_departure_is_noticed_although_reading_was_paused_in_the_body(listen):
    """uvicorn pauses in a large body, and a connection that is not read from never seems to close."""
    watching, left = asyncio.Event(), asyncio.Event()

    async def app(scope, receive, send):
        watch = scope["extensions"][EXTENSION]
        await receive()
        watch.__self__.flow.pause_reading()
        watch(left.set)
        watching.set()
        await left.wait()

    _, writer = await asyncio.open_connection("127.0.0.1", (await listen(app)).port)
    writer.write(GET)
    await asyncio.wait_for(watching.wait(), 10)
    writer.close()
    await asyncio.wait_for(left.wait(), 10)


async def test_a_body_that_goes_on_for_ever_after_the_answer_is_closed(listen):
    async def refuse(scope, receive, send):
        await answer(send, b"no")

    said = await trickle((await listen(refuse, QUICK)).port, POST.replace(b"100000", b"9" * 12), b"z" * 5000)
    assert said.endswith(b"no")


async def test_a_client_that_does_not_take_its_answer_is_cut_off(listen, until):
    ends = []

    async def flood(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(10_000):
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
            if ends:
                return
        ends.append("sent a gigabyte")

    async def watched(scope, receive, send):
        task = asyncio.create_task(flood(scope, receive, send))
        while (await receive())["type"] != "http.disconnect":
            pass
        ends.append("cut off")
        await task

    _, writer = await asyncio.open_connection("127.0.0.1", (await listen(watched, QUICK)).port)
    writer.transport.pause_reading()
    writer.write(GET)
    await until(lambda: ends == ["cut off"])
    writer.close()


# limits


@pytest.mark.parametrize("head", [b"GET /%b HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nx: %b\r\n\r\n"])
@pytest.mark.parametrize("size", [70_000, 2_000_000])
async def test_a_huge_head_is_431_and_never_reaches_the_application(listen, head, size):
    app = App()
    said = await everything((await listen(app)).port, head % (b"y" * size))
    assert said.startswith(b"HTTP/1.1 431")
    assert not app.begun.is_set()


async def test_many_small_headers_are_counted_together(listen):
    app = App()
    said = await everything((await listen(app)).port, b"GET / HTTP/1.1\r\n", b"x: y\r\n" * 20_000, b"\r\n")
    assert said.startswith(b"HTTP/1.1 431")
    assert not app.begun.is_set()


async def test_heads_are_counted_one_by_one(listen, until):
    """Not together over the life of a connection."""
    listener = await listen(App())
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    await until(lambda: listener.connections == 1)
    (connection,) = listener._state.connections
    for _ in range(3):
        writer.write(b"GET / HTTP/1.1\r\nx: " + b"y" * 40_000)
        await until(lambda: connection._head_size > 40_000)
        writer.write(b"\r\n\r\n")
        await asyncio.wait_for(reader.readuntil(b"tcp"), 10)
    writer.close()


async def test_a_large_body_with_its_head_in_one_write_is_no_huge_head(listen):
    body = b"z" * 100_000
    reader, writer = await asyncio.open_connection("127.0.0.1", (await listen(App())).port)
    writer.write(POST + body)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_what_is_not_http_is_400(listen):
    said = await everything((await listen(App())).port, b"\x16\x03\x01 hello\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 400")
    assert b'"invalid_http"' in said


async def test_garbage_behind_a_request_does_not_get_into_its_answer(listen):
    app = App()
    app.hold = asyncio.Event()
    listener = await listen(app)
    assert await everything(listener.port, GET, b"\x00garbage\r\n\r\n") == b""


async def test_pipelined_requests_are_answered_in_order_and_limited(listen):
    listener = await listen(App())
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    writer.write(GET * MAX_PIPELINED)
    for _ in range(MAX_PIPELINED):
        await asyncio.wait_for(reader.readuntil(b"tcp"), 10)
    writer.close()
    app = App()
    app.hold = asyncio.Event()
    held = await listen(app)
    assert await everything(held.port, GET * (MAX_PIPELINED + 2)) == b""


async def test_too_many_connections_are_503_and_there_is_room_again_when_one_goes(listen, until):
    listener = await listen(App(), ConnectionLimits(connections=1))
    _, first = await asyncio.open_connection("127.0.0.1", listener.port)
    await until(lambda: listener.connections == 1)
    assert (await everything(listener.port)).startswith(b"HTTP/1.1 503")
    first.close()
    await until(lambda: listener.connections == 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    writer.write(GET)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    writer.close()


# sockets


async def test_the_admin_socket_has_its_mode_from_the_first_moment_and_goes_with_the_listener(folder):
    path = str(folder / "admin")
    for mode in (0o600, 0o660):
        listener = Listener(App(), bind_unix(path, mode), "admin")
        await listener.start()
        assert stat.S_IMODE(os.stat(path).st_mode) == mode
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(GET)
        await asyncio.wait_for(reader.readuntil(b"admin"), 10)
        writer.close()
        assert listener.address == path
        await listener.stop(grace=0)
        assert not os.path.exists(path)


def test_a_path_that_cannot_be_looked_at_is_a_sentence(folder):
    (folder / "file").touch()
    with pytest.raises(BindError, match=r"^cannot listen on .*: Not a directory$"):
        bind_unix(str(folder / "file" / "s"))


def test_a_stale_socket_is_replaced_but_not_one_that_is_answered(folder):
    path = str(folder / "s")
    first = bind_unix(path)
    with pytest.raises(BindError, match="another process listens there"):
        bind_unix(path)
    first.close()
    bind_unix(path).close()


def test_a_file_that_is_no_socket_is_left_alone(folder):
    (folder / "s").write_text("precious")
    with pytest.raises(BindError, match="no socket is in the way"):
        bind_unix(str(folder / "s"))
    assert (folder / "s").read_text() == "precious"


def test_a_path_that_is_too_long_is_refused_in_words(folder):
    with pytest.raises(BindError, match="longer than 107 bytes"):
        bind_unix(str(folder / ("x" * 108)))


def test_a_port_in_use_is_refused_in_words():
    with bind_tcp("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BindError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
            bind_tcp("127.0.0.1", port)


def test_a_name_that_does_not_resolve_is_refused_in_words():
    with pytest.raises(BindError, match=r"cannot listen on no-such-host\.invalid:1: "):
        bind_tcp("no-such-host.invalid", 1)


# stopping


async def test_stopping_lets_a_running_request_end_and_accepts_no_other():
    app = App()
    app.hold = asyncio.Event()
    listener = Listener(app, bind_tcp("127.0.0.1", 0), "tcp")
    await listener.start()
    port = listener.port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    _, idle = await asyncio.open_connection("127.0.0.1", port)
    writer.write(GET)
    await asyncio.wait_for(app.begun.wait(), 10)
    stopping = asyncio.create_task(listener.stop(grace=20))
    await asyncio.sleep(0)
    with pytest.raises(OSError, match="Connect"):
        await asyncio.open_connection("127.0.0.1", port)
    app.hold.set()
    said = await asyncio.wait_for(reader.read(), 10)
    assert said.endswith(b"tcp")
    assert b"connection: close" in said
    await stopping
    writer.close()
    idle.close()


async def test_stopping_cancels_what_outlasts_the_grace():
    app = App()
    app.hold = asyncio.Event()
    listener = Listener(app, bind_tcp("127.0.0.1", 0), "tcp")
    await listener.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    writer.write(GET)
    await asyncio.wait_for(app.begun.wait(), 10)
    await listener.stop(grace=0.01)
    assert app.ends == ["http.request", "cancelled"]
    await asyncio.wait_for(reader.read(), 10)
    writer.close()


async def test_running_out_of_descriptors_ends_neither_the_listener_nor_its_clients(listen, until):
    """New connections fail or wait; the loop does not spin; afterwards all is as before."""
    import resource

    listener = await listen(App())
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    clients = [socket.socket() for _ in range(8)]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 1, hard))
        for client in clients:
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", listener.port))
        writer.write(GET)
        await asyncio.wait_for(reader.readuntil(b"tcp"), 10)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for client in clients:
            client.close()
    writer.write(GET)
    await asyncio.wait_for(reader.readuntil(b"tcp"), 10)
    writer.close()
    again, other = await asyncio.open_connection("127.0.0.1", listener.port)
    other.write(GET)
    await asyncio.wait_for(again.readuntil(b"tcp"), 10)
    other.close()
