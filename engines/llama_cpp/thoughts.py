"""Reasoning tags, told to llama.cpp in the one way in which it learns them: by the chat template.

llama.cpp finds out how a model writes its thoughts by rendering the template with a last message that has
`reasoning_content`, and looking at what comes of it; then it moves thoughts out of the content by itself, streamed
or not, and notices a tag that the template opens in the prompt. A template that never mentions thoughts teaches it
nothing. It is given a head that writes them, between the definition's tags, into a last message that brings them.
A request does not end in such a message (but for an answer that is to be continued, where that is right), so no
prompt changes.
"""

from __future__ import annotations

import json

KNOWN = "reasoning_content"  # what a template calls thoughts that it writes

HEAD = """\
{%%- set taught = namespace(messages=[]) -%%}
{%%- for message in messages -%%}
    {%%- if loop.last and message.role == 'assistant' and message.reasoning_content -%%}
        {%%- set said = %s ~ message.reasoning_content ~ %s ~ (message.content or '') -%%}
        {%%- if message.tool_calls -%%}
            {%%- set message = {'role': 'assistant', 'content': said, 'tool_calls': message.tool_calls} -%%}
        {%%- else -%%}
            {%%- set message = {'role': 'assistant', 'content': said} -%%}
        {%%- endif -%%}
        {%%- set taught.messages = taught.messages + [message] -%%}
    {%%- else -%%}
        {%%- set taught.messages = taught.messages + [message] -%%}
    {%%- endif -%%}
{%%- endfor -%%}
{%%- set messages = taught.messages -%%}
"""


def teach(template: str, start: str, end: str) -> str:
    """The template with a head that shows the tags; as it is, where it writes thoughts by itself."""
    if KNOWN in template:
        return template
    return HEAD % (json.dumps(start), json.dumps(end)) + template
