"""Brings each new mail to the pod that owns its user.

Dovecot has one callback URL for all users, so a callback reaches any pod. That pod has answered for the mail: it keeps
it until its own listeners or the owner's have taken it, follows the user when it moves, and gives up after 15 minutes.
"""

import asyncio
import time
from typing import Final

import structlog

from mailpush.listener.mails import metrics
from mailpush.listener.mails.inbox import Inbox, Item
from mailpush.listener.mails.lanes import RETRY, Lane
from mailpush.listener.mails.offer import MailTaker, SlotOwners, TakeResult
from mailpush.listener.mails.open_entries import OpenEntries
from mailpush.listener.mails.peers import PeerAnswer, Peers, PeerVerdict
from mailpush.notifications.notification import NewMail
from mailpush.sharding.slots import slot_of
from mailpush.work.clock import Clock

log = structlog.get_logger(__name__)

IN_ONE_GO: Final = 50
"""Mails routed before the loop may do something else: it has callbacks to answer."""
OVER_SECONDS: Final = 1.0
"""How long a pod that hands over waits for the answer, half of what it allows (`peers.ANSWER_SECONDS`)."""

_OUTCOMES: Final = {
    TakeResult.TAKEN: "taken",
    TakeResult.DENIED: "denied",
    TakeResult.UNKNOWN: "unknown_user",
}


class Router:
    """One per process: works off the inbox.

    Args:
        me: this pod's name.
        open_entries: swept while the router runs.
        own_users: takes the mails of this pod's own users.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        *,
        me: str,
        inbox: Inbox,
        open_entries: OpenEntries,
        own_users: MailTaker,
        owners: SlotOwners,
        peers: Peers,
        clock: Clock = time.monotonic,
    ) -> None:
        self._me = me
        self._inbox = inbox
        self._open_entries = open_entries
        self._own_users = own_users
        self._owners = owners
        self._peers = peers
        self._clock = clock
        self._lanes: dict[tuple[str, bool], Lane] = {}
        self._sends: set[asyncio.Task[None]] = set()

    async def take_over(self, mail: NewMail) -> TakeResult:
        """Offers a mail that another pod hands over to this pod's listeners only.

        The other pod forgets it once this one has taken it, so it is in the journal by then. One that the journal
        cannot take is sent all the same, but taken only once nothing of it is open; until then it is BUSY, and the
        other pod offers it again.
        """
        known = self._open_entries.of(mail)
        entry = known or self._inbox.record(mail)
        result = self._own_users.take(mail)
        if result is not TakeResult.TAKEN:
            if entry is not None and known is None:
                self._inbox.forget(entry)
            return result
        if entry is not None:
            self._inbox.keep(entry)
            if self._inbox.holds(entry):
                return result
        if not await self._open_entries.over(mail, OVER_SECONDS):
            return TakeResult.BUSY
        if entry is None:
            self._open_entries.ended(mail)
        return result

    async def run(self) -> None:
        """Routes until cancelled; what is then left stays in the journal."""
        sweeps = asyncio.create_task(self._open_entries.run())
        try:
            while True:
                self._route_due()
                await self._inbox.until_due()
        finally:
            tasks = [sweeps, *self._sends]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            self._open_entries.sweep()

    def _retry(self, item: Item, *, owned: int | None = None) -> None:
        item.tries += 1
        self._inbox.later(item, RETRY.after(item.tries), owned=owned)

    def _route_due(self) -> None:
        for _ in range(IN_ONE_GO):
            if (item := self._inbox.next_due()) is None:
                return
            self._route(item)

    def _route(self, item: Item) -> None:
        mail = item.mail
        if self._inbox.expired(item):
            log.warning("handover_expired", context=mail.context_id, user=mail.user_id)
            self._inbox.finish(item, "expired")
            return
        result = self._own_users.take(mail)
        if result in _OUTCOMES:
            self._inbox.finish(item, _OUTCOMES[result])
            return
        slot = slot_of(mail.context_id, mail.user_id)
        owner = item.hint or self._owners.owner_of(slot)
        item.hint = None
        if owner is None or owner == self._me or result is TakeResult.BUSY:
            # Nobody has it, or we are to have it, or have it and cannot take it yet.
            self._retry(item, owned=slot if result is TakeResult.BUSY else None)
            return
        self._send_or_wait(item, owner)

    def _send_or_wait(self, item: Item, owner: str) -> None:
        lane = self._lanes.setdefault((owner, item.busy), Lane(owner, item.busy))
        rest = lane.rest(self._clock())
        if rest > 0:
            self._inbox.later(item, rest)  # the next try looks the owner up anew
        elif not lane.has_room():
            lane.waiting.append(item)
        else:
            lane.sending += 1
            task = asyncio.create_task(self._send(item, lane))
            self._sends.add(task)
            task.add_done_callback(self._sends.discard)

    async def _send(self, item: Item, lane: Lane) -> None:
        try:
            self._answered(item, lane, await self._peers.post(lane.pod, item.mail))
        finally:
            lane.sending -= 1
            for following in lane.next_ones():
                self._inbox.later(following, 0.0)
            if lane.idle:
                self._lanes.pop((lane.pod, lane.busy), None)

    def _answered(self, item: Item, lane: Lane, answer: PeerAnswer) -> None:
        match answer.verdict:
            case PeerVerdict.UNREACHABLE | PeerVerdict.REFUSED:
                metrics.HANDOVERS.labels(answer.verdict.value).inc()
                lane.failed(self._clock(), answer.why or answer.verdict.value)
                self._retry(item)
                return
            case PeerVerdict.BUSY if lane.busy:
                metrics.HANDOVERS.labels("refused").inc()
                lane.failed(self._clock(), "no room for these users")
                self._retry(item)
                return
        lane.worked()
        match answer.verdict:
            case PeerVerdict.TAKEN:
                self._inbox.finish(item, "handed_over")
            case PeerVerdict.UNKNOWN_USER:
                self._inbox.finish(item, "unknown_user")
            case PeerVerdict.NOT_MINE:
                item.busy = False
                item.hint = answer.owner if answer.owner != self._me else None
                self._retry(item)
            case PeerVerdict.BUSY:
                metrics.HANDOVERS.labels("refused").inc()
                item.busy = True
                self._retry(item)
