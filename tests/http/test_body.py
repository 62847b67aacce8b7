"""Request bodies: what routing finds in them, and what a change leaves alone."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xserve.http.body import ClientGoneError, find_model, read_body, splice
from xserve.http.errors import ApiError

JSON = "application/json"
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(st.text(), values, max_size=6)


def spaced(content: dict, indent: int | None, ascii_only: bool) -> bytes:
    return json.dumps(content, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")


@given(objects, st.none() | st.integers(0, 3), st.booleans(), st.sampled_from(["uid", "模型"]))
def test_a_splice_leaves_the_bytes_of_every_other_members_value_alone(content, indent, ascii_only, uid):
    body = spaced({**content, "model": "alias"}, indent, ascii_only)
    before = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    after = msgspec.json.decode(splice(body, {"model": uid}, {}), type=dict[str, msgspec.Raw])
    assert msgspec.json.decode(after.pop("model")) == uid
    before.pop("model")
    assert {name: bytes(raw) for name, raw in before.items()} == {name: bytes(raw) for name, raw in after.items()}


def test_numbers_and_escapes_survive_as_they_were_written():
    body = (
        b'{"model": "a", "seed": 1.00e+2, "x": "\\u00e9\\/", "big": 123456789012345678901234567890, "o": { "k" : 1 }}'
    )
    assert splice(body, {"model": "b"}, {}) == (
        b'{"model":"b","seed":1.00e+2,"x":"\\u00e9\\/","big":123456789012345678901234567890,"o":{ "k" : 1 }}'
    )


@pytest.mark.parametrize(
    ("body", "stop"),
    [(b'{"model":"m"}', ["<|x|>"]), (b'{"model":"m","stop":null}', ["<|x|>"]), (b'{"model":"m","stop":"y"}', "y")],
)
def test_a_default_is_added_where_the_request_lacks_it_or_says_null(body, stop):
    assert json.loads(splice(body, {"model": "m"}, {"stop": ["<|x|>"]}))["stop"] == stop


@pytest.mark.parametrize(
    ("body", "param", "sentence"),
    [
        (b"", None, "not valid JSON"),
        (b'{"model":"a"', None, "not valid JSON"),
        (b'{"model":"a"}x', None, "not valid JSON"),
        (b'{"model":"a","x":[}', None, "not valid JSON"),
        (b'{"model":"\xff"}', None, "not valid JSON"),
        (b'{"model":"a","x":' + b"[" * 300_000, None, "not valid JSON"),
        (b"[]", None, "must be a JSON object"),
        (b"{}", "model", "needs `model`"),
        (b'{"model":null}', "model", "needs `model`"),
        (b'{"model":7}', "model", "needs `model`"),
        (b'{"model":"a","stream":"yes"}', "stream", "needs `stream`: true or false"),
    ],
)
def test_a_body_that_cannot_be_routed_is_400_and_says_what_is_wrong(body, param, sentence):
    with pytest.raises(ApiError, match=sentence) as refused:
        find_model(JSON, body)
    assert (refused.value.status, refused.value.param) == (400, param)


def test_a_member_that_routing_skipped_may_turn_out_malformed_in_a_splice():
    body = b'{"model":"a","\xff":1}'
    find_model(JSON, body)
    with pytest.raises(ApiError, match="not valid JSON"):
        splice(body, {"model": "b"}, {})


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "Application/JSON", ""])
def test_model_and_stream_are_found(kind):
    assert find_model(kind, b'{"messages":[{"model":"no"}],"stream":true,"model":"yes"}').model == "yes"
    assert find_model(kind, b'{"stream":true,"model":"yes"}').stream is True
    assert find_model(kind, b'{"stream":null,"model":"yes"}').stream is False


def test_another_content_type_is_415():
    with pytest.raises(ApiError, match="application/json, not text/plain") as refused:
        find_model("text/plain", b'{"model":"a"}')
    assert refused.value.status == 415


def receiving(*messages):
    left = list(messages)

    async def receive():
        return left.pop(0)

    return receive, left


def part(body: bytes, more: bool = True) -> dict:
    return {"type": "http.request", "body": body, "more_body": more}


SCOPE: dict = {"headers": []}


async def test_a_body_in_pieces_is_put_together():
    receive, _ = receiving(part(b"ab"), part(b""), part(b"cd", more=False))
    assert await read_body(SCOPE, receive, 4) == b"abcd"


async def test_a_body_is_counted_as_it_arrives():
    receive, left = receiving(part(b"abc"), part(b"de"), part(b"f" * 100))
    with pytest.raises(ApiError) as refused:
        await read_body(SCOPE, receive, 4)
    assert refused.value.status == 413
    assert len(left) == 1, "nothing is read beyond the limit"


async def test_an_announced_length_beyond_the_limit_is_refused_unread():
    receive, left = receiving(part(b"abc"))
    with pytest.raises(ApiError) as refused:
        await read_body({"headers": [(b"content-length", b"5")]}, receive, 4)
    assert (refused.value.status, len(left)) == (413, 1)


async def test_a_client_that_leaves_while_sending_is_gone():
    receive, _ = receiving(part(b"abc"), {"type": "http.disconnect"})
    with pytest.raises(ClientGoneError):
        await read_body(SCOPE, receive, 4)
