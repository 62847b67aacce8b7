"""`launch`: a deployment over the API, followed until it answers. Names and options are Xinference's.

What Xinference names and this version does not honour is refused here; every other unknown `--key value` is an
option of the engine, and the daemon checks it against the engine's schema.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from xserve.cli.client import AnswerError, Client, segment
from xserve.cli.command import Arguments, Command, CommandError, Exit, Parser, add_json
from xserve.cli.locate import locate
from xserve.cli.output import Progress, indent, print_json, say
from xserve.cli.passthrough import engine_options
from xserve.cli.registrations import add_common, add_type, refuse_later

_INTERVAL = 0.5
"""Seconds between two looks at the model."""

_LATER = (
    (("-lm", "--lora-modules", "--lora_modules"), "adapters of a launch; an entry of deploy.yaml takes them as lora."),
    (
        ("-ld", "--image-lora-load-kwargs", "--image_lora_load_kwargs"),
        "adapters of a launch; an entry of deploy.yaml takes them as lora.",
    ),
    (
        ("-fd", "--image-lora-fuse-kwargs", "--image_lora_fuse_kwargs"),
        "adapters of a launch; an entry of deploy.yaml takes them as lora.",
    ),
    (("-qc", "--quantization-config", "--quantization_config"), "quantisation while loading."),
    (
        ("--enable-virtual-env", "--enable_virtual_env"),
        "packages of a model's own; models share the environment of their engine.",
    ),
    (
        ("-vp", "--virtual-env-package", "--virtual_env_package"),
        "packages of a model's own; models share the environment of their engine.",
    ),
    (
        ("--virtual-env-find-link", "--virtual_env_find_link"),
        "packages of a model's own; models share the environment of their engine.",
    ),
)


def launch_options(parser: Parser) -> None:
    """What to launch, how, and where."""
    _what(parser)
    _how(parser)
    parser.add_argument("-p", "--persist", action="store_true", help="Keep it over a reboot.")
    add_json(parser)
    add_common(parser)
    for options, what in _LATER:
        refuse_later(parser, *options, what=what)
    parser.add_argument(
        "--disable-virtual-env",
        "--disable_virtual_env",
        action="store_true",
        help="As it is: models have none of their own.",
    )


def _what(parser: Parser) -> None:
    parser.add_argument(
        "-n", "--model-name", "--model_name", required=True, metavar="NAME", help="Name of the definition."
    )
    add_type(parser, None, "LLM")
    parser.add_argument("-u", "--model-uid", "--model_uid", metavar="UID", help="Public name. Without it: the name.")
    parser.add_argument("-en", "--model-engine", "--model_engine", metavar="ENGINE", help="Without it: the best one.")
    parser.add_argument(
        "-s", "--size-in-billions", "--size_in_billions", metavar="SIZE", help="Such as 7 or 0_5; selects the weights."
    )
    parser.add_argument("-f", "--model-format", "--model_format", metavar="FORMAT", help="Selects the weights.")
    parser.add_argument("-q", "--quantization", metavar="NAME", help="Selects the weights.")
    parser.add_argument(
        "-mp", "--model-path", "--model_path", metavar="PATH", help="Weights in place of the definition's."
    )


def _how(parser: Parser) -> None:
    parser.add_argument("-r", "--replica", type=int, metavar="COUNT", help="Default: 1.")
    parser.add_argument(
        "--n-gpu",
        "--n_gpu",
        type=gpu_count,
        default=...,
        metavar="COUNT",
        help="GPUs of a replica: auto, none, a count.",
    )
    parser.add_argument("--gpu-idx", "--gpu_idx", type=gpu_indices, metavar="0,1", help="These GPUs.")
    parser.add_argument("--n-worker", "--n_worker", type=int, metavar="COUNT", help="Only 1 is supported yet.")
    parser.add_argument("--worker-ip", "--worker_ip", metavar="ADDRESS", help="Of no effect on one machine.")
    parser.add_argument(
        "-ev", "--env", action="append", nargs=2, default=[], metavar=("NAME", "VALUE"), help="Environment; repeatable."
    )


def gpu_count(text: str) -> str | int | None:
    """`auto`, `none`, or a count."""
    if text.lower() == "none":
        return None
    if text == "auto" or (text.isdecimal() and int(text) > 0):
        return text if text == "auto" else int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is neither auto, none nor a count of GPUs")


def gpu_indices(text: str) -> list[int]:
    """`0,1` -> [0, 1]."""
    if not all(part.strip().isdecimal() for part in text.split(",")):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of GPU indices, such as 0,1")
    return [int(part) for part in text.split(",")]


def request_of(args: Arguments) -> dict[str, Any]:
    """The body of the launch request; what was not said is left out."""
    said = {
        "model_name": args.model_name,
        "model_type": args.model_type,
        "model_uid": args.model_uid,
        "model_engine": args.model_engine,
        "model_size_in_billions": args.size_in_billions,
        "model_format": args.model_format,
        "quantization": args.quantization,
        "model_path": args.model_path,
        "replica": args.replica,
        "gpu_idx": args.gpu_idx,
        "n_worker": args.n_worker,
        "worker_ip": args.worker_ip,
        "envs": dict(args.env) or None,
        "persist": args.persist or None,
    }
    body = {key: value for key, value in said.items() if value is not None}
    if args.n_gpu is not ...:  # null is a value here: no GPU
        body["n_gpu"] = args.n_gpu
    return {**engine_options(args.passed_on), **body}


def run_launch(args: Arguments) -> int:
    """Returns when the model is ready; its public name is printed."""
    body, client = request_of(args), Client(locate(args))
    uid = client.post("/v1/models", body, {"wait_ready": "false"})["model_uid"]
    try:
        await_ready(client, uid)
    except KeyboardInterrupt:
        return interrupted(client, uid)
    print_json({"model_uid": uid}) if args.json else print(uid)
    return Exit.DONE


def await_ready(client: Client, uid: str) -> None:
    """Look at the model until it answers, showing each change. Raises CommandError if it never will."""
    progress = Progress()
    try:
        while True:
            model = look(client, uid)
            if model["state"] in {"ready", "disabled"}:
                return
            if model["state"] == "failed":
                raise CommandError(failure_of(model))
            progress.show(f"{uid} is {model['state']}: {model['message']}")
            time.sleep(_INTERVAL)
    finally:
        progress.end()


def look(client: Client, uid: str) -> dict[str, Any]:
    """The deployment. Raises CommandError if somebody ended it."""
    try:
        model: dict[str, Any] = client.get(f"/xserve/v1/models/{segment(uid)}")
    except AnswerError as error:
        if error.status != 404:
            raise
        raise CommandError(f"{uid} was terminated before it was ready") from error
    return model


def failure_of(model: dict[str, Any]) -> str:
    """Why a launch failed, with the end of the engine's log."""
    tail = model["failure"]["log_tail"] if model["failure"] else []
    return "\n".join([f"cannot launch {model['uid']}: {model['message']}", *map(indent, tail)])


def interrupted(client: Client, uid: str) -> int:
    """Ctrl-C: a person decides whether the launch goes on; without one it does."""
    if sys.stdin.isatty() and confirmed(f"\nCancel the launch of {uid}? [y/N] "):
        client.delete(f"/v1/models/{segment(uid)}")
        say(f"{uid} is cancelled.")
    else:
        say(f"{uid} goes on loading. See: xserve status {uid}; to end it: xserve terminate {uid}")
    return Exit.INTERRUPTED


def confirmed(question: str) -> bool:
    """Ask on the terminal; a second Ctrl-C and the end of input mean no."""
    try:
        print(question, end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in {"y", "yes"}
    except KeyboardInterrupt:
        return False


COMMANDS = {
    "launch": Command(
        run_launch,
        launch_options,
        "Serves a registered model and waits until it answers. Further --key value pairs are options of the engine. "
        "A launch that fails is taken back. An entry in deploy.yaml does the same and stays.",
        "xserve launch -n qwen2.5-instruct -u chat -f ggufv2 --n-gpu none --n-ctx 4096",
        passes_on=True,
    )
}
