"""Flexible models: a launcher makes a model, and `/v1/flexible/infers` calls its `infer`.

The model is loaded before the socket is there, so that whoever can connect is answered. SIGTERM keeps its
default, which ends the process at once: loading, idle, or in the middle of a call that nothing else could stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import traceback

from answers import encode
from calls import Call, Runner, read_call, runner_for
from launching import Launched, launch
from tally import Failed
from xserve_engine.flexible import WrongInput
from xserve_engine.launch import BAD_OPTION, Refusal, Start, refuse_unknown
from xserve_engine.wire import HttpError, Reply, Request, serve

INFER = "/v1/flexible/infers"
OPTIONS = {"concurrency", "arguments", "probe"}


def run(start: Start) -> None:
    """Load the model and serve until a signal ends the process."""
    refuse_unknown(start.options, OPTIONS)
    places = start.options.get("concurrency", 1)
    if places < 1:
        raise Refusal(BAD_OPTION, f"The option concurrency must be at least 1, not {places}.")
    print(f"flexible: loading {start.model_name} by {start.definition.get('launcher')}.", flush=True)
    launched = launch(start)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(live(start, launched, places))


async def live(start: Start, launched: Launched, places: int) -> None:
    """Serve the model for ever."""
    server = await serve(start.socket, Service(launched, runner_for(launched.model.infer, places)).handle)
    print(f"flexible: serving {start.uid}, {places} at once.", flush=True)
    await server.serve_forever()


class Service:
    """A handler per path."""

    def __init__(self, launched: Launched, runner: Runner) -> None:
        self.launched = launched
        self.runner = runner

    async def handle(self, request: Request, reply: Reply) -> None:
        """Answer one request."""
        match request.method, request.path:
            case "GET", "/health":
                await reply.json({"status": "ok"})
            case "GET", "/metrics":
                await reply.send(self.runner.tally.metrics(), "text/plain; version=0.0.4")
            case "POST", path if path == INFER:
                await self.infer(read_call(request.json()), reply)
            case method, path:
                raise HttpError(404, f"A flexible model answers POST {INFER}; there is no {method} {path}.")

    async def infer(self, call: Call, reply: Reply) -> None:
        """Answer with the result: whole, or as events where it comes piece by piece."""
        try:
            self.launched.check(call.args, call.named)
            answer = await self.runner.call(call, reply.event)
        except WrongInput as error:
            await fail(reply, HttpError(400, str(error)))
        except Failed as error:
            traceback.print_exc(file=sys.stderr)
            await fail(reply, HttpError(500, str(error), "server_error"))
        else:
            await (reply.event("[DONE]") if answer is None else reply.send(answer))


async def fail(reply: Reply, error: HttpError) -> None:
    """Answer with an error: in a stream that has begun, as its last event."""
    if not reply.started:
        raise error
    await reply.event(encode(error.body).decode())
