"""Many requests from another process: `wrk` where it is installed, else a generator of our own.

python -m bench.load PORT SECONDS CONNECTIONS        prints how many requests were answered
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

PATH = "/v1/chat/completions"
_MESSAGES = [{"role": "user", "content": "What is " + "x" * 220 + "?"}]
BODY = json.dumps({"model": "null", "messages": _MESSAGES, "max_tokens": 16}).encode()
STREAM_BODY = json.dumps({"model": "null", "messages": _MESSAGES, "stream": True}).encode()
_END = b"\r\n0\r\n\r\n"  # of a stream
_LENGTH = re.compile(rb"content-length: (\d+)")


@dataclass(frozen=True, slots=True)
class Load:
    """What one run against one server gave."""

    requests: int
    seconds: float
    processor: float  # seconds of the server's processor time

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds

    @property
    def cost(self) -> float:
        """Microseconds of the server's processor time per request."""
        return self.processor / self.requests * 1e6


def load(pid: int, port: int, seconds: float, connections: int) -> Load:
    """Put load on the server whose process is `pid`."""
    generate = _wrk if shutil.which("wrk") else _own_generator
    before, began = _processor_seconds(pid), time.monotonic()
    requests = generate(port, seconds, connections)
    return Load(requests, time.monotonic() - began, _processor_seconds(pid) - before)


def request(body: bytes, path: str = PATH, kind: str = "application/json") -> bytes:
    """A whole HTTP request."""
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: bytes | None = None) -> bytes:
    """One whole request, and the body of its whole answer: of a stream, with the frames of its chunks."""
    writer.write(wire or request(BODY))
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head.lower())
    body = await (reader.readexactly(int(length[1])) if length else reader.readuntil(_END))
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"unexpected answer: {(head + body).decode()}")
    return body


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _wrk(port: int, seconds: float, connections: int) -> int:
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f"wrk.method='POST'\nwrk.body=[[{BODY.decode()}]]\nwrk.headers['content-type']='application/json'")
        script.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "-s", script.name]
        ran = subprocess.run([*command, f"http://127.0.0.1:{port}{PATH}"], capture_output=True, text=True, check=True)
    found = re.search(r"(\d+) requests in", ran.stdout)
    if found is None or "Non-2xx" in ran.stdout:
        raise SystemExit(ran.stdout)
    return int(found[1])


def _own_generator(port: int, seconds: float, connections: int) -> int:
    command = [sys.executable, "-m", "bench.load", str(port), str(seconds), str(connections)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


async def _generate(port: int, seconds: float, connections: int) -> int:
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


if __name__ == "__main__":
    print(asyncio.run(_generate(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))))
