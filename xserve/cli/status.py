"""`status`: what is served, how it fares, and what a person should mend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from xserve.cli.client import Client, segment
from xserve.cli.command import Arguments, Command, Exit, Parser, add_daemon, add_json
from xserve.cli.locate import locate
from xserve.cli.output import duration, indent, print_json, table

_TITLES = ("NAME", "STATE", "READY", "ENGINE", "REVISION", "SINCE", "MESSAGE")
_INSTANCE_TITLES = ("INSTANCE", "STATE", "PID", "GPUS", "REQUESTS", "SINCE", "AGE", "REVISION", "NOTE")


def status_options(parser: Parser) -> None:
    """Of what."""
    parser.add_argument("model", nargs="?", metavar="MODEL", help="Public name or alias. Without it: everything.")
    add_daemon(parser)
    add_json(parser)


def run_status(args: Arguments) -> int:
    """0 also where models fail: `wait` judges, this only tells."""
    client = Client(locate(args))
    view = client.get(f"/xserve/v1/models/{segment(args.model)}" if args.model else "/xserve/v1/status")
    if args.json:
        print_json(view)
    else:
        print(render_model(view) if args.model else render_status(view))
    return Exit.DONE


def render_status(view: dict[str, Any]) -> str:
    """Everything at a glance."""
    head = f"xserve {view['version']}, process {view['pid']}, up {duration(view['uptime'])}; {view['watching']}"
    models = table(_TITLES, map(_row, view["models"])) if view["models"] else "Nothing is deployed."
    parts = [head, models]
    if view["problems"]:
        parts.append("Problems:\n" + "\n".join(indent(it["text"]) for it in view["problems"]))
    if view["notes"]:
        parts.append("Notes:\n" + "\n".join(indent(note) for note in view["notes"]))
    return "\n\n".join(parts)


def render_model(model: dict[str, Any]) -> str:
    """All about one deployment."""
    parts = [_facts(model)]
    if model["instances"]:
        parts.append(table(_INSTANCE_TITLES, map(_instance_row, model["instances"])))
    if model["failure"]:
        parts.append(_failure(model["failure"]))
    return "\n\n".join(parts)


def since(model: dict[str, Any]) -> str | None:
    """How long it is as it is: since the last change of one of its instances, or its last failure."""
    times = [it["since"] for it in model["instances"]]
    if not times and model["failure"]:
        times = [model["failure"]["seconds_ago"]]
    return duration(min(times)) if times else None


def _row(model: dict[str, Any]) -> tuple[str | None, ...]:
    stale = "an edit was rejected, the last good version is in force; " if model["stale"] else ""
    message = model["message"] if stale or model["reason"] != "Ready" else ""
    return (
        model["uid"],
        model["state"],
        f"{model['ready']}/{model['replicas']}",
        model["engine"] or None,
        model["revision"] or None,
        since(model),
        stale + message,
    )


def _instance_row(instance: dict[str, Any]) -> tuple[Any, ...]:
    return (
        instance["instance"],
        instance["state"],
        instance["pid"],
        ",".join(map(str, instance["gpus"])) or None,
        instance["in_flight"],
        duration(instance["since"]),
        duration(instance["age"]),
        instance["revision"],
        instance["note"],
    )


def _facts(model: dict[str, Any]) -> str:
    facts = dict(_fact_lines(model))
    width = max(map(len, facts))
    return "\n".join(f"{name:{width}}  {value}" for name, value in facts.items())


def _fact_lines(model: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "name", ", ".join((model["uid"], *model["aliases"]))
    yield "state", f"{model['state']} ({model['reason']}): {model['message']}"
    yield "ready", f"{model['ready']} of {model['replicas']} replicas"
    for name, key in (
        ("model", "model"),
        ("type", "model_type"),
        ("engine", "engine"),
        ("revision", "revision"),
        ("generation", "generation"),
        ("request limit", "request_limit"),
        ("definition", "definition_path"),
        ("deployed by", "deploy_path"),
    ):
        if model[key]:
            yield name, str(model[key])
    if model["stale"]:
        yield "stale", "the last edit of one of its files was rejected; the last good version is in force"


def _failure(failure: dict[str, Any]) -> str:
    when = f"{duration(failure['seconds_ago'])} ago ({failure['reason']}, {failure['failures']} in a row)"
    again = (
        "not tried again by itself" if failure["retry_in"] is None else f"next try in {duration(failure['retry_in'])}"
    )
    lines = [f"Last failure {when}: {failure['message']}; {again}"]
    return "\n".join([*lines, *map(indent, failure["log_tail"])])


COMMANDS = {
    "status": Command(
        run_status,
        status_options,
        "Shows every deployment with its state and the reason for it, rejected files with their place, and what "
        "else is worth knowing.",
        "xserve status\nxserve status chat --json",
    )
}
