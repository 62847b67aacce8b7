"""The real clients, unmodified, against the real application."""

from __future__ import annotations

import asyncio
import json

import openai
import pytest
from xinference_client.client.restful.restful_client import Client

from xserve.core.refused import Kind, Refused


@pytest.fixture
def xinference(surface, monkeypatch: pytest.MonkeyPatch):
    """Run a function with Xinference's client, outside the event loop."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    async def run(work):
        def session():
            client = Client(surface.url)
            try:
                return work(client)
            finally:
                client.close()

        return await asyncio.to_thread(session)

    return run


@pytest.fixture
async def sdk(surface):
    async with openai.AsyncOpenAI(base_url=f"{surface.url}/v1", api_key="x", max_retries=0) as client:
        yield client


async def test_openai_lists_and_retrieves(sdk) -> None:
    assert [model.id async for model in await sdk.models.list()] == ["chat"]
    found = await sdk.models.retrieve("gpt-3.5-turbo")
    assert (found.id, found.object, found.owned_by) == ("chat", "model", "xserve")


async def test_openai_reads_why_a_model_is_not_there(sdk) -> None:
    with pytest.raises(openai.BadRequestError) as failure:
        await sdk.models.retrieve("nobody")
    assert failure.value.code == "model_not_found"
    assert failure.value.body["message"] == "Model not found in the model list, uid: nobody"


async def test_openai_infers_through_the_table(surface, sdk, start_engine) -> None:
    async def answer(exchange) -> None:
        assert json.loads(exchange.body)["model"] == "chat"
        message = {"role": "assistant", "content": "Paris"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        reply = {"id": "1", "object": "chat.completion", "created": 1, "model": "chat", "choices": [choice]}
        await exchange.reply(json.dumps(reply).encode())

    surface.serve("chat", (await start_engine(answer)).path)
    made = await sdk.chat.completions.create(model="gpt-3.5-turbo", messages=[{"role": "user", "content": "?"}])
    assert made.choices[0].message.content == "Paris"
    with pytest.raises(openai.NotFoundError, match="uid: nobody"):
        await sdk.chat.completions.create(model="nobody", messages=[])


async def test_xinference_registers_lists_gets_and_unregisters(surface, xinference) -> None:
    def work(client: Client):
        assert client.register_model("LLM", json.dumps({"model_name": "new"}), persist=True) is None
        names = client.list_model_registrations("LLM")
        found = client.get_model_registration("LLM", "tiny")
        assert client.unregister_model("LLM", "tiny") is None
        return names, found

    names, found = await xinference(work)
    assert names == [{"model_name": "tiny", "is_builtin": False}]
    assert found["model_family"] == "tiny"
    assert [name for name, _ in surface.control.calls] == ["register", "unregister"]


async def test_xinference_launches_describes_and_terminates(surface, xinference) -> None:
    def work(client: Client):
        uid = client.launch_model("tiny", model_engine="llama.cpp", model_uid="mine", model_size_in_billions=0.5)
        later = client.launch_model("vectors", model_type="embedding", n_gpu=None, wait_ready=False)
        listed = client.list_models()
        described = client.describe_model("mine")
        handle = client.get_model("mine")
        assert client.terminate_model("mine") is None
        return uid, later, listed, described, type(handle).__name__

    uid, later, listed, described, handle = await xinference(work)
    assert (uid, later, handle) == ("mine", "vectors", "RESTfulChatModelHandle")
    assert set(listed) == {"chat", "mine", "vectors"}
    assert described["model_size_in_billions"] == "0_5"
    assert sorted(surface.control.orders) == ["chat", "vectors"]


async def test_xinference_reads_why_something_is_refused(surface, xinference) -> None:
    surface.control.refuses = Refused(Kind.EXISTS, "Model tiny already registered")

    def work(client: Client) -> list[str]:
        said = []
        for call in (
            lambda: client.register_model("LLM", "{}", persist=False),
            lambda: client.describe_model("nobody"),
            lambda: client.terminate_model("nobody"),
            lambda: client.get_model_registration("LLM", "nobody"),
            lambda: client.launch_model("tiny", n_worker=2),
        ):
            with pytest.raises(RuntimeError) as failure:
                call()
            said.append(str(failure.value))
        return said

    said = await xinference(work)
    assert "Model tiny already registered" in said[0]
    assert "Model not found in the model list, uid: nobody" in said[1]
    assert "Model not found in the model list, uid: nobody" in said[2]
    assert "Model nobody not found" in said[3]
    assert "`n_worker` is not supported yet." in said[4]
