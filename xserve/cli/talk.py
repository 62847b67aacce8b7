"""`chat`, `generate`: talk to a model. Interactive on a terminal, else with what comes on stdin."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

from xserve.cli.client import Client
from xserve.cli.command import Arguments, Command, CommandError, Exit, Parser
from xserve.cli.locate import locate
from xserve.cli.output import print_json, say
from xserve.cli.registrations import add_common

Message = dict[str, str]

_LONG = 3600.0
"""Seconds for an answer that is not streamed; the model may be slow."""


def talk_options(parser: Parser) -> None:
    """With whom, about what, and how long the answer may be."""
    parser.add_argument("words", nargs="*", metavar="MODEL [PROMPT]", help="Public name, and a prompt for one answer.")
    parser.add_argument("-u", "--model-uid", "--model_uid", metavar="UID", help="Public name, the other way.")
    parser.add_argument("--max-tokens", "--max_tokens", type=int, default=512, metavar="COUNT", help="Default: 512.")
    parser.add_argument("--temperature", type=float, metavar="T", help="Without it: the engine's.")
    parser.add_argument("--stream", type=_yes_or_no, default=True, metavar="BOOL", help="Default: true.")
    parser.add_argument(
        "--lines", action="store_true", help="Each line of stdin is a prompt. Without it: all of it is one."
    )
    parser.add_argument(
        "--json", action="store_true", help="Print the whole answer as JSON; with --lines a list of them."
    )
    add_common(parser)


def run_chat(args: Arguments) -> int:
    """A conversation: each answer knows what was said before."""
    history: list[Message] = []

    def body(prompt: str) -> dict[str, Any]:
        history.append({"role": "user", "content": prompt})
        return {"messages": history}

    def heard(answer: str) -> None:
        history.append({"role": "assistant", "content": answer})

    return talk(args, "/v1/chat/completions", body, heard)


def run_generate(args: Arguments) -> int:
    """Each prompt stands for itself."""
    return talk(args, "/v1/completions", lambda prompt: {"prompt": prompt}, lambda _: None)


def talk(args: Arguments, path: str, body: Callable[[str], dict[str, Any]], heard: Callable[[str], None]) -> int:
    """One answer per prompt: printed as it comes, or collected as JSON."""
    model, prompt = model_and_prompt(args)
    client, answers = Client(locate(args)), []
    common = {"model": model, "max_tokens": args.max_tokens}
    if args.temperature is not None:
        common["temperature"] = args.temperature
    for text in prompts(args, prompt):
        request = {**common, **body(text)}
        if args.json:
            answers.append(client.post(path, request, patience=_LONG))
            heard(text_of(answers[-1]["choices"][0]))
        elif args.stream:
            heard(print_stream(client, path, request))
        else:
            heard(print_whole(client, path, request))
    if args.json:
        print_json(answers if args.lines else answers[0])
    return Exit.DONE


def model_and_prompt(args: Arguments) -> tuple[str, str | None]:
    """Who is asked, and what, where the command line says it. Raises CommandError (usage)."""
    words = [args.model_uid, *args.words] if args.model_uid else args.words
    if not words:
        raise CommandError("name the model: xserve chat MODEL", Exit.USAGE)
    if len(words) > 2:
        raise CommandError("the prompt must be one word of the shell; put it into quotes.", Exit.USAGE)
    return words[0], words[1] if len(words) == 2 else None


def prompts(args: Arguments, prompt: str | None) -> Iterator[str]:
    """What to ask: the prompt given, else what a person types, else what comes on stdin."""
    if prompt is not None:
        yield prompt
    elif sys.stdin.isatty():
        if args.json:
            raise CommandError("--json needs a prompt on the command line or on stdin.", Exit.USAGE)
        yield from typed()
    elif args.lines:
        yield from filter(None, (line.strip() for line in sys.stdin))
    else:
        yield piped()


def piped() -> str:
    """All of stdin as one prompt. Raises CommandError where there is nothing."""
    text = sys.stdin.read().rstrip("\n")
    if not text:
        raise CommandError("there is no prompt: give one on the command line or on stdin.", Exit.USAGE)
    return text


def typed() -> Iterator[str]:
    """What a person types, until the end of input."""
    import readline  # noqa: F401 - gives `input` a history and editing

    say("Ctrl-D ends.")
    while True:
        try:
            line = input("> ").strip()
        except EOFError:
            print()
            return
        if line:
            yield line


def print_stream(client: Client, path: str, request: dict[str, Any]) -> str:
    """Print an answer as it comes, and return it. Reasoning goes to stderr."""
    parts = []
    for choice in choices(client, path, {**request, "stream": True}):
        reasoning = (choice.get("delta") or {}).get("reasoning_content")
        if reasoning:
            print(reasoning, end="", file=sys.stderr, flush=True)
        parts.append(text_of(choice))
        print(parts[-1], end="", flush=True)
    print()
    return "".join(parts)


def print_whole(client: Client, path: str, request: dict[str, Any]) -> str:
    """Print an answer when it is complete, and return it."""
    text = text_of(client.post(path, request, patience=_LONG)["choices"][0])
    print(text)
    return text


def choices(client: Client, path: str, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The pieces of a streamed answer. Raises CommandError if the stream ends in an error."""
    for event in client.events("POST", path, body=request):
        if event.data == "[DONE]":
            return
        yield from _piece(event.data).get("choices", [])[:1]
    raise CommandError("the answer broke off: the stream ended without its end mark")


def _piece(data: str) -> dict[str, Any]:
    """One event's object. Raises CommandError if it is none, or an error."""
    try:
        piece = json.loads(data)
    except ValueError as error:
        raise CommandError(f"the answer broke off: a piece of it is not JSON: {data[:200]}") from error
    if not isinstance(piece, dict) or "error" in piece:
        raise CommandError(f"the answer broke off: {_complaint(piece)}")
    return piece


def _complaint(piece: Any) -> Any:
    """What an error's object says, in whichever shape."""
    error = piece["error"] if isinstance(piece, dict) else piece
    return error.get("message", error) if isinstance(error, dict) else error


def text_of(choice: dict[str, Any]) -> str:
    """The text of a choice: whole or a piece, of a chat or of a completion."""
    holder = choice.get("delta") or choice.get("message") or {}
    return str(holder.get("content") or choice.get("text") or "")


def _yes_or_no(text: str) -> bool:
    known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in known:
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return known[text.lower()]


COMMANDS = {
    "chat": Command(
        run_chat,
        talk_options,
        "Chats with a model: a conversation on a terminal, one answer for a prompt on the command line or on stdin.",
        'xserve chat demo "What is 2+3?"\nxserve chat demo',
    ),
    "generate": Command(
        run_generate,
        talk_options,
        "Lets a model continue a text.",
        'xserve generate demo "The capital of France is" --max-tokens 8 --temperature 0',
    ),
}
