"""The real entry point: what it imports, how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xserve import __version__
from xserve.cli.catalogue import GROUPS, MODULES

from .scripted import Answer, Outcome, Script

HEAVY = {
    "pydantic",
    "starlette",
    "uvicorn",
    "yaml",
    "jsonschema",
    "watchdog",
    "msgspec",
    "asyncio",
    "prometheus_client",
}
MODEL_LIBRARIES = {"torch", "vllm", "transformers", "xllamacpp", "llama_cpp", "sentence_transformers", "diffusers"}
LOADED = """
import json, sys
from xserve.cli.main import main
try:
    code = main(json.loads(sys.argv[1]))
except SystemExit as left:
    code = left.code
print(json.dumps({"code": code, "modules": sorted({name.partition(".")[0] for name in sys.modules})}), file=sys.stderr)
"""

Child = Callable[..., "subprocess.CompletedProcess[str]"]
Xserve = Callable[..., Outcome]


def loaded_by(*words: str) -> tuple[int, set[str]]:
    """Exit code of a command line and the top-level modules that it loaded."""
    ran = subprocess.run([sys.executable, "-c", LOADED, json.dumps(words)], capture_output=True, text=True, timeout=60)
    report = json.loads(ran.stderr.splitlines()[-1])
    return report["code"], set(report["modules"])


@pytest.mark.parametrize(
    "words",
    [["--version"], ["status"], ["launch", "-n", "x"], ["chat", "x", "hello"], ["serve", "--help"], ["check", "-h"]],
)
def test_a_start_imports_only_what_the_command_needs(words: list[str]) -> None:
    _, modules = loaded_by(*words)
    assert "xserve" in modules
    assert not modules & (HEAVY | MODEL_LIBRARIES)


def test_a_client_command_that_succeeds_imports_no_more(script: Script) -> None:
    script.on("GET", "/v1/models", {"object": "list", "data": []})
    code, modules = loaded_by("list", "--endpoint", script.address)
    assert code == 0
    assert not modules & (HEAVY | MODEL_LIBRARIES)


@pytest.mark.parametrize("words", [["check"], ["plan"], ["schema", "all"]])
def test_commands_that_read_the_files_load_no_model_library(words: list[str], config_dir: Path) -> None:
    more = [] if words[0] == "schema" else ["--config-dir", str(config_dir)]
    code, modules = loaded_by(*words, *more)
    assert code == 0
    assert "pydantic" in modules
    assert not modules & (MODEL_LIBRARIES | {"starlette", "uvicorn"})


def test_without_arguments_the_commands_are_shown_in_groups(child: Child) -> None:
    ran = child()
    assert (ran.returncode, ran.stderr) == (0, "")
    for title, rows in GROUPS.items():
        assert f"\n{title}:\n" in ran.stdout
        assert all(f"  {row.name} " in ran.stdout for row in rows)


def test_the_version(child: Child) -> None:
    assert child("--version").stdout == f"xserve {__version__}\n"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_every_command_explains_itself_with_an_example(name: str, xserve: Xserve) -> None:
    shown = xserve(name, "--help")
    assert (shown.code, shown.err) == (0, "")
    assert f"Example:\n  xserve {name}" in shown.out


@pytest.mark.parametrize("name", sorted(MODULES))
def test_every_example_is_a_command_line_that_can_be_read(name: str) -> None:
    """An example that the parser refuses would teach something wrong."""
    import shlex
    from importlib import import_module

    from xserve.cli.main import parse

    command = import_module(MODULES[name]).COMMANDS[name]
    for line in command.example.splitlines():
        words = shlex.split(line.partition(" > ")[0])
        assert words[:2] == ["xserve", name]
        parse(name, command, words[2:])


def test_an_unknown_command_is_a_usage_error_that_names_the_nearest(child: Child) -> None:
    ran = child("lunch")
    assert ran.returncode == 2
    assert ran.stderr == "xserve: there is no command 'lunch'; did you mean launch?\n"


def test_an_unknown_option_is_a_usage_error(child: Child) -> None:
    ran = child("status", "--jsn")
    assert ran.returncode == 2
    assert "--jsn" in ran.stderr


def test_without_a_daemon_one_sentence_names_what_was_tried(child: Child, free_port: int) -> None:
    ran = child("status", "--endpoint", f"http://127.0.0.1:{free_port}")
    assert ran.returncode == 1
    assert ran.stderr == (
        f"xserve: no daemon answers; tried http://127.0.0.1:{free_port} (--endpoint). Start one with: xserve serve\n"
    )


def test_a_reader_that_leaves_is_no_reason_to_complain(script: Script) -> None:
    """`xserve logs | head -1`: no traceback, and the status that shells know."""
    lines = b"a line\n" * 100_000
    script.on("GET", "/xserve/v1/models/chat/log", Answer(lines))
    with subprocess.Popen(
        [sys.executable, "-m", "xserve", "logs", "chat"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 141


def test_a_full_disk_is_a_sentence(child: Child) -> None:
    with open("/dev/full", "w") as full:
        ran = child("--version", stdout=full, stderr=subprocess.PIPE, capture_output=False)
    assert (ran.returncode, ran.stderr) == (1, "xserve: [Errno 28] No space left on device\n")


def test_without_a_stdout_nothing_breaks(child: Child) -> None:
    ran = child("--version", preexec_fn=lambda: os.close(1), stdout=None, stderr=subprocess.PIPE, capture_output=False)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_closed_stdin_is_an_empty_one(script: Script) -> None:
    """`xserve chat NAME <&-`, as services and schedulers start commands: a sentence, no traceback."""
    code = "import sys; sys.stdin = None; from xserve.cli.main import main; sys.exit(main(['chat', 'chat']))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 2
    assert ran.stderr.startswith("xserve: there is no prompt")


def test_ctrl_c_ends_without_a_traceback(script: Script, config_dir: Path) -> None:
    def interrupt(_: Any) -> Answer:
        os.kill(int((config_dir / "pid").read_text()), signal.SIGINT)
        return Answer({})

    script.on("GET", "/xserve/v1/wait", interrupt)
    # Whoever runs the tests in the background may have handed down that SIGINT is ignored.
    code = "import os, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += f"open({str(config_dir / 'pid')!r}, 'w').write(str(os.getpid()))\n"
    code += "from xserve.cli.main import main; sys.exit(main(['wait']))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 130
    assert "Traceback" not in ran.stderr


def test_serve_hands_its_options_to_the_daemon(monkeypatch: pytest.MonkeyPatch, xserve: Xserve) -> None:
    import xserve.daemon.main as daemon

    called: list[tuple[Any, ...]] = []
    monkeypatch.setattr(daemon, "serve", lambda *words: called.append(words) or 5)
    code = xserve("serve", "--config-dir", "c", "--host", "::1", "--port", "0", "--log-format", "json").code
    assert code == 5
    assert called == [("c", "::1", 0, None, "info", "json")]
