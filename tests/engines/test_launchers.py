"""The launchers that ship answer what their library answers, and let neither files nor requests run code.

What the library itself says is computed by the engine's interpreter, in float32, one request at a time.
"""

from __future__ import annotations

import base64
import io
import json
import math
import os
import struct
import subprocess
import wave
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Starter
from .harness import Engine
from .roster.flexible import INPUTS, named
from .subject import Subject
from .test_flexible import error, infer, refusal

PIPELINE, IRIS, GRAPH = named("pipeline"), named("sklearn"), named("onnx")
FLOWERS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]
LONG = 240  # seconds: loading the libraries takes long on a busy machine

pytestmark = pytest.mark.timeout(2 * LONG)


def needs(subject: Subject) -> pytest.MarkDecorator:
    """Skip what cannot be tried here."""
    return pytest.mark.skipif(bool(subject.missing), reason=subject.missing)


def library(subject: Subject, code: str, *arguments: object) -> Any:
    """What this code answers in the engine's interpreter; it prints JSON, and has `weights` and `arguments`."""
    begin = "import json, sys; weights, arguments = sys.argv[1], [json.loads(text) for text in sys.argv[2:]]\n"
    command = [subject.python, "-I", "-c", begin + code, subject.weights, *map(json.dumps, arguments)]
    environment = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=LONG)
    return json.loads(done.stdout)


def flat(rows: list[list[float]]) -> list[float]:
    """All numbers of a table."""
    return [number for row in rows for number in row]


def served(subject: Subject, folder: Path) -> Iterator[Engine]:
    """The subject's engine, ready, until the tests are over."""
    with Engine(subject, folder) as engine:
        engine.wait_ready()
        yield engine


# Pipelines of transformers


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    yield from served(PIPELINE, tmp_path_factory.mktemp("pipeline"))


