"""What is on its way to one pod, and when the next is sent there: a pod that does not take mails is left to rest."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import structlog

from mailpush.listener.mails.inbox import Item
from mailpush.work.pace import Backoff

RETRY: Final = Backoff(0.1, 5.0)
SENDS_TO_ONE: Final = 4
"""Mails on their way to one pod at the same time."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Lane:
    """Mails for `pod`. After a failure it rests, longer each time; then one mail at a time tries whether it is over.

    Mails that the pod had no room for have a lane of their own: their target hangs, the others' does not.
    """

    pod: str
    busy: bool
    sending: int = 0
    failures: int = 0
    rest_until: float = 0.0
    waiting: deque[Item] = field(default_factory=deque)

    def rest(self, now: float) -> float:
        """Seconds until something may be sent; 0 or less: now."""
        return self.rest_until - now

    def has_room(self) -> bool:
        return self.sending < (1 if self.failures else SENDS_TO_ONE)

    def failed(self, now: float, why: str) -> None:
        """A mail has not got through. Of those that were on their way together, one counts."""
        if self.rest_until > now:
            return
        self.failures += 1
        self.rest_until = now + RETRY.after(self.failures)
        if self.failures == 1:
            log.warning("handover_rests", pod=self.pod, why=why)

    def worked(self) -> None:
        if self.failures:
            log.info("handover_goes_on", pod=self.pod, failures=self.failures)
        self.failures, self.rest_until = 0, 0.0

    def next_ones(self) -> Iterator[Item]:
        """Those whose turn it is after a send: all where the lane rests, so that each looks for its owner."""
        for _ in range(len(self.waiting) if self.failures else min(1, len(self.waiting))):
            yield self.waiting.popleft()

    @property
    def idle(self) -> bool:
        """Whether it need not be remembered."""
        return not (self.sending or self.waiting or self.failures)
