"""The store of claims that the settings name. It is replaced when they change."""

import asyncio
from typing import Final

import structlog
from prometheus_client import Gauge

from mailpush.notifications.claims.absent import INVALID, AbsentClaims
from mailpush.notifications.claims.redis import RedisClaims
from mailpush.notifications.claims.store import Claim, ClaimResult, Claims, ClaimsUnavailable, MemoryClaims
from mailpush.properties.settings import Settings
from mailpush.store.redis import client_of

NO_EVICTION: Final = "noeviction"
MAY_EVICT: Final = Gauge(
    "mailpush_redis_may_evict", "1 while the maxmemory-policy of Redis is known and not noeviction."
)
ASK_SECONDS: Final = 15.0
"""How often a store is asked whether it forgets claims by itself: its settings can change while it runs."""

TRY_SECONDS: Final = 10.0

log = structlog.get_logger(__name__)


class CurrentClaims:
    """The store of claims behind one name, so that a changed password of Redis needs no restart."""

    def __init__(self, settings: Settings, config_uid: str) -> None:
        self._config_uid = config_uid
        self._settings = settings.redis
        self._store = _claims_of(settings, config_uid)
        self.eviction = ""
        """The `maxmemory-policy` of Redis; empty before it has said so, and where it does not."""
        self.trouble = ""
        """What keeps Redis from taking claims, in a word; empty where nothing does."""
        self._failed_before = False

    async def use(self, settings: Settings) -> None:
        """Replaces the store. Earlier claims stay valid: only a restart changes the address of Redis."""
        if settings.redis != self._settings:
            old, self._store = self._store, _claims_of(settings, self._config_uid)
            self._settings = settings.redis
            await old.close()

    async def watch(self) -> None:
        """Tries the store, and asks by which policy it evicts, again and again until cancelled."""
        while True:
            await self.ask_for_eviction()
            for _ in range(int(ASK_SECONDS / TRY_SECONDS)):
                await self.try_store()
                await asyncio.sleep(TRY_SECONDS)

    async def try_store(self) -> None:
        """As `trouble` has it afterwards: told at the second failure, as a restart of Redis is over by then."""
        if isinstance(self._store, AbsentClaims):
            self.trouble = INVALID
            return
        found = await self._store.trouble() if isinstance(self._store, RedisClaims) else ""
        self.trouble = found if found and self._failed_before else ""
        self._failed_before = bool(found)

    async def ask_for_eviction(self) -> None:
        """As `eviction` has it afterwards; a store that does not answer changes nothing."""
        if not isinstance(self._store, RedisClaims):
            return
        try:
            policy = await self._store.eviction_policy() or ""
        except ClaimsUnavailable:  # whoever claims says so
            return
        if policy not in {self.eviction, "", NO_EVICTION}:
            log.warning("redis_may_evict", policy=policy, meaning="a mail may notify twice; set noeviction")
        self.eviction = policy
        MAY_EVICT.set(policy not in {"", NO_EVICTION})

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
        log.warning("claims_in_memory", meaning="a restart may notify twice; configure redis to avoid it")
        return MemoryClaims()
    try:
        return RedisClaims(client_of(settings.redis), config_uid)
    except ValueError as error:  # a URL or a certificate; the text repeats neither
        log.warning("redis_invalid", why=str(error))
        return AbsentClaims(str(error))
