"""One user's credentials over HTTP: put, told of without the password, deleted, tested, and never logged."""

import asyncio
import base64
import json
import logging
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from structlog.testing import capture_logs

from mailpush.admin.credentials import is_loopback
from mailpush.admin.passwords import LONGEST_LINE, EntryRefusedError, entry_of, password_of
from mailpush.credentials.passwords import LONGEST_PASSWORD
from mailpush.http import server as http_server
from tests.unit.admin.shelf import LOGIN, Shelf, endpoint

ONE = "/admin/v1/credentials/1/3"
PLANTED = "pl4nted-pässword"


async def test_a_password_goes_in_and_only_its_state_comes_out() -> None:
    shelf = Shelf()
    async with endpoint(shelf) as client:
        assert (await client.put(ONE, json={"password": PLANTED})).json() == {"stored": True, "unchanged": False}
        assert (await client.put(ONE, json={"password": PLANTED})).json() == {"stored": True, "unchanged": True}
        assert shelf.passwords == {(1, 3): PLANTED}
        found = await client.get(ONE)
        assert found.json() == {
            "context": 1,
            "user": 3,
            "state": "usable",
            "changed": "2023-11-14T22:13:20Z",
            "worked": None,
            "refused": "2023-11-14T22:13:21Z",
        }
        assert (await client.delete(ONE)).json() == {"deleted": True}
        assert (await client.delete(ONE)).json() == {"deleted": False}
        missing = await client.get(ONE)
        assert (missing.status_code, missing.json()) == (
            404,
            {"error": "No credentials are stored for user 3 in context 1"},
        )


async def test_a_test_says_what_the_mail_server_said_and_when_the_next_may_come() -> None:
    async with endpoint(Shelf()) as client:
        first = await client.post(f"{ONE}/test")
        assert (first.status_code, first.json()["outcome"], first.json()["reason"]) == (
            200,
            "refused",
            "AuthenticationFailed",
        )
        again = await client.post(f"{ONE}/test")
        assert (again.status_code, again.headers["Retry-After"]) == (429, "42")


async def test_the_list_comes_page_by_page_in_the_order_of_the_keys() -> None:
    shelf = Shelf()
    shelf.passwords = dict.fromkeys([(context, user) for context in (1, 2) for user in (9, 10, 3)], "x")
    seen, after = [], None
    async with endpoint(shelf) as client:
        while True:
            params: dict[str, Any] = {"limit": 4} | ({"after": after} if after else {})
            page = (await client.get("/admin/v1/credentials", params=params)).json()
            assert len(page["credentials"]) <= 4
            seen += [(one["context"], one["user"]) for one in page["credentials"]]
            after = page["next"]
            if after is None:
                break
        assert seen == sorted(shelf.passwords)
        for wrong in ("after=1", "after=1:x", "after=:", "limit=0", "limit=1001", "limit=-1", "limit=x"):
            assert (await client.get(f"/admin/v1/credentials?{wrong}")).status_code == 400, wrong


