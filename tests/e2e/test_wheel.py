"""The wheel in an empty environment elsewhere, away from the checkout."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from .daemon import wait_until
from .files import Config

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_wheel_serves_a_real_model_from_an_empty_environment(files: Config, tmp_path: Path) -> None:
    """`pip install xserve[llama-cpp]` and `xserve serve`, nothing of the checkout on any path."""
    uv = Path(sys.executable).with_name("uv")
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, tmp_path / "env"], check=True)
    subprocess.run([uv, "build", "--quiet", "--wheel", "--out-dir", tmp_path, ROOT], check=True)
    [wheel] = tmp_path.glob("*.whl")
    constraints = ["-c", ROOT / "constraints.txt"]
    install = [uv, "pip", "install", "--quiet", "--python", python, *constraints, f"{wheel}[llama-cpp]"]
    subprocess.run(install, check=True)

    files.define_real("smollm2")
    files.deploy("chat", model="smollm2", options={"n_threads": 1})
    place = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    command = [python.with_name("xserve"), "serve", "--config-dir", files.directory, "--port", "0"]
    with subprocess.Popen(command, cwd=tmp_path, env=place, stderr=subprocess.DEVNULL) as daemon:
        try:
            contact = files.directory / "run" / "daemon.json"
            wait_until(contact.exists, "the daemon listens")
            url = json.loads(contact.read_text())["url"]
            wait = [python.with_name("xserve"), "wait", "--config-dir", files.directory, "--timeout", "60"]
            waited = subprocess.run(wait, cwd=tmp_path, env=place, capture_output=True, text=True)
            assert waited.returncode == 0, waited.stderr
            body = json.dumps(
                {"model": "chat", "prompt": "The capital of France is", "max_tokens": 3, "temperature": 0}
            )
            headers = {"Content-Type": "application/json"}
            with urllib.request.urlopen(
                urllib.request.Request(f"{url}/v1/completions", body.encode(), headers)
            ) as reply:
                assert "Paris" in json.load(reply)["choices"][0]["text"]
        finally:
            daemon.send_signal(signal.SIGTERM)
    assert daemon.returncode == 0
