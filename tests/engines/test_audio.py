"""Speech both ways by real models: what one engine says, another writes down, word for word."""

from __future__ import annotations

import base64
import difflib
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from .harness import ENGINES, Engine
from .roster import subjects
from .sounds import form, seconds, wav, words
from .subject import Subject

SAY, WRITE, TRANSLATE = "/v1/audio/speech", "/v1/audio/transcriptions", "/v1/audio/translations"
SENTENCES = [
    "The meeting starts at nine o'clock on Monday morning.",
    "Please send the report to the office before lunch.",
    "She walked along the river and looked at the old bridge.",
]
LONG = (  # more than a window, and varied: Whisper takes what repeats itself for a mistake
    "Our journey began in London on a cold and cloudy afternoon. The fast train brought us to Paris before dinner. "
    "We spent two quiet days with old friends near Berlin. Somebody had left a green umbrella at the hotel in Madrid. "
    "The best coffee of the whole summer was served in Rome. A violin player from Vienna taught my sister three songs. "
    "It rained so hard that all of the museums closed. The captain sailed north and reached Oslo after midnight. "
    "Her grandmother still grows lemons on a hill above Athens. Nobody believed the story about the horse from Dublin. "
    "A letter with a golden stamp arrived from Moscow last week. They finally sold the small blue house close to Cairo."
)
MARKS = [
    *("journey", "train", "friends", "umbrella", "coffee", "violin"),
    *("museums", "captain", "lemons", "horse", "letter", "house"),
]
CLOCK = re.compile(r"(\d\d):(\d\d):(\d\d)[,.](\d{3}) --> (\d\d):(\d\d):(\d\d)[,.](\d{3})")


def subject(name: str) -> Subject:
    """The subject of the roster with this id."""
    return next(one for one in subjects() if one.id == name)


def begun(chosen: Subject, folder: Path) -> Iterator[Engine]:
    """The subject's engine, ready; skips where it cannot be tried."""
    if chosen.missing:
        pytest.skip(chosen.missing)
    with Engine(chosen, folder) as engine:
        engine.wait_ready()
        yield engine


@pytest.fixture(scope="module")
def piper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    yield from begun(subject("piper-audio-joe"), tmp_path_factory.mktemp("piper"))


