"""A router with its inbox and its journal, and the world around it."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from mailpush.listener.mails.inbox import Inbox
from mailpush.listener.mails.journal import Journal
from mailpush.listener.mails.offer import TakeResult
from mailpush.listener.mails.open_entries import OpenEntries
from mailpush.listener.mails.peers import PeerAnswer, Peers, PeerVerdict
from mailpush.listener.mails.router import Router
from mailpush.notifications.notification import NewMail


def mail(uid: int = 1, user: int = 3) -> NewMail:
    return NewMail(1, user, "INBOX", uid=uid, uidvalidity=7)


@dataclass
class World:
    """Who has the user, as this pod and as the others know it. `answers` makes a pod say something else."""

    folder: Path
    owner: str | None = "pod-1"
    local: TakeResult = TakeResult.NOT_MINE
    answers: dict[str, PeerAnswer] = field(default_factory=dict)
    hang: set[str] = field(default_factory=set)
    busy: set[int] = field(default_factory=set)
    open: set[tuple[int, int]] = field(default_factory=set)
    posts: list[tuple[str, int]] = field(default_factory=list)
    taken: list[NewMail] = field(default_factory=list)
    unix: float = 1000.0
    passed: float = 0.0
    under_way: int = 0
    most_under_way: int = 0

    async def post(self, pod: str, mail: NewMail) -> PeerAnswer:
        self.posts.append((pod, mail.uid))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if pod in self.hang:
                await asyncio.Event().wait()
            await asyncio.sleep(0)
            if mail.user_id in self.busy:
                return PeerAnswer(PeerVerdict.BUSY)
            return self.answers.get(pod, PeerAnswer(PeerVerdict.TAKEN))
        finally:
            self.under_way -= 1

    def take(self, mail: NewMail) -> TakeResult:
        if self.local is TakeResult.TAKEN:
            self.taken.append(mail)
        return self.local

    def owner_of(self, slot: int) -> str | None:
        return self.owner

    def open_users(self) -> set[tuple[int, int]]:
        return self.open

    def is_open(self, mail: NewMail) -> bool:
        return (mail.context_id, mail.user_id) in self.open

    def clock(self) -> float:
        return time.monotonic() + self.passed

    def router(self, *, capacity: int = 1000, time_to_live: float = 900) -> "OpenRouter":
        journal = Journal(self.folder, now=lambda: self.unix)
        open_entries = OpenEntries(journal, self)
        inbox = Inbox(
            journal,
            open_entries,
            capacity=capacity,
            time_to_live=time_to_live,
            clock=self.clock,
            now=lambda: self.unix,
        )
        return OpenRouter(inbox, open_entries, self)


class OpenRouter(Router):
    """A router with its inbox at hand."""

    def __init__(self, inbox: Inbox, open_entries: OpenEntries, world: World) -> None:
        self.inbox = inbox
        self.journal = inbox._journal
        super().__init__(
            me="pod-0",
            inbox=inbox,
            open_entries=open_entries,
            own_users=world,
            owners=world,
            peers=cast(Peers, world),
            clock=world.clock,
        )


Run = Callable[[OpenRouter], OpenRouter]


async def done(router: OpenRouter) -> None:
    assert await router.inbox.flush(30) == 0
