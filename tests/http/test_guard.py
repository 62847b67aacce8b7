"""What passes the guard, what does not, and what is noted about it."""

from __future__ import annotations

import json
import logging

import pytest

from xserve.http.guard import Guard, GuardRules

JSON = {"content-type": "application/json", "content-length": "2"}


async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def ask(guard: Guard, method: str = "GET", path: str = "/v1/models", listener: str = "tcp", **headers: str):
    """(status, error code, request id)."""
    given = {"host": "localhost:9997"} | {name.replace("_", "-"): value for name, value in headers.items()}
    sent = []

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in given.items()],
        "state": {"listener": listener},
        "query_string": b"token=s3cret",
    }
    await guard(scope, None, send)
    body = sent[1]["body"]
    code = json.loads(body)["error"]["code"] if body else None
    return sent[0]["status"], code, dict(sent[0]["headers"])[b"x-request-id"].decode()


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:9997", "[::1]", "[::1]:9997", "models.lan:80"]
)
async def test_names_of_this_machine_pass(host):
    guard = Guard(app, GuardRules(names=GuardRules().names | {"models.lan"}))
    assert (await ask(guard, host=host))[0] == 204


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "[::1].evil",
        "x/health?",
        "[::1",
        "a@localhost",
        "localhost:x",
    ],
)
async def test_other_names_are_421(host):
    assert (await ask(Guard(app), host=host))[:2] == (421, "unknown_host")


async def test_two_hosts_are_400():
    """Which of them counts would be a matter of taste."""
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "headers": [(b"host", b"localhost"), (b"host", b"evil.example")],
    }
    sent = []

    async def send(message):
        sent.append(message)

    await Guard(app)(scope, None, send)
    assert sent[0]["status"] == 400


async def test_the_host_check_can_be_off_and_the_admin_socket_has_none():
    assert (await ask(Guard(app, GuardRules(check_host=False)), host="gpu1.lan"))[0] == 204
    assert (await ask(Guard(app), host="", listener="admin"))[0] == 204


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://localhost:3000", "null", "", "http://[bad", "http://localhost:9997.evil"]
)
async def test_a_change_from_a_foreign_page_is_403(method, origin):
    assert (await ask(Guard(app), method, origin=origin))[:2] == (403, "unknown_origin")


async def test_a_change_from_our_own_page_and_reading_from_any_pass():
    assert (await ask(Guard(app), "POST", origin="http://localhost:9997"))[0] == 204
    assert (await ask(Guard(app), "GET", origin="https://evil.example"))[0] == 204


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonp"])
@pytest.mark.parametrize("listener", ["tcp", "admin"])
async def test_a_body_of_a_type_that_pages_may_send_unasked_is_415(kind, listener):
    headers = {"content_type": kind, "content_length": "2"}
    assert (await ask(Guard(app), "POST", listener=listener, **headers))[:2] == (415, "wrong_content_type")
    headers = {"content_type": kind, "transfer_encoding": "chunked"}
    assert (await ask(Guard(app), "POST", listener=listener, **headers))[0] == 415


async def test_json_and_no_body_pass():
    json_type = "application/json; charset=utf-8"
    assert (await ask(Guard(app), "POST", content_type=json_type, content_length="2"))[0] == 204
    assert (await ask(Guard(app), "POST", content_length="0"))[0] == 204
    assert (await ask(Guard(app), "DELETE"))[0] == 204


async def test_multipart_passes_only_where_uploads_are_taken():
    guard = Guard(app, GuardRules(uploads=frozenset({"/v1/audio/transcriptions"})))
    upload = {"content_type": "multipart/form-data; boundary=x", "content_length": "9"}
    assert (await ask(guard, "POST", "/v1/audio/transcriptions", **upload))[0] == 204
    assert (await ask(guard, "POST", "/v1/models", **upload))[0] == 415
    assert (await ask(guard, "POST", "/v1/audio/transcriptions/more", **upload))[0] == 415
    assert (await ask(guard, "POST", "/v1/audio/transcriptions", origin="http://evil.example", **upload))[0] == 403
    assert (await ask(Guard(app), "POST", "/v1/audio/transcriptions", **upload))[0] == 415


async def test_a_sane_request_id_is_kept_and_any_other_replaced_by_one_of_our_own():
    guard = Guard(app)
    assert (await ask(guard, x_request_id="req_A-1.2"))[2] == "req_A-1.2"
    made = {(await ask(guard, x_request_id=bad))[2] for bad in ("", "a b", "x" * 129, "é", 'a"', "a\tb")}
    assert len(made) == 6
    assert all(len(each) > 8 for each in made)


async def test_the_access_log_tells_what_happened_and_nothing_secret(caplog):
    caplog.set_level(logging.INFO, "xserve.access")
    await ask(Guard(app), "POST", authorization="Bearer s3cret", cookie="s3cret", x_request_id="id-1")
    await ask(Guard(app), "GET", "/a\nb", host="evil")
    first, second = caplog.messages
    assert first.startswith("tcp POST '/v1/models' 204 ")
    assert first.endswith(" ms id-1")
    assert "s3cret" not in first
    assert second.startswith("tcp GET '/a\\nb' 421 ")


async def test_the_clients_departure_stays_visible_to_the_application():
    """The application gets the very same receive."""
    seen = []

    async def keep(scope, receive, send):
        seen.append(receive)

    async def receive():
        raise AssertionError

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"localhost")]}
    await Guard(keep)(scope, receive, None)
    assert seen == [receive]


async def test_what_is_not_http_is_left_to_the_application():
    seen = []

    async def keep(scope, receive, send):
        seen.append(scope["type"])

    await Guard(keep)({"type": "lifespan"}, None, None)
    assert seen == ["lifespan"]
