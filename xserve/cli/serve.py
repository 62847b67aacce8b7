"""`serve`: the daemon in the foreground."""

from __future__ import annotations

from argparse import ArgumentTypeError

from xserve.cli.command import Arguments, Command, Parser, add_config_dir

_LAST_PORT = 65535


def serve_options(parser: Parser) -> None:
    """Where to listen, and what to log."""
    add_config_dir(parser)
    parser.add_argument(
        "--host", metavar="ADDRESS", help="Address to listen on. Without it: xserve.yaml, else 127.0.0.1."
    )
    parser.add_argument("--port", type=port_number, help="Port; 0: any free one. Without it: xserve.yaml, else 9997.")
    parser.add_argument("--uds", metavar="PATH", help="Listen on this unix socket in place of a port.")
    parser.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), default="info", help="Default: info."
    )
    parser.add_argument("--log-format", choices=("text", "json"), default="text", help="Default: text.")


def port_number(text: str) -> int:
    """A TCP port, 0 to 65535. Raises ArgumentTypeError."""
    if not text.isdecimal() or int(text) > _LAST_PORT:
        raise ArgumentTypeError(f"{text!r} is not a port; ports go from 0 to {_LAST_PORT}")
    return int(text)


def run_serve(args: Arguments) -> int:
    """Runs until SIGTERM or Ctrl-C; the daemon says how it went."""
    from xserve.daemon.main import serve  # brings pydantic, starlette and uvicorn

    return serve(args.config_dir, args.host, args.port, args.uds, args.log_level, args.log_format)


COMMANDS = {
    "serve": Command(
        run_serve,
        serve_options,
        "Runs the daemon in the foreground: it serves what deploy.yaml names and follows every change of the files. "
        "SIGTERM and Ctrl-C let requests in flight end first.",
        "xserve serve --config-dir ./config",
    )
}
