"""Many credentials over HTTP: a bad line stops nothing, memory is bounded, and the answer says where to go on."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable
from itertools import pairwise
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpush.admin.bulk import BATCH, TELL_EVERY, Lines
from mailpush.admin.passwords import LONGEST_LINE
from tests.unit.admin.shelf import Shelf, endpoint
from tests.unit.admin.test_credentials import basic

PATH = "/admin/v1/credentials"


def line(user: int, password: str = "x") -> bytes:
    return json.dumps({"context": 1, "user": user, "password": password}).encode() + b"\n"


async def post(client: httpx.AsyncClient, body: bytes | AsyncIterator[bytes]) -> list[dict[str, Any]]:
    answer = await client.post(PATH, content=body, headers={"Content-Type": "application/x-ndjson"})
    assert answer.status_code == 200, answer.text
    return [json.loads(row) for row in answer.text.splitlines()]


async def sent(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
        await asyncio.sleep(0)


@given(st.lists(st.binary(max_size=6) | st.just(b"x" * (LONGEST_LINE + 1)), max_size=8), st.data())
def test_lines_are_the_same_whatever_the_stream_is_cut_into(parts: list[bytes], data: st.DataObject) -> None:
    whole = b"\n".join(parts)
    lines, cut, found = Lines(), 0, []
    while cut < len(whole):
        size = data.draw(st.integers(1, len(whole) - cut))
        found += list(lines.take(whole[cut : cut + size]))
        cut += size
    found += list(lines.last())
    wanted = whole.split(b"\n")
    if not wanted[-1]:
        wanted.pop()
    assert found == [one if len(one) <= LONGEST_LINE else None for one in wanted]


async def test_a_bad_line_does_not_stop_the_rest() -> None:
    shelf = Shelf()
    shelf.too_long = {(1, 5)}
    bad = [b"s3cret\n", b"x" * (LONGEST_LINE + 1) + b"\n", line(5, "s3cret"), b'{"context": 1, "user": 6}\n']
    async with endpoint(shelf) as client:
        *refused, last = await post(client, b"".join([line(1), *bad, b"\r\n", line(7), line(1, "y")[:-1]]))
    assert [(row["line"], row["error"].split()[0]) for row in refused] == [
        (2, "it"),
        (3, "the"),
        (4, "it"),
        (5, "password"),
    ]
    assert "s3cret" not in json.dumps(refused)
    assert last == {"through": 8, "stored": 3, "unchanged": 0, "refused": 4, "done": True}
    assert shelf.passwords == {(1, 1): "y", (1, 7): "x"}, "the later one of a user counts, also without a line break"


async def test_many_lines_are_stored_some_hundred_at_a_time_and_little_is_answered() -> None:
    shelf, lines = Shelf(), 12_345
    async with endpoint(shelf) as client:
        rows = await post(client, sent(line(user) for user in range(1, lines + 1)))
    assert rows[-1] == {"through": lines, "stored": lines, "unchanged": 0, "refused": 0, "done": True}
    assert len(shelf.passwords) == lines
    assert max(shelf.puts) <= BATCH
    assert len(rows) <= 1 + lines // TELL_EVERY
    assert [row["through"] for row in rows] == sorted(row["through"] for row in rows)


async def test_others_have_their_turn_every_few_lines() -> None:
    """A store that never waits, and a body that is there as a whole: mails arrive meanwhile all the same."""
    shelf, lines = Shelf(), 1500
    seen: list[int] = []

    async def count() -> None:
        while True:
            seen.append(sum(shelf.puts))
            await asyncio.sleep(0)

    async with endpoint(shelf) as client:
        counting = asyncio.create_task(count())
        await post(client, b"".join(line(user) for user in range(1, lines + 1)))
        counting.cancel()
    assert max(later - before for before, later in pairwise(seen)) <= BATCH


async def test_where_the_store_goes_away_the_answer_says_where_to_go_on() -> None:
    shelf, lines = Shelf(), 3 * BATCH
    shelf.down = 2
    body = b"".join(line(user) for user in range(1, lines + 1))
    async with endpoint(shelf) as client:
        last = (await post(client, body))[-1]
        assert (last["done"], last["retryAfter"]) == (False, 5)
        assert "gives no answer" in last["error"]
        assert 0 < last["through"] == last["stored"] == len(shelf.passwords) < lines
        shelf.down = None
        rest = b"".join(line(user) for user in range(last["through"] + 1, lines + 1))
        assert (await post(client, rest))[-1]["done"]
    assert len(shelf.passwords) == lines


async def test_where_nothing_can_be_stored_at_all_the_status_says_so() -> None:
    shelf = Shelf()
    shelf.down = 0
    async with endpoint(shelf) as client:
        answer = await client.post(PATH, content=line(1), headers={"Content-Type": "application/x-ndjson"})
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        form = await client.post(PATH, content=line(1), headers={"Content-Type": "application/x-www-form-urlencoded"})
        assert form.status_code == 415
        assert shelf.puts == []


async def test_an_empty_import_is_done() -> None:
    async with endpoint(Shelf()) as client:
        assert await post(client, b"") == [{"through": 0, "stored": 0, "unchanged": 0, "refused": 0, "done": True}]


HEAD = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: {basic()}\r\nContent-Type: application/x-ndjson\r\n"


async def all_of(reader: asyncio.StreamReader) -> bytes:
    """What comes before the end, or before the reset that a server's end is for who still sends."""
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := await reader.read(4096):
            got += piece
    return got


@pytest.mark.parametrize(("ending", "why"), [("silence", "within"), ("drops", "within"), ("end", "broke off")])
async def test_a_body_that_stops_ends_the_import_and_a_cut_line_is_not_taken(
    ending: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drops without a line break do not hold a connection either."""
    monkeypatch.setattr("mailpush.admin.bulk.LINE_SECONDS", 0.3)
    shelf = Shelf()
    async with endpoint(shelf) as client, asyncio.timeout(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        writer.write(f"{HEAD}Content-Length: 4000\r\n\r\n".encode() + line(1) + line(2)[:-4])
        if ending == "end":
            writer.write_eof()
        reading = asyncio.create_task(all_of(reader))
        while ending == "drops" and not reading.done():
            writer.write(b" ")
            await asyncio.sleep(0.02)
        answer = await reading
        writer.close()
    assert why.encode() in answer or (ending == "end" and not answer)
    assert shelf.passwords == {(1, 1): "x"}


async def test_a_sender_that_reads_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailpush.admin.bulk.LINE_SECONDS", 0.3)
    async with endpoint(Shelf()) as client, asyncio.timeout(60):
        _, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port, limit=1024)
        writer.write(f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode())

        async def send() -> None:
            while True:  # each line is refused, and nobody reads that
                writer.write(b"8000\r\n" + b"x\n" * 0x4000 + b"\r\n")
                await writer.drain()

        with pytest.raises(ConnectionError):
            await send()
        writer.close()
