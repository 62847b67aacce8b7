"""What the gateway costs: processor time per request, requests per second, added latency, streaming.

    python bench/gateway.py [--seconds 5] [--connections 16] [--json FILE] [--access-log]

Everything is a ratio within one run: the gateway before a null engine against uvicorn answering by itself,
and against the null engine addressed directly. Load comes from `wrk` where it is installed, else from a
generator of our own in a further process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
MESSAGES = [{"role": "user", "content": "What is " + "x" * 220 + "?"}]
BODY = json.dumps({"model": "null", "messages": MESSAGES, "max_tokens": 16}).encode()
STREAM_BODY = json.dumps({"model": "null", "messages": MESSAGES, "stream": True}).encode()
PATH = "/v1/chat/completions"
STREAMS = 16


# servers, each in a process of its own


async def floor(scope: Any, receive: Any, send: Any) -> None:
    """uvicorn answering by itself: reads the body and sends what the null engine would."""
    from null_engine import REPLY

    await receive()
    body = REPLY.partition(b"\r\n\r\n")[2]
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def run_floor() -> None:
    import uvicorn
    from uvicorn.config import Config

    from xserve.http.sockets import bind_tcp

    bound = bind_tcp("127.0.0.1", 0)
    print(bound.getsockname()[1], flush=True)
    config = Config(floor, loop="uvloop", http="httptools", lifespan="off", access_log=False, log_level="error")
    uvicorn.Server(config).run(sockets=[bound])


def run_gateway(engine: str, access_log: bool) -> None:
    import uvloop

    if access_log:
        logging.basicConfig(level=logging.INFO, filename=os.devnull)
    uvloop.run(gateway(engine))


async def gateway(engine: str) -> None:
    from xserve.core.exposure import Exposure
    from xserve.http.guard import Guard
    from xserve.http.listener import Listener
    from xserve.http.proxy import Proxy
    from xserve.http.sockets import bind_tcp
    from xserve.http.traffic import Traffic
    from xserve.http.upstream import Upstream

    traffic = Traffic(on_drained=lambda instance: None)
    traffic.publish("null", Exposure("LLM"))
    traffic.set_endpoints("null", [("null-0", engine)])
    route = Proxy(traffic, Upstream()).route(PATH, "LLM")
    listener = Listener(Guard(route), bind_tcp("127.0.0.1", 0), "tcp")
    await listener.start()
    print(listener.port, flush=True)
    await asyncio.Event().wait()


@contextlib.contextmanager
def started(*arguments: str) -> Iterator[tuple[int, str]]:
    """A server's (process id, first line of output)."""
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.pid, process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


# load


@dataclass(frozen=True, slots=True)
class Load:
    """What one run against one server gave."""

    requests: int
    seconds: float
    cpu: float  # seconds of the server's processor time

    @property
    def rate(self) -> float:
        return self.requests / self.seconds

    @property
    def cost(self) -> float:
        """Microseconds of processor time per request."""
        return self.cpu / self.requests * 1e6


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load(pid: int, port: int, seconds: float, connections: int) -> Load:
    generate = wrk if shutil.which("wrk") else own_generator
    generate(port, 1.0, connections)  # warm up
    before, began = cpu_seconds(pid), time.monotonic()
    requests = generate(port, seconds, connections)
    return Load(requests, time.monotonic() - began, cpu_seconds(pid) - before)


def wrk(port: int, seconds: float, connections: int) -> int:
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f"wrk.method='POST'\nwrk.body=[[{BODY.decode()}]]\nwrk.headers['content-type']='application/json'")
        script.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "-s", script.name]
        ran = subprocess.run([*command, f"http://127.0.0.1:{port}{PATH}"], capture_output=True, text=True, check=True)
    if "Non-2xx" in ran.stdout:
        raise SystemExit(ran.stdout)
    found = re.search(r"(\d+) requests in", ran.stdout)
    assert found is not None
    return int(found[1])


