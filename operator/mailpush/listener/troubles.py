"""What this pod is in trouble with, on its Lease for the operator's conditions, and in its log."""

import asyncio
from collections.abc import Mapping
from typing import Final, Protocol

import structlog

from mailpush.credentials.tokens import TokenUnavailableError
from mailpush.listener.shards.lease import LeaseKeeper
from mailpush.notifications.degraded import degraded
from mailpush.notifications.target_health import TargetHealth
from mailpush.properties.settings import Settings
from mailpush.sharding.leases import CallbackReport, RotationReport, ServerReport, WritesReport
from mailpush.work.clock import Clock, boottime

LOOK_SECONDS: Final = 2.0
LOG_SECONDS: Final = 60.0
"""The shortest time between two log lines on the same thing."""

log = structlog.get_logger(__name__)


class KnowsSettings(Protocol):
    """The settings that count now."""

    @property
    def settings(self) -> Settings: ...


class KnowsTargets(Protocol):
    """The dispatcher."""

    def health(self) -> dict[str, TargetHealth]: ...


class KnowsUsers(Protocol):
    """The supervisor."""

    async def servers(self) -> dict[str, ServerReport]: ...

    def registered(self) -> int: ...


class KnowsCalls(Protocol):
    """The record of Dovecot's callbacks."""

    called: bool

    @property
    def trouble(self) -> str: ...


class KnowsRedis(Protocol):
    """The store of claims."""

    trouble: str

    @property
    def eviction(self) -> str: ...


class KnowsStorage(Protocol):
    """The credential storage of this pod."""

    @property
    def trouble(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def kept(self) -> str: ...

    def rotation_under(self, settings: Settings) -> RotationReport | None: ...

    @property
    def writes(self) -> WritesReport | None: ...

    def migration_under(self, settings: Settings) -> RotationReport | None: ...


class KnowsTokens(Protocol):
    """The access tokens of this pod."""

    @property
    def trouble(self) -> TokenUnavailableError | None: ...


class KnowsDoveadm(Protocol):
    """Dovecot's doveadm, as this pod asks it."""

    @property
    def trouble(self) -> str: ...


class TroubleLog:
    """Logs what is in trouble when that changes, at most one line a minute for each name."""

    def __init__(self, event: str, recovered: str, label: str) -> None:
        self._event = event
        self._recovered = recovered
        self._label = label
        self._said: dict[str, tuple[str, float]] = {}
        """By name, the trouble as it was last logged, and when."""

    def look(self, troubles: Mapping[str, str], now: float) -> None:
        """`troubles`: by name, the reason."""
        for name in sorted({*troubles, *self._said}):
            why = troubles.get(name, "")
            said, at = self._said.get(name, ("", now - LOG_SECONDS))
            if why == said or now - at < LOG_SECONDS:
                continue
            if why:
                log.warning(self._event, **{self._label: name}, reason=why)
            else:
                log.info(self._recovered, **{self._label: name})
            self._said[name] = (why, now)


class Troubles:
    """Looks every two seconds, until cancelled."""

    def __init__(
        self,
        keeper: LeaseKeeper,
        applied: KnowsSettings,
        targets: KnowsTargets,
        users: KnowsUsers,
        *,
        calls: KnowsCalls,
        claims: KnowsRedis,
        storage: KnowsStorage,
        tokens: KnowsTokens,
        doveadm: KnowsDoveadm,
        clock: Clock = boottime,
    ) -> None:
        self._keeper = keeper
        self._applied = applied
        self._targets = targets
        self._users = users
        self._calls = calls
        self._claims = claims
        self._storage = storage
        self._tokens = tokens
        self._doveadm = doveadm
        self._clock = clock
        self._target_log = TroubleLog("target_degraded", "target_recovered", "target")
        self._server_log = TroubleLog("mail_server_degraded", "mail_server_recovered", "server")
        self._redis_log = TroubleLog("redis_degraded", "redis_recovered", "of")
        self._call_log = TroubleLog("callbacks_degraded", "callbacks_recovered", "of")

    async def run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Reports what is the case now."""
        servers = await self._users.servers()
        now = self._clock()
        names = [webhook.name for webhook in self._applied.settings.webhooks]
        troubles = degraded(names, self._targets.health())
        calls = CallbackReport(self._users.registered(), self._calls.called, self._calls.trouble)
        no_token = self._tokens.trouble  # which its own log tells
        self._keeper.update(
            urgent=False,
            degraded=troubles,
            servers=servers,
            callbacks=calls,
            eviction=self._claims.eviction,
            redis=self._claims.trouble,
            passcrypt=self._storage.fingerprint,
            storage=self._storage.trouble,
            kept=self._storage.kept,
            token=no_token.reason if no_token is not None else "",
            doveadm=self._doveadm.trouble,
            rotation=self._storage.rotation_under(self._applied.settings),
            writes=self._storage.writes,
            migration=self._storage.migration_under(self._applied.settings),
        )
        self._target_log.look(troubles, now)
        self._server_log.look({name: one.reason for name, one in servers.items() if one.degraded}, now)
        self._redis_log.look({"claims": self._claims.trouble} if self._claims.trouble else {}, now)
        self._call_log.look({"dovecot": calls.trouble} if calls.trouble else {}, now)