@pytest.fixture(scope="module")
def kokoro(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    yield from begun(subject("kokoro-audio-82M"), tmp_path_factory.mktemp("kokoro"))


@pytest.fixture(scope="module")
def vits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    yield from begun(subject("audio-audio-vits"), tmp_path_factory.mktemp("vits"))


@pytest.fixture(scope="module", params=["faster_whisper-audio-tiny.en", "audio-audio-tiny.en"])
def listener(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Whisper tiny.en by each engine."""
    yield from begun(subject(request.param), tmp_path_factory.mktemp("listener"))


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The quickest listener, for tests that are about the speaker."""
    yield from begun(subject("faster_whisper-audio-tiny.en"), tmp_path_factory.mktemp("quick"))


@pytest.fixture(scope="module")
def ear(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Whisper base, which knows a hundred languages, by the faster engine."""
    yield from begun(subject("faster_whisper-audio-base"), tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def speech(piper: Engine) -> bytes:
    """The first sentence, spoken."""
    return say(piper, SENTENCES[0])


@pytest.fixture(scope="module")
def long_speech(piper: Engine) -> bytes:
    """More than one window of speech."""
    return say(piper, LONG)


@pytest.fixture(scope="module")
def long_answer(listener: Engine, long_speech: bytes) -> Any:
    """What the listener makes of it, with all its times."""
    return write(
        listener, long_speech, response_format="verbose_json", **{"timestamp_granularities[]": ["word", "segment"]}
    )


def say(engine: Engine, text: str, form: str = "wav", **body: Any) -> bytes:
    status, answer = engine.ask("POST", SAY, {"model": "served", "input": text, "response_format": form, **body})
    assert status == 200, answer
    return answer


def alike(one: str, other: str) -> float:
    """The share of words that two texts have in the same order."""
    return difflib.SequenceMatcher(None, words(one), words(other), autojunk=False).ratio()


def said_at(word: str, length: float) -> float:
    """About when a word of the long text is said, in seconds: a voice keeps its pace."""
    return LONG.index(word) / len(LONG) * length


def write(engine: Engine, file: bytes, path: str = WRITE, **fields: Any) -> Any:
    """The answer to a file: JSON, or text where that was asked for."""
    body, kind = form(file, **fields)
    status, answer = engine.ask("POST", path, body, kind)
    assert status == 200, answer
    return json.loads(answer) if "json" in fields.get("response_format", "json") else answer.decode()


def refused(engine: Engine, path: str, body: Any, kind: str = "application/json") -> str:
    """The sentence with which the client's mistake is answered."""
    status, answer = engine.ask("POST", path, body, kind)
    assert status == 400, answer
    return str(json.loads(answer)["error"]["message"])


# What is said comes back


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_spoken_sentence_is_written_down_word_for_word(piper: Engine, listener: Engine, sentence: str) -> None:
    assert words(write(listener, say(piper, sentence))["text"]) == words(sentence)


def test_another_voice_and_another_ear_agree_too(kokoro: Engine, ear: Engine) -> None:
    assert words(write(ear, say(kokoro, SENTENCES[0]))["text"]) == words(SENTENCES[0])


@pytest.mark.parametrize("name", ["wav", "mp3", "flac", "opus", "aac", "pcm"])
def test_every_format_holds_the_speech_as_it_streams(piper: Engine, quick: Engine, name: str) -> None:
    """Written by the encoder, read by the decoder, understood in between; PCM is what OpenAI's clients play."""
    file = say(piper, SENTENCES[0], name, stream=True)
    assert words(write(quick, wav(file, 24_000) if name == "pcm" else file)["text"]) == words(SENTENCES[0])


@pytest.mark.parametrize(
    ("name", "begins"),
    [("wav", b"RIFF"), ("mp3", b"ID3"), ("flac", b"fLaC"), ("opus", b"OggS"), ("aac", b"\xff\xf1")],
)
def test_a_whole_file_is_of_the_kind_it_is_called(piper: Engine, name: str, begins: bytes) -> None:
    connection = piper.send("POST", SAY, {"input": "Hello.", "response_format": name})
    answer = connection.getresponse()
    kind, file = answer.getheader("content-type"), answer.read()
    connection.close()
    assert kind == ("audio/mpeg" if name == "mp3" else f"audio/{name}")
    assert file.startswith(begins)
    assert int(answer.getheader("content-length", 0)) == len(file)


def test_speech_of_more_than_a_window_keeps_its_words_and_its_times(long_answer: Any, long_speech: bytes) -> None:
    answer = long_answer
    length = seconds(long_speech)
    assert length > 30
    assert answer["duration"] == pytest.approx(length, abs=0.01)
    assert alike(answer["text"], LONG) > 0.9  # a lost or doubled window would be a quarter of it
    times = [time for segment in answer["segments"] for time in (segment["start"], segment["end"])]
    assert times == sorted(times)
    assert 30 < times[-1] <= answer["duration"]
    found = [(mark, one) for mark in MARKS for one in answer["segments"] if mark in one["text"]]
    assert len(found) > 9  # the smallest of all Whispers mishears some
    for mark, segment in found:
        assert segment["start"] - 2 < said_at(mark, length) < segment["end"] + 2


# Shapes of a transcription


def test_json_and_text_say_the_same(listener: Engine, speech: bytes) -> None:
    answer = write(listener, speech)
    assert set(answer) == {"text", "usage"}
    assert answer["usage"] == {"type": "duration", "seconds": 3}
    assert write(listener, speech, response_format="text") == answer["text"] + "\n"


@pytest.mark.parametrize("shape", ["srt", "vtt"])
def test_subtitles_have_times_within_the_sound(listener: Engine, speech: bytes, shape: str) -> None:
    text = write(listener, speech, response_format=shape)
    assert text.startswith("1\n00:00:00," if shape == "srt" else "WEBVTT\n\n00:00:00.")
    numbers = [int(part) for part in next(CLOCK.finditer(text)).groups()]
    start, end = (h * 3600 + m * 60 + s + t / 1000 for h, m, s, t in (numbers[:4], numbers[4:]))
    assert 0 <= start < end <= seconds(speech)
    assert words(CLOCK.sub("", text.removeprefix("1\n").removeprefix("WEBVTT"))) == words(SENTENCES[0])


def test_verbose_json_has_all_members_of_a_segment(listener: Engine, speech: bytes) -> None:
    answer = write(listener, speech, response_format="verbose_json")
    assert (answer["task"], answer["language"]) == ("transcribe", "english")
    assert "words" not in answer
    (segment,) = answer["segments"]
    assert segment.keys() == {
        *("id", "seek", "start", "end", "text", "tokens", "temperature"),
        *("avg_logprob", "compression_ratio", "no_speech_prob"),
    }
    assert -1 < segment["avg_logprob"] < 0
    assert 0 <= segment["no_speech_prob"] < 0.5
    assert segment["compression_ratio"] > 0


def test_words_are_timed_in_their_order_and_within_the_sound(long_answer: Any) -> None:
    timed, length = long_answer["words"], long_answer["duration"]
    assert words(" ".join(word["word"] for word in timed)) == words(long_answer["text"])
    starts = [word["start"] for word in timed]
    assert starts == sorted(starts)
    assert all(0 <= word["start"] <= word["end"] <= length for word in timed)
    said = {word["word"].strip(",."): word["start"] for word in timed}
    found = {mark: said[mark] for mark in MARKS if mark in said}
    assert len(found) > 9
    assert found == {mark: pytest.approx(said_at(mark, length), abs=2) for mark in found}


def test_words_alone_bring_no_segments(listener: Engine, speech: bytes) -> None:
    answer = write(listener, speech, response_format="verbose_json", **{"timestamp_granularities[]": ["word"]})
    assert "segments" not in answer
    assert words(" ".join(word["word"] for word in answer["words"])) == words(SENTENCES[0])


def test_a_stream_says_what_the_whole_answer_says(listener: Engine, long_speech: bytes, long_answer: Any) -> None:
    body, kind = form(long_speech, stream="true")
    status, answer = listener.ask("POST", WRITE, body, kind)
    assert status == 200
    *events, end = re.findall(r"data: (.*)\n\n", answer.decode())
    assert end == "[DONE]"
    *deltas, done = map(json.loads, events)
    assert len(deltas) > 1
    assert {one["type"] for one in deltas} == {"transcript.text.delta"}
    assert done["type"] == "transcript.text.done"
    assert "".join(one["delta"] for one in deltas).strip() == done["text"]
    assert alike(done["text"], long_answer["text"]) > 0.9  # timing words may shift a window, and a comma with it


def test_silence_has_no_words_worth_a_sentence(listener: Engine) -> None:
    assert len(words(write(listener, wav(bytes(32_000), 16_000))["text"])) <= 2


def test_the_language_is_found_out_and_named(ear: Engine, speech: bytes) -> None:
    answer = write(ear, speech, response_format="verbose_json")
    assert answer["language"] == "english"
    assert write(ear, speech, response_format="verbose_json", language="de")["language"] == "german"


def test_a_translation_is_english_and_says_that_it_is_one(ear: Engine, speech: bytes) -> None:
    answer = write(ear, speech, TRANSLATE, response_format="verbose_json")
    assert answer["task"] == "translate"
    assert words(answer["text"]) == words(SENTENCES[0])


# What cannot be heard


def test_an_english_only_model_does_not_translate(listener: Engine, speech: bytes) -> None:
    assert "cannot translate" in refused(listener, TRANSLATE, *form(speech))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"language": "de"}, "does not know the language 'de'"),
        ({"response_format": "xml"}, "no response_format 'xml'"),
        ({"temperature": "2"}, "from 0 to 1"),
        ({"temperature": "warm"}, "must be a number"),
        ({"timestamp_granularities[]": "letter"}, "no timestamp granularity 'letter'"),
    ],
)
def test_a_wish_that_cannot_be_met_is_told(
    listener: Engine, speech: bytes, fields: dict[str, str], sentence: str
) -> None:
    assert sentence in refused(listener, WRITE, *form(speech, **fields))


