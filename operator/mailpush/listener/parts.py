"""From settings to the parts that run by them: mechanisms, webhook targets, the store of claims.

What a change of settings does not concern goes on as it is.
"""

from collections.abc import Mapping
from typing import cast

import structlog

from mailpush.listener.budget import ConnectBudget
from mailpush.listener.mechanisms.base import Mechanism
from mailpush.listener.mechanisms.dovecot import DovecotMechanism
from mailpush.listener.mechanisms.imapidle import ImapIdleMechanism
from mailpush.listener.mechanisms.repeating import Surroundings
from mailpush.notifications.claims import Claim, ClaimResult, Claims, MemoryClaims
from mailpush.notifications.notification import Content
from mailpush.notifications.redis_claims import RedisClaims
from mailpush.notifications.transports.webhook import WebhookTarget, decode_secret
from mailpush.properties.settings import ImapIdleSettings, Settings

log = structlog.get_logger(__name__)


class Mechanisms:
    """Every mechanism there is. One whose settings have not changed stays the same object, and so do its listeners."""

    def __init__(self) -> None:
        self._around = Surroundings(ConnectBudget())
        self._dovecot = DovecotMechanism(self._around)
        self._imapidle: ImapIdleMechanism | None = None
        self._imapidle_settings: ImapIdleSettings | None = None

    def by(self, settings: Settings) -> Mapping[str, Mechanism]:
        """By name, those that are switched off too: the decision says which are used."""
        if self._imapidle is None or self._imapidle_settings != settings.imapidle:
            self._imapidle = ImapIdleMechanism(self._around, settings.imapidle)
            self._imapidle_settings = settings.imapidle
        mechanisms: tuple[Mechanism, ...] = (self._dovecot, self._imapidle)
        return {mechanism.name: mechanism for mechanism in mechanisms}


def webhook_targets(settings: Settings) -> list[WebhookTarget]:
    """The targets of the settings. One that cannot be used is left out, with a log line that says why."""
    targets = []
    for webhook in settings.webhooks:
        try:
            target = WebhookTarget(
                name=webhook.name,
                url=webhook.url,
                secret=None if webhook.secret is None else decode_secret(webhook.secret),
                matches=webhook.clients.match,
                timeout=webhook.timeout_ms / 1000,
                content=cast("Content", settings.notification_content),
            )
        except ValueError as error:
            log.warning("webhook_unusable", webhook=webhook.name, why=str(error))
        else:
            targets.append(target)
    return targets


class CurrentClaims:
    """The store of claims behind one name, so that a changed password of Redis needs no restart."""

    def __init__(self, settings: Settings, config_uid: str) -> None:
        self._config_uid = config_uid
        self._settings = settings.redis
        self._store = _claims_of(settings, config_uid)

    async def use(self, settings: Settings) -> None:
        """Claims of before stay good: they stand in the same Redis (whose address takes a restart to change)."""
        if settings.redis != self._settings:
            old, self._store = self._store, _claims_of(settings, self._config_uid)
            self._settings = settings.redis
            await old.close()

    async def claim(self, id: str, holder: str, ttl: float) -> ClaimResult:
        return await self._store.claim(id, holder, ttl)

    async def done(self, claim: Claim) -> bool:
        return await self._store.done(claim)

    async def withdraw(self, claim: Claim) -> None:
        await self._store.withdraw(claim)

    async def close(self) -> None:
        await self._store.close()


def _claims_of(settings: Settings, config_uid: str) -> Claims:
    """Redis where it is configured, else this process's own memory."""
    if settings.redis is None:
        log.warning("claims_in_memory", meaning="a restart may tell a mail twice; configure redis to avoid it")
        return MemoryClaims()
    return RedisClaims.from_url(settings.redis.url, config_uid, password=settings.redis.password)
