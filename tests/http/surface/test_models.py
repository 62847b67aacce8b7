"""The list of models and the description of one: what OpenAI's and Xinference's clients read."""

from __future__ import annotations

import pytest

from xserve.core.reasons import Reason

COMMON = {"id", "object", "created", "owned_by", "replica", "model_type", "model_name", "address", "accelerators"}
FIELDS = {
    "LLM": {
        "model_lang",
        "model_ability",
        "model_description",
        "model_format",
        "model_size_in_billions",
        "model_family",
        "quantization",
        "multimodal_projector",
        "model_hub",
        "revision",
        "context_length",
        "strict_system_first",
        "model_engine",
    },
    "embedding": {
        "model_engine",
        "model_format",
        "dimensions",
        "max_tokens",
        "language",
        "model_ability",
        "model_hub",
        "model_revision",
        "quantization",
    },
    "rerank": {
        "type",
        "model_engine",
        "model_format",
        "language",
        "max_tokens",
        "model_ability",
        "model_revision",
        "quantization",
    },
    "image": {"model_engine", "model_family", "model_revision", "model_ability", "controlnet", "model_base"},
    "audio": {"model_lang", "model_family", "model_revision", "model_ability", "model_engine", "quantization"},
    "flexible": {"launcher", "launcher_args"},
}
NAMES = {
    "LLM": "tiny",
    "embedding": "vectors",
    "rerank": "order",
    "image": "pictures",
    "audio": "voice",
    "flexible": "any",
}


async def test_only_models_that_take_requests_are_listed(surface) -> None:
    surface.control.add_entry("vectors")
    surface.control.add_entry("lost", model="nowhere")
    listed = (await surface.http.get("/v1/models")).json()
    assert listed["object"] == "list"
    assert [item["id"] for item in listed["data"]] == ["chat", "vectors"]
    surface.load("chat", Reason.LOADING, "")
    assert [item["id"] for item in (await surface.http.get("/v1/models")).json()["data"]] == ["vectors"]


@pytest.mark.parametrize("model_type", FIELDS)
async def test_an_item_has_exactly_the_fields_of_its_type(surface, model_type: str) -> None:
    surface.control.orders.clear()
    surface.control.add_entry("x", model=NAMES[model_type])
    (item,) = (await surface.http.get("/v1/models")).json()["data"]
    assert set(item) == COMMON | FIELDS[model_type]
    assert item["model_type"] == model_type
    described = (await surface.http.get("/v1/models/x")).json()
    assert described == {**item, "n_worker": 1}


async def test_an_llm_is_described_by_the_spec_that_is_served(surface) -> None:
    described = (await surface.http.get("/v1/models/chat")).json()
    assert described["model_engine"] == "llama.cpp"
    assert (described["quantization"], described["model_size_in_billions"]) == ("q4", "0_5")
    assert (described["revision"], described["model_hub"]) == ("main", "huggingface")
    assert (described["context_length"], described["model_family"]) == (512, "tiny")
    assert described["accelerators"] == ["3"]
    assert described["replica"] == 1


async def test_whole_billions_are_a_number(surface) -> None:
    surface.control.add_entry("big", model="tiny", size="7")
    assert (await surface.http.get("/v1/models/big")).json()["model_size_in_billions"] == 7


@pytest.mark.parametrize(("uid", "first"), [("vectors", "embed"), ("order", "rerank")])
async def test_abilities_begin_with_what_the_type_does(surface, uid: str, first: str) -> None:
    surface.control.add_entry(uid)
    assert (await surface.http.get(f"/v1/models/{uid}")).json()["model_ability"][0] == first


async def test_an_alias_describes_the_model_that_it_stands_for(surface) -> None:
    assert (await surface.http.get("/v1/models/gpt-3.5-turbo")).json()["id"] == "chat"


async def test_describing_an_unknown_model_is_400_as_in_xinference(surface) -> None:
    answer = await surface.http.get("/v1/models/nobody")
    assert answer.status_code == 400
    assert answer.json()["detail"] == "Model not found in the model list, uid: nobody"


async def test_describing_a_model_that_loads_is_503(surface) -> None:
    surface.load("chat", Reason.LOADING, "wait")
    answer = await surface.http.get("/v1/models/chat")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")


async def test_an_updating_model_goes_on_being_listed(surface, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its definition is gone from the desired state for the moment, but replicas still answer."""
    monkeypatch.setattr(surface.control, "deployment", lambda _: None)
    (item,) = (await surface.http.get("/v1/models")).json()["data"]
    assert (item["id"], item["context_length"]) == ("chat", 512)


async def test_adapters_are_listed_and_described_beside_their_model(surface) -> None:
    lora = [{"name": "legal", "path": "/lora/legal"}, {"name": "tone", "path": "/lora/tone"}]
    surface.control.add_entry("tuned", model="tiny", size="0_5", lora=lora)
    listed = {item["id"]: item for item in (await surface.http.get("/v1/models")).json()["data"]}
    assert list(listed) == ["chat", "tuned", "legal", "tone"]
    assert listed["legal"] == {**listed["tuned"], "id": "legal", "parent": "tuned"}
    assert "parent" not in listed["tuned"]
    described = (await surface.http.get("/v1/models/tone")).json()
    assert described == {**listed["tone"], "n_worker": 1}


async def test_an_adapter_is_no_deployment_that_could_be_ended(surface) -> None:
    surface.control.add_entry("tuned", model="tiny", size="0_5", lora=[{"name": "legal", "path": "/lora/legal"}])
    assert (await surface.http.delete("/v1/models/legal")).status_code == 400
    assert "tuned" in surface.control.orders