SECRET = "s3cret"
REFUSED: dict[str, tuple[bytes, int, str]] = {
    "nothing": (b"", 422, "no JSON"),
    "no JSON": (SECRET.encode(), 422, "no JSON"),
    "two values": (b'{"password": "s3cret"} {}', 422, "no JSON"),
    "no UTF-8": (b'{"password": "s3cret\xff"}', 422, "not UTF-8"),
    "another charset": ('{"password": "s3cret"}'.encode("utf-16"), 422, "not UTF-8"),
    "no object": (b'"s3cret"', 422, "no object"),
    "a list": (b'["s3cret"]', 422, "no object"),
    "nothing in it": (b"{}", 422, "password is missing"),
    "another key": (b'{"password": "x", "s3cret": 1}', 422, "another key"),
    "twice": (b'{"password": "x", "password": "s3cret"}', 422, "twice"),
    "a number": (b'{"password": 12345}', 422, "no text"),
    "null": (b'{"password": null}', 422, "no text"),
    "NaN": (b'{"password": NaN}', 422, "no JSON"),
    "an endless number": (b'{"password": ' + b"1" * 4000 + b".}", 422, "no JSON"),
    "empty": (b'{"password": ""}', 422, "blank"),
    "blank": (b'{"password": " \\t "}', 422, "blank"),
    "NUL": (b'{"password": "s3cret\\u0000"}', 422, "NUL"),
    "CR": (b'{"password": "s3cret\\r"}', 422, "line break"),
    "LF": (b'{"password": "s3cret\\n"}', 422, "line break"),
    "half a pair": (b'{"password": "s3cret\\ud800"}', 422, "no Unicode"),
    "too long": (json.dumps({"password": SECRET * 60}).encode(), 422, "360 bytes"),
    "nested": (b"[" * 4000, 422, "no JSON"),
    "a long body": (b" " * LONGEST_LINE + b'{"password": "s3cret"}', 413, f"more than {LONGEST_LINE} bytes"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_no_password_is_refused_in_a_sentence_that_does_not_repeat_it(name: str) -> None:
    body, status, words = REFUSED[name]
    shelf = Shelf()
    async with endpoint(shelf) as client:
        answer = await client.put(ONE, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == status
        assert words in answer.json()["error"]
        assert SECRET not in answer.text
        assert "12345" not in answer.text
        assert shelf.puts == []


def test_the_longest_password_is_taken_however_it_is_written() -> None:
    for character in ("a", "\\u0061", "\\u00e4"):
        size = 2 if character == "\\u00e4" else 1
        body = f'{{"password": "{character * (LONGEST_PASSWORD // size)}"}}'.encode()
        assert len(body) <= LONGEST_LINE
        assert len(password_of(body).encode()) == LONGEST_PASSWORD // size * size


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: json.dumps({"password": text}).encode()))
def test_whatever_comes_is_a_password_or_refused_without_a_word_of_it(body: bytes) -> None:
    try:
        password = password_of(body)
    except EntryRefusedError as error:
        quoted = str(error)
        assert all(byte < 128 for byte in quoted.encode())
        return
    assert json.loads(body) == {"password": password}
    assert entry_of(json.dumps({"context": 1, "user": 3, "password": password}).encode()) == ((1, 3), password)


@pytest.mark.parametrize(
    "line",
    ['{"context": 0, "user": 3, "password": "x"}', '{"context": 1, "user": 2147483648, "password": "x"}',
     '{"context": true, "user": 3, "password": "x"}', '{"context": 1.0, "user": 3, "password": "x"}',
     '{"context": "1", "user": 3, "password": "x"}', '{"user": 3, "password": "x"}'],
)  # fmt: skip
def test_an_entry_needs_numbers_that_a_user_can_have(line: str) -> None:
    with pytest.raises(EntryRefusedError, match=r"context|user"):
        entry_of(line.encode())


@pytest.mark.parametrize(
    ("content_type", "status"),
    [("application/x-www-form-urlencoded", 415), ("text/plain", 415), (None, 415), ("application/json", 200),
     ("application/json; charset=UTF-8", 200), ("application/json; charset=latin-1", 415)],
)  # fmt: skip
async def test_only_json_is_taken(content_type: str | None, status: int) -> None:
    shelf = Shelf()
    async with endpoint(shelf) as client:
        headers = {} if content_type is None else {"Content-Type": content_type}
        answer = await client.put(ONE, content=json.dumps({"password": PLANTED}).encode(), headers=headers)
        assert answer.status_code == status
        assert len(shelf.puts) == (status == 200)
        assert PLANTED not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("PUT", "/admin/v1/credentials/0/3", 400), ("PUT", "/admin/v1/credentials/1/2147483648", 400),
     ("PUT", "/admin/v1/credentials/1/x", 404), ("PUT", "/admin/v1/credentials/1", 404),
     ("PUT", f"{ONE}?password=x", 400), ("POST", ONE, 405), ("PATCH", ONE, 405)],
)  # fmt: skip
async def test_another_place_or_method_stores_nothing(method: str, path: str, status: int) -> None:
    shelf = Shelf()
    async with endpoint(shelf) as client:
        assert (await client.request(method, path, json={"password": PLANTED})).status_code == status
        assert shelf.puts == []


@pytest.mark.parametrize(("address", "private"), [("127.0.0.1", True), ("127.8.9.1", True), ("::1", True),
    ("::ffff:127.0.0.1", True), ("10.0.0.7", False), ("::ffff:10.0.0.7", False), ("fe80::1%eth0", False), ("", False),
    (None, False)])  # fmt: skip
def test_only_the_own_machine_is_loopback(address: str | None, private: bool) -> None:
    assert is_loopback(address) is private


