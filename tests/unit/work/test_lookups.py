"""Lookups that hang, of names that whoever writes a PushUser chooses."""

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from mailpush.work import lookups
from mailpush.work.lookups import Lookups
from tests.sites.waiting import until


class NameServer:
    """Takes the place of socket.getaddrinfo: does not answer for `*.hang` until it is released."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.under_way = 0
        self.most_under_way = 0
        self.release = threading.Event()
        self._lock = threading.Lock()

    def __call__(self, host: str, *_: Any, **__: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            self.asked[host] += 1
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if host.endswith(".hang"):
                self.release.wait(60)
            if not host.endswith(".example"):
                raise socket.gaierror(socket.EAI_NONAME, "not known")
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 0)) for ip in ("192.0.2.1", "192.0.2.2") * 2]
        finally:
            with self._lock:
                self.under_way -= 1


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    server = NameServer()
    monkeypatch.setattr(socket, "getaddrinfo", server)
    monkeypatch.setattr(lookups, "PATIENCE_SECONDS", 0.05)
    yield server
    server.release.set()


class Share:
    """A share whose time the test moves."""

    def __init__(self, threads: int = 4, *, kept: float = 30.0, failed: float = 5.0) -> None:
        self.now = 0.0
        self.lookups = Lookups(threads, kept=kept, failed=failed, clock=lambda: self.now)

    async def error(self, host: str) -> int | None:
        """The system's number of the error."""
        try:
            await self.lookups.addresses(host)
        except socket.gaierror as error:
            return error.errno
        return None


async def test_a_name_has_its_addresses_once_and_in_order(server: NameServer) -> None:
    assert await Share().lookups.addresses("mx.example") == ["192.0.2.1", "192.0.2.2"]


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7"])
async def test_an_address_is_not_looked_up(server: NameServer, address: str) -> None:
    assert await Share().lookups.addresses(address) == [address]
    assert not server.asked


async def test_many_who_ask_for_one_name_are_one_lookup_and_none_waits_for_ever(server: NameServer) -> None:
    share = Share()
    assert set(await asyncio.gather(*(share.error("mx.hang") for _ in range(20)))) == {socket.EAI_AGAIN}
    share.now = 3600.0
    assert await share.error("mx.hang") == socket.EAI_AGAIN, "at once: it still has not ended"
    assert server.asked == {"mx.hang": 1}


async def test_a_name_that_is_not_found_is_asked_for_again_after_a_while(server: NameServer) -> None:
    share = Share(failed=5.0)
    assert [await share.error("mx.nowhere") for _ in range(20)] == [socket.EAI_NONAME] * 20
    assert server.asked["mx.nowhere"] == 1
    share.now = 5.0
    await share.error("mx.nowhere")
    assert server.asked["mx.nowhere"] == 2


async def test_an_answer_counts_for_a_while_unless_nobody_is_there(server: NameServer) -> None:
    share = Share(kept=30.0)
    for share.now in (0.0, 29.0):
        await share.lookups.addresses("mx.example")
    assert server.asked["mx.example"] == 1
    share.lookups.forget("mx.example")
    await share.lookups.addresses("mx.example")
    assert server.asked["mx.example"] == 2
    share.now = 60.0
    await share.lookups.addresses("mx.example")
    assert server.asked["mx.example"] == 3


async def test_names_that_hang_take_no_more_than_their_share(server: NameServer) -> None:
    share, other = Share(threads=3), Share(threads=1)
    await asyncio.gather(*(share.error(f"mx-{number}.hang") for number in range(50)))
    assert server.most_under_way == 3
    assert await other.lookups.addresses("pod.example") == ["192.0.2.1", "192.0.2.2"]
    server.release.set()
    await until(lambda: len(server.asked) == 51)
    assert await share.lookups.addresses("mx.example") == ["192.0.2.1", "192.0.2.2"], "and go on afterwards"


async def test_one_who_gives_up_takes_the_answer_from_nobody(
    server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookups, "PATIENCE_SECONDS", 60.0)
    share = Share()
    first, second = (asyncio.create_task(share.error("mx.hang")) for _ in range(2))
    await until(lambda: server.under_way == 1)
    first.cancel()
    await asyncio.wait({first})
    server.release.set()
    assert await second == socket.EAI_NONAME
    assert server.asked == {"mx.hang": 1}


async def test_what_is_no_name_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="label"):
        await Share().lookups.addresses("x" * 64 + ".example")


async def test_what_is_remembered_is_bounded(server: NameServer) -> None:
    share = Share(failed=0.0)
    for number in range(2 * lookups._REMEMBERED):
        await share.error(f"mx-{number}.nowhere")
    assert len(share.lookups._names) <= lookups._REMEMBERED
