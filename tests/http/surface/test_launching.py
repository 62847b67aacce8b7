"""Launch and terminate: Xinference's request, field by field, becomes an entry of a deploy file."""

from __future__ import annotations

import pytest

from xserve.core.refused import Kind, Refused

BASE = {"model": "tiny", "type": "LLM", "replicas": 1, "gpus": "auto"}


async def launched(surface, **body):
    answer = await surface.http.post("/v1/models", json={"model_name": "tiny", **body})
    assert answer.status_code == 200, answer.text
    return dict(surface.control.calls)["entry"]


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        ({}, {}),
        ({"model_engine": "llama.cpp"}, {"engine": "llama.cpp"}),
        ({"model_format": "ggufv2"}, {"format": "ggufv2"}),
        ({"model_size_in_billions": 7}, {"size": "7"}),
        ({"model_size_in_billions": "0_5"}, {"size": "0_5"}),
        ({"model_size_in_billions": "0.5"}, {"size": "0_5"}),
        ({"quantization": "q4"}, {"quantization": "q4"}),
        ({"replica": 2}, {"replicas": 2}),
        ({"n_gpu": None}, {"gpus": "none"}),
        ({"n_gpu": "auto"}, {}),
        ({"n_gpu": 2}, {"gpus": 2}),
        ({"gpu_idx": 1, "n_gpu": 2}, {"gpus": [1]}),
        ({"gpu_idx": [0, 1], "replica": 2}, {"gpus": [0, 1], "replicas": 2}),
        ({"request_limits": 0}, {}),
        ({"request_limits": None}, {}),
        ({"request_limits": 4}, {"request_limit": 4}),
        ({"envs": {"A": "b"}}, {"env": {"A": "b"}}),
        ({"envs": {}}, {}),
        ({"model_path": "/w/x.gguf"}, {"path": "/w/x.gguf"}),
        ({"context_length": 2048, "deep": {"a": [1]}}, {"options": {"context_length": 2048, "deep": {"a": [1]}}}),
        ({"context_length": None}, {}),
        ({"worker_ip": "10.0.0.1"}, {}),
        ({"n_worker": 1, "replica_config": None, "peft_model_config": None}, {}),
        ({"download_hub": "auto", "enable_thinking": True, "reasoning_content": False}, {}),
        ({"enable_virtual_env": False, "virtual_env_packages": [], "virtual_env_find_links": None}, {}),
        ({"trust_remote_code": False}, {}),
    ],
)
async def test_each_field_becomes_a_key_of_the_entry(surface, given, changed) -> None:
    assert await launched(surface, **given) == {**BASE, **changed}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_worker", 2),
        ("replica_config", [{"replica_uid": "a"}]),
        ("peft_model_config", {"lora_list": []}),
        ("download_hub", "modelscope"),
        ("enable_thinking", False),
        ("reasoning_content", True),
        ("enable_virtual_env", True),
        ("virtual_env_packages", ["x"]),
        ("virtual_env_find_links", ["/w"]),
        ("trust_remote_code", True),
    ],
)
async def test_what_cannot_be_had_is_refused_by_name(surface, name: str, value) -> None:
    answer = await surface.http.post("/v1/models", json={"model_name": "tiny", name: value})
    assert answer.status_code == 400
    assert answer.json()["detail"] == f"`{name}` is not supported yet."
    assert answer.json()["error"]["param"] == name
    assert surface.control.calls == []


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "Invalid input. Please specify the `model_name` field."),
        ({"model_name": ""}, "`model_name`: String should have at least 1 character"),
        ({"model_name": "x", "model_type": "zz"}, "Unsupported model type: zz."),
        ({"model_name": "x", "model_type": "video"}, "Unsupported model type: video."),
        ({"model_name": "x", "model_uid": "a b"}, "`model_uid`"),
        ({"model_name": "x", "model_uid": "x-rep0"}, "cannot end in '-rep' and a number"),
        ({"model_name": "x", "model_uid": "y" * 101}, "at most 100 characters"),
        ({"model_name": "x", "replica": 0}, "`replica`"),
        ({"model_name": "x", "replica": True}, "`replica`"),
        ({"model_name": "x", "replica": 1.5}, "`replica`"),
        ({"model_name": "x", "n_gpu": "all"}, "Currently `n_gpu` only supports `auto`."),
        ({"model_name": "x", "n_gpu": 0}, "The parameter `n_gpu` must be greater than 0"),
        ({"model_name": "x", "n_gpu": True}, "The parameter `n_gpu` must be greater than 0"),
        ({"model_name": "x", "gpu_idx": [0, 1, 2], "replica": 2}, "3 cards, which 2 replicas cannot share evenly"),
        ({"model_name": "x", "gpu_idx": []}, "`gpu_idx` names 0 cards"),
        ({"model_name": "x", "request_limits": -1}, "`request_limits`"),
        ({"model_name": "x", "model_size_in_billions": 0.5}, "`model_size_in_billions"),
        ({"model_name": "x", "envs": {"A": 1}}, "`envs.A`"),
        ({"model_name": "x", "model_path": "relative"}, "relative path"),
    ],
)
async def test_a_faulty_launch_is_400_with_a_sentence(surface, body, sentence: str) -> None:
    answer = await surface.http.post("/v1/models", json=body)
    assert answer.status_code == 400
    assert sentence in answer.json()["detail"]