async def test_a_password_that_others_may_have_read_is_not_stored() -> None:
    """Another machine's request, as the tests have only this one."""
    shelf = Shelf()
    async with endpoint(shelf, private=lambda request: False) as client:
        for answer in (
            await client.put(ONE, json={"password": PLANTED}),
            await client.post(
                "/admin/v1/credentials", content=b"x" * 100_000, headers={"Content-Type": "application/x-ndjson"}
            ),
        ):
            assert answer.status_code == 403
            assert "admin.tlsSecretRef" in answer.json()["error"]
        assert shelf.puts == []
        assert (await client.delete(ONE)).status_code == 200


async def test_without_the_login_nothing_is_stored_or_told() -> None:
    shelf = Shelf()
    shelf.passwords = {(1, 3): PLANTED}
    async with endpoint(shelf) as client:
        for method, path in (("PUT", ONE), ("GET", ONE), ("DELETE", ONE), ("POST", f"{ONE}/test"),
                             ("GET", "/admin/v1/credentials"), ("POST", "/admin/v1/credentials")):  # fmt: skip
            answer = await client.request(method, path, auth=(LOGIN[0], "wrong"), json={"password": "new"})
            assert answer.status_code == 401, (method, path)
    assert shelf.passwords == {(1, 3): PLANTED}
    assert not shelf.tested
    assert not shelf.puts


async def test_where_the_store_is_down_everything_says_so_and_when_to_ask_again() -> None:
    shelf = Shelf()
    shelf.down = 0
    async with endpoint(shelf) as client:
        for method, path in (("PUT", ONE), ("GET", ONE), ("DELETE", ONE), ("POST", f"{ONE}/test"),
                             ("GET", "/admin/v1/credentials")):  # fmt: skip
            answer = await client.request(method, path, json={"password": PLANTED})
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5"), (method, path)
            assert "CredentialStorageUnavailable" in answer.json()["error"]


async def test_an_endpoint_without_credentials_says_so() -> None:
    async with endpoint(None) as client:
        answer = await client.put(ONE, json={"password": PLANTED})
        assert (answer.status_code, "ask a listener pod" in answer.text) == (404, True)


async def test_a_body_that_does_not_come_ends_the_request() -> None:
    head = f"PUT {ONE} HTTP/1.1\r\nHost: x\r\nAuthorization: {basic()}\r\nContent-Type: application/json\r\n"
    shelf = Shelf()
    with patch.object(http_server, "BODY_SECONDS", 0.2):
        async with endpoint(shelf) as client:
            answer = await raw(client.base_url.port, f'{head}Content-Length: 30\r\n\r\n{{"password": "'.encode())
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert shelf.puts == []


async def test_no_log_line_and_no_metric_holds_a_password(caplog: pytest.LogCaptureFixture) -> None:
    """Of every answer: stored, refused, broken off, down, and a fault of ours."""
    shelf = Shelf()
    with caplog.at_level(logging.DEBUG), capture_logs() as logs:
        async with endpoint(shelf) as client:
            await client.put(ONE, json={"password": PLANTED})
            await client.put(
                ONE, content=f'{{"password": "{PLANTED}\\n"}}', headers={"Content-Type": "application/json"}
            )
            await client.put(ONE, content=PLANTED, headers={"Content-Type": "application/json"})
            await client.put(ONE, json={"password": PLANTED}, auth=("oxadmin", PLANTED))
            row = json.dumps({"context": 1, "user": 3, "password": PLANTED})
            await client.post(
                "/admin/v1/credentials", content=row + "\n" + row[:-2], headers={"Content-Type": "application/x-ndjson"}
            )
            shelf.down = 0
            await client.put(ONE, json={"password": PLANTED})
            shelf.passwords = None  # type: ignore[assignment]
            shelf.down = None
            assert (await client.put(ONE, json={"password": PLANTED})).status_code == 500
    assert [line["event"] for line in logs if line["event"].startswith("credentials_")]
    ours = [record for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    assert "Error handling request" in " ".join(record.getMessage() for record in ours)
    text = (
        generate_latest().decode()
        + json.dumps(logs, default=str)
        + "".join(logging.Formatter().format(record) for record in ours)
    )
    for part in (PLANTED, json.dumps(PLANTED)[1:-1], "pl4nted"):
        assert part not in text


def basic() -> str:
    return "Basic " + base64.b64encode(":".join(LOGIN).encode()).decode()


async def raw(port: int | None, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    async with asyncio.timeout(60):
        answer = await reader.read(100)
    writer.close()
    return answer
