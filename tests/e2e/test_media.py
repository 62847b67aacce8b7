"""Images, sound and models of any kind, by the clients that people use, through the real daemon.

The engine is the fake, which answers foreseeably; what real models make of such requests is tested with each
engine. What is held here is the way: every body arrives whole, every answer is one that the client understands.
"""

from __future__ import annotations

import base64
import io
import json
import urllib.request
import wave
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

import pytest
from openai import BadRequestError, NotFoundError, OpenAI
from xinference_client.client.restful.restful_client import Client

from .conftest import Serve
from .daemon import ServedDaemon, wait_until
from .files import Config

PNG = b"\x89PNG\r\n\x1a\n"
RECORDING = bytes(range(256)) * 5000  # 1.3 MB: more than one read, and every byte there is
HEARD = f"fake: {len(RECORDING)} bytes"


@pytest.fixture
def daemon(files: Config, serve: Serve) -> ServedDaemon:
    """The fake engine as a painter (with an alias), a listener and speaker, and something callable."""
    files.drop({"model_name": "painter", "model_family": "stable_diffusion"})
    files.drop({"model_name": "voice", "model_family": "whisper", "multilingual": True})
    files.drop({"model_name": "callable", "launcher": "package.Launcher", "launcher_args": "{}"})
    files.deploy_fake("painter", aliases=["dall-e-2"])
    files.deploy_fake("voice", aliases=["whisper-1", "tts-1"])
    files.deploy_fake("callable")
    started = serve()
    for uid in ("painter", "voice", "callable"):
        started.wait_state(uid, "ready")
    return started


@pytest.fixture
def openai(daemon: ServedDaemon) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{daemon.url}/v1", api_key="none", max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture
def xinference(daemon: ServedDaemon) -> Iterator[Client]:
    with closing(Client(daemon.url)) as client:
        yield client


def fetch(url: str) -> tuple[str, bytes]:
    """(media type, content) of a URL, without any key, as curl would get it."""
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.headers["content-type"], answer.read()


def images(answer: Any) -> list[bytes]:
    """The images behind the URLs of an answer of Xinference's client."""
    return [fetch(item["url"])[1] for item in answer["data"]]


def test_openais_client_gets_images_by_url_and_as_base64(openai: OpenAI) -> None:
    linked = openai.images.generate(model="painter", prompt="a red square", n=2)
    packed = openai.images.generate(model="dall-e-2", prompt="a red square", n=2, response_format="b64_json")
    assert [image.b64_json for image in linked.data] == [None, None]
    fetched = [fetch(image.url) for image in linked.data]
    assert [kind for kind, _ in fetched] == ["image/png", "image/png"]
    assert [image for _, image in fetched] == [base64.b64decode(image.b64_json) for image in packed.data]
    assert fetched[0] != fetched[1]


def test_openais_client_edits_under_an_alias(openai: OpenAI) -> None:
    """The alias is replaced in the form; the files beside it arrive as they were sent."""
    asked = {"image": RECORDING, "mask": b"mask", "prompt": "x", "response_format": "b64_json"}
    [by_alias] = openai.images.edit(model="dall-e-2", **asked).data
    [by_name] = openai.images.edit(model="painter", **asked).data
    [other] = openai.images.edit(model="painter", **{**asked, "image": RECORDING[:-1]}).data
    assert by_alias.b64_json == by_name.b64_json != other.b64_json


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # its translations, which people still use
def test_openais_client_is_heard(openai: OpenAI) -> None:
    for model in ("voice", "whisper-1"):
        assert openai.audio.transcriptions.create(model=model, file=("a.wav", RECORDING)).text == HEARD
    assert openai.audio.translations.create(model="whisper-1", file=("a.wav", RECORDING)).text == HEARD
    subtitles = openai.audio.transcriptions.create(model="voice", file=("a.wav", RECORDING), response_format="srt")
    assert subtitles.splitlines()[2] == HEARD
    verbose = openai.audio.transcriptions.create(
        model="voice", file=("a.wav", RECORDING), response_format="verbose_json"
    )
    assert verbose.segments[0].text == HEARD


