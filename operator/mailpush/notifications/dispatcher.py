"""From a new mail to its targets: id, claim, send, done (protocol P12 and P13), each try under the pod's right (P5)."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Final, NamedTuple

import structlog

from mailpush.notifications.claims.owned import OwnedClaims
from mailpush.notifications.claims.store import (
    AlreadyDone,
    Claim,
    Claims,
    ClaimsUnavailable,
    Held,
    boottime,
    new_token,
)
from mailpush.notifications.metrics import NotificationMetrics
from mailpush.notifications.notification import NewMail, body, likeness_id, notification_id
from mailpush.notifications.open_deliveries import AlreadyTold, Delivery, SlotSet, TryResult
from mailpush.notifications.target_health import TargetHealth
from mailpush.notifications.target_queue import TargetQueue
from mailpush.notifications.transports.base import Accepted, Outcome, Transport, TryLater
from mailpush.notifications.transports.webhook import WebhookTarget, WebhookTransport
from mailpush.sharding.slots import slot_of

_log = structlog.get_logger(__name__)

RECORD_SECONDS: Final = 10.0  # a claim lasts the target's timeout and this, for the record after it
HELD_SECONDS: Final = 1.0
RECORD_TRIES: Final = 3
WITHDRAW_SECONDS: Final = 2.0
RECENT: Final = 20_000  # ids that this process has sent, known without asking the store


@dataclass(frozen=True, slots=True)
class Undelivered:
    """A mail that some target has not taken yet. The user's new owner sends it.

    `clients`: all clients of the dispatch; a target that has the mail already is recognised by the notification's id.
    `age`: seconds.
    """

    mail: NewMail
    clients: tuple[str, ...]
    age: float


class Dispatched(NamedTuple):
    """How many targets have queued a mail, and how many had no room."""

    taken: int
    refused: int


@dataclass(slots=True)
class _Target:
    config: WebhookTarget
    transport: Transport
    queue: TargetQueue


class Dispatcher:
    """Notifies each target that wants one of the user's clients of each new mail.

    `holder`: this pod's name, for people who look into Redis. `may_send`: whether this pod has the right to send now
    (P5). The dispatcher checks it before the claim and again before the send. Deliveries wait while it is False.
    """

    def __init__(
        self,
        config_uid: str,
        claims: Claims | OwnedClaims,
        targets: Sequence[WebhookTarget],
        may_send: Callable[[], bool],
        metrics: NotificationMetrics,
        *,
        holder: str = "",
        transport: Callable[[WebhookTarget], Transport] = WebhookTransport,
        random: Random | None = None,
    ) -> None:
        self._config_uid = config_uid
        self._claims = claims if isinstance(claims, OwnedClaims) else OwnedClaims(claims)
        self._may_send = may_send
        self._metrics = metrics
        self._holder = holder
        self._transport = transport
        self._random = random or Random()  # noqa: S311 - spreads retries, keeps no secret
        self._closed = False
        self._recent: OrderedDict[str, None] = OrderedDict()
        self._targets = {config.name: self._open_target(config) for config in targets}

    def dispatch(self, mail: NewMail, clients: Sequence[str], *, age: float = 0.0) -> Dispatched:
        """Queues the mail for each target that matches one of `clients`. Never waits.

        If a queue has no room or this dispatcher is closed, dispatch the mail again later, here or elsewhere. No target
        is notified twice for that.

        `age`: seconds since it arrived, for one that another pod has handed over.
        """
        taken = refused = 0
        if self._closed:
            return Dispatched(0, 1)
        arrived, slot = boottime() - age, slot_of(mail.context_id, mail.user_id)
        for name, target in self._targets.items():
            matching = tuple(client for client in clients if target.config.matches(client))
            if not matching:
                continue
            id = notification_id(self._config_uid, mail, name)
            if id in self._recent or (mail.found and self._is_open_without_uid(target, mail, slot)):
                self._metrics.notifications.labels(name, "repeated").inc()
                continue
            if target.queue.offer(Delivery(id, mail, slot, matching, tuple(clients), arrived)):
                taken += 1
            else:
                refused += 1
        return Dispatched(taken, refused)

    def _is_open_without_uid(self, target: _Target, mail: NewMail, slot: int) -> bool:
        like = likeness_id(self._config_uid, mail, target.config.name)
        return any(
            not each.mail.uid and likeness_id(self._config_uid, each.mail, target.config.name) == like
            for each in target.queue.open.of([slot])
        )

    def open_users(self) -> Set[tuple[int, int]]:
        """Context and user ids with open deliveries, over all targets."""
        return {
            (delivery.mail.context_id, delivery.mail.user_id)
            for target in self._targets.values()
            for delivery in target.queue.open
        }

    def is_open(self, mail: NewMail) -> bool:
        """Whether a delivery of the mail is open, to any target."""
        return any(
            target.queue.open.has(notification_id(self._config_uid, mail, name))
            for name, target in self._targets.items()
        )

    def pending(self) -> int:
        """The number of open deliveries, over all targets."""
        return sum(len(target.queue) for target in self._targets.values())

    async def settle(self, slots: SlotSet, grace: float) -> list[Undelivered]:
        """Before slots are released (P13): finish what can be finished in `grace` seconds, and begin nothing more.

        Returns what is left, each mail once. A request that is on its way then goes on under its claim, since the
        target may have it already: until it has ended, the next owner finds the mail's claim held.
        """
        queues = [target.queue for target in self._targets.values()]
        await asyncio.gather(*(queue.finish(slots, grace) for queue in queues))
        # At once, from all queues and with nothing awaited after it: until the caller has it back a mail is open here,
        # or else the journal would take it for sent.
        return _undelivered([queue.release(slots) for queue in queues])

    async def stop(self, grace: float) -> list[Undelivered]:
        """As `settle` for all slots, and nothing is taken any more. May be called again."""
        self._closed = True
        return await _stop([target.queue for target in self._targets.values()], grace)

    async def close(self) -> None:
        """The end, after the requests on their way: they last at most their target's timeout and their record.

        Cancelled, it leaves them to end with the process; their claims expire. The store of claims stays open; it is
        the caller's.
        """
        await self.stop(0.0)
        await asyncio.gather(*(_close(target) for target in self._targets.values()))

    async def replace_targets(self, targets: Sequence[WebhookTarget], give_back: Callable[[Undelivered], None]) -> None:
        """Applies new targets in one step. Waiting deliveries to a target that stays follow its new settings.

        `give_back` gets each mail that waited for a target that is gone: to be dispatched to those that there are now,
        which may be the same one under another name.
        """
        old = self._targets
        self._targets = {config.name: self._changed(old.get(config.name), config) for config in targets}
        gone = [target for name, target in old.items() if name not in self._targets]
        kept = [old[name].transport for name in old if name in self._targets]
        used = {id(target.transport) for target in self._targets.values()}
        for rest in await _stop([target.queue for target in gone], 0.0):
            give_back(rest)
        unused = [each for each in kept if id(each) not in used]
        await asyncio.gather(*(_close(target) for target in gone), *(transport.close() for transport in unused))

    def health(self) -> dict[str, TargetHealth]:
        """The health of each target by its name."""
        return {name: target.queue.health() for name, target in self._targets.items()}

    def _open_target(self, config: WebhookTarget) -> _Target:
        queue = TargetQueue(
            config.name,
            partial(self._attempt, config.name),
            self._metrics,
            bound=config.queue_bound,
            ttl=config.ttl,
            workers=config.workers,
            random=self._random,
        )
        return _Target(config, self._transport(config), queue)

    def _changed(self, old: _Target | None, config: WebhookTarget) -> _Target:
        if old is None:
            return self._open_target(config)
        if old.config == config:
            return old
        old.queue.bound, old.queue.ttl, old.queue.workers = config.queue_bound, config.ttl, config.workers
        if (old.config.url, old.config.secret, old.config.ca_pem) != (config.url, config.secret, config.ca_pem):
            old.queue.begin_anew()
        return _Target(config, self._transport(config), old.queue)

    async def _attempt(self, name: str, delivery: Delivery) -> TryResult:
        """One try: claim, send, done. Leaves no claim open, unless the store does not answer; then it expires."""
        target = self._targets.get(name)
        if target is None or not self._may_send():
            return TryLater("not_permitted", of_target=False)
        try:
            ttl = target.config.timeout + RECORD_SECONDS
            if delivery.mail.found and (told := await self._told_without_uid(name, delivery, ttl)) is not None:
                return told
            again = delivery.mail.again
            claim = await self._claims.claim(delivery.slot, delivery.id, self._holder, ttl, again=again)
        except ClaimsUnavailable:
            return TryLater("claims_unavailable", of_target=False)
        if isinstance(claim, AlreadyDone):
            self._remember(delivery.id)
            return AlreadyTold()
        if isinstance(claim, Held):
            # Retried before the claim expires: it may be withdrawn, and most often it is done in a moment.
            return TryLater("held", after=min(claim.expires_in, HELD_SECONDS), of_target=False)
        return await self._send(target, delivery, claim)

    async def _told_without_uid(self, name: str, delivery: Delivery, ttl: float) -> TryResult | None:
        """Whether a mail that a look has found was told by a callback that had no UID, and so under another id.

        Raises ClaimsUnavailable.
        """
        like = likeness_id(self._config_uid, delivery.mail, name)
        claim = await self._claims.claim(delivery.slot, like, self._holder, ttl, again=True)
        if isinstance(claim, AlreadyDone):
            return AlreadyTold()
        if isinstance(claim, Held):
            return TryLater("held", after=min(claim.expires_in, HELD_SECONDS), of_target=False)
        await self._claims.withdraw(delivery.slot, claim)
        return None

    async def _send(self, target: _Target, delivery: Delivery, claim: Claim) -> TryResult:
        outcome: Outcome = TryLater("cancelled", of_target=False)
        try:
            # Asking the store may have taken long, or this process was paused: then the claim is too short by now.
            if delivery.released or not self._may_send():
                outcome = TryLater("not_permitted", of_target=False)
            elif claim.left() <= target.config.timeout + RECORD_SECONDS / 2:
                outcome = TryLater("claim_too_short", of_target=False)
            else:
                message = body(delivery.mail, delivery.clients, target.config.content)
                outcome = await target.transport.send(delivery.id, message)
        finally:
            if isinstance(outcome, TryLater):
                await self._withdraw(delivery.slot, claim)
        if not isinstance(outcome, TryLater):
            await self._recorded(target.config.name, delivery.slot, claim)
            if not delivery.mail.uid:
                like = likeness_id(self._config_uid, delivery.mail, target.config.name)
                own = Claim(like, new_token(self._holder), 0.0)
                await self._recorded(target.config.name, delivery.slot, own, counted=False)
        if isinstance(outcome, Accepted) and delivery.mail.found:
            self._metrics.missed.labels(target.config.name, delivery.mail.found).inc()
        return outcome

    async def _withdraw(self, slot: int, claim: Claim) -> None:
        try:
            async with asyncio.timeout(WITHDRAW_SECONDS):
                await self._claims.withdraw(slot, claim)
        except (ClaimsUnavailable, TimeoutError):
            pass  # it expires by itself

    async def _recorded(self, name: str, slot: int, claim: Claim, *, counted: bool = True) -> None:
        """Records the target's answer, even if the try is cancelled meanwhile."""
        record = asyncio.create_task(self._record(name, slot, claim, counted=counted))
        try:
            await asyncio.shield(record)
        except asyncio.CancelledError:
            await asyncio.wait({record}, timeout=RECORD_SECONDS / 2)

    async def _record(self, name: str, slot: int, claim: Claim, *, counted: bool) -> None:
        """Records an acceptance or a refusal. Both are final, so no pod sends the notification again."""
        self._remember(claim.id)
        for _ in range(RECORD_TRIES):
            try:
                if not await self._claims.done(slot, claim) and counted:
                    self._metrics.claims.labels(name, "late").inc()
                return
            except ClaimsUnavailable:
                self._claims.keep(slot, claim)  # at once: the slot is not to be given away before it is written
                await asyncio.sleep(0.2)
        self._metrics.claims.labels(name, "unrecorded").inc()

    def _remember(self, id: str) -> None:
        self._recent[id] = None
        if len(self._recent) > RECENT:
            self._recent.popitem(last=False)


async def _close(target: _Target) -> None:
    await target.queue.under_way_ended()
    await target.transport.close()


async def _stop(queues: Sequence[TargetQueue], grace: float) -> list[Undelivered]:
    for queue in queues:
        queue.refuse()
    await asyncio.gather(*(queue.finish(None, grace) for queue in queues))
    await asyncio.gather(*(queue.end() for queue in queues))
    return _undelivered([queue.release(None) for queue in queues])  # as in `settle`


def _undelivered(rests: Sequence[list[Delivery]]) -> list[Undelivered]:
    now = boottime()
    by_mail = {delivery.mail.id: delivery for rest in rests for delivery in rest}
    return [
        Undelivered(delivery.mail, delivery.registered, max(0.0, now - delivery.arrived))
        for delivery in by_mail.values()
    ]