@pytest.mark.parametrize("file", [b"", b"no sound at all" * 100, b"RIFF\xff\xff\xff\xffWAVEfmt "])
def test_a_file_that_is_no_sound_is_the_clients_fault(listener: Engine, file: bytes) -> None:
    assert "sound" in refused(listener, WRITE, *form(file))


def test_a_playlist_opens_no_file(listener: Engine, speech: bytes, tmp_path: Path) -> None:
    """FFmpeg would read what a playlist names, from this machine or from another."""
    named = tmp_path / "named.wav"
    named.write_bytes(speech)
    for playlist in (f"#EXTM3U\n#EXTINF:3,\n{named}\n#EXT-X-ENDLIST\n", f"ffconcat version 1.0\nfile {named}\n"):
        assert "no sound that can be read" in refused(listener, WRITE, *form(playlist.encode()))


def test_a_form_without_a_file_is_told(listener: Engine) -> None:
    request = httpx2.Request("POST", "http://engine", data={"model": "served"}, files={"image": b"x"})
    assert "file named file" in refused(listener, WRITE, request.read(), request.headers["content-type"])


def test_sound_longer_than_allowed_is_refused(speech: bytes, tmp_path: Path) -> None:
    """And a definition's defaults are honoured where the deployment says nothing."""
    chosen = subject("faster_whisper-audio-tiny.en").but(
        options={"max_seconds": 1},
        definition={"default_model_config": {"compute_type": "int8"}, "default_transcription_config": {"beam_size": 1}},
    )
    for engine in begun(chosen, tmp_path):
        assert "longer than 1 s" in refused(engine, WRITE, *form(speech))
        assert write(engine, wav(bytes(16_000), 16_000))["usage"]["seconds"] == 1