def own_generator(port: int, seconds: float, connections: int) -> int:
    command = [sys.executable, __file__, "--generate", str(port), "--seconds", str(seconds)]
    ran = subprocess.run([*command, "--connections", str(connections)], capture_output=True, text=True, check=True)
    return int(ran.stdout)


def request(body: bytes) -> bytes:
    head = f"POST {PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


async def generate(port: int, seconds: float, connections: int) -> int:
    deadline = time.monotonic() + seconds

    async def client() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        done = 0
        while time.monotonic() < deadline:
            await ask(reader, writer)
            done += 1
        writer.close()
        return done

    return sum(await asyncio.gather(*(client() for _ in range(connections))))


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(request(BODY))
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    assert head.startswith(b"HTTP/1.1 200")
    assert length is not None
    await reader.readexactly(int(length[1]))


# latency and streaming, measured from here


async def latency(connect: Any, rounds: int) -> list[float]:
    """Seconds of each request, one at a time."""
    reader, writer = await connect()
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        await ask(reader, writer)
        taken.append(time.perf_counter() - began)
    writer.close()
    return taken


async def streaming(connect: Any) -> float:
    """Events per second over all streams at once."""
    from null_engine import EVENTS

    async def stream() -> None:
        reader, writer = await connect()
        writer.write(request(STREAM_BODY))
        await reader.readuntil(b"0\r\n\r\n")
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(stream() for _ in range(STREAMS)))
    return STREAMS * EVENTS / (time.perf_counter() - began)


async def compare(engine: str, port: int) -> dict[str, float]:
    def direct() -> Any:
        return asyncio.open_unix_connection(engine)

    def through() -> Any:
        return asyncio.open_connection("127.0.0.1", port)

    rounds = [(await latency(direct, 500), await latency(through, 500)) for _ in range(4)][1:]
    own = statistics.median([each for pair in rounds for each in pair[0]])
    ours = statistics.median([each for pair in rounds for each in pair[1]])
    streams = [(await streaming(direct), await streaming(through)) for _ in range(2)]
    ratio = statistics.median([gateway / engine for engine, gateway in streams])
    return {"added_latency_p50_ms": (ours - own) * 1000, "streaming_ratio": ratio}


def measure(seconds: float, connections: int, extra: list[str]) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        engine = f"{folder}/engine.sock"
        stack.enter_context(started(str(HERE / "null_engine.py"), engine))
        floor_pid, floor_port = stack.enter_context(started(__file__, "--serve-floor"))
        gateway_pid, port = stack.enter_context(started(__file__, "--serve-gateway", engine, *extra))
        alone = load(floor_pid, int(floor_port), seconds, connections)
        ours = load(gateway_pid, int(port), seconds, connections)
        compared = asyncio.run(compare(engine, int(port)))
    return {
        "uvicorn_cpu_us": alone.cost,
        "gateway_cpu_us": ours.cost,
        "cpu_ratio": ours.cost / alone.cost,
        "uvicorn_requests_per_second": alone.rate,
        "gateway_requests_per_second": ours.rate,
        **compared,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--access-log", action="store_true", help="with the access log written to /dev/null")
    parser.add_argument("--serve-floor", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--serve-gateway", metavar="SOCKET", help=argparse.SUPPRESS)
    parser.add_argument("--generate", type=int, metavar="PORT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve_floor:
        run_floor()
    elif options.serve_gateway:
        run_gateway(options.serve_gateway, options.access_log)
    elif options.generate:
        print(asyncio.run(generate(options.generate, options.seconds, options.connections)))
    else:
        report(measure(options.seconds, options.connections, ["--access-log"] * options.access_log), options.json)


def report(figures: dict[str, float], path: Path | None) -> None:
    for name, figure in figures.items():
        print(f"{name:32} {figure:10.2f}")
    if path is not None:
        path.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
