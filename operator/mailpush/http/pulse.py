"""`/livez`, `/readyz` and `/metrics` of the operator."""

import time
from collections.abc import Callable
from typing import Final

import prometheus_client
import structlog
from aiohttp import web

log = structlog.get_logger(__name__)

SILENT_TOO_LONG: Final = 60.0


class Pulse:
    """Says whether everything that must go on does: each loop beats, and one that stops beating is found.

    A loop beats also while the API server is away: a restart of the operator would not bring that back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._beats: dict[str, tuple[float, float]] = {}
        self._faults: dict[str, str] = {}
        self.ready = False

    def beat(self, name: str, within: float = SILENT_TOO_LONG) -> None:
        """The loop `name` goes on, and will beat again within `within` seconds."""
        self._beats[name] = (self._clock(), within)

    def end(self, name: str) -> None:
        """The loop has ended as it should."""
        self._beats.pop(name, None)

    def fault(self, name: str, text: str | None) -> None:
        """Something is known to be broken beyond repair, or no more."""
        if text is None:
            self._faults.pop(name, None)
        else:
            self._faults[name] = text

    def problems(self) -> list[str]:
        """What is wrong, empty where nothing is."""
        now = self._clock()
        silent = [
            f"{name} has been silent for {now - at:.0f} s"
            for name, (at, within) in self._beats.items()
            if now - at > within
        ]
        return silent + [f"{name}: {text}" for name, text in self._faults.items()]


class HealthServer:
    """Serves until `close`; `port` is the real one where 0 was asked for."""

    def __init__(self, pulse: Pulse, address: str, port: int) -> None:
        self._pulse = pulse
        self._address = address
        self.port = port
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        application = web.Application()
        application.router.add_get("/livez", self._livez)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._address, self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        log.info("health_serves", address=self._address, port=self.port)

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _livez(self, _: web.Request) -> web.Response:
        problems = self._pulse.problems()
        return web.Response(status=500 if problems else 200, text="\n".join(problems or ["ok"]) + "\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        if self._pulse.ready:
            return web.Response(text="ok\n")
        return web.Response(status=503, text="the API server has not been read yet\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        body = prometheus_client.generate_latest()
        return web.Response(body=body, headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST})
