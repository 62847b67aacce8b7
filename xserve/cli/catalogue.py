"""The commands, in the groups in which the help shows them, and the module where each one lives.

Only the module of the command that was asked for is imported: a start costs what that command needs.
"""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """One command."""

    name: str
    module: str
    summary: str


GROUPS: dict[str, tuple[Row, ...]] = {
    "Serve": (
        Row("serve", "xserve.cli.serve", "run the daemon in the foreground"),
        Row("check", "xserve.cli.check", "say what is wrong with files; needs no daemon"),
        Row("plan", "xserve.cli.plan", "say what would change, without changing it"),
        Row("wait", "xserve.cli.wait", "wait until models are ready"),
        Row("reload", "xserve.cli.watching", "read all files now"),
    ),
    "Look": (
        Row("status", "xserve.cli.status", "what is served, how it fares, what is wrong"),
        Row("logs", "xserve.cli.watching", "what a model's engine printed"),
        Row("events", "xserve.cli.watching", "what happened, and why"),
        Row("engines", "xserve.cli.engines", "which engines are here, and what they can serve"),
        Row("schema", "xserve.cli.schema", "JSON Schemas of the files, for editors"),
    ),
    "Models": (
        Row("register", "xserve.cli.registrations", "add a model definition"),
        Row("unregister", "xserve.cli.registrations", "remove a model definition"),
        Row("registrations", "xserve.cli.registrations", "list model definitions"),
        Row("launch", "xserve.cli.launch", "start serving a model"),
        Row("terminate", "xserve.cli.deployments", "stop serving a model"),
        Row("list", "xserve.cli.deployments", "list models that answer"),
    ),
    "Talk": (
        Row("chat", "xserve.cli.talk", "chat with a model"),
        Row("generate", "xserve.cli.talk", "let a model continue a text"),
    ),
}

MODULES: dict[str, str] = {row.name: row.module for rows in GROUPS.values() for row in rows}


def overview() -> str:
    """The help that `xserve` alone prints."""
    width = max(map(len, MODULES)) + 2
    lines = [
        "xserve serves models from files: put a definition into models.d/ and a name into deploy.yaml.",
        "",
        "Usage: xserve COMMAND [OPTIONS]        xserve COMMAND --help explains a command",
    ]
    for title, rows in GROUPS.items():
        lines += ["", f"{title}:", *(f"  {row.name:{width}}{row.summary}" for row in rows)]
    lines += ["", "Start with: xserve serve --config-dir ./config"]
    return "\n".join(lines)