@pytest.mark.parametrize(
    ("query", "waits"),
    [
        ("", True),
        ("?wait_ready=true", True),
        ("?wait_ready=True", True),
        ("?wait_ready=false", False),
        ("?wait_ready=False", False),
        ("?wait_ready=0", False),
    ],
)
async def test_wait_ready_is_read_in_both_spellings(surface, query: str, waits: bool) -> None:
    answer = await surface.http.post(f"/v1/models{query}", json={"model_name": "tiny"})
    assert answer.json() == {"model_uid": "tiny"}
    assert dict(surface.control.calls)["launch"] == {"uid": "tiny", "persist": False, "wait_ready": waits}


async def test_a_wait_ready_that_is_no_boolean_is_400(surface) -> None:
    answer = await surface.http.post("/v1/models?wait_ready=maybe", json={"model_name": "tiny"})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "wait_ready"


@pytest.mark.parametrize(("given", "uid"), [(" mine ", "mine"), ("", "tiny"), ("  ", "tiny"), (None, "tiny")])
async def test_the_uid_is_taken_without_spaces_around_it(surface, given, uid: str) -> None:
    answer = await surface.http.post("/v1/models", json={"model_name": "tiny", "model_uid": given})
    assert answer.json() == {"model_uid": uid}


async def test_persist_is_handed_over(surface) -> None:
    await surface.http.post("/v1/models", json={"model_name": "tiny", "persist": True})
    assert dict(surface.control.calls)["launch"]["persist"] is True
    assert "options" not in dict(surface.control.calls)["entry"]


@pytest.mark.parametrize(
    ("kind", "status"),
    [(Kind.EXISTS, 400), (Kind.UNKNOWN, 400), (Kind.FAILED, 503), (Kind.CANCELLED, 499), (Kind.BUSY, 503)],
)
async def test_a_refused_launch_has_xinferences_status(surface, kind: Kind, status: int) -> None:
    surface.control.refuses = Refused(kind, "Model is already in the model list, uid: tiny")
    answer = await surface.http.post("/v1/models", json={"model_name": "tiny"})
    assert (answer.status_code, answer.json()["detail"]) == (status, "Model is already in the model list, uid: tiny")


async def test_terminate_answers_null_and_400_the_second_time(surface) -> None:
    answer = await surface.http.delete("/v1/models/chat")
    assert (answer.status_code, answer.content) == (200, b"null")
    again = await surface.http.delete("/v1/models/chat")
    assert again.status_code == 400
    assert again.json()["detail"] == "Model not found in the model list, uid: chat"


async def test_an_alias_is_not_terminated_in_place_of_its_model(surface) -> None:
    answer = await surface.http.delete("/v1/models/gpt-3.5-turbo")
    assert (answer.status_code, "alias of chat" in answer.json()["detail"]) == (400, True)
    assert "chat" in surface.control.orders


async def test_what_a_file_owns_is_not_terminated(surface, owned) -> None:
    answer = await surface.http.delete("/v1/models/chat")
    assert answer.status_code == 409
    assert "/etc/deploy.yaml" in answer.json()["detail"]
    assert "chat" in owned.orders
