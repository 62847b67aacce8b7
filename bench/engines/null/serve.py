"""Answers at once, whatever it is asked.

`POST` with `"stream": true` in the body: 100 events, one every 10 ms. Any other request: a fixed reply.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys

import httptools
import uvloop

EVENTS = 100
PAUSE = 0.01
_BODY = b'{"id":"chat-0","object":"chat.completion","created":0,"model":"null","choices":[{"index":0,"message":' + (
    b'{"role":"assistant","content":"' + b"x" * 120 + b'"},"finish_reason":"stop"}],"usage":{}}'
)
REPLY = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_EVENT = b'data: {"id":"chat-0","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
EVENT = b"%x\r\n%b\r\n" % (len(_EVENT), _EVENT)
LAST = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


class NullEngine(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.stream = False

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.stream = b'"stream": true' in body or b'"stream":true' in body

    def on_message_complete(self) -> None:
        if self.stream:
            self.transport.write(STREAM_HEAD)
            self.send_events(EVENTS)
        else:
            self.transport.write(REPLY)

    def send_events(self, left: int) -> None:
        if self.transport.is_closing():
            return
        if left == 0:
            self.transport.write(LAST)
            return
        self.transport.write(EVENT)
        asyncio.get_running_loop().call_later(PAUSE, self.send_events, left - 1)


async def serve(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    server = await asyncio.get_running_loop().create_unix_server(NullEngine, path)
    await server.serve_forever()


def run() -> None:
    """Serve on the socket that the command line names, until a signal ends the process."""
    uvloop.run(serve(sys.argv[1]))
