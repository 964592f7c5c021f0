"""What Dovecot's auth penalty does to the logins of one address: the facts that mechanisms/lanes.py builds upon."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from dev.services import Dovecot
from dev.services.releases import VERSIONS
from mailpush.imap.client import ImapAuthError, ImapLogin, ImapServer, connect
from mailpush.listener.mechanisms.budget import ConnectBudget
from mailpush.listener.mechanisms.repeating import Surroundings

FAST: float = 0.5
"""A login that is delayed by less, as a share of the shortest penalty, is not delayed."""


@pytest.fixture
def dovecots() -> Iterator[list[Dovecot]]:
    """Of each version one of its own: other tests' logins would be delayed, and would lift the penalty.

    Without `auth_failure_delay` there is no penalty.
    """
    with ExitStack() as stack:
        yield [stack.enter_context(Dovecot.launch(version=version, failure_delay=1)) for version in VERSIONS]


async def answered(dovecot: Dovecot, user: str, password: str) -> float:
    """Seconds until the login is answered, with the timeout that a listener has. Raises ImapError."""
    server = ImapServer(dovecot.host, dovecot.imap_port, "none")
    async with connect(server, Surroundings(ConnectBudget()).timeout) as client:
        began = time.monotonic()
        try:
            await client.login(ImapLogin(user, password))
        except ImapAuthError:
            if password == dovecot.password:
                raise
        return time.monotonic() - began


async def test_each_refusal_delays_all_later_logins_until_one_is_let_in_and_a_listener_waits_long_enough(
    dovecots: list[Dovecot],
) -> None:
    async def play(dovecot: Dovecot) -> None:
        before = await answered(dovecot, "alice", dovecot.password)
        await answered(dovecot, "bob", "wrong")
        delayed = await answered(dovecot, "alice", dovecot.password)
        lifted = await answered(dovecot, "alice", dovecot.password)
        assert max(before, lifted) < FAST * delayed
        refusals = [await answered(dovecot, user, "wrong") for user in ("carol", "dave", "erin")]
        longest = await answered(dovecot, "alice", dovecot.password)
        assert refusals[0] < refusals[1] < refusals[2] < longest

    await asyncio.gather(*(play(dovecot) for dovecot in dovecots))