# Speech


def test_speed_changes_how_long_it_takes(piper: Engine) -> None:
    slow, fast = (seconds(say(piper, SENTENCES[1], speed=speed)) for speed in (0.5, 2))
    assert 2 < slow / fast <= 4.2


def test_speech_begins_before_all_of_it_is_made(piper: Engine) -> None:
    """The first bytes are read while the engine is still at work, which ends when the client leaves."""
    connection = piper.send("POST", SAY, {"input": LONG * 5, "response_format": "pcm", "stream": True})
    answer = connection.getresponse()
    assert answer.getheader("content-type") == "audio/pcm"
    assert len(answer.read(10_000)) == 10_000
    assert piper.busy() == 1
    answer.close()
    connection.close()
    piper.wait_idle(0)


def test_speech_as_events_is_the_same_speech(piper: Engine, quick: Engine) -> None:
    answer = say(piper, SENTENCES[0], "mp3", stream_format="sse").decode()
    *events, end = re.findall(r"data: (.*)\n\n", answer)
    *deltas, done = map(json.loads, events)
    assert (end, done["type"]) == ("[DONE]", "speech.audio.done")
    file = b"".join(base64.b64decode(one["audio"]) for one in deltas)
    assert words(write(quick, file)["text"]) == words(SENTENCES[0])


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"input": ""}, "not empty"),
        ({"input": ["a"]}, "must be a text"),
        ({"input": "a" * 5000}, "5000 characters; a request may have 4096"),
        ({"input": "...!"}, "nothing in the input that can be said"),
        ({"input": "a", "speed": 9}, "speed from 0.25 to 4"),
        ({"input": "a", "speed": "fast"}, "speed must be a number"),
        ({"input": "a", "response_format": "midi"}, "no response_format 'midi'"),
        ({"input": "a", "stream_format": "tape"}, "no stream_format 'tape'"),
    ],
)
def test_a_speech_that_cannot_be_is_told(piper: Engine, body: dict[str, Any], sentence: str) -> None:
    assert sentence in refused(piper, SAY, body)


