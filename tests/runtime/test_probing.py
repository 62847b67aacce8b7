"""The tiny request that proves a replica ready, read as a server reads it."""

from __future__ import annotations

import json
import wave
from email.parser import BytesParser
from email.policy import HTTP
from io import BytesIO

from xserve.core.manifest import Probe, Silence
from xserve.runtime.probing import compose_probe


def parts_of(kind: str, body: bytes) -> dict[str, tuple[str | None, bytes]]:
    """The members of a form: name -> (file name, content)."""
    message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
    return {
        str(part.get_param("name", header="Content-Disposition")): (part.get_filename(), part.get_payload(decode=True))
        for part in message.iter_parts()
    }


def test_the_served_name_is_filled_in_at_every_depth() -> None:
    body = {"model": "{uid}", "messages": [{"role": "user", "content": "hi"}, ["{uid}", 1]], "text": "not {uid}"}
    kind, content = compose_probe(Probe(path="/v1/x", body=body), "chat")
    assert kind == "application/json"
    assert json.loads(content) == {
        "model": "chat",
        "messages": [{"role": "user", "content": "hi"}, ["chat", 1]],
        "text": "not {uid}",
    }


def test_silence_is_a_sound_file_of_half_a_second_in_a_form() -> None:
    probe = Probe(path="/v1/x", body={"model": "{uid}", "language": "en"}, silence=Silence(field="audio"))
    parts = parts_of(*compose_probe(probe, "ears"))
    assert parts["model"] == (None, b"ears")
    assert parts["language"] == (None, b"en")
    name, content = parts["audio"]
    assert name == "silence.wav"
    assert int.from_bytes(content[4:8], "little") == len(content) - 8
    with wave.open(BytesIO(content)) as sound:
        assert (sound.getnchannels(), sound.getsampwidth(), sound.getframerate()) == (1, 2, 16_000)
        assert sound.getnframes() == 8_000
        assert not any(sound.readframes(8_000))
