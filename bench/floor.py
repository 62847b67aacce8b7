"""uvicorn answering by itself, with what the null engine would say: the least that any gateway on it can cost.

python -m bench.floor        prints its port
"""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from uvicorn.config import Config

from xserve.http.sockets import bind_tcp

from .daemon import ENGINES

sys.path.append(str(ENGINES / "null"))


def main() -> None:
    from serve import REPLY

    body = REPLY.partition(b"\r\n\r\n")[2]
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    bound = bind_tcp("127.0.0.1", 0)
    print(bound.getsockname()[1], flush=True)
    config = Config(answer, loop="uvloop", http="httptools", lifespan="off", access_log=False, log_level="error")
    uvicorn.Server(config).run(sockets=[bound])


if __name__ == "__main__":
    main()
