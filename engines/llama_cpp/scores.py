"""Ranking as clients know it: probabilities, best first, with the documents if they are asked for.

llama.cpp's server answers a ranking with the bare numbers of the model's last layer, for which it has no
switch. So for this one model type a small front listens on the public socket, hands every request on to
llama.cpp's own socket beside it, and turns the numbers of a ranking into probabilities on the way back.
A client that goes away takes its request to llama.cpp with it, because that connection is closed too.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping
from typing import Any

from xserve_engine.wire import HttpError, Reply, Request, serve

RANKINGS = frozenset({"/v1/rerank", "/rerank", "/v1/reranking", "/reranking"})


def inner_socket(socket: str) -> str:
    """Where llama.cpp listens behind the front; its name must end in `.sock` to be taken for a socket."""
    return f"{socket.removesuffix('.sock')}.in.sock"


async def front(socket: str, inner: str, probable: bool) -> None:
    """Serve on `socket` what listens on `inner`, for ever. `probable`: scores are probabilities already."""

    async def pass_on(request: Request, reply: Reply) -> None:
        status, kind, body = await ask(inner, request)
        if status == 200 and request.path in RANKINGS:
            body = json.dumps(present(json.loads(body), request.json(), probable)).encode()
        await reply.send(body, kind, status)

    await (await serve(socket, pass_on)).serve_forever()


def present(answer: dict[str, Any], asked: Mapping[str, Any], probable: bool) -> dict[str, Any]:
    """The answer with probabilities for scores, and with the documents if `return_documents` asks for them."""
    for result in answer["results"]:
        if not probable:
            result["relevance_score"] = sigmoid(result["relevance_score"])
        if asked.get("return_documents"):
            result["document"] = {"text": asked["documents"][result["index"]]}
    return answer


def sigmoid(number: float) -> float:
    """The logistic function, also where exp would overflow."""
    if number >= 0:
        return 1 / (1 + math.exp(-number))
    power = math.exp(number)
    return power / (1 + power)


async def ask(socket: str, request: Request) -> tuple[int, str, bytes]:
    """Status, content type and body of the answer. Raises `HttpError` 503 while nobody listens there."""
    try:
        reader, writer = await asyncio.open_unix_connection(socket)
    except OSError:
        raise HttpError(503, "The model is loading.", "unavailable_error") from None
    try:
        head = (
            f"{request.method} {request.path} HTTP/1.1\r\nhost: engine\r\nconnection: close\r\n"
            f"content-type: application/json\r\ncontent-length: {len(request.body)}\r\n\r\n"
        )
        writer.write(head.encode() + request.body)
        answer = await reader.read()
    finally:
        writer.close()
    top, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = top.decode("latin-1").lower().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(first.split(" ")[1]), headers.get("content-type", ""), body
