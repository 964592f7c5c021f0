"""What all listeners share."""

import asyncio

from structlog.testing import capture_logs

from mailpush.imap.client import ImapLogin, ImapServer
from mailpush.listener.mechanisms.base import Mailbox, State
from mailpush.listener.mechanisms.budget import ConnectBudget
from mailpush.listener.mechanisms.repeating import RepeatingListener, Surroundings

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
