"""`check`: what is wrong with files, told without a daemon and without touching anything."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xserve.cli.command import Arguments, Command, CommandError, Exit, Parser, add_config_dir, add_json
from xserve.cli.output import print_json, print_problems

if TYPE_CHECKING:
    from xserve.core.problems import Problem


def check_options(parser: Parser) -> None:
    """What to check, and how strictly."""
    parser.add_argument(
        "files",
        nargs="*",
        type=Path,
        metavar="FILE",
        help="File of any name; -: stdin. Without it: the whole config directory.",
    )
    add_config_dir(parser)
    parser.add_argument(
        "--as", dest="as_path", metavar="PATH", help="Where FILE would stand; it takes that file's place."
    )
    parser.add_argument("--kind", choices=("model", "deploy", "settings"), help="Without it: told by the content.")
    parser.add_argument("--strict", action="store_true", help="Warnings, such as weights that are missing, are errors.")
    add_json(parser)


def run_check(args: Arguments) -> int:
    """1 if a file would be rejected."""
    if args.as_path and len(args.files) != 1:
        raise CommandError("--as needs exactly one FILE.", Exit.USAGE)
    from xserve.daemon.checking import check_files  # brings pydantic and yaml

    problems = [describe(it) for it in check_files(args.files, args.config_dir, args.as_path, args.kind, args.strict)]
    rejected = print_problems(problems)
    if args.json:
        print_json({"accepted": not rejected, "problems": problems})
    elif not problems:
        print("no problems")
    return Exit.FAILED if rejected else Exit.DONE


def describe(problem: Problem) -> dict[str, Any]:
    """A problem as the API shows it."""
    return {**asdict(problem), "text": str(problem)}


COMMANDS = {
    "check": Command(
        run_check,
        check_options,
        "Says what is wrong with definitions, deploy files and settings, as file:line:column: field: sentence. "
        "It needs no daemon, takes files of any name and leaves everything as it is.",
        "xserve check\nxserve check --as models.d/qwen.yaml /tmp/tmpab12cd",
    )
}
