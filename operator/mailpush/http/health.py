"""`/livez`, `/readyz` and `/metrics`, for the kubelet and Prometheus, of operator and listener alike.

Alive means that the process's own loops turn. Redis, the API server and mail servers do not count: a restart would not
mend them, and would end listeners that work.
"""

import time
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest

from mailpush.http.server import WebServer
from mailpush.work.clock import Clock

SILENT_TOO_LONG: Final = 60.0


class Pulse:
    """Finds loops that have stopped: each that must go on beats, and says within which time it will again.

    A loop beats also while the API server is away.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._beats: dict[str, tuple[float, float]] = {}
        self._faults: dict[str, str] = {}
        self.ready = False

    def beat(self, name: str, within: float | None = None) -> None:
        """The loop `name` goes on, and beats again within so many seconds; default: as it said last, else a minute."""
        if within is None:
            within = self._beats[name][1] if name in self._beats else SILENT_TOO_LONG
        self._beats[name] = (self._clock(), within)

    def end(self, name: str) -> None:
        """The loop has ended as it should."""
        self._beats.pop(name, None)

    def fault(self, name: str, text: str | None) -> None:
        """Something is broken beyond repair; None: it is not, or no more."""
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
    """Serves them. It runs in the main loop, so that a loop that hangs answers nothing."""

    def __init__(self, pulse: Pulse, registry: CollectorRegistry = REGISTRY) -> None:
        self._pulse = pulse
        self._registry = registry
        app = web.Application()
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        self._server = WebServer(app)

    @property
    def port(self) -> int:
        return self._server.port

    async def start(self, host: str, port: int) -> int:
        """Listens and returns the port. Raises OSError."""
        return await self._server.start(host, port)

    async def close(self) -> None:
        await self._server.close()

    async def _livez(self, _: web.Request) -> web.Response:
        problems = self._pulse.problems()
        return web.Response(status=503 if problems else 200, text="\n".join(problems or ["ok"]) + "\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        if self._pulse.ready:
            return web.Response(text="ok\n")
        return web.Response(status=503, text="not yet: what it needs has not been read\n")

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
