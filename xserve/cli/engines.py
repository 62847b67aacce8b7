"""`engines`: which engines are on this machine, and what they say to a model."""

from __future__ import annotations

from typing import Any

from xserve.cli.client import Client
from xserve.cli.command import Arguments, Command, CommandError, Exit, Parser, add_daemon, add_json
from xserve.cli.locate import locate
from xserve.cli.output import print_json, say, table


def engines_options(parser: Parser) -> None:
    """For which model."""
    parser.add_argument("model", nargs="?", metavar="MODEL", help="Name of a registration. Without it: all engines.")
    parser.add_argument("-t", "--model-type", metavar="TYPE", help="Needed where two types have that name.")
    parser.add_argument(
        "--install",
        nargs="*",
        metavar="ENGINE",
        help="Make the environments of these engines now, ahead of their first use; without names, of all. "
        "Needs no daemon.",
    )
    parser.add_argument(
        "--environments",
        metavar="DIR",
        help="With --install: folder of the environments. Without it: as the settings say.",
    )
    add_daemon(parser)
    add_json(parser)


def run_engines(args: Arguments) -> int:
    """0 also where no engine can serve the model: the table says why."""
    if args.install is not None and args.model:
        raise CommandError(f"--install takes the engines after it: xserve engines --install {args.model}", Exit.USAGE)
    if args.environments and args.install is None:
        raise CommandError("--environments says where --install makes them.", Exit.USAGE)
    if args.install is not None:
        return _install(args)
    if args.model_type and not args.model:
        raise CommandError("--model-type needs a MODEL.", Exit.USAGE)
    view = Client(locate(args)).get("/xserve/v1/engines", {"model": args.model, "type": args.model_type})
    rows = view["verdicts"] if args.model else view["engines"]
    if args.json:
        print_json(rows)
    else:
        print(render_verdicts(rows) if args.model else render_engines(rows))
    return Exit.DONE


def _install(args: Arguments) -> int:
    from xserve.daemon.installing import NotInstalledError, install

    try:
        done = install(args.config_dir, args.environments, args.install, say)
    except NotInstalledError as error:
        raise CommandError(str(error), Exit.FAILED) from error
    if args.json:
        print_json(done)
    else:
        print("\n".join(done))
    return Exit.DONE


def render_engines(engines: list[dict[str, Any]]) -> str:
    """Every engine, installed or not."""
    return table(("ENGINE", "INSTALLED", "SERVES", "HOW TO GET IT"), map(_engine_row, engines))


def render_verdicts(verdicts: list[dict[str, Any]]) -> str:
    """What each engine says to each set of weights."""
    rows = [
        (it["engine"], it["format"] or None, it["size"] or None, it["quantization"], _answer(it)) for it in verdicts
    ]
    return table(("ENGINE", "FORMAT", "SIZE", "QUANTIZATION", "CAN SERVE IT"), rows)


def _answer(verdict: dict[str, Any]) -> str:
    yes = "yes, and it is taken" if verdict["taken"] else "yes"
    return "; ".join(filter(None, (yes if verdict["able"] else "", verdict["reason"])))


def _engine_row(engine: dict[str, Any]) -> tuple[str, ...]:
    installed = (engine["backend"] or "yes") if engine["installed"] else _STAGES[engine["readiness"]]
    return engine["name"], installed, _serves(engine["serves"]), engine["reason"]


_STAGES = {"missing": "no", "absent": "on demand", "making": "being made", "failed": "failed"}


def _serves(rows: list[dict[str, Any]]) -> str:
    return "; ".join(f"{row['type']}{_of_what(row)}" for row in rows)


def _of_what(row: dict[str, Any]) -> str:
    kinds = row["formats"] or row["families"] or row["launchers"]
    return f" ({', '.join(kinds)})" if kinds else ""


COMMANDS = {
    "engines": Command(
        run_engines,
        engines_options,
        "Shows the engines of this machine, or what each of them says to the weights of a model.",
        "xserve engines\nxserve engines qwen2.5-instruct\nxserve engines --install transformers",
    )
}
