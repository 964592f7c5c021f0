"""Counts what became of a fault's mails."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from dev.demo.users import DemoUser

MECHANISMS = {"main": "dovecot", "idle": "imapidle"}
"""The mechanism of each of the demo's installations."""


@dataclass
class Sent:
    """One mail of the stream, and the ids of its notifications in the order of arrival."""

    fault: str
    user: DemoUser
    subject: str
    began: float
    """Unix seconds when its LMTP session began."""
    waited: float | None = None
    """Seconds until Dovecot had answered; None while the session runs."""
    refusal: str | None = None
    """Why Dovecot did not take it. An MTA would try again, so such a mail is not lost."""
    ids: list[str] = field(default_factory=list)

    @property
    def mechanism(self) -> str:
        return MECHANISMS[self.user.config]

    @property
    def taken(self) -> bool:
        return self.waited is not None and self.refusal is None

    @property
    def lost(self) -> bool:
        """Whether Dovecot took it and nobody was notified."""
        return self.taken and not self.ids


@dataclass(frozen=True)
class Tally:
    """The mails of one fault and one mechanism."""

    sent: int
    """Mails that Dovecot took."""
    refused: int
    """Mails that Dovecot did not take, or whose LMTP session took longer than 30 s."""
    lost: int
    """Mails without any notification."""
    doubled: int
    """Mails with notifications of more than one id: a receiver cannot know that they are the same."""
    repeated: int
    """Notifications whose id had arrived before: a receiver drops them."""
    longest_lmtp_ms: int
    """The longest LMTP session, refused mails included."""

    @classmethod
    def of(cls, mails: Iterable[Sent]) -> "Tally":
        mails = list(mails)
        return cls(
            sent=sum(one.taken for one in mails),
            refused=sum(one.refusal is not None for one in mails),
            lost=sum(one.lost for one in mails),
            doubled=sum(len(set(one.ids)) > 1 for one in mails),
            repeated=sum(len(one.ids) - len(set(one.ids)) for one in mails),
            longest_lmtp_ms=round(1000 * max((one.waited or 0.0 for one in mails), default=0.0)),
        )


class Moves:
    """How often a user's listener changed its pod, by mechanism."""

    def __init__(self) -> None:
        self._pods: dict[str, str | None] = {}
        self.counts = dict.fromkeys(MECHANISMS.values(), 0)

    def observe(self, pods: dict[str, tuple[str, str | None]]) -> None:
        """Takes mechanism and pod of each user by name. A user who has no pod for a while keeps the last one."""
        for user, (mechanism, pod) in pods.items():
            before = self._pods.get(user)
            if before and pod and pod != before:
                self.counts[mechanism] += 1
            self._pods[user] = pod or before


def subjects(received: dict[str, list[dict[str, Any]]]) -> dict[str, list[str]]:
    """The receiver's ids by subject."""
    return {subject: [str(entry["id"]) for entry in entries] for subject, entries in received.items()}
