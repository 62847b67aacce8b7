"""Which of vLLM's parsers reads the tool calls of a model.

A definition names a parser in Xinference's words, or in vLLM's. Where it names none, the chat template tells:
it writes earlier calls back in the very form that the model was taught.
"""

from __future__ import annotations

NAMES = {  # Xinference's -> vLLM's
    "qwen": "hermes",
    "qwen3-coder": "qwen3_xml",
    "glm4": "glm45",
    "llama3": "llama3_json",
    "deepseek-v3": "deepseek_v3",
    "deepseek-r1": "deepseek_v3",  # the same marks around the same JSON
    "minimax": "minimax_m2",
}
# A mark in the template, and the parser of those who write it; the first that is found counts.
MARKS = (
    ("<\uff5ctool\u2581calls\u2581begin\uff5c>", "deepseek_v3"),
    ("<function=", "qwen3_xml"),
    ("<arg_key>", "glm45"),
    ("<tool_call>", "hermes"),
    ("[TOOL_CALLS]", "mistral"),
    ("<|python_tag|>", "llama3_json"),
    ("<|tool_call|>", "granite"),
)


def parser_of(name: str | None, template: str) -> str:
    """vLLM's name of the parser; "" where neither the definition nor the template tells."""
    if name:
        return NAMES.get(name, name.replace("-", "_"))
    return next((parser for mark, parser in MARKS if mark in template), "")
