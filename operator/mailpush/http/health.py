"""The health port: `/livez` for the kubelet, `/metrics` for Prometheus.

Alive means that the process's own loops turn. Redis, the API server and mail servers do not count: a restart would not
mend them, and would end listeners that work.
"""

import time
from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest

from mailpush.http.server import WebServer


class Liveness:
    """Loops say that they turn; one that has not for its limit is stalled."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._limits: dict[str, float] = {}
        self._ticks: dict[str, float] = {}

    def expect(self, loop: str, seconds: float) -> None:
        """From now on `loop` must tick at least every `seconds`."""
        self._limits[loop] = seconds
        self._ticks[loop] = self._clock()

    def tick(self, loop: str) -> None:
        self._ticks[loop] = self._clock()

    def forget(self, loop: str) -> None:
        """The loop has ended as it should."""
        self._limits.pop(loop, None)

    def stalled(self) -> tuple[str, ...]:
        now = self._clock()
        return tuple(loop for loop, limit in self._limits.items() if now - self._ticks[loop] > limit)


class HealthServer:
    """Serves them. It runs in the main loop, so that a loop that hangs answers nothing."""

    def __init__(self, liveness: Liveness, registry: CollectorRegistry = REGISTRY) -> None:
        self._liveness = liveness
        self._registry = registry
        app = web.Application()
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/metrics", self._metrics)
        self._server = WebServer(app)

    @property
    def port(self) -> int:
        return self._server.port

    async def start(self, host: str, port: int) -> int:
        """Listens and gives the port. Raises OSError."""
        return await self._server.start(host, port)

    async def close(self) -> None:
        await self._server.close()

    async def _livez(self, request: web.Request) -> web.Response:
        if stalled := self._liveness.stalled():
            return web.Response(status=503, text=f"stalled: {', '.join(stalled)}\n")
        return web.Response(text="ok\n")

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