@pytest.fixture(scope="module")
def looker(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """A classifier of pictures, self-made: its weights are random, so it proves the way and not the answer."""
    folder = tmp_path_factory.mktemp("vit")
    subject = PIPELINE.but(
        weights=str(folder),
        definition={"launcher": "xserve.launchers.transformers", "launcher_args": '{"task": "image-classification"}'},
        options={"probe": {}},
    )
    code = """
import torch
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor
torch.manual_seed(0)
size = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
ViTForImageClassification(ViTConfig(image_size=16, patch_size=8, **size)).save_pretrained(weights)
ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(weights)
print(json.dumps(None))
"""
    library(subject, code)
    return subject


@pytest.fixture(scope="module")
def looking(looker: Subject, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    yield from served(looker, tmp_path_factory.mktemp("looking"))


def png(red: int, green: int, blue: int) -> bytes:
    """A picture of one colour, 16 by 16."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\x00" + bytes((red, green, blue)) * 16 for _ in range(16))
    head = struct.pack(">IIBBBBB", 16, 16, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def wav(rate: int) -> bytes:
    """The same 4,000 samples of a tone on both of two channels, at this rate."""
    samples = (round(20_000 * math.sin(at / 7)) for at in range(4_000))
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(2)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(b"".join(struct.pack("<hh", one, one) for one in samples))
    return file.getvalue()


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


@needs(PIPELINE)
def test_a_pipeline_answers_what_the_library_answers(pipeline: Engine) -> None:
    code = """
from transformers import pipeline
print(json.dumps(pipeline("feature-extraction", model=weights)(arguments[0])))
"""
    ((own,),) = infer(pipeline, ["hello world"])
    ((expected,),) = library(PIPELINE, code, ["hello world"])
    assert len(own) == 4
    assert len(own[0]) == 384
    assert flat(own) == pytest.approx(flat(expected), abs=1e-6)


@needs(PIPELINE)
@pytest.mark.parametrize("name", ["trust_remote_code", "custom_generate"])
def test_a_request_cannot_have_code_loaded(pipeline: Engine, name: str) -> None:
    status, sentence = error(pipeline, "hello", generate_kwargs={name: "somewhere"})
    assert (status, name in sentence) == (400, True)


@needs(PIPELINE)
def test_arguments_that_a_pipeline_cannot_use_are_the_clients_fault(pipeline: Engine) -> None:
    assert error(pipeline, 7)[0] == 400


@needs(PIPELINE)
def test_a_picture_goes_as_base64_or_as_a_data_url(looker: Subject, looking: Engine) -> None:
    code = """
import base64, io
from PIL import Image
from transformers import pipeline
look = pipeline("image-classification", model=weights)
print(json.dumps([look(Image.open(io.BytesIO(base64.b64decode(one)))) for one in arguments]))
"""
    red, blue = text(png(255, 0, 0)), text(png(0, 0, 255))
    expected = library(looker, code, red, blue)
    assert infer(looking, red) == [pytest.approx(one) for one in expected[0]]
    assert infer(looking, inputs=[f"data:image/png;base64,{blue}"]) == [[pytest.approx(one) for one in expected[1]]]
    assert expected[0] != expected[1]


@needs(PIPELINE)
def test_a_sound_goes_as_a_file_at_any_rate(start: Starter, tmp_path: Path) -> None:
    """The classifier is self-made, with random weights; what it hears must be what the library hears in samples."""
    make = """
import torch
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForSequenceClassification
torch.manual_seed(0)
size = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
conv = dict(conv_dim=(16, 16), conv_stride=(5, 2), conv_kernel=(10, 3))
places = dict(num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2)
Wav2Vec2ForSequenceClassification(Wav2Vec2Config(**size, **conv, **places)).save_pretrained(weights)
Wav2Vec2FeatureExtractor(sampling_rate=16000).save_pretrained(weights)
print(json.dumps(None))
"""
    code = """
import base64, io, numpy, soundfile
from transformers import pipeline
samples, rate = soundfile.read(io.BytesIO(base64.b64decode(arguments[0])), dtype="float32")
from scipy.signal import resample_poly
hear = pipeline("audio-classification", model=weights)
print(json.dumps([hear(samples[:, 0]), hear(resample_poly(samples[:, 0], 2, 1))]))
"""
    args = {"launcher_args": '{"task": "audio-classification"}'}
    subject = PIPELINE.but(weights=str(tmp_path), definition=args)
    library(subject, make)
    whole, doubled = library(subject, code, text(wav(16_000)))
    engine = start(subject)
    engine.wait_ready()
    assert infer(engine, text(wav(16_000))) == [pytest.approx(one) for one in whole]
    assert infer(engine, inputs=text(wav(8_000))) == [pytest.approx(one) for one in doubled]
    assert whole != doubled
    assert error(engine, text(b"no sound"))[0] == 400


@needs(PIPELINE)
@pytest.mark.parametrize("kept", ["file", "file://", "http://127.0.0.1:9/"])
def test_nothing_is_opened_or_fetched_for_a_request(looking: Engine, tmp_path: Path, kept: str) -> None:
    file = tmp_path / "secret.png"
    file.write_bytes(png(1, 2, 3))
    place = {"file": str(file), "file://": file.as_uri()}.get(kept, kept)
    for body in ({"args": [place]}, {"args": [[place]]}, {"inputs": place}, {"inputs": [{"image": place}]}):
        status, answer = looking.ask("POST", "/v1/flexible/infers", body)
        assert (status, b"nothing is fetched" in answer) == (400, True)


@needs(PIPELINE)
def test_what_is_no_picture_is_the_clients_fault(looking: Engine) -> None:
    status, sentence = error(looking, text(b"no picture"))
    assert (status, "cannot be read" in sentence) == (400, True)


@needs(PIPELINE)
@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({}, "must name a task"),
        ({"task": "no-such-task"}, "no-such-task"),
        ({"task": "any-to-any"}, "not offered"),
        ({"task": "fill-mask", "trust_remote_code": True}, "trust_remote_code"),
        ({"task": "fill-mask", "model_kwargs": {"trust_remote_code": True}}, "trust_remote_code"),
        ({"task": "fill-mask", "model": "other"}, "model"),
    ],
)
def test_launcher_args_choose_neither_code_nor_an_unknown_task(start: Starter, args: object, words: str) -> None:
    assert words in refusal(start(PIPELINE, definition={"launcher_args": json.dumps(args)}), 78)


@needs(PIPELINE)
def test_a_folder_without_weights_is_refused(start: Starter, tmp_path: Path) -> None:
    assert str(tmp_path) in refusal(start(PIPELINE, weights=str(tmp_path)), 65)


@needs(PIPELINE)
def test_xinferences_name_and_its_echo_are_known(start: Starter) -> None:
    definition = {"launcher": "xinference.model.flexible.launchers.transformers", "launcher_args": '{"task": "mock"}'}
    engine = start(PIPELINE, definition=definition)
    engine.wait_ready()
    assert infer(engine, colour="red") == {"colour": "red"}


# Estimators of scikit-learn


@pytest.fixture(scope="module")
def iris(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    yield from served(IRIS, tmp_path_factory.mktemp("iris"))


@needs(IRIS)
def test_an_estimator_answers_what_the_library_answers(iris: Engine) -> None:
    code = """
import skops.io
estimator = skops.io.load(weights)
print(json.dumps([estimator.predict(arguments[0]).tolist(), estimator.predict_proba(arguments[0]).tolist()]))
"""
    kinds, shares = library(IRIS, code, FLOWERS)
    assert infer(iris, FLOWERS) == kinds == ["setosa", "virginica"]
    assert infer(iris, FLOWERS, method="predict_proba") == [pytest.approx(row) for row in shares]


@needs(IRIS)
def test_rows_and_methods_that_the_estimator_cannot_use_are_the_clients_fault(iris: Engine) -> None:
    assert "features" in error(iris, [[1.0]])[1]
    status, sentence = error(iris, FLOWERS, method="set_params")
    assert (status, "predict_proba" in sentence) == (400, True)


@needs(IRIS)
def test_classes_that_are_not_scikit_learns_are_loaded_only_where_code_is_allowed(
    start: Starter, tmp_path: Path
) -> None:
    code = """
import operator, skops.io
from sklearn.preprocessing import FunctionTransformer
skops.io.dump(FunctionTransformer(operator.neg), weights)
print(json.dumps(None))
"""
    subject = IRIS.but(weights=str(tmp_path / "negate.skops"))
    library(subject, code)
    assert "operator.neg" in refusal(start(subject), 78)
    engine = start(subject, launch={"remote_code": True})
    engine.wait_ready()
    assert infer(engine, [[1.0, -2.0]]) == [[-1.0, 2.0]]


@needs(IRIS)
def test_a_pickle_is_not_read_unless_code_is_allowed(start: Starter, tmp_path: Path) -> None:
    """Its reading leaves a mark, and it is an estimator all the same."""
    mark = tmp_path / "mark"
    code = """
import joblib
class Marks:
    def __reduce__(self):
        made = "__import__('sklearn.preprocessing').preprocessing.Normalizer()"
        return eval, (f"open({arguments[0]!r}, 'w').close() or {made}",)
joblib.dump(Marks(), weights)
print(json.dumps(None))
"""
    subject = IRIS.but(weights=str(tmp_path / "normalizer.joblib"))
    library(subject, code, str(mark))
    assert "xserve.yaml" in refusal(start(subject), 78)
    assert not mark.exists()
    engine = start(subject, launch={"remote_code": True})
    engine.wait_ready()
    assert infer(engine, [[3.0, 4.0]]) == [[0.6, 0.8]]
    assert mark.exists()


# Graphs of ONNX


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    yield from served(GRAPH, tmp_path_factory.mktemp("graph"))


@needs(GRAPH)
def test_a_graph_answers_what_the_library_answers(graph: Engine) -> None:
    code = """
import numpy, onnxruntime
session = onnxruntime.InferenceSession(weights, providers=["CPUExecutionProvider"])
feed = {name: numpy.asarray(value) for name, value in arguments[0].items()}
print(json.dumps({one.name: value.tolist() for one, value in zip(session.get_outputs(), session.run(None, feed))}))
"""
    expected = library(GRAPH, code, INPUTS)
    answer = infer(graph, **INPUTS)
    assert answer.keys() == expected.keys() == {"last_hidden_state"}
    ((own,), (theirs,)) = answer["last_hidden_state"], expected["last_hidden_state"]
    assert flat(own) == pytest.approx(flat(theirs), abs=1e-5)


@needs(GRAPH)
def test_inputs_that_the_graph_does_not_take_are_named(graph: Engine) -> None:
    status, sentence = error(graph, colour=[1])
    assert (status, "input_ids" in sentence) == (400, True)
    assert error(graph, **{**INPUTS, "input_ids": [["no number"]]})[0] == 400


@needs(GRAPH)
def test_outputs_can_be_chosen_and_unknown_ones_are_refused(start: Starter) -> None:
    assert "no output colour" in refusal(start(GRAPH, definition={"launcher_args": '{"outputs": ["colour"]}'}), 78)


@needs(GRAPH)
def test_a_file_that_is_no_graph_is_refused(start: Starter, tmp_path: Path) -> None:
    file = tmp_path / "graph.onnx"
    file.write_bytes(b"no graph")
    assert str(file) in refusal(start(GRAPH, weights=str(file)), 65)
