"""Which of the mechanisms that may run for a user is tried, and what runs by it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from mailpush.credentials.storage import Entry
from mailpush.decision import Decision
from mailpush.decision.places import Place
from mailpush.listener.mechanisms.base import Listener, Mailbox, Mechanism

# With these a mechanism says that it cannot work at this server at all, so the next in the order gets its turn.
CANNOT_START: Final = frozenset({"NoMetadata", "NoIdle", "RegistrationRefused", "LoginUnusable"})


@dataclass(slots=True)
class Attached:
    """A listener and what it was made for."""

    mechanism: Mechanism
    mailbox: Mailbox
    place: Place
    listener: Listener
    source: str | None
    """Of the credentials."""
    entry: Entry | None
    """With which it logs in, where they are stored."""
    proven: bool = False
    """Whether it has listened: its password is right."""

    def is_at(self, mailbox: Mailbox) -> bool:
        """Whether it is reached in the same way, however it is registered."""
        return replace(self.mailbox, mark="") == mailbox


class Choice:
    """Passes over a mechanism that has said that it cannot start, until something changes."""

    def __init__(self) -> None:
        self._passed_over: set[str] = set()

    def anew(self) -> None:
        """Something has changed: each has its turn again."""
        self._passed_over.clear()

    def choose(
        self, decision: Decision, mechanisms: Mapping[str, Mechanism], running: Attached | None, reason: str | None
    ) -> Mechanism:
        """The one to run now. `reason`: what has become of the user so far, by the running one."""
        if running is not None and reason in CANNOT_START:
            self._passed_over.add(running.mechanism.name)
            if self._passed_over.issuperset(decision.mechanisms):
                self._passed_over.clear()  # none of them starts: stay with this one, which tries again by itself
                if running.mechanism.name in decision.mechanisms:
                    return running.mechanism
        left = [name for name in decision.mechanisms if name not in self._passed_over]
        return mechanisms[(left or decision.mechanisms)[0]]
