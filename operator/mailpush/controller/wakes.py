"""Which MailPushConfig's shard loop is to look again at once."""

import asyncio

from mailpush.controller.owner import ConfigKey


class Wakes:
    """An event for each MailPushConfig that has a shard loop.

    Watches of pods, Leases and users wake the loops; the loops read what those watches hold. Neither has to know the
    other for that. A MailPushConfig without a loop, as all are while another process leads, is not woken.
    """

    def __init__(self) -> None:
        self._events: dict[ConfigKey, asyncio.Event] = {}

    def wake(self, key: ConfigKey) -> None:
        """Something that the loop looks at has changed."""
        if (event := self._events.get(key)) is not None:
            event.set()

    def open(self, key: ConfigKey) -> asyncio.Event:
        """The event of a loop that begins."""
        return self._events.setdefault(key, asyncio.Event())

    def close(self, key: ConfigKey) -> None:
        """The loop has ended."""
        self._events.pop(key, None)
