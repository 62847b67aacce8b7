"""What a request looks like to the engine: by uid, alias or adapter, with or without defaults."""

from __future__ import annotations

import json

import pytest

from xserve.core.exposure import Exposure
from xserve.http.body import Asked, find_model
from xserve.http.errors import ApiError
from xserve.http.fitting import fit
from xserve.http.traffic import Target

SELECT = {"lora": [{"id": 0, "scale": 1.0}]}


def fitted(name: str, **exposure) -> dict:
    """The members that the engine sees of a request for `name`."""
    body = json.dumps({"model": name, "prompt": "x", "lora": "the client's own"}).encode()
    target = Target("m", Exposure(exposure.pop("model_type", "LLM"), **exposure))
    return json.loads(fit(body, find_model("application/json", body), target))


@pytest.mark.parametrize(
    ("name", "exposure", "model", "lora"),
    [
        ("m", {"adapters": {"legal": SELECT}}, "m", "the client's own"),
        ("alias", {"aliases": ("alias",), "adapters": {"legal": SELECT}}, "m", "the client's own"),
        ("legal", {"adapters": {"legal": SELECT}}, "m", SELECT["lora"]),
        ("legal", {"adapters": {"legal": {}}}, "legal", "the client's own"),
        ("both", {"aliases": ("both",), "adapters": {"both": SELECT}}, "m", "the client's own"),
    ],
)
def test_a_name_becomes_what_the_engine_knows(name, exposure, model, lora):
    seen = fitted(name, **exposure)
    assert (seen["model"], seen["lora"], seen["prompt"]) == (model, lora, "x")


def test_an_adapter_gets_the_defaults_of_its_model():
    seen = fitted("legal", adapters={"legal": {}}, request_defaults={"stop": ["<|end|>"]})
    assert (seen["model"], seen["stop"]) == ("legal", ["<|end|>"])


@pytest.mark.parametrize("name", ["m", "legal"])
def test_what_needs_no_change_keeps_its_bytes(name):
    body = b'{ "model" : "%b", "n":1.0}' % name.encode()
    target = Target("m", Exposure("LLM", adapters={"legal": {}}))
    assert fit(body, find_model("application/json", body), target) is body


def test_a_member_that_the_engine_would_ignore_is_refused_with_its_reason():
    target = Target("m", Exposure("embedding", refused={"dimensions": "leave dimensions out"}))
    plain = b'{"model": "m", "input": "x", "dimensions": null}'
    assert fit(plain, Asked("m", False), target) is plain
    with pytest.raises(ApiError, match="leave dimensions out") as refused:
        fit(b'{"model": "m", "input": "x", "dimensions": 64}', Asked("m", False), target)
    assert refused.value.status == 400
