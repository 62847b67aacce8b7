"""`register`, `unregister`, `registrations`: definitions, over the API. Names and options are Xinference's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xserve.cli.client import Client, segment
from xserve.cli.command import Arguments, Command, CommandError, Exit, Parser, add_daemon, add_json, later
from xserve.cli.locate import locate
from xserve.cli.output import print_json, table

TYPES = ("LLM", "embedding", "rerank", "image", "audio", "flexible")


def add_type(parser: Parser, default: str | None, without: str) -> None:
    """The option that names a model type."""
    parser.add_argument(
        "-t",
        "--model-type",
        "--model_type",
        choices=TYPES,
        default=default,
        metavar="TYPE",
        help=f"{', '.join(TYPES)}. Without it: {without}.",
    )


def refuse_later(parser: Parser, *options: str, what: str) -> None:
    """Options of Xinference that this version does not honour: refused, never ignored."""
    parser.add_argument(*options, action=later(what), nargs="?", help=f"Not supported yet: {what}")


def add_common(parser: Parser) -> None:
    """What all of Xinference's commands take."""
    add_daemon(parser)
    refuse_later(parser, "-ak", "--api-key", "--api_key", what="the daemon has no keys yet.")


def register_options(parser: Parser) -> None:
    """Which file, and for how long."""
    add_type(parser, "LLM", "LLM")
    parser.add_argument("-f", "--file", type=Path, required=True, help="Definition, as JSON or YAML.")
    parser.add_argument("-p", "--persist", action="store_true", help="Keep it over a reboot.")
    refuse_later(parser, "-w", "--worker-ip", "--worker_ip", what="models run on the daemon's machine.")
    add_common(parser)


def run_register(args: Arguments) -> int:
    """Returns when the definition is in force."""
    try:
        text = args.file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"cannot read {args.file}: {getattr(error, 'strerror', error)}") from error
    body = {"model": text, "persist": args.persist}
    Client(locate(args)).post(f"/v1/model_registrations/{args.model_type}", body)
    return Exit.DONE


def unregister_options(parser: Parser) -> None:
    """Which one."""
    add_type(parser, "LLM", "LLM")
    parser.add_argument(
        "-n", "--model-name", "--model_name", required=True, metavar="NAME", help="Name of the definition."
    )
    add_common(parser)


def run_unregister(args: Arguments) -> int:
    """An unknown name is no fault."""
    Client(locate(args)).delete(f"/v1/model_registrations/{args.model_type}/{segment(args.model_name)}")
    return Exit.DONE


def registrations_options(parser: Parser) -> None:
    """Which ones."""
    add_type(parser, None, "all types")
    add_json(parser)
    add_common(parser)


def run_registrations(args: Arguments) -> int:
    """One question per type."""
    client = Client(locate(args))
    types = [args.model_type] if args.model_type else TYPES
    rows = [row for each in types for row in listed(client, each)]
    if args.json:
        print_json(rows)
    else:
        titles = ("TYPE", "NAME", "BUILT-IN")
        print(table(titles, ((it["model_type"], it["model_name"], "yes" if it["is_builtin"] else "no") for it in rows)))
    return Exit.DONE


def listed(client: Client, model_type: str) -> list[dict[str, Any]]:
    """The definitions of a type, by name."""
    return [{"model_type": model_type, **row} for row in client.get(f"/v1/model_registrations/{model_type}")]


COMMANDS = {
    "register": Command(
        run_register,
        register_options,
        "Adds a definition to the ones that the daemon keeps; the same file in models.d/ does as well.",
        "xserve register -t embedding -f bge.json --persist",
    ),
    "unregister": Command(
        run_unregister,
        unregister_options,
        "Removes a definition that was added by `register`. Files in models.d/ are yours to remove.",
        "xserve unregister -t embedding -n bge",
    ),
    "registrations": Command(
        run_registrations,
        registrations_options,
        "Lists definitions: shipped ones, files in models.d/, and registered ones.",
        "xserve registrations -t LLM",
    ),
}
