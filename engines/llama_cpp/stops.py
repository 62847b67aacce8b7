"""Where an answer ends: the definition's stop strings, and its stop token ids in a form that a server takes.

llama.cpp's server takes default stop strings at the launch, but no token ids. An id is therefore turned into
the token's text: a control token that the model file marks as an end already ends the answer; an ordinary
token's text becomes a stop string, which is the same but for words that merely begin with it; what is left
(control tokens that are no end) never shows in the text and is handed over by id to the backends that can.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from header import Header

CONTROL = 3  # token type in GGUF
ENDS = ("eos", "eot", "eom")
# Control tokens that llama.cpp recognises as an end by their text, whatever the file marks.
KNOWN_ENDS = frozenset(
    (
        *("<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>"),
        *("<|endoftext|>", "<|end_of_text|>", "<end_of_turn>", "<end_of_utterance>"),
        *("</s>", "<eos>", "[EOS]", "<EOT>", "_<EOT>", "[EOT]"),
    )
)


@dataclass(frozen=True, slots=True)
class Stops:
    """What ends an answer unless the request says otherwise."""

    strings: tuple[str, ...] = ()  # as declared
    ids: tuple[int, ...] = ()  # as declared
    texts: tuple[str, ...] = ()  # the strings, and the texts of the ids that show
    hidden: tuple[int, ...] = ()  # the ids of control tokens, which never show


def gather(header: Header, strings: list[str], ids: list[int]) -> Stops:
    """The stops of these strings and token ids. Ids that the file does not have are left out."""
    if not ids:
        return Stops(strings=tuple(strings), texts=tuple(strings))
    pieces = header.items("tokenizer.ggml.tokens", set(ids))
    kinds = header.items("tokenizer.ggml.token_type", set(ids))
    marked = {header.values.get(f"tokenizer.ggml.{end}_token_id") for end in ENDS}
    shown = [_text(header, piece) for token, piece in pieces.items() if kinds.get(token) != CONTROL]
    hidden = [
        token
        for token, piece in pieces.items()
        if kinds.get(token) == CONTROL and token not in marked and piece not in KNOWN_ENDS
    ]
    texts = dict.fromkeys([*strings, *filter(None, shown)])
    return Stops(tuple(strings), tuple(ids), tuple(texts), tuple(hidden))


def _text(header: Header, piece: str) -> str:
    """A token's text, "" where it is only a part of a character."""
    if header.values.get("tokenizer.ggml.model") == "gpt2":
        codes = _byte_of_symbol()
        data = b"".join(
            bytes([codes[symbol]]) if symbol in codes else symbol.encode("utf-8", "surrogateescape") for symbol in piece
        )
        return data.decode("utf-8", "ignore")
    return piece.replace("\u2581", " ")


@functools.cache
def _byte_of_symbol() -> dict[str, int]:
    """Byte-level vocabularies write each byte as a printable symbol: itself, or the next one from U+0100 on."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(0x100 + i): byte for i, byte in enumerate(others)}
