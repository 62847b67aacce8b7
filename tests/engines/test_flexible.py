"""How a flexible model is found, called and left: with user code that behaves in every way it may."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from .conftest import Starter
from .harness import Engine, until
from .roster.flexible import LAUNCHERS, named
from .subject import Subject

INFER = "/v1/flexible/infers"
CODE = named("code")
pytestmark = CODE.marks()


def chores(name: str = "plain", **changes: Any) -> Subject:
    """User code of this launcher of `launchers/chores.py`."""
    subject = replace(CODE, definition={"launcher": f"chores.{name}", "launcher_args": "{}"}, options={})
    return subject.but(**changes)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(chores(options={"concurrency": 2}), tmp_path_factory.mktemp("plain")) as engine:
        engine.wait_ready()
        yield engine


@pytest.fixture
def one_at_a_time(start: Starter) -> Engine:
    engine = start(chores())
    engine.wait_ready()
    return engine


def infer(engine: Engine, *args: Any, **named: Any) -> Any:
    return engine.post(INFER, args=args, **named)


def error(engine: Engine, *args: Any, **named: Any) -> tuple[int, str]:
    """Status and sentence of an answer that is an error."""
    status, answer = engine.ask("POST", INFER, {"model": "served", "args": args, **named})
    return status, json.loads(answer)["error"]["message"]


def streamed(engine: Engine, **body: Any) -> Iterator[str]:
    """The data of each event of an answer. Closing the iterator closes the connection."""
    with contextlib.closing(engine.send("POST", INFER, body)) as connection, connection.getresponse() as answer:
        assert answer.getheader("content-type", "").startswith("text/event-stream"), answer.read()
        yield from (line[6:].decode().rstrip("\n") for line in answer if line.startswith(b"data: "))


def count(engine: Engine, name: str) -> int:
    """A figure of its metrics."""
    lines = engine.ask("GET", "/metrics")[1].decode().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"flexible_requests_{name} "))


# Arguments


def test_arguments_go_by_place_and_by_name(plain: Engine) -> None:
    answer = plain.post(INFER, args=["echo", 1, [2]], colour="red", kwargs={"model": "a name that the wire takes"})
    assert answer == {"args": [1, [2]], "named": {"colour": "red", "model": "a name that the wire takes"}}


def test_arguments_may_be_left_out(start: Starter) -> None:
    engine = start(CODE)
    engine.wait_ready()
    assert engine.post(INFER, text="a good day, bad luck") == {"score": 0}


def test_an_argument_given_twice_is_the_clients_fault(plain: Engine) -> None:
    status, sentence = error(plain, "echo", colour="red", kwargs={"colour": "blue"})
    assert (status, "colour" in sentence) == (400, True)


def test_arguments_that_infer_does_not_take_are_the_clients_fault(start: Starter) -> None:
    engine = start(CODE)
    engine.wait_ready()
    status, sentence = error(engine, "a text", "another")
    assert (status, "infer(text: str)" in sentence) == (400, True)


def test_kwargs_that_are_no_object_are_the_clients_fault(plain: Engine) -> None:
    assert error(plain, "echo", kwargs=[1])[0] == 400


# Answers


def test_a_model_written_for_xinference_is_served(start: Starter) -> None:
    engine = start(CODE)
    engine.wait_ready()
    assert infer(engine, "I feel good and happy , not bad") == {"score": 1}


def test_values_of_libraries_become_json(plain: Engine) -> None:
    answer = infer(plain, "values")
    picture = base64.b64decode(answer.pop("picture"))
    assert picture.startswith(b"\x89PNG")
    assert answer == {
        "array": [[0.0, 1.0], [2.0, 3.0]],
        "number": 7,
        "tensor": [1.5, 2.5],
        "bytes": base64.b64encode(b"\x00\xff").decode(),
        "point": {"x": 1.0, "y": None},
        "day": "2026-01-02",
        "labels": {"1": "one", "2": ["two", ["set"]]},
    }


def test_a_value_without_a_form_in_json_is_named(plain: Engine) -> None:
    status, sentence = error(plain, "formless")
    assert (status, "builtins.object" in sentence) == (500, True)


def test_what_the_model_raises_is_told_in_a_sentence_and_traced_in_the_log(plain: Engine) -> None:
    assert error(plain, "broken") == (500, "The model failed: KeyError: 'missing'")
    until(lambda: "chores.py" in plain.text() and "KeyError: 'missing'" in plain.text(), "its log has the traceback")


def test_what_the_model_calls_wrong_input_is_the_clients_fault(plain: Engine) -> None:
    assert error(plain, "wrong") == (400, "The colour must be red.")


@pytest.mark.parametrize("what", ["leave", "stop"])
def test_a_model_that_raises_what_ends_programs_and_loops_fails_one_call(plain: Engine, what: str) -> None:
    assert error(plain, what)[0] == 500
    assert infer(plain, "echo") == {"args": [], "named": {}}


# Streams


def test_a_generator_is_streamed(plain: Engine) -> None:
    *events, last = streamed(plain, args=["count", 3])
    assert last == "[DONE]"
    assert [json.loads(event) for event in events] == [{"number": 0}, {"number": 1}, {"number": 2}]


def test_an_asynchronous_generator_is_streamed(start: Starter) -> None:
    engine = start(chores("pieces"))
    engine.wait_ready()
    assert list(streamed(engine, kwargs={"text": "one two"})) == ['"one"', '"two"', "[DONE]"]


def test_an_error_in_a_stream_is_its_last_event(plain: Engine) -> None:
    *events, last = streamed(plain, args=["count", 5], fail_at=2)
    assert len(events) == 2
    assert json.loads(last)["error"]["message"] == "The model failed: RuntimeError: lost count"


def test_a_generator_ends_when_its_client_leaves(plain: Engine, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    stream = streamed(plain, args=["count", 10**9], closed=str(closed))
    next(stream)
    stream.close()
    failed = count(plain, "failed_total")
    until(closed.exists, "the generator was closed")
    until(lambda: plain.busy() == 0, "nothing is worked on")
    assert count(plain, "failed_total") == failed, "to leave is no failure of the model"


# Concurrency and cancels


def test_so_many_calls_run_at_once_as_there_are_places(plain: Engine, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a", "b")]
    connections = [plain.send("POST", INFER, {"args": ["wait", str(file)]}) for file in files]
    until(lambda: all(Path(f"{file}.begun").exists() for file in files), "both run")
    assert plain.healthy()
    for file, connection in zip(files, connections, strict=True):
        file.touch()
        assert json.loads(connection.getresponse().read()) == "done"
        connection.close()


def test_a_call_that_waits_is_never_begun_once_its_client_left(one_at_a_time: Engine, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    running = one_at_a_time.send("POST", INFER, {"args": ["wait", str(first)]})
    until(Path(f"{first}.begun").exists, "the first runs")
    waiting = one_at_a_time.send("POST", INFER, {"args": ["wait", str(second)]})
    until(lambda: count(one_at_a_time, "waiting") == 1, "the second waits")
    waiting.close()
    until(lambda: count(one_at_a_time, "waiting") == 0, "the second is dropped")
    first.touch()
    assert json.loads(running.getresponse().read()) == "done"
    running.close()
    assert infer(one_at_a_time, "echo", 1)["args"] == [1]
    assert not Path(f"{second}.begun").exists()


def test_a_plain_call_keeps_its_place_to_its_end_though_its_client_left(one_at_a_time: Engine, tmp_path: Path) -> None:
    file = tmp_path / "file"
    connection = one_at_a_time.send("POST", INFER, {"args": ["wait", str(file)]})
    until(Path(f"{file}.begun").exists, "it runs")
    connection.close()
    assert one_at_a_time.busy() == 1
    file.touch()
    until(lambda: one_at_a_time.busy() == 0, "it came to its end")
    assert infer(one_at_a_time, "echo") == {"args": [], "named": {}}


def test_a_coroutine_is_cancelled_when_its_client_leaves(start: Starter, tmp_path: Path) -> None:
    engine, mark = start(chores("asynchronous")), tmp_path / "mark"
    engine.wait_ready()
    connection = engine.send("POST", INFER, {"args": [str(mark)]})
    until(Path(f"{mark}.begun").exists, "it runs")
    connection.close()
    until(mark.exists, "it was cancelled")
    assert infer(engine, "") == "at once"


# Launchers


def refusal(engine: Engine, code: int) -> str:
    """The sentence of an engine that will never start."""
    assert engine.end() == code, engine.text()
    return engine.text().splitlines()[-1]


@pytest.mark.parametrize(
    "launcher", ["os.system", "subprocess.Popen", "no_such.launcher", "launcher", "calls.read_call"]
)
def test_a_launcher_comes_from_the_folders_and_from_nowhere_else(start: Starter, launcher: str) -> None:
    sentence = refusal(start(chores(definition={"launcher": launcher})), 78)
    assert launcher in sentence
    assert str(LAUNCHERS) in sentence


def test_without_folders_there_are_only_the_shipped_launchers(start: Starter) -> None:
    assert "launcher_dirs" in refusal(start(chores(launch={"launcher_dirs": []})), 78)


def test_a_folder_cannot_put_its_code_in_place_of_another_module(start: Starter, tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("def launcher(**_): ...\n")
    engine = start(chores(definition={"launcher": "json.launcher"}, launch={"launcher_dirs": [str(tmp_path)]}))
    assert "called json already" in refusal(engine, 78)


def test_a_folder_cannot_put_its_code_under_a_shipped_name(start: Starter, tmp_path: Path) -> None:
    folder = tmp_path / "xserve" / "launchers"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("def mine(**_): ...\n")
    name = "xserve.launchers.mine"
    engine = start(chores(definition={"launcher": name}, launch={"launcher_dirs": [str(tmp_path)]}))
    assert f"There is no launcher {name}" in refusal(engine, 78)


@pytest.mark.parametrize("name", ["yolo", "modelscope", "image_process"])
def test_what_is_declined_is_declined_with_another_way(start: Starter, name: str) -> None:
    engine = start(chores(definition={"launcher": f"xinference.model.flexible.launchers.{name}"}))
    assert "xserve.launchers." in refusal(engine, 78)


@pytest.mark.parametrize(
    ("launcher", "code", "words"),
    [
        ("chores.no_such_function", 78, "no_such_function"),
        ("chores.inner.launcher", 78, "chores.inner"),
        ("chores.nothing", 78, "without infer"),
        ("chores.unloadable", 69, "no_such_package"),
    ],
)
def test_a_launcher_that_cannot_work_is_refused_with_what_is_wrong(
    start: Starter, launcher: str, code: int, words: str
) -> None:
    assert words in refusal(start(chores(definition={"launcher": launcher})), code)


def test_arguments_that_a_launcher_does_not_take_are_refused(start: Starter) -> None:
    assert "colour" in refusal(start(chores(definition={"launcher_args": '{"colour": "red"}'})), 78)


@pytest.mark.parametrize("text", ["[1]", "{", '"text"'])
def test_launcher_args_must_be_an_object(start: Starter, text: str) -> None:
    assert "launcher_args" in refusal(start(chores(definition={"launcher_args": text})), 78)


def test_a_launcher_is_told_the_definition_and_the_deployments_arguments_win(start: Starter, tmp_path: Path) -> None:
    text = '{"device": "cpu", "size": 1}'
    engine = start(
        chores(
            "spec",
            weights=str(tmp_path),
            definition={"launcher_args": text, "model_description": "for people"},
            options={"arguments": {"device": "cuda"}},
            launch={"gpus": 2, "remote_code": True},
        )
    )
    engine.wait_ready()
    answer = infer(engine)
    assert answer["uid"] == "served"
    assert answer["arguments"] == {"device": "cuda", "size": 1}
    assert answer["parsed"] == {"device": "cpu", "size": 1}
    assert answer["spec"] == {
        "model_name": "model",
        "launcher": "chores.spec",
        "launcher_args": text,
        "model_uri": str(tmp_path),
        "model_id": None,
        "model_description": "for people",
        "gpus": 2,
        "remote_code": True,
    }
