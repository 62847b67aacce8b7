"""The entry point: find the command, read its arguments, run it, turn what went wrong into an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from io import StringIO
from typing import NoReturn

from xserve import __version__
from xserve.cli.catalogue import MODULES, overview
from xserve.cli.command import Arguments, Command, CommandError, Exit


def main(words: Sequence[str] | None = None) -> int:
    """Run one command line; returns its exit code. Usage errors leave by SystemExit(2), as argparse has it."""
    if sys.stdin is None:  # closed by whoever started us: there is nothing to read, which is no fault
        sys.stdin = StringIO()
    try:
        code = run(sys.argv[1:] if words is None else words)
        print(end="", flush=True)  # what cannot be written shows here, not at the interpreter's end
    except CommandError as error:
        print(f"xserve: {error}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        silence(1)
        return Exit.BROKEN_PIPE
    except OSError as error:
        silence(1)
        print(f"xserve: {error}", file=sys.stderr)
        return Exit.FAILED
    return code


def run(words: Sequence[str]) -> int:
    """Run one command line; what goes wrong is raised."""
    if not words or words[0] in {"-h", "--help", "help"}:
        print(overview())
        return Exit.DONE
    if words[0] in {"-V", "--version"}:
        print(f"xserve {__version__}")
        return Exit.DONE
    name, *rest = words
    if name not in MODULES:
        refuse(name)
    # pydantic would read the metadata of every installed package to look for plugins; none is wanted here.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    commands: Mapping[str, Command] = import_module(MODULES[name]).COMMANDS
    return commands[name].run(parse(name, commands[name], rest))


def parse(name: str, command: Command, words: Sequence[str]) -> Arguments:
    """The arguments of a command. What is unknown is a usage error, or goes into `passed_on`."""
    parser = argparse.ArgumentParser(
        prog=f"xserve {name}",
        description=command.description,
        epilog="Example:\n" + "\n".join(f"  {line}" for line in command.example.splitlines()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # an abbreviation would swallow options that are meant for the engine
    )
    command.options(parser)
    if not command.passes_on:
        return parser.parse_args(words)
    args, unknown = parser.parse_known_args(words)
    args.passed_on = unknown
    return args


def refuse(word: str) -> NoReturn:
    """An unknown command, with the nearest known one. Raises CommandError."""
    from difflib import get_close_matches  # only a mistake needs it

    near = get_close_matches(word, MODULES, 1)
    hint = f"did you mean {near[0]}?" if near else "xserve --help lists the commands."
    raise CommandError(f"there is no command {word!r}; {hint}", Exit.USAGE)


def silence(descriptor: int) -> None:
    """Point a descriptor nowhere: the interpreter's last flush must not complain about a reader that left."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
