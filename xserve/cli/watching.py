"""`logs`, `events`, `reload`: what engines print, what happened, and reading all files now."""

from __future__ import annotations

import json
import time
from typing import Any

from xserve.cli.client import Client, segment
from xserve.cli.command import Arguments, Command, CommandError, Exit, Parser, add_daemon, add_json
from xserve.cli.locate import locate
from xserve.cli.output import print_json, print_lines, print_problems, say
from xserve.cli.plan import render


def logs_options(parser: Parser) -> None:
    """Whose log, and how much of it."""
    parser.add_argument("model", metavar="MODEL", help="Public name or alias.")
    parser.add_argument("-f", "--follow", action="store_true", help="Go on with the lines to come.")
    parser.add_argument(
        "-n", "--lines", type=int, default=100, metavar="COUNT", help="Last lines to show. Default: 100."
    )
    parser.add_argument("--instance", metavar="ID", help="Of this instance. Without it: the newest one.")
    add_daemon(parser)
    add_json(parser)


def run_logs(args: Arguments) -> int:
    """Follows until the instance ends."""
    if args.json and args.follow:
        raise CommandError("--json prints one document; it does not go with --follow.", Exit.USAGE)
    client, path = Client(locate(args)), f"/xserve/v1/models/{segment(args.model)}/log"
    query = {"lines": args.lines, "instance": args.instance}
    if args.follow:
        query["follow"] = "true"
    lines = client.lines("GET", path, query)
    print_json(list(lines)) if args.json else print_lines(lines)
    if args.follow:
        say(f"xserve: this replica has ended; for its successor: xserve logs -f {args.model}")
    return Exit.DONE


def events_options(parser: Parser) -> None:
    """Which events."""
    parser.add_argument("-f", "--follow", action="store_true", help="Go on with the events to come.")
    parser.add_argument("--after", type=int, default=0, metavar="ID", help="Only events after this one.")
    add_daemon(parser)
    parser.add_argument("--json", action="store_true", help="Print one JSON document; with --follow one a line.")


def run_events(args: Arguments) -> int:
    """Follows until the daemon leaves."""
    client, path, query = Client(locate(args)), "/xserve/v1/events", {"after": args.after}
    if not args.follow:
        events = client.get(path, query)["events"]
        print_json(events) if args.json else print_lines(map(render_event, events))
        return Exit.DONE
    for event in client.events("GET", path, {**query, "follow": "true"}):
        print(event.data if args.json else render_event(json.loads(event.data)), flush=True)
    return Exit.DONE


def render_event(event: dict[str, Any]) -> str:
    """One event in one line, in local time."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event["time"]))
    what = " ".join(filter(None, (event["kind"], event["model"], event["reason"])))
    return f"{when}  {what}: {event['message']}"


def reload_options(parser: Parser) -> None:
    """Nothing but where."""
    add_daemon(parser)
    add_json(parser)


def run_reload(args: Arguments) -> int:
    """1 if something was rejected."""
    view = Client(locate(args)).post("/xserve/v1/reload")
    rejected = print_problems(view["problems"])
    if args.json:
        print_json(view)
    else:
        print("the files changed" if view["changed"] else "the files did not change since the last look")
        print(render(view))
    return Exit.FAILED if rejected else Exit.DONE


COMMANDS = {
    "logs": Command(
        run_logs,
        logs_options,
        "Shows what a model's engine printed, also of one that failed.",
        "xserve logs chat -f",
    ),
    "events": Command(
        run_events,
        events_options,
        "Shows what happened and why: files accepted or rejected, replicas started and stopped, states.",
        "xserve events -f",
    ),
    "reload": Command(
        run_reload,
        reload_options,
        "Reads all files now, ends the hold on a mass removal, and tries again what had given up. The daemon notices "
        "changes by itself; this is for where file events do not arrive.",
        "xserve reload",
    ),
}
