"""The steady stream of mails, each with the fault during which it was sent."""

import itertools
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dev.chaos.tally import Sent, subjects
from dev.demo.mail import deliver, received
from dev.demo.users import DemoUser
from dev.processes.closing import Closing


class Stream(Closing):
    """Delivers `rate` mails a second to `lmtp`, to the users in turn, until it is closed.

    A delivery that takes long holds no other up. `fault` is the label of the mails that are sent from now on.
    """

    def __init__(self, lmtp: tuple[str, int], receiver: str, users: Sequence[DemoUser], rate: float) -> None:
        self.fault = ""
        self._lmtp = lmtp
        self._receiver = receiver
        self._users = users
        self._rate = rate
        self._mails: list[Sent] = []
        self.notifications: dict[str, list[dict[str, Any]]] = {}
        """By subject, as the receiver has them."""
        self._ended = threading.Event()
        self._deliveries = ThreadPoolExecutor(max_workers=200, thread_name_prefix="lmtp")
        self._clock = threading.Thread(target=self._run, name="stream")
        self._clock.start()

    def mails(self, fault: str | None = None) -> list[Sent]:
        """The mails of one fault, or all."""
        return [one for one in list(self._mails) if fault is None or one.fault == fault]

    def collect(self) -> None:
        """Sorts the receiver's notifications to the mails.

        Raises:
            OSError: the receiver does not answer.
        """
        self.notifications = received(self._receiver)
        ids = subjects(self.notifications)
        for one in list(self._mails):
            one.ids = ids.get(one.subject, [])

    def wait(self, fault: str | None, seconds: float) -> None:
        """Until each of the fault's mails has been answered and notified, at most so many seconds."""
        end = time.monotonic() + seconds
        while True:
            self.collect()
            mails = self.mails(fault)
            if all(one.ids or one.refusal for one in mails) or time.monotonic() > end:
                return
            time.sleep(1)

    def stop(self) -> None:
        """Sends nothing more, and returns once Dovecot has answered for all; may be called twice."""
        self._ended.set()
        self._clock.join()
        self._deliveries.shutdown(wait=True)

    def close(self) -> None:
        self.stop()

    def _run(self) -> None:
        start = time.monotonic()
        for number, user in enumerate(itertools.cycle(self._users)):
            if self._ended.wait(max(0.0, start + number / self._rate - time.monotonic())):
                return
            mail = Sent(self.fault, user, f"chaos {number + 1}", time.time())
            self._mails.append(mail)
            self._deliveries.submit(self._deliver, mail)

    def _deliver(self, mail: Sent) -> None:
        mail.began, start = time.time(), time.monotonic()
        try:
            deliver(self._lmtp, mail.user, mail.subject)
        except OSError as error:
            mail.refusal = f"{type(error).__name__}: {error}"
        mail.waited = time.monotonic() - start
