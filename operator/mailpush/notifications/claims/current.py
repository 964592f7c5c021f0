"""The store of claims that the settings name. It is replaced when they change."""

import structlog

from mailpush.notifications.claims.redis import RedisClaims
from mailpush.notifications.claims.store import Claim, ClaimResult, Claims, MemoryClaims
from mailpush.properties.settings import Settings

log = structlog.get_logger(__name__)


class CurrentClaims:
    """The store of claims behind one name, so that a changed password of Redis needs no restart."""

    def __init__(self, settings: Settings, config_uid: str) -> None:
        self._config_uid = config_uid
        self._settings = settings.redis
        self._store = _claims_of(settings, config_uid)

    async def use(self, settings: Settings) -> None:
        """Replaces the store. Earlier claims stay valid: only a restart changes the address of Redis."""
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
        log.warning("claims_in_memory", meaning="a restart may notify twice; configure redis to avoid it")
        return MemoryClaims()
    return RedisClaims.from_url(settings.redis.url, config_uid, password=settings.redis.password)