def test_a_voice_is_chosen_by_name_and_an_unknown_one_is_told(kokoro: Engine) -> None:
    assert say(kokoro, "Hello.", voice="jm_kumo") != say(kokoro, "Hello.", voice="jf_alpha")
    assert "jf_alpha" in refused(kokoro, SAY, {"input": "Hello.", "voice": "nobody"})


def test_a_form_speaks_like_json_and_imitates_nobody(piper: Engine, quick: Engine) -> None:
    """Xinference's clients send forms where a voice is to be imitated."""
    spoken = {
        "model": (None, "served"),
        "input": (None, SENTENCES[0]),
        "speed": (None, "1.0"),
        "response_format": (None, "wav"),
    }
    request = httpx2.Request("POST", "http://engine", files=spoken)
    status, answer = piper.ask("POST", SAY, request.read(), request.headers["content-type"])
    assert status == 200
    assert words(write(quick, answer)["text"]) == words(SENTENCES[0])
    request = httpx2.Request("POST", "http://engine", files={**spoken, "prompt_speech": ("voice.wav", b"x")})
    assert "cannot imitate" in refused(piper, SAY, request.read(), request.headers["content-type"])


def test_openais_own_client_is_understood(piper: Engine, quick: Engine) -> None:
    speaker, listener = (
        openai.OpenAI(
            api_key="none",
            base_url="http://engine/v1",
            http_client=httpx2.Client(transport=httpx2.HTTPTransport(uds=engine.socket), timeout=60),
        )
        for engine in (piper, quick)
    )
    with speaker.audio.speech.with_streaming_response.create(
        model="served", voice="alloy", input=SENTENCES[2]
    ) as answer:
        assert answer.headers["content-type"] == "audio/mpeg"
        file = answer.read()
    heard = listener.audio.transcriptions.create(
        model="served", file=file, response_format="verbose_json", timestamp_granularities=["segment", "word"]
    )
    assert words(heard.text) == words(SENTENCES[2])
    assert heard.segments
    assert heard.words
    assert words(listener.audio.transcriptions.create(model="served", file=file, response_format="text")) == words(
        heard.text
    )
    events = list(listener.audio.transcriptions.create(model="served", file=file, stream=True))
    assert words(events[-1].text) == words(heard.text)
    speaker.close()
    listener.close()


# Equal to the libraries by themselves


def alone(script: str, python: str, *arguments: str) -> Any:
    """What a script of `library/` prints: the library's own output, in the engine's environment."""
    file = Path(__file__).parent / "library" / script
    environment = {"PATH": "", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    run = subprocess.run(
        [python, str(file), *arguments], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def test_the_transcription_is_the_librarys_own(listener: Engine, speech: bytes, tmp_path: Path) -> None:
    """Text and times, in plain numbers, one request at a time."""
    file = tmp_path / "speech.wav"
    file.write_bytes(speech)
    kit = str(ENGINES / "_kit")
    chosen = listener.subject
    expected = alone(f"{chosen.engine}_hears.py", chosen.python, chosen.weights, str(file), kit)
    answer = write(listener, speech, response_format="verbose_json")
    assert answer["text"] == expected["text"].strip()
    assert [[one["start"], one["end"]] for one in answer["segments"]] == [
        pytest.approx(one, abs=0.011) for one in expected["times"]
    ]


def test_the_speech_is_the_librarys_own(vits: Engine) -> None:
    """An untrained voice, so it is noise; but it is the library's noise."""
    expected = alone("vits_speaks.py", vits.subject.python, vits.subject.weights, "one two three")
    file = say(vits, "one two three", "wav", voice="1")
    assert seconds(file) == pytest.approx(expected["samples"] / expected["rate"], abs=1e-3)
    whole = [int.from_bytes(file[-2 * n : len(file) - 2 * n + 2], "little", signed=True) for n in range(50, 0, -1)]
    assert whole == pytest.approx(expected["last"], abs=1.01)
