"""`list`, `terminate`: deployments over the API. Names and options are Xinference's."""

from __future__ import annotations

from typing import Any

from xserve.cli.client import Client, segment
from xserve.cli.command import Arguments, Command, CommandError, Exit, Parser, add_json
from xserve.cli.locate import locate
from xserve.cli.output import print_json, table
from xserve.cli.registrations import add_common

_COLUMNS = {
    "UID": "id",
    "TYPE": "model_type",
    "NAME": "model_name",
    "ENGINE": "model_engine",
    "FORMAT": "model_format",
    "SIZE": "model_size_in_billions",
    "QUANTIZATION": "quantization",
    "REPLICAS": "replica",
}


def list_options(parser: Parser) -> None:
    """Nothing but where."""
    add_json(parser)
    add_common(parser)


def run_list(args: Arguments) -> int:
    """Only models that answer; `status` shows all."""
    models: list[dict[str, Any]] = Client(locate(args)).get("/v1/models")["data"]
    if args.json:
        print_json(models)
    else:
        print(table(list(_COLUMNS), ([model.get(key) for key in _COLUMNS.values()] for model in models)))
    return Exit.DONE


def terminate_options(parser: Parser) -> None:
    """Which one."""
    parser.add_argument("model", nargs="?", metavar="UID", help="Public name.")
    parser.add_argument("-u", "--model-uid", "--model_uid", metavar="UID", help="The same.")
    add_common(parser)


def run_terminate(args: Arguments) -> int:
    """Returns when the model takes no more requests."""
    if bool(args.model) == bool(args.model_uid):
        raise CommandError("name the model once: xserve terminate UID", Exit.USAGE)
    Client(locate(args)).delete(f"/v1/models/{segment(args.model or args.model_uid)}")
    return Exit.DONE


COMMANDS = {
    "list": Command(
        run_list,
        list_options,
        "Lists the models that answer. `xserve status` also shows the ones that do not, and why.",
        "xserve list",
    ),
    "terminate": Command(
        run_terminate,
        terminate_options,
        "Stops serving a model that was started by `launch`. What deploy.yaml names ends when it is removed there.",
        "xserve terminate chat",
    ),
}
