"""What all listeners share."""

import asyncio

from structlog.testing import capture_logs

from mailpush.imap.client import ImapLogin, ImapServer
from mailpush.listener.mechanisms.base import Mailbox, State
from mailpush.listener.mechanisms.budget import ConnectBudget
from mailpush.listener.mechanisms.repeating import RepeatingListener, Surroundings
from tests.sites.imapserver import Waits
from tests.sites.waiting import until

MAILBOX = Mailbox(1, 3, ImapServer("imap.example", 143, "none"), ImapLogin("u", "s3cret"))


class SlowToEnd(RepeatingListener):
    """Its attempt has something to clear up, which takes until `cleared`."""

    def __init__(self) -> None:
        super().__init__(MAILBOX, lambda _user, _health: None, Surroundings(ConnectBudget()), 1.0)
        self.began, self.ending, self.cleared = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.ended = False

    async def _attempt(self) -> float:
        self.began.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ending.set()
            await self.cleared.wait()
            self.ended = True
        return 0.0


class Faulty(RepeatingListener):
    """Its attempt fails by a fault of ours, whose text is what the server said."""

    async def _attempt(self) -> float:
        raise ValueError(f"invalid literal for int(): {self._mailbox.login.password}")


async def test_a_fault_of_ours_is_logged_with_its_place_and_without_its_text() -> None:
    failed = asyncio.Event()
    with capture_logs() as logged:
        listener = Faulty(
            MAILBOX,
            lambda _user, health: failed.set() if health.state is State.FAILED else None,
            Surroundings(ConnectBudget()),
            1.0,
        )
        await listener.start()
        await failed.wait()
        await listener.stop()
    (entry,) = (entry for entry in logged if entry["event"] == "listener_fault")
    assert entry["error"] == "ValueError"
    assert "_attempt" in entry["traceback"]
    assert "s3cret" not in str(logged)
    assert "s3cret" not in listener.health.message


async def test_a_stop_that_was_interrupted_is_made_again_and_waits_for_the_end() -> None:
    listener = SlowToEnd()
    await listener.start()
    await listener.began.wait()
    interrupted = asyncio.create_task(listener.stop())
    await listener.ending.wait()
    interrupted.cancel()
    await asyncio.wait({interrupted})
    again = asyncio.create_task(listener.stop())
    for _ in range(5):
        await asyncio.sleep(0)
    assert (again.done(), listener.ended) == (False, False)
    assert listener.health.state is not State.STOPPED
    listener.cleared.set()
    await again
    assert (listener.ended, listener.health.state) == (True, State.STOPPED)
    await listener.stop()


async def test_a_server_that_ends_the_connection_after_refusing_plain_is_logged_in_to_by_login_the_next_time() -> None:
    names: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"* OK [CAPABILITY IMAP4rev1 IDLE METADATA SASL-IR AUTH=PLAIN] ready\r\n")
        while line := await reader.readline():
            tag, name = line.decode().split()[:2]
            names.append(name)
            if name == "AUTHENTICATE":
                writer.write(f"{tag} BAD not in this way\r\n* BYE\r\n".encode())
                break
            writer.write(f"{tag} OK\r\n".encode())
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        waits = Waits()
        around = Surroundings(ConnectBudget(), timeout=60, sleep=waits.sleep)
        mailbox = Mailbox(
            1, 3, ImapServer("127.0.0.1", server.sockets[0].getsockname()[1], "none"), ImapLogin("u", "s3cret")
        )
        listener = LogsIn(mailbox, lambda _user, _health: None, around, 0.0)
        await listener.start()
        await until(lambda: waits.asked)
        assert listener.health.reason == "ServerRefused"
        waits.end()
        await until(lambda: listener.health.state is State.LISTENING)
        await listener.stop()
    assert names[:2] == ["AUTHENTICATE", "LOGIN"]


class LogsIn(RepeatingListener):
    """Is content when it has been let in."""

    async def _attempt(self) -> float:
        async with self._logged_in():
            self._listening("In", "logged in")
        return 3600.0