def test_openais_client_is_spoken_to_while_it_is_made(openai: OpenAI) -> None:
    """The first word is there although the second one will never be made."""
    stalled = {"fake": {"token_interval": 3600}}
    with openai.audio.speech.with_streaming_response.create(
        model="tts-1", voice="any", input="one two", response_format="wav", extra_body=stalled
    ) as answer:
        assert answer.headers["content-type"] == "audio/wav"
        assert next(answer.iter_bytes()).startswith(b"RIFF")


def test_openais_client_gets_whole_speech(openai: OpenAI) -> None:
    spoken = openai.audio.speech.create(model="tts-1", voice="any", input="one two three", response_format="wav")
    with wave.open(io.BytesIO(spoken.content)) as sound:
        assert sound.getnframes() / sound.getframerate() == pytest.approx(0.3)


def test_openais_client_reads_why_an_upload_is_refused(openai: OpenAI) -> None:
    with pytest.raises(BadRequestError, match="voice is of type audio"):
        openai.images.edit(model="voice", image=b"x", prompt="x")
    with pytest.raises(NotFoundError, match="uid: nobody") as failure:
        openai.audio.transcriptions.create(model="nobody", file=b"x")
    assert failure.value.code == "model_not_found"


def test_xinferences_client_paints(xinference: Client) -> None:
    with closing(xinference.get_model("painter")) as painter:
        [first] = images(painter.text_to_image("a cat", seed=1))
        [again] = images(painter.text_to_image("a cat", seed=1))
        [other] = images(painter.text_to_image("a cat", seed=2))
        assert first.startswith(PNG)
        assert first == again != other
        assert len(images(painter.image_to_image(RECORDING, "a cat", n=2))) == 2
        assert len(images(painter.image_to_image([RECORDING, b"second"], "a cat"))) == 1
        assert len(images(painter.image_edit([RECORDING, b"second"], "a cat", mask=b"mask"))) == 1
        assert len(images(painter.inpainting(RECORDING, b"mask", "a cat"))) == 1
        [packed] = painter.text_to_image("a cat", seed=1, response_format="b64_json")["data"]
        assert base64.b64decode(packed["b64_json"]) == first
        assert painter.ocr(RECORDING) == {"text": HEARD}


def test_xinferences_client_listens_and_speaks(xinference: Client) -> None:
    with closing(xinference.get_model("voice")) as voice:
        assert voice.transcriptions(RECORDING, language="en")["text"] == HEARD
        assert voice.transcriptions(RECORDING, response_format="verbose_json")["segments"][0]["text"] == HEARD
        assert voice.translations(RECORDING)["text"] == HEARD
        whole = voice.speech("one two", response_format="wav")
        assert whole.startswith(b"RIFF")
        assert b"".join(voice.speech("one two", response_format="wav", stream=True)) == whole
        assert voice.speech("one two", response_format="wav", prompt_speech=RECORDING) == whole


def test_xinferences_client_calls(xinference: Client) -> None:
    with closing(xinference.get_model("callable")) as called:
        assert called.infer(1, [2], key={"a": None}) == {"args": [1, [2]], "kwargs": {"key": {"a": None}}}


def test_xinferences_client_asks_how_far_its_image_is(daemon: ServedDaemon, xinference: Client) -> None:
    """Half way, for ever; then whoever wanted it leaves, and nobody knows it any more."""
    asked = {"num_inference_steps": 2, "fake": {"token_interval": 3600}, "request_id": "mine"}
    body = json.dumps({"model": "painter", "prompt": "x", "kwargs": json.dumps(asked)})
    waiting = HTTPConnection(daemon.url.removeprefix("http://"))
    waiting.request("POST", "/v1/images/generations", body, {"Content-Type": "application/json"})
    seen = wait_until(lambda: daemon.get("/v1/requests/mine/progress")[1].get("progress"), "it is half way")
    assert seen == 0.5
    told = xinference.get_progress("mine")
    assert told["eta_seconds"] == pytest.approx(told["elapsed_seconds"])
    waiting.close()
    wait_until(lambda: daemon.get("/v1/requests/mine/progress")[0] == 400, "it is gone")
    with pytest.raises(RuntimeError, match="No request in flight has the id mine"):
        xinference.get_progress("mine")
    with closing(xinference.get_model("painter")) as painter:
        assert len(images(painter.text_to_image("the engine goes on"))) == 1
