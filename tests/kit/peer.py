"""Renders every template by the kit and by transformers, and tells where they differ.

    python peer.py KIT TEMPLATES ASKED

Run with the interpreter of the engine transformers. The last line of the output is JSON: how many prompts are the
same, and the templates whose prompts are not. Templates that transformers cannot render are left out.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

sys.path.append(sys.argv[1])

from transformers.utils.chat_template_utils import render_jinja_template
from xserve_engine.messages import adapt
from xserve_engine.templates import Template


def prompts(source: str, messages: list[Any], tools: list[Any] | None, special: dict[str, str]) -> tuple[str, str]:
    """By us and by transformers, which is given the messages in the form that we found out. Raises what it raises."""
    ours = Template(source, special)
    adapted = adapt(messages, ours.form)
    theirs, _ = render_jinja_template(
        [adapted], tools=tools, chat_template=source, add_generation_prompt=True, **special
    )
    return ours.render(messages, tools), theirs[0]


def main(templates: Path, asked: Path) -> None:
    """Compare, and print the counts."""
    given = json.loads(asked.read_text())
    same, different = 0, []
    for path in sorted(templates.glob("*.jinja")):
        for tools in (None, [given["tool"]]):
            with contextlib.suppress(Exception):
                ours, theirs = prompts(path.read_text(), [given["asked"]], tools, given["special"])
                same += ours == theirs
                different += [] if ours == theirs else [path.name]
    print(json.dumps({"same": same, "different": different}))


if __name__ == "__main__":
    main(Path(sys.argv[2]), Path(sys.argv[3]))
