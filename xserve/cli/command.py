"""What every command is made of: its arguments, its function, and the exit codes that scripts rely on.

A command module declares its commands as a mapping of name to `Command`. The arguments are declared by a
function on argparse's parser, so that only the command that was asked for builds one.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

Parser = argparse.ArgumentParser
Arguments = argparse.Namespace


class Exit(IntEnum):
    """The exit codes; they are a contract."""

    DONE = 0  # done, or nothing to do
    FAILED = 1  # failed, or an input was rejected; the reason is on stderr
    USAGE = 2  # the command line itself is wrong
    CHANGES = 3  # `plan` found something to change
    TIMED_OUT = 4
    SERVED_ALREADY = 5  # another daemon serves this config directory
    INTERRUPTED = 130  # 128 + SIGINT, as shells count
    BROKEN_PIPE = 141  # 128 + SIGPIPE


class CommandError(Exception):
    """Ends the command with a sentence for the person who typed it."""

    def __init__(self, message: str, code: Exit = Exit.FAILED) -> None:
        """`message` goes to stderr as one line."""
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Command:
    """One command. `run` returns the exit code; it may raise CommandError."""

    run: Callable[[Arguments], int]
    options: Callable[[Parser], None]
    description: str  # sentences
    example: str  # command lines, one each
    passes_on: bool = False  # unknown `--key value` pairs are for the engine, found in `args.passed_on`


def add_json(parser: Parser) -> None:
    """The option of every command that prints data."""
    parser.add_argument("--json", action="store_true", help="Print one JSON document.")


def directory(text: str) -> str:
    """A directory's name; an empty one is a variable that somebody forgot to set, not the default."""
    if not text:
        raise argparse.ArgumentTypeError("the name of the directory is empty")
    return text


def add_config_dir(parser: Parser) -> None:
    """The option of commands that read the files themselves."""
    parser.add_argument(
        "--config-dir",
        metavar="DIR",
        type=directory,
        help="Directory with xserve.yaml, models.d/ and deploy.yaml. Without it: XSERVE_CONFIG_DIR, else the "
        "system's or the user's own directories.",
    )


def add_daemon(parser: Parser) -> None:
    """The options that say which daemon to talk to."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--config-dir",
        metavar="DIR",
        type=directory,
        help="Talk to the daemon that serves this config directory. Without it: XSERVE_CONFIG_DIR.",
    )
    where.add_argument(
        "-e",
        "--endpoint",
        metavar="URL",
        help="Talk to the daemon at this address, such as http://10.0.0.5:9997 or unix:/run/x.sock. Without it: "
        "XSERVE_ENDPOINT, else the daemon of this machine.",
    )


def later(what: str) -> type[argparse.Action]:
    """An argparse action that refuses an option which a later release honours."""

    class Later(argparse.Action):
        """Refuses the option."""

        def __call__(self, parser: Parser, namespace: Arguments, values: object, option: str | None = None) -> None:
            """Ends with a usage error."""
            parser.error(f"{option} is not supported yet: {what}")

    return Later


def seconds(text: str) -> float:
    """A duration: `600`, `90s`, `10m`, `1.5h`. Raises what argparse reports as a usage error."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h|)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration; write for example 600, 90s or 10m")
    return float(found.group(1)) * {"": 1, "s": 1, "m": 60, "h": 3600}[found.group(2)]
