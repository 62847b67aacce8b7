"""`wait`: until models are ready. The bridge from "a file was written" to "the model answers".

A script that has just started or restarted the daemon may be faster than the daemon: for a while, nobody
answering only means "not yet".
"""

from __future__ import annotations

import time
from typing import Any

from xserve.cli.client import PATIENCE, Client, NoDaemonError
from xserve.cli.command import Arguments, Command, Exit, Parser, add_daemon, add_json, seconds
from xserve.cli.locate import locate
from xserve.cli.output import Progress, print_json, say

_SLICE = 2.0
"""Seconds that one question to the daemon may take, so that changes are shown as they come."""

_DAEMON_START = 10.0
"""Seconds in which a daemon that was just started may begin to answer."""

_LOOK_AGAIN = 0.1
"""Seconds between two tries to reach a daemon that does not answer yet."""

_CODES = {"done": Exit.DONE, "timeout": Exit.TIMED_OUT}


def wait_options(parser: Parser) -> None:
    """For what to wait, and how long."""
    parser.add_argument(
        "--model",
        dest="models",
        action="append",
        metavar="NAME",
        help="Public name to wait for; repeatable. Without it: every deployment, and no file may be rejected.",
    )
    parser.add_argument(
        "--generation", metavar="HASH", help="Wait for this version of the files, as `status` shows it."
    )
    parser.add_argument(
        "--timeout", type=seconds, default=600.0, metavar="TIME", help="Such as 90s or 10m. Default: 600."
    )
    add_daemon(parser)
    add_json(parser)


def run_wait(args: Arguments) -> int:
    """1 if it cannot become ready, 4 if it took too long."""
    client = reach(args, min(args.timeout, _DAEMON_START))
    view = follow(client, args.models, args.generation, args.timeout)
    if args.json:
        print_json(view)
    elif view["outcome"] == "done":
        print(view["message"])
    if view["outcome"] != "done":
        say(f"xserve: {view['message']}")
    return _CODES.get(view["outcome"], Exit.FAILED)


def follow(client: Client, names: list[str] | None, generation: str | None, timeout: float) -> dict[str, Any]:
    """Ask in slices until there is an outcome, showing each change; `timeout` in seconds is for all of them."""
    deadline = time.monotonic() + timeout
    progress = Progress()
    try:
        while True:
            left = max(0.0, deadline - time.monotonic())
            view = ask(client, names, generation, min(_SLICE, left))
            if view["outcome"] != "timeout":
                return view
            progress.show(summary(view["models"]))
            if time.monotonic() >= deadline:
                return {**view, "message": f"not ready after {timeout:g} s: {summary(view['models'])}"}
    finally:
        progress.end()


def reach(args: Arguments, patience: float) -> Client:
    """A daemon that may still have to start. Raises NoDaemonError after `patience` seconds."""
    deadline = time.monotonic() + patience
    while True:
        client = Client(locate(args))  # anew: the daemon's note for clients may just have been written
        try:
            client.reach()
        except NoDaemonError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_LOOK_AGAIN)
        else:
            return client


def ask(client: Client, names: list[str] | None, generation: str | None, patience: float) -> dict[str, Any]:
    """One question, which the daemon may keep for `patience` seconds."""
    query = {"model": names, "generation": generation, "timeout": f"{patience:.3f}"}
    view: dict[str, Any] = client.get("/xserve/v1/wait", query, patience + PATIENCE)
    return view


def summary(models: list[dict[str, Any]]) -> str:
    """What is not ready, in one line that stays the same as long as nothing changes."""
    return "; ".join(f"{it['uid']} is {it['state']}: {it['message']}" for it in models) or "files are not in force yet"


COMMANDS = {
    "wait": Command(
        run_wait,
        wait_options,
        "Waits until the named models, or all, are ready. Exits 0 when they are, 1 as soon as one cannot be or a "
        "file is rejected, 4 when the time is over.",
        "xserve wait --model chat --timeout 10m",
    )
}
