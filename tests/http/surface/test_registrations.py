"""Definitions over the API, in the shapes and with the statuses of Xinference."""

from __future__ import annotations

import json

import pytest

from xserve.core.refused import Kind, Refused

TEXT = json.dumps({"model_name": "new"})


async def test_register_hands_the_text_over_and_answers_null(surface) -> None:
    body = {"model": TEXT, "persist": True, "worker_ip": None}
    answer = await surface.http.post("/v1/model_registrations/embedding", json=body)
    assert (answer.status_code, answer.content) == (200, b"null")
    assert surface.control.calls == [("register", ("embedding", TEXT, True))]


async def test_a_registration_does_not_persist_unless_asked(surface) -> None:
    await surface.http.post("/v1/model_registrations/LLM", json={"model": TEXT})
    assert surface.control.calls == [("register", ("LLM", TEXT, False))]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"{", "The body is not valid JSON"),
        (b"[]", "The body must be a JSON object."),
        (b"", "Please specify the `model` field"),
        (b'{"persist": true}', "Please specify the `model` field"),
        (b'{"model": {"model_name": "x"}}', "`model`: Input should be a valid string"),
        (b'{"model": "{}", "persist": "perhaps"}', "`persist`: Input should be a valid boolean"),
        (b'{"model": "\xff"}', "The body is not valid JSON"),
    ],
)
async def test_a_faulty_body_is_400_with_one_sentence(surface, body: bytes, sentence: str) -> None:
    headers = {"content-type": "application/json"}
    answer = await surface.http.post("/v1/model_registrations/LLM", content=body, headers=headers)
    assert answer.status_code == 400
    assert sentence in answer.json()["detail"]
    assert answer.json()["error"]["message"] == answer.json()["detail"]
    assert surface.control.calls == []


async def test_a_body_beyond_the_limit_is_413(surface) -> None:
    answer = await surface.http.post("/v1/model_registrations/LLM", json={"model": "x" * (4 << 20)})
    assert answer.status_code == 413
    assert surface.control.calls == []


@pytest.mark.parametrize(("kind", "status"), [(Kind.EXISTS, 400), (Kind.INVALID, 400), (Kind.NO_SPACE, 507)])
async def test_what_the_daemon_refuses_is_told(surface, kind: Kind, status: int) -> None:
    surface.control.refuses = Refused(kind, "Model new already registered", "model")
    answer = await surface.http.post("/v1/model_registrations/LLM", json={"model": TEXT})
    assert answer.status_code == status
    assert answer.json()["detail"] == "Model new already registered"


@pytest.mark.parametrize("model_type", ["llm", "LLMs", "video", "x"])
async def test_an_unknown_type_cannot_be_registered_or_removed(surface, model_type: str) -> None:
    path = f"/v1/model_registrations/{model_type}"
    for answer in (
        await surface.http.post(path, json={"model": TEXT}),
        await surface.http.delete(f"{path}/x"),
        await surface.http.get(f"{path}/x"),
    ):
        assert answer.status_code == 400
        assert answer.json()["detail"] == f"Unsupported model type: {model_type}"
    assert surface.control.calls == []


@pytest.mark.parametrize(("model_type", "status"), [("video", 200), ("world", 200), ("llm", 400)])
async def test_video_and_world_can_be_listed(surface, model_type: str, status: int) -> None:
    assert (await surface.http.get(f"/v1/model_registrations/{model_type}")).status_code == status


async def test_the_list_is_sorted_without_regard_to_case(surface) -> None:
    surface.control.add_definition("LLM", model_name="Zeta")
    surface.control.add_definition("LLM", model_name="alpha", layer="builtin")
    listed = (await surface.http.get("/v1/model_registrations/LLM")).json()
    assert listed == [
        {"model_name": "alpha", "is_builtin": True},
        {"model_name": "tiny", "is_builtin": False},
        {"model_name": "Zeta", "is_builtin": False},
    ]


async def test_the_detailed_list_has_whole_definitions(surface) -> None:
    hub = {"model_format": "ggufv2", "quantization": "q", "model_id": "a/b", "model_file_name_template": "x"}
    surface.control.add_definition("embedding", model_name="hub", model_specs=[hub], layer="builtin")
    first, second = (await surface.http.get("/v1/model_registrations/embedding?detailed=True")).json()
    assert (first["model_name"], first["is_builtin"], first["dimensions"]) == ("hub", True, 8)
    assert first["model_specs"][0]["cache_status"] is False
    assert first["download_hubs"] == ["huggingface"]
    assert second["model_specs"][0]["cache_status"] is True
    assert second["download_hubs"] == []


async def test_a_kind_without_specs_gets_one_in_the_detailed_list(surface) -> None:
    (image,) = (await surface.http.get("/v1/model_registrations/image?detailed=true")).json()
    assert [spec["cache_status"] for spec in image["model_specs"]] == [True]


async def test_one_definition_has_its_defaults(surface) -> None:
    found = (await surface.http.get("/v1/model_registrations/LLM/tiny")).json()
    assert (found["model_name"], found["version"], found["stop"]) == ("tiny", 2, None)
    assert found["is_builtin"] is False


async def test_an_unknown_definition_is_400(surface) -> None:
    answer = await surface.http.get("/v1/model_registrations/LLM/nobody")
    assert (answer.status_code, answer.json()["detail"]) == (400, "Model nobody not found")


@pytest.mark.parametrize("name", ["tiny", "nobody"])
async def test_unregister_answers_null_also_for_an_unknown_name(surface, name: str) -> None:
    answer = await surface.http.delete(f"/v1/model_registrations/LLM/{name}")
    assert (answer.status_code, answer.content) == (200, b"null")
    assert surface.control.calls == [("unregister", ("LLM", name))]


async def test_what_a_file_owns_is_not_unregistered(surface) -> None:
    surface.control.refuses = Refused(Kind.OWNED, "tiny is owned by the file /etc/x.yaml; remove it there")
    answer = await surface.http.delete("/v1/model_registrations/LLM/tiny")
    assert answer.status_code == 409
    assert "/etc/x.yaml" in answer.json()["detail"]
